/**
 * epoll_tls.c - TLS 1.2 inside an epoll loop that is not ours: an echo server.
 *     example_epoll_tls PORT KEYFILE                (127.0.0.1; PORT 0: any, it is printed)
 *
 * What it shows: where an engine fits into a loop; back-pressure in both directions; half-close by
 * the peer, who still gets his answer, and by us on SIGTERM; ends that are bounded in time.
 *
 * Three buffers a connection, each bounded, each filled only when the one behind it is empty:
 *
 *     read(2) -> input -> [engine opens] -> reply -> [engine seals] -> queue -> write(2)
 *
 * So a peer that does not read what it asked for is soon not read from either, and costs no more.
 */
#include "example.h"

#include <sys/epoll.h>

#define CONNECTIONS_MAX 64
#define INPUT_LEN_MAX 4096
#define REPLY_LEN_MAX (INPUT_LEN_MAX + 16384) /* a record that the input completes, and more */
#define QUEUE_LEN_MAX 65536                   /* a chunk sealed in the smallest records */
#define LINGER_US_MAX 2000000    /* for a last goodbye: of a connection, and of the program */
#define LISTENER CONNECTIONS_MAX /* epoll's data: these two, or the index of a connection */
#define SIGNALS (CONNECTIONS_MAX + 1)

struct connection {
    hf_association_id association; /* 0: free */
    int fd;
    uint32_t interest;    /* what epoll watches for */
    bool is_blocked;      /* the engine takes no input until HF_EVENT_READABLE */
    bool is_at_end;       /* read(2) gave 0, or an error */
    bool is_peer_closed;  /* close_notify came: answer what there is, then close */
    bool is_closed;       /* the association is gone: write what there is, then close, */
    uint64_t close_by_us; /* but no later than this */
    size_t input_at, input_len, reply_len, queue_len;
    uint8_t input[INPUT_LEN_MAX], reply[REPLY_LEN_MAX], queue[QUEUE_LEN_MAX];
};

struct server {
    struct hf_engine *engine;
    int epoll_fd, listener_fd, signal_fd;
    uint64_t stop_by_us; /* 0: serving */
    struct connection connections[CONNECTIONS_MAX];
};

static void watch(const struct server *server, int operation, int fd, uint32_t events,
                  uint32_t data)
{
    struct epoll_event event = {.events = events, .data.u32 = data};
    must(epoll_ctl(server->epoll_fd, operation, fd, &event) == 0, "epoll_ctl");
}

/* Lets every connection in use do something. */
static void each(struct server *server, void (*act)(struct server *, struct connection *))
{
    for (size_t i = 0; i < CONNECTIONS_MAX; i++) {
        if (server->connections[i].association != 0)
            act(server, &server->connections[i]);
    }
}

static void accept_one(struct server *server)
{
    struct sockaddr_in peer = {0};
    socklen_t len = sizeof peer;
    struct hf_path path = {0}; /* .local: for logs only on TLS */
    uint32_t index = 0;
    int fd = accept4(server->listener_fd, (struct sockaddr *)&peer, &len, SOCK_NONBLOCK);
    if (fd < 0)
        return;
    while (index < CONNECTIONS_MAX && server->connections[index].association != 0)
        index++;
    struct connection *connection = &server->connections[index];
    path.peer = hf_address_v4((const uint8_t *)&peer.sin_addr, ntohs(peer.sin_port));
    hf_association_id association;
    if (index == CONNECTIONS_MAX ||
        hf_engine_accept(&association, server->engine, 0, &path, index) != HF_OK) {
        (void)close(fd); /* full: that is what the peer hears */
        return;
    }
    memset(connection, 0, offsetof(struct connection, input));
    connection->fd = fd;
    connection->association = association;
    connection->interest = EPOLLIN;
    watch(server, EPOLL_CTL_ADD, fd, EPOLLIN, index);
}

/* Reads only into an empty buffer: the engine works in place, and events show views into it. */
static void read_some(struct connection *connection)
{
    if (connection->association == 0 || connection->is_at_end ||
        connection->input_at < connection->input_len)
        return;
    ssize_t len = read(connection->fd, connection->input, INPUT_LEN_MAX);
    if (len == 0 || (len < 0 && errno != EAGAIN && errno != EINTR))
        connection->is_at_end = true;
    connection->input_at = 0;
    connection->input_len = len > 0 ? (size_t)len : 0;
}

