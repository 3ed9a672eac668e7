/**
 * maf_pool.c - lookups in line, connections that take them, answers that come back in order.
 *
 * Invariant: a lookup is in one place: free, waiting, on one connection, or done. A request that
 * was on a connection that broke is sent once more elsewhere (a retrieval changes nothing); what
 * was cancelled leaves a gap whose answer is dropped.
 */
#include "maf_pool_private.h"

#include "crypto.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ATTEMPTS_MAX 2

void hf_maf_pool_config_init(struct hf_maf_pool_config *config)
{
    *config = (struct hf_maf_pool_config){
        .lookups_max = 16384,
        .connections_max = 8,
        .pipeline_max = 64,
        .connect_us_max = 5000000,
        .response_us_max = 25000000,
        .idle_us_max = 60000000,
        .backoff_us_min = 250000,
        .backoff_us_max = 30000000,
        .rounds_max = 3,
        .errors_max = 16,
        .key_len_min = HF_MAF_KEY_LEN,
        .key_len_max = HF_MAF_KEY_LEN,
    };
}

/* ---- lines -------------------------------------------------------------------------------- */

static void line_put(struct hf_maf_pool *pool, struct hf_maf_line *line, uint32_t lookup)
{
    struct hf_maf_pending *pending = &pool->pending[lookup];
    pending->next = HF_MAF_NONE;
    pending->prev = line->count > 0 ? line->last : HF_MAF_NONE;
    if (line->count == 0)
        line->first = lookup;
    else
        pool->pending[line->last].next = lookup;
    line->last = lookup;
    line->count++;
}

static void line_put_first(struct hf_maf_pool *pool, struct hf_maf_line *line, uint32_t lookup)
{
    struct hf_maf_pending *pending = &pool->pending[lookup];
    pending->prev = HF_MAF_NONE;
    pending->next = line->count > 0 ? line->first : HF_MAF_NONE;
    if (line->count == 0)
        line->last = lookup;
    else
        pool->pending[line->first].prev = lookup;
    line->first = lookup;
    line->count++;
}

static void line_remove(struct hf_maf_pool *pool, struct hf_maf_line *line, uint32_t lookup)
{
    const struct hf_maf_pending *pending = &pool->pending[lookup];
    if (pending->prev == HF_MAF_NONE)
        line->first = pending->next;
    else
        pool->pending[pending->prev].next = pending->next;
    if (pending->next == HF_MAF_NONE)
        line->last = pending->prev;
    else
        pool->pending[pending->next].prev = pending->prev;
    line->count--;
}

static uint32_t line_take(struct hf_maf_pool *pool, struct hf_maf_line *line)
{
    uint32_t lookup = line->first;
    line_remove(pool, line, lookup);
    return lookup;
}

/* ---- open and close ----------------------------------------------------------------------- */

static bool copy_text(char *out, size_t out_max, struct hf_bytes text)
{
    if (text.len >= out_max)
        return false;
    if (text.len > 0)
        memcpy(out, text.data, text.len);
    out[text.len] = '\0';
    return true;
}

static bool is_usable(const struct hf_maf_pool_config *config)
{
    return hf_maf_text_is_fqdn(config->fqdn) &&
           (config->origin.len == 0 || hf_maf_text_is_identifier(config->origin)) &&
           config->address_count >= 1 && config->address_count <= HF_MAF_ADDRESSES_MAX &&
           config->lookups_max >= 1 && config->connections_max >= 1 &&
           config->connections_max <= HF_MAF_CONNECTIONS_MAX && config->pipeline_max >= 1 &&
           config->pipeline_max <= HF_MAF_PIPELINE_MAX && config->backoff_us_min >= 1 &&
           config->rounds_max >= 1 && config->errors_max >= 1 &&
           config->key_len_min >= HF_MAF_KEY_MIN && config->key_len_max <= HF_PSK_MAX;
}

