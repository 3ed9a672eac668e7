/**
 * keydb_check.c - the walk over an LMDB 0.9 file (data version 1, 64 bit, little-endian).
 *
 * Layout: pages 0 and 1 are meta pages, used in turn by even and odd transactions. A page begins
 * with {number 8, pad 2, flags 2, lower 2, upper 2}, an overflow run with its length in place of
 * lower and upper. A node is {size 4, flags 2, name_len 2, name, data}; in a branch the first six
 * bytes are the child's number. Nodes are packed without gaps from `upper` to the end.
 */
#include "keydb_check.h"

#include "crypto.h"
#include "keydb_record.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define META_MAGIC 0xBEEFC0DEU
#define META_VERSION 1
#define META_LEN 152 /* page header included */
#define PAGE_HEADER_LEN 16
#define NODE_HEADER_LEN 8
#define TABLE_LEN 48
#define DEPTH_MAX 16
#define LEVELS (2 * DEPTH_MAX)
#define PAGE_LEN_MIN 512
#define PAGE_LEN_MAX 32768
#define NO_PAGE UINT64_MAX
#define FLAG_BRANCH 0x01U
#define FLAG_LEAF 0x02U
#define FLAG_OVERFLOW 0x04U
#define FLAG_META 0x08U
#define FLAG_INTEGER_KEY 0x08U
#define NODE_BIG 0x01U
#define NODE_TABLE 0x02U
#define META_TRIES 4

/* A table as the file describes it. */
struct table {
    uint32_t flags, depth;
    uint64_t branch_pages, leaf_pages, overflow_pages, entries, root;
};

struct meta {
    uint32_t page_len;
    struct table free_list, main;
    uint64_t last_page, transaction;
};

/* What a walk has seen of one table, to be compared with what the table claims. */
struct tree {
    struct table claimed, seen;
    enum { TREE_FREE, TREE_MAIN, TREE_NAMED } kind;
    struct hf_bytes name;
    uint8_t last[HF_KEYDB_NAME_MAX]; /* the greatest name so far */
    size_t last_len;
    bool has_last;
    bool may_repeat; /* `last` is a separator: the next leaf's name may equal it */
};

struct walk {
    int fd;
    struct meta meta;
    uint8_t *used;  /* a bit for each page */
    uint8_t *pages; /* one page for each level */
    uint8_t *big;   /* a value from overflow pages */
    size_t big_len_max;
    uint64_t used_count, free_count;
    char *reason;
    hf_keydb_check_record *check;
    void *arg;
};

static bool broken(char *reason, uint64_t page, const char *text)
{
    snprintf(reason, HF_KEYDB_REASON_MAX, "page %llu: %s", (unsigned long long)page, text);
    return false;
}

static bool read_at(uint8_t *out, int fd, size_t len, uint64_t offset)
{
    while (len > 0) {
        ssize_t got = pread(fd, out, len, (off_t)offset);
        if (got <= 0)
            return false;
        out += got;
        offset += (uint64_t)got;
        len -= (size_t)got;
    }
    return true;
}

/* ---- meta pages --------------------------------------------------------------------------- */

static struct table table_read(const uint8_t *data)
{
    return (struct table){
        .flags = (uint32_t)hf_keydb_load(data + 4, 2),
        .depth = (uint32_t)hf_keydb_load(data + 6, 2),
        .branch_pages = hf_keydb_load(data + 8, 8),
        .leaf_pages = hf_keydb_load(data + 16, 8),
        .overflow_pages = hf_keydb_load(data + 24, 8),
        .entries = hf_keydb_load(data + 32, 8),
        .root = hf_keydb_load(data + 40, 8),
    };
}

