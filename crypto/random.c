/**
 * random.c - randomness for small requests, drawn in bulk.
 *
 * One page per thread, in memory the kernel empties in a forked child: an empty pool is all zero,
 * so parent and child never hand out the same bytes. Bytes are cleared as they are taken. Not for
 * ECDSA nonces (a snapshot of a machine would repeat them).
 */
#include "private.h"

#include <openssl/rand.h>

#include <pthread.h>
#include <string.h>
#include <sys/mman.h>

#define RANDOM_POOL_LEN 4096u
#define RANDOM_REQUEST_LEN_MAX 256u

struct random_pool {
    uint32_t left; /* unused bytes, the last of `bytes`; 0 after a fork */
    uint32_t zero;
    uint8_t bytes[RANDOM_POOL_LEN - 8];
};
_Static_assert(sizeof(struct random_pool) == RANDOM_POOL_LEN, "one page");

static pthread_once_t random_once = PTHREAD_ONCE_INIT;
static pthread_key_t random_key;
static bool random_key_made;
static _Thread_local struct random_pool *random_pool_mine;
static _Thread_local bool random_pool_refused;

static void random_pool_close(void *pool)
{
    random_pool_mine = NULL;
    hf_wipe(pool, RANDOM_POOL_LEN);
    (void)munmap(pool, RANDOM_POOL_LEN);
}

static void random_key_make(void)
{
    random_key_made = pthread_key_create(&random_key, random_pool_close) == 0;
}

/* An embedder may unload the library while its threads live on: they must not call into it. */
__attribute__((destructor)) static void random_key_drop(void)
{
    if (random_key_made) {
        random_key_made = false;
        (void)pthread_key_delete(random_key);
    }
}

/* Gives NULL where the kernel cannot keep a child from seeing the pool: then there is none. */
static struct random_pool *random_pool_open(void)
{
    void *pool;

    random_pool_refused = true;
    (void)pthread_once(&random_once, random_key_make);
    if (!random_key_made)
        return NULL;
    pool = mmap(NULL, RANDOM_POOL_LEN, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pool == MAP_FAILED)
        return NULL;
    if (madvise(pool, RANDOM_POOL_LEN, MADV_WIPEONFORK) != 0 ||
        pthread_setspecific(random_key, pool) != 0) {
        (void)munmap(pool, RANDOM_POOL_LEN);
        return NULL;
    }
    (void)madvise(pool, RANDOM_POOL_LEN, MADV_DONTDUMP);
    random_pool_refused = false;
    random_pool_mine = pool;
    return pool;
}

void hf_random(void *out, size_t len)
{
    struct random_pool *pool = random_pool_mine;
    uint8_t *from;

    if (!pool && !random_pool_refused && len <= RANDOM_REQUEST_LEN_MAX)
        pool = random_pool_open();
    if (!pool || len > RANDOM_REQUEST_LEN_MAX) {
        // BoringSSL stops the program rather than answer without entropy.
        HF__CRYPTO_ASSERT(RAND_bytes(out, len) == 1);
        return;
    }
    if (pool->left < len) {
        HF__CRYPTO_ASSERT(RAND_bytes(pool->bytes, sizeof pool->bytes) == 1);
        pool->left = sizeof pool->bytes;
    }
    from = pool->bytes + sizeof pool->bytes - pool->left;
    memcpy(out, from, len);
    hf_wipe(from, len);
    pool->left -= (uint32_t)len;
}
