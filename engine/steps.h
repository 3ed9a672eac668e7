/**
 * steps.h - the steps the rows of machine.c name. A step runs to its end, starts at most one
 * operation, and never runs twice; nothing is changed before all is checked.
 */
#ifndef HF_STEPS_H
#define HF_STEPS_H

#include "machine.h"

/* server.c */
hf_machine_step hf_server_start, hf_server_hello, hf_server_exchange, hf_server_key,
    hf_server_finished, hf_server_bind;

/** hf_server_full goes on with a full handshake, no session being resumed. */
HF_MUST_USE enum hf_status hf_server_full(struct hf_engine *engine,
                                          struct hf_association *association);

/* resume.c */
hf_machine_step hf_resume_answer;

/* certify.c */
hf_machine_step hf_certify_offer, hf_certify_certificate, hf_certify_share, hf_certify_verify,
    hf_certify_proof;

/* client.c */
hf_machine_step hf_client_start, hf_client_request, hf_client_verify, hf_client_hello,
    hf_client_hint, hf_client_done, hf_client_key, hf_client_finished, hf_client_bind;

/* prove.c */
hf_machine_step hf_prove_certificate, hf_prove_share, hf_prove_request, hf_prove_proof,
    hf_prove_sign;

/* recall.c */
hf_machine_step hf_recall_new_ticket;

/* keys.c: both roles */
hf_machine_step hf_keys_ccs;

/* open.c */
hf_machine_step hf_open_data, hf_open_hello, hf_open_finished, hf_open_alert, hf_open_timeout,
    hf_open_close;

#endif
