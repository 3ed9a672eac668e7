/**
 * originator.c - the From parameter against what the association proved (TS-0003 7.2.1). Not part
 * of a handshake: for the application behind it.
 */
#include <handfast/originator.h>

#include "crypto.h"

#include <string.h>

#define IDENTIFIER_MAX 512

/** An identifier in parts. What is relative has been completed. */
struct identifier {
    enum hf_entity_kind kind; /**< CSE, AE; PENDING: malformed */
    bool is_stem;             /**< written as an AE-ID-Stem alone */
    struct hf_bytes provider; /**< M2M-SP-ID without slashes */
    struct hf_bytes cse;      /**< empty for an AE-ID of the provider */
    struct hf_bytes stem;     /**< empty for a CSE */
};

static struct hf_bytes skip(struct hf_bytes text, size_t len)
{
    return (struct hf_bytes){text.data + len, text.len - len};
}

static struct hf_bytes until_slash(struct hf_bytes text)
{
    const uint8_t *slash = text.len > 0 ? memchr(text.data, '/', text.len) : NULL;
    return (struct hf_bytes){text.data, slash ? (size_t)(slash - text.data) : text.len};
}

/* "//provider/cse": an IN-CSE's own identifier, whatever letter it starts with. */
static bool split_own(struct identifier *out, struct hf_bytes id)
{
    *out = (struct identifier){.kind = HF_ENTITY_CSE};
    if (id.len < 5 || id.len > IDENTIFIER_MAX || id.data[0] != '/' || id.data[1] != '/')
        return false;
    out->provider = until_slash(skip(id, 2));
    if (out->provider.len == 0 || out->provider.len + 3 >= id.len)
        return false;
    out->cse = skip(id, out->provider.len + 3);
    return until_slash(out->cse).len == out->cse.len;
}

static struct identifier split(struct hf_bytes id, const struct identifier *own)
{
    struct identifier out = {.kind = hf_entity_kind_of(id), .provider = own->provider};
    if (out.kind == HF_ENTITY_PENDING || id.len > IDENTIFIER_MAX)
        return (struct identifier){.kind = HF_ENTITY_PENDING};
    if (id.data[0] != '/') {
        out.is_stem = true;
        out.stem = id;
        if (id.data[0] == 'C')
            out.cse = own->cse;
        return out;
    }
    struct hf_bytes rest = skip(id, 1);
    if (rest.data[0] == '/') {
        out.provider = until_slash(skip(rest, 1));
        rest = skip(rest, out.provider.len + 2);
    }
    struct hf_bytes first = until_slash(rest);
    if (first.len < rest.len) {
        out.cse = first;
        out.stem = skip(rest, first.len + 1);
    } else if (out.kind == HF_ENTITY_CSE) {
        out.cse = first;
    } else {
        out.stem = first;
    }
    return out;
}

static bool equal(struct hf_bytes a, struct hf_bytes b)
{
    return a.len == b.len && hf_bytes_equal_public(a.data, b.data, a.len);
}

static uint8_t folded(uint8_t byte)
{
    return byte >= 'A' && byte <= 'Z' ? byte | 0x20 : byte;
}

/* Domain names have no case. */
static bool equal_domain(struct hf_bytes a, struct hf_bytes b)
{
    bool is_equal = a.len == b.len;
    for (size_t i = 0; is_equal && i < a.len; i++)
        is_equal = folded(a.data[i]) == folded(b.data[i]);
    return is_equal;
}

static bool is_same(const struct identifier *a, const struct identifier *b)
{
    return equal_domain(a->provider, b->provider) && equal(a->cse, b->cse) &&
           equal(a->stem, b->stem);
}

/* Asks the application, by the absolute form. */
static bool is_registree(const struct hf_originator *originator, const struct identifier *id)
{
    uint8_t text[2 + 3 * IDENTIFIER_MAX + 2];
    size_t len = 0;
    if (!originator->is_registree)
        return false;
    text[len++] = '/';
    text[len++] = '/';
    for (size_t i = 0; i < id->provider.len; i++)
        text[len++] = folded(id->provider.data[i]);
    if (id->cse.len > 0) {
        text[len++] = '/';
        memcpy(text + len, id->cse.data, id->cse.len);
        len += id->cse.len;
    }
    if (id->stem.len > 0) {
        text[len++] = '/';
        memcpy(text + len, id->stem.data, id->stem.len);
        len += id->stem.len;
    }
    return originator->is_registree((struct hf_bytes){text, len}, originator->arg);
}

