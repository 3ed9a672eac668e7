/**
 * outbox.c - see outbox.h.
 */
#include "outbox.h"

#include "crypto.h"

#include <stdlib.h>
#include <string.h>

void hf_outbox_turn(struct hf_outbox *outbox)
{
    if (outbox->secret_end > outbox->secret_begin)
        hf_wipe(outbox->data + outbox->secret_begin, outbox->secret_end - outbox->secret_begin);
    outbox->secret_begin = outbox->secret_end = 0;
    if (outbox->output_count == 0) {
        outbox->data_len = 0;
        outbox->output_head = 0;
    }
    if (outbox->event_count == 0)
        outbox->event_head = 0;
}

bool hf_outbox_has_bytes(const struct hf_outbox *outbox, size_t len)
{
    return outbox->data_max - outbox->data_len >= len + HF_OUTBOX_RESERVE_LEN &&
           outbox->output_max - outbox->output_head - outbox->output_count >
               HF_OUTBOX_RESERVE_COUNT;
}

bool hf_outbox_has_room(const struct hf_outbox *outbox)
{
    return hf_outbox_has_bytes(outbox, 0) &&
           outbox->event_max - outbox->event_count >= HF_OUTBOX_RESERVE_EVENTS;
}

uint8_t *hf_outbox_room(struct hf_outbox *outbox, size_t len)
{
    if (outbox->data_max - outbox->data_len < len ||
        outbox->output_head + outbox->output_count >= outbox->output_max)
        return NULL;
    return outbox->data + outbox->data_len;
}

void hf_outbox_hold(struct hf_outbox *outbox, size_t len)
{
    if (outbox->secret_end == outbox->secret_begin)
        outbox->secret_begin = outbox->data_len;
    outbox->data_len += (uint32_t)len;
    outbox->secret_end = outbox->data_len;
}

void hf_outbox_keep(struct hf_outbox *outbox, size_t len)
{
    outbox->data_len += (uint32_t)len;
}

void hf_outbox_commit(struct hf_outbox *outbox, const struct hf_output *output, size_t len)
{
    uint8_t *data = outbox->data + outbox->data_len;
    outbox->data_len += (uint32_t)len;
    if (output->is_stream && outbox->output_count > 0) {
        struct hf_output *last = &outbox->outputs[outbox->output_head + outbox->output_count - 1];
        if (last->is_stream && last->association == output->association) {
            last->data.len += len;
            return;
        }
    }
    struct hf_output *queued = &outbox->outputs[outbox->output_head + outbox->output_count++];
    *queued = *output;
    queued->data = (struct hf_bytes){data, len};
}

void hf_outbox_again(struct hf_outbox *outbox, const struct hf_output *output)
{
    uint32_t next = outbox->output_head + outbox->output_count;
    if (next == outbox->output_max)
        return;
    outbox->outputs[next] = *output;
    outbox->outputs[next].data = outbox->outputs[next - 1].data;
    outbox->output_count++;
}

struct hf_event *hf_outbox_event(struct hf_outbox *outbox, enum hf_event_kind kind,
                                 hf_association_id association)
{
    if (outbox->event_count == outbox->event_max)
        abort(); /* our bug: every producer asks hf_outbox_has_room() first */
    uint32_t at = (outbox->event_head + outbox->event_count++) % outbox->event_max;
    struct hf_event *event = &outbox->events[at];
    memset(event, 0, sizeof *event);
    event->kind = kind;
    event->association = association;
    event->failure.alert = HF_ALERT_NONE;
    return event;
}
