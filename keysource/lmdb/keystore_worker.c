/**
 * keystore_worker.c - the reading process: the only one of a daemon that maps the store. It may die
 * of what it reads; nobody else does.
 *
 * It closes every descriptor it was forked with, serves one exchange after the other, and ends with
 * its keeper.
 */
#include "keystore_shared.h"

#include "crypto.h"

#include <linux/futex.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#define IDLE_MS 60000

struct worker {
    struct hf_keystore_shared *shared;
    const char *path;
    struct hf_bytes authority;
    bool has_authority;
    struct hf_keydb *db;
    uint64_t *retired; /* of a generation that was replaced, or kept in it: still to be told */
    size_t retired_count, retired_told, retired_max;
    bool is_kept; /* which of the two */
    bool has_no_memory;
};

/* ---- waiting ------------------------------------------------------------------------------ */

void hf_keystore_futex_wait(_Atomic uint32_t *word, uint32_t value, uint32_t wait_ms)
{
    struct timespec wait = {wait_ms / 1000, (long)(wait_ms % 1000) * 1000000};
    (void)syscall(SYS_futex, word, FUTEX_WAIT, value, &wait, NULL, 0);
}

void hf_keystore_futex_wake(_Atomic uint32_t *word)
{
    (void)syscall(SYS_futex, word, FUTEX_WAKE, 1, NULL, NULL, 0);
}

/* ---- look-ups ----------------------------------------------------------------------------- */

static bool is_answerable(const struct worker *worker, const struct hf_keydb_key *key,
                          int64_t wall_s)
{
    if (key->not_before_s > wall_s)
        return false;
    return !worker->has_authority || key->authority.len == 0 ||
           (key->authority.len == worker->authority.len &&
            hf_bytes_equal_public(key->authority.data, worker->authority.data, key->authority.len));
}

static void look_up(struct worker *worker, struct hf_keystore_slot *slot, int64_t wall_s)
{
    struct hf_keydb_key key;
    struct hf_bytes identity = {slot->identity, slot->identity_len};
    enum hf_keydb_found found = hf_keydb_get(&key, worker->shared->error, worker->db, identity);
    if (found == HF_KEYDB_DAMAGED) {
        slot->outcome = HF_KEYSTORE_DAMAGED;
        return;
    }
    slot->outcome = HF_KEYSTORE_REFUSED;
    if (found != HF_KEYDB_FOUND || !is_answerable(worker, &key, wall_s))
        return;
    slot->entity_kind = (uint8_t)key.entity_kind;
    slot->expires_s = key.not_after_s;
    slot->revision = key.revision;
    slot->secret_len = (uint16_t)key.secret.len;
    slot->entity_len = (uint16_t)key.entity_id.len;
    memcpy(slot->secret, key.secret.data, key.secret.len);
    if (key.entity_id.len > 0)
        memcpy(slot->entity_id, key.entity_id.data, key.entity_id.len);
    slot->outcome = HF_KEYSTORE_FOUND;
}

/* One short snapshot for all of them. Without one, every slot stays unavailable. */
static void look_up_batch(struct worker *worker)
{
    struct hf_keystore_shared *shared = worker->shared;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (!hf_keydb_begin_read(worker->db, shared->error))
        return;
    for (uint32_t i = 0; i < shared->batch_count; i++)
        look_up(worker, &shared->slots[shared->batch[i]], now.tv_sec);
    hf_keydb_end_read(worker->db);
}

/* ---- changes ------------------------------------------------------------------------------ */

static void keep_retired(uint64_t revision, void *arg)
{
    struct worker *worker = arg;
    if (worker->retired_count == worker->retired_max) {
        size_t max = worker->retired_max == 0 ? 1024 : 2 * worker->retired_max;
        uint64_t *larger = realloc(worker->retired, max * sizeof(*larger));
        worker->has_no_memory |= larger == NULL;
        if (larger == NULL)
            return;
        worker->retired = larger;
        worker->retired_max = max;
    }
    worker->retired[worker->retired_count++] = revision;
}

static bool keep_kept(const struct hf_keydb_key *key, void *arg)
{
    struct worker *worker = arg;
    keep_retired(key->revision, arg);
    return !worker->has_no_memory;
}

static int compare_revisions(const void *a, const void *b)
{
    uint64_t first = *(const uint64_t *)a;
    uint64_t second = *(const uint64_t *)b;
    return (first > second) - (first < second);
}

/* What is there now, when nobody can tell what is not there any more. A key that is put in later
 * has a revision of that time. */
