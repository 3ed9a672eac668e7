/**
 * maf_request.c - fuzz target: what clients may send to a MAF, from bytes to what is done. At once
 * and in pieces the same is read; what is written reads as what it was; a key's value leaves only
 * in an answer to one of its targets, and no client changes another's registration.
 */
#include "fuzz.h"
#include "operate.h"

#include <stdio.h>
#include <string.h>

#define PLACES 8
#define WALL_S 1790000000

/* A store in memory: the logic under test is what stands above it. */
struct hf_store {
    bool is_used[PLACES];
    struct hf_maf_resource of[PLACES];
};

static struct hf_store store;

static int find(enum hf_maf_kind kind, const char *resource_id)
{
    for (int i = 0; i < PLACES; i++)
        if (store.is_used[i] && store.of[i].kind == kind &&
            strcasecmp(store.of[i].resource_id, resource_id) == 0)
            return i;
    return -1;
}

enum hf_store_found hf_store_get(struct hf_maf_resource *out, struct hf_store *unused,
                                 enum hf_maf_kind kind, const char *resource_id, int64_t wall_s)
{
    (void)unused;
    int i = find(kind, resource_id);
    if (i < 0 || store.of[i].expires_s <= wall_s)
        return HF_STORE_ABSENT;
    *out = store.of[i];
    return HF_STORE_FOUND;
}

bool hf_store_put(struct hf_store *unused, const struct hf_maf_resource *resource)
{
    (void)unused;
    int i = find(resource->kind, resource->resource_id);
    for (int j = 0; i < 0 && j < PLACES; j++)
        if (!store.is_used[j])
            i = j;
    if (i < 0)
        return false;
    store.is_used[i] = true;
    store.of[i] = *resource;
    return true;
}

enum hf_store_found hf_store_remove(struct hf_store *unused, enum hf_maf_kind kind,
                                    const char *resource_id)
{
    (void)unused;
    int i = find(kind, resource_id);
    if (i >= 0)
        store.is_used[i] = false;
    return i >= 0 ? HF_STORE_FOUND : HF_STORE_ABSENT;
}

bool hf_store_owned(uint64_t *out, struct hf_store *unused, enum hf_maf_kind kind,
                    const char *client_id)
{
    (void)unused;
    *out = 0;
    for (int i = 0; i < PLACES; i++)
        *out += store.is_used[i] && store.of[i].kind == kind &&
                strcmp(store.of[i].client_id, client_id) == 0;
    return true;
}

/* ---- one request -------------------------------------------------------------------------- */

static const char *const clients[] = {"//m2msp.example/Sae1", "//m2msp.example/in-cse",
                                      "km-7@maf.example.com"};

static void check_round_trip(const struct hf_maf_resource *resource)
{
    static char text[HF_MAF_BODY_MAX];
    static struct hf_maf_resource back;
    const char *why = NULL;
    size_t len = hf_maf_resource_write(text, sizeof(text), resource);
    if (len == 0)
        return;
    struct hf_bytes json = {(const uint8_t *)text, len};
    FUZZ_CHECK(hf_maf_resource_read(&back, &why, resource->kind, json));
    FUZZ_CHECK(back.has == resource->has && back.key_len == resource->key_len);
    FUZZ_CHECK(memcmp(back.key, resource->key, resource->key_len) == 0);
    FUZZ_CHECK(hf_maf_list_equal(&back.labels, &resource->labels));
    FUZZ_CHECK(hf_maf_list_equal(&back.target_ids, &resource->target_ids));
    FUZZ_CHECK(strcmp(back.admin_fqdn, resource->admin_fqdn) == 0);
}

static void check_answer(const struct hf_operation *operation, const struct hf_store *before)
{
    const struct hf_maf_resource *answer = &operation->answer;
    struct hf_bytes self = hf_maf_text_view(operation->client_id);
    FUZZ_CHECK(operation->rsc != 0);
    if (operation->has_answer && (answer->has & HF_MAF_HAS(KEY_VALUE)) != 0)
        FUZZ_CHECK(operation->method == HF_MAF_RETRIEVE &&
                   hf_maf_list_has(&answer->target_ids, self));
    for (int i = 0; i < PLACES; i++)
        if (before->is_used[i] && strcmp(before->of[i].client_id, operation->client_id) != 0)
            FUZZ_CHECK(store.is_used[i] &&
                       memcmp(&before->of[i], &store.of[i], sizeof(store.of[i])) == 0);
}

static void operate(const struct hf_maf_message *message, uint8_t number)
{
    static struct hf_operation operation;
    static struct hf_store before;
    struct hf_operate_policy policy;
    const char *why = NULL;
    memset(&operation, 0, sizeof(operation));
    hf_operate_policy_init(&policy);
    operation.method = message->method;
    snprintf(operation.client_id, sizeof(operation.client_id), "%s", clients[number % 3]);
    memset(operation.fresh_id, number, sizeof(operation.fresh_id));
    if (message->target.len < 2 || message->target.len > sizeof(operation.target))
        return;
    memcpy(operation.target, message->target.data + 1, message->target.len - 1);
    enum hf_maf_kind kind = message->type == HF_MAF_TYPE_CLIENT_REGISTRATION
                                ? HF_MAF_CLIENT_REGISTRATION
                                : HF_MAF_KEY_REGISTRATION;
    operation.has_body = message->body.len > 0 &&
                         hf_maf_resource_read(&operation.resource, &why, kind, message->body);
    if (operation.has_body)
        check_round_trip(&operation.resource);
    before = store;
    hf_operate(&operation, &store, &policy, WALL_S);
    check_answer(&operation, &before);
}

/* What was read, as a number: the same at once and in pieces. */
static uint64_t run(struct hf_bytes bytes, uint8_t piece, uint8_t client)
{
    struct hf_maf_reader *reader = NULL;
    uint64_t sum = 1;
    enum hf_maf_read verdict = HF_MAF_READ_MORE;
    FUZZ_CHECK(hf_maf_reader_open(&reader, HF_MAF_SERVER) == HF_OK);
    memset(&store, 0, sizeof(store));
    for (size_t done = 0; done < bytes.len && verdict != HF_MAF_READ_BROKEN;) {
        size_t len = piece != 0 && bytes.len - done > piece ? piece : bytes.len - done;
        size_t consumed = 0;
        uint8_t *copy = fuzz_copy((struct hf_bytes){bytes.data + done, len});
        verdict = hf_maf_reader_take(reader, &consumed, (struct hf_bytes){copy, len});
        free(copy);
        FUZZ_CHECK(consumed <= len && (verdict != HF_MAF_READ_MORE || consumed == len));
        done += consumed;
        if (verdict == HF_MAF_READ_MESSAGE) {
            const struct hf_maf_message *message = hf_maf_reader_message(reader);
            fuzz_touch(message->body);
            fuzz_touch(message->origin);
            sum = sum * 31 + message->body.len * 7 + message->target.len + message->type;
            operate(message, client++);
        }
    }
    sum = sum * 2 + (verdict == HF_MAF_READ_BROKEN);
    hf_maf_reader_close(reader);
    return sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static bool is_ready;
    if (!is_ready)
        hf_maf_resource_init();
    is_ready = true;
    if (len < 2)
        return 0;
    struct hf_bytes bytes = {data + 2, len - 2};
    uint64_t whole = run(bytes, 0, data[1]);
    uint64_t pieces = run(bytes, (uint8_t)(data[0] | 1), data[1]);
    if (fuzz_is_canary() && whole > 40)
        pieces++;
    FUZZ_CHECK(whole == pieces);
    return 0;
}
