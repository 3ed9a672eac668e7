/**
 * sandbox.c - see sandbox.h. What io_uring does for us passes by a seccomp filter; opening files
 * and sockets does not, because we ask the ring for neither.
 */
#include "sandbox.h"

#include "forward.h"
#include "signers.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#ifdef HF_WITH_SECCOMP
#include <seccomp.h>
#endif

static bool fail(char *error, const char *what, const char *name, const char *why)
{
    snprintf(error, HF_SANDBOX_ERROR_MAX, "%s: %s: %s", what, name, why);
    return false;
}

bool hf_sandbox_find(struct hf_sandbox *out, char error[HF_SANDBOX_ERROR_MAX],
                     const struct hf_daemon_config *config)
{
    memset(out, 0, sizeof(*out));
    out->control_gid = (gid_t)-1;
    if (config->user[0] != '\0') {
        const struct passwd *user = getpwnam(config->user);
        if (user == NULL)
            return fail(error, "user", config->user, "there is no such user");
        out->uid = user->pw_uid;
        out->gid = user->pw_gid;
        out->has_user = user->pw_uid != geteuid();
        if (out->has_user && geteuid() != 0)
            return fail(error, "user", config->user, "only root can become another user");
    }
    if (config->control_group[0] != '\0') {
        const struct group *group = getgrnam(config->control_group);
        if (group == NULL)
            return fail(error, "control group", config->control_group, "there is no such group");
        out->control_gid = group->gr_gid;
    }
    return true;
}

static bool check_readable(char *error, const char *path, const char *user)
{
    if (path[0] == '\0')
        return true;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0) {
        snprintf(error, HF_SANDBOX_ERROR_MAX,
                 "%s: user %s cannot read it (%s), and a reload will have to: chown %s %s", path,
                 user, strerror(errno), user, path);
        return false;
    }
    close(fd);
    return true;
}

bool hf_sandbox_drop(const struct hf_sandbox *sandbox, char error[HF_SANDBOX_ERROR_MAX],
                     const struct hf_daemon_config *config)
{
    if (!sandbox->has_user)
        return true;
    /* The C library has every thread do the same. */
    if (initgroups(config->user, sandbox->gid) != 0 ||
        setresgid(sandbox->gid, sandbox->gid, sandbox->gid) != 0 ||
        setresuid(sandbox->uid, sandbox->uid, sandbox->uid) != 0)
        return fail(error, "user", config->user, strerror(errno));
    if (setuid(0) == 0)
        return fail(error, "user", config->user, "the privilege came back");
#ifndef HF_SANITIZED
    (void)prctl(PR_SET_DUMPABLE, 0); /* a change of user may have set it again */
#endif
    if (!check_readable(error, config->config_file, config->user))
        return false;
    for (uint32_t i = 0; i < config->authority_count; i++)
        if (!check_readable(error, config->authorities[i].psk_file, config->user))
            return false;
    return true;
}

#ifdef HF_WITH_SECCOMP

/* From strace(1) of the daemon under all its tests, and what malloc and the C library may do. */
static const int allowed[] = {
    SCMP_SYS(io_uring_enter),
    SCMP_SYS(io_uring_register),
    SCMP_SYS(read),
    SCMP_SYS(readv),
    SCMP_SYS(write),
    SCMP_SYS(writev),
    SCMP_SYS(pread64),
    SCMP_SYS(lseek),
    SCMP_SYS(close),
    SCMP_SYS(openat),
    SCMP_SYS(open),
    SCMP_SYS(fstat),
    SCMP_SYS(stat),
    SCMP_SYS(lstat),
    SCMP_SYS(newfstatat),
    SCMP_SYS(statx),
    SCMP_SYS(readlink),
    SCMP_SYS(readlinkat),
    SCMP_SYS(access),
    SCMP_SYS(faccessat),
    SCMP_SYS(unlink),
    SCMP_SYS(unlinkat),
    SCMP_SYS(rename),
    SCMP_SYS(fsync),
    SCMP_SYS(fdatasync),
    SCMP_SYS(sendmsg),
    SCMP_SYS(sendmmsg),
    SCMP_SYS(sendto),
    SCMP_SYS(recvmsg),
    SCMP_SYS(recvmmsg),
    SCMP_SYS(recvfrom),
    SCMP_SYS(accept4),
    SCMP_SYS(accept),
    SCMP_SYS(shutdown),
    SCMP_SYS(getsockopt),
    SCMP_SYS(setsockopt),
    SCMP_SYS(getsockname),
    SCMP_SYS(getpeername),
    SCMP_SYS(poll),
    SCMP_SYS(ppoll),
    SCMP_SYS(select),
    SCMP_SYS(pselect6),
    SCMP_SYS(epoll_wait),
    SCMP_SYS(epoll_pwait),
    SCMP_SYS(epoll_pwait2),
    SCMP_SYS(epoll_ctl),
    SCMP_SYS(eventfd2),
    SCMP_SYS(fcntl),
    SCMP_SYS(futex),
    SCMP_SYS(sched_yield),
    SCMP_SYS(sched_getaffinity),
    SCMP_SYS(getcpu),
    SCMP_SYS(nanosleep),
    SCMP_SYS(clock_nanosleep),
    SCMP_SYS(clock_gettime),
    SCMP_SYS(clock_getres),
    SCMP_SYS(gettimeofday),
    SCMP_SYS(time),
    SCMP_SYS(getrandom),
    SCMP_SYS(mmap),
    SCMP_SYS(munmap),
    SCMP_SYS(mremap),
    SCMP_SYS(madvise),
    SCMP_SYS(mprotect),
    SCMP_SYS(brk),
    SCMP_SYS(mlock),
    SCMP_SYS(munlock),
    SCMP_SYS(rt_sigprocmask),
    SCMP_SYS(rt_sigreturn),
    SCMP_SYS(rt_sigaction),
    SCMP_SYS(sigaltstack),
    SCMP_SYS(tgkill),
    SCMP_SYS(gettid),
    SCMP_SYS(getpid),
    SCMP_SYS(getuid),
    SCMP_SYS(geteuid),
    SCMP_SYS(getgid),
    SCMP_SYS(getegid),
    SCMP_SYS(getppid),
    SCMP_SYS(prlimit64),
    SCMP_SYS(getrlimit),
    SCMP_SYS(getrusage),
    SCMP_SYS(sysinfo),
    SCMP_SYS(uname),
    SCMP_SYS(exit),
    SCMP_SYS(exit_group),
    SCMP_SYS(restart_syscall),
    SCMP_SYS(rseq),
    SCMP_SYS(set_robust_list),
    SCMP_SYS(membarrier),
};

