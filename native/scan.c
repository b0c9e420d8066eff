#include "scan.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "pick.h"
#include "memory.h"
#include "sqlite_api.h"

#define MOST_SINKS 256
/* About the size of a row, for the first reservation of offsets. */
#define ROW_BYTES 256
/* Bytes of a name in a complaint. */
#define LONGEST_SHOWN 60

const sqlite3_entry *sqlite3_entries;

static pthread_mutex_t sinks_lock = PTHREAD_MUTEX_INITIALIZER;
static struct sink *sinks[MOST_SINKS];
static int64_t sinks_opened;

/* Give the sink a number; it has none where too many are open. */
static void enlist(struct sink *sink)
{
    pthread_mutex_lock(&sinks_lock);
    for (int place = 0; place < MOST_SINKS && sink->number == 0; place++) {
        if (sinks[place] == NULL) {
            sinks[place] = sink;
            sink->number = ++sinks_opened * MOST_SINKS + place;
        }
    }
    pthread_mutex_unlock(&sinks_lock);
}

/* Columns of its own, with their names and room for rows. */
static bool furnish(struct sink *sink, const struct spelled *columns, size_t bytes)
{
    size_t verbatims = 0;
    sink->columns = calloc((size_t)sink->count, sizeof *sink->columns);
    sink->gathered = calloc((size_t)sink->count, sizeof *sink->gathered);
    if (sink->columns == NULL || sink->gathered == NULL)
        return false;
    for (int at = 0; at < sink->count; at++) {
        if (!text_reserve(&sink->names, (size_t)columns[at].name_length))
            return false;
        text_put(&sink->names, columns[at].name, (size_t)columns[at].name_length);
        sink->columns[at] = columns[at];
        verbatims += columns[at].kind == KIND_VERBATIM;
    }
    const char *name = sink->names.bytes;
    for (int at = 0; at < sink->count; name += columns[at++].name_length) {
        bool verbatim = columns[at].kind == KIND_VERBATIM;
        sink->columns[at].name = name;
        if (!gathered_begin(&sink->gathered[at], kind_is_text(columns[at].kind), verbatim ? bytes / verbatims : 0,
                            bytes / ROW_BYTES))
            return false;
    }
    return true;
}

struct sink *sink_open(const struct spelled *columns, int64_t count, int64_t order, int64_t bytes)
{
    if (!columns_valid(columns, count) || order < 0 || order >= count || columns[order].kind != KIND_INT64 ||
        columns[order].nullable)
        return NULL;
    for (int64_t at = 0; at < count; at++)
        if (columns[at].kind == KIND_TIME || columns[at].kind == KIND_NULL || columns[at].kind == KIND_REAL)
            return NULL;
    struct sink *sink = calloc(1, sizeof *sink);
    if (sink == NULL)
        return NULL;
    sink->count = (int)count;
    sink->order = (int)order;
    if (furnish(sink, columns, bytes < 0 || bytes > INT32_MAX ? 0 : (size_t)bytes))
        enlist(sink);
    if (sink->number != 0)
        return sink;
    sink_close(sink);
    return NULL;
}

struct sink *sink_of(int64_t number)
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
    for (int at = 0; sink->gathered != NULL && at < sink->count; at++)
        gathered_free(&sink->gathered[at]);
    free(sink->gathered);
    free(sink->columns);
    text_free(&sink->names);
    free(sink);
}

