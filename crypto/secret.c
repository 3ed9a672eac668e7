/**
 * secret.c - wiping, comparing and marking secrets. The only place where the outcome of a
 * comparison of secrets becomes public.
 */
#include "private.h"

#include <openssl/mem.h>

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#ifdef HF_CT_CHECK
#if defined(__has_feature)
#if __has_feature(memory_sanitizer)
#define HF_CT_MSAN 1
#endif
#endif
#ifdef HF_CT_MSAN
#include <sanitizer/msan_interface.h>
#else
#include <valgrind/memcheck.h>
#endif
#endif

void hf_wipe(void *data, size_t len)
{
    OPENSSL_cleanse(data, len);
}

bool hf_ct_equal(const void *a, const void *b, size_t len)
{
    int difference = CRYPTO_memcmp(a, b, len);

    hf_ct_public(&difference, sizeof difference);
    return difference == 0;
}

bool hf_bytes_equal_public(const void *a, const void *b, size_t len)
{
    // An empty view may carry NULL, which the C library may not be given.
    return len == 0 || __builtin_memcmp(a, b, len) == 0;
}

void hf_ct_secret(const void *data, size_t len)
{
#if defined(HF_CT_MSAN)
    __msan_poison(data, len);
#elif defined(HF_CT_CHECK)
    (void)VALGRIND_MAKE_MEM_UNDEFINED(data, len);
#else
    (void)data;
    (void)len;
#endif
}

void hf_ct_public(const void *data, size_t len)
{
#if defined(HF_CT_MSAN)
    __msan_unpoison(data, len);
#elif defined(HF_CT_CHECK)
    (void)VALGRIND_MAKE_MEM_DEFINED(data, len);
#else
    (void)data;
    (void)len;
#endif
}

void hf_crypto_mark_secret_memory(void *data, size_t len)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t begin = ((uintptr_t)data + page - 1) & ~(page - 1);
    uintptr_t end = ((uintptr_t)data + len) & ~(page - 1);

    // Whole pages only: a neighbour must not be wiped in a child. A kernel that refuses leaves the
    // memory as usable as before, so there is nothing to report.
    if (begin < end) {
        (void)madvise((void *)begin, end - begin, MADV_DONTDUMP);
        (void)madvise((void *)begin, end - begin, MADV_WIPEONFORK);
    }
}
