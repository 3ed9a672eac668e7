/**
 * pki_make.c - certificates and raw public keys: TS-0003 10.1.1.
 *
 * A certificate's file holds what a peer is sent: itself, then those between it and the root. An
 * issuer's file is read back in the same form.
 */
#include "pki.h"

#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/ec_key.h>
#include <openssl/err.h>
#include <openssl/mem.h>
#include <openssl/nid.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>

#include <string.h>
#include <time.h>

#define DAY_S 86400
#define SKEW_S 300 /* other clocks may be slow */
#define DAYS_OF_CA 3650
#define DAYS_OF_ENTITY 365
#define TIME_S_MAX 253402300799 /* 9999-12-31T23:59:59Z */
#define SUBJECT_LEN_MAX 64
#define SERIAL_LEN 16

/* ---- keys --------------------------------------------------------------------------------- */

static EVP_PKEY *key_generate(void)
{
    EC_KEY *ec = EC_KEY_new_by_curve_name(NID_X9_62_prime256v1);
    EVP_PKEY *key = EVP_PKEY_new();
    if (ec != NULL && key != NULL && EC_KEY_generate_key(ec) && EVP_PKEY_set1_EC_KEY(key, ec)) {
        EC_KEY_free(ec);
        return key;
    }
    (void)hf_pki_crypto_fail("making a key");
    EC_KEY_free(ec);
    EVP_PKEY_free(key);
    return NULL;
}

/* The key to certify, and whether its private half is ours to write. */
static EVP_PKEY *key_for(bool *is_new, const struct hf_pki_options *options)
{
    *is_new = false;
    if (options->public_key_file != NULL)
        return hf_pki_file_read_public(options->public_key_file);
    if (options->key_file != NULL)
        return hf_pki_file_read_key(options->key_file);
    *is_new = true;
    return key_generate();
}

static bool key_write(const char *prefix, EVP_PKEY *key, bool is_forced)
{
    char path[HF_PKI_PATH_LEN_MAX];
    BIO *content = BIO_new(BIO_s_mem());
    bool is_good = hf_pki_file_path(path, prefix, "key");
    if (is_good && (content == NULL ||
                    !PEM_write_bio_PKCS8PrivateKey(content, key, NULL, NULL, 0, NULL, NULL)))
        is_good = hf_pki_crypto_fail(path);
    is_good = is_good && hf_pki_file_write(path, content, true, is_forced);
    BIO_free(content);
    return is_good;
}

int hf_pki_make_raw_key(const struct hf_pki_options *options)
{
    char key_path[HF_PKI_PATH_LEN_MAX], path[HF_PKI_PATH_LEN_MAX];
    const char *prefix = options->arguments[0];
    bool is_new;
    if (!hf_pki_file_path(key_path, prefix, "key") || !hf_pki_file_path(path, prefix, "pub") ||
        (options->key_file == NULL && !hf_pki_file_is_free(key_path, options->is_forced)) ||
        !hf_pki_file_is_free(path, options->is_forced))
        return HF_TOOL_FAILED;
    EVP_PKEY *key = key_for(&is_new, options);
    BIO *content = BIO_new(BIO_s_mem());
    bool is_good = key != NULL && content != NULL && PEM_write_bio_PUBKEY(content, key) &&
                   (!is_new || key_write(prefix, key, options->is_forced)) &&
                   hf_pki_file_write(path, content, false, options->is_forced) &&
                   hf_pki_print_digests(stdout, "", key);
    BIO_free(content);
    EVP_PKEY_free(key);
    return is_good ? HF_TOOL_DONE : HF_TOOL_FAILED;
}

/* ---- issuers ------------------------------------------------------------------------------ */

bool hf_pki_issuer_open(struct hf_pki_issuer *out, const char *prefix)
{
    char path[HF_PKI_PATH_LEN_MAX];
    memset(out, 0, sizeof(*out));
    if (!hf_pki_file_path(path, prefix, "pem") ||
        !hf_pki_file_read_chain(out->chain, &out->count, path))
        return false;
    bool is_good = X509_check_ca(out->chain[0]) || hf_pki_fail("%s: not of an authority", path);
    if (is_good && hf_pki_file_path(path, prefix, "key")) {
        out->key = hf_pki_file_read_key(path);
        is_good = out->key != NULL && (X509_check_private_key(out->chain[0], out->key) ||
                                       hf_pki_fail("%s: not the key of its certificate", path));
    }
    ERR_clear_error();
    if (!is_good)
        hf_pki_issuer_close(out);
    return is_good;
}

