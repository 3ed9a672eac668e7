/**
 * load_udp.c - many DTLS clients on one socket. Every handshake comes from a source address of its
 * own within 127/8, chosen per datagram with IP_PKTINFO, so it costs no socket, and no server
 * profits or suffers from what the one before it left behind.
 */
#include "load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define BATCH_MAX 512
#define DATAGRAM_MAX 2048
#define RECENT_COUNT 65536 /* power of two, more than handshakes can be in flight */
#define HOLD_SPARE 2000    /* handshakes that may fail on the way to a full hold */
#define TICK_US 50000
#define EXCHANGE_WINDOW 256
#define EXCHANGE_ROUNDS 40          /* of what was not answered: loopback may lose, too */
#define EXCHANGE_PATIENCE_US 20000000

struct datagram {
    struct iovec iov;
    struct sockaddr_in peer;
    _Alignas(struct cmsghdr) uint8_t control[CMSG_SPACE(sizeof(struct in_pktinfo))];
    uint8_t bytes[DATAGRAM_MAX];
};

struct slot {
    struct psk_client *client;
    struct psk_client own;
    struct psk_client_work work;
    uint64_t number;
    uint64_t start_us;
    uint64_t end_us; /* when we sent close_notify */
    bool is_busy;
};

struct udp_run {
    const struct load_options *options;
    const struct load_keys *keys;
    struct load_stats *stats;
    int fd;
    uint64_t number_next;
    uint64_t now_us;
    uint32_t busy_count;
    uint32_t out_count;
    struct slot *slots;
    struct psk_client *held; /* by handshake number; NULL: nothing is held */
    struct slot *sending;    /* whose output is being gathered */
    uint8_t *heard;          /* by handshake number, of what was said to it: bits of HEARD_ */
    uint64_t heard_number;   /* whom the datagram at hand is for */
    uint64_t heard_wrong;
    uint64_t heard_count[2]; /* "up", "late" */
    uint16_t slot_of[RECENT_COUNT];
    struct mmsghdr in_messages[BATCH_MAX], out_messages[BATCH_MAX];
    struct datagram in[BATCH_MAX], out[BATCH_MAX];
};

static void flush(struct udp_run *run)
{
    uint32_t sent = 0;
    while (sent < run->out_count) {
        int count = sendmmsg(run->fd, run->out_messages + sent, run->out_count - sent, 0);
        if (count < 0 && errno != EINTR) {
            perror("bench_load: sendmmsg"); /* lost, as on a network */
            break;
        }
        sent += count > 0 ? (uint32_t)count : 0;
    }
    run->out_count = 0;
}

static void emit(const uint8_t *data, size_t len, void *arg)
{
    struct udp_run *run = arg;
    if (run->out_count == BATCH_MAX) {
        flush(run);
    }
    struct datagram *datagram = &run->out[run->out_count];
    struct msghdr *message = &run->out_messages[run->out_count++].msg_hdr;
    if (len > DATAGRAM_MAX) {
        abort();
    }
    memcpy(datagram->bytes, data, len);
    datagram->iov.iov_len = len;
    struct in_pktinfo info = {.ipi_spec_dst = load_source(run->sending->number)};
    struct cmsghdr *control = CMSG_FIRSTHDR(message);
    memcpy(CMSG_DATA(control), &info, sizeof(info));
}

static void begin(struct udp_run *run, struct slot *slot)
{
    slot->number = run->number_next++;
    slot->client = run->held != NULL ? &run->held[slot->number] : &slot->own;
    slot->start_us = run->now_us;
    slot->end_us = 0;
    slot->is_busy = true;
    run->busy_count++;
    run->slot_of[slot->number % RECENT_COUNT] = (uint16_t)(slot - run->slots);
    load_client_init(slot->client, &slot->work, run->options, run->keys, slot->number);
    run->sending = slot;
    psk_client_start(slot->client, run->now_us, emit, run);
}

static void end(struct udp_run *run, struct slot *slot)
{
    run->stats->ended_count++;
    run->stats->retransmissions += slot->client->counters.retransmissions;
    slot->is_busy = false;
    run->busy_count--;
}

