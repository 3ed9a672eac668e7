/**
 * maf.c - two lists under one short lock each, and a loop around a key service.
 *
 * Order is what revocation rests on: questions, cancellations and revocations are taken in the
 * order they came, and a reply is in its shard's list before the revocation that follows returns.
 */
#include "maf_private.h"

#include <errno.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#define COUNTERS_US 100000 /* how old the counters may be */
#define KEEP_US 1000000    /* between images of keys to keep, and more for what is long: ... */
#define KEEP_BYTES_PER_US 1
#define FLUSH_MS_MAX 5000

enum item_kind {
    ITEM_ASK = 0,
    ITEM_CANCEL,
    ITEM_REVOKE,
    ITEM_LOGINS,
    ITEM_SERVE,
};

/* A message to the thread. */
struct hf__maf_item {
    struct hf__maf_item *next;
    enum item_kind kind;
    uint32_t shard_index;
    struct hf_ticket ticket;
    struct hf_address peer;
    struct waiter *waiter;
    size_t identity_len;
    uint8_t identity[HF_MAF_IDENTITY_MAX];
};

/* On the stack of whoever waits. */
struct waiter {
    uint64_t context;
    bool is_ours;
    sem_t done;
};

/* ---- open and close ----------------------------------------------------------------------- */

bool hf_maf_open(struct hf_maf **out, char error[HF_MAF_ERROR_MAX],
                 const struct hf_maf_config *config)
{
    struct hf_maf *maf = calloc(1, sizeof(*maf));
    snprintf(error, HF_MAF_ERROR_MAX, "no memory for MAFs");
    if (maf == NULL)
        return false;
    maf->config = *config;
    maf->last = &maf->first;
    pthread_mutex_init(&maf->lock, NULL);
    maf->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    maf->lists = calloc(config->shard_count, sizeof(*maf->lists));
    for (uint32_t i = 0; maf->lists != NULL && i < config->shard_count; i++) {
        pthread_mutex_init(&maf->lists[i].lock, NULL);
        maf->lists[i].last = &maf->lists[i].first;
    }
    bool is_good = maf->lists != NULL && maf->wake_fd >= 0 &&
                   hf_maf_login_set_open(&maf->logins, error, config->mafs);
    if (is_good) {
        enum hf_status status = hf__maf_open_service(maf);
        maf->sockets = status == HF_OK ? hf_maf_sockets_open(maf->link) : NULL;
        is_good = maf->sockets != NULL;
        if (!is_good)
            snprintf(error, HF_MAF_ERROR_MAX, "MAFs: %s", hf_status_text(status));
    }
    if (!is_good) {
        hf_maf_close(maf);
        return false;
    }
    *out = maf;
    return true;
}

static void free_replies(struct hf__maf_reply *reply)
{
    while (reply != NULL) {
        struct hf__maf_reply *next = reply->next;
        explicit_bzero(reply->secret, sizeof(reply->secret));
        free(reply);
        reply = next;
    }
}

void hf_maf_close(struct hf_maf *maf)
{
    if (maf == NULL)
        return;
    if (maf->is_started) {
        pthread_mutex_lock(&maf->lock);
        maf->is_ending = true;
        pthread_mutex_unlock(&maf->lock);
        (void)eventfd_write(maf->wake_fd, 1);
        pthread_join(maf->thread, NULL);
    }
    while (maf->first != NULL) {
        struct hf__maf_item *next = maf->first->next;
        free(maf->first);
        maf->first = next;
    }
    for (uint32_t i = 0; maf->lists != NULL && i < maf->config.shard_count; i++) {
        free_replies(maf->lists[i].first);
        pthread_mutex_destroy(&maf->lists[i].lock);
    }
    free(maf->lists);
    hf_maf_sockets_close(maf->sockets);
    hf_maf_link_close(maf->link);
    hf_key_service_close(maf->service);
    hf_maf_cache_close(maf->cache);
    hf_maf_login_set_close(maf->logins);
    hf_maf_login_set_close(maf->prepared);
    if (maf->wake_fd >= 0)
        close(maf->wake_fd);
    pthread_mutex_destroy(&maf->lock);
    free(maf);
}

