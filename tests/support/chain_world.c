/**
 * chain_world.c - from a line of words to certificates, CRLs, a message and a trust.
 */
#include "chain_world.h"

#include <openssl/nid.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DAY 86400

static const char *const who_names[] = {"root", "ca", "ca2", "leaf"};
static EVP_PKEY *keys[CHAIN_WHO_COUNT], *p384, *rsa;

void chain_world_keys(void)
{
    for (int i = 0; i < CHAIN_WHO_COUNT; i++)
        keys[i] = chain_maker_key(NID_X9_62_prime256v1);
    p384 = chain_maker_key(NID_secp384r1);
    rsa = chain_maker_key(NID_rsaEncryption);
}

static void unknown(const char *what, const char *value)
{
    fprintf(stderr, "chain_world: %s %s\n", what, value);
    abort();
}

static enum chain_who who_of(const char *name, size_t len)
{
    for (int i = 0; i < CHAIN_WHO_COUNT; i++) {
        if (strlen(who_names[i]) == len && strncmp(who_names[i], name, len) == 0)
            return (enum chain_who)i;
    }
    unknown("nobody is called", name);
    return CHAIN_ROOT;
}

static int bits_of(const char *value, const char *const *names, const int *bits)
{
    int result = 0;
    for (const char *at = value; at; at = strchr(at, '+') ? strchr(at, '+') + 1 : NULL) {
        size_t len = strcspn(at, "+"), i = 0;
        while (names[i] && (strlen(names[i]) != len || strncmp(names[i], at, len) != 0))
            i++;
        if (!names[i])
            unknown("no bit is called", at);
        result |= bits[i];
    }
    return result;
}

static int key_usage_of(const char *value)
{
    static const char *const names[] = {"ds", "kcs", "crl", "ka", "none", "zero", NULL};
    static const int bits[] = {0x80, 0x04, 0x02, 0x08, -1, 0};
    return bits_of(value, names, bits);
}

static int eku_of(const char *value)
{
    static const char *const names[] = {"server", "client", "any", "code", "none", NULL};
    static const int bits[] = {1, 2, 4, 8, 0};
    return bits_of(value, names, bits);
}

static uint8_t flavours_of(const char *value)
{
    static const char *const names[] = {"raw", "device", "cse", "ae", "node", "fqdn", "none", NULL};
    static const int bits[] = {1, 2, 4, 8, 16, 32, 0};
    return (uint8_t)bits_of(value, names, bits);
}

static const EVP_MD *hash_of(const char *value)
{
    return strcmp(value, "sha1") == 0     ? EVP_sha1()
           : strcmp(value, "sha384") == 0 ? EVP_sha384()
                                          : EVP_sha256();
}

/* "_" is a blank within, and nothing alone. */
static const char *text_of(char *value)
{
    if (strcmp(value, "_") == 0)
        return "";
    for (char *at = value; *at; at++)
        *at = *at == '_' ? ' ' : *at;
    return value;
}

static const char *list_of(const char *value)
{
    return strcmp(value, "none") == 0 ? NULL : strcmp(value, "_") == 0 ? "" : value;
}

static void set_key(struct chain_certificate *what, const char *value)
{
    static const char *const forms[] = {"p256",     "compressed", "hybrid",
                                        "offcurve", "explicit",   "short"};
    if (strcmp(value, "p384") == 0) {
        what->key = p384;
    } else if (strcmp(value, "rsa") == 0) {
        what->key = rsa;
    } else {
        for (int i = 0; i < 6; i++) {
            if (strcmp(value, forms[i]) == 0)
                what->key_form = (enum chain_key_form)i;
        }
    }
}

static void set_by(struct chain_world *world, struct chain_certificate *what, const char *value)
{
    enum chain_who by = who_of(value, strlen(value));
    what->issuer = world->certificates[by].subject;
    what->authority_id = world->certificates[by].key_id;
    what->signer = world->certificates[by].key;
}

