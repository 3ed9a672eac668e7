/**
 * uring.c - a back end (backend.h): the ring of one loop and its two rings of receive buffers.
 *
 * Datagrams and connections come by requests that go on (multishot) until the kernel ends them;
 * receive buffers are picked by the kernel as it needs them.
 *
 * The completion queue is sized so that it cannot overflow in ordinary life; when it does, the
 * kernel keeps the excess and ends multishot requests, which are then armed again.
 */
#include "loop_private.h"

#include <errno.h>
#include <liburing.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SUBMISSIONS 512u
#define BATCH 64u

/* What the kernel picks receive buffers from. */
struct uring_ring {
    struct io_uring_buf_ring *entries;
    uint16_t *held;
    uint16_t group;
};

struct hf_uring {
    struct io_uring ring;
    struct uring_ring datagrams, streams;
    bool is_open;
    uint64_t wake_value;
    /* Completions that were looked at; those before `position` are done with. */
    struct io_uring_cqe *batch[BATCH];
    unsigned batch_count, position;
};

/* The kernel copies it as a request is submitted. */
static struct msghdr datagram_header = {
    .msg_namelen = HF_NAME_LEN,
    .msg_controllen = HF_CONTROL_LEN,
};

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

static void uring_recycle_one(struct hf_buffers *buffers, struct uring_ring *ring)
{
    int mask = io_uring_buf_ring_mask(buffers->count);
    for (uint32_t i = 0; i < buffers->held_count; ++i) {
        uint16_t index = ring->held[i];
        io_uring_buf_ring_add(ring->entries, hf_buffers_at(buffers, index), buffers->buffer_len,
                              index, mask, (int)i);
    }
    if (buffers->held_count > 0)
        io_uring_buf_ring_advance(ring->entries, (int)buffers->held_count);
    buffers->held_count = 0;
}

/* In front of the buffers: the descriptor ring, page aligned, and the list of held ones. */
static int uring_buffers_open(struct hf_loop *loop, struct hf_buffers *buffers,
                              struct uring_ring *ring, uint32_t count, uint32_t buffer_len)
{
    size_t ring_len = (size_t)count * sizeof(struct io_uring_buf);
    uint8_t *memory = hf_buffers_map(buffers, loop, count, buffer_len,
                                     ring_len + (size_t)count * sizeof(uint16_t));
    if (!memory)
        return ENOMEM;
    ring->entries = (struct io_uring_buf_ring *)(void *)memory;
    ring->held = (uint16_t *)(void *)(memory + ring_len);
    struct io_uring_buf_reg registration = {
        .ring_addr = (uint64_t)(uintptr_t)ring->entries,
        .ring_entries = count,
        .bgid = ring->group,
    };
    int code = io_uring_register_buf_ring(&loop->uring->ring, &registration, 0);
    if (code < 0)
        return -code;
    io_uring_buf_ring_init(ring->entries);
    for (uint32_t i = 0; i < count; ++i)
        ring->held[i] = (uint16_t)i;
    buffers->held_count = count;
    uring_recycle_one(buffers, ring);
    return 0;
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
        code = io_uring_queue_init_params(submissions, &loop->uring->ring, params);
        completions /= 2;
    } while (code == -ENOMEM && completions >= 1024);
    return code;
}

static enum hf_status uring_open(struct hf_loop *loop, char error[HF_LOOP_ERROR_MAX])
{
    struct io_uring_params params;
    struct hf_uring *uring = loop->uring = calloc(1, sizeof *uring);
    if (!uring)
        return uring_refused(error, ENOMEM);
    int code = uring_init(&params, loop);
    if (code < 0)
        return uring_refused(error, -code);
    uring->is_open = true;
    HF_COUNT(loop, memory_len,
             params.sq_entries * (sizeof(struct io_uring_sqe) + sizeof(uint32_t)) +
                 params.cq_entries * sizeof(struct io_uring_cqe) + sizeof *uring);
    (void)io_uring_register_ring_fd(&uring->ring); /* saves a lookup per call; nothing else */
    uring->datagrams.group = 0;
    uring->streams.group = 1;
    code = uring_buffers_open(loop, &loop->datagrams, &uring->datagrams,
                              loop->config.receive_buffers, HF_DATAGRAM_BUFFER_LEN);
    if (code == 0)
        code = uring_buffers_open(loop, &loop->streams, &uring->streams, HF_STREAM_BUFFERS,
                                  HF_STREAM_BUFFER_LEN);
    return code == 0 ? HF_OK : uring_refused(error, code);
}

