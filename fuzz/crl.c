/**
 * crl.c - fuzz target: a CRL. What is read, BoringSSL reads too, with the same dates and the same
 * entries, and each of them is revoked afterwards and nothing else; scarce memory is said to be so.
 *
 * Input: how many allocations succeed, the DER of the CRL.
 */
#include "fuzz.h"
#include "scarce.h"

#include "revocation.h"

#include <openssl/asn1.h>
#include <openssl/err.h>
#include <openssl/x509.h>

#include <string.h>

/* The entry as a handle, by way of BoringSSL's reading. */
static bool has_entry(const struct hf__handles *revoked, const struct hf__name *issuer,
                      const X509_REVOKED *entry)
{
    const ASN1_INTEGER *serial = X509_REVOKED_get0_serialNumber(entry);
    uint8_t handle[HF_REVOCATION_HANDLE_LEN], number[HF__SERIAL_LEN_MAX + 1] = {0};
    size_t len = (size_t)ASN1_STRING_length(serial);
    if (ASN1_STRING_type(serial) == V_ASN1_NEG_INTEGER || len > HF__SERIAL_LEN_MAX)
        return true; /* no certificate that is taken has such a number */
    memcpy(number + 1, ASN1_STRING_get0_data(serial), len);
    bool has_zero = len == 0 || number[1] & 0x80; /* in DER, not in BoringSSL's form */
    struct hf_bytes der = {number + !has_zero, len + has_zero};
    if (der.len > HF__SERIAL_LEN_MAX)
        return true;
    hf__handle_of_certificate(handle, issuer, der);
    return hf__handles_has(revoked, handle);
}

static void check_read(const struct hf__crl *crl, const struct hf__handles *revoked,
                       const uint8_t *data, size_t len)
{
    const uint8_t *at = data;
    X509_CRL *other = d2i_X509_CRL(NULL, &at, (long)len);
    FUZZ_CHECK(other != NULL && at == data + len);
    int64_t ahead = fuzz_is_canary() ? 3600 : 0;
    FUZZ_CHECK(ASN1_TIME_diff(&(int){0}, &(int){0}, X509_CRL_get0_lastUpdate(other),
                              X509_CRL_get0_nextUpdate(other)));
    int days, seconds;
    FUZZ_CHECK(ASN1_TIME_diff(&days, &seconds, X509_CRL_get0_lastUpdate(other),
                              X509_CRL_get0_nextUpdate(other)));
    FUZZ_CHECK(crl->next_update_s - crl->this_update_s == (int64_t)days * 86400 + seconds + ahead);
    STACK_OF(X509_REVOKED) *entries = X509_CRL_get_REVOKED(other);
    size_t count = entries ? sk_X509_REVOKED_num(entries) : 0;
    FUZZ_CHECK(revoked->count <= count);
    for (size_t i = 0; i < count; i++)
        FUZZ_CHECK(has_entry(revoked, &crl->issuer, sk_X509_REVOKED_value(entries, i)));
    X509_CRL_free(other);
    ERR_clear_error();
}

static enum hf_status read_crl(struct hf__crl *crl, struct hf__handles *revoked,
                               const uint8_t *data, size_t len)
{
    const char *why = NULL;
    *revoked = (struct hf__handles){NULL, 0, 0};
    enum hf_status status = hf__crl_read(crl, revoked, &why, (struct hf_bytes){data, len});
    FUZZ_CHECK(status == HF_OK || status == HF_E_MEMORY || (status == HF_E_CONFIG && why));
    hf__handles_sort(revoked);
    return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct fuzz_input input = {data, len};
    struct hf__crl crl;
    struct hf__handles revoked;
    size_t left = fuzz_u8(&input);
    uint8_t *der = fuzz_copy((struct hf_bytes){input.data, input.len});
    enum hf_status status = read_crl(&crl, &revoked, der, input.len);
    FUZZ_CHECK(status != HF_E_MEMORY);
    if (status == HF_OK)
        check_read(&crl, &revoked, der, input.len);
    hf__crl_wipe(&crl);
    free(revoked.list);
    fuzz_scarce(left);
    enum hf_status scarce = read_crl(&crl, &revoked, der, input.len);
    bool is_hit = fuzz_scarce_hit();
    fuzz_scarce(SIZE_MAX);
    FUZZ_CHECK(is_hit ? scarce == HF_E_MEMORY : scarce == status);
    hf__crl_wipe(&crl);
    free(revoked.list);
    free(der);
    return 0;
}
