/**
 * pki.h - `handfast pki`, what its files share: a small authority for labs and tests, making keys,
 * certificates and CRLs in the profiles of TS-0003 10.1, and showing them.
 *
 *     pki.c            the command line            pki_name.c      identifiers, as text
 *     pki_make.c       certificates and raw keys   pki_der.c       extensions and their names
 *     pki_crl.c        revoking and renewing       pki_file.c      PEM, and files
 *     pki_show.c       what a file holds           pki_inspect.c   what a certificate says
 *
 * X.509 is libcrypto's; the contents of extensions are written and read here, byte by byte.
 * Invariant: P-256 and SHA-256 only; a private key is written with mode 0600, and never shown.
 */
#ifndef HF_PKI_H
#define HF_PKI_H

#include "tool.h"

#include <handfast/base.h>
#include <openssl/bytestring.h>
#include <openssl/evp.h>
#include <openssl/x509.h>

#include <stdint.h>
#include <stdio.h>

#define HF_PKI_TEXT_MAX 512 /* an identifier, its end included */
#define HF_PKI_PATH_LEN_MAX 4096
#define HF_PKI_CONSTRAINTS_MAX 32
#define HF_PKI_CHAIN_MAX 16
#define HF_PKI_DEVICE_ARC "0.2.481.1" /* TS-0001 Annex H: the M2M device indication */
#define HF_PKI_SCHEME "m2m"           /* of an AE-ID's URI; peers compare what follows it */

/** What a certificate is for: TS-0003 10.1.1. */
enum hf_pki_flavour {
    HF_PKI_CA,
    HF_PKI_CSE_ID,
    HF_PKI_AE_ID,
    HF_PKI_NODE_ID,
    HF_PKI_DEVICE,
    HF_PKI_FQDN,
};

/** A name in a subjectAltName, or the base of a name constraint. */
enum hf_pki_name_kind {
    HF_PKI_DNS,           /* dNSName */
    HF_PKI_URI,           /* uniformResourceIdentifier */
    HF_PKI_REGISTERED_ID, /* registeredID */
    HF_PKI_OTHER,         /* otherName: type-id `arc`, value the arcs of `text`, as RELATIVE-OID */
};

struct hf_pki_name {
    enum hf_pki_name_kind kind;
    char arc[HF_PKI_TEXT_MAX];
    char text[HF_PKI_TEXT_MAX];
};

struct hf_pki_constraint {
    struct hf_pki_name base;
    bool is_excluded;
};

/** The command line, understood. Times are UTC seconds; 0: the default. */
struct hf_pki_options {
    const char *name, *issuer, *fqdn, *in_cse, *scheme, *arc;
    const char *key_file, *public_key_file, *usage, *reason, *serial;
    struct hf_pki_constraint constraints[HF_PKI_CONSTRAINTS_MAX];
    uint32_t constraint_count;
    int64_t not_before_s, not_after_s;
    int64_t days;     /* 0: the default */
    int64_t count;    /* so many at once; 0: one */
    int path_len_max; /* -1: none */
    bool is_forced, is_unchecked, is_unconstrained;
    char **arguments;
    int argument_count;
};

/** hf_pki_fail prints "handfast: pki: ..." and gives false. */
__attribute__((format(printf, 1, 2))) bool hf_pki_fail(const char *format, ...);
/** hf_pki_crypto_fail does so for what libcrypto refused, with its reason. */
bool hf_pki_crypto_fail(const char *what);

/* ---- subcommands: each gives an enum hf_tool_exit ---- */

int hf_pki_make_ca(const struct hf_pki_options *options);
int hf_pki_make_cse_id(const struct hf_pki_options *options);
int hf_pki_make_ae_id(const struct hf_pki_options *options);
int hf_pki_make_node_id(const struct hf_pki_options *options);
int hf_pki_make_device(const struct hf_pki_options *options);
int hf_pki_make_fqdn(const struct hf_pki_options *options);
int hf_pki_make_raw_key(const struct hf_pki_options *options);
int hf_pki_revoke(const struct hf_pki_options *options);
int hf_pki_renew_crl(const struct hf_pki_options *options);
int hf_pki_digest(const struct hf_pki_options *options);
int hf_pki_show(const struct hf_pki_options *options);

