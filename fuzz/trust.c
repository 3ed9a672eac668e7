/**
 * trust.c - fuzz target: the four texts an hf_trust is opened from. It opens, or says why not; what
 * opens holds what the texts say, by a second reading; scarce memory leaves nothing behind.
 *
 * Input: flavours, how many allocations succeed (two bytes), then anchors, CRLs, raw keys and
 * names, parted by bytes 0xff.
 */
#include "fuzz.h"
#include "scarce.h"

#include "trust.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <string.h>

/* Up to the next 0xff, in a block of its own. */
static struct hf_bytes take_part(struct fuzz_input *input)
{
    const uint8_t *end = input->len ? memchr(input->data, 0xff, input->len) : NULL;
    size_t len = end ? (size_t)(end - input->data) : input->len;
    struct hf_bytes part = fuzz_take(input, len);
    (void)fuzz_take(input, 1);
    return (struct hf_bytes){fuzz_copy(part), part.len};
}

/* Every anchor is a certificate BoringSSL reads, and its name is in the list for the peer. */
static void check_anchors(const struct hf_trust *trust, struct hf_bytes pem)
{
    BIO *bio = BIO_new_mem_buf(pem.data, (int)pem.len);
    X509 *anchor;
    size_t count = 0, names = 0;
    while ((anchor = PEM_read_bio_X509(bio, NULL, NULL, NULL))) {
        uint8_t *der = NULL;
        int len = i2d_X509(anchor, &der);
        FUZZ_CHECK(len > 0 && hf__trust_is_anchor(trust, (struct hf_bytes){der, (size_t)len}));
        count++;
        OPENSSL_free(der);
        X509_free(anchor);
    }
    BIO_free(bio);
    ERR_clear_error();
    FUZZ_CHECK(trust->anchor_count <= count && (trust->anchor_count > 0) == (count > 0));
    struct hf_bytes list = hf_trust_issuer_names(trust);
    for (; list.len > 2; names++) {
        size_t len = (size_t)list.data[0] << 8 | list.data[1];
        FUZZ_CHECK(len <= list.len - 2 && list.data[2] == 0x30);
        list = (struct hf_bytes){list.data + 2 + len, list.len - 2 - len};
    }
    FUZZ_CHECK(list.len == 0 && (names == trust->anchor_count || names == 0));
}

/* Line by line: each host stands for the CSE-ID beside it. */
static void check_names(const struct hf_trust *trust, struct hf_bytes text)
{
    while (text.len > 0) {
        struct hf_bytes line = hf__text_line(&text);
        struct hf_bytes id = hf__text_word(&line), host = hf__text_word(&line);
        uint8_t lower[253], found[HF_ENTITY_ID_MAX];
        if (id.len == 0)
            continue;
        FUZZ_CHECK(host.len > 0 && host.len <= sizeof lower);
        for (size_t i = 0; i < host.len; i++)
            lower[i] =
                host.data[i] >= 'A' && host.data[i] <= 'Z' ? host.data[i] | 0x20 : host.data[i];
        size_t len = hf__trust_cse_id(found, trust, (struct hf_bytes){lower, host.len});
        if (fuzz_is_canary())
            found[0] ^= 1;
        FUZZ_CHECK(len == id.len && memcmp(found, id.data, len) == 0);
    }
}

static enum hf_status open_trust(struct hf_trust **trust, const struct hf_trust_source *source)
{
    const char *why = "untouched";
    *trust = NULL;
    enum hf_status status = hf_trust_open(trust, &why, source);
    FUZZ_CHECK((status == HF_OK) == (*trust != NULL));
    FUZZ_CHECK((status == HF_OK) == (why == NULL));
    FUZZ_CHECK(status == HF_OK || status == HF_E_CONFIG || status == HF_E_MEMORY);
    return status;
}

static void check_open(struct hf_trust *trust, const struct hf_trust_source *source)
{
    FUZZ_CHECK(hf_trust_flavours(trust) == source->flavours);
    FUZZ_CHECK(trust->pin_count == hf__text_lines(source->raw_keys));
    for (size_t i = 0; i < trust->pin_count; i++) {
        const struct hf__pin *pin = &trust->pins[i];
        FUZZ_CHECK(hf__trust_find_pin(trust, pin->digest, pin->digest_len) == pin);
        FUZZ_CHECK(pin->digest_len >= 15 && pin->credential_id_len > 0);
    }
    check_anchors(trust, source->anchors_pem);
    check_names(trust, source->names);
    hf_trust_close(hf_trust_share(trust));
    hf_trust_close(trust);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct fuzz_input input = {data, len};
    struct hf_trust_source source;
    struct hf_trust *trust;
    hf_trust_source_init(&source);
    source.flavours = fuzz_below(&input, 64);
    size_t left = fuzz_u16(&input);
    source.anchors_pem = take_part(&input);
    source.crls_pem = take_part(&input);
    source.raw_keys = take_part(&input);
    source.names = take_part(&input);
    enum hf_status status = open_trust(&trust, &source);
    FUZZ_CHECK(status != HF_E_MEMORY);
    if (status == HF_OK)
        check_open(trust, &source);
    fuzz_scarce(left);
    enum hf_status scarce = open_trust(&trust, &source);
    bool is_hit = fuzz_scarce_hit();
    fuzz_scarce(SIZE_MAX);
    FUZZ_CHECK(is_hit || scarce == status);
    hf_trust_close(trust);
    free((void *)(uintptr_t)source.anchors_pem.data);
    free((void *)(uintptr_t)source.crls_pem.data);
    free((void *)(uintptr_t)source.raw_keys.data);
    free((void *)(uintptr_t)source.names.data);
    return 0;
}
