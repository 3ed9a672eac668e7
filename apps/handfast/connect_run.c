/**
 * connect_run.c - `handfast connect`: one socket, one engine, standard input and output. poll(2) is
 * all the loop it takes: the engine wants no more of its embedder.
 */
#include "connect.h"

#include "endpoint.h"
#include "keylog.h"
#include "tool.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static uint64_t clock_us(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000u + (uint64_t)now.tv_nsec / 1000u;
}

/* ---- the socket ---- */

static bool fail_socket(const struct hf_connect_session *session, const char *step)
{
    char text[HF_ADDRESS_TEXT_MAX];
    fprintf(stderr, "handfast: connect: %s %s: %s\n", step,
            hf_address_print(text, &session->options->peer), strerror(errno));
    return false;
}

static void load_address(struct hf_address *out, const struct sockaddr_storage *address)
{
    if (address->ss_family == AF_INET) {
        struct sockaddr_in v4;
        uint8_t ip[4];
        memcpy(&v4, address, sizeof(v4));
        memcpy(ip, &v4.sin_addr, sizeof(ip));
        *out = hf_address_v4(ip, ntohs(v4.sin_port));
    } else {
        struct sockaddr_in6 v6;
        uint8_t ip[16];
        memcpy(&v6, address, sizeof(v6));
        memcpy(ip, &v6.sin6_addr, sizeof(ip));
        *out = hf_address_v6(ip, ntohs(v6.sin6_port), v6.sin6_scope_id);
    }
}

static bool wait_connected(struct hf_connect_session *session)
{
    struct pollfd wait = {.fd = session->fd, .events = POLLOUT};
    int code = 0;
    socklen_t len = sizeof(code);
    if (poll(&wait, 1, (int)(session->options->timeout_us / 1000)) == 0)
        errno = ETIMEDOUT;
    else if (getsockopt(session->fd, SOL_SOCKET, SO_ERROR, &code, &len) == 0 && code == 0)
        return true;
    else if (code != 0)
        errno = code;
    return false;
}

static bool open_socket(struct hf_connect_session *session)
{
    const struct hf_connect_options *options = session->options;
    struct sockaddr_storage peer, local = {0};
    socklen_t len = hf_endpoint_sockaddr(&peer, &options->peer);
    socklen_t local_len = sizeof(local);
    bool is_tls = options->transport == HF_TRANSPORT_TLS;
    session->fd = socket(peer.ss_family, (is_tls ? SOCK_STREAM : SOCK_DGRAM) | SOCK_CLOEXEC, 0);
    if (session->fd < 0)
        return fail_socket(session, "socket for");
    if (options->has_source) {
        socklen_t source_len = hf_endpoint_sockaddr(&local, &options->source);
        if (bind(session->fd, (const struct sockaddr *)&local, source_len) != 0)
            return fail_socket(session, "--source, to dial");
    }
    (void)fcntl(session->fd, F_SETFL, O_NONBLOCK);
    if (connect(session->fd, (const struct sockaddr *)&peer, len) != 0 &&
        (errno != EINPROGRESS || !wait_connected(session)))
        return fail_socket(session, "cannot reach");
    if (getsockname(session->fd, (struct sockaddr *)&local, &local_len) != 0)
        return fail_socket(session, "getsockname for");
    (void)setsockopt(session->fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    load_address(&session->path.local, &local);
    session->path.peer = options->peer;
    return true;
}

/* ---- the engine's turn ---- */

static void begin_turn(struct hf_connect_session *session)
{
    session->now_us = clock_us();
    hf_engine_begin_turn(session->engine, session->now_us, (int64_t)time(NULL));
}

static void write_all(struct hf_connect_session *session, struct hf_bytes data)
{
    while (data.len > 0) {
        ssize_t count = write(STDOUT_FILENO, data.data, data.len);
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0) { /* nobody reads: there is no more to do here */
            session->is_input_over = true;
            session->linger_until_us = 0;
            return;
        }
        data.data += count;
        data.len -= (size_t)count;
    }
}

