/**
 * daemon_config.c - defaults, what settings mean together, and what follows for engine and loop.
 */
#include "daemon_config.h"

#include "endpoint.h"
#include "forward.h"

#include <handfast/credential.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#define ASSOCIATIONS_MAX_DEFAULT (1u << 20)
#define DESCRIPTORS_SPARE 512u /* for all that is not a connection */
#define REMOVE_PERCENT_MAX 10
#define KEEP_US_DEFAULT (UINT64_C(30) * 1000000)
/* CoAP's EXCHANGE_LIFETIME (RFC 7252 4.8.2), rounded up: no answer is under way any more. */
#define QUARANTINE_US_DEFAULT (UINT64_C(250) * 1000000)

/* ---- defaults ----------------------------------------------------------------------------- */

static uint64_t cpu_count(void)
{
    cpu_set_t cpus;
    if (sched_getaffinity(0, sizeof(cpus), &cpus) != 0)
        return 1;
    int count = CPU_COUNT(&cpus);
    return count > HF_SHARDS_MAX ? HF_SHARDS_MAX : (uint64_t)count;
}

void hf_daemon_listener_init(struct hf_daemon_listener *listener)
{
    memset(listener, 0, sizeof(*listener));
    listener->datagram_len = HF_OPTIONS_UNSET;
    listener->connection_id = HF_CONNECTION_ID_ON;
    listener->keep_us = KEEP_US_DEFAULT;
}

void hf_daemon_authority_init(struct hf_daemon_authority *authority)
{
    memset(authority, 0, sizeof(*authority));
    authority->remove_percent_max = REMOVE_PERCENT_MAX;
}

void hf_daemon_config_init(struct hf_daemon_config *config)
{
    memset(config, 0, sizeof(*config));
    hf_daemon_listener_init(&config->common);
    config->log_level = HF_LOG_INFO;
    config->log_rate = 10;
    config->shard_count = cpu_count();
    config->handshakes_max = HF_OPTIONS_UNSET;
    config->flood_hellos = 20000;
    config->checkpoint_us = 60000000;
    config->associations_max = HF_OPTIONS_UNSET;
    config->handshakes_per_prefix = HF_OPTIONS_UNSET;
    config->proofs_max = HF_OPTIONS_UNSET;
    config->handshake_us = HF_OPTIONS_UNSET;
    config->hello_us = HF_OPTIONS_UNSET;
    config->idle_us = HF_OPTIONS_UNSET;
    config->age_us = HF_OPTIONS_UNSET;
    config->evict_us = HF_OPTIONS_UNSET;
    config->retransmit_us = HF_OPTIONS_UNSET;
    config->quarantine_us = HF_OPTIONS_UNSET;
    config->session_us = HF_OPTIONS_UNSET;
}

/* ---- what settings mean together ---------------------------------------------------------- */

bool hf_daemon_config_refuse(char error[HF_OPTIONS_ERROR_MAX],
                             const struct hf_daemon_config *config, uint32_t line, const char *text)
{
    if (line > 0)
        snprintf(error, HF_OPTIONS_ERROR_MAX, "%s: line %u: %s", config->config_file, line, text);
    else if (config->config_file[0] != '\0')
        snprintf(error, HF_OPTIONS_ERROR_MAX, "%s: %s", config->config_file, text);
    else
        snprintf(error, HF_OPTIONS_ERROR_MAX, "%s", text);
    return false;
}

/* The command line's options are for all listeners; of a file's listeners only two can be. */
static void take_common(struct hf_daemon_config *config)
{
    for (uint32_t i = 0; i < config->socket_count; i++) {
        struct hf_daemon_listener *listener = &config->details[i];
        if (listener->line == 0) {
            struct hf_daemon_listener own = *listener;
            *listener = config->common;
            memcpy(listener->name, own.name, sizeof(own.name));
            listener->transport = own.transport;
            listener->has_transport = listener->has_address = true;
            listener->address = own.address;
            if (own.transport == HF_TRANSPORT_DTLS)
                listener->upstream_tcp.port = 0;
            else
                listener->upstream_udp.port = 0;
        }
        if (config->common.respond != HF_RESPOND_DEFAULT)
            listener->respond = config->common.respond;
        listener->is_respond_anywhere |= config->common.is_respond_anywhere;
    }
}

