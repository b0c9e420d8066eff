/* Values of SQLite that are not ours, by how each is stored, as columns of one type each.
 *
 * What does not fit its column is null there, and noted; so is what is kept in another spelling. What is made of that is
 * the caller's business. */
#ifndef PENSTOCK_GATHER_H
#define PENSTOCK_GATHER_H

#include "columns.h"
#include "gathered.h"
#include "sqlite_api.h"

/* Into what a value goes. All but the last three are a column each, in the order of the query's own. */
enum gather_kind {
    GATHER_INT64,    /* an integer */
    GATHER_FLOAT64,  /* a real, or an integer that one holds exactly; infinities are null, noted */
    GATHER_BOOL,     /* 0 or 1 */
    GATHER_TEXT,     /* UTF-8 without NUL */
    GATHER_JSON,     /* text that is JSON, less its white space; numbers as digits; JSON's null is null, noted */
    GATHER_BINARY,   /* a blob */
    GATHER_TIME,     /* microseconds since 1970 UTC, by `unit` */
    GATHER_DECIMAL,  /* text, integer or real as digits, `precision` at most, `scale` of them behind the point */
    GATHER_ANY,      /* any value as JSON; null is `null` */
    GATHER_PLAIN,    /* any value as text; null is null */
    GATHER_NAMED,    /* as GATHER_PLAIN, and numbers are noted */
    GATHER_ID,       /* as GATHER_PLAIN, of 1 to LONGEST_ID bytes without control characters; an empty one is null, noted */
    GATHER_PAYLOAD,  /* any value as a JSON object: what is none becomes the member `name` of one */
    GATHER_OBJECT,   /* takes no value of the query: an object without members */
    GATHER_MEMBER,   /* any value as one more member, `name`, of the object that stands before */
    GATHER_COUNT
};

#define LONGEST_ID 1024

/* One column; the layout is part of the library's interface. */
struct gather {
    const char *name; /* UTF-8 */
    int64_t name_length;
    int32_t kind, unit, precision, scale;
};

/* What is noted of a value. */
enum note {
    NOTE_NONE,
    NOTE_MISFIT,
    NOTE_CUT, /* digits beyond the microsecond were left out */
    NOTE_BLOB,
    NOTE_INVALID_UTF8,
    NOTE_INFINITE,
    NOTE_JSON_NULL,
    NOTE_NOT_OBJECT,
    NOTE_NOT_JSON,
    NOTE_RENAMED,
    NOTE_NUMBER,
    NOTE_EMPTY,
};

/* Notes are columns too: row, column (of `struct gather`), note, how SQLite stores the value, and, of the first
 * MOST_SHOWN misfits and of all of GATHER_TIME, the value: the first LONGEST_SHOWN bytes of it, of times all. */
enum { NOTE_ROW, NOTE_COLUMN, NOTE_WHAT, NOTE_STORAGE, NOTE_SHOWN, NOTE_COLUMNS };
#define MOST_SHOWN 100
#define LONGEST_SHOWN 1024
extern const struct spelled note_columns[NOTE_COLUMNS];

/* Rows in the making. */
struct rows_made {
    const struct gather *columns;
    int count, values, outputs;
    int64_t rows, shown;
    struct spelled *layout; /* of the outputs */
    struct gathered *gathered;
    struct gathered notes[NOTE_COLUMNS];
    int64_t note_count;
    struct text keys; /* of members, as they stand in an object, each behind a comma; `ends` says where each ends */
    size_t *ends;
    struct text scratch, own;
    uint64_t member_marks; /* a bit for each name that a member has, by its length and its ends */
};

/* Whether they can be gathered: kinds, units, and a member only behind an object. */
bool gathers_valid(const struct gather *columns, int64_t count);
/* `columns` are valid and stay where they are. False without memory; `rows_made_free` is due in any case. */
bool rows_made_open(struct rows_made *made, const struct gather *columns, int count);
/* Room for a new batch of about so many rows and bytes. False without memory. */
bool rows_made_begin(struct rows_made *made, int64_t rows, int64_t bytes);
/* Append a row; `values` are those of the query. False without memory, or if a column grows beyond 2 GiB. */
bool rows_made_add(struct rows_made *made, sqlite3_value **values);
void rows_made_free(struct rows_made *made);

#endif
