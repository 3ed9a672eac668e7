/**
 * dialer_config.c - see dialer_config.h.
 */
#include "dialer_config.h"

#include "daemon_config.h"
#include "endpoint.h"
#include "settings.h"

#include <stdio.h>
#include <string.h>

_Static_assert(HF_DIALER_NAME_MAX == HF_NAME_MAX, "a dialer's name is a name");

#define SECOND UINT64_C(1000000)

void hf_dialer_config_init(struct hf_daemon_dialer *dialer)
{
    *dialer = (struct hf_daemon_dialer){
        .reference_point = HF_REFERENCE_POINT_MCC_PRIME,
        .pair_index = HF_LISTENERS_MAX,
        .redial_us_min = SECOND,
        .redial_us_max = 60 * SECOND,
        .wait_us = 10 * SECOND,
        .silence_us = 30 * SECOND,
    };
}

/* ---- values ------------------------------------------------------------------------------- */

bool hf_dialer_config_take_address(void *base, char *reason, const struct hf_setting *setting,
                                   const char *value)
{
    struct hf_daemon_dialer *dialer = base;
    (void)setting;
    if (dialer->address_count == HF_DIALER_ADDRESSES_MAX)
        return hf_setting_refuse(reason, value, "one of at most 8 addresses");
    struct hf_address *address = &dialer->addresses[dialer->address_count];
    static const uint8_t nobody[16];
    if (!hf_endpoint_parse(address, value) || address->port == 0 ||
        memcmp(address->ip, nobody, sizeof(nobody)) == 0)
        return hf_setting_refuse(reason, value,
                                 "ADDR:PORT or [ADDR]:PORT (names are not resolved)");
    dialer->address_count++;
    return true;
}

bool hf_dialer_config_take_listen(void *base, char *reason, const struct hf_setting *setting,
                                  const char *value)
{
    struct hf_daemon_dialer *dialer = base;
    (void)setting;
    dialer->has_listen = hf_endpoint_parse(&dialer->listen, value);
    return dialer->has_listen || hf_setting_refuse(reason, value, "ADDR:PORT or [ADDR]:PORT");
}

bool hf_dialer_config_take_source(void *base, char *reason, const struct hf_setting *setting,
                                  const char *value)
{
    struct hf_daemon_dialer *dialer = base;
    (void)setting;
    return hf_endpoint_parse(&dialer->source, value) ||
           hf_setting_refuse(reason, value, "ADDR:PORT or [ADDR]:PORT");
}

/* The public domain name of an IN-CSE is its CSE-ID, written otherwise (TS-0001 7.2). */
static bool is_peer(struct hf_daemon_dialer *dialer, const char *value)
{
    size_t len = strlen(value);
    const char *dot = strchr(value, '.');
    if (len == 0 || len > HF_ENTITY_ID_MAX - 3)
        return false;
    if (value[0] == '/')
        snprintf(dialer->peer, sizeof(dialer->peer), "%s", value);
    else if (dot != NULL && dot != value)
        snprintf(dialer->peer, sizeof(dialer->peer), "//%s/%.*s", dot + 1, (int)(dot - value),
                 value);
    struct hf_bytes id = {(const uint8_t *)dialer->peer, strlen(dialer->peer)};
    return strncmp(dialer->peer, "//", 2) == 0 && hf_entity_kind_of(id) == HF_ENTITY_CSE;
}

bool hf_dialer_config_take_peer(void *base, char *reason, const struct hf_setting *setting,
                                const char *value)
{
    (void)setting;
    return is_peer(base, value) ||
           hf_setting_refuse(reason, value,
                             "an absolute CSE-ID (//other.example/in-cse), or an IN-CSE's public "
                             "domain name");
}

/* ---- what they mean together -------------------------------------------------------------- */

/* "//other.example/in-cse": in-cse.other.example. */
static bool name_server(struct hf_daemon_dialer *dialer)
{
    const char *cse = strrchr(dialer->peer, '/');
    if (dialer->server_name[0] != '\0')
        return true;
    int len = snprintf(dialer->server_name, sizeof(dialer->server_name), "%s.%.*s", cse + 1,
                       (int)(cse - dialer->peer - 2), dialer->peer + 2);
    for (char *c = dialer->server_name; *c != '\0'; c++)
        if (*c >= 'A' && *c <= 'Z')
            *c = (char)(*c | 0x20);
    return len > 0 && (size_t)len < sizeof(dialer->server_name);
}

static bool find_authority(struct hf_daemon_dialer *dialer, const struct hf_daemon_config *config)
{
    if (dialer->authority[0] == '\0' && config->authority_count == 1) {
        dialer->authority_index = 0;
        return true;
    }
    for (uint32_t i = 0; i < config->authority_count; i++) {
        dialer->authority_index = i;
        if (strcmp(config->authorities[i].name, dialer->authority) == 0)
            return true;
    }
    return false;
}

static bool find_pair(struct hf_daemon_dialer *dialer, const struct hf_daemon_config *config)
{
    dialer->pair_index = HF_LISTENERS_MAX;
    for (uint32_t i = 0; dialer->pair[0] != '\0' && i < config->socket_count; i++)
        if (strcmp(config->details[i].name, dialer->pair) == 0)
            dialer->pair_index = i;
    return dialer->pair[0] == '\0' || dialer->pair_index < HF_LISTENERS_MAX;
}

