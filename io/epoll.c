/**
 * epoll.c - a back end (backend.h) for where io_uring is refused: edges from epoll, and the system
 * calls themselves when somebody asks for what they give.
 *
 * Each descriptor is registered once, edge triggered, when the first request for it is made. What
 * the edges said is remembered as "maybe": a request whose descriptor may be ready stands in line,
 * and its call is tried in turn; EAGAIN, or less than was asked for, means "no longer" - the latter
 * not where the peer's end or urgent data may be behind. So a turn costs one epoll_wait and the
 * calls that do something; datagrams come 64 a call.
 *
 * Invariant: an edge is never lost. "Maybe" is only ever taken back by a call that found nothing
 * more, and what comes after that call makes an edge.
 */
#include "loop_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define EVENTS 512
#define BATCH 64u
#define FDS_MIN 256u

enum epoll_side { EPOLL_SIDE_IN, EPOLL_SIDE_OUT };

/* One request. Receiving, accepting, being woken are "in"; connecting and POLLOUT "out". */
struct epoll_request {
    uint32_t index, generation;
    uint32_t len;      /* of a receive, at most */
    uint8_t operation; /* enum hf_operation; NONE: no request */
    bool is_maybe;     /* it may find something */
    bool is_cancelled;
};

struct epoll_fd {
    struct epoll_request sides[2];
    uint32_t serial; /* of its tenants: events for a former one are stale */
    int connect_error;
    int next; /* in line */
    bool is_registered;
    bool is_queued;
    bool is_marked; /* the peer's end, an error or urgent data: a short read proves nothing */
};

struct hf_epoll {
    int fd;
    bool is_coarse; /* no epoll_pwait2() here: milliseconds */
    struct epoll_fd *fds;
    uint32_t fd_count;
    int first, last; /* the line; -1: nobody */
    struct epoll_event events[EVENTS];

    /* Datagrams received by one call, and not yet given out. */
    struct hf_target batch_target;
    uint32_t batch_count, batch_next, batch_begin;
    struct mmsghdr messages[BATCH];
    struct iovec parts[BATCH];
    /* Buffers are taken in order and go back in order: free-running positions. */
    uint32_t datagrams_taken, datagrams_free;
};

/* In front of each datagram's payload. */
struct epoll_head {
    _Alignas(8) uint8_t name[HF_NAME_LEN];
    _Alignas(8) uint8_t controls[HF_CONTROL_LEN];
};

/* ---- opening and closing ------------------------------------------------------------------ */

static bool epoll_grow(struct hf_loop *loop, uint32_t fd)
{
    struct hf_epoll *epoll = loop->epoll;
    uint32_t count = epoll->fd_count == 0 ? FDS_MIN : epoll->fd_count;
    while (count <= fd)
        count *= 2;
    struct epoll_fd *grown = realloc(epoll->fds, count * sizeof *grown);
    if (!grown)
        return false;
    memset(grown + epoll->fd_count, 0, (count - epoll->fd_count) * sizeof *grown);
    HF_COUNT(loop, memory_len, (count - epoll->fd_count) * sizeof *grown);
    epoll->fds = grown;
    epoll->fd_count = count;
    return true;
}

static enum hf_status epoll_refused(char error[HF_LOOP_ERROR_MAX], int code)
{
    snprintf(error, HF_LOOP_ERROR_MAX, "epoll: %s%s", strerror(code),
             code == EMFILE || code == ENFILE
                 ? ": out of file descriptors: raise LimitNOFILE= (ulimit -n)"
                 : "");
    return code == ENOMEM ? HF_E_MEMORY : HF_E_STATE;
}