enum hf_status hf_maf_pool_open(struct hf_maf_pool **out, const struct hf_maf_pool_config *config)
{
    *out = NULL;
    if (!is_usable(config))
        return HF_E_CONFIG;
    struct hf_maf_pool *pool = calloc(1, sizeof(*pool));
    if (pool == NULL)
        return HF_E_MEMORY;
    pool->config = *config;
    pool->random = config->seed;
    pool->found_lookup = HF_MAF_NONE;
    bool is_good = copy_text(pool->fqdn, sizeof(pool->fqdn), config->fqdn) &&
                   copy_text(pool->origin, sizeof(pool->origin), config->origin) &&
                   copy_text(pool->admin_fqdn, sizeof(pool->admin_fqdn), config->admin_fqdn);
    pool->pending = calloc(config->lookups_max, sizeof(*pool->pending));
    bool has_memory = pool->pending != NULL;
    for (uint32_t i = 0; i < config->connections_max; i++) {
        pool->connections[i].flights =
            calloc(config->pipeline_max, sizeof(*pool->connections[i].flights));
        has_memory &= pool->connections[i].flights != NULL;
    }
    if (!is_good || !has_memory) {
        hf_maf_pool_close(pool);
        return has_memory ? HF_E_CONFIG : HF_E_MEMORY;
    }
    *out = pool;
    return HF_OK;
}

void hf_maf_pool_close(struct hf_maf_pool *pool)
{
    if (pool == NULL)
        return;
    for (uint32_t i = 0; i < pool->config.connections_max; i++) {
        hf_maf_reader_close(pool->connections[i].reader);
        free(pool->connections[i].flights);
    }
    free(pool->pending);
    hf_wipe(pool, sizeof(*pool));
    free(pool);
}

/* ---- lookups ------------------------------------------------------------------------------ */

bool hf_maf_pool_ask(struct hf_maf_pool *pool, uint32_t lookup, struct hf_bytes relative_key_id)
{
    struct hf_maf_pending *pending = &pool->pending[lookup];
    if (pool->is_circuit_open || relative_key_id.len > sizeof(pending->id))
        return false;
    pending->state = HF_MAF_REQUEST_WAITING;
    pending->attempts = 0;
    pending->asked_us = pool->now_us;
    pending->id_len = (uint8_t)relative_key_id.len;
    memcpy(pending->id, relative_key_id.data, relative_key_id.len);
    line_put(pool, &pool->waiting, lookup);
    return true;
}

static void orphan(struct hf_maf_pool *pool, uint32_t lookup)
{
    for (uint32_t c = 0; c < pool->config.connections_max; c++) {
        struct hf_maf_connection *connection = &pool->connections[c];
        for (uint32_t i = 0; i < connection->count; i++) {
            uint32_t at = (connection->head + i) % pool->config.pipeline_max;
            if (connection->flights[at].lookup == lookup)
                connection->flights[at].lookup = HF_MAF_NONE;
        }
    }
}

void hf_maf_pool_cancel(struct hf_maf_pool *pool, uint32_t lookup)
{
    struct hf_maf_pending *pending = &pool->pending[lookup];
    if (pending->state == HF_MAF_REQUEST_WAITING)
        line_remove(pool, &pool->waiting, lookup);
    else if (pending->state == HF_MAF_REQUEST_SENT)
        orphan(pool, lookup);
    else if (pending->state == HF_MAF_REQUEST_DONE && pool->found_lookup != lookup)
        line_remove(pool, &pool->done, lookup);
    if (pool->found_lookup == lookup) {
        pool->found_lookup = HF_MAF_NONE;
        hf_maf_resource_wipe(&pool->found);
    }
    pending->state = HF_MAF_REQUEST_FREE;
}

void hf_maf_pool__finish(struct hf_maf_pool *pool, uint32_t lookup, enum hf_maf_outcome outcome,
                         const char *why)
{
    struct hf_maf_pending *pending = &pool->pending[lookup];
    pending->state = HF_MAF_REQUEST_DONE;
    pending->outcome = (uint8_t)outcome;
    pending->why = why;
    if (outcome != HF_MAF_OUTCOME_KEY && outcome != HF_MAF_OUTCOME_EXPIRED)
        line_put(pool, &pool->done, lookup);
    else
        pool->found_lookup = lookup;
}

