/**
 * cbc.c - AES-128-CBC with HMAC-SHA256 records, in both orders.
 *
 * MAC then encrypt (RFC 5246 6.2.3.2) is opened in constant time: the number of compressions, the
 * addresses touched and the branches taken depend on the length of the record alone, never on the
 * padding or the content (CVE-2013-0169). Padding and MAC give one bit, at the very end.
 */
#include "private.h"
#include "ct.h"

#include <openssl/aes.h>

#include <string.h>

#define BLOCK HF__AES_BLOCK_LEN
#define MAC_LEN HF_SHA256_LEN
#define HASH_BLOCK HF__SHA256_BLOCK_LEN
#define AAD_MAX HF__RECORD_AAD_MAX
_Static_assert(AAD_MAX <= HASH_BLOCK, "a header ends in the first block");
#define PAD_MAX 255u
#define MAC_SPAN_MAX (MAC_LEN + PAD_MAX + 1u) /* where a MAC can be: whole cipher blocks */
#define WINDOW_BLOCKS_MAX                                                                          \
    6u /* hash blocks in which the data can end, padding and length included */

static void cbc_crypt(uint8_t *data, size_t len, const uint8_t iv[BLOCK],
                      const struct hf_record_key *key, int direction)
{
    uint8_t chain[BLOCK];
    AES_KEY schedule;

    memcpy(chain, iv, sizeof chain);
    if (direction == AES_ENCRYPT)
        AES_set_encrypt_key(key->key, 8 * HF__AES_KEY_LEN, &schedule);
    else
        AES_set_decrypt_key(key->key, 8 * HF__AES_KEY_LEN, &schedule);
    AES_cbc_encrypt(data, data, len, &schedule, chain, direction);
    hf_wipe(&schedule, sizeof schedule);
}

/* HMAC over header and data, of a public length. */
static void cbc_mac(uint8_t out[MAC_LEN], const struct hf_record_key *key,
                    const struct hf_record_header *header, const uint8_t *data, size_t len)
{
    uint8_t aad[AAD_MAX];
    size_t aad_len = hf__record_aad(aad, header, (uint32_t)len);
    const struct hf_bytes parts[] = {{aad, aad_len}, {data, len}};
    struct hf_hmac_key mac;

    hf_hmac_key_init(&mac, (struct hf_bytes){key->mac_key, sizeof key->mac_key});
    hf_hmac(out, &mac, parts, 2);
    hf_wipe(&mac, sizeof mac);
}

/* Pads `len` bytes to whole blocks with the least padding; gives the padded length. */
static size_t cbc_pad(uint8_t *data, size_t len)
{
    size_t pad = BLOCK - 1 - len % BLOCK;

    memset(data + len, (int)pad, pad + 1);
    return len + pad + 1;
}

size_t hf__cbc_seal(uint8_t *out, const struct hf_record_key *key,
                    const struct hf_record_header *header, const uint8_t *in, size_t in_len)
{
    uint8_t *body = out + BLOCK;
    size_t body_len;

    hf_random(out, BLOCK);
    if (in_len > 0 && in != body)
        memcpy(body, in, in_len);
    cbc_mac(body + in_len, key, header, body, in_len);
    body_len = cbc_pad(body, in_len + MAC_LEN);
    cbc_crypt(body, body_len, out, key, AES_ENCRYPT);
    return BLOCK + body_len;
}

/* A mask for well-formed padding that leaves room for a MAC. `pad_len` counts padding bytes before
 * the length byte; it is 0 if the padding is bad (RFC 5246 6.2.3.2: the MAC is computed anyway). */
static uint32_t cbc_check_padding(uint32_t *pad_len, const uint8_t *plain, uint32_t len)
{
    uint32_t window = len < PAD_MAX + 1 ? len : PAD_MAX + 1;
    const uint8_t *tail = plain + len - window;
    uint8_t pad = plain[len - 1];
    uint8_t before[PAD_MAX + 1]; // masks of the bytes that are not padding
    uint8_t bad = 0;
    uint32_t good;

    hf__ct_below(before, window, window - 1 - pad);
    for (uint32_t i = 0; i < window; i++)
        bad |= (uint8_t)(~before[i] & (tail[i] ^ pad));
    good = hf__ct_eq(bad, 0) & ~hf__ct_lt(len, pad + 1u + MAC_LEN);
    *pad_len = good & pad;
    return good;
}