/* ---- to the thread ------------------------------------------------------------------------ */

bool hf_maf_is_ours(const struct hf_maf *maf, struct hf_bytes psk_identity)
{
    return maf != NULL && hf_key_service_is_ours(maf->service, psk_identity);
}

bool hf_maf_is_for(const struct hf_maf *maf, uint32_t maf_set, struct hf_bytes psk_identity)
{
    uint32_t index = maf == NULL ? UINT32_MAX : hf_key_service_maf_of(maf->service, psk_identity);
    return index < HF_MAF_CONFIG_MAX && (maf_set >> index & 1) != 0;
}

/* False: too many wait. Takes the item in either case. */
static bool post(struct hf_maf *maf, struct hf__maf_item *item)
{
    pthread_mutex_lock(&maf->lock);
    bool was_empty = maf->first == NULL;
    /* A cancellation belongs to a question that was counted, a revocation to a person. */
    bool has_room = item->kind != ITEM_ASK || maf->item_count < maf->config.questions_max;
    if (has_room) {
        item->next = NULL;
        *maf->last = item;
        maf->last = &item->next;
        maf->item_count++;
    } else {
        maf->overflows++;
    }
    pthread_mutex_unlock(&maf->lock);
    if (!has_room)
        free(item);
    else if (was_empty)
        (void)eventfd_write(maf->wake_fd, 1);
    return has_room;
}

static struct hf__maf_item *make_item(enum item_kind kind, struct hf_bytes identity)
{
    struct hf__maf_item *item = identity.len > HF_MAF_IDENTITY_MAX ? NULL : malloc(sizeof(*item));
    if (item == NULL)
        return NULL;
    item->kind = kind;
    item->waiter = NULL;
    item->identity_len = identity.len;
    if (identity.len > 0)
        memcpy(item->identity, identity.data, identity.len);
    return item;
}

void hf_maf_ask(struct hf_maf *maf, uint32_t shard_index, struct hf_engine *engine,
                const struct hf_onward_question *question)
{
    const struct hf_answer unavailable = {.kind = HF_ANSWER_UNAVAILABLE};
    struct hf__maf_item *item = make_item(ITEM_ASK, question->psk_identity);
    if (item != NULL) {
        item->shard_index = shard_index;
        item->ticket = question->ticket;
        item->peer = question->peer;
    }
    if (item == NULL || !post(maf, item))
        (void)hf_engine_answer(engine, question->ticket, &unavailable);
}

void hf_maf_cancel(struct hf_maf *maf, uint32_t shard_index, struct hf_ticket ticket)
{
    struct hf__maf_item *item = make_item(ITEM_CANCEL, (struct hf_bytes){NULL, 0});
    if (item == NULL) /* a late answer is legal */
        return;
    item->shard_index = shard_index;
    item->ticket = ticket;
    (void)post(maf, item);
}

/* Has the thread do something, and waits until it has. False: no memory. */
static bool post_and_wait(struct hf_maf *maf, struct waiter *waiter, enum item_kind kind,
                          struct hf_bytes identity)
{
    struct hf__maf_item *item = make_item(kind, identity);
    if (item == NULL)
        return false;
    item->waiter = waiter;
    sem_init(&waiter->done, 0, 0);
    (void)post(maf, item);
    while (sem_wait(&waiter->done) != 0)
        continue;
    sem_destroy(&waiter->done);
    return true;
}

bool hf_maf_revoke(struct hf_maf *maf, uint64_t *context, bool *is_kept,
                   struct hf_bytes psk_identity)
{
    struct waiter waiter = {0};
    *context = 0;
    *is_kept = false;
    if (!hf_maf_is_ours(maf, psk_identity) || !maf->is_started ||
        !post_and_wait(maf, &waiter, ITEM_REVOKE, psk_identity))
        return false;
    *context = waiter.context;
    *is_kept = maf->cache == NULL || hf_maf_cache_flush(maf->cache, FLUSH_MS_MAX);
    return waiter.is_ours;
}

