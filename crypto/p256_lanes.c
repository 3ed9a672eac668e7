/**
 * p256_lanes.c - the 8-lane back end: operations into lanes and out of them. Lanes without an
 * operation, and those whose input is bad, compute with something harmless, and are not looked at.
 */
#include "p256_lanes_field.h"
#include "p256_scalar.h"

#include <string.h>

/* What lanes without an operation work with: 1, and the generator. */
static const uint8_t lanes_one[HF_P256_SCALAR_LEN] = {[HF_P256_SCALAR_LEN - 1] = 1};
static const uint64_t lanes_one_limbs[HF__LIMBS] = {1};
static const uint8_t lanes_generator[HF_P256_POINT_LEN] = {
    0x04, 0x6b, 0x17, 0xd1, 0xf2, 0xe1, 0x2c, 0x42, 0x47, 0xf8, 0xbc, 0xe6, 0xe5,
    0x63, 0xa4, 0x40, 0xf2, 0x77, 0x03, 0x7d, 0x81, 0x2d, 0xeb, 0x33, 0xa0, 0xf4,
    0xa1, 0x39, 0x45, 0xd8, 0x98, 0xc2, 0x96, 0x4f, 0xe3, 0x42, 0xe2, 0xfe, 0x1a,
    0x7f, 0x9b, 0x8e, 0xe7, 0xeb, 0x4a, 0x7c, 0x0f, 0x9e, 0x16, 0x2b, 0xce, 0x33,
    0x57, 0x6b, 0x31, 0x5e, 0xce, 0xcb, 0xb6, 0x40, 0x68, 0x37, 0xbf, 0x51, 0xf5};

/* How many operations the next round takes, and their lanes. */
static size_t lanes_take(__mmask8 *mask, size_t left)
{
    size_t count = left < HF__LANES ? left : HF__LANES;

    *mask = (__mmask8)((1u << count) - 1);
    return count;
}

/* What the compiler has spilled: the stack below, and the registers. */
static __attribute__((noinline)) void lanes_wipe(void)
{
    uint8_t below[24576];

    hf_wipe(below, sizeof below);
    __asm__ volatile("vzeroall\n\t"
                     "vpxorq %%zmm16, %%zmm16, %%zmm16\n\tvpxorq %%zmm17, %%zmm17, %%zmm17\n\t"
                     "vpxorq %%zmm18, %%zmm18, %%zmm18\n\tvpxorq %%zmm19, %%zmm19, %%zmm19\n\t"
                     "vpxorq %%zmm20, %%zmm20, %%zmm20\n\tvpxorq %%zmm21, %%zmm21, %%zmm21\n\t"
                     "vpxorq %%zmm22, %%zmm22, %%zmm22\n\tvpxorq %%zmm23, %%zmm23, %%zmm23\n\t"
                     "vpxorq %%zmm24, %%zmm24, %%zmm24\n\tvpxorq %%zmm25, %%zmm25, %%zmm25\n\t"
                     "vpxorq %%zmm26, %%zmm26, %%zmm26\n\tvpxorq %%zmm27, %%zmm27, %%zmm27\n\t"
                     "vpxorq %%zmm28, %%zmm28, %%zmm28\n\tvpxorq %%zmm29, %%zmm29, %%zmm29\n\t"
                     "vpxorq %%zmm30, %%zmm30, %%zmm30\n\tvpxorq %%zmm31, %%zmm31, %%zmm31"
                     :
                     :
                     : "memory", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7",
                       "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15",
                       "xmm16", "xmm17", "xmm18", "xmm19", "xmm20", "xmm21", "xmm22", "xmm23",
                       "xmm24", "xmm25", "xmm26", "xmm27", "xmm28", "xmm29", "xmm30", "xmm31");
}

/* Reads points as they came. Out: Montgomery form; the lanes in which they are on the curve. Others
 * have the generator. */
