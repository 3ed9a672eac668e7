/**
 * failures.c - see failures.h. Repeats are looked for among the newest few only: enough for a
 * device that tries again and again, and of constant cost.
 */
#include "failures.h"

#include <pthread.h>
#include <string.h>
#include <time.h>

#define REPEATS_LOOKED_AT 16

static struct {
    pthread_mutex_t lock;
    uint64_t next; /* free-running */
    struct hf_failure_record records[HF_FAILURES_MAX];
} ring = {.lock = PTHREAD_MUTEX_INITIALIZER};

static bool is_same_peer(const struct hf_address *a, const struct hf_address *b)
{
    return memcmp(a->ip, b->ip, sizeof(a->ip)) == 0 && a->scope == b->scope;
}

static bool is_repeat(const struct hf_failure_record *a, const struct hf_failure_record *b)
{
    return a->failure.status == b->failure.status && a->failure.state == b->failure.state &&
           a->listener_index == b->listener_index && a->is_client == b->is_client &&
           a->is_handshake == b->is_handshake && a->identity_len == b->identity_len &&
           is_same_peer(&a->peer, &b->peer) &&
           memcmp(a->identity, b->identity, a->identity_len) == 0;
}

void hf_failures_add(const struct hf_event *event)
{
    struct hf_failure_record record = {
        .times = 1,
        .listener_index = event->listener_index,
        .is_client = event->is_client,
        .is_handshake = event->kind == HF_EVENT_HANDSHAKE_FAILED,
        .peer = event->path.peer,
        .failure = event->failure,
    };
    if (!record.is_handshake && hf_status_class(event->failure.status) == HF_CLASS_CLOSED)
        return;
    record.first_s = record.last_s = (int64_t)time(NULL);
    if (record.is_handshake) {
        record.identity_len = event->psk_identity_len;
        memcpy(record.identity, event->psk_identity, event->psk_identity_len);
    }
    pthread_mutex_lock(&ring.lock);
    uint64_t looked_at = ring.next < REPEATS_LOOKED_AT ? ring.next : REPEATS_LOOKED_AT;
    struct hf_failure_record *former = NULL;
    for (uint64_t i = 1; i <= looked_at && former == NULL; i++)
        if (is_repeat(&ring.records[(ring.next - i) % HF_FAILURES_MAX], &record))
            former = &ring.records[(ring.next - i) % HF_FAILURES_MAX];
    if (former == NULL) {
        ring.records[ring.next++ % HF_FAILURES_MAX] = record;
    } else {
        former->times++;
        former->last_s = record.last_s;
        former->peer = record.peer;
    }
    pthread_mutex_unlock(&ring.lock);
}

static bool is_match(const struct hf_failure_record *record, const struct hf_failures_query *query)
{
    if (query->address != NULL)
        return is_same_peer(&record->peer, query->address) &&
               (query->address->port == 0 || query->address->port == record->peer.port);
    size_t len = query->identity.len;
    if (len > HF_EVENT_IDENTITY_MAX) /* a longer one is kept as its beginning */
        len = HF_EVENT_IDENTITY_MAX;
    return len == 0 || (record->identity_len == len &&
                        memcmp(record->identity, query->identity.data, len) == 0);
}

size_t hf_failures_find(struct hf_failure_record *out, size_t out_max,
                        const struct hf_failures_query *query)
{
    size_t found = 0;
    pthread_mutex_lock(&ring.lock);
    uint64_t held = ring.next < HF_FAILURES_MAX ? ring.next : HF_FAILURES_MAX;
    for (uint64_t i = 1; i <= held && found < out_max; i++) {
        const struct hf_failure_record *record = &ring.records[(ring.next - i) % HF_FAILURES_MAX];
        if (is_match(record, query))
            out[found++] = *record;
    }
    pthread_mutex_unlock(&ring.lock);
    return found;
}
