/**
 * machine_test.c - the table of the state machine: its shape, and docs/STATE-MACHINE.md, which is
 * made from it.
 *
 *     machine_test                      checks; exit status 1 if anything is amiss
 *     machine_test --write              writes the page
 */
#include "page.h"

#include "machine.h"

#include <stdio.h>
#include <string.h>

#define ANY HF_STATE_COUNT

static int failures;

static void check(bool is_good, const char *claim)
{
    printf("%s %s\n", is_good ? "PASS" : "FAIL", claim);
    failures += !is_good;
}

static const struct hf_row *row_of(enum hf_state state, enum hf_machine_event_kind event)
{
    size_t count;
    const struct hf_row *rows = hf_machine_rows(&count);
    for (size_t i = 0; i < count; i++) {
        if (rows[i].event == event && (rows[i].state == state || rows[i].state == ANY))
            return &rows[i];
    }
    return NULL;
}

static void check_rows(void)
{
    size_t count;
    const struct hf_row *rows = hf_machine_rows(&count);
    bool is_single = true, is_complete = true, is_common_neutral = true, is_next_live = true;
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; j < i; j++)
            is_single &= rows[i].event != rows[j].event ||
                         (rows[i].state != rows[j].state && rows[i].state != ANY &&
                          rows[j].state != ANY);
        is_complete &= rows[i].step != NULL && rows[i].clause != NULL && rows[i].clause[0] != 0;
        is_common_neutral &= rows[i].state != ANY || rows[i].next == HF_STATE_FREE;
        is_next_live &= rows[i].next < HF_STATE_COUNT && rows[i].state != HF_STATE_FREE;
    }
    check(is_single, "no event has two rows in one state");
    check(is_complete, "every row has a step and names its clause");
    check(is_common_neutral, "the rows of every state change no state");
    check(is_next_live, "every row begins and ends in a state there is");
}

static void check_reachable(void)
{
    bool is_reached[HF_STATE_COUNT] = {[HF_STATE_FREE] = true, [HF_STATE_SV_START] = true,
                                       [HF_STATE_CL_START] = true};
    bool has_changed = true, is_all = true;
    size_t count;
    const struct hf_row *rows = hf_machine_rows(&count);
    while (has_changed) {
        has_changed = false;
        for (size_t i = 0; i < count; i++) {
            if (rows[i].state != ANY && is_reached[rows[i].state] && !is_reached[rows[i].next]) {
                is_reached[rows[i].next] = true;
                has_changed = true;
            }
        }
    }
    for (int i = 0; i < HF_STATE_COUNT; i++)
        is_all &= is_reached[i];
    check(is_all, "every state can be reached");
}

/** Tells whether OPEN can be reached from `start` without any row of `without`. */
static bool is_open_without(enum hf_state start, enum hf_machine_event_kind without)
{
    bool is_reached[HF_STATE_COUNT] = {false};
    size_t count;
    const struct hf_row *rows = hf_machine_rows(&count);
    is_reached[start] = true;
    for (size_t round = 0; round < HF_STATE_COUNT; round++) {
        for (size_t i = 0; i < count; i++) {
            if (rows[i].state != ANY && is_reached[rows[i].state] && rows[i].event != without)
                is_reached[rows[i].next] |= rows[i].next != HF_STATE_FREE;
        }
    }
    return is_reached[HF_STATE_OPEN];
}

static bool has_row(enum hf_state state, enum hf_machine_event_kind event)
{
    return row_of(state, event) != NULL;
}

/** What keeps a stranger out: no row leads back or across to the other role, and none of the steps
 *  that prove a key can be gone around. */
