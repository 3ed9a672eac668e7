/**
 * route_test.c - a peer whose address changes: what moves an association and what does not (RFC
 * 9146 6), the return routability check in both its forms (RFC 9853 5), what is sent meanwhile, and
 * the policies for peers that cannot be asked.
 */
#include "association.h"
#include "cid.h"
#include "engine_pair.h"
#include "record.h"

static struct engine_pair pair;
static const struct hf_address nowhere;

static struct hf_address address_of(uint8_t last, uint16_t port)
{
    const uint8_t ip[4] = {192, 0, 2, last};
    return hf_address_v4(ip, port);
}

static void begin(bool has_check)
{
    engine_pair_init(&pair, true);
    pair.dialers[1].connection_id = HF_CONNECTION_ID_SEND;
    pair.dialers[1].return_routability = has_check;
}

static void meet(void)
{
    engine_pair_open(&pair);
    engine_pair_meet(&pair);
    engine_pair_talk(&pair);
}

static struct hf_counters counters(void)
{
    return engine_pair_counters(&pair.server);
}

static bool is_at(const struct hf_address *address)
{
    const struct hf_association_info info = engine_pair_info(&pair.server);
    return memcmp(&info.path.peer, address, sizeof *address) == 0;
}

static void send(const struct engine_end *from, size_t len)
{
    static const uint8_t data[2048];
    assert_int_equal(hf_engine_send(from->engine, from->id, (struct hf_bytes){data, len}), HF_OK);
}

static void send_up(size_t len)
{
    size_t before = pair.server.data_len;
    send(&pair.client, len);
    engine_pair_run(&pair);
    assert_int_equal(pair.server.data_len - before, len);
}

/* Bytes sent down to an address since item `from`. */
static size_t sent_to(const struct hf_address *address, size_t from)
{
    size_t len = 0;
    for (size_t i = from; i < pair.sent_count; i++) {
        const struct engine_pair_item *item = &pair.sent[i];
        if (!item->is_up && memcmp(&item->path.peer, address, sizeof *address) == 0)
            len += item->len;
    }
    return len;
}

static void a_rebinding_is_checked_and_taken(void **state)
{
    (void)state;
    for (int is_basic = 0; is_basic < 2; is_basic++) {
        begin(true);
        pair.config.path_check = is_basic ? HF_PATH_CHECK_BASIC : HF_PATH_CHECK_ENHANCED;
        meet();
        const struct hf_address old = pair.connect.path.local;
        pair.nat = address_of(1, 999);
        send_up(40);
        assert_int_equal(counters().paths_checked, 1);
        assert_true(engine_pair_info(&pair.server).is_path_checking == !is_basic);
        assert_true(is_at(is_basic ? &pair.nat : &old)); /* the old one is asked first */
        size_t before = pair.client.data_len;
        send(&pair.server, 20); /* and an answer goes where the question came from */
        engine_pair_run(&pair);
        assert_int_equal(pair.client.data_len - before, 20);
        engine_pair_advance(&pair, 1100000);
        assert_true(is_at(&pair.nat));
        assert_int_equal(pair.server.moved_count, 1);
        assert_memory_equal(&pair.server.path.peer, &pair.nat, sizeof pair.nat);
        assert_int_equal(counters().paths_moved, 1);
        assert_int_equal(counters().paths_kept + counters().paths_failed, 0);
        assert_true(engine_pair_info(&pair.server).is_path_checked);
        assert_false(engine_pair_info(&pair.server).is_path_checking);
        engine_pair_talk(&pair);
        send(&pair.server, 1200); /* nothing is bounded any more */
        engine_pair_run(&pair);
        assert_int_equal(pair.client.established_count, 1);
        engine_pair_close(&pair);
    }
}

/* Somebody on the way hands the newest record in from another address. */
static bool divert(struct engine_pair_item *item, void *arg)
{
    const struct hf_address *target = arg;
    if (item->is_up && target->port)
        item->path.peer = *target;
    return false;
}

