/**
 * simulator_jobs.c - crypto jobs of the simulator: taken each turn, some run and given back at once
 * and in another order, some only turns later; and the credentials that clients and listeners have
 * in a world with certificates.
 */
#include "simulator_parts.h"

#include "credential_maker.h"

#include <stdio.h>

#define JOBS_PER_ROUND 32

static void give_later(struct sim *sim, struct hf_job *job)
{
    struct sim_item item = {.at_us = sim->now_us + 1 + sim_below(sim, 400000),
                            .kind = SIM_ITEM_JOB,
                            .message = -1,
                            .job = job};
    sim_push(sim, &item);
}

void sim_jobs_run(struct sim *sim)
{
    struct hf_job *jobs[JOBS_PER_ROUND];
    size_t count;
    while ((count = hf_engine_take_jobs(sim->engine, jobs, JOBS_PER_ROUND)) > 0) {
        for (size_t i = count; i > 1; i--) {
            size_t other = (size_t)sim_below(sim, i);
            struct hf_job *swapped = jobs[i - 1];
            jobs[i - 1] = jobs[other];
            jobs[other] = swapped;
        }
        hf_job_run(jobs, count);
        for (size_t i = 0; i < count; i++) {
            if (sim_chance(sim, sim->options.job_delay_ppm))
                give_later(sim, jobs[i]);
            else
                hf_engine_give_job(sim->engine, jobs[i]);
        }
    }
}

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
    static const char digits[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
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

/** Made once: each program has one world of credentials. */
const struct sim_credentials *sim_credentials(void)
{
    static struct sim_credentials made;
    static struct maker_text anchors;
    char pins[4096] = "";
    if (made.trust)
        return &made;
    EVP_PKEY *ca_key = maker_key(NID_X9_62_prime256v1);
    const struct maker_options ca_options = {.subject = "ca", .is_ca = true};
    X509 *ca = maker_certificate(&ca_options, ca_key, NULL, ca_key);
    maker_add_certificate(&anchors, ca);
    for (size_t i = 0; i < SIM_CREDENTIALS; i++) {
        char name[64];
        EVP_PKEY *key = maker_key(NID_X9_62_prime256v1);
        snprintf(name, sizeof name, "DNS:cse%zu.example", i);
        made.clients[i] = make_credential(key, name, ca_key, ca);
        snprintf(made.entity_ids[i], sizeof made.entity_ids[i], "S%zu", i);
        size_t len = strlen(pins);
        if (i != SIM_CREDENTIAL_UNKNOWN)
            print_pin(pins + len, sizeof pins - len, made.clients[i],
                      i < SIM_CREDENTIAL_ASKED ? made.entity_ids[i] : "-");
        EVP_PKEY_free(key);
    }
    EVP_PKEY *key = maker_key(NID_X9_62_prime256v1);
    made.server = make_credential(key, "DNS:in-cse.example.org", ca_key, ca);
    struct hf_trust_source source;
    const char *why = "";
    hf_trust_source_init(&source);
    source.raw_keys = (struct hf_bytes){(const uint8_t *)pins, strlen(pins)};
    source.flavours = HF_FLAVOUR_RAW;
    if (hf_trust_open(&made.trust, &why, &source) != HF_OK) {
        fprintf(stderr, "trust: %s\n", why);
        abort();
    }
    made.authority = (struct hf_listener_authority){
        .x509 = made.server, .raw = made.server, .trust = made.trust};
    EVP_PKEY_free(key);
    EVP_PKEY_free(ca_key);
    X509_free(ca);
    return &made;
}

void sim_options_use_certificates(struct sim_options *options)
{
    for (size_t i = 0; i < 2; i++) {
        options->listeners[i].authorities = &sim_credentials()->authority;
        options->listeners[i].authority_count = 1;
    }
}

/** The suite of the same record protection. */
static uint16_t with_certificate(uint16_t suite)
{
    switch (suite) {
    case HF_SUITE_PSK_AES_128_CBC_SHA256:
        return HF_SUITE_ECDHE_ECDSA_AES_128_CBC_SHA256;
    case HF_SUITE_PSK_AES_128_GCM_SHA256:
        return HF_SUITE_ECDHE_ECDSA_AES_128_GCM_SHA256;
    case HF_SUITE_PSK_AES_128_CCM:
        return HF_SUITE_ECDHE_ECDSA_AES_128_CCM;
    default:
        return HF_SUITE_ECDHE_ECDSA_AES_128_CCM_8;
    }
}

void sim_plan_use_certificate(struct sim_plan *plan, size_t credential_index)
{
    static const uint8_t raw_only[] = {2}, raw_first[] = {2, 0};
    const struct sim_credentials *credentials = sim_credentials();
    plan->is_certificate = true;
    plan->credential_index = credential_index;
    plan->identity_follows = credential_index == SIM_CREDENTIAL_ASKED;
    plan->config.credential =
        credential_index < SIM_CREDENTIALS ? credentials->clients[credential_index] : NULL;
    plan->config.server_key = hf_credential_public_key(credentials->server);
    plan->config.client_types = (struct hf_bytes){raw_only, 1};
    if (credential_index % 2)
        plan->config.server_types = (struct hf_bytes){raw_first, 2};
    for (size_t i = 0; i < plan->config.suite_count; i++)
        plan->config.suites[i] = with_certificate(plan->config.suites[i]);
}
