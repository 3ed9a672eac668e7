/**
 * gate.c - see gate.h. Every 10 ms in which more unprotected datagrams came than their allowance,
 * the kernel is asked how full the queue is. From half on the socket is "pressed": until that has
 * been worked off, next to nothing comes in of what is too much, and then by lot, with the chance
 * that fits the allowance, until all of it fits again.
 *
 * The allowance is a budget, and a shard may be slower than that: its budget is halved whenever the
 * queue fills all the same, and doubled again step by step while it does not.
 *
 * A flood and a million honest devices that come back at once begin alike. The honest ones end
 * their handshakes, and each of those that do raises the allowance: so the share grows with every
 * round trip as long as hellos lead anywhere.
 *
 * Invariant: a gate that holds something back is looked at again within 10 ms, traffic or not.
 */
#include "loop_private.h"

#include <linux/filter.h>
#include <linux/sock_diag.h>
#include <string.h>

#define UDP_HEADER_LEN 8
#define RECORD_LEN 13
#define TYPE_HANDSHAKE 22
#define TYPE_TLS12_CID 25
#define TYPE_RETURN_ROUTABILITY 27
#define CLIENT_HELLO 1

/* In a datagram that begins with a ClientHello. */
#define EPOCH_AT 3
#define MESSAGE_AT 13
#define FRAGMENT_OFFSET_AT 18 /* three bytes, behind one that is not looked at */
#define SESSION_ID_AT 59      /* its length; the cookie's is behind it */

/* Of the queue, in sixteenths. The kernel reckons up to four more than there are. */
#define FILL_HIGH 8
#define FILL_LOW 1
#define SHUT_US_MAX 200000u /* and as long not again */
#define SMOOTH_US 80000u
#define BEST_FADES 64 /* halved in 440 ms */
#define FILL_FAIR 4
#define CUT_MAX 6
#define CUT_US 500000u   /* so long it goes well before more is tried */
#define CALM_US 1000000u /* with nothing held back, before a flood counts as over */
#define CHANGE_MIN 8     /* an eighth more or less is not worth a new program */

/* A certificate client has many datagrams in one flight, and may repeat it. */
#define HELLOS_EACH 2
#define OTHERS_EACH 8
#define OTHERS_PER_HELLO 4 /* dropping one of nobody's costs so much less than an answer */

/* What a look has found. */
struct gate_seen {
    uint64_t us; /* since the last one */
    uint64_t taken_rate[HF_GATE_COUNT], allowance[HF_GATE_COUNT];
    uint32_t fill; /* of the queue, in sixteenths; 0 if too little came to ask */
    bool is_more;  /* of a class, than its allowance */
};

/* ---- the program -------------------------------------------------------------------------- */

#define AT(offset) (UDP_HEADER_LEN + (offset))
#define RANDOM ((uint32_t)(SKF_AD_OFF + SKF_AD_RANDOM))
#define FIRST_SHARED 6 /* what comes before is about datagrams that cannot be DTLS */

/* Where jumps lead to; each counts from the instruction behind its own. */
#define HELLO 21
#define COOKIE 23
#define OTHER 25
#define PASS 27
#define DROP 28
#define TO(here, there) (uint8_t)((there) - (here)-1)
#define JUMP(here, how, value, yes, no)                                                            \
    BPF_JUMP(BPF_JMP | (how) | BPF_K, value, TO(here, yes), TO(here, no))

static uint32_t threshold(const uint32_t *share, enum hf_gate_class class)
{
    return !share || share[class] >= HF_GATE_ALL ? UINT32_MAX : share[class] << 12;
}

/* The kernel shows it the UDP header, too. Looking beyond the end drops the datagram: then it is
 * no ClientHello that could be answered. */