static void check_order(void)
{
    static const enum hf_machine_event_kind needed[2][6] = {
        {HF_MACHINE_CLIENT_HELLO, HF_MACHINE_CLIENT_KEY_EXCHANGE, HF_MACHINE_ANSWER,
         HF_MACHINE_CHANGE_CIPHER_SPEC, HF_MACHINE_FINISHED, HF_MACHINE_START},
        {HF_MACHINE_SERVER_HELLO, HF_MACHINE_SERVER_HELLO_DONE, HF_MACHINE_ANSWER,
         HF_MACHINE_CHANGE_CIPHER_SPEC, HF_MACHINE_FINISHED, HF_MACHINE_START},
    };
    static const enum hf_state starts[2] = {HF_STATE_SV_START, HF_STATE_CL_START};
    bool is_needed = true, is_forward = true, is_late = true, is_timed = true;
    size_t count;
    const struct hf_row *rows = hf_machine_rows(&count);
    for (size_t role = 0; role < 2; role++) {
        for (size_t i = 0; i < 6; i++)
            is_needed &= !is_open_without(starts[role], needed[role][i]);
    }
    for (size_t i = 0; i < count; i++) {
        if (rows[i].state == ANY || rows[i].next == HF_STATE_FREE)
            continue;
        bool is_client = rows[i].state >= HF_STATE_CL_START;
        is_forward &= rows[i].state < rows[i].next && rows[i].state != HF_STATE_OPEN &&
                      (is_client || rows[i].next < HF_STATE_CL_START ||
                       rows[i].next == HF_STATE_OPEN);
    }
    for (int at = HF_STATE_SV_START; at < HF_STATE_COUNT; at++) {
        enum hf_state state = (enum hf_state)at;
        is_late &= has_row(state, HF_MACHINE_DATA) == (state == HF_STATE_OPEN);
        is_timed &= has_row(state, HF_MACHINE_TIMEOUT) && has_row(state, HF_MACHINE_CLOSE) &&
                    has_row(state, HF_MACHINE_ALERT);
    }
    check(is_needed, "hellos, the key, ChangeCipherSpec and Finished: none can be gone around");
    check(is_forward, "no row leads back, nor from one role to the other, nor out of OPEN");
    check(is_late, "application data has a row in OPEN and nowhere else");
    check(is_timed, "every state can time out, be closed, and take an alert");
}

static void add_page(struct page *page)
{
    size_t count;
    const struct hf_row *rows = hf_machine_rows(&count);
    page_add(page,
             "# State machine\n\n"
             "Made from the table in engine/machine.c by `machine_test --write`; the test of that "
             "name fails when this\npage is out of date. TLS and DTLS share the table.\n\n"
             "A row says: in this state, on this event, take this step; if it succeeds, go on to "
             "the next state. START,\nANSWER, TIMEOUT and CLOSE do not come from the wire: a "
             "suspended handshake is one that expects such an event.\n*ANY* stands for every "
             "state; *same* means that the state stays, or that the step has ended the\n"
             "association. What has no row is `unexpected_message` on TLS, and dropped and counted "
             "on DTLS, where\nanyone can send with somebody else's address.\n\n"
             "| state | event | next | clause |\n|---|---|---|---|\n");
    for (size_t i = 0; i < count; i++)
        page_add(page, "| %s | %s | %s | %s |\n", hf_machine_state_name(rows[i].state),
                 hf_machine_event_name(rows[i].event),
                 rows[i].next == HF_STATE_FREE ? "same" : hf_machine_state_name(rows[i].next),
                 rows[i].clause);
    page_add(page, "\n## Which event has a row in which state\n\n| |");
    for (int event = 0; event < HF_MACHINE_EVENT_COUNT; event++)
        page_add(page, " %s |", hf_machine_event_name((enum hf_machine_event_kind)event));
    page_add(page, "\n|---|");
    for (int event = 0; event < HF_MACHINE_EVENT_COUNT; event++)
        page_add(page, "---|");
    for (int state = HF_STATE_SV_START; state < HF_STATE_COUNT; state++) {
        page_add(page, "\n| %s |", hf_machine_state_name((enum hf_state)state));
        for (int event = 0; event < HF_MACHINE_EVENT_COUNT; event++)
            page_add(page, " %s |",
                     row_of((enum hf_state)state, (enum hf_machine_event_kind)event) ? "x" : "");
    }
    page_add(page, "\n");
}

int main(int argc, char **argv)
{
    static struct page page;
    check_rows();
    check_reachable();
    check_order();
    add_page(&page);
    failures += page_main(&page, HF_SOURCE_DIR "/docs/STATE-MACHINE.md", "docs/STATE-MACHINE.md",
                          argc, argv);
    return failures ? 1 : 0;
}
