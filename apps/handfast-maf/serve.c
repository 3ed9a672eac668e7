/**
 * serve.c - one record a connection: a reader and how many of its requests are under way. Answers
 * leave in the order of requests, because every one of them, refused ones too, goes through the
 * store thread's queue.
 */
#include "serve.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define BUCKETS 4096                                /* power of two */
#define EXPORTER_LABEL "EXPORTER-oneM2M-Connection" /* TS-0003 10.3.1 */
#define KC_ID_LEN 16
#define KC_LEN 32
#define ANSWER_MAX (HF_MAF_BODY_MAX + 2048)

struct connection {
    struct connection *next;
    hf_association_id association;
    struct hf_maf_reader *reader;
    uint32_t jobs;
    uint32_t age_s; /* of the request that is coming */
    bool has_exported;
    bool is_over;      /* nothing more is read */
    bool is_peer_done; /* ended once everything is answered */
    char client_id[HF_ENTITY_ID_MAX + 1];
};

struct hf_serve {
    struct hf_serve_config config;
    struct hf_worker *worker;
    struct connection *buckets[BUCKETS];
    char answer[ANSWER_MAX];
    char body[HF_MAF_BODY_MAX];
};

struct hf_serve *hf_serve_open(const struct hf_serve_config *config)
{
    struct hf_serve *serve = calloc(1, sizeof(*serve));
    if (serve == NULL)
        return NULL;
    serve->config = *config;
    return serve;
}

void hf_serve_use(struct hf_serve *serve, struct hf_worker *worker)
{
    serve->worker = worker;
}

/* ---- connections -------------------------------------------------------------------------- */

static struct connection **find(struct hf_serve *serve, hf_association_id association)
{
    size_t bucket = (size_t)(association * 0x9E3779B97F4A7C15ULL >> 32) & (BUCKETS - 1);
    struct connection **link = &serve->buckets[bucket];
    while (*link != NULL && (*link)->association != association)
        link = &(*link)->next;
    return link;
}

static void drop(struct connection **link)
{
    struct connection *connection = *link;
    *link = connection->next;
    hf_maf_reader_close(connection->reader);
    free(connection);
}

void hf_serve_close(struct hf_serve *serve)
{
    if (serve == NULL)
        return;
    for (size_t i = 0; i < BUCKETS; i++)
        while (serve->buckets[i] != NULL)
            drop(&serve->buckets[i]);
    free(serve);
}

/* Who TLS says it is: the entity, or the name of its key (KmID) when no entity is known. False: the
 * name is too long to be kept whole, and one cut short could be somebody else's. */
static bool name_client(struct connection *connection, const struct hf_association_info *info)
{
    const char *name = info->entity_id;
    if (info->entity_id_len == 0) {
        /* Of a certificate all of it: "31-..." must not be taken for a KmID. */
        const char *dash = strchr(info->credential_id, '-');
        bool is_key = info->framework == HF_FRAMEWORK_PROVISIONED_SYMMETRIC_KEY;
        name = is_key && dash != NULL ? dash + 1 : info->credential_id;
    }
    size_t len = strlen(name);
    size_t given = info->entity_id_len > 0
                       ? info->entity_id_len
                       : info->credential_id_len - (size_t)(name - info->credential_id);
    if (len == 0 || len != given || len >= sizeof(connection->client_id))
        return false;
    memcpy(connection->client_id, name, len + 1);
    return true;
}

static void begin(struct hf_serve *serve, struct hf_loop *loop, hf_association_id association)
{
    struct hf_association_info info;
    struct connection **link = find(serve, association);
    struct connection *connection = calloc(1, sizeof(*connection));
    if (connection == NULL || hf_maf_reader_open(&connection->reader, HF_MAF_SERVER) != HF_OK ||
        hf_engine_association_info(&info, hf_loop_engine(loop), association) != HF_OK ||
        !name_client(connection, &info)) {
        if (connection != NULL)
            hf_maf_reader_close(connection->reader);
        free(connection);
        hf_loop_end(loop, association, HF_CLOSE_NOTIFY);
        return;
    }
    connection->association = association;
    connection->next = *link;
    *link = connection;
}

