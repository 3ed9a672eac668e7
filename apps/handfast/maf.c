/**
 * maf.c - `handfast maf`: what a MAF's clients do (TS-0003 8.8.2): registration, keys for others,
 * keys from others.
 */
#include "maf_session.h"

#include "tool.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#define DAY_S 86400

/* What the command line says. */
struct order {
    struct hf_maf_dial dial;
    const char *target, *admin_fqdn, *save, *supplied;
    const char *resource_id;
    struct hf_maf_list labels;
    int64_t expires_s;
};

struct verb {
    const char *name;
    const char *arguments;
    const char *help;
    bool (*run)(struct hf_maf_session *session, const struct order *order);
    bool has_resource; /* takes the identifier of a registration */
};

/* ---- printing ----------------------------------------------------------------------------- */

static bool say(const char *what)
{
    fprintf(stderr, "handfast: maf: %s\n", what);
    return false;
}

static bool refuse(const struct hf_maf_message *message)
{
    fprintf(stderr, "handfast: maf: refused with %u\n", message->rsc);
    return false;
}

static void print_list(const char *name, const struct hf_maf_list *list)
{
    uint16_t at = 0;
    const char *text;
    while ((text = hf_maf_list_next(list, &at)) != NULL)
        printf("%-16s %s\n", name, text);
}

/* Never a key: that goes to a file. */
static void print_resource(const struct hf_maf_resource *resource)
{
    char at[HF_MAF_TIMESTAMP_LEN + 1];
    hf_maf_text_write_time(at, resource->expires_s);
    if (resource->has & HF_MAF_HAS(RESOURCE_ID))
        printf("%-16s %s\n", "registration", resource->resource_id);
    if (resource->has & (HF_MAF_HAS(CLIENT_ID) | HF_MAF_HAS(SOURCE_ID)))
        printf("%-16s %s\n", "client", resource->client_id);
    if (resource->has & HF_MAF_HAS(ADMIN_FQDN))
        printf("%-16s %s\n", "administrator", resource->admin_fqdn);
    if (resource->has & HF_MAF_HAS(SUID))
        printf("%-16s %u\n", "suid", resource->suid);
    if (resource->has & HF_MAF_HAS(EXPIRATION_TIME))
        printf("%-16s %s\n", "expires", at);
    if (resource->has & HF_MAF_HAS(ASSIGNED_KEY_ID))
        printf("%-16s %s\n", "assigned KmID", resource->assigned_key_id);
    print_list("label", &resource->labels);
    print_list("target", &resource->target_ids);
}

/* ---- verbs -------------------------------------------------------------------------------- */

/* One request about a registration, and its answer printed. */
static bool ask(struct hf_maf_session *session, enum hf_maf_method method, const char *path,
                const struct hf_maf_resource *body, unsigned type, struct hf_maf_resource *out)
{
    static char text[HF_MAF_BODY_MAX];
    const struct hf_maf_message *message = NULL;
    const char *why = NULL;
    char target[HF_MAF_TARGET_MAX];
    size_t len = body != NULL ? hf_maf_resource_write(text, sizeof(text), body) : 0;
    if (snprintf(target, sizeof(target), "/%s", path) >= (int)sizeof(target))
        return say("the identifier is too long");
    const struct hf_maf_request request = {.method = method,
                                           .target = hf_maf_text_view(target),
                                           .type = type,
                                           .body = {(const uint8_t *)text, len}};
    if (!hf_maf_session_ask(session, &message, &request))
        return false;
    if (message->rsc < 2000 || message->rsc >= 3000)
        return refuse(message);
    if (message->body.len == 0)
        return true;
    enum hf_maf_kind kind = HF_MAF_KEY_REGISTRATION;
    if (hf_maf_resource_read(out, &why, kind, message->body) ||
        hf_maf_resource_read(out, &why, HF_MAF_CLIENT_REGISTRATION, message->body)) {
        print_resource(out);
        return true;
    }
    return say(why);
}

static struct hf_maf_resource answer; /* large; holds keys */

