/**
 * base.h - the vocabulary every other public header shares: bytes, addresses, paths, tickets.
 *
 * Plain data only; includes only the C library. Conventions (lengths, ownership, order of
 * arguments, threads) are written once, in docs/CONVENTIONS.md.
 */
#ifndef HANDFAST_BASE_H
#define HANDFAST_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
#define HF_BEGIN_DECLS extern "C" {
#define HF_END_DECLS }
#else
#define HF_BEGIN_DECLS
#define HF_END_DECLS
#endif

#if defined(__GNUC__)
#define HF_API __attribute__((visibility("default")))
#define HF_MUST_USE __attribute__((warn_unused_result))
#else
#define HF_API
#define HF_MUST_USE
#endif

HF_BEGIN_DECLS

#define HF_VERSION_MAJOR 0
#define HF_VERSION_MINOR 1
#define HF_VERSION_PATCH 0
#define HF_VERSION_STRING "0.1.0"

/** hf_version gives the version of the library linked, as "major.minor.patch". */
HF_API const char *hf_version(void);

/** A borrowed view. `data` may be NULL only when `len` is 0. */
struct hf_bytes {
    const uint8_t *data;
    size_t len;
};

/** An IP address and port. IPv4 is held v4-mapped (::ffff:a.b.c.d, RFC 4291 2.5.5.2). */
struct hf_address {
    uint8_t ip[16];
    uint32_t scope; /**< interface index of an IPv6 link-local address, otherwise 0 */
    uint16_t port;  /**< host byte order */
    uint16_t zero;  /**< always 0: addresses are hashed and compared as bytes */
};

/** Addresses whose first bits are these; of IPv4 the mapped ones, so 96 bits more than written. */
struct hf_prefix {
    uint8_t ip[16];
    uint8_t bits; /**< 0..128 */
};

/** Where a datagram or a connection comes from and which of our addresses it came to. */
struct hf_path {
    struct hf_address peer;
    struct hf_address local;
};

/** The length that holds any text hf_address_print() writes, with its NUL. */
#define HF_ADDRESS_TEXT_MAX 64

/** hf_address_v4 builds the v4-mapped address from 4 bytes in network order. */
HF_API struct hf_address hf_address_v4(const uint8_t ip[4], uint16_t port);

/** hf_address_v6 builds an address from 16 bytes in network order; `scope` as in the struct. */
HF_API struct hf_address hf_address_v6(const uint8_t ip[16], uint16_t port, uint32_t scope);

/** hf_address_is_v4 tells whether the address is v4-mapped. */
HF_API bool hf_address_is_v4(const struct hf_address *address);

/** hf_prefix_holds tells whether the address lies in the prefix. */
HF_API bool hf_prefix_holds(const struct hf_prefix *prefix, const struct hf_address *address);

/** hf_address_print writes "192.0.2.1:5684" or "[2001:db8::1%2]:5684" and returns `out`. */
HF_API char *hf_address_print(char out[HF_ADDRESS_TEXT_MAX], const struct hf_address *address);

/**
 * An operation that is under way outside the engine. Not a pointer: an answer that comes late,
 * when the handshake is gone or asks for something else by now, is legal and does nothing.
 */
struct hf_ticket {
    uint32_t slot;
    uint32_t generation;
    uint32_t seq;
};

/**
 * A security association, established or under way. 0 is none. Generation-checked: a handle
 * that outlives its association is refused with HF_E_STALE, never confused with another.
 */
typedef uint64_t hf_association_id;

/** Transport of a listener (TS-0003 10.2.1: TCP carries TLS 1.2, UDP carries DTLS 1.2). */
enum hf_transport {
    HF_TRANSPORT_TLS = 0,
    HF_TRANSPORT_DTLS = 1,
};

/** oneM2M reference point an association serves (TS-0003 6.1.2.2.1). */
enum hf_reference_point {
    HF_REFERENCE_POINT_MCA = 0,
    HF_REFERENCE_POINT_MCC = 1,
    HF_REFERENCE_POINT_MCC_PRIME = 2,
};

/** Security Association Establishment Framework that authenticated the peer (TS-0003 8.2.2). */
enum hf_framework {
    HF_FRAMEWORK_NONE = 0,
    HF_FRAMEWORK_PROVISIONED_SYMMETRIC_KEY = 1, /**< 8.2.2.1 */
    HF_FRAMEWORK_CERTIFICATE = 2,               /**< 8.2.2.2 */
    HF_FRAMEWORK_MAF = 3,                       /**< 8.2.2.3 */
};

/** What kind of oneM2M entity a peer proved to be (TS-0003 8.2.1). */
enum hf_entity_kind {
    HF_ENTITY_PENDING = 0, /**< an AE whose AE-ID is settled at registration (8.2.2.1) */
    HF_ENTITY_CSE = 1,
    HF_ENTITY_AE = 2,
    HF_ENTITY_AE_LIST = 3, /**< `entity_id` holds AE-IDs separated by one space */
};

/** hf_reference_point_name gives "Mca", "Mcc" or "Mcc'". */
HF_API const char *hf_reference_point_name(enum hf_reference_point reference_point);

/** hf_framework_name gives a short lower-case name, fit for a metric label. */
HF_API const char *hf_framework_name(enum hf_framework framework);

/** hf_entity_kind_name gives "pending", "cse", "ae" or "ae-list". */
HF_API const char *hf_entity_kind_name(enum hf_entity_kind kind);

/**
 * hf_entity_kind_of classifies an entity identifier by its grammar (TS-0001 7.2): CSE-ID "/x" or
 * "//sp/x"; AE-ID "C..." or "S..." alone, "/S...", "/cse/C...", "//sp/S...", "//sp/cse/C...".
 * Errors: HF_ENTITY_PENDING for an empty or malformed identifier. A CSE whose identifier starts
 * with S must be given by a source that knows its kind: the grammar alone reads it as an AE.
 */
HF_API enum hf_entity_kind hf_entity_kind_of(struct hf_bytes entity_id);

HF_END_DECLS
#endif
