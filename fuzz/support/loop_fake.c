/**
 * loop_fake.c - see loop_fake.h.
 */
#include "loop_fake.h"

#include "fuzz.h"

struct fuzz_loop fuzz_loop;

void fuzz_loop_reset(enum hf_transport transport, uint8_t names, uint8_t limit, uint8_t room)
{
    static const uint16_t limits[4] = {16384, 64, 512, 1024};
    static const uint16_t lens[4] = {7, 0, 100, HF_CREDENTIAL_ID_MAX};
    memset(&fuzz_loop.info, 0, sizeof fuzz_loop.info);
    fuzz_loop.info.transport = transport;
    fuzz_loop.info.suite = HF_SUITE_PSK_AES_128_CCM_8;
    fuzz_loop.info.entity_kind = (enum hf_entity_kind)(names >> 6);
    fuzz_loop.info.plaintext_len_max = limits[limit & 3];
    fuzz_loop.info.credential_id_len = lens[names & 3];
    fuzz_loop.info.entity_id_len = names & 4 ? 12 : 0;
    memset(fuzz_loop.info.credential_id, names & 8 ? 0xC3 : 'c', lens[names & 3]);
    memset(fuzz_loop.info.entity_id, names & 16 ? '"' : 'e', fuzz_loop.info.entity_id_len);
    fuzz_loop.is_gone = names & 32;
    fuzz_loop.is_ended = false;
    fuzz_loop.accept = room < 128 ? UINT32_MAX : room - 128u;
    fuzz_loop.refuse = UINT32_MAX;
    fuzz_loop.send_count = 0;
    fuzz_loop.sent_len = fuzz_loop.last_len = 0;
}

enum hf_status hf_loop_send(struct hf_loop *loop, hf_association_id association,
                            struct hf_bytes data)
{
    FUZZ_CHECK((void *)loop == (void *)&fuzz_loop && association != 0);
    FUZZ_CHECK(!fuzz_loop.is_ended && !fuzz_loop.is_gone);
    fuzz_touch(data);
    if (fuzz_loop.accept == 0)
        return HF_WAITING;
    fuzz_loop.accept--;
    FUZZ_CHECK(data.len > 0);
    fuzz_loop.send_count++;
    fuzz_loop.last_len = data.len;
    if (data.len <= FUZZ_SENT_MAX - fuzz_loop.sent_len) {
        memcpy(fuzz_loop.sent + fuzz_loop.sent_len, data.data, data.len);
        fuzz_loop.sent_len += data.len;
    }
    return HF_OK;
}

void hf_loop_end(struct hf_loop *loop, hf_association_id association, enum hf_close how)
{
    FUZZ_CHECK((void *)loop == (void *)&fuzz_loop && association != 0);
    FUZZ_CHECK(how == HF_CLOSE_NOTIFY && !fuzz_loop.is_ended);
    fuzz_loop.is_ended = true;
}

struct hf_engine *hf_loop_engine(struct hf_loop *loop)
{
    return (struct hf_engine *)(void *)loop;
}

/* Ours, in front of the library's: a responder asks nothing else of the engine. */
enum hf_status hf_engine_association_info(struct hf_association_info *out,
                                          const struct hf_engine *engine,
                                          hf_association_id association)
{
    FUZZ_CHECK((const void *)engine == (const void *)&fuzz_loop && association != 0);
    if (fuzz_loop.is_gone)
        return HF_E_STALE;
    *out = fuzz_loop.info;
    return HF_OK;
}
