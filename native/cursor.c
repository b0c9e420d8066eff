#include "cursor.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "memory.h"

/* Instructions of SQLite's between two looks at whether to go on: less than a millisecond. */
#define PATIENCE 10000
/* Room that columns begin with. */
#define USUAL_ROWS 32768
#define USUAL_BYTES (4 << 20)
/* From where on the values of a query that is cut are measured. */
#define MEASURED 3
/* What a value that is no text and no blob counts for. */
#define NULL_BYTES 4
#define NUMBER_BYTES 8

static int denied(struct penstock_cursor *cursor, const char *what, const char *which)
{
    snprintf(cursor->said, sizeof cursor->said, "%s%s%s", what, which == NULL ? "" : " ", which == NULL ? "" : which);
    cursor->denied = true;
    return SQLITE_DENY;
}

/* Asked by SQLite for everything that a guarded statement does. */
static int authorise(void *data, int action, const char *first, const char *second, const char *database,
                     const char *within)
{
    static const char *const functions[] = {"load_extension", "penstock_scan"};
    struct penstock_cursor *cursor = data;
    (void)database;
    (void)within;
    switch (action) {
    case SQLITE_ATTACH:
        return denied(cursor, "ATTACH", NULL);
    case SQLITE_DETACH:
        return denied(cursor, "DETACH", NULL);
    case SQLITE_PRAGMA: /* full-text tables ask for one */
        return first != NULL && strcasecmp(first, "data_version") == 0 ? SQLITE_OK : denied(cursor, "PRAGMA", first);
    case SQLITE_FUNCTION:
        for (size_t at = 0; second != NULL && at < sizeof functions / sizeof *functions; at++)
            if (strcasecmp(second, functions[at]) == 0)
                return denied(cursor, "the function", second);
    }
    return SQLITE_OK;
}

static int impatient(void *data)
{
    struct penstock_cursor *cursor = data;
    return atomic_load_explicit(&cursor->interrupted, memory_order_relaxed);
}

/* The connection is this cursor's alone from here on: it is guarded, it can be interrupted, and its values are
 * protected by its mutex. */
static void begin(struct penstock_cursor *cursor)
{
    sqlite3_mutex_enter(sqlite3_db_mutex(cursor->database));
    if (cursor->guarded)
        sqlite3_set_authorizer(cursor->database, authorise, cursor);
    sqlite3_progress_handler(cursor->database, PATIENCE, impatient, cursor);
}

static void end(struct penstock_cursor *cursor)
{
    sqlite3_progress_handler(cursor->database, 0, NULL, NULL);
    if (cursor->guarded)
        sqlite3_set_authorizer(cursor->database, NULL, NULL);
    sqlite3_mutex_leave(sqlite3_db_mutex(cursor->database));
}

static bool fail(struct penstock_cursor *cursor, enum fault fault)
{
    cursor->fault = fault;
    return false;
}

static bool fail_for(struct penstock_cursor *cursor, enum fault fault, const char *what, int64_t number)
{
    snprintf(cursor->said, sizeof cursor->said, "%s%lld", what, (long long)number);
    return fail(cursor, fault);
}

/* What SQLite complains of, unless it was denied: that is told already. */
static bool fail_as(struct penstock_cursor *cursor, int code)
{
    code &= 0xFF;
    if (code == SQLITE_NOMEM)
        return fail(cursor, FAULT_MEMORY);
    if (code == SQLITE_INTERRUPT)
        return fail(cursor, FAULT_INTERRUPTED);
    if (cursor->denied)
        return fail(cursor, FAULT_DENIED);
    snprintf(cursor->said, sizeof cursor->said, "%s", sqlite3_errmsg(cursor->database));
    return fail(cursor, FAULT_SQLITE);
}

/* Whether nothing but white space and comments follows a statement. */
static bool nothing_follows(struct penstock_cursor *cursor, const char *tail)
{
    while (*tail != '\0') {
        sqlite3_stmt *another = NULL;
        const char *next = tail;
        int code = sqlite3_prepare_v2(cursor->database, tail, -1, &another, &next);
        sqlite3_finalize(another);
        if (code != SQLITE_OK || another != NULL)
            return false;
        if (next == tail)
            return true;
        tail = next;
    }
    return true;
}

