/* Events as Arrow hands them over (the Arrow C data interface), and the texts and hashes that are made of them. */
#ifndef PENSTOCK_ROWS_H
#define PENSTOCK_ROWS_H

#include <stdbool.h>
#include <stdint.h>

#include "text.h"
#include "xxh3.h"

/* The two structures of the Arrow C data interface, whose layout is fixed for good. */
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

#define MOST_COLUMNS 10
#define LONGEST_KEY 32

enum kind { KIND_TEXT, KIND_JSON, KIND_NUMBER, KIND_TIME };

struct column {
    enum kind kind;
    const char *name;
    bool of_event; /* belongs to the canonical bytes */
    bool nullable;
    const uint8_t *valid;
    const int32_t *offsets;
    const char *values;
    const int64_t *numbers;
    int64_t first; /* the row of the buffers that is row 0 here */
    char key[LONGEST_KEY];
    size_t key_length;
};

struct rows {
    int64_t length;
    int count;
    struct column columns[MOST_COLUMNS];
};

/* Rows of nothing yet, with these columns. False if they are not an event's, in their order. */
bool rows_choose(struct rows *rows, int count, const char *const *names);

/* See a batch of event columns as rows. NULL, or what is wrong with it. */
const char *rows_of(struct rows *rows, const struct arrow_schema *schema, const struct arrow_array *array);

/* Append every row as an NDJSON line that ends with `end`. `sum` grows by the hash of each row's canonical bytes, unless
 * it is NULL. */
void rows_lines(const struct rows *rows, const char *end, size_t end_length, struct text *text, struct hash128 *sum);

/* Append every row as a line of CSV; `sum` grows as above. */
void rows_csv(const struct rows *rows, const char *null, size_t null_length, struct text *text, struct hash128 *sum);

/* The sum alone. False if there is no memory. */
bool rows_digest(const struct rows *rows, struct hash128 *sum);

#endif
