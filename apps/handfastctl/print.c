/**
 * print.c - see print.h. What peers chose goes to a terminal here: control characters are escaped.
 */
#include "print.h"

#include <stdio.h>
#include <string.h>

static const char *text_of(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));
    return text == NULL ? "" : text;
}

static long long number_of(const json_t *object, const char *name)
{
    return (long long)json_integer_value(json_object_get(object, name));
}

/* Pads to `width` as it is seen. */
static void put_text(const json_t *object, const char *name, int width)
{
    const json_t *value = json_object_get(object, name);
    const char *text = json_string_value(value);
    size_t len = json_string_length(value);
    int written = 0;
    if (text == NULL)
        written += printf("-");
    for (size_t i = 0; text != NULL && i < len; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c < 0x20 || c == 0x7F)
            written += printf("\\x%02X", c);
        else
            written += putchar(c) == EOF ? 0 : 1;
    }
    if (width > 0)
        printf("%*s", written < width ? width - written + 1 : 1, "");
}

static void put_field(const json_t *object, const char *label, const char *name)
{
    printf("%-18s ", label);
    put_text(object, name, 0);
    putchar('\n');
}

static void put_duration(long long seconds)
{
    if (seconds >= 86400)
        printf("%lld d ", seconds / 86400);
    printf("%lld:%02lld:%02lld", seconds % 86400 / 3600, seconds % 3600 / 60, seconds % 60);
}

void hf_print_status(const json_t *result)
{
    size_t i = 0;
    json_t *item = NULL;
    const json_t *reloads = json_object_get(result, "reloads");
    printf("handfastd %s is %s (pid %lld, up ", text_of(result, "version"),
           text_of(result, "state"), number_of(result, "pid"));
    put_duration(number_of(result, "uptime_seconds"));
    printf(
        ")\n%lld associations, %lld half-open (%lld wait for a key), %lld shards, log level %s\n",
        number_of(result, "associations"), number_of(result, "handshakes_open"),
        number_of(result, "handshakes_parked"), number_of(result, "shards"),
        text_of(result, "log_level"));
    printf(
        "configuration %s, in force since %s; reloads: %lld good, %lld refused%s\n",
        text_of(result, "config")[0] == '\0' ? "from the command line" : text_of(result, "config"),
        text_of(reloads, "in_force_since"), number_of(reloads, "ok"), number_of(reloads, "failed"),
        json_is_true(json_object_get(reloads, "last_good")) ? "" : " (the last one)");
    printf("\n%-16s %-5s %-24s %-12s %-8s %9s %9s\n", "LISTENER", "", "ADDRESS", "AUTHORITY",
           "RESPOND", "GOOD", "FAILED");
    json_array_foreach(json_object_get(result, "listeners"), i, item)
        printf("%-16s %-5s %-24s %-12s %-8s %9lld %9lld\n", text_of(item, "name"),
               text_of(item, "transport"), text_of(item, "address"), text_of(item, "authority"),
               text_of(item, "respond"), number_of(item, "handshakes_ok"),
               number_of(item, "handshakes_failed"));
    if (json_array_size(json_object_get(result, "dialers")) > 0)
        printf("\n%-16s %-5s %-22s %-22s %-11s %5s %7s %9s %9s\n", "DIALER", "", "LISTEN",
               "ADDRESS", "STATE", "OPEN", "WAITING", "GOOD", "FAILED");
    json_array_foreach(json_object_get(result, "dialers"), i, item)
        printf("%-16s %-5s %-22s %-22s %-11s %5lld %7lld %9lld %9lld\n", text_of(item, "name"),
               text_of(item, "transport"), text_of(item, "listen"), text_of(item, "address"),
               text_of(item, "state"), number_of(item, "associations"), number_of(item, "waiting"),
               number_of(item, "dials_ok"), number_of(item, "dials_failed"));
    printf("\n%-16s %9s  %s\n", "AUTHORITY", "KEYS", "FROM");
    json_array_foreach(json_object_get(result, "authorities"), i, item) printf(
        "%-16s %9lld  %s%s\n", text_of(item, "name"), number_of(item, "keys"),
        text_of(item, "path")[0] == '\0' ? "certificates alone" : text_of(item, "path"),
        json_is_false(json_object_get(item, "serving")) ? "  (cannot be asked: see the log)" : "");
    if (json_array_size(json_object_get(result, "mafs")) > 0)
        printf("\n%-32s %-5s %11s %7s %9s\n", "MAF", "STATE", "CONNECTIONS", "WAITING", "ASKED");
    json_array_foreach(json_object_get(result, "mafs"), i, item) printf(
        "%-32s %-5s %11lld %7lld %9lld\n", text_of(item, "fqdn"), text_of(item, "state"),
        number_of(item, "connections"), number_of(item, "waiting"), number_of(item, "asked"));
}

void hf_print_reload(const json_t *result)
{
    size_t i = 0;
    json_t *item = NULL;
    puts("reloaded");
    json_array_foreach(json_object_get(result, "authorities"), i, item) printf(
        "authority %s: %lld keys; %lld added, %lld removed, %lld changed; entity map: "
        "%lld credentials\n",
        text_of(item, "name"), number_of(item, "keys"), number_of(item, "added"),
        number_of(item, "removed"), number_of(item, "changed"), number_of(item, "credentials"));
}

void hf_print_log_level(const json_t *result)
{
    puts(text_of(result, "level"));
}

