/**
 * http.c - on libhttp-parser: keep-alive, pipelining, bounded heads; bodies are skipped unread.
 *
 * The parser is fed as bytes come and holds none of them, so an incomplete request costs one small
 * struct. Limits: 8 KiB of head, REQUESTS_MAX incomplete requests, REQUEST_SECONDS_MAX for one.
 */
#include "http.h"

#include "whoami.h"

#include <http_parser.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HEAD_LEN_MAX 8192
#define REQUESTS_MAX 4096
#define REQUEST_SECONDS_MAX 30
#define BUCKETS 1024 /* power of two */

/* An incomplete request. */
struct request {
    struct request *next;
    hf_association_id association;
    uint32_t age_s;
    http_parser parser;
};

struct hf_http {
    uint32_t request_count;
    struct request *buckets[BUCKETS];
};

/* One call of hf_http_receive(), reached from the parser's callbacks. */
struct exchange {
    struct hf_loop *loop;
    hf_association_id association;
    bool is_inside; /* between the first byte of a request and its last */
    bool has_begun; /* that request: in this call */
    bool is_ended;  /* we closed: what follows is not read */
};

/* ---- the table of incomplete requests ----------------------------------------------------- */

static struct request **find(struct hf_http *http, hf_association_id association)
{
    size_t bucket = (size_t)(association * 0x9E3779B97F4A7C15ULL >> 32) & (BUCKETS - 1);
    struct request **link = &http->buckets[bucket];
    while (*link != NULL && (*link)->association != association)
        link = &(*link)->next;
    return link;
}

void hf_http_init(void)
{
    http_parser_set_max_header_size(HEAD_LEN_MAX);
}

struct hf_http *hf_http_open(void)
{
    return calloc(1, sizeof(struct hf_http));
}

static void drop(struct hf_http *http, struct request **link)
{
    struct request *request = *link;
    *link = request->next;
    free(request);
    http->request_count--;
}

void hf_http_close(struct hf_http *http)
{
    if (http == NULL)
        return;
    for (size_t i = 0; i < BUCKETS; i++)
        while (http->buckets[i] != NULL)
            drop(http, &http->buckets[i]);
    free(http);
}

void hf_http_forget(struct hf_http *http, hf_association_id association)
{
    struct request **link = find(http, association);
    if (*link != NULL)
        drop(http, link);
}

/* Keeps the parser for the bytes to come; false when there is no room. */
static bool keep(struct hf_http *http, struct request **link, const struct exchange *exchange,
                 const http_parser *parser)
{
    if (*link == NULL) {
        if (http->request_count == REQUESTS_MAX)
            return false;
        *link = calloc(1, sizeof(struct request));
        if (*link == NULL)
            return false;
        (*link)->association = exchange->association;
        http->request_count++;
    }
    if (exchange->has_begun)
        (*link)->age_s = 0;
    (*link)->parser = *parser;
    return true;
}

/* ---- answers ------------------------------------------------------------------------------ */

static void end_exchange(struct exchange *exchange)
{
    exchange->is_ended = true;
    hf_loop_end(exchange->loop, exchange->association, HF_CLOSE_NOTIFY);
}

/* Sends a head and, unless `is_head`, the body. Ends the association unless `is_kept`. */
static void respond(struct exchange *exchange, const char *status_line, const char *body,
                    bool is_head, bool is_kept)
{
    char *text = NULL;
    int len = asprintf(&text,
                       "HTTP/1.1 %s\r\n"
                       "Content-Type: application/json\r\n"
                       "Content-Length: %zu\r\n"
                       "Cache-Control: no-store\r\n"
                       "Connection: %s\r\n"
                       "%s\r\n%s",
                       status_line, strlen(body), is_kept ? "keep-alive" : "close",
                       strncmp(status_line, "405", 3) == 0 ? "Allow: GET, HEAD\r\n" : "",
                       is_head ? "" : body);
    if (len < 0) {
        end_exchange(exchange);
        return;
    }
    struct hf_bytes bytes = {(const uint8_t *)text, (size_t)len};
    enum hf_status status = hf_loop_send(exchange->loop, exchange->association, bytes);
    free(text);
    /* HF_WAITING: it pipelines requests and does not read answers. */
    if (status != HF_OK || !is_kept)
        end_exchange(exchange);
}

