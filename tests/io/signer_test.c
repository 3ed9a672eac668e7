/**
 * signer_test.c - the client of a remote signer, with a loop and a signer of the test's own: good
 * answers, wrong ones, none, late ones, connections that break, and a loop that is full.
 */
#include "credential_maker.h"
#include "signer.h"

#include <openssl/nid.h>

#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define JOBS 40
#define PATIENCE_MS 30000 /* where answers are expected: reached only by a fault */

/* ---- a loop that is nothing but its queue of tasks ---- */

struct hf_loop {
    pthread_mutex_t lock;
    pthread_cond_t posted;
    bool is_full;
    size_t refused_count;
    size_t head, tail;
    struct {
        hf_loop_task *task;
        void *arg;
    } tasks[256];
    size_t given_count;
};

static struct hf_loop loop = {.lock = PTHREAD_MUTEX_INITIALIZER,
                              .posted = PTHREAD_COND_INITIALIZER};

bool hf_loop_post(struct hf_loop *to, hf_loop_task *task, void *arg)
{
    pthread_mutex_lock(&to->lock);
    bool is_taken = !to->is_full && to->tail - to->head < 256;
    if (is_taken) {
        to->tasks[to->tail % 256].task = task;
        to->tasks[to->tail++ % 256].arg = arg;
        pthread_cond_signal(&to->posted);
    } else {
        to->refused_count++;
    }
    pthread_mutex_unlock(&to->lock);
    return is_taken;
}

void hf_loop_give_job(struct hf_loop *from, struct hf_job *job)
{
    (void)job;
    from->given_count++;
}

/* Runs tasks until so many jobs have come back; false: not in time. */
static bool run_loop(size_t given_count)
{
    struct timespec until;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += PATIENCE_MS / 1000 + 5;
    while (loop.given_count < given_count) {
        pthread_mutex_lock(&loop.lock);
        while (loop.head == loop.tail) {
            if (pthread_cond_timedwait(&loop.posted, &loop.lock, &until) != 0) {
                pthread_mutex_unlock(&loop.lock);
                return false;
            }
        }
        hf_loop_task *task = loop.tasks[loop.head % 256].task;
        void *arg = loop.tasks[loop.head++ % 256].arg;
        pthread_mutex_unlock(&loop.lock);
        task(&loop, arg);
    }
    return true;
}

/* ---- a signer ---- */

enum behaviour {
    GOOD,
    WRONG,    /* a signature of something else */
    REFUSING, /* HF_SIGNER_FAILED */
    SILENT,
    GARBAGE,  /* what is no answer */
    LONG,     /* a packet that is too long */
    BREAKING, /* closes each connection after two requests, unanswered; good on the third */
    REVERSED, /* answers JOBS requests in reverse order */
};

static struct {
    enum behaviour behaviour; /* set while no connection is open */
    char path[64];
    int listen_fd;
    int end_fd[2];
    pthread_t thread;
    struct hf_credential *credential;
    struct hf_credential *remote;
    size_t connections;
    size_t requests;
    uint8_t kept[JOBS][HF_SIGNER_REQUEST_MAX];
    size_t kept_count;
} signer;

static void answer(int fd, const uint8_t *request, uint8_t result)
{
    uint8_t packet[300] = {HF_SIGNER_VERSION, HF_SIGNER_SIGN};
    struct hf_job job = {.parts = HF_JOB_SIGN, .credential = signer.credential};
    struct hf_job *pointer = &job;
    size_t len = HF_SIGNER_ANSWER_MIN;

    memcpy(packet + 2, request + 2, 4);
    packet[6] = result;
    memcpy(job.sign_digest, request + 7 + request[6], 32);
    if (signer.behaviour == WRONG)
        job.sign_digest[0] ^= 1;
    hf_job_run(&pointer, 1);
    if (result == HF_SIGNER_DONE) {
        memcpy(packet + len, job.signature, job.signature_len);
        len += job.signature_len;
    }
    if (signer.behaviour == LONG)
        len = sizeof packet;
    if (signer.behaviour == GARBAGE)
        packet[0] = 99;
    (void)!send(fd, packet, len, MSG_NOSIGNAL);
}

static void answer_reversed(int fd, const uint8_t *request)
{
    memcpy(signer.kept[signer.kept_count++], request, HF_SIGNER_REQUEST_MAX);
    while (signer.kept_count == JOBS) {
        for (size_t i = JOBS; i-- > 0;)
            answer(fd, signer.kept[i], HF_SIGNER_DONE);
        signer.kept_count = 0;
    }
}

