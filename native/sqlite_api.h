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
typedef struct sqlite3_stmt sqlite3_stmt;
typedef struct sqlite3_mutex sqlite3_mutex;
typedef void (*sqlite3_entry)(void);

enum sqlite3_place {
    PLACE_aggregate_context = 0,
    PLACE_bind_blob = 2,
    PLACE_bind_double = 3,
    PLACE_bind_int64 = 5,
    PLACE_bind_null = 6,
    PLACE_bind_parameter_count = 7,
    PLACE_bind_parameter_name = 9,
    PLACE_bind_text = 10,
    PLACE_column_count = 22,
    PLACE_column_decltype = 25,
    PLACE_column_name = 30,
    PLACE_column_value = 39,
    PLACE_errmsg = 53,
    PLACE_finalize = 57,
    PLACE_progress_handler = 75,
    PLACE_result_double = 79,
    PLACE_result_error = 80,
    PLACE_result_int64 = 83,
    PLACE_result_text = 85,
    PLACE_set_authorizer = 91,
    PLACE_step = 94,
    PLACE_value_blob = 102,
    PLACE_value_bytes = 103,
    PLACE_value_double = 105,
    PLACE_value_int64 = 107,
    PLACE_value_text = 109,
    PLACE_value_type = 113,
    PLACE_prepare_v2 = 116,
    PLACE_mutex_enter = 131,
    PLACE_mutex_leave = 133,
    PLACE_result_error_nomem = 137,
    PLACE_create_function_v2 = 162,
    PLACE_db_mutex = 164,
    PLACE_stmt_readonly = 185,
};

extern const sqlite3_entry *sqlite3_entries;

#define SQLITE_CALL(type, name, ...) ((type(*)(__VA_ARGS__))sqlite3_entries[PLACE_##name])
#define sqlite3_bind_blob SQLITE_CALL(int, bind_blob, sqlite3_stmt *, int, const void *, int, void (*)(void *))
#define sqlite3_bind_double SQLITE_CALL(int, bind_double, sqlite3_stmt *, int, double)
#define sqlite3_bind_int64 SQLITE_CALL(int, bind_int64, sqlite3_stmt *, int, int64_t)
#define sqlite3_bind_null SQLITE_CALL(int, bind_null, sqlite3_stmt *, int)
#define sqlite3_bind_parameter_count SQLITE_CALL(int, bind_parameter_count, sqlite3_stmt *)
#define sqlite3_bind_parameter_name SQLITE_CALL(const char *, bind_parameter_name, sqlite3_stmt *, int)
#define sqlite3_bind_text SQLITE_CALL(int, bind_text, sqlite3_stmt *, int, const char *, int, void (*)(void *))
#define sqlite3_column_count SQLITE_CALL(int, column_count, sqlite3_stmt *)
#define sqlite3_column_decltype SQLITE_CALL(const char *, column_decltype, sqlite3_stmt *, int)
#define sqlite3_column_name SQLITE_CALL(const char *, column_name, sqlite3_stmt *, int)
#define sqlite3_column_value SQLITE_CALL(sqlite3_value *, column_value, sqlite3_stmt *, int)
#define sqlite3_errmsg SQLITE_CALL(const char *, errmsg, sqlite3 *)
#define sqlite3_finalize SQLITE_CALL(int, finalize, sqlite3_stmt *)
#define sqlite3_progress_handler SQLITE_CALL(void, progress_handler, sqlite3 *, int, int (*)(void *), void *)
#define sqlite3_set_authorizer                                                                                         \
    SQLITE_CALL(int, set_authorizer, sqlite3 *,                                                                        \
                int (*)(void *, int, const char *, const char *, const char *, const char *), void *)
#define sqlite3_step SQLITE_CALL(int, step, sqlite3_stmt *)
#define sqlite3_value_blob SQLITE_CALL(const void *, value_blob, sqlite3_value *)
#define sqlite3_value_double SQLITE_CALL(double, value_double, sqlite3_value *)
#define sqlite3_prepare_v2                                                                                             \
    SQLITE_CALL(int, prepare_v2, sqlite3 *, const char *, int, sqlite3_stmt **, const char **)
#define sqlite3_mutex_enter SQLITE_CALL(void, mutex_enter, sqlite3_mutex *)
#define sqlite3_mutex_leave SQLITE_CALL(void, mutex_leave, sqlite3_mutex *)
#define sqlite3_db_mutex SQLITE_CALL(sqlite3_mutex *, db_mutex, sqlite3 *)
#define sqlite3_stmt_readonly SQLITE_CALL(int, stmt_readonly, sqlite3_stmt *)
#define sqlite3_aggregate_context SQLITE_CALL(void *, aggregate_context, sqlite3_context *, int)
#define sqlite3_result_double SQLITE_CALL(void, result_double, sqlite3_context *, double)
#define sqlite3_result_error SQLITE_CALL(void, result_error, sqlite3_context *, const char *, int)
#define sqlite3_result_error_nomem SQLITE_CALL(void, result_error_nomem, sqlite3_context *)
#define sqlite3_result_int64 SQLITE_CALL(void, result_int64, sqlite3_context *, int64_t)
#define sqlite3_result_text                                                                                            \
    SQLITE_CALL(void, result_text, sqlite3_context *, const char *, int, void (*)(void *))
#define sqlite3_value_bytes SQLITE_CALL(int, value_bytes, sqlite3_value *)
#define sqlite3_value_int64 SQLITE_CALL(int64_t, value_int64, sqlite3_value *)
#define sqlite3_value_text SQLITE_CALL(const unsigned char *, value_text, sqlite3_value *)
#define sqlite3_value_type SQLITE_CALL(int, value_type, sqlite3_value *)
#define sqlite3_create_function_v2                                                                                     \
    SQLITE_CALL(int, create_function_v2, sqlite3 *, const char *, int, int, void *,                                    \
                void (*)(sqlite3_context *, int, sqlite3_value **),                                                    \
                void (*)(sqlite3_context *, int, sqlite3_value **), void (*)(sqlite3_context *), void (*)(void *))

#define SQLITE_OK 0
#define SQLITE_ERROR 1
#define SQLITE_NOMEM 7
#define SQLITE_INTERRUPT 9
#define SQLITE_ROW 100
#define SQLITE_DONE 101
#define SQLITE_INTEGER 1
#define SQLITE_FLOAT 2
#define SQLITE_TEXT 3
#define SQLITE_BLOB 4
#define SQLITE_NULL 5
/* What an authoriser answers, and what it is asked. */
#define SQLITE_DENY 1
#define SQLITE_PRAGMA 19
#define SQLITE_ATTACH 24
#define SQLITE_DETACH 25
#define SQLITE_FUNCTION 31
#define SQLITE_UTF8 1
#define SQLITE_TRANSIENT ((void (*)(void *))-1)
#define SQLITE_DIRECTONLY 0x80000

#endif