static bool run_register(struct hf_maf_session *session, const struct order *order)
{
    static struct hf_maf_resource body;
    if (order->admin_fqdn == NULL)
        return say("--admin FQDN is needed: who administrates this client");
    body = (struct hf_maf_resource){.kind = HF_MAF_CLIENT_REGISTRATION,
                                    .has = HF_MAF_HAS(ADMIN_FQDN),
                                    .expires_s = order->expires_s,
                                    .labels = order->labels};
    snprintf(body.admin_fqdn, sizeof(body.admin_fqdn), "%s", order->admin_fqdn);
    body.has |= order->expires_s > 0 ? HF_MAF_HAS(EXPIRATION_TIME) : 0;
    body.has |= order->labels.count > 0 ? HF_MAF_HAS(LABELS) : 0;
    return ask(session, HF_MAF_CREATE, hf_maf_name(HF_MAF_NAME_BASE), &body,
               HF_MAF_TYPE_CLIENT_REGISTRATION, &answer);
}

static bool change(struct hf_maf_session *session, const struct order *order, enum hf_maf_kind kind)
{
    static struct hf_maf_resource body;
    body = (struct hf_maf_resource){
        .kind = kind, .expires_s = order->expires_s, .labels = order->labels};
    body.has |= order->expires_s > 0 ? HF_MAF_HAS(EXPIRATION_TIME) : 0;
    body.has |= order->labels.count > 0 ? HF_MAF_HAS(LABELS) : 0;
    if (order->target != NULL && kind == HF_MAF_KEY_REGISTRATION &&
        hf_maf_list_add(&body.target_ids, hf_maf_text_view(order->target)))
        body.has |= HF_MAF_HAS(TARGET_IDS);
    return ask(session, HF_MAF_UPDATE, order->resource_id, &body, 0, &answer);
}

static bool run_update(struct hf_maf_session *session, const struct order *order)
{
    return change(session, order, HF_MAF_CLIENT_REGISTRATION);
}

static bool run_key_update(struct hf_maf_session *session, const struct order *order)
{
    return change(session, order, HF_MAF_KEY_REGISTRATION);
}

static bool run_end(struct hf_maf_session *session, const struct order *order)
{
    return ask(session, HF_MAF_DELETE, order->resource_id, NULL, 0, &answer);
}

static bool run_show(struct hf_maf_session *session, const struct order *order)
{
    return ask(session, HF_MAF_RETRIEVE, order->resource_id, NULL, 0, &answer);
}

static bool run_config(struct hf_maf_session *session, const struct order *order)
{
    const struct hf_maf_message *message = NULL;
    char target[HF_MAF_TARGET_MAX];
    if (snprintf(target, sizeof(target), "/%s/%s", order->resource_id,
                 hf_maf_name(HF_MAF_NAME_CLIENT_CONFIGURATION)) >= (int)sizeof(target))
        return say("the identifier is too long");
    const struct hf_maf_request request = {.method = HF_MAF_RETRIEVE,
                                           .target = hf_maf_text_view(target)};
    if (!hf_maf_session_ask(session, &message, &request))
        return false;
    if (message->rsc != HF_MAF_RSC_OK)
        return refuse(message);
    printf("%.*s\n", (int)message->body.len, (const char *)message->body.data);
    return true;
}

static bool run_key_register(struct hf_maf_session *session, const struct order *order)
{
    static struct hf_maf_key_order key;
    uint8_t supplied[32];
    if (order->admin_fqdn == NULL || order->target == NULL || order->save == NULL)
        return say("--admin FQDN, --target CSE-ID and --save FILE are needed");
    if (order->supplied != NULL && !hf_maf_session_read_key(supplied, order->supplied))
        return false;
    key = (struct hf_maf_key_order){
        .target = order->target, .admin_fqdn = order->admin_fqdn, .expires_s = order->expires_s};
    bool is_good =
        hf_maf_session_register_key(session, &key, order->supplied != NULL ? supplied : NULL) &&
        hf_maf_session_save_key(order->save, order->dial.fqdn, &key.given, NULL);
    if (is_good) {
        print_resource(&key.given);
        printf("%-16s %s@%s\n", "identity", key.given.resource_id, order->dial.fqdn);
    }
    explicit_bzero(supplied, sizeof(supplied));
    hf_maf_resource_wipe(&key.given);
    return is_good;
}

