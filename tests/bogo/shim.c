/**
 * shim.c - one connection to the runner: handshake in either role, exporter, echo of application
 * data with every octet XOR 0xFF, close_notify. Time is what the runner says it is.
 */
#include "shim.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define FILE_LEN_MAX (1u << 20)
#define EXPORT_LEN_MAX 256
#define WALL_S 1700000000
#define TICK_US 10000                    /* the engine's timers are so coarse */
#define DEADLINE_US UINT64_C(3600000000) /* of a handshake: beyond all retransmissions */

struct shim {
    struct shim_flags flags; /* of this connection */
    bool is_resumption;
    struct shim_wire wire;
    struct hf_engine *engine;
    struct hf_credential *credential;
    struct hf_trust *trust;
    hf_association_id association;
    struct hf_path path;
    uint64_t timeout_us; /* when a flight ought to be sent again; UINT64_MAX: never; 0: any time */
    /* What goes on from one connection to the next. */
    struct hf_session_cache *cache;
    struct hf_shared_secrets secrets;
    uint8_t session[HF_SESSION_MAX];
    size_t session_len;
    int64_t wall_s;
    bool is_established, is_over, is_peer_closed, is_failed;
    struct hf_failure failure;
};

/* As the runner looks for it: :NO_COMMON_SUITE: */
static void print_status(enum hf_status status)
{
    fputc(':', stderr);
    for (const char *at = hf_status_reason(status); *at != '\0'; at++)
        fputc(toupper((unsigned char)*at), stderr);
    fprintf(stderr, ": %s\n", hf_status_text(status));
}

static bool fail(struct shim *shim, const char *what)
{
    fprintf(stderr, "%s\n", what);
    shim->is_failed = true;
    return false;
}

/* ---- credentials ---- */

static void answer_request(struct hf_engine *engine, const struct hf_request *request, void *arg)
{
    const struct shim *shim = arg;
    const char *identity = shim->flags.psk_identity ? shim->flags.psk_identity : "";
    struct hf_answer answer = {.kind = HF_ANSWER_REFUSED};
    if (request->kind != HF_REQUEST_KEY) {
        answer.kind = HF_ANSWER_IDENTITY;
    } else if (shim->flags.psk && request->psk_identity.len == strlen(identity) &&
               memcmp(request->psk_identity.data, identity, strlen(identity)) == 0) {
        answer.kind = HF_ANSWER_PSK;
        answer.framework = HF_FRAMEWORK_PROVISIONED_SYMMETRIC_KEY;
        answer.secret =
            (struct hf_bytes){(const uint8_t *)shim->flags.psk, strlen(shim->flags.psk)};
    }
    (void)hf_engine_answer(engine, request->ticket, &answer);
}

/* Empty without a path; NULL data for a file that cannot be read. Into `room`, of FILE_LEN_MAX. */
static struct hf_bytes read_file(char *room, const char *path)
{
    if (path == NULL || path[0] == '\0')
        return (struct hf_bytes){(const uint8_t *)room, 0};
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return (struct hf_bytes){NULL, 0};
    struct hf_bytes text = {(const uint8_t *)room, fread(room, 1, FILE_LEN_MAX, file)};
    (void)fclose(file);
    return text;
}

/* 0, or what to exit with. */
static int open_credentials(struct shim *shim)
{
    static char texts[3][FILE_LEN_MAX];
    const struct shim_flags *flags = &shim->flags;
    if (flags->psk != NULL) /* whatever certificates the runner has as its defaults */
        return 0;
    struct hf_trust_source source;
    const char *why = "";
    const struct hf_credential_source ours = {
        .chain_pem =
            flags->is_raw ? (struct hf_bytes){NULL, 0} : read_file(texts[0], flags->cert_file),
        .key_pem = read_file(texts[1], flags->key_file),
    };
    if (flags->key_file != NULL && hf_credential_open(&shim->credential, &why, &ours) != HF_OK) {
        fprintf(stderr, "%s: %s\n", flags->key_file, why); /* RSA, another curve */
        return SHIM_UNIMPLEMENTED;
    }
    hf_trust_source_init(&source);
    source.anchors_pem = read_file(texts[2], flags->trust_cert);
    source.flavours = HF_FLAVOUR_CSE_ID;
    if (flags->chain_len_max > 0)
        source.chain_len_max = flags->chain_len_max;
    if (flags->is_raw && flags->trust_cert != NULL) { /* a file of pins */
        source.raw_keys = source.anchors_pem;
        source.anchors_pem = (struct hf_bytes){NULL, 0};
        source.flavours = HF_FLAVOUR_RAW;
    }
    if (flags->trust_cert != NULL && hf_trust_open(&shim->trust, &why, &source) != HF_OK) {
        fprintf(stderr, "%s: %s\n", flags->trust_cert, why);
        return SHIM_UNIMPLEMENTED;
    }
    /* There is no association here in which only one end proves who it is. */
    if (!shim->credential || !shim->trust) {
        fprintf(stderr, "neither a key nor certificates of both ends\n");
        return SHIM_UNIMPLEMENTED;
    }
    return 0;
}