void hf_pki_issuer_close(struct hf_pki_issuer *issuer)
{
    hf_pki_chain_free(issuer->chain, issuer->count);
    EVP_PKEY_free(issuer->key);
    memset(issuer, 0, sizeof(*issuer));
}

/* ---- the parts of a certificate ----------------------------------------------------------- */

bool hf_pki_validity(int64_t *not_before_s, int64_t *not_after_s,
                     const struct hf_pki_options *options, int64_t days_default)
{
    int64_t days = options->days != 0 ? options->days : days_default;
    int64_t now_s = (int64_t)time(NULL);
    *not_before_s = options->not_before_s != 0 ? options->not_before_s : now_s - SKEW_S;
    int64_t from_s = options->not_before_s != 0 ? options->not_before_s : now_s;
    *not_after_s = options->not_after_s != 0 ? options->not_after_s : from_s + days * DAY_S;
    if (*not_after_s <= *not_before_s)
        return hf_pki_fail("it would end before it begins");
    return *not_after_s <= TIME_S_MAX || hf_pki_fail("it would outlive the calendar");
}

bool hf_pki_take_extension(X509 *certificate, X509_EXTENSION *extension)
{
    bool is_good = extension != NULL && X509_add_ext(certificate, extension, -1);
    X509_EXTENSION_free(extension);
    return is_good || hf_pki_crypto_fail("an extension");
}

static bool set_serial(X509 *certificate)
{
    uint8_t bytes[SERIAL_LEN];
    BIGNUM *number = NULL;
    bool is_good = RAND_bytes(bytes, sizeof(bytes)) &&
                   (number = BN_bin2bn(bytes, sizeof(bytes), NULL)) != NULL &&
                   !BN_is_zero(number) &&
                   BN_to_ASN1_INTEGER(number, X509_get_serialNumber(certificate)) != NULL;
    BN_free(number);
    return is_good || hf_pki_crypto_fail("a serial number");
}

static bool set_times(X509 *certificate, int64_t not_before_s, int64_t not_after_s)
{
    ASN1_TIME *time = ASN1_TIME_new();
    bool is_good = time != NULL && ASN1_TIME_set(time, (time_t)not_before_s) != NULL &&
                   X509_set1_notBefore(certificate, time) &&
                   ASN1_TIME_set(time, (time_t)not_after_s) != NULL &&
                   X509_set1_notAfter(certificate, time);
    ASN1_TIME_free(time);
    return is_good || hf_pki_crypto_fail("its validity");
}

/* Nobody reads identities from a subject, but people do: it has the identifier if it fits. Not as a
 * commonName: GnuTLS and OpenSSL take one for a host name where there is no dNSName, and hold it
 * against the name constraints. */
static bool set_subject(X509 *certificate, const char *text, bool is_ca)
{
    X509_NAME *name = X509_NAME_new();
    bool is_good = name != NULL &&
                   (strlen(text) > SUBJECT_LEN_MAX ||
                    X509_NAME_add_entry_by_txt(name, is_ca ? "O" : "UID", MBSTRING_UTF8,
                                               (const unsigned char *)text, -1, -1, 0)) &&
                   X509_set_subject_name(certificate, name);
    X509_NAME_free(name);
    return is_good || hf_pki_crypto_fail("its subject");
}

/* libcrypto's versions differ in const here. */
static X509_NAME *subject_of(const X509 *certificate)
{
    return (X509_NAME *)(uintptr_t)X509_get_subject_name(certificate);
}

static bool set_authority_key(X509 *certificate, const X509 *issuer)
{
    const ASN1_OCTET_STRING *id = X509_get0_subject_key_id((X509 *)(uintptr_t)issuer);
    if (id == NULL)
        return true; /* made elsewhere, and it has none to name */
    return hf_pki_take_extension(
        certificate,
        hf_pki_der_authority_key(ASN1_STRING_get0_data(id), (size_t)ASN1_STRING_length(id)));
}

