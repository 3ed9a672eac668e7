/**
 * poll_udp_server.c - DTLS 1.2 on poll(2), with keys that come from another thread.
 *     example_poll_udp_server PORT KEYFILE          (127.0.0.1; PORT 0: any, it is printed)
 *
 * To each datagram it answers "ENTITY: " and what was sent. SIGTERM ends it.
 *
 * What it shows: a turn around poll(2), its timeout, and the key source contract. The thread that
 * owns the engine asks (request_key) and answers (take_answers); the worker only looks keys up, as
 * slowly as it likes: no handshake but the one that waits is held up. What passes between the two
 * is a ticket, never a pointer: the handshake may be gone when the answer comes.
 */
#include "example.h"

#include <poll.h>

#define IDENTITY_LEN_MAX 256
#define BATCH_MAX 32 /* datagrams in one turn */
#define DATAGRAM_LEN_MAX 2048
#define LOOKUP_MS 20 /* what a database or a server far away would take */

/* What goes to the worker, and what comes back, through a pair of sockets: bounded by itself, and
 * good to poll for. The key is not copied there: the answer's view points into the key file. */
struct question {
    struct hf_ticket ticket;
    uint8_t identity[IDENTITY_LEN_MAX];
    size_t identity_len;
};

struct reply {
    struct hf_ticket ticket;
    struct hf_answer answer;
    uint8_t credential_id[HF_CREDENTIAL_ID_MAX];
};

struct worker {
    struct hf_keyfile *keyfile;
    pthread_t thread;
    int ends[2]; /* the engine's and the worker's */
};

struct server {
    struct hf_engine *engine;
    struct worker worker;
    struct hf_address local;
    int fd, signal_fd;
    struct hf_datagram datagram; /* received and not yet taken by the engine, if len is not 0 */
    uint8_t buffers[BATCH_MAX + 1][DATAGRAM_LEN_MAX];
    unsigned buffer_index;
};

/* The worker's thread: sees questions, replies and the key file; never the engine. */
static void *worker_run(void *arg)
{
    const struct worker *worker = arg;
    const struct timespec delay = {0, LOOKUP_MS * 1000000L};
    struct question question;
    struct reply reply;
    while (recv(worker->ends[1], &question, sizeof question, 0) == sizeof question) {
        nanosleep(&delay, NULL);
        memset(&reply, 0, sizeof reply);
        reply.ticket = question.ticket;
        hf_keyfile_answer(&reply.answer, reply.credential_id, worker->keyfile,
                          (struct hf_bytes){question.identity, question.identity_len});
        if (send(worker->ends[1], &reply, sizeof reply, MSG_NOSIGNAL) < 0)
            break;
    }
    return NULL;
}

/* Called inside a turn; must not block. The request's views die with the call: copy what you keep.
 * No cancel() is needed: an answer for a handshake that is gone is simply stale. */
static void request_key(struct hf_engine *engine, const struct hf_request *request, void *arg)
{
    const struct worker *worker = arg;
    struct question question = {.ticket = request->ticket,
                                .identity_len = request->psk_identity.len};
    memcpy(question.identity, request->psk_identity.data, question.identity_len); /* <= our limit */
    if (send(worker->ends[0], &question, sizeof question, MSG_DONTWAIT | MSG_NOSIGNAL) < 0) {
        const struct hf_answer answer = {.kind = HF_ANSWER_UNAVAILABLE}; /* too many at once */
        (void)hf_engine_answer(engine, request->ticket, &answer);
    }
}

static void take_answers(struct server *server)
{
    struct reply reply;
    while (recv(server->worker.ends[0], &reply, sizeof reply, MSG_DONTWAIT) == sizeof reply) {
        reply.answer.credential_id.data = reply.credential_id; /* where it is now */
        (void)hf_engine_answer(server->engine, reply.ticket, &reply.answer);
    }
}

static void on_data(struct server *server, const struct hf_event *event)
{
    struct hf_association_info info;
    char text[DATAGRAM_LEN_MAX + HF_CREDENTIAL_ID_MAX];
    if (hf_engine_association_info(&info, server->engine, event->association) != HF_OK)
        return; /* it ended later in this very turn */
    int len = snprintf(text, sizeof text, "%s: %.*s",
                       info.entity_id_len > 0 ? info.entity_id : info.credential_id,
                       (int)event->data.len, (const char *)event->data.data);
    /* If there is no room the answer is lost, as any datagram may be. */
    (void)!hf_engine_send(server->engine, event->association,
                          (struct hf_bytes){(const uint8_t *)text, (size_t)len});
}

