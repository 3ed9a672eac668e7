/**
 * announce.c - see announce.h.
 */
#include "announce.h"

#include "expiry.h"
#include "log.h"
#include "respond.h"

#include <stdio.h>
#include <string.h>

/* One line, unless shards differ: a limit may have sufficed for some of them only. */
void hf_announce_io(const struct hf_daemon *daemon)
{
    const char *last = NULL;
    for (uint32_t i = 0; i < daemon->shard_count; i++) {
        struct hf_log_line line;
        const struct hf_loop *loop = hf_shard_loop(daemon->shards[i]);
        if (last != NULL && strcmp(last, hf_loop_io_name(loop)) == 0)
            continue;
        last = hf_loop_io_name(loop);
        hf_log_begin(&line, HF_LOG_NOTICE, HF_LOG_SLOT_UNLIMITED, "io_chosen", NULL);
        hf_log_text(&line, "io", last);
        hf_log_text(&line, "because", hf_loop_io_reason(loop));
        hf_log_number(&line, "from_shard", i);
        hf_log_end(&line);
    }
}

void hf_announce_listener(const struct hf_daemon *daemon, uint32_t index)
{
    const struct hf_listener *listener = &daemon->started.listeners[index];
    const struct hf_daemon_listener *details = &daemon->started.details[index];
    const struct hf_address *address = &daemon->shared.sockets[index].address;
    struct hf_log_line line;
    char suites[HF_SUITES_MAX * 48] = "";
    size_t used = 0;
    for (uint8_t i = 0; i < listener->suite_count && used < sizeof(suites); i++)
        used += (size_t)snprintf(suites + used, sizeof(suites) - used, "%s%s", i > 0 ? "," : "",
                                 hf_suite_name(listener->suites[i]));
    hf_log_begin(&line, HF_LOG_NOTICE, HF_LOG_SLOT_UNLIMITED, "listening", NULL);
    hf_log_text(&line, "transport", listener->transport == HF_TRANSPORT_TLS ? "tls" : "dtls");
    hf_log_address(&line, "address", address);
    hf_log_text(&line, "listener", details->name);
    hf_log_text(&line, "authority", daemon->started.authorities[details->authority_index].name);
    hf_log_text(&line, "respond", hf_respond_mode_name(details->respond));
    hf_log_text(&line, "reference_point", hf_reference_point_name(listener->reference_point));
    hf_log_text(&line, "suites", suites);
    hf_log_end(&line);
}

uint64_t hf_announce_keys(const struct hf_daemon *daemon, bool is_warned)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < daemon->started.authority_count; i++) {
        struct hf_authority_counters keys;
        hf_authority_counters_get(&keys, daemon->shared.authorities[i]);
        const struct hf_daemon_authority *config = &daemon->started.authorities[i];
        bool has_keys = config->psk_file[0] != '\0' || config->key_store[0] != '\0';
        if (keys.keys == 0 && is_warned && has_keys)
            hf_log_message(HF_LOG_WARNING, "no_keys",
                           "authority %s holds no key: every handshake with it will fail",
                           daemon->started.authorities[i].name);
        sum += keys.keys;
    }
    return sum;
}

void hf_announce_ready(const struct hf_daemon *daemon)
{
    struct hf_log_line line;
    uint64_t keys = hf_announce_keys(daemon, true);
    hf_log_begin(&line, HF_LOG_NOTICE, HF_LOG_SLOT_UNLIMITED, "ready", NULL);
    hf_log_text(&line, "version", hf_version());
    hf_log_number(&line, "shards", daemon->shard_count);
    hf_log_number(&line, "keys", keys);
    hf_log_text(&line, "config",
                daemon->started.config_file[0] != '\0' ? daemon->started.config_file : "none");
    hf_log_text(&line, "user",
                daemon->started.user[0] != '\0' ? daemon->started.user : "unchanged");
    hf_log_text(&line, "seccomp", daemon->started.is_seccomp ? "on" : "off");
    hf_log_end(&line);
    (void)hf_expiry_warn(daemon, 0);
}
