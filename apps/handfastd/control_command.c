/**
 * control_command.c - one function a command, each of which makes the JSON it answers.
 */
#include "control_command.h"

#include "audit.h"
#include "drain.h"
#include "endpoint.h"
#include "failures.h"
#include "gather.h"
#include "handover.h"
#include "json_text.h"
#include "pseudonym.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define WHY_MAX 20

json_t *hf_control_error(const char *text)
{
    return json_pack("{s:b,s:o}", "ok", 0, "error", hf_json_text(text, strlen(text)));
}

static json_t *good(json_t *result)
{
    return json_pack("{s:b,s:o}", "ok", 1, "result", result);
}

static json_t *address_text(const struct hf_address *address)
{
    char text[HF_ADDRESS_TEXT_MAX];
    return json_string(hf_address_print(text, address));
}

static json_t *time_text(int64_t at_s)
{
    char text[40] = "";
    time_t at = (time_t)at_s;
    struct tm parts;
    if (gmtime_r(&at, &parts) != NULL)
        strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &parts);
    return json_string(text);
}

/* An address with or without its port; false: it is a name. */
static bool parse_peer(struct hf_address *out, const struct hf_control_request *request)
{
    char text[HF_CONTROL_TEXT_MAX + 8];
    if (request->text_len > 60 || strlen(request->text) != request->text_len)
        return false;
    if (hf_endpoint_parse(out, request->text))
        return request->text[0] != '*';
    snprintf(text, sizeof(text), "%s:0", request->text);
    if (hf_endpoint_parse(out, text))
        return request->text[0] != '*';
    snprintf(text, sizeof(text), "[%s]:0", request->text);
    return hf_endpoint_parse(out, text);
}

static struct hf_bytes text_of(const struct hf_control_request *request)
{
    return (struct hf_bytes){(const uint8_t *)request->text, request->text_len};
}

/* ---- status ------------------------------------------------------------------------------- */

static uint64_t sum_handshakes(const struct hf_daemon *daemon, uint32_t listener, bool is_ok)
{
    uint64_t sum = 0;
    for (uint32_t s = 0; s < daemon->shard_count; s++)
        for (int i = 0; i < HF_STATUS_COUNT; i++)
            if ((i == HF_OK) == is_ok)
                sum += hf_shard_handshakes(daemon->shards[s], listener, false, (enum hf_status)i) +
                       hf_shard_handshakes(daemon->shards[s], listener, true, (enum hf_status)i);
    return sum;
}

static json_t *describe_listeners(const struct hf_daemon *daemon)
{
    json_t *list = json_array();
    const struct hf_daemon_config *config = &daemon->config;
    for (uint32_t i = 0; i < config->socket_count; i++) {
        const struct hf_daemon_listener *details = &config->details[i];
        json_array_append_new(
            list, json_pack("{s:s,s:s,s:o,s:s,s:s,s:s,s:I,s:I}", "name", details->name, "transport",
                            details->transport == HF_TRANSPORT_TLS ? "tls" : "dtls", "address",
                            address_text(&daemon->shared.sockets[i].address), "reference_point",
                            hf_reference_point_name(details->reference_point), "authority",
                            config->authorities[details->authority_index].name, "respond",
                            hf_respond_mode_name(details->respond), "handshakes_ok",
                            (json_int_t)sum_handshakes(daemon, i, true), "handshakes_failed",
                            (json_int_t)sum_handshakes(daemon, i, false)));
    }
    return list;
}

