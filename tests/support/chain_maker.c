/**
 * chain_maker.c - certificates and CRLs from their parts.
 */
#include "chain_maker.h"

#include <openssl/base64.h>
#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/ec_key.h>
#include <openssl/mem.h>
#include <openssl/nid.h>
#include <openssl/rsa.h>

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CONTEXT(n) (CBS_ASN1_CONTEXT_SPECIFIC | (n))
#define WRAPPER(n) (CBS_ASN1_CONSTRUCTED | CONTEXT(n))

#define must(is_good)                                                                              \
    do {                                                                                           \
        if (!(is_good))                                                                            \
            abort();                                                                               \
    } while (0)

static void add_oid(CBB *out, const char *text)
{
    CBB oid;
    must(CBB_add_asn1(out, &oid, CBS_ASN1_OBJECT));
    must(CBB_add_asn1_oid_from_text(&oid, text, strlen(text)) && CBB_flush(out));
}

static void add_hex(CBB *out, const char *text, size_t len)
{
    for (size_t i = 0; i + 1 < len; i += 2) {
        unsigned byte;
        must(sscanf(text + i, "%2x", &byte) == 1 && CBB_add_u8(out, (uint8_t)byte));
    }
}

EVP_PKEY *chain_maker_key(int nid)
{
    EVP_PKEY *key = EVP_PKEY_new();
    if (nid == NID_rsaEncryption) {
        RSA *rsa = RSA_new();
        BIGNUM *exponent = BN_new();
        must(BN_set_word(exponent, RSA_F4) && RSA_generate_key_ex(rsa, 2048, exponent, NULL));
        must(EVP_PKEY_assign_RSA(key, rsa));
        BN_free(exponent);
        return key;
    }
    EC_KEY *ec = EC_KEY_new_by_curve_name(nid);
    must(ec && EC_KEY_generate_key(ec) && EVP_PKEY_assign_EC_KEY(key, ec));
    return key;
}

/* ---- names ---------------------------------------------------------------------------------- */

/* One item of a list by commas; NULL at the end. */
static const char *next_item(char *item, size_t item_max, const char *list)
{
    size_t len = strcspn(list, ",");
    must(len < item_max);
    memcpy(item, list, len);
    item[len] = 0;
    return list[len] ? list + len + 1 : NULL;
}

static const char *attribute_oid(const char *name)
{
    static const char *const oids[][2] = {{"CN", "2.5.4.3"},
                                          {"O", "2.5.4.10"},
                                          {"E", "1.2.840.113549.1.9.1"},
                                          {"UID", "0.9.2342.19200300.100.1.1"}};
    for (size_t i = 0; i < sizeof oids / sizeof oids[0]; i++) {
        if (strcmp(oids[i][0], name) == 0)
            return oids[i][1];
    }
    abort();
}

/* "CN=x": UTF8String; "CN#x": PrintableString; "CN~x": BMPString, which nobody takes. */
static void add_attribute(CBB *sets, char *item)
{
    CBB set, pair, string;
    size_t len = strcspn(item, "=#~");
    unsigned tag = item[len] == '='   ? CBS_ASN1_UTF8STRING
                   : item[len] == '#' ? CBS_ASN1_PRINTABLESTRING
                                      : CBS_ASN1_BMPSTRING;
    item[len] = 0;
    const char *value = item + len + 1;
    if (strcmp(item, "E") == 0)
        tag = CBS_ASN1_IA5STRING;
    must(CBB_add_asn1(sets, &set, CBS_ASN1_SET) && CBB_add_asn1(&set, &pair, CBS_ASN1_SEQUENCE));
    add_oid(&pair, attribute_oid(item));
    must(CBB_add_asn1(&pair, &string, tag));
    must(CBB_add_bytes(&string, (const uint8_t *)value, strlen(value)) && CBB_flush(sets));
}

void chain_maker_add_name(CBB *out, const char *text)
{
    CBB sets;
    char item[256];
    must(CBB_add_asn1(out, &sets, CBS_ASN1_SEQUENCE));
    while (text && *text) {
        text = next_item(item, sizeof item, text);
        add_attribute(&sets, item);
    }
    must(CBB_flush(out));
}

/* "1.2.3/rest": the type-id; gives the rest. */
static const char *add_type_id(CBB *other, CBB *value, char *text)
{
    char *slash = strchr(text, '/');
    must(slash != NULL);
    *slash = 0;
    add_oid(other, text);
    must(CBB_add_asn1(other, value, WRAPPER(0)));
    return slash + 1;
}

