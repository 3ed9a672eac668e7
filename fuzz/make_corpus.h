/**
 * make_corpus.h - what the parts of the seed writer share.
 */
#ifndef FUZZ_MAKE_CORPUS_H
#define FUZZ_MAKE_CORPUS_H

#include "fuzz.h"

/** fuzz_corpus_save writes DIRECTORY/<target>/<name>. */
void fuzz_corpus_save(const char *target, const char *name, struct hf_bytes bytes);

/** fuzz_corpus_handshakes writes what a real client makes of a real handshake. */
void fuzz_corpus_handshakes(void);

/** fuzz_corpus_chains writes those of chain, raw_key, crl and trust, with new keys each time. */
void fuzz_corpus_chains(void);

/** fuzz_corpus_duels writes those of client_dtls, client_tls, certificate and ticket. */
void fuzz_corpus_duels(void);

/** fuzz_corpus_cids writes those of the target cid. */
void fuzz_corpus_cids(void);

/** fuzz_corpus_transfers writes those of the target transfer. */
void fuzz_corpus_transfers(void);

#endif
