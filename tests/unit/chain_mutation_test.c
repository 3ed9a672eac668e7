/**
 * chain_mutation_test.c - random changes to chains, signed anew, put to the walk and to
 * X509_verify_cert: what we take, it takes, but for the two listed cases.
 *
 *     chain_mutation_test [COUNT [SEED [FIRST]]]    COUNT chains, 4,000 by default, from number
 * FIRST
 *
 * Only what we accept has to be shown to the other; of what we refuse a sample is, to see that the
 * changes are not all nonsense. A change that keeps the certificate well-formed leads further than
 * a flipped bit, so there are both: of bits, bytes, whole elements, and of the words of a world.
 */
#include "chain_world.h"

#include <handfast/handfast.h>

#include <openssl/x509.h>

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#define COUNT_DEFAULT 4000
#define ELEMENTS_MAX 512
#define SAMPLE 16 /* of those refused, one in so many goes to the other as well */

static uint64_t count_wanted = COUNT_DEFAULT, seed, first;
static uint64_t random_state;

static uint32_t draw(uint32_t below)
{
    random_state += 0x9e3779b97f4a7c15u; /* splitmix64 */
    uint64_t z = random_state;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return (uint32_t)((z ^ z >> 31) >> 32) % below;
}

/* ---- elements of a TBSCertificate ----------------------------------------------------------- */

struct element {
    size_t offset, header_len, len; /* len: of header and contents */
};

struct elements {
    size_t count;
    struct element list[ELEMENTS_MAX];
};

/* Notes every element within, and within OCTET and BIT STRINGs that look like DER. */
static void find_elements(struct elements *out, const uint8_t *base, size_t offset, size_t len)
{
    CBS in;
    CBS_init(&in, base + offset, len);
    while (CBS_len(&in) > 0 && out->count < ELEMENTS_MAX) {
        CBS element;
        unsigned tag;
        size_t header_len;
        size_t at = (size_t)(CBS_data(&in) - base);
        if (!CBS_get_any_asn1_element(&in, &element, &tag, &header_len))
            return;
        out->list[out->count++] = (struct element){at, header_len, CBS_len(&element)};
        bool is_nest = (tag & CBS_ASN1_CONSTRUCTED) || tag == CBS_ASN1_OCTETSTRING;
        if (is_nest)
            find_elements(out, base, at + header_len, CBS_len(&element) - header_len);
    }
}

/* ---- changes -------------------------------------------------------------------------------- */

/** A TBSCertificate under change. */
struct draft {
    uint8_t der[CHAIN_DER_MAX];
    size_t len;
};

static bool replace(struct draft *draft, size_t offset, size_t old_len, const uint8_t *data,
                    size_t len)
{
    if (draft->len - old_len + len > sizeof draft->der - 1024)
        return false;
    memmove(draft->der + offset + len, draft->der + offset + old_len,
            draft->len - offset - old_len);
    memcpy(draft->der + offset, data, len);
    draft->len = draft->len - old_len + len;
    return true;
}

static size_t write_header(uint8_t out[4], uint8_t tag, size_t len)
{
    out[0] = tag;
    if (len < 0x80) {
        out[1] = (uint8_t)len;
        return 2;
    }
    if (len < 0x100) {
        out[1] = 0x81;
        out[2] = (uint8_t)len;
        return 3;
    }
    out[1] = 0x82;
    out[2] = (uint8_t)(len >> 8);
    out[3] = (uint8_t)len;
    return 4;
}

/* Makes the lengths of all elements around `offset` fit again after `grown` bytes came in there.
 * `before` are the elements as they were. Innermost last in the list, so from behind. */
static void mend(struct draft *draft, const struct elements *before, size_t offset, size_t end,
                 long grown)
{
    for (size_t i = before->count; i-- > 0;) {
        struct element element = before->list[i];
        bool is_around = element.offset < offset && element.offset + element.len >= end &&
                         element.offset + element.header_len <= offset;
        if (!is_around)
            continue;
        uint8_t header[4];
        long len = (long)(element.len - element.header_len) + grown;
        if (len < 0 || len > 0xffff)
            return;
        size_t header_len = write_header(header, draft->der[element.offset], (size_t)len);
        if (!replace(draft, element.offset, element.header_len, header, header_len))
            return;
        grown += (long)header_len - (long)element.header_len;
    }
}

