/**
 * starter.h - a small process beside the daemon that can still do what the daemon gave up: start a
 * program, as whoever the daemon was started. It starts one only: the same, with the same
 * arguments, to take over.
 */
#ifndef HF_STARTER_H
#define HF_STARTER_H

#include <handfast/base.h>
#include <sys/types.h>

struct hf_starter;

/** hf_starter_open forks it. Before there is any thread, any secret, and any open file. NULL: it
 *  could not be made. */
struct hf_starter *hf_starter_open(int argc, char **argv);

/** hf_starter_close ends it; NULL is allowed. A successor that it has started goes on. */
void hf_starter_close(struct hf_starter *starter);

/** hf_starter_start starts the program. False: it could not. Thread: one. */
HF_MUST_USE bool hf_starter_start(pid_t *out, struct hf_starter *starter);

/** hf_starter_ended tells whether what was started has ended again. Does not wait. Thread: that
 *  one. */
bool hf_starter_ended(struct hf_starter *starter);

#endif
