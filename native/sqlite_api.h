/* The few entries of SQLite's extension interface that are used here, by their places in its table of functions.
 *
 * A loaded extension is handed that table (sqlite3ext.h, struct sqlite3_api_routines); its order never changes, entries
 * are only added at its end. Naming the places means that no SQLite header has to be installed to build Penstock; a test
 * compares them with the header where there is one. */
#ifndef PENSTOCK_SQLITE_API_H
#define PENSTOCK_SQLITE_API_H

#include <stdint.h>

typedef struct sqlite3 sqlite3;
typedef struct sqlite3_context sqlite3_context;
typedef struct sqlite3_value sqlite3_value;
typedef void (*sqlite3_entry)(void);

enum sqlite3_place {
    PLACE_aggregate_context = 0,
    PLACE_result_error = 80,
    PLACE_result_int64 = 83,
    PLACE_value_bytes = 103,
    PLACE_value_int64 = 107,
    PLACE_value_text = 109,
    PLACE_value_type = 113,
    PLACE_result_error_nomem = 137,
    PLACE_create_function_v2 = 162,
};

extern const sqlite3_entry *sqlite3_entries;

#define SQLITE_CALL(type, name, ...) ((type(*)(__VA_ARGS__))sqlite3_entries[PLACE_##name])
#define sqlite3_aggregate_context SQLITE_CALL(void *, aggregate_context, sqlite3_context *, int)
#define sqlite3_result_error SQLITE_CALL(void, result_error, sqlite3_context *, const char *, int)
#define sqlite3_result_error_nomem SQLITE_CALL(void, result_error_nomem, sqlite3_context *)
#define sqlite3_result_int64 SQLITE_CALL(void, result_int64, sqlite3_context *, int64_t)
#define sqlite3_value_bytes SQLITE_CALL(int, value_bytes, sqlite3_value *)
#define sqlite3_value_int64 SQLITE_CALL(int64_t, value_int64, sqlite3_value *)
#define sqlite3_value_text SQLITE_CALL(const unsigned char *, value_text, sqlite3_value *)
#define sqlite3_value_type SQLITE_CALL(int, value_type, sqlite3_value *)
#define sqlite3_create_function_v2                                                                                     \
    SQLITE_CALL(int, create_function_v2, sqlite3 *, const char *, int, int, void *,                                    \
                void (*)(sqlite3_context *, int, sqlite3_value **),                                                    \
                void (*)(sqlite3_context *, int, sqlite3_value **), void (*)(sqlite3_context *), void (*)(void *))

#define SQLITE_ERROR 1
#define SQLITE_INTEGER 1
#define SQLITE_TEXT 3
#define SQLITE_NULL 5
#define SQLITE_UTF8 1
#define SQLITE_DIRECTONLY 0x80000

#endif