static void add_relative(CBB *out, const char *arcs)
{
    char text[128];
    CBB oid;
    uint8_t *der;
    size_t len;
    if (strcmp(arcs, "_") == 0)
        return;
    must((size_t)snprintf(text, sizeof text, "2.39.%s", arcs) < sizeof text); /* 2.39: one byte */
    must(CBB_init(&oid, 64) && CBB_add_asn1_oid_from_text(&oid, text, strlen(text)));
    must(CBB_finish(&oid, &der, &len) && CBB_add_bytes(out, der + 1, len - 1));
    OPENSSL_free(der);
}

static void add_other(CBB *out, const char *kind, char *text)
{
    CBB other, value, sequence, octets;
    must(CBB_add_asn1(out, &other, WRAPPER(0)));
    if (strcmp(kind, "HWM") == 0) {
        char *slash = strchr(text, '/');
        must(slash != NULL);
        *slash = 0;
        add_oid(&other, "1.3.6.1.5.5.7.8.4");
        must(CBB_add_asn1(&other, &value, WRAPPER(0)));
        must(CBB_add_asn1(&value, &sequence, CBS_ASN1_SEQUENCE));
        add_oid(&sequence, text);
        must(CBB_add_asn1(&sequence, &octets, CBS_ASN1_OCTETSTRING));
        add_hex(&octets, slash + 1, strlen(slash + 1));
    } else {
        bool is_text = strcmp(kind, "UTF") == 0;
        const char *rest = add_type_id(&other, &value, text);
        must(CBB_add_asn1(&value, &octets, is_text ? CBS_ASN1_UTF8STRING : 13u));
        if (is_text)
            must(CBB_add_bytes(&octets, (const uint8_t *)rest, strlen(rest)));
        else
            add_relative(&octets, rest);
    }
    must(CBB_flush(out));
}

static void add_general_name(CBB *out, char *item)
{
    static const struct {
        const char *kind;
        unsigned tag;
    } plain[] = {{"MAIL", CONTEXT(1)}, {"DNS", CONTEXT(2)}, {"URI", CONTEXT(6)}};
    CBB name;
    char *value = strchr(item, ':');
    must(value != NULL);
    *value++ = 0;
    if (strcmp(value, "_") == 0)
        *value = 0;
    for (size_t i = 0; i < 3; i++) {
        if (strcmp(item, plain[i].kind) != 0)
            continue;
        must(CBB_add_asn1(out, &name, plain[i].tag));
        must(CBB_add_bytes(&name, (const uint8_t *)value, strlen(value)) && CBB_flush(out));
        return;
    }
    if (strcmp(item, "IP") == 0) {
        must(CBB_add_asn1(out, &name, CONTEXT(7)));
        add_hex(&name, value, strlen(value));
    } else if (strcmp(item, "RID") == 0) {
        must(CBB_add_asn1(out, &name, CONTEXT(8)));
        must(CBB_add_asn1_oid_from_text(&name, value, strlen(value)));
    } else if (strcmp(item, "DIR") == 0) {
        must(CBB_add_asn1(out, &name, WRAPPER(4)));
        for (char *at = value; *at; at++) /* commas part the general names */
            *at = *at == ';' ? ',' : *at;
        chain_maker_add_name(&name, value);
    } else if (strcmp(item, "X400") == 0) {
        must(CBB_add_asn1(out, &name, WRAPPER(3)));
    } else {
        add_other(out, item, value);
    }
    must(CBB_flush(out));
}

void chain_maker_add_names(CBB *out, const char *text)
{
    char item[512];
    while (text && *text) {
        text = next_item(item, sizeof item, text);
        add_general_name(out, item);
    }
}

/* "+DNS:x,-URI:y"; "*" in front of a name: with a minimum. */
static void add_constraints(CBB *out, const char *text)
{
    for (unsigned part = 0; part < 2; part++) {
        const char *rest = text;
        char item[512];
        CBB subtrees, subtree;
        if (!strchr(text, part == 0 ? '+' : '-') ||
            (part == 1 && text[0] != '-' && !strstr(text, ",-")))
            continue;
        must(CBB_add_asn1(out, &subtrees, WRAPPER(part)));
        while (rest && *rest) {
            rest = next_item(item, sizeof item, rest);
            bool has_minimum = item[1] == '*';
            if (item[0] != "+-"[part])
                continue;
            must(CBB_add_asn1(&subtrees, &subtree, CBS_ASN1_SEQUENCE));
            add_general_name(&subtree, item + 1 + has_minimum);
            if (has_minimum)
                must(CBB_add_bytes(&subtree, (const uint8_t *)"\x80\x01\x01", 3));
            must(CBB_flush(&subtrees));
        }
        must(CBB_flush(out));
    }
}

