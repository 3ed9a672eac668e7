/**
 * take.h - the readers of addresses, suites and names: takers of the table of settings that serve
 * one kind of value each. Those for plain numbers, texts and choices are in settings.c.
 */
#ifndef HF_TAKE_H
#define HF_TAKE_H

#include "settings.h"

/** hf_take_endpoint adds a listener of the transport in the setting's `min`: --dtls and --tls. */
hf_setting_take hf_take_endpoint;
hf_setting_take hf_take_listener_address;
hf_setting_take hf_take_metrics;

/** hf_take_upstream_address reads the command line's ADDR:PORT, hf_take_upstream the file's
 *  "udp:ADDR:PORT" or "tcp:ADDR:PORT". */
hf_setting_take hf_take_upstream_address;
hf_setting_take hf_take_upstream;

/** hf_take_prefix reads a /64 and keeps its first address. */
hf_setting_take hf_take_prefix;

/** hf_take_cookie_free and hf_take_trusted_proxy add networks to a list, as hf_take_suites does. */
hf_setting_take hf_take_cookie_free;
hf_setting_take hf_take_trusted_proxy;

/** hf_take_node reads OFFSET:HEX, a node's number in connection IDs and where in them it stands. */
hf_setting_take hf_take_node;

/** hf_take_suites adds to a list: the file gives its elements one by one, the command line with
 *  commas. */
hf_setting_take hf_take_suites;

/** hf_take_authority adds the name of one of a listener's authorities. */
hf_setting_take hf_take_authority;

/** hf_take_server_name reads a host name as RFC 6066 3 has it. */
hf_setting_take hf_take_server_name;

#endif
