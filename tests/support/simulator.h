/**
 * simulator.h - a small world for flow tests: one engine, many clients (psk_client, which shares
 * only crypto/ with the engine), a network that loses, repeats and reorders, a key source that
 * answers now, later, backwards, or never - all of it on a virtual clock and drawn from one seed.
 *
 * The same seed gives the same run, down to every byte: hf_random() is replaced too. Properties
 * that must hold in every run are checked as it goes (agreement of both ends, one end for each
 * association, no byte lost, cancel exactly when due); sim_close() checks that nothing leaked. A
 * failure prints the seed and the rows the state machine took.
 *
 * Programs that use it are linked with hf_simulator, which wraps hf_machine_run and hf_random.
 */
#ifndef HF_TEST_SIMULATOR_H
#define HF_TEST_SIMULATOR_H

#include "core.h"
#include "credential_world.h"
#include "machine.h"
#include "psk_client.h"

#define SIM_CLIENTS_MAX 64
#define SIM_ASSOCIATIONS_MAX 256
#define SIM_MESSAGES_MAX 16
#define SIM_REQUESTS_MAX 4
#define SIM_WALL_S INT64_C(1750000000)

/** How bytes are cut on their way to the engine. */
enum sim_chunks {
    SIM_WHOLE = 0,
    SIM_PIECES, /**< TLS: random pieces; DTLS: handshake messages in small fragments */
    SIM_BYTES,  /**< one byte at a time; a DTLS ClientHello must keep its front together */
};

/** When the key source answers a request. */
enum sim_schedule {
    SIM_NOW = 0, /**< inside the call */
    SIM_NEXT_TURN,
    SIM_LATE,       /**< milliseconds to seconds later */
    SIM_LAST_FIRST, /**< held until there are several, then the newest first */
    SIM_NEVER,
    SIM_AFTER_CLOSE, /**< the association is closed meanwhile */
    SIM_BY_HAND,     /**< the test calls sim_answer() */
};

/** How an association ends once everything was said. */
enum sim_ending {
    SIM_END_CLIENT = 0, /**< the client says close_notify */
    SIM_END_SERVER_NOTIFY,
    SIM_END_SERVER_SILENT,
    SIM_END_SERVER_WRITE,
    SIM_END_RESET, /**< TLS: the connection breaks */
    SIM_END_NONE,  /**< it stays until sim_close(), or falls idle */
};

/** The network between, for datagrams; the delay is for streams too. */
struct sim_network {
    uint32_t loss_ppm, duplicate_ppm, reorder_ppm;
    uint64_t delay_us_min, delay_us_max;
    uint64_t reorder_us; /**< how late a reordered datagram may be */
};

/** What one client is and does. Zero is a plain client that sends and receives nothing. */
struct sim_plan {
    uint32_t listener_index;
    uint64_t start_us;
    struct psk_client_config config; /**< identity, psk and work are filled in where empty */
    enum sim_chunks chunks;
    struct hf_path path; /**< port 0: one is made up */

    enum sim_schedule key_schedule, identity_schedule;
    enum hf_answer_kind key_kind;      /**< PSK, PREMASTER, MASTER_SECRET, REFUSED, UNAVAILABLE */
    enum hf_answer_kind identity_kind; /**< IDENTITY, REFUSED, UNAVAILABLE; PSK means IDENTITY */
    bool identity_follows;
    bool is_key_wrong;
    bool is_certificate; /**< no pre-shared key: sim_plan_use_certificate() */
    bool is_x509;
    uint32_t resumes;        /**< number, from 1, of an earlier client whose session is offered */
    bool is_session_refused; /**< the key source lets it not be resumed */
    size_t credential_index; /**< of credential_world(); WORLD_CLIENTS: none */
    bool is_answered_twice;  /**< every answer is given a second time */
    int64_t expires_s;

    uint32_t up_count, down_count; /**< application messages each way */
    uint32_t data_len_max;
    bool is_renegotiating; /**< asks for it once open */
    enum sim_ending ending;
};

