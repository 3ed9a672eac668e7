/**
 * pkcs11.c - a PKCS#11 module, loaded at run time: session, login, finding keys, CKM_ECDSA.
 *
 * The module may bring an OpenSSL along, whose functions go by the names BoringSSL's have: it is
 * loaded so that it finds its own first. One thread, so nothing here is locked.
 */
#include "pkcs11.h"

#include <stdio.h>

#ifndef HF_HAS_PKCS11

bool pkcs11_open(struct pkcs11 **out, char error[KEYS_ERROR_MAX],
                 const struct pkcs11_config *config)
{
    (void)config;
    *out = NULL;
    snprintf(error, KEYS_ERROR_MAX, "built without PKCS#11: no libp11-kit-dev, or a sanitizer");
    return false;
}

void pkcs11_close(struct pkcs11 *module)
{
    (void)module;
}

bool pkcs11_find(uint64_t *handle, uint8_t point[HF_P256_POINT_LEN], char error[KEYS_ERROR_MAX],
                 struct pkcs11 *module, const char *object)
{
    (void)handle;
    (void)point;
    (void)module;
    (void)object;
    snprintf(error, KEYS_ERROR_MAX, "built without PKCS#11");
    return false;
}

bool pkcs11_sign(uint8_t out[64], struct pkcs11 *module, struct key *key,
                 const uint8_t digest[HF_SIGNER_DIGEST_LEN])
{
    (void)out;
    (void)module;
    (void)key;
    (void)digest;
    return false;
}

#else

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

#include <p11-kit/pkcs11.h>

#define SLOTS_MAX 64
#define TOKEN_LABEL_LEN 32

struct pkcs11 {
    void *library;
    CK_FUNCTION_LIST *functions;
    CK_SLOT_ID slot;
    CK_SESSION_HANDLE session;
    bool is_initialized;
    bool is_session_open;
    char pin[256];
};

static bool fail(char error[KEYS_ERROR_MAX], const char *what, CK_RV code)
{
    snprintf(error, KEYS_ERROR_MAX, "PKCS#11: %s: code 0x%lx", what, (unsigned long)code);
    return false;
}

/* ---- module and session ---- */

static bool load(struct pkcs11 *module, char error[KEYS_ERROR_MAX], const char *path)
{
    CK_RV (*get_functions)(CK_FUNCTION_LIST * *list) = NULL;
    CK_RV code;
    void *symbol;

    module->library = dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_DEEPBIND);
    if (!module->library) {
        snprintf(error, KEYS_ERROR_MAX, "PKCS#11: %s", dlerror());
        return false;
    }
    symbol = dlsym(module->library, "C_GetFunctionList");
    if (!symbol) {
        snprintf(error, KEYS_ERROR_MAX, "PKCS#11: %s: not a module", path);
        return false;
    }
    memcpy(&get_functions, &symbol, sizeof symbol);
    code = get_functions(&module->functions);
    if (code != CKR_OK)
        return fail(error, "C_GetFunctionList", code);
    code = module->functions->C_Initialize(NULL);
    if (code != CKR_OK && code != CKR_CRYPTOKI_ALREADY_INITIALIZED)
        return fail(error, "C_Initialize", code);
    module->is_initialized = true;
    return true;
}

/* Labels of tokens are padded with blanks. */
static bool is_token(const CK_TOKEN_INFO *info, const char *label)
{
    size_t len = strlen(label);

    if (len > TOKEN_LABEL_LEN || memcmp(info->label, label, len) != 0)
        return false;
    for (size_t i = len; i < TOKEN_LABEL_LEN; i++) {
        if (info->label[i] != ' ')
            return false;
    }
    return true;
}

