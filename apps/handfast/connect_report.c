/**
 * connect_report.c - `handfast connect`: what was agreed on and who the peer proved to be, for
 * people and as JSON.
 */
#include "connect.h"

#include "json_text.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

/* Data goes through standard output, unless there is none. */
static FILE *report_file(const struct hf_connect_session *session)
{
    return session->options->is_probe ? stdout : stderr;
}

static void print_json(const struct hf_connect_session *session, json_t *report)
{
    FILE *out = report_file(session);
    json_dumpf(report, out, JSON_PRESERVE_ORDER | JSON_COMPACT);
    fputc('\n', out);
    (void)fflush(out);
    json_decref(report);
}

static json_t *address_json(const struct hf_address *address)
{
    char text[HF_ADDRESS_TEXT_MAX];
    return json_string(hf_address_print(text, address));
}

static const char *suite_name(uint16_t suite)
{
    const char *name = hf_suite_name(suite);
    return name != NULL ? name : "unknown";
}

static json_t *cid_json(const uint8_t *cid, size_t len)
{
    char text[2 * HF_CONNECTION_ID_MAX + 1] = "";
    for (size_t i = 0; i < len; i++)
        snprintf(text + 2 * i, 3, "%02x", cid[i]);
    return len == 0 ? json_null() : json_string(text);
}

static void report_json(const struct hf_connect_session *session,
                        const struct hf_association_info *info)
{
    json_t *report = json_object();
    uint64_t took_us = session->established_us - session->begun_us;
    json_object_set_new(report, "established", json_true());
    json_object_set_new(report, "transport",
                        json_string(info->transport == HF_TRANSPORT_DTLS ? "DTLS 1.2" : "TLS 1.2"));
    json_object_set_new(report, "peer", address_json(&info->path.peer));
    json_object_set_new(report, "local", address_json(&info->path.local));
    json_object_set_new(report, "suite", json_string(suite_name(info->suite)));
    json_object_set_new(report, "extended_master_secret",
                        json_boolean(info->extended_master_secret));
    json_object_set_new(report, "encrypt_then_mac", json_boolean(info->encrypt_then_mac));
    json_object_set_new(report, "connection_id", cid_json(info->own_cid, info->own_cid_len));
    json_object_set_new(report, "peer_connection_id", cid_json(info->peer_cid, info->peer_cid_len));
    json_object_set_new(report, "return_routability", json_boolean(info->has_return_routability));
    json_object_set_new(report, "resumed", json_boolean(info->is_resumed));
    json_object_set_new(report, "record_len_max", json_integer(info->plaintext_len_max));
    json_object_set_new(report, "server_name",
                        hf_json_text_or_null(info->server_name, info->server_name_len));
    json_object_set_new(report, "reference_point",
                        json_string(hf_reference_point_name(info->reference_point)));
    json_object_set_new(report, "framework", json_string(hf_framework_name(info->framework)));
    json_object_set_new(report, "entity_kind", json_string(hf_entity_kind_name(info->entity_kind)));
    json_object_set_new(report, "entity_id",
                        hf_json_text_or_null(info->entity_id, info->entity_id_len));
    json_object_set_new(report, "credential_id",
                        hf_json_text_or_null(info->credential_id, info->credential_id_len));
    json_object_set_new(report, "expires",
                        info->expires_s ? json_integer(info->expires_s) : json_null());
    json_object_set_new(report, "handshake_ms", json_real((double)took_us / 1000));
    print_json(session, report);
}

/* What strangers chose must not move a terminal's cursor. */
static void print_text(FILE *out, const char *label, const char *text, size_t len)
{
    if (len == 0)
        return;
    fprintf(out, "%-13s", label);
    for (size_t i = 0; i < len; i++) {
        unsigned char byte = (unsigned char)text[i];
        if (byte >= 0x20 && byte < 0x7F)
            fputc(byte, out);
        else
            fprintf(out, "\\x%02X", byte);
    }
    fputc('\n', out);
}

static void print_time(FILE *out, const char *label, int64_t at_s)
{
    char text[32] = "?";
    struct tm tm;
    time_t at = (time_t)at_s;
    if (gmtime_r(&at, &tm) != NULL)
        (void)strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm);
    fprintf(out, "%-13s%s\n", label, text);
}

static void print_cid(FILE *out, const char *label, const uint8_t *cid, size_t len)
{
    if (len == 0)
        return;
    fprintf(out, "%-13s", label);
    for (size_t i = 0; i < len; i++)
        fprintf(out, "%02x", cid[i]);
    fputc('\n', out);
}

void hf_connect_report_established(const struct hf_connect_session *session)
{
    static struct hf_association_info info; /* large */
    char peer[HF_ADDRESS_TEXT_MAX], local[HF_ADDRESS_TEXT_MAX];
    FILE *out = report_file(session);
    if (hf_engine_association_info(&info, session->engine, session->association) != HF_OK)
        return;
    if (session->options->is_json) {
        report_json(session, &info);
        return;
    }
    fprintf(out, "%-13s%s with %s from %s, in %.1f ms\n", "established",
            info.transport == HF_TRANSPORT_DTLS ? "DTLS 1.2" : "TLS 1.2",
            hf_address_print(peer, &info.path.peer), hf_address_print(local, &info.path.local),
            (double)(session->established_us - session->begun_us) / 1000);
    fprintf(out, "%-13s%s%s%s%s\n", "suite", suite_name(info.suite),
            info.extended_master_secret ? ", extended master secret" : "",
            info.encrypt_then_mac ? ", encrypt-then-MAC" : "", info.is_resumed ? ", resumed" : "");
    print_cid(out, "server's CID", info.peer_cid, info.peer_cid_len);
    print_cid(out, "our CID", info.own_cid, info.own_cid_len);
    print_text(out, "server name", info.server_name, info.server_name_len);
    fprintf(out, "%-13s%s\n", "framework", hf_framework_name(info.framework));
    if (info.entity_id_len == 0)
        fprintf(out, "%-13s%s\n", "peer", "nobody said who it is (--expect ID)");
    print_text(out, "peer", info.entity_id, info.entity_id_len);
    print_text(out, "credential", info.credential_id, info.credential_id_len);
    if (info.expires_s)
        print_time(out, "expires", info.expires_s);
    (void)fflush(out);
}

void hf_connect_report_failure(const struct hf_connect_session *session)
{
    const struct hf_failure *failure = &session->failure;
    bool has_alert = failure->alert != HF_ALERT_NONE;
    const char *alert = has_alert ? hf_alert_name(failure->alert) : NULL;
    if (session->options->is_json)
        print_json(session,
                   json_pack("{s:b,s:s,s:s,s:s?,s:s,s:s}", "established", session->is_established,
                             "reason", hf_status_reason(failure->status), "text",
                             hf_status_text(failure->status), "alert", alert, "state",
                             failure->state ? failure->state : "", "clause",
                             failure->clause ? failure->clause : ""));
    fprintf(stderr, "handfast: connect: %s%s%s%s (in state %s)\n", hf_status_text(failure->status),
            has_alert ? ", alert " : "", has_alert ? alert : "",
            failure->status == HF_E_PEER_ALERT ? " from the peer" : "",
            failure->state ? failure->state : "none");
}