void hf_maf_pool__fail_waiting(struct hf_maf_pool *pool, enum hf_maf_outcome outcome)
{
    while (pool->waiting.count > 0)
        hf_maf_pool__finish(pool, line_take(pool, &pool->waiting), outcome, NULL);
}

bool hf_maf_pool_take_result(struct hf_maf_pool *pool, struct hf_maf_result *out)
{
    uint32_t lookup = pool->found_lookup;
    bool has_key = lookup != HF_MAF_NONE;
    if (!has_key && pool->done.count == 0)
        return false;
    if (has_key)
        pool->found_lookup = HF_MAF_NONE;
    else
        lookup = line_take(pool, &pool->done);
    struct hf_maf_pending *pending = &pool->pending[lookup];
    pending->state = HF_MAF_REQUEST_FREE;
    *out = (struct hf_maf_result){.lookup = lookup,
                                  .outcome = (enum hf_maf_outcome)pending->outcome,
                                  .why = pending->why,
                                  .us = pool->now_us - pending->asked_us,
                                  .key = has_key ? &pool->found : NULL};
    return true;
}

/* ---- connections -------------------------------------------------------------------------- */

/* Sent once more, unless it is the one that is to blame or has had its chances. */
static void requeue(struct hf_maf_pool *pool, uint32_t lookup, bool is_failed,
                    enum hf_maf_outcome outcome, const char *why)
{
    struct hf_maf_pending *pending = &pool->pending[lookup];
    if (is_failed || pending->attempts >= ATTEMPTS_MAX || pool->is_circuit_open) {
        hf_maf_pool__finish(pool, lookup, outcome, why);
        return;
    }
    pool->health.retries++;
    pending->state = HF_MAF_REQUEST_WAITING;
    line_put_first(pool, &pool->waiting, lookup);
}

void hf_maf_pool__drop(struct hf_maf_pool *pool, struct hf_maf_connection *connection,
                       enum hf_maf_outcome outcome, const char *why, bool is_first_failed)
{
    uint32_t pipeline_max = pool->config.pipeline_max;
    /* From the last to the first, each put in front: the order stays. */
    while (connection->count > 0) {
        uint32_t at = (connection->head + --connection->count) % pipeline_max;
        uint32_t lookup = connection->flights[at].lookup;
        pool->health.under_way--;
        if (lookup != HF_MAF_NONE)
            requeue(pool, lookup, is_first_failed && connection->count == 0, outcome, why);
    }
    hf_maf_reader_close(connection->reader);
    struct hf_maf_flight *flights = connection->flights;
    *connection = (struct hf_maf_connection){.flights = flights};
}

/* The embedder is to close it; until it has been told the slot is not used again. */
static void close_connection(struct hf_maf_pool *pool, struct hf_maf_connection *connection,
                             enum hf_maf_outcome outcome, const char *why, bool is_first_failed)
{
    hf_maf_pool__drop(pool, connection, outcome, why, is_first_failed);
    connection->is_close_due = true;
}

void hf_maf_pool_opened(struct hf_maf_pool *pool, uint32_t connection_index)
{
    struct hf_maf_connection *connection = &pool->connections[connection_index];
    if (connection->state != HF_MAF_CONNECTION_DIALING)
        return;
    if (hf_maf_reader_open(&connection->reader, HF_MAF_CLIENT) != HF_OK) {
        close_connection(pool, connection, HF_MAF_OUTCOME_CONNECT, "no memory", false);
        return;
    }
    connection->state = HF_MAF_CONNECTION_OPEN;
    connection->since_us = pool->now_us;
    pool->health.connects++;
    hf_maf_pool__address_succeeded(pool, connection->address_index);
}