static bool run_key_retrieve(struct hf_maf_session *session, const struct order *order)
{
    bool is_good = run_show(session, order);
    if (is_good && answer.key_len == 0)
        is_good = say("no key came with it");
    if (is_good && order->save != NULL) {
        snprintf(answer.resource_id, sizeof(answer.resource_id), "%s", order->resource_id);
        is_good = hf_maf_session_save_key(order->save, order->dial.fqdn, &answer, answer.client_id);
    }
    return is_good;
}

static const struct verb verbs[] = {
    {"register", "--admin FQDN", "register this client", run_register, false},
    {"show", "ID", "a registration", run_show, true},
    {"config", "ID", "the configuration the MAF has for this client", run_config, true},
    {"update", "ID", "change labels or life of a client registration", run_update, true},
    {"deregister", "ID", "end a client registration", run_end, true},
    {"key-register", "--admin FQDN --target CSE-ID --save FILE", "a key for an IN-CSE",
     run_key_register, false},
    {"key-retrieve", "ID [--save FILE]", "a key that was registered for us", run_key_retrieve,
     true},
    {"key-update", "ID", "change labels, life or target of a key", run_key_update, true},
    {"key-deregister", "ID", "end a key", run_end, true},
};

#define VERB_COUNT (sizeof(verbs) / sizeof(verbs[0]))

/* ---- the command line --------------------------------------------------------------------- */

static void print_help(FILE *out)
{
    fputs("usage: handfast maf VERB --maf FQDN=ADDR:PORT [OPTION]...\n"
          "A client of a M2M Authentication Function (oneM2M TS-0003 8.8). See docs/MAF.md.\n\n",
          out);
    for (size_t i = 0; i < VERB_COUNT; i++) {
        char left[80];
        snprintf(left, sizeof(left), "%s %s", verbs[i].name, verbs[i].arguments);
        fprintf(out, "  %-52s %s\n", left, verbs[i].help);
    }
    fputs("\n"
          "  --maf FQDN=ADDR:PORT  whom to dial\n"
          "  --psk-file FILE       Km: keys, one a line as for handfastd\n"
          "  --identity KMID       which of them; the file's only one\n"
          "  --cert FILE --key FILE --ca FILE --crl FILE    or certificates, both ways\n"
          "  --origin ID           X-M2M-Origin: who we are; checked against TLS\n"
          "  --admin FQDN          who administrates\n"
          "  --target CSE-ID       who may retrieve the key, absolute: //m2msp.example/in-cse\n"
          "  --label TEXT          may be repeated\n"
          "  --days N              life; the MAF may shorten it\n"
          "  --key-file FILE       key-register: this key instead of the session's\n"
          "  --save FILE           write the key there, as a key file for handfast connect\n"
          "  --timeout SECONDS     10\n"
          "\nexit status: 0 done, 1 failed, 2 wrong usage\n",
          out);
}

static bool take(struct order *order, int letter, char *value)
{
    char *end = NULL;
    long number = strtol(value, &end, 10);
    bool is_number = *value >= '0' && *value <= '9' && *end == '\0' && number >= 1;
    switch (letter) {
    case 'm':
        return hf_maf_dial_parse(&order->dial, value);
    case 'l':
        return strlen(value) <= HF_MAF_LABEL_MAX &&
               hf_maf_list_add(&order->labels, hf_maf_text_view(value));
    case 'D':
        order->expires_s = (int64_t)time(NULL) + number * DAY_S;
        return is_number && number <= 36500;
    case 'o':
        order->dial.timeout_us = (uint64_t)number * 1000000;
        return is_number && number <= 3600;
    case 't':
        order->target = value;
        return hf_maf_text_is_absolute(hf_maf_text_view(value));
    case 'a':
        order->admin_fqdn = value;
        return hf_maf_text_is_fqdn(hf_maf_text_view(value));
    default:
        return false;
    }
}

