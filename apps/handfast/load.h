/**
 * load.h - what the parts of `handfast load` share: a population of virtual devices on one engine.
 *
 * The load comes in waves: everything that has arrived is taken and answered in memory first, free
 * places begin their next handshake, and then all of it is sent together. A server thus meets what
 * a busy port would bring it, not one wake-up per datagram.
 *
 * To the engine a path has a peer and a local address, and many associations share one of the
 * latter. Here the devices are many and the server is one: so the engine is told the device's
 * address as `peer` and the server's as `local`, and only load_udp.c and load_tcp.c know that they
 * are the other way round. A device costs its cold record, a table slot and a struct load_device.
 */
#ifndef HF_LOAD_H
#define HF_LOAD_H

#include <handfast/engine.h>

#include <netinet/in.h>

#define HF_LOAD_IN_FLIGHT_MAX 8192
#define HF_LOAD_DEVICES_MAX 16000000
#define HF_LOAD_CREDENTIALS_MAX 1000000
#define HF_LOAD_FAILURES_MAX 48
/* How long the server's close_notify is waited for: in a measurement a place must not be taken for
 * long, in a population each answer counts. */
#define HF_LOAD_CLOSE_US_MAX 200000
#define HF_LOAD_PART_US_MAX 10000000
#define HF_LOAD_ROWS_MAX 100000
#define HF_LOAD_WINDOW 256 /* devices that wait for what they have said at once */

enum hf_load_curve {
    HF_LOAD_STORM = 0, /* as fast as in_flight lets them */
    HF_LOAD_STEADY,
    HF_LOAD_SINUS,
};

/** What somebody on the way does with each record that has a connection ID, from an address of his
 *  own. */
enum hf_load_spoof {
    HF_LOAD_SPOOF_NONE = 0,
    HF_LOAD_SPOOF_REPLAY, /* says it once more */
    HF_LOAD_SPOOF_FORGE,  /* says it once more, with the next number */
    HF_LOAD_SPOOF_RACE,   /* says every other before the device does */
};

struct hf_load_options {
    bool is_dtls, is_json, is_quiet;
    bool encrypt_then_mac;
    bool is_resuming;   /* each credential once in full, then by its session */
    bool is_exchanging; /* each device says "up N" and wants it back */
    bool is_notified;   /* and waits for "late N" */
    bool is_held_for_input;
    bool is_in_waves; /* nobody begins before all others have ended */
    bool has_devices; /* a population; otherwise a measurement of `count` handshakes */
    uint16_t psk_suite, certificate_suite;
    struct sockaddr_in server;
    const char *psk_file, *certs, *ca, *curve_file;
    uint32_t psk_weight, certificate_weight;
    uint32_t in_flight;
    uint64_t count, warmup;
    enum hf_load_curve curve;
    double rate;       /* arrivals a second */
    double period_s;   /* of the sinus */
    uint64_t messages; /* to random devices */
    double hold_s, timeout_s;
    uint32_t loss_ppm;
    uint32_t rebinds; /* how often a NAT moves all devices, before they speak each time */
    enum hf_load_spoof spoof;
    enum hf_connection_id connection_id; /* that devices ask for */
    bool is_unasked;                     /* devices that do not speak RFC 9853 */
    uint32_t sources, ports, servers;
    uint64_t seed;
    int server_pid; /* 0: unknown */
};

/** The key file, dealt out line by line. */
struct hf_load_key {
    const uint8_t *bytes; /* identity, then key */
    uint16_t identity_len, psk_len;
};

struct hf_load_keys {
    struct hf_load_key *keys;
    size_t count;
    uint8_t *text;
    size_t text_len;
};

enum hf_load_state {
    HF_LOAD_IDLE = 0,
    HF_LOAD_SHAKING,
    HF_LOAD_OPEN,
    HF_LOAD_CLOSING, /* close_notify is out */
    HF_LOAD_DONE,
};

/** Bits of what a device has heard. */
enum {
    HF_LOAD_HEARD_UP = 1,
    HF_LOAD_HEARD_LATE = 2,
    HF_LOAD_SPOKE = 4,
    HF_LOAD_CONTINUED = 8, /* answered where the NAT has put it */
};

struct hf_load_device {
    hf_association_id association;
    uint64_t begun_us; /* CLOSING: when that began */
    uint32_t number;
    uint8_t state;
    uint8_t heard;
    uint8_t place; /* which of its addresses the NAT lets it have */
};

struct hf_load_failure {
    char reason[64];
    uint64_t count;
};

/** One line of the curve. */
struct hf_load_row {
    double at_s;
    uint64_t begun, open, failed, server_ns, server_len;
};

struct hf_load_stats {
    uint64_t begun_count;
    uint64_t open_count;  /* established, ever */
    uint64_t ended_count; /* of a measurement: established, and their close answered or given up */
    uint64_t fail_count;
    uint64_t lost_count; /* were established and ended without our doing */
    uint64_t close_unanswered;
    uint64_t resumed_count;
    uint64_t begin_us, end_us;
    uint64_t ended_at_begin, ended_at_end;
    uint64_t server_begin_ns, server_end_ns;
    uint64_t client_begin_ns, client_end_ns;
    uint64_t server_before_len, server_after_len;
    bool has_begun, has_ended;
    uint32_t *latency_us;
    uint64_t latency_count, latency_max;
    uint64_t sent, answered, resent, unanswered, notified, misdelivered;
    uint64_t exchange_us;
    uint64_t exchange_server_ns;
    uint64_t close_answered;
    /* Moves of associations, those of them answered afterwards, handshakes since the first. */
    uint64_t rebound, continued, rebind_handshakes;
    uint64_t deaf; /* datagrams to an address that was left */
    uint64_t spoofed, spoofed_len, diverted, diverted_len; /* from and to the spoofer's */
    struct hf_load_failure failures[HF_LOAD_FAILURES_MAX];
    size_t failure_kinds;
    struct hf_load_row *rows;
    size_t row_count;
};

