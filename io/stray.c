/**
 * stray.c - datagrams of associations that another shard has. With a connection ID a device is the
 * same whatever its address, but the kernel shares datagrams out by address: so it is given a
 * program that looks for the shard in the connection ID; and what comes to the wrong one all the
 * same is handed over.
 *
 * Invariant: at most STRAYS_MAX datagrams are on their way to a loop; what is more is dropped, as
 * the network would have.
 */
#include "loop_private.h"

#include <linux/filter.h>
#include <stdlib.h>
#include <string.h>

#define STRAYS_MAX 256u
#define CID_AT 11u /* in a record: behind type, version, epoch and number (RFC 9146 4) */
#define TYPE_TLS12_CID 25
#define NOT_A_SOCKET UINT32_MAX /* has the kernel go by the addresses */

struct hf_stray {
    struct hf_stray *next;
    struct hf_datagram datagram;
    uint8_t data[];
};

/* Sockets of a group are numbered in the order they were bound, which is that of the shards. The
 * program sees the payload. */
void hf_stray_steer(const struct hf_socket *socket, const struct hf_loop_config *config)
{
    const struct hf_config *engine = config->engine;
    uint32_t shard_at = CID_AT + (engine->cid_node_offset == 0 ? engine->cid_node_len : 0);
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_LEN, 0),
        BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, shard_at, 0, 5),
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, TYPE_TLS12_CID, 0, 3),
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, shard_at),
        BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, config->shard_count, 1, 0),
        BPF_STMT(BPF_RET | BPF_A, 0),
        BPF_STMT(BPF_RET | BPF_K, NOT_A_SOCKET),
    };
    struct sock_fprog program = {.len = sizeof code / sizeof code[0], .filter = code};
    if (config->shard_count < 2 || config->is_unsteered || socket->is_client || socket->is_plain ||
        engine->listeners[socket->listener_index].connection_id != HF_CONNECTION_ID_ON)
        return;
    /* Without it everything still works, only dearer. */
    (void)setsockopt(socket->fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &program, sizeof program);
}

/* On the loop it belongs to. */
static void stray_take(struct hf_loop *loop, void *arg)
{
    struct hf_stray *stray = arg;
    __atomic_fetch_sub(&loop->stray_count, 1, __ATOMIC_RELAXED);
    if (loop->is_in_turn && hf_engine_receive_datagram(loop->engine, &stray->datagram) == HF_OK) {
        HF_COUNT(loop, strays_in, 1);
        stray->next = loop->strays;
        loop->strays = stray;
        return;
    }
    HF_COUNT(loop, strays_dropped, 1);
    free(stray);
}

static bool stray_post(struct hf_loop *to, const struct hf_datagram *datagram)
{
    if (__atomic_fetch_add(&to->stray_count, 1, __ATOMIC_RELAXED) < STRAYS_MAX) {
        struct hf_stray *stray = malloc(sizeof *stray + datagram->len);
        if (stray) {
            *stray = (struct hf_stray){.datagram = *datagram};
            memcpy(stray->data, datagram->data, datagram->len);
            stray->datagram.data = stray->data;
            if (hf_loop_post(to, stray_take, stray))
                return true;
            free(stray);
        }
    }
    __atomic_fetch_sub(&to->stray_count, 1, __ATOMIC_RELAXED);
    return false;
}

bool hf_stray_pass(struct hf_loop *loop, const struct hf_datagram *datagram)
{
    const struct hf_loop_handlers *handlers = &loop->config.handlers;
    if (loop->config.shard_count < 2 || datagram->len == 0 || datagram->data[0] != TYPE_TLS12_CID)
        return false;
    uint32_t shard = hf_engine_datagram_shard(loop->engine, datagram->data, datagram->len);
    if (shard == loop->shard_index)
        return false;
    struct hf_loop *to = shard < loop->config.shard_count && handlers->shard
                             ? handlers->shard(loop, shard, handlers->arg)
                             : NULL;
    if (to && stray_post(to, datagram))
        HF_COUNT(loop, strays_out, 1);
    else
        HF_COUNT(loop, strays_dropped, 1);
    return true;
}

void hf_stray_free(struct hf_loop *loop)
{
    while (loop->strays) {
        struct hf_stray *stray = loop->strays;
        loop->strays = stray->next;
        free(stray);
    }
}
