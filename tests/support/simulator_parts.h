/**
 * simulator_parts.h - what the files of the simulator share. For simulator*.c only.
 */
#ifndef HF_TEST_SIMULATOR_PARTS_H
#define HF_TEST_SIMULATOR_PARTS_H

#include "simulator.h"

enum sim_item_kind {
    SIM_ITEM_START,
    SIM_ITEM_UP,     /**< bytes for the engine */
    SIM_ITEM_UP_END, /**< TLS: the client's end of the stream */
    SIM_ITEM_DOWN,   /**< bytes for the client */
    SIM_ITEM_INJECT,
    SIM_ITEM_ANSWER,      /**< aux: request */
    SIM_ITEM_ANSWER_HELD, /**< last come, first answered */
    SIM_ITEM_JOB,
    SIM_ITEM_CLOSE, /**< aux: enum hf_close */
    SIM_ITEM_SEND_UP,
    SIM_ITEM_SEND_DOWN,
    SIM_ITEM_RENEGOTIATE,
    SIM_ITEM_END,
};

struct sim_item {
    uint64_t at_us, order;
    enum sim_item_kind kind;
    uint32_t client_index;
    uint32_t aux;
    int message; /**< DTLS application message, -1: none */
    uint8_t *data;
    size_t len;
    struct hf_path path; /**< INJECT */
    struct hf_job *job;  /**< JOB */
};

/* simulator.c */
void sim_push(struct sim *sim, const struct sim_item *item);
/* sim_lend frees `data` once the turn's events have been taken. */
void sim_lend(struct sim *sim, uint8_t *data);
void sim_digest(struct sim *sim, uint64_t what, uint64_t which);
uint8_t *sim_copy(const void *data, size_t len);
struct sim_association *sim_association_of(struct sim *sim, hf_association_id id);
struct sim_association *sim_association_add(struct sim *sim, hf_association_id id,
                                            uint32_t client_index);

/* simulator_net.c */
void sim_net_send(struct sim_client *client, bool is_up, const uint8_t *data, size_t len);
void sim_net_up(struct sim *sim, struct sim_item *item);
void sim_net_inject(struct sim *sim, struct sim_item *item);
void sim_net_down(struct sim_client *client, struct sim_item *item);
void sim_net_held(struct sim_client *client);
void sim_net_up_end(struct sim_client *client);
void sim_net_take_output(struct sim *sim);
void sim_client_emit(const uint8_t *data, size_t len, void *arg);

/* simulator_keys.c */
void sim_keys_request(struct hf_engine *engine, const struct hf_request *request, void *arg);
void sim_keys_cancel(struct hf_ticket ticket, void *arg);
void sim_keys_answer_held(struct sim *sim);
void sim_keys_check_over(const struct sim_client *client);

/* simulator_jobs.c */
void sim_jobs_run(struct sim *sim);

/* simulator_life.c */
void sim_life_start(struct sim_client *client);
void sim_life_go_on(struct sim_client *client);
void sim_life_send_up(struct sim_client *client);
void sim_life_send_down(struct sim_client *client);
void sim_life_renegotiate(struct sim_client *client);
void sim_life_end(struct sim_client *client);
void sim_life_take_data(struct sim_client *client, const uint8_t *data, size_t len);

/* simulator_check.c */
void sim_check_events(struct sim *sim);
void sim_check_over(struct sim *sim);
/* sim_message_fill writes application message `number` of a direction. */
void sim_message_fill(uint8_t *out, size_t len, const struct sim_client *client, bool is_up,
                      uint32_t number);

/* simulator_trace.c */
/* sim_trace_begin seeds hf_random() and forgets the trace; sim_trace_end gives randomness back. */
void sim_trace_begin(uint64_t seed);
void sim_trace_end(void);
void sim_trace_time(uint64_t now_us);

#endif
