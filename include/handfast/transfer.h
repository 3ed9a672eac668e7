/**
 * transfer.h - established associations, moved from one engine to another: keys, sequence numbers,
 * replay windows, identities, half-received TLS records. Handles stay the same. Nothing of it is
 * sealed: it is for a socket between two processes of one user, not for a disk or a network.
 *
 * The giving engine is copied while it serves, as often as one likes; each pass after the first
 * writes only what has changed. Then it must fall silent: from the beginning of the last pass on
 * it must have no turn, or two engines would number records of one key alike. The taking engine
 * is new: hf_engine_import_begin(), all chunks, hf_engine_import_end(), and only then its first
 * turn. Whichever is not to serve is closed without a turn: no peer hears of it.
 *
 * A session cache, which engines share, has a copy of its own: hf_session_copy_open().
 *
 * Not moved: handshakes under way, counters.
 */
#ifndef HANDFAST_TRANSFER_H
#define HANDFAST_TRANSFER_H

#include <handfast/engine.h>
#include <handfast/session.h>

HF_BEGIN_DECLS

/** The encoding. Fields are numbered: a reader passes over those it does not know, those that are
 *  missing have their defaults, and an association that makes no sense without a field the reader
 *  does not know says so, and is left out. So this number seldom changes. */
#define HF_TRANSFER_VERSION 1

/** The least room for a chunk: the longest association, a TLS record under way included. */
#define HF_TRANSFER_CHUNK_MIN 32768

struct hf_transfer;

/** hf_transfer_open prepares to copy an engine. Cost: 8 bytes an association. Errors: HF_E_MEMORY.
 */
HF_API HF_MUST_USE enum hf_status hf_transfer_open(struct hf_transfer **out,
                                                   const struct hf_engine *engine);

/** hf_transfer_write writes the next chunk of a pass, looking at no more than `slots_max` records.
 *  In: `out_max` at least HF_TRANSFER_CHUNK_MIN; outside a turn. Out: HF_WAITING when the pass goes
 *  on, HF_OK when this was its last chunk: the next call begins another. `*out_len` may be 0.
 *  Thread: the engine's. Cost: 0.2 us an association written, 0.1 us one that has not changed.
 *  Errors: HF_E_ARGUMENT. Secret: wipe `out`. */
HF_API HF_MUST_USE enum hf_status hf_transfer_write(uint8_t *out, size_t *out_len, size_t out_max,
                                                    struct hf_transfer *transfer,
                                                    const struct hf_engine *engine,
                                                    uint32_t slots_max);

/** hf_transfer_leave_streams has TLS associations left out: they end with their connections. */
HF_API void hf_transfer_leave_streams(struct hf_transfer *transfer);

/** hf_transfer_written gives how many associations the present or last pass has written. */
HF_API uint32_t hf_transfer_written(const struct hf_transfer *transfer);

/** hf_transfer_close forgets it. NULL is allowed. */
HF_API void hf_transfer_close(struct hf_transfer *transfer);

/** hf_engine_import_begin prepares a new engine, and sets its time. Errors: HF_E_STATE: it has had
 *  an association, or is importing. */
HF_API HF_MUST_USE enum hf_status hf_engine_import_begin(struct hf_engine *engine, uint64_t now_us,
                                                         int64_t wall_s);

/** How many records an engine may send after what an import was written from, if that may be
 *  outlived by what was sent since: a checkpoint. See hf_engine_limit_records(). */
#define HF_CHECKPOINT_RECORDS (UINT64_C(1) << 30)

/** hf_engine_limit_records has an engine send no more DTLS records of its associations once its
 *  counter `records_out` is there: hf_engine_send() gives HF_WAITING then. UINT64_MAX: no limit, as
 *  in the beginning. Whoever keeps what hf_transfer_write() gives longer than the engine is silent
 *  sets the limit before it can be used: `records_out` as the pass began, and
 *  HF_CHECKPOINT_RECORDS. */
HF_API void hf_engine_limit_records(struct hf_engine *engine, uint64_t records_out_max);