/* One change within the elements; lengths stay right, three times of four. */
static void change_element(struct draft *draft)
{
    static struct elements elements;
    uint8_t copy[2048];
    elements.count = 0;
    find_elements(&elements, draft->der, 0, draft->len);
    if (elements.count < 2)
        return;
    struct element at = elements.list[1 + draw((uint32_t)elements.count - 1)];
    struct element from = elements.list[1 + draw((uint32_t)elements.count - 1)];
    size_t old_len = at.len, new_len = 0, offset = at.offset;
    if (from.len > sizeof copy)
        return;
    memcpy(copy, draft->der + from.offset, from.len);
    switch (draw(4)) {
    case 0: /* gone */
        break;
    case 1: /* twice, or another one in front */
        old_len = 0;
        new_len = from.len;
        break;
    case 2: /* another in its place */
        new_len = from.len;
        break;
    default: /* its contents cut short */
        offset = at.offset + at.header_len;
        old_len = at.len - at.header_len;
        new_len = old_len ? draw((uint32_t)old_len) : 0;
        if (new_len > sizeof copy)
            return;
        memcpy(copy, draft->der + offset, new_len);
    }
    if (replace(draft, offset, old_len, copy, new_len) && draw(4) != 0)
        mend(draft, &elements, offset, offset + old_len, (long)new_len - (long)old_len);
}

static void change_bytes(struct draft *draft)
{
    static const uint8_t favourites[] = {0x00, 0x01, 0x7f, 0x80, 0x81, 0xff, 0x05, 0x0c,
                                         0x13, 0x16, 0x30, 0x31, 0x2a, 0x2e, 0x3a, 0x2f};
    uint8_t *byte = &draft->der[draw((uint32_t)draft->len)];
    switch (draw(4)) {
    case 0:
        *byte ^= (uint8_t)(1u << draw(8));
        break;
    case 1:
        *byte = favourites[draw(sizeof favourites)];
        break;
    case 2:
        *byte = (uint8_t)(*byte + draw(3) - 1);
        break;
    default:
        *byte = (uint8_t)draw(256);
    }
}

/* The TBSCertificate of a certificate. */
static void take_tbs(struct draft *draft, const uint8_t *der, size_t len)
{
    CBS in, certificate, tbs;
    CBS_init(&in, der, len);
    if (!CBS_get_asn1(&in, &certificate, CBS_ASN1_SEQUENCE) ||
        !CBS_get_asn1_element(&certificate, &tbs, CBS_ASN1_SEQUENCE))
        abort();
    draft->len = CBS_len(&tbs);
    memcpy(draft->der, CBS_data(&tbs), draft->len);
}

/* ---- worlds --------------------------------------------------------------------------------- */

static const char *const lines[] = {
    "",
    "trust.flavours=cse+ae+device+node leaf.eku=client+server ca.nc=+DNS:sp.example,-DNS:x.example",
    "ca2.by=ca leaf.by=ca2 send=leaf,ca2,ca ca.path=1 ca2.path=0 root.nc=+DNS:sp.example "
    "trust.flavours=cse+ae+node",
    "leaf.by=root send=leaf,root trust.flavours=cse+ae+node+device",
    "trust.flavours=ae leaf.san=URI:m2m://sp.example/S1 "
    "ca.nc=+URI:sp.example,+DIR:O=sp.example,-DIR:CN=bad leaf.subject=O=sp.example,UID=a",
    "trust.flavours=ae leaf.san=URI://sp.example/S1 ca.nc=+URI:.example,-URI:x.example",
    "trust.flavours=device leaf.san=DEV:0.2.481.1/100.3030.10011 ca.nc=+DEV:0.2.481.1/100",
    "trust.flavours=device+node leaf.san=HWM:1.3.6.1.4.1.99.1/0a0b,MAIL:a@b.example,IP:c0000201 "
    "ca.nc=+HWM:1.3.6.1.4.1.99/,-DNS:sp.example",
    "trust.flavours=node leaf.san=RID:2.25.77,URI:urn:x:1 leaf.akid=serial:1001 leaf.eku=client "
    "leaf.extra=2.5.29.31:300f300da00ba0098607783a2f2f612f62,"
    "2.5.29.32!:300a3008060667810c010201,1.3.6.1.4.1.99999.1:0500",
    "crl.of=ca crl.revokes=11 crl.of=root trust.expired=refuse trust.crl=required",
    "peer.is=server trust.flavours=fqdn leaf.eku=server leaf.akid=issuer:DIR:O=sp.example;CN=root",
};

