/**
 * record.c - fuzz target: the record layer by itself. A datagram is split into records, each is
 * opened with each cipher; the replay window is held against a model; what is sealed opens again.
 */
#include "record.h"

#include "fuzz.h"

#define SEEN_MAX 512

/* Every number received: the window may refuse old ones, never a new one. */
struct seen {
    uint64_t seqs[SEEN_MAX];
    size_t count;
    uint64_t top;
};

static bool has_seen(const struct seen *seen, uint64_t seq)
{
    for (size_t i = 0; i < seen->count; i++) {
        if (seen->seqs[i] == seq)
            return true;
    }
    return false;
}

static void check_window(struct hf_association *association, struct seen *seen, uint64_t seq)
{
    bool is_old = seen->count > 0 && seq < seen->top && seen->top - seq >= 64;
    bool is_refused = hf_record_replayed(association, seq);
    FUZZ_CHECK(is_refused == (is_old || has_seen(seen, seq)));
    if (is_refused || seen->count == SEEN_MAX)
        return;
    hf_record_received(association, seq);
    seen->seqs[seen->count++] = seq;
    if (seq > seen->top)
        seen->top = seq;
    FUZZ_CHECK(hf_record_replayed(association, seq));
}

static void make_key(struct hf_record_key *key, uint8_t cipher)
{
    memset(key, 0x42, sizeof *key);
    memset(key->zero, 0, sizeof key->zero);
    key->cipher = cipher;
}

/* What a record needs of an engine: where MAC keys lie. */
static struct hf_engine engine;

static void check_open(const struct hf_association *association, const struct hf_record *record)
{
    uint8_t *body = fuzz_copy((struct hf_bytes){record->body, record->len});
    struct hf_record opened = *record;
    opened.body = body;
    enum hf_status status = hf_record_unprotect(&opened, &engine, association);
    FUZZ_CHECK(status == HF_OK || status == HF_E_BAD_RECORD_MAC || status == HF_E_RECORD_OVERFLOW ||
               status == HF_E_ARGUMENT || (status == HF_E_DECODE && record->cid.len > 0));
    FUZZ_CHECK(status != HF_E_ARGUMENT || record->len > HF_CIPHERTEXT_LEN_MAX);
    if (status == HF_OK) {
        struct hf_bytes plain = {opened.body, opened.len};
        FUZZ_CHECK(fuzz_is_inside(plain, (struct hf_bytes){body, record->len}));
        FUZZ_CHECK(opened.len <= association->receive_len_max);
        fuzz_touch(plain);
    }
    free(body);
}

static void check_round_trip(uint8_t cipher, const struct hf_record *record)
{
    struct hf_record_key key;
    const struct hf_record_header header = {
        .seq = (uint64_t)record->epoch << 48 | record->seq,
        .version = record->version,
        .type = record->type,
        .cid = record->cid,
    };
    make_key(&key, cipher);
    size_t len = record->len, sealed_len, offset, plain_len;
    size_t max = len + hf_record_expansion((enum hf_cipher)cipher);
    uint8_t *sealed = malloc(max);
    FUZZ_CHECK(sealed != NULL);
    enum hf_status status =
        hf_record_seal(sealed, &sealed_len, max, &key, &header, record->body, len);
    FUZZ_CHECK((status == HF_OK) == (len <= HF_PLAINTEXT_LEN_MAX));
    if (status == HF_OK) {
        FUZZ_CHECK(sealed_len <= max);
        FUZZ_CHECK(sealed_len >= hf_record_len_min((enum hf_cipher)cipher));
        status = fuzz_record_open(&offset, &plain_len, &key, &header, sealed, sealed_len);
        if (fuzz_is_canary() && len > 0)
            sealed[offset] ^= 1;
        FUZZ_CHECK(status == HF_OK && plain_len == len);
        FUZZ_CHECK(len == 0 || memcmp(sealed + offset, record->body, len) == 0);
    }
    free(sealed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct hf_association association = {.flags = HF_ASSOCIATION_DATAGRAM,
                                         .receive_len_max = HF_PLAINTEXT_LEN_MAX,
                                         .mac_keys = HF_NONE};
    struct hf_mac_keys mac_keys;
    struct seen seen = {0};
    fuzz_random_restart(2);
    fuzz_forge(0);
    hf_pool_init(&engine.mac_keys, &mac_keys, sizeof mac_keys, 1);
    size_t cid_len = len > 0 && data[0] & 2 ? 8 : 0;
    if (len > 0 && data[0] & 1)
        association.receive_len_max = 512;
    size_t left = len > 0 ? len - 1 : 0;
    uint8_t *copy = fuzz_copy((struct hf_bytes){data + (len > 0), left});
    uint8_t *at = copy;
    struct hf_record record;
    while (hf_record_datagram_read(&record, at, left, cid_len)) {
        size_t head_len = hf_record_head_len(&record);
        bool is_named = record.type == HF_TYPE_TLS12_CID && record.epoch > 0;
        FUZZ_CHECK(record.cid.len == (is_named ? cid_len : 0));
        FUZZ_CHECK(record.body == at + head_len);
        FUZZ_CHECK(record.len <= left - head_len);
        FUZZ_CHECK(record.seq <= HF_DATAGRAM_SEQ_MAX);
        for (uint8_t cipher = HF_CIPHER_AES_128_CCM_8; cipher <= HF_CIPHER_AES_128_CBC_SHA256_ETM;
             cipher++) {
            struct hf_record_key key;
            make_key(&key, cipher);
            hf_record_keys_keep(&engine, &association, &key, &key);
            check_open(&association, &record);
            hf_record_keys_drop(&engine, &association);
            check_round_trip(cipher, &record);
        }
        check_window(&association, &seen, record.seq);
        at += head_len + record.len;
        left -= head_len + record.len;
    }
    free(copy);
    return 0;
}