/* Looks what became of a client that was fed or ticked. */
static void follow(struct udp_run *run, struct slot *slot)
{
    struct psk_client *client = slot->client;
    if (client->state == PSK_CLIENT_OPEN) {
        load_stats_open(run->stats, run->now_us - slot->start_us);
        run->stats->resumed_count += client->is_resumed;
        load_client_open(client, run->options, slot->number);
        if (run->held != NULL) {
            end(run, slot);
        } else {
            slot->end_us = run->now_us;
            psk_client_end(client, emit, run);
        }
    } else if (client->state == PSK_CLIENT_FAILED) {
        load_stats_client(run->stats, client);
        run->stats->ended_count--; /* end() counts it */
        end(run, slot);
    } else if (client->has_received_close) {
        end(run, slot);
    } else if (slot->end_us != 0 && run->now_us - slot->end_us > LOAD_CLOSE_US_MAX) {
        run->stats->close_unanswered++;
        end(run, slot);
    } else if (slot->end_us == 0 && run->now_us - slot->start_us > LOAD_HANDSHAKE_US_MAX) {
        load_stats_fail(run->stats, "timeout");
        run->stats->ended_count--;
        end(run, slot);
    }
}

/* The inverse of load_source(), as far as the numbers here need it. */
static uint64_t number_of(struct in_addr address)
{
    uint32_t bits = ntohl(address.s_addr) - 0x7F000000u;
    return (uint64_t)((bits >> 8) - 256) * 254 + (bits & 255) - 1;
}

static struct slot *find_slot(struct udp_run *run, struct in_addr address)
{
    struct slot *slot = &run->slots[run->slot_of[number_of(address) % RECENT_COUNT]];
    bool is_it = slot->is_busy && load_source(slot->number).s_addr == address.s_addr;
    return is_it ? slot : NULL;
}

/* ---- speaking with what is behind the server ---------------------------------------------- */

/* A datagram for another association than its own would show here. */
static void hear(const uint8_t *data, size_t len, void *arg)
{
    static const char *const words[2] = {"up", "late"};
    struct udp_run *run = arg;
    char expected[32];
    for (uint32_t i = 0; i < 2; i++) {
        int size = snprintf(expected, sizeof(expected), "%s %" PRIu64, words[i], run->heard_number);
        if (len != (size_t)size || memcmp(data, expected, len) != 0) {
            continue;
        }
        run->heard_count[i] += (run->heard[run->heard_number] & 1u << i) == 0;
        run->heard[run->heard_number] |= (uint8_t)(1u << i);
        return;
    }
    run->heard_wrong++;
}

static void receive_held(struct udp_run *run, const struct mmsghdr *message, uint64_t number)
{
    struct slot slot = {.number = number, .client = &run->held[number]};
    run->sending = &slot;
    run->heard_number = number;
    psk_client_receive(slot.client, run->now_us, message->msg_hdr.msg_iov->iov_base,
                       message->msg_len, emit, hear, run);
}

static void receive(struct udp_run *run, const struct mmsghdr *message)
{
    const struct cmsghdr *control = CMSG_FIRSTHDR(&message->msg_hdr);
    struct in_pktinfo info;
    if (control == NULL || control->cmsg_type != IP_PKTINFO) {
        return;
    }
    memcpy(&info, CMSG_DATA(control), sizeof(info));
    if (run->heard != NULL) {
        if (number_of(info.ipi_addr) < run->number_next) {
            receive_held(run, message, number_of(info.ipi_addr));
        }
        return;
    }
    struct slot *slot = find_slot(run, info.ipi_addr);
    if (slot != NULL) {
        run->sending = slot;
        psk_client_receive(slot->client, run->now_us, message->msg_hdr.msg_iov->iov_base,
                           message->msg_len, emit, NULL, run);
        follow(run, slot);
    }
}

static void tick(struct udp_run *run)
{
    for (uint32_t i = 0; i < run->options->in_flight; i++) {
        struct slot *slot = &run->slots[i];
        if (slot->is_busy) {
            run->sending = slot;
            psk_client_tick(slot->client, run->now_us, emit, run);
            follow(run, slot);
        }
    }
}

/* Takes what has come, waiting a tick at most if there is nothing. */
static void receive_wave(struct udp_run *run)
{
    int count;
    do {
        for (size_t i = 0; i < BATCH_MAX; i++) {
            run->in_messages[i].msg_hdr.msg_controllen = sizeof(run->in[i].control);
        }
        count = recvmmsg(run->fd, run->in_messages, BATCH_MAX, MSG_WAITFORONE, NULL);
        run->now_us = load_now_us();
        for (int i = 0; i < count; i++) {
            receive(run, &run->in_messages[i]);
        }
    } while (count == BATCH_MAX);
}

