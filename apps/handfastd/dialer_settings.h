/**
 * dialer_settings.h - the rows of the table of settings that are about dialers. For settings.c
 * alone.
 */
#ifndef HF_DIALER_SETTINGS_H
#define HF_DIALER_SETTINGS_H

#include "settings.h"

static const struct hf_setting_choice dialer_flavours[] = {
    {"cse-id", HF_DIALER_FLAVOUR_CSE_ID}, {"raw", HF_DIALER_FLAVOUR_RAW}, {NULL, 0}};

static bool take_dialer_transport(void *base, char *reason, const struct hf_setting *setting,
                                  const char *value)
{
    struct hf_daemon_dialer *dialer = base;
    int transport = 0;
    struct hf_setting into = *setting;
    into.offset = 0;
    dialer->has_transport = take_choice(&transport, reason, &into, value);
    dialer->transport = (enum hf_transport)transport;
    return dialer->has_transport;
}

/* A listener's list of suites, taken by way of one. */
static bool take_dialer_suites(void *base, char *reason, const struct hf_setting *setting,
                               const char *value)
{
    struct hf_daemon_dialer *dialer = base;
    static struct hf_daemon_listener listener;
    listener.suite_count = dialer->suite_count;
    memcpy(listener.suites, dialer->suites, sizeof(listener.suites));
    if (!hf_take_suites(&listener, reason, setting, value))
        return false;
    dialer->suite_count = listener.suite_count;
    memcpy(dialer->suites, listener.suites, sizeof(dialer->suites));
    return true;
}

#define DIALER(name) offsetof(struct hf_daemon_dialer, name)
#define DIALER_ROW(key, take, field, min, max, choices)                                            \
    {HF_SECTION_DIALER, key, NULL, NULL, take, field, min, max, choices, false, false, ""},
#define DIALER_LIST(key, take)                                                                     \
    {HF_SECTION_DIALER, key, NULL, NULL, take, 0, 0, 0, NULL, true, false, ""},

#define HF_DIALER_SETTINGS                                                                         \
    DIALER_ROW("transport", take_dialer_transport, 0, 0, 0, transports)                            \
    DIALER_LIST("address", hf_dialer_config_take_address)                                          \
    DIALER_ROW("source", hf_dialer_config_take_source, 0, 0, 0, NULL)                              \
    DIALER_ROW("peer", hf_dialer_config_take_peer, 0, 0, 0, NULL)                                  \
    DIALER_ROW("server-name", hf_take_server_name, DIALER(server_name), 0, 0, NULL)                \
    DIALER_ROW("authority", take_text, DIALER(authority), 0, HF_NAME_MAX, NULL)                    \
    DIALER_ROW("identity", take_text, DIALER(identity), 0, HF_DIALER_TEXT_MAX, NULL)               \
    DIALER_ROW("flavour", take_choice, DIALER(flavour), 0, 0, dialer_flavours)                     \
    DIALER_ROW("reference-point", take_choice, DIALER(reference_point), 0, 0, reference_points)    \
    DIALER_LIST("suites", take_dialer_suites)                                                      \
    DIALER_ROW("mtu", take_number, DIALER(datagram_len), 256, 4096, NULL)                          \
    DIALER_ROW("require-ems", take_bool, DIALER(is_extended_master_secret_needed), 0, 0, NULL)     \
    DIALER_ROW("encrypt-then-mac", take_bool, DIALER(is_encrypt_then_mac_off), 1, 0, NULL)         \
    DIALER_ROW("resume", take_bool, DIALER(is_resumption_off), 1, 0, NULL)                         \
    DIALER_ROW("listen", hf_dialer_config_take_listen, 0, 0, 0, NULL)                              \
    DIALER_ROW("allow-plain", take_bool, DIALER(is_plain_allowed), 0, 0, NULL)                     \
    DIALER_ROW("keep", take_bool, DIALER(is_kept), 0, 0, NULL)                                     \
    DIALER_ROW("pair", take_text, DIALER(pair), 0, HF_NAME_MAX, NULL)                              \
    DIALER_ROW("redial-min", take_duration, DIALER(redial_us_min), SECOND, DAY, NULL)              \
    DIALER_ROW("redial-max", take_duration, DIALER(redial_us_max), SECOND, DAY, NULL)              \
    DIALER_ROW("wait", take_duration, DIALER(wait_us), SECOND, DAY, NULL)                          \
    DIALER_ROW("silence", take_duration, DIALER(silence_us), SECOND, DAY, NULL)

#endif
