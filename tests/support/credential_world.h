/**
 * credential_world.h - one small world of credentials for tests: an authority that issues
 * certificates, clients with them and with raw public keys, a server, and whom it trusts. Made once
 * a program.
 */
#ifndef HF_TEST_CREDENTIAL_WORLD_H
#define HF_TEST_CREDENTIAL_WORLD_H

#include <handfast/config.h>
#include <handfast/credential.h>

/** Of the clients, those below WORLD_ASKED are known with their entities by their raw key, for that
 *  one the key source is asked, and one nobody knows. As X.509 all but the last are known. */
enum { WORLD_CLIENTS = 8, WORLD_ASKED = 6, WORLD_UNKNOWN = 7 };

#define WORLD_EXPIRES_S INT64_C(1899999999) /**< the last second a certificate is taken */

struct credential_world {
    struct hf_credential *clients[WORLD_CLIENTS];
    char entity_ids[WORLD_CLIENTS][24];
    struct hf_credential *server;
    struct hf_trust *trust;
    struct hf_listener_authority authority;
};

const struct credential_world *credential_world(void);

#endif