static void fill_suites(uint16_t suites[HF_SUITES_MAX], uint8_t *count,
                        const struct shim_flags *flags)
{
    if (flags->suite_count == 0)
        return;
    memcpy(suites, flags->suites, flags->suite_count * sizeof(suites[0]));
    *count = flags->suite_count;
}

static uint16_t datagram_len_max(const struct shim *shim)
{
    uint32_t mtu = shim->wire.mtu ? shim->wire.mtu : shim->flags.mtu;
    return (uint16_t)(mtu == 0 ? 1200 : mtu < 256 ? 256 : mtu > 4096 ? 4096 : mtu);
}

static void fill_listener(struct hf_listener *listener, const struct shim *shim,
                          struct hf_listener_authority *authority)
{
    const struct shim_flags *flags = &shim->flags;
    hf_listener_init(listener, flags->is_dtls ? HF_TRANSPORT_DTLS : HF_TRANSPORT_TLS);
    fill_suites(listener->suites, &listener->suite_count, flags);
    listener->datagram_len_max = datagram_len_max(shim);
    if (flags->has_no_cookies) {
        listener->cookie_free[0] = (struct hf_prefix){.bits = 0};
        listener->cookie_free_count = 1;
    }
    if (flags->psk_identity != NULL) { /* a server's, to the runner, is its hint */
        listener->psk_hint_len = (uint16_t)strnlen(flags->psk_identity, HF_PSK_HINT_MAX);
        memcpy(listener->psk_hint, flags->psk_identity, listener->psk_hint_len);
    }
    *authority = (struct hf_listener_authority){
        .x509 = flags->is_raw ? NULL : shim->credential,
        .raw = flags->is_raw ? shim->credential : NULL,
        .trust = shim->trust,
    };
    listener->authorities = authority;
    listener->authority_count = shim->credential && shim->trust;
}

static void fill_dialer(struct hf_dialer *dialer, const struct shim *shim)
{
    const struct shim_flags *flags = &shim->flags;
    hf_dialer_init(dialer, flags->is_dtls ? HF_TRANSPORT_DTLS : HF_TRANSPORT_TLS);
    fill_suites(dialer->suites, &dialer->suite_count, flags);
    dialer->datagram_len_max = datagram_len_max(shim);
    dialer->max_fragment_len = flags->max_fragment_len == 512 || flags->max_fragment_len == 1024 ||
                                       flags->max_fragment_len == 2048 ||
                                       flags->max_fragment_len == 4096
                                   ? (uint16_t)flags->max_fragment_len
                                   : 0;
    dialer->x509 = flags->is_raw ? NULL : shim->credential;
    dialer->raw = flags->is_raw ? shim->credential : NULL;
    dialer->trust = shim->trust;
    dialer->sessions = !flags->has_no_ticket;
}

static bool open_engine(struct shim *shim)
{
    const struct hf_key_source source = {.request = answer_request, .arg = shim};
    struct hf_listener_authority authority;
    struct hf_listener listener;
    struct hf_dialer dialer;
    struct hf_config config;
    fill_listener(&listener, shim, &authority);
    fill_dialer(&dialer, shim);
    hf_config_init(&config);
    config.associations_max = 64;
    config.handshakes_max = config.handshakes_pressure = 4;
    config.stream_buffers_max = 4;
    config.message_len_max = 16384;
    config.listeners = &listener;
    config.dialers = &dialer;
    config.listener_count = config.dialer_count = 1;
    config.cookie_us_max = UINT64_C(86400000000);
    config.handshake_us_max = DEADLINE_US;
    config.sessions = shim->cache;
    config.tickets = !shim->flags.has_no_ticket;
    config.secrets = shim->secrets;
    /* A runner that knows this flag has shortened BoringSSL's default, too: from a second. */
    if (shim->flags.is_ipv6)
        config.retransmit_us_initial = 400000;
    if (shim->flags.initial_timeout_ms != 0)
        config.retransmit_us_initial = UINT64_C(1000) * shim->flags.initial_timeout_ms;
    enum hf_status status = hf_engine_open(&shim->engine, &config, &source);
    if (status != HF_OK)
        print_status(status);
    return status == HF_OK;
}

