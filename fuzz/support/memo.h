/**
 * memo.h - P-256 that remembers its results: see memo.c.
 */
#ifndef FUZZ_MEMO_H
#define FUZZ_MEMO_H

/** fuzz_memo_forget empties it: what is computed next is computed. */
void fuzz_memo_forget(void);

#endif