void hf_print_hash(const json_t *result)
{
    puts(text_of(result, "hash"));
}

/* ---- associations ------------------------------------------------------------------------- */

/* What an association came by: a listener, or we dialled. */
static const char *way_of(const json_t *item)
{
    return json_object_get(item, "dialer") != NULL ? "dialer" : "listener";
}

static void put_association(const json_t *item)
{
    put_text(item, "association", 16);
    put_text(item, "transport", 4);
    put_text(item, "peer", 24);
    put_text(item, way_of(item), 12);
    put_text(item, "credential_id", 24);
    put_text(item, "entity_id", 0);
    if (!json_is_true(json_object_get(item, "established")))
        printf(" (half-open)");
    putchar('\n');
}

void hf_print_assoc_list(const json_t *result)
{
    size_t i = 0;
    json_t *item = NULL;
    const json_t *list = json_object_get(result, "associations");
    if (json_array_size(list) > 0)
        printf("%-16s %-4s %-24s %-12s %-24s %s\n", "ASSOCIATION", "", "PEER", "LISTENER",
               "CREDENTIAL", "ENTITY");
    json_array_foreach(list, i, item) put_association(item);
}

void hf_print_assoc_show(const json_t *result)
{
    static const char *const fields[][2] = {
        {"association", "association"},
        {"listener", "listener"},
        {"dialer", "dialer"},
        {"authority", "authority"},
        {"transport", "transport"},
        {"peer", "peer"},
        {"peer address", "peer_address"},
        {"local address", "local"},
        {"connection ID", "connection_id"},
        {"peer's", "peer_connection_id"},
        {"entity", "entity_id"},
        {"entity kind", "entity_kind"},
        {"credential", "credential_id"},
        {"framework", "framework"},
        {"suite", "suite"},
        {"reference point", "reference_point"},
        {"server name", "server_name"},
        {"expires", "expires"},
    };
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
        put_field(result, fields[i][0], fields[i][1]);
    printf("%-18s %s\n", "state",
           json_is_true(json_object_get(result, "established")) ? "established" : "half-open");
    printf("%-18s %s\n", "extensions",
           json_is_true(json_object_get(result, "extended_master_secret"))
               ? json_is_true(json_object_get(result, "encrypt_then_mac"))
                     ? "extended master secret, encrypt-then-MAC"
                     : "extended master secret"
               : "no extended master secret");
}

void hf_print_assoc_close(const json_t *result)
{
    printf("closing ");
    put_text(result, "association", 0);
    printf(" (");
    put_text(result, "credential_id", 0);
    printf(")\n");
}

/* ---- why ---------------------------------------------------------------------------------- */

static void put_keys(const json_t *keys)
{
    const char *name = NULL;
    json_t *value = NULL;
    json_object_foreach((json_t *)keys, name, value)
    {
        const char *state = json_string_value(value);
        if (state == NULL)
            state = "";
        if (strcmp(state, "present") == 0)
            printf("authority %s has a key for it\n", name);
        else if (strcmp(state, "expired") == 0)
            printf("authority %s has a key for it, which has expired\n", name);
        else if (strcmp(state, "maf") == 0)
            printf("authority %s has no key of its own for it; its MAF is asked\n", name);
        else if (strcmp(state, "absent") == 0)
            printf("authority %s has NO key for it\n", name);
        else
            printf("authority %s cannot tell: its key store does not answer\n", name);
    }
}

static void put_failure(const json_t *item)
{
    printf("%s  %s failed: %s (%s)\n", text_of(item, "last"), text_of(item, "what"),
           text_of(item, "text"), text_of(item, "reason"));
    printf("    %lld time%s since %s, %s %s, last from ", number_of(item, "times"),
           number_of(item, "times") == 1 ? "" : "s", text_of(item, "first"), way_of(item),
           text_of(item, way_of(item)));
    put_text(item, "peer", 0);
    printf(", identity ");
    put_text(item, "identity", 0);
    printf("\n    in state %s%s%s%s%s%s%s\n", text_of(item, "state"),
           text_of(item, "input")[0] ? ", on " : "", text_of(item, "input"),
           text_of(item, "alert")[0] ? ", alert " : "", text_of(item, "alert"),
           text_of(item, "clause")[0] ? ", " : "", text_of(item, "clause"));
}

void hf_print_why(const json_t *result)
{
    size_t i = 0;
    json_t *item = NULL;
    const json_t *associations = json_object_get(result, "associations");
    const json_t *failures = json_object_get(result, "failures");
    put_keys(json_object_get(result, "keys"));
    if (json_array_size(associations) == 0)
        puts("no association now");
    else
        printf("%zu association%s now:\n", json_array_size(associations),
               json_array_size(associations) == 1 ? "" : "s");
    hf_print_assoc_list(result);
    if (json_array_size(failures) == 0)
        puts("no failure is remembered: it has not tried lately, or it does not reach us");
    json_array_foreach(failures, i, item) put_failure(item);
}

void hf_print_revoke(const json_t *result)
{
    printf("revoked; %s\n", json_is_true(json_object_get(result, "had_key"))
                                ? "associations made with its key are being ended"
                                : "no key of it was held");
}

void hf_print_restart(const json_t *result)
{
    printf("process %lld serves now\n", number_of(result, "pid"));
}

void hf_print_drain(const json_t *result)
{
    printf("draining; it ends in %lld seconds at most\n", number_of(result, "seconds"));
}
