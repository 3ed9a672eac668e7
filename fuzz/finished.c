/**
 * finished.c - fuzz target: what arrives where a Finished is due, as the plaintext of protected
 * handshake records, on both transports. Only a Finished establishes, and it does (verify_data
 * itself is accepted unseen here; the flow tests judge it).
 */
#include "stage.h"

/* TLS: what must become of an association that receives this and nothing more. */
static enum hf_state stream_verdict(const struct fuzz_session *session, struct hf_bytes plain)
{
    const uint8_t *data = plain.data;
    if (plain.len == 0)
        return HF_STATE_FREE;
    if (plain.len < 4)
        return HF_STATE_SV_AWAIT_FINISHED;
    size_t message_len = (size_t)data[1] << 16 | (size_t)data[2] << 8 | data[3];
    if (message_len > session->world.config.message_len_max)
        return HF_STATE_FREE;
    if (message_len > plain.len - 4)
        return HF_STATE_SV_AWAIT_FINISHED;
    if (data[0] != HF_MESSAGE_FINISHED || message_len != HF_VERIFY_DATA_LEN)
        return HF_STATE_FREE;
    /* A message behind Finished: incomplete it waits, and is then none of ours. */
    if (plain.len == 16)
        return HF_STATE_OPEN;
    size_t rest = plain.len - 16;
    if (rest < 4)
        return HF_STATE_COUNT;
    message_len = (size_t)data[17] << 16 | (size_t)data[18] << 8 | data[19];
    return message_len <= rest - 4 || message_len > session->world.config.message_len_max
               ? HF_STATE_FREE
               : HF_STATE_COUNT;
}

/* DTLS: true if the record begins with the whole Finished that is due. */
static bool is_whole_finished(const struct fuzz_session *session, struct hf_bytes plain)
{
    struct hf_reader reader = hf_reader_of(plain);
    bool is_ours = hf_reader_u8(&reader) == HF_MESSAGE_FINISHED;
    is_ours = hf_reader_u24(&reader) == HF_VERIFY_DATA_LEN && is_ours;
    is_ours = hf_reader_u16(&reader) == session->message_seq && is_ours;
    is_ours = hf_reader_u24(&reader) == 0 && is_ours;
    is_ours = hf_reader_vector(&reader, 3).len == HF_VERIFY_DATA_LEN && is_ours;
    return is_ours && !reader.is_failed;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static struct fuzz_session session;
    if (len < 1 || len > 4096)
        return 0;
    bool is_dtls = data[0] & 1;
    struct hf_bytes plain = {data + 1, len - 1};
    fuzz_session_open(&session, is_dtls, data[0] >> 1 & 0x27, FUZZ_STAGE_FINISHED);
    FUZZ_CHECK(fuzz_session_state(&session) == HF_STATE_SV_AWAIT_FINISHED);
    session.world.reply.kind = HF_ANSWER_IDENTITY;
    fuzz_session_send(&session, HF_TYPE_HANDSHAKE, true, plain);
    bool is_established = session.world.established_count == 1;
    enum hf_state state = fuzz_session_state(&session);
    if (fuzz_is_canary() && is_established)
        state = HF_STATE_SV_AWAIT_FINISHED;
    if (is_dtls) {
        FUZZ_CHECK(!is_whole_finished(&session, plain) || is_established);
        /* It holds the key: what it says wrong is its own end. */
        FUZZ_CHECK(is_established ? state == HF_STATE_OPEN
                                  : state == HF_STATE_SV_AWAIT_FINISHED || state == HF_STATE_FREE);
    } else {
        enum hf_state wanted = stream_verdict(&session, plain);
        FUZZ_CHECK(wanted == HF_STATE_COUNT || state == wanted);
        FUZZ_CHECK(is_established == (wanted == HF_STATE_OPEN) || wanted == HF_STATE_COUNT);
    }
    fuzz_session_close(&session);
    return 0;
}