bool hf_gate_attach(int fd, const uint32_t *share, bool is_unfiltered)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_LEN, 0),
        JUMP(1, BPF_JGE, UDP_HEADER_LEN + RECORD_LEN, 2, DROP),
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, AT(0)),
        JUMP(3, BPF_JEQ, TYPE_RETURN_ROUTABILITY, 6, 4), /* RFC 9853 */
        JUMP(4, BPF_JGE, 20, 5, DROP),
        JUMP(5, BPF_JGT, TYPE_TLS12_CID, DROP, 6),
        BPF_STMT(BPF_LD | BPF_H | BPF_ABS, AT(EPOCH_AT)),
        JUMP(7, BPF_JEQ, 0, 8, PASS),
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, AT(0)),
        JUMP(9, BPF_JEQ, TYPE_TLS12_CID, PASS, 10),
        JUMP(10, BPF_JEQ, TYPE_HANDSHAKE, 11, OTHER),
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, AT(MESSAGE_AT)),
        JUMP(12, BPF_JEQ, CLIENT_HELLO, 13, OTHER),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, AT(FRAGMENT_OFFSET_AT)),
        BPF_STMT(BPF_ALU | BPF_AND | BPF_K, 0xffffff),
        JUMP(15, BPF_JEQ, 0, 16, OTHER),
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, AT(SESSION_ID_AT)),
        BPF_STMT(BPF_ALU | BPF_ADD | BPF_K, AT(SESSION_ID_AT + 1)),
        BPF_STMT(BPF_MISC | BPF_TAX, 0),
        BPF_STMT(BPF_LD | BPF_B | BPF_IND, 0),
        JUMP(20, BPF_JEQ, 0, HELLO, COOKIE),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, RANDOM),
        JUMP(22, BPF_JGT, threshold(share, HF_GATE_HELLO), DROP, PASS),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, RANDOM),
        JUMP(24, BPF_JGT, threshold(share, HF_GATE_COOKIE), DROP, PASS),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, RANDOM),
        JUMP(26, BPF_JGT, threshold(share, HF_GATE_OTHER), DROP, PASS),
        BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
        BPF_STMT(BPF_RET | BPF_K, 0),
    };
    static struct sock_filter few[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_LEN, 0),
        BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, UDP_HEADER_LEN + RECORD_LEN, 0, 5),
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, AT(0)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, TYPE_RETURN_ROUTABILITY, 2, 0),
        BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, 20, 0, 2),
        BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, TYPE_TLS12_CID, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
        BPF_STMT(BPF_RET | BPF_K, 0),
    };
    struct sock_fprog all = {.len = sizeof few / sizeof few[0], .filter = few};
    int none = 0;
    if (!share && is_unfiltered) {
        (void)setsockopt(fd, SOL_SOCKET, SO_DETACH_FILTER, &none, sizeof none);
        return true;
    }
    uint16_t skipped = is_unfiltered ? FIRST_SHARED : 0;
    struct sock_fprog lots = {.len = (uint16_t)(sizeof code / sizeof code[0] - skipped),
                              .filter = code + skipped};
    const struct sock_fprog *program = share ? &lots : &all;
    return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, program, sizeof *program) == 0;
}

enum hf_gate_class hf_gate_class_of(const uint8_t *data, size_t len)
{
    static const uint8_t zero[3];
    if (len < RECORD_LEN || memcmp(data + EPOCH_AT, zero, 2) != 0 || data[0] == TYPE_TLS12_CID)
        return HF_GATE_OPEN;
    if (data[0] != TYPE_HANDSHAKE || (len > MESSAGE_AT && data[MESSAGE_AT] != CLIENT_HELLO))
        return HF_GATE_OTHER;
    if (len >= FRAGMENT_OFFSET_AT + 4u && memcmp(data + FRAGMENT_OFFSET_AT + 1, zero, 3) != 0)
        return HF_GATE_OTHER;
    size_t cookie_at = len > SESSION_ID_AT ? SESSION_ID_AT + 1u + data[SESSION_ID_AT] : len;
    return cookie_at < len && data[cookie_at] != 0 ? HF_GATE_COOKIE : HF_GATE_HELLO;
}

/* ---- how much ----------------------------------------------------------------------------- */

uint64_t hf_gate_allowance(enum hf_gate_class class, uint64_t hellos_max, uint64_t established_rate)
{
    switch (class) {
    case HF_GATE_HELLO:
        return hellos_max + HELLOS_EACH * established_rate;
    case HF_GATE_COOKIE: /* a good one costs more: a handshake begins */
        return hellos_max / 2 + HELLOS_EACH * established_rate;
    case HF_GATE_OTHER:
        return OTHERS_PER_HELLO * hellos_max + OTHERS_EACH * established_rate;
    case HF_GATE_COUNT:
        break;
    }
    return UINT64_MAX;
}

