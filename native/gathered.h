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
bool gathered_number(struct gathered *column, int64_t value);
/* Room for `length` more bytes of text; what is written there counts with `gathered_end`. */
bool gathered_room(struct gathered *column, size_t length);
/* The text of a row ends where `values` ends now. */
bool gathered_end(struct gathered *column);
bool gathered_present(struct gathered *column, int64_t row, bool present);
void gathered_free(struct gathered *column);

#endif
