/**
 * transfer_golden_test.c - what released versions have written is read, for ever: tests/golden has
 * an engine's associations and a cache's sessions, byte for byte as a version wrote them, and what
 * their peers said before and after. Each must go on as its peer expects.
 *
 *     transfer_golden_test --write FILE    makes such a file, with the present version
 *
 * A file is made once, when the format gets a number or something is added to it, and not again.
 */
#include "bytes.h"
#include "engine_fixture.h"

#include <handfast/transfer.h>

#define FILE_MAX (256u << 10)
#define KIND_COUNT 11
#define SAID "said after the restart"

static const char *const files[] = {HF_SOURCE_DIR "/tests/golden/transfer-1"};

static const struct {
    bool is_tls, has_etm, has_cid, is_half;
    uint16_t suite;
} kinds[KIND_COUNT] = {
    {false, false, false, false, HF_SUITE_PSK_AES_128_CCM_8},
    {false, false, false, false, HF_SUITE_PSK_AES_128_CCM},
    {false, false, false, false, HF_SUITE_PSK_AES_128_GCM_SHA256},
    {false, true, false, false, HF_SUITE_PSK_AES_128_CBC_SHA256},
    {false, false, true, false, HF_SUITE_PSK_AES_128_CCM_8},
    {true, false, false, false, HF_SUITE_PSK_AES_128_CBC_SHA256},
    {true, true, false, false, HF_SUITE_PSK_AES_128_CBC_SHA256},
    {true, false, false, false, HF_SUITE_PSK_AES_128_GCM_SHA256},
    {true, false, false, false, HF_SUITE_PSK_AES_128_CCM_8},
    {true, false, false, true, HF_SUITE_PSK_AES_128_CCM_8}, /* a record is half here */
    {true, false, false, true, HF_SUITE_PSK_AES_128_CBC_SHA256},
};

/* What a peer knows. */
struct witness {
    uint64_t id;
    bool is_tls, has_iv; /* CBC: what we answer begins with something random */
    uint16_t suite;
    struct hf_path path;
    uint8_t exported[32];
    struct hf_bytes before, after, answer; /* records; the first a replay */
};

struct golden {
    uint8_t count;
    struct witness witnesses[KIND_COUNT];
    struct hf_bytes associations, sessions; /* chunks */
    struct psk_client_session session;
};

/* ---- the file, both ways ------------------------------------------------------------------ */

static void put_vector(struct hf_writer *writer, struct hf_bytes bytes)
{
    hf_writer_uint(writer, bytes.len, 4);
    hf_writer_bytes(writer, bytes.data, bytes.len);
}

static void put_address(struct hf_writer *writer, const struct hf_address *address)
{
    hf_writer_bytes(writer, address->ip, sizeof address->ip);
    hf_writer_u16(writer, address->port);
}

static size_t put_golden(uint8_t *out, const struct golden *golden)
{
    struct hf_writer writer = hf_writer_of(out, FILE_MAX);
    hf_writer_u8(&writer, golden->count);
    for (size_t i = 0; i < golden->count; i++) {
        const struct witness *witness = &golden->witnesses[i];
        hf_writer_uint(&writer, witness->id, 8);
        hf_writer_u8(&writer, (uint8_t)(witness->is_tls | witness->has_iv << 1));
        hf_writer_u16(&writer, witness->suite);
        put_address(&writer, &witness->path.peer);
        put_address(&writer, &witness->path.local);
        hf_writer_bytes(&writer, witness->exported, sizeof witness->exported);
        put_vector(&writer, witness->before);
        put_vector(&writer, witness->after);
        put_vector(&writer, witness->answer);
    }
    put_vector(&writer, golden->associations);
    put_vector(&writer, golden->sessions);
    hf_writer_u16(&writer, golden->session.suite);
    hf_writer_bytes(&writer, golden->session.master_secret, HF_MASTER_SECRET_LEN);
    hf_writer_bytes(&writer, golden->session.id, sizeof golden->session.id);
    assert_false(writer.is_failed);
    return writer.len;
}

static void get_bytes(uint8_t *out, struct hf_reader *reader, size_t len)
{
    struct hf_bytes view = hf_reader_take(reader, len);
    assert_non_null(view.data);
    memcpy(out, view.data, len);
}

