/**
 * maf_private.h - what the files of the MAFs' thread share. Private to maf*.c.
 */
#ifndef HF_MAF_PRIVATE_H
#define HF_MAF_PRIVATE_H

#include "maf.h"
#include "maf_cache.h"
#include "maf_login.h"

#include <maf_sockets.h>
#include <pthread.h>

/* A message to a shard; secret. Entity and Credential-ID follow. */
struct hf__maf_reply {
    struct hf__maf_reply *next;
    struct hf_ticket ticket;
    struct hf_answer answer;
    uint8_t secret[HF_PSK_MAX];
    uint8_t names[];
};

struct hf__maf_list {
    pthread_mutex_t lock;
    struct hf__maf_reply *first, **last;
    bool is_woken;
};

struct hf__maf_item;

struct hf_maf {
    struct hf_maf_config config;
    struct hf_key_service *service;
    struct hf_maf_link *link;
    struct hf_maf_sockets *sockets;
    struct hf_maf_login_set *logins;   /* the thread's, once it runs */
    struct hf_maf_login_set *prepared; /* of a reload */
    struct hf_key_source source;
    struct hf_maf_cache *cache; /* NULL: keys are not kept across a restart */
    bool is_serving;            /* before, the file is another process's. The thread's */
    uint64_t kept_changes, keep_due_us;
    pthread_t thread;
    bool is_started;
    int wake_fd;
    pthread_mutex_t lock; /* of items and counters */
    struct hf__maf_item *first, **last;
    uint32_t item_count;
    uint64_t overflows;
    bool is_ending;
    struct hf_maf_counters counters;
    uint64_t counted_us;
    bool was_open[HF_MAF_CONFIG_MAX]; /* circuits, for the log */
    struct hf__maf_list *lists;       /* one a shard */
};

/* maf_open.c */

/** hf__maf_open_service opens service, link and cache; on failure what is open by then is the
 *  caller's to close. */
enum hf_status hf__maf_open_service(struct hf_maf *maf);

#endif
