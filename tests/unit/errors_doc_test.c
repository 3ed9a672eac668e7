/**
 * errors_doc_test.c - writes docs/ERRORS.md from the two lists of the public headers, and checks
 * that the file in the tree is what they say.
 *
 *     errors_doc_test                   compares; exit status 1 if the file is out of date
 *     errors_doc_test --write           writes it
 */
#include "page.h"

#include <handfast/handfast.h>

static const char *class_name(enum hf_status_class class_)
{
    static const char *const names[] = {
        [HF_CLASS_NONE] = "-",       [HF_CLASS_PEER] = "PEER",     [HF_CLASS_AUTH] = "AUTH",
        [HF_CLASS_LIMIT] = "LIMIT",  [HF_CLASS_CRYPTO] = "CRYPTO", [HF_CLASS_USAGE] = "USAGE",
        [HF_CLASS_CLOSED] = "CLOSED"};
    return names[class_];
}

static void add_front(struct page *page)
{
    page_add(
        page,
        "# Errors\n\n"
        "Made from `HF_STATUS_MAP` (include/handfast/status.h) and `HF_DROP_MAP`\n"
        "(include/handfast/engine.h) by `errors_doc_test --write`; the test of that name fails "
        "when this page\nis out of date.\n\n"
        "## Statuses\n\n"
        "What a call returns, and what ends a handshake or an association (`hf_event.failure."
        "status`). The\n**reason** is the label in metrics and logs: "
        "`handfast_handshakes_total{reason}`,\n`handfast_association_ends_total{reason}`. The "
        "**class** says whose business it is:\n\n"
        "| class | look at |\n|---|---|\n"
        "| PEER | the peer: it broke the protocol, or offers nothing we speak |\n"
        "| AUTH | the peer's credential, or the key file |\n"
        "| LIMIT | `hf_config`, the load, or the key source |\n"
        "| CRYPTO | the network, or somebody who plays with it |\n"
        "| USAGE | the program that embeds the library |\n"
        "| CLOSED | nothing: this is how associations end |\n\n"
        "The **alert** is what the peer is told (RFC 5246 7.2). On DTLS nothing is said about "
        "timeouts and\nrecords that do not authenticate, and nothing at all before a cookie has "
        "come back. An unknown\nidentity, an expired and a wrong key look the same to the "
        "peer.\n\n");
}

static void add_statuses(struct page *page)
{
    static const char *const symbols[] = {
#define SYMBOL(name, class_, alert, reason, text) "HF_" #name,
        HF_STATUS_MAP(SYMBOL)
#undef SYMBOL
    };
    page_add(page, "| status | reason | class | alert | meaning |\n|---|---|---|---|---|\n");
    for (int i = 0; i < HF_STATUS_COUNT; i++) {
        enum hf_status status = (enum hf_status)i;
        uint8_t alert = hf_status_alert(status);
        page_add(page, "| `%s` | %s | %s | ", symbols[i], hf_status_reason(status),
                 class_name(hf_status_class(status)));
        if (alert == HF_ALERT_NONE)
            page_add(page, "-");
        else
            page_add(page, "%s (%u)", hf_alert_name(alert), alert);
        page_add(page, " | %s |\n", hf_status_text(status));
    }
}

static void add_drops(struct page *page)
{
    page_add(
        page,
        "\n## Drops\n\n"
        "Input that is discarded without an answer, counted in `hf_counters.drops` and\n"
        "`handfast_drops_total{cause}`. On DTLS that is how nearly everything wrong is treated: "
        "anyone can send\na datagram with somebody else's address. Some of each is normal on a "
        "network that loses, repeats and\nreorders.\n\n"
        "| drop | cause | meaning |\n|---|---|---|\n");
#define ROW(name, label, text) page_add(page, "| `HF_DROP_%s` | %s | %s |\n", #name, label, text);
    HF_DROP_MAP(ROW)
#undef ROW
}

int main(int argc, char **argv)
{
    static struct page page;
    add_front(&page);
    add_statuses(&page);
    add_drops(&page);
    return page_main(&page, HF_SOURCE_DIR "/docs/ERRORS.md", "docs/ERRORS.md", argc, argv);
}
