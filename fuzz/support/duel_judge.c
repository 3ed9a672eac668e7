/**
 * duel_judge.c - see duel.h: what must hold of a duel, whatever the input did to it.
 */
#include "duel.h"

#include "association.h"
#include "hello.h"

#include <stdio.h>

#define BIT(type) (1u << ((type)&31))

enum {
    HANDSHAKE_DROPS_MAX = 3, /* flights lost: then there is time enough to send them again */
};

/* What must have come as it was said, or the handshake is not ours. */
static uint32_t needed_of(const struct fuzz_duel *duel, bool is_certificate)
{
    if (duel->info.is_resumed)
        return duel->is_client ? BIT(HF_MESSAGE_SERVER_HELLO) : BIT(HF_MESSAGE_CLIENT_HELLO);
    if (duel->is_client)
        return BIT(HF_MESSAGE_SERVER_HELLO) | BIT(HF_MESSAGE_SERVER_HELLO_DONE) |
               (is_certificate ? BIT(HF_MESSAGE_CERTIFICATE) | BIT(HF_MESSAGE_SERVER_KEY_EXCHANGE) |
                                     BIT(HF_MESSAGE_CERTIFICATE_REQUEST)
                               : 0);
    return BIT(HF_MESSAGE_CLIENT_HELLO) | BIT(HF_MESSAGE_CLIENT_KEY_EXCHANGE) |
           (is_certificate ? BIT(HF_MESSAGE_CERTIFICATE) | BIT(HF_MESSAGE_CERTIFICATE_VERIFY) : 0);
}

static void judge_identity(const struct fuzz_duel *duel)
{
    const char *wanted = FUZZ_CLIENT_CSE_ID;
    if (duel->is_client)
        wanted = strcmp(duel->info.server_name, "two.example") == 0 ? FUZZ_SECOND_CSE_ID
                                                                    : FUZZ_SERVER_CSE_ID;
    FUZZ_CHECK(duel->info.framework == HF_FRAMEWORK_CERTIFICATE);
    FUZZ_CHECK(duel->info.entity_kind == HF_ENTITY_CSE);
    FUZZ_CHECK(strcmp(duel->info.entity_id, wanted) == 0);
    FUZZ_CHECK(duel->info.credential_id_len > 0);
    FUZZ_CHECK(duel->kind == FUZZ_DUEL_RAW || (duel->kind == FUZZ_DUEL_MIXED && !duel->is_client) ||
               duel->info.expires_s >= duel->world.engine->wall_s);
}

void fuzz_duel_judge_open(struct fuzz_duel *duel)
{
    bool is_certificate = hf_hello_key_exchange(duel->info.suite) != HF_KEY_EXCHANGE_PSK;
    FUZZ_CHECK(duel->info.is_client == duel->is_client);
    FUZZ_CHECK(is_certificate ? duel->kind != FUZZ_DUEL_PSK
                              : duel->kind == FUZZ_DUEL_PSK || duel->kind == FUZZ_DUEL_BOTH);
    FUZZ_CHECK(duel->suite == HF_SUITE_NONE || duel->info.suite == duel->suite);
    FUZZ_CHECK(!duel->info.is_resumed || duel->has_sessions);
    FUZZ_CHECK(duel->has_master_secret[0]);
    if (!duel->is_strict)
        return;
    FUZZ_CHECK(duel->kind != FUZZ_DUEL_STRANGER);
    /* Both ends have computed the same; with extended master secret, over the same messages. */
    if (fuzz_is_canary())
        duel->master_secret[0][0] ^= 1;
    FUZZ_CHECK(duel->has_master_secret[1]);
    FUZZ_CHECK(memcmp(duel->master_secret[0], duel->master_secret[1], 48) == 0);
    if (duel->is_unsure)
        return;
    if (is_certificate)
        judge_identity(duel);
    if (duel->is_dtls)
        FUZZ_CHECK((needed_of(duel, is_certificate) & ~duel->delivered) == 0);
    else
        FUZZ_CHECK(duel->tampered == 0 && !duel->is_disordered);
}

/* ---- failures -------------------------------------------------------------------------------- */