static void a_spoofed_address_moves_nothing(void **state)
{
    struct hf_address target = nowhere;
    (void)state;
    begin(true);
    pair.is_old_nat_alive = true;
    meet();
    pair.filter = divert;
    pair.filter_arg = &target;
    target = address_of(66, 666);
    send(&pair.client, 40);
    /* The old address answers that it is still the one. */
    engine_pair_run(&pair);
    target = nowhere;
    engine_pair_run(&pair);
    assert_true(is_at(&pair.connect.path.local));
    assert_int_equal(counters().paths_checked, 1);
    assert_int_equal(counters().paths_moved, 0);
    engine_pair_advance(&pair, 5000000);
    assert_true(is_at(&pair.connect.path.local));
    assert_int_equal(counters().paths_kept, 1);
    assert_int_equal(pair.server.moved_count, 0);
    assert_int_equal(counters().drops[HF_DROP_UNEXPECTED], 0); /* of its answer, in the end */
    assert_true(sent_to(&target, 0) <= 3 * (13 + 8 + 8 + 41 + 8));
    engine_pair_close(&pair);
}

/* Diverts the first, and loses what the device says then. */
struct race {
    struct hf_address target;
    uint32_t count, lost_count;
};

static bool race_first(struct engine_pair_item *item, void *arg)
{
    struct race *race = arg;
    if (!item->is_up)
        return false;
    if (race->count++ > 0) {
        race->lost_count++;
        return true;
    }
    item->path.peer = race->target;
    return false;
}

/* Somebody is quicker than the device: it hears its answer all the same. */
static void what_is_said_meanwhile_reaches_both_addresses(void **state)
{
    (void)state;
    for (int is_basic = 0; is_basic < 2; is_basic++) {
        struct race race = {.target = address_of(66, 666)};
        begin(true);
        pair.config.path_check = is_basic ? HF_PATH_CHECK_BASIC : HF_PATH_CHECK_ENHANCED;
        meet();
        pair.filter = race_first;
        pair.filter_arg = &race;
        size_t from = pair.sent_count;
        send(&pair.client, 40);
        engine_pair_run(&pair);
        assert_true(engine_pair_info(&pair.server).is_path_checking);
        size_t before = pair.client.data_len, diverted = sent_to(&race.target, from);
        uint64_t datagrams = counters().datagrams_out;
        send(&pair.server, 20);
        engine_pair_run(&pair);
        assert_int_equal(pair.client.data_len - before, 20);
        assert_true(sent_to(&race.target, from) > diverted);
        assert_int_equal(counters().datagrams_out - datagrams, 2);
        assert_int_equal(race.lost_count, !is_basic); /* its answer to the challenge */
        engine_pair_advance(&pair, 6000000);
        assert_true(is_at(&pair.connect.path.local));
        assert_int_equal(counters().paths_moved, 0);
        engine_pair_close(&pair);
    }
}

/* What the device says, in the hands of somebody on the way. */
struct relay {
    struct hf_address target;
    uint32_t count;
    struct engine_pair_item held; /* the second */
};

static bool hand_on(struct engine_pair_item *item, void *arg)
{
    struct relay *relay = arg;
    if (!item->is_up)
        return false;
    if (relay->count++ != 1) {
        item->path.peer = relay->target;
        return false;
    }
    relay->held = *item;
    relay->held.data = malloc(item->len);
    assert_non_null(relay->held.data);
    memcpy(relay->held.data, item->data, item->len);
    return true;
}

/* RFC 9853 5: he at the new address hands our challenge on to the device, whose answer comes from
 * where it always was: that shows nothing about the new one. */
static void an_answer_from_elsewhere_moves_nothing(void **state)
{
    struct relay relay = {.target = address_of(66, 666)};
    (void)state;
    begin(true);
    pair.config.path_check = HF_PATH_CHECK_BASIC;
    pair.is_old_nat_alive = true; /* whatever the server sends anywhere reaches the device */
    meet();
    pair.filter = hand_on;
    pair.filter_arg = &relay;
    send(&pair.client, 40);
    engine_pair_run(&pair);
    assert_int_equal(relay.count, 2); /* and its answer to the challenge, on its way from home */
    assert_true(engine_pair_info(&pair.server).is_path_checking);
    send(&pair.client, 41); /* newer, and seen from there again */
    engine_pair_run(&pair);
    const struct hf_path home = engine_pair_server_path(&pair);
    pair.filter = NULL;
    engine_pair_inject_from(&pair, &home, relay.held.data, relay.held.len);
    engine_pair_run(&pair);
    free(relay.held.data);
    assert_int_equal(counters().paths_moved, 0);
    assert_int_equal(counters().drops[HF_DROP_UNEXPECTED], 1);
    assert_true(is_at(&pair.connect.path.local));
    engine_pair_close(&pair);
}