/* ---- extensions ----------------------------------------------------------------------------- */

/* Begins one; the value goes into `value`, which the next CBB_flush(extensions) ends. */
static void begin_extension(CBB *extensions, CBB *value, const char *oid, bool is_critical)
{
    static CBB extension;
    must(CBB_add_asn1(extensions, &extension, CBS_ASN1_SEQUENCE));
    add_oid(&extension, oid);
    if (is_critical)
        must(CBB_add_asn1_bool(&extension, 1));
    must(CBB_add_asn1(&extension, value, CBS_ASN1_OCTETSTRING));
}

static void add_key_usage(CBB *extensions, int bits)
{
    CBB value;
    unsigned unused = bits ? (unsigned)__builtin_ctz((unsigned)bits) : 7;
    begin_extension(extensions, &value, "2.5.29.15", true);
    const uint8_t der[] = {3, 2, (uint8_t)unused, (uint8_t)bits};
    must(CBB_add_bytes(&value, der, sizeof der) && CBB_flush(extensions));
}

static void add_eku(CBB *extensions, int eku)
{
    static const char *const oids[] = {"1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2", "2.5.29.37.0",
                                       "1.3.6.1.5.5.7.3.3"};
    CBB value, sequence;
    begin_extension(extensions, &value, "2.5.29.37", false);
    must(CBB_add_asn1(&value, &sequence, CBS_ASN1_SEQUENCE));
    for (int i = 0; i < 4; i++) {
        if (eku & 1 << i)
            add_oid(&sequence, oids[i]);
    }
    must(CBB_flush(extensions));
}

static void add_basic_constraints(CBB *extensions, const struct chain_certificate *what)
{
    CBB value, sequence;
    begin_extension(extensions, &value, "2.5.29.19", true);
    must(CBB_add_asn1(&value, &sequence, CBS_ASN1_SEQUENCE));
    if (what->ca)
        must(CBB_add_asn1_bool(&sequence, 1));
    if (what->path_len >= 0)
        must(CBB_add_asn1_uint64(&sequence, (uint64_t)what->path_len));
    must(CBB_flush(extensions));
}

static void add_names_extension(CBB *extensions, const char *names)
{
    CBB value, sequence;
    begin_extension(extensions, &value, "2.5.29.17", false);
    must(CBB_add_asn1(&value, &sequence, CBS_ASN1_SEQUENCE));
    chain_maker_add_names(&sequence, names);
    must(CBB_flush(extensions));
}

static void add_authority_id(CBB *extensions, const char *id)
{
    CBB value, sequence, octets;
    begin_extension(extensions, &value, "2.5.29.35", false);
    must(CBB_add_asn1(&value, &sequence, CBS_ASN1_SEQUENCE));
    if (strncmp(id, "serial:", 7) == 0) {
        must(CBB_add_asn1(&sequence, &octets, CONTEXT(2)));
        add_hex(&octets, id + 7, strlen(id + 7));
    } else if (strncmp(id, "issuer:", 7) == 0) {
        must(CBB_add_asn1(&sequence, &octets, WRAPPER(1)));
        chain_maker_add_names(&octets, id + 7);
    } else {
        must(CBB_add_asn1(&sequence, &octets, CONTEXT(0)));
        must(CBB_add_bytes(&octets, (const uint8_t *)id, strlen(id)));
    }
    must(CBB_flush(extensions));
}

static void add_extra(CBB *extensions, const char *list, const struct chain_certificate *what)
{
    char item[1024];
    CBB value;
    while (list && *list) {
        list = next_item(item, sizeof item, list);
        must(what || item[0] != '=');
        if (strcmp(item, "=KU") == 0) {
            add_key_usage(extensions, what->key_usage);
        } else if (strcmp(item, "=SAN") == 0) {
            add_names_extension(extensions, what->names);
        } else {
            size_t oid_len = strcspn(item, "!:");
            bool is_critical = item[oid_len] == '!';
            const char *hex = strchr(item, ':');
            item[oid_len] = 0;
            begin_extension(extensions, &value, item, is_critical);
            if (hex)
                add_hex(&value, hex + 1, strlen(hex + 1));
            must(CBB_flush(extensions));
        }
    }
}