/* What is wrong with a value, or NULL once it is in its column. */
static const char *gather(struct sink *sink, int at, sqlite3_value *value)
{
    int type = sqlite3_value_type(value);
    const struct spelled *column = &sink->columns[at];
    struct gathered *into = &sink->gathered[at];
    bool is_text = kind_is_text(column->kind), present = type != SQLITE_NULL;
    if (column->nullable && !gathered_present(into, sink->rows, present))
        return no_memory;
    if (!present && !column->nullable)
        return is_text ? "is null" : "is no integer";
    if (!is_text) {
        if (present && type != SQLITE_INTEGER)
            return "is no integer";
        return gathered_number(into, present ? sqlite3_value_int64(value) : 0) ? NULL : no_memory;
    }
    if (present && type != SQLITE_TEXT)
        return "is no text";
    if (present) {
        const char *bytes = (const char *)sqlite3_value_text(value);
        size_t length = (size_t)sqlite3_value_bytes(value);
        if (bytes == NULL || !gathered_room(into, length))
            return no_memory;
        if (!utf8_valid((const uint8_t *)bytes, length))
            return "is not UTF-8";
        if (column->kind == KIND_VERBATIM && memchr(bytes, '\n', length) != NULL)
            return "is not compact JSON";
        text_put(&into->values, bytes, length);
    }
    return gathered_end(into) ? NULL : no_memory;
}

/* How much of a name is shown: whole characters. */
static int shown(const struct spelled *column)
{
    int length = (int)column->name_length;
    if (length > LONGEST_SHOWN)
        for (length = LONGEST_SHOWN; length > 0 && (column->name[length] & 0xC0) == 0x80;)
            length--;
    return length;
}

static void refuse(sqlite3_context *context, const struct sink *sink, int at, const char *complaint, sqlite3_value *key)
{
    char said[3 * LONGEST_SHOWN + 80];
    const struct spelled *column = &sink->columns[at], *order = &sink->columns[sink->order];
    if (complaint == no_memory) {
        sqlite3_result_error_nomem(context);
        return;
    }
    snprintf(said, sizeof said, "penstock_scan: %.*s of %.*s %lld %s", shown(column), column->name, shown(order),
             order->name, (long long)sqlite3_value_int64(key), complaint);
    sqlite3_result_error(context, said, -1);
}

static void step(sqlite3_context *context, int count, sqlite3_value **values)
{
    struct sink *sink = count > 0 ? sink_of(sqlite3_value_int64(values[0])) : NULL;
    int64_t *rows = sqlite3_aggregate_context(context, sizeof *rows);
    if (sink == NULL || rows == NULL || count != 1 + sink->count) {
        sqlite3_result_error(context, "penstock_scan: there is no such sink", -1);
        return;
    }
    sqlite3_value *key = (++values)[sink->order];
    for (int at = 0; at < sink->count; at++) {
        const char *complaint = gather(sink, at, values[at]);
        if (complaint != NULL) {
            refuse(context, sink, at, complaint, key);
            return;
        }
    }
    int64_t last = sqlite3_value_int64(key);
    if (sink->rows > 0 && last <= sink->last) {
        refuse(context, sink, sink->order, "is not ascending", key);
        return;
    }
    sink->last = last;
    sink->rows++;
    ++*rows;
}

static void finish(sqlite3_context *context)
{
    const int64_t *rows = sqlite3_aggregate_context(context, 0);
    sqlite3_result_int64(context, rows == NULL ? 0 : *rows);
}

static _Thread_local sqlite3 *loaded;

sqlite3 *extension_loaded(void)
{
    sqlite3 *database = loaded;
    loaded = NULL;
    return database;
}

/* What SQLite calls when the library is loaded as an extension of a connection. */
__attribute__((visibility("default"))) int penstock_scan_init(sqlite3 *database, char **error,
                                                              const sqlite3_entry *entries)
{
    (void)error;
    if (sqlite3_entries != NULL && sqlite3_entries != entries)
        return SQLITE_ERROR; /* another SQLite in this process: its values are not the first one's to read */
    sqlite3_entries = entries;
    loaded = database;
    int told = sqlite3_create_function_v2(database, "penstock_scan", -1, SQLITE_UTF8 | SQLITE_DIRECTONLY,
                                          NULL, NULL, step, finish, NULL);
    return told != 0 ? told : pick_register(database);
}