/* Other kinds come with TLS only, or only if asked for. */
static void on_event(struct server *server, const struct hf_event *event)
{
    struct hf_association_info info;
    char peer[HF_ADDRESS_TEXT_MAX];
    if (event->kind == HF_EVENT_DATA)
        on_data(server, event);
    else if (event->kind == HF_EVENT_ESTABLISHED &&
             hf_engine_association_info(&info, server->engine, event->association) == HF_OK)
        printf("established %s %s %s\n", hf_address_print(peer, &event->path.peer),
               info.credential_id, hf_suite_name(info.suite));
    else if (event->kind == HF_EVENT_CLOSED || event->kind == HF_EVENT_HANDSHAKE_FAILED)
        printf("%s %s %s\n", event->kind == HF_EVENT_CLOSED ? "closed" : "failed",
               hf_address_print(peer, &event->path.peer), hf_status_reason(event->failure.status));
}

/* Receives one datagram into the next buffer. There is one buffer more than a turn can use, so that
 * nothing is overwritten that this turn's events may still show. */
static bool receive(struct server *server)
{
    uint8_t *buffer = server->buffers[server->buffer_index++ % (BATCH_MAX + 1)];
    struct sockaddr_in peer = {0};
    socklen_t peer_len = sizeof peer;
    ssize_t len = recvfrom(server->fd, buffer, DATAGRAM_LEN_MAX, MSG_DONTWAIT,
                           (struct sockaddr *)&peer, &peer_len);
    if (len < 0)
        return false;
    server->datagram = (struct hf_datagram){
        /* The socket is bound to one address; on a wildcard ask IP_PKTINFO for it. */
        .path = {.peer = hf_address_v4((const uint8_t *)&peer.sin_addr, ntohs(peer.sin_port)),
                 .local = server->local},
        .data = buffer,
        .len = (size_t)len,
    };
    return true;
}

static void receive_all(struct server *server)
{
    for (int i = 0; i < BATCH_MAX && (server->datagram.len > 0 || receive(server)); i++) {
        if (hf_engine_receive_datagram(server->engine, &server->datagram) == HF_WAITING)
            return; /* no room: the same one again in the next turn */
        server->datagram.len = 0;
    }
}

static void send_all(struct server *server)
{
    struct hf_output output;
    while (hf_engine_take_output(server->engine, &output)) {
        struct sockaddr_in peer = {.sin_family = AF_INET, .sin_port = htons(output.path.peer.port)};
        memcpy(&peer.sin_addr, output.path.peer.ip + 12, 4); /* behind ::ffff: */
        /* What the kernel does not take is lost, as any datagram may be: flights are sent again. */
        (void)!sendto(server->fd, output.data.data, output.data.len, MSG_DONTWAIT,
                      (struct sockaddr *)&peer, sizeof peer);
    }
}

static void turn(struct server *server)
{
    struct hf_event event;
    hf_engine_begin_turn(server->engine, now_us(), time(NULL));
    receive_all(server);
    take_answers(server);
    hf_engine_end_turn(server->engine);
    hf_engine_run_jobs(server->engine);
    while (hf_engine_take_event(server->engine, &event))
        on_event(server, &event);
    send_all(server);
}

static void serve(struct server *server)
{
    struct pollfd fds[] = {{server->fd, POLLIN, 0},
                           {server->worker.ends[0], POLLIN, 0},
                           {server->signal_fd, POLLIN, 0}};
    while (!(fds[2].revents & POLLIN)) {
        bool is_behind = server->datagram.len > 0;
        int timeout = is_behind ? 0 : ms_until(hf_engine_next_us(server->engine));
        must(poll(fds, 3, timeout) >= 0 || errno == EINTR, "poll");
        turn(server);
    }
}

static void open_engine(struct server *server)
{
    struct hf_listener listener;
    struct hf_config config;
    const struct hf_key_source source = {.request = request_key, .arg = &server->worker};
    hf_listener_init(&listener, HF_TRANSPORT_DTLS);
    hf_config_init(&config);
    config.identity_len_max = IDENTITY_LEN_MAX;
    config.listeners = &listener; /* copied */
    config.listener_count = 1;
    must(hf_engine_open(&server->engine, &config, &source) == HF_OK, "hf_engine_open");
}

static void open_worker(struct worker *worker, const char *key_file)
{
    must(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, worker->ends) == 0, "socketpair");
    worker->keyfile = read_keys(key_file);
    must(pthread_create(&worker->thread, NULL, worker_run, worker) == 0, "pthread_create");
}

static void close_worker(struct worker *worker)
{
    (void)shutdown(worker->ends[0], SHUT_RDWR); /* wakes it, whatever it is doing */
    pthread_join(worker->thread, NULL);
    hf_keyfile_close(worker->keyfile);
}

int main(int argc, char **argv)
{
    static struct server server;
    must(argc == 3, "usage: example_poll_udp_server PORT KEYFILE");
    server.signal_fd = open_signal();
    open_worker(&server.worker, argv[2]);
    open_engine(&server);
    server.fd = open_loopback(&server.local, SOCK_DGRAM, argv[1]);
    serve(&server);
    close_worker(&server.worker);
    hf_engine_close(server.engine);
    return 0;
}