/* What all have in common: TS-0003 10.1.1.1, 10.1.1.3. `issuer` is NULL for a root. */
static X509 *begin(const char *subject, EVP_PKEY *key, const struct hf_pki_issuer *issuer,
                   const struct hf_pki_options *options, bool is_ca)
{
    int64_t not_before_s, not_after_s;
    if (!hf_pki_validity(&not_before_s, &not_after_s, options, is_ca ? DAYS_OF_CA : DAYS_OF_ENTITY))
        return NULL;
    if (issuer != NULL && options->days == 0 && options->not_after_s == 0) {
        int64_t end_s = hf_pki_time_s(X509_get0_notAfter(issuer->chain[0]));
        not_after_s = end_s > not_before_s && end_s < not_after_s ? end_s : not_after_s;
    }
    X509 *certificate = X509_new();
    if (certificate != NULL && X509_set_version(certificate, X509_VERSION_3) &&
        set_serial(certificate) && set_times(certificate, not_before_s, not_after_s) &&
        set_subject(certificate, subject, is_ca) && X509_set_pubkey(certificate, key) &&
        X509_set_issuer_name(certificate,
                             subject_of(issuer == NULL ? certificate : issuer->chain[0])) &&
        (!is_ca || hf_pki_take_extension(certificate, hf_pki_der_basic(options->path_len_max))) &&
        hf_pki_take_extension(certificate, hf_pki_der_key_usage(is_ca)) &&
        hf_pki_take_extension(certificate, hf_pki_der_subject_key(key)) &&
        (issuer == NULL || set_authority_key(certificate, issuer->chain[0])))
        return certificate;
    X509_free(certificate);
    return NULL;
}

/* ---- would it be accepted? ---------------------------------------------------------------- */

/* When it is used is not the question; otherName constraints libcrypto cannot judge, we do; and it
 * misses names in an authority, which has none. */
static int forgive(int is_good, X509_STORE_CTX *context)
{
    int error = X509_STORE_CTX_get_error(context);
    return is_good || error == X509_V_ERR_CERT_HAS_EXPIRED ||
           error == X509_V_ERR_CERT_NOT_YET_VALID ||
           error == X509_V_ERR_UNSUPPORTED_CONSTRAINT_TYPE ||
           error == X509_V_ERR_NAME_CONSTRAINTS_WITHOUT_SANS;
}

static bool is_below(const struct hf_pki_name *name, const struct hf_pki_name *base)
{
    size_t len = strlen(base->text);
    return strncmp(name->text, base->text, len) == 0 &&
           (len == 0 || name->text[len] == '\0' || name->text[len] == '.');
}

/* RFC 5280 4.2.1.10 for an otherName: of those with its type-id, one must permit and none exclude
 * it. */
static bool is_device_permitted(const struct hf_pki_name *name, const struct hf_pki_facts *issuer)
{
    bool is_constrained = false, is_permitted = false;
    for (int i = 0; i < issuer->constraint_count; i++) {
        const struct hf_pki_constraint *constraint = &issuer->constraints[i];
        bool is_match = is_below(name, &constraint->base);
        if (constraint->base.kind != HF_PKI_OTHER || strcmp(constraint->base.arc, name->arc) != 0)
            continue;
        if (is_match && constraint->is_excluded)
            return false;
        is_permitted |= is_match && !constraint->is_excluded;
        is_constrained |= !constraint->is_excluded;
    }
    return is_permitted || !is_constrained;
}

/* What libcrypto does not judge: devices' names, and an authority that could certify nobody. `name`
 * is NULL for an authority. */
static bool is_permitted(const struct hf_pki_name *name, const struct hf_pki_issuer *issuer)
{
    const char *why = NULL;
    struct hf_pki_facts *facts = OPENSSL_malloc(sizeof(*facts));
    for (int i = 0; facts != NULL && why == NULL && i < issuer->count; i++) {
        hf_pki_inspect(facts, issuer->chain[i]);
        if (name == NULL && facts->path_len_max >= 0 && facts->path_len_max <= i)
            why = "path length constraint exceeded";
        if (name != NULL && name->kind == HF_PKI_OTHER && !is_device_permitted(name, facts))
            why = "name constraint";
    }
    if (facts == NULL)
        why = "no memory";
    OPENSSL_free(facts);
    return why == NULL ||
           hf_pki_fail("its issuer may not certify this: %s (--unchecked makes it all the same)",
                       why);
}

