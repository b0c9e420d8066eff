/* Rows of a SQLite query gathered into column buffers, from inside the SQLite library that runs the query.
 *
 * `penstock_scan(SINK, column, …)` is an aggregate. It appends each row to the sink of that number, which says what the
 * columns are, and its value is the number of rows. The sink belongs to whoever opened it; only its number travels
 * through SQL. Texts have to be UTF-8, verbatim ones have to hold no line feed either. */
#ifndef PENSTOCK_SCAN_H
#define PENSTOCK_SCAN_H

#include <stdbool.h>
#include <stdint.h>

#include "columns.h"
#include "gathered.h"
#include "sqlite_api.h"

struct sink {
    int64_t number, rows, last;
    int count;
    int order; /* the column whose numbers have to ascend, and that rows are named by in complaints */
    struct spelled *columns;
    struct gathered *gathered;
    struct text names;
};

/* A new sink with room for about `bytes` of verbatim texts; NULL without memory, or where these are no columns that can
 * be scanned. `order` names a column of numbers that is never null. */
struct sink *sink_open(const struct spelled *columns, int64_t count, int64_t order, int64_t bytes);
/* The sink of that number, or NULL if there is none (any more). */
struct sink *sink_of(int64_t number);
/* No query may be using the sink any more. */
void sink_close(struct sink *sink);
/* The connection that this thread loaded the library into last, once. */
sqlite3 *extension_loaded(void);

#endif
