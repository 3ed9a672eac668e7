/**
 * stream.c - see stream.h.
 */
#include "stream.h"

#include "answer.h"
#include "association.h"
#include "machine.h"
#include "record.h"

static struct hf_stream_buffer *buffer_at(const struct hf_engine *engine, uint32_t index)
{
    return hf_pool_at(&engine->streams, index);
}

static bool is_parked(const struct hf_association *association)
{
    return hf_state_is_parked((enum hf_state)association->state);
}

/** Tells whether the association that had this generation is still there. */
static bool is_alive(const struct hf_association *association, uint32_t generation)
{
    return association->generation == generation && association->state != HF_STATE_FREE;
}

static enum hf_status fail(struct hf_engine *engine, struct hf_association *association,
                           enum hf_status status, const char *clause)
{
    return hf_machine_fail(engine, association, status, HF_MACHINE_OTHER_MESSAGE, clause);
}

/** Messages of a half-open handshake: whole ones where they lie, others put together in the slot.
 */
static enum hf_status take_messages(struct hf_engine *engine, struct hf_association *association,
                                    struct hf_reader reader)
{
    struct hf_handshake *handshake = hf_handshake_of(engine, association);
    struct hf_assembly *assembly = &handshake->assembly;
    uint8_t *message = hf_handshake_message(engine, handshake);
    while (reader.len > 0) {
        while (assembly->received < 4 && reader.len > 0)
            message[assembly->received++] = hf_reader_u8(&reader);
        if (assembly->received < 4)
            break;
        assembly->type = message[0];
        assembly->len = (uint32_t)(message[1] << 16 | message[2] << 8 | message[3]);
        if (assembly->len > engine->config.message_len_max)
            return fail(engine, association, HF_E_MESSAGE_TOO_LONG, "RFC 5246 7.4");
        struct hf_machine_event event = {.kind = hf_machine_message(assembly->type)};
        size_t missing = 4 + assembly->len - assembly->received;
        if (assembly->received == 4 && reader.len >= missing) {
            event.body = hf_reader_take(&reader, missing);
        } else {
            struct hf_bytes part =
                hf_reader_take(&reader, reader.len < missing ? reader.len : missing);
            if (part.len > 0)
                memcpy(message + assembly->received, part.data, part.len);
            assembly->received += (uint32_t)part.len;
            if (part.len < missing)
                break;
            event.body = (struct hf_bytes){message + 4, assembly->len};
        }
        memset(assembly, 0, sizeof *assembly);
        HF_TRY(hf_machine_run(engine, association, &event));
    }
    return HF_OK;
}

/** Handshake bytes on an open association: a wish to renegotiate, whole in its record, or worse. */
static enum hf_status take_late_messages(struct hf_engine *engine,
                                         struct hf_association *association,
                                         struct hf_reader reader)
{
    while (reader.len > 0) {
        struct hf_machine_event event = {.kind = hf_machine_message(hf_reader_u8(&reader))};
        event.body = hf_reader_vector(&reader, 3);
        if (reader.is_failed)
            return fail(engine, association, HF_E_UNEXPECTED_MESSAGE, "RFC 5246 7.2.2");
        HF_TRY(hf_machine_run(engine, association, &event));
    }
    return HF_OK;
}

/** What a record that does not authenticate says about the peer's key. */
static enum hf_status mac_failure(const struct hf_engine *engine,
                                  const struct hf_association *association)
{
    const struct hf_handshake *handshake = hf_handshake_of(engine, association);
    if (!handshake)
        return HF_E_BAD_RECORD_MAC;
    return handshake->refusal != HF_OK ? handshake->refusal : HF_E_KEY_MISMATCH;
}

static enum hf_status unprotect(struct hf_engine *engine, struct hf_association *association,
                                struct hf_record *record)
{
    if (association->read_seq >= HF_RECORDS_PER_KEY_MAX)
        return HF_E_SEQUENCE_LIMIT;
    enum hf_status status = hf_record_unprotect(record, engine, association);
    if (status == HF_E_BAD_RECORD_MAC)
        return mac_failure(engine, association);
    HF_TRY(status);
    association->read_seq++;
    engine->counters.records_in++;
    if (hf_association_is_expired(engine, association))
        return HF_E_CREDENTIAL_EXPIRED;
    return HF_OK;
}