/* Words that make new worlds, several at a time. */
static const char *const words[] = {
    "leaf.by=root send=leaf",
    "leaf.by=root send=leaf,root",
    "send=leaf,ca,root",
    "ca2.by=ca leaf.by=ca2 send=leaf,ca2,ca",
    "ca2.by=root leaf.by=ca2 send=leaf,ca2,ca",
    "ca2.subject=O=sp.example,CN=ca ca2.by=root leaf.by=ca2 send=leaf,ca2",
    "ca2.subject=O=sp.example,CN=root ca2.by=ca leaf.by=ca2 send=leaf,ca2,ca",
    "ca2.by=ca2 anchors=root,ca2 leaf.by=ca2 send=leaf",
    "ca.subject=O#SP.Example,CN#__CA_ leaf.issuer=O=sp.example,CN=ca",
    "ca.issuer=O#SP.Example,CN#ROOT",
    "leaf.akid=none",
    "leaf.akid=none ca.id=none",
    "leaf.akid=serial:1001",
    "leaf.akid=issuer:DIR:O=sp.example;CN=root",
    "leaf.akid=issuer:DIR:O=sp.example;CN=ca",
    "ca.akid=none root.id=none",
    "root.path=0",
    "root.path=1",
    "ca.path=0",
    "ca.path=1 ca2.path=0",
    "ca.ku=none",
    "ca.ku=kcs",
    "ca.ku=crl",
    "root.ku=kcs",
    "ca.ca=no",
    "leaf.ca=no",
    "leaf.ku=ds+ka",
    "leaf.ku=ka",
    "leaf.eku=client",
    "leaf.eku=server",
    "leaf.eku=client+server+any",
    "ca.eku=client+server",
    "ca.eku=any",
    "root.eku=client",
    "peer.is=server",
    "leaf.to=0",
    "ca.to=0",
    "root.to=1 now=1",
    "leaf.from=0 ca.from=0",
    "now=-100",
    "now=100",
    "leaf.to=40000 ca.to=40000",
    "trust.flavours=cse+ae+node+device",
    "trust.flavours=ae leaf.san=URI:m2m://sp.example/S1",
    "trust.flavours=ae leaf.san=URI://sp.example/S1",
    "trust.flavours=ae leaf.san=URI:m2m://sp.example:1/S1",
    "trust.flavours=node leaf.san=URI:urn:x:y,DNS:sp.example",
    "trust.flavours=node leaf.san=RID:2.25.77,DNS:mn.sp.example,MAIL:a@sp.example",
    "trust.flavours=device leaf.san=DEV:0.2.481.1/100.3030,URI:x://sp.example/",
    "trust.flavours=device leaf.san=HWM:1.3.6.1.4.1.99.1/0a0b,DIR:O=sp.example",
    "trust.flavours=device leaf.san=UTF:1.2.3/4.5",
    "leaf.san=DNS:mn.sp.example,IP:c0000201,URI:x:y",
    "leaf.san=DNS:mn.sp.example.",
    "leaf.san=DNS:*.sp.example",
    "leaf.subject=_",
    "leaf.subject=E=a@sp.example",
    "leaf.subject=O#SP.Example,CN=x",
    "root.nc=+DNS:sp.example",
    "ca.nc=+DNS:.sp.example",
    "ca.nc=+DNS:mn.sp.example,-DNS:n.sp.example",
    "ca.nc=-DNS:mn.sp.example",
    "ca.nc=-DNS:_",
    "ca.nc=+DNS:_",
    "root.nc=+URI:sp.example",
    "ca.nc=+URI:.example,-URI:x.sp.example",
    "ca.nc=+DIR:O=sp.example",
    "root.nc=+DIR:O#SP.EXAMPLE,-DIR:CN=x",
    "ca.nc=+MAIL:sp.example",
    "ca.nc=+IP:c0000200ffffff00",
    "ca.nc=+RID:2.25",
    "root.nc=+DEV:0.2.481.1/100",
    "ca.nc=-DEV:0.2.481.1/101,+DEV:0.2.481.1/_",
    "ca.nc=+HWM:1.3.6.1.4.1.99/",
    "ca.nc=+UTF:1.2.3/4",
    "leaf.extra=2.5.29.31:300f300da00ba0098607783a2f2f612f62",
    "ca.extra=2.5.29.31:300f300da00ba0098607783a2f2f612f62",
    "leaf.extra=2.5.29.32!:300a3008060667810c010201",
    "ca.extra=2.5.29.36:3003800100",
    "leaf.extra=1.3.6.1.4.1.99999.1:0500",
    "leaf.extra=1.3.6.1.4.1.99999.1!:0500",
    "crl.of=ca crl.of=root trust.crl=required trust.expired=refuse",
    "crl.of=ca crl.revokes=11,leaf crl.of=root trust.crl=required trust.expired=refuse",
    "crl.of=ca crl.akid=none crl.of=root crl.revokes=05 trust.crl=required trust.expired=refuse",
    "crl.of=ca crl.of=ca2 crl.of=root trust.crl=required trust.expired=refuse",
    "crl.of=ca crl.from=-1 crl.to=0 crl.of=root trust.crl=required trust.expired=refuse",
    "crl.of=ca crl.signer=ca2 crl.of=root trust.crl=required trust.expired=refuse",
};

