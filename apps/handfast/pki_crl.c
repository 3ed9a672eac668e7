/**
 * pki_crl.c - revoking, and renewing the list of what is revoked: RFC 5280 5.
 *
 * The list itself is the record: PREFIX.crl is read, checked, continued, signed anew. It is the one
 * file that is replaced without being asked, since that is what a list is renewed for.
 */
#include "pki.h"

#include <openssl/bn.h>
#include <openssl/err.h>
#include <openssl/nid.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <string.h>
#include <time.h>

#define DAYS_OF_CRL 30

static const struct {
    const char *name;
    int code;
} reasons[] = {
    {"unspecified", 0}, /* written by leaving it out: RFC 5280 5.3.1 */
    {"keyCompromise", 1}, {"cACompromise", 2},         {"affiliationChanged", 3},
    {"superseded", 4},    {"cessationOfOperation", 5}, {"privilegeWithdrawn", 9},
};

static bool reason_find(int *out, const char *name)
{
    *out = 0;
    for (size_t i = 0; name != NULL && i < sizeof(reasons) / sizeof(reasons[0]); i++)
        if (strcmp(reasons[i].name, name) == 0) {
            *out = reasons[i].code;
            return true;
        }
    return name == NULL ||
           hf_pki_fail("%.40s: no reason; one of keyCompromise cACompromise affiliationChanged "
                       "superseded cessationOfOperation privilegeWithdrawn unspecified",
                       name);
}

/* ---- reading the last one ----------------------------------------------------------------- */

static uint64_t number_of(X509_CRL *crl)
{
    int critical;
    uint64_t number = 0;
    ASN1_INTEGER *value = X509_CRL_get_ext_d2i(crl, NID_crl_number, &critical, NULL);
    BIGNUM *big = value == NULL ? NULL : ASN1_INTEGER_to_BN(value, NULL);
    if (big != NULL && !BN_get_u64(big, &number))
        number = 0;
    BN_free(big);
    ASN1_INTEGER_free(value);
    return number;
}

static bool read_last(X509_CRL **out, const char *path, const struct hf_pki_issuer *issuer)
{
    bool is_there;
    *out = hf_pki_file_read_crl(&is_there, path);
    if (*out == NULL)
        return !is_there;
    if (X509_CRL_verify(*out, issuer->key) == 1)
        return true;
    X509_CRL_free(*out);
    *out = NULL;
    ERR_clear_error();
    return hf_pki_fail("%s: not signed by this authority", path);
}

/* ---- entries ------------------------------------------------------------------------------ */

static bool has_serial(X509_CRL *crl, const ASN1_INTEGER *serial)
{
    STACK_OF(X509_REVOKED) *entries = X509_CRL_get_REVOKED(crl);
    for (size_t i = 0; entries != NULL && i < sk_X509_REVOKED_num(entries); i++)
        if (ASN1_INTEGER_cmp(X509_REVOKED_get0_serialNumber(sk_X509_REVOKED_value(entries, i)),
                             serial) == 0)
            return true;
    return false;
}

static bool set_entry(X509_REVOKED *entry, const ASN1_INTEGER *serial, int reason)
{
    ASN1_TIME *now = ASN1_TIME_set(NULL, time(NULL));
    ASN1_INTEGER *copy = ASN1_INTEGER_dup(serial);
    X509_EXTENSION *extension = reason == 0 ? NULL : hf_pki_der_reason(reason);
    bool is_good =
        now != NULL && copy != NULL && X509_REVOKED_set_serialNumber(entry, copy) &&
        X509_REVOKED_set_revocationDate(entry, now) &&
        (reason == 0 || (extension != NULL && X509_REVOKED_add_ext(entry, extension, -1)));
    X509_EXTENSION_free(extension);
    ASN1_INTEGER_free(copy);
    ASN1_TIME_free(now);
    return is_good;
}

static bool add_serial(X509_CRL *crl, const ASN1_INTEGER *serial, int reason)
{
    if (has_serial(crl, serial))
        return true; /* since when, and why, it says already */
    X509_REVOKED *entry = X509_REVOKED_new();
    if (entry != NULL && set_entry(entry, serial, reason) && X509_CRL_add0_revoked(crl, entry))
        return true;
    X509_REVOKED_free(entry);
    return hf_pki_crypto_fail("an entry");
}

static bool add_hex(X509_CRL *crl, const char *text, int reason)
{
    BIGNUM *number = NULL;
    ASN1_INTEGER *serial = NULL;
    bool is_good = strlen(text) <= 40 && strspn(text, "0123456789abcdefABCDEF") == strlen(text) &&
                   BN_hex2bn(&number, text) == (int)strlen(text) && !BN_is_zero(number);
    if (!is_good)
        (void)hf_pki_fail("%.50s: not a serial number in hexadecimal", text);
    is_good = is_good && (serial = BN_to_ASN1_INTEGER(number, NULL)) != NULL &&
              add_serial(crl, serial, reason);
    ASN1_INTEGER_free(serial);
    BN_free(number);
    return is_good;
}

