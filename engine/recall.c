/**
 * recall.c - see recall.h. What the embedder keeps is {version, length and bytes of the session ID,
 * length and bytes of the ticket, the session packed}: opaque to him.
 */
#include "recall.h"

#include "association.h"
#include "flight.h"
#include "hello.h"
#include "identity.h"
#include "keys.h"
#include "offer.h"
#include "steps.h"

#define KEPT_VERSION 1
#define LIFE_S_MAX 604800 /* a server may promise more: seven days */
#define LIFE_S 3600       /* and need not say anything */

_Static_assert(HF_SESSION_MAX >= 4 + HF_SESSION_ID_LEN + HF_RECALL_LEN, "all of it fits");

static uint8_t *ticket_room(const struct hf_engine *engine, struct hf_handshake *handshake)
{
    return (uint8_t *)handshake + engine->slot.session;
}

static uint8_t *packed_room(const struct hf_engine *engine, struct hf_handshake *handshake)
{
    return ticket_room(engine, handshake) + HF_RECALL_TICKET_MAX;
}

struct hf_bytes hf_recall_ticket(const struct hf_engine *engine, struct hf_handshake *handshake)
{
    return (struct hf_bytes){ticket_room(engine, handshake), handshake->ticket_len};
}

/** Whom the order is for, as whom, and what is asked of him: a session is good for the same order
 *  only. */
static void bind_to(uint8_t out[HF_SESSION_BINDING_LEN], const struct hf_engine *engine,
                    const struct hf_association *association, struct hf_handshake *handshake)
{
    const struct hf_dialer *dialer = hf_dialer_of(engine, association);
    const struct hf_terms *terms = &handshake->terms;
    const struct hf_credential *x509 = hf_shown_x509(handshake, dialer);
    const uint8_t kind[9] = {(uint8_t)dialer->transport,
                             (uint8_t)dialer->reference_point,
                             handshake->flavour,
                             terms->server_name_len,
                             (uint8_t)(handshake->identity_len >> 8),
                             (uint8_t)handshake->identity_len,
                             dialer->trust != NULL,
                             x509 != NULL,
                             dialer->raw != NULL};
    uint8_t digest[HF_SHA256_LEN];
    struct hf_sha256 hash;
    hf_sha256_init(&hash);
    hf_sha256_update(&hash, kind, sizeof kind);
    hf_sha256_update(&hash, terms->server_name, terms->server_name_len);
    hf_sha256_update(&hash, hf_handshake_identity(engine, handshake), handshake->identity_len);
    if (dialer->trust)
        hf_sha256_update(&hash, hf_trust_policy(dialer->trust), HF_TRUST_POLICY_LEN);
    if (x509)
        hf_sha256_update(&hash, hf_credential_key_digest(x509), HF_SHA256_LEN);
    if (dialer->raw)
        hf_sha256_update(&hash, hf_credential_key_digest(dialer->raw), HF_SHA256_LEN);
    hf_sha256_final(digest, &hash);
    memcpy(out, digest, HF_SESSION_BINDING_LEN);
}

static bool is_equal(struct hf_bytes a, const char *b, size_t b_len)
{
    return a.len == b_len && (b_len == 0 || hf_bytes_equal_public(a.data, b, b_len));
}

/** Whether the session was with whom the order is for: nobody in particular, or that one. */
static bool is_with(const struct hf_session *session, const struct hf_engine *engine,
                    const struct hf_association *association, const struct hf_handshake *handshake)
{
    struct hf_association_info named = {0};
    hf_identity_copy(&named, engine, association->identity);
    if (handshake->is_named && !is_equal(session->entity_id, named.entity_id, named.entity_id_len))
        return false;
    return !(association->flags & HF_ASSOCIATION_SA2) ||
           is_equal(session->credential_id, named.credential_id, named.credential_id_len);
}

static bool is_fitting(const struct hf_session *session, const struct hf_engine *engine,
                       const struct hf_association *association, struct hf_handshake *handshake)
{
    const struct hf_dialer *dialer = hf_dialer_of(engine, association);
    uint8_t binding[HF_SESSION_BINDING_LEN];
    bind_to(binding, engine, association, handshake);
    return hf_session_is_standing(session, dialer->trust, engine->wall_s) && session->is_ems &&
           (!session->is_etm || dialer->encrypt_then_mac) &&
           hf_offer_is_offered(dialer, handshake, session->suite) &&
           is_with(session, engine, association, handshake) &&
           hf_bytes_equal_public(binding, session->binding, sizeof binding);
}

void hf_recall_take(struct hf_engine *engine, struct hf_association *association,
                    const struct hf_connect *connect)
{
    struct hf_handshake *handshake = hf_handshake_of(engine, association);
    struct hf_terms *terms = &handshake->terms;
    struct hf_session session = {0};
    struct hf_reader reader = hf_reader_of(connect->session);
    uint8_t version = hf_reader_u8(&reader);
    struct hf_bytes id = hf_reader_vector(&reader, 1);
    struct hf_bytes ticket = hf_reader_vector(&reader, 2);
    struct hf_bytes packed = {reader.data, reader.len};
    bool is_good = hf_dialer_of(engine, association)->sessions && connect->session.len > 0 &&
                   !reader.is_failed && version == KEPT_VERSION && id.len <= HF_SESSION_ID_LEN &&
                   ticket.len <= HF_RECALL_TICKET_MAX && packed.len <= HF_SESSION_LEN_MAX &&
                   (id.len > 0 || ticket.len > 0);
    if (is_good && hf_session_unpack(&session, packed) == HF_OK &&
        is_fitting(&session, engine, association, handshake)) {
        memcpy(packed_room(engine, handshake), packed.data, packed.len);
        handshake->session_len = (uint16_t)packed.len;
        if (ticket.len > 0)
            memcpy(ticket_room(engine, handshake), ticket.data, ticket.len);
        handshake->ticket_len = (uint16_t)ticket.len;
        terms->session_id_len = HF_SESSION_ID_LEN;
        hf_random(terms->session_id, HF_SESSION_ID_LEN); /* RFC 5077 3.4: it comes back, or not */
        if (ticket.len == 0) {
            terms->session_id_len = (uint8_t)id.len;
            memcpy(terms->session_id, id.data, id.len);
        }
    }
    hf_wipe(&session, sizeof session);
}