/* The device says an answer of our choosing. */
static void say_answer(const uint8_t body[9])
{
    struct hf_engine *engine = pair.client.engine;
    struct hf_association *association = hf_association_find(engine, pair.client.id);
    struct hf_packet packet = hf_packet_open(engine, association, 200);
    assert_int_equal(
        hf_packet_add(&packet, HF_TYPE_RETURN_ROUTABILITY, true, (struct hf_bytes){body, 9}),
        HF_OK);
    hf_packet_close(&packet);
    engine_pair_run(&pair);
}

/* Nobody asked at the old address: there is no cookie that says it is still the one, not even the
 * one an empty slot has. */
static void a_guessed_answer_says_nothing(void **state)
{
    (void)state;
    for (uint8_t type = 1; type < 3; type++) {
        const uint8_t body[9] = {type};
        begin(true);
        pair.config.path_check = HF_PATH_CHECK_BASIC;
        meet();
        pair.is_old_nat_alive = false;
        const struct hf_address target = address_of(66, 666);
        pair.nat = target;
        struct race race = {.target = target}; /* what answers is lost */
        pair.filter = race_first;
        pair.filter_arg = &race;
        send(&pair.client, 40);
        engine_pair_run(&pair);
        assert_true(engine_pair_info(&pair.server).is_path_checking);
        pair.filter = NULL;
        say_answer(body);
        assert_true(engine_pair_info(&pair.server).is_path_checking);
        assert_int_equal(counters().drops[HF_DROP_UNEXPECTED], 1);
        assert_int_equal(counters().paths_kept + counters().paths_moved, 0);
        engine_pair_advance(&pair, 1100000);
        assert_true(is_at(&target)); /* asked once more, and answered */
        engine_pair_close(&pair);
    }
}

static void the_old_address_speaks_up(void **state)
{
    struct hf_address target = address_of(66, 666);
    (void)state;
    begin(true);
    pair.config.path_us_max = 10000000;
    meet();
    pair.filter = divert;
    pair.filter_arg = &target;
    pair.nat = address_of(9, 9); /* no challenge arrives */
    send(&pair.client, 40);
    engine_pair_run(&pair);
    assert_true(engine_pair_info(&pair.server).is_path_checking);
    target = pair.connect.path.local;
    pair.nat = nowhere;
    send_up(40); /* the newest, from where it always was */
    assert_false(engine_pair_info(&pair.server).is_path_checking);
    assert_int_equal(counters().paths_kept, 1);
    assert_true(is_at(&pair.connect.path.local));
    engine_pair_talk(&pair);
    engine_pair_close(&pair);
}

/* RFC 9853 5: what goes to an address nobody answers from is bounded, and nothing moves. */
static void an_address_that_does_not_answer(void **state)
{
    struct hf_address target = nowhere;
    (void)state;
    for (int is_capped = 0; is_capped < 2; is_capped++) {
        begin(true);
        pair.config.path_len_max = is_capped ? 300 : 100000;
        meet();
        pair.filter = divert;
        pair.filter_arg = &target;
        target = address_of(66, 666);
        pair.nat = address_of(7, 7); /* and the old one is gone */
        size_t from = pair.sent_count;
        send(&pair.client, 200);
        engine_pair_run(&pair);
        target = nowhere;
        size_t received = 13 + 8 + 8 + 200 + 1 + 8;
        for (int i = 0; i < 100; i++) {
            send(&pair.server, 30);
            engine_pair_run(&pair);
        }
        target = address_of(66, 666);
        size_t limit = is_capped ? 300 : 3 * received;
        assert_true(sent_to(&target, from) <= limit);
        assert_true(sent_to(&target, from) > limit - 70);
        assert_true(sent_to(&pair.connect.path.local, from) > 0); /* the rest, as ever */
        engine_pair_advance(&pair, 10000000);
        assert_int_equal(counters().paths_failed, 1);
        assert_true(is_at(&pair.connect.path.local));
        assert_true(sent_to(&target, from) <= limit);
        assert_int_equal(pair.server.moved_count, 0);
        engine_pair_close(&pair);
    }
}

