/**
 * page.c - see page.h.
 */
#include "page.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void page_add(struct page *page, const char *format, ...)
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

static int write_page(const struct page *page, const char *path)
{
    FILE *file = fopen(path, "w");
    if (!file || fwrite(page->text, 1, page->len, file) != page->len || fclose(file) != 0) {
        perror(path);
        return 1;
    }
    return 0;
}

static int compare_page(const struct page *page, const char *path, const char *name)
{
    static char text[PAGE_LEN_MAX];
    FILE *file = fopen(path, "r");
    size_t len = file ? fread(text, 1, sizeof text, file) : 0;
    if (file)
        (void)fclose(file);
    bool is_same = len == page->len && memcmp(text, page->text, len) == 0;
    printf("%s %s says what the code says\n", is_same ? "PASS" : "FAIL", name);
    if (!is_same)
        printf("out of date: run this program with --write\n");
    return is_same ? 0 : 1;
}

int page_main(const struct page *page, const char *path, const char *name, int argc, char **argv)
{
    return argc > 1 && strcmp(argv[1], "--write") == 0 ? write_page(page, path)
                                                       : compare_page(page, path, name);
}
