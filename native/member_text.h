/* JSON texts in an Arrow array, and their members one after the other. */
#ifndef PENSTOCK_MEMBER_TEXT_H
#define PENSTOCK_MEMBER_TEXT_H

#include "arrow.h"
#include "json.h"

/* What a function complains of that was given a text without sense. */
extern const char no_json[];

/* A text, or NULL if it is null. The array may be any part of its buffers. */
const char *text_at(const struct arrow_array *texts, int64_t row, size_t *length);

/* The value that begins at `at`: its end, or NULL, and whether it has half a surrogate pair. */
static inline const char *skip(const char *at, const char *end, bool *half)
{
    struct json_facts facts = {0};
    at = json_value(at, end, &facts);
    *half = facts.lone_surrogate;
    return at;
}

/* A member's name, `at` its quote: what follows the colon, or NULL. It is made plain in `scratch` if it is escaped, and is
 * NULL itself if it cannot be told. */
const char *read_key(const char *at, const char *end, struct text *scratch, const char **key, size_t *length);

#endif
