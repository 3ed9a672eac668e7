/**
 * shard_log.c - see shard_log.h.
 */
#include "shard_log.h"

static void log_listener(const struct hf_daemon_config *config, struct hf_log_line *line,
                         const struct hf_event *event)
{
    hf_log_text(line, event->is_client ? "dialer" : "listener",
                hf_dialer_config_name(config, event->listener_index, event->is_client));
}

void hf_shard_log_established(const struct hf_daemon_config *config, struct hf_loop *loop,
                              const struct hf_event *event)
{
    struct hf_log_line line;
    struct hf_association_info info;
    hf_log_begin(&line, HF_LOG_INFO, HF_LOG_SLOT_ESTABLISHED, "association_established", NULL);
    if (!line.is_wanted ||
        hf_engine_association_info(&info, hf_loop_engine(loop), event->association) != HF_OK)
        return;
    const char *suite = hf_suite_name(info.suite);
    log_listener(config, &line, event);
    hf_log_address(&line, "peer", &event->path.peer);
    hf_log_address(&line, "local", &event->path.local);
    hf_log_credential(
        &line, "credential",
        (struct hf_bytes){(const uint8_t *)info.credential_id, info.credential_id_len});
    hf_log_text(&line, "entity_kind", hf_entity_kind_name(info.entity_kind));
    if (info.entity_id_len > 0)
        hf_log_identity(&line, "entity",
                        (struct hf_bytes){(const uint8_t *)info.entity_id, info.entity_id_len});
    hf_log_text(&line, "suite", suite == NULL ? "unknown" : suite);
    hf_log_text(&line, "framework", hf_framework_name(info.framework));
    if (info.is_resumed)
        hf_log_text(&line, "resumed", "yes");
    hf_log_end(&line);
}

static void log_failure(struct hf_log_line *line, const struct hf_event *event)
{
    const struct hf_failure *failure = &event->failure;
    hf_log_address(line, "peer", &event->path.peer);
    if (failure->alert != HF_ALERT_NONE)
        hf_log_text(line, "alert", hf_alert_name(failure->alert));
    if (failure->state != NULL)
        hf_log_text(line, "state", failure->state);
    if (failure->event != NULL)
        hf_log_text(line, "input", failure->event);
    if (failure->clause != NULL && failure->clause[0] != '\0')
        hf_log_text(line, "clause", failure->clause);
}

void hf_shard_log_closed(const struct hf_daemon_config *config, const struct hf_event *event)
{
    struct hf_log_line line;
    enum hf_status status = event->failure.status;
    hf_log_begin(&line, HF_LOG_DEBUG, HF_LOG_SLOT_CLOSED + (uint32_t)status, "association_closed",
                 hf_status_reason(status));
    log_listener(config, &line, event);
    log_failure(&line, event);
    hf_log_end(&line);
}

void hf_shard_log_moved(const struct hf_daemon_config *config, const struct hf_event *event)
{
    struct hf_log_line line;
    hf_log_begin(&line, HF_LOG_DEBUG, HF_LOG_SLOT_MOVED, "association_moved", NULL);
    log_listener(config, &line, event);
    hf_log_address(&line, "peer", &event->path.peer);
    hf_log_address(&line, "local", &event->path.local);
    hf_log_end(&line);
}

void hf_shard_log_handshake_failed(const struct hf_daemon_config *config,
                                   const struct hf_event *event)
{
    struct hf_log_line line;
    enum hf_status status = event->failure.status;
    hf_log_begin(&line, HF_LOG_NOTICE, HF_LOG_SLOT_FAILED + (uint32_t)status, "handshake_failed",
                 hf_status_reason(status));
    log_listener(config, &line, event);
    log_failure(&line, event);
    if (event->psk_identity_len > 0)
        hf_log_identity(&line, "identity",
                        (struct hf_bytes){event->psk_identity, event->psk_identity_len});
    hf_log_end(&line);
}

void hf_shard_log_flood(struct hf_loop *loop, const struct hf_loop_flood *flood, void *arg)
{
    struct hf_log_line line;
    (void)loop;
    (void)arg;
    hf_log_begin(&line, flood->is_over ? HF_LOG_NOTICE : HF_LOG_WARNING, HF_LOG_SLOT_FLOOD,
                 flood->is_over ? "flood_over" : "flood_begun", NULL);
    hf_log_address(&line, "address", &flood->address);
    if (flood->is_over) {
        hf_log_number(&line, "dropped", flood->held_back);
        hf_log_number(&line, "ms", flood->duration_us / 1000);
    } else {
        hf_log_number(&line, "unprotected_per_second", flood->offered_per_second);
        hf_log_text(&line, "dropped_by", flood->is_refused ? "us" : "kernel");
    }
    hf_log_end(&line);
}
