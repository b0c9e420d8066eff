/* A column in the making, in the buffers that Arrow reads. */
#ifndef PENSTOCK_GATHERED_H
#define PENSTOCK_GATHERED_H

#include <stdbool.h>
#include <stdint.h>

#include "text.h"

struct gathered {
    struct text values;  /* text end to end, or 64-bit numbers */
    struct text offsets; /* of text: 32-bit, one more than rows */
    struct text valid;   /* of what may be null: a bit a row, the lowest first */
    int64_t nulls;
};

/* The functions return false if there is no memory, or if a column would hold more than 2 GiB of text. */
bool gathered_begin(struct gathered *column, bool is_text, size_t bytes, size_t rows);
static inline bool gathered_number(struct gathered *column, int64_t value)
{
    if (!text_reserve(&column->values, sizeof value))
        return false;
    text_put(&column->values, (const char *)&value, sizeof value);
    return true;
}
/* Room for `length` more bytes of text; what is written there counts with `gathered_end`. */
bool gathered_room(struct gathered *column, size_t length);
/* The text of a row ends where `values` ends now. */
static inline bool gathered_end(struct gathered *column)
{
    int32_t end = (int32_t)column->values.used;
    if (column->values.used > INT32_MAX || !text_reserve(&column->offsets, sizeof end))
        return false;
    text_put(&column->offsets, (const char *)&end, sizeof end);
    return true;
}
static inline bool gathered_present(struct gathered *column, int64_t row, bool present)
{
    if (row % 8 == 0) {
        if (!text_reserve(&column->valid, 1))
            return false;
        text_put(&column->valid, "", 1);
    }
    if (present)
        column->valid.bytes[row / 8] |= (char)(1 << row % 8);
    else
        column->nulls++;
    return true;
}
void gathered_free(struct gathered *column);

#endif
