/**
 * prove.c - see prove.h. Messages are read and kept; nothing is judged before the job is done.
 */
#include "prove.h"

#include "association.h"
#include "certify.h"
#include "client.h"
#include "flight.h"
#include "identity.h"
#include "keys.h"
#include "proof.h"
#include "steps.h"

enum hf_status hf_prove_begin(struct hf_engine *engine, struct hf_association *association)
{
    struct hf_handshake *handshake = hf_handshake_of(engine, association);
    const struct hf_dialer *dialer = hf_dialer_of(engine, association);
    struct hf_association_info named = {0};
    HF_TRY(hf_proof_take(engine, association,
                         handshake->terms.is_client_raw ? dialer->raw
                                                        : hf_shown_x509(handshake, dialer),
                         dialer->trust));
    struct hf_proof *proof = hf_proof_of(engine, handshake);
    proof->job.credential = proof->credential;
    proof->job.trust = proof->trust;
    proof->job.peer_is_server = true;
    proof->job.chain_is_raw = handshake->terms.is_server_raw;
    if (handshake->flavour == HF_FLAVOUR_NONE)
        return HF_OK;
    hf_identity_copy(&named, engine, association->identity);
    memcpy(proof->expected_id, named.entity_id, named.entity_id_len);
    proof->expected = (struct hf_expected_peer){
        .flavour = handshake->flavour,
        .entity_id = {proof->expected_id, named.entity_id_len},
    };
    proof->job.expected = &proof->expected;
    return HF_OK;
}

enum hf_status hf_prove_certificate(struct hf_engine *engine, struct hf_association *association,
                                    const struct hf_machine_event *event)
{
    HF_TRY(hf_certify_keep_chain(engine, hf_handshake_of(engine, association), event->body));
    hf_flight_hash(association, hf_handshake_of(engine, association), HF_MESSAGE_CERTIFICATE,
                   event->message_seq, event->body);
    return HF_OK;
}

/** What the server has signed: both randoms and its share (RFC 8422 5.4). */
static void digest_share(uint8_t out[HF_SHA256_LEN], const struct hf_association *association,
                         struct hf_bytes params)
{
    struct hf_sha256 hash;
    hf_sha256_init(&hash);
    hf_sha256_update(&hash, association->client_random, HF_RANDOM_LEN);
    hf_sha256_update(&hash, association->server_random, HF_RANDOM_LEN);
    hf_sha256_update(&hash, params.data, params.len);
    hf_sha256_final(out, &hash);
}

enum hf_status hf_prove_share(struct hf_engine *engine, struct hf_association *association,
                              const struct hf_machine_event *event)
{
    struct hf_handshake *handshake = hf_handshake_of(engine, association);
    struct hf_job *job = &hf_proof_of(engine, handshake)->job;
    struct hf_reader reader = hf_reader_of(event->body);
    uint8_t curve_type = hf_reader_u8(&reader);
    uint16_t group = hf_reader_u16(&reader);
    struct hf_bytes point = hf_reader_vector(&reader, 1);
    const struct hf_bytes params = {event->body.data, event->body.len - reader.len};
    struct hf_bytes signature;
    enum hf_status status = hf_certify_read_signature(&signature, &reader);
    if (reader.is_failed || point.len == 0)
        return HF_E_DECODE;
    if (curve_type != HF_CURVE_TYPE_NAMED || group != HF_GROUP_SECP256R1)
        return HF_E_ILLEGAL_PARAMETER;
    if (point.len != HF_P256_POINT_LEN || point.data[0] != HF_POINT_UNCOMPRESSED_TAG)
        return HF_E_ILLEGAL_PARAMETER; /* that it is on the curve is for the job to see */
    HF_TRY(status);
    memcpy(job->peer_share, point.data, HF_P256_POINT_LEN);
    memcpy(job->verify_signature, signature.data, signature.len);
    job->verify_signature_len = (uint8_t)signature.len;
    digest_share(job->verify_digest, association, params);
    hf_flight_hash(association, handshake, HF_MESSAGE_SERVER_KEY_EXCHANGE, event->message_seq,
                   event->body);
    return HF_OK;
}

static bool has_value(struct hf_bytes list, size_t unit, uint64_t wanted)
{
    struct hf_reader reader = hf_reader_of(list);
    bool is_found = false;
    while (reader.len >= unit)
        is_found |= hf_reader_uint(&reader, unit) == wanted;
    return is_found;
}