/* False: the connection is to be closed. */
static bool serve_one(int fd, size_t *served)
{
    uint8_t request[HF_SIGNER_REQUEST_MAX] = {0};
    ssize_t len = recv(fd, request, sizeof request, 0);

    if (len <= 0)
        return false;
    signer.requests++;
    if (request[1] == HF_SIGNER_KEY) {
        uint8_t packet[HF_SIGNER_ANSWER_MAX] = {HF_SIGNER_VERSION, HF_SIGNER_KEY};
        bool is_known = request[6] == 3 && memcmp(request + 7, "key", 3) == 0;

        memcpy(packet + 2, request + 2, 4);
        packet[6] = is_known ? HF_SIGNER_DONE : HF_SIGNER_UNKNOWN;
        memcpy(packet + 7, hf_credential_message(signer.credential, true).data + 3, 91);
        if (signer.behaviour != SILENT)
            (void)!send(fd, packet, is_known ? 98 : 7, MSG_NOSIGNAL);
        return true;
    }
    if (signer.behaviour == BREAKING && signer.connections < 3)
        return ++*served < 2;
    if (signer.behaviour == REVERSED)
        answer_reversed(fd, request);
    else if (signer.behaviour != SILENT)
        answer(fd, request, signer.behaviour == REFUSING ? HF_SIGNER_FAILED : HF_SIGNER_DONE);
    return true;
}

static void serve_connection(int fd)
{
    size_t served = 0;

    for (;;) {
        struct pollfd waits[2] = {{.fd = signer.end_fd[0], .events = POLLIN},
                                  {.fd = fd, .events = POLLIN}};

        (void)poll(waits, 2, -1);
        if (waits[0].revents != 0 || !serve_one(fd, &served))
            break;
    }
    close(fd);
}

static void *serve(void *arg)
{
    (void)arg;
    for (;;) {
        struct pollfd waits[2] = {{.fd = signer.end_fd[0], .events = POLLIN},
                                  {.fd = signer.listen_fd, .events = POLLIN}};

        (void)poll(waits, 2, -1);
        if (waits[0].revents != 0)
            return NULL;
        int fd = accept(signer.listen_fd, NULL, NULL);
        signer.connections++;
        if (fd >= 0)
            serve_connection(fd);
    }
}

static void start_signer(enum behaviour behaviour)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    signer.behaviour = behaviour;
    signer.connections = signer.requests = signer.kept_count = 0;
    snprintf(signer.path, sizeof signer.path, "/tmp/hf-signer-test-%d", (int)getpid());
    (void)unlink(signer.path);
    memcpy(address.sun_path, signer.path, strlen(signer.path));
    signer.listen_fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(signer.listen_fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(signer.listen_fd, 8), 0);
    assert_int_equal(pipe(signer.end_fd), 0);
    assert_int_equal(pthread_create(&signer.thread, NULL, serve, NULL), 0);
}

static void stop_signer(void)
{
    close(signer.end_fd[1]);
    pthread_join(signer.thread, NULL);
    close(signer.end_fd[0]);
    close(signer.listen_fd);
    (void)unlink(signer.path);
}

static int make_keys(void **state)
{
    EVP_PKEY *key = maker_key(NID_X9_62_prime256v1);
    static struct maker_text private_text, public_text;
    struct hf_credential_source source;
    const char *why;

    (void)state;
    maker_add_key(&private_text, key);
    maker_add_public(&public_text, key);
    source = (struct hf_credential_source){.key_pem = maker_view(&private_text)};
    assert_int_equal(hf_credential_open(&signer.credential, &why, &source), HF_OK);
    source = (struct hf_credential_source){.public_key_pem = maker_view(&public_text)};
    assert_int_equal(hf_credential_open(&signer.remote, &why, &source), HF_OK);
    EVP_PKEY_free(key);
    return 0;
}

static int free_keys(void **state)
{
    (void)state;
    hf_credential_close(signer.credential);
    hf_credential_close(signer.remote);
    return 0;
}

/* ---- tests ---- */

static struct hf_job jobs[JOBS];

static struct hf_signer *open_client(uint32_t timeout_ms)
{
    struct hf_signer_config config = {
        .path = signer.path, .label = "key", .timeout_ms = timeout_ms};
    char error[HF_SIGNER_ERROR_MAX];
    struct hf_signer *client;

    loop.given_count = 0;
    assert_int_equal(hf_signer_open(&client, error, &config), HF_OK);
    return client;
}