static __mmask8 lanes_load_points(struct hf__affine *out, const uint8_t *const in[HF__LANES])
{
    const struct hf__number p = hf__number_of(hf__field_p);
    const uint8_t *coordinates[2][HF__LANES];
    const uint8_t *const generator[2] = {lanes_generator + 1, lanes_generator + 33};
    struct hf__number *const halves[2] = {&out->x, &out->y};
    __mmask8 good = 0;

    for (unsigned lane = 0; lane < HF__LANES; lane++) {
        good |= (__mmask8)((in[lane][0] == 0x04) << lane);
        coordinates[0][lane] = in[lane] + 1;
        coordinates[1][lane] = in[lane] + 33;
    }
    for (unsigned half = 0; half < 2; half++) {
        struct hf__number unused;

        hf__number_load(halves[half], coordinates[half]);
        good &= hf__number_subtract(&unused, halves[half], &p);
        hf__field_enter(halves[half], halves[half]);
    }
    good &= hf__point_is_on_curve(out);
    for (unsigned half = 0; half < 2; half++) {
        const uint8_t *const all[HF__LANES] = {generator[half], generator[half], generator[half],
                                               generator[half], generator[half], generator[half],
                                               generator[half], generator[half]};
        struct hf__number instead;

        if (good == 0xff)
            break;
        hf__number_load(&instead, all);
        hf__field_enter(&instead, &instead);
        *halves[half] = hf__select(good, *halves[half], instead);
    }
    return good;
}

static void lanes_generate(struct hf_p256_generate *operations, size_t count)
{
    for (size_t done = 0, taken; done < count; done += taken) {
        const uint8_t *scalars[HF__LANES];
        uint8_t *out[2][HF__LANES];
        struct hf__number scalar;
        struct hf__point point;
        struct hf__affine affine;
        __mmask8 mask;

        taken = lanes_take(&mask, count - done);
        for (size_t lane = 0; lane < HF__LANES; lane++) {
            struct hf_p256_generate *operation = &operations[done + lane];

            scalars[lane] = lanes_one;
            if (lane >= taken)
                continue;
            hf__p256_scalar_draw(operation->private_key);
            scalars[lane] = operation->private_key;
            operation->public_key[0] = 0x04;
            out[0][lane] = operation->public_key + 1;
            out[1][lane] = operation->public_key + 33;
            operation->status = HF_OK;
        }
        hf__number_load(&scalar, scalars);
        hf__base_multiply(&point, &scalar);
        hf__point_to_affine(&affine, &point);
        hf_ct_public(&affine, sizeof affine);
        hf__number_store(out[0], &affine.x, mask);
        hf__number_store(out[1], &affine.y, mask);
        hf_wipe(&scalar, sizeof scalar);
        hf_wipe(&point, sizeof point);
    }
    lanes_wipe();
}

static void lanes_agree(struct hf_p256_agree *operations, size_t count)
{
    for (size_t done = 0, taken; done < count; done += taken) {
        const uint8_t *scalars[HF__LANES];
        const uint8_t *peers[HF__LANES];
        uint8_t *out[HF__LANES];
        struct hf__number scalar;
        struct hf__affine peer;
        struct hf__point point;
        __mmask8 mask;
        __mmask8 good;

        taken = lanes_take(&mask, count - done);
        for (size_t lane = 0; lane < HF__LANES; lane++) {
            bool is_used = lane < taken;

            scalars[lane] = is_used ? operations[done + lane].private_key : lanes_one;
            peers[lane] = is_used ? operations[done + lane].peer : lanes_generator;
            out[lane] = is_used ? operations[done + lane].shared : NULL;
        }
        hf__number_load(&scalar, scalars);
        good = hf__order_is_valid(&scalar);
        hf_ct_public(&good, sizeof good);
        scalar = hf__select(good, scalar, hf__number_of(lanes_one_limbs));
        good &= lanes_load_points(&peer, peers);
        hf__ladder_multiply(&point, &scalar, &peer);
        hf__point_to_affine(&peer, &point);
        hf__number_store(out, &peer.x, mask & good);
        for (size_t lane = 0; lane < taken; lane++) {
            bool is_good = good >> lane & 1;

            operations[done + lane].status = is_good ? HF_OK : HF_E_ILLEGAL_PARAMETER;
            if (!is_good)
                memset(out[lane], 0, HF_P256_SCALAR_LEN);
        }
        hf_wipe(&scalar, sizeof scalar);
        hf_wipe(&point, sizeof point);
        hf_wipe(&peer, sizeof peer);
    }
    lanes_wipe();
}

