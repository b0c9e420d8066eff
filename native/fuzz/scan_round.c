#include "fuzz.h"

#include <stdlib.h>

#include "../sqlite_api.h"

#define MOST_VALUES (1 + MOST_MADE)

struct sqlite3_context {
    int64_t rows, result;
    bool refused;
};

static void (*step)(sqlite3_context *, int, sqlite3_value **);
static void (*finish)(sqlite3_context *);
static void (*member)(sqlite3_context *, int, sqlite3_value **);

static void *aggregate_context(sqlite3_context *context, int size)
{
    check(size == 0 || size == sizeof context->rows);
    return &context->rows;
}

static void result_error(sqlite3_context *context, const char *said, int length)
{
    check(length == -1 && utf8_valid((const uint8_t *)said, strlen(said)));
    context->refused = true;
}

static void result_error_nomem(sqlite3_context *context)
{
    context->refused = true;
}

static void result_int64(sqlite3_context *context, int64_t value)
{
    context->result = value;
}

static void result_double(sqlite3_context *context, double value)
{
    (void)context;
    check(value - value == 0);
}

static void result_text(sqlite3_context *context, const char *text, int length, void (*destroy)(void *))
{
    (void)context;
    check(destroy == SQLITE_TRANSIENT && utf8_valid((const uint8_t *)text, (size_t)length));
}

static int value_bytes(sqlite3_value *value)
{
    return (int)value->text.length;
}

static int64_t value_int64(sqlite3_value *value)
{
    return value->number;
}

static const unsigned char *value_text(sqlite3_value *value)
{
    return (const unsigned char *)value->text.bytes;
}

static int value_type(sqlite3_value *value)
{
    return value->type;
}

static int create_function_v2(sqlite3 *database, const char *name, int count, int flags, void *data,
                              void (*call)(sqlite3_context *, int, sqlite3_value **),
                              void (*each)(sqlite3_context *, int, sqlite3_value **), void (*end)(sqlite3_context *),
                              void (*destroy)(void *))
{
    bool aggregate = strcmp(name, "penstock_scan") == 0;
    check(database == NULL && data == NULL && destroy == NULL && flags == (SQLITE_UTF8 | SQLITE_DIRECTONLY));
    check(aggregate ? count == -1 && call == NULL : count == 3 && each == NULL && end == NULL);
    if (aggregate) {
        step = each;
        finish = end;
    } else {
        member = call;
    }
    return 0;
}

int penstock_scan_init(sqlite3 *database, char **error, const sqlite3_entry *entries);

void load(void)
{
    if (step != NULL)
        return;
    static sqlite3_entry entries[MOST_ENTRIES];
    serve_cursors(entries);
    entries[PLACE_aggregate_context] = (sqlite3_entry)aggregate_context;
    entries[PLACE_result_error] = (sqlite3_entry)result_error;
    entries[PLACE_result_error_nomem] = (sqlite3_entry)result_error_nomem;
    entries[PLACE_result_int64] = (sqlite3_entry)result_int64;
    entries[PLACE_result_double] = (sqlite3_entry)result_double;
    entries[PLACE_result_text] = (sqlite3_entry)result_text;
    entries[PLACE_value_bytes] = (sqlite3_entry)value_bytes;
    entries[PLACE_value_int64] = (sqlite3_entry)value_int64;
    entries[PLACE_value_text] = (sqlite3_entry)value_text;
    entries[PLACE_value_type] = (sqlite3_entry)value_type;
    entries[PLACE_create_function_v2] = (sqlite3_entry)create_function_v2;
    check(penstock_scan_init(NULL, NULL, entries) == 0);
    sqlite3_entry others[1] = {NULL};
    check(penstock_scan_init(NULL, NULL, others) != 0);
}