static void ask(struct hf_signer *client, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct hf_job *pointer = &jobs[i];

        memset(&jobs[i], 0, sizeof jobs[i]);
        jobs[i].parts = HF_JOB_SIGN;
        jobs[i].credential = signer.remote;
        memset(jobs[i].sign_digest, (int)(i + 1), 32);
        hf_job_run(&pointer, 1);
        assert_int_equal(jobs[i].status, HF_WAITING);
        assert_true(hf_signer_sign(client, &loop, &jobs[i]));
    }
}

static void expect_all(size_t count, enum hf_status status)
{
    assert_true(run_loop(count));
    for (size_t i = 0; i < count; i++)
        assert_int_equal(jobs[i].status, status);
}

static struct hf_signer_counters counters_of(struct hf_signer *client)
{
    struct hf_signer_counters counters;

    hf_signer_counters_get(&counters, client);
    return counters;
}

static void test_signatures_come_back(void **state)
{
    (void)state;
    start_signer(GOOD);
    struct hf_signer *client = open_client(PATIENCE_MS);
    ask(client, JOBS);
    expect_all(JOBS, HF_OK);
    assert_int_equal(counters_of(client).signatures, JOBS);
    assert_int_equal(counters_of(client).connects, 1);
    assert_int_equal(counters_of(client).waiting, 0);
    hf_signer_close(client);
    stop_signer();
}

static void test_order_does_not_matter(void **state)
{
    (void)state;
    start_signer(REVERSED);
    struct hf_signer *client = open_client(PATIENCE_MS);
    ask(client, JOBS);
    expect_all(JOBS, HF_OK);
    hf_signer_close(client);
    stop_signer();
}

static void test_wrong_signatures_are_found_out(void **state)
{
    (void)state;
    start_signer(WRONG);
    struct hf_signer *client = open_client(PATIENCE_MS);
    ask(client, 3);
    expect_all(3, HF_E_SIGNATURE);
    hf_signer_close(client);
    stop_signer();
}

static void test_refusals_come_back(void **state)
{
    (void)state;
    start_signer(REFUSING);
    struct hf_signer *client = open_client(PATIENCE_MS);
    ask(client, 3);
    expect_all(3, HF_E_SIGNER);
    assert_int_equal(counters_of(client).refusals, 3);
    hf_signer_close(client);
    stop_signer();
}

static void fail_in_time(enum behaviour behaviour, uint32_t timeout_ms, uint64_t disconnects_min)
{
    start_signer(behaviour);
    struct hf_signer *client = open_client(timeout_ms);
    ask(client, 3);
    expect_all(3, HF_E_SIGNER);
    assert_int_equal(counters_of(client).timeouts, 3);
    assert_int_equal(counters_of(client).waiting, 0);
    assert_true(counters_of(client).disconnects >= disconnects_min);
    hf_signer_close(client);
    stop_signer();
}

static void test_silence_ends_in_time(void **state)
{
    (void)state;
    fail_in_time(SILENT, 200, 0);
}

static void test_garbage_is_hung_up_on(void **state)
{
    (void)state;
    fail_in_time(GARBAGE, 1500, 2); // time enough to come again, on a busy machine, too
    fail_in_time(LONG, 1500, 2);
}

static void test_nobody_there_ends_in_time(void **state)
{
    (void)state;
    start_signer(GOOD);
    stop_signer();
    struct hf_signer *client = open_client(150);
    ask(client, 3);
    expect_all(3, HF_E_SIGNER);
    assert_int_equal(counters_of(client).connects, 0);
    hf_signer_close(client);
}

static void test_a_late_signer_is_found(void **state)
{
    (void)state;
    start_signer(GOOD);
    stop_signer();
    struct hf_signer *client = open_client(PATIENCE_MS);
    ask(client, 3);
    usleep(100000);
    start_signer(GOOD);
    expect_all(3, HF_OK);
    stop_signer(); // it restarts
    usleep(20000);
    start_signer(GOOD);
    loop.given_count = 0;
    ask(client, 3);
    expect_all(3, HF_OK);
    assert_int_equal(counters_of(client).connects, 2);
    hf_signer_close(client);
    stop_signer();
}

static void test_broken_connections_are_made_good(void **state)
{
    (void)state;
    start_signer(BREAKING);
    struct hf_signer *client = open_client(PATIENCE_MS);
    ask(client, 10);
    expect_all(10, HF_OK);
    assert_int_equal(counters_of(client).disconnects, 2);
    assert_int_equal(counters_of(client).signatures, 10);
    hf_signer_close(client);
    stop_signer();
}

