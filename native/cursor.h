/* A query of a connection that is open already, read row by row: into columns, or measured and cut into slices. */
#ifndef PENSTOCK_CURSOR_H
#define PENSTOCK_CURSOR_H

#include <stdatomic.h>

#include "gather.h"

/* What a cursor could not do; `said` has it in words where they are needed. */
enum fault {
    FAULT_NONE,
    FAULT_MEMORY,
    FAULT_SQLITE,      /* what SQLite said */
    FAULT_INTERRUPTED,
    FAULT_DENIED,      /* what a guarded statement may not do */
    FAULT_BLANK,       /* there is no statement */
    FAULT_SEVERAL,     /* there are more than one */
    FAULT_RESULTLESS,  /* it gives no rows */
    FAULT_WRITES,
    FAULT_COLUMNS,     /* it gives another number of columns than are gathered, or these cannot be gathered */
    FAULT_REPEATED,    /* a number that slices are cut by comes too often, or does not ascend */
    FAULT_PARAMETERS,  /* it has more parameters than were given: SQLite would take null for them */
};

#define LONGEST_SAID 1024

/* A parameter, `type` as SQLite has it. */
struct bound {
    int64_t type, integer;
    double real;
    const char *bytes;
    int64_t length;
};

/* Rows from number `first` to `last`, found between two places. */
struct cut {
    int64_t first, last, bytes, rows, first_place, last_place;
};

struct penstock_cursor {
    sqlite3 *database;
    sqlite3_stmt *statement;
    struct gather *columns;
    struct text names;
    struct rows_made made;
    sqlite3_value **values;
    int count;    /* values of a row */
    bool array;   /* they lie in one, as far as was seen */
    bool guarded; /* somebody else's SQL */
    bool denied;  /* something that may have been what it failed by; `said` has it */
    bool pending; /* a row was stepped to, and not taken yet */
    bool over;
    struct cut cut; /* in the making */
    int64_t last;   /* the number of the row before, if there was one */
    bool numbered;
    int64_t tied; /* how many rows before it had its number too */
    enum fault fault;
    char said[LONGEST_SAID];
    atomic_bool interrupted;
};

/* Prepare the statement; `fault` says if it cannot be read. NULL without memory. */
struct penstock_cursor *cursor_open(sqlite3 *database, const char *sql, const struct gather *columns, int64_t count,
                                    const struct bound *parameters, int64_t parameter_count, bool guarded);
/* The next rows into `made`: at most `rows` with at most `bytes`, but for the first; if it is interrupted, those by then.
 * False, and `fault`, where it fails. */
bool cursor_take(struct penstock_cursor *cursor, int64_t rows, int64_t bytes);
/* The next slices of a query of numbers, places, sizes, and values to be measured beside; `overhead` counts for each row
 * too. How many they are, fewer than `most` at the end only; -1, and `fault`, where it fails. */
int64_t cursor_cut(struct penstock_cursor *cursor, int64_t rows, int64_t bytes, int64_t overhead, int64_t ties,
                   struct cut *cuts, int64_t most);
void cursor_close(struct penstock_cursor *cursor);

#endif