static void get_address(struct hf_address *out, struct hf_reader *reader)
{
    get_bytes(out->ip, reader, sizeof out->ip);
    out->port = hf_reader_u16(reader);
}

static void get_golden(struct golden *out, struct hf_bytes file)
{
    struct hf_reader reader = hf_reader_of(file);
    memset(out, 0, sizeof *out);
    out->count = hf_reader_u8(&reader);
    assert_in_range(out->count, 1, KIND_COUNT);
    for (size_t i = 0; i < out->count; i++) {
        struct witness *witness = &out->witnesses[i];
        witness->id = hf_reader_uint(&reader, 8);
        uint8_t flags = hf_reader_u8(&reader);
        witness->is_tls = flags & 1;
        witness->has_iv = flags & 2;
        witness->suite = hf_reader_u16(&reader);
        get_address(&witness->path.peer, &reader);
        get_address(&witness->path.local, &reader);
        get_bytes(witness->exported, &reader, sizeof witness->exported);
        witness->before = hf_reader_vector(&reader, 4);
        witness->after = hf_reader_vector(&reader, 4);
        witness->answer = hf_reader_vector(&reader, 4);
    }
    out->associations = hf_reader_vector(&reader, 4);
    out->sessions = hf_reader_vector(&reader, 4);
    out->session.suite = hf_reader_u16(&reader);
    get_bytes(out->session.master_secret, &reader, HF_MASTER_SECRET_LEN);
    get_bytes(out->session.id, &reader, sizeof out->session.id);
    out->session.id_len = sizeof out->session.id;
    assert_true(hf_reader_done(&reader));
}

/* ---- the world ---------------------------------------------------------------------------- */

static struct hf_session_cache *cache;

static void world_init(struct engine_fixture *fixture)
{
    static const uint16_t suites[] = {HF_SUITE_PSK_AES_128_CCM_8, HF_SUITE_PSK_AES_128_CCM,
                                      HF_SUITE_PSK_AES_128_GCM_SHA256,
                                      HF_SUITE_PSK_AES_128_CBC_SHA256};
    engine_fixture_init(fixture);
    for (size_t i = 0; i < 2; i++) {
        memcpy(fixture->listeners[i].suites, suites, sizeof suites);
        fixture->listeners[i].suite_count = 4;
        fixture->listeners[i].encrypt_then_mac = true;
    }
    assert_int_equal(hf_session_cache_open(&cache, 64), HF_OK);
    fixture->config.sessions = cache;
}

static void export_from(uint8_t out[32], const struct hf_engine *engine, hf_association_id id)
{
    static const struct hf_bytes label = {(const uint8_t *)"EXPORTER-golden", 15};
    assert_int_equal(hf_engine_export(out, 32, engine, id, label, NULL), HF_OK);
}

/* ---- writing ------------------------------------------------------------------------------ */

static struct hf_bytes last_of(const struct engine_wire *wire)
{
    return (struct hf_bytes){wire->items[wire->count - 1].data, wire->items[wire->count - 1].len};
}

static struct engine_peer *open_kind(struct engine_fixture *fixture, size_t kind)
{
    static const uint8_t cid[] = {0xc1, 0xd0, 0x5e};
    struct engine_peer *peer = engine_peer_new(fixture, kinds[kind].is_tls);
    peer->config.suites[0] = kinds[kind].suite;
    peer->config.encrypt_then_mac = kinds[kind].has_etm;
    peer->config.connection_id = kinds[kind].has_cid;
    peer->config.cid = (struct hf_bytes){cid, sizeof cid};
    engine_peer_open(peer);
    assert_int_equal(peer->client.has_cid, kinds[kind].has_cid);
    assert_true(engine_peer_echoes(peer));
    return peer;
}

