/**
 * proxy.c - see proxy.h. Of the TLVs only the checksum means something to us.
 */
#include "proxy.h"

#include <string.h>

#define HEADER_LEN 16u
#define TLV_HEADER_LEN 3u
#define TLV_CRC32C 0x03

enum {
    VERSION_LOCAL = 0x20, /* the balancer speaks for itself: a health check */
    VERSION_PROXY = 0x21,
    FAMILY_UNSPECIFIED = 0x00,
    FAMILY_TCP_V4 = 0x11,
    FAMILY_TCP_V6 = 0x21,
    FAMILY_UNIX_STREAM = 0x31,
};

static const uint8_t signature[12] = "\r\n\r\n\0\r\nQUIT\n";

static uint16_t u16_at(const uint8_t *data)
{
    return (uint16_t)(data[0] << 8 | data[1]);
}

/* The length of the addresses, or -1: no family a stream can have. */
static int addresses_len(uint8_t family)
{
    switch (family) {
    case FAMILY_UNSPECIFIED:
        return 0;
    case FAMILY_TCP_V4:
        return 12;
    case FAMILY_TCP_V6:
        return 36;
    case FAMILY_UNIX_STREAM:
        return 216;
    default:
        return -1;
    }
}

/* CRC-32C (RFC 3720 B.4), bit by bit: once a connection at most. The checksum's own four bytes at
 * `skip` count as zeros. */
static uint32_t checksum(struct hf_bytes header, size_t skip)
{
    uint32_t crc = UINT32_MAX;
    for (size_t i = 0; i < header.len; i++) {
        crc ^= i - skip < 4 ? 0 : header.data[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? UINT32_C(0x82F63B78) : 0);
    }
    return ~crc;
}

static bool is_checksum_right(struct hf_bytes header, size_t at)
{
    const uint8_t *sum = header.data + at;
    uint32_t stated = (uint32_t)u16_at(sum) << 16 | u16_at(sum + 2);
    return stated == checksum(header, at);
}

/* TLVs to the last byte, and a checksum that is right if there is one. */
static bool are_tlvs_right(struct hf_bytes header, size_t at)
{
    while (at < header.len) {
        if (header.len - at < TLV_HEADER_LEN)
            return false;
        uint8_t type = header.data[at];
        size_t len = u16_at(header.data + at + 1);
        at += TLV_HEADER_LEN;
        if (len > header.len - at ||
            (type == TLV_CRC32C && (len != 4 || !is_checksum_right(header, at))))
            return false;
        at += len;
    }
    return true;
}

enum hf_status hf_proxy_read(struct hf_proxy_header *out, struct hf_bytes data)
{
    size_t seen = data.len < sizeof signature ? data.len : sizeof signature;
    if (seen > 0 && memcmp(data.data, signature, seen) != 0)
        return HF_E_DECODE;
    if (data.len < HEADER_LEN)
        return HF_WAITING;
    uint8_t version = data.data[12], family = data.data[13];
    size_t len = HEADER_LEN + u16_at(data.data + 14);
    int addresses = addresses_len(family);
    bool is_local = version == VERSION_LOCAL;
    if ((!is_local && version != VERSION_PROXY) || len > HF_PROXY_LEN_MAX)
        return HF_E_DECODE;
    if (!is_local && (addresses < 0 || len < HEADER_LEN + (size_t)addresses))
        return HF_E_DECODE;
    if (data.len < len)
        return HF_WAITING;
    struct hf_bytes header = {data.data, len};
    struct hf_proxy_header read = {.len = len};
    const uint8_t *at = header.data + HEADER_LEN; /* source, destination, both ports */
    /* What a balancer says of itself is to be passed over, whatever it is. */
    if (!is_local && !are_tlvs_right(header, HEADER_LEN + (size_t)addresses))
        return HF_E_DECODE;
    if (!is_local && family == FAMILY_TCP_V4)
        read.peer = hf_address_v4(at, u16_at(at + 8));
    else if (!is_local && family == FAMILY_TCP_V6)
        read.peer = hf_address_v6(at, u16_at(at + 32), 0);
    read.has_peer = !is_local && (family == FAMILY_TCP_V4 || family == FAMILY_TCP_V6);
    *out = read;
    return HF_OK;
}
