/**
 * signers.c - see signers.h. A table that only grows: loops read it while a reload adds to it.
 */
#include "signers.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

static struct {
    char text[HF_PATH_TEXT_MAX];
    struct hf_signer *signer;
} table[HF_SIGNERS_MAX];
static _Atomic uint32_t table_count;

bool hf_signers_names(const char *text)
{
    return strncmp(text, "signer:", 7) == 0;
}

bool hf_signers_used(const struct hf_daemon_config *config)
{
    for (uint32_t i = 0; i < config->authority_count; i++)
        if (hf_signers_names(config->authorities[i].key) ||
            hf_signers_names(config->authorities[i].rpk_key))
            return true;
    return false;
}

static bool add(uint32_t *index, char *error, const char *text,
                const struct hf_signer_config *config)
{
    uint32_t count = atomic_load_explicit(&table_count, memory_order_relaxed);
    if (count == HF_SIGNERS_MAX) {
        snprintf(error, HF_SIGNER_ERROR_MAX, "more than %d signers since the start",
                 HF_SIGNERS_MAX);
        return false;
    }
    if (hf_signer_open(&table[count].signer, error, config) != HF_OK)
        return false;
    snprintf(table[count].text, sizeof(table[count].text), "%s", text);
    atomic_store_explicit(&table_count, count + 1, memory_order_release);
    *index = count;
    return true;
}

bool hf_signers_find(uint64_t *remote, uint8_t key[HF_SIGNER_KEY_LEN], size_t *key_len,
                     char error[HF_SIGNER_ERROR_MAX], const char *text)
{
    char copy[HF_PATH_TEXT_MAX];
    struct hf_signer_config config;
    uint32_t index = 0;
    uint32_t count = atomic_load_explicit(&table_count, memory_order_relaxed);
    snprintf(copy, sizeof(copy), "%s", text);
    if (!hf_signer_parse(&config, copy)) {
        snprintf(error, HF_SIGNER_ERROR_MAX,
                 "%.200s: not signer:PATH#LABEL, which a file has in quotes", text);
        return false;
    }
    *key_len = hf_signer_fetch_key(key, error, &config) == HF_OK ? HF_SIGNER_KEY_LEN : 0;
    while (index < count && strcmp(table[index].text, text) != 0)
        index++;
    if (index == count && !add(&index, error, text, &config))
        return false;
    *remote = index;
    return true;
}

bool hf_signers_sign(struct hf_loop *loop, struct hf_job *job, void *arg)
{
    uint64_t remote = 0;
    (void)arg;
    return hf_credential_is_remote(&remote, job->credential) &&
           remote < atomic_load_explicit(&table_count, memory_order_acquire) &&
           hf_signer_sign(table[remote].signer, loop, job);
}

uint32_t hf_signers_counters_get(struct hf_signer_counters *out)
{
    uint32_t count = atomic_load_explicit(&table_count, memory_order_acquire);
    memset(out, 0, sizeof(*out));
    for (uint32_t i = 0; i < count; i++) {
        struct hf_signer_counters one;
        hf_signer_counters_get(&one, table[i].signer);
        out->requests += one.requests;
        out->signatures += one.signatures;
        out->refusals += one.refusals;
        out->timeouts += one.timeouts;
        out->rejected += one.rejected;
        out->connects += one.connects;
        out->disconnects += one.disconnects;
        out->waiting += one.waiting;
    }
    return count;
}

void hf_signers_close(void)
{
    uint32_t count = atomic_exchange(&table_count, 0);
    for (uint32_t i = 0; i < count; i++) {
        hf_signer_close(table[i].signer);
        table[i].signer = NULL;
    }
}
