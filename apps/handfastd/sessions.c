/**
 * sessions.c - see sessions.h.
 */
#include "sessions.h"

#include "file.h"

#include <stdio.h>
#include <string.h>

bool hf_sessions_read_secrets(struct hf_shared_secrets *out, char error[HF_SESSIONS_ERROR_MAX],
                              const char *path)
{
    struct hf_file file;
    char reason[HF_FILE_ERROR_MAX];
    const char *why = NULL;
    size_t line = 0;
    if (!hf_file_read(&file, reason, path, true)) {
        snprintf(error, HF_SESSIONS_ERROR_MAX, "%s", reason);
        return false;
    }
    bool is_good = hf_shared_secrets_parse(out, &line, &why, hf_file_view(&file)) == HF_OK;
    hf_file_wipe(&file);
    if (!is_good)
        snprintf(error, HF_SESSIONS_ERROR_MAX, "%.300s:%zu: %s", path, line, why);
    return is_good;
}

bool hf_sessions_open(struct hf_sessions *out, char error[HF_SESSIONS_ERROR_MAX],
                      const struct hf_daemon_config *config)
{
    memset(out, 0, sizeof(*out));
    if (config->shared_secrets[0] != '\0') {
        if (!hf_sessions_read_secrets(&out->secrets, error, config->shared_secrets))
            return false;
    } else if (hf_shared_secrets_rotate(&out->secrets, 0, 0) != HF_OK) {
        snprintf(error, HF_SESSIONS_ERROR_MAX, "no randomness");
        return false;
    }
    if (config->session_cache == 0 ||
        hf_session_cache_open(&out->cache, config->session_cache) == HF_OK)
        return true;
    hf_sessions_close(out);
    snprintf(error, HF_SESSIONS_ERROR_MAX, "no memory for a cache of %llu sessions",
             (unsigned long long)config->session_cache);
    return false;
}

void hf_sessions_close(struct hf_sessions *sessions)
{
    hf_session_cache_close(sessions->cache);
    explicit_bzero(sessions, sizeof(*sessions));
}

bool hf_sessions_prepare(struct hf_sessions *sessions, char error[HF_SESSIONS_ERROR_MAX],
                         const struct hf_daemon_config *config)
{
    if (config->shared_secrets[0] == '\0') { /* what was drawn, or read before, stays */
        sessions->prepared = sessions->secrets;
        return true;
    }
    return hf_sessions_read_secrets(&sessions->prepared, error, config->shared_secrets);
}

void hf_sessions_commit(struct hf_sessions *sessions)
{
    sessions->secrets = sessions->prepared;
    hf_sessions_abandon(sessions);
}

void hf_sessions_abandon(struct hf_sessions *sessions)
{
    explicit_bzero(&sessions->prepared, sizeof(sessions->prepared));
}