static void note(struct witness *out, struct engine_peer *peer, size_t kind)
{
    *out = (struct witness){
        .id = peer->id,
        .is_tls = kinds[kind].is_tls,
        .has_iv = kinds[kind].suite == HF_SUITE_PSK_AES_128_CBC_SHA256,
        .suite = kinds[kind].suite,
        .path = peer->path,
        .before = last_of(&peer->sent),
    };
    export_from(out->exported, peer->fixture->engine, peer->id);
    peer->is_held = true;
    psk_client_send(&peer->client, (const uint8_t *)SAID, sizeof SAID - 1, engine_peer_emit, peer);
    peer->is_held = false;
    out->after = last_of(&peer->sent);
    if (!kinds[kind].is_half)
        return;
    engine_peer_send(peer, out->after.data, 7);
    out->after = (struct hf_bytes){out->after.data + 7, out->after.len - 7};
}

static void write_file(const char *path)
{
    static uint8_t out[FILE_MAX], chunk[FILE_MAX / 2], sessions[FILE_MAX / 4];
    struct engine_fixture fixture;
    struct golden golden = {.count = KIND_COUNT};
    struct engine_peer *peers[KIND_COUNT];
    struct hf_transfer *transfer;
    struct hf_session_copy *copy;
    size_t len;
    world_init(&fixture);
    engine_fixture_open(&fixture);
    for (size_t i = 0; i < KIND_COUNT; i++)
        peers[i] = open_kind(&fixture, i);
    psk_client_keep_session(&golden.session, &peers[0]->client);
    for (size_t i = 0; i < KIND_COUNT; i++)
        note(&golden.witnesses[i], peers[i], i);
    assert_int_equal(hf_transfer_open(&transfer, fixture.engine), HF_OK);
    assert_int_equal(hf_transfer_write(chunk, &len, sizeof chunk, transfer, fixture.engine, 1000),
                     HF_OK);
    hf_transfer_close(transfer);
    golden.associations = (struct hf_bytes){chunk, len};
    assert_int_equal(hf_session_copy_open(&copy, cache), HF_OK);
    assert_int_equal(hf_session_copy_write(sessions, &len, sizeof sessions, copy, fixture.wall_s),
                     HF_OK);
    hf_session_copy_close(copy);
    golden.sessions = (struct hf_bytes){sessions, len};
    for (size_t i = 0; i < KIND_COUNT; i++) { /* what this version would have answered */
        engine_peer_send(peers[i], golden.witnesses[i].after.data, golden.witnesses[i].after.len);
        golden.witnesses[i].answer = last_of(&peers[i]->received);
    }
    len = put_golden(out, &golden);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(out, 1, len, file), len);
    assert_int_equal(fclose(file), 0);
    while (fixture.peers)
        engine_peer_free(fixture.peers);
    hf_engine_close(fixture.engine);
    hf_session_cache_close(cache);
}

/* ---- reading ------------------------------------------------------------------------------ */

/* Hands a record in and gives what was said in it: echoed, and what left is in `answer`. */
static size_t hand_in(uint8_t said[64], uint8_t answer[256], size_t *answer_len,
                      struct engine_fixture *fixture, const struct witness *witness,
                      struct hf_bytes record)
{
    struct hf_event event;
    struct hf_output output;
    uint8_t *data = malloc(record.len);
    size_t said_len = 0, consumed = 0;
    assert_non_null(data);
    memcpy(data, record.data, record.len);
    hf_engine_begin_turn(fixture->engine, fixture->now_us, fixture->wall_s);
    struct hf_datagram datagram = {
        .path = witness->path, .listener_index = 0, .data = data, .len = record.len};
    if (witness->is_tls)
        assert_int_equal(
            hf_engine_receive_stream(fixture->engine, &consumed, witness->id, data, record.len),
            HF_OK);
    else
        assert_int_equal(hf_engine_receive_datagram(fixture->engine, &datagram), HF_OK);
    hf_engine_end_turn(fixture->engine);
    while (hf_engine_take_event(fixture->engine, &event)) {
        assert_int_equal(event.kind, HF_EVENT_DATA);
        assert_true(event.association == witness->id && event.data.len <= 64);
        memcpy(said, event.data.data, event.data.len);
        said_len = event.data.len;
        assert_int_equal(hf_engine_send(fixture->engine, witness->id, event.data), HF_OK);
    }
    *answer_len = 0;
    while (hf_engine_take_output(fixture->engine, &output)) {
        assert_true(*answer_len == 0 && output.data.len <= 256);
        memcpy(answer, output.data.data, output.data.len);
        *answer_len = output.data.len;
    }
    hf_engine_begin_turn(fixture->engine, fixture->now_us, fixture->wall_s); /* views die */
    hf_engine_end_turn(fixture->engine);
    free(data);
    return said_len;
}

