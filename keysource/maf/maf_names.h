/**
 * maf_names.h - every name and number of the interface to a MAF that only TS-0032 can confirm, in
 * one table. We have not had that text: these are provisional, chosen by analogy with TS-0003
 * (8.8.2, 12.2), TS-0004 and TS-0009. To correct one, correct it here and nowhere else.
 *
 * Not provisional, and so not here: the headers, methods and codes of TS-0009 and TS-0004.
 */
#ifndef HF_MAF_NAMES_H
#define HF_MAF_NAMES_H

#include <handfast/base.h>

/* X(name, text, what it names) */
#define HF_MAF_NAME_MAP(X)                                                                         \
    X(BASE, "MAFBase", "the resource below which registrations are created")                       \
    X(CLIENT_REGISTRATION, "sec:mafClientReg", "the root of a client registration")                \
    X(KEY_REGISTRATION, "sec:symmKeyReg", "the root of a key registration")                        \
    X(CLIENT_CONFIGURATION, "mafClientCfg", "configuration of a client, below its registration")   \
    X(RESOURCE_ID, "resourceID", "the identifier of a registration; of a key: RelativeKeyID")      \
    X(CLIENT_ID, "mafClientID", "MAF Client ID: who registered")                                   \
    X(SOURCE_ID, "sourceID", "Source MAF Client ID: who registered a key")                         \
    X(EXPIRATION_TIME, "expirationTime", "m2m:timestamp")                                          \
    X(LABELS, "labels", "a list of strings")                                                       \
    X(ADMIN_FQDN, "adminFQDN", "the FQDN of the administrating stakeholder")                       \
    X(ASSIGNED_KEY_ID, "assignedSymmKeyID", "the KmID a MAF gives to a provisioned Km")            \
    X(SUID, "SUID", "Security Usage Identifier, a number")                                         \
    X(TARGET_IDS, "targetIDs", "a list of absolute identifiers: who may retrieve")                 \
    X(KEY_VALUE, "keyValue", "the key: base64 or hexadecimal")

enum hf_maf_name {
#define HF_MAF_NAME_ENUM(name, text, what) HF_MAF_NAME_##name,
    HF_MAF_NAME_MAP(HF_MAF_NAME_ENUM)
#undef HF_MAF_NAME_ENUM
        HF_MAF_NAME_COUNT,
};

/** hf_maf_name gives the text, never NULL. */
const char *hf_maf_name(enum hf_maf_name name);

/** Resource types, the `ty` of a creation's Content-Type: provisional too. */
#define HF_MAF_TYPE_CLIENT_REGISTRATION 10001
#define HF_MAF_TYPE_KEY_REGISTRATION 10002

#endif