static bool open_socket(struct udp_run *run)
{
    int on = 1;
    int buffer_len = 4 << 20;
    struct timeval wait = {0, TICK_US};
    struct sockaddr_in any = {.sin_family = AF_INET};
    run->fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    return run->fd >= 0 && bind(run->fd, (const struct sockaddr *)&any, sizeof(any)) == 0 &&
           setsockopt(run->fd, IPPROTO_IP, IP_PKTINFO, &on, sizeof(on)) == 0 &&
           setsockopt(run->fd, SOL_SOCKET, SO_RCVBUF, &buffer_len, sizeof(buffer_len)) == 0 &&
           setsockopt(run->fd, SOL_SOCKET, SO_SNDBUF, &buffer_len, sizeof(buffer_len)) == 0 &&
           setsockopt(run->fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait)) == 0;
}

static void init_message(struct mmsghdr *message, struct datagram *datagram, bool is_out)
{
    struct msghdr *header = &message->msg_hdr;
    datagram->iov.iov_base = datagram->bytes;
    datagram->iov.iov_len = DATAGRAM_MAX;
    header->msg_iov = &datagram->iov;
    header->msg_iovlen = 1;
    header->msg_control = datagram->control;
    header->msg_controllen = sizeof(datagram->control);
    if (is_out) {
        struct cmsghdr *control = CMSG_FIRSTHDR(header);
        control->cmsg_level = IPPROTO_IP;
        control->cmsg_type = IP_PKTINFO;
        control->cmsg_len = CMSG_LEN(sizeof(struct in_pktinfo));
        header->msg_name = &datagram->peer;
        header->msg_namelen = sizeof(datagram->peer);
    }
}

static struct udp_run *run_open(const struct load_options *options, const struct load_keys *keys,
                                struct load_stats *stats)
{
    struct udp_run *run = calloc(1, sizeof(*run));
    if (run == NULL) {
        return NULL;
    }
    run->options = options;
    run->keys = keys;
    run->stats = stats;
    run->slots = calloc(options->in_flight, sizeof(*run->slots));
    for (size_t i = 0; i < BATCH_MAX; i++) {
        run->out[i].peer = options->server;
        init_message(&run->in_messages[i], &run->in[i], false);
        init_message(&run->out_messages[i], &run->out[i], true);
    }
    if (run->slots == NULL || !open_socket(run)) {
        perror("bench_load: socket");
        return NULL;
    }
    return run;
}

/* Handshakes until `open_max` are open or the statistics say enough. */
static void run_waves(struct udp_run *run, uint64_t open_max)
{
    run->now_us = load_now_us();
    uint64_t tick_us = run->now_us;
    while (run->stats->open_count < open_max) {
        for (uint32_t i = 0; i < run->options->in_flight; i++) {
            bool is_wanted = run->stats->open_count + run->busy_count < open_max;
            if (!run->slots[i].is_busy && is_wanted) {
                begin(run, &run->slots[i]);
            }
        }
        flush(run);
        receive_wave(run);
        if (run->now_us - tick_us > TICK_US) {
            tick_us = run->now_us;
            tick(run);
        }
        if (run->held == NULL && load_stats_wave(run->stats, run->options)) {
            return;
        }
        if (run->held != NULL && run->stats->fail_count >= HOLD_SPARE - LOAD_IN_FLIGHT_MAX) {
            return;
        }
    }
}

/* Ends every held association and gives how many were answered, which only a server can do that
 * still has the keys. */
static uint64_t close_held(struct udp_run *run)
{
    uint64_t number = 0;
    uint64_t answered = 0;
    flush(run);
    for (uint32_t i = 0; i < run->options->in_flight; i++) {
        run->slots[i].is_busy = false;
    }
    run->busy_count = 0;
    run->now_us = load_now_us(); /* there was a long pause */
    while (number < run->number_next || run->busy_count > 0) {
        for (uint32_t i = 0; i < run->options->in_flight; i++) {
            struct slot *slot = &run->slots[i];
            while (!slot->is_busy && number < run->number_next) {
                slot->number = number;
                slot->client = &run->held[number++];
                if (slot->client->state == PSK_CLIENT_OPEN) {
                    slot->is_busy = true;
                    run->busy_count++;
                    run->slot_of[slot->number % RECENT_COUNT] = (uint16_t)i;
                    run->sending = slot;
                    slot->end_us = run->now_us;
                    psk_client_end(slot->client, emit, run);
                }
            }
        }
        flush(run);
        receive_wave(run);
        tick(run);
    }
    for (number = 0; number < run->number_next; number++) {
        answered += run->held[number].has_received_close;
    }
    return answered;
}

