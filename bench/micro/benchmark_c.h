/**
 * benchmark_c.h - Google Benchmark for C. A bench is a function that sets up, loops while
 * bench_running() and returns; main() registers benches by name and calls bench_main().
 */
#ifndef HF_BENCHMARK_C_H
#define HF_BENCHMARK_C_H

#include <handfast/base.h>

HF_BEGIN_DECLS

/** One run of one bench. */
struct bench_state;

/** A bench. `arg` is what bench_add() was given. */
typedef void bench_fn(struct bench_state *state, int64_t arg);

/** bench_add registers a bench. The name is copied. */
void bench_add(const char *name, bench_fn *run, int64_t arg);

/** bench_main runs what the command line selects (--benchmark_filter= and the rest). */
int bench_main(int argc, char **argv);

/** bench_running starts and ends the timing; the loop's body is what is measured. */
bool bench_running(struct bench_state *state);

/** bench_bytes has throughput reported. In: bytes per iteration. After the loop. */
void bench_bytes(struct bench_state *state, size_t len);

/** bench_items has operations per second reported. In: operations per iteration. After the loop. */
void bench_items(struct bench_state *state, size_t count);

/** bench_fail ends the bench with an error; bench_main() then fails too. */
void bench_fail(struct bench_state *state, const char *why);

/** bench_keep makes the compiler believe that the result is read. */
void bench_keep(const void *result);

HF_END_DECLS
#endif