static bool find_authority(uint32_t *out, const struct hf_daemon_config *config, const char *name)
{
    for (*out = 0; *out < config->authority_count; ++*out)
        if (strcmp(config->authorities[*out].name, name) == 0)
            return true;
    return false;
}

static bool settle_authority(struct hf_daemon_config *config, char *error,
                             struct hf_daemon_listener *listener)
{
    char text[256];
    uint32_t line = listener->authority_line ? listener->authority_line : listener->line;
    if (listener->authority_count == 0 && config->authority_count == 1) {
        listener->authority_count = 1;
        listener->authority_indexes[0] = listener->authority_index = 0;
        return true;
    }
    if (listener->authority_count == 0) {
        snprintf(text, sizeof(text), "listener \"%s\": authority: say which of several",
                 listener->name);
        return hf_daemon_config_refuse(error, config, line, text);
    }
    for (uint32_t i = 0; i < listener->authority_count; i++) {
        const char *name = listener->authorities[i];
        uint32_t *index = &listener->authority_indexes[i];
        if (!find_authority(index, config, name)) {
            snprintf(text, sizeof(text), "listener \"%s\": authority: there is no authority \"%s\"",
                     listener->name, name);
            return hf_daemon_config_refuse(error, config, line, text);
        }
        if (i > 0 && config->authorities[*index].server_name[0] == '\0') {
            snprintf(text, sizeof(text),
                     "listener \"%s\": authority \"%s\" needs a server-name to be told from \"%s\"",
                     listener->name, name, listener->authorities[0]);
            return hf_daemon_config_refuse(error, config, line, text);
        }
    }
    listener->authority_index = listener->authority_indexes[0];
    return true;
}

static bool settle_upstream(struct hf_daemon_config *config, char *error,
                            struct hf_daemon_listener *listener)
{
    char text[256];
    bool is_dtls = listener->transport == HF_TRANSPORT_DTLS;
    const struct hf_address *fit = is_dtls ? &listener->upstream_udp : &listener->upstream_tcp;
    const struct hf_address *unfit = is_dtls ? &listener->upstream_tcp : &listener->upstream_udp;
    const char *fault = NULL;
    if (unfit->port != 0)
        fault = is_dtls ? "the upstream of a dtls listener is udp:ADDR:PORT"
                        : "the upstream of a tls listener is tcp:ADDR:PORT";
    else if (fit->port == 0 && listener->is_proxy_protocol)
        fault = "proxy-protocol needs an upstream";
    else if (fit->port != 0 && listener->respond != HF_RESPOND_DEFAULT &&
             listener->respond != HF_RESPOND_NONE)
        fault = "respond and upstream exclude each other";
    else if (fit->port != 0 && is_dtls)
        fault = hf_forward_fault(config, fit);
    if (fault != NULL) {
        snprintf(text, sizeof(text), "listener \"%s\": %s", listener->name, fault);
        return hf_daemon_config_refuse(error, config, listener->line, text);
    }
    if (fit->port != 0) {
        listener->upstream_kind = is_dtls ? HF_UPSTREAM_UDP : HF_UPSTREAM_TCP;
        listener->upstream = *fit;
    }
    return true;
}

/* The responders tell anybody who holds a key what we think of them, and give back what they send:
 * fine for a demonstration, not for the Internet. */
static bool settle_respond(struct hf_daemon_config *config, char *error)
{
    char address[HF_ADDRESS_TEXT_MAX];
    char text[256];
    bool is_public = false;
    for (uint32_t i = 0; i < config->socket_count; i++)
        is_public |= !hf_endpoint_is_loopback(&config->details[i].address);
    for (uint32_t i = 0; i < config->socket_count; i++) {
        struct hf_daemon_listener *listener = &config->details[i];
        if (listener->respond == HF_RESPOND_DEFAULT)
            listener->respond = is_public || listener->upstream_kind != HF_UPSTREAM_NONE
                                    ? HF_RESPOND_NONE
                                    : HF_RESPOND_WHOAMI;
        if (listener->respond == HF_RESPOND_NONE || listener->is_respond_anywhere ||
            hf_endpoint_is_loopback(&listener->address))
            continue;
        snprintf(text, sizeof(text),
                 "--respond %s: %s is not on loopback: add --respond-anywhere if that is meant",
                 hf_respond_mode_name(listener->respond),
                 hf_address_print(address, &listener->address));
        return hf_daemon_config_refuse(error, config, listener->line, text);
    }
    return true;
}

