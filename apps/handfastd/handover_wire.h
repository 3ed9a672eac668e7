/**
 * handover_wire.h - what two handfastd processes say to each other while one takes over from the
 * other: frames over a Unix stream socket, with descriptors.
 *
 *     successor                       predecessor
 *     HELLO {what it serves}     ->
 *                                <-   STATE {secrets that go on}, or REFUSED {why}
 *                                <-   SOCKETS (one a shard), SHARED (of the process)
 *     READY                      ->
 *                                <-   CHUNK ... (associations, while it serves)
 *                                <-   SESSIONS ... (of the cache, now and after PARCEL)
 *                                <-   CHUNK ..., PARCEL ... (frozen: what has changed; connections)
 *                                <-   FROZEN
 *     COMMIT                     ->   from here on it does not serve again
 *                                <-   GO
 *
 * Before COMMIT either may end it by closing: the predecessor serves on. The successor serves
 * nobody before GO.
 */
#ifndef HF_HANDOVER_WIRE_H
#define HF_HANDOVER_WIRE_H

#include <handfast/base.h>
#include <sys/types.h>

/** Of this conversation; each side says which it speaks, and both must. */
#define HF_HANDOVER_VERSION 1

/** SCM_MAX_FD of the kernel. */
#define HF_HANDOVER_FDS_MAX 253

/** Of the one line that says why there was no taking over, with its NUL. */
#define HF_HANDOVER_ERROR_MAX 400

enum hf_handover_kind {
    HF_HANDOVER_HELLO = 1,
    HF_HANDOVER_STATE,
    HF_HANDOVER_REFUSED,
    HF_HANDOVER_SOCKETS,
    HF_HANDOVER_SHARED,
    HF_HANDOVER_READY,
    HF_HANDOVER_CHUNK,
    HF_HANDOVER_PARCEL,
    HF_HANDOVER_FROZEN,
    HF_HANDOVER_COMMIT,
    HF_HANDOVER_GO,
    HF_HANDOVER_SESSIONS, /**< only to a successor whose hello says that it takes them */
};

struct hf_handover_frame {
    enum hf_handover_kind kind;
    uint32_t shard;
    uint8_t *data; /**< malloc'd, with a NUL behind it */
    size_t len;
    int fds[HF_HANDOVER_FDS_MAX]; /**< the frame's until they are taken: then -1 */
    size_t fd_count;
};

/** hf_handover_patience sets how long a send or a receive may take. */
void hf_handover_patience(int fd, unsigned seconds);

/** hf_handover_peer gives who is at the other end. False: not root, nor `owner`. */
HF_MUST_USE bool hf_handover_peer(pid_t *out, int fd, uid_t owner);

/** hf_handover_send sends a frame; descriptors stay the caller's. */
HF_MUST_USE bool hf_handover_send(int fd, enum hf_handover_kind kind, uint32_t shard,
                                  struct hf_bytes data, const int *fds, size_t fd_count);

/** hf_handover_send_text sends a frame of text, without shard or descriptors. */
bool hf_handover_send_text(int fd, enum hf_handover_kind kind, const char *text);

/** hf_handover_fail writes what went wrong, and gives false. */
bool hf_handover_fail(char error[HF_HANDOVER_ERROR_MAX], const char *why);

/** hf_handover_receive waits for one. False: none came, or nonsense; nothing is left to wipe. */
HF_MUST_USE bool hf_handover_receive(struct hf_handover_frame *out, int fd);

/** hf_handover_wipe wipes the data and closes descriptors that were not taken. */
void hf_handover_wipe(struct hf_handover_frame *frame);

#endif