void hf_maf_pool_ended(struct hf_maf_pool *pool, uint32_t connection_index,
                       enum hf_maf_outcome outcome)
{
    struct hf_maf_connection *connection = &pool->connections[connection_index];
    if (connection->state == HF_MAF_CONNECTION_FREE)
        return;
    uint32_t address_index = connection->address_index;
    bool was_dialing = connection->state == HF_MAF_CONNECTION_DIALING;
    bool is_blamed = was_dialing || (connection->count > 0 && !connection->has_served);
    pool->health.broken += connection->count > 0;
    pool->health.connect_failures += was_dialing && outcome == HF_MAF_OUTCOME_CONNECT;
    pool->health.authentication_failures += was_dialing && outcome == HF_MAF_OUTCOME_AUTHENTICATION;
    hf_maf_pool__drop(pool, connection, outcome, NULL, false);
    if (is_blamed)
        hf_maf_pool__address_failed(pool, address_index, outcome);
}

void hf_maf_pool_renew(struct hf_maf_pool *pool)
{
    for (uint32_t i = 0; i < pool->config.connections_max; i++) {
        struct hf_maf_connection *connection = &pool->connections[i];
        if (connection->count > 0)
            connection->is_retiring = true;
        else if (connection->state != HF_MAF_CONNECTION_FREE)
            close_connection(pool, connection, HF_MAF_OUTCOME_BROKEN, NULL, false);
    }
}

/* ---- answers ------------------------------------------------------------------------------ */

static void take_answer(struct hf_maf_pool *pool, struct hf_maf_connection *connection)
{
    const struct hf_maf_message *message = hf_maf_reader_message(connection->reader);
    uint32_t lookup = connection->flights[connection->head].lookup;
    connection->head = (connection->head + 1) % pool->config.pipeline_max;
    connection->count--;
    connection->has_served = true;
    connection->since_us = pool->now_us;
    pool->health.under_way--;
    bool is_kept = message->is_kept;
    if (lookup != HF_MAF_NONE) {
        const struct hf_maf_pending *pending = &pool->pending[lookup];
        const char *why = NULL;
        const struct hf_maf_expectation expectation = {
            .relative_key_id = {pending->id, pending->id_len},
            .admin_fqdn = hf_maf_text_view(pool->admin_fqdn),
            .wall_s = pool->wall_s,
            .key_len_min = pool->config.key_len_min,
            .key_len_max = pool->config.key_len_max,
        };
        enum hf_maf_outcome outcome =
            hf_maf_answer_judge(&pool->found, &why, message, &expectation);
        hf_maf_pool__finish(pool, lookup, outcome, why);
        hf_maf_pool__answered(pool, outcome == HF_MAF_OUTCOME_SERVER_ERROR);
    }
    hf_maf_reader_reset(connection->reader);
    if (!is_kept || (connection->is_retiring && connection->count == 0))
        close_connection(pool, connection, HF_MAF_OUTCOME_BROKEN, NULL, false);
}

size_t hf_maf_pool_received(struct hf_maf_pool *pool, uint32_t connection_index,
                            struct hf_bytes bytes)
{
    struct hf_maf_connection *connection = &pool->connections[connection_index];
    size_t consumed = 0;
    hf_maf_resource_wipe(&pool->found);
    if (connection->state != HF_MAF_CONNECTION_OPEN)
        return bytes.len;
    enum hf_maf_read verdict = hf_maf_reader_take(connection->reader, &consumed, bytes);
    if (verdict == HF_MAF_READ_MORE)
        return bytes.len;
    if (verdict == HF_MAF_READ_MESSAGE && connection->count > 0) {
        take_answer(pool, connection);
        return consumed;
    }
    /* No HTTP, or an answer that nobody asked for. */
    unsigned status = verdict == HF_MAF_READ_BROKEN ? hf_maf_reader_status(connection->reader) : 0;
    bool is_long = status == 413 || status == 431;
    uint32_t address_index = connection->address_index;
    pool->health.broken++;
    close_connection(pool, connection, is_long ? HF_MAF_OUTCOME_TOO_LONG : HF_MAF_OUTCOME_MALFORMED,
                     is_long ? "over a limit" : "no HTTP", true);
    hf_maf_pool__address_failed(pool, address_index, HF_MAF_OUTCOME_MALFORMED);
    return bytes.len;
}

