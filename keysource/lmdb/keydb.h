/**
 * keydb.h - a store of provisioned keys in LMDB: a directory that many processes read and write.
 *
 *     DIR/current      a symbolic link that names the generation in use
 *     DIR/keys-N.mdb   generation N, one LMDB file; a restore makes the next one
 *     DIR/committed    the last transaction that was acknowledged
 *     DIR/writers      locked: shared by writers, alone by a restore
 *
 * This is the library of whoever manages keys and of the store's reading process. LMDB maps the
 * file: on a file that is cut short or changed under it, calls here may end in SIGBUS or SIGSEGV.
 * So they belong in a process that may die: keystore_service.h keeps one for a daemon,
 * hf_keydb_guard() runs a command in one.
 *
 * Not thread-safe: one thread at a time per hf_keydb. `error` is written on failure only, one line
 * that names the store and never holds key material. Secret: views of records.
 */
#ifndef HF_KEYDB_H
#define HF_KEYDB_H

#include <handfast/keysource.h>

struct hf_keydb;

#define HF_KEYDB_ERROR_MAX 512
#define HF_KEYDB_IDENTITY_MAX 1024
#define HF_KEYDB_AUTHORITY_MAX 64
#define HF_KEYDB_SECRET_MIN 16  /* fewer bytes are guessable */
#define HF_KEYDB_PUTS_MAX 10000 /* per transaction */

/** A key and what is known of it. Times are UTC seconds; 0 is "no limit". */
struct hf_keydb_key {
    struct hf_bytes identity;  /**< 1..HF_KEYDB_IDENTITY_MAX */
    struct hf_bytes secret;    /**< HF_KEYDB_SECRET_MIN..HF_PSK_MAX */
    struct hf_bytes entity_id; /**< or empty */
    struct hf_bytes authority; /**< who issued it, or empty; at most HF_KEYDB_AUTHORITY_MAX */
    enum hf_entity_kind entity_kind;
    int64_t created_s;
    int64_t not_before_s; /**< valid from this second on */
    int64_t not_after_s;  /**< valid until before this second; at most UINT32_MAX */
    uint64_t revision;    /**< names this state of this key for ever; given by the store */
};

enum hf_keydb_access {
    HF_KEYDB_READ = 0,
    HF_KEYDB_WRITE,
    HF_KEYDB_CREATE, /**< as HF_KEYDB_WRITE, and make the store if it is not there */
};

/** hf_keydb_open opens the store at directory `path`, after checking modes, both meta pages and the
 *  file's length. Cheap: see hf_keydb_check(). */
HF_MUST_USE bool hf_keydb_open(struct hf_keydb **out, char error[HF_KEYDB_ERROR_MAX],
                               const char *path, enum hf_keydb_access access);

/** What a check counted. */
struct hf_keydb_report {
    uint64_t keys;
    uint64_t pages_used, pages_free, pages;
    uint64_t transaction;
};

/** hf_keydb_open_checked checks the whole, as hf_keydb_check() does, before LMDB may look at it. */
HF_MUST_USE bool hf_keydb_open_checked(struct hf_keydb **out, struct hf_keydb_report *report,
                                       char error[HF_KEYDB_ERROR_MAX], const char *path,
                                       enum hf_keydb_access access);

/** hf_keydb_close releases all; an open transaction is given up. NULL is allowed. */
void hf_keydb_close(struct hf_keydb *db);

/** hf_keydb_check reads every page of a snapshot with read(2), believing nothing: structure, order,
 *  ownership of pages, the checksum of every record. Cost: about a second per million keys. */
HF_MUST_USE bool hf_keydb_check(struct hf_keydb_report *out, char error[HF_KEYDB_ERROR_MAX],
                                struct hf_keydb *db);

/** hf_keydb_check_file does the same for a file nobody writes: a backup. */
HF_MUST_USE bool hf_keydb_check_file(struct hf_keydb_report *out, char error[HF_KEYDB_ERROR_MAX],
                                     const char *path);

/* ---- reading ------------------------------------------------------------------------------ */

/** hf_keydb_begin_read takes a snapshot; keep it short: pages it can see are not reused. */
HF_MUST_USE bool hf_keydb_begin_read(struct hf_keydb *db, char error[HF_KEYDB_ERROR_MAX]);
void hf_keydb_end_read(struct hf_keydb *db);

enum hf_keydb_found {
    HF_KEYDB_FOUND = 0,
    HF_KEYDB_ABSENT,
    HF_KEYDB_DAMAGED, /**< `error` says what */
};

/** hf_keydb_get looks up within a snapshot or a write. Views point into the store. */
HF_MUST_USE enum hf_keydb_found hf_keydb_get(struct hf_keydb_key *out,
                                             char error[HF_KEYDB_ERROR_MAX], struct hf_keydb *db,
                                             struct hf_bytes identity);

