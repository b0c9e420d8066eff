#include "columns.h"

#include <stdlib.h>

#define LONGEST_NAME (1 << 16)

bool columns_valid(const struct spelled *columns, int64_t count)
{
    if (count < 1 || count > MOST_COLUMNS)
        return false;
    for (int64_t at = 0; at < count; at++)
        if (columns[at].kind < 0 || columns[at].kind >= KIND_COUNT || columns[at].name_length < 0 ||
            columns[at].name_length > LONGEST_NAME)
            return false;
    return true;
}

bool keys_spell(struct keys *keys, const struct spelled *columns, int count)
{
    *keys = (struct keys){.ends = malloc((size_t)count * sizeof *keys->ends)};
    for (int at = 0; keys->ends != NULL && at < count; at++) {
        size_t length = (size_t)columns[at].name_length;
        if (!text_reserve(&keys->text, 6 * length + 4))
            return false;
        text_put(&keys->text, at == 0 ? "{\"" : ",\"", 2);
        text_json(&keys->text, columns[at].name, length);
        text_put(&keys->text, "\":", 2);
        keys->ends[at] = keys->text.used;
    }
    return keys->ends != NULL;
}

void keys_free(struct keys *keys)
{
    text_free(&keys->text);
    free(keys->ends);
}
