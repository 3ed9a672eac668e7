/**
 * page.h - a page of documentation that is made from the code: written on request, and compared
 * with the file in the tree otherwise.
 */
#ifndef HF_TEST_PAGE_H
#define HF_TEST_PAGE_H

#include <stddef.h>

#define PAGE_LEN_MAX 65536

struct page {
    char text[PAGE_LEN_MAX];
    size_t len;
};

/** page_add appends, as printf does; exits when the page is full. */
void page_add(struct page *page, const char *format, ...) __attribute__((format(printf, 2, 3)));

/** page_main writes the page to `path` if the first argument is --write; otherwise prints a PASS or
 *  FAIL line, `name` in it, about whether the file is the same. Returns the exit status. */
int page_main(const struct page *page, const char *path, const char *name, int argc, char **argv);

#endif
