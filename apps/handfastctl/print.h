/**
 * print.h - answers for people.
 */
#ifndef HF_CTL_PRINT_H
#define HF_CTL_PRINT_H

#include <jansson.h>

void hf_print_status(const json_t *result);
void hf_print_reload(const json_t *result);
void hf_print_log_level(const json_t *result);
void hf_print_assoc_list(const json_t *result);
void hf_print_assoc_show(const json_t *result);
void hf_print_assoc_close(const json_t *result);
void hf_print_why(const json_t *result);
void hf_print_revoke(const json_t *result);
void hf_print_hash(const json_t *result);
void hf_print_restart(const json_t *result);
void hf_print_drain(const json_t *result);

#endif
