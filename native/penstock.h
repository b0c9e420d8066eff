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
#include "cursor.h"
#include "members.h"
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
/* The sum alone, and the lower half of the hash of `each` row, unless that is NULL. */
PENSTOCK_CALL const char *penstock_digest(const struct spelled *columns, int64_t count, struct arrow_schema *schema,
                                          struct arrow_array *array, struct hash128 *sum, uint64_t *each);

struct penstock_parsed {
    int64_t rows;    /* how many there are, or the line (from 0) that the complaint is about */
    int64_t culprit; /* the column that the complaint is about, or -1 */
    bool settled;    /* every verbatim value is an object without lone surrogates, nested no deeper than `max_depth` */
};

/* NDJSON lines back into columns: a batch. */
PENSTOCK_CALL const char *penstock_parse(const struct spelled *columns, int64_t count, const char *text, int64_t length,
                                         int64_t max_depth, struct arrow_array *batch, struct penstock_parsed *parsed);

/* The members of JSON texts, counted, and as columns (members.h). The texts are an array of Arrow, format "u". */
PENSTOCK_CALL const char *penstock_members_count(int64_t most, struct arrow_schema *schema,
                                                 struct arrow_array *texts, struct arrow_array *batch,
                                                 struct members_told *told);
PENSTOCK_CALL const char *penstock_members_columns(const struct member *members, int64_t count, bool keeps_empty,
                                                   struct arrow_schema *schema, struct arrow_array *texts,
                                                   struct arrow_array *batch, struct members_told *told);
/* What the texts of a JSON column hold at a path (path.h), where it is `wanted`: a batch of integers, bits of doubles and
 * texts, of which at most one is not null in a row. The texts are the buffers of an array of strings from `first` on, and
 * stay the caller's. */
PENSTOCK_CALL const char *penstock_pick(const uint8_t *valid, const int32_t *offsets, const char *bytes, int64_t first,
                                        int64_t rows, const char *path, int64_t path_length, int32_t wanted,
                                        struct arrow_array *batch);

/* The number of a new sink for `penstock_scan` (scan.h), or 0. */
PENSTOCK_CALL int64_t penstock_sink_open(const struct spelled *columns, int64_t count, int64_t order, int64_t bytes);
/* What the query gathered, as a batch; closes the sink. */
PENSTOCK_CALL const char *penstock_sink_take(int64_t number, struct arrow_array *batch);
/* Nothing happens to a sink that is closed already. No query may be using it. */
PENSTOCK_CALL void penstock_sink_close(int64_t number);

/* The connection that this thread loaded the library into last, once; NULL if there is none. It is good until it is
 * closed. */
PENSTOCK_CALL sqlite3 *penstock_loaded(void);

/* A cursor (cursor.h), or NULL without memory. Like its connection it is one thread's at a time, but for
 * `penstock_cursor_interrupt`, and it is to be closed before its connection. */
PENSTOCK_CALL struct penstock_cursor *penstock_cursor_open(sqlite3 *database, const char *sql,
                                                           const struct gather *columns, int64_t count,
                                                           const struct bound *parameters, int64_t parameter_count,
                                                           bool guarded);
PENSTOCK_CALL void penstock_cursor_close(struct penstock_cursor *cursor);
/* What it could not do (`enum fault`), and what was said of it, as long as the cursor is there. */
PENSTOCK_CALL int32_t penstock_cursor_fault(const struct penstock_cursor *cursor, const char **said);
/* The name and the declared type, if there is one, of a column of the query; false behind the last. */
PENSTOCK_CALL bool penstock_cursor_column(struct penstock_cursor *cursor, int64_t at, const char **name,
                                          const char **declared);
/* The next rows as a batch, with a batch of notes of them if there are any, and how many of both: no rows at the end,
 * where nothing is given out. False, and a fault, where it fails. */
struct penstock_taken {
    int64_t rows, notes;
};
PENSTOCK_CALL bool penstock_cursor_take(struct penstock_cursor *cursor, int64_t rows, int64_t bytes,
                                        struct arrow_array *batch, struct arrow_array *notes,
                                        struct penstock_taken *taken);
/* The next slices of a query that is measured (`cursor_cut`). */
PENSTOCK_CALL int64_t penstock_cursor_cut(struct penstock_cursor *cursor, int64_t rows, int64_t bytes,
                                          int64_t overhead, int64_t ties, struct cut *cuts, int64_t most);
/* Ends what the cursor does now and ever does: safe from any thread. */
PENSTOCK_CALL void penstock_cursor_interrupt(struct penstock_cursor *cursor);

#endif