static void add_extensions(CBB *tbs, const struct chain_certificate *what)
{
    CBB wrapper, extensions, value, inner;
    must(CBB_add_asn1(tbs, &wrapper, WRAPPER(3)));
    must(CBB_add_asn1(&wrapper, &extensions, CBS_ASN1_SEQUENCE));
    if (what->ca >= 0)
        add_basic_constraints(&extensions, what);
    if (what->key_usage >= 0)
        add_key_usage(&extensions, what->key_usage);
    if (what->eku)
        add_eku(&extensions, what->eku);
    if (what->names)
        add_names_extension(&extensions, what->names);
    if (what->constraints) {
        begin_extension(&extensions, &value, "2.5.29.30", true);
        must(CBB_add_asn1(&value, &inner, CBS_ASN1_SEQUENCE));
        add_constraints(&inner, what->constraints);
        must(CBB_flush(&extensions));
    }
    if (what->key_id) {
        begin_extension(&extensions, &value, "2.5.29.14", false);
        must(CBB_add_asn1(&value, &inner, CBS_ASN1_OCTETSTRING));
        must(CBB_add_bytes(&inner, (const uint8_t *)what->key_id, strlen(what->key_id)));
        must(CBB_flush(&extensions));
    }
    if (what->authority_id)
        add_authority_id(&extensions, what->authority_id);
    add_extra(&extensions, what->extra, what);
    must(CBB_flush(tbs));
}

/* ---- keys and signatures -------------------------------------------------------------------- */

static void add_explicit_key(CBB *out, EC_KEY *ec)
{
    /* The shape is enough: nobody may look into it. */
    CBB info, algorithm, parameters, bits;
    uint8_t point[65];
    must(EC_POINT_point2oct(EC_KEY_get0_group(ec), EC_KEY_get0_public_key(ec),
                            POINT_CONVERSION_UNCOMPRESSED, point, sizeof point, NULL) == 65);
    must(CBB_add_asn1(out, &info, CBS_ASN1_SEQUENCE));
    must(CBB_add_asn1(&info, &algorithm, CBS_ASN1_SEQUENCE));
    add_oid(&algorithm, "1.2.840.10045.2.1");
    must(CBB_add_asn1(&algorithm, &parameters, CBS_ASN1_SEQUENCE));
    must(CBB_add_asn1_uint64(&parameters, 1));
    must(CBB_add_asn1(&info, &bits, CBS_ASN1_BITSTRING) && CBB_add_u8(&bits, 0));
    must(CBB_add_bytes(&bits, point, sizeof point) && CBB_flush(out));
}

void chain_maker_key_info(CBB *out, EVP_PKEY *key, enum chain_key_form form)
{
    CBB info, algorithm, bits;
    EC_KEY *ec = EVP_PKEY_id(key) == EVP_PKEY_EC ? EVP_PKEY_get0_EC_KEY(key) : NULL;
    uint8_t point[200];
    if (form == CHAIN_KEY_PLAIN || !ec) {
        must(EVP_marshal_public_key(out, key));
        return;
    }
    if (form == CHAIN_KEY_EXPLICIT) {
        add_explicit_key(out, ec);
        return;
    }
    size_t len = EC_POINT_point2oct(EC_KEY_get0_group(ec), EC_KEY_get0_public_key(ec),
                                    form == CHAIN_KEY_COMPRESSED ? POINT_CONVERSION_COMPRESSED
                                                                 : POINT_CONVERSION_UNCOMPRESSED,
                                    point, sizeof point, NULL);
    if (form == CHAIN_KEY_OFF_CURVE)
        point[len - 1] ^= 1;
    if (form == CHAIN_KEY_HYBRID)
        point[0] = (uint8_t)(6 + (point[len - 1] & 1));
    if (form == CHAIN_KEY_SHORT)
        len--;
    must(CBB_add_asn1(out, &info, CBS_ASN1_SEQUENCE));
    must(CBB_add_asn1(&info, &algorithm, CBS_ASN1_SEQUENCE));
    add_oid(&algorithm, "1.2.840.10045.2.1");
    add_oid(&algorithm, "1.2.840.10045.3.1.7");
    must(CBB_add_asn1(&info, &bits, CBS_ASN1_BITSTRING) && CBB_add_u8(&bits, 0));
    must(CBB_add_bytes(&bits, point, len) && CBB_flush(out));
}

