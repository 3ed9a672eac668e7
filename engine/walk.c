/**
 * walk.c - looking at all associations of a running engine, a slice at a time, and changing what a
 * listener or a dialer offers. Neither is on the packet path.
 */
#include "association.h"
#include "authority.h"

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

enum hf_status hf_engine_update_listener(struct hf_engine *engine, uint32_t listener_index,
                                         const struct hf_listener *listener)
{
    struct hf_config config = engine->config;
    if (listener_index >= engine->config.listener_count ||
        engine->listeners[listener_index].transport != listener->transport ||
        engine->listeners[listener_index].quota_index != listener->quota_index)
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
    engine->dialers[dialer_index] = *dialer;
    return HF_OK;
}