/** One request of the engine and what became of it. */
struct sim_request {
    struct hf_ticket ticket;
    enum hf_request_kind kind;
    enum sim_request_state { SIM_ASKED = 1, SIM_ANSWERED, SIM_CANCELLED } state;
    uint64_t asked_us, deadline_us, ended_us;
    bool is_held;
    uint8_t client_random[HF_RANDOM_LEN], server_random[HF_RANDOM_LEN];
    uint8_t session_hash[HF_SHA256_LEN];
    bool has_session_hash;
};

/** Bytes of one direction of a stream. */
struct sim_bytes {
    uint8_t *data;
    size_t len, max;
};

/** One client and all that is known of its association. Read what you like. */
struct sim_client {
    struct sim *sim;
    uint32_t index;
    struct sim_plan plan;
    struct psk_client peer;
    struct psk_client_work *work;
    struct psk_client_session session; /**< the one that is offered, if `config.session` is set */
    char identity[32];
    char entity_id[48];
    char credential_id[80];
    uint8_t psk[HF_PSK_MAX];
    struct hf_path path;
    hf_association_id id; /**< the newest known, 0 none */
    uint64_t context;
    struct sim_request requests[SIM_REQUESTS_MAX];
    uint32_t request_count;

    bool is_started, is_gone; /**< gone: its address answers no more */
    bool is_established, is_ended, is_peer_closed, is_agreed;
    bool is_ending; /**< the end was asked for */
    bool is_reset;  /**< TLS: no more bytes either way */
    bool is_renegotiated;
    uint64_t begun_us, established_us, open_us, ended_us;
    enum hf_event_kind end_kind;
    struct hf_failure failure;
    struct hf_association_info info; /**< as it was when established */
    bool has_keylog;
    uint8_t master_secret[HF_MASTER_SECRET_LEN];
    uint32_t readable_count;
    uint64_t heard_us; /**< when the engine last got something from it */

    /* TLS: what the engine would not take yet. */
    struct sim_bytes held;
    bool is_held_for_room; /**< events or output were full: try again next turn */
    uint64_t stream_us[2]; /**< when the last bytes up and down are due */
    bool is_pipe_closed;

    /* Application data. */
    uint32_t up_sent, down_sent;
    bool is_up_due, is_down_due;
    struct sim_bytes up, up_got;     /**< TLS */
    struct sim_bytes down, down_got; /**< TLS */
    int up_message;                  /**< DTLS: which one is being sent, -1: none */
    uint32_t up_arrived[SIM_MESSAGES_MAX], up_delivered[SIM_MESSAGES_MAX];
    uint32_t down_delivered[SIM_MESSAGES_MAX];
    uint64_t extra_up_len; /**< sent by hand with sim_send() */
};

/** Decides about a datagram or bytes on their way; true: lost. */
typedef bool sim_filter(struct sim_client *client, bool is_up, const uint8_t *data, size_t len,
                        void *arg);

struct sim_options {
    uint64_t seed;
    struct sim_network network;
    uint64_t grid_us;       /**< turns begin at multiples of this only; 0: at any time */
    bool is_wall_jumping;   /**< wall_s is another one at each turn */
    bool is_slow_to_drain;  /**< events and output are taken only every few turns */
    bool is_lossy;          /**< a handshake may fail for the network's sake */
    uint32_t job_delay_ppm; /**< how many crypto jobs come back turns later */
    bool may_fail;          /**< handshakes may end for reasons not in their plan */
    struct hf_config config;
    struct hf_listener listeners[2]; /**< 0: TLS, 1: DTLS */
    sim_filter *filter;
    void *filter_arg;
};

struct sim {
    struct sim_options options;
    struct hf_engine *engine;
    uint64_t now_us;
    uint64_t turn_count;
    uint64_t random[2];
    struct sim_item *items;
    size_t item_count, item_max;
    uint64_t item_serial;
    struct sim_client *clients[SIM_CLIENTS_MAX];
    uint32_t client_count;
    struct sim_association {
        hf_association_id id;
        uint32_t client_index;
        bool is_established, is_ended;
    } associations[SIM_ASSOCIATIONS_MAX];
    uint32_t association_count;
    uint8_t **lent; /**< input of this turn, freed when its events were taken */
    size_t lent_count, lent_max;
    bool is_blocked; /**< the engine had no room: nothing more in this turn */
    bool is_closing;
    uint64_t digest; /**< of all that happened, times included, the wall clock excluded */
};