static void collect_kept(struct worker *worker)
{
    struct hf_keystore_shared *shared = worker->shared;
    struct timespec now;
    char error[HF_KEYDB_ERROR_MAX];
    clock_gettime(CLOCK_REALTIME, &now);
    worker->retired_count = worker->retired_told = 0;
    worker->has_no_memory = false;
    bool is_good = hf_keydb_each(worker->db, error, keep_kept, worker) && !worker->has_no_memory;
    shared->newest = (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
    worker->is_kept = is_good;
    if (is_good && worker->retired_count > 0) {
        qsort(worker->retired, worker->retired_count, sizeof(uint64_t), compare_revisions);
    } else if (is_good) { /* an empty store keeps nothing: one context that nobody has */
        keep_retired(0, worker);
    } else {
        worker->retired_count = 0; /* still owed: the next process tries again */
        shared->is_retired_unknown = true;
    }
}

/* What the new generation lacks. The restore has checked all of it; doing so again would keep
 * look-ups waiting. */
static void follow_restore(struct worker *worker)
{
    struct hf_keystore_shared *shared = worker->shared;
    struct hf_keydb *next = NULL;
    uint64_t count = 0;
    char error[HF_KEYDB_ERROR_MAX];
    if (!hf_keydb_open(&next, error, worker->path, HF_KEYDB_READ)) {
        memcpy(shared->error, error, sizeof(error));
        return;
    }
    shared->is_kept_owed = true;
    worker->is_kept = worker->has_no_memory = false;
    bool is_compared = hf_keydb_difference(&count, error, worker->db, next, keep_retired, worker) &&
                       !worker->has_no_memory;
    hf_keydb_close(worker->db);
    worker->db = next;
    if (!is_compared)
        collect_kept(worker);
    else if (worker->retired_count == 0)
        shared->is_kept_owed = false;
    if (hf_keydb_begin_read(next, error))
        shared->cursor = hf_keydb_cursor(next);
    hf_keydb_end_read(next);
    shared->generation = hf_keydb_generation(next);
}

static void tell_retired(struct worker *worker)
{
    struct hf_keystore_shared *shared = worker->shared;
    size_t count = worker->retired_count - worker->retired_told;
    if (count > 0) {
        count = count < HF_KEYSTORE_RETIRED_MAX ? count : HF_KEYSTORE_RETIRED_MAX;
        memcpy(shared->retired, worker->retired + worker->retired_told, count * sizeof(uint64_t));
        worker->retired_told += count;
        shared->retired_count = (uint32_t)count;
        shared->is_kept = worker->is_kept;
        shared->has_more_retired = true;
        if (worker->retired_told == worker->retired_count) {
            worker->retired_told = worker->retired_count = 0;
            worker->is_kept = shared->is_kept_owed = false;
            shared->has_more_retired = !shared->is_kept;
        }
        return;
    }
    shared->is_kept = false;
    if (!hf_keydb_begin_read(worker->db, shared->error))
        return;
    shared->retired_count = (uint32_t)hf_keydb_retired(shared->retired, HF_KEYSTORE_RETIRED_MAX,
                                                       &shared->cursor, worker->db);
    shared->has_more_retired = shared->retired_count == HF_KEYSTORE_RETIRED_MAX;
    hf_keydb_end_read(worker->db);
}

static void poll_changes(struct worker *worker)
{
    struct hf_keystore_shared *shared = worker->shared;
    if (worker->retired_count == 0 && !hf_keydb_is_current(worker->db))
        follow_restore(worker);
    tell_retired(worker);
    shared->keys = hf_keydb_count(worker->db);
    shared->transaction = hf_keydb_transaction(worker->db);
}

/* ---- the process -------------------------------------------------------------------------- */

static bool start(struct worker *worker)
{
    struct hf_keystore_shared *shared = worker->shared;
    struct hf_keydb_report report;
    if (!hf_keydb_open_checked(&worker->db, &report, shared->error, worker->path, HF_KEYDB_READ) ||
        !hf_keydb_begin_read(worker->db, shared->error))
        return false;
    uint64_t generation = hf_keydb_generation(worker->db);
    if (shared->generation != generation) {
        shared->is_kept_owed = shared->generation != 0;
        shared->cursor = hf_keydb_cursor(worker->db);
        shared->generation = generation;
    }
    hf_keydb_end_read(worker->db);
    shared->keys = report.keys;
    shared->transaction = report.transaction;
    if (shared->is_kept_owed) /* or the process before died before it had told */
        collect_kept(worker);
    return true;
}

static void prepare_process(int parent)
{
    static const int fatal[] = {SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL};
    static const int foreign[] = {SIGINT, SIGTERM, SIGHUP, SIGPIPE, SIGUSR1, SIGUSR2};
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(1);
    (void)prctl(PR_SET_NAME, "hf-keystore");
    (void)prctl(PR_SET_DUMPABLE, 0);
    (void)setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
    for (size_t i = 0; i < sizeof(fatal) / sizeof(fatal[0]); i++)
        (void)signal(fatal[i], SIG_DFL);
    for (size_t i = 0; i < sizeof(foreign) / sizeof(foreign[0]); i++)
        (void)signal(foreign[i], SIG_IGN); /* the terminal's; only the parent ends us */
    (void)signal(SIGCHLD, SIG_DFL);
    sigset_t none;
    sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    (void)close_range(3, ~0U, 0);
}

void hf_keystore_worker_run(struct hf_keystore_shared *shared, const char *path,
                            const char *authority, int parent)
{
    struct worker worker = {.shared = shared, .path = path, .has_authority = authority != NULL};
    if (authority != NULL)
        worker.authority = (struct hf_bytes){(const uint8_t *)authority, strlen(authority)};
    prepare_process(parent);
    uint32_t served = atomic_load(&shared->asked);
    shared->is_started = start(&worker);
    atomic_store(&shared->answered, served);
    hf_keystore_futex_wake(&shared->answered);
    while (shared->is_started) {
        uint32_t asked = atomic_load(&shared->asked);
        if (asked == served) {
            hf_keystore_futex_wait(&shared->asked, served, IDLE_MS);
            continue;
        }
        shared->error[0] = '\0';
        if (shared->is_poll)
            poll_changes(&worker);
        else
            look_up_batch(&worker);
        served = asked;
        atomic_store(&shared->answered, served);
        hf_keystore_futex_wake(&shared->answered);
    }
    _exit(1);
}