/* A value that mostly fits its column. */
static void fill(struct sqlite3_value *value, const struct spelled *column, int64_t row)
{
    struct text text = {0};
    int64_t left_then = allocations_left;
    allocations_left = -1;
    *value = (struct sqlite3_value){.type = SQLITE_INTEGER, .number = chance(20) ? row : (int64_t)chance(9)};
    if (column->nullable && chance(3) == 0)
        value->type = SQLITE_NULL;
    else if (kind_is_text(column->kind))
        value->type = SQLITE_TEXT;
    if (chance(200) == 0)
        value->type = 1 + (int)chance(5);
    column->kind == KIND_VERBATIM ? put_json(&text, 0) : put_words(&text);
    value->text = piece_of(&text);
    if (chance(100) == 0) {
        free(value->text.bytes);
        value->text = mutated(text.bytes == NULL ? "" : text.bytes, text.used);
    }
    text_free(&text);
    allocations_left = left_then;
}

/* One row handed over; false once the query failed. */
static bool hand_over(struct sqlite3_context *context, int64_t number, const struct made *made, int64_t row)
{
    struct sqlite3_value values[MOST_VALUES], *list[MOST_VALUES];
    for (int at = 0; at <= made->count; at++) {
        list[at] = &values[at];
        if (at > 0)
            fill(&values[at], &made->columns[at - 1], row);
    }
    values[0] = (struct sqlite3_value){.type = SQLITE_INTEGER, .number = number};
    if (chance(500) == 0)
        values[0].number = (int64_t)chance(UINT64_MAX);
    step(context, made->count + (chance(500) ? 1 : 0), list);
    for (int at = 1; at <= made->count; at++)
        free(values[at].text.bytes);
    return !context->refused;
}

void pick_round(void)
{
    static const char *const paths[] = {"[\"k\"]", "[0]", "[]", "[\"k\",1,\"k\"]", "[\"\\u006b\"]", "[1", "{}", "[-1]"};
    struct sqlite3_value values[3] = {{.type = chance(20) ? SQLITE_TEXT : 1 + (int)chance(5)}, {.type = SQLITE_TEXT}};
    sqlite3_value *list[3] = {&values[0], &values[1], &values[2]};
    struct sqlite3_context context = {0};
    struct text text = {0};
    const char *path = paths[chance(8)];
    load();
    put_json(&text, 0);
    const char *json = text.bytes == NULL ? "" : text.bytes;
    values[0].text = chance(3) ? piece_of(&text) : mutated(json, text.used);
    values[1].text = chance(3) ? piece_of(&(struct text){.bytes = (char *)path, .used = strlen(path)})
                               : mutated(path, strlen(path));
    values[2].number = (int64_t)chance(6) - 1;
    text_free(&text);
    allocations_left = chance(4) ? -1 : (int64_t)chance(5);
    member(&context, 3, list);
    allocations_left = -1;
    free(values[0].text.bytes);
    free(values[1].text.bytes);
}

void scan_round(void)
{
    struct made made;
    struct sqlite3_context context = {0};
    struct arrow_array batch;
    load();
    make(&made);
    int order = (int)chance((uint64_t)made.count);
    for (int at = 0; at < made.count && chance(20); at++) {
        if (made.columns[at].kind == KIND_TIME || made.columns[at].kind == KIND_NULL || at == order)
            made.columns[at].kind = KIND_INT64;
        if (at == order)
            made.columns[at].nullable = false;
    }
    allocations_left = chance(4) ? -1 : (int64_t)chance(40);
    int64_t number = penstock_sink_open(made.columns, made.count, order, (int64_t)chance(1 << 20) - 9);
    int64_t rows = 0;
    while (number != 0 && rows < made.rows && hand_over(&context, number, &made, rows))
        rows++;
    if (number != 0 && !context.refused && chance(4)) {
        finish(&context);
        check(context.result == rows);
        const char *complaint = penstock_sink_take(number, &batch);
        check(complaint == NULL || allocations_left == 0);
        if (complaint == NULL) {
            check(batch.length == rows && batch.children_count == made.count);
            batch.release(&batch);
        }
    }
    allocations_left = -1;
    penstock_sink_close(number);
    check(penstock_sink_take(number, &batch) != NULL);
    made_free(&made);
}
