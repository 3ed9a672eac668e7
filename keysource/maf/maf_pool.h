/**
 * maf_pool.h - key retrievals at one MAF: a few connections kept alive, requests pipelined on them,
 * several addresses in order of preference, back-off, and a circuit that opens when nothing helps.
 *
 * Sans-I/O: the pool says which connection to open, what to send, which one to close
 * (hf_maf_pool_take_action); the embedder says what became of it. A connection is one that is
 * mutually authenticated by the time hf_maf_pool_opened() is called, its bytes are plaintext.
 * Each MAF has a pool of its own: what one does never delays another.
 *
 * Lookups are numbered by the caller, 0 to lookups_max - 1; each asked one has exactly one result,
 * unless it is cancelled. No allocation after hf_maf_pool_open() but a reader per connection.
 */
#ifndef HF_MAF_POOL_H
#define HF_MAF_POOL_H

#include "maf_answer.h"

struct hf_maf_pool;

#define HF_MAF_ADDRESSES_MAX 8
#define HF_MAF_CONNECTIONS_MAX 64
#define HF_MAF_PIPELINE_MAX 1024

struct hf_maf_pool_config {
    struct hf_bytes fqdn;       /**< copied */
    struct hf_bytes origin;     /**< our CSE-ID, X-M2M-Origin; copied; empty: not sent */
    struct hf_bytes admin_fqdn; /**< copied; empty: any */
    struct hf_address addresses[HF_MAF_ADDRESSES_MAX]; /**< the first that answers is used */
    uint32_t address_count;
    uint32_t lookups_max;     /**< 16,384 */
    uint32_t connections_max; /**< 8; at most HF_MAF_CONNECTIONS_MAX */
    uint32_t pipeline_max;    /**< requests under way on one; 64; at most HF_MAF_PIPELINE_MAX */
    uint64_t connect_us_max;  /**< until opened, TLS included; 5 s */
    uint64_t response_us_max; /**< from a request to its whole answer; 25 s */
    uint64_t idle_us_max;     /**< a connection without requests is closed; 60 s */
    uint64_t backoff_us_min;  /**< an address that failed rests so long, doubling; 250 ms */
    uint64_t backoff_us_max;  /**< 30 s */
    uint32_t rounds_max;      /**< all addresses failed so often in a row: circuit open; 3 */
    uint32_t errors_max;      /**< server errors in a row that open it, too; 16 */
    size_t key_len_min, key_len_max; /**< bytes of a key; 32 and 32 */
    uint64_t seed;                   /**< of the jitter of back-off */
};

/** hf_maf_pool_config_init sets the defaults named above; no name, no address. */
void hf_maf_pool_config_init(struct hf_maf_pool_config *config);

/** hf_maf_pool_open checks and copies. Errors: HF_E_CONFIG, HF_E_MEMORY. */
HF_MUST_USE enum hf_status hf_maf_pool_open(struct hf_maf_pool **out,
                                            const struct hf_maf_pool_config *config);

/** hf_maf_pool_close wipes and frees; NULL is allowed. */
void hf_maf_pool_close(struct hf_maf_pool *pool);

/** hf_maf_pool_begin sets the times, and ends what has taken too long. */
void hf_maf_pool_begin(struct hf_maf_pool *pool, uint64_t now_us, int64_t wall_s);

/** hf_maf_pool_next_us gives the time by which hf_maf_pool_begin() is due; UINT64_MAX: none. */
uint64_t hf_maf_pool_next_us(const struct hf_maf_pool *pool);

/** hf_maf_pool_ask has a key retrieved. False: the circuit is open, and nothing was begun. In:
 *  `lookup` is not under way; `relative_key_id` of its grammar. */
HF_MUST_USE bool hf_maf_pool_ask(struct hf_maf_pool *pool, uint32_t lookup,
                                 struct hf_bytes relative_key_id);

/** hf_maf_pool_cancel forgets a lookup: one not sent is not sent; an answer to one that was is
 *  dropped. There will be no result; the number is free at once. */
void hf_maf_pool_cancel(struct hf_maf_pool *pool, uint32_t lookup);

struct hf_maf_result {
    uint32_t lookup;
    enum hf_maf_outcome outcome;
    const char *why;                   /**< static text, or NULL */
    uint64_t us;                       /**< from hf_maf_pool_ask() */
    const struct hf_maf_resource *key; /**< KEY and EXPIRED: valid until the next call */
};

/** hf_maf_pool_take_result gives one; false: none. Take all after each call that takes input. */
HF_MUST_USE bool hf_maf_pool_take_result(struct hf_maf_pool *pool, struct hf_maf_result *out);

enum hf_maf_action_kind {
    HF_MAF_ACTION_CONNECT = 0, /**< open `connection` to `address`; say opened or ended */
    HF_MAF_ACTION_SEND,        /**< send `bytes`: valid until the next call */
    HF_MAF_ACTION_CLOSE,       /**< close it; say nothing more of it */
};

struct hf_maf_action {
    enum hf_maf_action_kind kind;
    uint32_t connection; /**< 0 to connections_max - 1 */
    struct hf_address address;
    struct hf_bytes bytes;
};

/** hf_maf_pool_take_action gives the next thing to do; false: nothing now. */
HF_MUST_USE bool hf_maf_pool_take_action(struct hf_maf_pool *pool, struct hf_maf_action *out);

/** hf_maf_pool_opened: the connection stands, the MAF is authenticated. */
void hf_maf_pool_opened(struct hf_maf_pool *pool, uint32_t connection);

/** hf_maf_pool_received takes plaintext of a connection: up to the end of one answer at most.
 *  Out: how much. Take the result, then hand in the rest, unless the connection has been closed:
 *  then everything is taken. */
size_t hf_maf_pool_received(struct hf_maf_pool *pool, uint32_t connection, struct hf_bytes bytes);

/** hf_maf_pool_ended: it could not be opened, or it is gone. In: CONNECT, AUTHENTICATION or
 *  BROKEN. */
void hf_maf_pool_ended(struct hf_maf_pool *pool, uint32_t connection, enum hf_maf_outcome outcome);

/** hf_maf_pool_renew has all that is asked from now on go over new connections: those that stand
 *  end as soon as what they were asked has been answered, those being opened at once. For a change
 *  of who we are to the MAF. */
void hf_maf_pool_renew(struct hf_maf_pool *pool);

/** hf_maf_pool_admin_fqdn views whose keys count; empty: anybody's. */
struct hf_bytes hf_maf_pool_admin_fqdn(const struct hf_maf_pool *pool);

/** How a MAF does. */
struct hf_maf_health {
    bool is_circuit_open;
    uint32_t connections;        /**< open or opening */
    uint32_t waiting, under_way; /**< lookups not sent, and sent */
    uint32_t address_index;      /**< of the last connection that was opened */
    uint64_t connects, connect_failures, authentication_failures;
    uint64_t requests, retries, broken, timeouts, circuit_opens;
};

/** hf_maf_pool_health copies it out. */
void hf_maf_pool_health(struct hf_maf_health *out, const struct hf_maf_pool *pool);

#endif