/** hf_engine_import_later says that what follows was written `us` ago, and that up to `records`
 *  were sent since: DTLS associations go on with numbers that were not used. What came since cannot
 *  be told from replays. After hf_engine_import_begin(). */
HF_API void hf_engine_import_later(struct hf_engine *engine, uint64_t records, uint64_t us);

/** hf_engine_import takes over what a chunk holds; what comes later for an association replaces
 *  what came before. A chunk is believed to be well meant, yet nothing in it does harm. Errors:
 *  HF_E_STATE (not between begin and end), HF_E_DECODE (not a chunk, or a later version),
 *  HF_E_ARGUMENT (of a listener, a suite or a value that is not there here),
 *  HF_E_ASSOCIATION_LIMIT (no room): what came before the fault has been taken over. */
HF_API HF_MUST_USE enum hf_status hf_engine_import(struct hf_engine *engine, struct hf_bytes chunk);

/** What came of it. */
struct hf_transfer_counts {
    uint32_t associations; /**< that live here now */
    uint32_t left_out;     /**< with fields that are needed, and unknown here */
};

/** hf_engine_import_end ends it: timers run, free records can be used. */
HF_API void hf_engine_import_end(struct hf_transfer_counts *out, struct hf_engine *engine);

#define HF_CHECKPOINT_EXPANSION 32

/** hf_checkpoint_seal seals what lies on a disk meanwhile: `in.len` and HF_CHECKPOINT_EXPANSION
 *  bytes. `place` is told to hf_checkpoint_unseal(), too: where it belongs. Thread: any. */
HF_API void hf_checkpoint_seal(uint8_t *out, const struct hf_shared_secret *secret,
                               struct hf_bytes place, struct hf_bytes in);

/** hf_checkpoint_unseal opens it. False, and zero: another secret or place, or changed. Thread:
 *  any. Secret: wipe `out`. */
HF_API HF_MUST_USE bool hf_checkpoint_unseal(uint8_t *out, const struct hf_shared_secret *secret,
                                             struct hf_bytes place, struct hf_bytes in);

/** Of the sessions; what is said of HF_TRANSFER_VERSION holds here, too. */
#define HF_SESSION_COPY_VERSION 1

struct hf_session_copy;

/** hf_session_copy_open prepares to copy a cache, whose secret for making session IDs goes along.
 *  Cost: 232 bytes for 7 sessions, as they are used. Errors: HF_E_MEMORY. */
HF_API HF_MUST_USE enum hf_status hf_session_copy_open(struct hf_session_copy **out,
                                                       const struct hf_session_cache *cache);

/** hf_session_copy_write writes the next chunk of a pass: in the first all sessions, later those
 *  near which something has changed, and which are gone. In: `out_max` at least
 *  HF_TRANSFER_CHUNK_MIN. Out: HF_WAITING when the pass goes on, HF_OK when this was its last
 *  chunk. What a writer is at is left to the next pass; in the last one no engine has a turn.
 *  Thread: any one, while engines use the cache. Errors: HF_E_ARGUMENT. Secret: wipe `out`. */
HF_API HF_MUST_USE enum hf_status hf_session_copy_write(uint8_t *out, size_t *out_len,
                                                        size_t out_max,
                                                        struct hf_session_copy *copy,
                                                        int64_t wall_s);

/** hf_session_copy_written gives how many sessions the present or last pass has written. */
HF_API uint32_t hf_session_copy_written(const struct hf_session_copy *copy);

/** hf_session_copy_close forgets it. NULL is allowed. */
HF_API void hf_session_copy_close(struct hf_session_copy *copy);

/** What came of it, added up; one that is written twice counts twice. */
struct hf_session_copy_counts {
    uint32_t taken;
    uint32_t left_out; /**< of another version, or without room */
};

/** hf_session_copy_take puts what a chunk holds into a cache that no engine uses yet, of any size.
 *  Errors: HF_E_DECODE: what came before the fault has been taken. */
HF_API HF_MUST_USE enum hf_status hf_session_copy_take(struct hf_session_copy_counts *counts,
                                                       struct hf_session_cache *cache,
                                                       struct hf_bytes chunk, int64_t wall_s);

HF_END_DECLS
#endif
