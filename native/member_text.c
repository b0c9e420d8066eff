#include "member_text.h"

const char no_json[] = "a text is no JSON without white space";

const char *text_at(const struct arrow_array *texts, int64_t row, size_t *length)
{
    const int32_t *offsets = texts->buffers[1];
    const uint8_t *valid = texts->null_count != 0 ? texts->buffers[0] : NULL;
    int64_t at = texts->offset + row;
    if (valid != NULL && !(valid[at >> 3] >> (at & 7) & 1))
        return NULL;
    *length = (size_t)(offsets[at + 1] - offsets[at]);
    return (texts->buffers[2] == NULL ? "" : (const char *)texts->buffers[2]) + offsets[at];
}

const char *read_key(const char *at, const char *end, struct text *scratch, const char **key, size_t *length)
{
    bool half;
    const char *behind = at < end && *at == '"' ? skip(at, end, &half) : NULL;
    if (behind == NULL || behind == end || *behind != ':')
        return NULL;
    *key = at + 1;
    *length = (size_t)(behind - at) - 2;
    if (half) {
        *key = NULL;
    } else if (memchr(*key, '\\', *length) != NULL) {
        scratch->used = 0;
        if (!text_reserve(scratch, *length))
            return NULL;
        json_string(at, end, scratch);
        *key = scratch->bytes;
        *length = scratch->used;
    }
    return behind + 1;
}