static bool is_acceptable(X509 *certificate, const struct hf_pki_issuer *issuer)
{
    STACK_OF(X509) *anchors = sk_X509_new_null();
    STACK_OF(X509) *between = sk_X509_new_null();
    X509_STORE *store = X509_STORE_new();
    X509_STORE_CTX *context = X509_STORE_CTX_new();
    bool is_good = anchors != NULL && between != NULL && store != NULL && context != NULL &&
                   sk_X509_push(anchors, issuer->chain[issuer->count - 1]);
    for (int i = 0; is_good && i < issuer->count - 1; i++)
        is_good = sk_X509_push(between, issuer->chain[i]) != 0;
    if (is_good && X509_STORE_CTX_init(context, store, certificate, between)) {
        X509_STORE_CTX_trusted_stack(context, anchors);
        X509_STORE_CTX_set_flags(context, X509_V_FLAG_PARTIAL_CHAIN);
        X509_STORE_CTX_set_verify_cb(context, forgive);
        is_good = X509_verify_cert(context) == 1;
    }
    if (!is_good)
        (void)hf_pki_fail("its issuer may not certify this: %s (--unchecked makes it all the same)",
                          context == NULL
                              ? "no memory"
                              : X509_verify_cert_error_string(X509_STORE_CTX_get_error(context)));
    X509_STORE_CTX_free(context);
    X509_STORE_free(store);
    sk_X509_free(anchors);
    sk_X509_free(between);
    ERR_clear_error();
    return is_good;
}

/* ---- writing ------------------------------------------------------------------------------ */

static bool is_self_issued(const X509 *certificate)
{
    X509_NAME *issuer = (X509_NAME *)(uintptr_t)X509_get_issuer_name(certificate);
    return X509_NAME_cmp(subject_of(certificate), issuer) == 0;
}

static bool write_chain(const char *path, X509 *certificate, const struct hf_pki_issuer *issuer,
                        bool is_forced)
{
    BIO *content = BIO_new(BIO_s_mem());
    bool is_good = content != NULL && PEM_write_bio_X509(content, certificate);
    for (int i = 0; is_good && issuer != NULL && i < issuer->count; i++)
        if (!is_self_issued(issuer->chain[i]))
            is_good = PEM_write_bio_X509(content, issuer->chain[i]) != 0;
    if (!is_good)
        (void)hf_pki_crypto_fail(path);
    is_good = is_good && hf_pki_file_write(path, content, false, is_forced);
    BIO_free(content);
    return is_good;
}

/* What is special about the certificate being made. */
struct kind {
    const char *subject;
    const struct hf_pki_name *name; /* NULL: an authority */
};

/* TS-0003 8.1.2.2 wants constraints in every authority, so that one who holds the chain without its
 * root knows them: an intermediate one has its issuer's if it has none of its own. */
static bool inherit(X509 *certificate, const struct hf_pki_issuer *issuer)
{
    int index = X509_get_ext_by_NID(issuer->chain[0], NID_name_constraints, -1);
    if (index < 0)
        return true;
    X509_EXTENSION *from = (X509_EXTENSION *)(uintptr_t)X509_get_ext(issuer->chain[0], index);
    return X509_add_ext(certificate, from, -1) || hf_pki_crypto_fail("name constraints");
}

static bool add_special(X509 *certificate, const struct kind *kind,
                        const struct hf_pki_issuer *issuer, const struct hf_pki_options *options)
{
    if (kind->name == NULL && issuer != NULL && options->constraint_count == 0 &&
        !options->is_unconstrained)
        return inherit(certificate, issuer);
    if (kind->name == NULL)
        return options->constraint_count == 0 ||
               hf_pki_take_extension(
                   certificate,
                   hf_pki_der_constraints(options->constraints, options->constraint_count));
    /* RFC 5280 4.2.1.6: critical where the subject is empty. */
    if (!hf_pki_take_extension(certificate,
                               hf_pki_der_san(kind->name, strlen(kind->subject) > SUBJECT_LEN_MAX)))
        return false;
    if (options->usage == NULL)
        return true;
    bool is_both = strcmp(options->usage, "both") == 0;
    return hf_pki_take_extension(
        certificate, hf_pki_der_usage(is_both || strcmp(options->usage, "server") == 0,
                                      is_both || strcmp(options->usage, "client") == 0));
}

static bool make_with(EVP_PKEY *key, bool is_new, const struct hf_pki_issuer *issuer,
                      const struct kind *kind, const struct hf_pki_options *options)
{
    char path[HF_PKI_PATH_LEN_MAX];
    const char *prefix = options->arguments[0];
    X509 *certificate = begin(kind->subject, key, issuer, options, kind->name == NULL);
    bool is_good = certificate != NULL && add_special(certificate, kind, issuer, options);
    if (is_good && !X509_sign(certificate, issuer == NULL ? key : issuer->key, EVP_sha256()))
        is_good = hf_pki_crypto_fail("signing");
    is_good = is_good &&
              (issuer == NULL || options->is_unchecked ||
               (is_acceptable(certificate, issuer) && is_permitted(kind->name, issuer))) &&
              (!is_new || key_write(prefix, key, options->is_forced)) &&
              hf_pki_file_path(path, prefix, "pem") &&
              write_chain(path, certificate, issuer, options->is_forced);
    X509_free(certificate);
    return is_good;
}

