/**
 * benchmark_c.cc - see benchmark_c.h.
 */
#include "benchmark_c.h"

#include <benchmark/benchmark.h>

static bool bench_failed;

static benchmark::State *bench_of(struct bench_state *state)
{
    return reinterpret_cast<benchmark::State *>(state);
}

void bench_add(const char *name, bench_fn *run, int64_t arg)
{
    benchmark::RegisterBenchmark(name, [run, arg](benchmark::State &state) {
        run(reinterpret_cast<struct bench_state *>(&state), arg);
    });
}

int bench_main(int argc, char **argv)
{
    benchmark::Initialize(&argc, argv);
    if (benchmark::ReportUnrecognizedArguments(argc, argv))
        return 1;
    if (benchmark::RunSpecifiedBenchmarks() == 0)
        return 1;
    benchmark::Shutdown();
    return bench_failed ? 1 : 0;
}

bool bench_running(struct bench_state *state)
{
    return bench_of(state)->KeepRunning();
}

void bench_bytes(struct bench_state *state, size_t len)
{
    benchmark::State *bench = bench_of(state);

    bench->SetBytesProcessed(static_cast<int64_t>(len) * bench->iterations());
}

void bench_items(struct bench_state *state, size_t count)
{
    benchmark::State *bench = bench_of(state);

    bench->SetItemsProcessed(static_cast<int64_t>(count) * bench->iterations());
}

void bench_fail(struct bench_state *state, const char *why)
{
    bench_failed = true;
    bench_of(state)->SkipWithError(why);
}

void bench_keep(const void *result)
{
    benchmark::DoNotOptimize(result);
    benchmark::ClobberMemory();
}
