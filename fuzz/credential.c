/**
 * credential.c - fuzz target: what our own credential is opened from: certificates, a private key,
 * a public key. It opens, or says why not; what opens holds what BoringSSL reads in the same texts,
 * and signs; scarce memory changes nothing else and leaves nothing behind.
 *
 * Input: how many allocations succeed (two bytes), then chain, private key and public key, parted
 * by bytes 0xff.
 */
#include "fuzz.h"
#include "scarce.h"

#include "crypto.h"

#include <handfast/job.h>

#include <openssl/bio.h>
#include <openssl/ec_key.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/mem.h>
#include <openssl/nid.h>
#include <openssl/pem.h>
#include <openssl/sha.h>
#include <openssl/x509.h>

#include <string.h>

/* Up to the next 0xff, in a block of its own. */
static struct hf_bytes take_part(struct fuzz_input *input)
{
    const uint8_t *end = input->len ? memchr(input->data, 0xff, input->len) : NULL;
    struct hf_bytes part = fuzz_take(input, end ? (size_t)(end - input->data) : input->len);
    (void)fuzz_take(input, 1);
    return (struct hf_bytes){fuzz_copy(part), part.len};
}

static enum hf_status open_credential(struct hf_credential **out,
                                      const struct hf_credential_source *source)
{
    const char *why = "untouched";
    *out = NULL;
    enum hf_status status = hf_credential_open(out, &why, source);
    FUZZ_CHECK((status == HF_OK) == (*out != NULL));
    FUZZ_CHECK((status == HF_OK) == (why == NULL));
    FUZZ_CHECK(status == HF_OK || status == HF_E_CONFIG || status == HF_E_MEMORY);
    FUZZ_CHECK(ERR_peek_error() == 0); /* nothing is left for somebody else to find */
    return status;
}

/* The point of an EC key of BoringSSL's, which must be ours. */
static void check_point(const struct hf_credential *credential, const EVP_PKEY *key)
{
    uint8_t point[65];
    const EC_KEY *ec = EVP_PKEY_get0_EC_KEY(key);
    FUZZ_CHECK(ec && EC_GROUP_get_curve_name(EC_KEY_get0_group(ec)) == NID_X9_62_prime256v1);
    FUZZ_CHECK(EC_POINT_point2oct(EC_KEY_get0_group(ec), EC_KEY_get0_public_key(ec),
                                  POINT_CONVERSION_UNCOMPRESSED, point, sizeof point,
                                  NULL) == sizeof point);
    FUZZ_CHECK(memcmp(point, hf_credential_public_key(credential), sizeof point) == 0);
}

/* Each certificate of the message is the next of the text, as BoringSSL reads it. */
static void check_chain(const struct hf_credential *credential, struct hf_bytes pem)
{
    struct hf_bytes message = hf_credential_message(credential, false);
    struct hf_reader reader = hf_reader_of(message);
    struct hf_reader list = hf_reader_of(hf_reader_vector(&reader, 3));
    FUZZ_CHECK(hf_reader_done(&reader));
    BIO *bio = BIO_new_mem_buf(pem.data, (int)pem.len);
    for (size_t i = 0; list.len > 0; i++) {
        struct hf_bytes entry = hf_reader_vector(&list, 3);
        FUZZ_CHECK(!list.is_failed && entry.len > 0);
        uint8_t *der = NULL;
        char *name = NULL, *header = NULL;
        long len = 0;
        do {
            OPENSSL_free(der);
            OPENSSL_free(name);
            OPENSSL_free(header);
            FUZZ_CHECK(PEM_read_bio(bio, &name, &header, &der, &len));
        } while (strstr(name, "CERTIFICATE") == NULL);
        FUZZ_CHECK((size_t)len == entry.len && memcmp(der, entry.data, entry.len) == 0);
        const uint8_t *at = der;
        X509 *certificate = d2i_X509(NULL, &at, len);
        FUZZ_CHECK(certificate != NULL);
        EVP_PKEY *key = X509_get_pubkey(certificate);
        if (i == 0)
            check_point(credential, key);
        EVP_PKEY_free(key);
        X509_free(certificate);
        OPENSSL_free(der);
        OPENSSL_free(name);
        OPENSSL_free(header);
    }
    BIO_free(bio);
    ERR_clear_error();
}