/* Block `index` of header || data as if all of it were present; zero where nothing can be. */
static void cbc_load_block(uint8_t block[HASH_BLOCK], struct hf_bytes aad, const uint8_t *data,
                           uint32_t data_len_max, uint32_t index)
{
    uint32_t begin = index * HASH_BLOCK; // in header || data
    uint32_t skip = index == 0 ? (uint32_t)aad.len : 0;
    uint32_t from = begin + skip - (uint32_t)aad.len; // in data
    uint32_t take = data_len_max > from ? data_len_max - from : 0;

    if (take > HASH_BLOCK - skip)
        take = HASH_BLOCK - skip;
    memset(block, 0, HASH_BLOCK);
    if (index == 0)
        memcpy(block, aad.data, aad.len);
    if (take > 0)
        memcpy(block + skip, data + from, take);
}

/* Ends the message in this block, before it, or not yet: `upto` holds the masks of i <= end. */
static void cbc_end_block(uint8_t block[HASH_BLOCK], const uint8_t upto[HASH_BLOCK + 1])
{
    for (uint32_t i = 0; i < HASH_BLOCK; i++) {
        uint8_t inside = upto[i + 1]; // i < end
        uint8_t end = upto[i] ^ inside;

        block[i] = (uint8_t)((inside & block[i]) | (end & 0x80));
    }
}

/* HMAC over header and the first `data_len` bytes (secret) of `data`. `data_len` is within
 * PAD_MAX of `data_len_max` (public): blocks before that window are hashed directly, the blocks
 * in it are all hashed, and the state after the right one is picked. */
static void cbc_mac_secret_len(uint8_t out[MAC_LEN], const struct hf_record_key *key,
                               struct hf_bytes aad, const uint8_t *data, uint32_t data_len,
                               uint32_t data_len_max)
{
    uint32_t aad_len = (uint32_t)aad.len;
    uint32_t data_len_min = data_len_max > PAD_MAX ? data_len_max - PAD_MAX : 0;
    uint32_t fixed = (aad_len + data_len_min) / HASH_BLOCK;
    uint32_t count = (aad_len + data_len_max + 8) / HASH_BLOCK + 1 - fixed;
    uint32_t end = aad_len + data_len - fixed * HASH_BLOCK; // in the window
    uint32_t last = (end + 8) / HASH_BLOCK;
    uint8_t upto[HASH_BLOCK * WINDOW_BLOCKS_MAX + 1] = {0};
    uint8_t block[HASH_BLOCK];
    uint8_t bits[4];
    uint32_t state[8];
    uint32_t picked[8] = {0};
    struct hf_hmac_key mac;

    HF__CRYPTO_ASSERT(count <= WINDOW_BLOCKS_MAX);
    hf_hmac_key_init(&mac, (struct hf_bytes){key->mac_key, sizeof key->mac_key});
    memcpy(state, mac.inner, sizeof state);
    hf__put_u32(bits, 8 * (HASH_BLOCK + aad_len + data_len));
    if (fixed > 0) {
        cbc_load_block(block, aad, data, data_len_max, 0);
        hf__sha256_blocks(state, block, 1);
        if (fixed > 1)
            hf__sha256_blocks(state, data + HASH_BLOCK - aad_len, fixed - 1);
    }
    hf__ct_below(upto, count * HASH_BLOCK + 1, end + 1);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t is_last = hf__ct_eq(i, last);

        cbc_load_block(block, aad, data, data_len_max, fixed + i);
        cbc_end_block(block, upto + i * HASH_BLOCK);
        for (uint32_t j = 0; j < sizeof bits; j++)
            block[HASH_BLOCK - sizeof bits + j] |= (uint8_t)(is_last & bits[j]);
        hf__sha256_blocks(state, block, 1);
        for (uint32_t j = 0; j < 8; j++)
            picked[j] |= is_last & state[j];
    }
    hf__hmac_outer(out, &mac, picked);
    hf_wipe(&mac, sizeof mac);
}

/* Copies the MAC that starts at `at` (secret) without the addresses telling where: each byte goes
 * to its place modulo the MAC's length, then the whole is rotated. */