static const char **text_of(struct order *order, int letter)
{
    switch (letter) {
    case 'p':
        return &order->dial.psk_file;
    case 'i':
        return &order->dial.identity;
    case 'c':
        return &order->dial.cert;
    case 'k':
        return &order->dial.key;
    case 'C':
        return &order->dial.ca;
    case 'r':
        return &order->dial.crl;
    case 'O':
        return &order->dial.origin;
    case 's':
        return &order->save;
    case 'K':
        return &order->supplied;
    default:
        return NULL;
    }
}

static const struct option options[] = {
    {"maf", required_argument, NULL, 'm'},      {"psk-file", required_argument, NULL, 'p'},
    {"identity", required_argument, NULL, 'i'}, {"cert", required_argument, NULL, 'c'},
    {"key", required_argument, NULL, 'k'},      {"ca", required_argument, NULL, 'C'},
    {"crl", required_argument, NULL, 'r'},      {"origin", required_argument, NULL, 'O'},
    {"admin", required_argument, NULL, 'a'},    {"target", required_argument, NULL, 't'},
    {"label", required_argument, NULL, 'l'},    {"days", required_argument, NULL, 'D'},
    {"key-file", required_argument, NULL, 'K'}, {"save", required_argument, NULL, 's'},
    {"timeout", required_argument, NULL, 'o'},  {NULL, 0, NULL, 0},
};

static bool parse(struct order *order, const struct verb *verb, int argc, char **argv)
{
    int letter;
    int index = 0;
    order->dial.timeout_us = 10000000;
    optind = 0;
    while ((letter = getopt_long(argc, argv, "", options, &index)) != -1) {
        const char **text = letter == '?' ? NULL : text_of(order, letter);
        if (text != NULL)
            *text = optarg;
        else if (letter == '?')
            return false;
        else if (!take(order, letter, optarg)) {
            fprintf(stderr, "handfast: maf: --%s: \"%s\" is not what it takes\n",
                    options[index].name, optarg);
            return false;
        }
    }
    if (verb->has_resource && optind < argc)
        order->resource_id = argv[optind++];
    if (optind < argc)
        return say("too many arguments");
    if (verb->has_resource && (order->resource_id == NULL ||
                               !hf_maf_text_is_relative_key_id(hf_maf_text_view(order->resource_id),
                                                               HF_MAF_RELATIVE_ANY)))
        return say("the identifier of a registration is needed");
    if (order->dial.fqdn == NULL)
        return say("--maf FQDN=ADDR:PORT is needed");
    const char *missing = hf_maf_dial_missing(&order->dial);
    if (missing != NULL) {
        fprintf(stderr, "handfast: maf: %s\n", missing);
        return false;
    }
    return true;
}

int hf_maf_main(int argc, char **argv)
{
    static struct order order;
    struct hf_maf_session *session = NULL;
    const char *name = argc > 1 ? argv[1] : "";
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0) {
            print_help(stdout);
            return fflush(stdout) == 0 ? HF_TOOL_DONE : HF_TOOL_FAILED;
        }
    }
    const struct verb *verb = NULL;
    for (size_t i = 0; i < VERB_COUNT; i++)
        if (strcmp(name, verbs[i].name) == 0)
            verb = &verbs[i];
    if (verb == NULL) {
        if (argc > 1)
            fprintf(stderr, "handfast: maf: %s: no such verb\n", name);
        else
            print_help(stderr);
        return HF_TOOL_USAGE;
    }
    argv[1] = argv[0]; /* what getopt(3) begins its complaints with */
    if (!parse(&order, verb, argc - 1, argv + 1))
        return HF_TOOL_USAGE;
    (void)setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0}); /* keys pass through */
    hf_maf_resource_init();
    bool is_good = hf_maf_session_open(&session, &order.dial) && verb->run(session, &order);
    hf_maf_session_close(session);
    hf_maf_resource_wipe(&answer);
    return is_good && fflush(stdout) == 0 ? HF_TOOL_DONE : HF_TOOL_FAILED;
}