static void feed(struct server *server, struct connection *connection)
{
    size_t len = connection->input_len - connection->input_at, consumed = 0;
    if (connection->is_closed) {
        connection->input_at = connection->input_len; /* nobody is interested any more */
    } else if (len > 0 && connection->reply_len == 0 && !connection->is_blocked) {
        enum hf_status status =
            hf_engine_receive_stream(server->engine, &consumed, connection->association,
                                     connection->input + connection->input_at, len);
        connection->input_at += consumed;
        /* No room for events or output: again in the next turn. Otherwise an event will tell. */
        if (status == HF_WAITING && hf_engine_has_event_room(server->engine))
            connection->is_blocked = true;
    } else if (len == 0 && connection->is_at_end) {
        hf_engine_receive_end(server->engine, connection->association);
    }
}

static void on_event(struct server *server, const struct hf_event *event)
{
    struct connection *connection = &server->connections[event->user];
    struct hf_association_info info;
    if (event->kind == HF_EVENT_DATA) { /* a view that dies with the turn: copied */
        must(connection->reply_len + event->data.len <= REPLY_LEN_MAX, "the reply fits");
        memcpy(connection->reply + connection->reply_len, event->data.data, event->data.len);
        connection->reply_len += event->data.len;
    } else if (event->kind == HF_EVENT_READABLE) {
        connection->is_blocked = false;
    } else if (event->kind == HF_EVENT_PEER_CLOSED) {
        connection->is_peer_closed = true;
    } else if (event->kind == HF_EVENT_ESTABLISHED &&
               hf_engine_association_info(&info, server->engine, event->association) == HF_OK) {
        printf("established %s %s\n", info.credential_id, hf_suite_name(info.suite));
    } else if (event->kind == HF_EVENT_CLOSED || event->kind == HF_EVENT_HANDSHAKE_FAILED) {
        printf("%s %s\n", event->kind == HF_EVENT_CLOSED ? "closed" : "failed",
               hf_status_reason(event->failure.status));
        connection->is_closed = true;
        connection->close_by_us = now_us() + LINGER_US_MAX;
    }
}

static void take_events(struct server *server)
{
    struct hf_event event;
    while (hf_engine_take_event(server->engine, &event))
        on_event(server, &event);
}

/* Seals when the kernel has taken all there was before: this is where a slow reader is felt. */
static void seal(struct server *server, struct connection *connection)
{
    size_t len = connection->reply_len;
    if (connection->is_closed || connection->queue_len > 0)
        return;
    if (len > HF_STREAM_CHUNK_MAX)
        len = HF_STREAM_CHUNK_MAX;
    if (len > 0) {
        enum hf_status status = hf_engine_send(server->engine, connection->association,
                                               (struct hf_bytes){connection->reply, len});
        if (status == HF_WAITING)
            return; /* the engine's output is full: next turn */
        if (status != HF_OK)
            len = connection->reply_len; /* our sending side is closed: nobody waits for it */
        memmove(connection->reply, connection->reply + len, connection->reply_len - len);
        connection->reply_len -= len;
    }
    if (connection->is_peer_closed && connection->reply_len == 0)
        hf_engine_close_association(server->engine, connection->association, HF_CLOSE_NOTIFY);
}

static void take_output(struct server *server)
{
    struct hf_output output;
    while (hf_engine_take_output(server->engine, &output)) {
        struct connection *connection = &server->connections[output.user];
        must(connection->queue_len + output.data.len <= QUEUE_LEN_MAX, "the queue holds a turn");
        memcpy(connection->queue + connection->queue_len, output.data.data, output.data.len);
        connection->queue_len += output.data.len;
    }
}

static void flush(struct server *server, struct connection *connection)
{
    ssize_t len = 0;
    if (connection->queue_len > 0)
        len = send(connection->fd, connection->queue, connection->queue_len, MSG_NOSIGNAL);
    if (len < 0 && errno != EAGAIN && errno != EINTR) { /* it has gone */
        hf_engine_close_association(server->engine, connection->association, HF_CLOSE_SILENT);
        take_events(server);
        len = (ssize_t)connection->queue_len;
    }
    len = len > 0 ? len : 0;
    connection->queue_len -= (size_t)len;
    memmove(connection->queue, connection->queue + len, connection->queue_len);
    if (connection->is_closed &&
        (connection->queue_len == 0 || now_us() >= connection->close_by_us)) {
        (void)close(connection->fd); /* and with it leaves epoll */
        connection->association = 0;
        return;
    }
    uint32_t interest = connection->queue_len > 0 ? EPOLLOUT : 0;
    if (connection->input_at == connection->input_len && connection->reply_len == 0 &&
        !connection->is_at_end)
        interest |= EPOLLIN;
    if (interest != connection->interest)
        watch(server, EPOLL_CTL_MOD, connection->fd, interest,
              (uint32_t)(connection - server->connections));
    connection->interest = interest;
}

