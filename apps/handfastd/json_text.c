/**
 * json_text.c - see json_text.h.
 */
#include "json_text.h"

#include <stdio.h>
#include <stdlib.h>

json_t *hf_json_text(const void *data, size_t len)
{
    const unsigned char *octets = data;
    json_t *text = json_stringn(data, len);
    if (text != NULL)
        return text;
    char *escaped = malloc(4 * len + 1);
    if (escaped == NULL)
        return NULL;
    size_t used = 0;
    for (size_t i = 0; i < len; i++) {
        if (octets[i] >= 0x20 && octets[i] < 0x7F)
            escaped[used++] = (char)octets[i];
        else
            used += (size_t)snprintf(escaped + used, 5, "\\x%02X", octets[i]);
    }
    text = json_stringn(escaped, used);
    free(escaped);
    return text;
}

json_t *hf_json_text_or_null(const void *data, size_t len)
{
    return len == 0 ? json_null() : hf_json_text(data, len);
}