uint32_t hf_gate_share(uint64_t offered_rate, uint64_t allowance)
{
    if (offered_rate <= allowance)
        return HF_GATE_ALL;
    uint64_t share = allowance * HF_GATE_ALL / offered_rate;
    return share < HF_GATE_MIN ? HF_GATE_MIN : (uint32_t)share;
}

uint64_t hf_gate_smooth(uint64_t average, uint64_t sample, uint64_t us)
{
    if (us >= SMOOTH_US)
        return sample;
    return (average * (SMOOTH_US - us) + sample * us) / SMOOTH_US;
}

static uint64_t per_second(uint64_t count, uint64_t us)
{
    return us == 0 ? 0 : count * HF_SECOND_US / us;
}

/* In sixteenths. */
static uint32_t queue_fill(const struct hf_socket *socket)
{
    uint32_t info[SK_MEMINFO_VARS];
    socklen_t len = sizeof info;
    if (getsockopt(socket->fd, SOL_SOCKET, SO_MEMINFO, info, &len) != 0 || len < sizeof info ||
        info[SK_MEMINFO_RCVBUF] == 0)
        return 0;
    return (uint32_t)((uint64_t)info[SK_MEMINFO_RMEM_ALLOC] * 16 / info[SK_MEMINFO_RCVBUF]);
}

/* ---- pressed and not ---------------------------------------------------------------------- */

static void gate_tell(struct hf_loop *loop, const struct hf_socket *socket, bool is_over)
{
    const struct hf_loop_handlers *handlers = &loop->config.handlers;
    const struct hf_gate *gate = &socket->gate;
    uint64_t offered = 0;
    for (int i = 0; i < HF_GATE_COUNT; ++i)
        offered += gate->offered[i];
    const struct hf_loop_flood flood = {
        .address = socket->address,
        .is_over = is_over,
        .is_refused = gate->is_refused,
        .offered_per_second = offered,
        .held_back = gate->held_back,
        .duration_us = loop->now_us - gate->pressed_us,
    };
    if (handlers->flood)
        handlers->flood(loop, &flood, handlers->arg);
}

static bool is_anything_held(const struct hf_gate *gate)
{
    bool is_any = false;
    for (int i = 0; i < HF_GATE_COUNT; ++i)
        is_any |= gate->share[i] < HF_GATE_ALL;
    return is_any;
}

static void gate_apply(struct hf_loop *loop, struct hf_socket *socket)
{
    struct hf_gate *gate = &socket->gate;
    const uint32_t *share = is_anything_held(gate) ? gate->share : NULL;
    gate->is_refused = !hf_gate_attach(socket->fd, share, loop->config.is_unfiltered);
}

static void gate_reset(struct hf_gate *gate)
{
    memset(gate, 0, sizeof *gate);
    for (int i = 0; i < HF_GATE_COUNT; ++i)
        gate->share[i] = HF_GATE_ALL;
}

void hf_gate_open(struct hf_loop *loop, struct hf_socket *socket)
{
    if (socket->transport != HF_TRANSPORT_DTLS || socket->is_plain || socket->fd < 0)
        return;
    if (socket->gate.is_pressed)
        HF_COUNT(loop, floods_now, -1);
    gate_reset(&socket->gate);
    /* Without it everything still works, only dearer. */
    (void)hf_gate_attach(socket->fd, NULL, loop->config.is_unfiltered);
}

/* Takes new shares into use, but for changes that are not worth it. */
static void gate_set(struct hf_loop *loop, struct hf_socket *socket,
                     const uint32_t share[HF_GATE_COUNT])
{
    struct hf_gate *gate = &socket->gate;
    bool is_changed = false;
    for (int i = 0; i < HF_GATE_COUNT; ++i) {
        uint32_t former = gate->share[i];
        uint32_t change = share[i] > former ? share[i] - former : former - share[i];
        if (change > former / CHANGE_MIN || (change > 0 && share[i] == HF_GATE_ALL)) {
            gate->share[i] = share[i];
            is_changed = true;
        }
    }
    if (is_changed)
        gate_apply(loop, socket);
}

/* What fills the queue was let in before: nothing more of what is too much until it has been worked
 * off. Meanwhile the drops tell how much is offered. */