static bool meta_parse(struct meta *out, char *reason, const uint8_t *data, uint64_t number)
{
    if (hf_keydb_load(data, 8) != number || hf_keydb_load(data + 10, 2) != FLAG_META)
        return broken(reason, number, "not a meta page");
    if (hf_keydb_load(data + 16, 4) != META_MAGIC)
        return broken(reason, number, "not LMDB's magic number");
    if (hf_keydb_load(data + 20, 4) != META_VERSION)
        return broken(reason, number, "not LMDB's data version 1");
    out->page_len = (uint32_t)hf_keydb_load(data + 40, 4);
    out->free_list = table_read(data + 40);
    out->main = table_read(data + 88);
    out->last_page = hf_keydb_load(data + 136, 8);
    out->transaction = hf_keydb_load(data + 144, 8);
    if (out->page_len < PAGE_LEN_MIN || out->page_len > PAGE_LEN_MAX ||
        (out->page_len & (out->page_len - 1)) != 0)
        return broken(reason, number, "an impossible page length");
    if ((out->free_list.flags & FLAG_INTEGER_KEY) == 0 || out->main.flags != 0)
        return broken(reason, number, "unexpected table flags");
    if (out->last_page < 1 || out->last_page > INT64_MAX / PAGE_LEN_MAX - 1)
        return broken(reason, number, "an impossible last page");
    if (number == 0 && (out->transaction & 1) != 0)
        return broken(reason, number, "a transaction of the other meta page");
    if (number == 1 && (out->transaction & 1) == 0 && out->transaction != 0)
        return broken(reason, number, "a transaction of the other meta page");
    return true;
}

static bool metas_read(struct meta out[2], char *reason, int fd)
{
    uint8_t data[META_LEN];
    if (!read_at(data, fd, META_LEN, 0))
        return broken(reason, 0, "the file ends within it");
    if (!meta_parse(&out[0], reason, data, 0))
        return false;
    if (!read_at(data, fd, META_LEN, out[0].page_len))
        return broken(reason, 1, "the file ends within it");
    if (!meta_parse(&out[1], reason, data, 1))
        return false;
    if (out[0].page_len != out[1].page_len || out[0].free_list.flags != out[1].free_list.flags)
        return broken(reason, 1, "the two meta pages disagree");
    uint64_t first = out[0].transaction;
    uint64_t second = out[1].transaction;
    if (first + 1 != second && second + 1 != first && (first | second) != 0)
        return broken(reason, 1, "the transactions of the two meta pages are not neighbours");
    return true;
}

/* A writer may commit between the two reads: look again before calling it damage. */
static bool metas_read_steady(struct meta out[2], char *reason, int fd)
{
    for (int i = 0; i < META_TRIES; i++) {
        if (metas_read(out, reason, fd))
            return true;
        usleep(2000);
    }
    return false;
}

static bool has_all_pages(const struct meta *meta, char *reason, int fd)
{
    struct stat st;
    if (fstat(fd, &st) != 0)
        return broken(reason, 0, "cannot tell the file's length");
    uint64_t needed = (meta->last_page + 1) * meta->page_len;
    if ((uint64_t)st.st_size >= needed)
        return true;
    snprintf(reason, HF_KEYDB_REASON_MAX, "cut short: %llu bytes, but %llu are in use",
             (unsigned long long)st.st_size, (unsigned long long)needed);
    return false;
}

bool hf_keydb_check_meta(uint64_t *transaction, char reason[HF_KEYDB_REASON_MAX], int fd)
{
    struct meta metas[2];
    if (!metas_read_steady(metas, reason, fd))
        return false;
    const struct meta *newest = &metas[metas[1].transaction > metas[0].transaction];
    *transaction = newest->transaction;
    return has_all_pages(newest, reason, fd);
}

/* ---- pages -------------------------------------------------------------------------------- */

/* Every page has one owner. */
static bool claim(struct walk *walk, uint64_t page)
{
    if (page < 2 || page > walk->meta.last_page)
        return broken(walk->reason, page, "outside the file's pages");
    uint8_t bit = (uint8_t)(1U << (page & 7));
    if ((walk->used[page / 8] & bit) != 0)
        return broken(walk->reason, page, "belongs to two owners");
    walk->used[page / 8] |= bit;
    return true;
}

static int compare(struct hf_bytes a, struct hf_bytes b)
{
    size_t len = a.len < b.len ? a.len : b.len;
    for (size_t i = 0; i < len; i++)
        if (a.data[i] != b.data[i])
            return a.data[i] < b.data[i] ? -1 : 1;
    return a.len == b.len ? 0 : a.len < b.len ? -1 : 1;
}

