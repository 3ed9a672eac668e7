/**
 * persons.h - three CSEs under one CA and a stranger, as certificates and as raw keys: always the
 * same, so that an input means the same in every process.
 */
#ifndef FUZZ_PERSONS_H
#define FUZZ_PERSONS_H

#include <handfast/credential.h>

#define FUZZ_SERVER_CSE_ID "//b.example/in-cse"
#define FUZZ_SECOND_CSE_ID "//d.example/in-cse"
#define FUZZ_CLIENT_CSE_ID "//a.example/in-cse"

#define FUZZ_PERSONS_WALL_S INT64_C(1800000000) /* all certificates are in date then */

struct fuzz_persons {
    struct hf_credential *server, *second, *client;
    struct hf_credential *stranger; /* nobody vouches for it */
    struct hf_trust *trust;         /* both kinds */
    struct hf_trust *x509_only, *raw_only;
};

/** fuzz_persons gives them; made at the first call, kept to the end. */
const struct fuzz_persons *fuzz_persons(void);

enum fuzz_person {
    FUZZ_PERSON_SERVER,
    FUZZ_PERSON_SECOND,
    FUZZ_PERSON_CLIENT,
    FUZZ_PERSON_STRANGER,
    FUZZ_PERSON_CA, /* has no key here */
    FUZZ_PERSON_COUNT,
};

/** fuzz_persons_pem gives the certificate as text, or the private key. */
struct hf_bytes fuzz_persons_pem(enum fuzz_person person, bool is_key);

#endif