static void refuse(struct exchange *exchange, const char *status_line, bool is_kept)
{
    char body[96];
    snprintf(body, sizeof(body), "{\"error\":\"%s\"}\n", status_line);
    respond(exchange, status_line, body, false, is_kept);
}

static void respond_whoami(struct exchange *exchange, bool is_head, bool is_kept)
{
    struct hf_association_info info;
    size_t len = 0;
    if (hf_engine_association_info(&info, hf_loop_engine(exchange->loop), exchange->association) !=
        HF_OK) {
        exchange->is_ended = true;
        return;
    }
    char *json = hf_whoami_json(&len, &info);
    char *body = NULL;
    if (json == NULL || asprintf(&body, "%s\n", json) < 0) {
        refuse(exchange, "500 Internal Server Error", false);
        free(json);
        return;
    }
    respond(exchange, "200 OK", body, is_head, is_kept);
    free(json);
    free(body);
}

/* ---- the parser's callbacks --------------------------------------------------------------- */

static int on_message_begin(http_parser *parser)
{
    struct exchange *exchange = parser->data;
    exchange->is_inside = true;
    exchange->has_begun = true;
    return 0;
}

static int on_headers_complete(http_parser *parser)
{
    /* No upgrade and no tunnel is ever granted: what follows is the next request. */
    parser->upgrade = 0;
    return 0;
}

static int on_message_complete(http_parser *parser)
{
    struct exchange *exchange = parser->data;
    bool is_kept = http_should_keep_alive(parser) != 0;
    exchange->is_inside = false;
    if (parser->http_major != 1)
        refuse(exchange, "505 HTTP Version Not Supported", false);
    else if (parser->method == HTTP_GET || parser->method == HTTP_HEAD)
        respond_whoami(exchange, parser->method == HTTP_HEAD, is_kept);
    else
        refuse(exchange, "405 Method Not Allowed", is_kept);
    if (exchange->is_ended)
        http_parser_pause(parser, 1);
    return 0;
}

static const char *parse_error(const http_parser *parser)
{
    return HTTP_PARSER_ERRNO(parser) == HPE_HEADER_OVERFLOW ? "431 Request Header Fields Too Large"
                                                            : "400 Bad Request";
}

void hf_http_receive(struct hf_http *http, struct hf_loop *loop, hf_association_id association,
                     struct hf_bytes data)
{
    static const http_parser_settings settings = {
        .on_message_begin = on_message_begin,
        .on_headers_complete = on_headers_complete,
        .on_message_complete = on_message_complete,
    };
    struct exchange exchange = {.loop = loop, .association = association};
    struct request **link = find(http, association);
    http_parser parser;
    if (*link != NULL) {
        parser = (*link)->parser;
        exchange.is_inside = true;
    } else {
        http_parser_init(&parser, HTTP_REQUEST);
    }
    parser.data = &exchange;
    http_parser_execute(&parser, &settings, (const char *)data.data, data.len);
    if (!exchange.is_ended && HTTP_PARSER_ERRNO(&parser) != HPE_OK)
        refuse(&exchange, parse_error(&parser), false);
    parser.data = NULL;
    if (!exchange.is_ended && exchange.is_inside && !keep(http, link, &exchange, &parser))
        refuse(&exchange, "503 Service Unavailable", false);
    if ((exchange.is_ended || !exchange.is_inside) && *link != NULL)
        drop(http, link);
}

void hf_http_second(struct hf_http *http, struct hf_loop *loop)
{
    if (http->request_count == 0)
        return;
    for (size_t i = 0; i < BUCKETS; i++) {
        struct request **link = &http->buckets[i];
        while (*link != NULL) {
            if (++(*link)->age_s < REQUEST_SECONDS_MAX) {
                link = &(*link)->next;
                continue;
            }
            struct exchange exchange = {.loop = loop, .association = (*link)->association};
            refuse(&exchange, "408 Request Timeout", false);
            drop(http, link);
        }
    }
}
