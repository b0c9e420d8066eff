/* The Arrow C data interface: its two structures, whose layout is fixed for good, and our buffers as such structures. */
#ifndef PENSTOCK_ARROW_H
#define PENSTOCK_ARROW_H

#include "columns.h"
#include "gathered.h"

struct arrow_schema {
    const char *format, *name, *metadata;
    int64_t flags, children_count;
    struct arrow_schema **children;
    struct arrow_schema *dictionary;
    void (*release)(struct arrow_schema *);
    void *private_data;
};

struct arrow_array {
    int64_t length, null_count, offset, buffers_count, children_count;
    const void **buffers;
    struct arrow_array **children;
    struct arrow_array *dictionary;
    void (*release)(struct arrow_array *);
    void *private_data;
};

/* An array of the bytes of `text` (format "C"). It owns them from now on; without memory they are freed, and the result
 * is false. */
bool arrow_of_text(struct arrow_array *array, struct text *text);

/* A struct (format "+s") of gathered columns of `rows` rows, in the same way. */
bool arrow_of_columns(struct arrow_array *array, struct gathered *gathered, const struct spelled *columns, int count,
                      int64_t rows);

#endif