static bool find_slot(struct pkcs11 *module, char error[KEYS_ERROR_MAX], const char *label)
{
    CK_SLOT_ID slots[SLOTS_MAX];
    CK_ULONG count = SLOTS_MAX;
    CK_TOKEN_INFO info;
    size_t found = 0;
    CK_RV code = module->functions->C_GetSlotList(CK_TRUE, slots, &count);

    if (code != CKR_OK)
        return fail(error, "C_GetSlotList", code);
    for (CK_ULONG i = 0; i < count; i++) {
        if (module->functions->C_GetTokenInfo(slots[i], &info) != CKR_OK ||
            (info.flags & CKF_TOKEN_INITIALIZED) == 0 || (label && !is_token(&info, label)))
            continue;
        module->slot = slots[i];
        found++;
    }
    if (found == 1)
        return true;
    snprintf(error, KEYS_ERROR_MAX, "PKCS#11: %zu tokens%s%s: --token names one", found,
             label ? " labelled " : "", label ? label : "");
    return false;
}

static bool open_session(struct pkcs11 *module, char error[KEYS_ERROR_MAX])
{
    CK_RV code = module->functions->C_OpenSession(module->slot, CKF_SERIAL_SESSION, NULL, NULL,
                                                  &module->session);

    if (code != CKR_OK)
        return fail(error, "C_OpenSession", code);
    module->is_session_open = true;
    if (module->pin[0] == '\0')
        return true;
    code = module->functions->C_Login(module->session, CKU_USER, (CK_UTF8CHAR *)module->pin,
                                      strlen(module->pin));
    return code == CKR_OK || code == CKR_USER_ALREADY_LOGGED_IN || fail(error, "C_Login", code);
}

bool pkcs11_open(struct pkcs11 **out, char error[KEYS_ERROR_MAX],
                 const struct pkcs11_config *config)
{
    struct pkcs11 *module = calloc(1, sizeof *module);

    *out = NULL;
    if (!module || (config->pin && strlen(config->pin) >= sizeof module->pin)) {
        snprintf(error, KEYS_ERROR_MAX, module ? "PKCS#11: the PIN is too long" : "out of memory");
        free(module);
        return false;
    }
    if (config->pin)
        memcpy(module->pin, config->pin, strlen(config->pin));
    if (load(module, error, config->module) && find_slot(module, error, config->token) &&
        open_session(module, error)) {
        *out = module;
        return true;
    }
    pkcs11_close(module);
    return false;
}

void pkcs11_close(struct pkcs11 *module)
{
    if (!module)
        return;
    if (module->is_session_open)
        (void)module->functions->C_CloseSession(module->session);
    if (module->is_initialized)
        (void)module->functions->C_Finalize(NULL);
    // Not unloaded: modules are known to leave threads and exit handlers behind.
    explicit_bzero(module, sizeof *module);
    free(module);
}

/* ---- keys ---- */

/* Exactly one object of this class and name. */
static bool find_object(CK_OBJECT_HANDLE *out, char error[KEYS_ERROR_MAX], struct pkcs11 *module,
                        CK_OBJECT_CLASS class, const char *object)
{
    CK_KEY_TYPE type = CKK_EC;
    CK_ATTRIBUTE wanted[] = {{CKA_CLASS, &class, sizeof class},
                             {CKA_KEY_TYPE, &type, sizeof type},
                             {CKA_LABEL, (void *)(uintptr_t)object, strlen(object)}};
    CK_OBJECT_HANDLE found[2];
    CK_ULONG count = 0;
    CK_RV code = module->functions->C_FindObjectsInit(module->session, wanted, 3);

    if (code != CKR_OK)
        return fail(error, "C_FindObjectsInit", code);
    code = module->functions->C_FindObjects(module->session, found, 2, &count);
    (void)module->functions->C_FindObjectsFinal(module->session);
    if (code != CKR_OK)
        return fail(error, "C_FindObjects", code);
    if (count == 1) {
        *out = found[0];
        return true;
    }
    snprintf(error, KEYS_ERROR_MAX, "PKCS#11: %s EC %s key is called %s",
             count == 0 ? "no" : "more than one", class == CKO_PRIVATE_KEY ? "private" : "public",
             object);
    return false;
}