/* ---- turns ---- */

static void begin_turn(struct shim *shim)
{
    hf_engine_begin_turn(shim->engine, shim->wire.now_us, shim->wall_s);
}

static void echo(struct shim *shim, struct hf_bytes data)
{
    static uint8_t flipped[HF_STREAM_CHUNK_MAX];
    for (size_t at = 0; at < data.len;) {
        size_t len = data.len - at < sizeof(flipped) ? data.len - at : sizeof(flipped);
        for (size_t i = 0; i < len; i++)
            flipped[i] = data.data[at + i] ^ 0xFF;
        if (hf_engine_send(shim->engine, shim->association, (struct hf_bytes){flipped, len}) !=
            HF_OK)
            return; /* closed meanwhile */
        at += len;
    }
}

static bool check_server_name(struct shim *shim, const struct hf_association_info *info)
{
    const char *expected = shim->flags.expect_server_name;
    if (shim->flags.is_no_server_name_expected && info->server_name_len > 0)
        return fail(shim, "a server name came");
    if (expected != NULL && strcmp(expected, info->server_name) != 0)
        return fail(shim, "another server name came");
    return true;
}

/* Whether this was resumed, as a connection after the first one ought to be. */
static bool check_session(struct shim *shim, const struct hf_association_info *info)
{
    const struct shim_flags *flags = &shim->flags;
    bool is_expected = shim->is_resumption && !flags->is_session_miss_expected;
    if (info->is_resumed != is_expected)
        return fail(shim, info->is_resumed ? "a session was resumed" : "no session was resumed");
    if (flags->expect_signature_algorithm != 0 && flags->expect_signature_algorithm != 0x0403)
        return fail(shim, "the peer signs with ECDSA and SHA-256 only");
    return true;
}

/* A session is emitted right behind ESTABLISHED: all there is to it is known at the end. Its first
 * octets are a version and the length of its ID. */
static bool check_no_session(struct shim *shim)
{
    const struct shim_flags *flags = &shim->flags;
    bool has_id = shim->session_len > 1 && shim->session[1] > 0;
    if (flags->is_server || !shim->is_established)
        return true;
    if (flags->is_no_session_expected && shim->session_len > 0)
        return fail(shim, "a session came");
    if (flags->is_session_id_expected && !has_id)
        return fail(shim, "no session with an ID came");
    if (flags->is_no_session_id_expected && has_id)
        return fail(shim, "a session with an ID came");
    return true;
}

static bool export_material(struct shim *shim)
{
    const struct shim_flags *flags = &shim->flags;
    const char *label = flags->export_label ? flags->export_label : "";
    const char *text = flags->export_context ? flags->export_context : "";
    const struct hf_bytes context = {(const uint8_t *)text, strlen(text)};
    uint8_t out[EXPORT_LEN_MAX];
    if (flags->export_len == 0)
        return true;
    if (flags->export_len > sizeof(out))
        return fail(shim, "more keying material than there is");
    enum hf_status status =
        hf_engine_export(out, flags->export_len, shim->engine, shim->association,
                         (struct hf_bytes){(const uint8_t *)label, strlen(label)},
                         flags->has_export_context ? &context : NULL);
    if (status == HF_OK)
        status = hf_engine_send(shim->engine, shim->association,
                                (struct hf_bytes){out, flags->export_len});
    if (status == HF_OK)
        return true;
    print_status(status);
    return fail(shim, "no keying material");
}

static void take_established(struct shim *shim, hf_association_id association)
{
    static struct hf_association_info info;
    static const uint8_t hello[] = {'h', 'e', 'l', 'l', 'o'};
    const struct shim_flags *flags = &shim->flags;
    shim->association = association;
    shim->is_established = true;
    if (hf_engine_association_info(&info, shim->engine, association) != HF_OK ||
        !check_server_name(shim, &info) || !check_session(shim, &info))
        return;
    if (flags->is_ems_expected && !info.extended_master_secret)
        fail(shim, "no extended master secret");
    else if (flags->expect_suite != 0 && flags->expect_suite != info.suite)
        fail(shim, "another suite");
    if (shim->is_failed || !export_material(shim))
        return;
    if (flags->writes_first &&
        hf_engine_send(shim->engine, association, (struct hf_bytes){hello, sizeof(hello)}) != HF_OK)
        fail(shim, "nothing could be sent");
    if (flags->shuts_down)
        hf_engine_close_association(shim->engine, association, HF_CLOSE_WRITE);
}

