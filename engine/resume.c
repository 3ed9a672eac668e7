/**
 * resume.c - see resume.h. While the key source is asked, the packed session lies where our flight
 * will: nothing has been sent yet.
 */
#include "resume.h"

#include "answer.h"
#include "association.h"
#include "authority.h"
#include "flight.h"
#include "identity.h"
#include "keys.h"
#include "steps.h"

#define UNTIL_SHIFT 10 /* a session's end is kept in units of 1,024 s */

_Static_assert(HF_SESSION_LEN_MAX <= HF_FLIGHT_LEN_MAX, "a session waits in the flight");
_Static_assert(HF_SESSION_REVOCATION_MAX >= HF_CHAIN_DEPTH_MAX * HF_REVOCATION_HANDLE_LEN,
               "all handles of a chain fit");

/* ---- what a session is bound to ------------------------------------------------------------ */

static const struct hf_listener_authority *authority_of(const struct hf_engine *engine,
                                                        const struct hf_association *association,
                                                        const struct hf_terms *terms)
{
    const struct hf_listener *listener = hf_listener_of(engine, association);
    return terms->authority_index < listener->authority_count
               ? &listener->authorities[terms->authority_index]
               : NULL;
}

/** Listener, authority, what that asks of certificates, and server name (RFC 6066 3): by what they
 *  are, not by their number, so that a reload and another node agree. */
static void bind_to(uint8_t out[HF_SESSION_BINDING_LEN], const struct hf_engine *engine,
                    const struct hf_association *association, struct hf_bytes server_name,
                    const struct hf_listener_authority *authority)
{
    const struct hf_listener *listener = hf_listener_of(engine, association);
    const uint8_t kind[2] = {(uint8_t)listener->transport, (uint8_t)listener->reference_point};
    const char *name = authority && authority->server_name ? authority->server_name : "";
    uint8_t digest[HF_SHA256_LEN];
    struct hf_sha256 hash;
    hf_sha256_init(&hash);
    hf_sha256_update(&hash, kind, sizeof kind);
    hf_sha256_update(&hash, name, strlen(name) + 1);
    if (authority && authority->trust)
        hf_sha256_update(&hash, hf_trust_policy(authority->trust), HF_TRUST_POLICY_LEN);
    hf_sha256_update(&hash, server_name.data, server_name.len);
    hf_sha256_final(digest, &hash);
    memcpy(out, digest, HF_SESSION_BINDING_LEN);
}

/* ---- an offered session -------------------------------------------------------------------- */

/** Opens the ticket, or takes the session out of the cache. */
static bool fetch(uint8_t packed[HF_SESSION_LEN_MAX], size_t *len, struct hf_engine *engine,
                  const struct hf_hello *hello)
{
    if (engine->config.tickets && hello->ticket.len > 0) {
        struct hf_bytes sealed = hello->ticket;
        const struct hf_secret_keys *keys =
            sealed.len >= HF_TICKET_NAME_LEN + HF_SEAL_EXPANSION &&
                    sealed.len <= HF_TICKET_NAME_LEN + HF_SEAL_EXPANSION + HF_SESSION_LEN_MAX
                ? hf_secrets_named(&engine->secrets, sealed.data)
                : NULL;
        *len = sealed.len - HF_TICKET_NAME_LEN - HF_SEAL_EXPANSION;
        return keys && hf_unseal(packed, &keys->ticket_key,
                                 (struct hf_bytes){sealed.data, HF_TICKET_NAME_LEN},
                                 sealed.data + HF_TICKET_NAME_LEN, sealed.len - HF_TICKET_NAME_LEN);
    }
    return engine->config.sessions && hello->session_id.len == HF_SESSION_ID_LEN &&
           hf_session_cache_get(packed, len, engine->config.sessions, hello->session_id.data,
                                (uint32_t)engine->wall_s);
}

