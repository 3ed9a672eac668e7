/**
 * reload.c - the transaction that changes a running daemon: everything is read and judged first,
 * and from the first change on nothing can fail.
 */
#include "audit.h"
#include "checkpoint.h"
#include "daemon.h"
#include "expiry.h"
#include "notify.h"
#include "options.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define AUDIT_KEYS_MAX 1000 /* lines of single keys a reload and authority */

static bool is_few(struct hf_daemon_reload *reload, const struct hf_daemon_authority *authority,
                   const char *what, uint64_t gone, uint64_t before)
{
    if (reload->is_forced || gone * 100 <= before * authority->remove_percent_max)
        return true;
    snprintf(reload->error, sizeof(reload->error),
             "authority \"%s\": %" PRIu64 " of %" PRIu64 " %s would be removed or changed, more "
             "than remove-max (%" PRIu64 " %%): handfastctl reload --force if that is meant",
             authority->name, gone, before, what, authority->remove_percent_max);
    return false;
}

static bool is_allowed(struct hf_daemon_reload *reload, uint32_t index,
                       const struct hf_daemon_authority *authority)
{
    const struct hf_keystore_change *keys = &reload->changes[index];
    const struct hf_entities_change *entities = &reload->entities[index];
    return is_few(reload, authority, "keys", keys->removed + keys->changed, keys->keys_before) &&
           is_few(reload, authority, "credentials of the entity map",
                  entities->removed + entities->changed, entities->before);
}

void hf_daemon_serve(struct hf_daemon_config *config,
                     struct hf_authority *const authorities[HF_AUTHORITIES_MAX], bool is_prepared)
{
    for (uint32_t i = 0; i < config->socket_count; i++) {
        const struct hf_daemon_listener *details = &config->details[i];
        for (uint32_t j = 0; j < details->authority_count; j++) {
            struct hf_listener_authority *out = &config->served[i][j];
            const struct hf_authority *authority = authorities[details->authority_indexes[j]];
            if (is_prepared)
                hf_authority_serve_prepared(out, authority);
            else
                hf_authority_serve(out, authority);
            out->quota_index = (uint8_t)details->authority_indexes[j];
        }
        config->listeners[i].authorities = config->served[i];
        config->listeners[i].authority_count = details->authority_count;
    }
    for (uint32_t i = 0; i < config->dialer_count; i++) {
        struct hf_listener_authority own;
        const struct hf_authority *authority = authorities[config->dialers[i].authority_index];
        if (is_prepared)
            hf_authority_serve_prepared(&own, authority);
        else
            hf_authority_serve(&own, authority);
        config->dialled[i].x509 = own.x509;
        config->dialled[i].raw = own.raw;
        config->dialled[i].trust = own.trust;
    }
}

/* What only the credentials themselves can tell: the engine's own judgement. */
static bool check_served(struct hf_daemon *daemon, struct hf_daemon_reload *reload)
{
    struct hf_config engine;
    struct hf_quota quotas[HF_QUOTAS_MAX];
    const char *why = "";
    hf_daemon_serve(&daemon->wanted, daemon->shared.authorities, true);
    hf_daemon_config_engine(&engine, quotas, &daemon->wanted, 0);
    if (hf_config_check(&why, &engine) == HF_OK)
        return true;
    snprintf(reload->error, sizeof(reload->error), "certificates: %s", why);
    return false;
}