static void take_event(struct shim *shim, const struct hf_event *event)
{
    switch (event->kind) {
    case HF_EVENT_ESTABLISHED:
        take_established(shim, event->association);
        break;
    case HF_EVENT_DATA:
        if (!shim->flags.shuts_down)
            echo(shim, event->data);
        break;
    case HF_EVENT_PEER_CLOSED:
        shim->is_peer_closed = true;
        hf_engine_close_association(shim->engine, shim->association, HF_CLOSE_NOTIFY);
        break;
    case HF_EVENT_CLOSED:
    case HF_EVENT_HANDSHAKE_FAILED:
        shim->is_over = true;
        shim->is_peer_closed |= event->failure.status == HF_E_CLOSED_BY_PEER;
        shim->failure = event->failure;
        break;
    case HF_EVENT_SESSION:
        memcpy(shim->session, event->data.data, event->data.len);
        shim->session_len = event->data.len;
        break;
    case HF_EVENT_MOVED:
    case HF_EVENT_READABLE:
    case HF_EVENT_KEYLOG:
        break;
    }
}

/* How many outputs there were. */
static size_t end_turn(struct shim *shim)
{
    size_t count = 0;
    struct hf_event event;
    struct hf_output output;
    hf_engine_end_turn(shim->engine);
    hf_engine_run_jobs(shim->engine);
    while (hf_engine_take_event(shim->engine, &event))
        take_event(shim, &event);
    for (; hf_engine_take_output(shim->engine, &output); count++)
        (void)shim_wire_write(&shim->wire, output.data);
    return count;
}

static void feed(struct shim *shim, uint8_t *data, size_t len)
{
    struct hf_datagram datagram = {
        .path = shim->path, .is_client = !shim->flags.is_server, .data = data, .len = len};
    shim->timeout_us = 0; /* what comes may change it */
    begin_turn(shim);
    if (shim->flags.is_dtls)
        (void)hf_engine_receive_datagram(shim->engine, &datagram);
    for (size_t done = 0; !shim->flags.is_dtls && done < len;) {
        size_t consumed = 0;
        if (hf_engine_receive_stream(shim->engine, &consumed, shim->association, data + done,
                                     len - done) == HF_E_STALE)
            break;
        done += consumed;
        if (done < len) { /* full: empty it, go on */
            end_turn(shim);
            begin_turn(shim);
        }
    }
    end_turn(shim);
}

/* Something was sent again, or the clock has reached `now_us` without. */
static void check_timeout(struct shim *shim, uint64_t now_us, bool is_sent)
{
    uint64_t due_us = shim->timeout_us;
    if (due_us == 0)
        return;
    bool is_early = is_sent && (due_us == UINT64_MAX || now_us + TICK_US < due_us);
    bool is_late = due_us != UINT64_MAX && now_us > due_us + 2 * TICK_US;
    if (is_early || is_late)
        fail(shim, is_early ? "a timeout before it was expected" : "no timeout when expected");
    if (is_sent)
        shim->timeout_us = 0;
}

/* All timers up to the new time, one after the other. */
static void run_timers(struct shim *shim)
{
    uint64_t until_us = shim->wire.now_us;
    uint64_t next_us;
    while ((next_us = hf_engine_next_us(shim->engine)) < until_us) {
        hf_engine_begin_turn(shim->engine, next_us, shim->wall_s);
        check_timeout(shim, next_us, end_turn(shim) > 0);
    }
    begin_turn(shim);
    check_timeout(shim, until_us, end_turn(shim) > 0);
}

static enum hf_status start(struct shim *shim)
{
    const struct shim_flags *flags = &shim->flags;
    static const uint8_t ip[4] = {127, 0, 0, 1};
    const char *identity = flags->psk && flags->psk_identity ? flags->psk_identity : "";
    const char *name = flags->host_name ? flags->host_name : "";
    enum hf_status status = HF_OK;
    shim->path = (struct hf_path){hf_address_v4(ip, flags->port), hf_address_v4(ip, 1)};
    begin_turn(shim);
    if (!flags->is_server) {
        const struct hf_connect connect = {
            .path = shim->path,
            .server_name = {(const uint8_t *)name, strlen(name)},
            .psk_identity = {(const uint8_t *)identity, strlen(identity)},
            .session = {shim->session, shim->session_len},
        };
        status = hf_engine_connect(&shim->association, shim->engine, &connect);
    } else if (!flags->is_dtls) {
        status = hf_engine_accept(&shim->association, shim->engine, 0, &shim->path, 0);
    }
    end_turn(shim);
    return status;
}