#define WORD_COUNT (sizeof words / sizeof words[0])
#define LINE_COUNT (sizeof lines / sizeof lines[0])

static struct chain_world worlds[LINE_COUNT], world;
static struct hf_trust *trusts[LINE_COUNT];

/* Who signed whom, so that what is changed can be signed anew. */
static EVP_PKEY *signer_of(enum chain_who who)
{
    return world.certificates[who].signer;
}

/* Changes one certificate of the message, most of the time with a good signature. */
static void change_certificate(enum chain_who who)
{
    static struct draft draft;
    take_tbs(&draft, world.der[who], world.der_len[who]);
    for (uint32_t i = draw(3) == 0 ? 2 : 1; i > 0 && draft.len > 0; i--) {
        if (draw(2) == 0)
            change_element(&draft);
        else
            change_bytes(&draft);
    }
    if (draw(32) == 0) { /* as somebody else would: the old signature */
        world.der[who][draw((uint32_t)world.der_len[who])] ^= (uint8_t)(1u << draw(8));
        return;
    }
    world.der_len[who] = chain_maker_sign(world.der[who], (struct hf_bytes){draft.der, draft.len},
                                          signer_of(who), EVP_sha256());
}

static void change_message(void)
{
    static const char *const sends[] = {"leaf",         "ca,leaf",      "leaf,ca,root",
                                        "leaf,leaf,ca", "leaf,ca,ca",   "leaf,ca2,ca,root",
                                        "leaf,ca,ca2",  "leaf,root,ca", "leaf,root"};
    if (draw(8) == 0)
        chain_world_message(&world, sends[draw(sizeof sends / sizeof sends[0])]);
    if (draw(64) == 0)
        world.message[draw((uint32_t)world.message_len)] ^= (uint8_t)(1u << draw(8));
    if (draw(16) == 0)
        world.now_s = CHAIN_WORLD_NOW + ((int64_t)draw(240) - 120) * 86400;
}

/** What came of it. */
static struct {
    uint64_t by_status[HF_STATUS_COUNT];
    uint64_t taken_by_both, listed, sampled, sampled_taken;
} tally;

/* The message in hexadecimal, for a finding. */
static void show_message(void)
{
    for (size_t i = 0; i < world.message_len; i++)
        fprintf(stderr, "%02x", world.message[i]);
    fputc('\n', stderr);
}