/** Called for each key in the store's order; false ends the walk. */
typedef bool hf_keydb_visit(const struct hf_keydb_key *key, void *arg);

/** hf_keydb_each walks all keys of one snapshot. */
HF_MUST_USE bool hf_keydb_each(struct hf_keydb *db, char error[HF_KEYDB_ERROR_MAX],
                               hf_keydb_visit *visit, void *arg);

/** hf_keydb_count gives the number of keys. */
uint64_t hf_keydb_count(struct hf_keydb *db);

/** hf_keydb_generation gives N of the file that is open. */
uint64_t hf_keydb_generation(const struct hf_keydb *db);

/** hf_keydb_transaction gives the number of the last transaction. */
uint64_t hf_keydb_transaction(struct hf_keydb *db);

/** hf_keydb_is_current tells whether `current` still names the open generation. */
bool hf_keydb_is_current(const struct hf_keydb *db);

/* ---- revisions that are no more ------------------------------------------------------------ */

/** hf_keydb_retired copies out revisions of keys that were removed or replaced since `*cursor`,
 *  oldest first, and moves the cursor; 0 starts at what is remembered (a day). Needs a snapshot. */
size_t hf_keydb_retired(uint64_t *out, size_t max, uint64_t *cursor, struct hf_keydb *db);

/** hf_keydb_cursor gives the cursor of now: nothing retired yet is reported after it. */
uint64_t hf_keydb_cursor(struct hf_keydb *db);

/** hf_keydb_difference counts the revisions of `before` that `after` lacks, and hands each to
 *  `visit`, unless that is NULL. */
HF_MUST_USE bool hf_keydb_difference(uint64_t *out, char error[HF_KEYDB_ERROR_MAX],
                                     struct hf_keydb *before, struct hf_keydb *after,
                                     void (*visit)(uint64_t revision, void *arg), void *arg);

/* ---- writing ------------------------------------------------------------------------------ */

/** hf_keydb_begin waits for other writers and begins a transaction of at most HF_KEYDB_PUTS_MAX
 *  puts or removals. */
HF_MUST_USE bool hf_keydb_begin(struct hf_keydb *db, char error[HF_KEYDB_ERROR_MAX]);

enum hf_keydb_put {
    HF_KEYDB_ADDED = 0,
    HF_KEYDB_REPLACED,
    HF_KEYDB_UNCHANGED, /**< all of it was there already: its revision stays */
    HF_KEYDB_EXISTS,    /**< another key is there, and it was not to be replaced */
    HF_KEYDB_FAILED,    /**< `error` says why; abort */
};

/** hf_keydb_put writes one key; `revision` is given by the store. */
HF_MUST_USE enum hf_keydb_put hf_keydb_put(struct hf_keydb *db, char error[HF_KEYDB_ERROR_MAX],
                                           const struct hf_keydb_key *key, bool may_replace);

/** hf_keydb_remove removes one key. HF_KEYDB_FOUND: it is gone. */
HF_MUST_USE enum hf_keydb_found hf_keydb_remove(struct hf_keydb *db, char error[HF_KEYDB_ERROR_MAX],
                                                struct hf_bytes identity);

/** hf_keydb_commit makes it durable; on true, and only then, may it be acknowledged. */
HF_MUST_USE bool hf_keydb_commit(struct hf_keydb *db, char error[HF_KEYDB_ERROR_MAX]);
void hf_keydb_abort(struct hf_keydb *db);

/* ---- as a whole --------------------------------------------------------------------------- */

/** hf_keydb_backup writes a compact snapshot to `file`, mode 0600, by way of a temporary file
 *  beside it, checked before it gets its name. Others may go on writing. */
HF_MUST_USE bool hf_keydb_backup(struct hf_keydb_report *out, char error[HF_KEYDB_ERROR_MAX],
                                 struct hf_keydb *db, const char *file, bool may_replace);

/** What a restore would do, or did. */
struct hf_keydb_restore {
    struct hf_keydb_report report;
    bool is_comparable;    /**< false: there is no store, or it is damaged */
    uint64_t keys_before;  /**< comparable only */
    uint64_t keys_retired; /**< of them: gone, or another key now */
};

/** hf_keydb_restore makes a checked copy of `file` the store's next generation, in one step:
 *  whoever opens the store finds the old one or the new one. Refused when more than
 *  `retired_percent_max` of the keys would go. */
HF_MUST_USE bool hf_keydb_restore(struct hf_keydb_restore *out, char error[HF_KEYDB_ERROR_MAX],
                                  const char *path, const char *file, uint32_t retired_percent_max);

/** hf_keydb_guard runs `work` in a child and returns its result (0..125). If the child dies of what
 *  a damaged file does to LMDB, it prints one line to standard error and returns 1. */
HF_MUST_USE int hf_keydb_guard(int (*work)(void *arg), void *arg);

#endif
