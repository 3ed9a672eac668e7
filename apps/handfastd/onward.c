/**
 * onward.c - see onward.h. Questions in one array, found by their index, which travels in the
 * ticket that the store sees.
 */
#include "onward.h"

#include <stdlib.h>
#include <string.h>

#define OURS UINT32_MAX /* no engine has so many slots */
#define NONE UINT32_MAX

struct question {
    struct hf_address peer;
    uint32_t next; /* of the free ones */
    uint16_t identity_len;
    uint8_t identity[HF_MAF_IDENTITY_MAX];
};

struct hf_onward {
    uint32_t questions_max, touched, free, count;
    struct question *questions;
    struct hf_ticket *tickets; /* apart, to be looked through; seq 0 and slot OURS: nobody waits */
};

static const struct hf_ticket nobody = {OURS, 0, 0};

struct hf_onward *hf_onward_open(uint32_t questions_max)
{
    struct hf_onward *onward = calloc(1, sizeof(*onward));
    if (onward == NULL)
        return NULL;
    onward->questions_max = questions_max;
    onward->free = NONE;
    onward->questions = calloc(questions_max, sizeof(*onward->questions));
    onward->tickets = calloc(questions_max, sizeof(*onward->tickets));
    if (onward->questions != NULL && onward->tickets != NULL)
        return onward;
    hf_onward_close(onward);
    return NULL;
}

void hf_onward_close(struct hf_onward *onward)
{
    if (onward == NULL)
        return;
    free(onward->questions);
    free(onward->tickets);
    free(onward);
}

bool hf_onward_put(struct hf_onward *onward, struct hf_ticket *out,
                   const struct hf_request *request)
{
    struct hf_bytes identity = request->psk_identity;
    uint32_t index = onward->free;
    if (identity.len == 0 || identity.len > HF_MAF_IDENTITY_MAX)
        return false;
    if (index != NONE)
        onward->free = onward->questions[index].next;
    else if (onward->touched < onward->questions_max)
        index = onward->touched++;
    else
        return false;
    struct question *question = &onward->questions[index];
    question->peer = request->path->peer;
    question->identity_len = (uint16_t)identity.len;
    memcpy(question->identity, identity.data, identity.len);
    onward->tickets[index] = request->ticket;
    onward->count++;
    *out = (struct hf_ticket){.slot = OURS, .generation = index};
    return true;
}

static bool is_same(struct hf_ticket a, struct hf_ticket b)
{
    return a.slot == b.slot && a.generation == b.generation && a.seq == b.seq;
}

bool hf_onward_take(struct hf_onward *onward, struct hf_onward_question *out, bool *is_wanted,
                    struct hf_ticket ticket)
{
    uint32_t index = ticket.generation;
    if (onward == NULL || ticket.slot != OURS || index >= onward->touched)
        return false;
    struct question *question = &onward->questions[index];
    *out = (struct hf_onward_question){.ticket = onward->tickets[index],
                                       .psk_identity = {question->identity, question->identity_len},
                                       .peer = question->peer};
    *is_wanted = !is_same(out->ticket, nobody);
    onward->tickets[index] = nobody;
    question->next = onward->free;
    onward->free = index;
    onward->count--;
    return true;
}

void hf_onward_cancel(struct hf_onward *onward, struct hf_ticket ticket)
{
    if (onward == NULL || onward->count == 0)
        return;
    for (uint32_t i = 0; i < onward->touched; i++)
        if (is_same(onward->tickets[i], ticket))
            onward->tickets[i] = nobody;
}