struct hf_load;

/** What carries bytes: datagrams on few sockets, or a connection for each device. */
struct hf_load_io {
    bool (*open)(struct hf_load *load);
    void (*close)(struct hf_load *load);
    /** begin fills the path of a device about to dial; false: it cannot, and that was told. */
    bool (*begin)(struct hf_load *load, struct hf_load_device *device, struct hf_path *path);
    /** output takes one output of the engine; flush sends what is gathered. */
    void (*output)(struct hf_load *load, const struct hf_output *output);
    void (*flush)(struct hf_load *load);
    /** receive takes all that is there, after at most `wait_us`. Calls load's turns. */
    void (*receive)(struct hf_load *load, uint64_t wait_us);
    /** end is told that the engine has forgotten a device. */
    void (*end)(struct hf_load *load, struct hf_load_device *device);
};

extern const struct hf_load_io hf_load_udp, hf_load_tcp;

struct hf_load {
    struct hf_load_options options;
    struct hf_engine *engine;
    struct hf_load_keys keys;
    struct hf_credential **credentials;
    size_t credential_count, credential_room;
    struct hf_trust *trust;
    struct hf_bytes *sessions; /* by credential, or by line of the key file */
    const struct hf_load_io *io;
    void *wire; /* the io's own */
    struct hf_load_device *devices;
    uint32_t device_count; /* entries of devices[] */
    uint32_t busy_count;
    uint32_t *closing; /* ring of device indices, oldest first */
    uint32_t closing_head, closing_count;
    struct hf_load_stats stats;
    uint64_t now_us;
    uint64_t begin_us;    /* of the run */
    uint64_t arrivals_us; /* when the first arrival was due */
    uint64_t random_state;
    uint64_t told_us, row_us; /* last progress line, last row of the curve */
    bool is_ending;
    bool is_interrupted;
    bool is_any_lost; /* of messages said again during the hold */
};

/* load_keys.c */
/** hf_load_keys_open reads the file; on failure it says why. */
bool hf_load_keys_open(struct hf_load_keys *keys, const char *path);
void hf_load_keys_close(struct hf_load_keys *keys);

/* load_setup.c */
/** hf_load_open makes keys, credentials and engine from the options; on failure it says why. */
bool hf_load_open(struct hf_load *load);
void hf_load_close(struct hf_load *load);
/** hf_load_credential_of gives a device's place among certificates; SIZE_MAX: it has a key. */
size_t hf_load_credential_of(const struct hf_load *load, uint32_t number);
/** hf_load_session_of gives where the session of device `number` is kept. */
struct hf_bytes *hf_load_session_of(const struct hf_load *load, uint32_t number);

/* load_turn.c */
uint64_t hf_load_clock_us(void);
uint32_t hf_load_random(struct hf_load *load);
/** hf_load_turn_begin and _end frame what is fed to the engine. */
void hf_load_turn_begin(struct hf_load *load);
void hf_load_turn_end(struct hf_load *load);
/** hf_load_dial begins the next device's handshake. False: no room in this turn. */
bool hf_load_dial(struct hf_load *load);
/** hf_load_hang_up sends close_notify and waits for its answer. */
void hf_load_hang_up(struct hf_load *load, struct hf_load_device *device);
/** hf_load_answered: the server's close_notify has come, or will not (is_given_up). */
void hf_load_answered(struct hf_load *load, struct hf_load_device *device, bool is_given_up);
/** hf_load_wave sends what is gathered and takes what has come, waiting `wait_us` at most. */
void hf_load_wave(struct hf_load *load, uint64_t wait_us);
struct hf_load_device *hf_load_device_of(const struct hf_load *load, uint32_t number);

/* load_run.c */
/** hf_load_run runs all phases; false: not everything that was asked for was done. */
bool hf_load_run(struct hf_load *load);

/* load_exchange.c */
/** hf_load_exchange has devices speak, and listens; false: something got lost. */
bool hf_load_exchange(struct hf_load *load);
/** hf_load_hear is handed data that came for a device. */
void hf_load_hear(struct hf_load *load, struct hf_load_device *device, struct hf_bytes data);

/* load_stats.c */
/** hf_load_cpu_ns adds up the time on a CPU of all threads of `pid` (0: this process). */
uint64_t hf_load_cpu_ns(int pid);
/** hf_load_is_asleep tells whether every thread of `pid` waits for something. */
bool hf_load_is_asleep(int pid);
/** hf_load_pss_len gives the process's proportional set size in bytes; 0 if it cannot be read. */
uint64_t hf_load_pss_len(int pid);
bool hf_load_stats_open(struct hf_load *load);
void hf_load_stats_close(struct hf_load *load);
void hf_load_stats_established(struct hf_load *load, const struct hf_load_device *device);
void hf_load_stats_fail(struct hf_load *load, const char *reason);
/** hf_load_stats_measure is called between waves of a measurement; true: enough. */
bool hf_load_stats_measure(struct hf_load *load);
/** hf_load_stats_row and _tell keep the curve and the progress line up to date. */
void hf_load_stats_row(struct hf_load *load, bool is_last);
void hf_load_stats_tell(struct hf_load *load, const char *what);

/* load_report.c */
void hf_load_report(struct hf_load *load);
/** hf_load_report_exchange tells of the last messages alone. */
void hf_load_report_exchange(const struct hf_load *load);
bool hf_load_write_curve(const struct hf_load *load);

#endif