static const char *fault_of_credentials(struct hf_daemon_dialer *dialer,
                                        const struct hf_daemon_config *config)
{
    if (!find_authority(dialer, config))
        return dialer->authority[0] == '\0' ? "authority: say which of several"
                                            : "authority: there is no such authority";
    const struct hf_daemon_authority *authority = &config->authorities[dialer->authority_index];
    bool has_own = authority->certificate[0] != '\0' || authority->rpk_key[0] != '\0';
    bool has_keys = authority->psk_file[0] != '\0' || authority->key_store[0] != '\0';
    if (dialer->identity[0] != '\0' && !has_keys)
        return "identity: its authority needs a psk-file or a key-store";
    if (dialer->identity[0] == '\0' && !has_own)
        return "whom do we show: it needs an identity, or an authority with a certificate";
    /* A store's keys go without a reload, and nobody would tell the session. */
    dialer->is_resumption_off |= dialer->identity[0] != '\0' && authority->key_store[0] != '\0';
    if (dialer->flavour == HF_DIALER_FLAVOUR_DEFAULT)
        dialer->flavour = authority->client_ca[0] == '\0' && authority->client_rpk[0] != '\0'
                              ? HF_DIALER_FLAVOUR_RAW
                              : HF_DIALER_FLAVOUR_CSE_ID;
    return NULL;
}

static bool is_entrance_taken(const struct hf_daemon_config *config, uint32_t index)
{
    const struct hf_daemon_dialer *dialer = &config->dialers[index];
    bool is_taken = false;
    for (uint32_t i = 0; i < index; i++)
        is_taken |=
            config->dialers[i].transport == dialer->transport &&
            memcmp(&config->dialers[i].listen, &dialer->listen, sizeof(dialer->listen)) == 0;
    for (uint32_t i = 0; i < config->socket_count; i++)
        is_taken |=
            config->details[i].transport == dialer->transport &&
            memcmp(&config->details[i].address, &dialer->listen, sizeof(dialer->listen)) == 0;
    return is_taken && dialer->listen.port != 0;
}

static const char *fault_of(struct hf_daemon_config *config, uint32_t index)
{
    struct hf_daemon_dialer *dialer = &config->dialers[index];
    if (!dialer->has_transport)
        return "transport is missing";
    if (dialer->address_count == 0)
        return "address is missing";
    if (dialer->peer[0] == '\0')
        return "peer is missing: who must answer";
    if (!dialer->has_listen)
        return "listen is missing: where the CSE brings its plaintext";
    if (!hf_endpoint_is_loopback(&dialer->listen) && !dialer->is_plain_allowed)
        return "listen: whoever reaches it speaks in our name, and not only this machine can: add "
               "allow-plain = yes if that is meant";
    if (is_entrance_taken(config, index))
        return "listen: that address is in use by another block";
    if (dialer->redial_us_max < dialer->redial_us_min)
        return "redial-max is less than redial-min";
    if (!name_server(dialer))
        return "the peer's public domain name is too long: give server-name";
    if (!find_pair(dialer, config))
        return "pair: there is no such listener";
    if (dialer->pair_index < HF_LISTENERS_MAX &&
        (int)config->details[dialer->pair_index].reference_point != dialer->reference_point)
        return "pair: its listener is of another reference point";
    return fault_of_credentials(dialer, config);
}

static void fill(struct hf_dialer *out, const struct hf_daemon_dialer *from)
{
    hf_dialer_init(out, from->transport);
    out->reference_point = (enum hf_reference_point)from->reference_point;
    out->sessions = !from->is_resumption_off;
    out->extended_master_secret_needed = from->is_extended_master_secret_needed;
    out->encrypt_then_mac = !from->is_encrypt_then_mac_off;
    if (from->datagram_len != 0)
        out->datagram_len_max = (uint16_t)from->datagram_len;
    if (from->suite_count > 0) {
        out->suite_count = from->suite_count;
        memcpy(out->suites, from->suites, sizeof(out->suites));
    }
}

bool hf_dialer_config_settle(struct hf_daemon_config *config, char text[256], uint32_t index)
{
    const char *fault = fault_of(config, index);
    if (fault != NULL) {
        snprintf(text, 256, "dialer \"%s\": %s", config->dialers[index].name, fault);
        return false;
    }
    fill(&config->dialled[index], &config->dialers[index]);
    return true;
}

const char *hf_dialer_config_name(const struct hf_daemon_config *config, uint32_t index,
                                  bool is_client)
{
    return is_client ? config->dialers[index].name : config->details[index].name;
}

/* ---- reload ------------------------------------------------------------------------------- */

const char *hf_dialer_config_fixed(const struct hf_daemon_dialer *running,
                                   const struct hf_daemon_dialer *wanted)
{
    if (strcmp(running->name, wanted->name) != 0)
        return "the names and order of dialers";
    if (running->transport != wanted->transport)
        return "transport";
    if (memcmp(&running->listen, &wanted->listen, sizeof(running->listen)) != 0)
        return "listen";
    if (memcmp(&running->source, &wanted->source, sizeof(running->source)) != 0)
        return "source";
    if (running->authority_index != wanted->authority_index)
        return "authority";
    if (running->pair_index != wanted->pair_index)
        return "pair";
    if (running->silence_us != wanted->silence_us)
        return "silence";
    return NULL;
}
