/**
 * authority.c - see authority.h.
 */
#include "authority.h"

static uint8_t lower(uint8_t byte)
{
    return byte >= 'A' && byte <= 'Z' ? (uint8_t)(byte | 0x20) : byte;
}

static bool is_name(const char *name, struct hf_bytes asked)
{
    if (!name || strlen(name) != asked.len)
        return false;
    for (size_t i = 0; i < asked.len; i++) {
        if (lower((uint8_t)name[i]) != lower(asked.data[i]))
            return false;
    }
    return asked.len > 0;
}

static const char *check_one(const struct hf_listener_authority *authority)
{
    size_t x509_len = authority->x509 ? hf_credential_message(authority->x509, false).len : 0;
    if (authority->server_name && strlen(authority->server_name) >= HF_SERVER_NAME_MAX)
        return "listener: a server_name of more than 255 bytes";
    if (authority->x509 && x509_len == 0)
        return "listener: a credential shown as a certificate has none";
    if (x509_len > HF_AUTHORITY_MESSAGE_LEN_MAX)
        return "listener: a chain of more than 10,000 bytes";
    return NULL;
}

const char *hf_authority_check(const struct hf_listener *listener)
{
    const char *reason = NULL;
    if (listener->authority_count > HF_LISTENER_AUTHORITIES_MAX)
        return "listener: more than 16 authorities";
    for (uint32_t i = 0; !reason && i < listener->authority_count; i++) {
        const struct hf_listener_authority *authority = &listener->authorities[i];
        reason = check_one(authority);
        for (uint32_t j = 0; !reason && authority->server_name && j < i; j++) {
            const char *other = listener->authorities[j].server_name;
            const struct hf_bytes name = {(const uint8_t *)authority->server_name,
                                          strlen(authority->server_name)};
            if (is_name(other, name))
                reason = "listener: two authorities of one name";
        }
    }
    return reason;
}

static struct hf_listener_authority share(const struct hf_listener_authority *authority)
{
    return (struct hf_listener_authority){
        .x509 = authority->x509 ? hf_credential_share(authority->x509) : NULL,
        .raw = authority->raw ? hf_credential_share(authority->raw) : NULL,
        .trust = authority->trust ? hf_trust_share(authority->trust) : NULL,
        .quota_index = authority->quota_index,
    };
}

static void unshare(const struct hf_listener_authority *authority)
{
    hf_credential_close((struct hf_credential *)(uintptr_t)authority->x509);
    hf_credential_close((struct hf_credential *)(uintptr_t)authority->raw);
    hf_trust_close((struct hf_trust *)(uintptr_t)authority->trust);
}

void hf_authority_adopt(struct hf_engine *engine, uint32_t listener_index,
                        const struct hf_listener *listener)
{
    struct hf_listener_authority shared[HF_LISTENER_AUTHORITIES_MAX];
    size_t first = (size_t)listener_index * HF_LISTENER_AUTHORITIES_MAX;
    struct hf_listener_authority *own = engine->authorities + first;
    for (uint32_t i = 0; i < listener->authority_count;
         i++)                                         /* before the former are let go: they */
        shared[i] = share(&listener->authorities[i]); /* may be the same */
    hf_authority_release(engine, listener_index);
    for (uint32_t i = 0; i < listener->authority_count; i++) {
        const char *server_name = listener->authorities[i].server_name;
        char *name = engine->server_names + (first + i) * HF_SERVER_NAME_MAX;
        own[i] = shared[i];
        if (server_name) {
            memmove(name, server_name, strlen(server_name) + 1);
            own[i].server_name = name;
        }
    }
    engine->listeners[listener_index] = *listener;
    engine->listeners[listener_index].authorities = own;
}

void hf_authority_release(struct hf_engine *engine, uint32_t listener_index)
{
    struct hf_listener *listener = &engine->listeners[listener_index];
    for (uint32_t i = 0; i < listener->authority_count; i++)
        unshare(&listener->authorities[i]);
    listener->authority_count = 0;
}

static struct hf_listener_authority authority_of(const struct hf_dialer *dialer)
{
    return (struct hf_listener_authority){
        .x509 = dialer->x509, .raw = dialer->raw, .trust = dialer->trust};
}

const char *hf_authority_check_dialer(const struct hf_dialer *dialer)
{
    const struct hf_listener_authority authority = authority_of(dialer);
    return check_one(&authority) ? "dialer: a certificate that is none, or a chain of more than "
                                   "10,000 bytes"
                                 : NULL;
}

bool hf_authority_is_shown(const struct hf_dialer *dialer, const struct hf_credential *x509)
{
    const struct hf_listener_authority authority = {.x509 = x509};
    return !x509 || (dialer->x509 && !check_one(&authority));
}

void hf_authority_adopt_dialer(struct hf_engine *engine, uint32_t dialer_index,
                               const struct hf_dialer *dialer)
{
    const struct hf_listener_authority authority = authority_of(dialer);
    const struct hf_listener_authority shared = share(&authority); /* may be the former ones */
    hf_authority_release_dialer(engine, dialer_index);
    struct hf_dialer *own = &engine->dialers[dialer_index];
    *own = *dialer;
    own->x509 = shared.x509;
    own->raw = shared.raw;
    own->trust = shared.trust;
}

void hf_authority_release_dialer(struct hf_engine *engine, uint32_t dialer_index)
{
    struct hf_dialer *dialer = &engine->dialers[dialer_index];
    const struct hf_listener_authority authority = authority_of(dialer);
    unshare(&authority);
    dialer->x509 = dialer->raw = NULL;
    dialer->trust = NULL;
}

enum hf_status hf_authority_find(uint8_t *out, bool *is_name_known,
                                 const struct hf_listener *listener, struct hf_bytes server_name)
{
    bool has_names = false;
    *out = 0;
    *is_name_known = false;
    for (uint32_t i = 0; server_name.len > 0 && i < listener->authority_count; i++) {
        has_names |= listener->authorities[i].server_name != NULL;
        if (is_name(listener->authorities[i].server_name, server_name)) {
            *out = (uint8_t)i;
            *is_name_known = true;
            return HF_OK;
        }
    }
    return has_names ? HF_E_UNRECOGNIZED_NAME : HF_OK;
}
