/**
 * maf_http.c - on libhttp-parser: one message at a time, kept values bounded, bodies wiped.
 */
#include "maf_http.h"

#include "crypto.h"
#include "maf_text.h"

#include <http_parser.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAME_MAX_LEN 32

enum header {
    HEADER_OTHER = 0,
    HEADER_ORIGIN,
    HEADER_REQUEST_ID,
    HEADER_RSC,
    HEADER_CONTENT_TYPE,
    HEADER_COUNT,
};

/* A value that grows as it comes. */
struct value {
    size_t len;
    char text[HF_MAF_VALUE_MAX];
};

struct hf_maf_reader {
    http_parser parser;
    struct hf_maf_message message;
    bool is_inside, is_complete;
    unsigned broken_status;
    unsigned header_count;
    size_t head_len;
    bool is_name_open; /* a field's name is coming */
    size_t name_len;
    char name[NAME_MAX_LEN];
    enum header header;
    size_t target_len;
    char target[HF_MAF_TARGET_MAX];
    struct value values[HEADER_COUNT];
    uint8_t *body;
    size_t body_len, body_room;
};

/* ---- codes -------------------------------------------------------------------------------- */

unsigned hf_maf_http_status(unsigned rsc)
{
    static const struct {
        uint16_t rsc, status;
    } map[] = {
        {2000, 200}, {2001, 201}, {2002, 200}, {2004, 200}, {4000, 400}, {4004, 404},
        {4005, 405}, {4008, 504}, {4015, 415}, {4102, 400}, {4103, 403}, {4105, 409},
        {4106, 403}, {4107, 403}, {5000, 500}, {5001, 501}, {5103, 404}, {5107, 404},
    };
    for (size_t i = 0; i < sizeof(map) / sizeof(map[0]); i++)
        if (map[i].rsc == rsc)
            return map[i].status;
    return 500;
}

/* ---- what the parser calls ---------------------------------------------------------------- */

/* Not 1: of on_headers_complete that would mean "no body follows". */
static int break_off(struct hf_maf_reader *reader, unsigned status)
{
    if (reader->broken_status == 0)
        reader->broken_status = status;
    return -1;
}

static void wipe_message(struct hf_maf_reader *reader)
{
    if (reader->body != NULL)
        hf_wipe(reader->body, reader->body_len);
    reader->body_len = 0;
    memset(&reader->message, 0, sizeof(reader->message));
    reader->is_complete = reader->is_inside = reader->is_name_open = false;
    reader->header_count = 0;
    reader->head_len = reader->target_len = reader->name_len = 0;
    reader->header = HEADER_OTHER;
    for (size_t i = 0; i < HEADER_COUNT; i++)
        reader->values[i].len = 0;
}

static int on_begin(http_parser *parser)
{
    struct hf_maf_reader *reader = parser->data;
    wipe_message(reader);
    reader->is_inside = true;
    return 0;
}

static int on_url(http_parser *parser, const char *at, size_t len)
{
    struct hf_maf_reader *reader = parser->data;
    if (len > sizeof(reader->target) - reader->target_len)
        return break_off(reader, 414);
    memcpy(reader->target + reader->target_len, at, len);
    reader->target_len += len;
    return 0;
}

static int count_head(struct hf_maf_reader *reader, size_t len)
{
    reader->head_len += len;
    return reader->head_len > HF_MAF_HEAD_MAX ? break_off(reader, 431) : 0;
}

static int on_field(http_parser *parser, const char *at, size_t len)
{
    struct hf_maf_reader *reader = parser->data;
    if (!reader->is_name_open) {
        reader->is_name_open = true;
        reader->name_len = 0;
        if (++reader->header_count > HF_MAF_HEADERS_MAX)
            return break_off(reader, 431);
    }
    /* A name that is longer is none of ours: it stays too long to match. */
    size_t room = sizeof(reader->name) - reader->name_len;
    size_t kept = len < room ? len : room;
    memcpy(reader->name + reader->name_len, at, kept);
    reader->name_len += kept;
    return count_head(reader, len);
}