/* The alerts that a message not as it was said may lead to, besides what its being there, or not,
 * leads to. */
static bool is_alert_of(uint8_t type, uint8_t alert)
{
    static const uint8_t alerts[32][20] = {
        [HF_MESSAGE_CLIENT_HELLO] = {50, 47, 40, 43, 70, 86, 71, 112, 51, 20},
        [HF_MESSAGE_SERVER_HELLO] = {50, 47, 40, 70, 71, 110, 43, 51, 20},
        [HF_MESSAGE_CERTIFICATE] = {50, 40, 42, 43, 44, 45, 46, 47, 48, 51},
        [HF_MESSAGE_SERVER_KEY_EXCHANGE] = {50, 47, 51, 20},
        [HF_MESSAGE_CERTIFICATE_REQUEST] = {50, 40, 47, 80, 51, 20},
        [HF_MESSAGE_SERVER_HELLO_DONE] = {50, 47},
        [HF_MESSAGE_CLIENT_KEY_EXCHANGE] = {50, 47, 51, 20},
        [HF_MESSAGE_CERTIFICATE_VERIFY] = {50, 47, 51},
        [HF_MESSAGE_NEW_SESSION_TICKET] = {50, 47, 51, 20},
    };
    for (size_t i = 0; i < sizeof alerts[0] && alerts[type & 31][i] != 0; i++) {
        if (alerts[type & 31][i] == alert)
            return true;
    }
    return false;
}

void fuzz_duel_judge_failure(struct fuzz_duel *duel)
{
    enum hf_status status = duel->failure.status;
    uint8_t alert = duel->failure.alert;
    bool is_one = (duel->tampered & (duel->tampered - 1)) == 0 && duel->tampered != 0;
    FUZZ_CHECK(status == HF_E_PEER_ALERT || alert == hf_status_alert(status) ||
               alert == HF_ALERT_NONE);
    /* TLS, one message changed in place, nothing else odd: whose fault it is, is clear. */
    if (duel->is_dtls || !is_one || duel->is_unsure || duel->is_disordered || duel->is_meddled ||
        !duel->is_roomy || status == HF_E_PEER_ALERT || hf_status_class(status) == HF_CLASS_LIMIT ||
        hf_status_class(status) == HF_CLASS_CLOSED || status == HF_E_UNEXPECTED_MESSAGE ||
        duel->kind == FUZZ_DUEL_STRANGER || status == HF_E_NO_CREDENTIAL)
        return;
    for (uint8_t type = 0; type < 32; type++) {
        if (!(duel->tampered & BIT(type)) || is_alert_of(type, alert))
            continue;
        fprintf(stderr, "message %u: %s, alert %u, in %s\n", type, hf_status_reason(status), alert,
                duel->failure.state);
        FUZZ_FAIL("an alert that does not fit");
    }
}

/* ---- the end --------------------------------------------------------------------------------- */

void fuzz_duel_judge_end(struct fuzz_duel *duel)
{
    bool is_calm = !duel->is_disturbed && duel->is_roomy && duel->drop_count <= HANDSHAKE_DROPS_MAX;
    bool must_open =
        is_calm && duel->kind != FUZZ_DUEL_STRANGER && (duel->is_dtls || !duel->is_disordered);
    FUZZ_CHECK(!must_open || (duel->is_open && duel->is_peer_open));
    if (!duel->is_open || !duel->is_peer_open || duel->is_over || duel->is_peer_over)
        return;
    struct hf_association_info theirs;
    if (hf_engine_association_info(&theirs, duel->peer, duel->peer_id) != HF_OK || !duel->is_strict)
        return;
    FUZZ_CHECK(theirs.suite == duel->info.suite);
    FUZZ_CHECK(theirs.extended_master_secret == duel->info.extended_master_secret);
    FUZZ_CHECK(theirs.encrypt_then_mac == duel->info.encrypt_then_mac);
    FUZZ_CHECK(theirs.is_resumed == duel->info.is_resumed);
    FUZZ_CHECK(strcmp(theirs.server_name, duel->info.server_name) == 0);
}
