/**
 * control_request.c - {"command": NAME, ...}: what each command takes is a table; anything else in
 * a request is refused.
 */
#include "control_request.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const commands[HF_CONTROL_COMMAND_COUNT] = {
    "status", "reload", "log-level", "assoc-list", "assoc-show", "assoc-close",
    "why",    "hash",   "revoke",    "restart",    "drain",
};

typedef bool take_fn(struct hf_control_request *request, const json_t *value);

struct field {
    const char *name;
    unsigned commands; /* bits: which take it */
    unsigned needed;   /* bits: which must have it */
    take_fn *take;
    const char *expected;
};

#define BIT(command) (1U << (command))

static bool take_command(struct hf_control_request *request, const json_t *value)
{
    (void)request;
    (void)value; /* read first: it says what else there may be */
    return true;
}

static bool take_force(struct hf_control_request *request, const json_t *value)
{
    request->force = json_is_true(value);
    return json_is_boolean(value);
}

static bool take_level(struct hf_control_request *request, const json_t *value)
{
    static const char *const names[] = {"error", "warning", "notice", "info", "debug"};
    const char *text = json_string_value(value);
    for (int i = 0; text != NULL && i < 5; i++) {
        if (strcmp(text, names[i]) == 0) {
            request->level = 3 + i;
            return true;
        }
    }
    return false;
}

/* 16 hexadecimal digits; JSON's numbers have 53 bits only. */
static bool take_hex(uint64_t *out, const json_t *value)
{
    const char *text = json_string_value(value);
    if (text == NULL || strlen(text) != 16 || json_string_length(value) != 16 ||
        strspn(text, "0123456789abcdefABCDEF") != 16)
        return false;
    *out = strtoull(text, NULL, 16);
    return true;
}

static bool take_association(struct hf_control_request *request, const json_t *value)
{
    return take_hex(&request->association, value);
}

static bool take_cursor(struct hf_control_request *request, const json_t *value)
{
    return take_hex(&request->cursor, value);
}

static bool take_limit(struct hf_control_request *request, const json_t *value)
{
    json_int_t number = json_integer_value(value);
    if (!json_is_integer(value) || number < 1 || number > HF_CONTROL_LIST_MAX)
        return false;
    request->limit = (uint32_t)number;
    return true;
}

static bool take_seconds(struct hf_control_request *request, const json_t *value)
{
    json_int_t number = json_integer_value(value);
    if (!json_is_integer(value) || number < 0 || number > 86400)
        return false;
    request->seconds = (uint32_t)number;
    return true;
}

static bool take_text(struct hf_control_request *request, const json_t *value)
{
    size_t len = json_string_length(value);
    /* One subject, not two: which of them counted would depend on their order. */
    if (!json_is_string(value) || len == 0 || len >= sizeof(request->text) ||
        request->text_len != 0)
        return false;
    memcpy(request->text, json_string_value(value), len);
    request->text[len] = '\0';
    request->text_len = len;
    return true;
}

/* An identity of any octets. */
static bool take_text_hex(struct hf_control_request *request, const json_t *value)
{
    const char *text = json_string_value(value);
    size_t len = json_string_length(value);
    if (text == NULL || len == 0 || len % 2 != 0 || len / 2 >= sizeof(request->text) ||
        strspn(text, "0123456789abcdefABCDEF") != len || request->text_len != 0)
        return false;
    for (size_t i = 0; i < len / 2; i++) {
        const char digits[3] = {text[2 * i], text[2 * i + 1], '\0'};
        request->text[i] = (char)strtoul(digits, NULL, 16);
    }
    request->text_len = len / 2;
    return true;
}

#define ANY (BIT(HF_CONTROL_COMMAND_COUNT) - 1)
#define ONE_ASSOCIATION (BIT(HF_CONTROL_ASSOC_SHOW) | BIT(HF_CONTROL_ASSOC_CLOSE))
#define NAMED (BIT(HF_CONTROL_WHY) | BIT(HF_CONTROL_HASH) | BIT(HF_CONTROL_REVOKE))

