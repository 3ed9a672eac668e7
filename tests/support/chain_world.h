/**
 * chain_world.h - a small authority, a peer under it, and whoever judges the peer, described by a
 * line of text. So a case of a test matrix is one line.
 *
 * A line is words of the form who.what=value. Certificates: root, ca (by root), ca2 (by ca, not
 * sent unless asked for), leaf (by ca). Without any word everything is good: `leaf` is a CSE's,
 * mn.sp.example, sent as "leaf,ca"; `root` is the anchor; only CSE-IDs are accepted.
 *   X.by=Y issuer's name and key    X.signer=Y another key     X.issuer=, X.subject= names
 *   X.san= X.nc= lists of names     X.ku=ds+kcs+crl+ka|none    X.eku=client+server+any+code|none
 *   X.ca=yes|no|none X.path=N       X.key=p256|p384|rsa|compressed|hybrid|offcurve|explicit|short
 *   X.hash=sha1|sha384              X.version= X.serial=       X.from=, X.to= days from now
 *   X.id=, X.akid= key ids          X.extra= X.damage= as in chain_maker.h; "_" gives a blank name
 *   send=leaf,ca,...  (or none)     anchors=root,...           crl.of=X crl.revokes=X,Y crl.from=
 * ... trust.flavours=cse+ae+device+node+fqdn+raw  trust.crl=required trust.expired=refuse
 *   trust.constraints=required trust.depth=N trust.len=N       trust.names=CSE-ID@host,...
 *   peer.is=server peer.expected=cse:ID (ae: node: device: fqdn: raw:)   now=days
 */
#ifndef HF_TEST_CHAIN_WORLD_H
#define HF_TEST_CHAIN_WORLD_H

#include "chain_maker.h"

#include <handfast/job.h>

#define CHAIN_WORLD_NOW 1750000000 /* 2025-06-15 */
#define CHAIN_MESSAGE_MAX 65536

enum chain_who { CHAIN_ROOT, CHAIN_CA, CHAIN_CA2, CHAIN_LEAF, CHAIN_WHO_COUNT };

struct chain_world {
    struct chain_certificate certificates[CHAIN_WHO_COUNT];
    struct chain_crl crls[CHAIN_WHO_COUNT]; /**< by whom; signer NULL: none */
    uint8_t der[CHAIN_WHO_COUNT][CHAIN_DER_MAX];
    size_t der_len[CHAIN_WHO_COUNT];
    char text[4096]; /**< the words, cut up */
    char send[64], anchors[64];
    char revoked[CHAIN_WHO_COUNT][256];
    uint8_t message[CHAIN_MESSAGE_MAX]; /**< body of the Certificate message */
    size_t message_len;
    char anchors_pem[65536], crls_pem[65536], names[1024];
    struct hf_trust_source source;
    struct hf_expected_peer expected;
    bool has_expected, peer_is_server;
    int64_t now_s;
    EVP_PKEY *keys[CHAIN_WHO_COUNT];
};

/** chain_world_open makes keys, once for all tests of a program. */
void chain_world_keys(void);

/** chain_world_make makes everything of a line. Aborts on a word it does not know. */
void chain_world_make(struct chain_world *world, const char *line);

/** chain_world_message writes the Certificate message of the certificates named in `send`. */
void chain_world_message(struct chain_world *world, const char *send);

/** chain_world_trust opens what the world trusts; NULL with `*why` if it is not accepted. */
struct hf_trust *chain_world_trust(const struct chain_world *world, const char **why);

/** chain_world_walk judges the message; `out` gets the identity. */
enum hf_status chain_world_walk(struct hf_peer_identity *out, const struct chain_world *world,
                                const struct hf_trust *trust);

/** chain_world_oracle asks X509_verify_cert the same question: does it accept, but perhaps for one
 * of the two listed cases it cannot judge? `error` gets X509_V_OK, the error of the listed case, or
 * why it refuses. CRLs are checked for all certificates if the world has any. */
bool chain_world_oracle(int *error, const struct chain_world *world);

/** chain_world_oracle_unsigned forgives bad signatures besides. */
bool chain_world_oracle_unsigned(int *error, const struct chain_world *world);

#endif
