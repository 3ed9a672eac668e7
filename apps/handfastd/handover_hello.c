/**
 * handover_hello.c - see handover_hello.h. Secrets pass through JSON; its memory is wiped as it is
 * freed, which main.c sees to.
 */
#include "handover_hello.h"

#include "handover_wire.h"

#include <handfast/transfer.h>
#include <handover.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- who asks ----------------------------------------------------------------------------- */

json_t *hf_handover_hello_dialers(const struct hf_daemon_config *config)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < config->dialer_count; i++) {
        const struct hf_daemon_dialer *dialer = &config->dialers[i];
        char listen[HF_ADDRESS_TEXT_MAX];
        char source[HF_ADDRESS_TEXT_MAX];
        json_array_append_new(list, json_pack("[s,b,s,s]", dialer->name,
                                              (int)(dialer->transport == HF_TRANSPORT_TLS),
                                              hf_address_print(listen, &dialer->listen),
                                              hf_address_print(source, &dialer->source)));
    }
    return list;
}

static bool judge_listener(char *error, const struct hf_daemon_config *config, size_t i,
                           json_t *theirs)
{
    char address[HF_ADDRESS_TEXT_MAX];
    const char *name = json_string_value(json_object_get(theirs, "name"));
    const char *transport = json_string_value(json_object_get(theirs, "transport"));
    const char *place = json_string_value(json_object_get(theirs, "address"));
    bool is_tls = config->details[i].transport == HF_TRANSPORT_TLS;
    hf_address_print(address, &config->sockets[i].address);
    if (name != NULL && transport != NULL && place != NULL &&
        strcmp(name, config->details[i].name) == 0 && strcmp(place, address) == 0 &&
        strcmp(transport, is_tls ? "tls" : "dtls") == 0)
        return true;
    snprintf(error, HF_HANDOVER_ERROR_MAX,
             "listener %zu differs: here it is \"%s\", %s %s; to change listeners, stop and start "
             "(systemctl restart)",
             i + 1, config->details[i].name, is_tls ? "tls" : "dtls", address);
    return false;
}

/* Whether what is here can go on there. */
static bool judge(char *error, const struct hf_daemon *daemon, json_t *hello)
{
    const struct hf_daemon_config *config = &daemon->started;
    json_t *listeners = json_object_get(hello, "listeners");
    json_int_t shards = json_integer_value(json_object_get(hello, "shards"));
    if (json_integer_value(json_object_get(hello, "version")) != HF_HANDOVER_VERSION)
        return hf_handover_fail(error, "the two versions have no way of handing over in common");
    if (daemon->state != HF_DAEMON_SERVING)
        return hf_handover_fail(error, "it does not serve: it starts, drains or stops");
    if (shards != (json_int_t)daemon->shard_count) {
        snprintf(error, HF_HANDOVER_ERROR_MAX,
                 "shards: %lld, and %u here: associations live in a shard", (long long)shards,
                 daemon->shard_count);
        return false;
    }
    if (json_integer_value(json_object_get(hello, "associations_max")) !=
        (json_int_t)config->associations_max)
        return hf_handover_fail(
            error, "associations-max differs: addresses towards upstreams depend on it");
    json_t *dialers = hf_handover_hello_dialers(config);
    json_t *theirs = json_object_get(hello, "dialers");
    bool is_same = json_equal(dialers, theirs) || (theirs == NULL && config->dialer_count == 0);
    json_decref(dialers);
    if (!is_same)
        return hf_handover_fail(error, "dialers differ, in name, transport, source or entrance");
    if (json_array_size(listeners) != config->socket_count)
        return hf_handover_fail(error, "another number of listeners");
    for (size_t i = 0; i < config->socket_count; i++)
        if (!judge_listener(error, config, i, json_array_get(listeners, i)))
            return false;
    return true;
}

