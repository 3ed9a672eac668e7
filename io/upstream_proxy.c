/**
 * upstream_proxy.c - the PROXY protocol's header, version 2: who is behind a stream or a datagram.
 *
 * All values of ours are text, so that HAProxy can put them into a header as they are; absent means
 * unknown. A Credential-ID is given as it is, NULs included.
 */
#include "upstream.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define TLV_AUTHORITY 0x02
#define TLV_UNIQUE_ID 0x05
#define TLV_SSL 0x20
#define TLV_SSL_VERSION 0x21
#define TLV_SSL_CIPHER 0x23
#define TLV_ENTITY_ID 0xE0 /* 0xE0 to 0xEF are for applications */
#define TLV_CREDENTIAL_ID 0xE1
#define TLV_FRAMEWORK 0xE2
#define TLV_REFERENCE_POINT 0xE3
#define TLV_EXPIRES 0xE4

#define CLIENT_SSL 0x01
#define CLIENT_CERTIFICATE 0x06 /* presented on this connection, and in this session */

#define UNIQUE_ID_MAX 128u /* as its specification says; HAProxy refuses more */
#define HEADER_LEN 16u
#define LEN_AT 14u

/* Sticky: what does not fit makes all of it not fit. */
struct proxy_writer {
    uint8_t *data;
    size_t len, max;
    bool is_full;
};

static void proxy_put(struct proxy_writer *writer, const void *data, size_t len)
{
    writer->is_full |= len > writer->max - writer->len;
    if (writer->is_full || len == 0)
        return;
    memcpy(writer->data + writer->len, data, len);
    writer->len += len;
}

static void proxy_put_number(struct proxy_writer *writer, uint32_t value, uint32_t width)
{
    uint8_t bytes[4] = {(uint8_t)(value >> 24), (uint8_t)(value >> 16), (uint8_t)(value >> 8),
                        (uint8_t)value};
    proxy_put(writer, bytes + sizeof bytes - width, width);
}

static void proxy_put_tlv(struct proxy_writer *writer, uint8_t type, const void *data, size_t len)
{
    if (len == 0)
        return;
    proxy_put_number(writer, type, 1);
    proxy_put_number(writer, (uint32_t)len, 2);
    proxy_put(writer, data, len);
}

static void proxy_put_text(struct proxy_writer *writer, uint8_t type, const char *text)
{
    proxy_put_tlv(writer, type, text, text ? strlen(text) : 0);
}

static void proxy_patch_len(const struct proxy_writer *writer, size_t at)
{
    size_t len = writer->len - at - 2;
    if (writer->is_full)
        return;
    writer->data[at] = (uint8_t)(len >> 8);
    writer->data[at + 1] = (uint8_t)len;
}

static void proxy_put_addresses(struct proxy_writer *writer, const struct hf_path *path,
                                bool is_dtls)
{
    bool is_v4 = hf_address_is_v4(&path->peer) && hf_address_is_v4(&path->local);
    size_t skip = is_v4 ? 12 : 0;
    proxy_put_number(writer, (is_v4 ? 0x10u : 0x20u) | (is_dtls ? 2u : 1u), 1);
    proxy_put_number(writer, 0, 2); /* the length of all that follows, patched */
    proxy_put(writer, path->peer.ip + skip, 16 - skip);
    proxy_put(writer, path->local.ip + skip, 16 - skip);
    proxy_put_number(writer, path->peer.port, 2);
    proxy_put_number(writer, path->local.port, 2);
}

static void proxy_put_ssl(struct proxy_writer *writer, const struct hf_association_info *info)
{
    bool is_certified = info->framework == HF_FRAMEWORK_CERTIFICATE;
    proxy_put_number(writer, TLV_SSL, 1);
    size_t at = writer->len;
    proxy_put_number(writer, 0, 2);
    proxy_put_number(writer, is_certified ? CLIENT_SSL | CLIENT_CERTIFICATE : CLIENT_SSL, 1);
    proxy_put_number(writer, is_certified ? 0 : 1, 4); /* 0: a certificate was verified */
    proxy_put_text(writer, TLV_SSL_VERSION,
                   info->transport == HF_TRANSPORT_DTLS ? "DTLSv1.2" : "TLSv1.2");
    proxy_put_text(writer, TLV_SSL_CIPHER, hf_suite_name(info->suite));
    proxy_patch_len(writer, at);
}

/* What will stand in a header of HTTP must not end it. */
static bool proxy_is_printable(const char *text, size_t len)
{
    for (size_t i = 0; i < len; ++i)
        if (text[i] < ' ' || text[i] > '~')
            return false;
    return true;
}

/* "0000000100000001", or "0000000100000001 /in-cse/Cdev1". */
static void proxy_put_unique_id(struct proxy_writer *writer, hf_association_id association,
                                const struct hf_association_info *info, bool is_entity_told)
{
    char text[UNIQUE_ID_MAX + 1];
    size_t len = (size_t)snprintf(text, sizeof text, "%016" PRIx64, association);
    if (is_entity_told && info->entity_id_len > 0 &&
        len + 1 + info->entity_id_len <= UNIQUE_ID_MAX &&
        proxy_is_printable(info->entity_id, info->entity_id_len)) {
        text[len++] = ' ';
        memcpy(text + len, info->entity_id, info->entity_id_len);
        len += info->entity_id_len;
    }
    proxy_put_tlv(writer, TLV_UNIQUE_ID, text, len);
}

size_t hf_upstream_proxy_encode(uint8_t *out, size_t out_max, hf_association_id association,
                                const struct hf_association_info *info, bool is_entity_told)
{
    static const uint8_t start[13] = {'\r', '\n', '\r', '\n', 0,    '\r', '\n',
                                      'Q',  'U',  'I',  'T',  '\n', 0x21}; /* version 2, PROXY */
    struct proxy_writer writer = {.data = out, .max = out_max};
    char text[24];
    proxy_put(&writer, start, sizeof start);
    proxy_put_addresses(&writer, &info->path, info->transport == HF_TRANSPORT_DTLS);
    proxy_put_tlv(&writer, TLV_AUTHORITY, info->server_name, info->server_name_len);
    proxy_put_unique_id(&writer, association, info, is_entity_told);
    proxy_put_ssl(&writer, info);
    proxy_put_tlv(&writer, TLV_ENTITY_ID, info->entity_id, info->entity_id_len);
    proxy_put_tlv(&writer, TLV_CREDENTIAL_ID, info->credential_id, info->credential_id_len);
    proxy_put_text(&writer, TLV_FRAMEWORK, hf_framework_name(info->framework));
    proxy_put_text(&writer, TLV_REFERENCE_POINT, hf_reference_point_name(info->reference_point));
    snprintf(text, sizeof text, "%" PRId64, info->expires_s);
    if (info->expires_s != 0)
        proxy_put_text(&writer, TLV_EXPIRES, text);
    proxy_patch_len(&writer, LEN_AT);
    return writer.is_full || writer.len < HEADER_LEN ? 0 : writer.len;
}
