#include "scan.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "sqlite_api.h"

#define MOST_SINKS 256
#define SEQ 8
/* About the size of a row, for the first reservation of offsets. */
#define ROW_BYTES 256

const sqlite3_entry *sqlite3_entries;

static const struct {
    const char *name;
    bool is_text, is_nullable, is_payload;
} columns[SCAN_COLUMNS] = {
    {"id", true, false, false},       {"category", true, false, false},  {"event_type", true, false, false},
    {"timestamp", false, false, false}, {"session_id", true, true, false}, {"priority", false, false, false},
    {"data", true, false, true},      {"metadata", true, false, true},   {"seq", false, false, false},
    {"received_at", false, false, false},
};

static const char no_memory[] = "is too large for the memory there is";

static pthread_mutex_t sinks_lock = PTHREAD_MUTEX_INITIALIZER;
static struct sink *sinks[MOST_SINKS];
static int64_t sinks_opened;

struct sink *sink_open(int64_t bytes)
{
    struct sink *sink = calloc(1, sizeof *sink);
    if (sink == NULL)
        return NULL;
    sink->last_seq = INT64_MIN;
    pthread_mutex_lock(&sinks_lock);
    for (int place = 0; place < MOST_SINKS && sink->number == 0; place++) {
        if (sinks[place] == NULL) {
            sinks[place] = sink;
            sink->number = ++sinks_opened * MOST_SINKS + place;
        }
    }
    pthread_mutex_unlock(&sinks_lock);
    bool room = sink->number != 0;
    for (int at = 0; room && at < SCAN_COLUMNS; at++)
        room = gathered_begin(&sink->columns[at], columns[at].is_text, columns[at].is_payload ? (size_t)bytes / 2 : 0,
                              (size_t)bytes / ROW_BYTES);
    if (room)
        return sink;
    sink_close(sink);
    return NULL;
}

static struct sink *sink_of(int64_t number)
{
    struct sink *sink;
    if (number < 0)
        return NULL;
    pthread_mutex_lock(&sinks_lock);
    sink = sinks[number % MOST_SINKS];
    pthread_mutex_unlock(&sinks_lock);
    return sink != NULL && sink->number == number ? sink : NULL;
}

void sink_close(struct sink *sink)
{
    if (sink->number != 0) {
        pthread_mutex_lock(&sinks_lock);
        sinks[sink->number % MOST_SINKS] = NULL;
        pthread_mutex_unlock(&sinks_lock);
    }
    for (int at = 0; at < SCAN_COLUMNS; at++)
        gathered_free(&sink->columns[at]);
    free(sink);
}

/* What is wrong with a value, or NULL once it is in its column. */
static const char *gather(struct sink *sink, int at, sqlite3_value *value)
{
    int type = sqlite3_value_type(value);
    struct gathered *column = &sink->columns[at];
    if (!columns[at].is_text) {
        if (type != SQLITE_INTEGER)
            return "is no integer";
        return gathered_number(column, sqlite3_value_int64(value)) ? NULL : no_memory;
    }
    if (columns[at].is_nullable && !gathered_present(column, sink->rows, type != SQLITE_NULL))
        return no_memory;
    if (type == SQLITE_TEXT) {
        const char *bytes = (const char *)sqlite3_value_text(value);
        size_t length = (size_t)sqlite3_value_bytes(value);
        if (bytes == NULL || !gathered_room(column, length))
            return no_memory;
        if (!utf8_valid((const uint8_t *)bytes, length))
            return "is not UTF-8";
        if (columns[at].is_payload && memchr(bytes, '\n', length) != NULL)
            return "is not compact JSON";
        text_put(&column->values, bytes, length);
    } else if (type != SQLITE_NULL || !columns[at].is_nullable) {
        return type == SQLITE_NULL ? "is null" : "is no text";
    }
    return gathered_end(column) ? NULL : no_memory;
}

static void refuse(sqlite3_context *context, const char *column, const char *complaint, sqlite3_value *seq)
{
    char said[160];
    if (complaint == no_memory) {
        sqlite3_result_error_nomem(context);
        return;
    }
    snprintf(said, sizeof said, "penstock_scan: %s of seq %lld %s", column, (long long)sqlite3_value_int64(seq),
             complaint);
    sqlite3_result_error(context, said, -1);
}

static void step(sqlite3_context *context, int count, sqlite3_value **values)
{
    struct sink *sink = sink_of(sqlite3_value_int64(values[0]));
    int64_t *rows = sqlite3_aggregate_context(context, sizeof *rows);
    (void)count;
    if (sink == NULL || rows == NULL) {
        sqlite3_result_error(context, "penstock_scan: there is no such sink", -1);
        return;
    }
    values++;
    for (int at = 0; at < SCAN_COLUMNS; at++) {
        const char *complaint = gather(sink, at, values[at]);
        if (complaint != NULL) {
            refuse(context, columns[at].name, complaint, values[SEQ]);
            return;
        }
    }
    int64_t seq = sqlite3_value_int64(values[SEQ]);
    if (sink->rows > 0 && seq <= sink->last_seq) {
        refuse(context, "order", "is not ascending", values[SEQ]);
        return;
    }
    sink->last_seq = seq;
    sink->rows++;
    ++*rows;
}

static void finish(sqlite3_context *context)
{
    const int64_t *rows = sqlite3_aggregate_context(context, 0);
    sqlite3_result_int64(context, rows == NULL ? 0 : *rows);
}

/* What SQLite calls when the library is loaded as an extension of a connection. */
__attribute__((visibility("default"))) int penstock_scan_init(sqlite3 *database, char **error,
                                                              const sqlite3_entry *entries)
{
    (void)error;
    if (sqlite3_entries != NULL && sqlite3_entries != entries)
        return SQLITE_ERROR; /* another SQLite in this process: its values are not the first one's to read */
    sqlite3_entries = entries;
    return sqlite3_create_function_v2(database, "penstock_scan", 1 + SCAN_COLUMNS, SQLITE_UTF8 | SQLITE_DIRECTONLY,
                                      NULL, NULL, step, finish, NULL);
}