static void wait_for_end(const struct load_options *options)
{
    char bytes[256];
    if (options->hold_seconds != 0) {
        sleep(options->hold_seconds);
        return;
    }
    while (read(STDIN_FILENO, bytes, sizeof(bytes)) > 0) {
    }
}

static bool say_up(struct udp_run *run, uint64_t number)
{
    char text[32];
    struct slot slot = {.number = number, .client = &run->held[number]};
    if (slot.client->state != PSK_CLIENT_OPEN || (run->heard[number] & 1) != 0) {
        return false;
    }
    run->sending = &slot;
    int len = snprintf(text, sizeof(text), "up %" PRIu64, number);
    psk_client_send(slot.client, (const uint8_t *)text, (size_t)len, emit, run);
    return true;
}

/* All say it once, and again those who were not answered; then all listen. */
static bool exchange(struct udp_run *run)
{
    uint64_t open_count = run->stats->open_count;
    run->heard = calloc(run->number_next, 1);
    for (uint32_t round = 0; run->heard != NULL && round < EXCHANGE_ROUNDS; round++) {
        uint32_t said = 0;
        for (uint64_t number = 0; number < run->number_next; number++) {
            said += say_up(run, number);
            if (said % EXCHANGE_WINDOW == EXCHANGE_WINDOW - 1 || number + 1 == run->number_next) {
                flush(run);
                receive_wave(run);
            }
        }
        if (run->heard_count[0] == open_count) {
            break;
        }
    }
    uint64_t until_us = load_now_us() + EXCHANGE_PATIENCE_US;
    while (run->heard != NULL && run->heard_count[1] < open_count && run->now_us < until_us) {
        uint64_t before = run->heard_count[1];
        receive_wave(run);
        if (run->heard_count[1] > before) {
            until_us = run->now_us + EXCHANGE_PATIENCE_US;
        }
    }
    printf("{\"bench\":\"exchange\",\"answered\":%" PRIu64 ",\"notified\":%" PRIu64
           ",\"misdelivered\":%" PRIu64 "}\n",
           run->heard_count[0], run->heard_count[1], run->heard_wrong);
    free(run->heard);
    run->heard = NULL;
    return run->heard_count[0] == open_count && run->heard_count[1] == open_count &&
           run->heard_wrong == 0;
}

static int run_hold(struct udp_run *run)
{
    const struct load_options *options = run->options;
    struct timespec settle = {0, 500000000};
    uint64_t before_len = options->server_pid != 0 ? load_pss_len(options->server_pid) : 0;
    run->held = calloc(options->hold + HOLD_SPARE, sizeof(*run->held));
    if (run->held == NULL) {
        return 1;
    }
    run_waves(run, options->hold);
    bool is_good = !options->is_exchanging || exchange(run);
    nanosleep(&settle, NULL);
    uint64_t after_len = options->server_pid != 0 ? load_pss_len(options->server_pid) : 0;
    uint64_t held_count = run->stats->open_count;
    double each = ((double)after_len - (double)before_len) / (double)(held_count + !held_count);
    printf("holding %" PRIu64 " associations\n", held_count);
    fflush(stdout);
    wait_for_end(options);
    uint64_t answered = close_held(run);
    printf(options->is_json
               ? "{\"bench\":\"hold\",\"suite\":\"0x%04X\",\"held\":%" PRIu64 ",\"failed\":%" PRIu64
                 ",\"pss_before\":%" PRIu64 ",\"pss_after\":%" PRIu64
                 ",\"bytes_per_association\":%.1f,\"close_answered\":%" PRIu64 "}\n"
               : "0x%04X: held %" PRIu64 ", failed %" PRIu64 "; server PSS %" PRIu64 " -> %" PRIu64
                 ", %.1f bytes per association; %" PRIu64 " answered close_notify\n",
           options->suite, held_count, run->stats->fail_count, before_len, after_len, each,
           answered);
    return is_good && held_count == options->hold && answered == held_count ? 0 : 1;
}

int load_udp_run(const struct load_options *options, const struct load_keys *keys,
                 struct load_stats *stats)
{
    struct udp_run *run = run_open(options, keys, stats);
    if (run == NULL) {
        return 1;
    }
    if (options->hold > 0) {
        return run_hold(run);
    }
    run_waves(run, UINT64_MAX);
    load_stats_print(stats, options);
    return stats->has_ended ? 0 : 1;
}