static void take_event(struct hf_connect_session *session, struct hf_event *event)
{
    switch (event->kind) {
    case HF_EVENT_ESTABLISHED:
        session->is_established = true;
        session->established_us = clock_us();
        hf_connect_report_established(session);
        break;
    case HF_EVENT_DATA:
        if (!session->options->is_probe)
            write_all(session, event->data);
        break;
    case HF_EVENT_PEER_CLOSED:
        session->is_peer_closed = true;
        hf_engine_close_association(session->engine, session->association, HF_CLOSE_NOTIFY);
        break;
    case HF_EVENT_CLOSED:
    case HF_EVENT_HANDSHAKE_FAILED:
        session->is_over = true;
        session->failure = event->failure;
        break;
    case HF_EVENT_KEYLOG:
        hf_keylog_write(session->keylog_fd, event);
        explicit_bzero(event, sizeof(*event));
        break;
    case HF_EVENT_SESSION:
        hf_connect_keep_session(session, event->data);
        break;
    case HF_EVENT_MOVED:
    case HF_EVENT_READABLE:
        break;
    }
}

static void push(struct hf_connect_session *session)
{
    while (session->output_len > 0) {
        ssize_t count = send(session->fd, session->output, session->output_len, MSG_NOSIGNAL);
        if (count < 0 && errno == EINTR)
            continue;
        if (count <= 0)
            return; /* what broke the connection will be told by a read */
        session->output_len -= (size_t)count;
        memmove(session->output, session->output + count, session->output_len);
    }
}

static void take_output(struct hf_connect_session *session, const struct hf_output *output)
{
    if (!output->is_stream) {
        session->datagrams_out++;
        (void)send(session->fd, output->data.data, output->data.len, MSG_NOSIGNAL);
        return;
    }
    size_t room = sizeof(session->output) - session->output_len;
    size_t len = output->data.len < room ? output->data.len : room; /* asked before: it fits */
    memcpy(session->output + session->output_len, output->data.data, len);
    session->output_len += len;
}

static void end_turn(struct hf_connect_session *session)
{
    struct hf_event event;
    struct hf_output output;
    hf_engine_end_turn(session->engine);
    hf_engine_run_jobs(session->engine);
    while (hf_engine_take_event(session->engine, &event))
        take_event(session, &event);
    while (hf_engine_take_output(session->engine, &output))
        take_output(session, &output);
    push(session);
}

/* ---- input ---- */

