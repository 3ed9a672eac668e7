/**
 * calendar.h - UTC seconds and the basic format of ISO 8601, YYYYMMDDThhmmss, without a clock or a
 * time zone. Private.
 */
#ifndef HF_CALENDAR_H
#define HF_CALENDAR_H

#include <handfast/status.h>

#define HF_CALENDAR_LEN 15

/** hf_calendar_read reads exactly HF_CALENDAR_LEN characters, years 1970 to 9999, of a day that
 *  exists; a leap second counts as the one after. */
HF_MUST_USE bool hf_calendar_read(int64_t *out, const char *text);

/** hf_calendar_print writes HF_CALENDAR_LEN characters and a NUL. In: 0 to the end of 9999. */
void hf_calendar_print(char out[HF_CALENDAR_LEN + 1], int64_t seconds);

#endif