static enum header header_of(const struct hf_maf_reader *reader)
{
    static const char *const names[] = {
        [HEADER_ORIGIN] = "x-m2m-origin",
        [HEADER_REQUEST_ID] = "x-m2m-ri",
        [HEADER_RSC] = "x-m2m-rsc",
        [HEADER_CONTENT_TYPE] = "content-type",
    };
    struct hf_bytes name = {(const uint8_t *)reader->name, reader->name_len};
    for (int i = HEADER_ORIGIN; i < HEADER_COUNT; i++)
        if (hf_maf_text_equal_folded(name, hf_maf_text_view(names[i])))
            return (enum header)i;
    return HEADER_OTHER;
}

static int on_value(http_parser *parser, const char *at, size_t len)
{
    struct hf_maf_reader *reader = parser->data;
    if (reader->is_name_open) {
        reader->is_name_open = false;
        reader->header = header_of(reader);
        /* Twice the same is a contradiction that two readers might settle differently. */
        if (reader->header != HEADER_OTHER && reader->values[reader->header].len > 0)
            return break_off(reader, 400);
    }
    if (reader->header != HEADER_OTHER) {
        struct value *value = &reader->values[reader->header];
        if (len > sizeof(value->text) - value->len)
            return break_off(reader, 431);
        memcpy(value->text + value->len, at, len);
        value->len += len;
    }
    return count_head(reader, len);
}

static int on_headers_complete(http_parser *parser)
{
    struct hf_maf_reader *reader = parser->data;
    bool is_response = parser->type == HTTP_RESPONSE;
    bool has_length = parser->content_length != UINT64_MAX || (parser->flags & F_CHUNKED) != 0;
    bool is_bodiless = parser->status_code / 100 == 1 || parser->status_code == 204;
    parser->upgrade = 0;
    if (parser->http_major != 1)
        return break_off(reader, 505);
    if (is_response && !has_length && !is_bodiless)
        return break_off(reader, 400);
    if (parser->content_length != UINT64_MAX && parser->content_length > HF_MAF_BODY_MAX)
        return break_off(reader, 413);
    return 0;
}

/* Grown in one step: a key must not be left behind in memory that was given back. */
static int on_body(http_parser *parser, const char *at, size_t len)
{
    struct hf_maf_reader *reader = parser->data;
    if (len > HF_MAF_BODY_MAX - reader->body_len)
        return break_off(reader, 413);
    if (reader->body == NULL) {
        reader->body = malloc(HF_MAF_BODY_MAX);
        if (reader->body == NULL)
            return break_off(reader, 503);
    }
    memcpy(reader->body + reader->body_len, at, len);
    reader->body_len += len;
    return 0;
}

/* ---- a complete message ------------------------------------------------------------------- */

static struct hf_bytes value_of(const struct hf_maf_reader *reader, enum header header)
{
    return (struct hf_bytes){(const uint8_t *)reader->values[header].text,
                             reader->values[header].len};
}

static unsigned read_number(struct hf_bytes text)
{
    unsigned number = 0;
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9' || i >= 6)
            return 0;
        number = number * 10 + (text.data[i] - '0');
    }
    return number;
}

static struct hf_bytes trim(struct hf_bytes text)
{
    while (text.len > 0 && (text.data[0] == ' ' || text.data[0] == '\t')) {
        text.data++;
        text.len--;
    }
    while (text.len > 0 && (text.data[text.len - 1] == ' ' || text.data[text.len - 1] == '\t'))
        text.len--;
    return text;
}

static struct hf_bytes take_until(struct hf_bytes *rest, uint8_t mark)
{
    size_t len = 0;
    while (len < rest->len && rest->data[len] != mark)
        len++;
    struct hf_bytes part = {rest->data, len};
    size_t skipped = len < rest->len ? len + 1 : len;
    rest->data += skipped;
    rest->len -= skipped;
    return trim(part);
}