/** sim_options_init: an orderly network of 10 to 20 ms, small pools, key log on. */
void sim_options_init(struct sim_options *options, uint64_t seed);

void sim_open(struct sim *sim, const struct sim_options *options);

/** sim_options_use_certificates gives both listeners the one authority there is. */
void sim_options_use_certificates(struct sim_options *options);

/** sim_plan_use_certificate has the client show a certificate or a raw public key instead of a
 *  pre-shared one. */
void sim_plan_use_certificate(struct sim_plan *plan, size_t credential_index, bool is_x509);

/** sim_close ends what is left, checks that nothing leaked, and frees all. */
void sim_close(struct sim *sim);

/** sim_add adds a client; it starts at plan->start_us. */
struct sim_client *sim_add(struct sim *sim, const struct sim_plan *plan);

/** sim_plan_init: a client with the mandatory suite that does no more than open. */
void sim_plan_init(struct sim_plan *plan, uint32_t listener_index);

/** sim_add_open adds a client, runs half a second and checks that both ends are open. */
struct sim_client *sim_add_open(struct sim *sim, const struct sim_plan *plan);

/** sim_run takes turns until the time is `until_us`, or nothing more can happen. */
void sim_run(struct sim *sim, uint64_t until_us);

/** sim_turn takes one turn at `now_us`. */
void sim_turn(struct sim *sim, uint64_t now_us);

/** sim_next_us tells when the next turn is due; UINT64_MAX: never. */
uint64_t sim_next_us(const struct sim *sim);

/** sim_is_open tells whether both ends are open. */
bool sim_is_open(const struct sim_client *client);

/** sim_send has the client send application bytes now; TLS, or DTLS without keeping account. */
void sim_send(struct sim_client *client, const void *data, size_t len);

/** sim_send_record has the client send any record now. */
void sim_send_record(struct sim_client *client, const struct psk_client_record *record);

/** sim_bytes_up puts stream bytes of a client on their way, whatever they are. */
void sim_bytes_up(struct sim_client *client, const void *data, size_t len);

/** sim_inject puts a datagram on the way to the engine, `delay_us` from now, past the network. */
void sim_inject(struct sim *sim, uint32_t listener_index, const struct hf_path *path,
                const uint8_t *data, size_t len, uint64_t delay_us);

/** sim_close_client ends or half-ends its association from the server's side. */
void sim_close_client(struct sim_client *client, enum hf_close how);

/** sim_reset breaks a TLS connection. */
void sim_reset(struct sim_client *client);

/** sim_answer answers a request as the plan says; returns what the engine said, after checking
 *  that it was the right thing to say. */
enum hf_status sim_answer(struct sim_client *client, struct sim_request *request);

/** sim_answer_later has it answered within a turn, `after_us` from now. */
void sim_answer_later(struct sim_client *client, uint32_t request_index, uint64_t after_us);

/** sim_bytes_add adds to a growing buffer; the caller frees `bytes->data`. */
void sim_bytes_add(struct sim_bytes *bytes, const void *data, size_t len);

struct hf_counters sim_counters(const struct sim *sim);

uint64_t sim_random(struct sim *sim);
uint64_t sim_below(struct sim *sim, uint64_t limit);
bool sim_chance(struct sim *sim, uint32_t ppm);

/** sim_plan_status tells how the plan's association must end its handshake: HF_OK, established. */
enum hf_status sim_plan_status(const struct sim_plan *plan, uint16_t suite);

/* ---- coverage and failure ------------------------------------------------------------------ */

/** sim_coverage_taken tells how often row `index` of the state machine was taken to its end. */
uint64_t sim_coverage_taken(size_t index);

/** sim_coverage_met tells how often an event met a state, row or no row. */
uint64_t sim_coverage_met(enum hf_state state, enum hf_machine_event_kind event);

/** sim_trace_print prints the rows last taken. */
void sim_trace_print(void);

void sim_fail(const struct sim *sim, const char *what, const char *file, int line);

#define SIM_CHECK(sim, condition)                                                                  \
    do {                                                                                           \
        if (!(condition))                                                                          \
            sim_fail((sim), #condition, __FILE__, __LINE__);                                       \
    } while (0)

#endif