/* ---- from a message to a job -------------------------------------------------------------- */

static void settle(struct hf_errand *job, unsigned rsc, const char *why)
{
    job->is_settled = true;
    job->operation.rsc = rsc;
    job->operation.why = why;
}

/* Kc and its name from the session on which the request came (TS-0003 8.8.2.7, 10.3.1). */
static void export_key(struct hf_loop *loop, struct connection *connection, struct hf_errand *job)
{
    uint8_t material[KC_ID_LEN + KC_LEN];
    struct hf_maf_resource *resource = &job->operation.resource;
    const struct hf_bytes label = {(const uint8_t *)EXPORTER_LABEL, sizeof(EXPORTER_LABEL) - 1};
    if (connection->has_exported) {
        settle(job, HF_MAF_RSC_CONFLICT, "a session gives one key: connect anew for another");
        return;
    }
    if (hf_engine_export(material, sizeof(material), hf_loop_engine(loop), connection->association,
                         label, NULL) != HF_OK) {
        settle(job, HF_MAF_RSC_INTERNAL_SERVER_ERROR, "the session exports no key");
        return;
    }
    hf_maf_text_write_hex(resource->resource_id, (struct hf_bytes){material, KC_ID_LEN});
    memcpy(resource->key, material + KC_ID_LEN, KC_LEN);
    resource->key_len = KC_LEN;
    job->operation.is_key_exported = true;
    explicit_bzero(material, sizeof(material));
}

/* Which of the two a body is: the type of a creation says so, an update's own root. */
static bool read_body(struct hf_errand *job, const struct hf_maf_message *message)
{
    struct hf_operation *operation = &job->operation;
    const char *why = NULL;
    bool is_key = message->type == HF_MAF_TYPE_KEY_REGISTRATION;
    bool is_client = message->type == HF_MAF_TYPE_CLIENT_REGISTRATION;
    if (!message->is_json) {
        settle(job, HF_MAF_RSC_UNSUPPORTED_MEDIA_TYPE, "not JSON");
        return false;
    }
    if (message->method == HF_MAF_CREATE && !is_key && !is_client) {
        settle(job, HF_MAF_RSC_BAD_REQUEST, "ty of Content-Type is missing or unknown");
        return false;
    }
    operation->has_body =
        (!is_client && hf_maf_resource_read(&operation->resource, &why, HF_MAF_KEY_REGISTRATION,
                                            message->body)) ||
        (!is_key && hf_maf_resource_read(&operation->resource, &why, HF_MAF_CLIENT_REGISTRATION,
                                         message->body));
    if (!operation->has_body)
        settle(job, HF_MAF_RSC_CONTENTS_UNACCEPTABLE, why);
    return operation->has_body;
}

/* TS-0009 6.2.1: a CSE-relative "/x" or an SP-relative "/~/x"; here the first. */
static bool read_target(struct hf_errand *job, const struct hf_maf_message *message)
{
    struct hf_bytes target = message->target;
    if (target.len < 2 || target.data[0] != '/' || target.len > sizeof(job->operation.target) ||
        memchr(target.data, '?', target.len) != NULL) {
        settle(job, HF_MAF_RSC_NOT_FOUND, "no such resource");
        return false;
    }
    memcpy(job->operation.target, target.data + 1, target.len - 1);
    return true;
}