static void uring_cancel_all(struct hf_loop *loop)
{
    struct hf_uring *uring = loop->uring;
    struct io_uring_sync_cancel_reg cancel = {
        .flags = IORING_ASYNC_CANCEL_ANY | IORING_ASYNC_CANCEL_ALL,
        .fd = -1,
        .timeout = {.tv_sec = 1, .tv_nsec = 0},
    };
    if (!uring || !uring->is_open)
        return;
    io_uring_cq_advance(&uring->ring, uring->position);
    uring->position = uring->batch_count = 0;
    (void)io_uring_submit(&uring->ring);
    (void)io_uring_register_sync_cancel(&uring->ring, &cancel);
    /* A cancelled request lets go of its socket only when its completion has been run. */
    (void)io_uring_get_events(&uring->ring);
    struct io_uring_cqe *cqe;
    while (io_uring_peek_cqe(&uring->ring, &cqe) == 0) {
        /* Accepted, but nobody has seen it. */
        if (cqe->user_data >> 56 == HF_OPERATION_ACCEPT && cqe->res >= 0)
            (void)close(cqe->res);
        io_uring_cqe_seen(&uring->ring, cqe);
    }
}

static void uring_close(struct hf_loop *loop)
{
    if (loop->uring && loop->uring->is_open)
        io_uring_queue_exit(&loop->uring->ring);
    free(loop->uring);
    loop->uring = NULL;
    hf_buffers_unmap(&loop->datagrams);
    hf_buffers_unmap(&loop->streams);
}

static enum hf_status uring_wait(struct hf_loop *loop, uint64_t timeout_us, uint32_t count_min)
{
    struct io_uring *ring = &loop->uring->ring;
    int code;
    if (timeout_us == 0) {
        code = io_uring_submit_and_get_events(ring);
    } else {
        struct __kernel_timespec timeout = {
            .tv_sec = (int64_t)(timeout_us / 1000000u),
            .tv_nsec = (long long)(timeout_us % 1000000u) * 1000,
        };
        struct io_uring_cqe *cqe;
        code = io_uring_submit_and_wait_timeout(ring, &cqe, count_min, &timeout, NULL);
    }
    if (io_uring_cq_has_overflow(ring))
        HF_COUNT(loop, completions_overflowed, 1);
    if (code >= 0 || code == -ETIME || code == -EINTR || code == -EAGAIN || code == -EBUSY)
        return HF_OK;
    snprintf(loop->error, HF_LOOP_ERROR_MAX, "io_uring_enter: %s", strerror(-code));
    return HF_E_STATE;
}

/* ---- completions -------------------------------------------------------------------------- */

static uint8_t *uring_hold(struct hf_buffers *buffers, struct uring_ring *ring, uint32_t cqe_flags)
{
    uint32_t index = cqe_flags >> IORING_CQE_BUFFER_SHIFT;
    ring->held[buffers->held_count++] = (uint16_t)index;
    return hf_buffers_at(buffers, index);
}

static void uring_read_datagram(struct hf_completion *out, uint8_t *buffer, int result)
{
    struct io_uring_recvmsg_out *received =
        result < 0 ? NULL : io_uring_recvmsg_validate(buffer, result, &datagram_header);
    if (!received)
        return;
    out->name = io_uring_recvmsg_name(received);
    out->controls = (struct msghdr){
        .msg_control = (uint8_t *)out->name + HF_NAME_LEN,
        .msg_controllen = received->controllen,
    };
    out->data = io_uring_recvmsg_payload(received, &datagram_header);
    out->len = io_uring_recvmsg_payload_length(received, result, &datagram_header);
    out->is_truncated = received->flags & MSG_TRUNC;
}

static void uring_read(struct hf_completion *out, struct hf_loop *loop,
                       const struct io_uring_cqe *cqe)
{
    struct hf_uring *uring = loop->uring;
    out->operation = (enum hf_operation)(cqe->user_data >> 56);
    out->index = (uint32_t)cqe->user_data;
    out->generation = (uint32_t)(cqe->user_data >> 32) & 0xffffffu;
    out->result = cqe->res;
    out->is_armed = cqe->flags & IORING_CQE_F_MORE;
    out->is_more_there = cqe->flags & IORING_CQE_F_SOCK_NONEMPTY;
    out->is_truncated = false;
    out->data = NULL;
    out->len = 0;
    if (!(cqe->flags & IORING_CQE_F_BUFFER))
        return;
    if (out->operation == HF_OPERATION_DATAGRAM ||
        out->operation == HF_OPERATION_UPSTREAM_DATAGRAM) {
        uring_read_datagram(out, uring_hold(&loop->datagrams, &uring->datagrams, cqe->flags),
                            cqe->res);
        return;
    }
    uint8_t *buffer = uring_hold(&loop->streams, &uring->streams, cqe->flags);
    if (cqe->res > 0) {
        out->data = buffer;
        out->len = (uint32_t)cqe->res;
    }
}

static bool uring_next(struct hf_completion *out, struct hf_loop *loop)
{
    struct hf_uring *uring = loop->uring;
    if (uring->position == uring->batch_count) {
        io_uring_cq_advance(&uring->ring, uring->batch_count);
        uring->batch_count = io_uring_peek_batch_cqe(&uring->ring, uring->batch, BATCH);
        uring->position = 0;
        if (uring->batch_count == 0)
            return false;
    }
    uring_read(out, loop, uring->batch[uring->position++]);
    return true;
}