static enum hf_status take_record(struct hf_engine *engine, struct hf_association *association,
                                  struct hf_record *record)
{
    struct hf_machine_event event = {.kind = HF_MACHINE_OTHER_MESSAGE};
    const struct hf_handshake *handshake = hf_handshake_of(engine, association);
    association->heard_tick = engine->now_tick;
    if (association->flags & HF_ASSOCIATION_READ_PROTECTED) {
        enum hf_status status = unprotect(engine, association, record);
        if (status != HF_OK)
            return fail(engine, association, status, "RFC 5246 6.2.3");
    } else if (record->len > association->receive_len_max) {
        return fail(engine, association, HF_E_RECORD_OVERFLOW, "RFC 5246 6.2.1");
    }
    event.body = (struct hf_bytes){record->body, record->len};
    switch (record->type) {
    case HF_TYPE_HANDSHAKE:
        if (record->len == 0) /* RFC 5246 6.2.1: never of length 0 */
            return fail(engine, association, HF_E_DECODE, "RFC 5246 6.2.1");
        return handshake ? take_messages(engine, association, hf_reader_of(event.body))
                         : take_late_messages(engine, association, hf_reader_of(event.body));
    case HF_TYPE_CHANGE_CIPHER_SPEC:
        event.kind = HF_MACHINE_CHANGE_CIPHER_SPEC;
        break;
    case HF_TYPE_ALERT:
        event.kind = HF_MACHINE_ALERT;
        break;
    default:
        event.kind = HF_MACHINE_DATA;
        break;
    }
    return hf_machine_run(engine, association, &event);
}

/** Tells whether the peer's hello was had, and with it the version (RFC 5246 E.1). */
static bool is_version_settled(const struct hf_association *association)
{
    return association->state >
           (hf_is_client(association) ? HF_STATE_CL_AWAIT_HELLO : HF_STATE_SV_AWAIT_HELLO);
}

/** Reads and judges a header: `*len` is the whole record's, header included. */
static enum hf_status read_header(struct hf_record *out, size_t *len,
                                  const struct hf_engine *engine,
                                  const struct hf_association *association, uint8_t *data)
{
    struct hf_record record = {.type = data[0],
                               .version = (uint16_t)(data[1] << 8 | data[2]),
                               .body = data + HF_STREAM_HEADER_LEN,
                               .len = (size_t)(data[3] << 8 | data[4])};
    if (record.type < HF_TYPE_CHANGE_CIPHER_SPEC || record.type > HF_TYPE_APPLICATION_DATA)
        return HF_E_UNEXPECTED_MESSAGE;
    if (record.version >> 8 != 3 ||
        (is_version_settled(association) && record.version != HF_VERSION_TLS_1_2))
        return HF_E_VERSION;
    if (record.len > HF_CIPHERTEXT_LEN_MAX)
        return HF_E_RECORD_OVERFLOW;
    *len = HF_STREAM_HEADER_LEN + record.len;
    if (association->handshake != HF_NONE && *len > engine->slot.kept_max)
        return HF_E_MESSAGE_TOO_LONG;
    *out = record;
    return HF_OK;
}

/** Takes whole records off the front. Returns the bytes used: all of them if the association ends.
 */
static size_t take_records(struct hf_engine *engine, struct hf_association *association,
                           uint8_t *data, size_t len)
{
    size_t used = 0;
    uint32_t generation = association->generation;
    while (len - used >= HF_STREAM_HEADER_LEN && !is_parked(association) &&
           hf_outbox_has_room(&engine->outbox)) {
        struct hf_record record;
        size_t record_len;
        enum hf_status status = read_header(&record, &record_len, engine, association, data + used);
        if (status != HF_OK) {
            fail(engine, association, status, "RFC 5246 6.2.1");
            return len;
        }
        if (len - used < record_len)
            break;
        used += record_len;
        take_record(engine, association, &record);
        if (!is_alive(association, generation))
            return len;
        if (association->flags & HF_ASSOCIATION_PEER_CLOSED)
            return len; /* RFC 5246 7.2.1: what follows close_notify is ignored */
    }
    return used;
}

/** Works through what the handshake slot has kept. False: the association is gone. */
static bool take_kept(struct hf_engine *engine, struct hf_association *association)
{
    struct hf_handshake *handshake = hf_handshake_of(engine, association);
    uint8_t *kept = hf_handshake_kept(engine, handshake);
    uint32_t generation = association->generation;
    size_t used = take_records(engine, association, kept, handshake->kept_len);
    if (!is_alive(association, generation))
        return false;
    memmove(kept, kept + used, handshake->kept_len - used);
    handshake->kept_len -= (uint32_t)used;
    return true;
}

