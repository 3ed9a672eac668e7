/**
 * exposition.c - the names, units and help texts of all metrics, in one place.
 */
#include "exposition.h"

#include "audit.h"
#include "exposition_dialer.h"
#include "exposition_maf.h"
#include "exposition_takeover.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifdef HF_WITH_JEMALLOC
#include <jemalloc/jemalloc.h>
#endif

struct snapshot {
    struct hf_counters engine;
    struct hf_loop_counters io;
};

/* All shards at about the same moment. */
struct scrape {
    FILE *out;
    const struct hf_daemon *daemon;
    uint32_t shard_count;
    struct snapshot *snapshots;
};

struct metric {
    const char *name;
    const char *labels; /* without braces; "" if none */
    const char *help;   /* NULL: same name as the row before */
    size_t offset;      /* of a uint64_t in struct snapshot */
};

#define ENGINE(field) (offsetof(struct snapshot, engine) + offsetof(struct hf_counters, field))
#define IO(field) (offsetof(struct snapshot, io) + offsetof(struct hf_loop_counters, field))

static const struct metric counters[] = {
    {"handfast_cookies_sent_total", "", "HelloVerifyRequests sent.", ENGINE(cookies_sent)},
    {"handfast_cookies_waived_total", "", "DTLS handshakes begun without a cookie.",
     ENGINE(cookies_waived)},
    {"handfast_retransmissions_total", "", "DTLS flights sent again.", ENGINE(retransmissions)},
    {"handfast_final_flights_again_total", "",
     "Repeated client Finished answered from the cold record.", ENGINE(final_flights_again)},
    {"handfast_resumptions_total", "", "Handshakes that resumed a session.", ENGINE(resumed)},
    {"handfast_restarts_total", "", "Associations replaced by a rebooted client.",
     ENGINE(restarts)},
    {"handfast_connection_id_handshakes_total", "", "Handshakes that agreed on connection IDs.",
     ENGINE(cids)},
    {"handfast_address_checks_total", "", "New addresses checked (RFC 9853).",
     ENGINE(paths_checked)},
    {"handfast_address_changes_total", "outcome=\"moved\"", "What came of peers' new addresses.",
     ENGINE(paths_moved)},
    {"handfast_address_changes_total", "outcome=\"kept\"", NULL, ENGINE(paths_kept)},
    {"handfast_address_changes_total", "outcome=\"unanswered\"", NULL, ENGINE(paths_failed)},
    {"handfast_address_changes_total", "outcome=\"refused\"", NULL, ENGINE(paths_refused)},
    {"handfast_address_displaced_total", "", "Addresses where another association was found.",
     ENGINE(paths_displaced)},
    {"handfast_datagrams_withheld_total", "", "Datagrams beyond what an unchecked address is sent.",
     ENGINE(datagrams_withheld)},
    {"handfast_records_total", "direction=\"in\"", "Protected records.", ENGINE(records_in)},
    {"handfast_records_total", "direction=\"out\"", NULL, ENGINE(records_out)},
    {"handfast_data_bytes_total", "direction=\"in\"", "Application bytes.", ENGINE(data_in_len)},
    {"handfast_data_bytes_total", "direction=\"out\"", NULL, ENGINE(data_out_len)},
    {"handfast_datagrams_total", "direction=\"in\"", "UDP datagrams.", IO(datagrams_in)},
    {"handfast_datagrams_total", "direction=\"out\"", NULL, IO(datagrams_out)},
    {"handfast_key_requests_total", "", "Questions to the key source.", ENGINE(requests)},
    {"handfast_key_answers_total", "outcome=\"taken\"", "Answers of the key source.",
     ENGINE(answers)},
    {"handfast_key_answers_total", "outcome=\"stale\"", NULL, ENGINE(answers_stale)},
    {"handfast_crypto_jobs_total", "", "Crypto jobs of handshakes with certificates.",
     ENGINE(jobs)},
    {"handfast_io_turns_total", "", "Turns of the loops.", IO(turns)},
    {"handfast_io_datagrams_dropped_total", "cause=\"truncated\"",
     "Datagrams lost outside the engine.", IO(datagrams_truncated)},
    {"handfast_io_datagrams_dropped_total", "cause=\"unsendable\"", NULL, IO(datagrams_unsendable)},
    {"handfast_io_datagrams_dropped_total", "cause=\"receive_queue\"", NULL,
     IO(receive_queue_drops)},
    {"handfast_io_datagrams_dropped_total", "cause=\"flood\"", NULL, IO(flood_drops)},
    {"handfast_io_floods_total", "", "Times a DTLS socket's queue filled with what anybody sends.",
     IO(floods)},
    {"handfast_io_datagrams_strayed_total", "outcome=\"handed_over\"",
     "Datagrams that came to another shard than their connection ID names.", IO(strays_out)},
    {"handfast_io_datagrams_strayed_total", "outcome=\"dropped\"", NULL, IO(strays_dropped)},
    {"handfast_io_batch_lingers_total", "", "Turns put off for fuller batches of crypto jobs.",
     IO(batch_lingers)},
    {"handfast_io_receive_rearms_total", "", "Multishot receives armed again.", IO(receive_rearms)},
    {"handfast_io_receive_buffers_empty_total", "", "Times all receive buffers were in use.",
     IO(receive_buffers_empty)},
    {"handfast_io_completions_overflowed_total", "", "Completion queue overflows.",
     IO(completions_overflowed)},
    {"handfast_connections_accepted_total", "", "TCP connections accepted.", IO(accepts)},
    {"handfast_connection_errors_total", "cause=\"accept\"", "TCP connections not served.",
     IO(accept_errors)},
    {"handfast_connection_errors_total", "cause=\"full\"", NULL, IO(connections_full)},
    {"handfast_connection_errors_total", "cause=\"refused\"", NULL, IO(connections_refused)},
    {"handfast_proxy_headers_total", "", "Peers named by trusted balancers.", IO(proxy_headers)},
    {"handfast_upstream_datagrams_total", "direction=\"in\"", "Datagrams from and to upstreams.",
     IO(upstream_datagrams_in)},
    {"handfast_upstream_datagrams_total", "direction=\"out\"", NULL, IO(upstream_datagrams_out)},
    {"handfast_upstream_bytes_total", "direction=\"in\"",
     "Application bytes from and to upstreams.", IO(upstream_in_len)},
    {"handfast_upstream_bytes_total", "direction=\"out\"", NULL, IO(upstream_out_len)},
    {"handfast_upstream_drops_total", "cause=\"unsendable\"", "Datagrams not forwarded.",
     IO(upstream_drops_unsendable)},
    {"handfast_upstream_drops_total", "cause=\"stranger\"", NULL, IO(upstream_drops_stranger)},
    {"handfast_upstream_drops_total", "cause=\"stale\"", NULL, IO(upstream_drops_stale)},
    {"handfast_upstream_drops_total", "cause=\"too_long\"", NULL, IO(upstream_drops_too_long)},
    {"handfast_upstream_drops_total", "cause=\"full\"", NULL, IO(upstream_drops_full)},
    {"handfast_upstream_connects_total", "", "Connections to upstreams made.",
     IO(upstream_connects)},
    {"handfast_upstream_kept_total", "",
     "Ends and refusals of upstreams that an association outlived.", IO(upstream_kept)},
    {"handfast_upstream_retries_total", "",
     "Connections to upstreams tried again, for what a device had said.", IO(upstream_retries)},
    {"handfast_upstream_errors_total", "cause=\"refused\"",
     "Connections to upstreams that failed: their associations were closed.",
     IO(upstream_refusals)},
    {"handfast_upstream_errors_total", "cause=\"timeout\"", NULL, IO(upstream_timeouts)},
    {"handfast_upstream_errors_total", "cause=\"reset\"", NULL, IO(upstream_resets)},
    {"handfast_entrance_connections_total", "", "Plaintext connections that came to dialers.",
     IO(entrance_connections)},
    {"handfast_entrance_datagrams_total", "direction=\"in\"",
     "Plaintext datagrams that came to dialers, and went back.", IO(entrance_datagrams_in)},
    {"handfast_entrance_datagrams_total", "direction=\"out\"", NULL, IO(entrance_datagrams_out)},
    {"handfast_entrance_drops_total", "", "Plaintext datagrams of dialers not delivered.",
     IO(entrance_drops)},
};