/* Of the suites, those of the frameworks the listener is to speak. */
static void keep_suites(struct hf_listener *listener, uint64_t frameworks)
{
    uint8_t kept = 0;
    for (uint8_t i = 0; frameworks != 0 && i < listener->suite_count; i++) {
        bool is_psk = strncmp(hf_suite_name(listener->suites[i]), "TLS_PSK_", 8) == 0;
        if (frameworks & (is_psk ? HF_DAEMON_FRAMEWORK_PSK : HF_DAEMON_FRAMEWORK_CERTIFICATE))
            listener->suites[kept++] = listener->suites[i];
    }
    if (frameworks != 0)
        listener->suite_count = kept;
}

/* Keys of MAFs are enough for an authority that says so, or that has nothing else. */
static bool has_maf_keys(const struct hf_daemon_config *config,
                         const struct hf_daemon_authority *authority)
{
    bool is_bare = authority->certificate[0] == '\0' && authority->rpk_key[0] == '\0';
    bool is_named = authority->maf_count > 0;
    return config->mafs.count > 0 && (is_named || is_bare) &&
           !(is_named && hf_maf_config_is_none(authority));
}

/* What all authorities of a listener together are fit for. */
static uint64_t fit_frameworks(const struct hf_daemon_config *config,
                               const struct hf_daemon_listener *listener)
{
    uint64_t fit = 0;
    for (uint32_t i = 0; i < listener->authority_count; i++) {
        const struct hf_daemon_authority *authority =
            &config->authorities[listener->authority_indexes[i]];
        if (authority->psk_file[0] != '\0' || authority->key_store[0] != '\0' ||
            has_maf_keys(config, authority))
            fit |= HF_DAEMON_FRAMEWORK_PSK;
        if (authority->certificate[0] != '\0' || authority->rpk_key[0] != '\0')
            fit |= HF_DAEMON_FRAMEWORK_CERTIFICATE;
    }
    return fit;
}

/* What a listener is told to speak and cannot must not become something else it then speaks. */
static bool check_frameworks(const struct hf_daemon_config *config, char *error,
                             const struct hf_daemon_listener *listener)
{
    char text[256];
    uint64_t fit = fit_frameworks(config, listener);
    if ((listener->frameworks & ~fit) == 0)
        return true;
    snprintf(text, sizeof(text), "listener \"%s\": frameworks: authority \"%s\" has no %s",
             listener->name, config->authorities[listener->authority_index].name,
             (listener->frameworks & ~fit) == HF_DAEMON_FRAMEWORK_PSK
                 ? "psk-file, no key-store and names no maf"
                 : "certificate and no rpk-key");
    return hf_daemon_config_refuse(error, config, listener->line, text);
}

/* A shard's part of a total, rounded up. */
static uint32_t share(uint64_t total, uint64_t shard_count)
{
    return (uint32_t)((total + shard_count - 1) / shard_count);
}

static void fill_listener(struct hf_daemon_config *config, uint32_t index)
{
    const struct hf_daemon_listener *from = &config->details[index];
    struct hf_listener *listener = &config->listeners[index];
    config->sockets[index] = (struct hf_loop_socket){
        .address = from->address,
        .transport = from->transport,
        .listener_index = index,
        .trusted_proxies = from->trusted,
        .trusted_proxy_count = from->trusted_count,
    };
    hf_listener_init(listener, from->transport);
    listener->reference_point = from->reference_point;
    listener->quota_index = (uint8_t)from->authority_index;
    if (from->suite_count > 0) {
        listener->suite_count = from->suite_count;
        memcpy(listener->suites, from->suites, sizeof(listener->suites));
    }
    uint64_t fit = fit_frameworks(config, from);
    keep_suites(listener, from->frameworks != 0 ? from->frameworks & fit : fit);
    listener->psk_hint_len = (uint16_t)strlen(from->psk_hint);
    memcpy(listener->psk_hint, from->psk_hint, listener->psk_hint_len);
    if (from->datagram_len != HF_OPTIONS_UNSET)
        listener->datagram_len_max = (uint16_t)from->datagram_len;
    listener->cookies_above = share(from->cookies_above, config->shard_count);
    listener->cookie_free_count = (uint8_t)from->cookie_free_count;
    memcpy(listener->cookie_free, from->cookie_free, sizeof(listener->cookie_free));
    listener->extended_master_secret_needed = from->is_extended_master_secret_needed;
    if (from->is_encrypt_then_mac_off)
        listener->encrypt_then_mac = false;
    if (from->transport == HF_TRANSPORT_DTLS)
        listener->connection_id = from->connection_id;
    listener->return_routability = !from->is_return_routability_off;
}