static json_t *describe_dialer(const struct hf_daemon *daemon, uint32_t index)
{
    const struct hf_daemon_dialer *dialer = &daemon->config.dialers[index];
    struct hf_dialer_status status;
    uint64_t failed = 0;
    hf_daemon_dialer(&status, daemon, index);
    for (int i = 0; i < HF_STATUS_COUNT; i++)
        failed += i == HF_OK ? 0 : status.dials[i];
    const char *state = status.associations > 0    ? "up"
                        : status.backing_off_s > 0 ? "backing-off"
                        : status.waiting > 0       ? "dialling"
                                                   : "idle";
    return json_pack("{s:s,s:s,s:o,s:o,s:s,s:s,s:s,s:s,s:I,s:I,s:I,s:I,s:I}", "name", dialer->name,
                     "transport", dialer->transport == HF_TRANSPORT_TLS ? "tls" : "dtls", "listen",
                     address_text(&status.listen), "address",
                     address_text(&dialer->addresses[status.address_index % dialer->address_count]),
                     "peer", dialer->peer, "reference_point",
                     hf_reference_point_name((enum hf_reference_point)dialer->reference_point),
                     "authority", daemon->config.authorities[dialer->authority_index].name, "state",
                     state, "associations", (json_int_t)status.associations, "waiting",
                     (json_int_t)status.waiting, "dials_ok", (json_int_t)status.dials[HF_OK],
                     "dials_failed", (json_int_t)failed, "next_try_seconds",
                     (json_int_t)status.backing_off_s);
}

static json_t *describe_dialers(const struct hf_daemon *daemon)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < daemon->config.dialer_count; i++)
        json_array_append_new(list, describe_dialer(daemon, i));
    return list;
}

static json_t *describe_authorities(const struct hf_daemon *daemon)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < daemon->config.authority_count; i++) {
        struct hf_authority_counters keys;
        hf_authority_counters_get(&keys, daemon->shared.authorities[i]);
        const struct hf_daemon_authority *config = &daemon->config.authorities[i];
        json_array_append_new(
            list, json_pack("{s:s,s:s,s:b,s:s,s:I,s:I,s:I}", "name", config->name, "kind",
                            keys.is_store ? "key-store" : "psk-file", "serving",
                            (int)(!keys.is_store || keys.is_serving), "path",
                            keys.is_store ? config->key_store : config->psk_file, "keys",
                            (json_int_t)keys.keys, "credentials", (json_int_t)keys.entities,
                            "remove_max_percent", (json_int_t)config->remove_percent_max));
    }
    return list;
}

static json_t *describe_mafs(const struct hf_daemon *daemon)
{
    json_t *list = json_array();
    struct hf_maf_counters *counters = calloc(1, sizeof(*counters));
    if (counters != NULL && daemon->shared.maf != NULL)
        hf_maf_counters_get(counters, daemon->shared.maf);
    for (uint32_t i = 0; counters != NULL && i < counters->maf_count; i++) {
        const struct hf_maf_health *health = &counters->mafs[i].counters.health;
        json_array_append_new(
            list, json_pack("{s:s,s:s,s:I,s:I,s:I}", "fqdn", counters->mafs[i].fqdn, "state",
                            health->is_circuit_open ? "down" : "up", "connections",
                            (json_int_t)health->connections, "waiting", (json_int_t)health->waiting,
                            "asked", (json_int_t)counters->mafs[i].counters.asked));
    }
    free(counters);
    return list;
}

static const char *level_name(enum hf_log_level level)
{
    static const char *const names[] = {"error", "warning", "notice", "info", "debug"};
    return names[level - HF_LOG_ERROR];
}

