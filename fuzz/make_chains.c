/**
 * make_chains.c - seeds of the targets about certificates: chains, raw keys, CRLs, trust.
 */
#include "chain_world.h"
#include "make_corpus.h"

#include <openssl/nid.h>

#include <stdio.h>
#include <string.h>

static struct chain_world world;

/* Which trust of fuzz/chain.c, and the words that make a chain for it. */
static const struct {
    uint8_t trust;
    const char *line;
} chains[] = {
    {0, ""},
    {0, "leaf.by=root send=leaf,root"},
    {0, "ca2.by=ca leaf.by=ca2 send=leaf,ca2,ca ca.path=1 ca2.path=0"},
    {0, "leaf.san=URI:m2m://sp.example/S1 leaf.eku=client+server ca.nc=+URI:sp.example"},
    {0, "leaf.san=URI://sp.example/S1 ca.nc=+URI:.example,-URI:x.example"},
    {0, "leaf.san=RID:2.25.77,MAIL:a@b.example,IP:c0000201 leaf.akid=serial:1001"},
    {0, "leaf.san=HWM:1.3.6.1.4.1.99.1/0a0b ca.nc=+HWM:1.3.6.1.4.1.99/"},
    {0, "leaf.san=UTF:0.2.481.1/100.3030 leaf.akid=issuer:DIR:O=sp.example;CN=root"},
    {0, "leaf.extra=2.5.29.31:300f300da00ba0098607783a2f2f612f62,"
        "2.5.29.32!:300a3008060667810c010201,1.3.6.1.4.1.99999.1:0500"},
    {0, "leaf.extra==KU"},
    {0, "leaf.damage=tail"},
    {0, "leaf.key=compressed"},
    {0, "leaf.hash=sha1"},
    {0, "send=none"},
    {1, "ca.nc=+DNS:sp.example,-DNS:x.sp.example,+DIR:O=sp.example leaf.subject=O=sp.example"},
    {1, "leaf.san=DNS:mn.other.example"},
    {2, "leaf.san=URI:m2m://sp.example/mn/C1"},
    {3, "leaf.san=DEV:0.2.481.1/100.3030.10011"},
    {4, "leaf.eku=server leaf.san=DNS:maf.example leaf.to=30000 ca.to=30000"},
    {5, ""},
    {5, "leaf.serial=11"},
};

static void save_chain(size_t index)
{
    static uint8_t seed[2 + CHAIN_MESSAGE_MAX];
    char name[32];
    chain_world_make(&world, chains[index].line);
    seed[0] = chains[index].trust;
    seed[1] = index % 4 == 0 ? 0 : 0xff;
    memcpy(seed + 2, world.message, world.message_len);
    snprintf(name, sizeof name, "seed-%02zu", index);
    fuzz_corpus_save("chain", name, (struct hf_bytes){seed, 2 + world.message_len});
}

static void save_raw_keys(void)
{
    char name[32];
    for (uint8_t form = CHAIN_KEY_PLAIN; form <= CHAIN_KEY_SHORT + 2; form++) {
        int nid = form == CHAIN_KEY_SHORT + 1   ? NID_secp384r1
                  : form == CHAIN_KEY_SHORT + 2 ? NID_rsaEncryption
                                                : NID_X9_62_prime256v1;
        EVP_PKEY *key = chain_maker_key(nid);
        uint8_t seed[600] = {form};
        size_t len;
        CBB out;
        FUZZ_CHECK(CBB_init_fixed(&out, seed + 4, sizeof seed - 4));
        chain_maker_key_info(&out, key,
                             form > CHAIN_KEY_SHORT ? CHAIN_KEY_PLAIN : (enum chain_key_form)form);
        FUZZ_CHECK(CBB_finish(&out, NULL, &len));
        seed[2] = (uint8_t)(len >> 8);
        seed[3] = (uint8_t)len;
        snprintf(name, sizeof name, "seed-%02u", form);
        fuzz_corpus_save("raw_key", name, (struct hf_bytes){seed, len + 4});
        EVP_PKEY_free(key);
    }
}

