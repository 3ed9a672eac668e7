/**
 * exposition_maf.c - names, units and help texts, in one place.
 */
#include "exposition_maf.h"

#include <inttypes.h>
#include <stdlib.h>

#define SECOND_US 1e6

static void head(FILE *out, const char *name, const char *type, const char *help)
{
    fprintf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

/* A number of each MAF. */
struct row {
    const char *name, *type, *help;
    uint64_t (*value)(const struct hf_key_maf_counters *counters);
};

#define ROW_VALUE(function, expression)                                                            \
    static uint64_t function(const struct hf_key_maf_counters *counters)                           \
    {                                                                                              \
        return expression;                                                                         \
    }

ROW_VALUE(asked_of, counters->asked)
ROW_VALUE(coalesced_of, counters->coalesced)
ROW_VALUE(hits_of, counters->hits)
ROW_VALUE(refusal_hits_of, counters->refusal_hits)
ROW_VALUE(up_of, counters->health.is_circuit_open ? 0 : 1)
ROW_VALUE(address_of, counters->health.address_index)
ROW_VALUE(connections_of, counters->health.connections)
ROW_VALUE(under_way_of, counters->health.under_way)
ROW_VALUE(waiting_of, counters->health.waiting)
ROW_VALUE(connects_of, counters->health.connects)
ROW_VALUE(requests_of, counters->health.requests)
ROW_VALUE(retries_of, counters->health.retries)
ROW_VALUE(opens_of, counters->health.circuit_opens)

static const struct row rows[] = {
    {"handfast_maf_questions_total", "counter", "Handshakes that asked for a key of this MAF.",
     asked_of},
    {"handfast_maf_coalesced_total", "counter",
     "Of these, joined a lookup that was already under way.", coalesced_of},
    {"handfast_maf_cache_hits_total", "counter", "Of these, answered by a key that was kept.",
     hits_of},
    {"handfast_maf_refusal_hits_total", "counter",
     "Of these, answered by a refusal that was remembered.", refusal_hits_of},
    {"handfast_maf_up", "gauge", "0: the circuit is open, lookups fail at once.", up_of},
    {"handfast_maf_address", "gauge", "Which of the MAF's addresses was connected to last.",
     address_of},
    {"handfast_maf_connections", "gauge", "Connections to it, open or opening.", connections_of},
    {"handfast_maf_lookups_sent", "gauge", "Lookups whose answer is awaited.", under_way_of},
    {"handfast_maf_lookups_waiting", "gauge", "Lookups that wait for a connection.", waiting_of},
    {"handfast_maf_connects_total", "counter", "Connections made.", connects_of},
    {"handfast_maf_requests_total", "counter", "Retrievals sent.", requests_of},
    {"handfast_maf_retries_total", "counter", "Of these, sent again after a connection broke.",
     retries_of},
    {"handfast_maf_circuit_opens_total", "counter", "Times it was given up for a while.", opens_of},
};

static void write_rows(FILE *out, const struct hf_maf_counters *counters)
{
    for (size_t r = 0; r < sizeof(rows) / sizeof(rows[0]); r++) {
        head(out, rows[r].name, rows[r].type, rows[r].help);
        for (uint32_t i = 0; i < counters->maf_count; i++)
            fprintf(out, "%s{maf=\"%s\"} %" PRIu64 "\n", rows[r].name, counters->mafs[i].fqdn,
                    rows[r].value(&counters->mafs[i].counters));
    }
}

static void write_outcomes(FILE *out, const struct hf_maf_counters *counters)
{
    head(out, "handfast_maf_lookups_total", "counter", "Lookups ended.");
    for (uint32_t i = 0; i < counters->maf_count; i++)
        for (int o = 0; o < HF_MAF_OUTCOME_COUNT; o++)
            fprintf(out, "handfast_maf_lookups_total{maf=\"%s\",outcome=\"%s\"} %" PRIu64 "\n",
                    counters->mafs[i].fqdn, hf_maf_outcome_label((enum hf_maf_outcome)o),
                    counters->mafs[i].counters.outcomes[o]);
    head(out, "handfast_maf_connection_failures_total", "counter", "Connections that failed.");
    for (uint32_t i = 0; i < counters->maf_count; i++) {
        const struct hf_maf_health *health = &counters->mafs[i].counters.health;
        const char *format =
            "handfast_maf_connection_failures_total{maf=\"%s\",cause=\"%s\"} %" PRIu64 "\n";
        fprintf(out, format, counters->mafs[i].fqdn, "connect", health->connect_failures);
        fprintf(out, format, counters->mafs[i].fqdn, "authentication",
                health->authentication_failures);
        fprintf(out, format, counters->mafs[i].fqdn, "broken", health->broken);
        fprintf(out, format, counters->mafs[i].fqdn, "timeout", health->timeouts);
    }
}

static void write_latencies(FILE *out, const struct hf_maf_counters *counters)
{
    const char *name = "handfast_maf_lookup_seconds";
    head(out, name, "histogram", "From the question to the MAF's answer or its failure.");
    for (uint32_t i = 0; i < counters->maf_count; i++) {
        const struct hf_key_maf_counters *maf = &counters->mafs[i].counters;
        const char *fqdn = counters->mafs[i].fqdn;
        uint64_t sum = 0;
        for (size_t b = 0; b < HF_KEY_BUCKETS; b++) {
            uint64_t bound_us = hf_key_service_bucket_us(b);
            sum += maf->latencies[b];
            if (bound_us == UINT64_MAX)
                fprintf(out, "%s_bucket{maf=\"%s\",le=\"+Inf\"} %" PRIu64 "\n", name, fqdn, sum);
            else
                fprintf(out, "%s_bucket{maf=\"%s\",le=\"%g\"} %" PRIu64 "\n", name, fqdn,
                        (double)bound_us / SECOND_US, sum);
        }
        fprintf(out, "%s_sum{maf=\"%s\"} %.6f\n%s_count{maf=\"%s\"} %" PRIu64 "\n", name, fqdn,
                (double)maf->latency_us / SECOND_US, name, fqdn, sum);
    }
}

static void write_service(FILE *out, const struct hf_maf_counters *counters)
{
    const struct hf_key_service_counters *service = &counters->service;
    head(out, "handfast_maf_replies_total", "counter",
         "Answers to handshakes, by what became of their lookup.");
    for (int o = 0; o < HF_MAF_OUTCOME_COUNT; o++)
        fprintf(out, "handfast_maf_replies_total{outcome=\"%s\"} %" PRIu64 "\n",
                hf_maf_outcome_label((enum hf_maf_outcome)o), service->replies[o]);
    head(out, "handfast_maf_cancelled_total", "counter", "Handshakes that ended while parked.");
    fprintf(out, "handfast_maf_cancelled_total %" PRIu64 "\n", service->cancelled);
    head(out, "handfast_maf_overflows_total", "counter", "Questions over the limit of parked.");
    fprintf(out, "handfast_maf_overflows_total %" PRIu64 "\n", service->full + counters->overflows);
    head(out, "handfast_maf_revoked_total", "counter", "Identities revoked.");
    fprintf(out, "handfast_maf_revoked_total %" PRIu64 "\n", service->revoked);
    head(out, "handfast_maf_parked", "gauge", "Handshakes that wait for a MAF.");
    fprintf(out, "handfast_maf_parked %u\n", service->parked);
    head(out, "handfast_maf_keys", "gauge", "Keys of MAFs that are kept.");
    fprintf(out, "handfast_maf_keys %u\n", service->keys);
    head(out, "handfast_maf_refusals", "gauge", "Refusals that are remembered.");
    fprintf(out, "handfast_maf_refusals %u\n", service->refusals);
}

void hf_exposition_maf(FILE *out, struct hf_maf *maf)
{
    struct hf_maf_counters *counters = maf == NULL ? NULL : calloc(1, sizeof(*counters));
    if (counters == NULL)
        return;
    hf_maf_counters_get(counters, maf);
    write_rows(out, counters);
    write_outcomes(out, counters);
    write_latencies(out, counters);
    write_service(out, counters);
    free(counters);
}
