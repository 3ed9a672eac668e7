/**
 * log_test.c - the log of handfastd: escaping, bounds, limits per reason, and a reader that hangs.
 */
#include "log.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

/* Runs `body` in a child whose stderr is a pipe, and gives what was written there. A log is one a
 * process, so each test has a process. */
static char *logged_by(void (*body)(void), int *exit_status)
{
    static char text[1 << 20];
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        unsetenv("JOURNAL_STREAM");
        dup2(fds[1], STDERR_FILENO);
        close(fds[0]);
        close(fds[1]);
        body();
        hf_log_close();
        _exit(0);
    }
    close(fds[1]);
    size_t len = 0;
    ssize_t got = 0;
    while ((got = read(fds[0], text + len, sizeof(text) - 1 - len)) > 0)
        len += (size_t)got;
    close(fds[0]);
    text[len] = '\0';
    waitpid(child, exit_status, 0);
    return text;
}

static unsigned count(const char *text, const char *needle)
{
    unsigned found = 0;
    for (const char *at = text; (at = strstr(at, needle)) != NULL; at++)
        found++;
    return found;
}

static void log_fields(void)
{
    struct hf_log_line line;
    struct hf_address address = hf_address_v4((const uint8_t[]){192, 0, 2, 1}, 5684);
    if (!hf_log_open(HF_LOG_INFO, HF_LOG_LOGFMT, 10))
        _exit(9);
    hf_log_begin(&line, HF_LOG_INFO, HF_LOG_SLOT_UNLIMITED, "event_a", "because");
    hf_log_text(&line, "plain", "word");
    hf_log_text(&line, "quoted", "two words");
    hf_log_text(&line, "empty", "");
    hf_log_number(&line, "number", 18446744073709551615u);
    hf_log_address(&line, "peer", &address);
    hf_log_octets(&line, "odd", (struct hf_bytes){(const uint8_t *)"a\"\\\n\x00\xff=", 7});
    hf_log_end(&line);
    hf_log_begin(&line, HF_LOG_DEBUG, HF_LOG_SLOT_UNLIMITED, "not_wanted", NULL);
    hf_log_text(&line, "plain", "word");
    hf_log_end(&line);
}

static void test_fields_are_escaped(void **state)
{
    (void)state;
    int status = 0;
    const char *text = logged_by(log_fields, &status);
    assert_int_equal(status, 0);
    assert_non_null(strstr(text, " level=info event=event_a reason=because plain=word "
                                 "quoted=\"two words\" empty=\"\" number=18446744073709551615 "
                                 "peer=192.0.2.1:5684 odd=\"a\\\"\\\\\\x0A\\x00\\xFF=\"\n"));
    assert_int_equal(strncmp(text, "ts=20", 5), 0);
    assert_int_equal(count(text, "\n"), 1);
}

static void log_long(void)
{
    static uint8_t octets[5000];
    struct hf_log_line line;
    memset(octets, 0x01, sizeof(octets));
    if (!hf_log_open(HF_LOG_INFO, HF_LOG_TEXT, 10))
        _exit(9);
    hf_log_begin(&line, HF_LOG_INFO, HF_LOG_SLOT_UNLIMITED, "long", NULL);
    for (int i = 0; i < 4; i++)
        hf_log_octets(&line, "identity", (struct hf_bytes){octets, sizeof(octets)});
    hf_log_end(&line);
    hf_log_message(HF_LOG_INFO, "long_too", "%05000d", 1);
}

static void test_lines_are_bounded(void **state)
{
    (void)state;
    int status = 0;
    char *text = logged_by(log_long, &status);
    assert_int_equal(status, 0);
    assert_int_equal(count(text, "\n"), 2);
    assert_true(strlen(text) <= 2 * HF_LOG_LINE_MAX);
    /* 160 octets of the first identity, and a mark that it goes on */
    assert_non_null(strstr(text, "\\x01\"... identity=\""));
    assert_int_equal(strchr(text, '\n') - text, HF_LOG_LINE_MAX - 1);
}

static void log_flood(void)
{
    if (!hf_log_open(HF_LOG_INFO, HF_LOG_LOGFMT, 5))
        _exit(9);
    struct hf_log_line line;
    for (uint32_t i = 0; i < 100; i++) {
        hf_log_begin(&line, HF_LOG_NOTICE, HF_LOG_SLOT_FAILED + HF_E_KEY_UNKNOWN, "failed",
                     "key_unknown");
        hf_log_end(&line);
    }
    for (uint32_t i = 0; i < 3; i++) {
        hf_log_begin(&line, HF_LOG_NOTICE, HF_LOG_SLOT_FAILED + HF_E_FINISHED, "failed",
                     "finished");
        hf_log_end(&line);
    }
    struct hf_log_counters counters;
    hf_log_counters_get(&counters);
    nanosleep(&(struct timespec){1, 300 * 1000 * 1000}, NULL);
    hf_log_begin(&line, HF_LOG_NOTICE, HF_LOG_SLOT_FAILED + HF_E_KEY_UNKNOWN, "failed_again",
                 "key_unknown");
    hf_log_end(&line);
    /* The second may end anywhere in the hundred lines, once. */
    if (counters.suppressed < 90 || counters.suppressed > 95)
        _exit(8);
}

static void test_a_flood_of_one_reason_is_limited(void **state)
{
    (void)state;
    int status = 0;
    const char *text = logged_by(log_flood, &status);
    assert_int_equal(status, 0);
    unsigned unknown = count(text, "event=failed reason=key_unknown");
    assert_true(unknown >= 5 && unknown <= 10);
    assert_int_equal(count(text, "event=failed reason=finished"), 3);
    assert_true(count(text, "event=suppressed reason=key_unknown lines=9") >= 1 || unknown > 5);
    assert_int_equal(count(text, "of=failed\n"), count(text, "event=suppressed"));
    assert_int_equal(count(text, "event=failed_again"), 1);
}

static void log_to_a_full_pipe(void)
{
    int fds[2];
    if (pipe(fds) != 0 || dup2(fds[1], STDERR_FILENO) < 0 ||
        !hf_log_open(HF_LOG_INFO, HF_LOG_LOGFMT, 0))
        _exit(9);
    struct timespec begin;
    struct timespec end;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    for (int i = 0; i < 5000; i++)
        hf_log_message(HF_LOG_INFO, "line", "%0200d", i);
    hf_log_close();
    clock_gettime(CLOCK_MONOTONIC, &end);
    struct hf_log_counters counters;
    hf_log_counters_get(&counters);
    if (counters.dropped < 1000)
        _exit(7);
    if (end.tv_sec - begin.tv_sec > 5)
        _exit(6);
    _exit(0);
}

static void test_a_reader_that_hangs_holds_nobody_up(void **state)
{
    (void)state;
    int status = 0;
    logged_by(log_to_a_full_pipe, &status);
    assert_int_equal(status, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fields_are_escaped),
        cmocka_unit_test(test_lines_are_bounded),
        cmocka_unit_test(test_a_flood_of_one_reason_is_limited),
        cmocka_unit_test(test_a_reader_that_hangs_holds_nobody_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