/* One chain, put to both. */
static void judge(struct hf_trust *trust, uint64_t number)
{
    struct hf_peer_identity peer;
    int error;
    enum hf_status status = chain_world_walk(&peer, &world, trust);
    tally.by_status[status]++;
    if (status != HF_OK) {
        if (draw(SAMPLE) == 0) {
            tally.sampled++;
            tally.sampled_taken += chain_world_oracle(&error, &world);
        }
        return;
    }
    if (!chain_world_oracle(&error, &world)) {
        show_message();
        fail_msg("seed %" PRIu64 ", chain %" PRIu64 ": taken, but X509_verify_cert says %s", seed,
                 number, X509_verify_cert_error_string(error));
    }
    tally.listed += error != X509_V_OK;
    tally.taken_by_both += error == X509_V_OK;
}

/* A world of words drawn, perhaps changed besides. Not all of them can be trusted. */
static void judge_new_world(uint64_t number)
{
    char line[1024] = "";
    const char *why;
    for (uint32_t i = 1 + draw(4); i > 0; i--) {
        size_t len = strlen(line);
        snprintf(line + len, sizeof line - len, "%s ", words[draw(WORD_COUNT)]);
    }
    chain_world_make(&world, line);
    struct hf_trust *trust = chain_world_trust(&world, &why);
    if (!trust)
        return;
    if (draw(3) == 0) {
        change_certificate(draw(2) ? CHAIN_LEAF : CHAIN_CA);
        chain_world_message(&world, world.send);
    }
    change_message();
    judge(trust, number);
    hf_trust_close(trust);
}

static void test_changed_chains(void **state)
{
    (void)state;
    for (uint64_t i = first; i < first + count_wanted; i++) {
        random_state = seed ^ i * 0xd1342543de82ef95u; /* each chain can be made alone */
        if (draw(8) == 0) {
            judge_new_world(i);
            continue;
        }
        uint32_t index = draw(LINE_COUNT);
        world = worlds[index];
        if (draw(16) != 0)
            change_certificate(CHAIN_LEAF);
        if (draw(3) == 0)
            change_certificate(CHAIN_CA);
        chain_world_message(&world, world.send);
        change_message();
        judge(trusts[index], i);
    }
}

static void print_tally(void)
{
    print_message("seed %" PRIu64 ": %" PRIu64 " chains: %" PRIu64 " taken by both, %" PRIu64
                  " in a listed case by us alone; of %" PRIu64
                  " refused, X509_verify_cert took %" PRIu64 "\n",
                  seed, count_wanted, tally.taken_by_both, tally.listed, tally.sampled,
                  tally.sampled_taken);
    for (int i = 0; i < HF_STATUS_COUNT; i++) {
        if (tally.by_status[i])
            print_message("%9" PRIu64 " %s\n", tally.by_status[i],
                          hf_status_reason((enum hf_status)i));
    }
}

/* The changes are worth making if they lead to many verdicts, and some to none. */
static void test_changes_lead_far(void **state)
{
    unsigned kinds = 0;
    (void)state;
    print_tally();
    for (int i = 0; i < HF_STATUS_COUNT; i++)
        kinds += tally.by_status[i] > 0;
    assert_in_range(kinds, 20, HF_STATUS_COUNT);
    assert_in_range(tally.taken_by_both, count_wanted / 100, count_wanted / 2);
    assert_in_range(tally.listed, 1, count_wanted / 10);
}

static int make_worlds(void **state)
{
    (void)state;
    chain_world_keys();
    for (size_t i = 0; i < LINE_COUNT; i++) {
        const char *why = "";
        chain_world_make(&worlds[i], lines[i]);
        trusts[i] = chain_world_trust(&worlds[i], &why);
        if (!trusts[i])
            fail_msg("[%s] %s", lines[i], why);
    }
    return 0;
}

static int free_worlds(void **state)
{
    (void)state;
    for (size_t i = 0; i < LINE_COUNT; i++)
        hf_trust_close(trusts[i]);
    return 0;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_changed_chains),
        cmocka_unit_test(test_changes_lead_far),
    };
    seed = (uint64_t)time(NULL);
    if (argc > 1)
        count_wanted = strtoull(argv[1], NULL, 10);
    if (argc > 2)
        seed = strtoull(argv[2], NULL, 10);
    if (argc > 3)
        first = strtoull(argv[3], NULL, 10);
    return cmocka_run_group_tests(tests, make_worlds, free_worlds);
}
