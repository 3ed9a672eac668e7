/**
 * keystore_keeper.c - the process that starts reading processes, one after the other, and says how
 * they ended.
 *
 * It exists so that a daemon which has given up the right to fork, and its privileges, still gets
 * its reading process replaced. It was forked from a process with threads and never looks at the
 * store. It ends with the thread that started it.
 */
#include "keystore_shared.h"

#include <errno.h>
#include <grp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define IDLE_MS 60000
#define ENDING_MS 50 /* a handler may run late: under a sanitizer it does */

static struct hf_keystore_shared *keeper_shared; /* for the signal handler */

/* Raises the word that the keeper sleeps on: a death just before it falls asleep is not missed. */
static void handle_child(int number)
{
    (void)number;
    atomic_fetch_add(&keeper_shared->orders, 1);
}

static void become(const struct hf_keystore_service_config *config)
{
    gid_t gid = (gid_t)config->gid;
    uid_t uid = (uid_t)config->uid;
    if (config->gid >= 0 && (setgroups(0, NULL) != 0 || setresgid(gid, gid, gid) != 0))
        _exit(1);
    if (config->uid >= 0 && setresuid(uid, uid, uid) != 0)
        _exit(1);
}

static void prepare(const struct hf_keystore_service_config *config, int parent, int life_fd)
{
    static const int foreign[] = {SIGINT, SIGTERM, SIGHUP, SIGPIPE, SIGUSR1, SIGUSR2};
    struct sigaction child = {.sa_handler = handle_child};
    sigset_t none;
    become(config);
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* a change of user would have cleared it */
    if (getppid() != parent)
        _exit(1);
    (void)prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    (void)prctl(PR_SET_NAME, "hf-keykeeper");
    (void)prctl(PR_SET_DUMPABLE, 0);
    (void)setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
    for (size_t i = 0; i < sizeof(foreign) / sizeof(foreign[0]); i++)
        (void)signal(foreign[i], SIG_IGN); /* the terminal's; only the parent ends us */
    (void)sigaction(SIGCHLD, &child, NULL);
    sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    if (life_fd > 3)
        (void)close_range(3, (unsigned)life_fd - 1, 0);
    (void)close_range((unsigned)life_fd + 1, ~0U, 0);
}

static void report_death(struct hf_keystore_shared *shared, uint32_t number, int status)
{
    atomic_store(&shared->process, 0);
    atomic_store(&shared->status, status);
    atomic_store(&shared->deaths, number);
    hf_keystore_futex_wake(&shared->answered);
}

static pid_t start_reader(struct hf_keystore_shared *shared, uint32_t number,
                          const struct hf_keystore_service_config *config, int life_fd)
{
    int parent = getpid();
    pid_t child = fork();
    if (child == 0) {
        close(life_fd);
        hf_keystore_worker_run(shared, config->path, config->authority, parent);
    }
    if (child < 0)
        report_death(shared, number, HF_KEYSTORE_NO_PROCESS << 8);
    else
        atomic_store(&shared->process, (int)child);
    return child < 0 ? 0 : child;
}

void hf_keystore_keeper_run(struct hf_keystore_shared *shared,
                            const struct hf_keystore_service_config *config, int parent,
                            int life_fd)
{
    pid_t child = 0;
    uint32_t number = atomic_load(&shared->deaths);
    keeper_shared = shared;
    prepare(config, parent, life_fd);
    for (;;) {
        uint32_t seen = atomic_load(&shared->orders);
        int status = 0;
        if (child != 0 && waitpid(child, &status, WNOHANG) == child) {
            child = 0;
            report_death(shared, number, status);
        }
        bool is_ending = atomic_load(&shared->is_ending);
        bool is_killed = child != 0 && (is_ending || atomic_load(&shared->kill_wanted) == number);
        if (is_killed)
            (void)kill(child, SIGKILL);
        if (is_ending && child == 0)
            _exit(0);
        if (child == 0 && atomic_load(&shared->start_wanted) != number) {
            number = atomic_load(&shared->start_wanted);
            child = start_reader(shared, number, config, life_fd);
        }
        hf_keystore_futex_wait(&shared->orders, seen, is_killed ? ENDING_MS : IDLE_MS);
    }
}