static int compare_names(const struct tree *tree, struct hf_bytes a, struct hf_bytes b)
{
    if (tree->kind != TREE_FREE)
        return compare(a, b);
    uint64_t first = hf_keydb_load(a.data, 8);
    uint64_t second = hf_keydb_load(b.data, 8);
    return first == second ? 0 : first < second ? -1 : 1;
}

static bool is_in_order(struct tree *tree, struct hf_bytes name, bool is_separator)
{
    if (name.len == 0 || name.len > HF_KEYDB_NAME_MAX || (tree->kind == TREE_FREE && name.len != 8))
        return false;
    if (tree->has_last) {
        int order = compare_names(tree, name, (struct hf_bytes){tree->last, tree->last_len});
        if (order < 0 || (order == 0 && (is_separator || !tree->may_repeat)))
            return false;
    }
    memcpy(tree->last, name.data, name.len);
    tree->last_len = name.len;
    tree->has_last = true;
    tree->may_repeat = is_separator;
    return true;
}

/* A value in overflow pages, read as a whole. */
static bool read_big(struct hf_bytes *out, struct walk *walk, struct tree *tree, uint64_t page,
                     uint32_t len)
{
    uint32_t page_len = walk->meta.page_len;
    uint64_t count = ((uint64_t)len + PAGE_HEADER_LEN - 1 + page_len) / page_len;
    size_t run_len = (size_t)count * page_len;
    for (uint64_t i = 0; i < count; i++)
        if (!claim(walk, page + i))
            return false;
    if (run_len > walk->big_len_max) {
        uint8_t *larger = malloc(run_len);
        if (larger == NULL)
            return broken(walk->reason, page, "no memory for its value");
        if (walk->big != NULL)
            hf_wipe(walk->big, walk->big_len_max);
        free(walk->big);
        walk->big = larger;
        walk->big_len_max = run_len;
    }
    if (!read_at(walk->big, walk->fd, run_len, page * page_len))
        return broken(walk->reason, page, "cannot be read");
    if (hf_keydb_load(walk->big, 8) != page || hf_keydb_load(walk->big + 10, 2) != FLAG_OVERFLOW ||
        hf_keydb_load(walk->big + 12, 4) != count)
        return broken(walk->reason, page, "not the overflow page it should be");
    tree->seen.overflow_pages += count;
    walk->used_count += count;
    *out = (struct hf_bytes){walk->big + PAGE_HEADER_LEN, len};
    return true;
}

/* ---- nodes -------------------------------------------------------------------------------- */

struct node {
    uint32_t size;
    uint32_t flags;
    struct hf_bytes name;
    const uint8_t *data;
    uint64_t child;
};

static uint32_t node_count(const uint8_t *page)
{
    return ((uint32_t)hf_keydb_load(page + 12, 2) - PAGE_HEADER_LEN) / 2;
}

/* In: `index` of a node that lies within the page, as check_packing() has seen. */
static struct node node_at(const uint8_t *page, uint32_t index)
{
    const uint8_t *at = page + hf_keydb_load(page + PAGE_HEADER_LEN + 2 * index, 2);
    struct node node = {
        .size = (uint32_t)hf_keydb_load(at, 4),
        .flags = (uint32_t)hf_keydb_load(at + 4, 2),
        .name = {at + NODE_HEADER_LEN, (size_t)hf_keydb_load(at + 6, 2)},
        .child = hf_keydb_load(at, 6),
    };
    node.data = node.name.data + node.name.len;
    return node;
}

