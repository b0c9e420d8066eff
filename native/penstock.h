/* The library's interface, as `penstock/pipeline/native.py` calls it. It knows no Python: rows come and go over the Arrow
 * C data interface, and what columns there are comes as data.
 *
 * A function that returns a complaint returns NULL where all went well; the complaint is never to be freed, and nothing
 * was given out then. A batch that comes in is taken over and released in any case. All functions are safe from any
 * thread, but a sink is one query's and then one caller's. */
#ifndef PENSTOCK_H
#define PENSTOCK_H

#include "arrow.h"
#include "columns.h"
#include "xxh3.h"

#define PENSTOCK_CALL __attribute__((visibility("default")))

/* Rows as NDJSON lines, or as lines of CSV: an array of bytes in `text`. `word` ends each line, or stands for a null in
 * CSV. `sum` becomes the sum of the hashes of the canonical bytes, unless it is NULL. */
PENSTOCK_CALL const char *penstock_lines(const struct spelled *columns, int64_t count, struct arrow_schema *schema,
                                         struct arrow_array *array, const char *word, int64_t length,
                                         struct arrow_array *text, struct hash128 *sum);
PENSTOCK_CALL const char *penstock_csv(const struct spelled *columns, int64_t count, struct arrow_schema *schema,
                                       struct arrow_array *array, const char *word, int64_t length,
                                       struct arrow_array *text, struct hash128 *sum);
/* The sum alone. */
PENSTOCK_CALL const char *penstock_digest(const struct spelled *columns, int64_t count, struct arrow_schema *schema,
                                          struct arrow_array *array, struct hash128 *sum);

struct penstock_parsed {
    int64_t rows;    /* how many there are, or the line (from 0) that the complaint is about */
    int64_t culprit; /* the column that the complaint is about, or -1 */
    bool settled;    /* every verbatim value is an object without lone surrogates, nested no deeper than `max_depth` */
};

/* NDJSON lines back into columns: a batch. */
PENSTOCK_CALL const char *penstock_parse(const struct spelled *columns, int64_t count, const char *text, int64_t length,
                                         int64_t max_depth, struct arrow_array *batch, struct penstock_parsed *parsed);

/* The number of a new sink for `penstock_scan` (scan.h), or 0. */
PENSTOCK_CALL int64_t penstock_sink_open(const struct spelled *columns, int64_t count, int64_t order, int64_t bytes);
/* What the query gathered, as a batch; closes the sink. */
PENSTOCK_CALL const char *penstock_sink_take(int64_t number, struct arrow_array *batch);
/* Nothing happens to a sink that is closed already. No query may be using it. */
PENSTOCK_CALL void penstock_sink_close(int64_t number);

#endif