static bool is_on_p256(struct pkcs11 *module, CK_OBJECT_HANDLE handle)
{
    static const uint8_t prime256v1[] = {0x06, 0x08, 0x2a, 0x86, 0x48,
                                         0xce, 0x3d, 0x03, 0x01, 0x07};
    uint8_t params[64];
    CK_ATTRIBUTE attribute = {CKA_EC_PARAMS, params, sizeof params};

    return module->functions->C_GetAttributeValue(module->session, handle, &attribute, 1) ==
               CKR_OK &&
           attribute.ulValueLen == sizeof prime256v1 &&
           memcmp(params, prime256v1, sizeof prime256v1) == 0;
}

/* The point is an OCTET STRING around the 65 bytes; some modules leave the wrapping away. */
static bool read_point(uint8_t point[HF_P256_POINT_LEN], struct pkcs11 *module,
                       CK_OBJECT_HANDLE handle)
{
    uint8_t value[2 + HF_P256_POINT_LEN];
    CK_ATTRIBUTE attribute = {CKA_EC_POINT, value, sizeof value};
    const uint8_t *bare = value;

    if (module->functions->C_GetAttributeValue(module->session, handle, &attribute, 1) != CKR_OK)
        return false;
    if (attribute.ulValueLen == sizeof value && value[0] == 0x04 && value[1] == HF_P256_POINT_LEN)
        bare += 2;
    else if (attribute.ulValueLen != HF_P256_POINT_LEN)
        return false;
    memcpy(point, bare, HF_P256_POINT_LEN);
    return bare[0] == 0x04;
}

bool pkcs11_find(uint64_t *handle, uint8_t point[HF_P256_POINT_LEN], char error[KEYS_ERROR_MAX],
                 struct pkcs11 *module, const char *object)
{
    CK_OBJECT_HANDLE private_key;
    CK_OBJECT_HANDLE public_key;

    if (!find_object(&private_key, error, module, CKO_PRIVATE_KEY, object) ||
        !find_object(&public_key, error, module, CKO_PUBLIC_KEY, object))
        return false;
    if (!is_on_p256(module, private_key) || !read_point(point, module, public_key)) {
        snprintf(error, KEYS_ERROR_MAX, "PKCS#11: %s is not a P-256 key pair", object);
        return false;
    }
    *handle = private_key;
    return true;
}

static CK_RV sign_once(uint8_t out[64], struct pkcs11 *module, const struct key *key,
                       const uint8_t *digest)
{
    CK_MECHANISM mechanism = {CKM_ECDSA, NULL, 0};
    CK_ULONG len = 64;
    CK_RV code =
        module->functions->C_SignInit(module->session, &mechanism, (CK_OBJECT_HANDLE)key->handle);

    if (code == CKR_OK)
        code = module->functions->C_Sign(module->session, (CK_BYTE *)(uintptr_t)digest,
                                         HF_SIGNER_DIGEST_LEN, out, &len);
    return code == CKR_OK && len != 64 ? CKR_GENERAL_ERROR : code;
}

bool pkcs11_sign(uint8_t out[64], struct pkcs11 *module, struct key *key,
                 const uint8_t digest[HF_SIGNER_DIGEST_LEN])
{
    char error[KEYS_ERROR_MAX];
    uint8_t point[HF_P256_POINT_LEN];
    CK_RV code = sign_once(out, module, key, digest);

    if (code == CKR_OK)
        return true;
    fprintf(stderr, "handfast-signer: key %s: code 0x%lx, a new session is tried\n", key->label,
            (unsigned long)code);
    (void)module->functions->C_CloseSession(module->session);
    module->is_session_open = false;
    if (!open_session(module, error) ||
        !pkcs11_find(&key->handle, point, error, module, key->object)) {
        fprintf(stderr, "handfast-signer: %s\n", error);
        return false;
    }
    return sign_once(out, module, key, digest) == CKR_OK;
}

#endif
