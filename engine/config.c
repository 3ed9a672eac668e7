/**
 * config.c - defaults, and the judgement of a configuration.
 */
#include "authority.h"
#include "hello.h"

void hf_listener_init(struct hf_listener *listener, enum hf_transport transport)
{
    enum { COUNT = 8 };
    static const uint16_t orders[2][COUNT] = {
        [HF_TRANSPORT_TLS] = {HF_SUITE_PSK_AES_128_CBC_SHA256, HF_SUITE_PSK_AES_128_GCM_SHA256,
                              HF_SUITE_PSK_AES_128_CCM, HF_SUITE_PSK_AES_128_CCM_8,
                              HF_SUITE_ECDHE_ECDSA_AES_128_CBC_SHA256,
                              HF_SUITE_ECDHE_ECDSA_AES_128_GCM_SHA256,
                              HF_SUITE_ECDHE_ECDSA_AES_128_CCM, HF_SUITE_ECDHE_ECDSA_AES_128_CCM_8},
        [HF_TRANSPORT_DTLS] = {HF_SUITE_PSK_AES_128_CCM_8, HF_SUITE_PSK_AES_128_CCM,
                               HF_SUITE_PSK_AES_128_GCM_SHA256, HF_SUITE_PSK_AES_128_CBC_SHA256,
                               HF_SUITE_ECDHE_ECDSA_AES_128_CCM_8, HF_SUITE_ECDHE_ECDSA_AES_128_CCM,
                               HF_SUITE_ECDHE_ECDSA_AES_128_GCM_SHA256,
                               HF_SUITE_ECDHE_ECDSA_AES_128_CBC_SHA256},
    };
    *listener = (struct hf_listener){
        .transport = transport,
        .suite_count = COUNT,
        .encrypt_then_mac = true,
        .connection_id =
            transport == HF_TRANSPORT_DTLS ? HF_CONNECTION_ID_ON : HF_CONNECTION_ID_OFF,
        .return_routability = true,
        .datagram_len_max = 1200,
    };
    memcpy(listener->suites, orders[transport == HF_TRANSPORT_DTLS], sizeof orders[0]);
}

void hf_dialer_init(struct hf_dialer *dialer, enum hf_transport transport)
{
    struct hf_listener listener;
    hf_listener_init(&listener, transport); /* what we accept is what we offer, for the most part */
    *dialer = (struct hf_dialer){
        .transport = transport,
        .suite_count = listener.suite_count,
        .encrypt_then_mac = true,
        .return_routability = true,
        .datagram_len_max = listener.datagram_len_max,
    };
    uint8_t count = 0;
    for (int is_psk = 0; is_psk < 2; is_psk++) {
        for (size_t i = 0; i < listener.suite_count; i++) {
            if ((hf_hello_key_exchange(listener.suites[i]) == HF_KEY_EXCHANGE_PSK) == is_psk)
                dialer->suites[count++] = listener.suites[i];
        }
    }
}

void hf_config_init(struct hf_config *config)
{
    *config = (struct hf_config){
        .associations_max = 16384,
        .handshakes_max = 4096,
        .proofs_max = 1024,
        .identity_len_max = 1024,
        .message_len_max = 4096,
        .deferred_len_max = 2048,
        .stream_buffers_max = 256,
        .output_len_max = 1u << 20,
        .events_max = 4096,
        .local_addresses_max = 64,
        .handshakes_pressure = 3072,
        .handshakes_per_prefix_max = 64,
        .prefix_bits_v4 = 32,
        .prefix_bits_v6 = 56,
        .hello_us_max = 10000000,
        .handshake_us_max = 60000000,
        .answer_us_max = 30000000,
        .record_us_max = 30000000,
        .retransmit_us_initial = 1000000,
        .retransmit_us_max = 60000000,
        .cookie_us_max = 60000000,
        .session_s_max = 3600,
        .trials_per_second = 32,
        .forgeries_max = 1u << 20,
        .path_us_max = 1000000,
        .path_len_max = 16384,
    };
}

void hf_config_use_constrained_timers(struct hf_config *config)
{
    config->retransmit_us_initial = 9000000;
    config->handshake_us_max = 120000000;
}

static const char *check_pools(const struct hf_config *config)
{
    if (config->shard_index > 255)
        return "shard_index: at most 255";
    if (config->associations_max < 1 || config->associations_max > 1u << 24)
        return "associations_max: 1 to 16777216";
    if (config->handshakes_max < 1 || config->handshakes_max > config->associations_max)
        return "handshakes_max: 1 to associations_max";
    if (config->identity_len_max < 128 || config->identity_len_max > 1250)
        return "identity_len_max: 128 to 1250";
    if (config->message_len_max < 512 || config->message_len_max > 65536)
        return "message_len_max: 512 to 65536";
    if (config->deferred_len_max > 16384)
        return "deferred_len_max: at most 16384";
    if (config->stream_buffers_max < 1)
        return "stream_buffers_max: at least 1";
    if (config->output_len_max < 65536 || config->output_len_max > 1u << 28)
        return "output_len_max: 65536 to 268435456";
    if (config->events_max < 64 || config->events_max > 1u << 20)
        return "events_max: 64 to 1048576";
    if (config->local_addresses_max < 1 || config->local_addresses_max > 65535)
        return "local_addresses_max: 1 to 65535";
    return NULL;
}

