/**
 * pair_credentials.h - two CSEs of two providers under one CA, as both ends of an engine_pair show
 * them and believe them: certificates and raw keys, and a stranger's that nobody vouches for.
 */
#ifndef HF_TEST_PAIR_CREDENTIALS_H
#define HF_TEST_PAIR_CREDENTIALS_H

#include <handfast/credential.h>

#define PAIR_SERVER_CSE_ID "//b.example/in-cse"
#define PAIR_CLIENT_CSE_ID "//a.example/in-cse"

struct pair_credentials {
    struct hf_credential *server, *client;
    struct hf_credential *stranger; /**< names itself //c.example/in-cse */
    struct hf_trust *trust;         /**< CSE-ID certificates and both raw keys */
    struct hf_trust *raw_only;      /**< both raw keys */
    struct hf_trust *devices;       /**< the same CA's certificates, of devices */
};

/** pair_credentials gives them; made at the first call, kept to the end. */
const struct pair_credentials *pair_credentials(void);

#endif