static void receive_stream(struct hf_connect_session *session)
{
    static uint8_t buffer[65536];
    ssize_t count = recv(session->fd, buffer, sizeof(buffer), 0);
    if (count < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    begin_turn(session);
    for (size_t done = 0; count > 0 && done < (size_t)count;) {
        size_t consumed = 0;
        if (hf_engine_receive_stream(session->engine, &consumed, session->association,
                                     buffer + done, (size_t)count - done) == HF_E_STALE)
            break;
        done += consumed;
        if (done < (size_t)count) { /* full: empty it, go on */
            end_turn(session);
            begin_turn(session);
        }
    }
    if (count <= 0)
        hf_engine_receive_end(session->engine, session->association);
    end_turn(session);
}

static void receive_datagrams(struct hf_connect_session *session)
{
    static uint8_t buffer[65536];
    ssize_t count;
    while (!session->is_over &&
           (count = recv(session->fd, buffer, sizeof(buffer), MSG_DONTWAIT)) >= 0) {
        struct hf_datagram datagram = {
            .path = session->path, .is_client = true, .data = buffer, .len = (size_t)count};
        session->datagrams_in++;
        begin_turn(session);
        (void)hf_engine_receive_datagram(session->engine, &datagram);
        end_turn(session);
    }
}

/* As much of standard input as the engine takes. */
static void send_input(struct hf_connect_session *session)
{
    bool is_full = session->output_len > sizeof(session->output) / 4;
    if (session->input_len == 0 || !session->is_established || is_full)
        return;
    begin_turn(session);
    const struct hf_bytes data = {session->input, session->input_len};
    enum hf_status status = hf_engine_send(session->engine, session->association, data);
    if (status != HF_WAITING)
        session->input_len = 0;
    if (status == HF_E_TOO_LONG)
        fprintf(stderr, "handfast: connect: too long for a record: not sent\n");
    end_turn(session);
}

static void read_input(struct hf_connect_session *session)
{
    size_t max = session->options->transport == HF_TRANSPORT_DTLS ? HF_CONNECT_DATAGRAM_LEN
                                                                  : sizeof(session->input);
    ssize_t count = read(STDIN_FILENO, session->input, max);
    if (count < 0 && (errno == EINTR || errno == EAGAIN))
        return;
    session->input_len = count > 0 ? (size_t)count : 0;
    session->is_input_over = count <= 0;
    send_input(session);
}

/* ---- to the end ---- */

/* Says goodbye once there is no more input; TLS goes on listening until the peer does the same. */
static void begin_close(struct hf_connect_session *session)
{
    bool is_tls = session->options->transport == HF_TRANSPORT_TLS;
    if (session->is_closing || !session->is_established || !session->is_input_over ||
        session->input_len > 0)
        return;
    session->is_closing = true;
    session->linger_until_us =
        clock_us() + (session->options->is_probe && !is_tls ? 0 : session->options->linger_us);
    if (!is_tls)
        return;
    begin_turn(session);
    hf_engine_close_association(session->engine, session->association, HF_CLOSE_WRITE);
    end_turn(session);
}

static void end_close(struct hf_connect_session *session)
{
    if (!session->is_closing || session->is_over || clock_us() < session->linger_until_us)
        return;
    begin_turn(session);
    hf_engine_close_association(session->engine, session->association, HF_CLOSE_NOTIFY);
    end_turn(session);
}

static int timeout_ms(const struct hf_connect_session *session)
{
    uint64_t due_us = hf_engine_next_us(session->engine);
    uint64_t now_us = clock_us();
    if (session->is_closing && session->linger_until_us < due_us)
        due_us = session->linger_until_us;
    if (due_us == UINT64_MAX)
        return -1;
    return due_us <= now_us ? 0 : (int)((due_us - now_us) / 1000 + 1);
}

static void wait_once(struct hf_connect_session *session)
{
    bool is_tls = session->options->transport == HF_TRANSPORT_TLS;
    bool wants_input = session->is_established && !session->is_input_over &&
                       session->input_len == 0 && !session->is_closing;
    short writable = session->output_len > 0 ? POLLOUT : 0;
    struct pollfd waits[2] = {
        {.fd = session->fd, .events = (short)(POLLIN | writable)},
        {.fd = wants_input ? STDIN_FILENO : -1, .events = POLLIN},
    };
    if (poll(waits, 2, timeout_ms(session)) < 0 && errno != EINTR)
        return;
    if (waits[0].revents & POLLOUT)
        push(session);
    if (waits[0].revents & ~POLLOUT) {
        if (is_tls)
            receive_stream(session);
        else
            receive_datagrams(session);
    } else {
        begin_turn(session); /* timers */
        end_turn(session);
    }
    if (waits[1].revents && !session->is_over)
        read_input(session);
    else if (!session->is_over)
        send_input(session);
}

static enum hf_status dial(struct hf_connect_session *session)
{
    const struct hf_connect_options *options = session->options;
    const char *name = options->server_name ? options->server_name : "";
    const char *expect = options->expect ? options->expect : "";
    const struct hf_connect connect = {
        .path = session->path,
        .server_name = {(const uint8_t *)name, strlen(name)},
        .psk_identity = session->identity,
        .flavour = session->trust ? options->flavour : HF_FLAVOUR_NONE,
        .entity_id = {(const uint8_t *)expect, strlen(expect)},
        .session = {session->session, session->session_len},
    };
    struct hf_connect order = connect;
    /* Nobody in particular: whoever the authorities vouch for. */
    if (options->expect == NULL && options->flavour != HF_FLAVOUR_RAW)
        order.flavour = HF_FLAVOUR_NONE;
    begin_turn(session);
    session->begun_us = session->now_us;
    enum hf_status status = hf_engine_connect(&session->association, session->engine, &order);
    end_turn(session);
    return status;
}

int hf_connect_run(struct hf_connect_session *session)
{
    if (!open_socket(session))
        return HF_TOOL_FAILED;
    session->is_input_over = session->options->is_probe;
    enum hf_status status = dial(session);
    if (status != HF_OK) {
        fprintf(stderr, "handfast: connect: %s\n", hf_status_text(status));
        return HF_TOOL_FAILED;
    }
    while (!session->is_over) {
        wait_once(session);
        if (session->is_over)
            break;
        begin_close(session);
        end_close(session);
    }
    bool is_orderly = session->is_established && (session->failure.status == HF_E_CLOSED_LOCALLY ||
                                                  session->failure.status == HF_E_CLOSED_BY_PEER);
    if (is_orderly)
        return fflush(stdout) == 0 ? HF_TOOL_DONE : HF_TOOL_FAILED;
    if (session->failure.alert != HF_ALERT_NONE)
        hf_connect_forget_session(session);
    hf_connect_report_failure(session);
    return HF_TOOL_FAILED;
}