static const struct metric gauges[] = {
    {"handfast_connections", "", "TCP connections open.", IO(connections)},
    {"handfast_io_floods", "", "DTLS sockets where datagrams are dropped by lot.", IO(floods_now)},
    {"handfast_connections_paused", "", "TCP connections not read from: their peer does not read.",
     IO(connections_paused)},
    {"handfast_upstream_connections", "", "Connections to upstreams open or being opened.",
     IO(upstream_connections)},
    {"handfast_send_queue_bytes", "", "Bytes queued on TCP connections.", IO(send_queue_len)},
};

static uint64_t value_at(const struct snapshot *snapshot, size_t offset)
{
    uint64_t value = 0;
    memcpy(&value, (const char *)snapshot + offset, sizeof(value));
    return value;
}

static uint64_t sum_at(const struct scrape *scrape, size_t offset)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < scrape->shard_count; i++)
        sum += value_at(&scrape->snapshots[i], offset);
    return sum;
}

static void head(FILE *out, const char *name, const char *type, const char *help)
{
    fprintf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void write_counters(const struct scrape *scrape)
{
    for (size_t i = 0; i < sizeof(counters) / sizeof(counters[0]); i++) {
        const struct metric *metric = &counters[i];
        if (metric->help != NULL)
            head(scrape->out, metric->name, "counter", metric->help);
        bool has_labels = metric->labels[0] != '\0';
        fprintf(scrape->out, "%s%s%s%s %" PRIu64 "\n", metric->name, has_labels ? "{" : "",
                metric->labels, has_labels ? "}" : "", sum_at(scrape, metric->offset));
    }
}

/* What can be the end of a handshake or of an association, but not a caller's mistake. */
static bool is_outcome(enum hf_status status)
{
    enum hf_status_class class = hf_status_class(status);
    return class != HF_CLASS_NONE && class != HF_CLASS_USAGE;
}

static uint64_t sum_handshakes(const struct hf_daemon *daemon, uint32_t listener,
                               bool is_certificate, enum hf_status status)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < daemon->shard_count; i++)
        sum += hf_shard_handshakes(daemon->shards[i], listener, is_certificate, status);
    return sum;
}

