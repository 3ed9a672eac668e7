/**
 * connect_maf.c - `handfast connect --maf`: Entity A's side as a whole (TS-0003 8.2.2.3, 8.8.2.7):
 * the MAF handshake, a key registered for the server, and that key, Kc, as the association's.
 *
 * The connection to the MAF is ended before the server is dialled. Kc is never printed.
 */
#include "connect.h"
#include "maf_session.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#define DAY_S 86400
#define LINE_LEN_MAX (HF_MAF_IDENTITY_MAX + 2 * HF_PSK_MAX + 8)

/* The one key of this run, as a file with one line would have it. */
static bool take_key(struct hf_connect_session *session, const struct hf_maf_resource *given)
{
    char line[LINE_LEN_MAX];
    char hex[2 * HF_PSK_MAX + 1];
    char error[HF_KEYFILE_ERROR_MAX];
    hf_maf_text_write_hex(hex, (struct hf_bytes){given->key, given->key_len});
    int len = snprintf(line, sizeof(line), "%s@%s:%s\n", given->resource_id,
                       session->options->maf.fqdn, hex);
    enum hf_status status =
        hf_keyfile_open(&session->keyfile, error,
                        (struct hf_bytes){(const uint8_t *)line, len > 0 ? (size_t)len : 0});
    explicit_bzero(line, sizeof(line));
    explicit_bzero(hex, sizeof(hex));
    if (status == HF_OK)
        return true;
    fprintf(stderr, "handfast: connect: the key of the MAF: %s\n", error);
    return false;
}

static void report(const struct hf_connect_session *session, const struct hf_maf_resource *given)
{
    char at[HF_MAF_TIMESTAMP_LEN + 1];
    if (session->options->is_json)
        return;
    hf_maf_text_write_time(at, given->expires_s);
    fprintf(session->options->is_probe ? stdout : stderr, "%-13s%s@%s for %s, until %s UTC\n",
            "registered", given->resource_id, session->options->maf.fqdn,
            session->options->maf_target, at);
}

bool hf_connect_order_key(struct hf_connect_session *session)
{
    static struct hf_maf_key_order order; /* large */
    const struct hf_connect_options *options = session->options;
    struct hf_maf_session *maf = NULL;
    uint8_t supplied[32];
    if (options->maf_key_file != NULL && !hf_maf_session_read_key(supplied, options->maf_key_file))
        return false;
    order =
        (struct hf_maf_key_order){.target = options->maf_target, .admin_fqdn = options->maf_admin};
    if (options->maf_days > 0)
        order.expires_s = (int64_t)time(NULL) + (int64_t)options->maf_days * DAY_S;
    hf_maf_resource_init();
    bool is_good =
        hf_maf_session_open(&maf, &options->maf) &&
        hf_maf_session_register_key(maf, &order, options->maf_key_file != NULL ? supplied : NULL);
    hf_maf_session_close(maf);
    if (is_good && options->maf_save != NULL)
        is_good = hf_maf_session_save_key(options->maf_save, options->maf.fqdn, &order.given, NULL);
    is_good = is_good && take_key(session, &order.given);
    if (is_good)
        report(session, &order.given);
    explicit_bzero(supplied, sizeof(supplied));
    hf_maf_resource_wipe(&order.given);
    return is_good;
}