/* Each node within the page, and together as long as the part of it that is taken. */
static bool check_packing(const uint8_t *page, uint32_t page_len, bool is_leaf)
{
    uint32_t lower = (uint32_t)hf_keydb_load(page + 12, 2);
    uint32_t upper = (uint32_t)hf_keydb_load(page + 14, 2);
    uint32_t taken = 0;
    if (lower < PAGE_HEADER_LEN + 2 || lower > upper || upper > page_len || lower % 2 != 0)
        return false;
    for (uint32_t i = 0; i < node_count(page); i++) {
        uint32_t offset = (uint32_t)hf_keydb_load(page + PAGE_HEADER_LEN + 2 * i, 2);
        if (offset < upper || offset > page_len - NODE_HEADER_LEN || offset % 2 != 0)
            return false;
        struct node node = node_at(page, i);
        uint64_t len = NODE_HEADER_LEN + node.name.len;
        if (is_leaf)
            len += (node.flags & NODE_BIG) != 0 ? 8 : node.size;
        len += len % 2;
        if (len > page_len - offset)
            return false;
        taken += (uint32_t)len;
    }
    return taken == page_len - upper;
}

static bool free_entry(struct walk *walk, struct hf_bytes name, struct hf_bytes value,
                       uint64_t page)
{
    if (hf_keydb_load(name.data, 8) > walk->meta.transaction)
        return broken(walk->reason, page, "frees pages in a transaction to come");
    uint64_t count = value.len < 8 ? UINT64_MAX : hf_keydb_load(value.data, 8);
    if (value.len % 8 != 0 || count > value.len / 8 - 1)
        return broken(walk->reason, page, "an impossible list of free pages");
    uint64_t previous = UINT64_MAX;
    for (uint64_t i = 1; i <= count; i++) {
        uint64_t number = hf_keydb_load(value.data + 8 * i, 8);
        if (number >= previous)
            return broken(walk->reason, page, "a list of free pages out of order");
        previous = number;
        if (!claim(walk, number))
            return false;
    }
    walk->free_count += count;
    return true;
}

static bool walk_table(struct walk *walk, struct tree *tree, uint32_t level);

static bool walk_named(struct walk *walk, const struct node *node, uint64_t page, uint32_t level)
{
    if ((node->flags & NODE_TABLE) == 0 || (node->flags & NODE_BIG) != 0 || node->size != TABLE_LEN)
        return broken(walk->reason, page, "something that is no table among the tables");
    struct tree tree = {.claimed = table_read(node->data), .kind = TREE_NAMED, .name = node->name};
    if (tree.claimed.flags != 0)
        return broken(walk->reason, page, "a table of an unknown kind");
    return walk_table(walk, &tree, level + 1);
}

static bool visit_leaf_node(struct walk *walk, struct tree *tree, const struct node *node,
                            uint64_t page, uint32_t level)
{
    struct hf_bytes value = {node->data, node->size};
    tree->seen.entries++;
    if (tree->kind == TREE_MAIN)
        return walk_named(walk, node, page, level);
    if ((node->flags & ~NODE_BIG) != 0)
        return broken(walk->reason, page, "a node of an unknown kind");
    if ((node->flags & NODE_BIG) != 0 &&
        !read_big(&value, walk, tree, hf_keydb_load(node->data, 8), node->size))
        return false;
    if (tree->kind == TREE_FREE)
        return free_entry(walk, node->name, value, page);
    if (walk->check != NULL && !walk->check(tree->name, node->name, value, walk->arg))
        return broken(walk->reason, page, "a record's checksum is wrong");
    return true;
}

/* ---- trees -------------------------------------------------------------------------------- */

static bool load_page(struct walk *walk, uint8_t *out, uint64_t number, bool is_leaf)
{
    if (!claim(walk, number))
        return false;
    walk->used_count++;
    if (!read_at(out, walk->fd, walk->meta.page_len, number * walk->meta.page_len))
        return broken(walk->reason, number, "cannot be read");
    if (hf_keydb_load(out, 8) != number)
        return broken(walk->reason, number, "bears another page's number");
    if (hf_keydb_load(out + 10, 2) != (is_leaf ? FLAG_LEAF : FLAG_BRANCH))
        return broken(walk->reason, number, "is not of the kind it should be");
    if (!check_packing(out, walk->meta.page_len, is_leaf))
        return broken(walk->reason, number, "its nodes do not fill it as they should");
    return true;
}