static json_t *run_status(struct hf_daemon *daemon)
{
    static const char *const states[] = {"starting", "serving", "draining", "stopping"};
    uint64_t associations = 0;
    uint64_t half_open = 0;
    uint64_t parked = 0;
    enum hf_daemon_state state = daemon->state;
    for (uint32_t i = 0; i < daemon->shard_count; i++) {
        struct hf_counters counters;
        hf_loop_engine_counters_get(&counters, hf_shard_loop(daemon->shards[i]));
        associations += counters.associations;
        half_open += counters.handshakes_open;
        parked += counters.parked;
    }
    pthread_mutex_lock(&daemon->reload_lock);
    json_t *result = json_pack(
        "{s:s,s:s,s:i,s:I,s:o,s:I,s:s,s:I,s:I,s:I,s:s,s:s,s:o,s:o,s:o,s:o,s:{s:I,s:I,s:b,s:o}}",
        "state", states[state], "version", hf_version(), "pid", (int)getpid(), "uptime_seconds",
        (json_int_t)((int64_t)time(NULL) - daemon->start_s), "started", time_text(daemon->start_s),
        "shards", (json_int_t)daemon->shard_count, "io",
        hf_loop_io_name(hf_shard_loop(daemon->shards[0])), "associations", (json_int_t)associations,
        "handshakes_open", (json_int_t)half_open, "handshakes_parked", (json_int_t)parked, "config",
        daemon->config.config_file, "log_level", level_name(hf_log_level_get()), "listeners",
        describe_listeners(daemon), "authorities", describe_authorities(daemon), "dialers",
        describe_dialers(daemon), "mafs", describe_mafs(daemon), "reloads", "ok",
        (json_int_t)daemon->reloads, "failed", (json_int_t)daemon->reloads_failed, "last_good",
        (int)daemon->is_reload_good, "in_force_since", time_text(daemon->reloaded_s));
    pthread_mutex_unlock(&daemon->reload_lock);
    return good(result);
}

/* ---- reload, log-level, hash -------------------------------------------------------------- */

static json_t *run_reload(struct hf_daemon *daemon, const struct hf_control_request *request,
                          const char *who)
{
    struct hf_daemon_reload *reload = calloc(1, sizeof(*reload));
    if (reload == NULL)
        return NULL;
    reload->is_forced = request->force;
    reload->who = who;
    json_t *answer = NULL;
    if (hf_daemon_reload(daemon, reload)) {
        json_t *list = json_array();
        for (uint32_t i = 0; i < daemon->started.authority_count; i++) {
            const struct hf_keystore_change *change = &reload->changes[i];
            json_array_append_new(list, json_pack("{s:s,s:I,s:I,s:I,s:I,s:I}", "name",
                                                  daemon->started.authorities[i].name, "keys",
                                                  (json_int_t)change->keys_after, "added",
                                                  (json_int_t)change->added, "removed",
                                                  (json_int_t)change->removed, "changed",
                                                  (json_int_t)change->changed, "credentials",
                                                  (json_int_t)reload->entities[i].after));
        }
        answer = good(json_pack("{s:o}", "authorities", list));
    } else {
        answer = hf_control_error(reload->error);
    }
    free(reload);
    return answer;
}

static json_t *run_log_level(struct hf_daemon *daemon, const struct hf_control_request *request)
{
    const char *before = level_name(hf_log_level_get());
    if (request->level >= 0) {
        pthread_mutex_lock(&daemon->reload_lock);
        hf_log_tune((enum hf_log_level)request->level, (uint32_t)daemon->config.log_rate,
                    daemon->config.log_identities);
        pthread_mutex_unlock(&daemon->reload_lock);
    }
    return good(json_pack("{s:s,s:s}", "level", level_name(hf_log_level_get()), "before", before));
}

static json_t *run_hash(const struct hf_control_request *request)
{
    char text[HF_PSEUDONYM_TEXT_MAX];
    return good(json_pack("{s:s}", "hash", hf_pseudonym_text(text, text_of(request))));
}

/* ---- associations ------------------------------------------------------------------------- */

/* In hexadecimal; null: there is none in that direction. */
static void put_cid(json_t *object, const char *name, const uint8_t *cid, size_t len)
{
    char text[2 * HF_CONNECTION_ID_MAX + 1] = "";
    for (size_t i = 0; i < len; i++)
        snprintf(text + 2 * i, 3, "%02x", cid[i]);
    json_object_set_new(object, name, len == 0 ? json_null() : json_string(text));
}