static void add_algorithm(CBB *out, EVP_PKEY *signer, const EVP_MD *hash)
{
    CBB algorithm, null;
    int nid = EVP_MD_type(hash);
    bool is_rsa = EVP_PKEY_id(signer) == EVP_PKEY_RSA;
    must(CBB_add_asn1(out, &algorithm, CBS_ASN1_SEQUENCE));
    if (is_rsa) {
        add_oid(&algorithm, "1.2.840.113549.1.1.11");
        must(CBB_add_asn1(&algorithm, &null, CBS_ASN1_NULL));
    } else {
        add_oid(&algorithm, nid == NID_sha1     ? "1.2.840.10045.4.1"
                            : nid == NID_sha384 ? "1.2.840.10045.4.3.3"
                                                : "1.2.840.10045.4.3.2");
    }
    must(CBB_flush(out));
}

size_t chain_maker_sign(uint8_t out[CHAIN_DER_MAX], struct hf_bytes tbs, EVP_PKEY *signer,
                        const EVP_MD *hash)
{
    CBB root, certificate, bits;
    uint8_t signature[512];
    size_t signature_len = sizeof signature, len;
    EVP_MD_CTX context;
    EVP_MD_CTX_init(&context);
    must(EVP_DigestSignInit(&context, NULL, hash, NULL, signer));
    must(EVP_DigestSign(&context, signature, &signature_len, tbs.data, tbs.len));
    EVP_MD_CTX_cleanup(&context);
    must(CBB_init_fixed(&root, out, CHAIN_DER_MAX));
    must(CBB_add_asn1(&root, &certificate, CBS_ASN1_SEQUENCE));
    must(CBB_add_bytes(&certificate, tbs.data, tbs.len));
    add_algorithm(&certificate, signer, hash);
    must(CBB_add_asn1(&certificate, &bits, CBS_ASN1_BITSTRING) && CBB_add_u8(&bits, 0));
    must(CBB_add_bytes(&bits, signature, signature_len));
    must(CBB_finish(&root, NULL, &len));
    return len;
}

/* ---- certificates and CRLs ------------------------------------------------------------------ */

static void add_time(CBB *out, int64_t time_s)
{
    int64_t days = time_s / 86400, rest = time_s % 86400;
    int64_t z = days + 719468, era = z / 146097, doe = z % 146097;
    int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100), mp = (5 * doy + 2) / 153;
    int month = (int)(mp < 10 ? mp + 3 : mp - 9), day = (int)(doy - (153 * mp + 2) / 5 + 1);
    int year = (int)(yoe + era * 400) + (month <= 2);
    char text[64];
    CBB value;
    bool is_utc = year < 2050;
    int len = snprintf(text, sizeof text, "%0*d%02d%02d%02d%02d%02dZ", is_utc ? 2 : 4,
                       is_utc ? year % 100 : year, month, day, (int)(rest / 3600),
                       (int)(rest / 60 % 60), (int)(rest % 60));
    must(CBB_add_asn1(out, &value, is_utc ? CBS_ASN1_UTCTIME : CBS_ASN1_GENERALIZEDTIME));
    must(CBB_add_bytes(&value, (const uint8_t *)text, (size_t)len) && CBB_flush(out));
}

static bool is_damaged(const struct chain_certificate *what, const char *how)
{
    return what->damage && strcmp(what->damage, how) == 0;
}

static void add_tbs(CBB *out, const struct chain_certificate *what)
{
    CBB tbs, part, validity;
    must(CBB_add_asn1(out, &tbs, CBS_ASN1_SEQUENCE));
    if (what->version > 1) {
        must(CBB_add_asn1(&tbs, &part, WRAPPER(0)));
        must(CBB_add_asn1_uint64(&part, (uint64_t)what->version - 1));
    }
    must(CBB_add_asn1(&tbs, &part, CBS_ASN1_INTEGER));
    add_hex(&part, what->serial, strlen(what->serial));
    add_algorithm(&tbs, what->signer, what->hash);
    chain_maker_add_name(&tbs, what->issuer);
    must(CBB_add_asn1(&tbs, &validity, CBS_ASN1_SEQUENCE));
    if (!is_damaged(what, "no-validity"))
        add_time(&validity, what->not_before_s);
    add_time(&validity, what->not_after_s);
    chain_maker_add_name(&tbs, what->subject);
    chain_maker_key_info(&tbs, what->key, what->key_form);
    if (is_damaged(what, "unique-id"))
        must(CBB_add_bytes(&tbs, (const uint8_t *)"\x81\x02\x00\x55", 4));
    if (what->version == 3)
        add_extensions(&tbs, what);
    must(CBB_flush(out));
}