/* True if the word is one of a certificate. */
static bool set_text(struct chain_certificate *what, const char *key, char *value)
{
    if (strcmp(key, "issuer") == 0)
        what->issuer = text_of(value);
    else if (strcmp(key, "subject") == 0)
        what->subject = text_of(value);
    else if (strcmp(key, "san") == 0)
        what->names = list_of(value);
    else if (strcmp(key, "nc") == 0)
        what->constraints = list_of(value);
    else if (strcmp(key, "serial") == 0)
        what->serial = value;
    else if (strcmp(key, "id") == 0)
        what->key_id = list_of(value);
    else if (strcmp(key, "akid") == 0)
        what->authority_id = list_of(value);
    else if (strcmp(key, "extra") == 0)
        what->extra = value;
    else if (strcmp(key, "damage") == 0)
        what->damage = value;
    else
        return false;
    return true;
}

static void set_certificate(struct chain_world *world, enum chain_who who, const char *key,
                            char *value)
{
    struct chain_certificate *what = &world->certificates[who];
    if (set_text(what, key, value))
        return;
    if (strcmp(key, "by") == 0)
        set_by(world, what, value);
    else if (strcmp(key, "signer") == 0)
        what->signer =
            strcmp(value, "rsa") == 0 ? rsa : world->certificates[who_of(value, strlen(value))].key;
    else if (strcmp(key, "ku") == 0)
        what->key_usage = key_usage_of(value);
    else if (strcmp(key, "eku") == 0)
        what->eku = eku_of(value);
    else if (strcmp(key, "ca") == 0)
        what->ca = strcmp(value, "yes") == 0 ? 1 : strcmp(value, "no") == 0 ? 0 : -1;
    else if (strcmp(key, "path") == 0)
        what->path_len = atoi(value);
    else if (strcmp(key, "key") == 0)
        set_key(what, value);
    else if (strcmp(key, "hash") == 0)
        what->hash = hash_of(value);
    else if (strcmp(key, "version") == 0)
        what->version = atoi(value);
    else if (strcmp(key, "from") == 0)
        what->not_before_s = CHAIN_WORLD_NOW + atoll(value) * DAY;
    else if (strcmp(key, "to") == 0)
        what->not_after_s = CHAIN_WORLD_NOW + atoll(value) * DAY;
    else
        unknown("no part of a certificate is", key);
}

/* The list of serial numbers of those named. */
static void set_revoked(struct chain_world *world, enum chain_who by, const char *value)
{
    char *out = world->revoked[by];
    size_t len = 0;
    for (const char *at = value; at; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL) {
        size_t name_len = strcspn(at, ",!");
        const char *serial = at;
        size_t serial_len = name_len;
        if (*at == '#') { /* a number that looks like a name */
            serial++;
            serial_len--;
        } else if (*at < '0' || *at > '9') {
            serial = world->certificates[who_of(at, name_len)].serial;
            serial_len = strlen(serial);
        }
        len +=
            (size_t)snprintf(out + len, sizeof world->revoked[by] - len, "%s%.*s%s", len ? "," : "",
                             (int)serial_len, serial, at[name_len] == '!' ? "!" : "");
    }
    world->crls[by].serials = out;
}

/* "crl.of=X" begins one; the words that follow are about it. */
static void set_crl(struct chain_world *world, const char *key, char *value)
{
    static enum chain_who by;
    if (strcmp(key, "of") == 0)
        by = who_of(value, strlen(value));
    struct chain_crl *crl = &world->crls[by];
    if (strcmp(key, "of") == 0)
        *crl = (struct chain_crl){.issuer = world->certificates[by].subject,
                                  .signer = world->certificates[by].key,
                                  .hash = EVP_sha256(),
                                  .this_update_s = CHAIN_WORLD_NOW - DAY,
                                  .next_update_s = CHAIN_WORLD_NOW + DAY,
                                  .authority_id = world->certificates[by].key_id};
    else if (strcmp(key, "revokes") == 0)
        set_revoked(world, by, value);
    else if (strcmp(key, "from") == 0)
        crl->this_update_s = CHAIN_WORLD_NOW + atoll(value) * DAY;
    else if (strcmp(key, "to") == 0)
        crl->next_update_s = strcmp(value, "none") == 0 ? 0 : CHAIN_WORLD_NOW + atoll(value) * DAY;
    else if (strcmp(key, "signer") == 0)
        crl->signer = world->certificates[who_of(value, strlen(value))].key;
    else if (strcmp(key, "issuer") == 0)
        crl->issuer = text_of(value);
    else if (strcmp(key, "akid") == 0)
        crl->authority_id = list_of(value);
    else if (strcmp(key, "hash") == 0)
        crl->hash = hash_of(value);
    else if (strcmp(key, "extra") == 0)
        crl->extra = value;
    else
        unknown("no part of a CRL is", key);
}

