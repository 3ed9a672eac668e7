/**
 * pki_show.c - `handfast pki show` and `digest`: what a file holds, as far as it is public. Of a
 * private key only its public half is ever shown.
 */
#include "pki.h"

#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/err.h>
#include <openssl/mem.h>
#include <openssl/nid.h>
#include <openssl/pem.h>

#include <string.h>
#include <time.h>

static const char *const flavours[] = {
    [HF_PKI_CA] = "authority",  [HF_PKI_CSE_ID] = "CSE-ID, or FQDN (MAF, MEF)",
    [HF_PKI_AE_ID] = "AE-ID",   [HF_PKI_NODE_ID] = "Node-ID",
    [HF_PKI_DEVICE] = "device", [HF_PKI_FQDN] = "FQDN",
};

static void print_line(const char *name, const char *text)
{
    printf("  %-14s %s\n", name, text);
}

/* ---- the parts ---------------------------------------------------------------------------- */

static void print_time(const char *name, const ASN1_TIME *at, bool is_end)
{
    char text[64] = "?";
    int64_t at_s = hf_pki_time_s(at);
    time_t clock = (time_t)at_s;
    struct tm parts;
    if (at_s != INT64_MIN && gmtime_r(&clock, &parts) != NULL)
        (void)strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &parts);
    int64_t left_s = at_s - (int64_t)time(NULL);
    printf("  %-14s %s", name, text);
    if (at_s != INT64_MIN && is_end && left_s < 0)
        printf(" (EXPIRED)");
    else if (at_s != INT64_MIN && is_end)
        printf(" (in %lld days)", (long long)(left_s / 86400));
    else if (at_s != INT64_MIN && left_s > 0)
        printf(" (NOT YET)");
    putchar('\n');
}

/* One line, and nothing that a terminal would obey: what is not printable is escaped. */
static void print_subject(const char *name, const void *subject)
{
    BIO *out = BIO_new(BIO_s_mem());
    const uint8_t *data;
    size_t len;
    X509_NAME *mutable_name = (X509_NAME *)(uintptr_t)subject;
    if (out != NULL && X509_NAME_print_ex(out, mutable_name, 0, XN_FLAG_RFC2253) >= 0 &&
        BIO_mem_contents(out, &data, &len))
        printf("  %-14s %.*s\n", name, (int)len, len == 0 ? "" : (const char *)data);
    BIO_free(out);
    ERR_clear_error();
}

static void print_serial(const ASN1_INTEGER *serial)
{
    BIGNUM *number = ASN1_INTEGER_to_BN(serial, NULL);
    char *text = number == NULL ? NULL : BN_bn2hex(number);
    print_line("serial", text == NULL ? "?" : text);
    OPENSSL_free(text);
    BN_free(number);
}

static void print_digest_line(const char *name, const EVP_PKEY *key)
{
    char text[HF_PKI_DIGEST_TEXT_MAX];
    char line[HF_PKI_DIGEST_TEXT_MAX + 8];
    if (!hf_pki_key_is_p256(key) || !hf_pki_digest_name(text, 32, key))
        return;
    snprintf(line, sizeof(line), "ni:///%s", text);
    print_line(name, line);
}

/* ---- certificates ------------------------------------------------------------------------- */

static void print_facts(const struct hf_pki_facts *facts)
{
    char text[2 * HF_PKI_TEXT_MAX];
    print_line("flavour", facts->has_flavour ? flavours[facts->flavour] : "none");
    if (facts->identity[0] != '\0')
        print_line("identity", facts->identity);
    if (facts->credential_id[0] != '\0')
        print_line("Credential-ID", facts->credential_id);
    for (int i = 0; i < facts->name_count; i++) {
        hf_pki_name_print(text, &facts->names[i]);
        print_line("name", text);
    }
    for (int i = 0; i < facts->constraint_count; i++) {
        hf_pki_name_print(text, &facts->constraints[i].base);
        print_line(facts->constraints[i].is_excluded ? "excludes" : "permits", text);
    }
    if (facts->flavour == HF_PKI_CA && facts->path_len_max >= 0)
        printf("  %-14s %d\n", "path length", facts->path_len_max);
}

static void show_certificate(X509 *certificate, int number)
{
    struct hf_pki_facts *facts = OPENSSL_malloc(sizeof(*facts));
    if (facts == NULL)
        return;
    hf_pki_inspect(facts, certificate);
    printf("certificate %d\n", number);
    print_facts(facts);
    print_subject("subject", X509_get_subject_name(certificate));
    print_subject("issuer", X509_get_issuer_name(certificate));
    print_serial(X509_get0_serialNumber(certificate));
    print_time("from", X509_get0_notBefore(certificate), false);
    print_time("until", X509_get0_notAfter(certificate), true);
    EVP_PKEY *key = X509_get_pubkey(certificate);
    print_digest_line("key", key);
    EVP_PKEY_free(key);
    print_line("profile", facts->fault_count == 0 ? "good" : "BAD");
    for (int i = 0; i < facts->fault_count; i++)
        print_line("", facts->faults[i]);
    OPENSSL_free(facts);
    ERR_clear_error();
}