static bool prepare(struct penstock_cursor *cursor, const char *sql)
{
    const char *tail = sql;
    int code = sqlite3_prepare_v2(cursor->database, sql, -1, &cursor->statement, &tail);
    if (code != SQLITE_OK)
        return fail_as(cursor, code);
    if (cursor->statement == NULL)
        return fail(cursor, FAULT_BLANK);
    if (!nothing_follows(cursor, tail))
        return fail(cursor, FAULT_SEVERAL);
    cursor->count = sqlite3_column_count(cursor->statement);
    if (!sqlite3_stmt_readonly(cursor->statement))
        return fail(cursor, FAULT_WRITES);
    return cursor->count > 0 || fail(cursor, FAULT_RESULTLESS);
}

static bool bind(struct penstock_cursor *cursor, const struct bound *parameters, int64_t count)
{
    if (sqlite3_bind_parameter_count(cursor->statement) > count) {
        const char *name = sqlite3_bind_parameter_name(cursor->statement, (int)count + 1);
        snprintf(cursor->said, sizeof cursor->said, "%s", name == NULL ? "?" : name);
        return fail(cursor, FAULT_PARAMETERS);
    }
    for (int at = 0; at < count; at++) {
        const struct bound *each = &parameters[at];
        sqlite3_stmt *statement = cursor->statement;
        int code;
        if (each->type == SQLITE_INTEGER)
            code = sqlite3_bind_int64(statement, at + 1, each->integer);
        else if (each->type == SQLITE_FLOAT)
            code = sqlite3_bind_double(statement, at + 1, each->real);
        else if (each->type == SQLITE_TEXT)
            code = sqlite3_bind_text(statement, at + 1, each->bytes, (int)each->length, SQLITE_TRANSIENT);
        else if (each->type == SQLITE_BLOB)
            code = sqlite3_bind_blob(statement, at + 1, each->bytes, (int)each->length, SQLITE_TRANSIENT);
        else
            code = sqlite3_bind_null(statement, at + 1);
        if (code != SQLITE_OK)
            return fail_as(cursor, code);
    }
    return true;
}

/* Columns and their names of its own. */
static bool furnish(struct penstock_cursor *cursor, const struct gather *columns, int64_t count)
{
    if (count == 0)
        return true; /* to be measured, or only described */
    if (!gathers_valid(columns, count))
        return fail(cursor, FAULT_COLUMNS);
    cursor->columns = calloc((size_t)count, sizeof *columns);
    if (cursor->columns == NULL)
        return fail(cursor, FAULT_MEMORY);
    for (int64_t at = 0; at < count; at++) {
        if (!text_reserve(&cursor->names, (size_t)columns[at].name_length + 1))
            return fail(cursor, FAULT_MEMORY);
        text_put(&cursor->names, columns[at].name, (size_t)columns[at].name_length);
        cursor->columns[at] = columns[at];
    }
    const char *name = cursor->names.bytes;
    for (int64_t at = 0; at < count; name += columns[at++].name_length)
        cursor->columns[at].name = name;
    if (!rows_made_open(&cursor->made, cursor->columns, (int)count))
        return fail(cursor, FAULT_MEMORY);
    return true;
}

struct penstock_cursor *cursor_open(sqlite3 *database, const char *sql, const struct gather *columns, int64_t count,
                                    const struct bound *parameters, int64_t parameter_count, bool guarded)
{
    struct penstock_cursor *cursor = calloc(1, sizeof *cursor);
    if (cursor == NULL)
        return NULL;
    cursor->database = database;
    cursor->guarded = guarded;
    if (!furnish(cursor, columns, count))
        return cursor;
    begin(cursor);
    if (prepare(cursor, sql) && bind(cursor, parameters, parameter_count)) {
        cursor->values = calloc((size_t)cursor->count, sizeof(sqlite3_value *));
        if (cursor->values == NULL)
            fail(cursor, FAULT_MEMORY);
        else if (count > 0 && cursor->made.values != cursor->count)
            fail_for(cursor, FAULT_COLUMNS, "it gives another number of columns than are gathered: ", cursor->count);
    }
    end(cursor);
    return cursor;
}

void cursor_close(struct penstock_cursor *cursor)
{
    sqlite3_finalize(cursor->statement);
    rows_made_free(&cursor->made);
    text_free(&cursor->names);
    free(cursor->values);
    free(cursor->columns);
    free(cursor);
}

/* Where the values of the row are. To ask for each takes longer than to read it; but SQLite keeps a row in an array, and
 * mostly each in the same one: where the first value is, where it was, all others are where they were. That they lie in
 * an array is seen first. */