static bool walk_page(struct walk *walk, struct tree *tree, uint64_t number, uint32_t depth,
                      uint32_t level)
{
    bool is_leaf = depth == tree->claimed.depth;
    uint8_t *page = walk->pages + (size_t)level * walk->meta.page_len;
    if (level >= LEVELS || !load_page(walk, page, number, is_leaf))
        return level < LEVELS ? false : broken(walk->reason, number, "too deep");
    tree->seen.leaf_pages += is_leaf;
    tree->seen.branch_pages += !is_leaf;
    for (uint32_t i = 0; i < node_count(page); i++) {
        struct node node = node_at(page, i);
        /* The first name of a branch is implied by the one above. */
        bool is_named = is_leaf || i > 0;
        if (is_named && !is_in_order(tree, node.name, !is_leaf))
            return broken(walk->reason, number, "its names are out of order");
        bool is_sound = is_leaf ? visit_leaf_node(walk, tree, &node, number, level)
                                : walk_page(walk, tree, node.child, depth + 1, level + 1);
        if (!is_sound)
            return false;
    }
    return true;
}

static bool walk_table(struct walk *walk, struct tree *tree, uint32_t level)
{
    const struct table *claimed = &tree->claimed;
    const struct table *seen = &tree->seen;
    if (claimed->root != NO_PAGE) {
        if (claimed->depth == 0 || claimed->depth > DEPTH_MAX)
            return broken(walk->reason, claimed->root, "a tree of impossible depth");
        if (!walk_page(walk, tree, claimed->root, 1, level))
            return false;
    }
    if (seen->entries == claimed->entries && seen->leaf_pages == claimed->leaf_pages &&
        seen->branch_pages == claimed->branch_pages &&
        seen->overflow_pages == claimed->overflow_pages)
        return true;
    return broken(walk->reason, claimed->root, "its table holds more or less than it claims");
}

static bool walk_file(struct walk *walk)
{
    struct tree main = {.claimed = walk->meta.main, .kind = TREE_MAIN};
    struct tree free_list = {.claimed = walk->meta.free_list, .kind = TREE_FREE};
    size_t used_len = (size_t)(walk->meta.last_page / 8 + 1);
    size_t pages_len = (size_t)LEVELS * walk->meta.page_len;
    walk->used = calloc(1, used_len);
    walk->pages = malloc(pages_len);
    bool is_sound = walk->used != NULL && walk->pages != NULL;
    if (!is_sound)
        snprintf(walk->reason, HF_KEYDB_REASON_MAX, "no memory to check it");
    else
        is_sound = walk_table(walk, &main, 0) && walk_table(walk, &free_list, 0);
    if (walk->pages != NULL)
        hf_wipe(walk->pages, pages_len);
    if (walk->big != NULL)
        hf_wipe(walk->big, walk->big_len_max);
    free(walk->used);
    free(walk->pages);
    free(walk->big);
    return is_sound;
}

enum hf_keydb_verdict hf_keydb_check_pages(struct hf_keydb_report *out,
                                           char reason[HF_KEYDB_REASON_MAX], int fd,
                                           uint64_t transaction, hf_keydb_check_record *check,
                                           void *arg)
{
    struct meta metas[2];
    if (!metas_read_steady(metas, reason, fd))
        return HF_KEYDB_BROKEN;
    const struct meta *meta = &metas[metas[1].transaction > metas[0].transaction];
    if (transaction != 0 && meta->transaction != transaction)
        meta = meta == &metas[0] ? &metas[1] : &metas[0];
    if (transaction != 0 && meta->transaction != transaction)
        return HF_KEYDB_MOVED;
    if (!has_all_pages(meta, reason, fd))
        return HF_KEYDB_BROKEN;
    struct walk walk = {.fd = fd, .meta = *meta, .reason = reason, .check = check, .arg = arg};
    if (!walk_file(&walk))
        return HF_KEYDB_BROKEN;
    out->pages = meta->last_page + 1;
    out->pages_used = walk.used_count + 2;
    out->pages_free = walk.free_count;
    out->transaction = meta->transaction;
    return HF_KEYDB_SOUND;
}
