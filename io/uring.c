/**
 * uring.c - the ring of one loop and its two rings of receive buffers. Knows nothing of sockets.
 *
 * The completion queue is sized so that it cannot overflow in ordinary life; when it does, the
 * kernel keeps the excess and ends multishot requests, which are then armed again.
 */
#include "loop_private.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define SUBMISSIONS 512u

static uint32_t uring_pow2(uint32_t value)
{
    uint32_t power = 64;
    while (power < value && power < (1u << 17))
        power <<= 1;
    return power;
}

static enum hf_status uring_refused(char error[HF_LOOP_ERROR_MAX], int code)
{
    const char *why = "is the kernel Linux 6.1 or newer?";
    switch (code) {
    case EPERM:
    case EACCES:
        why = "forbidden here: allow it in the container's seccomp profile (io_uring_setup, "
              "io_uring_enter, io_uring_register), or set sysctl kernel.io_uring_disabled=0";
        break;
    case ENOSYS:
        why = "unknown to this kernel or sandbox: Linux 6.1 or newer with io_uring is needed";
        break;
    case EINVAL:
        why = "this kernel lacks a feature: Linux 6.1 or newer is needed";
        break;
    case ENOMEM:
        why = "the locked-memory limit of this user is used up: raise LimitMEMLOCK= "
              "(ulimit -l), or lower the number of shards or receive buffers";
        break;
    case EMFILE:
    case ENFILE:
        why = "out of file descriptors: raise LimitNOFILE= (ulimit -n)";
        break;
    default:
        break;
    }
    snprintf(error, HF_LOOP_ERROR_MAX, "io_uring: %s: %s", strerror(code), why);
    return code == ENOMEM ? HF_E_MEMORY : HF_E_STATE;
}

static void *uring_map(size_t len)
{
    void *memory = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        return NULL;
    (void)madvise(memory, len, MADV_DONTDUMP); /* opened in place: it holds plaintext */
    return memory;
}

static size_t uring_buffers_len(const struct hf_buffers *buffers)
{
    return (size_t)buffers->count *
           (buffers->buffer_len + sizeof(struct io_uring_buf) + sizeof(uint16_t));
}

/* Layout: the descriptor ring (page aligned), the buffers, the list of held ones. */
static int uring_buffers_open(struct hf_loop *loop, struct hf_buffers *buffers)
{
    uint8_t *memory = uring_map(uring_buffers_len(buffers));
    if (!memory)
        return ENOMEM;
    buffers->ring = (struct io_uring_buf_ring *)(void *)memory;
    buffers->memory = memory + (size_t)buffers->count * sizeof(struct io_uring_buf);
    buffers->held =
        (uint16_t *)(void *)(buffers->memory + (size_t)buffers->count * buffers->buffer_len);
    struct io_uring_buf_reg registration = {
        .ring_addr = (uint64_t)(uintptr_t)buffers->ring,
        .ring_entries = buffers->count,
        .bgid = buffers->group,
    };
    int code = io_uring_register_buf_ring(&loop->ring, &registration, 0);
    if (code < 0)
        return -code;
    io_uring_buf_ring_init(buffers->ring);
    for (uint32_t i = 0; i < buffers->count; ++i)
        buffers->held[i] = (uint16_t)i;
    buffers->held_count = buffers->count;
    hf_buffers_recycle(buffers);
    HF_COUNT(loop, memory_len, uring_buffers_len(buffers));
    return 0;
}

static void uring_buffers_close(struct hf_buffers *buffers)
{
    if (buffers->ring)
        (void)munmap(buffers->ring, uring_buffers_len(buffers));
    buffers->ring = NULL;
}

/* Room for a completion per buffer, and for many connections ending at once. */
static uint32_t uring_completions(const struct hf_loop_config *config)
{
    if (config->completions_max != 0)
        return uring_pow2(config->completions_max);
    uint32_t ends = config->connections_max < 4096 ? config->connections_max : 4096;
    return uring_pow2(config->receive_buffers + HF_STREAM_BUFFERS + ends + 64);
}

/* A large queue is one physically contiguous piece: on a fragmented host a smaller one may do. */
static int uring_init(struct io_uring_params *params, struct hf_loop *loop)
{
    uint32_t completions = uring_completions(&loop->config);
    int code;
    do {
        *params = (struct io_uring_params){
            .flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
                     IORING_SETUP_SUBMIT_ALL | IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP,
            .cq_entries = completions,
        };
        uint32_t submissions = SUBMISSIONS < completions ? SUBMISSIONS : completions;
        code = io_uring_queue_init_params(submissions, &loop->ring, params);
        completions /= 2;
    } while (code == -ENOMEM && completions >= 1024);
    return code;
}

