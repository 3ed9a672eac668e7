/**
 * credential_world.c - see credential_world.h.
 */
#include "credential_world.h"

#include "credential_maker.h"

#include <openssl/nid.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct hf_credential *make_credential(EVP_PKEY *key, const char *name, EVP_PKEY *ca_key,
                                             X509 *ca)
{
    static struct maker_text chain, private_key;
    struct hf_credential *credential;
    const char *why;
    const struct maker_options options = {.subject = name, .names = name};
    chain.len = private_key.len = 0;
    X509 *certificate = maker_certificate(&options, key, ca, ca_key);
    maker_add_certificate(&chain, certificate);
    maker_add_key(&private_key, key);
    const struct hf_credential_source source = {.chain_pem = maker_view(&chain),
                                                .key_pem = maker_view(&private_key)};
    enum hf_status status = hf_credential_open(&credential, &why, &source);
    if (status != HF_OK) {
        fprintf(stderr, "credential: %s\n", why);
        abort();
    }
    X509_free(certificate);
    return credential;
}

static void print_pin(char *out, size_t max, const struct hf_credential *credential,
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
    snprintf(out, max, "sha-256;%s %s\n", text, entity_id);
}

static struct hf_trust *make_trust(const struct maker_text *anchors, const char *pins)
{
    struct hf_trust_source source;
    struct hf_trust *trust;
    const char *why = "";
    hf_trust_source_init(&source);
    source.anchors_pem = maker_view(anchors);
    source.raw_keys = (struct hf_bytes){(const uint8_t *)pins, strlen(pins)};
    source.flavours = HF_FLAVOUR_RAW | HF_FLAVOUR_AE_ID;
    if (hf_trust_open(&trust, &why, &source) != HF_OK) {
        fprintf(stderr, "trust: %s\n", why);
        abort();
    }
    return trust;
}

static void make_client(struct credential_world *world, size_t index, char *pins, size_t pins_max,
                        EVP_PKEY *ca_key, X509 *ca)
{
    char name[64];
    EVP_PKEY *key = maker_key(NID_X9_62_prime256v1);
    bool is_known = index != WORLD_UNKNOWN;
    snprintf(world->entity_ids[index], sizeof world->entity_ids[index], "//m2m.example/S%zu",
             index);
    snprintf(name, sizeof name, "URI:m2m:%s", world->entity_ids[index]);
    world->clients[index] =
        make_credential(key, name, is_known ? ca_key : key, is_known ? ca : NULL);
    size_t len = strlen(pins);
    if (is_known)
        print_pin(pins + len, pins_max - len, world->clients[index],
                  index < WORLD_ASKED ? world->entity_ids[index] : "-");
    EVP_PKEY_free(key);
}

const struct credential_world *credential_world(void)
{
    static struct credential_world made;
    static struct maker_text anchors;
    char pins[4096] = "";
    if (made.trust)
        return &made;
    const struct maker_options ca_options = {.subject = "ca", .is_ca = true};
    EVP_PKEY *ca_key = maker_key(NID_X9_62_prime256v1);
    EVP_PKEY *key = maker_key(NID_X9_62_prime256v1);
    X509 *ca = maker_certificate(&ca_options, ca_key, NULL, ca_key);
    maker_add_certificate(&anchors, ca);
    for (size_t i = 0; i < WORLD_CLIENTS; i++)
        make_client(&made, i, pins, sizeof pins, ca_key, ca);
    made.server = make_credential(key, "DNS:in-cse.m2m.example", ca_key, ca);
    made.trust = make_trust(&anchors, pins);
    made.authority = (struct hf_listener_authority){
        .x509 = made.server, .raw = made.server, .trust = made.trust};
    EVP_PKEY_free(key);
    EVP_PKEY_free(ca_key);
    X509_free(ca);
    return &made;
}