static bool uring_is_pending(const struct hf_loop *loop)
{
    const struct hf_uring *uring = loop->uring;
    return io_uring_cq_ready(&uring->ring) > uring->position;
}

static void uring_recycle(struct hf_loop *loop)
{
    uring_recycle_one(&loop->datagrams, &loop->uring->datagrams);
    uring_recycle_one(&loop->streams, &loop->uring->streams);
}

/* ---- requests ----------------------------------------------------------------------------- */

static uint64_t uring_user_data(struct hf_target target)
{
    return (uint64_t)target.operation << 56 | (uint64_t)(target.generation & 0xffffffu) << 32 |
           target.index;
}

/* A submission entry with user_data set; NULL: there is none before the next turn. */
static struct io_uring_sqe *uring_entry(struct hf_loop *loop, struct hf_target target)
{
    struct io_uring *ring = &loop->uring->ring;
    struct io_uring_sqe *sqe = io_uring_get_sqe(ring);
    if (!sqe) {
        (void)io_uring_submit(ring);
        sqe = io_uring_get_sqe(ring);
    }
    if (!sqe) {
        loop->is_turn_due = true;
        return NULL;
    }
    /* The io_uring_prep_ helpers of liburing 2.3 leave user_data alone. */
    sqe->user_data = uring_user_data(target);
    return sqe;
}

static bool uring_wake(struct hf_loop *loop)
{
    struct io_uring_sqe *sqe =
        uring_entry(loop, (struct hf_target){loop->wake_fd, HF_OPERATION_WAKE, 0, 0});
    if (sqe)
        io_uring_prep_read(sqe, loop->wake_fd, &loop->uring->wake_value,
                           sizeof loop->uring->wake_value, 0);
    return sqe != NULL;
}

static bool uring_datagrams(struct hf_loop *loop, struct hf_target target)
{
    struct io_uring_sqe *sqe = uring_entry(loop, target);
    if (!sqe)
        return false;
    io_uring_prep_recvmsg_multishot(sqe, target.fd, &datagram_header, 0);
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe->buf_group = loop->uring->datagrams.group;
    return true;
}

static bool uring_accept(struct hf_loop *loop, struct hf_target target)
{
    struct io_uring_sqe *sqe = uring_entry(loop, target);
    if (sqe)
        io_uring_prep_multishot_accept(sqe, target.fd, NULL, NULL, SOCK_CLOEXEC);
    return sqe != NULL;
}

static bool uring_receive(struct hf_loop *loop, struct hf_target target, uint32_t len, bool is_now)
{
    struct io_uring_sqe *sqe = uring_entry(loop, target);
    if (!sqe)
        return false;
    io_uring_prep_recv(sqe, target.fd, NULL, len, 0);
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe->buf_group = loop->uring->streams.group;
    if (!is_now) /* wait first: trying now would be in vain */
        sqe->ioprio |= IORING_RECVSEND_POLL_FIRST;
    return true;
}

static bool uring_writable(struct hf_loop *loop, struct hf_target target)
{
    struct io_uring_sqe *sqe = uring_entry(loop, target);
    if (sqe)
        io_uring_prep_poll_add(sqe, target.fd, POLLOUT);
    return sqe != NULL;
}

static bool uring_connect(struct hf_loop *loop, struct hf_target target,
                          const struct sockaddr *address, socklen_t address_len)
{
    struct io_uring_sqe *sqe = uring_entry(loop, target);
    if (sqe)
        io_uring_prep_connect(sqe, target.fd, address, address_len);
    return sqe != NULL;
}

/* By user_data, which is hashed; by descriptor the kernel would look at every request. */
static bool uring_cancel(struct hf_loop *loop, struct hf_target target)
{
    struct io_uring_sqe *sqe = uring_entry(loop, (struct hf_target){.fd = -1});
    if (!sqe)
        return false;
    io_uring_prep_cancel64(sqe, uring_user_data(target), 0);
    sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
    return true;
}

/* No request is under way: the kernel knows nothing of it. */
static void uring_forget(struct hf_loop *loop, int fd)
{
    (void)loop;
    (void)fd;
}

const struct hf_backend hf_backend_uring = {
    .name = "io_uring",
    .open = uring_open,
    .close = uring_close,
    .wait = uring_wait,
    .next = uring_next,
    .is_pending = uring_is_pending,
    .recycle = uring_recycle,
    .wake = uring_wake,
    .datagrams = uring_datagrams,
    .accept = uring_accept,
    .receive = uring_receive,
    .writable = uring_writable,
    .connect = uring_connect,
    .cancel = uring_cancel,
    .cancel_all = uring_cancel_all,
    .forget = uring_forget,
};