/* ---- lists, keys -------------------------------------------------------------------------- */

static void show_crl(X509_CRL *crl)
{
    STACK_OF(X509_REVOKED) *entries = X509_CRL_get_REVOKED(crl);
    size_t count = entries == NULL ? 0 : sk_X509_REVOKED_num(entries);
    printf("CRL\n");
    print_subject("issuer", X509_CRL_get_issuer(crl));
    print_time("from", X509_CRL_get0_lastUpdate(crl), false);
    print_time("until", X509_CRL_get0_nextUpdate(crl), true);
    printf("  %-14s %zu\n", "revoked", count);
    for (size_t i = 0; i < count; i++)
        print_serial(X509_REVOKED_get0_serialNumber(sk_X509_REVOKED_value(entries, i)));
}

static void show_key(const char *title, EVP_PKEY *key)
{
    char text[HF_PKI_DIGEST_TEXT_MAX];
    char line[HF_PKI_DIGEST_TEXT_MAX + 4];
    printf("%s\n", title);
    if (!hf_pki_key_is_p256(key) || !hf_pki_digest_name(text, 32, key)) {
        print_line("profile", "BAD");
        print_line("", "it is not on P-256");
        return;
    }
    print_line("flavour", "raw public key");
    snprintf(line, sizeof(line), "30-%s", text);
    print_line("Credential-ID", line);
    for (size_t len = 32; len >= 15; len = len == 32 ? 16 : len - 1)
        if (hf_pki_digest_name(text, len, key)) {
            char name[HF_PKI_DIGEST_TEXT_MAX + 8];
            snprintf(name, sizeof(name), "ni:///%s", text);
            print_line("name", name);
        }
}

/* ---- a file ------------------------------------------------------------------------------- */

struct tally {
    int certificates, shown;
};

static bool show_block(struct tally *tally, const char *type, const uint8_t *data, long len)
{
    const uint8_t *at = data;
    bool is_good = false;
    if (strcmp(type, PEM_STRING_X509) == 0) {
        X509 *certificate = d2i_X509(NULL, &at, len);
        if ((is_good = certificate != NULL && at == data + len))
            show_certificate(certificate, ++tally->certificates);
        X509_free(certificate);
    } else if (strcmp(type, PEM_STRING_X509_CRL) == 0) {
        X509_CRL *crl = d2i_X509_CRL(NULL, &at, len);
        if ((is_good = crl != NULL))
            show_crl(crl);
        X509_CRL_free(crl);
    } else if (strcmp(type, PEM_STRING_PUBLIC) == 0) {
        EVP_PKEY *key = d2i_PUBKEY(NULL, &at, len);
        if ((is_good = key != NULL))
            show_key("public key", key);
        EVP_PKEY_free(key);
    } else if (strcmp(type, PEM_STRING_PKCS8INF) == 0 ||
               strcmp(type, PEM_STRING_ECPRIVATEKEY) == 0) {
        EVP_PKEY *key = d2i_AutoPrivateKey(NULL, &at, len);
        if ((is_good = key != NULL))
            show_key("private key (its public half)", key);
        EVP_PKEY_free(key);
    } else {
        return hf_pki_fail("\"%.40s\" is not shown", type);
    }
    tally->shown++;
    ERR_clear_error();
    return is_good || hf_pki_fail("a malformed %.40s", type);
}

int hf_pki_show(const struct hf_pki_options *options)
{
    struct tally tally = {0, 0};
    bool is_good = true;
    for (int i = 0; i < options->argument_count; i++) {
        char *type, *header;
        uint8_t *data;
        long len;
        int before = tally.shown;
        BIO *content = hf_pki_file_read(options->arguments[i], false);
        tally.certificates = 0;
        is_good &= content != NULL;
        while (content != NULL && PEM_read_bio(content, &type, &header, &data, &len)) {
            is_good &= show_block(&tally, type, data, len);
            OPENSSL_free(type);
            OPENSSL_free(header);
            OPENSSL_free(data);
        }
        BIO_free(content);
        ERR_clear_error();
        if (content != NULL && tally.shown == before)
            is_good = hf_pki_fail("%s: nothing in PEM in it", options->arguments[i]);
    }
    return is_good && fflush(stdout) == 0 ? HF_TOOL_DONE : HF_TOOL_FAILED;
}

int hf_pki_digest(const struct hf_pki_options *options)
{
    EVP_PKEY *key = hf_pki_file_read_public(options->arguments[0]);
    bool is_good = key != NULL && hf_pki_print_digests(stdout, "", key);
    EVP_PKEY_free(key);
    return is_good ? HF_TOOL_DONE : HF_TOOL_FAILED;
}