/* ---- pki_name.c ---- */

/** hf_pki_name_is_fqdn: two or more labels, no wildcard, no final dot, not an IP address. */
bool hf_pki_name_is_fqdn(const char *text);
/** hf_pki_name_is_cse_id: absolute, `//{SP}/{CSE}`. */
bool hf_pki_name_is_cse_id(const char *text);
/** hf_pki_name_is_ae_id: absolute, `//{SP}/{CSE}/C...` or `//{SP}/S...`. */
bool hf_pki_name_is_ae_id(const char *text);
/** hf_pki_name_is_oid: in dotted decimal, two arcs or more. */
bool hf_pki_name_is_oid(const char *text);
/** hf_pki_name_has_scheme: a URI begins with letters, digits, and a colon. */
bool hf_pki_name_has_scheme(const char *text);
/** hf_pki_name_of_... makes what stands in the subjectAltName. On failure it has told why. */
HF_MUST_USE bool hf_pki_name_of_cse(struct hf_pki_name *out, const char *cse_id,
                                    const struct hf_pki_options *options);
HF_MUST_USE bool hf_pki_name_of_ae(struct hf_pki_name *out, const char *ae_id,
                                   const struct hf_pki_options *options);
HF_MUST_USE bool hf_pki_name_of_node(struct hf_pki_name *out, const char *node_id);
HF_MUST_USE bool hf_pki_name_of_device(struct hf_pki_name *out, const char *oid, const char *arc);
/** hf_pki_name_of_constraint makes a constraint's base of kind DNS, URI or OTHER. */
HF_MUST_USE bool hf_pki_name_of_constraint(struct hf_pki_name *out, enum hf_pki_name_kind kind,
                                           const char *text, const char *arc);

/* ---- pki_der.c ---- */

/** hf_pki_der_add_name writes a GeneralName. */
HF_MUST_USE bool hf_pki_der_add_name(CBB *out, const struct hf_pki_name *name);
/** hf_pki_der_name_constraints, ..._usage and so on make extensions; NULL: no memory. */
X509_EXTENSION *hf_pki_der_constraints(const struct hf_pki_constraint *constraints, uint32_t count);
X509_EXTENSION *hf_pki_der_san(const struct hf_pki_name *name, bool is_critical);
X509_EXTENSION *hf_pki_der_basic(int path_len_max);
X509_EXTENSION *hf_pki_der_key_usage(bool is_ca);
X509_EXTENSION *hf_pki_der_usage(bool is_server, bool is_client);
X509_EXTENSION *hf_pki_der_subject_key(const EVP_PKEY *key);
X509_EXTENSION *hf_pki_der_authority_key(const uint8_t *id, size_t id_len);
X509_EXTENSION *hf_pki_der_crl_number(uint64_t number);
X509_EXTENSION *hf_pki_der_reason(int reason);
/** hf_pki_der_key_id gives a key's identifier: RFC 7093 2, method 1. */
#define HF_PKI_KEY_ID_LEN 20
HF_MUST_USE bool hf_pki_der_key_id(uint8_t out[HF_PKI_KEY_ID_LEN], const EVP_PKEY *key);
/** hf_pki_der_read_names reads GeneralNames; what it does not know it leaves out and counts in
 *  `*strange`. Gives how many there are in `out`, or -1 if it is no list of names. */
int hf_pki_der_read_names(struct hf_pki_name *out, int out_max, int *strange, CBS names);

/* ---- pki_file.c ---- */

/** hf_pki_file_path makes "PREFIX.suffix". */
HF_MUST_USE bool hf_pki_file_path(char out[HF_PKI_PATH_LEN_MAX], const char *prefix,
                                  const char *suffix);