static json_t *describe(const struct hf_daemon *daemon, hf_association_id association,
                        const struct hf_association_info *info)
{
    char id[20];
    const char *suite = hf_suite_name(info->suite);
    uint32_t authority = hf_daemon_config_authority(
        &daemon->started, info->listener_index, info->is_client,
        (struct hf_bytes){(const uint8_t *)info->server_name, info->server_name_len});
    snprintf(id, sizeof(id), "%016" PRIx64, association);
    json_t *object =
        json_pack("{s:s,s:b,s:b,s:s,s:s,s:s,s:o,s:o,s:o,s:s,s:o}", "association", id, "established",
                  (int)info->established, "dialled", (int)info->is_client,
                  info->is_client ? "dialer" : "listener",
                  hf_dialer_config_name(&daemon->started, info->listener_index, info->is_client),
                  "authority", daemon->started.authorities[authority].name, "transport",
                  info->transport == HF_TRANSPORT_TLS ? "tls" : "dtls", "peer",
                  address_text(&info->path.peer), "local", address_text(&info->path.local),
                  "entity_id", hf_json_text_or_null(info->entity_id, info->entity_id_len),
                  "entity_kind", hf_entity_kind_name(info->entity_kind), "credential_id",
                  hf_json_text_or_null(info->credential_id, info->credential_id_len));
    json_t *rest = json_pack(
        "{s:s,s:o,s:s,s:b,s:b,s:o,s:o}", "framework", hf_framework_name(info->framework), "suite",
        suite == NULL ? json_null() : json_string(suite), "reference_point",
        hf_reference_point_name(info->reference_point), "extended_master_secret",
        (int)info->extended_master_secret, "encrypt_then_mac", (int)info->encrypt_then_mac,
        "server_name", hf_json_text_or_null(info->server_name, info->server_name_len), "expires",
        info->expires_s == 0 ? json_null() : time_text(info->expires_s));
    if (object != NULL && rest != NULL)
        json_object_update_missing(object, rest);
    json_decref(rest);
    if (object != NULL && info->transport == HF_TRANSPORT_DTLS) {
        put_cid(object, "connection_id", info->own_cid, info->own_cid_len);
        put_cid(object, "peer_connection_id", info->peer_cid, info->peer_cid_len);
        json_object_set_new(object, "return_routability",
                            json_boolean(info->has_return_routability));
        json_object_set_new(object, "peer_address",
                            json_string(info->is_path_checking  ? "being checked"
                                        : info->is_path_checked ? "checked"
                                                                : "unchecked"));
    }
    return object;
}

/* In `*cursor` as hf_gather_list() has it; NULL: a shard does not answer. */
static json_t *list(struct hf_daemon *daemon, uint64_t *cursor, const struct hf_gather_query *query,
                    size_t max)
{
    size_t count = 0;
    json_t *found = NULL;
    struct hf_gather_result *results = calloc(max, sizeof(*results));
    if (results != NULL && hf_gather_list(results, &count, cursor, daemon, query, max)) {
        found = json_array();
        for (size_t i = 0; i < count; i++)
            json_array_append_new(found,
                                  describe(daemon, results[i].association, &results[i].info));
    }
    free(results);
    return found;
}

static json_t *run_assoc_list(struct hf_daemon *daemon, const struct hf_control_request *request)
{
    char text[20];
    struct hf_address peer;
    struct hf_gather_query query = {0};
    uint64_t cursor = request->cursor;
    if (request->text_len > 0 && parse_peer(&peer, request))
        query.peer = &peer;
    else
        query.text = text_of(request);
    json_t *found = list(daemon, &cursor, &query, request->limit);
    if (found == NULL)
        return hf_control_error("a shard does not answer");
    snprintf(text, sizeof(text), "%016" PRIx64, cursor);
    return good(json_pack("{s:o,s:o}", "associations", found, "cursor",
                          cursor == UINT64_MAX ? json_null() : json_string(text)));
}

static json_t *run_one(struct hf_daemon *daemon, const struct hf_control_request *request)
{
    bool is_closed = request->command == HF_CONTROL_ASSOC_CLOSE;
    struct hf_association_info *info = calloc(1, sizeof(*info));
    if (info == NULL)
        return NULL;
    enum hf_status status = hf_gather_one(info, daemon, request->association, is_closed);
    json_t *answer = NULL;
    if (status == HF_OK)
        answer = good(describe(daemon, request->association, info));
    else
        answer = hf_control_error(status == HF_E_STALE ? "there is no such association"
                                                       : "its shard does not answer");
    free(info);
    return answer;
}

