/**
 * stage.c - see stage.h.
 */
#include "stage.h"

#include "association.h"
#include "craft.h"

enum { RECORD_MAX = 20000 };

enum hf_state fuzz_session_state(const struct fuzz_session *session)
{
    const struct hf_association *association =
        hf_association_find(session->world.engine, session->association);
    return association ? (enum hf_state)association->state : HF_STATE_FREE;
}

void fuzz_session_send(struct fuzz_session *session, uint8_t type, bool is_protected,
                       struct hf_bytes plaintext)
{
    uint8_t *record = malloc(RECORD_MAX);
    FUZZ_CHECK(record != NULL);
    struct hf_writer writer = hf_writer_of(record, RECORD_MAX);
    if (session->is_dtls)
        fuzz_craft_datagram_record(&writer, type, is_protected, session->next_seq[is_protected]++,
                                   plaintext);
    else
        fuzz_craft_stream_record(&writer, type, is_protected, plaintext);
    FUZZ_CHECK(!writer.is_failed);
    size_t done = 0;
    for (int i = 0; i < 8 && done < writer.len; i++) {
        struct hf_bytes rest = {record + done, writer.len - done};
        if (session->is_dtls)
            fuzz_world_datagram(&session->world, 0, rest);
        done += session->is_dtls ? rest.len
                                 : fuzz_world_stream(&session->world, session->association, rest);
        fuzz_world_quiesce(&session->world);
    }
    free(record);
}

void fuzz_session_message(struct fuzz_session *session, uint8_t type, bool is_protected,
                          struct hf_bytes body)
{
    uint8_t *message = malloc(RECORD_MAX);
    FUZZ_CHECK(message != NULL);
    struct hf_writer writer = hf_writer_of(message, RECORD_MAX);
    const struct fuzz_part part = {type, session->message_seq++, (uint32_t)body.len, 0};
    fuzz_craft_message(&writer, session->is_dtls, &part, body);
    FUZZ_CHECK(!writer.is_failed);
    fuzz_session_send(session, HF_TYPE_HANDSHAKE, is_protected,
                      (struct hf_bytes){message, writer.len});
    free(message);
}

static void send_hello(struct fuzz_session *session, uint8_t extensions)
{
    uint8_t body[512];
    struct fuzz_hello hello = {
        .version = session->is_dtls ? HF_VERSION_DTLS_1_2 : HF_VERSION_TLS_1_2,
        .random = 7,
        .suites = 0x1F,
        .extensions = extensions,
    };
    for (int i = session->is_dtls ? 0 : 1; i < 2; i++) { /* without the cookie, with it */
        hello.cookie = (struct hf_bytes){session->world.cookies[0], session->world.cookie_lens[0]};
        struct hf_writer writer = hf_writer_of(body, sizeof body);
        fuzz_craft_hello(&writer, &hello, session->is_dtls);
        fuzz_session_message(session, HF_MESSAGE_CLIENT_HELLO, false,
                             (struct hf_bytes){body, writer.len});
    }
    if (session->is_dtls) {
        const struct hf_association *association = fuzz_world_association(&session->world, 0);
        FUZZ_CHECK(association != NULL);
        session->association = hf_association_handle(session->world.engine, association);
    }
}

void fuzz_session_open(struct fuzz_session *session, bool is_dtls, uint8_t extensions,
                       enum fuzz_stage stage)
{
    static const uint8_t ccs[1] = {1};
    static const uint8_t verify_data[HF_VERIFY_DATA_LEN];
    static const uint8_t exchange[] = {0, 6, 'c', 'l', 'i', 'e', 'n', 't'};
    struct fuzz_input none = {NULL, 0};
    memset(session, 0, sizeof *session);
    fuzz_world_config(&session->world, &none);
    fuzz_world_open(&session->world);
    session->is_dtls = is_dtls;
    if (!is_dtls) {
        struct hf_path path = fuzz_world_path(0);
        FUZZ_CHECK(hf_engine_accept(&session->association, session->world.engine, FUZZ_LISTENER_TLS,
                                    &path, 1) == HF_OK);
    }
    if (stage >= FUZZ_STAGE_EXCHANGE)
        send_hello(session, extensions);
    if (stage >= FUZZ_STAGE_CCS)
        fuzz_session_message(session, HF_MESSAGE_CLIENT_KEY_EXCHANGE, false,
                             (struct hf_bytes){exchange, sizeof exchange});
    if (stage >= FUZZ_STAGE_FINISHED)
        fuzz_session_send(session, HF_TYPE_CHANGE_CIPHER_SPEC, false,
                          (struct hf_bytes){ccs, sizeof ccs});
    if (stage >= FUZZ_STAGE_OPEN) {
        fuzz_session_message(session, HF_MESSAGE_FINISHED, true,
                             (struct hf_bytes){verify_data, sizeof verify_data});
        FUZZ_CHECK(session->world.established_count == 1);
    }
}

void fuzz_session_close(struct fuzz_session *session)
{
    fuzz_world_close(&session->world);
}
