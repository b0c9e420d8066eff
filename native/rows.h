/* Rows as Arrow hands them over, and the texts and hashes that are made of them. */
#ifndef PENSTOCK_ROWS_H
#define PENSTOCK_ROWS_H

#include <stdbool.h>
#include <stdint.h>

#include "arrow.h"
#include "columns.h"
#include "text.h"
#include "xxh3.h"

struct column {
    int32_t kind;
    bool own;
    const uint8_t *valid;
    const int32_t *offsets;
    const char *values;
    const int64_t *numbers;
    int64_t first; /* the row of the buffers that is row 0 here */
    const char *key;
    size_t key_length;
    struct day day; /* the one that was spelled last */
};

struct rows {
    int64_t length;
    int count;
    int cut; /* so many columns at the front are the own ones; -1 where others stand between them */
    struct column *columns;
    struct keys keys;
};

/* See a batch as rows of these columns, as long as it lives. NULL, or what is wrong with it. `rows_close` is due in any
 * case. */
const char *rows_open(struct rows *rows, const struct spelled *columns, int64_t count, const struct arrow_schema *schema,
                      const struct arrow_array *array);
void rows_close(struct rows *rows);

/* Append every row as an NDJSON line that ends with `end`. `sum` grows by the hash of each row's canonical bytes, unless
 * it is NULL. `text->failed` where there is no memory. */
void rows_lines(struct rows *rows, const char *end, size_t end_length, struct text *text, struct hash128 *sum);

/* Append every row as a line of CSV; `sum` grows as above. */
void rows_csv(struct rows *rows, const char *null, size_t null_length, struct text *text, struct hash128 *sum);

/* The sum alone, and the lower half of the hash of `each` row, unless that is NULL. False if there is no memory. */
bool rows_digest(struct rows *rows, struct hash128 *sum, uint64_t *each);

#endif