/* TS-0009 6.4.3: "application/vnd.onem2m-res+json; ty=10001". */
static void read_content_type(struct hf_maf_message *message, struct hf_bytes text)
{
    if (text.len == 0) {
        message->is_json = true;
        return;
    }
    struct hf_bytes media = take_until(&text, ';');
    message->is_json =
        hf_maf_text_equal_folded(media, hf_maf_text_view("application/json")) ||
        hf_maf_text_equal_folded(media, hf_maf_text_view("application/vnd.onem2m-res+json"));
    while (text.len > 0) {
        struct hf_bytes parameter = take_until(&text, ';');
        struct hf_bytes name = take_until(&parameter, '=');
        if (hf_maf_text_equal_folded(name, hf_maf_text_view("ty")))
            message->type = read_number(trim(parameter));
    }
}

static enum hf_maf_method method_of(const http_parser *parser)
{
    switch (parser->method) {
    case HTTP_POST:
        return HF_MAF_CREATE;
    case HTTP_GET:
        return HF_MAF_RETRIEVE;
    case HTTP_PUT:
        return HF_MAF_UPDATE;
    case HTTP_DELETE:
        return HF_MAF_DELETE;
    default:
        return HF_MAF_OTHER;
    }
}

static int on_complete(http_parser *parser)
{
    struct hf_maf_reader *reader = parser->data;
    struct hf_maf_message *message = &reader->message;
    reader->is_inside = false;
    if (parser->type == HTTP_RESPONSE && parser->status_code / 100 == 1)
        return 0; /* the answer is still to come */
    reader->is_complete = true;
    message->method = method_of(parser);
    message->status = parser->type == HTTP_RESPONSE ? parser->status_code : 0;
    message->target = (struct hf_bytes){(const uint8_t *)reader->target, reader->target_len};
    message->origin = value_of(reader, HEADER_ORIGIN);
    message->request_id = value_of(reader, HEADER_REQUEST_ID);
    message->rsc = read_number(value_of(reader, HEADER_RSC));
    message->body = (struct hf_bytes){reader->body, reader->body_len};
    message->is_kept = http_should_keep_alive(parser) != 0;
    read_content_type(message, value_of(reader, HEADER_CONTENT_TYPE));
    http_parser_pause(parser, 1);
    return 0;
}

/* ---- the reader --------------------------------------------------------------------------- */

enum hf_status hf_maf_reader_open(struct hf_maf_reader **out, enum hf_maf_side side)
{
    struct hf_maf_reader *reader = calloc(1, sizeof(*reader));
    *out = reader;
    if (reader == NULL)
        return HF_E_MEMORY;
    http_parser_init(&reader->parser, side == HF_MAF_SERVER ? HTTP_REQUEST : HTTP_RESPONSE);
    reader->parser.data = reader;
    return HF_OK;
}

void hf_maf_reader_close(struct hf_maf_reader *reader)
{
    if (reader == NULL)
        return;
    wipe_message(reader);
    free(reader->body);
    free(reader);
}

enum hf_maf_read hf_maf_reader_take(struct hf_maf_reader *reader, size_t *consumed,
                                    struct hf_bytes bytes)
{
    static const http_parser_settings settings = {
        .on_message_begin = on_begin,
        .on_url = on_url,
        .on_header_field = on_field,
        .on_header_value = on_value,
        .on_headers_complete = on_headers_complete,
        .on_body = on_body,
        .on_message_complete = on_complete,
    };
    *consumed = 0;
    if (reader->broken_status != 0)
        return HF_MAF_READ_BROKEN;
    if (reader->is_complete)
        wipe_message(reader);
    if (bytes.len == 0)
        return HF_MAF_READ_MORE;
    *consumed =
        http_parser_execute(&reader->parser, &settings, (const char *)bytes.data, bytes.len);
    enum http_errno error = HTTP_PARSER_ERRNO(&reader->parser);
    if (error == HPE_PAUSED && reader->is_complete) {
        http_parser_pause(&reader->parser, 0);
        return HF_MAF_READ_MESSAGE;
    }
    if (error == HPE_OK)
        return HF_MAF_READ_MORE;
    (void)break_off(reader, error == HPE_HEADER_OVERFLOW ? 431 : 400);
    return HF_MAF_READ_BROKEN;
}

const struct hf_maf_message *hf_maf_reader_message(const struct hf_maf_reader *reader)
{
    return &reader->message;
}

unsigned hf_maf_reader_status(const struct hf_maf_reader *reader)
{
    return reader->broken_status;
}