/** hf_pki_file_is_free: nothing is there, or it may be overwritten; otherwise it has told. */
HF_MUST_USE bool hf_pki_file_is_free(const char *path, bool is_forced);
/** hf_pki_file_write writes all or nothing: a new file takes the place of an old one at once. */
HF_MUST_USE bool hf_pki_file_write(const char *path, BIO *content, bool is_secret, bool is_forced);
/** hf_pki_file_hurry: what is written from now on may be lost if the machine stops soon: for files
 *  by the thousand, which are made again as easily. */
void hf_pki_file_hurry(void);
/** hf_pki_file_read gives a file's bytes, at most 1 MiB; NULL: it has told why. */
BIO *hf_pki_file_read(const char *path, bool is_secret);
/** hf_pki_file_read_chain reads certificates in order. Owns: the caller frees them. */
HF_MUST_USE bool hf_pki_file_read_chain(X509 *out[HF_PKI_CHAIN_MAX], int *count, const char *path);
/** hf_pki_file_read_key reads a P-256 private key; _read_public a public one, from anything that
 *  has one: a certificate, a private key, a public key. */
EVP_PKEY *hf_pki_file_read_key(const char *path);
EVP_PKEY *hf_pki_file_read_public(const char *path);
/** hf_pki_file_read_crl gives NULL without a word if the file does not exist: `*is_there`. */
X509_CRL *hf_pki_file_read_crl(bool *is_there, const char *path);
bool hf_pki_key_is_p256(const EVP_PKEY *key);
void hf_pki_chain_free(X509 **chain, int count);

/* ---- pki_make.c ---- */

struct hf_pki_issuer {
    X509 *chain[HF_PKI_CHAIN_MAX]; /* its own first */
    int count;
    EVP_PKEY *key;
};

/** hf_pki_issuer_open reads PREFIX.pem and PREFIX.key, and checks that they belong together. */
HF_MUST_USE bool hf_pki_issuer_open(struct hf_pki_issuer *out, const char *prefix);
void hf_pki_issuer_close(struct hf_pki_issuer *issuer);
/** hf_pki_validity sets both times, or tells what is wrong with the options. */
HF_MUST_USE bool hf_pki_validity(int64_t *not_before_s, int64_t *not_after_s,
                                 const struct hf_pki_options *options, int64_t days_default);
/** hf_pki_take_extension adds and frees it; false if it is NULL, too. */
HF_MUST_USE bool hf_pki_take_extension(X509 *certificate, X509_EXTENSION *extension);

/* ---- pki_inspect.c ---- */

/** What a certificate says of itself, as far as its profile goes. */
struct hf_pki_facts {
    enum hf_pki_flavour flavour;
    bool has_flavour; /* otherwise no profile fits: see `faults` */
    struct hf_pki_name names[16];
    int name_count;
    char identity[HF_PKI_TEXT_MAX];
    char credential_id[HF_PKI_TEXT_MAX]; /* empty for a CA, and where there is none */
    int path_len_max;                    /* -1: none */
    struct hf_pki_constraint constraints[HF_PKI_CONSTRAINTS_MAX];
    int constraint_count;
    const char *faults[16]; /* deviations from 10.1.1 */
    int fault_count;
};

void hf_pki_inspect(struct hf_pki_facts *out, X509 *certificate);
/** hf_pki_name_print writes it as people read it. */
void hf_pki_name_print(char out[2 * HF_PKI_TEXT_MAX], const struct hf_pki_name *name);
/** hf_pki_time_s gives a certificate's time in UTC seconds, or INT64_MIN. */
int64_t hf_pki_time_s(const ASN1_TIME *time);
/** hf_pki_print_digests writes the RFC 6920 names of a key's SubjectPublicKeyInfo. */
HF_MUST_USE bool hf_pki_print_digests(FILE *out, const char *indent, const EVP_PKEY *key);
/** hf_pki_digest_name gives one of them: "sha-256;...", with the leading `len` bytes. */
#define HF_PKI_DIGEST_TEXT_MAX 64
HF_MUST_USE bool hf_pki_digest_name(char out[HF_PKI_DIGEST_TEXT_MAX], size_t len,
                                    const EVP_PKEY *key);

#endif
