/**
 * keys.c - see keys.h.
 */
#include "keys.h"

#include "association.h"
#include "hello.h"

static void queue_keylog(struct hf_engine *engine, const struct hf_association *association)
{
    if (!engine->config.keylog)
        return;
    struct hf_event *event = hf_association_event(engine, association, HF_EVENT_KEYLOG);
    memcpy(event->client_random, association->client_random, HF_RANDOM_LEN);
    memcpy(event->master_secret, association->master_secret, HF_MASTER_SECRET_LEN);
}

void hf_keys_begin(struct hf_engine *engine, struct hf_association *association)
{
    struct hf_handshake *handshake = hf_handshake_of(engine, association);
    hf_hmac_key_init(&handshake->master,
                     (struct hf_bytes){association->master_secret, HF_MASTER_SECRET_LEN});
    hf_record_keys_derive(
        &association->read_key, &association->write_key,
        hf_hello_cipher(association->suite, association->flags & HF_ASSOCIATION_ETM),
        &handshake->master, association->client_random, association->server_random);
    association->write_seq = hf_is_datagram(association) ? UINT64_C(1) << 48 : 0;
    queue_keylog(engine, association);
    if (hf_is_datagram(association)) /* until the rest of the peer's flight is here */
        handshake->retransmit_us = engine->now_us + handshake->retransmit_after;
    hf_association_arm(engine, association);
}

void hf_keys_session_hash(struct hf_handshake *handshake)
{
    struct hf_sha256 hash = handshake->transcript;
    hf_sha256_final(handshake->session_hash, &hash);
}