static enum hf_status adopt(struct hf_engine *engine, struct hf_association *association,
                            const struct hf_session *session)
{
    const struct hf_terms *terms = &hf_handshake_of(engine, association)->terms;
    const struct hf_identity identity = hf_session_identity(session, terms);
    uint32_t head;
    HF_TRY(hf_identity_keep(&head, engine, &identity));
    hf_identity_drop(engine, association->identity);
    association->identity = head;
    association->context = session->context;
    hf_session_adopt(association, session);
    return HF_OK;
}

enum hf_status hf_recall_accept(struct hf_engine *engine, struct hf_association *association)
{
    struct hf_handshake *handshake = hf_handshake_of(engine, association);
    const struct hf_terms *terms = &handshake->terms;
    struct hf_session session = {0};
    enum hf_status status = hf_session_unpack(
        &session, (struct hf_bytes){packed_room(engine, handshake), handshake->session_len});
    if (status == HF_OK && !terms->is_ems) /* RFC 7627 5.3 */
        status = HF_E_NO_EXTENDED_MASTER_SECRET;
    else if (status == HF_OK && (terms->suite != session.suite || terms->is_etm != session.is_etm))
        status = HF_E_ILLEGAL_PARAMETER; /* RFC 5246 7.4.1.3, RFC 7366 3.1 */
    if (status == HF_OK)
        status = adopt(engine, association, &session);
    hf_wipe(&session, sizeof session);
    return status;
}

/** RFC 5077 3.3: in the server's last flight, or in its first when it resumes. */
enum hf_status hf_recall_new_ticket(struct hf_engine *engine, struct hf_association *association,
                                    const struct hf_machine_event *event)
{
    struct hf_handshake *handshake = hf_handshake_of(engine, association);
    struct hf_reader reader = hf_reader_of(event->body);
    uint32_t life_s = (uint32_t)hf_reader_uint(&reader, 4);
    struct hf_bytes ticket = hf_reader_vector(&reader, 2);
    if (!hf_reader_done(&reader))
        return HF_E_DECODE;
    if (!handshake->terms.is_ticket_following)
        return HF_E_UNEXPECTED_MESSAGE; /* not promised, or the second one */
    handshake->terms.is_ticket_following = false;
    handshake->ticket_life_s = life_s;
    handshake->ticket_len = 0;
    if (ticket.len > 0 && ticket.len <= HF_RECALL_TICKET_MAX) {
        memcpy(ticket_room(engine, handshake), ticket.data, ticket.len);
        handshake->ticket_len = (uint16_t)ticket.len;
    }
    hf_flight_hash(association, handshake, HF_MESSAGE_NEW_SESSION_TICKET, event->message_seq,
                   event->body);
    return HF_OK;
}

static enum hf_status pack(uint8_t out[HF_SESSION_LEN_MAX], size_t *out_len,
                           const struct hf_engine *engine, struct hf_association *association)
{
    struct hf_handshake *handshake = hf_handshake_of(engine, association);
    struct hf_association_info info = {0};
    uint8_t binding[HF_SESSION_BINDING_LEN];
    uint32_t life_s = handshake->ticket_life_s ? handshake->ticket_life_s : LIFE_S;
    uint32_t until_s = (uint32_t)engine->wall_s + (life_s < LIFE_S_MAX ? life_s : LIFE_S_MAX);
    hf_identity_copy(&info, engine, association->identity);
    bind_to(binding, engine, association, handshake);
    return hf_session_save(out, out_len, engine, association, &info, binding, until_s);
}

void hf_recall_emit(struct hf_engine *engine, struct hf_association *association)
{
    struct hf_handshake *handshake = hf_handshake_of(engine, association);
    const struct hf_terms *terms = &handshake->terms;
    const struct hf_bytes ticket = hf_recall_ticket(engine, handshake);
    bool has_id = terms->session_id_len > 0 && handshake->way != HF_WAY_RESUMED;
    uint8_t packed[HF_SESSION_LEN_MAX];
    size_t len = 0;
    if (!hf_dialer_of(engine, association)->sessions || !(has_id || ticket.len > 0) ||
        !(association->flags & HF_ASSOCIATION_EMS) || /* RFC 7627 5.3: not resumable */
        pack(packed, &len, engine, association) != HF_OK)
        return;
    uint8_t *room = hf_outbox_room(&engine->outbox, HF_SESSION_MAX);
    if (room) {
        struct hf_writer writer = hf_writer_of(room, HF_SESSION_MAX);
        hf_writer_u8(&writer, KEPT_VERSION);
        hf_writer_u8(&writer, has_id ? terms->session_id_len : 0);
        hf_writer_bytes(&writer, terms->session_id, has_id ? terms->session_id_len : 0);
        hf_writer_u16(&writer, (uint16_t)ticket.len);
        hf_writer_bytes(&writer, ticket.data, ticket.len);
        hf_writer_bytes(&writer, packed, len);
        hf_outbox_hold(&engine->outbox, writer.len);
        hf_association_event(engine, association, HF_EVENT_SESSION)->data =
            (struct hf_bytes){room, writer.len};
    }
    hf_wipe(packed, sizeof packed);
}