static bool has_suite(const struct hf_listener *listener, const struct hf_hello *hello,
                      uint16_t suite)
{
    bool is_ours = false;
    for (size_t i = 0; i < listener->suite_count; i++)
        is_ours |= listener->suites[i] == suite;
    for (size_t i = 0; is_ours && i + 1 < hello->suites.len; i += 2) {
        if ((hello->suites.data[i] << 8 | hello->suites.data[i + 1]) == suite)
            return true;
    }
    return false;
}

/** Whether this hello, at this listener, at this time, may go on with that session. */
static bool is_fitting(const struct hf_session *session, const struct hf_engine *engine,
                       const struct hf_association *association, const struct hf_hello *hello)
{
    const struct hf_handshake *handshake = hf_handshake_of(engine, association);
    const struct hf_terms *terms = &handshake->terms;
    const struct hf_listener *listener = hf_listener_of(engine, association);
    const struct hf_listener_authority *authority = authority_of(engine, association, terms);
    bool is_cbc = hf_hello_cipher(session->suite, false) == HF_CIPHER_AES_128_CBC_SHA256;
    bool is_etm = is_cbc && hello->has_encrypt_then_mac && listener->encrypt_then_mac;
    uint8_t binding[HF_SESSION_BINDING_LEN];
    bind_to(binding, engine, association,
            (struct hf_bytes){terms->server_name, terms->server_name_len}, authority);
    return hf_session_is_standing(session, authority ? authority->trust : NULL, engine->wall_s) &&
           session->is_ems && session->is_etm == is_etm &&
           has_suite(listener, hello, session->suite) &&
           hf_bytes_equal_public(binding, session->binding, sizeof binding);
}

enum hf_status hf_resume_find(bool *is_found, struct hf_engine *engine,
                              struct hf_association *association, const struct hf_hello *hello)
{
    struct hf_handshake *handshake = hf_handshake_of(engine, association);
    uint8_t packed[HF_SESSION_LEN_MAX];
    size_t len = 0;
    struct hf_session session = {0};
    enum hf_status status = HF_OK;
    *is_found = false;
    if (!engine->config.tickets && !engine->config.sessions)
        return HF_OK;
    if (!fetch(packed, &len, engine, hello) ||
        hf_session_unpack(&session, (struct hf_bytes){packed, len}) != HF_OK)
        goto done;
    if (!is_fitting(&session, engine, association, hello))
        goto done;
    if (!hello->has_extended_master_secret) {
        status = HF_E_RESUMED_WITHOUT; /* RFC 7627 5.3: abort */
        goto done;
    }
    /* The names become the association's: the source is asked by them. */
    const struct hf_identity identity = hf_session_identity(&session, &handshake->terms);
    if (hf_identity_keep(&association->identity, engine, &identity) != HF_OK)
        goto done;
    association->context = session.context;
    memcpy(handshake->flight, packed, len);
    handshake->flight_len = (uint16_t)len;
    handshake->terms.session_id_len = (uint8_t)hello->session_id.len;
    memcpy(handshake->terms.session_id, hello->session_id.data, hello->session_id.len);
    *is_found = true;
done:
    hf_wipe(packed, sizeof packed);
    hf_wipe(&session, sizeof session);
    return status;
}

/* ---- the source has answered --------------------------------------------------------------- */

static void adopt(const struct hf_engine *engine, struct hf_association *association,
                  const struct hf_session *session)
{
    struct hf_terms *terms = &hf_handshake_of(engine, association)->terms;
    const uint32_t settled =
        HF_ASSOCIATION_EMS | HF_ASSOCIATION_ETM | HF_ASSOCIATION_TICKET | HF_ASSOCIATION_CACHED;
    association->flags &= ~settled;
    association->flags |= (uint32_t)((session->is_ems ? HF_ASSOCIATION_EMS : 0) |
                                     (session->is_etm ? HF_ASSOCIATION_ETM : 0));
    association->suite = session->suite;
    hf_session_adopt(association, session);
    terms->suite = session->suite;
    terms->is_etm = session->is_etm;
    terms->is_ticket_following = false;
    /* What only a full handshake says (RFC 6066 3, RFC 8422 5.2, RFC 7250 3). */
    terms->is_name_known = terms->has_point_formats = false;
    terms->has_client_type = terms->has_server_type = false;
}