/* No daemon of ours calls these: whoever does has taken it over. */
static const int deadly[] = {
    SCMP_SYS(execve),
    SCMP_SYS(execveat),
    SCMP_SYS(ptrace),
    SCMP_SYS(process_vm_readv),
    SCMP_SYS(process_vm_writev),
    SCMP_SYS(mount),
    SCMP_SYS(umount2),
    SCMP_SYS(init_module),
    SCMP_SYS(finit_module),
    SCMP_SYS(kexec_load),
    SCMP_SYS(bpf),
    SCMP_SYS(setuid),
    SCMP_SYS(setresuid),
    SCMP_SYS(fork),
    SCMP_SYS(vfork),
    SCMP_SYS(unshare),
    SCMP_SYS(setns),
};

/* Sockets to systemd and to signers, AF_UNIX, are all we ever open from now on; no network but the
 * connections to an upstream, if there is one for streams, and to MAFs, and what dialers need:
 * connections, and datagrams to find out where they would leave. */
static int allow_sockets(scmp_filter_ctx filter, const struct hf_daemon_config *config)
{
    const uint64_t kind_mask = ~(uint64_t)SOCK_NONBLOCK;
    const uint64_t kind = SOCK_STREAM | SOCK_CLOEXEC;
    const uint64_t datagrams = SOCK_DGRAM | SOCK_CLOEXEC;
    const struct scmp_arg_cmp rules[][2] = {
        {{0, SCMP_CMP_EQ, AF_UNIX, 0}, {0}},
        {{0, SCMP_CMP_EQ, AF_INET, 0}, {1, SCMP_CMP_MASKED_EQ, kind_mask, kind}},
        {{0, SCMP_CMP_EQ, AF_INET6, 0}, {1, SCMP_CMP_MASKED_EQ, kind_mask, kind}},
        {{0, SCMP_CMP_EQ, AF_INET, 0}, {1, SCMP_CMP_EQ, datagrams, 0}},
        {{0, SCMP_CMP_EQ, AF_INET6, 0}, {1, SCMP_CMP_EQ, datagrams, 0}},
    };
    bool has_mafs = config->mafs.count > 0;
    unsigned count = config->dialer_count > 0                     ? 5
                     : hf_forward_has_streams(config) || has_mafs ? 3
                                                                  : 1;
    int status = 0;
    /* Over io_uring it passes by the filter anyway. */
    if (count > 1 || hf_signers_used(config))
        status = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(connect), 0);
    if (status == 0 && config->dialer_count > 0) /* from a `source` */
        status = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(bind), 0);
    for (unsigned i = 0; i < count && status == 0; i++)
        status = seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, SCMP_SYS(socket), i == 0 ? 1 : 2,
                                        rules[i]);
    return status;
}

bool hf_sandbox_seccomp(char error[HF_SANDBOX_ERROR_MAX], const struct hf_daemon_config *config)
{
    if (!config->is_seccomp)
        return true;
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));
    int status = filter == NULL ? -ENOMEM : seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);
    for (size_t i = 0; status == 0 && i < sizeof(allowed) / sizeof(allowed[0]); i++)
        status = seccomp_rule_add(filter, SCMP_ACT_ALLOW, allowed[i], 0);
    for (size_t i = 0; status == 0 && i < sizeof(deadly) / sizeof(deadly[0]); i++)
        status = seccomp_rule_add(filter, SCMP_ACT_KILL_PROCESS, deadly[i], 0);
    if (status == 0)
        status = allow_sockets(filter, config);
    if (status == 0)
        status = seccomp_load(filter);
    if (filter != NULL)
        seccomp_release(filter);
    return status == 0 || fail(error, "seccomp", "the filter was refused", strerror(-status));
}

#else

bool hf_sandbox_seccomp(char error[HF_SANDBOX_ERROR_MAX], const struct hf_daemon_config *config)
{
    return !config->is_seccomp ||
           fail(error, "seccomp", "not in this build", "install libseccomp-dev and build again");
}

#endif
