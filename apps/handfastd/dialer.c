/**
 * dialer.c - see dialer.h.
 *
 * All addresses are tried one after the other; when none is left the dialer backs off, for twice as
 * long each time, and then one try goes first: the others follow when it has succeeded.
 */
#include "dialer_private.h"

#include "clock.h"

#include <stdlib.h>
#include <string.h>

static void count(_Atomic uint64_t *counter, int64_t n)
{
    atomic_store_explicit(counter,
                          atomic_load_explicit(counter, memory_order_relaxed) + (uint64_t)n,
                          memory_order_relaxed);
}

static bool is_datagram(const struct dialer *dialer)
{
    return dialer->config.transport == HF_TRANSPORT_DTLS;
}

static void forget_session(struct dialer *dialer)
{
    explicit_bzero(dialer->session, sizeof(dialer->session));
    dialer->session_len = 0;
}

/* ---- opening and closing ------------------------------------------------------------------ */

struct hf_dialers *hf_dialers_open(const struct hf_daemon_config *config, uint32_t shard_index,
                                   struct hf_dialer_pairs *pairs)
{
    struct hf_dialers *dialers =
        calloc(1, sizeof(*dialers) + config->dialer_count * sizeof(struct dialer));
    if (dialers == NULL)
        return NULL;
    dialers->pairs = pairs;
    dialers->count = config->dialer_count;
    for (uint32_t i = 0; i < dialers->count; i++) {
        dialers->dialers[i].index = i;
        dialers->dialers[i].is_ours = i % config->shard_count == shard_index;
    }
    hf_dialers_update(dialers, config);
    return dialers;
}

void hf_dialers_close(struct hf_dialers *dialers)
{
    if (dialers == NULL)
        return;
    for (uint32_t i = 0; i < dialers->count; i++)
        forget_session(&dialers->dialers[i]);
    free(dialers);
}

uint32_t hf_dialers_sockets(struct hf_dialers *dialers, struct hf_loop_socket *sockets,
                            uint32_t count_before)
{
    uint32_t used = count_before;
    for (uint32_t i = 0; i < dialers->count; i++) {
        struct dialer *dialer = &dialers->dialers[i];
        const struct hf_daemon_dialer *config = &dialer->config;
        if (!dialer->is_ours)
            continue;
        dialer->socket_index = used;
        sockets[used++] = (struct hf_loop_socket){.address = config->listen,
                                                  .transport = config->transport,
                                                  .listener_index = i,
                                                  .is_plain = true,
                                                  .silence_us_max = config->silence_us};
        if (is_datagram(dialer)) /* all zero is [::]: both families */
            sockets[used++] = (struct hf_loop_socket){.address = config->source,
                                                      .transport = HF_TRANSPORT_DTLS,
                                                      .listener_index = i,
                                                      .is_client = true};
    }
    return used;
}

void hf_dialers_opened(struct hf_dialers *dialers, const struct hf_loop *loop)
{
    for (uint32_t i = 0; i < dialers->count; i++)
        if (dialers->dialers[i].is_ours)
            dialers->dialers[i].listen = hf_loop_address(loop, dialers->dialers[i].socket_index);
}

/* New addresses are tried from the first on, and at once. Whether what a session goes back to still
 * stands nobody asks a client: a full handshake does. */
void hf_dialers_update(struct hf_dialers *dialers, const struct hf_daemon_config *config)
{
    for (uint32_t i = 0; i < dialers->count; i++) {
        struct dialer *dialer = &dialers->dialers[i];
        dialer->config = config->dialers[i];
        forget_session(dialer);
        dialer->address_first = 0;
        dialer->not_before_us = 0;
        atomic_store(&dialer->next_us, 0);
        atomic_store(&dialer->address_index, 0);
    }
}

/* ---- what is said about it ---------------------------------------------------------------- */

static void log_failure(const struct dialer *dialer, const struct hf_address *address,
                        enum hf_status status, const struct hf_failure *failure)
{
    struct hf_log_line line;
    hf_log_begin(&line, HF_LOG_NOTICE, HF_LOG_SLOT_FAILED + (uint32_t)status, "dial_failed",
                 hf_status_reason(status));
    hf_log_text(&line, "dialer", dialer->config.name);
    hf_log_address(&line, "peer", address);
    if (failure != NULL && failure->alert != HF_ALERT_NONE)
        hf_log_text(&line, "alert", hf_alert_name(failure->alert));
    if (failure != NULL && failure->state != NULL)
        hf_log_text(&line, "state", failure->state);
    if (failure != NULL && failure->clause != NULL && failure->clause[0] != '\0')
        hf_log_text(&line, "clause", failure->clause);
    hf_log_end(&line);
}