/* ---- time --------------------------------------------------------------------------------- */

/* When something is due on it; UINT64_MAX: never. */
static uint64_t due_us(const struct hf_maf_pool *pool, const struct hf_maf_connection *connection)
{
    if (connection->state == HF_MAF_CONNECTION_DIALING)
        return connection->since_us + pool->config.connect_us_max;
    if (connection->state != HF_MAF_CONNECTION_OPEN)
        return UINT64_MAX;
    if (connection->count > 0)
        return connection->flights[connection->head].sent_us + pool->config.response_us_max;
    return connection->since_us + pool->config.idle_us_max;
}

static void expire(struct hf_maf_pool *pool, struct hf_maf_connection *connection)
{
    uint32_t address_index = connection->address_index;
    bool is_dialing = connection->state == HF_MAF_CONNECTION_DIALING;
    bool is_idle = !is_dialing && connection->count == 0;
    pool->health.timeouts += !is_idle;
    pool->health.connect_failures += is_dialing;
    close_connection(pool, connection, is_dialing ? HF_MAF_OUTCOME_CONNECT : HF_MAF_OUTCOME_TIMEOUT,
                     NULL, true);
    if (!is_idle)
        hf_maf_pool__address_failed(pool, address_index,
                                    is_dialing ? HF_MAF_OUTCOME_CONNECT : HF_MAF_OUTCOME_TIMEOUT);
}

void hf_maf_pool_begin(struct hf_maf_pool *pool, uint64_t now_us, int64_t wall_s)
{
    pool->now_us = now_us;
    pool->wall_s = wall_s;
    for (uint32_t i = 0; i < pool->config.connections_max; i++)
        if (now_us >= due_us(pool, &pool->connections[i]))
            expire(pool, &pool->connections[i]);
    hf_maf_pool__recover(pool);
}

uint64_t hf_maf_pool_next_us(const struct hf_maf_pool *pool)
{
    uint64_t next_us = UINT64_MAX;
    for (uint32_t i = 0; i < pool->config.connections_max; i++) {
        uint64_t us = due_us(pool, &pool->connections[i]);
        next_us = us < next_us ? us : next_us;
    }
    if ((pool->is_circuit_open || pool->waiting.count > 0) && pool->retry_us > pool->now_us &&
        pool->retry_us < next_us)
        next_us = pool->retry_us;
    return next_us;
}

/* ---- what to do --------------------------------------------------------------------------- */

struct view {
    uint32_t live, dialing, retiring;
    uint32_t free, best; /* `best`: open, fewest under way, HF_MAF_NONE: none */
};

static struct view look(const struct hf_maf_pool *pool)
{
    struct view view = {.free = HF_MAF_NONE, .best = HF_MAF_NONE};
    for (uint32_t i = 0; i < pool->config.connections_max; i++) {
        const struct hf_maf_connection *connection = &pool->connections[i];
        view.live += connection->state != HF_MAF_CONNECTION_FREE;
        view.dialing += connection->state == HF_MAF_CONNECTION_DIALING;
        view.retiring += connection->is_retiring;
        if (connection->state == HF_MAF_CONNECTION_FREE && !connection->is_close_due)
            view.free = i;
        if (connection->state == HF_MAF_CONNECTION_OPEN && !connection->is_retiring &&
            connection->count < pool->config.pipeline_max &&
            (view.best == HF_MAF_NONE || connection->count < pool->connections[view.best].count))
            view.best = i;
    }
    return view;
}

/* The address to dial now; HF_MAF_NONE: no connection is wanted, or possible. */
static uint32_t wanted_address(const struct hf_maf_pool *pool, const struct view *view)
{
    uint32_t demand = pool->waiting.count + pool->health.under_way;
    if (view->free == HF_MAF_NONE || pool->now_us < pool->retry_us)
        return HF_MAF_NONE;
    if (pool->is_circuit_open) /* to see whether it is back: one at a time */
        return view->live == 0 ? hf_maf_pool__address(pool, false) : HF_MAF_NONE;
    if (pool->waiting.count > 0 && view->live - view->retiring < 1 + demand / 8)
        return hf_maf_pool__address(pool, false);
    if (view->dialing == 0 && view->live > 0 && pool->health.address_index > 0)
        return hf_maf_pool__address(pool, true);
    return HF_MAF_NONE;
}

