#!/usr/bin/env python3
"""mutate.py SOURCE OUT FAULT - copies a source with one of these faults planted. What is replaced
must be there exactly once (blanks and line ends are alike)."""
import re
import sys

FAULTS = {
    # The session cache: a reader that does not look twice; one that reads beside a writer; two
    # writers at once; one that never leaves; a tag taken for the ID.
    "cache_unchecked": (
        "return atomic_load_explicit(&line->version, memory_order_relaxed) == version;",
        "return true;"),
    "cache_entering": ("if (version & 1 || way == WAYS)", "if (way == WAYS)"),
    "cache_both_enter": ("return !(version & 1) &&", "return"),
    "cache_locked": ("leave(line); count(&cache->stored);", "count(&cache->stored);"),
    "cache_copy_unchecked": (
        "return !(out->version & 1) && atomic_load_explicit(&line->version, memory_order_relaxed)"
        " == out->version;", "return !(out->version & 1);"),
    "cache_tag_alone": (
        "if (tag == place->tag && has_id(entry_at(cache, bucket, way), place))",
        "if (tag == place->tag)"),
    # Tasks: a wake only for the very first; one posted between turns forgotten; the lock left out;
    # taken after the end.
    "post_no_wake": ("if (is_taken && was_empty)",
                     "if (is_taken && was_empty && tasks->tail == 1)"),
    "post_not_due": ("loop->is_turn_due |= tasks->head != tasks->tail;", ""),
    "post_unlocked": (
        "pthread_mutex_lock(&tasks->lock); bool was_empty = tasks->head == tasks->tail;",
        "bool was_empty = tasks->head == tasks->tail; explore_yield();"),
    "post_after_end": ("bool is_taken = !tasks->is_ended &&", "bool is_taken ="),
    # The store's rings: the number before the slot; a look before it says that it sleeps; a poll
    # that nobody wakes for.
    "service_order": (
        "ring->slots[tail & mask] = slot; atomic_store(&ring->tail, tail + 1);",
        "atomic_store(&ring->tail, tail + 1); explore_yield(); ring->slots[tail & mask] = slot;"),
    "thread_look_first": (
        "atomic_store(&service->is_asleep, true); if (wait_ms == 0 || has_work(service)) {",
        "bool is_due = wait_ms == 0 || has_work(service);"
        " atomic_store(&service->is_asleep, true); if (is_due) {"),
    "thread_no_poll": (
        "(atomic_load(&service->is_poll_wanted) && service->state == PROCESS_SERVING)", "false"),
}

source, out, name = sys.argv[1:]
with open(source, encoding="ascii") as file:
    text = file.read()
old, new = FAULTS[name]
pattern = r"\s+".join(re.escape(word) for word in old.split())
if len(re.findall(pattern, text)) != 1:
    sys.exit(f"{source}: not exactly once: {old}")
with open(out, "w", encoding="ascii") as file:
    file.write(re.sub(pattern, lambda _: new, text))
