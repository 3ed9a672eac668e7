/**
 * stream_peer.c - see stream_peer.h.
 */
#include "stream_peer.h"

#include "loop_fixture.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <sys/socket.h>

#include <cmocka.h>

uint8_t stream_byte(size_t i)
{
    return (uint8_t)((i * 2654435761u) >> 13);
}

void *stream_write(void *arg)
{
    struct stream_writer *writer = arg;
    uint8_t part[5000];
    for (size_t at = 0; at < writer->len;) {
        size_t len = writer->len - at < sizeof part ? writer->len - at : sizeof part;
        for (size_t i = 0; i < len; ++i)
            part[i] = stream_byte(at + i);
        if (!fixture_write(writer->fd, part, len)) {
            writer->has_failed = true;
            return NULL;
        }
        at += len;
    }
    if (writer->is_half_closed)
        shutdown(writer->fd, SHUT_WR);
    return NULL;
}

void stream_expect(int fd, size_t len)
{
    static uint8_t part[65536];
    for (size_t at = 0; at < len;) {
        size_t want = len - at < sizeof part ? len - at : sizeof part;
        assert_true(fixture_read(fd, part, want));
        for (size_t i = 0; i < want; ++i)
            if (part[i] != stream_byte(at + i))
                fail_msg("byte %zu differs", at + i);
        at += want;
    }
}

void stream_echo(int fd, size_t len)
{
    struct stream_writer writer = {.fd = fd, .len = len};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, stream_write, &writer), 0);
    stream_expect(fd, len);
    pthread_join(thread, NULL);
    assert_false(writer.has_failed);
}

void stream_expect_end(int fd)
{
    uint8_t byte;
    ssize_t count = recv(fd, &byte, 1, 0);
    if (count != 0)
        fail_msg("no end of stream: %zd, errno %d", count, errno);
}