static void look_up(struct penstock_cursor *cursor)
{
    sqlite3_value **values = cursor->values, *first = sqlite3_column_value(cursor->statement, 0);
    if (cursor->array && values[0] == first)
        return;
    values[0] = first;
    cursor->array = true;
    for (int at = 1; at < cursor->count; at++) {
        values[at] = sqlite3_column_value(cursor->statement, at);
        intptr_t step = (intptr_t)values[at] - (intptr_t)values[at - 1];
        cursor->array &= step > 0 && step == (intptr_t)values[1] - (intptr_t)first;
    }
}

/* See that a row is there, with its values; false at the end, and where it fails. */
static bool next_row(struct penstock_cursor *cursor)
{
    if (cursor->over || cursor->fault != FAULT_NONE)
        return false;
    if (impatient(cursor))
        return fail(cursor, FAULT_INTERRUPTED);
    if (!cursor->pending) {
        int code = sqlite3_step(cursor->statement);
        cursor->over = code == SQLITE_DONE;
        if (code != SQLITE_ROW)
            return cursor->over ? false : fail_as(cursor, code);
        cursor->pending = true;
        look_up(cursor);
    }
    return true;
}

/* Bytes of the values from one on. */
static int64_t measured(const struct penstock_cursor *cursor, int from)
{
    int64_t size = 0;
    for (int at = from; at < cursor->count; at++) {
        int type = sqlite3_value_type(cursor->values[at]);
        bool spelled = type == SQLITE_TEXT || type == SQLITE_BLOB;
        size += spelled ? sqlite3_value_bytes(cursor->values[at]) : type == SQLITE_NULL ? NULL_BYTES : NUMBER_BYTES;
    }
    return size;
}

bool cursor_take(struct penstock_cursor *cursor, int64_t rows, int64_t bytes)
{
    struct rows_made *made = &cursor->made;
    int64_t gathered = 0;
    begin(cursor);
    if (cursor->columns == NULL || !next_row(cursor)) {
        /* nothing to begin */
    } else if (!rows_made_begin(made, rows < USUAL_ROWS ? rows : USUAL_ROWS, bytes < USUAL_BYTES ? bytes : USUAL_BYTES)) {
        fail(cursor, FAULT_MEMORY);
    } else {
        while (made->rows < rows && next_row(cursor)) {
            gathered += measured(cursor, 0);
            if (made->rows > 0 && gathered > bytes)
                break;
            if (!rows_made_add(made, cursor->values))
                fail(cursor, FAULT_MEMORY);
            cursor->pending = false;
        }
    }
    end(cursor);
    if (cursor->fault == FAULT_INTERRUPTED && made->rows > 0)
        return true; /* what it gave by then are whole rows; whoever asks again is told */
    return cursor->fault == FAULT_NONE;
}

/* Add the row to the slice in the making. */
static void lengthen(struct penstock_cursor *cursor, int64_t number, int64_t size)
{
    struct cut *cut = &cursor->cut;
    int64_t place = sqlite3_value_int64(cursor->values[1]);
    if (cut->rows == 0)
        *cut = (struct cut){.first = number, .first_place = place, .last_place = place};
    cursor->tied = cursor->numbered && number == cursor->last ? cursor->tied + 1 : 0;
    cursor->numbered = true;
    cursor->last = cut->last = number;
    cut->bytes += size;
    cut->rows++;
    cut->first_place = place < cut->first_place ? place : cut->first_place;
    cut->last_place = place > cut->last_place ? place : cut->last_place;
}

int64_t cursor_cut(struct penstock_cursor *cursor, int64_t rows, int64_t bytes, int64_t overhead, int64_t ties,
                   struct cut *cuts, int64_t most)
{
    struct cut *cut = &cursor->cut;
    int64_t found = 0;
    begin(cursor);
    while (found < most && cursor->count >= MEASURED && next_row(cursor)) {
        int64_t number = sqlite3_value_int64(cursor->values[0]);
        int64_t size = overhead + sqlite3_value_int64(cursor->values[2]) + measured(cursor, MEASURED);
        bool tied = cursor->numbered && number == cursor->last;
        if (cursor->numbered && (number < cursor->last || (tied && cursor->tied >= ties))) {
            fail_for(cursor, FAULT_REPEATED, "", number);
        } else if (cut->rows > 0 && !tied && (cut->rows >= rows || size > bytes - cut->bytes)) {
            cuts[found++] = *cut; /* the row is looked at again */
            cut->rows = 0;
        } else {
            lengthen(cursor, number, size);
            cursor->pending = false;
        }
    }
    if (found < most && cursor->over && cut->rows > 0) {
        cuts[found++] = *cut;
        cut->rows = 0;
    }
    end(cursor);
    return cursor->fault == FAULT_NONE ? found : -1;
}
