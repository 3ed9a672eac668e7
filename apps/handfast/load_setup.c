/**
 * load_setup.c - keys, certificates, whom to believe, and the engine all devices share.
 */
#include "load.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FILE_LEN_MAX 262144
#define CLOSING_MAX 65536
#define OFTEN_MAX 64   /* certificates that are made fast to sign with */
#define RING_LEN 65536 /* devices of a measurement that are remembered */

static uint8_t file_bytes[2][FILE_LEN_MAX];

static struct hf_bytes read_file(size_t which, const char *path)
{
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return (struct hf_bytes){NULL, 0};
    size_t len = fread(file_bytes[which], 1, FILE_LEN_MAX, file);
    (void)fclose(file);
    return (struct hf_bytes){file_bytes[which], len};
}

static bool fail(const char *what, const char *why)
{
    fprintf(stderr, "handfast: load: %s: %s\n", what, why);
    return false;
}

static bool make_room(struct hf_load *load)
{
    size_t room = load->credential_room ? 2 * load->credential_room : 64;
    void *grown = reallocarray(load->credentials, room, sizeof(void *));
    if (grown == NULL)
        return fail("certificates", "no memory");
    load->credentials = grown;
    load->credential_room = room;
    return true;
}

/* 0.pem and 0.key, 1.pem and 1.key, as long as there are any and a device for each. Where there are
 * more than a few, each signs now and then only. */
static bool open_credentials(struct hf_load *load)
{
    char chain[4096], key[4096];
    const char *folder = load->options.certs;
    uint64_t count_max = load->options.count + load->options.warmup;
    if (count_max > HF_LOAD_CREDENTIALS_MAX)
        count_max = HF_LOAD_CREDENTIALS_MAX;
    while (load->credential_count < count_max) {
        const char *why = "";
        if (load->credential_count == load->credential_room && !make_room(load))
            return false;
        snprintf(chain, sizeof(chain), "%s/%zu.pem", folder, load->credential_count);
        snprintf(key, sizeof(key), "%s/%zu.key", folder, load->credential_count);
        const struct hf_credential_source source = {.chain_pem = read_file(0, chain),
                                                    .key_pem = read_file(1, key),
                                                    .is_rare = load->credential_count >= OFTEN_MAX};
        if (source.chain_pem.len == 0)
            break;
        enum hf_status status =
            hf_credential_open(&load->credentials[load->credential_count], &why, &source);
        explicit_bzero(file_bytes[1], FILE_LEN_MAX);
        if (status != HF_OK)
            return fail(chain, why);
        load->credential_count++;
    }
    return load->credential_count > 0 || fail(folder, "there is no 0.pem");
}

static bool open_trust(struct hf_load *load)
{
    struct hf_trust_source source;
    const char *why = "";
    hf_trust_source_init(&source);
    source.flavours = HF_FLAVOUR_CSE_ID;
    source.anchors_pem = read_file(0, load->options.ca);
    if (source.anchors_pem.len == 0)
        return fail(load->options.ca, errno ? strerror(errno) : "empty");
    return hf_trust_open(&load->trust, &why, &source) == HF_OK || fail(load->options.ca, why);
}

static bool open_sessions(struct hf_load *load)
{
    size_t count = load->keys.count + load->credential_count;
    load->sessions = calloc(count, sizeof(*load->sessions));
    for (size_t i = 0; load->sessions != NULL && i < count; i++) {
        load->sessions[i].data = malloc(HF_SESSION_MAX);
        if (load->sessions[i].data == NULL)
            return false;
    }
    return load->sessions != NULL;
}

/* Weights are dealt out in turn: so many with keys, then so many with certificates. */
size_t hf_load_credential_of(const struct hf_load *load, uint32_t number)
{
    uint32_t sum = load->options.psk_weight + load->options.certificate_weight;
    uint32_t at = number % sum;
    if (at < load->options.psk_weight)
        return SIZE_MAX;
    uint64_t turn =
        (uint64_t)(number / sum) * load->options.certificate_weight + at - load->options.psk_weight;
    return turn % load->credential_count;
}

struct hf_bytes *hf_load_session_of(const struct hf_load *load, uint32_t number)
{
    if (load->sessions == NULL)
        return NULL;
    size_t credential = hf_load_credential_of(load, number);
    return &load->sessions[credential == SIZE_MAX ? number % load->keys.count
                                                  : load->keys.count + credential];
}

