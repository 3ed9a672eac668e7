/**
 * make_transfers.c - seeds of the target transfer: associations of each kind, written by the very
 * list of fields that reads them.
 */
#include "make_corpus.h"

#include "craft.h"
#include "session.h"
#include "transfer_item.h"

#include <handfast/transfer.h>

#define BOTH_PROTECTED (1u << 3 | 1u << 4)

static void put_entry(struct hf_writer *writer, uint32_t kind, uint32_t index,
                      struct hf_transfer_item *item)
{
    hf_writer_u8(writer, (uint8_t)kind);
    hf_writer_uint(writer, index, 4);
    size_t mark = hf_writer_open(writer, 4);
    struct hf_codec codec = hf_codec_writer(writer->data + writer->len, writer->max - writer->len);
    if (kind == HF_TRANSFER_LIVE)
        hf_transfer_item_live(&codec, item);
    else
        hf_transfer_item_free(&codec, item);
    FUZZ_CHECK(hf_codec_end(&codec));
    writer->len += codec.writer.len;
    hf_writer_close(writer, mark, 4);
}

static struct hf_transfer_item make_item(bool is_dtls, uint16_t suite, uint8_t cipher)
{
    static const uint8_t peer[4] = {198, 51, 100, 7}, local[4] = {192, 0, 2, 1};
    struct hf_transfer_item item = {
        .record = {.generation = 5,
                   .listener_index = !is_dtls,
                   .suite = suite,
                   .framework = HF_FRAMEWORK_PROVISIONED_SYMMETRIC_KEY,
                   .plaintext_len_max = 16384,
                   .receive_len_max = 16384,
                   .write_seq = is_dtls ? UINT64_C(1) << 48 | 3 : 3,
                   .read_seq = 4},
        .write_key = {.cipher = cipher},
        .read_key = {.cipher = cipher},
        .flags = BOTH_PROTECTED | (is_dtls ? 1u : 0u),
        .path = {hf_address_v4(peer, 4711), hf_address_v4(local, 5684)},
        .identity = {.entity_id = {(const uint8_t *)"/cse/Cdev", 9},
                     .credential_id = {(const uint8_t *)"12-device", 9}},
        .silent_us = 1000000,
    };
    if (!is_dtls) {
        item.record.stream.user = 1;
        item.partial = (struct hf_bytes){(const uint8_t *)"\x17\x03\x03\0\x30some", 9};
    } else {
        item.record.datagram.window = 0x1F;
        item.record.trial_tokens = 64;
    }
    return item;
}

static void save_sessions(void)
{
    static uint8_t seed[HF_TRANSFER_CHUNK_MIN];
    struct hf_session_cache *cache;
    struct hf_session_copy *copy;
    size_t len;
    FUZZ_CHECK(hf_session_cache_open(&cache, 32) == HF_OK);
    FUZZ_CHECK(hf_session_copy_open(&copy, cache) == HF_OK);
    for (uint8_t i = 0; i < 4; i++) {
        const struct hf_session session = {.suite = HF_SUITE_PSK_AES_128_CCM_8,
                                           .until_s = 1760086400,
                                           .entity_id = {(const uint8_t *)"/cse/Cdev", 9}};
        uint8_t packed[HF_SESSION_LEN_MAX], id[HF_SESSION_ID_LEN] = {i, 7, 9};
        FUZZ_CHECK(hf_session_pack(packed, &len, &session) == HF_OK);
        FUZZ_CHECK(hf_session_cache_put(cache, id, (struct hf_bytes){packed, len}, 1760086400,
                                        1760000000));
    }
    FUZZ_CHECK(hf_session_copy_write(seed, &len, sizeof seed, copy, 1760000000) == HF_OK);
    fuzz_corpus_save("transfer", "sessions", (struct hf_bytes){seed, len});
    const uint8_t gone[HF_SESSION_ID_LEN] = {1, 7, 9};
    hf_session_cache_remove(cache, gone);
    FUZZ_CHECK(hf_session_copy_write(seed, &len, sizeof seed, copy, 1760000000) == HF_OK);
    fuzz_corpus_save("transfer", "sessions_gone", (struct hf_bytes){seed, len});
    hf_session_copy_close(copy);
    hf_session_cache_close(cache);
}

void fuzz_corpus_transfers(void)
{
    save_sessions();
    static const uint8_t header[4] = {'H', 'F', 'T', HF_TRANSFER_VERSION};
    uint8_t seed[4096];
    struct hf_transfer_item items[3] = {
        make_item(true, HF_SUITE_PSK_AES_128_CCM_8, HF_CIPHER_AES_128_CCM_8),
        make_item(false, HF_SUITE_PSK_AES_128_CBC_SHA256, HF_CIPHER_AES_128_CBC_SHA256),
        make_item(false, HF_SUITE_PSK_AES_128_GCM_SHA256, HF_CIPHER_AES_128_GCM),
    };
    struct hf_writer writer = hf_writer_of(seed, sizeof seed);
    hf_writer_bytes(&writer, header, sizeof header);
    for (uint32_t i = 0; i < 3; i++)
        put_entry(&writer, HF_TRANSFER_LIVE, i, &items[i]);
    put_entry(&writer, HF_TRANSFER_FREE, 5, &items[0]);
    FUZZ_CHECK(!writer.is_failed);
    fuzz_corpus_save("transfer", "all", (struct hf_bytes){seed, writer.len});
    /* One address changes hands, and one record its tenant. */
    items[0].record.generation = 6;
    put_entry(&writer, HF_TRANSFER_LIVE, 4, &items[0]);
    put_entry(&writer, HF_TRANSFER_LIVE, 0, &items[2]);
    FUZZ_CHECK(!writer.is_failed);
    fuzz_corpus_save("transfer", "twice", (struct hf_bytes){seed, writer.len});
}