/* "CSE-ID@host,...": the lines of hf_trust_source.names. */
static void set_names(struct chain_world *world, char *value)
{
    size_t len = 0;
    char *rest = NULL;
    for (char *at = strtok_r(value, ",", &rest); at; at = strtok_r(NULL, ",", &rest)) {
        char *host = strchr(at, '@');
        *host = ' ';
        len += (size_t)snprintf(world->names + len, sizeof world->names - len, "%s\n", at);
    }
    world->source.names = (struct hf_bytes){(const uint8_t *)world->names, len};
}

static void set_trust(struct chain_world *world, const char *key, char *value)
{
    if (strcmp(key, "flavours") == 0)
        world->source.flavours = flavours_of(value);
    else if (strcmp(key, "crl") == 0)
        world->source.crl_required = strcmp(value, "required") == 0;
    else if (strcmp(key, "expired") == 0)
        world->source.crl_expired =
            strcmp(value, "refuse") == 0 ? HF_CRL_EXPIRED_REFUSE : HF_CRL_EXPIRED_WARN;
    else if (strcmp(key, "constraints") == 0)
        world->source.name_constraints_required = strcmp(value, "required") == 0;
    else if (strcmp(key, "depth") == 0)
        world->source.depth_max = (uint8_t)atoi(value);
    else if (strcmp(key, "len") == 0)
        world->source.chain_len_max = (uint32_t)atoi(value);
    else if (strcmp(key, "names") == 0)
        set_names(world, value);
    else
        unknown("trust has no", key);
}

static void set_peer(struct chain_world *world, const char *key, char *value)
{
    if (strcmp(key, "is") == 0) {
        world->peer_is_server = strcmp(value, "server") == 0;
    } else if (strcmp(key, "expected") == 0) {
        char *colon = strchr(value, ':');
        *colon = 0;
        world->has_expected = true;
        world->expected.flavour = flavours_of(value);
        world->expected.entity_id =
            (struct hf_bytes){(const uint8_t *)colon + 1, strlen(colon + 1)};
    } else {
        unknown("a peer has no", key);
    }
}

static void set_word(struct chain_world *world, char *word)
{
    char *value = strchr(word, '=');
    char *key = strchr(word, '.');
    if (!value)
        unknown("not a word:", word);
    *value++ = 0;
    if (!key || key > value) {
        if (strcmp(word, "send") == 0)
            snprintf(world->send, sizeof world->send, "%s", value);
        else if (strcmp(word, "anchors") == 0)
            snprintf(world->anchors, sizeof world->anchors, "%s", value);
        else if (strcmp(word, "now") == 0)
            world->now_s = CHAIN_WORLD_NOW + (int64_t)(atof(value) * DAY);
        else
            unknown("no word is", word);
        return;
    }
    *key++ = 0;
    if (strcmp(word, "crl") == 0)
        set_crl(world, key, value);
    else if (strcmp(word, "trust") == 0)
        set_trust(world, key, value);
    else if (strcmp(word, "peer") == 0)
        set_peer(world, key, value);
    else
        set_certificate(world, who_of(word, strlen(word)), key, value);
}

/* ---- defaults and products ------------------------------------------------------------------ */