static bool add_file(X509_CRL *crl, const char *path, int reason,
                     const struct hf_pki_issuer *issuer)
{
    X509 *chain[HF_PKI_CHAIN_MAX];
    int count;
    if (!hf_pki_file_read_chain(chain, &count, path))
        return false;
    bool is_good = X509_verify(chain[0], issuer->key) == 1 ||
                   hf_pki_fail("%s: not issued by this authority", path);
    ERR_clear_error();
    is_good = is_good && add_serial(crl, X509_get0_serialNumber(chain[0]), reason);
    hf_pki_chain_free(chain, count);
    return is_good;
}

static bool carry_over(X509_CRL *crl, X509_CRL *last)
{
    STACK_OF(X509_REVOKED) *entries = last == NULL ? NULL : X509_CRL_get_REVOKED(last);
    for (size_t i = 0; entries != NULL && i < sk_X509_REVOKED_num(entries); i++) {
        X509_REVOKED *copy = X509_REVOKED_dup(sk_X509_REVOKED_value(entries, i));
        if (copy == NULL || !X509_CRL_add0_revoked(crl, copy)) {
            X509_REVOKED_free(copy);
            return hf_pki_crypto_fail("an entry");
        }
    }
    return true;
}

/* ---- the new one -------------------------------------------------------------------------- */

static bool take_extension(X509_CRL *crl, X509_EXTENSION *extension)
{
    bool is_good = extension != NULL && X509_CRL_add_ext(crl, extension, -1);
    X509_EXTENSION_free(extension);
    return is_good;
}

static bool set_times(X509_CRL *crl, const struct hf_pki_options *options)
{
    int64_t this_s, next_s;
    if (!hf_pki_validity(&this_s, &next_s, options, DAYS_OF_CRL))
        return false;
    ASN1_TIME *time = ASN1_TIME_new();
    bool is_good = time != NULL && ASN1_TIME_set(time, (time_t)this_s) != NULL &&
                   X509_CRL_set1_lastUpdate(crl, time) &&
                   ASN1_TIME_set(time, (time_t)next_s) != NULL &&
                   X509_CRL_set1_nextUpdate(crl, time);
    ASN1_TIME_free(time);
    return is_good || hf_pki_crypto_fail("its times");
}

static X509_CRL *begin(X509_CRL *last, const struct hf_pki_issuer *issuer,
                       const struct hf_pki_options *options)
{
    const ASN1_OCTET_STRING *id = X509_get0_subject_key_id(issuer->chain[0]);
    X509_NAME *name = (X509_NAME *)(uintptr_t)X509_get_subject_name(issuer->chain[0]);
    uint64_t number = last == NULL ? 1 : number_of(last) + 1;
    X509_CRL *crl = X509_CRL_new();
    if (crl != NULL && X509_CRL_set_version(crl, X509_CRL_VERSION_2) &&
        X509_CRL_set_issuer_name(crl, name) && set_times(crl, options) &&
        (id == NULL ||
         take_extension(crl, hf_pki_der_authority_key(ASN1_STRING_get0_data(id),
                                                      (size_t)ASN1_STRING_length(id)))) &&
        take_extension(crl, hf_pki_der_crl_number(number)) && carry_over(crl, last))
        return crl;
    X509_CRL_free(crl);
    return NULL;
}

static bool write_crl(X509_CRL *crl, const char *path, const struct hf_pki_issuer *issuer)
{
    BIO *content = BIO_new(BIO_s_mem());
    bool is_good =
        (content != NULL && X509_CRL_sort(crl) && X509_CRL_sign(crl, issuer->key, EVP_sha256()) &&
         PEM_write_bio_X509_CRL(content, crl)) ||
        hf_pki_crypto_fail(path);
    is_good = is_good && hf_pki_file_write(path, content, false, true);
    BIO_free(content);
    return is_good;
}

static bool renew(const struct hf_pki_issuer *issuer, const struct hf_pki_options *options,
                  int reason)
{
    char path[HF_PKI_PATH_LEN_MAX];
    X509_CRL *last = NULL;
    if (!hf_pki_file_path(path, options->arguments[0], "crl") || !read_last(&last, path, issuer))
        return false;
    X509_CRL *crl = begin(last, issuer, options);
    bool is_good = crl != NULL;
    for (int i = 1; is_good && i < options->argument_count; i++)
        is_good = add_file(crl, options->arguments[i], reason, issuer);
    if (is_good && options->serial != NULL)
        is_good = add_hex(crl, options->serial, reason);
    is_good = is_good && write_crl(crl, path, issuer);
    X509_CRL_free(crl);
    X509_CRL_free(last);
    return is_good;
}

int hf_pki_renew_crl(const struct hf_pki_options *options)
{
    struct hf_pki_issuer issuer;
    int reason;
    if (!reason_find(&reason, options->reason))
        return HF_TOOL_USAGE;
    if (!hf_pki_issuer_open(&issuer, options->arguments[0]))
        return HF_TOOL_FAILED;
    bool is_good = renew(&issuer, options, reason);
    hf_pki_issuer_close(&issuer);
    return is_good ? HF_TOOL_DONE : HF_TOOL_FAILED;
}

int hf_pki_revoke(const struct hf_pki_options *options)
{
    if (options->argument_count > 1 || options->serial != NULL)
        return hf_pki_renew_crl(options);
    (void)hf_pki_fail("revoke what? Name certificates, or --serial HEX");
    return HF_TOOL_USAGE;
}
