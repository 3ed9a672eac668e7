/**
 * simulator_jobs.c - crypto jobs of the simulator: taken each turn, some run and given back at once
 * and in another order, some only turns later; and plans with certificates.
 */
#include "simulator_parts.h"

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

void sim_options_use_certificates(struct sim_options *options)
{
    for (size_t i = 0; i < 2; i++) {
        options->listeners[i].authorities = &credential_world()->authority;
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

void sim_plan_use_certificate(struct sim_plan *plan, size_t credential_index, bool is_x509)
{
    static const uint8_t raw_only[] = {2}, raw_first[] = {2, 0};
    const struct credential_world *world = credential_world();
    plan->is_certificate = true;
    plan->credential_index = credential_index;
    plan->is_x509 = is_x509;
    plan->identity_follows = credential_index == WORLD_ASKED && !is_x509;
    plan->config.credential =
        credential_index < WORLD_CLIENTS ? world->clients[credential_index] : NULL;
    plan->config.server_key = hf_credential_public_key(world->server);
    if (!is_x509)
        plan->config.client_types = (struct hf_bytes){raw_only, 1};
    if (credential_index % 2)
        plan->config.server_types = (struct hf_bytes){raw_first, 2};
    for (size_t i = 0; i < plan->config.suite_count; i++)
        plan->config.suites[i] = with_certificate(plan->config.suites[i]);
}
