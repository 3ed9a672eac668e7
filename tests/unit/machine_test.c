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
    bool is_single = true, is_forked_well = true, is_complete = true, is_common_neutral = true,
         is_next_live = true;
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; j < i; j++) {
            if (rows[i].event != rows[j].event)
                continue;
            bool is_fork = rows[i].way != HF_WAY_ANY && rows[j].way != HF_WAY_ANY;
            bool is_same = rows[i].state == rows[j].state;
            is_single &= (!is_same || is_fork) && rows[i].state != ANY && rows[j].state != ANY;
            is_forked_well &=
                !is_same || (rows[i].way != rows[j].way && rows[i].next != rows[j].next &&
                             rows[i].step == rows[j].step);
        }
        is_complete &= rows[i].step != NULL && rows[i].clause != NULL && rows[i].clause[0] != 0;
        is_common_neutral &= rows[i].state != ANY || rows[i].next == HF_STATE_FREE;
        is_next_live &= rows[i].next < HF_STATE_COUNT && rows[i].state != HF_STATE_FREE;
    }
    check(is_single, "no event has two rows in one state, but for those that fork");
    check(is_forked_well, "rows that fork differ in way and next state, and share their step");
    check(is_complete, "every row has a step and names its clause");
    check(is_common_neutral, "the rows of every state change no state");
    check(is_next_live, "every row begins and ends in a state there is");
}

static void check_reachable(void)
{
    bool is_reached[HF_STATE_COUNT] = {
        [HF_STATE_FREE] = true, [HF_STATE_SV_START] = true, [HF_STATE_CL_START] = true};
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

#define STATES(...)                                                                                \
    (const enum hf_state[])                                                                        \
    {                                                                                              \
        __VA_ARGS__, HF_STATE_FREE                                                                 \
    }

/** Tells whether OPEN can be reached without ever being in one of some states of one role. */
static bool can_avoid(const enum hf_state *states)
{
    bool is_client = states[0] >= HF_STATE_CL_START;
    bool is_barred[HF_STATE_COUNT] = {false};
    bool is_reached[HF_STATE_COUNT] = {
        [HF_STATE_SV_START] = !is_client, [HF_STATE_CL_START] = is_client};
    size_t count;
    const struct hf_row *rows = hf_machine_rows(&count);
    for (; *states != HF_STATE_FREE; states++)
        is_barred[*states] = true;
    for (int round = 0; round < HF_STATE_COUNT; round++) {
        for (size_t i = 0; i < count; i++) {
            if (rows[i].state != ANY && rows[i].next != HF_STATE_FREE &&
                is_reached[rows[i].state] && !is_barred[rows[i].next])
                is_reached[rows[i].next] = true;
        }
    }
    return is_reached[HF_STATE_OPEN];
}

static void check_roles(void)
{
    bool is_own = true;
    size_t count;
    const struct hf_row *rows = hf_machine_rows(&count);
    for (size_t i = 0; i < count; i++) {
        bool is_client = rows[i].state >= HF_STATE_CL_START && rows[i].state < HF_STATE_OPEN;
        bool is_to_client = rows[i].next >= HF_STATE_CL_START && rows[i].next < HF_STATE_OPEN;
        bool is_to_server = rows[i].next >= HF_STATE_SV_START && rows[i].next < HF_STATE_CL_START;
        is_own &= !(is_client ? is_to_server : is_to_client) || rows[i].state == ANY;
    }
    check(is_own, "no row leads from one role to the other");
}

/** What keeps a stranger out: no way to OPEN but past the proof, Finished, and the identity. */
static void check_order(void)
{
    bool is_way_out = true, is_forward = true, is_late = true, is_timed = true;
    for (int state = HF_STATE_SV_START; state < HF_STATE_COUNT; state++) {
        int ways = 0;
        for (int event = 0; event < HF_MACHINE_EVENT_COUNT; event++) {
            const struct hf_row *row =
                row_of((enum hf_state)state, (enum hf_machine_event_kind)event);
            ways += row && row->next != HF_STATE_FREE;
            is_forward &= !row || row->next == HF_STATE_FREE || (int)row->next > state;
        }
        is_way_out &= (ways > 0) == (state != HF_STATE_OPEN);
        is_late &=
            (row_of((enum hf_state)state, HF_MACHINE_DATA) != NULL) == (state == HF_STATE_OPEN);
        is_timed &= row_of((enum hf_state)state, HF_MACHINE_TIMEOUT) != NULL &&
                    row_of((enum hf_state)state, HF_MACHINE_CLOSE) != NULL &&
                    row_of((enum hf_state)state, HF_MACHINE_ALERT) != NULL;
    }
    check(is_way_out, "an event leads out of every state before OPEN, none out of OPEN");
    check(is_forward, "and every row leads on, never back");
    check(is_late, "application data has a row in OPEN and nowhere else");
    check(is_timed, "every state can time out, be closed, and take an alert");
    check(!can_avoid(STATES(HF_STATE_SV_AWAIT_HELLO)), "no server without hello");
    check(!can_avoid(STATES(HF_STATE_SV_AWAIT_KEY, HF_STATE_SV_AWAIT_PROOF,
                            HF_STATE_SV_RESUMED_AWAIT_CCS)),
          "no server without the answer to a key or a proof, unless it resumes");
    check(!can_avoid(STATES(HF_STATE_SV_AWAIT_CCS, HF_STATE_SV_RESUMED_AWAIT_CCS)),
          "no server without ChangeCipherSpec");
    check(!can_avoid(STATES(HF_STATE_SV_AWAIT_SESSION, HF_STATE_SV_AWAIT_EXCHANGE,
                            HF_STATE_SV_AWAIT_CERTIFICATE)),
          "no resumption unasked");
    check(!can_avoid(STATES(HF_STATE_SV_AWAIT_FINISHED)), "no server without Finished");
    check(!can_avoid(STATES(HF_STATE_SV_AWAIT_IDENTITY)), "no server without an identity");
    check(!can_avoid(STATES(HF_STATE_CL_AWAIT_HELLO)), "no client without hello");
    check(!can_avoid(STATES(HF_STATE_CL_AWAIT_KEY, HF_STATE_CL_AWAIT_PROOF,
                            HF_STATE_CL_RESUMED_AWAIT_CCS)) &&
              !can_avoid(STATES(HF_STATE_CL_AWAIT_KEY, HF_STATE_CL_AWAIT_SIGN,
                                HF_STATE_CL_RESUMED_AWAIT_CCS)),
          "no client without the answer to a key, or a proof and our own, unless it resumes");
    check(!can_avoid(STATES(HF_STATE_CL_AWAIT_CCS, HF_STATE_CL_RESUMED_AWAIT_CCS)),
          "no client without ChangeCipherSpec");
    check(!can_avoid(STATES(HF_STATE_CL_AWAIT_FINISHED)), "no client without Finished");
    check(!can_avoid(STATES(HF_STATE_CL_AWAIT_IDENTITY)), "no client without an identity");
    check_roles();
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
             "the next state. START,\nJOB (a crypto answer), ANSWER (of a key source), TIMEOUT and "
             "CLOSE do not come from the wire: a suspended handshake is one\nthat expects such an "
             "event. Where a state has several rows for one event, the step itself settles which "
             "way it goes on.\n*ANY* stands for every "
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