/* Reads all keys; what was prepared stays so for the caller to commit or abandon. */
static bool prepare_keys(struct hf_daemon *daemon, struct hf_daemon_reload *reload)
{
    const struct hf_daemon_config *wanted = &daemon->wanted;
    for (uint32_t i = 0; i < wanted->authority_count; i++) {
        char error[HF_KEYSTORE_ERROR_MAX];
        if (!hf_authority_prepare(daemon->shared.authorities[i], &reload->changes[i],
                                  &reload->entities[i], error, &wanted->authorities[i])) {
            snprintf(reload->error, sizeof(reload->error), "%s", error);
            return false;
        }
        if (!is_allowed(reload, i, &wanted->authorities[i]))
            return false;
    }
    char error[HF_SESSIONS_ERROR_MAX];
    if (!hf_sessions_prepare(&daemon->shared.sessions, error, wanted)) {
        snprintf(reload->error, sizeof(reload->error), "%s", error);
        return false;
    }
    char maf_error[HF_MAF_ERROR_MAX];
    if (!hf_maf_prepare(daemon->shared.maf, maf_error, &wanted->mafs)) {
        snprintf(reload->error, sizeof(reload->error), "%s", maf_error);
        return false;
    }
    return check_served(daemon, reload);
}

/* ---- the audit log ------------------------------------------------------------------------ */

struct audit {
    const char *authority;
    const char *who;
    uint64_t lines;
};

static void audit_key(const struct hf_keyfile_difference *difference, void *arg)
{
    static const char *const names[] = {"key_added", "key_removed", "key_changed"};
    struct hf_log_line line;
    struct audit *audit = arg;
    if (audit->lines++ >= AUDIT_KEYS_MAX)
        return;
    hf_audit_begin(&line, names[difference->change]);
    hf_log_text(&line, "by", audit->who);
    hf_log_text(&line, "authority", audit->authority);
    hf_log_identity(&line, "identity", difference->psk_identity);
    hf_audit_end(&line);
}

struct counts {
    const char *what;
    uint64_t after, added, removed, changed;
};

static void audit_counts(const char *event, const char *who, const char *authority,
                         const struct counts *counts)
{
    struct hf_log_line line;
    if (counts->added + counts->removed + counts->changed == 0)
        return;
    hf_audit_begin(&line, event);
    hf_log_text(&line, "by", who);
    hf_log_text(&line, "authority", authority);
    hf_log_number(&line, counts->what, counts->after);
    hf_log_number(&line, "added", counts->added);
    hf_log_number(&line, "removed", counts->removed);
    hf_log_number(&line, "changed", counts->changed);
    hf_audit_end(&line);
}

static void audit_reload(struct hf_daemon *daemon, const struct hf_daemon_reload *reload,
                         bool is_good)
{
    struct hf_log_line line;
    hf_audit_begin(&line, "reload");
    hf_log_text(&line, "by", reload->who);
    hf_log_text(&line, "outcome", is_good ? "ok" : "refused");
    hf_log_text(&line, "forced", reload->is_forced ? "yes" : "no");
    if (!is_good)
        hf_log_text(&line, "message", reload->error);
    hf_audit_end(&line);
    for (uint32_t i = 0; is_good && i < daemon->config.authority_count; i++) {
        const struct hf_keystore_change *keys = &reload->changes[i];
        const struct hf_entities_change *entities = &reload->entities[i];
        const char *name = daemon->config.authorities[i].name;
        audit_counts(
            "keys_changed", reload->who, name,
            &(struct counts){"keys", keys->keys_after, keys->added, keys->removed, keys->changed});
        audit_counts("entities_changed", reload->who, name,
                     &(struct counts){"credentials", entities->after, entities->added,
                                      entities->removed, entities->changed});
    }
}

/* ---- the transaction ---------------------------------------------------------------------- */

static void log_reloaded(const struct hf_daemon *daemon, const struct hf_daemon_reload *reload)
{
    struct hf_log_line line;
    uint64_t keys = 0;
    uint64_t added = 0;
    uint64_t removed = 0;
    uint64_t changed = 0;
    for (uint32_t i = 0; i < daemon->config.authority_count; i++) {
        keys += reload->changes[i].keys_after;
        added += reload->changes[i].added;
        removed += reload->changes[i].removed;
        changed += reload->changes[i].changed;
    }
    hf_log_begin(&line, HF_LOG_NOTICE, HF_LOG_SLOT_UNLIMITED, "reloaded", NULL);
    hf_log_number(&line, "keys", keys);
    hf_log_number(&line, "added", added);
    hf_log_number(&line, "removed", removed);
    hf_log_number(&line, "changed", changed);
    hf_log_end(&line);
}

