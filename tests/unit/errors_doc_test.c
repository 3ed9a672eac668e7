/**
 * errors_doc_test.c - writes docs/ERRORS.md from the two lists of the public headers, and checks
 * that the file in the tree is what they say.
 *
 *     errors_doc_test                   compares; exit status 1 if the file is out of date
 *     errors_doc_test --write           writes it
 */
#include <handfast/handfast.h>

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAGE_LEN_MAX 65536
#define PATH HF_SOURCE_DIR "/docs/ERRORS.md"

struct page {
    char text[PAGE_LEN_MAX];
    size_t len;
};

static __attribute__((format(printf, 2, 3))) void add(struct page *page, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int len = vsnprintf(page->text + page->len, PAGE_LEN_MAX - page->len, format, arguments);
    va_end(arguments);
    if (len < 0 || (size_t)len >= PAGE_LEN_MAX - page->len) {
        fprintf(stderr, "the page is longer than planned\n");
        exit(1);
    }
    page->len += (size_t)len;
}

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
    add(page,
        "# Errors\n\n"
        "Made from `HF_STATUS_MAP` (include/handfast/status.h) and `HF_DROP_MAP`\n"
        "(include/handfast/engine.h) by `errors_doc_test --write`; the test of that name fails when "
        "this page\nis out of date.\n\n"
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
    add(page, "| status | reason | class | alert | meaning |\n|---|---|---|---|---|\n");
    for (int i = 0; i < HF_STATUS_COUNT; i++) {
        enum hf_status status = (enum hf_status)i;
        uint8_t alert = hf_status_alert(status);
        add(page, "| `%s` | %s | %s | ", symbols[i], hf_status_reason(status),
            class_name(hf_status_class(status)));
        if (alert == HF_ALERT_NONE)
            add(page, "-");
        else
            add(page, "%s (%u)", hf_alert_name(alert), alert);
        add(page, " | %s |\n", hf_status_text(status));
    }
}

static void add_drops(struct page *page)
{
    add(page,
        "\n## Drops\n\n"
        "Input that is discarded without an answer, counted in `hf_counters.drops` and\n"
        "`handfast_drops_total{cause}`. On DTLS that is how nearly everything wrong is treated: "
        "anyone can send\na datagram with somebody else's address. Some of each is normal on a "
        "network that loses, repeats and\nreorders.\n\n"
        "| drop | cause | meaning |\n|---|---|---|\n");
#define ROW(name, label, text) add(page, "| `HF_DROP_%s` | %s | %s |\n", #name, label, text);
    HF_DROP_MAP(ROW)
#undef ROW
}

static int write_page(const struct page *page)
{
    FILE *file = fopen(PATH, "w");
    if (!file || fwrite(page->text, 1, page->len, file) != page->len || fclose(file) != 0) {
        perror(PATH);
        return 1;
    }
    return 0;
}

static int compare_page(const struct page *page)
{
    static char text[PAGE_LEN_MAX];
    FILE *file = fopen(PATH, "r");
    size_t len = file ? fread(text, 1, sizeof text, file) : 0;
    if (file)
        (void)fclose(file);
    bool is_same = len == page->len && memcmp(text, page->text, len) == 0;
    printf("%s docs/ERRORS.md says what the headers say\n", is_same ? "PASS" : "FAIL");
    if (!is_same)
        printf("out of date: run errors_doc_test --write\n");
    return is_same ? 0 : 1;
}

int main(int argc, char **argv)
{
    static struct page page;
    add_front(&page);
    add_statuses(&page);
    add_drops(&page);
    return argc > 1 && strcmp(argv[1], "--write") == 0 ? write_page(&page) : compare_page(&page);
}