static void take_request(struct hf_engine *engine, const struct hf_request *request, void *arg)
{
    const struct hf_load *load = arg;
    const uint8_t *ip = request->path->peer.ip + 12;
    uint32_t number = (uint32_t)ip[0] << 24 | (uint32_t)ip[1] << 16 | (uint32_t)ip[2] << 8 | ip[3];
    struct hf_answer answer = {.kind = HF_ANSWER_IDENTITY, .entity_kind = HF_ENTITY_PENDING};
    if (request->kind == HF_REQUEST_KEY) {
        const struct hf_load_key *key = &load->keys.keys[number % load->keys.count];
        answer.kind = HF_ANSWER_PSK;
        answer.framework = HF_FRAMEWORK_PROVISIONED_SYMMETRIC_KEY;
        answer.secret = (struct hf_bytes){key->bytes + key->identity_len, key->psk_len};
    }
    (void)hf_engine_answer(engine, request->ticket, &answer);
}

static void fill_dialer(struct hf_dialer *dialer, const struct hf_load *load, uint32_t index)
{
    const struct hf_load_options *options = &load->options;
    hf_dialer_init(dialer, options->is_dtls ? HF_TRANSPORT_DTLS : HF_TRANSPORT_TLS);
    dialer->encrypt_then_mac = options->encrypt_then_mac;
    dialer->sessions = options->is_resuming;
    if (options->is_dtls)
        dialer->connection_id = options->connection_id;
    dialer->return_routability = !options->is_unasked;
    dialer->suite_count = 1;
    dialer->suites[0] = index == 0 ? options->psk_suite : options->certificate_suite;
    if (index > 0) {
        dialer->x509 = load->credentials[0]; /* each device shows its own: connect_device() */
        dialer->trust = load->trust;
    }
}

static bool open_engine(struct hf_load *load)
{
    const struct hf_load_options *options = &load->options;
    const struct hf_key_source source = {.request = take_request, .arg = load};
    struct hf_dialer dialers[2];
    struct hf_config config;
    const char *why = "";
    uint32_t dialer_count = load->credential_count > 0 ? 2 : 1;
    for (uint32_t i = 0; i < dialer_count; i++)
        fill_dialer(&dialers[i], load, i);
    hf_config_init(&config);
    config.associations_max = load->device_count + options->in_flight;
    config.handshakes_max = config.handshakes_pressure = options->in_flight + 64;
    if (config.associations_max < config.handshakes_max)
        config.associations_max = config.handshakes_max;
    config.proofs_max = options->certificate_weight > 0 ? config.handshakes_max : 0;
    config.identity_len_max = 1250;
    config.message_len_max = 8192;
    config.output_len_max = 8u << 20;
    config.events_max = 16384;
    config.local_addresses_max = 1;
    config.handshake_us_max = (uint64_t)(options->timeout_s * 1e6);
    config.dialers = dialers;
    config.dialer_count = dialer_count;
    if (hf_config_check(&why, &config) != HF_OK)
        return fail("options", why);
    enum hf_status status = hf_engine_open(&load->engine, &config, &source);
    return status == HF_OK || fail("engine", hf_status_text(status));
}

static bool open_devices(struct hf_load *load)
{
    const struct hf_load_options *options = &load->options;
    uint64_t places = (uint64_t)options->sources * options->ports * options->servers;
    load->device_count = options->has_devices                    ? (uint32_t)options->count
                         : options->is_dtls && places < RING_LEN ? (uint32_t)places
                                                                 : RING_LEN;
    if (options->is_dtls && places < load->device_count)
        return fail("--sources", "fewer addresses than devices: more --ports or --servers");
    if (options->is_dtls && places < options->in_flight)
        return fail("--in-flight", "more than there are addresses");
    load->devices = calloc(load->device_count, sizeof(*load->devices));
    load->closing = calloc(CLOSING_MAX, sizeof(*load->closing));
    return load->devices != NULL && load->closing != NULL;
}

bool hf_load_open(struct hf_load *load)
{
    const struct hf_load_options *options = &load->options;
    load->random_state = options->seed * 0x9E3779B97F4A7C15u + 1;
    load->io = options->is_dtls ? &hf_load_udp : &hf_load_tcp;
    return (options->psk_file == NULL || hf_load_keys_open(&load->keys, options->psk_file)) &&
           (options->certs == NULL || (open_credentials(load) && open_trust(load))) &&
           (!options->is_resuming || open_sessions(load)) && open_devices(load) &&
           open_engine(load) && load->io->open(load) && hf_load_stats_open(load);
}

void hf_load_close(struct hf_load *load)
{
    if (load->io != NULL)
        load->io->close(load);
    hf_engine_close(load->engine);
    for (size_t i = 0; load->sessions && i < load->keys.count + load->credential_count; i++) {
        void *session = (void *)(uintptr_t)load->sessions[i].data;
        if (session != NULL)
            explicit_bzero(session, HF_SESSION_MAX);
        free(session);
    }
    free(load->sessions);
    for (size_t i = 0; i < load->credential_count; i++)
        hf_credential_close(load->credentials[i]);
    free(load->credentials);
    hf_trust_close(load->trust);
    hf_load_keys_close(&load->keys);
    hf_load_stats_close(load);
    free(load->devices);
    free(load->closing);
}
