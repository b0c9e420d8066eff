#include "penstock.h"

#include "members.h"
#include "memory.h"
#include "parse.h"
#include "pick.h"
#include "rows.h"
#include "scan.h"

typedef void (*renderer)(struct rows *, const char *, size_t, struct text *, struct hash128 *);

static const char no_texts[] = "these are no texts";

static void release(struct arrow_schema *schema, struct arrow_array *array)
{
    array->release(array);
    schema->release(schema);
}

static const char *rendered(renderer render, const struct spelled *columns, int64_t count, struct arrow_schema *schema,
                            struct arrow_array *array, const char *word, int64_t length, struct arrow_array *into,
                            struct hash128 *sum)
{
    struct rows rows;
    struct text text = {0};
    const char *complaint = rows_open(&rows, columns, count, schema, array);
    if (complaint == NULL) {
        render(&rows, word, (size_t)length, &text, sum);
        if (text.failed || !arrow_of_text(into, &text))
            complaint = no_memory;
        text_free(&text);
    }
    rows_close(&rows);
    release(schema, array);
    return complaint;
}

const char *penstock_lines(const struct spelled *columns, int64_t count, struct arrow_schema *schema,
                           struct arrow_array *array, const char *word, int64_t length, struct arrow_array *text,
                           struct hash128 *sum)
{
    return rendered(rows_lines, columns, count, schema, array, word, length, text, sum);
}

const char *penstock_csv(const struct spelled *columns, int64_t count, struct arrow_schema *schema,
                         struct arrow_array *array, const char *word, int64_t length, struct arrow_array *text,
                         struct hash128 *sum)
{
    return rendered(rows_csv, columns, count, schema, array, word, length, text, sum);
}

const char *penstock_digest(const struct spelled *columns, int64_t count, struct arrow_schema *schema,
                            struct arrow_array *array, struct hash128 *sum, uint64_t *each)
{
    struct rows rows;
    const char *complaint = rows_open(&rows, columns, count, schema, array);
    if (complaint == NULL && !rows_digest(&rows, sum, each))
        complaint = no_memory;
    rows_close(&rows);
    release(schema, array);
    return complaint;
}

const char *penstock_parse(const struct spelled *columns, int64_t count, const char *text, int64_t length,
                           int64_t max_depth, struct arrow_array *batch, struct penstock_parsed *parsed)
{
    struct parsed found;
    const char *complaint = NULL;
    if (!parsed_open(&found, columns, count, text, (size_t)length, (int)max_depth))
        complaint = found.complaint;
    else if (!arrow_of_columns(batch, found.gathered, columns, found.count, found.rows))
        complaint = no_memory;
    *parsed = (struct penstock_parsed){found.rows, found.culprit, found.settled};
    parsed_close(&found);
    return complaint;
}

static bool are_texts(const struct arrow_schema *schema, const struct arrow_array *array)
{
    return strcmp(schema->format, "u") == 0 && schema->dictionary == NULL && array->buffers_count == 3;
}

const char *penstock_members_count(int64_t most, struct arrow_schema *schema, struct arrow_array *texts,
                                   struct arrow_array *batch, struct members_told *told)
{
    const char *complaint = are_texts(schema, texts) ? members_count(texts, most, batch, told) : no_texts;
    release(schema, texts);
    return complaint;
}

const char *penstock_members_columns(const struct member *members, int64_t count, bool keeps_empty,
                                     struct arrow_schema *schema, struct arrow_array *texts,
                                     struct arrow_array *batch, struct members_told *told)
{
    const char *complaint =
        are_texts(schema, texts) ? members_columns(members, count, keeps_empty, texts, batch, told) : no_texts;
    release(schema, texts);
    return complaint;
}

int64_t penstock_sink_open(const struct spelled *columns, int64_t count, int64_t order, int64_t bytes)
{
    const struct sink *sink = sink_open(columns, count, order, bytes);
    return sink == NULL ? 0 : sink->number;
}

const char *penstock_sink_take(int64_t number, struct arrow_array *batch)
{
    struct sink *sink = sink_of(number);
    if (sink == NULL)
        return "there is no such sink";
    bool done = arrow_of_columns(batch, sink->gathered, sink->columns, sink->count, sink->rows);
    sink_close(sink);
    return done ? NULL : no_memory;
}

void penstock_sink_close(int64_t number)
{
    struct sink *sink = sink_of(number);
    if (sink != NULL)
        sink_close(sink);
}

sqlite3 *penstock_loaded(void)
{
    return extension_loaded();
}

struct penstock_cursor *penstock_cursor_open(sqlite3 *database, const char *sql, const struct gather *columns,
                                             int64_t count, const struct bound *parameters, int64_t parameter_count,
                                             bool guarded)
{
    return cursor_open(database, sql, columns, count, parameters, parameter_count, guarded);
}

void penstock_cursor_close(struct penstock_cursor *cursor)
{
    cursor_close(cursor);
}

int32_t penstock_cursor_fault(const struct penstock_cursor *cursor, const char **said)
{
    *said = cursor->said;
    return cursor->fault;
}

bool penstock_cursor_column(struct penstock_cursor *cursor, int64_t at, const char **name, const char **declared)
{
    if (at < 0 || at >= cursor->count)
        return false;
    *name = sqlite3_column_name(cursor->statement, (int)at);
    *declared = sqlite3_column_decltype(cursor->statement, (int)at);
    return *name != NULL;
}

bool penstock_cursor_take(struct penstock_cursor *cursor, int64_t rows, int64_t bytes, struct arrow_array *batch,
                          struct arrow_array *notes, struct penstock_taken *taken)
{
    struct rows_made *made = &cursor->made;
    *taken = (struct penstock_taken){0, 0};
    if (!cursor_take(cursor, rows, bytes))
        return false;
    if (made->rows == 0)
        return true;
    bool done = arrow_of_columns(batch, made->gathered, made->layout, made->outputs, made->rows);
    if (done && made->note_count > 0 && !arrow_of_columns(notes, made->notes, note_columns, NOTE_COLUMNS, made->note_count)) {
        batch->release(batch);
        done = false;
    }
    if (!done)
        cursor->fault = FAULT_MEMORY;
    *taken = (struct penstock_taken){made->rows, made->note_count};
    made->rows = 0;
    return done;
}

int64_t penstock_cursor_cut(struct penstock_cursor *cursor, int64_t rows, int64_t bytes, int64_t overhead,
                            int64_t ties, struct cut *cuts, int64_t most)
{
    return cursor_cut(cursor, rows, bytes, overhead, ties, cuts, most);
}

void penstock_cursor_interrupt(struct penstock_cursor *cursor)
{
    atomic_store(&cursor->interrupted, true);
}

const char *penstock_pick(const uint8_t *valid, const int32_t *offsets, const char *bytes, int64_t first, int64_t rows,
                          const char *path, int64_t path_length, int32_t wanted, struct arrow_array *batch)
{
    struct jsons jsons = {valid, offsets, bytes, first, rows};
    struct gathered columns[PICKED_COLUMNS] = {{{0}, {0}, {0}, 0}};
    if (wanted < 0 || wanted >= WANTED_COUNT || !path_valid(path, (size_t)path_length))
        return "this is no path";
    if (!picked_gather(columns, &jsons, path, (size_t)path_length, wanted)) {
        for (int at = 0; at < PICKED_COLUMNS; at++)
            gathered_free(&columns[at]);
        return no_memory;
    }
    return arrow_of_columns(batch, columns, picked_columns, PICKED_COLUMNS, rows) ? NULL : no_memory;
}
