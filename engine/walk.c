/**
 * walk.c - looking at all associations of a running engine, a slice at a time, and changing what a
 * listener or a dialer offers. Neither is on the packet path.
 */
#include "association.h"
#include "authority.h"
#include "identity.h"
#include "machine.h"

uint32_t hf_engine_association_slots(const struct hf_engine *engine)
{
    return engine->associations.touched;
}

bool hf_engine_next_association(struct hf_association_entry *out, uint32_t *cursor,
                                const struct hf_engine *engine, uint32_t cursor_end)
{
    uint32_t end = engine->associations.touched;
    if (end > cursor_end)
        end = cursor_end;
    while (*cursor < end) {
        const struct hf_association *association = hf_association_at(engine, (*cursor)++);
        if (association->state == HF_STATE_FREE)
            continue;
        out->association = hf_association_handle(engine, association);
        out->context = association->context;
        out->listener_index = association->listener_index;
        out->is_client = hf_is_client(association);
        out->established = association->state == HF_STATE_OPEN;
        return true;
    }
    return false;
}

/** Judges a credential by what its listener trusts now. HF_OK: it may stay. */
static enum hf_status judge(const struct hf_engine *engine,
                            const struct hf_association *association)
{
    uint8_t handles[HF_CHAIN_DEPTH_MAX * HF_REVOCATION_HANDLE_LEN];
    uint8_t authority_index;
    bool is_name_known;
    struct hf_association_info info = {0};
    if (hf_association_is_expired(engine, association))
        return HF_E_CREDENTIAL_EXPIRED;
    if (association->framework != HF_FRAMEWORK_CERTIFICATE || hf_is_client(association))
        return HF_OK;
    const struct hf_listener *listener = hf_listener_of(engine, association);
    hf_identity_copy(&info, engine, association->identity);
    const struct hf_bytes server_name = {(const uint8_t *)info.server_name, info.server_name_len};
    if (hf_authority_find(&authority_index, &is_name_known, listener, server_name) != HF_OK ||
        authority_index >= listener->authority_count ||
        !listener->authorities[authority_index].trust)
        return HF_E_CREDENTIAL_REVOKED; /* nobody here vouches for it any more */
    const struct hf_trust *trust = listener->authorities[authority_index].trust;
    size_t count = hf_identity_handles(handles, engine, association->identity);
    for (size_t i = 0; i < count; i++) {
        if (hf_trust_is_revoked(trust, handles + i * HF_REVOCATION_HANDLE_LEN))
            return HF_E_CREDENTIAL_REVOKED;
    }
    return HF_OK;
}

uint32_t hf_engine_end_unfit(struct hf_engine *engine, uint32_t *cursor, uint32_t cursor_end,
                             uint32_t ends_max)
{
    uint32_t end = engine->associations.touched, ended = 0;
    if (end > cursor_end)
        end = cursor_end;
    while (*cursor < end && ended < ends_max && hf_outbox_has_room(&engine->outbox)) {
        struct hf_association *association = hf_association_at(engine, (*cursor)++);
        if (association->state != HF_STATE_OPEN)
            continue;
        enum hf_status status = judge(engine, association);
        if (status == HF_OK)
            continue;
        hf_machine_fail(engine, association, status, HF_MACHINE_CLOSE, "TS-0001 11.3.2");
        ended++;
    }
    if (*cursor >= end && hf_outbox_has_room(&engine->outbox))
        *cursor = cursor_end;
    return ended;
}

void hf_engine_drain(struct hf_engine *engine, bool is_draining)
{
    engine->is_draining = is_draining;
}

enum hf_status hf_engine_update_listener(struct hf_engine *engine, uint32_t listener_index,
                                         const struct hf_listener *listener)
{
    struct hf_config config = engine->config;
    if (listener_index >= engine->config.listener_count ||
        engine->listeners[listener_index].transport != listener->transport)
        return HF_E_ARGUMENT;
    config.listeners = listener;
    config.listener_count = 1;
    HF_TRY(hf_config_check(NULL, &config));
    hf_authority_adopt(engine, listener_index, listener);
    return HF_OK;
}

enum hf_status hf_engine_update_dialer(struct hf_engine *engine, uint32_t dialer_index,
                                       const struct hf_dialer *dialer)
{
    struct hf_config config = engine->config;
    if (dialer_index >= engine->config.dialer_count ||
        engine->dialers[dialer_index].transport != dialer->transport)
        return HF_E_ARGUMENT;
    config.dialers = dialer;
    config.dialer_count = 1;
    HF_TRY(hf_config_check(NULL, &config));
    hf_authority_adopt_dialer(engine, dialer_index, dialer);
    return HF_OK;
}