static void check_witness(struct engine_fixture *fixture, const struct witness *witness)
{
    struct hf_association_info info;
    uint8_t exported[32], said[64], answer[256];
    size_t answer_len;
    assert_int_equal(hf_engine_association_info(&info, fixture->engine, witness->id), HF_OK);
    assert_int_equal(info.suite, witness->suite);
    assert_string_equal(info.entity_id, "/cse/Cdev");
    assert_string_equal(info.credential_id, "12-device");
    export_from(exported, fixture->engine, witness->id);
    assert_memory_equal(exported, witness->exported, sizeof exported);
    if (!witness->is_tls) {
        uint64_t replays = engine_fixture_drops(fixture, HF_DROP_REPLAY);
        assert_int_equal(hand_in(said, answer, &answer_len, fixture, witness, witness->before), 0);
        assert_int_equal(answer_len, 0);
        assert_true(engine_fixture_drops(fixture, HF_DROP_REPLAY) == replays + 1);
    }
    assert_int_equal(hand_in(said, answer, &answer_len, fixture, witness, witness->after),
                     sizeof SAID - 1);
    assert_memory_equal(said, SAID, sizeof SAID - 1);
    /* The same number and the same key: to the last bit, but for a random IV. */
    assert_int_equal(answer_len, witness->answer.len);
    assert_memory_equal(answer, witness->answer.data, witness->has_iv ? 5 : answer_len);
}

static void check_session(struct engine_fixture *fixture, const struct golden *golden)
{
    fixture->next_port = 20000; /* nobody's */
    struct engine_peer *peer = engine_peer_new(fixture, false);
    peer->config.suites[0] = golden->session.suite;
    peer->config.session = &golden->session;
    engine_peer_open(peer);
    assert_true(peer->client.is_resumed);
    engine_peer_free(peer);
}

static size_t read_file(uint8_t *out, const char *path)
{
    FILE *file = fopen(path, "rb");
    if (!file)
        fail_msg("%s is not there", path);
    size_t len = fread(out, 1, FILE_MAX, file);
    assert_true(feof(file));
    (void)fclose(file);
    return len;
}

static void check_file(const char *path)
{
    static uint8_t bytes[FILE_MAX];
    static struct golden golden;
    struct engine_fixture fixture;
    struct hf_transfer_counts counts;
    struct hf_session_copy_counts sessions = {0};
    get_golden(&golden, (struct hf_bytes){bytes, read_file(bytes, path)});
    world_init(&fixture);
    assert_int_equal(hf_session_copy_take(&sessions, cache, golden.sessions, fixture.wall_s),
                     HF_OK);
    assert_in_range(sessions.taken, 1, KIND_COUNT + 2);
    assert_int_equal(sessions.left_out, 0);
    fixture.engine = engine_fixture_second(&fixture);
    assert_int_equal(hf_engine_import_begin(fixture.engine, fixture.now_us, fixture.wall_s), HF_OK);
    assert_int_equal(hf_engine_import(fixture.engine, golden.associations), HF_OK);
    hf_engine_import_end(&counts, fixture.engine);
    assert_int_equal(counts.associations, golden.count + 2); /* and the fixture's own */
    assert_int_equal(counts.left_out, 0);
    for (size_t i = 0; i < golden.count; i++)
        check_witness(&fixture, &golden.witnesses[i]);
    check_session(&fixture, &golden);
    hf_engine_close(fixture.engine);
    hf_session_cache_close(cache);
}

static void what_was_written_is_read(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++)
        check_file(files[i]);
}

/* The way back: what is written now, this version reads as it reads the old. */
static void what_is_written_now_is_read(void **state)
{
    (void)state;
    char path[] = "/tmp/transfer-golden-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    write_file(path);
    check_file(path);
    (void)fclose(fdopen(fd, "rb"));
    (void)remove(path);
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "--write") == 0) {
        write_file(argv[2]);
        return 0;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_written_is_read),
        cmocka_unit_test(what_is_written_now_is_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
