/**
 * maf_cache.h - the keys of MAFs in a file, so that they serve on after a restart while a MAF is
 * down: sealed (key_image.h), written whole and put in place by a rename, on a thread of its own.
 *
 * The file is the newest image or the one before it, whenever the process is killed. One process
 * keeps its keys in it: whoever wrote last owns it, and an earlier one notices and stops writing.
 */
#ifndef HF_MAF_CACHE_H
#define HF_MAF_CACHE_H

#include <key_image.h>

struct hf_maf_cache;

struct hf_maf_cache_config {
    const char *path; /**< copied */
    /** log gives one line. Thread: the cache's; that of the load for what it says. */
    void (*log)(bool is_error, const char *event, const char *text, void *arg);
    void *arg;
};

/** hf_maf_cache_open prepares; nothing is read or written. NULL: no memory. */
struct hf_maf_cache *hf_maf_cache_open(const struct hf_maf_cache_config *config,
                                       const struct hf_shared_secrets *secrets);

/** hf_maf_cache_load puts what the file holds into the service. What does not open is one line in
 *  the log, and nothing is put in. */
void hf_maf_cache_load(struct hf_maf_cache *cache, struct hf_key_service *service);

/** hf_maf_cache_start starts the thread. */
HF_MUST_USE bool hf_maf_cache_start(struct hf_maf_cache *cache);

/** hf_maf_cache_secrets has images sealed with others from now on. Thread: any. */
void hf_maf_cache_secrets(struct hf_maf_cache *cache, const struct hf_shared_secrets *secrets);

/** hf_maf_cache_give has an image written, instead of one that still waits to be. Takes it.
 *  Thread: any; does not wait. */
void hf_maf_cache_give(struct hf_maf_cache *cache, struct hf_key_image *image);

/** hf_maf_cache_flush waits until what was given is on the disk; false: it is not, after
 *  `patience_ms` or because it could not be written. Thread: any. */
HF_MUST_USE bool hf_maf_cache_flush(struct hf_maf_cache *cache, uint32_t patience_ms);

/** hf_maf_cache_close writes what was given, ends the thread and frees; NULL is allowed. */
void hf_maf_cache_close(struct hf_maf_cache *cache);

#endif
