/**
 * certify.c - see certify.h. Messages are read and kept; nothing is judged before the job is done.
 */
#include "certify.h"

#include "association.h"
#include "authority.h"
#include "flight.h"
#include "hello.h"
#include "identity.h"
#include "keys.h"
#include "proof.h"
#include "steps.h"

enum hf_status hf_certify_begin(struct hf_engine *engine, struct hf_association *association)
{
    struct hf_handshake *handshake = hf_handshake_of(engine, association);
    const struct hf_listener *listener = hf_listener_of(engine, association);
    uint8_t index = handshake->terms.authority_index;
    /* A session was asked about first: the listener may have been given other authorities since. */
    if (index >= listener->authority_count)
        return HF_E_NO_COMMON_SUITE;
    const struct hf_listener_authority *authority = &listener->authorities[index];
    const struct hf_credential *credential =
        handshake->terms.is_server_raw ? authority->raw : authority->x509;
    if (!credential || !authority->trust)
        return HF_E_NO_COMMON_SUITE;
    HF_TRY(hf_proof_take(engine, association, credential, authority->trust));
    struct hf_proof *proof = hf_proof_of(engine, handshake);
    proof->job.credential = proof->credential;
    proof->job.sign_is_share = true;
    memcpy(proof->job.client_random, association->client_random, HF_RANDOM_LEN);
    memcpy(proof->job.server_random, association->server_random, HF_RANDOM_LEN);
    hf_proof_ask(engine, association, HF_JOB_GENERATE | HF_JOB_SIGN);
    return HF_OK;
}

/** RFC 8422 5.4: curve, point, signature. */
static void write_share(struct hf_writer *writer, const struct hf_job *job)
{
    hf_writer_u8(writer, HF_CURVE_TYPE_NAMED);
    hf_writer_u16(writer, HF_GROUP_SECP256R1);
    hf_writer_u8(writer, HF_P256_POINT_LEN);
    hf_writer_bytes(writer, job->public_key, HF_P256_POINT_LEN);
    hf_writer_u16(writer, HF_SIGNATURE_ECDSA_SHA256);
    hf_writer_u16(writer, job->signature_len);
    hf_writer_bytes(writer, job->signature, job->signature_len);
}

/** RFC 5246 7.4.4; the names themselves are the tail. Where they would make the flight too long,
 *  the list is empty: any certificate may be sent then. */
static void write_request(struct hf_flight_message *message, const struct hf_proof *proof,
                          bool is_client_raw)
{
    size_t names_len = hf_trust_issuer_names(proof->trust).len;
    bool has_names = !is_client_raw && names_len > 0 &&
                     names_len <= HF_AUTHORITY_MESSAGE_LEN_MAX -
                                      hf_credential_message(proof->credential, false).len;
    hf_writer_u8(&message->writer, 1);
    hf_writer_u8(&message->writer, HF_CERTIFICATE_TYPE_ECDSA_SIGN);
    hf_writer_u16(&message->writer, 2);
    hf_writer_u16(&message->writer, HF_SIGNATURE_ECDSA_SHA256);
    hf_writer_u16(&message->writer, (uint16_t)(has_names ? names_len : 0));
    message->tail = has_names ? HF_TAIL_ISSUER_NAMES : HF_TAIL_NONE;
}

static void write_flight(struct hf_engine *engine, struct hf_association *association,
                         struct hf_handshake *handshake)
{
    const struct hf_proof *proof = hf_proof_of(engine, handshake);
    const struct hf_terms *terms = &handshake->terms;
    hf_flight_begin(handshake);
    struct hf_flight_message message = hf_flight_open(handshake, HF_MESSAGE_SERVER_HELLO);
    hf_hello_write(&message.writer, terms, hf_wire_version(association),
                   association->server_random);
    hf_flight_close(engine, association, &message);
    message = hf_flight_open(handshake, HF_MESSAGE_CERTIFICATE);
    message.tail = terms->is_server_raw ? HF_TAIL_RAW_KEY : HF_TAIL_CERTIFICATE;
    hf_flight_close(engine, association, &message);
    message = hf_flight_open(handshake, HF_MESSAGE_SERVER_KEY_EXCHANGE);
    write_share(&message.writer, &proof->job);
    hf_flight_close(engine, association, &message);
    message = hf_flight_open(handshake, HF_MESSAGE_CERTIFICATE_REQUEST);
    write_request(&message, proof, terms->is_client_raw);
    hf_flight_close(engine, association, &message);
    message = hf_flight_open(handshake, HF_MESSAGE_SERVER_HELLO_DONE);
    hf_flight_close(engine, association, &message);
}