bool hf_handover_hello_hear(bool *has_sessions, char error[HF_HANDOVER_ERROR_MAX],
                            const struct hf_daemon *daemon, int fd)
{
    struct hf_handover_frame frame;
    json_error_t where;
    if (!hf_handover_receive(&frame, fd))
        return hf_handover_fail(error, "it says nothing");
    json_t *hello = frame.kind == HF_HANDOVER_HELLO
                        ? json_loadb((const char *)frame.data, frame.len, 0, &where)
                        : NULL;
    bool is_good =
        hello != NULL ? judge(error, daemon, hello) : hf_handover_fail(error, "it makes no sense");
    *has_sessions =
        json_integer_value(json_object_get(hello, "sessions")) == HF_SESSION_COPY_VERSION;
    json_decref(hello);
    hf_handover_wipe(&frame);
    if (!is_good)
        (void)hf_handover_send_text(fd, HF_HANDOVER_REFUSED, error);
    return is_good;
}

/* ---- what is told before ------------------------------------------------------------------ */

static json_t *hex_of(const uint8_t *data, size_t len)
{
    char text[2 * HF_SHARED_SECRET_LEN + 1];
    for (size_t i = 0; i < len; i++)
        snprintf(text + 2 * i, 3, "%02x", data[i]);
    json_t *value = json_string(text);
    explicit_bzero(text, sizeof(text));
    return value;
}

json_t *hf_handover_hello_authorities(const struct hf_daemon *daemon)
{
    json_t *authorities = json_array();
    for (uint32_t i = 0; i < daemon->started.authority_count; i++)
        json_array_append_new(
            authorities,
            json_pack("{s:s,s:o}", "name", daemon->started.authorities[i].name, "context_key",
                      hex_of(hf_authority_context_key(daemon->shared.authorities[i]), 16)));
    return authorities;
}

static bool tell_state(const struct hf_daemon *daemon, int fd)
{
    const struct hf_shared_secrets *secrets = &daemon->shared.sessions.secrets;
    json_t *list = json_array();
    for (uint32_t i = 0; i < secrets->count; i++)
        json_array_append_new(
            list,
            json_pack("{s:I,s:o}", "from", (json_int_t)secrets->entries[i].from_s, "secret",
                      hex_of(secrets->entries[i].secret, sizeof(secrets->entries[i].secret))));
    json_t *state = json_pack(
        "{s:o,s:o,s:i,s:I}", "secrets", list, "authorities", hf_handover_hello_authorities(daemon),
        "metrics_port", (int)daemon->metrics_port, "takeovers", (json_int_t)daemon->taken.count);
    char *text = state == NULL ? NULL : json_dumps(state, JSON_COMPACT);
    bool is_sent = text != NULL && hf_handover_send_text(fd, HF_HANDOVER_STATE, text);
    if (text != NULL)
        explicit_bzero(text, strlen(text));
    free(text);
    json_decref(state);
    return is_sent;
}

static bool send_descriptors(int fd, enum hf_handover_kind kind, uint32_t shard, const int *fds,
                             size_t count)
{
    uint8_t map[HF_LOOP_DESCRIPTORS_MAX];
    int there[HF_LOOP_DESCRIPTORS_MAX];
    size_t there_count = 0;
    for (size_t i = 0; i < count; i++) {
        map[i] = fds[i] >= 0;
        if (fds[i] >= 0)
            there[there_count++] = fds[i];
    }
    return hf_handover_send(fd, kind, shard, (struct hf_bytes){map, count}, there, there_count);
}

bool hf_handover_hello_tell(const struct hf_daemon *daemon, int fd, int control_fd, int listen_fd)
{
    int fds[HF_LOOP_DESCRIPTORS_MAX];
    bool is_sent = tell_state(daemon, fd);
    for (uint32_t i = 0; is_sent && i < daemon->shard_count; i++) {
        size_t count = hf_loop_descriptors(fds, hf_shard_loop(daemon->shards[i]));
        is_sent = send_descriptors(fd, HF_HANDOVER_SOCKETS, i, fds, count);
    }
    fds[0] = control_fd;
    fds[1] = listen_fd;
    return is_sent && send_descriptors(fd, HF_HANDOVER_SHARED, 0, fds, 2);
}
