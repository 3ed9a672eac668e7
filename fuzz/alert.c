/**
 * alert.c - fuzz target: alerts in every state, plain and protected, against a model of what each
 * may do (RFC 5246 7.2; RFC 6347 4.1.2.7: what anyone may have sent does nothing).
 */
#include "stage.h"

#define WARNINGS_MAX 40

struct model {
    bool is_dtls, is_open, is_live, is_half_closed;
    unsigned warnings;
};

static void judge(struct model *model, bool is_protected, struct hf_bytes alert)
{
    if (!model->is_live || (model->is_dtls && !is_protected))
        return;
    if (alert.len != 2) {
        model->is_live = model->is_dtls;
        return;
    }
    uint8_t level = alert.data[0];
    if (level < 1 || level > 2) {
        model->is_live = false;
    } else if (alert.data[1] == 0) {
        if (model->is_open && !model->is_dtls)
            model->is_half_closed = true;
        else
            model->is_live = false;
    } else if (level == 2) {
        model->is_live = false;
    } else {
        model->is_live = ++model->warnings <= WARNINGS_MAX;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static struct fuzz_session session;
    struct fuzz_input input = {data, len};
    uint8_t code = fuzz_u8(&input);
    bool is_dtls = code & 1;
    enum fuzz_stage stage = (enum fuzz_stage)((code >> 1) % FUZZ_STAGE_COUNT);
    if (is_dtls && stage == FUZZ_STAGE_HELLO)
        stage = FUZZ_STAGE_EXCHANGE;
    fuzz_session_open(&session, is_dtls, 1, stage);
    struct model model = {is_dtls, stage == FUZZ_STAGE_OPEN, true, false, 0};
    for (int i = 0; i < 32 && input.len > 0; i++) {
        uint8_t front = fuzz_u8(&input);
        bool is_protected = stage >= FUZZ_STAGE_FINISHED && !(is_dtls && front & 4);
        struct hf_bytes alert = fuzz_take(&input, (front & 3) == 3 ? front >> 3 : 2);
        if (model.is_half_closed)
            break; /* what follows close_notify is not read */
        judge(&model, is_protected, alert);
        fuzz_session_send(&session, HF_TYPE_ALERT, is_protected, alert);
        bool is_live = fuzz_session_state(&session) != HF_STATE_FREE;
        if (fuzz_is_canary() && !is_live)
            is_live = true;
        FUZZ_CHECK(is_live == model.is_live);
    }
    fuzz_session_close(&session);
    return 0;
}