/* ---- why ---------------------------------------------------------------------------------- */

static json_t *describe_failure(const struct hf_daemon *daemon,
                                const struct hf_failure_record *record)
{
    const struct hf_failure *failure = &record->failure;
    return json_pack(
        "{s:o,s:o,s:I,s:s,s:s,s:o,s:o,s:s,s:s,s:s,s:s,s:s,s:s}", "first",
        time_text(record->first_s), "last", time_text(record->last_s), "times",
        (json_int_t)record->times, "what", record->is_handshake ? "handshake" : "association",
        record->is_client ? "dialer" : "listener",
        hf_dialer_config_name(&daemon->started, record->listener_index, record->is_client), "peer",
        address_text(&record->peer), "identity",
        hf_json_text_or_null(record->identity, record->identity_len), "reason",
        hf_status_reason(failure->status), "text", hf_status_text(failure->status), "alert",
        failure->alert == HF_ALERT_NONE ? "" : hf_alert_name(failure->alert), "state",
        failure->state == NULL ? "" : failure->state, "input",
        failure->event == NULL ? "" : failure->event, "clause",
        failure->clause == NULL ? "" : failure->clause);
}

static json_t *describe_failures(const struct hf_daemon *daemon,
                                 const struct hf_failures_query *query)
{
    json_t *failures = json_array();
    struct hf_failure_record *records = calloc(WHY_MAX, sizeof(*records));
    size_t count = records == NULL ? 0 : hf_failures_find(records, WHY_MAX, query);
    for (size_t i = 0; i < count; i++)
        json_array_append_new(failures, describe_failure(daemon, &records[i]));
    free(records);
    return failures;
}

/* "maf": not a key of its own, but its MAF is asked when a device comes with it. */
static json_t *describe_knowledge(const struct hf_daemon *daemon, uint32_t index,
                                  struct hf_bytes identity)
{
    static const char *const names[] = {
        [HF_AUTHORITY_HAS_NOT] = "absent",
        [HF_AUTHORITY_HAS] = "present",
        [HF_AUTHORITY_HAS_EXPIRED] = "expired",
        [HF_AUTHORITY_CANNOT_TELL] = "unknown",
    };
    enum hf_authority_knows knows = hf_authority_knows(daemon->shared.authorities[index], identity);
    bool is_asked =
        knows == HF_AUTHORITY_HAS_NOT &&
        hf_maf_is_for(daemon->shared.maf, daemon->config.authorities[index].maf_set, identity);
    return json_string(is_asked ? "maf" : names[knows]);
}

static json_t *describe_keys(struct hf_daemon *daemon, struct hf_bytes identity)
{
    json_t *keys = json_object();
    pthread_mutex_lock(&daemon->reload_lock);
    for (uint32_t i = 0; i < daemon->started.authority_count; i++)
        json_object_set_new(keys, daemon->started.authorities[i].name,
                            describe_knowledge(daemon, i, identity));
    pthread_mutex_unlock(&daemon->reload_lock);
    return keys;
}

static json_t *run_why(struct hf_daemon *daemon, const struct hf_control_request *request)
{
    struct hf_address peer;
    uint64_t cursor = 0;
    bool is_peer = parse_peer(&peer, request);
    struct hf_gather_query query = {0};
    struct hf_failures_query failures = {0};
    if (is_peer) {
        query.peer = failures.address = &peer;
    } else {
        query.identity = failures.identity = text_of(request);
    }
    json_t *associations = list(daemon, &cursor, &query, WHY_MAX);
    if (associations == NULL)
        return hf_control_error("a shard does not answer");
    return good(json_pack("{s:s,s:o,s:o,s:o}", "subject", is_peer ? "address" : "identity", "keys",
                          is_peer ? json_null() : describe_keys(daemon, text_of(request)),
                          "associations", associations, "failures",
                          describe_failures(daemon, &failures)));
}

/* ------------------------------------------------------------------------------------------- */

