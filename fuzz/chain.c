/**
 * chain.c - fuzz target: a peer's Certificate message. What the walk takes, X509_verify_cert takes,
 * signatures aside, but for the two listed cases; the identity is the one a second reading of the
 * subjectAltName finds; what is refused leaves nothing; scarce memory changes nothing else.
 *
 * Input: which trust, how many allocations succeed, the body of the message.
 */
#include "chain_world.h"
#include "fuzz.h"
#include "scarce.h"

#include "chain.h"

#include <openssl/nid.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <string.h>

static const char *const lines[] = {
    "trust.flavours=cse+ae+device+node",
    "trust.flavours=cse root.nc=+DNS:sp.example",
    "trust.flavours=ae root.nc=+URI:.example,-DIR:CN=x",
    "trust.flavours=device root.nc=+DEV:0.2.481.1/100",
    "peer.is=server trust.flavours=fqdn trust.depth=2",
    "trust.flavours=cse crl.of=root crl.revokes=11 crl.of=ca trust.crl=required",
};

#define LINE_COUNT (sizeof lines / sizeof lines[0])

static struct chain_world worlds[LINE_COUNT];
static struct hf_trust *trusts[LINE_COUNT];

static void open_worlds(void)
{
    const char *why;
    chain_world_keys();
    for (size_t i = 0; i < LINE_COUNT; i++) {
        chain_world_make(&worlds[i], lines[i]);
        trusts[i] = chain_world_trust(&worlds[i], &why);
        FUZZ_CHECK(trusts[i] != NULL);
    }
}

static enum hf_status walk(struct hf_job *job, size_t world_index, const uint8_t *body, size_t len)
{
    struct hf_chain_walk walk;
    *job = (struct hf_job){.parts = HF_JOB_CHAIN,
                           .trust = trusts[world_index],
                           .peer_is_server = worlds[world_index].peer_is_server,
                           .wall_s = worlds[world_index].now_s,
                           .chain = body,
                           .chain_len = (uint32_t)len};
    enum hf_status status = hf_chain_open(&walk, job);
    FUZZ_CHECK(walk.link_count <= HF_CHAIN_LINKS_MAX);
    FUZZ_CHECK((status == HF_OK) == (walk.link_count > 0));
    for (size_t i = 0; i < walk.link_count; i++)
        FUZZ_CHECK(walk.links[i].public_key[0] == 4);
    if (status != HF_OK)
        return status;
    walk.crl_count = 0; /* their signatures have not been looked at: nothing to remember */
    return hf_chain_finish(&walk, true);
}

/* The dNSName that made a CSE-ID, read by BoringSSL: it must be in the Credential-ID. */
static void check_name(const struct hf_peer_identity *peer, const uint8_t *body, size_t len)
{
    CBS in, list, entry;
    CBS_init(&in, body, len);
    FUZZ_CHECK(CBS_get_u24_length_prefixed(&in, &list) &&
               CBS_get_u24_length_prefixed(&list, &entry));
    const uint8_t *at = CBS_data(&entry);
    X509 *leaf = d2i_X509(NULL, &at, (long)CBS_len(&entry));
    FUZZ_CHECK(leaf != NULL);
    GENERAL_NAMES *names = X509_get_ext_d2i(leaf, NID_subject_alt_name, NULL, NULL);
    FUZZ_CHECK(names != NULL);
    bool is_found = peer->flavour != HF_FLAVOUR_CSE_ID;
    for (size_t i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
        is_found |=
            name->type == GEN_DNS && name->d.dNSName->length + 3 == peer->credential_id_len &&
            strncasecmp((const char *)name->d.dNSName->data, (const char *)peer->credential_id + 3,
                        (size_t)name->d.dNSName->length) == 0;
    }
    FUZZ_CHECK(is_found);
    GENERAL_NAMES_free(names);
    X509_free(leaf);
}

static void check_taken(struct hf_peer_identity *peer, size_t index, const uint8_t *body,
                        size_t len)
{
    static struct chain_world world;
    int error;
    FUZZ_CHECK(peer->flavour && !(peer->flavour & (peer->flavour - 1)));
    FUZZ_CHECK(peer->flavour & hf_trust_flavours(trusts[index]));
    FUZZ_CHECK(peer->entity_id_len <= sizeof peer->entity_id);
    FUZZ_CHECK(peer->credential_id_len <= sizeof peer->credential_id);
    FUZZ_CHECK(peer->handle_count >= 2 && peer->handle_count <= HF_CHAIN_DEPTH_MAX);
    FUZZ_CHECK(peer->expires_s >= worlds[index].now_s);
    for (size_t i = 0; i < peer->handle_count; i++)
        FUZZ_CHECK(!hf_trust_is_revoked(trusts[index], peer->handles[i]));
    if (fuzz_is_canary())
        peer->credential_id[3] ^= 1;
    check_name(peer, body, len);
    if (len > sizeof world.message)
        return;
    world = worlds[index];
    memcpy(world.message, body, len);
    world.message_len = len;
    FUZZ_CHECK(chain_world_oracle_unsigned(&error, &world));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static const struct hf_peer_identity nobody;
    static struct hf_job job, scarce_job;
    struct fuzz_input input = {data, len};
    if (!trusts[0])
        open_worlds();
    size_t index = fuzz_below(&input, LINE_COUNT);
    size_t left = fuzz_u8(&input);
    uint8_t *body = fuzz_copy((struct hf_bytes){input.data, input.len});
    enum hf_status status = walk(&job, index, body, input.len);
    if (status == HF_OK)
        check_taken(&job.peer, index, body, input.len);
    else
        FUZZ_CHECK(memcmp(&job.peer, &nobody, sizeof nobody) == 0);
    fuzz_scarce(left);
    enum hf_status scarce = walk(&scarce_job, index, body, input.len);
    bool is_hit = fuzz_scarce_hit();
    fuzz_scarce(SIZE_MAX);
    FUZZ_CHECK(scarce == status || (is_hit && scarce == HF_E_MEMORY));
    free(body);
    return 0;
}
