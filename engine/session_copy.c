/**
 * session_copy.c - the sessions of a cache, given to that of another process: see
 * <handfast/transfer.h>.
 *
 *     chunk   "HFS", version, entries
 *     entry   kind, length (4), fields: codec.h
 *
 * What has changed between two passes is told by the versions of the buckets. A pass remembers the
 * IDs it has written, so that the next can take back those that are gone: a session that a fatal
 * alert has ended must not come to life elsewhere (RFC 5246 7.2.2).
 */
#include "codec.h"
#include "session.h"

#include <handfast/transfer.h>
#include <sys/mman.h>

#define HEADER_LEN 4u
#define HEADER (0x48465300u | HF_SESSION_COPY_VERSION) /* "HFS", version */

enum kind {
    KIND_SECRET = 1, /* of IDs: so that they can be found again */
    KIND_LIVE = 2,
    KIND_GONE = 3,
};

struct item {
    uint8_t id[HF_SESSION_ID_LEN]; /* or the secret */
    uint32_t until_s;
    struct hf_bytes packed;
};

/* The IDs of a bucket as it was written; zero: none. */
struct written {
    uint8_t ids[HF_SESSION_WAYS][HF_SESSION_ID_LEN];
};

struct hf_session_copy {
    const struct hf_session_cache *cache;
    uint8_t *memory;
    size_t memory_len;
    uint64_t *versions;      /* by bucket, as written */
    struct written *buckets; /* likewise; touched as they are used */
    size_t bucket_count, cursor;
    uint32_t written;
    bool is_between; /* two passes */
    bool is_secret_written;
    struct hf_session_bucket look;
};

_Static_assert(HF_SESSION_SECRET_LEN == HF_SESSION_ID_LEN, "they share a field");

static void fields(struct hf_codec *codec, struct item *item, enum kind kind)
{
    hf_codec_block(codec, 1, item->id, sizeof item->id, false);
    if (kind != KIND_LIVE)
        return;
    hf_codec_number(codec, 2, &item->until_s, sizeof item->until_s);
    hf_codec_bytes(codec, 3, &item->packed);
}

/* ---- giving ------------------------------------------------------------------------------- */

enum hf_status hf_session_copy_open(struct hf_session_copy **out,
                                    const struct hf_session_cache *cache)
{
    *out = NULL;
    struct hf_session_copy *copy = calloc(1, sizeof *copy);
    if (!copy)
        return HF_E_MEMORY;
    copy->cache = cache;
    copy->bucket_count = hf_session_cache_buckets(cache);
    copy->memory_len = copy->bucket_count * (sizeof *copy->versions + sizeof *copy->buckets);
    void *memory = mmap(NULL, copy->memory_len, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) {
        free(copy);
        return HF_E_MEMORY;
    }
    copy->memory = memory;
    copy->versions = memory;
    copy->buckets = (struct written *)(void *)(copy->versions + copy->bucket_count);
    copy->is_between = true;
    *out = copy;
    return HF_OK;
}

void hf_session_copy_close(struct hf_session_copy *copy)
{
    if (!copy)
        return;
    (void)munmap(copy->memory, copy->memory_len);
    hf_wipe(copy, sizeof *copy);
    free(copy);
}

uint32_t hf_session_copy_written(const struct hf_session_copy *copy)
{
    return copy->written;
}

static void write_item(struct hf_writer *writer, enum kind kind, struct item *item)
{
    hf_writer_u8(writer, (uint8_t)kind);
    size_t mark = hf_writer_open(writer, 4);
    if (writer->is_failed)
        return;
    struct hf_codec codec = hf_codec_writer(writer->data + writer->len, writer->max - writer->len);
    fields(&codec, item, kind);
    (void)hf_writer_room(writer, codec.is_failed ? writer->max : codec.writer.len);
    hf_writer_close(writer, mark, 4);
}

static void write_secret(struct hf_writer *writer, struct hf_session_copy *copy)
{
    struct item item = {.until_s = 0};
    if (copy->is_secret_written)
        return;
    hf_session_cache_secret(item.id, copy->cache);
    write_item(writer, KIND_SECRET, &item);
    hf_wipe(&item, sizeof item);
    copy->is_secret_written = true;
}

static bool is_zero(const uint8_t id[HF_SESSION_ID_LEN])
{
    static const uint8_t zero[HF_SESSION_ID_LEN];
    return hf_bytes_equal_public(id, zero, sizeof zero);
}

static bool is_among(const struct hf_session_bucket *look, const uint8_t id[HF_SESSION_ID_LEN],
                     uint32_t now_s)
{
    for (size_t way = 0; way < HF_SESSION_WAYS; way++)
        if (look->ways[way].len > 0 && look->ways[way].until_s > now_s &&
            hf_bytes_equal_public(look->ways[way].id, id, HF_SESSION_ID_LEN))
            return true;
    return false;
}