/* It moves on before it was asked: the last address is the one that is checked. */
static void a_third_address_while_the_second_is_checked(void **state)
{
    (void)state;
    begin(true);
    meet();
    for (uint16_t i = 0; i < 10; i++) {
        pair.nat = address_of(5, (uint16_t)(100 + i));
        send_up(40);
        size_t before = pair.client.data_len;
        send(&pair.server, 20);
        engine_pair_run(&pair);
        assert_int_equal(pair.client.data_len - before, 20);
    }
    assert_int_equal(counters().paths_moved, 0);
    engine_pair_advance(&pair, 1500000);
    assert_true(is_at(&pair.nat));
    assert_int_equal(counters().paths_moved, 1);
    engine_pair_talk(&pair);
    engine_pair_close(&pair);
}

static void only_the_newest_record_counts(void **state)
{
    (void)state;
    for (int has_check = 0; has_check < 2; has_check++) {
        begin(has_check);
        pair.config.path_policy = HF_PATH_FOLLOW;
        meet();
        /* Held back on the way, overtaken, and then handed in from elsewhere. */
        size_t first = pair.sent_count;
        send(&pair.client, 10);
        send(&pair.client, 11);
        pair.client.is_idle = false;
        engine_pair_run(&pair);
        assert_true(pair.sent_count >= first + 2);
        struct hf_path path = engine_pair_server_path(&pair);
        path.peer = address_of(66, 666);
        for (size_t i = 0; i < pair.sent_count; i++) { /* all there ever were, once more */
            if (pair.sent[i].is_up)
                engine_pair_inject_from(&pair, &path, pair.sent[i].data, pair.sent[i].len);
        }
        engine_pair_run(&pair);
        assert_int_equal(counters().paths_checked + counters().paths_moved, 0);
        assert_int_equal(pair.server.moved_count, 0);
        engine_pair_talk(&pair);
        engine_pair_close(&pair);
    }
}

static bool hold_first(struct engine_pair_item *item, void *arg)
{
    struct engine_pair_item *held = arg;
    if (!item->is_up || held->data)
        return false;
    *held = *item;
    held->data = malloc(item->len);
    assert_non_null(held->data);
    memcpy(held->data, item->data, item->len);
    return true;
}

static void an_older_record_is_taken_and_moves_nothing(void **state)
{
    struct engine_pair_item held = {0};
    (void)state;
    begin(true);
    meet();
    pair.filter = hold_first;
    pair.filter_arg = &held;
    send(&pair.client, 10);
    engine_pair_run(&pair);
    pair.filter = NULL;
    send_up(11);
    struct hf_path path = engine_pair_server_path(&pair);
    path.peer = address_of(66, 666);
    size_t before = pair.server.data_len;
    engine_pair_inject_from(&pair, &path, held.data, held.len);
    engine_pair_run(&pair);
    free(held.data);
    assert_int_equal(pair.server.data_len - before, 10);
    assert_int_equal(counters().paths_refused, 1);
    assert_int_equal(counters().paths_checked, 0);
    assert_true(is_at(&pair.connect.path.local));
    engine_pair_close(&pair);
}

/* To another address of ours: it must be one of those there is room for. */
static void an_address_of_ours_that_is_new(void **state)
{
    (void)state;
    for (int has_room = 0; has_room < 2; has_room++) {
        struct engine_pair_item held = {0};
        begin(true);
        if (!has_room)
            pair.config.local_addresses_max = 1;
        meet();
        pair.filter = hold_first;
        pair.filter_arg = &held;
        send(&pair.client, 10);
        engine_pair_run(&pair);
        pair.filter = NULL;
        struct hf_path path = engine_pair_server_path(&pair);
        path.local.ip[15] ^= 1;
        size_t before = pair.server.data_len;
        engine_pair_inject_from(&pair, &path, held.data, held.len);
        engine_pair_run(&pair);
        free(held.data);
        assert_int_equal(pair.server.data_len - before, has_room ? 10 : 0);
        assert_int_equal(counters().paths_seen, has_room);
        assert_int_equal(counters().drops[HF_DROP_LOCAL_ADDRESS], !has_room);
        assert_true(is_at(&pair.connect.path.local));
        send_up(11);
        engine_pair_close(&pair);
    }
}