static const struct field fields[] = {
    {"command", ANY, ANY, take_command, "a command"},
    {"force", BIT(HF_CONTROL_RELOAD), 0, take_force, "true or false"},
    {"level", BIT(HF_CONTROL_LOG_LEVEL), 0, take_level, "error, warning, notice, info or debug"},
    {"association", ONE_ASSOCIATION, ONE_ASSOCIATION, take_association, "16 hexadecimal digits"},
    {"cursor", BIT(HF_CONTROL_ASSOC_LIST), 0, take_cursor, "16 hexadecimal digits"},
    {"limit", BIT(HF_CONTROL_ASSOC_LIST), 0, take_limit, "a number from 1 to 200"},
    {"seconds", BIT(HF_CONTROL_DRAIN), 0, take_seconds, "a number from 0 to 86400"},
    {"match", BIT(HF_CONTROL_ASSOC_LIST), 0, take_text, "a text of at most 1099 bytes"},
    {"subject", NAMED, 0, take_text, "an identity or an address"},
    {"subject_hex", NAMED, 0, take_text_hex, "an identity in hexadecimal"},
};

#define FIELD_COUNT (sizeof(fields) / sizeof(fields[0]))

static bool refuse(char *reason, const char *name, const char *what)
{
    snprintf(reason, HF_CONTROL_REASON_MAX, "%.60s%s%.90s", name, name[0] == '\0' ? "" : ": ",
             what);
    return false;
}

static bool find_command(enum hf_control_command *out, const json_t *object)
{
    const char *name = json_string_value(json_object_get(object, "command"));
    for (int i = 0; name != NULL && i < HF_CONTROL_COMMAND_COUNT; i++) {
        if (strcmp(name, commands[i]) == 0) {
            *out = (enum hf_control_command)i;
            return true;
        }
    }
    return false;
}

static bool take_all(struct hf_control_request *out, char *reason, json_t *object)
{
    const char *name = NULL;
    json_t *value = NULL;
    unsigned bit = BIT(out->command);
    json_object_foreach(object, name, value)
    {
        size_t i = 0;
        while (i < FIELD_COUNT &&
               (strcmp(fields[i].name, name) != 0 || (fields[i].commands & bit) == 0))
            i++;
        if (i == FIELD_COUNT)
            return refuse(reason, name, "this command has no such field");
        if (!fields[i].take(out, value))
            return refuse(reason, name, fields[i].expected);
    }
    for (size_t i = 0; i < FIELD_COUNT; i++)
        if ((fields[i].needed & bit) != 0 && json_object_get(object, fields[i].name) == NULL)
            return refuse(reason, fields[i].name, "is missing");
    if ((NAMED & bit) != 0 && out->text_len == 0)
        return refuse(reason, "subject", "is missing");
    return true;
}

bool hf_control_request_parse(struct hf_control_request *out, char reason[HF_CONTROL_REASON_MAX],
                              const char *line, size_t len)
{
    json_error_t error;
    memset(out, 0, sizeof(*out));
    out->level = -1;
    out->limit = HF_CONTROL_LIST_MAX;
    out->seconds = HF_CONTROL_DRAIN_SECONDS;
    if (len >= HF_CONTROL_LINE_MAX)
        return refuse(reason, "", "the line is too long");
    json_t *object = json_loadb(line, len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
    if (object == NULL)
        return refuse(reason, "no JSON", error.text);
    bool is_good = false;
    if (!json_is_object(object))
        is_good = refuse(reason, "", "not a JSON object");
    else if (!find_command(&out->command, object))
        is_good = refuse(reason, "command", "there is no such command");
    else
        is_good = take_all(out, reason, object);
    json_decref(object);
    return is_good;
}

const char *hf_control_command_name(enum hf_control_command command)
{
    return commands[command];
}

bool hf_control_command_changes(const struct hf_control_request *request)
{
    return request->command == HF_CONTROL_ASSOC_CLOSE || request->command == HF_CONTROL_RELOAD ||
           request->command == HF_CONTROL_REVOKE || request->command == HF_CONTROL_RESTART ||
           request->command == HF_CONTROL_DRAIN ||
           (request->command == HF_CONTROL_LOG_LEVEL && request->level >= 0);
}