/* ---- a reload ----------------------------------------------------------------------------- */

bool hf_maf_prepare(struct hf_maf *maf, char error[HF_MAF_ERROR_MAX],
                    const struct hf_daemon_mafs *mafs)
{
    if (maf == NULL)
        return true;
    hf_maf_abandon(maf);
    return hf_maf_login_set_open(&maf->prepared, error, mafs);
}

void hf_maf_commit(struct hf_maf *maf)
{
    struct waiter waiter = {0};
    if (maf == NULL || maf->prepared == NULL || !maf->is_started)
        return;
    if (maf->cache != NULL)
        hf_maf_cache_secrets(maf->cache, &maf->prepared->secrets);
    if (!post_and_wait(maf, &waiter, ITEM_LOGINS, (struct hf_bytes){NULL, 0}))
        maf->config.log(true, "reload_failed", "no memory for the credentials of MAFs",
                        maf->config.arg);
}

void hf_maf_abandon(struct hf_maf *maf)
{
    if (maf == NULL)
        return;
    hf_maf_login_set_close(maf->prepared);
    maf->prepared = NULL;
}

/* On the thread: whoever posted it waits. All of it was read and judged before. */
static void take_logins(struct hf_maf *maf)
{
    struct hf_maf_login_set *old = maf->logins;
    struct hf_maf_login_set *set = maf->prepared;
    if (set == NULL)
        return;
    maf->logins = set;
    maf->prepared = NULL;
    for (uint32_t i = 0; i < set->count; i++) {
        struct hf_maf_login login;
        hf_maf_login_set_view(&login, set, i, maf->config.mafs->mafs[i].fqdn);
        enum hf_status status = hf_maf_link_set_login(maf->link, i, &login);
        if (status != HF_OK)
            maf->config.log(true, "reload_failed", hf_status_text(status), maf->config.arg);
    }
    hf_maf_login_set_close(old);
}

/* ---- to the shards ------------------------------------------------------------------------ */

static struct hf_bytes put_name(struct hf__maf_reply *reply, size_t *used, struct hf_bytes name)
{
    if (name.len == 0)
        return name;
    memcpy(reply->names + *used, name.data, name.len);
    struct hf_bytes copy = {reply->names + *used, name.len};
    *used += name.len;
    return copy;
}

static struct hf__maf_reply *copy_reply(const struct hf_key_reply *from)
{
    const struct hf_answer *answer = &from->answer;
    size_t used = 0;
    struct hf__maf_reply *reply =
        malloc(sizeof(*reply) + answer->entity_id.len + answer->credential_id.len);
    if (reply == NULL)
        return NULL;
    reply->ticket = from->ticket;
    reply->answer = *answer;
    if (answer->secret.len > 0)
        memcpy(reply->secret, answer->secret.data, answer->secret.len);
    reply->answer.secret.data = reply->secret;
    reply->answer.entity_id = put_name(reply, &used, answer->entity_id);
    reply->answer.credential_id = put_name(reply, &used, answer->credential_id);
    reply->next = NULL;
    return reply;
}

static void hand_over(struct hf_maf *maf, const struct hf_key_reply *reply)
{
    struct hf__maf_list *list = &maf->lists[reply->tag];
    struct hf__maf_reply *copy = copy_reply(reply);
    if (copy == NULL) /* the engine's own deadline ends the wait */
        return;
    pthread_mutex_lock(&list->lock);
    *list->last = copy;
    list->last = &copy->next;
    bool is_woken = list->is_woken;
    list->is_woken = true;
    pthread_mutex_unlock(&list->lock);
    if (!is_woken)
        maf->config.wake((uint32_t)reply->tag, maf->config.arg);
}

