/**
 * configuration.c - read once, printed once; afterwards only looked up.
 */
#include "configuration.h"

#include <jansson.h>
#include <maf_names.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct item {
    char *client_id;
    char *json;
};

struct hf_configuration {
    size_t count;
    struct item items[];
};

static bool refuse(char *error, const char *path, const char *reason)
{
    snprintf(error, HF_CONFIGURATION_ERROR_MAX, "%.200s: %.280s", path, reason);
    return false;
}

/* As the answer's body: below the name that the interface has for it. */
static bool read_item(struct item *item, const char *client_id, json_t *value)
{
    json_t *body = json_pack("{s:O}", hf_maf_name(HF_MAF_NAME_CLIENT_CONFIGURATION), value);
    size_t len = json_dumpb(body, NULL, 0, JSON_COMPACT);
    item->json = calloc(1, len + 1); /* json_dumps() would use the JSON library's allocator */
    if (item->json != NULL && len > 0)
        (void)json_dumpb(body, item->json, len, JSON_COMPACT);
    json_decref(body);
    item->client_id = strdup(client_id);
    return item->json != NULL && item->client_id != NULL;
}

bool hf_configuration_open(struct hf_configuration **out, char error[HF_CONFIGURATION_ERROR_MAX],
                           const char *path)
{
    json_error_t fault;
    const char *client_id;
    json_t *value;
    json_t *root = json_load_file(path, JSON_REJECT_DUPLICATES, &fault);
    if (!json_is_object(root)) {
        json_decref(root);
        return refuse(error, path, root == NULL ? fault.text : "not a JSON object");
    }
    struct hf_configuration *configuration =
        calloc(1, sizeof(*configuration) + json_object_size(root) * sizeof(struct item));
    bool is_good = configuration != NULL || refuse(error, path, "no memory");
    json_object_foreach(root, client_id, value)
    {
        if (!is_good)
            break;
        if (!json_is_object(value))
            is_good = refuse(error, path, "each client's configuration must be an object");
        else if (!read_item(&configuration->items[configuration->count++], client_id, value))
            is_good = refuse(error, path, "no memory");
    }
    json_decref(root);
    if (!is_good) {
        hf_configuration_close(configuration);
        return false;
    }
    *out = configuration;
    return true;
}

void hf_configuration_close(struct hf_configuration *configuration)
{
    if (configuration == NULL)
        return;
    for (size_t i = 0; i < configuration->count; i++) {
        free(configuration->items[i].client_id);
        free(configuration->items[i].json);
    }
    free(configuration);
}

const char *hf_configuration_find(const struct hf_configuration *configuration,
                                  const char *client_id)
{
    const char *any = NULL;
    for (size_t i = 0; configuration != NULL && i < configuration->count; i++) {
        if (strcmp(configuration->items[i].client_id, client_id) == 0)
            return configuration->items[i].json;
        if (strcmp(configuration->items[i].client_id, "*") == 0)
            any = configuration->items[i].json;
    }
    return any;
}