/* Says that we send no more. Receiving goes on until the peers have said so too. */
static void stop(struct server *server)
{
    server->stop_by_us = now_us() + LINGER_US_MAX;
    (void)close(server->listener_fd);
    (void)close(server->signal_fd);
    for (size_t i = 0; i < CONNECTIONS_MAX; i++) /* of no effect where there is none */
        hf_engine_close_association(server->engine, server->connections[i].association,
                                    HF_CLOSE_WRITE);
}

static void turn(struct server *server, const struct epoll_event *events, int count)
{
    hf_engine_begin_turn(server->engine, now_us(), time(NULL));
    for (int i = 0; i < count; i++) {
        uint32_t index = events[i].data.u32;
        if (index == LISTENER)
            accept_one(server);
        else if (index == SIGNALS)
            stop(server);
        else
            read_some(&server->connections[index]);
    }
    each(server, feed);
    hf_engine_end_turn(server->engine);
    hf_engine_run_jobs(server->engine);
    take_events(server);
    each(server, seal);
    take_events(server); /* of associations that were just closed */
    take_output(server);
    each(server, flush);
}

/* When the next turn should begin. `*is_done`: there is nothing left to do. */
static uint64_t next_us(bool *is_done, const struct server *server)
{
    uint64_t next = hf_engine_next_us(server->engine);
    bool is_empty = true;
    for (size_t i = 0; i < CONNECTIONS_MAX; i++) {
        const struct connection *connection = &server->connections[i];
        bool has_input = connection->input_at < connection->input_len && !connection->is_blocked;
        if (connection->association == 0)
            continue;
        is_empty = false;
        if (connection->reply_len > 0 ? connection->queue_len == 0 : has_input)
            next = 0; /* left over by a turn that was full */
        if (connection->is_closed && connection->close_by_us < next)
            next = connection->close_by_us;
    }
    if (server->stop_by_us && server->stop_by_us < next)
        next = server->stop_by_us;
    *is_done = server->stop_by_us && (is_empty || now_us() >= server->stop_by_us);
    return *is_done ? 0 : next;
}

static void open_engine(struct server *server, const struct hf_keyfile *keyfile)
{
    const struct hf_key_source source = hf_keyfile_source(keyfile);
    struct hf_listener listener;
    struct hf_config config;
    hf_listener_init(&listener, HF_TRANSPORT_TLS);
    hf_config_init(&config);
    config.associations_max = config.handshakes_max = CONNECTIONS_MAX;
    config.stream_buffers_max = 8; /* so few that HF_EVENT_READABLE is seen with a dozen peers */
    config.listeners = &listener;  /* copied */
    config.listener_count = 1;
    must(hf_engine_open(&server->engine, &config, &source) == HF_OK, "hf_engine_open");
}

int main(int argc, char **argv)
{
    static struct server server;
    struct epoll_event events[CONNECTIONS_MAX + 2];
    struct hf_address local;
    must(argc == 3, "usage: example_epoll_tls PORT KEYFILE");
    struct hf_keyfile *keyfile = read_keys(argv[2]);
    open_engine(&server, keyfile);
    must((server.epoll_fd = epoll_create1(EPOLL_CLOEXEC)) >= 0, "epoll_create1");
    server.signal_fd = open_signal();
    server.listener_fd = open_loopback(&local, SOCK_STREAM, argv[1]);
    watch(&server, EPOLL_CTL_ADD, server.listener_fd, EPOLLIN, LISTENER);
    watch(&server, EPOLL_CTL_ADD, server.signal_fd, EPOLLIN, SIGNALS);
    for (bool is_done = false; !is_done;) {
        int timeout = ms_until(next_us(&is_done, &server));
        turn(&server, events, epoll_wait(server.epoll_fd, events, CONNECTIONS_MAX + 2, timeout));
    }
    hf_engine_close(server.engine);
    hf_keyfile_close(keyfile);
    return 0;
}