static void log_given_up(const struct dialer *dialer)
{
    struct hf_log_line line;
    hf_log_begin(&line, HF_LOG_NOTICE, HF_LOG_SLOT_RESPOND, "dial_given_up", NULL);
    hf_log_text(&line, "dialer", dialer->config.name);
    hf_log_end(&line);
}

/* ---- tries -------------------------------------------------------------------------------- */

static uint64_t name_of(const struct dialer *dialer, const struct try *try)
{
    return (uint64_t)dialer->index << 56 | (uint64_t)(try - dialer->tries) << 32 | try->generation;
}

static struct try *find_named(struct hf_dialers *dialers, struct dialer **out, uint64_t name)
{
    uint32_t index = (uint32_t)(name >> 56), at = (uint32_t)(name >> 32) & 0xffffff;
    if (index >= dialers->count || at >= TRIES_MAX)
        return NULL;
    *out = &dialers->dialers[index];
    struct try *try = &(*out)->tries[at];
    return try->stage == STAGE_DIALLING && try->generation == (uint32_t)name ?
    try : NULL
        ;
}

static struct try *find_association(struct dialer *dialer, hf_association_id association)
{
    for (uint32_t i = 0; i < TRIES_MAX; i++)
        if (dialer->tries[i].stage >= STAGE_DIALLING && dialer->tries[i].association == association)
            return &dialer->tries[i];
    return NULL;
}

static struct try *take(struct dialer *dialer, uint64_t entrance, uint64_t until_us)
{
    for (uint32_t i = 0; i < TRIES_MAX; i++) {
        struct try *try = &dialer->tries[i];
        if (try->stage != STAGE_NONE)
            continue;
        *try = (struct try){.stage = STAGE_WAITING,
                            .entrance = entrance,
                            .until_us = until_us,
                            .is_kept = entrance == 0,
                            .generation = try->generation + 1};
        count(&dialer->waiting, entrance != 0);
        return try;
    }
    return NULL;
}

static void drop(struct dialer *dialer, struct try *try)
{
    if (try->stage != STAGE_OPEN)
        count(&dialer->waiting, -(int64_t)(try->entrance != 0));
    try->stage = STAGE_NONE;
    try->association = 0;
}

/* Whether somebody is on his way already, after a failure: the others wait for what he finds. */
static bool has_scout(const struct dialer *dialer)
{
    for (uint32_t i = 0; i < TRIES_MAX && dialer->failures > 0; i++)
        if (dialer->tries[i].stage == STAGE_DIALLING)
            return true;
    return false;
}

/* ---- dialling ----------------------------------------------------------------------------- */

static void back_off(struct dialer *dialer)
{
    const struct hf_daemon_dialer *config = &dialer->config;
    uint64_t now = hf_clock_us();
    if (now < dialer->not_before_us)
        return; /* another try has found the same */
    uint64_t pause = config->redial_us_min;
    for (uint32_t i = 0; i < dialer->failures && pause < config->redial_us_max; i++)
        pause *= 2;
    if (pause > config->redial_us_max)
        pause = config->redial_us_max;
    dialer->failures++;
    /* Up to an eighth less, so that many nodes do not come back together. */
    dialer->not_before_us = now + pause - now % (pause / 8 + 1);
    atomic_store_explicit(&dialer->next_us, dialer->not_before_us, memory_order_relaxed);
}

static const struct hf_address *address_of(struct dialer *dialer, const struct try *try)
{
    return &dialer->config.addresses[try->address_index % dialer->config.address_count];
}

/* SA2 only behind SA1: false, there is none. */
static bool find_pair(struct hf_dialers *dialers, const struct dialer *dialer, struct hf_pair *out)
{
    pthread_mutex_lock(&dialers->pairs->lock);
    *out = dialers->pairs->pairs[dialer->index];
    pthread_mutex_unlock(&dialers->pairs->lock);
    return out->is_registered;
}