enum hf_status hf_certify_offer(struct hf_engine *engine, struct hf_association *association,
                                const struct hf_machine_event *event)
{
    (void)event;
    struct hf_handshake *handshake = hf_handshake_of(engine, association);
    HF_TRY(hf_proof_answered(engine, handshake));
    write_flight(engine, association, handshake);
    hf_flight_await(engine, association);
    hf_association_arm(engine, association);
    return HF_OK;
}

/** Whether a Certificate message is one vector that is the whole of it; the rest is judged with the
 *  chain. A raw key is its one vector, a list of certificates another one around them. */
static enum hf_status read_certificate(struct hf_bytes body)
{
    struct hf_reader reader = hf_reader_of(body);
    struct hf_bytes content = hf_reader_vector(&reader, 3);
    if (!hf_reader_done(&reader))
        return HF_E_DECODE;
    return content.len > 0 ? HF_OK : HF_E_NO_CERTIFICATE;
}

enum hf_status hf_certify_keep_chain(struct hf_engine *engine, struct hf_handshake *handshake,
                                     struct hf_bytes body)
{
    struct hf_proof *proof = hf_proof_of(engine, handshake);
    if (body.len > engine->config.message_len_max ||
        body.len > hf_trust_chain_len_max(proof->trust))
        return HF_E_MESSAGE_TOO_LONG;
    HF_TRY(read_certificate(body));
    uint8_t *chain = hf_proof_chain(engine, proof);
    memcpy(chain, body.data, body.len);
    proof->job.chain = chain;
    proof->job.chain_len = (uint32_t)body.len;
    return HF_OK;
}

enum hf_status hf_certify_certificate(struct hf_engine *engine, struct hf_association *association,
                                      const struct hf_machine_event *event)
{
    struct hf_handshake *handshake = hf_handshake_of(engine, association);
    struct hf_proof *proof = hf_proof_of(engine, handshake);
    HF_TRY(hf_certify_keep_chain(engine, handshake, event->body));
    proof->job.chain_is_raw = handshake->terms.is_client_raw;
    proof->job.trust = proof->trust;
    hf_flight_hash(association, handshake, HF_MESSAGE_CERTIFICATE, event->message_seq, event->body);
    return HF_OK;
}

enum hf_status hf_certify_share(struct hf_engine *engine, struct hf_association *association,
                                const struct hf_machine_event *event)
{
    struct hf_handshake *handshake = hf_handshake_of(engine, association);
    struct hf_reader reader = hf_reader_of(event->body);
    struct hf_bytes point = hf_reader_vector(&reader, 1);
    if (!hf_reader_done(&reader) || point.len == 0)
        return HF_E_DECODE;
    if (point.len != HF_P256_POINT_LEN || point.data[0] != HF_POINT_UNCOMPRESSED_TAG)
        return HF_E_ILLEGAL_PARAMETER; /* that it is on the curve is for the job to see */
    memcpy(hf_proof_of(engine, handshake)->job.peer_share, point.data, HF_P256_POINT_LEN);
    hf_flight_hash(association, handshake, HF_MESSAGE_CLIENT_KEY_EXCHANGE, event->message_seq,
                   event->body);
    hf_keys_session_hash(handshake);
    return HF_OK;
}

enum hf_status hf_certify_read_signature(struct hf_bytes *out, struct hf_reader *reader)
{
    uint16_t algorithm = hf_reader_u16(reader);
    struct hf_bytes signature = hf_reader_vector(reader, 2);
    if (!hf_reader_done(reader) || signature.len == 0) {
        reader->is_failed = true;
        return HF_E_DECODE;
    }
    if (algorithm != HF_SIGNATURE_ECDSA_SHA256)
        return HF_E_ILLEGAL_PARAMETER;
    if (signature.len > HF_P256_SIGNATURE_MAX)
        return HF_E_BAD_SIGNATURE;
    *out = signature;
    return HF_OK;
}

