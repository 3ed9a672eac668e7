/**
 * cookie.c - fuzz target: the front of a ClientHello and the cookie over it. A cookie made is
 * accepted for two periods at its path; for another hello, path or time it is not.
 */
#include "cookie.h"

#include "path.h"
#include "world.h"

static struct hf_path_key key_of(const struct fuzz_world *world, uint8_t index)
{
    struct hf_path path = fuzz_world_path(index);
    struct hf_path_key key;
    FUZZ_CHECK(hf_path_key(&key, world->engine, &path));
    return key;
}

/* The same front with one byte changed, somewhere. */
static void check_changed(const struct fuzz_world *world, const struct hf_path_key *path,
                          const struct hf_hello_front *front, uint8_t where)
{
    uint8_t random[HF_RANDOM_LEN], session_id[32];
    struct hf_hello_front changed = *front;
    memcpy(random, front->random.data, HF_RANDOM_LEN);
    random[where % HF_RANDOM_LEN] ^= (uint8_t)(1u << (where >> 5));
    changed.random.data = random;
    FUZZ_CHECK(!hf_cookie_check(world->engine, path, &changed));
    changed = *front;
    changed.version ^= (uint16_t)(1u << (where & 15));
    FUZZ_CHECK(!hf_cookie_check(world->engine, path, &changed));
    changed = *front;
    if (front->session_id.len > 0) {
        memcpy(session_id, front->session_id.data, front->session_id.len);
        session_id[where % front->session_id.len] ^= 0x80;
        changed.session_id.data = session_id;
        FUZZ_CHECK(hf_cookie_check(world->engine, path, &changed)); /* it is not covered */
        changed.session_id.len--;
        FUZZ_CHECK(hf_cookie_check(world->engine, path, &changed));
    }
}

/* By both clocks: of a secret that is shared, periods are those of the wall clock. */
static void let_period_pass(struct fuzz_world *world)
{
    world->wall_s += (int64_t)(world->config.cookie_us_max / 1000000);
    fuzz_world_turn(world, world->config.cookie_us_max);
}

static void check_made(struct fuzz_world *world, const struct hf_hello_front *sent, uint8_t where)
{
    uint8_t cookie[HF_COOKIE_LEN], other[HF_COOKIE_LEN];
    struct hf_path_key path = key_of(world, where & 3);
    struct hf_path_key elsewhere = key_of(world, (uint8_t)((where & 3) ^ 1));
    struct hf_hello_front front = *sent;
    hf_cookie_make(cookie, world->engine, &path, &front);
    front.cookie = (struct hf_bytes){cookie, sizeof cookie};
    if (fuzz_is_canary())
        cookie[3] ^= 1;
    FUZZ_CHECK(hf_cookie_check(world->engine, &path, &front));
    FUZZ_CHECK(!hf_cookie_check(world->engine, &elsewhere, &front));
    check_changed(world, &path, &front, where);
    memcpy(other, cookie, sizeof cookie);
    other[where % HF_COOKIE_LEN] ^= 4;
    front.cookie.data = other;
    FUZZ_CHECK(!hf_cookie_check(world->engine, &path, &front));
    front.cookie = (struct hf_bytes){cookie, sizeof cookie - 1};
    FUZZ_CHECK(!hf_cookie_check(world->engine, &path, &front));
    front.cookie.len++;
    let_period_pass(world);
    FUZZ_CHECK(hf_cookie_check(world->engine, &path, &front));
    let_period_pass(world);
    FUZZ_CHECK(!hf_cookie_check(world->engine, &path, &front));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static struct fuzz_world world;
    struct fuzz_input none = {NULL, 0};
    struct hf_hello_front front;
    if (len < 1)
        return 0;
    uint8_t *copy = fuzz_copy((struct hf_bytes){data + 1, len - 1});
    struct hf_bytes body = {copy, len - 1};
    enum hf_status status = hf_cookie_front(&front, body);
    FUZZ_CHECK(status == HF_OK || status == HF_E_DECODE);
    if (status == HF_OK) {
        FUZZ_CHECK(fuzz_is_inside(front.random, body) && front.random.len == HF_RANDOM_LEN);
        FUZZ_CHECK(fuzz_is_inside(front.session_id, body) && front.session_id.len <= 32);
        FUZZ_CHECK(fuzz_is_inside(front.cookie, body));
        fuzz_world_config(&world, &none);
        fuzz_world_open(&world);
        struct hf_path_key path = key_of(&world, 0);
        uint8_t cookie[HF_COOKIE_LEN];
        hf_cookie_make(cookie, world.engine, &path, &front);
        bool is_right = front.cookie.len == HF_COOKIE_LEN &&
                        memcmp(front.cookie.data, cookie, HF_COOKIE_LEN) == 0;
        FUZZ_CHECK(hf_cookie_check(world.engine, &path, &front) == is_right || !is_right);
        check_made(&world, &front, data[0]);
        fuzz_world_close(&world);
    }
    free(copy);
    return 0;
}