static int make(const struct kind *kind, const struct hf_pki_options *options)
{
    struct hf_pki_issuer issuer = {.count = 0};
    char key_path[HF_PKI_PATH_LEN_MAX], path[HF_PKI_PATH_LEN_MAX];
    bool is_new = options->key_file == NULL && options->public_key_file == NULL;
    const char *prefix = options->arguments[0];
    if (!hf_pki_file_path(key_path, prefix, "key") || !hf_pki_file_path(path, prefix, "pem") ||
        (is_new && !hf_pki_file_is_free(key_path, options->is_forced)) ||
        !hf_pki_file_is_free(path, options->is_forced) ||
        (options->issuer != NULL && !hf_pki_issuer_open(&issuer, options->issuer)))
        return HF_TOOL_FAILED;
    EVP_PKEY *key = key_for(&is_new, options);
    bool is_good =
        key != NULL && make_with(key, is_new, issuer.count > 0 ? &issuer : NULL, kind, options);
    EVP_PKEY_free(key);
    hf_pki_issuer_close(&issuer);
    return is_good ? HF_TOOL_DONE : HF_TOOL_FAILED;
}

/* ---- the flavours ------------------------------------------------------------------------- */

int hf_pki_make_ca(const struct hf_pki_options *options)
{
    const char *slash = strrchr(options->arguments[0], '/');
    const char *subject = slash == NULL ? options->arguments[0] : slash + 1;
    if (options->name != NULL)
        subject = options->name;
    if (subject[0] == '\0' || strlen(subject) > SUBJECT_LEN_MAX) {
        (void)hf_pki_fail("an authority's --name has 1 to 64 bytes");
        return HF_TOOL_USAGE;
    }
    if (options->issuer == NULL && options->constraint_count == 0 && !options->is_unconstrained) {
        (void)hf_pki_fail("whom may it certify? Say --permit-sp DOMAIN, another --permit-..., or "
                          "--unconstrained (TS-0003 8.1.2.2)");
        return HF_TOOL_USAGE;
    }
    return make(&(struct kind){.subject = subject}, options);
}

static int make_entity(bool is_good, const struct hf_pki_name *name, const char *subject,
                       const struct hf_pki_options *options)
{
    if (!is_good)
        return HF_TOOL_USAGE;
    return make(&(struct kind){.subject = subject, .name = name}, options);
}

int hf_pki_make_cse_id(const struct hf_pki_options *options)
{
    struct hf_pki_name name;
    bool is_good = hf_pki_name_of_cse(&name, options->arguments[1], options);
    return make_entity(is_good, &name, options->arguments[1], options);
}

int hf_pki_make_ae_id(const struct hf_pki_options *options)
{
    struct hf_pki_name name;
    bool is_good = hf_pki_name_of_ae(&name, options->arguments[1], options);
    return make_entity(is_good, &name, options->arguments[1], options);
}

int hf_pki_make_node_id(const struct hf_pki_options *options)
{
    struct hf_pki_name name;
    bool is_good = hf_pki_name_of_node(&name, options->arguments[1]);
    return make_entity(is_good, &name, options->arguments[1], options);
}

int hf_pki_make_device(const struct hf_pki_options *options)
{
    struct hf_pki_name name;
    bool is_good = hf_pki_name_of_device(&name, options->arguments[1], options->arc);
    if (is_good && name.text[0] == '\0')
        is_good = hf_pki_fail("%.100s: the arc itself is no device", options->arguments[1]);
    return make_entity(is_good, &name, options->arguments[1], options);
}

int hf_pki_make_fqdn(const struct hf_pki_options *options)
{
    struct hf_pki_name name = {.kind = HF_PKI_DNS};
    bool is_good = hf_pki_name_is_fqdn(options->arguments[1]) ||
                   hf_pki_fail("%.100s: not an FQDN", options->arguments[1]);
    if (is_good)
        snprintf(name.text, sizeof(name.text), "%s", options->arguments[1]);
    return make_entity(is_good, &name, options->arguments[1], options);
}