static void gate_shut(struct hf_loop *loop, struct hf_socket *socket, const struct gate_seen *seen)
{
    struct hf_gate *gate = &socket->gate;
    uint32_t share[HF_GATE_COUNT];
    for (int i = 0; i < HF_GATE_COUNT; ++i) {
        gate->offered[i] = seen->taken_rate[i] * HF_GATE_ALL / gate->share[i];
        share[i] = seen->taken_rate[i] > seen->allowance[i] ? HF_GATE_MIN : gate->share[i];
    }
    gate_set(loop, socket, share);
    gate->is_shut = true;
    gate->shut_us = loop->now_us;
    gate->shut_held_back = gate->held_back;
}

/* The queue is short again: of what was dropped meanwhile each class has the part that it had in
 * the queue. */
static void gate_reopen(struct hf_loop *loop, struct hf_gate *gate)
{
    uint64_t rate =
        per_second(gate->held_back - gate->shut_held_back, loop->now_us - gate->shut_us);
    uint64_t sum = 0;
    for (int i = 0; i < HF_GATE_COUNT; ++i)
        sum += gate->share[i] == HF_GATE_MIN ? gate->offered[i] : 0;
    for (int i = 0; i < HF_GATE_COUNT; ++i)
        if (gate->share[i] == HF_GATE_MIN && sum > 0)
            gate->offered[i] = rate * gate->offered[i] / sum;
    gate->is_shut = false;
    gate->shut_us = loop->now_us;
}

/* More than it can take, and that with what was let in: less from now on. */
static void gate_give_way(struct hf_loop *loop, struct hf_socket *socket,
                          const struct gate_seen *seen)
{
    if (socket->gate.cut < CUT_MAX)
        socket->gate.cut++;
    socket->gate.cut_us = loop->now_us;
    if (seen->is_more)
        gate_shut(loop, socket, seen);
}

static void gate_adjust(struct hf_loop *loop, struct hf_socket *socket,
                        const struct gate_seen *seen)
{
    struct hf_gate *gate = &socket->gate;
    uint32_t share[HF_GATE_COUNT];
    bool is_long_ago = loop->now_us - gate->shut_us >= SHUT_US_MAX;
    if (gate->is_shut && seen->fill >= FILL_LOW && !is_long_ago)
        return;
    if (gate->is_shut)
        gate_reopen(loop, gate);
    else if (seen->fill >= FILL_HIGH && is_long_ago)
        gate_give_way(loop, socket, seen);
    else
        for (int i = 0; i < HF_GATE_COUNT; ++i)
            gate->offered[i] = hf_gate_smooth(
                gate->offered[i], seen->taken_rate[i] * HF_GATE_ALL / gate->share[i], seen->us);
    if (gate->is_shut)
        return;
    for (int i = 0; i < HF_GATE_COUNT; ++i)
        share[i] = hf_gate_share(gate->offered[i], seen->allowance[i]);
    gate_set(loop, socket, share);
}

static void gate_press(struct hf_loop *loop, struct hf_socket *socket, const struct gate_seen *seen)
{
    struct hf_gate *gate = &socket->gate;
    hf_socket_count_drops(loop, socket);
    gate->is_pressed = true;
    gate->pressed_us = gate->calm_since_us = loop->now_us;
    gate->held_back = 0;
    HF_COUNT(loop, floods, 1);
    HF_COUNT(loop, floods_now, 1);
    gate_shut(loop, socket, seen);
    gate_tell(loop, socket, false);
}

static void gate_go_on(struct hf_loop *loop, struct hf_socket *socket, const struct gate_seen *seen)
{
    struct hf_gate *gate = &socket->gate;
    hf_socket_count_drops(loop, socket); /* while the shares are what they were */
    gate_adjust(loop, socket, seen);
    if (is_anything_held(gate)) {
        gate->calm_since_us = loop->now_us;
    } else if (loop->now_us - gate->calm_since_us >= CALM_US) {
        gate->is_pressed = false;
        gate_tell(loop, socket, true);
        HF_COUNT(loop, floods_now, -1);
    }
}