static void deliver(struct hf_maf *maf)
{
    struct hf_key_reply reply;
    while (hf_key_service_take_reply(maf->service, &reply))
        hand_over(maf, &reply);
}

void hf_maf_drain(struct hf_maf *maf, uint32_t shard_index, struct hf_engine *engine)
{
    if (maf == NULL)
        return;
    struct hf__maf_list *list = &maf->lists[shard_index];
    pthread_mutex_lock(&list->lock);
    struct hf__maf_reply *replies = list->first;
    list->first = NULL;
    list->last = &list->first;
    list->is_woken = false;
    pthread_mutex_unlock(&list->lock);
    for (const struct hf__maf_reply *reply = replies; reply != NULL; reply = reply->next)
        (void)hf_engine_answer(engine, reply->ticket, &reply->answer);
    free_replies(replies);
}

/* ---- the thread --------------------------------------------------------------------------- */

/* Has what is known written, if it is time to: what changes all the time is not written all the
 * time. */
static void keep(struct hf_maf *maf, bool is_urgent)
{
    struct hf_key_service_counters counters;
    struct hf_key_image image;
    uint64_t now_us = hf_maf_sockets_now_us();
    if (maf->cache == NULL || !maf->is_serving)
        return;
    hf_key_service_counters_get(&counters, maf->service);
    if (!is_urgent && (counters.changes == maf->kept_changes || now_us < maf->keep_due_us))
        return;
    if (!hf_key_image_gather(&image, maf->service))
        return; /* no memory: later */
    maf->kept_changes = counters.changes;
    maf->keep_due_us = now_us + KEEP_US + image.len / KEEP_BYTES_PER_US;
    hf_maf_cache_give(maf->cache, &image);
}

static void take_item(struct hf_maf *maf, const struct hf__maf_item *item)
{
    struct hf_bytes identity = {item->identity, item->identity_len};
    const struct hf_key_question question = {.tag = item->shard_index,
                                             .ticket = item->ticket,
                                             .psk_identity = identity,
                                             .peer = &item->peer};
    switch (item->kind) {
    case ITEM_ASK:
        if (hf_key_service_ask(maf->service, &question) != HF_KEY_ASKED) {
            const struct hf_key_reply full = {.tag = item->shard_index,
                                              .ticket = item->ticket,
                                              .answer = {.kind = HF_ANSWER_UNAVAILABLE}};
            hand_over(maf, &full);
        }
        break;
    case ITEM_CANCEL:
        hf_key_service_cancel(maf->service, item->shard_index, item->ticket);
        break;
    case ITEM_REVOKE:
        item->waiter->is_ours =
            hf_key_service_revoke(maf->service, &item->waiter->context, identity);
        deliver(maf); /* what was ready is in the lists before whoever waits goes on */
        keep(maf, true);
        sem_post(&item->waiter->done);
        break;
    case ITEM_LOGINS:
        take_logins(maf);
        keep(maf, true); /* with the new secrets */
        sem_post(&item->waiter->done);
        break;
    case ITEM_SERVE:
        maf->is_serving = true;
        hf_maf_cache_load(maf->cache, maf->service);
        keep(maf, true); /* it is ours from now on, and whether it can be written is known */
        sem_post(&item->waiter->done);
        break;
    default:
        break;
    }
}

/* False: it is time to end. */
static bool take_items(struct hf_maf *maf)
{
    pthread_mutex_lock(&maf->lock);
    struct hf__maf_item *item = maf->first;
    maf->first = NULL;
    maf->last = &maf->first;
    maf->item_count = 0;
    bool is_ending = maf->is_ending;
    pthread_mutex_unlock(&maf->lock);
    while (item != NULL) {
        struct hf__maf_item *next = item->next;
        take_item(maf, item);
        free(item);
        item = next;
    }
    return !is_ending;
}