static void commit(struct hf_daemon *daemon, struct hf_daemon_reload *reload)
{
    if (!hf_audit_reopen())
        hf_log_message(HF_LOG_WARNING, "audit_failed",
                       "%s: cannot be opened again: the open file stays in use",
                       daemon->config.audit_file);
    for (uint32_t i = 0; i < daemon->wanted.authority_count; i++) {
        struct audit audit = {daemon->wanted.authorities[i].name, reload->who, 0};
        hf_authority_each(daemon->shared.authorities[i], audit_key, &audit);
        hf_authority_commit(daemon->shared.authorities[i]);
    }
    hf_sessions_commit(&daemon->shared.sessions);
    hf_checkpoint_secrets(daemon->checkpoint, &daemon->shared.sessions.secrets);
    hf_maf_commit(daemon->shared.maf);
    daemon->config = daemon->wanted;
    hf_job_cache((uint32_t)daemon->config.chain_cache_max);
    hf_daemon_serve(&daemon->config, daemon->shared.authorities, false);
    hf_log_tune(daemon->config.log_level, (uint32_t)daemon->config.log_rate,
                daemon->config.log_identities);
    for (uint32_t i = 0; i < daemon->shard_count; i++)
        (void)hf_shard_update(daemon->shards[i], &daemon->config); /* false: it has ended anyway */
    for (uint32_t i = 0; i < daemon->config.authority_count; i++) {
        for (uint32_t s = 0; s < daemon->shard_count; s++) {
            (void)hf_shard_end_keys(daemon->shards[s], reload->changes[i].ended,
                                    reload->changes[i].ended_count);
            (void)hf_shard_end_keys(daemon->shards[s], reload->entities[i].ended,
                                    reload->entities[i].ended_count);
        }
    }
}

static bool try_reload(struct hf_daemon *daemon, struct hf_daemon_reload *reload)
{
    if (daemon->state != HF_DAEMON_SERVING) {
        snprintf(reload->error, sizeof(reload->error), "the daemon is starting or stopping");
        return false;
    }
    bool is_good = hf_options_parse(&daemon->wanted, reload->error, daemon->argc, daemon->argv) &&
                   hf_daemon_config_fixed(reload->error, &daemon->config, &daemon->wanted) &&
                   prepare_keys(daemon, reload);
    if (is_good)
        commit(daemon, reload);
    hf_sessions_abandon(&daemon->shared.sessions);
    hf_maf_abandon(daemon->shared.maf);
    for (uint32_t i = 0; i < daemon->started.authority_count; i++) {
        hf_authority_abandon(daemon->shared.authorities[i]);
        free(reload->changes[i].ended);
        free(reload->entities[i].ended);
        reload->changes[i].ended = reload->entities[i].ended = NULL;
    }
    return is_good;
}

bool hf_daemon_reload(struct hf_daemon *daemon, struct hf_daemon_reload *reload)
{
    memset(reload->changes, 0, sizeof(reload->changes));
    memset(reload->entities, 0, sizeof(reload->entities));
    reload->error[0] = '\0';
    hf_notify_reloading();
    pthread_mutex_lock(&daemon->reload_lock);
    bool is_good = try_reload(daemon, reload);
    daemon->is_reload_good = is_good;
    if (is_good) {
        daemon->reloads++;
        daemon->reloaded_s = (int64_t)time(NULL);
        log_reloaded(daemon, reload);
        (void)hf_expiry_warn(daemon, 0);
    } else {
        daemon->reloads_failed++;
        hf_log_message(HF_LOG_ERROR, "reload_failed",
                       "%s; configuration and keys stay as they were", reload->error);
    }
    audit_reload(daemon, reload, is_good);
    pthread_mutex_unlock(&daemon->reload_lock);
    hf_notify_send("READY=1");
    return is_good;
}
