/**
 * steps.h - the steps the rows of machine.c name. A step runs to its end, starts at most one
 * operation, and never runs twice; nothing is changed before all is checked.
 */
#ifndef HF_STEPS_H
#define HF_STEPS_H

#include "machine.h"

/* server.c */
hf_machine_step hf_server_start, hf_server_hello, hf_server_exchange, hf_server_key, hf_server_ccs,
    hf_server_finished, hf_server_bind;

/* certify.c */
hf_machine_step hf_certify_offer, hf_certify_certificate, hf_certify_share, hf_certify_verify,
    hf_certify_proof;

/* open.c */
hf_machine_step hf_open_data, hf_open_hello, hf_open_finished, hf_open_alert, hf_open_timeout,
    hf_open_close;

#endif