/** Takes back the end of what was just kept, if it is whole records that found no room for what
 *  they cause: only the caller can come again with them. Returns how much. */
static size_t give_back(struct hf_engine *engine, struct hf_association *association, size_t added)
{
    struct hf_handshake *handshake = hf_handshake_of(engine, association);
    if (is_parked(association) || hf_outbox_has_room(&engine->outbox))
        return 0;
    size_t len = handshake->kept_len < added ? handshake->kept_len : added;
    handshake->kept_len -= (uint32_t)len;
    if (handshake->kept_len > 0)
        hf_answer_queue(engine, handshake, association->handshake);
    return len;
}

static enum hf_status receive_half_open(struct hf_engine *engine, size_t *consumed,
                                        struct hf_association *association, uint8_t *data,
                                        size_t len)
{
    struct hf_handshake *handshake = hf_handshake_of(engine, association);
    uint32_t generation = association->generation;
    size_t done = 0;
    if (handshake->kept_len == 0) {
        done = take_records(engine, association, data, len);
        if (!is_alive(association, generation)) {
            *consumed = len;
            return HF_OK;
        }
    }
    while (done < len && (is_parked(association) || hf_outbox_has_room(&engine->outbox))) {
        size_t part = engine->slot.kept_max - handshake->kept_len;
        if (part > len - done)
            part = len - done;
        if (part == 0) {
            association->flags |= HF_ASSOCIATION_READ_WANTED;
            break;
        }
        memcpy(hf_handshake_kept(engine, handshake) + handshake->kept_len, data + done, part);
        handshake->kept_len += (uint32_t)part;
        done += part;
        if (!take_kept(engine, association)) {
            *consumed = len;
            return HF_OK;
        }
        done -= give_back(engine, association, part);
    }
    *consumed = done;
    return done == len ? HF_OK : HF_WAITING;
}

static void spend(struct hf_engine *engine, struct hf_association *association)
{
    engine->streams_spent[engine->streams_spent_count++] = association->stream.buffer;
    association->stream.buffer = HF_NONE;
}

static void waiting_unlink(struct hf_engine *engine, struct hf_association *association)
{
    uint32_t next = association->stream.waiting_next, prev = association->stream.waiting_prev;
    if (!(association->flags & HF_ASSOCIATION_READ_QUEUED))
        return;
    if (prev != HF_NONE)
        hf_association_at(engine, prev)->stream.waiting_next = next;
    else
        engine->waiting_head = next;
    if (next != HF_NONE)
        hf_association_at(engine, next)->stream.waiting_prev = prev;
    else
        engine->waiting_tail = prev;
    association->flags &= ~(uint32_t)HF_ASSOCIATION_READ_QUEUED;
}

static void waiting_link(struct hf_engine *engine, struct hf_association *association)
{
    uint32_t index = hf_association_index(engine, association);
    if (association->flags & HF_ASSOCIATION_READ_QUEUED)
        return;
    association->flags |= HF_ASSOCIATION_READ_QUEUED;
    association->stream.waiting_next = HF_NONE;
    association->stream.waiting_prev = engine->waiting_tail;
    if (engine->waiting_tail != HF_NONE)
        hf_association_at(engine, engine->waiting_tail)->stream.waiting_next = index;
    else
        engine->waiting_head = index;
    engine->waiting_tail = index;
}

static bool take_buffer(struct hf_engine *engine, struct hf_association *association)
{
    association->stream.buffer = hf_pool_take(&engine->streams);
    if (association->stream.buffer == HF_NONE)
        return false;
    struct hf_stream_buffer *buffer = buffer_at(engine, association->stream.buffer);
    buffer->len = 0;
    buffer->begun_tick = engine->now_tick;
    return true;
}

/** Adds bytes to the record being put together, and takes it once whole. Returns bytes used. */
static size_t fill_buffer(struct hf_engine *engine, struct hf_association *association,
                          const uint8_t *data, size_t len)
{
    struct hf_stream_buffer *buffer = buffer_at(engine, association->stream.buffer);
    struct hf_record record = {0};
    size_t used = 0, whole = HF_STREAM_HEADER_LEN;
    for (int part_index = 0; part_index < 2; part_index++) { /* the header, then the body */
        size_t part = whole > buffer->len ? whole - buffer->len : 0;
        if (part > len - used)
            part = len - used;
        memcpy(buffer->data + buffer->len, data + used, part);
        buffer->len += (uint32_t)part;
        used += part;
        if (buffer->len < HF_STREAM_HEADER_LEN)
            return used;
        enum hf_status status = read_header(&record, &whole, engine, association, buffer->data);
        if (status != HF_OK) {
            fail(engine, association, status, "RFC 5246 6.2.1");
            return len;
        }
    }
    if (buffer->len == whole) {
        spend(engine, association); /* the event's view lives until the turn ends */
        take_record(engine, association, &record);
    }
    return used;
}

