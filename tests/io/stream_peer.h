/**
 * stream_peer.h - a known stream of bytes: written by a thread, expected back, in order and whole.
 */
#ifndef STREAM_PEER_H
#define STREAM_PEER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct stream_writer {
    int fd;
    size_t len;
    bool is_half_closed;
    bool has_failed;
};

uint8_t stream_byte(size_t i);
/* stream_write writes `len` bytes; `arg` is a struct stream_writer. A thread's body. */
void *stream_write(void *arg);
/* The others fail the test if they are disappointed. */
void stream_expect(int fd, size_t len);
void stream_echo(int fd, size_t len);
void stream_expect_end(int fd);

#endif
