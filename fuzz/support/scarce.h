/**
 * scarce.h - memory that runs out: the n-th allocation of the code under test fails, ours and
 * BoringSSL's alike. For targets linked with --wrap=malloc,calloc,realloc and exported symbols.
 */
#ifndef FUZZ_SCARCE_H
#define FUZZ_SCARCE_H

#include <stdbool.h>
#include <stddef.h>

/** fuzz_scarce lets `left` more allocations succeed and then one fail; SIZE_MAX: none fails. */
void fuzz_scarce(size_t left);

/** fuzz_scarce_hit tells whether one has failed since. */
bool fuzz_scarce_hit(void);

/** fuzz_scarce_pause lets everything succeed, and gives what fuzz_scarce_resume() goes on with. */
size_t fuzz_scarce_pause(void);
void fuzz_scarce_resume(size_t left);

#endif