/** What is there, and what no longer is. False: it does not fit, and nothing was written. */
static bool write_bucket(struct hf_writer *writer, struct hf_session_copy *copy, uint32_t now_s)
{
    const struct hf_session_bucket *look = &copy->look;
    struct written *former = &copy->buckets[copy->cursor];
    struct written now = {{{0}}};
    struct hf_writer entries = *writer;
    uint32_t live = 0;
    for (size_t way = 0; way < HF_SESSION_WAYS; way++) {
        struct item gone = {.until_s = 0};
        memcpy(gone.id, former->ids[way], sizeof gone.id);
        if (!is_zero(gone.id) && !is_among(look, gone.id, now_s))
            write_item(&entries, KIND_GONE, &gone);
    }
    for (size_t way = 0; way < HF_SESSION_WAYS; way++) {
        const struct hf_session_way *from = &look->ways[way];
        struct item item = {.until_s = from->until_s, .packed = {from->packed, from->len}};
        if (from->len == 0 || from->until_s <= now_s)
            continue;
        memcpy(item.id, from->id, sizeof item.id);
        memcpy(now.ids[way], from->id, sizeof item.id);
        write_item(&entries, KIND_LIVE, &item);
        live++;
    }
    if (entries.is_failed)
        return false;
    *writer = entries;
    *former = now;
    copy->written += live;
    return true;
}

enum hf_status hf_session_copy_write(uint8_t *out, size_t *out_len, size_t out_max,
                                     struct hf_session_copy *copy, int64_t wall_s)
{
    struct hf_writer writer = hf_writer_of(out, out_max);
    *out_len = 0;
    if (out_max < HF_TRANSFER_CHUNK_MIN)
        return HF_E_ARGUMENT;
    if (copy->is_between) {
        copy->cursor = copy->written = 0;
        copy->is_between = false;
    }
    hf_writer_uint(&writer, HEADER, HEADER_LEN);
    write_secret(&writer, copy);
    for (; copy->cursor < copy->bucket_count; copy->cursor++) {
        uint64_t *version = &copy->versions[copy->cursor];
        if (hf_session_cache_version(copy->cache, copy->cursor) == *version ||
            !hf_session_cache_look(&copy->look, copy->cache, copy->cursor))
            continue; /* who meets a writer leaves it to the next pass */
        if (!write_bucket(&writer, copy, (uint32_t)wall_s))
            break; /* the chunk is full */
        *version = copy->look.version;
    }
    hf_wipe(&copy->look, sizeof copy->look);
    *out_len = writer.len > HEADER_LEN ? writer.len : 0;
    copy->is_between = copy->cursor == copy->bucket_count;
    return copy->is_between ? HF_OK : HF_WAITING;
}

/* ---- taking ------------------------------------------------------------------------------- */

/** One that we could not read would never be resumed: it is not kept either. */
static bool is_good(const struct item *item)
{
    struct hf_session session;
    bool is_read = item->packed.len <= HF_SESSION_LEN_MAX &&
                   hf_session_unpack(&session, item->packed) == HF_OK;
    if (is_read)
        hf_wipe(&session, sizeof session);
    return is_read;
}

static void take_item(struct hf_session_copy_counts *counts, struct hf_session_cache *cache,
                      const struct item *item, enum kind kind, uint32_t now_s)
{
    if (kind == KIND_SECRET) {
        hf_session_cache_set_secret(cache, item->id);
    } else if (kind == KIND_GONE) {
        hf_session_cache_remove(cache, item->id);
    } else if (item->until_s > now_s) {
        bool is_taken = !is_zero(item->id) && is_good(item) &&
                        hf_session_cache_put(cache, item->id, item->packed, item->until_s, now_s);
        counts->taken += is_taken;
        counts->left_out += !is_taken;
    }
}

/** Kinds that came with a later version are passed over. */
static enum hf_status take_entry(struct hf_session_copy_counts *counts,
                                 struct hf_session_cache *cache, struct hf_reader *reader,
                                 uint32_t now_s)
{
    uint8_t kind = hf_reader_u8(reader);
    struct hf_codec codec = hf_codec_reader(hf_reader_vector(reader, 4));
    struct item item = {.until_s = 0};
    if (reader->is_failed)
        return HF_E_DECODE;
    if (kind < KIND_SECRET || kind > KIND_GONE)
        return HF_OK;
    fields(&codec, &item, (enum kind)kind);
    bool is_whole = hf_codec_end(&codec);
    if (is_whole && codec.is_unknown)
        counts->left_out++;
    else if (is_whole)
        take_item(counts, cache, &item, (enum kind)kind, now_s);
    hf_wipe(&item, sizeof item);
    return is_whole ? HF_OK : HF_E_DECODE;
}

enum hf_status hf_session_copy_take(struct hf_session_copy_counts *counts,
                                    struct hf_session_cache *cache, struct hf_bytes chunk,
                                    int64_t wall_s)
{
    struct hf_reader reader = hf_reader_of(chunk);
    if (hf_reader_uint(&reader, HEADER_LEN) != HEADER)
        return HF_E_DECODE;
    while (reader.len > 0)
        HF_TRY(take_entry(counts, cache, &reader, (uint32_t)wall_s));
    return HF_OK;
}