/* Every outcome a listener can have, from the start: a rate needs its zero. */
static void write_handshakes_of(const struct scrape *scrape, uint32_t index, bool is_certificate)
{
    const struct hf_daemon_config *config = &scrape->daemon->started;
    const struct hf_daemon_listener *listener = &config->details[index];
    for (int s = 0; s < HF_STATUS_COUNT; s++) {
        enum hf_status status = (enum hf_status)s;
        uint64_t sum = sum_handshakes(scrape->daemon, index, is_certificate, status);
        if (status != HF_OK && sum == 0 && !is_outcome(status))
            continue;
        fprintf(scrape->out,
                "handfast_handshakes_total{listener=\"%s\",authority=\"%s\",framework=\"%s\","
                "outcome=\"%s\",reason=\"%s\"} %" PRIu64 "\n",
                listener->name, config->authorities[listener->authority_index].name,
                hf_framework_name(is_certificate ? HF_FRAMEWORK_CERTIFICATE
                                                 : HF_FRAMEWORK_PROVISIONED_SYMMETRIC_KEY),
                status == HF_OK ? "ok" : "failed", hf_status_reason(status), sum);
    }
}

static bool has_certificates(const struct hf_listener *listener)
{
    for (uint32_t i = 0; i < listener->authority_count; i++)
        if (listener->authorities[i].trust != NULL)
            return true;
    return false;
}

