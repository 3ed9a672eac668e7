/**
 * daemon_fixed.c - what a reload cannot change: sockets, threads and memory are made at the start.
 */
#include "daemon_config.h"

#include <stdio.h>
#include <string.h>

static bool is_same_address(const struct hf_address *a, const struct hf_address *b)
{
    return memcmp(a, b, sizeof(*a)) == 0;
}

/* The name of what differs in a listener and cannot change; NULL: nothing. */
static const char *fixed_in_listener(const struct hf_daemon_listener *running,
                                     const struct hf_daemon_listener *wanted)
{
    if (strcmp(running->name, wanted->name) != 0)
        return "the names and order of listeners";
    if (running->transport != wanted->transport)
        return "transport";
    if (!is_same_address(&running->address, &wanted->address))
        return "address";
    if (running->authority_count != wanted->authority_count ||
        memcmp(running->authority_indexes, wanted->authority_indexes,
               sizeof(running->authority_indexes)) != 0)
        return "authority";
    if (running->upstream_kind != wanted->upstream_kind ||
        !is_same_address(&running->upstream, &wanted->upstream))
        return "upstream";
    if (running->keep_us != wanted->keep_us)
        return "upstream-keep";
    if (running->is_entity_told != wanted->is_entity_told)
        return "proxy-unique-id";
    if (running->is_proxy_protocol != wanted->is_proxy_protocol)
        return "proxy-protocol";
    if (memcmp(running->trusted, wanted->trusted, sizeof(running->trusted)) != 0)
        return "trusted-proxy";
    return NULL;
}

static const char *fixed_in_process(const struct hf_daemon_config *running,
                                    const struct hf_daemon_config *wanted)
{
    if (running->shard_count != wanted->shard_count)
        return "shards";
    if (running->io != wanted->io)
        return "io";
    if (running->cid_node_len != wanted->cid_node_len ||
        running->cid_node_offset != wanted->cid_node_offset ||
        memcmp(running->cid_node, wanted->cid_node, sizeof(running->cid_node)) != 0)
        return "connection-id-node";
    if (running->path_check != wanted->path_check || running->path_policy != wanted->path_policy)
        return "address-check and address-unchecked";
    if (running->linger_us != wanted->linger_us)
        return "linger";
    if (strcmp(running->user, wanted->user) != 0)
        return "user";
    if (running->is_seccomp != wanted->is_seccomp)
        return "seccomp";
    if (strcmp(running->keylog_file, wanted->keylog_file) != 0)
        return "keylog";
    if (!is_same_address(&running->upstream_prefix, &wanted->upstream_prefix))
        return "upstream-prefix";
    if (running->is_session_tickets != wanted->is_session_tickets ||
        running->session_cache != wanted->session_cache ||
        running->session_us != wanted->session_us)
        return "tickets, cache and lifetime of sessions";
    if (running->is_dtls_notified_on_stop != wanted->is_dtls_notified_on_stop)
        return "dtls-notify-on-stop";
    if (running->has_metrics != wanted->has_metrics ||
        !is_same_address(&running->metrics, &wanted->metrics))
        return "metrics address";
    if (strcmp(running->control_socket, wanted->control_socket) != 0)
        return "control socket";
    if (strcmp(running->control_group, wanted->control_group) != 0)
        return "control group";
    if (strcmp(running->takeover_socket, wanted->takeover_socket) != 0)
        return "takeover";
    if (strcmp(running->checkpoint, wanted->checkpoint) != 0 ||
        running->checkpoint_us != wanted->checkpoint_us)
        return "checkpoint";
    if (running->log_format != wanted->log_format)
        return "log format";
    if (strcmp(running->log_salt, wanted->log_salt) != 0)
        return "salt";
    if (strcmp(running->audit_file, wanted->audit_file) != 0)
        return "audit";
    return NULL;
}

/* What memory was set aside for. */
static const char *fixed_in_limits(const struct hf_daemon_config *running,
                                   const struct hf_daemon_config *wanted)
{
    if (running->handshakes_max != wanted->handshakes_max)
        return "handshakes-max";
    if (running->associations_max != wanted->associations_max)
        return "associations-max";
    if (running->proofs_max != wanted->proofs_max)
        return "certificate-handshakes-max";
    return running->quarantine_us != wanted->quarantine_us ? "upstream-quarantine" : NULL;
}

bool hf_daemon_config_fixed(char error[HF_OPTIONS_ERROR_MAX],
                            const struct hf_daemon_config *running,
                            const struct hf_daemon_config *wanted)
{
    char text[256] = "";
    uint32_t line = 0;
    const char *what = fixed_in_process(running, wanted);
    if (what == NULL)
        what = fixed_in_limits(running, wanted);
    if (what == NULL && running->socket_count != wanted->socket_count)
        what = "the number of listeners";
    if (what == NULL && running->dialer_count != wanted->dialer_count)
        what = "the number of dialers";
    if (what == NULL && running->authority_count != wanted->authority_count)
        what = "the number of authorities";
    if (what == NULL && !hf_maf_config_is_same(&running->mafs, &wanted->mafs))
        what = "maf blocks, but for credentials, and maf-cache";
    for (uint32_t i = 0; what == NULL && i < running->authority_count; i++) {
        line = wanted->authorities[i].line;
        if (strcmp(running->authorities[i].name, wanted->authorities[i].name) != 0)
            what = "the names and order of authorities";
        else if ((running->authorities[i].psk_file[0] == '\0') !=
                 (wanted->authorities[i].psk_file[0] == '\0'))
            what = "psk-file instead of key-store, or the reverse";
        else if (strcmp(running->authorities[i].key_store, wanted->authorities[i].key_store) != 0)
            what = "key-store";
        else if (running->authorities[i].maf_set != wanted->authorities[i].maf_set)
            what = "an authority's maf";
    }
    for (uint32_t i = 0; what == NULL && i < running->socket_count; i++) {
        line = wanted->details[i].line;
        what = fixed_in_listener(&running->details[i], &wanted->details[i]);
    }
    for (uint32_t i = 0; what == NULL && i < running->dialer_count; i++) {
        line = wanted->dialers[i].line;
        what = hf_dialer_config_fixed(&running->dialers[i], &wanted->dialers[i]);
    }
    if (what == NULL)
        return true;
    snprintf(text, sizeof(text), "%s: cannot change while running: restart", what);
    return hf_daemon_config_refuse(error, wanted, line, text);
}
