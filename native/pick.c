#include "pick.h"

#include "memory.h"

const struct spelled picked_columns[PICKED_COLUMNS] = {
    {"integer", 7, KIND_INT64, false, true},
    {"real", 4, KIND_INT64, false, true},
    {"text", 4, KIND_TEXT, false, true},
};

static bool put(struct gathered columns[PICKED_COLUMNS], int64_t row, const struct value *value)
{
    int64_t bits = 0;
    bool integer = value->found == FOUND_INTEGER, real = value->found == FOUND_REAL, text = value->found == FOUND_TEXT;
    if (real)
        memcpy(&bits, &value->real, sizeof bits);
    if (!gathered_present(&columns[0], row, integer) || !gathered_number(&columns[0], integer ? value->integer : 0) ||
        !gathered_present(&columns[1], row, real) || !gathered_number(&columns[1], bits) ||
        !gathered_present(&columns[2], row, text) || !gathered_room(&columns[2], text ? value->length : 0))
        return false;
    if (text)
        text_put(&columns[2].values, value->text, value->length);
    return gathered_end(&columns[2]);
}

bool picked_gather(struct gathered columns[PICKED_COLUMNS], const struct jsons *jsons, const char *path, size_t length,
                    int wanted)
{
    struct text room = {0};
    bool done = true;
    for (int at = 0; at < PICKED_COLUMNS; at++)
        done = done && gathered_begin(&columns[at], kind_is_text(picked_columns[at].kind), 0, (size_t)jsons->rows);
    for (int64_t row = 0; done && row < jsons->rows; row++) {
        int64_t at = jsons->first + row;
        struct value value = {0};
        if (jsons->valid == NULL || (jsons->valid[at / 8] >> at % 8 & 1) != 0)
            value = path_follow(jsons->bytes + jsons->offsets[at], (size_t)(jsons->offsets[at + 1] - jsons->offsets[at]),
                                path, length, wanted, &room);
        done = value.found != FOUND_NO_MEMORY && put(columns, row, &value);
    }
    text_free(&room);
    return done;
}

static void member(sqlite3_context *context, int count, sqlite3_value **values)
{
    struct text room = {0};
    (void)count;
    if (sqlite3_value_type(values[0]) != SQLITE_TEXT)
        return;
    const char *json = (const char *)sqlite3_value_text(values[0]);
    size_t length = (size_t)sqlite3_value_bytes(values[0]);
    const char *path = (const char *)sqlite3_value_text(values[1]);
    int64_t wanted = sqlite3_value_int64(values[2]);
    if (path == NULL || wanted < 0 || wanted >= WANTED_COUNT || !path_valid(path, (size_t)sqlite3_value_bytes(values[1]))) {
        sqlite3_result_error(context, "penstock_at: this is no path", -1);
        return;
    }
    struct value value = {.found = FOUND_NO_MEMORY};
    if (json != NULL)
        value = path_follow(json, length, path, (size_t)sqlite3_value_bytes(values[1]), (int)wanted, &room);
    if (value.found == FOUND_NO_MEMORY)
        sqlite3_result_error_nomem(context);
    else if (value.found == FOUND_INTEGER)
        sqlite3_result_int64(context, value.integer);
    else if (value.found == FOUND_REAL)
        sqlite3_result_double(context, value.real);
    else if (value.found == FOUND_TEXT)
        sqlite3_result_text(context, value.text, (int)value.length, SQLITE_TRANSIENT);
    text_free(&room);
}

int pick_register(sqlite3 *database)
{
    return sqlite3_create_function_v2(database, "penstock_at", 3, SQLITE_UTF8 | SQLITE_DIRECTONLY, NULL, member, NULL,
                                      NULL, NULL);
}