static enum hf_status epoll_open(struct hf_loop *loop, char error[HF_LOOP_ERROR_MAX])
{
    struct hf_epoll *epoll = loop->epoll = calloc(1, sizeof *epoll);
    if (!epoll)
        return epoll_refused(error, ENOMEM);
    epoll->first = epoll->last = -1;
    epoll->fd = epoll_create1(EPOLL_CLOEXEC);
    if (epoll->fd < 0)
        return epoll_refused(error, errno);
    if (!hf_buffers_map(&loop->datagrams, loop, loop->config.receive_buffers,
                        HF_DATAGRAM_BUFFER_LEN, 0) ||
        !hf_buffers_map(&loop->streams, loop, HF_STREAM_BUFFERS, HF_STREAM_BUFFER_LEN, 0) ||
        !epoll_grow(loop, 0))
        return epoll_refused(error, ENOMEM);
    epoll->datagrams_free = loop->datagrams.count;
    HF_COUNT(loop, memory_len, sizeof *epoll);
    return HF_OK;
}

static void epoll_close(struct hf_loop *loop)
{
    struct hf_epoll *epoll = loop->epoll;
    if (epoll && epoll->fd >= 0)
        (void)close(epoll->fd);
    if (epoll)
        free(epoll->fds);
    free(epoll);
    loop->epoll = NULL;
    hf_buffers_unmap(&loop->datagrams);
    hf_buffers_unmap(&loop->streams);
}

/* ---- the line ----------------------------------------------------------------------------- */

static bool epoll_is_ready(const struct epoll_fd *entry)
{
    for (int i = 0; i < 2; ++i) {
        const struct epoll_request *request = &entry->sides[i];
        if (request->operation != HF_OPERATION_NONE && (request->is_maybe || request->is_cancelled))
            return true;
    }
    return false;
}

static void epoll_line_up(struct hf_epoll *epoll, int fd)
{
    struct epoll_fd *entry = &epoll->fds[fd];
    if (entry->is_queued || !epoll_is_ready(entry))
        return;
    entry->is_queued = true;
    entry->next = -1;
    if (epoll->last < 0)
        epoll->first = fd;
    else
        epoll->fds[epoll->last].next = fd;
    epoll->last = fd;
}

static int epoll_step_up(struct hf_epoll *epoll)
{
    int fd = epoll->first;
    if (fd < 0)
        return -1;
    epoll->first = epoll->fds[fd].next;
    if (epoll->first < 0)
        epoll->last = -1;
    epoll->fds[fd].is_queued = false;
    return fd;
}

/* ---- waiting ------------------------------------------------------------------------------ */