static void log_health(struct hf_maf *maf, uint32_t index, const struct hf_maf_health *health)
{
    char text[500];
    if (maf->was_open[index] == health->is_circuit_open)
        return;
    maf->was_open[index] = health->is_circuit_open;
    enum hf_status failure = hf_maf_link_failure(maf->link, index);
    if (health->is_circuit_open)
        snprintf(text, sizeof(text),
                 "MAF %.200s does not answer (last handshake: %s): keys held serve on, other "
                 "lookups fail until it is back",
                 maf->config.mafs->mafs[index].fqdn, hf_status_reason(failure));
    else
        snprintf(text, sizeof(text), "MAF %.200s answers again",
                 maf->config.mafs->mafs[index].fqdn);
    maf->config.log(health->is_circuit_open, health->is_circuit_open ? "maf_down" : "maf_up", text,
                    maf->config.arg);
}

static void publish(struct hf_maf *maf, uint64_t now_us)
{
    struct hf_maf_counters *counters = &maf->counters;
    if (now_us - maf->counted_us < COUNTERS_US && maf->counted_us != 0)
        return;
    maf->counted_us = now_us;
    pthread_mutex_lock(&maf->lock);
    hf_key_service_counters_get(&counters->service, maf->service);
    counters->overflows = maf->overflows;
    counters->maf_count = maf->config.mafs->count;
    for (uint32_t i = 0; i < counters->maf_count; i++) {
        snprintf(counters->mafs[i].fqdn, sizeof(counters->mafs[i].fqdn), "%.253s",
                 maf->config.mafs->mafs[i].fqdn);
        counters->mafs[i].failure = hf_maf_link_failure(maf->link, i);
        hf_key_service_maf_counters_get(&counters->mafs[i].counters, maf->service, i);
    }
    pthread_mutex_unlock(&maf->lock);
    for (uint32_t i = 0; i < counters->maf_count; i++)
        log_health(maf, i, &counters->mafs[i].counters.health);
}

void hf_maf_counters_get(struct hf_maf_counters *out, struct hf_maf *maf)
{
    pthread_mutex_lock(&maf->lock);
    *out = maf->counters;
    pthread_mutex_unlock(&maf->lock);
}

static void *live(void *arg)
{
    struct hf_maf *maf = arg;
    bool is_on = true;
    (void)pthread_setname_np(pthread_self(), "hf-maf");
    while (is_on) {
        eventfd_t count = 0;
        uint64_t now_us = hf_maf_sockets_now_us();
        (void)eventfd_read(maf->wake_fd, &count);
        hf_maf_link_begin(maf->link, now_us, time(NULL));
        hf_maf_sockets_read(maf->sockets);
        is_on = take_items(maf);
        hf_maf_link_end(maf->link);
        hf_maf_sockets_write(maf->sockets);
        deliver(maf);
        publish(maf, now_us);
        keep(maf, !is_on);
        uint64_t until_us = hf_maf_link_next_us(maf->link);
        uint64_t most_us = now_us + 1000000; /* counters and circuits are looked at */
        if (is_on)
            hf_maf_sockets_wait(maf->sockets, maf->wake_fd,
                                until_us < most_us ? until_us : most_us);
    }
    return NULL;
}

bool hf_maf_start(struct hf_maf *maf)
{
    if (maf == NULL)
        return true;
    maf->is_started = (maf->cache == NULL || hf_maf_cache_start(maf->cache)) &&
                      pthread_create(&maf->thread, NULL, live, maf) == 0;
    if (!maf->is_started)
        maf->config.log(true, "start_failed", "no thread for MAFs", maf->config.arg);
    return maf->is_started;
}

void hf_maf_serve(struct hf_maf *maf)
{
    struct waiter waiter = {0};
    if (maf == NULL || maf->cache == NULL)
        return;
    if (!post_and_wait(maf, &waiter, ITEM_SERVE, (struct hf_bytes){NULL, 0}))
        maf->config.log(true, "maf_cache_failed", "no memory to read it", maf->config.arg);
}
