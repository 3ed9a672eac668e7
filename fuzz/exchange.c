/**
 * exchange.c - fuzz target: the body of a ClientKeyExchange, on both transports. What the key
 * source is asked must be what a second, independent reading of the body says (RFC 4279 2).
 */
#include "stage.h"

struct seen {
    unsigned count;
    uint8_t identity[1500];
    size_t identity_len;
};

static void on_request(struct fuzz_world *world, const struct hf_request *request)
{
    struct seen *seen = world->arg;
    seen->count++;
    seen->identity_len = request->psk_identity.len;
    memcpy(seen->identity, request->psk_identity.data, request->psk_identity.len);
    if (fuzz_is_canary())
        seen->identity[0] ^= 1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static struct fuzz_session session;
    struct seen seen = {0};
    if (len < 1 || len > 4096)
        return 0;
    bool is_dtls = data[0] & 1;
    const uint8_t *body = data + 1;
    size_t body_len = len - 1;
    fuzz_session_open(&session, is_dtls, data[0] >> 1, FUZZ_STAGE_EXCHANGE);
    if (fuzz_session_state(&session) == HF_STATE_SV_AWAIT_EXCHANGE) {
        session.world.see_request = on_request;
        session.world.arg = &seen;
        fuzz_session_message(&session, HF_MESSAGE_CLIENT_KEY_EXCHANGE, false,
                             (struct hf_bytes){body, body_len});
        bool is_good = body_len >= 2 && (size_t)(body[0] * 256 + body[1]) == body_len - 2;
        size_t identity_len = body_len - 2;
        bool is_asked =
            is_good && identity_len > 0 && identity_len <= session.world.config.identity_len_max;
        FUZZ_CHECK(seen.count == is_asked);
        FUZZ_CHECK(!is_asked || (seen.identity_len == identity_len &&
                                 memcmp(seen.identity, body + 2, identity_len) == 0));
        /* What nobody can be asked about goes on with a decoy; nonsense ends a stream only. */
        enum hf_state wanted = is_good ? HF_STATE_SV_AWAIT_CCS
                                       : (is_dtls ? HF_STATE_SV_AWAIT_EXCHANGE : HF_STATE_FREE);
        FUZZ_CHECK(fuzz_session_state(&session) == wanted);
    }
    fuzz_session_close(&session);
    return 0;
}
