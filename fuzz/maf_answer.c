/**
 * maf_answer.c - fuzz target: what a MAF may send to a front end, HTTP and JSON. The same bytes go
 * in at once and in pieces; the replies must be the same, at most one a question, and no key that
 * an answer must not give.
 */
#include "fuzz.h"
#include "key_service.h"

#include <string.h>

#define QUESTIONS 4
#define WALL_S 1790000000

struct outcome {
    uint8_t outcome;
    uint8_t secret_len;
    uint8_t secret[HF_PSK_MAX];
    int64_t expires_s;
};

struct outcomes {
    uint32_t count;
    struct outcome of[QUESTIONS];
};

static struct hf_key_service *open_service(void)
{
    struct hf_key_service *service = NULL;
    struct hf_maf_pool_config maf;
    struct hf_key_service_config config;
    hf_maf_pool_config_init(&maf);
    maf.fqdn = hf_maf_text_view("maf.example.com");
    maf.address_count = 1;
    maf.addresses[0].port = 1;
    maf.connections_max = 1;
    hf_key_service_config_init(&config);
    config.mafs = &maf;
    config.maf_count = 1;
    config.keys_max = config.refusals_max = config.lookups_max = config.askers_max = 8;
    config.revoked_max = 1;
    FUZZ_CHECK(hf_key_service_open(&service, &config) == HF_OK);
    hf_key_service_begin(service, 1000000, WALL_S);
    return service;
}

/* Each question is asked, and sent on connection 0. */
static void ask_all(struct hf_key_service *service)
{
    static const char *const names[QUESTIONS] = {"b35ee1b3fda6fbe0ca3e84527d2706d8@maf.example.com",
                                                 "k1@maf.example.com", "k2@maf.example.com",
                                                 "k3@maf.example.com"};
    struct hf_maf_action action;
    uint32_t maf = 0;
    for (uint32_t i = 0; i < QUESTIONS; i++) {
        const struct hf_key_question question = {.ticket = {i, 1, 1},
                                                 .psk_identity = hf_maf_text_view(names[i])};
        FUZZ_CHECK(hf_key_service_ask(service, &question) == HF_KEY_ASKED);
    }
    FUZZ_CHECK(hf_key_service_take_action(service, &maf, &action));
    FUZZ_CHECK(action.kind == HF_MAF_ACTION_CONNECT && action.connection == 0);
    hf_key_service_opened(service, 0, 0);
    while (hf_key_service_take_action(service, &maf, &action))
        FUZZ_CHECK(action.kind == HF_MAF_ACTION_SEND);
}

static void collect(struct outcomes *out, struct hf_key_service *service)
{
    struct hf_key_reply reply;
    while (hf_key_service_take_reply(service, &reply)) {
        FUZZ_CHECK(reply.ticket.slot < QUESTIONS && out->count < QUESTIONS);
        out->count++;
        struct outcome *outcome = &out->of[reply.ticket.slot];
        FUZZ_CHECK(outcome->outcome == 0 && outcome->secret_len == 0);
        /* Of a line that is too long and wrong as well, either may be found first. */
        bool is_long = reply.outcome == HF_MAF_OUTCOME_TOO_LONG;
        outcome->outcome = (uint8_t)((is_long ? HF_MAF_OUTCOME_MALFORMED : reply.outcome) + 1);
        if (reply.outcome != HF_MAF_OUTCOME_KEY)
            continue;
        FUZZ_CHECK(reply.answer.secret.len == HF_MAF_KEY_LEN);
        FUZZ_CHECK(reply.answer.expires_s > WALL_S && reply.answer.expires_s <= UINT32_MAX);
        FUZZ_CHECK(reply.answer.suid == HF_MAF_SUID_SAEF);
        FUZZ_CHECK(reply.answer.entity_id.len > 0 || reply.answer.credential_id.len > 3);
        fuzz_touch(reply.answer.entity_id);
        fuzz_touch(reply.answer.credential_id);
        outcome->expires_s = reply.answer.expires_s;
        outcome->secret_len = (uint8_t)reply.answer.secret.len;
        memcpy(outcome->secret, reply.answer.secret.data, reply.answer.secret.len);
    }
}

static void run(struct outcomes *out, struct hf_bytes bytes, uint8_t piece)
{
    struct hf_key_service *service = open_service();
    memset(out, 0, sizeof(*out));
    ask_all(service);
    for (size_t done = 0; done < bytes.len;) {
        size_t len = piece != 0 && bytes.len - done > piece ? piece : bytes.len - done;
        uint8_t *copy = fuzz_copy((struct hf_bytes){bytes.data + done, len});
        hf_key_service_received(service, 0, 0, (struct hf_bytes){copy, len});
        free(copy);
        done += len;
        collect(out, service);
    }
    hf_key_service_begin(service, 60000000, WALL_S); /* the rest is too late */
    collect(out, service);
    FUZZ_CHECK(out->count == QUESTIONS);
    hf_key_service_close(service);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static bool is_ready;
    struct outcomes whole;
    struct outcomes pieces;
    if (!is_ready)
        hf_maf_resource_init();
    is_ready = true;
    if (len < 1)
        return 0;
    struct hf_bytes bytes = {data + 1, len - 1};
    run(&whole, bytes, 0);
    run(&pieces, bytes, (uint8_t)(data[0] | 1));
    if (fuzz_is_canary() && pieces.of[0].secret_len > 0)
        pieces.of[0].secret[0] ^= 1;
    FUZZ_CHECK(memcmp(&whole, &pieces, sizeof(whole)) == 0);
    return 0;
}
