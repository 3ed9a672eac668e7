/**
 * config_file.c - fuzz target: the text of a configuration file. What is refused names the file and
 * one of its lines; what is taken stays within its limits, means the same when it is read again,
 * and, once settled, is a configuration the engine takes.
 */
#include "config_file.h"

#include "fuzz.h"

#include <stdio.h>
#include <string.h>

#define PATH "a.conf"

static struct hf_daemon_config config, again;

/* Nothing opens a loop here. */
void hf_loop_config_init(struct hf_loop_config *out)
{
    memset(out, 0, sizeof *out);
}

static char *copy_text(const uint8_t *data, size_t len)
{
    char *text = malloc(len + 1);
    FUZZ_CHECK(text != NULL);
    if (len > 0)
        memcpy(text, data, len);
    text[len] = '\0';
    return text;
}

static bool parse(struct hf_daemon_config *out, char *error, const uint8_t *data, size_t len)
{
    char *text = copy_text(data, len);
    hf_daemon_config_init(out);
    snprintf(out->config_file, sizeof out->config_file, PATH);
    memset(error, 0xff, HF_OPTIONS_ERROR_MAX);
    bool is_good = hf_config_file_parse(out, error, PATH, text, len);
    free(text);
    return is_good;
}

/* "a.conf: text" or "a.conf: line N: text", one line, N a line of the file or just behind it. */
static void check_error(const char *error, const uint8_t *data, size_t len)
{
    unsigned line = 0;
    unsigned lines = 2;
    for (size_t i = 0; i < len; i++)
        lines += data[i] == '\n';
    FUZZ_CHECK(memchr(error, '\0', HF_OPTIONS_ERROR_MAX) != NULL);
    FUZZ_CHECK(strncmp(error, PATH ": ", strlen(PATH) + 2) == 0);
    FUZZ_CHECK(strpbrk(error, "\n\r") == NULL);
    if (sscanf(error, PATH ": line %u:", &line) == 1)
        FUZZ_CHECK(line >= 1 && line <= lines);
}

static bool is_name(const char name[HF_NAME_MAX])
{
    return name[0] != '\0' && memchr(name, '\0', HF_NAME_MAX) != NULL &&
           strpbrk(name, "\"\\\n {}") == NULL;
}

static void check_limits(void)
{
    FUZZ_CHECK(config.socket_count <= HF_LISTENERS_MAX);
    FUZZ_CHECK(config.authority_count <= HF_AUTHORITIES_MAX);
    FUZZ_CHECK(config.shard_count >= 1 && config.shard_count <= HF_SHARDS_MAX);
    for (uint32_t i = 0; i < config.socket_count; i++) {
        FUZZ_CHECK(is_name(config.details[i].name));
        FUZZ_CHECK(config.details[i].suite_count <= HF_SUITES_MAX);
        for (uint32_t k = 0; k < i; k++) /* two of a name could not be told apart */
            FUZZ_CHECK(strcmp(config.details[i].name, config.details[k].name) != 0);
    }
    for (uint32_t i = 0; i < config.authority_count; i++)
        FUZZ_CHECK(is_name(config.authorities[i].name));
}

static void check_settled(const uint8_t *data, size_t len)
{
    char error[HF_OPTIONS_ERROR_MAX] = "";
    struct hf_config engine;
    struct hf_quota quotas[HF_QUOTAS_MAX];
    const char *why = NULL;
    if (!hf_daemon_config_settle(&config, error)) {
        check_error(error, data, len);
        return;
    }
    for (uint32_t i = 0; i < config.socket_count; i++)
        FUZZ_CHECK(config.details[i].authority_index < config.authority_count);
    for (uint32_t shard = 0; shard < config.shard_count; shard++) {
        hf_daemon_config_engine(&engine, quotas, &config, shard);
        FUZZ_CHECK(hf_config_check(&why, &engine) == HF_OK);
    }
    again = config;
    if (fuzz_is_canary())
        again.shard_count++;
    FUZZ_CHECK(hf_daemon_config_fixed(error, &config, &again));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    char error[HF_OPTIONS_ERROR_MAX];
    char other[HF_OPTIONS_ERROR_MAX];
    bool is_good = parse(&config, error, data, len);
    FUZZ_CHECK(parse(&again, other, data, len) == is_good);
    if (!is_good) {
        FUZZ_CHECK(strcmp(error, other) == 0);
        check_error(error, data, len);
        return 0;
    }
    FUZZ_CHECK(memcmp(&config, &again, sizeof config) == 0);
    check_limits();
    check_settled(data, len);
    return 0;
}