static void fill(struct hf_loop *loop, struct connection *connection, struct hf_errand *job,
                 const struct hf_maf_message *message)
{
    struct hf_operation *operation = &job->operation;
    operation->method = message->method;
    memcpy(operation->client_id, connection->client_id, sizeof(operation->client_id));
    /* TS-0003 7.2.1, TS-0004 7.3.2.1: From must be who TLS authenticated. */
    if (message->origin.len > 0 && !hf_maf_text_is(message->origin, connection->client_id)) {
        settle(job, HF_MAF_RSC_ORIGINATOR_NOT_AUTHENTICATED, "X-M2M-Origin is somebody else");
        return;
    }
    if (!read_target(job, message) || (message->body.len > 0 && !read_body(job, message)))
        return;
    if (getrandom(operation->fresh_id, sizeof(operation->fresh_id), 0) !=
        (ssize_t)sizeof(operation->fresh_id)) {
        settle(job, HF_MAF_RSC_INTERNAL_SERVER_ERROR, "no randomness");
        return;
    }
    bool is_registration = message->method == HF_MAF_CREATE && operation->has_body &&
                           operation->resource.kind == HF_MAF_KEY_REGISTRATION;
    if (is_registration && (operation->resource.has & HF_MAF_HAS(KEY_VALUE)) == 0)
        export_key(loop, connection, job);
}

/* False: no room, and the association has been ended. */
static bool queue(struct hf_serve *serve, struct hf_loop *loop, struct connection *connection,
                  struct hf_errand *job)
{
    bool is_taken = job != NULL && connection->jobs < serve->config.connection_jobs_max &&
                    hf_worker_queue(serve->worker, job);
    if (is_taken) {
        connection->jobs++;
        return true;
    }
    hf_errand_close(job);
    connection->is_over = true;
    serve->config.log("overloaded", connection->client_id, serve->config.arg);
    hf_loop_end(loop, connection->association, HF_CLOSE_NOTIFY);
    return false;
}

static bool take_message(struct hf_serve *serve, struct hf_loop *loop,
                         struct connection *connection)
{
    const struct hf_maf_message *message = hf_maf_reader_message(connection->reader);
    struct hf_errand *job = hf_errand_open();
    if (job != NULL) {
        job->association = connection->association;
        job->is_kept = message->is_kept;
        size_t len = message->request_id.len;
        if (len > 0)
            memcpy(job->request_id, message->request_id.data, len);
        fill(loop, connection, job, message);
        connection->is_over = !job->is_kept;
    }
    hf_maf_reader_reset(connection->reader);
    return queue(serve, loop, connection, job);
}

static void take_broken(struct hf_serve *serve, struct hf_loop *loop, struct connection *connection,
                        unsigned status, const char *why)
{
    struct hf_errand *job = hf_errand_open();
    if (job != NULL) {
        job->association = connection->association;
        job->status = status;
        settle(job, HF_MAF_RSC_BAD_REQUEST, why);
    }
    connection->is_over = true;
    (void)queue(serve, loop, connection, job);
}

static void receive(struct hf_serve *serve, struct hf_loop *loop, hf_association_id association,
                    struct hf_bytes bytes)
{
    struct connection *connection = *find(serve, association);
    while (connection != NULL && !connection->is_over && bytes.len > 0) {
        size_t consumed = 0;
        bool was_inside = hf_maf_reader_is_inside(connection->reader);
        enum hf_maf_read verdict = hf_maf_reader_take(connection->reader, &consumed, bytes);
        if (!was_inside)
            connection->age_s = 0;
        if (verdict == HF_MAF_READ_MORE)
            return;
        if (verdict == HF_MAF_READ_BROKEN) {
            take_broken(serve, loop, connection, hf_maf_reader_status(connection->reader),
                        "no HTTP, or over a limit");
            return;
        }
        if (!take_message(serve, loop, connection))
            return;
        bytes.data += consumed;
        bytes.len -= consumed;
    }
}

/* ---- answers ------------------------------------------------------------------------------ */

static size_t write_body(struct hf_serve *serve, const struct hf_operation *operation)
{
    if (operation->answer_text != NULL) {
        size_t len = strlen(operation->answer_text);
        if (len >= sizeof(serve->body))
            return 0;
        memcpy(serve->body, operation->answer_text, len);
        return len;
    }
    if (operation->has_answer)
        return hf_maf_resource_write(serve->body, sizeof(serve->body), &operation->answer);
    return 0;
}