/** Tells whether records that came with the handshake's last are still waiting for room. */
static bool is_backed_up(const struct hf_association *association)
{
    return association->flags & HF_ASSOCIATION_READ_QUEUED && association->stream.buffer != HF_NONE;
}

static enum hf_status receive_open(struct hf_engine *engine, size_t *consumed,
                                   struct hf_association *association, uint8_t *data, size_t len)
{
    uint32_t generation = association->generation;
    size_t done = 0;
    bool had_buffer = association->stream.buffer != HF_NONE;
    if (is_backed_up(association)) {
        association->flags |= HF_ASSOCIATION_READ_WANTED;
        *consumed = 0;
        return len == 0 ? HF_OK : HF_WAITING;
    }
    while (done < len && is_alive(association, generation) && hf_outbox_has_room(&engine->outbox)) {
        if (association->flags & HF_ASSOCIATION_PEER_CLOSED) {
            done = len;
        } else if (association->stream.buffer != HF_NONE) {
            done += fill_buffer(engine, association, data + done, len - done);
        } else {
            done += take_records(engine, association, data + done, len - done);
            bool is_partial = done < len && is_alive(association, generation) &&
                              hf_outbox_has_room(&engine->outbox);
            if (is_partial && !take_buffer(engine, association)) {
                waiting_link(engine, association);
                break;
            }
        }
    }
    if (!is_alive(association, generation))
        done = len;
    else if (had_buffer || association->stream.buffer != HF_NONE)
        hf_association_arm(engine, association);
    *consumed = done;
    return done == len ? HF_OK : HF_WAITING;
}

enum hf_status hf_engine_receive_stream(struct hf_engine *engine, size_t *consumed,
                                        hf_association_id id, uint8_t *data, size_t len)
{
    struct hf_association *association = hf_association_find(engine, id);
    *consumed = 0;
    if (!association || hf_is_datagram(association))
        return HF_E_STALE;
    return association->handshake != HF_NONE
               ? receive_half_open(engine, consumed, association, data, len)
               : receive_open(engine, consumed, association, data, len);
}

void hf_engine_receive_end(struct hf_engine *engine, hf_association_id id)
{
    struct hf_association *association = hf_association_find(engine, id);
    if (!association || hf_is_datagram(association) ||
        (association->flags & HF_ASSOCIATION_PEER_CLOSED))
        return; /* after close_notify the end of the stream is no news */
    association->flags |= HF_ASSOCIATION_WRITE_CLOSED; /* an alert would go nowhere */
    hf_association_leave(engine, association, HF_LEAVE_TRUNCATED);
}

/** Takes what the handshake left over: whole records here, the rest in a buffer of its own. What
 *  finds no room waits in line with it. False: the association is gone. */
static bool take_left_over(struct hf_engine *engine, struct hf_association *association)
{
    struct hf_stream_buffer *former = buffer_at(engine, association->stream.buffer);
    uint32_t generation = association->generation;
    size_t consumed = 0;
    spend(engine, association);
    enum hf_status status = receive_open(engine, &consumed, association, former->data, former->len);
    if (!is_alive(association, generation))
        return false;
    if (status != HF_WAITING)
        return true;
    if (!take_buffer(engine, association)) {
        hf_machine_fail(engine, association, HF_E_ASSOCIATION_LIMIT, HF_MACHINE_DATA, "");
        return false;
    }
    struct hf_stream_buffer *buffer = buffer_at(engine, association->stream.buffer);
    buffer->len = former->len - (uint32_t)consumed;
    memcpy(buffer->data, former->data + consumed, buffer->len);
    waiting_link(engine, association);
    return true;
}

void hf_stream_resume(struct hf_engine *engine, struct hf_association *association)
{
    uint32_t generation = association->generation;
    if (association->handshake != HF_NONE) {
        if (!take_kept(engine, association))
            return;
    } else if (association->stream.buffer != HF_NONE) {
        if (!take_left_over(engine, association) || is_backed_up(association))
            return;
    }
    if (!is_alive(association, generation) || is_parked(association) ||
        !(association->flags & HF_ASSOCIATION_READ_WANTED))
        return;
    association->flags &= ~(uint32_t)HF_ASSOCIATION_READ_WANTED;
    hf_association_event(engine, association, HF_EVENT_READABLE);
}

