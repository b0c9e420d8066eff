/* Rows of a SQLite query gathered into column buffers, from inside the SQLite library that runs the query.
 *
 * `penstock_scan(SINK, id, category, event_type, timestamp, session_id, priority, data, metadata, seq, received_at)` is
 * an aggregate. It appends each row to the sink of that number, and its value is the number of rows. The sink belongs to
 * whoever opened it; only its number travels through SQL. */
#ifndef PENSTOCK_SCAN_H
#define PENSTOCK_SCAN_H

#include <stdbool.h>
#include <stdint.h>

#include "gathered.h"

#define SCAN_COLUMNS 10

struct sink {
    int64_t number, rows, last_seq;
    struct gathered columns[SCAN_COLUMNS];
};

/* A new sink with room for about `bytes` of payload, or NULL without memory. */
struct sink *sink_open(int64_t bytes);
/* No query may be using the sink any more. */
void sink_close(struct sink *sink);

#endif