static void take_mtu(struct shim *shim)
{
    struct hf_listener_authority authority;
    struct hf_listener listener;
    struct hf_dialer dialer;
    fill_listener(&listener, shim, &authority);
    fill_dialer(&dialer, shim);
    if (hf_engine_update_listener(shim->engine, 0, &listener) != HF_OK ||
        hf_engine_update_dialer(shim->engine, 0, &dialer) != HF_OK)
        fail(shim, "that MTU is not possible");
}

/* Until the association is over, or the runner is gone. 0, or what to exit with. */
static int serve(struct shim *shim)
{
    static uint8_t data[1u << 17];
    while (!shim->is_over && !shim->is_failed && !shim->wire.is_at_end) {
        size_t len = sizeof(data);
        if (!shim->flags.is_dtls && shim->flags.read_len > 0 && shim->flags.read_len < len)
            len = shim->flags.read_len;
        switch (shim_wire_read(&shim->wire, data, &len)) {
        case SHIM_READ_DATA:
            feed(shim, data, len);
            break;
        case SHIM_READ_CLOCK:
            run_timers(shim);
            break;
        case SHIM_READ_MTU:
            take_mtu(shim);
            break;
        case SHIM_READ_EXPECT:
            shim->timeout_us = shim->wire.expected_us == UINT64_MAX
                                   ? UINT64_MAX
                                   : shim->wire.now_us + shim->wire.expected_us;
            break;
        case SHIM_READ_END:
            begin_turn(shim);
            hf_engine_receive_end(shim->engine, shim->association);
            end_turn(shim);
            break;
        case SHIM_READ_UNKNOWN:
            return SHIM_UNIMPLEMENTED;
        }
    }
    return 0;
}

static int judge(struct shim *shim)
{
    bool is_orderly = shim->is_peer_closed || shim->failure.status == HF_E_CLOSED_LOCALLY;
    if (shim->is_failed || !check_no_session(shim))
        return 1;
    if (!shim->is_established) {
        print_status(shim->is_over ? shim->failure.status : HF_E_TRUNCATED);
        return 1;
    }
    if (shim->flags.checks_close_notify && !shim->is_peer_closed) {
        fprintf(stderr, "no close_notify came\n");
        return 1;
    }
    /* An end without close_notify is none of the shim's business otherwise. */
    if (shim->is_over && !is_orderly && shim->failure.status != HF_E_TRUNCATED) {
        print_status(shim->failure.status);
        return 1;
    }
    return 0;
}

static int run_one(struct shim *shim)
{
    int code = open_credentials(shim);
    if (code != 0)
        return code;
    if (!open_engine(shim) || !shim_wire_open(&shim->wire, &shim->flags))
        return 1;
    enum hf_status status = start(shim);
    if (status != HF_OK) {
        print_status(status);
        return status == HF_E_ARGUMENT ? SHIM_UNIMPLEMENTED : 1; /* no suite we could offer */
    }
    code = serve(shim);
    return code != 0 ? code : judge(shim);
}

static void close_one(struct shim *shim)
{
    shim_wire_close(&shim->wire);
    hf_engine_close(shim->engine);
    hf_credential_close(shim->credential);
    hf_trust_close(shim->trust);
    shim->engine = NULL;
    shim->credential = NULL;
    shim->trust = NULL;
    shim->association = 0;
    shim->timeout_us = 0;
    shim->is_established = shim->is_over = shim->is_peer_closed = false;
    shim->failure = (struct hf_failure){.status = HF_OK};
}

/* The first connection, and so many that resume. */
static int run(struct shim *shim, const struct shim_flags flags[2])
{
    int code = 0;
    if (hf_session_cache_open(&shim->cache, 64) != HF_OK ||
        hf_shared_secrets_rotate(&shim->secrets, 0, 0) != HF_OK)
        return 1;
    for (uint32_t i = 0; i <= flags[0].resume_count && code == 0; i++) {
        shim->flags = flags[i > 0];
        shim->is_resumption = i > 0;
        if (i > 0)
            shim->wall_s += shim->flags.resumption_delay_s;
        code = run_one(shim);
        close_one(shim);
    }
    return code;
}

int main(int argc, char **argv)
{
    static struct shim shim;
    struct shim_flags flags[2];
    int code = shim_flags_parse(flags, argc, argv);
    if (code != 0)
        return code;
    if (flags[0].is_handshaker_asked) {
        puts("No");
        return 0;
    }
    shim.wire.fd = -1;
    shim.wire.now_us = 1000000000;
    shim.wall_s = WALL_S;
    code = run(&shim, flags);
    hf_session_cache_close(shim.cache);
    return code;
}
