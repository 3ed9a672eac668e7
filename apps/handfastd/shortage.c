/**
 * shortage.c - see shortage.h.
 */
#include "shortage.h"

#include "clock.h"
#include "log.h"

#define QUIET_US (UINT64_C(60) * 1000000)

static const struct {
    const char *name;
    const char *remedy;
} kinds[] = {
    [HF_SHORTAGE_CONNECTIONS] = {"connections", "raise associations-max, or LimitNOFILE= "
                                                "(ulimit -n) if that is lower: TLS connections "
                                                "are closed at once"},
    [HF_SHORTAGE_DESCRIPTORS] = {"descriptors", "raise LimitNOFILE= (ulimit -n): TLS connections "
                                                "wait to be accepted"},
    [HF_SHORTAGE_HANDSHAKES] = {"handshakes-max", "raise it, or find out who begins handshakes "
                                                  "and does not end them"},
    [HF_SHORTAGE_ASSOCIATIONS] = {"associations-max", "raise it, or have the silent ended: "
                                                      "idle-timeout, evict-idle"},
};

static void tell(struct hf_shortage *shortage, enum hf_shortage_kind kind, uint64_t turned_away,
                 uint32_t shard_index)
{
    struct hf_log_line line;
    uint64_t now_us = hf_clock_us();
    bool is_told = shortage->told_us[kind] != 0;
    if (turned_away == shortage->told[kind] ||
        (is_told && now_us - shortage->told_us[kind] < QUIET_US))
        return;
    hf_log_begin(&line, HF_LOG_WARNING, HF_LOG_SLOT_UNLIMITED, "limit_reached", NULL);
    hf_log_text(&line, "limit", kinds[kind].name);
    hf_log_number(&line, "shard", shard_index);
    hf_log_number(&line, "turned_away", turned_away - shortage->told[kind]);
    hf_log_text(&line, "message", kinds[kind].remedy);
    hf_log_end(&line);
    shortage->told[kind] = turned_away;
    shortage->told_us[kind] = now_us;
}

void hf_shortage_second(struct hf_shortage *shortage, struct hf_loop *loop, uint32_t shard_index)
{
    struct hf_loop_counters io;
    struct hf_counters engine;
    hf_loop_counters_get(&io, loop);
    hf_engine_counters(&engine, hf_loop_engine(loop));
    tell(shortage, HF_SHORTAGE_CONNECTIONS, io.connections_full, shard_index);
    tell(shortage, HF_SHORTAGE_DESCRIPTORS, io.accept_errors, shard_index);
    tell(shortage, HF_SHORTAGE_HANDSHAKES,
         engine.drops[HF_DROP_HANDSHAKE_LIMIT] + engine.handshakes[HF_E_HANDSHAKE_LIMIT],
         shard_index);
    tell(shortage, HF_SHORTAGE_ASSOCIATIONS,
         engine.drops[HF_DROP_ASSOCIATION_LIMIT] + engine.handshakes[HF_E_ASSOCIATION_LIMIT],
         shard_index);
}
