/**
 * control_request.c - fuzz target: a line of the control socket. What is taken stays within its
 * limits, and written anew from what was understood it means the same.
 */
#include "control_request.h"

#include "fuzz.h"

#include <inttypes.h>
#include <stdio.h>

/* The request as handfastctl might have written it. */
static size_t write_request(char *out, size_t out_max, const struct hf_control_request *request)
{
    size_t used = (size_t)snprintf(out, out_max, "{\"command\":\"%s\"",
                                   hf_control_command_name(request->command));
    static const char *const levels[] = {"error", "warning", "notice", "info", "debug"};
    if (request->force)
        used += (size_t)snprintf(out + used, out_max - used, ",\"force\":true");
    if (request->level >= 0)
        used += (size_t)snprintf(out + used, out_max - used, ",\"level\":\"%s\"",
                                 levels[request->level - 3]);
    if (request->command == HF_CONTROL_ASSOC_SHOW || request->command == HF_CONTROL_ASSOC_CLOSE)
        used += (size_t)snprintf(out + used, out_max - used, ",\"association\":\"%016" PRIx64 "\"",
                                 request->association);
    if (request->command == HF_CONTROL_ASSOC_LIST)
        used += (size_t)snprintf(out + used, out_max - used,
                                 ",\"cursor\":\"%016" PRIx64 "\",\"limit\":%" PRIu32,
                                 request->cursor, request->limit);
    if (request->command == HF_CONTROL_DRAIN)
        used +=
            (size_t)snprintf(out + used, out_max - used, ",\"seconds\":%" PRIu32, request->seconds);
    if (request->command == HF_CONTROL_WHY || request->command == HF_CONTROL_HASH ||
        request->command == HF_CONTROL_REVOKE) {
        used += (size_t)snprintf(out + used, out_max - used, ",\"subject_hex\":\"");
        for (size_t i = 0; i < request->text_len; i++)
            used += (size_t)snprintf(out + used, out_max - used, "%02x",
                                     (unsigned char)request->text[i]);
        used += (size_t)snprintf(out + used, out_max - used, "\"");
    }
    used += (size_t)snprintf(out + used, out_max - used, "}");
    return used;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static char text[8192];
    struct hf_control_request request, again;
    char reason[HF_CONTROL_REASON_MAX];
    uint8_t *line = fuzz_copy((struct hf_bytes){data, len});
    if (!hf_control_request_parse(&request, reason, (const char *)line, len)) {
        FUZZ_CHECK(memchr(reason, '\0', sizeof reason) != NULL && reason[0] != '\0');
        free(line);
        return 0;
    }
    free(line);
    FUZZ_CHECK(request.command < HF_CONTROL_COMMAND_COUNT);
    FUZZ_CHECK(request.limit >= 1 && request.limit <= HF_CONTROL_LIST_MAX);
    FUZZ_CHECK(request.level == -1 || (request.level >= 3 && request.level <= 7));
    FUZZ_CHECK(request.text_len < sizeof request.text);
    FUZZ_CHECK(!request.force || hf_control_command_changes(&request));
    size_t used = write_request(text, sizeof text, &request);
    FUZZ_CHECK(used < sizeof text);
    FUZZ_CHECK(hf_control_request_parse(&again, reason, text, used));
    if (request.command == HF_CONTROL_ASSOC_LIST) { /* its text need not be printable */
        memcpy(again.text, request.text, sizeof again.text);
        again.text_len = request.text_len;
    }
    if (fuzz_is_canary())
        again.limit++;
    FUZZ_CHECK(again.command == request.command && again.force == request.force &&
               again.level == request.level && again.association == request.association &&
               again.cursor == request.cursor && again.limit == request.limit &&
               again.text_len == request.text_len &&
               memcmp(again.text, request.text, sizeof again.text) == 0);
    return 0;
}