static void save_crls(void)
{
    static const char *const lines[] = {
        "crl.of=root",
        "crl.of=root crl.revokes=leaf,ca,00,0b,#ff,7fffffffffffffffffffffffffffffffffffffff",
        "crl.of=root crl.akid=none crl.to=20000",
        "crl.of=root crl.revokes=leaf!",
        "crl.of=root crl.extra=2.5.29.27!:020101",
        "crl.of=root crl.extra=2.5.29.28:3000",
        "crl.of=root crl.to=none",
        "crl.of=root crl.hash=sha1",
    };
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        static uint8_t seed[1 + CHAIN_DER_MAX];
        char name[32];
        chain_world_make(&world, lines[i]);
        seed[0] = i == 1 ? 1 : 0xff;
        size_t len = chain_maker_crl(seed + 1, &world.crls[CHAIN_ROOT]);
        snprintf(name, sizeof name, "seed-%02zu", i);
        fuzz_corpus_save("crl", name, (struct hf_bytes){seed, len + 1});
    }
}

#define PIN "sha-256-120;XNJS-wzokyQ2-vjM0QQJ"

static void save_trusts(void)
{
    static const struct {
        const char *line, *raw_keys, *names;
        uint8_t flavours;
    } seeds[] = {
        {"", "", "", HF_FLAVOUR_CSE_ID},
        {"crl.of=root crl.revokes=ca crl.of=ca", PIN " //sp.example/mn\n",
         "//sp.example/in in.sp.example\n//sp.example/Other OTHER.example # one\n",
         HF_FLAVOUR_CSE_ID | HF_FLAVOUR_RAW},
        {"anchors=root,ca2 ca2.by=ca2", "ni:///" PIN " - 30-mine\n\n", "", HF_FLAVOUR_AE_ID},
        {"anchors=none", PIN " //sp.example/S1\n" PIN " /in\n", "", HF_FLAVOUR_RAW},
        {"anchors=none", "sha-256-64;XNJS-wzokyQ S1\n", "/in in.example\n", HF_FLAVOUR_RAW},
        {"anchors=ca", "", "", HF_FLAVOUR_CSE_ID},
        {"root.hash=sha1", "", "", HF_FLAVOUR_CSE_ID},
    };
    for (size_t i = 0; i < sizeof seeds / sizeof seeds[0]; i++) {
        static uint8_t seed[65536];
        char name[32];
        chain_world_make(&world, seeds[i].line);
        struct hf_writer writer = hf_writer_of(seed, sizeof seed);
        hf_writer_u8(&writer, seeds[i].flavours);
        hf_writer_u16(&writer, i == 1 ? 20 : 0xfffe);
        hf_writer_bytes(&writer, world.source.anchors_pem.data, world.source.anchors_pem.len);
        hf_writer_u8(&writer, 0xff);
        hf_writer_bytes(&writer, world.source.crls_pem.data, world.source.crls_pem.len);
        hf_writer_u8(&writer, 0xff);
        hf_writer_bytes(&writer, seeds[i].raw_keys, strlen(seeds[i].raw_keys));
        hf_writer_u8(&writer, 0xff);
        hf_writer_bytes(&writer, seeds[i].names, strlen(seeds[i].names));
        FUZZ_CHECK(!writer.is_failed);
        snprintf(name, sizeof name, "seed-%02zu", i);
        fuzz_corpus_save("trust", name, (struct hf_bytes){seed, writer.len});
    }
}

void fuzz_corpus_chains(void)
{
    chain_world_keys();
    for (size_t i = 0; i < sizeof chains / sizeof chains[0]; i++)
        save_chain(i);
    save_raw_keys();
    save_crls();
    save_trusts();
}