enum hf_status hf_stream_keep(struct hf_engine *engine, struct hf_association *association)
{
    struct hf_handshake *handshake = hf_handshake_of(engine, association);
    if (hf_is_datagram(association) || handshake->kept_len == 0)
        return HF_OK;
    if (!take_buffer(engine, association))
        return HF_E_ASSOCIATION_LIMIT;
    struct hf_stream_buffer *buffer = buffer_at(engine, association->stream.buffer);
    memcpy(buffer->data, hf_handshake_kept(engine, handshake), handshake->kept_len);
    buffer->len = handshake->kept_len;
    return HF_OK;
}

bool hf_stream_due(uint32_t *out, const struct hf_engine *engine,
                   const struct hf_association *association)
{
    if (hf_is_datagram(association) || association->stream.buffer == HF_NONE)
        return false;
    *out = buffer_at(engine, association->stream.buffer)->begun_tick +
           (uint32_t)(engine->config.record_us_max / HF_TICK_US) + 1;
    return true;
}

void hf_stream_abandon(struct hf_engine *engine, struct hf_association *association)
{
    if (hf_is_datagram(association))
        return;
    waiting_unlink(engine, association);
    if (association->stream.buffer == HF_NONE)
        return;
    /* An event of this turn may still show what is in it. */
    spend(engine, association);
}

struct hf_bytes hf_stream_partial(uint32_t *begun_tick, const struct hf_engine *engine,
                                  const struct hf_association *association)
{
    if (hf_is_datagram(association) || association->stream.buffer == HF_NONE)
        return (struct hf_bytes){NULL, 0};
    const struct hf_stream_buffer *buffer = buffer_at(engine, association->stream.buffer);
    *begun_tick = buffer->begun_tick;
    return (struct hf_bytes){buffer->data, buffer->len};
}

enum hf_status hf_stream_restore(struct hf_engine *engine, struct hf_association *association,
                                 struct hf_bytes partial, uint32_t begun_tick, bool is_queued)
{
    struct hf_record record;
    size_t whole;
    if (partial.len > 0) {
        if (partial.len > HF_STREAM_HEADER_LEN + HF_CIPHERTEXT_LEN_MAX)
            return HF_E_ARGUMENT;
        if (!take_buffer(engine, association))
            return HF_E_ASSOCIATION_LIMIT;
        struct hf_stream_buffer *buffer = buffer_at(engine, association->stream.buffer);
        memcpy(buffer->data, partial.data, partial.len);
        buffer->len = (uint32_t)partial.len;
        buffer->begun_tick = begun_tick;
        /* In line with a buffer: not looked at yet. Otherwise it is filled up. */
        if (!is_queued && partial.len >= HF_STREAM_HEADER_LEN &&
            (read_header(&record, &whole, engine, association, buffer->data) != HF_OK ||
             partial.len >= whole))
            return HF_E_ARGUMENT;
    }
    if (is_queued)
        waiting_link(engine, association);
    return HF_OK;
}

void hf_stream_forget(struct hf_engine *engine, struct hf_association *association)
{
    waiting_unlink(engine, association);
    if (association->stream.buffer == HF_NONE)
        return;
    struct hf_stream_buffer *buffer = buffer_at(engine, association->stream.buffer);
    hf_wipe(buffer->data, buffer->len);
    hf_pool_give(&engine->streams, association->stream.buffer);
    association->stream.buffer = HF_NONE;
}

void hf_stream_turn(struct hf_engine *engine)
{
    while (engine->streams_spent_count > 0) {
        uint32_t index = engine->streams_spent[--engine->streams_spent_count];
        hf_wipe(buffer_at(engine, index)->data, buffer_at(engine, index)->len);
        hf_pool_give(&engine->streams, index);
    }
    uint32_t free_count = engine->streams.count - engine->streams.used;
    while (engine->waiting_head != HF_NONE && free_count-- > 0 &&
           hf_outbox_has_room(&engine->outbox)) {
        struct hf_association *association = hf_association_at(engine, engine->waiting_head);
        bool was_backed_up = is_backed_up(association);
        waiting_unlink(engine, association);
        if (was_backed_up)
            hf_stream_resume(engine, association);
        else
            hf_association_event(engine, association, HF_EVENT_READABLE);
    }
}