static void cbc_extract_mac(uint8_t out[MAC_LEN], const uint8_t *plain, uint32_t len, uint32_t at)
{
    uint32_t span = len < MAC_SPAN_MAX ? len : MAC_SPAN_MAX;
    const uint8_t *tail = plain + len - span;
    uint32_t offset = at - (len - span); // in the tail
    uint8_t before_end[MAC_SPAN_MAX + MAC_LEN];
    uint8_t turned[MAC_LEN];

    memset(out, 0, MAC_LEN);
    // i is inside if it is before the end and i + MAC_LEN is not. Whole rows, for the vectoriser.
    hf__ct_below(before_end, span + MAC_LEN, offset + MAC_LEN);
    for (uint32_t row = 0; row < span; row += BLOCK)
        for (uint32_t i = row; i < row + BLOCK; i++)
            out[i % MAC_LEN] |= (before_end[i] ^ before_end[i + MAC_LEN]) & tail[i];
    for (uint32_t step = 1; step < MAC_LEN; step <<= 1) {
        uint32_t turn = hf__ct_eq(offset & step, step);

        for (uint32_t i = 0; i < MAC_LEN; i++)
            turned[i] = (uint8_t)hf__ct_select(turn, out[(i + step) % MAC_LEN], out[i]);
        memcpy(out, turned, MAC_LEN);
    }
}

/* A mask for equality, kept a mask: this is not yet the answer. */
static uint32_t cbc_equal(const uint8_t a[MAC_LEN], const uint8_t b[MAC_LEN])
{
    uint32_t difference = 0;

    for (size_t i = 0; i < MAC_LEN; i++)
        difference |= (uint32_t)(a[i] ^ b[i]);
    return hf__ct_eq(difference, 0);
}

bool hf__cbc_open(size_t *plain_len, const struct hf_record_key *key,
                  const struct hf_record_header *header, uint8_t *data, size_t len)
{
    uint8_t *plain = data + BLOCK;
    uint32_t body_len = (uint32_t)(len - BLOCK);
    uint32_t data_len_max = body_len - 1 - MAC_LEN;
    uint8_t aad[AAD_MAX];
    size_t aad_len;
    uint8_t wanted[MAC_LEN];
    uint8_t found[MAC_LEN];
    uint32_t pad_len;
    uint32_t data_len;
    uint32_t good;

    if (body_len % BLOCK != 0)
        return false;
    cbc_crypt(plain, body_len, data, key, AES_DECRYPT);
    good = cbc_check_padding(&pad_len, plain, body_len);
    data_len = data_len_max - pad_len;
    aad_len = hf__record_aad(aad, header, data_len);
    cbc_mac_secret_len(wanted, key, (struct hf_bytes){aad, aad_len}, plain, data_len, data_len_max);
    cbc_extract_mac(found, plain, body_len, data_len);
    good = hf__ct_barrier(good & cbc_equal(wanted, found));
    hf_wipe(wanted, sizeof wanted);

    // Here, and not before, the outcome becomes public; the length does only with a good MAC.
    hf_ct_public(&good, sizeof good);
    if (!good && !HF_FUZZ_ACCEPT)
        return false;
    hf_ct_public(&data_len, sizeof data_len);
    *plain_len = data_len;
    return true;
}

size_t hf__cbc_etm_seal(uint8_t *out, const struct hf_record_key *key,
                        const struct hf_record_header *header, const uint8_t *in, size_t in_len)
{
    uint8_t *body = out + BLOCK;
    size_t covered;

    hf_random(out, BLOCK);
    if (in_len > 0 && in != body)
        memcpy(body, in, in_len);
    covered = BLOCK + cbc_pad(body, in_len);
    cbc_crypt(body, covered - BLOCK, out, key, AES_ENCRYPT);
    cbc_mac(out + covered, key, header, out, covered);
    return covered + MAC_LEN;
}

bool hf__cbc_etm_open(size_t *plain_len, const struct hf_record_key *key,
                      const struct hf_record_header *header, uint8_t *data, size_t len)
{
    size_t covered = len - MAC_LEN;
    uint8_t *plain = data + BLOCK;
    size_t body_len = covered - BLOCK;
    uint8_t wanted[MAC_LEN];
    uint8_t bad = 0;
    size_t pad;
    bool good;

    if (body_len % BLOCK != 0)
        return false;
    cbc_mac(wanted, key, header, data, covered);
    good = hf_ct_equal(wanted, data + covered, MAC_LEN) || HF_FUZZ_ACCEPT;
    hf_wipe(wanted, sizeof wanted);
    if (!good)
        return false; // before a byte is decrypted (RFC 7366 3)
    cbc_crypt(plain, body_len, data, key, AES_DECRYPT);

    // The peer made this padding itself, and its length is what the caller is told next.
    hf_ct_public(plain + body_len - 1, 1);
    pad = plain[body_len - 1];
    if (pad >= body_len)
        return false;
    for (size_t i = 0; i < pad; i++)
        bad |= (uint8_t)(plain[body_len - 2 - i] ^ pad);
    hf_ct_public(&bad, sizeof bad);
    if (bad != 0 && !HF_FUZZ_ACCEPT)
        return false;
    *plain_len = body_len - 1 - pad;
    return true;
}