enum hf_status hf_uring_open(struct hf_loop *loop, char error[HF_LOOP_ERROR_MAX])
{
    const struct hf_loop_config *config = &loop->config;
    struct io_uring_params params;
    int code = uring_init(&params, loop);
    if (code < 0)
        return uring_refused(error, -code);
    loop->is_ring_open = true;
    HF_COUNT(loop, memory_len,
             params.sq_entries * (sizeof(struct io_uring_sqe) + sizeof(uint32_t)) +
                 params.cq_entries * sizeof(struct io_uring_cqe));
    (void)io_uring_register_ring_fd(&loop->ring); /* saves a lookup per call; nothing else */
    loop->datagrams = (struct hf_buffers){
        .count = config->receive_buffers, .buffer_len = HF_DATAGRAM_BUFFER_LEN, .group = 0};
    loop->streams = (struct hf_buffers){
        .count = HF_STREAM_BUFFERS, .buffer_len = HF_STREAM_BUFFER_LEN, .group = 1};
    code = uring_buffers_open(loop, &loop->datagrams);
    if (code == 0)
        code = uring_buffers_open(loop, &loop->streams);
    return code == 0 ? HF_OK : uring_refused(error, code);
}

void hf_uring_cancel_all(struct hf_loop *loop)
{
    struct io_uring_sync_cancel_reg cancel = {
        .flags = IORING_ASYNC_CANCEL_ANY | IORING_ASYNC_CANCEL_ALL,
        .fd = -1,
        .timeout = {.tv_sec = 1, .tv_nsec = 0},
    };
    if (!loop->is_ring_open)
        return;
    (void)io_uring_submit(&loop->ring);
    (void)io_uring_register_sync_cancel(&loop->ring, &cancel);
    /* A cancelled request lets go of its socket only when its completion has been run. */
    (void)io_uring_get_events(&loop->ring);
    struct io_uring_cqe *cqe;
    while (io_uring_peek_cqe(&loop->ring, &cqe) == 0) {
        /* Accepted, but nobody has seen it. */
        if (cqe->user_data >> 56 == HF_OPERATION_ACCEPT && cqe->res >= 0)
            (void)close(cqe->res);
        io_uring_cqe_seen(&loop->ring, cqe);
    }
}

void hf_uring_close(struct hf_loop *loop)
{
    if (loop->is_ring_open)
        io_uring_queue_exit(&loop->ring);
    loop->is_ring_open = false;
    uring_buffers_close(&loop->datagrams);
    uring_buffers_close(&loop->streams);
}

uint64_t hf_uring_user_data(enum hf_operation operation, uint32_t index, uint32_t generation)
{
    return (uint64_t)operation << 56 | (uint64_t)(generation & 0xffffffu) << 32 | index;
}

struct io_uring_sqe *hf_uring_next(struct hf_loop *loop, enum hf_operation operation,
                                   uint32_t index, uint32_t generation)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&loop->ring);
    if (!sqe) {
        (void)io_uring_submit(&loop->ring);
        sqe = io_uring_get_sqe(&loop->ring);
    }
    if (!sqe) {
        loop->is_turn_due = true;
        return NULL;
    }
    /* The io_uring_prep_ helpers of liburing 2.3 leave user_data alone. */
    sqe->user_data = hf_uring_user_data(operation, index, generation);
    return sqe;
}

enum hf_status hf_uring_wait(struct hf_loop *loop, uint64_t timeout_us)
{
    int code;
    if (timeout_us == 0) {
        code = io_uring_submit_and_get_events(&loop->ring);
    } else {
        struct __kernel_timespec timeout = {
            .tv_sec = (int64_t)(timeout_us / 1000000u),
            .tv_nsec = (long long)(timeout_us % 1000000u) * 1000,
        };
        struct io_uring_cqe *cqe;
        code = io_uring_submit_and_wait_timeout(&loop->ring, &cqe, 1, &timeout, NULL);
    }
    if (io_uring_cq_has_overflow(&loop->ring))
        HF_COUNT(loop, completions_overflowed, 1);
    if (code >= 0 || code == -ETIME || code == -EINTR || code == -EAGAIN || code == -EBUSY)
        return HF_OK;
    snprintf(loop->error, HF_LOOP_ERROR_MAX, "io_uring_enter: %s", strerror(-code));
    return HF_E_STATE;
}

uint8_t *hf_buffers_hold(struct hf_buffers *buffers, uint32_t cqe_flags)
{
    uint32_t index = cqe_flags >> IORING_CQE_BUFFER_SHIFT;
    buffers->held[buffers->held_count++] = (uint16_t)index;
    return buffers->memory + (size_t)index * buffers->buffer_len;
}

void hf_buffers_recycle(struct hf_buffers *buffers)
{
    int mask = io_uring_buf_ring_mask(buffers->count);
    for (uint32_t i = 0; i < buffers->held_count; ++i) {
        uint16_t index = buffers->held[i];
        io_uring_buf_ring_add(buffers->ring, buffers->memory + (size_t)index * buffers->buffer_len,
                              buffers->buffer_len, index, mask, (int)i);
    }
    if (buffers->held_count > 0)
        io_uring_buf_ring_advance(buffers->ring, (int)buffers->held_count);
    buffers->held_count = 0;
}