static enum hf_status connect_to(struct hf_dialers *dialers, struct dialer *dialer,
                                 struct hf_loop *loop, const struct try *try)
{
    const struct hf_daemon_dialer *config = &dialer->config;
    bool is_paired = config->pair_index < HF_LISTENERS_MAX;
    enum hf_flavour flavour =
        config->flavour == HF_DIALER_FLAVOUR_RAW ? HF_FLAVOUR_RAW : HF_FLAVOUR_CSE_ID;
    struct hf_pair pair;
    if (is_paired && !find_pair(dialers, dialer, &pair))
        return HF_WAITING;
    struct hf_connect connect = {
        .dialer_index = dialer->index,
        .path = {.peer = *address_of(dialer, try), .local = config->source},
        .user = name_of(dialer, try),
        .server_name = {(const uint8_t *)config->server_name, strlen(config->server_name)},
        .psk_identity = {(const uint8_t *)config->identity, strlen(config->identity)},
        .flavour = flavour,
        .entity_id = {(const uint8_t *)config->peer, strlen(config->peer)},
        .pair = is_paired ? &pair : NULL,
        .session = {dialer->session, config->is_resumption_off ? 0 : dialer->session_len},
    };
    if (is_datagram(dialer)) /* the socket that is there for it says which */
        connect.path.local = (struct hf_address){0};
    return hf_loop_connect(loop, &connect);
}

/* One address after the other, until one takes time or none is left. */
static void dial(struct hf_dialers *dialers, struct dialer *dialer, struct hf_loop *loop,
                 struct try *try)
{
    while (try->stage == STAGE_WAITING) {
        if (hf_clock_us() < dialer->not_before_us || has_scout(dialer))
            return;
        try->stage = STAGE_DIALLING;
        try->association = 0;
        atomic_store_explicit(&dialer->address_index,
                              try->address_index % dialer->config.address_count,
                              memory_order_relaxed);
        enum hf_status status = connect_to(dialers, dialer, loop, try);
        if (status == HF_OK)
            return;
        try->stage = STAGE_WAITING;
        if (status == HF_WAITING) /* room next second, or an SA1 */
            return;
        count(&dialer->dials[status], 1);
        log_failure(dialer, address_of(dialer, try), status, NULL);
        try->address_index++;
        if (++try->address_count % dialer->config.address_count == 0)
            back_off(dialer);
    }
}

/* It did not come about. */
static void fail(struct hf_dialers *dialers, struct dialer *dialer, struct hf_loop *loop,
                 struct try *try, enum hf_status status, const struct hf_failure *failure)
{
    count(&dialer->dials[status], 1);
    log_failure(dialer, address_of(dialer, try), status, failure);
    if (failure != NULL) /* if it was the session's fault, the next one does without */
        forget_session(dialer);
    try->stage = STAGE_WAITING;
    try->association = 0;
    try->address_index++;
    if (++try->address_count % dialer->config.address_count == 0)
        back_off(dialer);
    if (try->entrance == 0 && !try->is_kept) /* nobody waits for it any more */
        drop(dialer, try);
    dial(dialers, dialer, loop, try);
}

static void dial_all(struct hf_dialers *dialers, struct dialer *dialer, struct hf_loop *loop)
{
    for (uint32_t i = 0; i < TRIES_MAX; i++)
        dial(dialers, dialer, loop, &dialer->tries[i]);
}

static struct try *begin(struct hf_dialers *dialers, struct dialer *dialer, struct hf_loop *loop,
                         uint64_t entrance)
{
    struct try *try =
        take(dialer, entrance, entrance == 0 ? NEVER_US : hf_clock_us() + dialer->config.wait_us);
    if (try == NULL)
        return NULL;
    try->address_index = dialer->address_first;
    dial(dialers, dialer, loop, try);
    return try;
}

static struct try *find_kept(struct dialer *dialer)
{
    for (uint32_t i = 0; i < TRIES_MAX; i++)
        if (dialer->tries[i].stage != STAGE_NONE && dialer->tries[i].is_kept)
            return &dialer->tries[i];
    return NULL;
}

static struct try *find_any(struct dialer *dialer)
{
    for (uint32_t i = 0; i < TRIES_MAX; i++)
        if (dialer->tries[i].stage != STAGE_NONE)
            return &dialer->tries[i];
    return NULL;
}

static void keep_one(struct hf_dialers *dialers, struct dialer *dialer, struct hf_loop *loop)
{
    bool is_there = is_datagram(dialer) ? find_any(dialer) != NULL : find_kept(dialer) != NULL;
    if (dialer->config.is_kept && !is_there)
        (void)begin(dialers, dialer, loop, 0);
}

/* ---- what happens ------------------------------------------------------------------------- */

