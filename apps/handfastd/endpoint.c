/**
 * endpoint.c - reads and classifies the addresses we listen on.
 */
#include "endpoint.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

static bool parse_port(uint16_t *out, const char *text)
{
    unsigned long port = 0;
    size_t len = strlen(text);
    if (len == 0 || len > 5 || strspn(text, "0123456789") != len)
        return false;
    port = strtoul(text, NULL, 10);
    *out = (uint16_t)port;
    return port <= UINT16_MAX;
}

/* An interface's name, or its number. */
static bool parse_scope(uint32_t *out, const char *text)
{
    size_t len = strlen(text);
    *out = if_nametoindex(text);
    if (*out == 0 && len > 0 && len <= 9 && strspn(text, "0123456789") == len)
        *out = (uint32_t)strtoul(text, NULL, 10);
    return *out != 0;
}

/* `host` is what stood between the brackets; it is cut at the scope. */
static bool parse_v6(struct hf_address *out, char *host, uint16_t port)
{
    uint8_t ip[16];
    uint32_t scope = 0;
    char *percent = strchr(host, '%');
    if (percent != NULL) {
        *percent = '\0';
        if (!parse_scope(&scope, percent + 1))
            return false;
    }
    if (inet_pton(AF_INET6, host, ip) != 1)
        return false;
    struct hf_address address = hf_address_v6(ip, port, scope);
    if (scope != 0 && hf_address_is_v4(&address)) /* IPv4 knows no scopes */
        return false;
    *out = address;
    return true;
}

bool hf_endpoint_parse(struct hf_address *out, const char *text)
{
    char host[64];
    uint16_t port = 0;
    const char *colon = strrchr(text, ':');
    if (colon == NULL || (size_t)(colon - text) >= sizeof(host) || !parse_port(&port, colon + 1))
        return false;
    size_t len = (size_t)(colon - text);
    memcpy(host, text, len);
    host[len] = '\0';
    if (strcmp(host, "*") == 0) {
        static const uint8_t any[16];
        *out = hf_address_v6(any, port, 0);
        return true;
    }
    if (len > 2 && host[0] == '[' && host[len - 1] == ']') {
        host[len - 1] = '\0';
        return parse_v6(out, host + 1, port);
    }
    uint8_t ip[4];
    if (inet_pton(AF_INET, host, ip) != 1)
        return false;
    *out = hf_address_v4(ip, port);
    return true;
}

bool hf_endpoint_parse_prefix(struct hf_prefix *out, const char *text)
{
    char host[INET6_ADDRSTRLEN];
    struct hf_address address = {{0}, 0, 0, 0};
    const char *slash = strchr(text, '/');
    size_t len = slash != NULL ? (size_t)(slash - text) : strlen(text);
    uint8_t ip[4];
    if (len >= sizeof(host))
        return false;
    memcpy(host, text, len);
    host[len] = '\0';
    bool is_v4 = inet_pton(AF_INET, host, ip) == 1;
    if (is_v4)
        address = hf_address_v4(ip, 0);
    else if (inet_pton(AF_INET6, host, address.ip) != 1)
        return false;
    unsigned long width = is_v4 ? 32 : 128, bits = width;
    if (slash != NULL) {
        size_t digits = strlen(slash + 1);
        if (digits == 0 || digits > 3 || strspn(slash + 1, "0123456789") != digits)
            return false;
        bits = strtoul(slash + 1, NULL, 10);
    }
    if (bits > width)
        return false;
    memcpy(out->ip, address.ip, sizeof(out->ip));
    out->bits = (uint8_t)(bits + 128 - width);
    for (unsigned bit = out->bits; bit < 128; bit++)
        if ((out->ip[bit / 8] >> (7 - bit % 8) & 1) != 0)
            return false;
    return true;
}

bool hf_endpoint_is_loopback(const struct hf_address *address)
{
    static const uint8_t loopback_v6[16] = {[15] = 1};
    if (hf_address_is_v4(address))
        return address->ip[12] == 127;
    return memcmp(address->ip, loopback_v6, sizeof(loopback_v6)) == 0;
}

socklen_t hf_endpoint_sockaddr(struct sockaddr_storage *out, const struct hf_address *address)
{
    memset(out, 0, sizeof(*out));
    if (hf_address_is_v4(address)) {
        struct sockaddr_in *v4 = (struct sockaddr_in *)out;
        v4->sin_family = AF_INET;
        v4->sin_port = htons(address->port);
        memcpy(&v4->sin_addr, address->ip + 12, 4);
        return sizeof(*v4);
    }
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)out;
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(address->port);
    v6->sin6_scope_id = address->scope;
    memcpy(&v6->sin6_addr, address->ip, sizeof(v6->sin6_addr));
    return sizeof(*v6);
}