enum hf_status hf_certify_verify(struct hf_engine *engine, struct hf_association *association,
                                 const struct hf_machine_event *event)
{
    struct hf_handshake *handshake = hf_handshake_of(engine, association);
    HF_ASSERT(handshake);
    struct hf_job *job = &hf_proof_of(engine, handshake)->job;
    struct hf_reader reader = hf_reader_of(event->body);
    struct hf_bytes signature;
    HF_TRY(hf_certify_read_signature(&signature, &reader));
    /* Over all messages up to ClientKeyExchange: as it happens, the session hash. */
    memcpy(job->verify_digest, handshake->session_hash, HF_SHA256_LEN);
    memcpy(job->verify_signature, signature.data, signature.len);
    job->verify_signature_len = (uint8_t)signature.len;
    hf_flight_answered(handshake);
    hf_flight_hash(association, handshake, HF_MESSAGE_CERTIFICATE_VERIFY, event->message_seq,
                   event->body);
    hf_proof_ask(engine, association, HF_JOB_CHAIN | HF_JOB_AGREE | HF_JOB_VERIFY);
    hf_association_arm(engine, association);
    return HF_OK;
}

enum hf_status hf_certify_bind_peer(struct hf_engine *engine, struct hf_association *association,
                                    struct hf_handshake *handshake,
                                    const struct hf_peer_identity *peer)
{
    struct hf_association_info named = {0};
    hf_identity_copy(&named, engine, association->identity); /* client: who was to be dialled */
    const struct hf_bytes entity_id = {peer->entity_id, peer->entity_id_len};
    const struct hf_bytes named_id = {(const uint8_t *)named.entity_id, named.entity_id_len};
    const struct hf_identity identity = {
        .entity_id = entity_id.len > 0 ? entity_id : named_id,
        .credential_id = {peer->credential_id, peer->credential_id_len},
        .server_name = {handshake->terms.server_name, handshake->terms.server_name_len},
        .handles = {&peer->handles[0][0], (size_t)peer->handle_count * HF_REVOCATION_HANDLE_LEN},
    };
    uint32_t head;
    HF_TRY(hf_identity_keep(&head, engine, &identity));
    hf_identity_drop(engine, association->identity);
    association->identity = head;
    association->framework = HF_FRAMEWORK_CERTIFICATE;
    association->entity_kind = peer->entity_kind;
    association->expires_s =
        (uint32_t)(peer->expires_s < UINT32_MAX ? peer->expires_s : UINT32_MAX);
    handshake->is_identity_following = peer->entity_id_len == 0;
    return HF_OK;
}

void hf_certify_master(struct hf_association *association, const struct hf_handshake *handshake,
                       struct hf_job *job)
{
    bool is_ems = association->flags & HF_ASSOCIATION_EMS;
    struct hf_secret premaster = {.len = sizeof job->shared_secret};
    memcpy(premaster.data, job->shared_secret, sizeof job->shared_secret);
    hf_master_secret(association->master_secret, &premaster, association->client_random,
                     association->server_random, is_ems ? handshake->session_hash : NULL);
    hf_wipe(&premaster, sizeof premaster);
    hf_wipe(job->shared_secret, sizeof job->shared_secret);
    hf_wipe(job->private_key, sizeof job->private_key);
}

enum hf_status hf_certify_proof(struct hf_engine *engine, struct hf_association *association,
                                const struct hf_machine_event *event)
{
    (void)event;
    struct hf_handshake *handshake = hf_handshake_of(engine, association);
    HF_TRY(hf_proof_answered(engine, handshake));
    struct hf_job *job = &hf_proof_of(engine, handshake)->job;
    HF_TRY(hf_certify_bind_peer(engine, association, handshake, &job->peer));
    hf_certify_master(association, handshake, job);
    hf_keys_begin(engine, association);
    return HF_OK;
}

bool hf_certify_is_admitted(const struct hf_engine *engine,
                            const struct hf_association *association)
{
    enum hf_reference_point point = hf_listener_of(engine, association)->reference_point;
    return association->framework != HF_FRAMEWORK_CERTIFICATE || point == HF_REFERENCE_POINT_MCA ||
           association->entity_kind == HF_ENTITY_CSE;
}
