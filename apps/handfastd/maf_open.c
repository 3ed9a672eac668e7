/**
 * maf_open.c - from what is configured of MAFs to a key service, its connections, and the file in
 * which its keys are kept.
 */
#include "maf_private.h"

#include <string.h>
#include <sys/random.h>

static uint64_t seed(void)
{
    uint64_t value = 0;
    (void)!getrandom(&value, sizeof(value), 0);
    return value;
}

static void fill_pool(struct hf_maf_pool_config *pool, const struct hf_daemon_maf *config)
{
    hf_maf_pool_config_init(pool);
    pool->fqdn = hf_maf_text_view(config->fqdn);
    pool->origin = hf_maf_text_view(config->origin);
    pool->admin_fqdn = hf_maf_text_view(config->admin_fqdn);
    pool->address_count = config->address_count;
    memcpy(pool->addresses, config->addresses, sizeof(pool->addresses));
    if (config->connections > 0)
        pool->connections_max = (uint32_t)config->connections;
    if (config->pipeline > 0)
        pool->pipeline_max = (uint32_t)config->pipeline;
    pool->seed = seed();
}

static void answer_km(struct hf_engine *engine, const struct hf_request *request, void *arg)
{
    const struct hf_maf *maf = arg;
    hf_maf_login_set_answer(maf->logins, engine, request);
}

static enum hf_status open_link(struct hf_maf *maf, uint32_t connections_max)
{
    struct hf_maf_login logins[HF_MAF_CONFIG_MAX];
    const struct hf_daemon_mafs *mafs = maf->config.mafs;
    for (uint32_t i = 0; i < mafs->count; i++)
        hf_maf_login_set_view(&logins[i], maf->logins, i, mafs->mafs[i].fqdn);
    maf->source = (struct hf_key_source){.request = answer_km, .arg = maf};
    const struct hf_maf_link_config link = {.service = maf->service,
                                            .logins = logins,
                                            .login_count = mafs->count,
                                            .connections_max = connections_max,
                                            .keys = &maf->source};
    return hf_maf_link_open(&maf->link, &link);
}

enum hf_status hf__maf_open_service(struct hf_maf *maf)
{
    const struct hf_daemon_mafs *mafs = maf->config.mafs;
    struct hf_maf_pool_config pools[HF_MAF_CONFIG_MAX];
    struct hf_key_service_config service;
    uint32_t connections_max = 0;
    uint64_t lookup_us = 0;
    _Static_assert(HF_MAF_CONFIG_MAX <= HF_KEY_SERVICE_MAFS_MAX, "each MAF finds its place");
    _Static_assert(HF_MAF_CONFIG_ADDRESSES_MAX == HF_MAF_ADDRESSES_MAX, "and its addresses");
    hf_key_service_config_init(&service);
    for (uint32_t i = 0; i < mafs->count; i++) {
        fill_pool(&pools[i], &mafs->mafs[i]);
        if (pools[i].connections_max > connections_max)
            connections_max = pools[i].connections_max;
        if (mafs->mafs[i].lookup_us > lookup_us)
            lookup_us = mafs->mafs[i].lookup_us;
    }
    if (lookup_us > 0)
        service.lookup_us_max = lookup_us;
    for (uint32_t i = 0; i < mafs->count; i++)
        pools[i].response_us_max = service.lookup_us_max;
    service.mafs = pools;
    service.maf_count = mafs->count;
    service.askers_max = maf->config.questions_max;
    service.part = (enum hf_key_part)mafs->mafs[0].part;
    service.syntax = (enum hf_maf_relative_syntax)mafs->mafs[0].syntax;
    enum hf_status status = hf_key_service_open(&maf->service, &service);
    if (status == HF_OK)
        status = open_link(maf, connections_max);
    if (status == HF_OK && mafs->cache[0] != '\0') {
        const struct hf_maf_cache_config cache = {mafs->cache, maf->config.log, maf->config.arg};
        maf->cache = hf_maf_cache_open(&cache, &maf->logins->secrets);
        status = maf->cache != NULL ? HF_OK : HF_E_MEMORY;
    }
    return status;
}
