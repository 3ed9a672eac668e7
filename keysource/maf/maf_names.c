/**
 * maf_names.c - the texts of maf_names.h.
 */
#include "maf_names.h"

static const char *const names[] = {
#define HF_MAF_NAME_TEXT(name, text, what) text,
    HF_MAF_NAME_MAP(HF_MAF_NAME_TEXT)
#undef HF_MAF_NAME_TEXT
};

const char *hf_maf_name(enum hf_maf_name name)
{
    return (unsigned)name < HF_MAF_NAME_COUNT ? names[name] : "";
}