/* r and s from nonces, keys and digests. Out: the lanes in which neither is 0. */
static __mmask8 lanes_sign_round(struct hf__number *r, struct hf__number *s,
                                 const uint8_t *const nonces[HF__LANES],
                                 const uint8_t *const keys[HF__LANES],
                                 const uint8_t *const digests[HF__LANES])
{
    struct hf__number nonce;
    struct hf__number key;
    struct hf__number digest;
    struct hf__point point;
    struct hf__affine affine;
    __mmask8 good;

    hf__number_load(&nonce, nonces);
    hf__number_load(&key, keys);
    hf__number_load(&digest, digests);
    hf__base_multiply(&point, &nonce);
    hf__point_to_affine(&affine, &point);
    hf__order_reduce(r, &affine.x);
    hf__order_reduce(&digest, &digest);
    hf__order_enter(&nonce, &nonce);
    hf__order_invert(&nonce, &nonce);
    hf__order_enter(&key, &key);
    hf__order_mul(&key, &key, r);
    key = hf__tight(hf__add(key, digest));
    hf__order_mul(s, &key, &nonce);
    hf__order_reduce(s, s);
    good = hf__order_is_valid(r) & hf__order_is_valid(s);
    hf_wipe(&nonce, sizeof nonce);
    hf_wipe(&key, sizeof key);
    hf_wipe(&point, sizeof point);
    hf_wipe(&affine, sizeof affine);
    return good;
}

/* Signs up to eight; tells which are done. All but certainly, these are all. */
static __mmask8 lanes_sign_some(struct hf_p256_sign *operations, __mmask8 mask)
{
    const uint8_t *keys[HF__LANES];
    const uint8_t *digests[HF__LANES];
    const uint8_t *pointers[HF__LANES];
    uint8_t *out[2][HF__LANES];
    uint8_t fresh[HF__LANES][32];
    uint8_t nonces[HF__LANES][HF_P256_SCALAR_LEN];
    struct hf__number r;
    struct hf__number s;

    hf__p256_fresh(fresh[0], sizeof fresh);
    for (size_t lane = 0; lane < HF__LANES; lane++) {
        struct hf_p256_sign *operation = &operations[lane];

        keys[lane] = digests[lane] = pointers[lane] = lanes_one;
        if ((mask >> lane & 1) == 0)
            continue;
        hf__p256_nonce(nonces[lane], operation->key->scalar, operation->digest, fresh[lane]);
        pointers[lane] = nonces[lane];
        keys[lane] = operation->key->scalar;
        digests[lane] = operation->digest;
        out[0][lane] = operation->signature;
        out[1][lane] = operation->signature + 32;
    }
    mask &= lanes_sign_round(&r, &s, pointers, keys, digests);
    hf_ct_public(&mask, sizeof mask);
    hf_ct_public(&r, sizeof r);
    hf_ct_public(&s, sizeof s);
    hf__number_store(out[0], &r, mask);
    hf__number_store(out[1], &s, mask);
    hf_wipe(fresh, sizeof fresh);
    hf_wipe(nonces, sizeof nonces);
    return mask;
}

static void lanes_sign(struct hf_p256_sign *operations, size_t count)
{
    for (size_t done = 0, taken; done < count; done += taken) {
        __mmask8 mask;

        taken = lanes_take(&mask, count - done);
        while (mask != 0)
            mask &= (__mmask8)~lanes_sign_some(operations + done, mask);
        for (size_t lane = 0; lane < taken; lane++)
            operations[done + lane].status = HF_OK;
    }
    lanes_wipe();
}

/* Where u1 G + u2 Q has an x that is r modulo n; no division: X = r Z^2, or (r + n) Z^2. */
static __mmask8 lanes_verify_equal(const struct hf__point *point, const struct hf__number *r)
{
    const struct hf__number n = hf__number_of(hf__order_n);
    const struct hf__number p = hf__number_of(hf__field_p);
    struct hf__number zz = hf__tight(hf__field_square(point->z));
    struct hf__number candidate = *r;
    struct hf__number scaled;
    struct hf__number unused;
    __mmask8 is_equal = 0;
    __mmask8 is_field = 0xff;

    for (int i = 0; i < 2; i++) {
        hf__field_enter(&scaled, &candidate);
        scaled = hf__sub(hf__field_mul(scaled, zz), point->x);
        scaled = hf__tight(hf__add_p(scaled, 2));
        is_equal |= is_field & hf__field_is_zero(&scaled);
        candidate = hf__tight(hf__add(candidate, n));
        is_field = hf__number_subtract(&unused, &candidate, &p);
    }
    return is_equal & (__mmask8)~hf__field_is_zero(&point->z);
}