static void test_a_full_loop_gets_its_answers_later(void **state)
{
    (void)state;
    start_signer(GOOD);
    struct hf_signer *client = open_client(PATIENCE_MS);
    pthread_mutex_lock(&loop.lock);
    loop.is_full = true;
    loop.refused_count = 0;
    pthread_mutex_unlock(&loop.lock);
    ask(client, 5);
    for (size_t refused = 0; refused < 10;) {
        usleep(5000);
        pthread_mutex_lock(&loop.lock);
        refused = loop.refused_count;
        pthread_mutex_unlock(&loop.lock);
    }
    assert_int_equal(counters_of(client).waiting, 5);
    pthread_mutex_lock(&loop.lock);
    loop.is_full = false;
    pthread_mutex_unlock(&loop.lock);
    expect_all(5, HF_OK);
    hf_signer_close(client);
    stop_signer();
}

/* Those that wait when it is closed never come back, and are not leaked. */
static void test_closing_drops_what_waits(void **state)
{
    (void)state;
    start_signer(SILENT);
    struct hf_signer *client = open_client(60000);
    ask(client, 5);
    hf_signer_close(client);
    assert_int_equal(loop.given_count, 0);
    assert_true(loop.head == loop.tail);
    stop_signer();
    hf_signer_close(NULL);
}

static void test_too_many_are_refused(void **state)
{
    (void)state;
    start_signer(SILENT);
    struct hf_signer *client = open_client(60000);
    for (size_t i = 0; i < HF_SIGNER_WAITING_MAX; i++)
        assert_true(hf_signer_sign(client, &loop, &jobs[0]));
    assert_false(hf_signer_sign(client, &loop, &jobs[0]));
    assert_int_equal(counters_of(client).rejected, 1);
    hf_signer_close(client);
    stop_signer();
}

static void test_the_public_key_is_fetched(void **state)
{
    uint8_t key[HF_SIGNER_KEY_LEN];
    char error[HF_SIGNER_ERROR_MAX];
    struct hf_signer_config config = {.path = signer.path, .label = "key", .timeout_ms = 2000};

    (void)state;
    start_signer(GOOD);
    assert_int_equal(hf_signer_fetch_key(key, error, &config), HF_OK);
    assert_memory_equal(key, hf_credential_message(signer.credential, true).data + 3, 91);
    config.label = "other";
    assert_int_equal(hf_signer_fetch_key(key, error, &config), HF_E_SIGNER);
    assert_non_null(strstr(error, "no key of this label"));
    config.label = "";
    assert_int_equal(hf_signer_fetch_key(key, error, &config), HF_E_CONFIG);
    stop_signer();
    config.label = "key";
    assert_int_equal(hf_signer_fetch_key(key, error, &config), HF_E_SIGNER);
    start_signer(SILENT);
    config.timeout_ms = 100;
    assert_int_equal(hf_signer_fetch_key(key, error, &config), HF_E_SIGNER);
    assert_non_null(strstr(error, "no answer in time"));
    stop_signer();
}

static void test_names_are_parsed(void **state)
{
    struct hf_signer_config config;
    char good[] = "signer:/run/a#b/s#in-cse";
    char long_path[200] = "signer:";

    (void)state;
    assert_true(hf_signer_parse(&config, good));
    assert_string_equal(config.path, "/run/a#b/s");
    assert_string_equal(config.label, "in-cse");
    assert_int_equal(config.timeout_ms, 2000);
    const char *bad[] = {"", "signer:", "signer:#a", "signer:/a", "signer:/a#", "/etc/key.pem"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char text[32];
        snprintf(text, sizeof text, "%s", bad[i]);
        assert_false(hf_signer_parse(&config, text));
    }
    memset(long_path + 7, 'a', 120);
    memcpy(long_path + 127, "#b", 3);
    assert_false(hf_signer_parse(&config, long_path));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_signatures_come_back),
        cmocka_unit_test(test_order_does_not_matter),
        cmocka_unit_test(test_wrong_signatures_are_found_out),
        cmocka_unit_test(test_refusals_come_back),
        cmocka_unit_test(test_silence_ends_in_time),
        cmocka_unit_test(test_garbage_is_hung_up_on),
        cmocka_unit_test(test_nobody_there_ends_in_time),
        cmocka_unit_test(test_a_late_signer_is_found),
        cmocka_unit_test(test_broken_connections_are_made_good),
        cmocka_unit_test(test_a_full_loop_gets_its_answers_later),
        cmocka_unit_test(test_closing_drops_what_waits),
        cmocka_unit_test(test_too_many_are_refused),
        cmocka_unit_test(test_the_public_key_is_fetched),
        cmocka_unit_test(test_names_are_parsed),
    };

    return cmocka_run_group_tests(tests, make_keys, free_keys);
}