/* What does not go together in one authority; NULL: all is well. */
static const char *fault_of(const struct hf_daemon_config *config,
                            const struct hf_daemon_authority *authority)
{
    bool has_file = config->config_file[0] != '\0';
    bool has_keys = authority->psk_file[0] != '\0';
    bool has_store = authority->key_store[0] != '\0';
    bool has_certificate = authority->certificate[0] != '\0';
    bool has_own = has_certificate || authority->rpk_key[0] != '\0';
    bool has_peers = authority->client_ca[0] != '\0' || authority->client_rpk[0] != '\0';
    if (!has_keys && !has_store && !has_own && !has_maf_keys(config, authority))
        return has_file ? "no keys: it needs a psk-file, a key-store, a certificate or a maf"
                        : "no keys: give --psk-file FILE or --cert FILE";
    if (has_keys && has_store)
        return "psk-file and key-store exclude each other";
    if (has_certificate != (authority->key[0] != '\0'))
        return "certificate and key go together";
    if (has_own != has_peers)
        return has_own ? "whom to believe: it needs a client-ca or a client-rpk"
                       : "client-ca and client-rpk need a certificate or an rpk-key of our own";
    if (authority->crl[0] != '\0' && authority->client_ca[0] == '\0')
        return "crl needs client-ca";
    if (authority->entity_map[0] != '\0' && !has_own)
        return "entity-map is for certificates and raw keys: it needs client-ca or client-rpk";
    return NULL;
}

static void settle_flavours(struct hf_daemon_authority *authority)
{
    if (authority->flavours == 0 && authority->client_ca[0] != '\0')
        authority->flavours = HF_FLAVOUR_CSE_ID | HF_FLAVOUR_AE_ID;
    if (authority->client_rpk[0] != '\0')
        authority->flavours |= HF_FLAVOUR_RAW;
}

static bool settle_authorities(struct hf_daemon_config *config, char *error)
{
    char text[256];
    bool has_file = config->config_file[0] != '\0';
    for (uint32_t i = 0; i < config->authority_count; i++) {
        struct hf_daemon_authority *authority = &config->authorities[i];
        const char *fault = fault_of(config, authority);
        settle_flavours(authority);
        if (fault == NULL)
            continue;
        if (has_file)
            snprintf(text, sizeof(text), "authority \"%s\": %s", authority->name, fault);
        else
            snprintf(text, sizeof(text), "%s", fault);
        return hf_daemon_config_refuse(error, config, authority->line, text);
    }
    return config->authority_count > 0 ||
           hf_daemon_config_refuse(error, config, 0, "no keys: it needs an authority block");
}

static bool settle_listener(struct hf_daemon_config *config, char *error, uint32_t index)
{
    char text[256];
    struct hf_daemon_listener *listener = &config->details[index];
    if (!listener->has_transport || !listener->has_address) {
        snprintf(text, sizeof(text), "listener \"%s\": %s is missing", listener->name,
                 listener->has_transport ? "address" : "transport");
        return hf_daemon_config_refuse(error, config, listener->line, text);
    }
    if (listener->trusted_count > 0 && listener->transport == HF_TRANSPORT_DTLS &&
        listener->line > 0) {
        snprintf(text, sizeof(text), "listener \"%s\": trusted-proxy is for tls listeners",
                 listener->name);
        return hf_daemon_config_refuse(error, config, listener->line, text);
    }
    for (uint32_t i = 0; i < index; i++) {
        const struct hf_daemon_listener *other = &config->details[i];
        if (other->transport == listener->transport && listener->address.port != 0 &&
            memcmp(&other->address, &listener->address, sizeof(other->address)) == 0) {
            snprintf(text, sizeof(text), "listener \"%s\": listener \"%s\" has the same address",
                     listener->name, other->name);
            return hf_daemon_config_refuse(error, config, listener->line, text);
        }
    }
    return settle_authority(config, error, listener) && check_frameworks(config, error, listener) &&
           settle_upstream(config, error, listener);
}