static void write_handshakes(const struct scrape *scrape)
{
    const struct hf_daemon_config *config = &scrape->daemon->started;
    head(scrape->out, "handfast_handshakes_total", "counter", "Handshakes ended.");
    for (uint32_t i = 0; i < config->socket_count; i++) {
        write_handshakes_of(scrape, i, false);
        if (has_certificates(&config->listeners[i]))
            write_handshakes_of(scrape, i, true);
    }
}

static void write_outcomes(const struct scrape *scrape)
{
    FILE *out = scrape->out;
    write_handshakes(scrape);
    head(out, "handfast_association_ends_total", "counter", "Established associations ended.");
    for (int status = 0; status < HF_STATUS_COUNT; status++) {
        uint64_t sum = sum_at(scrape, ENGINE(closes) + (size_t)status * sizeof(uint64_t));
        if (is_outcome((enum hf_status)status) || sum > 0)
            fprintf(out, "handfast_association_ends_total{reason=\"%s\"} %" PRIu64 "\n",
                    hf_status_reason((enum hf_status)status), sum);
    }
    head(out, "handfast_drops_total", "counter", "Input discarded without an answer.");
    for (int drop = 0; drop < HF_DROP_COUNT; drop++)
        fprintf(out, "handfast_drops_total{cause=\"%s\"} %" PRIu64 "\n",
                hf_drop_label((enum hf_drop)drop),
                sum_at(scrape, ENGINE(drops) + (size_t)drop * sizeof(uint64_t)));
}

static void write_gauge(const struct scrape *scrape, const char *name, const char *help,
                        uint64_t (*value)(const struct snapshot *))
{
    head(scrape->out, name, "gauge", help);
    for (uint32_t i = 0; i < scrape->shard_count; i++)
        fprintf(scrape->out, "%s{shard=\"%u\"} %" PRIu64 "\n", name, i,
                value(&scrape->snapshots[i]));
}

static uint64_t associations_of(const struct snapshot *snapshot)
{
    return snapshot->engine.associations;
}

static uint64_t handshakes_open_of(const struct snapshot *snapshot)
{
    return snapshot->engine.handshakes_open;
}

static uint64_t parked_of(const struct snapshot *snapshot)
{
    return snapshot->engine.parked;
}

static uint64_t events_pending_of(const struct snapshot *snapshot)
{
    return snapshot->engine.events_pending;
}

static uint64_t stream_buffers_of(const struct snapshot *snapshot)
{
    return snapshot->engine.stream_buffers;
}

static uint64_t proofs_open_of(const struct snapshot *snapshot)
{
    return snapshot->engine.proofs_open;
}

static void write_gauges(const struct scrape *scrape)
{
    write_gauge(scrape, "handfast_certificate_handshakes_open",
                "Half-open handshakes with certificates.", proofs_open_of);
    write_gauge(scrape, "handfast_associations", "Established associations.", associations_of);
    write_gauge(scrape, "handfast_handshakes_open", "Half-open handshakes.", handshakes_open_of);
    write_gauge(scrape, "handfast_handshakes_parked", "Handshakes that wait for a key source.",
                parked_of);
    write_gauge(scrape, "handfast_events_pending", "Events not yet taken from the engine.",
                events_pending_of);
    write_gauge(scrape, "handfast_stream_buffers", "TLS records being received.",
                stream_buffers_of);
    for (size_t i = 0; i < sizeof(gauges) / sizeof(gauges[0]); i++) {
        head(scrape->out, gauges[i].name, "gauge", gauges[i].help);
        for (uint32_t shard = 0; shard < scrape->shard_count; shard++)
            fprintf(scrape->out, "%s{shard=\"%u\"} %" PRIu64 "\n", gauges[i].name, shard,
                    value_at(&scrape->snapshots[shard], gauges[i].offset));
    }
}

