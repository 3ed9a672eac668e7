/**
 * load.h - what the parts of the load client share.
 *
 * The load comes in waves: everything that has arrived is taken and answered in memory first, free
 * slots begin their next handshake, and then all of it is sent together. A server thus meets what
 * a busy port would bring it, not one wake-up per datagram.
 */
#ifndef HF_BENCH_LOAD_H
#define HF_BENCH_LOAD_H

#include "psk_client.h"

#include <netinet/in.h>

#define LOAD_IN_FLIGHT_MAX 1024
#define LOAD_FAILURE_KINDS_MAX 32
#define LOAD_HANDSHAKE_US_MAX 20000000
#define LOAD_CLOSE_US_MAX 200000 /* how long the server's close_notify is waited for */

struct load_key {
    const uint8_t *identity;
    const uint8_t *psk;
    uint16_t identity_len;
    uint16_t psk_len;
};

struct load_keys {
    struct load_key *keys;
    size_t count;
};

#define LOAD_CREDENTIALS_MAX 4096

/** Certificates, dealt out in turn, and what each handshake with one left to resume. */
struct load_credentials {
    struct hf_credential *credentials[LOAD_CREDENTIALS_MAX];
    struct psk_client_session *sessions; /* suite 0: none yet */
    size_t count;
};

struct load_options {
    bool is_dtls;
    bool is_json;
    bool extended_master_secret;
    bool encrypt_then_mac;
    uint16_t suite;
    struct sockaddr_in server;
    const char *keys_path;
    struct load_credentials *credentials; /* NULL: pre-shared keys */
    bool is_resuming;                     /* each credential once in full, then by its session */
    uint32_t in_flight;
    uint64_t count;
    uint64_t warmup;
    uint64_t hold;         /* associations to hold; 0: none */
    uint32_t hold_seconds; /* 0: until standard input ends */
    bool is_exchanging;    /* held associations speak with what is behind the server */
    int server_pid;        /* 0: unknown */
};

struct load_failure {
    char text[96];
    uint64_t count;
};

/* Runs from the snapshot after the warm-up to the one at the end of a wave that reaches `count`,
 * both in steady state, so that handshakes cut by one are made up for by the other. */
struct load_stats {
    uint64_t open_count; /* server's Finished verified, ever */
    uint64_t ended_count;
    uint64_t ended_at_begin, ended_at_end;
    uint64_t fail_count;
    uint64_t retransmissions;
    uint64_t close_unanswered;
    uint64_t resumed_count;
    uint64_t begin_us, end_us;
    uint64_t server_begin_ns, server_end_ns;
    uint64_t client_begin_ns, client_end_ns;
    bool has_begun, has_ended;
    uint32_t *latency_us;
    uint64_t latency_count, latency_max;
    struct load_failure failures[LOAD_FAILURE_KINDS_MAX];
    size_t failure_kinds;
};

/* load_keys.c */
bool load_keys_open(struct load_keys *keys, const char *path);
const struct load_key *load_keys_at(const struct load_keys *keys, uint64_t number);

/* load_stats.c */
uint64_t load_now_us(void);
/* load_cpu_ns adds up the time on a CPU of all threads of `pid` (0: this process). */
uint64_t load_cpu_ns(int pid);
/* load_pss_len gives the process's proportional set size in bytes; 0 if it cannot be read. */
uint64_t load_pss_len(int pid);
void load_stats_init(struct load_stats *stats, const struct load_options *options);
void load_stats_open(struct load_stats *stats, uint64_t latency_us);
void load_stats_fail(struct load_stats *stats, const char *text);
/* load_stats_client notes how `client` failed. */
void load_stats_client(struct load_stats *stats, const struct psk_client *client);
/* load_stats_wave is called between waves; true: enough. */
bool load_stats_wave(struct load_stats *stats, const struct load_options *options);
void load_stats_print(struct load_stats *stats, const struct load_options *options);

/* load_credentials.c */
bool load_credentials_open(struct load_credentials *out, const char *folder);
/* load_credentials_use has a client show the credential of handshake `number`. */
void load_credentials_use(struct psk_client_config *config, struct load_credentials *credentials,
                          uint64_t number, bool is_resuming);
/* load_credentials_keep keeps the session of a handshake that is open. */
void load_credentials_keep(struct load_credentials *credentials, const struct psk_client *client,
                           uint64_t number);

/* load.c */
/* load_client_init prepares the client of handshake `number`. */
void load_client_init(struct psk_client *client, struct psk_client_work *work,
                      const struct load_options *options, const struct load_keys *keys,
                      uint64_t number);
/* load_client_open is told that handshake `number` is open. */
void load_client_open(const struct psk_client *client, const struct load_options *options,
                      uint64_t number);
/* load_source gives the address handshake `number` comes from: 127.1.0.1 and up. */
struct in_addr load_source(uint64_t number);

/* load_udp.c, load_udp_hold.c, load_tcp.c: exit status. */
int load_udp_run(const struct load_options *options, const struct load_keys *keys,
                 struct load_stats *stats);
int load_tcp_run(const struct load_options *options, const struct load_keys *keys,
                 struct load_stats *stats);

#endif