bool hf_daemon_config_settle(struct hf_daemon_config *config, char error[HF_OPTIONS_ERROR_MAX])
{
    char text[256];
    if (config->socket_count == 0 && config->dialer_count == 0)
        return hf_daemon_config_refuse(error, config, 0,
                                       config->config_file[0] != '\0'
                                           ? "nothing to serve: it needs a listener or dialer block"
                                           : "nothing to serve: give --config, --dtls or --tls");
    take_common(config);
    if (!settle_authorities(config, error))
        return false;
    if (config->checkpoint_us == 0)
        return hf_daemon_config_refuse(error, config, 0, "checkpoint-interval: not 0");
    if (config->checkpoint[0] != '\0' && config->shared_secrets[0] == '\0')
        return hf_daemon_config_refuse(error, config, 0,
                                       "checkpoint needs shared-secrets: it is sealed with them");
    if (!hf_maf_config_settle(&config->mafs, text, sizeof(text), config->shared_secrets))
        return hf_daemon_config_refuse(error, config, 0, text);
    for (uint32_t i = 0; i < config->authority_count; i++)
        if (!hf_maf_config_settle_authority(&config->authorities[i], &config->mafs, text,
                                            sizeof(text)))
            return hf_daemon_config_refuse(error, config, config->authorities[i].line, text);
    for (uint32_t i = 0; i < config->socket_count; i++)
        if (!settle_listener(config, error, i))
            return false;
    if (!settle_respond(config, error))
        return false;
    for (uint32_t i = 0; i < config->dialer_count; i++)
        if (!hf_dialer_config_settle(config, text, i))
            return hf_daemon_config_refuse(error, config, config->dialers[i].line, text);
    for (uint32_t i = 0; i < config->socket_count; i++)
        fill_listener(config, i);
    struct hf_config engine;
    struct hf_quota quotas[HF_QUOTAS_MAX];
    const char *why = "";
    hf_daemon_config_engine(&engine, quotas, config, 0);
    if (hf_config_check(&why, &engine) == HF_OK)
        return true;
    snprintf(text, sizeof(text), "these options do not go together: %s", why);
    return hf_daemon_config_refuse(error, config, 0, text);
}

uint32_t hf_daemon_config_authority(const struct hf_daemon_config *config, uint32_t listener_index,
                                    bool is_client, struct hf_bytes server_name)
{
    if (is_client)
        return config->dialers[listener_index].authority_index;
    const struct hf_daemon_listener *listener = &config->details[listener_index];
    for (uint32_t i = 1; i < listener->authority_count && server_name.len > 0; i++) {
        const char *name = config->authorities[listener->authority_indexes[i]].server_name;
        if (strlen(name) == server_name.len && memcmp(name, server_name.data, server_name.len) == 0)
            return listener->authority_indexes[i];
    }
    return listener->authority_index;
}

/* ---- what follows from them --------------------------------------------------------------- */

static void override_u64(uint64_t *field_value, uint64_t given)
{
    if (given != HF_OPTIONS_UNSET)
        *field_value = given;
}

/* Only where tenants of a record are told apart by two bits: by socket, with one address. */
static uint64_t reuse_us_of(const struct hf_daemon_config *config)
{
    for (uint32_t i = 0; i < config->socket_count; i++) {
        const struct hf_daemon_listener *listener = &config->details[i];
        if (listener->upstream_kind == HF_UPSTREAM_UDP && hf_address_is_v4(&listener->upstream))
            return config->quarantine_us != HF_OPTIONS_UNSET ? config->quarantine_us
                                                             : QUARANTINE_US_DEFAULT;
    }
    return 0;
}

static void fill_quotas(struct hf_config *out, struct hf_quota quotas[HF_QUOTAS_MAX],
                        const struct hf_daemon_config *config)
{
    _Static_assert(HF_QUOTAS_MAX >= HF_AUTHORITIES_MAX, "each authority has its share");
    for (uint32_t i = 0; i < config->authority_count; i++) {
        const struct hf_daemon_authority *authority = &config->authorities[i];
        quotas[i] = (struct hf_quota){
            .associations_max = share(authority->associations_max, config->shard_count),
            .handshakes_max = share(authority->handshakes_max, config->shard_count),
            .handshakes_per_second = share(authority->handshakes_per_second, config->shard_count),
        };
    }
    out->quotas = quotas;
    out->quota_count = config->authority_count;
}