/** RFC 5246 7.3, figure 2: ServerHello, ChangeCipherSpec, Finished, in one flight. */
static void write_flight(const struct hf_engine *engine, struct hf_association *association)
{
    struct hf_handshake *handshake = hf_handshake_of(engine, association);
    hf_flight_begin(handshake);
    struct hf_flight_message message = hf_flight_open(handshake, HF_MESSAGE_SERVER_HELLO);
    hf_hello_write(&message.writer, &handshake->terms, hf_wire_version(association),
                   association->server_random);
    hf_flight_close(engine, association, &message);
    hf_keys_verify_data(association->verify_data, handshake, "server finished");
    hf_flight_change(handshake);
    message = hf_flight_open(handshake, HF_MESSAGE_FINISHED);
    hf_writer_bytes(&message.writer, association->verify_data, HF_VERIFY_DATA_LEN);
    hf_flight_close(engine, association, &message);
}

static void accept(struct hf_engine *engine, struct hf_association *association,
                   const struct hf_session *session)
{
    struct hf_handshake *handshake = hf_handshake_of(engine, association);
    handshake->way = HF_WAY_RESUMED;
    adopt(engine, association, session);
    hf_keys_begin(engine, association);
    write_flight(engine, association);
    hf_flight_await(engine, association);
    association->flags |= HF_ASSOCIATION_WRITE_PROTECTED;
    hf_association_arm(engine, association);
}

enum hf_status hf_resume_answer(struct hf_engine *engine, struct hf_association *association,
                                const struct hf_machine_event *event)
{
    (void)event;
    struct hf_handshake *handshake = hf_handshake_of(engine, association);
    uint8_t packed[HF_SESSION_LEN_MAX];
    size_t len = handshake->flight_len;
    struct hf_session session = {0};
    enum hf_status status = HF_OK;
    hf_answer_taken(engine, handshake);
    memcpy(packed, handshake->flight, len);
    hf_wipe(handshake->flight, len);
    handshake->flight_len = 0;
    if (handshake->answer_kind == HF_ANSWER_IDENTITY &&
        hf_session_unpack(&session, (struct hf_bytes){packed, len}) == HF_OK) {
        accept(engine, association, &session);
    } else { /* as if no session had been offered */
        hf_identity_drop(engine, association->identity);
        association->identity = HF_NONE;
        association->context = 0;
        handshake->terms.session_id_len = 0;
        status = hf_server_full(engine, association);
    }
    hf_wipe(packed, sizeof packed);
    hf_wipe(&session, sizeof session);
    return status;
}

/* ---- a session to come --------------------------------------------------------------------- */

/** Made from what the cold record keeps, so that it can be found again; unpredictable. */
static void make_id(uint8_t out[HF_SESSION_ID_LEN], const struct hf_engine *engine,
                    const struct hf_association *association)
{
    hf_session_cache_name(out, engine->config.sessions, association->client_random,
                          association->server_random);
}

void hf_resume_prepare(struct hf_engine *engine, struct hf_association *association,
                       const struct hf_hello *hello)
{
    struct hf_terms *terms = &hf_handshake_of(engine, association)->terms;
    if (!terms->is_ems) /* RFC 7627 5.3: not resumable */
        return;
    terms->is_ticket_following = engine->config.tickets && hello->has_ticket;
    if (terms->is_ticket_following)
        association->flags |= HF_ASSOCIATION_TICKET;
    else if (engine->config.sessions)
        association->flags |= HF_ASSOCIATION_CACHED;
}

void hf_resume_name(const struct hf_engine *engine, struct hf_association *association)
{
    struct hf_terms *terms = &hf_handshake_of(engine, association)->terms;
    if (!(association->flags & HF_ASSOCIATION_CACHED))
        return;
    terms->session_id_len = HF_SESSION_ID_LEN;
    make_id(terms->session_id, engine, association);
}

void hf_resume_date(const struct hf_engine *engine, struct hf_association *association)
{
    int64_t until_s = engine->wall_s + engine->config.session_s_max;
    if (association->expires_s && until_s > (int64_t)association->expires_s)
        until_s = association->expires_s;
    association->session_until = (uint16_t)(until_s >> UNTIL_SHIFT);
}