/** The names of authorities are a hint for somebody who has several certificates. */
enum hf_status hf_prove_request(struct hf_engine *engine, struct hf_association *association,
                                const struct hf_machine_event *event)
{
    struct hf_reader reader = hf_reader_of(event->body);
    struct hf_bytes types = hf_reader_vector(&reader, 1);
    struct hf_bytes algorithms = hf_reader_vector(&reader, 2);
    struct hf_reader names = hf_reader_of(hf_reader_vector(&reader, 2));
    while (names.len > 0 && !names.is_failed)
        names.is_failed |= hf_reader_vector(&names, 2).len == 0;
    if (!hf_reader_done(&reader) || names.is_failed || types.len == 0 || algorithms.len == 0 ||
        algorithms.len % 2 != 0)
        return HF_E_DECODE;
    if (!has_value(types, 1, HF_CERTIFICATE_TYPE_ECDSA_SIGN))
        return HF_E_NO_CREDENTIAL;
    if (!has_value(algorithms, 2, HF_SIGNATURE_ECDSA_SHA256))
        return HF_E_NO_COMMON_SIGNATURE;
    hf_flight_hash(association, hf_handshake_of(engine, association),
                   HF_MESSAGE_CERTIFICATE_REQUEST, event->message_seq, event->body);
    return HF_OK;
}

void hf_prove_ask(struct hf_engine *engine, struct hf_association *association)
{
    hf_proof_ask(engine, association,
                 HF_JOB_CHAIN | HF_JOB_VERIFY | HF_JOB_GENERATE | HF_JOB_AGREE);
}

static void write_share(const struct hf_engine *engine, struct hf_association *association,
                        struct hf_handshake *handshake)
{
    const struct hf_job *job = &hf_proof_of(engine, handshake)->job;
    hf_flight_begin(handshake);
    struct hf_flight_message message = hf_flight_open(handshake, HF_MESSAGE_CERTIFICATE);
    message.tail = handshake->terms.is_client_raw ? HF_TAIL_RAW_KEY : HF_TAIL_CERTIFICATE;
    hf_flight_close(engine, association, &message);
    message = hf_flight_open(handshake, HF_MESSAGE_CLIENT_KEY_EXCHANGE);
    hf_writer_u8(&message.writer, HF_P256_POINT_LEN);
    hf_writer_bytes(&message.writer, job->public_key, HF_P256_POINT_LEN);
    hf_flight_close(engine, association, &message);
}

/** Whether the certificate is that of the entity that was to be dialled, if it names one. SA2:
 *  whoever came by SA1 shows the same credential here (TS-0003 8.2.1). */
static bool is_expected(const struct hf_engine *engine, const struct hf_association *association,
                        const struct hf_peer_identity *peer)
{
    const struct hf_handshake *handshake = hf_handshake_of(engine, association);
    struct hf_association_info named = {0};
    hf_identity_copy(&named, engine, association->identity);
    if (handshake->is_named && peer->entity_id_len > 0 &&
        (named.entity_id_len != peer->entity_id_len ||
         !hf_bytes_equal_public(named.entity_id, peer->entity_id, peer->entity_id_len)))
        return false;
    return !(association->flags & HF_ASSOCIATION_SA2) ||
           (named.credential_id_len == peer->credential_id_len &&
            hf_bytes_equal_public(named.credential_id, peer->credential_id,
                                  peer->credential_id_len));
}

enum hf_status hf_prove_proof(struct hf_engine *engine, struct hf_association *association,
                              const struct hf_machine_event *event)
{
    (void)event;
    struct hf_handshake *handshake = hf_handshake_of(engine, association);
    HF_TRY(hf_proof_answered(engine, handshake));
    struct hf_job *job = &hf_proof_of(engine, handshake)->job;
    if (!is_expected(engine, association, &job->peer))
        return HF_E_PEER_NAME;
    HF_TRY(hf_certify_bind_peer(engine, association, handshake, &job->peer));
    write_share(engine, association, handshake);
    hf_keys_session_hash(handshake); /* what our signature is over as well */
    hf_certify_master(association, handshake, job);
    memcpy(job->sign_digest, handshake->session_hash, HF_SHA256_LEN);
    job->sign_is_share = false;
    hf_proof_ask(engine, association, HF_JOB_SIGN);
    hf_association_arm(engine, association);
    return HF_OK;
}

enum hf_status hf_prove_sign(struct hf_engine *engine, struct hf_association *association,
                             const struct hf_machine_event *event)
{
    (void)event;
    struct hf_handshake *handshake = hf_handshake_of(engine, association);
    HF_TRY(hf_proof_answered(engine, handshake));
    const struct hf_job *job = &hf_proof_of(engine, handshake)->job;
    struct hf_flight_message message = hf_flight_open(handshake, HF_MESSAGE_CERTIFICATE_VERIFY);
    hf_writer_u16(&message.writer, HF_SIGNATURE_ECDSA_SHA256);
    hf_writer_u16(&message.writer, job->signature_len);
    hf_writer_bytes(&message.writer, job->signature, job->signature_len);
    hf_flight_close(engine, association, &message);
    hf_keys_begin(engine, association);
    hf_client_finish(engine, association);
    return HF_OK;
}