static uint64_t associations_max(const struct hf_daemon_config *config)
{
    return config->associations_max != HF_OPTIONS_UNSET ? config->associations_max
                                                        : ASSOCIATIONS_MAX_DEFAULT;
}

void hf_daemon_config_engine(struct hf_config *out, struct hf_quota quotas[HF_QUOTAS_MAX],
                             const struct hf_daemon_config *config, uint32_t shard_index)
{
    hf_config_init(out);
    out->shard_index = shard_index;
    if (config->is_constrained)
        hf_config_use_constrained_timers(out);
    override_u64(&out->handshake_us_max, config->handshake_us);
    override_u64(&out->hello_us_max, config->hello_us);
    override_u64(&out->idle_us_max, config->idle_us);
    override_u64(&out->age_us_max, config->age_us);
    override_u64(&out->evict_us_min, config->evict_us);
    override_u64(&out->retransmit_us_initial, config->retransmit_us);
    out->tickets = config->is_session_tickets;
    if (config->session_us != HF_OPTIONS_UNSET)
        out->session_s_max = (uint32_t)(config->session_us / 1000000);
    /* Address space alone until they come: idle devices are what a front end is for. */
    out->associations_max = share(associations_max(config), config->shard_count);
    if (config->handshakes_max != HF_OPTIONS_UNSET)
        out->handshakes_max = share(config->handshakes_max, config->shard_count);
    else if (out->handshakes_max > out->associations_max)
        out->handshakes_max = out->associations_max;
    if (config->proofs_max != HF_OPTIONS_UNSET)
        out->proofs_max = share(config->proofs_max, config->shard_count);
    uint32_t pressure = out->handshakes_max - out->handshakes_max / 4;
    if (out->handshakes_pressure > pressure)
        out->handshakes_pressure = pressure;
    if (config->handshakes_per_prefix != HF_OPTIONS_UNSET)
        out->handshakes_per_prefix_max = (uint32_t)config->handshakes_per_prefix;
    out->keylog = config->keylog_file[0] != '\0';
    out->reuse_us_min = reuse_us_of(config);
    out->cid_node_len = config->cid_node_len;
    out->cid_node_offset = config->cid_node_offset;
    memcpy(out->cid_node, config->cid_node, sizeof(out->cid_node));
    out->path_check = config->path_check;
    out->path_policy = config->path_policy;
    fill_quotas(out, quotas, config);
    out->listeners = config->listeners;
    out->listener_count = config->socket_count;
    out->dialers = config->dialled;
    out->dialer_count = config->dialer_count;
}

/** Of a shard. What the process may open is a limit, too: better that peers are turned away than
 *  that none of the descriptors is left for a reload, a key source or a successor. */
static uint32_t connections_max(const struct hf_daemon_config *config)
{
    struct rlimit descriptors;
    uint64_t max = associations_max(config);
    if (getrlimit(RLIMIT_NOFILE, &descriptors) == 0) {
        uint64_t spare = descriptors.rlim_cur / 4 < DESCRIPTORS_SPARE ? descriptors.rlim_cur / 4
                                                                      : DESCRIPTORS_SPARE;
        uint64_t left = descriptors.rlim_cur - spare;
        if (hf_forward_has_streams(config))
            left /= 2; /* each has another towards the upstream */
        max = left < max ? left : max;
    }
    return share(max, config->shard_count);
}

void hf_daemon_config_loop(struct hf_loop_config *out, const struct hf_daemon_config *config)
{
    hf_loop_config_init(out);
    out->sockets = config->sockets;
    out->socket_count = config->socket_count;
    out->io = config->io;
    out->shard_count = (uint32_t)config->shard_count;
    out->batch_linger_us = config->linger_us;
    out->flood_hellos_per_second = (uint32_t)config->flood_hellos;
    out->is_dtls_notified_on_stop = config->is_dtls_notified_on_stop;
    out->connections_max = connections_max(config);
}

const char *hf_respond_mode_name(enum hf_respond_mode mode)
{
    static const char *const names[] = {"default", "none", "whoami", "echo"};
    return names[mode];
}
