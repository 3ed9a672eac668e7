/**
 * json_text.h - octets that strangers chose, as JSON strings.
 */
#ifndef HF_JSON_TEXT_H
#define HF_JSON_TEXT_H

#include <handfast/base.h>

#include <jansson.h>

/** hf_json_text makes a string; octets that are no UTF-8 are written \xNN. NULL without memory. */
json_t *hf_json_text(const void *data, size_t len);

/** hf_json_text_or_null makes null of an empty one: a name not known yet is no name. */
json_t *hf_json_text_or_null(const void *data, size_t len);

#endif