/* All datagrams want the same association. */
static void datagram_entered(struct hf_dialers *dialers, struct dialer *dialer,
                             struct hf_loop *loop, uint64_t entrance)
{
    struct try *try = find_any(dialer);
    if (try == NULL) {
        (void)begin(dialers, dialer, loop, entrance);
    } else if (try->stage == STAGE_OPEN) {
        try->is_wanted = true; /* its end is on its way */
    } else if (try->entrance == 0) {
        try->entrance = entrance;
        try->until_us = hf_clock_us() + dialer->config.wait_us;
        count(&dialer->waiting, 1);
    }
}

void hf_dialers_entered(struct hf_dialers *dialers, struct hf_loop *loop, uint32_t dialer_index,
                        uint64_t entrance)
{
    struct dialer *dialer = &dialers->dialers[dialer_index];
    if (is_datagram(dialer)) {
        datagram_entered(dialers, dialer, loop, entrance);
        return;
    }
    struct try *kept = find_kept(dialer);
    if (kept != NULL && kept->stage == STAGE_OPEN &&
        hf_loop_join(loop, entrance, kept->association) == HF_OK) {
        drop(dialer, kept);
        keep_one(dialers, dialer, loop);
        return;
    }
    if (begin(dialers, dialer, loop, entrance) == NULL) {
        log_given_up(dialer);
        hf_loop_dismiss(loop, entrance);
    }
}

void hf_dialers_dialled(struct hf_dialers *dialers, struct hf_loop *loop, uint64_t user,
                        hf_association_id association, enum hf_status status)
{
    struct dialer *dialer = NULL;
    struct try *try = find_named(dialers, &dialer, user);
    if (try == NULL)
        return;
    if (status == HF_OK)
        try->association = association;
    else
        fail(dialers, dialer, loop, try, status, NULL);
}

static void established(struct hf_dialers *dialers, struct dialer *dialer, struct hf_loop *loop,
                        struct try *try)
{
    hf_association_id association = try->association;
    count(&dialer->dials[HF_OK], 1);
    count(&dialer->associations, 1);
    dialer->failures = 0;
    dialer->not_before_us = 0;
    dialer->address_first = try->address_index % dialer->config.address_count;
    atomic_store_explicit(&dialer->next_us, 0, memory_order_relaxed);
    count(&dialer->waiting, -(int64_t)(try->entrance != 0));
    try->stage = STAGE_OPEN;
    if (is_datagram(dialer)) { /* also before anybody has said a word: the peer may */
        if (hf_loop_join(loop, hf_loop_datagram_entrance(dialer->index), association) != HF_OK)
            hf_loop_end(loop, association, HF_CLOSE_NOTIFY);
    } else if (!try->is_kept) {
        if (hf_loop_join(loop, try->entrance, association) != HF_OK) /* who asked has gone */
            hf_loop_end(loop, association, HF_CLOSE_NOTIFY);
        drop(dialer, try);
    }
    dial_all(dialers, dialer, loop);
}

void hf_dialers_event(struct hf_dialers *dialers, struct hf_loop *loop,
                      const struct hf_event *event)
{
    struct dialer *dialer = &dialers->dialers[event->listener_index];
    struct try *try = find_association(dialer, event->association);
    switch (event->kind) {
    case HF_EVENT_ESTABLISHED:
        if (try != NULL)
            established(dialers, dialer, loop, try);
        break;
    case HF_EVENT_HANDSHAKE_FAILED:
        if (try != NULL)
            fail(dialers, dialer, loop, try, event->failure.status, &event->failure);
        break;
    case HF_EVENT_CLOSED:
        count(&dialer->associations, -1);
        if (try == NULL)
            break;
        drop(dialer, try);
        if (try->is_wanted)
            (void)begin(dialers, dialer, loop, hf_loop_datagram_entrance(dialer->index));
        break;
    case HF_EVENT_SESSION:
        if (event->data.len <= sizeof(dialer->session)) {
            memcpy(dialer->session, event->data.data, event->data.len);
            dialer->session_len = event->data.len;
        }
        break;
    case HF_EVENT_DATA: /* the loop's */
    case HF_EVENT_READABLE:
    case HF_EVENT_MOVED:
    case HF_EVENT_PEER_CLOSED:
    case HF_EVENT_KEYLOG:
        break;
    }
}

/* Plaintext that has waited long enough. What is on its way for it may still come. */
static void give_up(struct dialer *dialer, struct hf_loop *loop, struct try *try)
{
    log_given_up(dialer);
    hf_loop_dismiss(loop, try->entrance);
    if (try->stage == STAGE_WAITING) {
        drop(dialer, try);
        return;
    }
    count(&dialer->waiting, -1);
    try->entrance = 0;
    try->until_us = NEVER_US;
}

