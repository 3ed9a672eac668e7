/**
 * maf_cache.c - see maf_cache.h.
 */
#include "maf_cache.h"

#include "file.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define LINE_MAX_LEN 640
#define PATH_LEN_MAX 1100 /* its limit in the configuration is less */

struct hf_maf_cache {
    struct hf_maf_cache_config config;
    char path[PATH_LEN_MAX - 8];
    char beside[PATH_LEN_MAX]; /* path and ".new" */
    pthread_t thread;
    bool is_started;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct hf_shared_secrets secrets;
    struct hf_key_image waiting; /* count 0: none */
    uint64_t given, done;        /* images; done: written, replaced by a newer, or failed */
    bool is_last_good, is_ending;
    /* The thread's alone. */
    uint8_t id[HF_KEY_IMAGE_ID_LEN]; /* of what we wrote last */
    bool has_written, is_lost, is_failing;
};

static void say(const struct hf_maf_cache *cache, bool is_error, const char *event,
                const char *what, const char *why)
{
    char text[LINE_MAX_LEN];
    snprintf(text, sizeof(text), "%.300s: %s%s%.200s", cache->path, what,
             why[0] != '\0' ? ": " : "", why);
    cache->config.log(is_error, event, text, cache->config.arg);
}

struct hf_maf_cache *hf_maf_cache_open(const struct hf_maf_cache_config *config,
                                       const struct hf_shared_secrets *secrets)
{
    pthread_condattr_t attributes;
    struct hf_maf_cache *cache = calloc(1, sizeof(*cache));
    if (cache == NULL)
        return NULL;
    cache->config = *config;
    cache->config.path = NULL; /* the caller's */
    snprintf(cache->path, sizeof(cache->path), "%s", config->path);
    snprintf(cache->beside, sizeof(cache->beside), "%s.new", cache->path);
    cache->secrets = *secrets;
    cache->is_last_good = true;
    pthread_mutex_init(&cache->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&cache->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    return cache;
}

/* ---- reading ------------------------------------------------------------------------------ */

void hf_maf_cache_load(struct hf_maf_cache *cache, struct hf_key_service *service)
{
    struct hf_file file;
    struct hf_key_image_report report = {0};
    char error[HF_FILE_ERROR_MAX];
    char text[120];
    if (access(cache->path, F_OK) != 0 && errno == ENOENT)
        return;
    if (!hf_file_read(&file, error, cache->path, true)) {
        cache->config.log(true, "maf_cache_damaged", error, cache->config.arg);
        return;
    }
    if (hf_key_image_open(service, &report, hf_file_view(&file), &cache->secrets)) {
        snprintf(text, sizeof(text), "%u keys and revocations are back, %u are over", report.kept,
                 report.dropped);
        say(cache, false, "maf_cache_loaded", text, "");
    } else {
        say(cache, true, "maf_cache_damaged",
            "no key is taken from it, MAFs are asked again; revocations are lost with it",
            report.why);
    }
    hf_file_wipe(&file);
}

/* ---- writing ------------------------------------------------------------------------------ */

/* Whether somebody else has written since we did. */
static bool is_taken(const struct hf_maf_cache *cache)
{
    uint8_t head[HF_KEY_IMAGE_HEAD_LEN];
    if (!cache->has_written)
        return false;
    int fd = open(cache->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0)
        return false;
    ssize_t got = read(fd, head, sizeof(head));
    close(fd);
    struct hf_bytes id = hf_key_image_id((struct hf_bytes){head, got > 0 ? (size_t)got : 0});
    return id.len > 0 && memcmp(id.data, cache->id, sizeof(cache->id)) != 0;
}

/* False with errno. */
static bool put_in_place(const struct hf_maf_cache *cache, const uint8_t *data, size_t len)
{
    (void)unlink(cache->beside);
    int fd = open(cache->beside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return false;
    bool is_good = hf_file_write_all(fd, (struct hf_bytes){data, len}) && fdatasync(fd) == 0;
    int code = errno;
    close(fd);
    if (is_good && rename(cache->beside, cache->path) == 0)
        return hf_file_sync_directory(cache->path);
    code = is_good ? errno : code;
    (void)unlink(cache->beside);
    errno = code;
    return false;
}

static bool write_image(struct hf_maf_cache *cache, const struct hf_key_image *image,
                        const struct hf_shared_secrets *secrets)
{
    uint8_t *data = NULL;
    size_t len = 0;
    if (cache->is_lost || is_taken(cache)) {
        if (!cache->is_lost)
            say(cache, false, "maf_cache_lost",
                "another process keeps its keys there now: ours are not written any more", "");
        cache->is_lost = true;
        return false;
    }
    bool is_good = hf_key_image_seal(&data, &len, image, secrets, (int64_t)time(NULL));
    if (!is_good)
        errno = ENOMEM;
    else
        is_good = put_in_place(cache, data, len);
    if (is_good) {
        cache->has_written = true;
        memcpy(cache->id, hf_key_image_id((struct hf_bytes){data, len}).data, sizeof(cache->id));
    } else if (!cache->is_failing) {
        say(cache, true, "maf_cache_failed", "keys of MAFs cannot be kept", strerror(errno));
    }
    cache->is_failing = !is_good;
    free(data);
    return is_good;
}

static void *live(void *arg)
{
    struct hf_maf_cache *cache = arg;
    (void)pthread_setname_np(pthread_self(), "hf-maf-cache");
    pthread_mutex_lock(&cache->lock);
    while (!cache->is_ending || cache->waiting.count > 0) {
        if (cache->waiting.count == 0) {
            pthread_cond_wait(&cache->changed, &cache->lock);
            continue;
        }
        struct hf_key_image image = cache->waiting;
        struct hf_shared_secrets secrets = cache->secrets;
        uint64_t number = cache->given;
        cache->waiting = (struct hf_key_image){0};
        pthread_mutex_unlock(&cache->lock);
        bool is_good = write_image(cache, &image, &secrets);
        hf_key_image_wipe(&image);
        explicit_bzero(&secrets, sizeof(secrets));
        pthread_mutex_lock(&cache->lock);
        cache->done = number;
        cache->is_last_good = is_good;
        pthread_cond_broadcast(&cache->changed);
    }
    pthread_mutex_unlock(&cache->lock);
    return NULL;
}

bool hf_maf_cache_start(struct hf_maf_cache *cache)
{
    cache->is_started = pthread_create(&cache->thread, NULL, live, cache) == 0;
    return cache->is_started;
}

void hf_maf_cache_secrets(struct hf_maf_cache *cache, const struct hf_shared_secrets *secrets)
{
    pthread_mutex_lock(&cache->lock);
    cache->secrets = *secrets;
    pthread_mutex_unlock(&cache->lock);
}

void hf_maf_cache_give(struct hf_maf_cache *cache, struct hf_key_image *image)
{
    pthread_mutex_lock(&cache->lock);
    struct hf_key_image old = cache->waiting;
    cache->waiting = *image;
    cache->given++;
    pthread_cond_broadcast(&cache->changed);
    pthread_mutex_unlock(&cache->lock);
    *image = (struct hf_key_image){0};
    hf_key_image_wipe(&old);
}

bool hf_maf_cache_flush(struct hf_maf_cache *cache, uint32_t patience_ms)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += patience_ms / 1000;
    until.tv_nsec += (long)(patience_ms % 1000) * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    pthread_mutex_lock(&cache->lock);
    uint64_t number = cache->given;
    int status = 0;
    while (cache->done < number && status == 0)
        status = pthread_cond_timedwait(&cache->changed, &cache->lock, &until);
    bool is_good = cache->done >= number && cache->is_last_good;
    pthread_mutex_unlock(&cache->lock);
    return is_good;
}

void hf_maf_cache_close(struct hf_maf_cache *cache)
{
    if (cache == NULL)
        return;
    if (cache->is_started) {
        pthread_mutex_lock(&cache->lock);
        cache->is_ending = true;
        pthread_cond_broadcast(&cache->changed);
        pthread_mutex_unlock(&cache->lock);
        pthread_join(cache->thread, NULL);
    }
    hf_key_image_wipe(&cache->waiting);
    pthread_cond_destroy(&cache->changed);
    pthread_mutex_destroy(&cache->lock);
    explicit_bzero(cache, sizeof(*cache));
    free(cache);
}