static size_t damage(uint8_t *out, size_t len, const struct chain_certificate *what)
{
    if (is_damaged(what, "tail"))
        out[len++] = 0;
    if (is_damaged(what, "short"))
        len -= 5;
    if (is_damaged(what, "tag"))
        out[0] = 0x31;
    if (is_damaged(what, "indefinite"))
        out[1] = 0x80;
    if (is_damaged(what, "length"))
        out[3] += 1;
    return len;
}

size_t chain_maker_certificate(uint8_t out[CHAIN_DER_MAX], const struct chain_certificate *what)
{
    CBB root;
    uint8_t *tbs;
    size_t tbs_len;
    must(CBB_init(&root, 1024));
    add_tbs(&root, what);
    must(CBB_finish(&root, &tbs, &tbs_len));
    size_t len = chain_maker_sign(out, (struct hf_bytes){tbs, tbs_len}, what->signer, what->hash);
    OPENSSL_free(tbs);
    if (is_damaged(what, "outer-algorithm")) /* ...4.3.2 becomes 4.3.3 behind the TBSCertificate */
        out[4 + tbs_len + 11] = 3;
    return damage(out, len, what);
}

static void add_entry(CBB *entries, const char *serial, int64_t when_s)
{
    CBB entry, number, extensions, value;
    size_t len = strcspn(serial, "!");
    must(CBB_add_asn1(entries, &entry, CBS_ASN1_SEQUENCE));
    must(CBB_add_asn1(&entry, &number, CBS_ASN1_INTEGER));
    add_hex(&number, serial, len);
    add_time(&entry, when_s);
    if (serial[len] == '!') {
        must(CBB_add_asn1(&entry, &extensions, CBS_ASN1_SEQUENCE));
        begin_extension(&extensions, &value, "1.3.6.1.4.1.99999.1", true);
    }
    must(CBB_flush(entries));
}

size_t chain_maker_crl(uint8_t out[CHAIN_DER_MAX], const struct chain_crl *what)
{
    CBB root, tbs, entries, wrapper, extensions;
    const char *serials = what->serials;
    char item[128];
    uint8_t *der;
    size_t der_len;
    must(CBB_init(&root, 1024) && CBB_add_asn1(&root, &tbs, CBS_ASN1_SEQUENCE));
    must(CBB_add_asn1_uint64(&tbs, 1));
    add_algorithm(&tbs, what->signer, what->hash);
    chain_maker_add_name(&tbs, what->issuer);
    add_time(&tbs, what->this_update_s);
    if (what->next_update_s)
        add_time(&tbs, what->next_update_s);
    if (serials && *serials) {
        must(CBB_add_asn1(&tbs, &entries, CBS_ASN1_SEQUENCE));
        while (serials && *serials) {
            serials = next_item(item, sizeof item, serials);
            add_entry(&entries, item, what->this_update_s);
        }
    }
    must(CBB_add_asn1(&tbs, &wrapper, WRAPPER(0)));
    must(CBB_add_asn1(&wrapper, &extensions, CBS_ASN1_SEQUENCE));
    if (what->authority_id)
        add_authority_id(&extensions, what->authority_id);
    add_extra(&extensions, "2.5.29.20:020101", NULL); /* cRLNumber */
    add_extra(&extensions, what->extra, NULL);
    must(CBB_finish(&root, &der, &der_len));
    size_t len = chain_maker_sign(out, (struct hf_bytes){der, der_len}, what->signer, what->hash);
    OPENSSL_free(der);
    return len;
}

size_t chain_maker_pem(char *out, size_t len, size_t out_max, const char *label,
                       struct hf_bytes der)
{
    static uint8_t text[CHAIN_DER_MAX * 2];
    size_t text_len = EVP_EncodeBlock(text, der.data, der.len);
    must(len + text_len + text_len / 64 + 2 * strlen(label) + 40 < out_max);
    len += (size_t)snprintf(out + len, out_max - len, "-----BEGIN %s-----\n", label);
    for (size_t i = 0; i < text_len; i += 64) {
        size_t line_len = text_len - i < 64 ? text_len - i : 64;
        len += (size_t)snprintf(out + len, out_max - len, "%.*s\n", (int)line_len,
                                (const char *)text + i);
    }
    return len + (size_t)snprintf(out + len, out_max - len, "-----END %s-----\n", label);
}