/** The end that hf_resume_date() settled: within a year of now. */
static uint32_t until_of(const struct hf_engine *engine, const struct hf_association *association)
{
    uint32_t now = (uint32_t)(engine->wall_s >> UNTIL_SHIFT);
    uint16_t ahead = (uint16_t)(association->session_until - (uint16_t)now);
    return (uint32_t)((int64_t)now + (int16_t)ahead) << UNTIL_SHIFT;
}

static enum hf_status pack(uint8_t out[HF_SESSION_LEN_MAX], size_t *out_len,
                           const struct hf_engine *engine, const struct hf_association *association)
{
    struct hf_association_info info = {0};
    const struct hf_listener_authority *authority = NULL;
    bool is_known = false;
    uint8_t index = 0;
    hf_identity_copy(&info, engine, association->identity);
    const struct hf_bytes server_name = {(const uint8_t *)info.server_name, info.server_name_len};
    const struct hf_listener *listener = hf_listener_of(engine, association);
    if (hf_authority_find(&index, &is_known, listener, server_name) == HF_OK &&
        index < listener->authority_count)
        authority = &listener->authorities[index];
    uint8_t binding[HF_SESSION_BINDING_LEN];
    bind_to(binding, engine, association, server_name, authority);
    return hf_session_save(out, out_len, engine, association, &info, binding,
                           until_of(engine, association));
}

size_t hf_resume_ticket(uint8_t out[HF_TICKET_BODY_MAX], const struct hf_engine *engine,
                        const struct hf_association *association)
{
    uint8_t packed[HF_SESSION_LEN_MAX];
    size_t len = 0;
    struct hf_writer writer = hf_writer_of(out, HF_TICKET_BODY_MAX);
    int64_t until_s = until_of(engine, association);
    bool is_resumable =
        until_s > engine->wall_s && pack(packed, &len, engine, association) == HF_OK;
    /* RFC 5077 3.3: no lifetime and no ticket where the ServerHello has promised too much. The
     * key is the one of the session's beginning, so that a repeated flight is the same. */
    hf_writer_uint(&writer, is_resumable ? engine->config.session_s_max : 0, 4);
    size_t mark = hf_writer_open(&writer, 2);
    if (is_resumable) {
        uint32_t at = hf_secrets_active(&engine->secrets, until_s - engine->config.session_s_max);
        const struct hf_secret_keys *keys = &engine->secrets.entries[at];
        hf_writer_bytes(&writer, keys->ticket_name, HF_TICKET_NAME_LEN);
        uint8_t *sealed = hf_writer_room(&writer, len + HF_SEAL_EXPANSION);
        HF_ASSERT(sealed);
        hf_seal(sealed, &keys->ticket_key, (struct hf_bytes){keys->ticket_name, HF_TICKET_NAME_LEN},
                packed, len);
    }
    hf_writer_close(&writer, mark, 2);
    hf_wipe(packed, sizeof packed);
    return writer.len;
}

void hf_resume_store(struct hf_engine *engine, const struct hf_association *association)
{
    uint8_t packed[HF_SESSION_LEN_MAX];
    uint8_t id[HF_SESSION_ID_LEN];
    size_t len = 0;
    if (!(association->flags & HF_ASSOCIATION_CACHED))
        return;
    make_id(id, engine, association);
    if (pack(packed, &len, engine, association) == HF_OK)
        (void)hf_session_cache_put(engine->config.sessions, id, (struct hf_bytes){packed, len},
                                   until_of(engine, association), (uint32_t)engine->wall_s);
    hf_wipe(packed, sizeof packed);
}

void hf_resume_forget(struct hf_engine *engine, const struct hf_association *association)
{
    uint8_t id[HF_SESSION_ID_LEN];
    if (!(association->flags & HF_ASSOCIATION_CACHED) || !engine->config.sessions)
        return;
    make_id(id, engine, association);
    hf_session_cache_remove(engine->config.sessions, id);
}