static void epoll_note(struct hf_epoll *epoll, const struct epoll_event *event)
{
    uint32_t fd = (uint32_t)event->data.u64;
    struct epoll_fd *entry = &epoll->fds[fd];
    if (!entry->is_registered || entry->serial != (uint32_t)(event->data.u64 >> 32))
        return;
    entry->is_marked |= (event->events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR | EPOLLPRI)) != 0;
    entry->sides[EPOLL_SIDE_IN].is_maybe |=
        (event->events & (EPOLLIN | EPOLLPRI | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0;
    entry->sides[EPOLL_SIDE_OUT].is_maybe |=
        (event->events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) != 0;
    epoll_line_up(epoll, (int)fd);
}

static int epoll_sleep(struct hf_epoll *epoll, uint64_t timeout_us)
{
    if (!epoll->is_coarse && timeout_us != 0) {
        struct timespec timeout = {
            .tv_sec = (time_t)(timeout_us / 1000000u),
            .tv_nsec = (long)(timeout_us % 1000000u) * 1000,
        };
        int count = epoll_pwait2(epoll->fd, epoll->events, EVENTS, &timeout, NULL);
        if (count >= 0 || (errno != ENOSYS && errno != EPERM))
            return count;
        epoll->is_coarse = true; /* before Linux 5.11, or a filter that does not know it */
    }
    uint64_t ms = (timeout_us + 999) / 1000; /* never before the time */
    return epoll_wait(epoll->fd, epoll->events, EVENTS, ms > 60000 ? 60000 : (int)ms);
}

static bool epoll_is_pending(const struct hf_loop *loop)
{
    return loop->epoll->first >= 0 || loop->epoll->batch_next < loop->epoll->batch_count;
}

/* What can be counted without a call is edges: one for each connection, but for datagrams only one
 * for all that came meanwhile. So a wait for several may take its whole time; never longer. */
static enum hf_status epoll_wait_for(struct hf_loop *loop, uint64_t timeout_us, uint32_t count_min)
{
    struct hf_epoll *epoll = loop->epoll;
    bool is_now = epoll_is_pending(loop) || (epoll->is_coarse && count_min > 1);
    uint64_t left_us = is_now ? 0 : timeout_us;
    uint64_t until_us = count_min > 1 ? hf_loop_now_us() + left_us : 0;
    for (uint32_t noted = 0;;) {
        int count = epoll_sleep(epoll, left_us);
        if (count < 0 && errno != EINTR) {
            snprintf(loop->error, HF_LOOP_ERROR_MAX, "epoll_wait: %s", strerror(errno));
            return HF_E_STATE;
        }
        for (int i = 0; i < count; ++i)
            epoll_note(epoll, &epoll->events[i]);
        noted += count > 0 ? (uint32_t)count : 0;
        uint64_t now_us = count_min > 1 ? hf_loop_now_us() : 0;
        if (noted >= count_min || now_us >= until_us || epoll->is_coarse)
            return HF_OK;
        left_us = until_us - now_us;
    }
}

/* ---- receiving ---------------------------------------------------------------------------- */

static uint32_t epoll_free_datagrams(const struct hf_loop *loop)
{
    return loop->epoll->datagrams_free - loop->epoll->datagrams_taken;
}

static uint8_t *epoll_datagram_at(const struct hf_loop *loop, uint32_t position)
{
    return hf_buffers_at(&loop->datagrams, position & (loop->datagrams.count - 1));
}

static void epoll_prepare(struct hf_loop *loop, uint32_t count)
{
    struct hf_epoll *epoll = loop->epoll;
    for (uint32_t i = 0; i < count; ++i) {
        uint8_t *buffer = epoll_datagram_at(loop, epoll->datagrams_taken + i);
        struct epoll_head *head = (struct epoll_head *)(void *)buffer;
        epoll->parts[i] =
            (struct iovec){buffer + sizeof *head, loop->datagrams.buffer_len - sizeof *head};
        epoll->messages[i].msg_hdr = (struct msghdr){
            .msg_name = head->name,
            .msg_namelen = sizeof head->name,
            .msg_iov = &epoll->parts[i],
            .msg_iovlen = 1,
            .msg_control = head->controls,
            .msg_controllen = sizeof head->controls,
        };
    }
}

static void epoll_give_datagram(struct hf_completion *out, struct hf_loop *loop)
{
    struct hf_epoll *epoll = loop->epoll;
    uint32_t i = epoll->batch_next++;
    const struct msghdr *header = &epoll->messages[i].msg_hdr;
    out->operation = epoll->batch_target.operation;
    out->index = epoll->batch_target.index;
    out->generation = epoll->batch_target.generation;
    out->result = (int)epoll->messages[i].msg_len;
    out->is_armed = true;
    out->data = epoll->parts[i].iov_base;
    out->len = epoll->messages[i].msg_len;
    out->is_truncated = header->msg_flags & MSG_TRUNC;
    out->name = header->msg_name;
    out->controls = (struct msghdr){
        .msg_control = header->msg_control,
        .msg_controllen = header->msg_controllen,
    };
    loop->datagrams.held_count++;
}

/* Each of these gives a completion, or finds nothing: then the request goes on waiting. */

static bool epoll_datagrams_in(struct hf_completion *out, struct hf_loop *loop, int fd)
{
    struct hf_epoll *epoll = loop->epoll;
    struct epoll_request *request = &epoll->fds[fd].sides[EPOLL_SIDE_IN];
    uint32_t room = epoll_free_datagrams(loop);
    uint32_t wanted = room < BATCH ? room : BATCH;
    int count = -1;
    int code = ENOBUFS;
    if (wanted > 0) {
        epoll_prepare(loop, wanted);
        count = recvmmsg(fd, epoll->messages, wanted, MSG_DONTWAIT, NULL);
        code = errno;
    }
    if (count <= 0 && (code == EAGAIN || code == EINTR)) {
        request->is_maybe = code == EINTR;
        return false;
    }
    if (count <= 0) {
        out->result = -code;
        return true;
    }
    request->is_maybe = (uint32_t)count == wanted;
    epoll->batch_target = (struct hf_target){fd, (enum hf_operation)request->operation,
                                             request->index, request->generation};
    epoll->batch_count = (uint32_t)count;
    epoll->batch_next = 0;
    epoll->datagrams_taken += (uint32_t)count;
    epoll_give_datagram(out, loop);
    return true;
}

static bool epoll_accept_in(struct hf_completion *out, struct hf_loop *loop, int fd)
{
    struct epoll_request *request = &loop->epoll->fds[fd].sides[EPOLL_SIDE_IN];
    out->result = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
    if (out->result < 0 && (errno == EAGAIN || errno == EINTR)) {
        request->is_maybe = errno == EINTR;
        return false;
    }
    out->is_armed = out->result >= 0;
    if (out->result < 0)
        out->result = -errno;
    return true;
}

static bool epoll_receive_in(struct hf_completion *out, struct hf_loop *loop, int fd)
{
    struct epoll_fd *entry = &loop->epoll->fds[fd];
    struct epoll_request *request = &entry->sides[EPOLL_SIDE_IN];
    struct hf_buffers *buffers = &loop->streams;
    if (buffers->held_count == buffers->count) {
        out->result = -ENOBUFS;
        return true;
    }
    uint8_t *buffer = hf_buffers_at(buffers, buffers->held_count);
    ssize_t count = recv(fd, buffer, request->len, MSG_DONTWAIT);
    if (count < 0 && (errno == EAGAIN || errno == EINTR)) {
        request->is_maybe = errno == EINTR;
        return false;
    }
    out->result = count < 0 ? -errno : (int)count;
    if (count <= 0)
        return true;
    request->is_maybe = (size_t)count == request->len || entry->is_marked;
    out->is_more_there = request->is_maybe;
    out->data = buffer;
    out->len = (uint32_t)count;
    buffers->held_count++;
    return true;
}

static bool epoll_wake_in(struct hf_completion *out, struct hf_loop *loop, int fd)
{
    uint64_t value;
    loop->epoll->fds[fd].sides[EPOLL_SIDE_IN].is_maybe = false;
    out->result = (int)read(fd, &value, sizeof value);
    return true;
}

static bool epoll_connect_out(struct hf_completion *out, struct hf_loop *loop, int fd)
{
    struct epoll_fd *entry = &loop->epoll->fds[fd];
    int code = entry->connect_error;
    socklen_t len = sizeof code;
    entry->sides[EPOLL_SIDE_OUT].is_maybe = false;
    if (code == 0 && getsockopt(fd, SOL_SOCKET, SO_ERROR, &code, &len) != 0)
        code = errno;
    out->result = -code;
    return true;
}

/* ---- completions -------------------------------------------------------------------------- */

static bool epoll_try(struct hf_completion *out, struct hf_loop *loop, int fd,
                      const struct epoll_request *request)
{
    if (request->is_cancelled) {
        out->result = -ECANCELED;
        return true;
    }
    switch ((enum hf_operation)request->operation) {
    case HF_OPERATION_DATAGRAM:
    case HF_OPERATION_UPSTREAM_DATAGRAM:
        return epoll_datagrams_in(out, loop, fd);
    case HF_OPERATION_ACCEPT:
        return epoll_accept_in(out, loop, fd);
    case HF_OPERATION_RECEIVE:
    case HF_OPERATION_UPSTREAM_RECEIVE:
        return epoll_receive_in(out, loop, fd);
    case HF_OPERATION_WAKE:
        return epoll_wake_in(out, loop, fd);
    case HF_OPERATION_UPSTREAM_CONNECT:
        return epoll_connect_out(out, loop, fd);
    case HF_OPERATION_WRITABLE:
    case HF_OPERATION_UPSTREAM_WRITABLE:
    case HF_OPERATION_NONE:
        break;
    }
    /* What comes after the next EAGAIN makes an edge. */
    loop->epoll->fds[fd].sides[EPOLL_SIDE_OUT].is_maybe = false;
    return true;
}

/* One side of it; afterwards it may stand in line again. */
static bool epoll_serve(struct hf_completion *out, struct hf_loop *loop, int fd)
{
    struct epoll_fd *entry = &loop->epoll->fds[fd];
    bool is_given = false;
    for (int i = 0; i < 2 && !is_given; ++i) {
        struct epoll_request *request = &entry->sides[i];
        if (request->operation == HF_OPERATION_NONE ||
            (!request->is_maybe && !request->is_cancelled))
            continue;
        *out = (struct hf_completion){
            .operation = (enum hf_operation)request->operation,
            .index = request->index,
            .generation = request->generation,
        };
        is_given = epoll_try(out, loop, fd, request);
        if (is_given && !out->is_armed) {
            request->operation = HF_OPERATION_NONE;
            request->is_cancelled = false;
        }
    }
    epoll_line_up(loop->epoll, fd);
    return is_given;
}

static bool epoll_next(struct hf_completion *out, struct hf_loop *loop)
{
    struct hf_epoll *epoll = loop->epoll;
    if (epoll->batch_next < epoll->batch_count) {
        out->is_more_there = false;
        epoll_give_datagram(out, loop);
        return true;
    }
    int fd;
    while ((fd = epoll_step_up(epoll)) >= 0)
        if (epoll_serve(out, loop, fd))
            return true;
    return false;
}

static void epoll_recycle(struct hf_loop *loop)
{
    loop->epoll->datagrams_free += loop->datagrams.held_count;
    loop->datagrams.held_count = 0;
    loop->streams.held_count = 0;
}

/* ---- requests ----------------------------------------------------------------------------- */

/* Its entry, registered; NULL: no memory now. */
static struct epoll_fd *epoll_enter(struct hf_loop *loop, int fd)
{
    struct hf_epoll *epoll = loop->epoll;
    if ((uint32_t)fd >= epoll->fd_count && !epoll_grow(loop, (uint32_t)fd))
        return NULL;
    struct epoll_fd *entry = &epoll->fds[fd];
    if (entry->is_registered)
        return entry;
    struct epoll_event event = {
        .events = EPOLLIN | EPOLLPRI | EPOLLOUT | EPOLLRDHUP | EPOLLET,
        .data.u64 = (uint64_t)entry->serial << 32 | (uint32_t)fd,
    };
    if (epoll_ctl(epoll->fd, EPOLL_CTL_ADD, fd, &event) != 0)
        return NULL;
    entry->is_registered = true;
    return entry;
}

static bool epoll_ask(struct hf_loop *loop, enum epoll_side side, struct hf_target target,
                      uint32_t len, bool is_now)
{
    struct epoll_fd *entry = epoll_enter(loop, target.fd);
    if (!entry) {
        loop->is_turn_due = true;
        return false;
    }
    struct epoll_request *request = &entry->sides[side];
    request->index = target.index;
    request->generation = target.generation & 0xffffffu;
    request->len = len;
    request->operation = (uint8_t)target.operation;
    request->is_cancelled = false;
    request->is_maybe |= is_now;
    epoll_line_up(loop->epoll, target.fd);
    return true;
}

static bool epoll_wake(struct hf_loop *loop)
{
    struct hf_target target = {loop->wake_fd, HF_OPERATION_WAKE, 0, 0};
    return epoll_ask(loop, EPOLL_SIDE_IN, target, 0, false);
}

static bool epoll_datagrams(struct hf_loop *loop, struct hf_target target)
{
    return epoll_ask(loop, EPOLL_SIDE_IN, target, 0, false);
}

static bool epoll_accept(struct hf_loop *loop, struct hf_target target)
{
    /* There is no MSG_DONTWAIT for accept4(). */
    return fcntl(target.fd, F_SETFL, O_RDWR | O_NONBLOCK) == 0 &&
           epoll_ask(loop, EPOLL_SIDE_IN, target, 0, false);
}

static bool epoll_receive(struct hf_loop *loop, struct hf_target target, uint32_t len, bool is_now)
{
    return epoll_ask(loop, EPOLL_SIDE_IN, target, len, is_now);
}

static bool epoll_writable(struct hf_loop *loop, struct hf_target target)
{
    return epoll_ask(loop, EPOLL_SIDE_OUT, target, 0, false);
}

static bool epoll_connect(struct hf_loop *loop, struct hf_target target,
                          const struct sockaddr *address, socklen_t address_len)
{
    if (fcntl(target.fd, F_SETFL, O_RDWR | O_NONBLOCK) != 0)
        return false;
    int code = connect(target.fd, address, address_len) == 0 ? 0 : errno;
    bool is_over = code != EINPROGRESS;
    if (!epoll_ask(loop, EPOLL_SIDE_OUT, target, 0, is_over))
        return false;
    loop->epoll->fds[target.fd].connect_error = is_over ? code : 0;
    return true;
}

static bool epoll_cancel(struct hf_loop *loop, struct hf_target target)
{
    struct hf_epoll *epoll = loop->epoll;
    if (target.fd < 0 || (uint32_t)target.fd >= epoll->fd_count)
        return true;
    for (int i = 0; i < 2; ++i) {
        struct epoll_request *request = &epoll->fds[target.fd].sides[i];
        request->is_cancelled |= request->operation == (uint8_t)target.operation &&
                                 request->index == target.index &&
                                 request->generation == (target.generation & 0xffffffu);
    }
    epoll_line_up(epoll, target.fd);
    loop->is_turn_due |= epoll_is_pending(loop);
    return true;
}

static void epoll_cancel_all(struct hf_loop *loop)
{
    struct hf_epoll *epoll = loop->epoll;
    for (uint32_t i = 0; epoll && i < epoll->fd_count; ++i)
        epoll->fds[i].sides[EPOLL_SIDE_IN].operation =
            epoll->fds[i].sides[EPOLL_SIDE_OUT].operation = HF_OPERATION_NONE;
    if (epoll)
        epoll->batch_count = epoll->batch_next = 0;
}

/* close() takes it off the kernel's list; this off ours. Whoever stands in line is passed over: its
 * entry has no request. */
static void epoll_forget(struct hf_loop *loop, int fd)
{
    struct hf_epoll *epoll = loop->epoll;
    if (fd < 0 || (uint32_t)fd >= epoll->fd_count)
        return;
    struct epoll_fd *entry = &epoll->fds[fd];
    entry->sides[EPOLL_SIDE_IN] = entry->sides[EPOLL_SIDE_OUT] = (struct epoll_request){0};
    entry->is_registered = entry->is_marked = false;
    entry->serial++;
}

const struct hf_backend hf_backend_epoll = {
    .name = "epoll",
    .open = epoll_open,
    .close = epoll_close,
    .wait = epoll_wait_for,
    .next = epoll_next,
    .is_pending = epoll_is_pending,
    .recycle = epoll_recycle,
    .wake = epoll_wake,
    .datagrams = epoll_datagrams,
    .accept = epoll_accept,
    .receive = epoll_receive,
    .writable = epoll_writable,
    .connect = epoll_connect,
    .cancel = epoll_cancel,
    .cancel_all = epoll_cancel_all,
    .forget = epoll_forget,
};