static void set_defaults(struct chain_world *world)
{
    static const char *const subjects[] = {"O=sp.example,CN=root", "O=sp.example,CN=ca",
                                           "O=sp.example,CN=ca2", "UID=mn.sp.example"};
    static const char *const ids[] = {"root-id", "ca-id", "ca2-id", "leaf-id"};
    static const char *const serials[] = {"01", "1001", "1002", "7a51c0ffee"};
    memset(world, 0, sizeof *world);
    for (int i = 0; i < CHAIN_WHO_COUNT; i++) {
        bool is_ca = i != CHAIN_LEAF;
        world->certificates[i] =
            (struct chain_certificate){.subject = subjects[i],
                                       .key = keys[i],
                                       .hash = EVP_sha256(),
                                       .serial = serials[i],
                                       .version = 3,
                                       .not_before_s = CHAIN_WORLD_NOW - 100 * DAY,
                                       .not_after_s = CHAIN_WORLD_NOW + 100 * DAY,
                                       .key_usage = is_ca ? 0x06 : 0x80,
                                       .ca = is_ca ? 1 : -1,
                                       .path_len = -1,
                                       .key_id = ids[i]};
    }
    world->certificates[CHAIN_LEAF].names = "DNS:mn.sp.example";
    set_by(world, &world->certificates[CHAIN_ROOT], "root");
    set_by(world, &world->certificates[CHAIN_CA], "root");
    set_by(world, &world->certificates[CHAIN_CA2], "ca");
    set_by(world, &world->certificates[CHAIN_LEAF], "ca");
    memcpy(world->send, "leaf,ca", sizeof "leaf,ca");
    memcpy(world->anchors, "root", sizeof "root");
    hf_trust_source_init(&world->source);
    world->source.flavours = HF_FLAVOUR_CSE_ID;
    world->now_s = CHAIN_WORLD_NOW;
}

static void put_length(uint8_t *out, size_t len)
{
    out[0] = (uint8_t)(len >> 16);
    out[1] = (uint8_t)(len >> 8);
    out[2] = (uint8_t)len;
}

void chain_world_message(struct chain_world *world, const char *send)
{
    size_t len = 3;
    for (const char *at = send; at && strcmp(at, "none") != 0;
         at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL) {
        enum chain_who who = who_of(at, strcspn(at, ","));
        put_length(world->message + len, world->der_len[who]);
        memcpy(world->message + len + 3, world->der[who], world->der_len[who]);
        len += 3 + world->der_len[who];
    }
    put_length(world->message, len - 3);
    world->message_len = len;
}

static void make_trust(struct chain_world *world)
{
    size_t len = 0, crl_len = 0;
    static uint8_t crl[CHAIN_DER_MAX];
    for (const char *at = world->anchors; at && strcmp(at, "none") != 0;
         at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL) {
        enum chain_who who = who_of(at, strcspn(at, ","));
        len = chain_maker_pem(world->anchors_pem, len, sizeof world->anchors_pem, "CERTIFICATE",
                              (struct hf_bytes){world->der[who], world->der_len[who]});
    }
    for (int i = 0; i < CHAIN_WHO_COUNT; i++) {
        if (world->crls[i].signer)
            crl_len =
                chain_maker_pem(world->crls_pem, crl_len, sizeof world->crls_pem, "X509 CRL",
                                (struct hf_bytes){crl, chain_maker_crl(crl, &world->crls[i])});
    }
    world->source.anchors_pem = (struct hf_bytes){(const uint8_t *)world->anchors_pem, len};
    world->source.crls_pem = (struct hf_bytes){(const uint8_t *)world->crls_pem, crl_len};
}

void chain_world_make(struct chain_world *world, const char *line)
{
    set_defaults(world);
    snprintf(world->text, sizeof world->text, "%s", line);
    char *rest = NULL;
    char text[sizeof world->text];
    char *kept = world->text;
    memcpy(text, world->text, sizeof text);
    for (char *word = strtok_r(text, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) {
        size_t len = strlen(word) + 1;
        memcpy(kept, word, len); /* what is pointed to stays in the world */
        set_word(world, kept);
        kept += len;
    }
    for (int i = 0; i < CHAIN_WHO_COUNT; i++)
        world->der_len[i] = chain_maker_certificate(world->der[i], &world->certificates[i]);
    chain_world_message(world, world->send);
    make_trust(world);
}

struct hf_trust *chain_world_trust(const struct chain_world *world, const char **why)
{
    struct hf_trust *trust = NULL;
    return hf_trust_open(&trust, why, &world->source) == HF_OK ? trust : NULL;
}

enum hf_status chain_world_walk(struct hf_peer_identity *out, const struct chain_world *world,
                                const struct hf_trust *trust)
{
    struct hf_job job = {.parts = HF_JOB_CHAIN,
                         .trust = trust,
                         .peer_is_server = world->peer_is_server,
                         .wall_s = world->now_s,
                         .expected = world->has_expected ? &world->expected : NULL,
                         .chain = world->message,
                         .chain_len = (uint32_t)world->message_len};
    struct hf_job *jobs = &job;
    hf_job_run(&jobs, 1);
    *out = job.peer;
    return job.status;
}