/* An AE says its AE-ID-Stem; which of its own, if it has proven any (TS-0001 10.2.2.2). */
static enum hf_originator_verdict check_ae(const struct hf_originator *originator,
                                           const struct identifier *own)
{
    struct hf_bytes list = originator->entity_id;
    if (originator->from.len == 0)
        return originator->operation == HF_ORIGINATOR_CREATE_AE ? HF_ORIGINATOR_OK
                                                                : HF_ORIGINATOR_BAD_REQUEST;
    struct identifier from = split(originator->from, own);
    if (!from.is_stem)
        return HF_ORIGINATOR_BAD_REQUEST;
    if (originator->entity_kind == HF_ENTITY_PENDING)
        return HF_ORIGINATOR_OK; /* settled at registration (TS-0003 8.2.2.1) */
    while (list.len > 0) {
        const uint8_t *space = memchr(list.data, ' ', list.len);
        struct hf_bytes item = {list.data, space ? (size_t)(space - list.data) : list.len};
        struct identifier proven = split(item, own);
        if (proven.kind == HF_ENTITY_AE && is_same(&proven, &from))
            return HF_ORIGINATOR_OK;
        list = skip(list, item.len + (space ? 1 : 0));
    }
    return HF_ORIGINATOR_NOT_AUTHENTICATED;
}

/* A CSE may pass on what others say, but not what another of our registrees would say itself. */
static enum hf_originator_verdict check_cse(const struct hf_originator *originator,
                                            const struct identifier *own)
{
    struct identifier peer, from;
    if (originator->from.len == 0)
        return HF_ORIGINATOR_BAD_REQUEST;
    bool has_peer = split_own(&peer, originator->entity_id);
    /* its own name first: the grammar alone takes a CSE-ID that starts with S for an AE-ID */
    if (has_peer && split_own(&from, originator->from) && is_same(&from, &peer))
        return HF_ORIGINATOR_OK;
    from = split(originator->from, own);
    if (from.kind == HF_ENTITY_PENDING)
        return HF_ORIGINATOR_BAD_REQUEST;
    if (!has_peer)
        return HF_ORIGINATOR_NOT_AUTHENTICATED;
    if (originator->operation == HF_ORIGINATOR_CREATE_REMOTE_CSE)
        return is_same(&from, &peer) ? HF_ORIGINATOR_OK : HF_ORIGINATOR_ASSOCIATION_REQUIRED;
    if (from.is_stem && from.stem.data[0] == 'C')
        return HF_ORIGINATOR_NOT_AUTHENTICATED;
    struct identifier cse = {.kind = HF_ENTITY_CSE, .provider = from.provider, .cse = from.cse};
    if (cse.cse.len == 0 || is_same(&cse, &peer))
        return HF_ORIGINATOR_OK;
    /* ours included: what we and our AEs say does not come in from another CSE */
    bool is_known = is_same(&cse, own) || is_registree(originator, &cse);
    return is_known ? HF_ORIGINATOR_NOT_AUTHENTICATED : HF_ORIGINATOR_OK;
}

/* Without an association only AEs that are known here, or that come to register. */
static enum hf_originator_verdict check_unprotected(const struct hf_originator *originator,
                                                    const struct identifier *own)
{
    if (originator->from.len == 0)
        return originator->operation == HF_ORIGINATOR_CREATE_AE ? HF_ORIGINATOR_OK
                                                                : HF_ORIGINATOR_BAD_REQUEST;
    struct identifier from = split(originator->from, own);
    if (from.kind == HF_ENTITY_PENDING)
        return HF_ORIGINATOR_BAD_REQUEST;
    if (from.kind == HF_ENTITY_CSE || originator->operation == HF_ORIGINATOR_CREATE_REMOTE_CSE)
        return HF_ORIGINATOR_ASSOCIATION_REQUIRED;
    if (originator->operation == HF_ORIGINATOR_CREATE_AE || is_registree(originator, &from))
        return HF_ORIGINATOR_OK;
    return HF_ORIGINATOR_NOT_AUTHENTICATED;
}

enum hf_originator_verdict hf_originator_check(const struct hf_originator *originator)
{
    struct identifier own;
    if (!split_own(&own, originator->own_cse_id))
        return HF_ORIGINATOR_BAD_REQUEST;
    if (!originator->has_association)
        return check_unprotected(originator, &own);
    if (originator->entity_kind == HF_ENTITY_CSE)
        return check_cse(originator, &own);
    return check_ae(originator, &own);
}

const char *hf_originator_verdict_name(enum hf_originator_verdict verdict)
{
    switch (verdict) {
    case HF_ORIGINATOR_OK:
        return "ok";
    case HF_ORIGINATOR_BAD_REQUEST:
        return "bad_request";
    case HF_ORIGINATOR_NOT_AUTHENTICATED:
        return "originator_not_authenticated";
    case HF_ORIGINATOR_ASSOCIATION_REQUIRED:
        return "security_association_required";
    }
    return "unknown";
}