/* It signs, and by its own public key that verifies; nothing else does. */
static void check_signature(const struct hf_credential *credential)
{
    struct hf_job sign = {.parts = HF_JOB_SIGN, .credential = credential, .sign_digest = {7}};
    struct hf_job *job = &sign;
    hf_job_run(&job, 1);
    FUZZ_CHECK(sign.status == HF_OK);
    struct hf_job verify = {
        .parts = HF_JOB_VERIFY, .verify_digest = {7}, .verify_signature_len = sign.signature_len};
    memcpy(verify.verify_signature, sign.signature, sign.signature_len);
    memcpy(verify.verify_key, hf_credential_public_key(credential), HF_P256_POINT_LEN);
    if (fuzz_is_canary())
        verify.verify_digest[9] ^= 1;
    job = &verify;
    hf_job_run(&job, 1);
    FUZZ_CHECK(verify.status == HF_OK);
    verify.verify_digest[0] ^= 1;
    hf_job_run(&job, 1);
    FUZZ_CHECK(verify.status == HF_E_BAD_SIGNATURE);
}

static void check_open(struct hf_credential *credential, const struct hf_credential_source *source)
{
    uint8_t digest[SHA256_DIGEST_LENGTH];
    int64_t not_before_s, not_after_s;
    uint64_t remote;
    struct hf_bytes raw = hf_credential_message(credential, true);
    FUZZ_CHECK(raw.len == 94 && raw.data[2] == 91);
    FUZZ_CHECK(memcmp(raw.data + raw.len - 65, hf_credential_public_key(credential), 65) == 0);
    SHA256(raw.data + 3, raw.len - 3, digest);
    FUZZ_CHECK(memcmp(digest, hf_credential_key_digest(credential), sizeof digest) == 0);
    FUZZ_CHECK(hf_credential_is_remote(&remote, credential) == (source->key_pem.len == 0));
    hf_credential_validity(&not_before_s, &not_after_s, credential);
    FUZZ_CHECK((hf_credential_message(credential, false).len > 0) == (source->chain_pem.len > 0));
    FUZZ_CHECK(source->chain_pem.len > 0 || (not_before_s == 0 && not_after_s == 0));
    if (source->chain_pem.len > 0)
        check_chain(credential, source->chain_pem);
    if (source->key_pem.len > 0)
        check_signature(credential);
    hf_credential_close(hf_credential_share(credential));
    hf_credential_close(credential);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct fuzz_input input = {data, len};
    struct hf_credential *credential;
    hf__fuzz_accept = false;
    fuzz_random_restart(1);
    size_t left = fuzz_u16(&input);
    struct hf_credential_source source = {.remote = 7};
    source.chain_pem = take_part(&input);
    source.key_pem = take_part(&input);
    source.public_key_pem = take_part(&input);
    enum hf_status status = open_credential(&credential, &source);
    FUZZ_CHECK(status != HF_E_MEMORY);
    if (status == HF_OK)
        check_open(credential, &source);
    fuzz_scarce(left);
    enum hf_status scarce = open_credential(&credential, &source);
    bool is_hit = fuzz_scarce_hit();
    fuzz_scarce(SIZE_MAX);
    FUZZ_CHECK(scarce == status || (is_hit && scarce != HF_OK));
    hf_credential_close(credential);
    free((void *)(uintptr_t)source.chain_pem.data);
    free((void *)(uintptr_t)source.key_pem.data);
    free((void *)(uintptr_t)source.public_key_pem.data);
    return 0;
}