/* First no more of the key is handed out, then what has it is ended: none slips between. */
static json_t *run_revoke(struct hf_daemon *daemon, const struct hf_control_request *request)
{
    uint64_t context = 0;
    struct hf_bytes identity = {(const uint8_t *)request->text, request->text_len};
    bool is_ended = true;
    bool is_kept = false;
    if (!hf_maf_revoke(daemon->shared.maf, &context, &is_kept, identity))
        return hf_control_error("not an identity of a configured MAF; a key of our own is revoked "
                                "by removing it from its file or store");
    for (uint32_t i = 0; context != 0 && i < daemon->shard_count; i++)
        is_ended &= hf_shard_revoke(daemon->shards[i], context);
    if (!is_ended)
        return hf_control_error("the key is revoked, but not all associations could be ended");
    if (!is_kept)
        return hf_control_error("the key is revoked, but the file of kept keys could not be "
                                "written: after a restart it may count again");
    return good(json_pack("{s:b}", "had_key", context != 0));
}

/* The answer to a restart is the predecessor's last word. */
static json_t *run_restart(struct hf_daemon *daemon)
{
    char error[HF_HANDOVER_ERROR_MAX];
    pid_t pid = 0;
    if (!hf_handover_restart(daemon->handover, &pid, error))
        return hf_control_error(error);
    return good(json_pack("{s:i}", "pid", (int)pid));
}

static json_t *run_drain(struct hf_daemon *daemon, const struct hf_control_request *request)
{
    if (!hf_drain_begin(daemon, (uint64_t)request->seconds * 1000))
        return hf_control_error("it does not serve: it starts, drains or stops");
    return good(json_pack("{s:i}", "seconds", (int)request->seconds));
}

static void audit(const struct hf_control_request *request, const char *who, bool is_good)
{
    struct hf_log_line line;
    char id[20];
    if (!hf_control_command_changes(request) || request->command == HF_CONTROL_RELOAD)
        return; /* a reload tells of itself */
    hf_audit_begin(&line, "control");
    hf_log_text(&line, "by", who);
    hf_log_text(&line, "command", hf_control_command_name(request->command));
    if (request->command == HF_CONTROL_LOG_LEVEL)
        hf_log_text(&line, "level", level_name((enum hf_log_level)request->level));
    if (request->command == HF_CONTROL_ASSOC_CLOSE) {
        snprintf(id, sizeof(id), "%016" PRIx64, request->association);
        hf_log_text(&line, "association", id);
    }
    if (request->command == HF_CONTROL_REVOKE)
        hf_log_identity(&line, "identity",
                        (struct hf_bytes){(const uint8_t *)request->text, request->text_len});
    hf_log_text(&line, "outcome", is_good ? "ok" : "refused");
    hf_audit_end(&line);
}

json_t *hf_control_command_run(struct hf_daemon *daemon, const struct hf_control_request *request,
                               const char *who)
{
    json_t *answer = NULL;
    switch (request->command) {
    case HF_CONTROL_STATUS:
        answer = run_status(daemon);
        break;
    case HF_CONTROL_RELOAD:
        answer = run_reload(daemon, request, who);
        break;
    case HF_CONTROL_LOG_LEVEL:
        answer = run_log_level(daemon, request);
        break;
    case HF_CONTROL_ASSOC_LIST:
        answer = run_assoc_list(daemon, request);
        break;
    case HF_CONTROL_ASSOC_SHOW:
    case HF_CONTROL_ASSOC_CLOSE:
        answer = run_one(daemon, request);
        break;
    case HF_CONTROL_WHY:
        answer = run_why(daemon, request);
        break;
    case HF_CONTROL_HASH:
        answer = run_hash(request);
        break;
    case HF_CONTROL_REVOKE:
        answer = run_revoke(daemon, request);
        break;
    case HF_CONTROL_RESTART:
        answer = run_restart(daemon);
        break;
    case HF_CONTROL_DRAIN:
        answer = run_drain(daemon, request);
        break;
    case HF_CONTROL_COMMAND_COUNT:
        break;
    }
    audit(request, who, json_is_true(json_object_get(answer, "ok")));
    return answer;
}