static uint64_t resident_bytes(void)
{
    unsigned long long size = 0;
    unsigned long long resident = 0;
    FILE *statm = fopen("/proc/self/statm", "re");
    if (statm == NULL)
        return 0;
    if (fscanf(statm, "%llu %llu", &size, &resident) != 2)
        resident = 0;
    fclose(statm);
    return resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

static void write_memory(const struct scrape *scrape)
{
    FILE *out = scrape->out;
    head(out, "handfast_memory_bytes", "gauge",
         "Memory set aside: engine and io are mapped at start and touched as they are used.");
    fprintf(out, "handfast_memory_bytes{part=\"engine\"} %" PRIu64 "\n",
            sum_at(scrape, ENGINE(memory_len)));
    fprintf(out, "handfast_memory_bytes{part=\"io\"} %" PRIu64 "\n",
            sum_at(scrape, IO(memory_len)));
#ifdef HF_WITH_JEMALLOC
    uint64_t epoch = 1;
    size_t allocated = 0;
    size_t len = sizeof(allocated);
    (void)mallctl("epoch", NULL, NULL, &epoch, sizeof(epoch));
    if (mallctl("stats.allocated", &allocated, &len, NULL, 0) == 0)
        fprintf(out, "handfast_memory_bytes{part=\"heap\"} %zu\n", allocated);
#endif
    head(out, "handfast_resident_memory_bytes", "gauge", "Resident memory of the process.");
    fprintf(out, "handfast_resident_memory_bytes %" PRIu64 "\n", resident_bytes());
}

/* Only what there is: a listener without certificates has no date. */
static void write_expiry_of(FILE *out, const char *authority, const char *what, int64_t at_s)
{
    if (at_s != 0)
        fprintf(out,
                "handfast_credential_expiry_time_seconds{authority=\"%s\",what=\"%s\"} %" PRId64
                "\n",
                authority, what, at_s);
}

static void write_expiry(FILE *out, const struct hf_daemon *daemon)
{
    head(out, "handfast_credential_expiry_time_seconds", "gauge",
         "When our certificate, a client-ca or a CRL expires first (Unix time).");
    for (uint32_t i = 0; i < daemon->started.authority_count; i++) {
        struct hf_credentials_expiry expiry;
        const char *name = daemon->started.authorities[i].name;
        hf_authority_expiry(&expiry, daemon->shared.authorities[i]);
        write_expiry_of(out, name, "certificate", expiry.certificate_s);
        write_expiry_of(out, name, "client-ca", expiry.client_ca_s);
        write_expiry_of(out, name, "crl", expiry.crl_s);
    }
}

static void write_keys(FILE *out, const struct hf_daemon *daemon)
{
    struct hf_authority_counters keys[HF_AUTHORITIES_MAX];
    const struct hf_daemon_config *config = &daemon->started;
    for (uint32_t i = 0; i < config->authority_count; i++)
        hf_authority_counters_get(&keys[i], daemon->shared.authorities[i]);
    head(out, "handfast_keys", "gauge", "Keys in use.");
    for (uint32_t i = 0; i < config->authority_count; i++)
        fprintf(out, "handfast_keys{authority=\"%s\"} %" PRIu64 "\n", config->authorities[i].name,
                keys[i].keys);
    head(out, "handfast_entity_map_credentials", "gauge", "Credentials in the entity map.");
    for (uint32_t i = 0; i < config->authority_count; i++)
        fprintf(out, "handfast_entity_map_credentials{authority=\"%s\"} %" PRIu64 "\n",
                config->authorities[i].name, keys[i].entities);
    head(out, "handfast_key_reloads_total", "counter", "Times the keys were read again.");
    for (uint32_t i = 0; i < config->authority_count; i++)
        fprintf(out,
                "handfast_key_reloads_total{authority=\"%s\",outcome=\"ok\"} %" PRIu64 "\n"
                "handfast_key_reloads_total{authority=\"%s\",outcome=\"failed\"} %" PRIu64 "\n",
                config->authorities[i].name, keys[i].reloads, config->authorities[i].name,
                keys[i].reloads_failed);
}

struct store_metric {
    const char *name;
    const char *type;
    const char *labels; /* behind the authority's */
    const char *help;   /* NULL: same name as the row before */
    size_t offset;
};

#define STORE(field) offsetof(struct hf_authority_counters, field)

static const struct store_metric store_metrics[] = {
    {"handfast_key_store_answers_total", "counter", ",outcome=\"found\"", "Answers of a key store.",
     STORE(found)},
    {"handfast_key_store_answers_total", "counter", ",outcome=\"refused\"", NULL, STORE(refused)},
    {"handfast_key_store_answers_total", "counter", ",outcome=\"unavailable\"", NULL,
     STORE(unavailable)},
    {"handfast_key_store_damaged_total", "counter", "",
     "Of the unavailable: what was read is not as it was written.", STORE(damaged)},
    {"handfast_key_store_deaths_total", "counter", "", "Reading processes that ended early.",
     STORE(deaths)},
    {"handfast_key_store_retired_total", "counter", "",
     "Keys removed or replaced while we ran: their associations were ended.", STORE(retired)},
};

/* Only for authorities with a store. */
static void write_stores(FILE *out, const struct hf_daemon *daemon)
{
    struct hf_authority_counters keys[HF_AUTHORITIES_MAX];
    const struct hf_daemon_config *config = &daemon->started;
    for (uint32_t i = 0; i < config->authority_count; i++)
        hf_authority_counters_get(&keys[i], daemon->shared.authorities[i]);
    head(out, "handfast_key_store_serving", "gauge", "Whether the key store can be asked now.");
    for (uint32_t i = 0; i < config->authority_count; i++)
        if (keys[i].is_store)
            fprintf(out, "handfast_key_store_serving{authority=\"%s\"} %d\n",
                    config->authorities[i].name, keys[i].is_serving ? 1 : 0);
    for (size_t m = 0; m < sizeof(store_metrics) / sizeof(store_metrics[0]); m++) {
        const struct store_metric *metric = &store_metrics[m];
        if (metric->help != NULL)
            head(out, metric->name, metric->type, metric->help);
        for (uint32_t i = 0; i < config->authority_count; i++) {
            uint64_t value = 0;
            memcpy(&value, (const char *)&keys[i] + metric->offset, sizeof(value));
            if (keys[i].is_store)
                fprintf(out, "%s{authority=\"%s\"%s} %" PRIu64 "\n", metric->name,
                        config->authorities[i].name, metric->labels, value);
        }
    }
}

struct quota_metric {
    const char *name;
    const char *type;
    const char *labels; /* behind the authority's */
    const char *help;   /* NULL: same name as the row before */
    size_t offset;
    bool is_wide; /* 64 bits */
};

#define QUOTA(field) offsetof(struct hf_quota_counters, field)

static const struct quota_metric quota_metrics[] = {
    {"handfast_authority_associations", "gauge", "",
     "Associations of an authority, half-open ones included.", QUOTA(associations), false},
    {"handfast_authority_handshakes_open", "gauge", "", "Half-open handshakes of an authority.",
     QUOTA(handshakes), false},
    {"handfast_authority_refused_total", "counter", ",limit=\"associations\"",
     "Handshakes not begun, because the authority has used up its share.",
     QUOTA(refused_associations), true},
    {"handfast_authority_refused_total", "counter", ",limit=\"handshakes\"", NULL,
     QUOTA(refused_handshakes), true},
    {"handfast_authority_refused_total", "counter", ",limit=\"rate\"", NULL, QUOTA(refused_rate),
     true},
};

static uint64_t sum_quota(const struct scrape *scrape, uint32_t authority,
                          const struct quota_metric *metric)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < scrape->shard_count; i++) {
        const struct hf_quota_counters *used = &scrape->snapshots[i].engine.quotas[authority];
        uint64_t wide = 0;
        uint32_t narrow = 0;
        if (metric->is_wide)
            memcpy(&wide, (const char *)used + metric->offset, sizeof(wide));
        else
            memcpy(&narrow, (const char *)used + metric->offset, sizeof(narrow));
        sum += wide + narrow;
    }
    return sum;
}

