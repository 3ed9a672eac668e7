/**
 * gate.h - what of strangers' datagrams gets into the receive queue of a socket while more comes
 * than the shard can take: a classic BPF program that draws lots in the kernel.
 *
 * Records that established associations send are let in always. Unprotected ones, which anybody can
 * make, are of three classes, and of each a share is let in, so that what comes in fits its
 * allowance. Nothing is held back before the queue is half full.
 */
#ifndef HF_GATE_H
#define HF_GATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct hf_loop;
struct hf_socket;

enum hf_gate_class {
    HF_GATE_HELLO,  /**< a ClientHello without a cookie */
    HF_GATE_COOKIE, /**< with one, good or bad */
    HF_GATE_OTHER,  /**< epoch 0 otherwise: what goes on with a handshake */
    HF_GATE_COUNT,
    HF_GATE_OPEN = HF_GATE_COUNT, /**< let in always */
};

#define HF_GATE_ALL (1u << 20) /* a share: of so many, how many are let in */
#define HF_GATE_MIN (HF_GATE_ALL >> 12)
#define HF_GATE_LOOK_US 10000u

/** The state of a socket's gate. */
struct hf_gate {
    uint64_t looked_us;
    uint64_t calm_since_us;        /* pressed, but nothing held back */
    uint64_t pressed_us;           /* since when */
    uint64_t held_back;            /* since then */
    uint64_t established_rate;     /* a second: the best of late */
    uint32_t taken[HF_GATE_COUNT]; /* since it was looked at */
    uint32_t share[HF_GATE_COUNT]; /* of HF_GATE_ALL */
    uint32_t lot[HF_GATE_COUNT];   /* where the kernel refuses: see hf_gate_take() */
    uint32_t established;          /* since it was looked at */
    uint32_t cut;                  /* the budget is halved so often: a slow shard, or a busy core */
    uint64_t cut_us;               /* when that has changed */
    uint64_t offered[HF_GATE_COUNT]; /* a second, about */
    uint64_t shut_us;                /* is_shut: since when; otherwise: until when it was */
    uint64_t shut_held_back;         /* held_back by then */
    bool is_pressed;
    bool is_shut;    /* until the queue is short again */
    bool is_refused; /* the kernel does not take the program: the loop draws the lots */
};

/** hf_gate_class_of tells what a datagram is to the gate, as the program in the kernel does. */
enum hf_gate_class hf_gate_class_of(const uint8_t *data, size_t len);

/** hf_gate_attach has the kernel let `share` of each class in; NULL: all of them. Datagrams that
 *  cannot be DTLS are dropped, unless `is_unfiltered`. False: refused. */
bool hf_gate_attach(int fd, const uint32_t *share, bool is_unfiltered);

/** hf_gate_allowance gives how many of a class a second may come in: of those that lead to nothing
 *  a budget, and what the handshakes need that end well. */
uint64_t hf_gate_allowance(enum hf_gate_class class, uint64_t hellos_max,
                           uint64_t established_rate);

/** hf_gate_share gives the share of a class that fits its allowance. */
uint32_t hf_gate_share(uint64_t offered_rate, uint64_t allowance);

/** hf_gate_smooth gives the new average of a rate, from a sample over `us`. */
uint64_t hf_gate_smooth(uint64_t average, uint64_t sample, uint64_t us);

/** hf_gate_open begins with everything let in, whatever the socket went through before. */
void hf_gate_open(struct hf_loop *loop, struct hf_socket *socket);

/** hf_gate_take counts a datagram that was received; false: it is to be dropped, unlooked at. */
bool hf_gate_take(struct hf_loop *loop, struct hf_socket *socket, const uint8_t *data, size_t len);

/** hf_gate_established takes notice of a handshake at a DTLS listener that ended well. */
void hf_gate_established(struct hf_loop *loop, uint32_t listener_index);

/** hf_gate_is_drawing: what the kernel drops now, it drops by lot. */
static inline bool hf_gate_is_drawing(const struct hf_gate *gate)
{
    return gate->is_pressed && !gate->is_refused &&
           (gate->share[HF_GATE_HELLO] < HF_GATE_ALL || gate->share[HF_GATE_COOKIE] < HF_GATE_ALL ||
            gate->share[HF_GATE_OTHER] < HF_GATE_ALL);
}

/** hf_gate_look adjusts the gates, if it is time: at the end of a turn. */
void hf_gate_look(struct hf_loop *loop);

/** hf_gate_next_us gives when it wants to look again though nothing comes; UINT64_MAX: never. */
uint64_t hf_gate_next_us(const struct hf_loop *loop);

#endif
