#include "fuzz.h"

#include <stdlib.h>

#include "../json.h"
#include "../moment.h"

#define MOST_GATHERED 12
#define INTERRUPTED_AT 50

/* The one statement that there is. */
static struct {
    int count;
    int64_t row, rows;
    bool cut; /* its columns are a number, a place, a size, and values */
    struct sqlite3_value values[MOST_GATHERED];
} query;

static int prepare_v2(sqlite3 *database, const char *sql, int length, sqlite3_stmt **statement, const char **tail)
{
    check(database == NULL && length == -1);
    *statement = *sql == '\0' ? NULL : (sqlite3_stmt *)&query;
    *tail = sql + strlen(sql);
    return 0;
}

static int finalize(sqlite3_stmt *statement)
{
    check(statement == NULL || statement == (sqlite3_stmt *)&query);
    return 0;
}

static int column_count(sqlite3_stmt *statement)
{
    (void)statement;
    return query.count;
}

static int stmt_readonly(sqlite3_stmt *statement)
{
    (void)statement;
    return 1;
}

/* No query here has parameters. */
static int bind_parameter_count(sqlite3_stmt *statement)
{
    (void)statement;
    return 0;
}

static sqlite3_value *column_value(sqlite3_stmt *statement, int at)
{
    (void)statement;
    return &query.values[at];
}

static double value_double(sqlite3_value *value)
{
    return value->real;
}

static const void *value_blob(sqlite3_value *value)
{
    return value->text.bytes;
}

static const char *errmsg(sqlite3 *database)
{
    (void)database;
    return "no";
}

static int set_authorizer(sqlite3 *database,
                          int (*ask)(void *, int, const char *, const char *, const char *, const char *), void *data)
{
    (void)database;
    (void)ask;
    (void)data;
    return 0;
}

static void progress_handler(sqlite3 *database, int patience, int (*look)(void *), void *data)
{
    (void)database;
    (void)patience;
    (void)look;
    (void)data;
}

static sqlite3_mutex *db_mutex(sqlite3 *database)
{
    (void)database;
    return NULL;
}

static void mutex(sqlite3_mutex *none)
{
    (void)none;
}

static void put_clock(struct text *text)
{
    static const char *const pieces[] = {"2024-02-29", "1999-12-31", "T", " ", "23:59:60", "01:02:03", ".", ",", "123456",
                                         "7890", "Z", "+05:30", "-08", "0", "17", "1700000000"};
    for (uint64_t left = chance(6); left > 0; left--) {
        const char *piece = pieces[chance(16)];
        check(text_reserve(text, strlen(piece)));
        text_put(text, piece, strlen(piece));
    }
}

static double real_by_chance(void)
{
    uint64_t bits = chance(UINT64_MAX);
    double real;
    memcpy(&real, &bits, sizeof real);
    if (chance(3) == 0)
        real = (double)(int64_t)chance(1 << 30) / (double)(1 + chance(1000));
    return real == real ? real : 0; /* SQLite makes null of what is no number */
}

/* The next row. What it holds ends where it says, and not a byte later. */
static int step(sqlite3_stmt *statement)
{
    int64_t left_then = allocations_left;
    (void)statement;
    if (query.row == query.rows)
        return chance(50) ? SQLITE_DONE : SQLITE_ERROR;
    allocations_left = -1;
    query.row++;
    for (int at = 0; at < query.count; at++) {
        struct sqlite3_value *value = &query.values[at];
        struct text text = {0};
        free(value->text.bytes);
        *value = (struct sqlite3_value){.type = 1 + (int)chance(5), .real = real_by_chance()};
        value->number = chance(2) ? (int64_t)chance(UINT64_MAX) : (int64_t)chance(3);
        switch (chance(4)) {
        case 0:
            put_words(&text);
            break;
        case 1:
            put_clock(&text);
            break;
        default:
            put_json(&text, 0);
        }
        value->text = chance(4) ? piece_of(&text) : mutated(text.bytes == NULL ? "" : text.bytes, text.used);
        text_free(&text);
    }
    if (query.cut) {
        query.values[0].number = query.row - (chance(300) == 0);
        query.values[2].number = (int64_t)chance(1000);
    }
    allocations_left = left_then;
    return SQLITE_ROW;
}

void serve_cursors(sqlite3_entry *entries)
{
    entries[PLACE_prepare_v2] = (sqlite3_entry)prepare_v2;
    entries[PLACE_finalize] = (sqlite3_entry)finalize;
    entries[PLACE_column_count] = (sqlite3_entry)column_count;
    entries[PLACE_stmt_readonly] = (sqlite3_entry)stmt_readonly;
    entries[PLACE_bind_parameter_count] = (sqlite3_entry)bind_parameter_count;
    entries[PLACE_column_value] = (sqlite3_entry)column_value;
    entries[PLACE_value_double] = (sqlite3_entry)value_double;
    entries[PLACE_value_blob] = (sqlite3_entry)value_blob;
    entries[PLACE_errmsg] = (sqlite3_entry)errmsg;
    entries[PLACE_set_authorizer] = (sqlite3_entry)set_authorizer;
    entries[PLACE_progress_handler] = (sqlite3_entry)progress_handler;
    entries[PLACE_db_mutex] = (sqlite3_entry)db_mutex;
    entries[PLACE_mutex_enter] = (sqlite3_entry)mutex;
    entries[PLACE_mutex_leave] = (sqlite3_entry)mutex;
    entries[PLACE_step] = (sqlite3_entry)step;
}