/* What came since the last look. */
static void gate_see(struct gate_seen *out, struct hf_loop *loop, struct hf_socket *socket)
{
    struct hf_gate *gate = &socket->gate;
    uint64_t hellos_max = loop->config.flood_hellos_per_second;
    bool is_some = false;
    uint64_t established_rate = per_second(gate->established, out->us);
    gate->established_rate = established_rate > gate->established_rate
                                 ? established_rate
                                 : gate->established_rate - gate->established_rate / BEST_FADES;
    for (int i = 0; i < HF_GATE_COUNT; ++i) {
        enum hf_gate_class class = (enum hf_gate_class)i;
        out->taken_rate[i] = per_second(gate->taken[i], out->us);
        out->allowance[i] =
            hf_gate_allowance(class, hellos_max >> gate->cut, gate->established_rate);
        out->is_more |= out->taken_rate[i] > out->allowance[i];
        is_some |= out->taken_rate[i] > hf_gate_allowance(class, hellos_max >> CUT_MAX, 0);
        gate->taken[i] = 0;
    }
    gate->established = 0;
    gate->looked_us = loop->now_us;
    out->fill = gate->is_pressed || is_some ? queue_fill(socket) : 0;
}

static void gate_look_at(struct hf_loop *loop, struct hf_socket *socket)
{
    struct hf_gate *gate = &socket->gate;
    struct gate_seen seen = {.us = loop->now_us - gate->looked_us};
    if (seen.us < HF_GATE_LOOK_US)
        return;
    gate_see(&seen, loop, socket);
    if (gate->cut > 0 && seen.fill < FILL_FAIR && loop->now_us - gate->cut_us >= CUT_US) {
        gate->cut--;
        gate->cut_us = loop->now_us;
    }
    if (gate->is_pressed)
        gate_go_on(loop, socket, &seen);
    else if (seen.fill >= FILL_HIGH && seen.is_more)
        gate_press(loop, socket, &seen);
    else if (seen.fill >= FILL_HIGH)
        gate_give_way(loop, socket, &seen);
}

void hf_gate_look(struct hf_loop *loop)
{
    if (loop->config.flood_hellos_per_second == 0)
        return;
    for (uint32_t i = 0; i < loop->socket_count; ++i) {
        struct hf_socket *socket = &loop->sockets[i];
        if (socket->transport == HF_TRANSPORT_DTLS && !socket->is_plain && !socket->is_client)
            gate_look_at(loop, socket);
    }
}

uint64_t hf_gate_next_us(const struct hf_loop *loop)
{
    uint64_t next_us = UINT64_MAX;
    for (uint32_t i = 0; i < loop->socket_count; ++i) {
        const struct hf_gate *gate = &loop->sockets[i].gate;
        if (gate->is_pressed && gate->looked_us + HF_GATE_LOOK_US < next_us)
            next_us = gate->looked_us + HF_GATE_LOOK_US;
    }
    return next_us;
}

/* ---- what comes in ------------------------------------------------------------------------ */

void hf_gate_established(struct hf_loop *loop, uint32_t listener_index)
{
    for (uint32_t i = 0; i < loop->socket_count; ++i) {
        struct hf_socket *socket = &loop->sockets[i];
        if (socket->transport == HF_TRANSPORT_DTLS && !socket->is_plain && !socket->is_client &&
            socket->listener_index == listener_index)
            socket->gate.established++;
    }
}

bool hf_gate_take(struct hf_loop *loop, struct hf_socket *socket, const uint8_t *data, size_t len)
{
    struct hf_gate *gate = &socket->gate;
    enum hf_gate_class class = hf_gate_class_of(data, len);
    if (class == HF_GATE_OPEN || socket->is_client)
        return true;
    if (gate->is_refused && gate->is_pressed) { /* as evenly as lots fall on the average */
        gate->lot[class] += gate->share[class];
        if (gate->lot[class] < HF_GATE_ALL) {
            gate->held_back++;
            HF_COUNT(loop, flood_drops, 1);
            return false;
        }
        gate->lot[class] -= HF_GATE_ALL;
    }
    gate->taken[class]++;
    return true;
}

void hf_loop_set_flood_hellos(struct hf_loop *loop, uint32_t per_second)
{
    if (per_second == 0) /* what is held back, comes in again */
        for (uint32_t i = 0; i < loop->socket_count; ++i)
            hf_gate_open(loop, &loop->sockets[i]);
    loop->config.flood_hellos_per_second = per_second;
}