static const char *check_rates(const struct hf_config *config)
{
    if (config->handshakes_per_prefix_max < 1)
        return "handshakes_per_prefix_max: at least 1";
    if (config->prefix_bits_v4 > 32)
        return "prefix_bits_v4: at most 32";
    if (config->prefix_bits_v6 > 128)
        return "prefix_bits_v6: at most 128";
    if (!config->hello_us_max || !config->handshake_us_max || !config->answer_us_max ||
        !config->record_us_max)
        return "hello_us_max, handshake_us_max, answer_us_max, record_us_max: not 0";
    if (!config->retransmit_us_initial || config->retransmit_us_max < config->retransmit_us_initial)
        return "retransmit_us_initial: above 0 and at most retransmit_us_max";
    if (config->age_us_max > HF_AGE_US_MAX || config->evict_us_min > HF_AGE_US_MAX)
        return "age_us_max, evict_us_min: at most 200 days";
    if (config->cookie_us_max < 1000000)
        return "cookie_us_max: at least one second";
    if (config->session_s_max < 2048 || config->session_s_max > 604800)
        return "session_s_max: 2,048 to 604,800";
    if (config->secrets.count > HF_SHARED_SECRETS_MAX)
        return "secrets: more than there is room for";
    if (config->trials_per_second < 1 || config->trials_per_second > 32767)
        return "trials_per_second: 1 to 32767";
    if (config->cid_node_len > sizeof config->cid_node || config->cid_node_offset > 8)
        return "cid_node_len, cid_node_offset: at most 8";
    if (config->path_us_max < 10000)
        return "path_us_max: at least 10 ms";
    if (config->path_check > HF_PATH_CHECK_BASIC || config->path_policy > HF_PATH_FOLLOW)
        return "path_check, path_policy: unknown";
    if (config->forgeries_max < 1)
        return "forgeries_max: at least 1";
    return NULL;
}

static const char *check_quotas(const struct hf_config *config)
{
    if (config->quota_count > HF_QUOTAS_MAX)
        return "quota_count: at most 16";
    if (config->reuse_us_min / HF_TICK_US > INT32_MAX)
        return "reuse_us_min: too long";
    for (uint32_t i = 0; i < config->listener_count && i < HF_LISTENERS_MAX; i++) {
        uint8_t index = config->listeners[i].quota_index;
        if (index > 0 && index >= config->quota_count)
            return "listener: quota_index: there is no such quota";
        for (uint32_t j = 0; j < config->listeners[i].authority_count; j++) {
            index = config->listeners[i].authorities[j].quota_index;
            if (index > 0 && index >= config->quota_count)
                return "listener: an authority's quota_index: there is no such quota";
        }
    }
    return NULL;
}

static const char *check_listener(const struct hf_listener *listener)
{
    if (listener->transport != HF_TRANSPORT_TLS && listener->transport != HF_TRANSPORT_DTLS)
        return "listener: unknown transport";
    if (listener->suite_count < 1 || listener->suite_count > HF_SUITES_MAX)
        return "listener: 1 to 16 suites";
    for (size_t i = 0; i < listener->suite_count; i++) {
        if (!hf_suite_name(listener->suites[i]))
            return "listener: unknown suite";
    }
    if (listener->datagram_len_max < 256 || listener->datagram_len_max > 4096)
        return "listener: datagram_len_max: 256 to 4096";
    if (listener->connection_id > HF_CONNECTION_ID_ON)
        return "listener: connection_id: unknown";
    if (listener->psk_hint_len > HF_PSK_HINT_MAX)
        return "listener: psk_hint_len: at most 128";
    if (listener->cookie_free_count > HF_COOKIE_FREE_MAX)
        return "listener: cookie_free_count: at most 16";
    for (size_t i = 0; i < listener->cookie_free_count; i++) {
        if (listener->cookie_free[i].bits > 128)
            return "listener: cookie_free: at most 128 bits";
    }
    return hf_authority_check(listener);
}

static const char *check_dialer(const struct hf_dialer *dialer)
{
    uint16_t len = dialer->max_fragment_len;
    if (dialer->transport != HF_TRANSPORT_TLS && dialer->transport != HF_TRANSPORT_DTLS)
        return "dialer: unknown transport";
    if (dialer->suite_count < 1 || dialer->suite_count > HF_SUITES_MAX)
        return "dialer: suite_count: at least 1";
    for (size_t i = 0; i < dialer->suite_count; i++) {
        if (!hf_suite_name(dialer->suites[i]))
            return "dialer: unknown suite";
    }
    if (dialer->datagram_len_max < 256 || dialer->datagram_len_max > 4096)
        return "dialer: datagram_len_max: 256 to 4096";
    if (dialer->connection_id > HF_CONNECTION_ID_ON)
        return "dialer: connection_id: unknown";
    if (len != 0 && len != 512 && len != 1024 && len != 2048 && len != 4096)
        return "dialer: max_fragment_len: 0, 512, 1024, 2048 or 4096";
    return hf_authority_check_dialer(dialer);
}

enum hf_status hf_config_check(const char **why, const struct hf_config *config)
{
    const char *reason = check_pools(config);
    if (!reason)
        reason = check_rates(config);
    if (!reason)
        reason = check_quotas(config);
    if (!reason && config->listener_count > HF_LISTENERS_MAX)
        reason = "listener_count: at most 64";
    for (uint32_t i = 0; !reason && i < config->listener_count; i++)
        reason = check_listener(&config->listeners[i]);
    if (!reason && config->dialer_count > HF_DIALERS_MAX)
        reason = "dialer_count: at most 64";
    for (uint32_t i = 0; !reason && i < config->dialer_count; i++)
        reason = check_dialer(&config->dialers[i]);
    if (why)
        *why = reason ? reason : "";
    return reason ? HF_E_CONFIG : HF_OK;
}
