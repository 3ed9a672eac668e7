/**
 * fuzz.c - see fuzz.h.
 */
#include "fuzz.h"

#include <stdio.h>

static uint64_t random_state;
static uint32_t forge_mask;

_Noreturn void fuzz_fail(const char *condition, const char *file, int line)
{
    fprintf(stderr, "%s:%d: fuzz check failed: %s\n", file, line, condition);
    abort();
}

bool fuzz_is_canary(void)
{
    static int state = -1;
    if (state < 0)
        state = getenv("HF_FUZZ_CANARY") != NULL;
    return state != 0;
}

void fuzz_touch(struct hf_bytes bytes)
{
    const volatile uint8_t *data = bytes.data;
    for (size_t i = 0; i < bytes.len; i++)
        (void)data[i];
}

bool fuzz_is_inside(struct hf_bytes part, struct hf_bytes whole)
{
    return part.len == 0 || (part.data >= whole.data && part.len <= whole.len &&
                             part.data + part.len <= whole.data + whole.len);
}

uint8_t *fuzz_copy(struct hf_bytes bytes)
{
    uint8_t *copy = malloc(bytes.len ? bytes.len : 1);
    FUZZ_CHECK(copy != NULL);
    if (bytes.len > 0)
        memcpy(copy, bytes.data, bytes.len);
    return copy;
}

/* ---- taking an input apart ---------------------------------------------------------------- */

uint8_t fuzz_u8(struct fuzz_input *input)
{
    if (input->len == 0)
        return 0;
    input->len--;
    return *input->data++;
}

uint16_t fuzz_u16(struct fuzz_input *input)
{
    uint8_t high = fuzz_u8(input);
    return (uint16_t)(high << 8 | fuzz_u8(input));
}

uint8_t fuzz_below(struct fuzz_input *input, uint8_t count)
{
    return (uint8_t)(fuzz_u8(input) % count);
}

struct hf_bytes fuzz_take(struct fuzz_input *input, size_t len)
{
    if (len > input->len)
        len = input->len;
    struct hf_bytes taken = {input->data, len};
    input->data += len;
    input->len -= len;
    return taken;
}

/* ---- randomness and protection ------------------------------------------------------------ */

void fuzz_random_restart(uint64_t stream)
{
    random_state = stream << 32;
}

uint64_t fuzz_random_swap(uint64_t state)
{
    uint64_t former = random_state;
    random_state = state;
    return former;
}

uint32_t fuzz_forge(uint32_t mask)
{
    uint32_t former = forge_mask;
    forge_mask = mask;
    return former;
}

void fuzz_plain_front(uint8_t out[FUZZ_PLAIN_FRONT_LEN])
{
    memset(out, 0, FUZZ_PLAIN_FRONT_LEN);
    memcpy(out, FUZZ_PLAIN_MAGIC, FUZZ_PLAIN_MAGIC_LEN);
    out[FUZZ_PLAIN_MAGIC_LEN] = FUZZ_PLAIN_FRONT_LEN - FUZZ_PLAIN_MAGIC_LEN - 1;
}

/* Names the linker's --wrap gives. */
void __wrap_hf_random(void *out, size_t len);
enum hf_status __wrap_hf_record_open(size_t *plain_offset, size_t *plain_len,
                                     const struct hf_record_key *key,
                                     const struct hf_record_header *header, uint8_t *data,
                                     size_t len);
enum hf_status __real_hf_record_open(size_t *plain_offset, size_t *plain_len,
                                     const struct hf_record_key *key,
                                     const struct hf_record_header *header, uint8_t *data,
                                     size_t len);

/* splitmix64: only has to differ from one call to the next. */
void __wrap_hf_random(void *out, size_t len)
{
    uint8_t *bytes = out;
    for (size_t i = 0; i < len; i++) {
        uint64_t mixed = (random_state += UINT64_C(0x9E3779B97F4A7C15));
        mixed = (mixed ^ mixed >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
        mixed = (mixed ^ mixed >> 27) * UINT64_C(0x94D049BB133111EB);
        bytes[i] = (uint8_t)(mixed ^ mixed >> 31);
    }
}

enum hf_status fuzz_record_open(size_t *plain_offset, size_t *plain_len,
                                const struct hf_record_key *key,
                                const struct hf_record_header *header, uint8_t *data, size_t len)
{
    return __real_hf_record_open(plain_offset, plain_len, key, header, data, len);
}

enum hf_status __wrap_hf_record_open(size_t *plain_offset, size_t *plain_len,
                                     const struct hf_record_key *key,
                                     const struct hf_record_header *header, uint8_t *data,
                                     size_t len)
{
    bool is_forged = forge_mask & 1;
    forge_mask >>= 1;
    if (is_forged) {
        *plain_offset = *plain_len = 0;
        hf_wipe(data, len);
        return HF_E_BAD_RECORD_MAC;
    }
    if (len > FUZZ_PLAIN_MAGIC_LEN && len <= 16384 + 2048 && key->cipher != HF_CIPHER_NONE &&
        memcmp(data, FUZZ_PLAIN_MAGIC, FUZZ_PLAIN_MAGIC_LEN) == 0) {
        size_t front = FUZZ_PLAIN_MAGIC_LEN + 1 + (size_t)data[FUZZ_PLAIN_MAGIC_LEN];
        if (front <= len) {
            *plain_offset = front;
            *plain_len = len - front;
            return HF_OK;
        }
    }
    return __real_hf_record_open(plain_offset, plain_len, key, header, data, len);
}
