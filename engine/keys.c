/**
 * keys.c - see keys.h.
 */
#include "keys.h"

#include "association.h"
#include "flight.h"
#include "fragment.h"
#include "hello.h"
#include "record.h"
#include "steps.h"

/** The key of an identity nobody knows: the same each time it is asked for, known to no one. */
static void make_decoy(struct hf_secret *out, const struct hf_engine *engine,
                       struct hf_handshake *handshake)
{
    const struct hf_bytes identity = {hf_handshake_identity(engine, handshake),
                                      handshake->identity_len};
    uint8_t mac[HF_SHA256_LEN];
    hf_hmac(mac, &engine->decoy_key, &identity, 1);
    memcpy(out->data, mac, sizeof mac);
    out->len = sizeof mac;
    hf_wipe(mac, sizeof mac);
}

enum hf_status hf_keys_psk(struct hf_engine *engine, struct hf_association *association)
{
    struct hf_handshake *handshake = hf_handshake_of(engine, association);
    struct hf_secret premaster = {0};
    enum hf_status status = HF_OK;
    const uint8_t *session_hash =
        association->flags & HF_ASSOCIATION_EMS ? handshake->session_hash : NULL;
    if (handshake->refusal != HF_OK)
        make_decoy(&handshake->secret, engine, handshake);
    if (handshake->refusal == HF_OK && handshake->answer_kind == HF_ANSWER_MASTER_SECRET) {
        memcpy(association->master_secret, handshake->secret.data, HF_MASTER_SECRET_LEN);
    } else {
        if (handshake->refusal == HF_OK && handshake->answer_kind == HF_ANSWER_PREMASTER)
            premaster = handshake->secret;
        else
            status = hf_psk_premaster(
                &premaster, (struct hf_bytes){handshake->secret.data, handshake->secret.len});
        if (status == HF_OK)
            hf_master_secret(association->master_secret, &premaster, association->client_random,
                             association->server_random, session_hash);
    }
    hf_wipe(&premaster, sizeof premaster);
    hf_wipe(&handshake->secret, sizeof handshake->secret);
    return status;
}

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
    bool is_client = hf_is_client(association);
    struct hf_record_key keys[2]; /* client's, server's */
    hf_hmac_key_init(&handshake->master,
                     (struct hf_bytes){association->master_secret, HF_MASTER_SECRET_LEN});
    hf_record_keys_derive(
        &keys[0], &keys[1],
        hf_hello_cipher(association->suite, association->flags & HF_ASSOCIATION_ETM),
        &handshake->master, association->client_random, association->server_random);
    hf_record_keys_keep(engine, association, &keys[!is_client], &keys[is_client]);
    hf_wipe(keys, sizeof keys);
    association->write_seq = hf_is_datagram(association) ? UINT64_C(1) << 48 : 0;
    queue_keylog(engine, association);
    if (hf_is_datagram(association) && !is_client) /* until the rest of the peer's flight is here */
        hf_flight_schedule(engine, handshake);
    hf_association_arm(engine, association);
}

void hf_keys_session_hash(struct hf_handshake *handshake)
{
    struct hf_sha256 hash = handshake->transcript;
    hf_sha256_final(handshake->session_hash, &hash);
}

enum hf_status hf_keys_ccs(struct hf_engine *engine, struct hf_association *association,
                           const struct hf_machine_event *event)
{
    struct hf_handshake *handshake = hf_handshake_of(engine, association);
    if (event->body.len != 1 || event->body.data[0] != 1)
        return HF_E_DECODE;
    if (!hf_is_datagram(association) && handshake->assembly.received > 0)
        return HF_E_UNEXPECTED_MESSAGE; /* in the middle of a message */
    if (hf_is_client(association) && handshake->terms.is_ticket_following)
        return HF_E_UNEXPECTED_MESSAGE; /* RFC 5077 3.3: it was promised */
    hf_fragment_clear(handshake);       /* plain fragments must not meet protected ones */
    association->read_seq = 0;
    association->flags |= HF_ASSOCIATION_READ_PROTECTED;
    return HF_OK;
}

void hf_keys_verify_data(uint8_t out[HF_VERIFY_DATA_LEN], const struct hf_handshake *handshake,
                         const char *label)
{
    uint8_t digest[HF_SHA256_LEN];
    struct hf_sha256 hash = handshake->transcript;
    hf_sha256_final(digest, &hash);
    const struct hf_bytes seed = {digest, sizeof digest};
    hf_prf(out, HF_VERIFY_DATA_LEN, &handshake->master, label, &seed, 1);
}

enum hf_status hf_keys_check_finished(const struct hf_handshake *handshake, const char *label,
                                      struct hf_bytes body)
{
    uint8_t expected[HF_VERIFY_DATA_LEN];
    if (body.len != HF_VERIFY_DATA_LEN)
        return HF_E_DECODE;
    hf_keys_verify_data(expected, handshake, label);
    return hf_ct_equal(expected, body.data, HF_VERIFY_DATA_LEN) || HF_FUZZ_ACCEPT ? HF_OK
                                                                                  : HF_E_FINISHED;
}
