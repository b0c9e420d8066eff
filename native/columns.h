/* Which columns rows have and how each is spelled: data that whoever calls the library hands in. */
#ifndef PENSTOCK_COLUMNS_H
#define PENSTOCK_COLUMNS_H

#include <stdbool.h>
#include <stdint.h>

#include "text.h"

#define MOST_COLUMNS 2000

enum kind {
    KIND_TEXT,     /* UTF-8; a JSON string */
    KIND_VERBATIM, /* UTF-8 that is JSON without white space already */
    KIND_INT64,
    KIND_TIME, /* microseconds since 1970 UTC */
    KIND_NULL, /* nothing but nulls */
    KIND_REAL, /* 64-bit reals, finite; written, but read as text that is VERBATIM */
    KIND_COUNT
};

/* One column. Its layout is part of the library's interface. */
struct spelled {
    const char *name; /* UTF-8 */
    int64_t name_length;
    int32_t kind;
    bool own; /* belongs to the canonical bytes */
    bool nullable;
};

/* What stands before the value of each column in a line: `{"name":`, and a comma instead of the brace from the second
 * column on. */
struct keys {
    struct text text;
    size_t *ends;
};

/* Whether they are columns at all: their number, their kinds. */
bool columns_valid(const struct spelled *columns, int64_t count);
static inline bool kind_is_text(int32_t kind)
{
    return kind == KIND_TEXT || kind == KIND_VERBATIM;
}

/* False if there is no memory; `keys_free` is due in any case. */
bool keys_spell(struct keys *keys, const struct spelled *columns, int count);
static inline const char *key_of(const struct keys *keys, int column, size_t *length)
{
    size_t begin = column == 0 ? 0 : keys->ends[column - 1];
    *length = keys->ends[column] - begin;
    return keys->text.bytes + begin;
}
void keys_free(struct keys *keys);

#endif
