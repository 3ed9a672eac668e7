/**
 * maf_resource.h - what a registration at a MAF holds, as a struct and as JSON: requests and
 * responses, read and written at both ends. Names are those of maf_names.h.
 */
#ifndef HF_MAF_RESOURCE_H
#define HF_MAF_RESOURCE_H

#include "maf_names.h"
#include "maf_text.h"

#define HF_MAF_LIST_MAX 2048 /**< bytes of a list, NULs included */
#define HF_MAF_LABEL_MAX 256 /**< bytes of a label */
#define HF_MAF_KEY_MIN 16    /**< bytes: fewer are guessable */
#define HF_MAF_SUID_SAEF 32  /**< distributed by a MAF for SAEF (TS-0004 6.3.4.2.39) */

enum hf_maf_kind {
    HF_MAF_CLIENT_REGISTRATION = 0,
    HF_MAF_KEY_REGISTRATION,
    HF_MAF_CLIENT_CONFIGURATION,
};

/** Strings, each with its NUL. */
struct hf_maf_list {
    uint16_t count;
    uint16_t len; /**< of `text` */
    char text[HF_MAF_LIST_MAX];
};

/** What a `has` says is there. */
#define HF_MAF_HAS(name) (1U << HF_MAF_NAME_##name)

/** A registration. Strings end in NUL. Secret: wipe it. */
struct hf_maf_resource {
    enum hf_maf_kind kind;
    uint32_t has; /**< of HF_MAF_HAS() */
    uint16_t suid;
    uint8_t key_len;
    int64_t expires_s;
    char resource_id[HF_MAF_RELATIVE_KEY_ID_MAX + 1];
    char client_id[HF_ENTITY_ID_MAX + 1]; /**< MAF Client ID, or Source MAF Client ID of a key */
    char admin_fqdn[HF_MAF_FQDN_MAX + 1];
    char assigned_key_id[HF_MAF_IDENTITY_MAX + 1];
    struct hf_maf_list labels;
    struct hf_maf_list target_ids;
    uint8_t key[HF_PSK_MAX];
};

/** hf_maf_resource_init sets a JSON library's allocator that wipes what it frees. Call once, before
 *  any thread and before any JSON is parsed: it is the process's. */
void hf_maf_resource_init(void);

/** hf_maf_resource_read reads JSON of one root object of `kind`. Unknown members are skipped; known
 *  ones must have their type, grammar and bounds. On false `*why` is static text naming the member,
 *  and `out` is wiped. */
HF_MUST_USE bool hf_maf_resource_read(struct hf_maf_resource *out, const char **why,
                                      enum hf_maf_kind kind, struct hf_bytes json);

/** hf_maf_resource_write writes what `has` says and gives the length, 0 when it does not fit. */
HF_MUST_USE size_t hf_maf_resource_write(char *out, size_t out_max,
                                         const struct hf_maf_resource *resource);

/** hf_maf_resource_wipe clears it. */
void hf_maf_resource_wipe(struct hf_maf_resource *resource);

/** hf_maf_list_add appends; false: no room, or empty, or with a NUL inside. */
HF_MUST_USE bool hf_maf_list_add(struct hf_maf_list *list, struct hf_bytes text);

/** hf_maf_list_has tells whether `text` is in it, byte by byte. */
HF_MUST_USE bool hf_maf_list_has(const struct hf_maf_list *list, struct hf_bytes text);

/** hf_maf_list_next gives one string after the other, NULL at the end. In: `*at` 0 to begin. */
const char *hf_maf_list_next(const struct hf_maf_list *list, uint16_t *at);

/** hf_maf_list_equal tells whether both hold the same strings in the same order. */
HF_MUST_USE bool hf_maf_list_equal(const struct hf_maf_list *a, const struct hf_maf_list *b);

#endif