static void log_request(const struct hf_serve *serve, const struct hf_errand *job)
{
    char text[400];
    snprintf(text, sizeof(text), "method=%d target=%.160s client=%.120s rsc=%u%s%s",
             (int)job->operation.method, job->operation.target, job->operation.client_id,
             job->operation.rsc, job->operation.why != NULL ? " why=" : "",
             job->operation.why != NULL ? job->operation.why : "");
    serve->config.log("request", text, serve->config.arg);
}

static void answer(struct hf_serve *serve, struct hf_loop *loop, const struct hf_errand *job)
{
    struct hf_maf_response response = {
        .rsc = job->operation.rsc,
        .status = job->status,
        .request_id = hf_maf_text_view(job->request_id),
        .is_kept = job->is_kept,
    };
    response.body =
        (struct hf_bytes){(const uint8_t *)serve->body, write_body(serve, &job->operation)};
    size_t len = hf_maf_http_write_response(serve->answer, sizeof(serve->answer), &response);
    if (len == 0) { /* a request identifier that cannot go back */
        response.request_id.len = 0;
        len = hf_maf_http_write_response(serve->answer, sizeof(serve->answer), &response);
    }
    struct hf_bytes bytes = {(const uint8_t *)serve->answer, len};
    enum hf_status status = hf_loop_send(loop, job->association, bytes);
    explicit_bzero(serve->answer, len);
    explicit_bzero(serve->body, response.body.len);
    if (serve->config.is_verbose)
        log_request(serve, job);
    struct connection *connection = *find(serve, job->association);
    if (connection == NULL)
        return;
    connection->jobs--;
    /* Until then it is the store that refuses a second one, by its name. */
    connection->has_exported |= job->operation.is_key_exported && job->operation.is_changed &&
                                job->operation.rsc == HF_MAF_RSC_CREATED;
    if (status != HF_OK || !job->is_kept || (connection->is_peer_done && connection->jobs == 0)) {
        connection->is_over = true;
        hf_loop_end(loop, job->association, HF_CLOSE_NOTIFY);
    }
}

void hf_serve_drain(struct hf_serve *serve, struct hf_loop *loop)
{
    struct hf_errand *job;
    while ((job = hf_worker_take(serve->worker)) != NULL) {
        answer(serve, loop, job);
        hf_errand_close(job);
    }
}

/* ---- events ------------------------------------------------------------------------------- */

static void log_failure(const struct hf_serve *serve, const struct hf_event *event)
{
    char text[200];
    char address[HF_ADDRESS_TEXT_MAX];
    snprintf(text, sizeof(text), "peer=%s reason=%s", hf_address_print(address, &event->path.peer),
             hf_status_reason(event->failure.status));
    serve->config.log("handshake_failed", text, serve->config.arg);
}

void hf_serve_event(struct hf_serve *serve, struct hf_loop *loop, const struct hf_event *event)
{
    struct connection **link = find(serve, event->association);
    switch (event->kind) {
    case HF_EVENT_ESTABLISHED:
        begin(serve, loop, event->association);
        break;
    case HF_EVENT_DATA:
        receive(serve, loop, event->association, event->data);
        break;
    case HF_EVENT_PEER_CLOSED:
        if (*link != NULL && (*link)->jobs > 0)
            (*link)->is_peer_done = true;
        else
            hf_loop_end(loop, event->association, HF_CLOSE_NOTIFY);
        break;
    case HF_EVENT_CLOSED:
        if (*link != NULL)
            drop(link);
        break;
    case HF_EVENT_HANDSHAKE_FAILED:
        log_failure(serve, event);
        break;
    case HF_EVENT_READABLE:
    case HF_EVENT_KEYLOG:
    case HF_EVENT_MOVED:
    case HF_EVENT_SESSION:
    default:
        break;
    }
}

void hf_serve_second(struct hf_serve *serve, struct hf_loop *loop)
{
    for (size_t i = 0; i < BUCKETS; i++)
        for (struct connection *connection = serve->buckets[i]; connection != NULL;
             connection = connection->next)
            if (!connection->is_over && hf_maf_reader_is_inside(connection->reader) &&
                ++connection->age_s >= serve->config.request_s_max)
                take_broken(serve, loop, connection, 408, "too slow");
}