bool hf_maf_reader_is_inside(const struct hf_maf_reader *reader)
{
    return reader->is_inside;
}

void hf_maf_reader_reset(struct hf_maf_reader *reader)
{
    if (!reader->is_inside)
        wipe_message(reader);
}

/* ---- writing ------------------------------------------------------------------------------ */

/* A text of fixed room; `is_bad` sticks. */
struct text {
    char *out;
    size_t len, max;
    bool is_bad;
};

__attribute__((format(__printf__, 2, 3))) static void put(struct text *text, const char *format,
                                                          ...)
{
    va_list list;
    if (text->is_bad)
        return;
    va_start(list, format);
    int len = vsnprintf(text->out + text->len, text->max - text->len, format, list);
    va_end(list);
    text->is_bad = len < 0 || (size_t)len >= text->max - text->len;
    if (!text->is_bad)
        text->len += (size_t)len;
}

static void put_bytes(struct text *text, struct hf_bytes bytes)
{
    text->is_bad |= bytes.len >= text->max - text->len;
    if (text->is_bad || bytes.len == 0)
        return;
    memcpy(text->out + text->len, bytes.data, bytes.len);
    text->len += bytes.len;
}

/* Visible ASCII: nothing that could end a line or begin another header. */
static void put_line(struct text *text, const char *name, struct hf_bytes value)
{
    for (size_t i = 0; i < value.len; i++)
        text->is_bad |= value.data[i] <= ' ' || value.data[i] >= 0x7F;
    if (value.len > 0)
        put(text, "%s: %.*s\r\n", name, (int)value.len, (const char *)value.data);
}

static size_t finish(struct text *text, struct hf_bytes body)
{
    put(text, "\r\n");
    put_bytes(text, body);
    if (text->is_bad) {
        hf_wipe(text->out, text->len);
        return 0;
    }
    return text->len;
}

size_t hf_maf_http_write_request(char *out, size_t out_max, const struct hf_maf_request *request)
{
    static const char *const methods[] = {"POST", "GET", "PUT", "DELETE"};
    struct text text = {.out = out, .max = out_max};
    text.is_bad = (unsigned)request->method >= HF_MAF_OTHER || request->target.len == 0 ||
                  request->target.data[0] != '/' || request->target.len > HF_MAF_TARGET_MAX;
    for (size_t i = 0; i < request->target.len; i++)
        text.is_bad |= request->target.data[i] <= ' ' || request->target.data[i] >= 0x7F;
    if (text.is_bad)
        return 0;
    put(&text, "%s %.*s HTTP/1.1\r\n", methods[request->method], (int)request->target.len,
        (const char *)request->target.data);
    put_line(&text, "Host", request->host);
    put_line(&text, "X-M2M-Origin", request->origin);
    put_line(&text, "X-M2M-RI", request->request_id);
    put(&text, "X-M2M-RVI: 3\r\nAccept: application/json\r\n");
    if (request->body.len > 0 && request->type > 0)
        put(&text, "Content-Type: application/vnd.onem2m-res+json; ty=%u\r\n", request->type);
    else if (request->body.len > 0)
        put(&text, "Content-Type: application/vnd.onem2m-res+json\r\n");
    if (request->body.len > 0 || request->method == HF_MAF_CREATE ||
        request->method == HF_MAF_UPDATE)
        put(&text, "Content-Length: %zu\r\n", request->body.len);
    return finish(&text, request->body);
}

size_t hf_maf_http_write_response(char *out, size_t out_max, const struct hf_maf_response *response)
{
    struct text text = {.out = out, .max = out_max};
    unsigned status = response->status != 0 ? response->status : hf_maf_http_status(response->rsc);
    put(&text, "HTTP/1.1 %u \r\nX-M2M-RSC: %u\r\n", status, response->rsc);
    put_line(&text, "X-M2M-RI", response->request_id);
    put(&text, "X-M2M-RVI: 3\r\nCache-Control: no-store\r\n");
    if (response->body.len > 0)
        put(&text, "Content-Type: application/json\r\n");
    put(&text, "Content-Length: %zu\r\nConnection: %s\r\n", response->body.len,
        response->is_kept ? "keep-alive" : "close");
    return finish(&text, response->body);
}