/* Offsets ascend to what there is of text, which is UTF-8 but for blobs, and payloads are JSON objects. */
static void look_at(const struct arrow_array *column, const struct gather *gather)
{
    if (column->buffers_count < 3)
        return;
    const int32_t *offsets = column->buffers[1];
    const char *values = column->buffers[2];
    for (int64_t row = 0; row < column->length; row++) {
        size_t length = (size_t)(offsets[row + 1] - offsets[row]);
        const char *begin = values + offsets[row];
        struct json_facts facts = {0, false};
        check(offsets[row + 1] >= offsets[row]);
        check(gather->kind == GATHER_BINARY || utf8_valid((const uint8_t *)begin, length));
        if (gather->kind == GATHER_PAYLOAD || gather->kind == GATHER_OBJECT)
            check(*begin == '{' && json_value(begin, begin + length, &facts) == begin + length);
    }
}

static void take_all(struct penstock_cursor *cursor, const struct gather *outputs)
{
    struct arrow_array batch, notes;
    struct penstock_taken taken;
    int64_t rows = 0, most = 1 + (int64_t)chance(40);
    const char *said;
    for (;;) {
        if (chance(INTERRUPTED_AT) == 0)
            penstock_cursor_interrupt(cursor);
        if (!penstock_cursor_take(cursor, most, (int64_t)chance(2000), &batch, &notes, &taken)) {
            check(penstock_cursor_fault(cursor, &said) != FAULT_NONE);
            return;
        }
        if (taken.rows == 0)
            break;
        check(batch.length == taken.rows && taken.rows <= most);
        for (int64_t at = 0; at < batch.children_count; at++)
            look_at(batch.children[at], &outputs[at]);
        batch.release(&batch);
        if (taken.notes > 0)
            notes.release(&notes);
        rows += taken.rows;
    }
    check(rows == query.rows);
}

static void cut_all(struct penstock_cursor *cursor)
{
    struct cut cuts[7];
    int64_t found, rows = 0, most = 1 + (int64_t)chance(7), upto = -1;
    do {
        found = penstock_cursor_cut(cursor, 1 + (int64_t)chance(20), (int64_t)chance(3000), 10, 0, cuts, most);
        for (int64_t at = 0; at < found; at++) {
            check(cuts[at].first > upto && cuts[at].last >= cuts[at].first && cuts[at].rows > 0);
            upto = cuts[at].last;
            rows += cuts[at].rows;
        }
    } while (found == most);
    check(found < 0 || rows == query.rows);
}

void cursor_round(void)
{
    struct gather columns[MOST_GATHERED], outputs[MOST_GATHERED];
    static const char *const names[] = {"a", "k", "k_column", "\xc3\xa9\"", "", "b"};
    int count = 1 + (int)chance(MOST_GATHERED), output = 0;
    load();
    query.count = 0;
    query.row = 0;
    query.rows = (int64_t)chance(60);
    query.cut = chance(6) == 0;
    for (int at = 0; at < count; at++) {
        const char *name = names[at % 6];
        int32_t precision = (int32_t)chance(39);
        columns[at] = (struct gather){name, (int64_t)strlen(name), (int32_t)chance(GATHER_COUNT),
                                      (int32_t)chance(UNIT_COUNT), precision, precision ? (int32_t)chance((uint64_t)precision) : 0};
        if (columns[at].kind == GATHER_MEMBER && (at == 0 || columns[at - 1].kind < GATHER_PAYLOAD))
            columns[at].kind = GATHER_ANY;
        if (columns[at].kind != GATHER_MEMBER)
            outputs[output++] = columns[at];
        query.count += columns[at].kind != GATHER_OBJECT;
    }
    if (query.cut)
        query.count = 3 + (int)chance(MOST_GATHERED - 3);
    allocations_left = chance(4) ? -1 : (int64_t)chance(60);
    struct penstock_cursor *cursor =
        penstock_cursor_open(NULL, "q", columns, query.cut ? 0 : count, NULL, 0, chance(2));
    if (cursor != NULL) {
        query.cut ? cut_all(cursor) : take_all(cursor, outputs);
        penstock_cursor_close(cursor);
    }
    allocations_left = -1;
    for (int at = 0; at < MOST_GATHERED; at++) {
        free(query.values[at].text.bytes);
        query.values[at] = (struct sqlite3_value){0};
    }
}
