/**
 * session.c - see session.h: the compact form - version, fixed fields, three texts - and
 * what both roles do with it.
 */
#include "session.h"

#define VERSION 1
#define IS_EMS 1
#define IS_ETM 2

static void write_text(struct hf_writer *writer, struct hf_bytes text)
{
    hf_writer_u16(writer, (uint16_t)text.len);
    hf_writer_bytes(writer, text.data, text.len);
}

enum hf_status hf_session_pack(uint8_t out[HF_SESSION_LEN_MAX], size_t *out_len,
                               const struct hf_session *session)
{
    struct hf_writer writer = hf_writer_of(out, HF_SESSION_LEN_MAX);
    hf_writer_u8(&writer, VERSION);
    hf_writer_u8(&writer,
                 (uint8_t)((session->is_ems ? IS_EMS : 0) | (session->is_etm ? IS_ETM : 0)));
    hf_writer_u16(&writer, session->suite);
    hf_writer_u16(&writer, session->suid);
    hf_writer_u8(&writer, session->framework);
    hf_writer_u8(&writer, session->entity_kind);
    hf_writer_uint(&writer, session->until_s, 4);
    hf_writer_uint(&writer, session->expires_s, 4);
    hf_writer_uint(&writer, session->context, 8);
    hf_writer_bytes(&writer, session->binding, HF_SESSION_BINDING_LEN);
    hf_writer_bytes(&writer, session->master_secret, HF_MASTER_SECRET_LEN);
    write_text(&writer, session->entity_id);
    write_text(&writer, session->credential_id);
    write_text(&writer, session->revocation);
    if (writer.is_failed) {
        hf_wipe(out, HF_SESSION_LEN_MAX);
        return HF_E_TOO_LONG;
    }
    *out_len = writer.len;
    return HF_OK;
}

enum hf_status hf_session_unpack(struct hf_session *out, struct hf_bytes packed)
{
    struct hf_reader reader = hf_reader_of(packed);
    uint8_t version = hf_reader_u8(&reader);
    uint8_t flags = hf_reader_u8(&reader);
    struct hf_session session = {
        .is_ems = flags & IS_EMS,
        .is_etm = flags & IS_ETM,
        .suite = hf_reader_u16(&reader),
        .suid = hf_reader_u16(&reader),
        .framework = hf_reader_u8(&reader),
        .entity_kind = hf_reader_u8(&reader),
        .until_s = (uint32_t)hf_reader_uint(&reader, 4),
        .expires_s = (uint32_t)hf_reader_uint(&reader, 4),
        .context = hf_reader_uint(&reader, 8),
    };
    struct hf_bytes binding = hf_reader_take(&reader, HF_SESSION_BINDING_LEN);
    struct hf_bytes master = hf_reader_take(&reader, HF_MASTER_SECRET_LEN);
    session.entity_id = hf_reader_vector(&reader, 2);
    session.credential_id = hf_reader_vector(&reader, 2);
    session.revocation = hf_reader_vector(&reader, 2);
    if (!hf_reader_done(&reader) || !binding.data || !master.data || version != VERSION ||
        session.entity_id.len > HF_ENTITY_ID_MAX ||
        session.credential_id.len > HF_CREDENTIAL_ID_MAX ||
        session.revocation.len > HF_SESSION_REVOCATION_MAX)
        return HF_E_DECODE;
    memcpy(session.binding, binding.data, HF_SESSION_BINDING_LEN);
    memcpy(session.master_secret, master.data, HF_MASTER_SECRET_LEN);
    *out = session;
    hf_wipe(session.master_secret, sizeof session.master_secret);
    return HF_OK;
}

bool hf_session_is_standing(const struct hf_session *session, const struct hf_trust *trust,
                            int64_t wall_s)
{
    bool is_certificate = session->framework == HF_FRAMEWORK_CERTIFICATE;
    if (wall_s >= (int64_t)session->until_s ||
        (session->expires_s && wall_s >= (int64_t)session->expires_s) || (is_certificate && !trust))
        return false;
    for (size_t at = 0; is_certificate && at + HF_REVOCATION_HANDLE_LEN <= session->revocation.len;
         at += HF_REVOCATION_HANDLE_LEN) {
        if (hf_trust_is_revoked(trust, session->revocation.data + at))
            return false;
    }
    return true;
}

struct hf_identity hf_session_identity(const struct hf_session *session,
                                       const struct hf_terms *terms)
{
    return (struct hf_identity){
        .entity_id = session->entity_id,
        .credential_id = session->credential_id,
        .server_name = {terms->server_name, terms->server_name_len},
        .handles = session->revocation,
    };
}

void hf_session_adopt(struct hf_association *association, const struct hf_session *session)
{
    association->flags |= HF_ASSOCIATION_RESUMED;
    association->suid = session->suid;
    association->framework = session->framework;
    association->entity_kind = session->entity_kind;
    association->expires_s = session->expires_s;
    memcpy(association->master_secret, session->master_secret, HF_MASTER_SECRET_LEN);
}

enum hf_status hf_session_save(uint8_t out[HF_SESSION_LEN_MAX], size_t *out_len,
                               const struct hf_engine *engine,
                               const struct hf_association *association,
                               const struct hf_association_info *info,
                               const uint8_t binding[HF_SESSION_BINDING_LEN], uint32_t until_s)
{
    uint8_t handles[HF_CHAIN_DEPTH_MAX * HF_REVOCATION_HANDLE_LEN];
    size_t handle_count = hf_identity_handles(handles, engine, association->identity);
    struct hf_session session = {
        .suite = association->suite,
        .suid = association->suid,
        .framework = association->framework,
        .entity_kind = association->entity_kind,
        .is_ems = association->flags & HF_ASSOCIATION_EMS,
        .is_etm = association->flags & HF_ASSOCIATION_ETM,
        .until_s = until_s,
        .expires_s = association->expires_s,
        .context = association->context,
        .entity_id = {(const uint8_t *)info->entity_id, info->entity_id_len},
        .credential_id = {(const uint8_t *)info->credential_id, info->credential_id_len},
        .revocation = {handles, handle_count * HF_REVOCATION_HANDLE_LEN},
    };
    memcpy(session.binding, binding, HF_SESSION_BINDING_LEN);
    memcpy(session.master_secret, association->master_secret, HF_MASTER_SECRET_LEN);
    enum hf_status status = hf_session_pack(out, out_len, &session);
    hf_wipe(&session, sizeof session);
    return status;
}