static void write_quotas(const struct scrape *scrape)
{
    const struct hf_daemon_config *config = &scrape->daemon->started;
    for (size_t m = 0; m < sizeof(quota_metrics) / sizeof(quota_metrics[0]); m++) {
        const struct quota_metric *metric = &quota_metrics[m];
        if (metric->help != NULL)
            head(scrape->out, metric->name, metric->type, metric->help);
        for (uint32_t i = 0; i < config->authority_count; i++)
            fprintf(scrape->out, "%s{authority=\"%s\"%s} %" PRIu64 "\n", metric->name,
                    config->authorities[i].name, metric->labels, sum_quota(scrape, i, metric));
    }
}

static void write_reloads(FILE *out, const struct hf_daemon *daemon)
{
    uint64_t reloads = daemon->reloads;
    uint64_t failed = daemon->reloads_failed;
    head(out, "handfast_reloads_total", "counter", "Reloads of configuration and keys.");
    fprintf(out, "handfast_reloads_total{outcome=\"ok\"} %" PRIu64 "\n", reloads);
    fprintf(out, "handfast_reloads_total{outcome=\"failed\"} %" PRIu64 "\n", failed);
    head(out, "handfast_reload_successful", "gauge", "Whether the last reload was taken.");
    fprintf(out, "handfast_reload_successful %d\n", daemon->is_reload_good ? 1 : 0);
    head(out, "handfast_reload_time_seconds", "gauge",
         "When the configuration in force was read, Unix time.");
    fprintf(out, "handfast_reload_time_seconds %" PRId64 "\n", (int64_t)daemon->reloaded_s);
}

