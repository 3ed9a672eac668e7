/**
 * sessions.h - what resumption needs beyond one shard: the cache all shards share, and the secrets
 * that all nodes share.
 */
#ifndef HF_DAEMON_SESSIONS_H
#define HF_DAEMON_SESSIONS_H

#include "daemon_config.h"

#define HF_SESSIONS_ERROR_MAX 1024

struct hf_sessions {
    struct hf_session_cache *cache; /**< NULL: none */
    struct hf_shared_secrets secrets;
    struct hf_shared_secrets prepared; /**< count 0: nothing is */
};

/** hf_sessions_read_secrets reads a file of dated secrets. On false `error` holds one line. */
HF_MUST_USE bool hf_sessions_read_secrets(struct hf_shared_secrets *out,
                                          char error[HF_SESSIONS_ERROR_MAX], const char *path);

/** hf_sessions_open opens the cache and reads the secrets; without a file it draws one. On false
 *  nothing is left to close and `error` holds one line. */
HF_MUST_USE bool hf_sessions_open(struct hf_sessions *out, char error[HF_SESSIONS_ERROR_MAX],
                                  const struct hf_daemon_config *config);

/** hf_sessions_close wipes all of it. No engine may run any more. */
void hf_sessions_close(struct hf_sessions *sessions);

/** hf_sessions_prepare reads the secrets again, for hf_sessions_commit() to take into use or
 *  hf_sessions_abandon() to forget. */
HF_MUST_USE bool hf_sessions_prepare(struct hf_sessions *sessions,
                                     char error[HF_SESSIONS_ERROR_MAX],
                                     const struct hf_daemon_config *config);
void hf_sessions_commit(struct hf_sessions *sessions);
void hf_sessions_abandon(struct hf_sessions *sessions);

#endif
