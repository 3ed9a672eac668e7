/**
 * backend.h - the seam between a loop and the kernel: requests go in, completions come out. Two
 * back ends stand behind it, uring.c and epoll.c, and nothing else in io/ knows which.
 *
 * A request is named by operation, index and generation, never by a pointer; at most one of each
 * operation is under way for a descriptor. It ends with a completion, also when it is cancelled; a
 * request that goes on (datagrams, accepting) says so in each.
 *
 * What was received lies in a buffer of the loop that is held until recycle().
 */
#ifndef HF_BACKEND_H
#define HF_BACKEND_H

#include <netinet/in.h>
#include <sys/socket.h>

#include "loop.h"

/** What a request is about. */
enum hf_operation {
    HF_OPERATION_NONE = 0,
    HF_OPERATION_WAKE,
    HF_OPERATION_DATAGRAM,
    HF_OPERATION_ACCEPT,
    HF_OPERATION_RECEIVE,
    HF_OPERATION_WRITABLE,
    HF_OPERATION_UPSTREAM_DATAGRAM,
    HF_OPERATION_UPSTREAM_CONNECT,
    HF_OPERATION_UPSTREAM_RECEIVE,
    HF_OPERATION_UPSTREAM_WRITABLE,
};

/** A request's name, and the descriptor it is for. */
struct hf_target {
    int fd;
    enum hf_operation operation;
    uint32_t index;
    uint32_t generation; /**< 24 bits count */
};

/** Room for what comes with a datagram: its sender, padded so that what follows stays aligned, and
 *  the controls that sockets here ask for. */
#define HF_NAME_LEN 32u
#define HF_CONTROL_LEN (CMSG_SPACE(sizeof(struct in6_pktinfo)) + 2 * CMSG_SPACE(sizeof(int)))

struct hf_completion {
    enum hf_operation operation;
    uint32_t index, generation;
    int result;         /**< bytes, a new descriptor, or -errno */
    bool is_armed;      /**< the request goes on */
    bool is_more_there; /**< another receive will find bytes at once */
    bool is_truncated;  /**< a datagram that did not fit */
    uint8_t *data;      /**< what was received, in a held buffer; NULL: nothing */
    uint32_t len;
    void *name;             /**< a datagram's sender, as the kernel writes it */
    struct msghdr controls; /**< for CMSG_FIRSTHDR() */
};

/** What a back end does. Those that give bool ask for something: false means "not now", and has the
 *  loop take another turn. Thread: the loop's, for all of them. */
struct hf_backend {
    const char *name;
    /** open takes what the kernel has to give; on failure `error` holds one line with a remedy, and
     *  close() is still to be called. */
    enum hf_status (*open)(struct hf_loop *loop, char error[HF_LOOP_ERROR_MAX]);
    void (*close)(struct hf_loop *loop);
    /** wait passes requests on and sleeps until `count_min` completions are there, as far as it can
     *  tell, at most `timeout_us`. */
    enum hf_status (*wait)(struct hf_loop *loop, uint64_t timeout_us, uint32_t count_min);
    /** next gives a completion; false: there is none. */
    bool (*next)(struct hf_completion *out, struct hf_loop *loop);
    /** is_pending: next() has something to give, without another wait. */
    bool (*is_pending)(const struct hf_loop *loop);
    /** recycle gives every held buffer back. */
    void (*recycle)(struct hf_loop *loop);

    bool (*wake)(struct hf_loop *loop);
    bool (*datagrams)(struct hf_loop *loop, struct hf_target target);
    bool (*accept)(struct hf_loop *loop, struct hf_target target);
    /** receive takes at most `len` bytes; `is_now`: some are there, or are expected at once. */
    bool (*receive)(struct hf_loop *loop, struct hf_target target, uint32_t len, bool is_now);
    bool (*writable)(struct hf_loop *loop, struct hf_target target);
    /** connect has `address` live until the next wait(). */
    bool (*connect)(struct hf_loop *loop, struct hf_target target, const struct sockaddr *address,
                    socklen_t address_len);
    bool (*cancel)(struct hf_loop *loop, struct hf_target target);
    /** cancel_all ends every request at once, without completions: next() gives nothing more. */
    void (*cancel_all)(struct hf_loop *loop);
    /** forget is told of a descriptor about to be closed; no request for it is under way. */
    void (*forget)(struct hf_loop *loop, int fd);
};

extern const struct hf_backend hf_backend_uring;
extern const struct hf_backend hf_backend_epoll;

#endif
