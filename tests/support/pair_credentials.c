/**
 * pair_credentials.c - see pair_credentials.h.
 */
#include "pair_credentials.h"

#include "credential_maker.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void check(bool is_good, const char *what)
{
    if (is_good)
        return;
    fprintf(stderr, "pair_credentials: %s\n", what);
    abort();
}

static struct hf_bytes bytes_of(const char *text)
{
    return (struct hf_bytes){(const uint8_t *)text, strlen(text)};
}

static struct hf_credential *make_credential(const char *names, EVP_PKEY *ca_key, X509 *ca)
{
    static struct maker_text chain, private_key;
    struct hf_credential *credential;
    const char *why = "";
    const struct maker_options options = {.subject = names, .names = names};
    EVP_PKEY *key = maker_key(NID_X9_62_prime256v1);
    X509 *certificate = maker_certificate(&options, key, ca, ca ? ca_key : key);
    chain.len = private_key.len = 0;
    maker_add_certificate(&chain, certificate);
    maker_add_key(&private_key, key);
    const struct hf_credential_source source = {.chain_pem = maker_view(&chain),
                                                .key_pem = maker_view(&private_key)};
    check(hf_credential_open(&credential, &why, &source) == HF_OK, why);
    X509_free(certificate);
    EVP_PKEY_free(key);
    return credential;
}

static void add_pin(char *out, size_t max, const struct hf_credential *credential,
                    const char *entity_id)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    const uint8_t *digest = hf_credential_key_digest(credential);
    char text[44] = {0};
    for (size_t i = 0; i < 43; i++) {
        uint32_t bits = 0;
        for (size_t bit = 6 * i; bit < 6 * i + 6; bit++)
            bits = bits << 1 | (bit < 256 ? (uint32_t)digest[bit / 8] >> (7 - bit % 8) & 1 : 0);
        text[i] = digits[bits];
    }
    size_t len = strlen(out);
    snprintf(out + len, max - len, "sha-256;%s %s\n", text, entity_id);
}

static struct hf_trust *make_trust(uint8_t flavours, struct hf_bytes anchors, const char *pins)
{
    struct hf_trust *trust;
    struct hf_trust_source source;
    const char *why = "";
    hf_trust_source_init(&source);
    source.flavours = flavours;
    source.anchors_pem = anchors;
    source.raw_keys = bytes_of(pins);
    check(hf_trust_open(&trust, &why, &source) == HF_OK, why);
    return trust;
}

/** Made once: each program has one. */
const struct pair_credentials *pair_credentials(void)
{
    static struct pair_credentials made;
    static struct maker_text anchors;
    const struct maker_options options = {.subject = "ca", .is_ca = true};
    char pins[512] = "";
    if (made.trust)
        return &made;
    EVP_PKEY *ca_key = maker_key(NID_X9_62_prime256v1);
    X509 *ca = maker_certificate(&options, ca_key, NULL, ca_key);
    maker_add_certificate(&anchors, ca);
    made.server = make_credential("DNS:in-cse.b.example", ca_key, ca);
    made.client = make_credential("DNS:in-cse.a.example", ca_key, ca);
    made.stranger = make_credential("DNS:in-cse.c.example", NULL, NULL);
    add_pin(pins, sizeof pins, made.server, PAIR_SERVER_CSE_ID);
    add_pin(pins, sizeof pins, made.client, PAIR_CLIENT_CSE_ID);
    made.trust = make_trust(HF_FLAVOUR_CSE_ID | HF_FLAVOUR_RAW, maker_view(&anchors), pins);
    made.raw_only = make_trust(HF_FLAVOUR_RAW, (struct hf_bytes){NULL, 0}, pins);
    made.devices = make_trust(HF_FLAVOUR_DEVICE, maker_view(&anchors), "");
    X509_free(ca);
    EVP_PKEY_free(ca_key);
    return &made;
}