void hf_dialers_second(struct hf_dialers *dialers, struct hf_loop *loop)
{
    for (uint32_t i = 0; i < dialers->count; i++) {
        struct dialer *dialer = &dialers->dialers[i];
        if (!dialer->is_ours)
            continue;
        uint64_t now = hf_clock_us();
        for (uint32_t at = 0; at < TRIES_MAX; at++) {
            struct try *try = &dialer->tries[at];
            bool is_waiting = try->stage == STAGE_WAITING || try->stage == STAGE_DIALLING;
            if (is_waiting && now >= try->until_us)
                give_up(dialer, loop, try);
        }
        keep_one(dialers, dialer, loop);
        dial_all(dialers, dialer, loop);
    }
}

/* ---- from another process ----------------------------------------------------------------- */

/* One we had dialled. Its plaintext connection has come along; or it has none, and is one kept. */
static void adopt(struct dialer *dialer, struct hf_loop *loop, hf_association_id association)
{
    count(&dialer->associations, 1);
    if (!dialer->is_ours || hf_loop_is_joined(loop, association))
        return;
    struct try *try = take(dialer, 0, NEVER_US);
    if (try == NULL)
        return;
    try->stage = STAGE_OPEN;
    try->association = association;
    if (is_datagram(dialer) &&
        hf_loop_join(loop, hf_loop_datagram_entrance(dialer->index), association) != HF_OK)
        drop(dialer, try); /* there is another one */
}

void hf_dialers_adopt(struct hf_dialers *dialers, struct hf_loop *loop)
{
    struct hf_association_entry entry;
    struct hf_association_info info;
    uint32_t cursor = 0;
    const struct hf_engine *engine = hf_loop_engine(loop);
    if (dialers->count == 0)
        return;
    while (
        hf_engine_next_association(&entry, &cursor, engine, hf_engine_association_slots(engine))) {
        if (entry.established && entry.is_client && entry.listener_index < dialers->count)
            adopt(&dialers->dialers[entry.listener_index], loop, entry.association);
        else if (entry.established && !entry.is_client &&
                 hf_engine_association_info(&info, engine, entry.association) == HF_OK)
            hf_dialers_met(dialers, &info);
    }
}

/* ---- pairs -------------------------------------------------------------------------------- */

/* That the CSE brings plaintext for it says that it has registered: it would not, otherwise. */
void hf_dialers_met(struct hf_dialers *dialers, const struct hf_association_info *info)
{
    struct hf_bytes entity_id = {(const uint8_t *)info->entity_id, info->entity_id_len};
    for (uint32_t i = 0; i < dialers->count; i++) {
        const struct hf_daemon_dialer *config = &dialers->dialers[i].config;
        struct hf_pair pair;
        if (config->pair_index != info->listener_index ||
            strcmp(config->peer, info->entity_id) != 0 || hf_pair_begin(&pair, info) != HF_OK ||
            hf_pair_register(&pair, entity_id) != HF_OK)
            continue;
        pthread_mutex_lock(&dialers->pairs->lock);
        dialers->pairs->pairs[i] = pair;
        pthread_mutex_unlock(&dialers->pairs->lock);
    }
}

/* ---- for others --------------------------------------------------------------------------- */

bool hf_dialers_status(struct hf_dialer_status *out, const struct hf_dialers *dialers,
                       uint32_t dialer_index)
{
    const struct dialer *dialer = &dialers->dialers[dialer_index];
    if (dialer_index >= dialers->count || !dialer->is_ours)
        return false;
    uint64_t now = hf_clock_us();
    uint64_t next_us = atomic_load_explicit(&dialer->next_us, memory_order_relaxed);
    memset(out, 0, sizeof(*out));
    out->listen = dialer->listen;
    out->address_index = atomic_load_explicit(&dialer->address_index, memory_order_relaxed);
    out->associations = atomic_load_explicit(&dialer->associations, memory_order_relaxed);
    out->waiting = atomic_load_explicit(&dialer->waiting, memory_order_relaxed);
    out->backing_off_s = next_us > now ? (next_us - now + 999999) / 1000000 : 0;
    for (int i = 0; i < HF_STATUS_COUNT; i++)
        out->dials[i] = atomic_load_explicit(&dialer->dials[i], memory_order_relaxed);
    return true;
}