static void policies_for_peers_that_cannot_be_asked(void **state)
{
    (void)state;
    for (int policy = HF_PATH_BOUNDED; policy <= HF_PATH_FOLLOW; policy++) {
        begin(false);
        pair.config.path_policy = (enum hf_path_policy)policy;
        meet();
        pair.nat = address_of(1, 999);
        size_t from = pair.sent_count;
        send_up(100);
        size_t received = 13 + 8 + 8 + 100 + 1 + 8;
        bool is_moved = policy != HF_PATH_FIXED;
        assert_int_equal(pair.server.moved_count, is_moved);
        assert_true(is_at(is_moved ? &pair.nat : &pair.connect.path.local));
        assert_int_equal(counters().paths_refused, !is_moved);
        assert_true(engine_pair_info(&pair.server).is_path_checked == (policy != HF_PATH_BOUNDED));
        for (int i = 0; i < 50; i++) {
            send(&pair.server, 30);
            engine_pair_run(&pair);
        }
        size_t sent = sent_to(&pair.nat, from);
        if (policy == HF_PATH_BOUNDED) {
            assert_true(sent <= 3 * received && sent > 3 * received - 70);
            assert_true(counters().datagrams_withheld > 0);
            send_up(100); /* more comes, more may go */
            assert_true(sent_to(&pair.nat, from) == sent);
            send(&pair.server, 300);
            engine_pair_run(&pair);
            assert_true(sent_to(&pair.nat, from) > sent);
        } else {
            assert_int_equal(counters().datagrams_withheld, 0);
            assert_int_equal(sent > 0, is_moved);
        }
        engine_pair_close(&pair);
    }
}

static void without_a_cid_nothing_moves(void **state)
{
    (void)state;
    begin(true);
    pair.listeners[1].connection_id = HF_CONNECTION_ID_SEND;
    pair.config.path_policy = HF_PATH_FOLLOW;
    meet();
    pair.nat = address_of(1, 999);
    size_t before = pair.server.data_len;
    send(&pair.client, 40);
    engine_pair_run(&pair);
    assert_int_equal(pair.server.data_len, before);
    assert_int_equal(counters().drops[HF_DROP_NO_ASSOCIATION], 1);
    engine_pair_close(&pair);
}

/* Where a path leads to somebody already, the one found there last has it. */
static void addresses_are_handed_on(void **state)
{
    (void)state;
    begin(true);
    pair.config.path_check = HF_PATH_CHECK_BASIC;
    meet();
    const struct hf_address first = pair.connect.path.local;
    pair.nat = address_of(1, 999);
    send_up(40);
    assert_true(is_at(&pair.nat));
    for (uint16_t i = 0; i < 50; i++) { /* on and on */
        pair.nat = i % 2 ? first : address_of(2, (uint16_t)(1000 + i));
        send_up(40);
        assert_true(is_at(&pair.nat));
    }
    assert_int_equal(counters().paths_moved, 51);
    assert_int_equal(counters().paths_aside, 0);
    engine_pair_talk(&pair);
    engine_pair_close(&pair);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_rebinding_is_checked_and_taken),
        cmocka_unit_test(a_spoofed_address_moves_nothing),
        cmocka_unit_test(what_is_said_meanwhile_reaches_both_addresses),
        cmocka_unit_test(an_answer_from_elsewhere_moves_nothing),
        cmocka_unit_test(a_guessed_answer_says_nothing),
        cmocka_unit_test(the_old_address_speaks_up),
        cmocka_unit_test(an_address_that_does_not_answer),
        cmocka_unit_test(a_third_address_while_the_second_is_checked),
        cmocka_unit_test(only_the_newest_record_counts),
        cmocka_unit_test(an_older_record_is_taken_and_moves_nothing),
        cmocka_unit_test(an_address_of_ours_that_is_new),
        cmocka_unit_test(policies_for_peers_that_cannot_be_asked),
        cmocka_unit_test(without_a_cid_nothing_moves),
        cmocka_unit_test(addresses_are_handed_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
