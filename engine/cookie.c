/**
 * cookie.c - see cookie.h.
 */
#include "cookie.h"

enum hf_status hf_cookie_front(struct hf_hello_front *out, struct hf_bytes body)
{
    struct hf_reader reader = hf_reader_of(body);
    struct hf_hello_front front = {
        .version = hf_reader_u16(&reader),
        .random = hf_reader_take(&reader, HF_RANDOM_LEN),
        .session_id = hf_reader_vector(&reader, 1),
        .cookie = hf_reader_vector(&reader, 1),
    };
    if (reader.is_failed || front.session_id.len > 32)
        return HF_E_DECODE;
    *out = front;
    return HF_OK;
}

static void cookie_for(uint8_t out[HF_COOKIE_LEN], const struct hf_secret_keys *keys,
                       uint64_t period, const struct hf_path_key *path,
                       const struct hf_hello_front *front)
{
    uint8_t mac[HF_SHA256_LEN];
    const uint8_t version[2] = {(uint8_t)(front->version >> 8), (uint8_t)front->version};
    const struct hf_bytes parts[] = {
        {(const uint8_t *)&period, sizeof period},
        {(const uint8_t *)path, offsetof(struct hf_path_key, local_index)}, /* the peer's part */
        {version, sizeof version},
        front->random,
    };
    hf_hmac(mac, &keys->cookie_key, parts, sizeof parts / sizeof parts[0]);
    out[0] = (uint8_t)period;
    memcpy(out + 1, mac, HF_COOKIE_LEN - 1);
}

static uint64_t period_now(const struct hf_engine *engine)
{
    /* Nodes that share a secret share no monotonic clock. */
    uint64_t now_us =
        engine->secrets.is_shared ? (uint64_t)engine->wall_s * 1000000 : engine->now_us;
    return now_us / engine->config.cookie_us_max;
}

void hf_cookie_make(uint8_t out[HF_COOKIE_LEN], const struct hf_engine *engine,
                    const struct hf_path_key *path, const struct hf_hello_front *front)
{
    uint32_t active = hf_secrets_active(&engine->secrets, engine->wall_s);
    cookie_for(out, &engine->secrets.entries[active], period_now(engine), path, front);
}

bool hf_cookie_check(const struct hf_engine *engine, const struct hf_path_key *path,
                     const struct hf_hello_front *front)
{
    if (front->cookie.len != HF_COOKIE_LEN)
        return false;
    uint64_t period = period_now(engine);
    if (front->cookie.data[0] != (uint8_t)period)
        period--; /* wraps to a period that never was, at worst */
    /* The secret of now; the one before it; the one to come: another node's clock may be ahead. */
    uint32_t active = hf_secrets_active(&engine->secrets, engine->wall_s);
    const uint32_t candidates[] = {active, active + 1, active - 1};
    bool is_ours = false;
    for (size_t i = 0; i < sizeof candidates / sizeof candidates[0] && !is_ours; i++) {
        uint8_t expected[HF_COOKIE_LEN];
        if (candidates[i] >= engine->secrets.count)
            continue;
        cookie_for(expected, &engine->secrets.entries[candidates[i]], period, path, front);
        is_ours = hf_ct_equal(expected, front->cookie.data, HF_COOKIE_LEN);
    }
    return is_ours;
}