/* u2 Q, by the tables where every lane has one. Out: the lanes whose key is a point. */
static __mmask8 lanes_verify_key(struct hf__point *out, const struct hf__number *u2,
                                 const struct hf_p256_verify *const operations[HF__LANES],
                                 bool is_prepared)
{
    const struct hf_p256_prepared *prepared[HF__LANES];
    const uint8_t *keys[HF__LANES];
    struct hf__affine key;
    __mmask8 is_key = 0xff;

    for (size_t lane = 0; lane < HF__LANES; lane++) {
        keys[lane] = operations[lane]->public_key;
        prepared[lane] = operations[lane]->prepared;
    }
    if (is_prepared) {
        hf__prepared_multiply(out, u2, prepared);
    } else {
        is_key = lanes_load_points(&key, keys);
        hf__ladder_multiply(out, u2, &key);
    }
    return is_key;
}

/* Verifies eight, of which the first `count` are wanted. */
static void lanes_verify_some(struct hf_p256_verify *const operations[HF__LANES], size_t count,
                              bool is_prepared)
{
    const uint8_t *digests[HF__LANES];
    const uint8_t *rs[HF__LANES];
    const uint8_t *ss[HF__LANES];
    struct hf__number r;
    struct hf__number s;
    struct hf__number u;
    struct hf__point base;
    struct hf__point point;
    __mmask8 is_right;
    __mmask8 is_key;

    for (size_t lane = 0; lane < HF__LANES; lane++) {
        digests[lane] = operations[lane]->digest;
        rs[lane] = operations[lane]->signature;
        ss[lane] = operations[lane]->signature + 32;
    }
    hf__number_load(&r, rs);
    hf__number_load(&s, ss);
    hf__number_load(&u, digests);
    is_right = hf__order_is_valid(&r) & hf__order_is_valid(&s);
    r = hf__select(is_right, r, hf__number_of(lanes_one_limbs));
    s = hf__select(is_right, s, hf__number_of(lanes_one_limbs));
    hf__order_reduce(&u, &u);
    hf__order_enter(&s, &s);
    hf__order_invert(&s, &s);
    hf__order_mul(&u, &u, &s);
    hf__order_reduce(&u, &u);
    hf__base_multiply(&base, &u);
    hf__order_mul(&u, &r, &s);
    hf__order_reduce(&u, &u);
    is_key =
        lanes_verify_key(&point, &u, (const struct hf_p256_verify *const *)operations, is_prepared);
    hf__point_add(&point, &point, &base);
    is_right &= is_key & lanes_verify_equal(&point, &r);
    for (size_t lane = 0; lane < count; lane++)
        operations[lane]->status = is_right >> lane & 1 ? HF_OK
                                   : is_key >> lane & 1 ? HF_E_BAD_SIGNATURE
                                                        : HF_E_ILLEGAL_PARAMETER;
}

/* What is left to do of one sort: with a prepared key, or without. */
struct lanes_queue {
    struct hf_p256_verify *next;
    struct hf_p256_verify *end;
    bool is_prepared;
};

/* Fills a batch from the queue. */
static size_t lanes_queue_take(struct hf_p256_verify *batch[HF__LANES], size_t count,
                               struct lanes_queue *queue)
{
    for (; queue->next < queue->end && count < HF__LANES; queue->next++) {
        if ((queue->next->prepared != NULL) == queue->is_prepared)
            batch[count++] = queue->next;
    }
    return count;
}

/* Prepared keys have rounds of their own, but first fill the last round of the others. */
static void lanes_verify(struct hf_p256_verify *operations, size_t count)
{
    struct lanes_queue unprepared = {operations, operations + count, false};
    struct lanes_queue prepared = {operations, operations + count, true};
    struct hf_p256_verify *batch[HF__LANES];
    size_t taken;

    do {
        bool is_prepared = false;

        taken = lanes_queue_take(batch, 0, &unprepared);
        is_prepared = taken == 0;
        taken = lanes_queue_take(batch, taken, &prepared);
        for (size_t i = taken; i < HF__LANES && taken > 0; i++)
            batch[i] = batch[0];
        if (taken > 0)
            lanes_verify_some(batch, taken, is_prepared);
    } while (taken > 0);
}

struct hf_p256_prepared *hf__lanes_prepare(const uint8_t public_key[HF_P256_POINT_LEN])
{
    const uint8_t *const keys[HF__LANES] = {public_key, public_key, public_key, public_key,
                                            public_key, public_key, public_key, public_key};
    struct hf__affine key;

    return lanes_load_points(&key, keys) == 0xff ? hf__prepared_open(&key) : NULL;
}

const struct hf_p256_backend hf__lanes_backend = {
    .name = "lanes",
    .lanes = HF__LANES,
    .generate = lanes_generate,
    .agree = lanes_agree,
    .sign = lanes_sign,
    .verify = lanes_verify,
};