static void write_process(FILE *out, const struct hf_daemon *daemon)
{
    struct hf_log_counters log;
    hf_log_counters_get(&log);
    head(out, "handfast_log_lines_suppressed_total", "counter",
         "Log lines left out: over the limit of their reason, or not taken by stderr.");
    fprintf(out, "handfast_log_lines_suppressed_total{cause=\"rate\"} %" PRIu64 "\n",
            log.suppressed);
    fprintf(out, "handfast_log_lines_suppressed_total{cause=\"blocked\"} %" PRIu64 "\n",
            log.dropped);
    head(out, "handfast_audit_errors_total", "counter", "Audit lines that could not be written.");
    fprintf(out, "handfast_audit_errors_total %" PRIu64 "\n", hf_audit_errors());
    head(out, "handfast_shards", "gauge", "Threads that serve.");
    fprintf(out, "handfast_shards %u\n", daemon->shard_count);
    head(out, "handfast_start_time_seconds", "gauge", "When the process started, Unix time.");
    fprintf(out, "handfast_start_time_seconds %" PRId64 "\n", daemon->start_s);
    head(out, "handfast_build_info", "gauge", "Always 1; the version is a label.");
    fprintf(out, "handfast_build_info{version=\"%s\"} 1\n", hf_version());
}

bool hf_exposition_write(FILE *out, const struct hf_daemon *daemon)
{
    struct scrape scrape = {.out = out, .daemon = daemon, .shard_count = daemon->shard_count};
    scrape.snapshots = calloc(daemon->shard_count, sizeof(*scrape.snapshots));
    if (scrape.snapshots == NULL)
        return false;
    for (uint32_t i = 0; i < daemon->shard_count; i++) {
        struct hf_loop *loop = hf_shard_loop(daemon->shards[i]);
        hf_loop_counters_get(&scrape.snapshots[i].io, loop);
        hf_loop_engine_counters_get(&scrape.snapshots[i].engine, loop);
    }
    write_outcomes(&scrape);
    write_counters(&scrape);
    write_gauges(&scrape);
    write_quotas(&scrape);
    write_memory(&scrape);
    hf_exposition_jobs(out, daemon);
    write_expiry(out, daemon);
    write_keys(out, daemon);
    write_stores(out, daemon);
    write_reloads(out, daemon);
    hf_exposition_maf(out, daemon->shared.maf);
    hf_exposition_write_dialers(out, daemon);
    hf_exposition_write_takeovers(out, daemon);
    hf_exposition_write_checkpoints(out, daemon);
    write_process(out, daemon);
    free(scrape.snapshots);
    return true;
}
