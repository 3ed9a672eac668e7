/**
 * endpoint.h - the text form of the addresses we listen on. No names are ever resolved.
 */
#ifndef HF_ENDPOINT_H
#define HF_ENDPOINT_H

#include <handfast/base.h>

#include <sys/socket.h>

/** hf_endpoint_parse reads "192.0.2.1:5684", "[2001:db8::1]:5684", "[fe80::1%eth0]:5684" or
 *  "*:5684" (every address, both families). Port 0 lets the kernel choose. */
HF_MUST_USE bool hf_endpoint_parse(struct hf_address *out, const char *text);

/** hf_endpoint_parse_prefix reads "192.0.2.0/24", "2001:db8::/32", or an address alone. Bits beyond
 *  the length must be 0. */
HF_MUST_USE bool hf_endpoint_parse_prefix(struct hf_prefix *out, const char *text);

/** hf_endpoint_is_loopback tells whether only this machine can reach the address. */
bool hf_endpoint_is_loopback(const struct hf_address *address);

/** hf_endpoint_sockaddr converts to what bind(2) takes and gives its length. */
socklen_t hf_endpoint_sockaddr(struct sockaddr_storage *out, const struct hf_address *address);

#endif