static void dial(struct hf_maf_pool *pool, struct hf_maf_action *out, uint32_t connection_index,
                 uint32_t address_index)
{
    struct hf_maf_connection *connection = &pool->connections[connection_index];
    connection->state = HF_MAF_CONNECTION_DIALING;
    connection->address_index = address_index;
    connection->since_us = pool->now_us;
    *out = (struct hf_maf_action){.kind = HF_MAF_ACTION_CONNECT,
                                  .connection = connection_index,
                                  .address = pool->config.addresses[address_index]};
}

/* One request behind the others; 0: it does not fit any more. */
static size_t write_request(struct hf_maf_pool *pool, size_t used, uint32_t lookup)
{
    char target[HF_MAF_RELATIVE_KEY_ID_MAX + 2];
    char number[24];
    const struct hf_maf_pending *pending = &pool->pending[lookup];
    snprintf(target, sizeof(target), "/%.*s", (int)pending->id_len, (const char *)pending->id);
    snprintf(number, sizeof(number), "h%llu", (unsigned long long)pool->number);
    const struct hf_maf_request request = {
        .method = HF_MAF_RETRIEVE,
        .target = hf_maf_text_view(target),
        .host = hf_maf_text_view(pool->fqdn),
        .origin = hf_maf_text_view(pool->origin),
        .request_id = hf_maf_text_view(number),
    };
    return hf_maf_http_write_request(pool->text + used, sizeof(pool->text) - used, &request);
}

static void send_requests(struct hf_maf_pool *pool, struct hf_maf_action *out,
                          uint32_t connection_index)
{
    struct hf_maf_connection *connection = &pool->connections[connection_index];
    size_t used = 0;
    while (pool->waiting.count > 0 && connection->count < pool->config.pipeline_max) {
        size_t len = write_request(pool, used, pool->waiting.first);
        if (len == 0)
            break;
        used += len;
        uint32_t lookup = line_take(pool, &pool->waiting);
        uint32_t at = (connection->head + connection->count++) % pool->config.pipeline_max;
        connection->flights[at] = (struct hf_maf_flight){.lookup = lookup, .sent_us = pool->now_us};
        pool->pending[lookup].state = HF_MAF_REQUEST_SENT;
        pool->pending[lookup].attempts++;
        pool->number++;
        pool->health.requests++;
        pool->health.under_way++;
        if (connection->count % 8 == 0) /* the next eight may find one with fewer */
            break;
    }
    *out = (struct hf_maf_action){.kind = HF_MAF_ACTION_SEND,
                                  .connection = connection_index,
                                  .bytes = {(const uint8_t *)pool->text, used}};
}

bool hf_maf_pool_take_action(struct hf_maf_pool *pool, struct hf_maf_action *out)
{
    for (uint32_t i = 0; i < pool->config.connections_max; i++)
        if (pool->connections[i].is_close_due) {
            pool->connections[i].is_close_due = false;
            *out = (struct hf_maf_action){.kind = HF_MAF_ACTION_CLOSE, .connection = i};
            return true;
        }
    struct view view = look(pool);
    uint32_t address_index = wanted_address(pool, &view);
    if (address_index != HF_MAF_NONE) {
        dial(pool, out, view.free, address_index);
        return true;
    }
    if (pool->waiting.count == 0 || view.best == HF_MAF_NONE)
        return false;
    send_requests(pool, out, view.best);
    return out->bytes.len > 0;
}

void hf_maf_pool_health(struct hf_maf_health *out, const struct hf_maf_pool *pool)
{
    *out = pool->health;
    out->is_circuit_open = pool->is_circuit_open;
    out->waiting = pool->waiting.count;
    out->connections = look(pool).live;
}
