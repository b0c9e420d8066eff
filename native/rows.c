#include "rows.h"

#include <stdio.h>

#define EVENT_COLUMNS 8
#define SESSION 4

static const struct known {
    const char *name;
    enum kind kind;
} known[MOST_COLUMNS] = {
    {"id", KIND_TEXT},         {"category", KIND_TEXT}, {"event_type", KIND_TEXT}, {"timestamp", KIND_TIME},
    {"session_id", KIND_TEXT}, {"priority", KIND_TEXT}, {"data", KIND_JSON},       {"metadata", KIND_JSON},
    {"seq", KIND_NUMBER},      {"received_at", KIND_TIME},
};

static bool has_type(enum kind kind, const char *format)
{
    switch (kind) {
    case KIND_TIME:
        return strncmp(format, "tsu:", 4) == 0;
    case KIND_NUMBER:
        return strcmp(format, "l") == 0;
    default:
        return strcmp(format, "u") == 0;
    }
}

bool rows_choose(struct rows *rows, int count, const char *const *names)
{
    int next = 0;
    *rows = (struct rows){.count = count};
    if (count < 1 || count > MOST_COLUMNS)
        return false;
    for (int at = 0; at < count; at++, next++) {
        struct column *column = &rows->columns[at];
        while (next < MOST_COLUMNS && strcmp(known[next].name, names[at]) != 0)
            next++;
        if (next == MOST_COLUMNS)
            return false;
        column->name = known[next].name;
        column->kind = known[next].kind;
        column->of_event = next < EVENT_COLUMNS;
        column->nullable = next == SESSION;
        column->key_length =
            (size_t)snprintf(column->key, LONGEST_KEY, "%c\"%s\":", at == 0 ? '{' : ',', column->name);
    }
    return true;
}

const char *rows_of(struct rows *rows, const struct arrow_schema *schema, const struct arrow_array *array)
{
    const char *names[MOST_COLUMNS];
    if (strcmp(schema->format, "+s") != 0 || schema->children_count != array->children_count || array->offset != 0)
        return "not a record batch";
    if (array->children_count < 1 || array->children_count > MOST_COLUMNS)
        return "between one and ten columns are needed";
    for (int at = 0; at < array->children_count; at++)
        names[at] = schema->children[at]->name;
    if (!rows_choose(rows, (int)array->children_count, names))
        return "the columns are not those of an event in their order";
    rows->length = array->length;
    for (int at = 0; at < rows->count; at++) {
        const struct arrow_array *values = array->children[at];
        struct column *column = &rows->columns[at];
        if (!has_type(column->kind, schema->children[at]->format))
            return "a column does not have the event's type";
        if (values->length < rows->length)
            return "a column is too short";
        column->first = values->offset;
        column->valid = values->null_count != 0 ? values->buffers[0] : NULL;
        if (column->kind == KIND_TEXT || column->kind == KIND_JSON) {
            column->offsets = values->buffers[1];
            column->values = values->buffers[2];
        } else {
            column->numbers = values->buffers[1];
        }
        if (rows->length > 0 && column->offsets == NULL && column->numbers == NULL)
            return "a column has no buffers";
    }
    return NULL;
}

static inline bool is_null(const struct column *column, int64_t row)
{
    int64_t at = column->first + row;
    return column->valid != NULL && !(column->valid[at >> 3] >> (at & 7) & 1);
}

static inline const char *value(const struct column *column, int64_t row, size_t *length)
{
    int32_t begin = column->offsets[column->first + row];
    *length = (size_t)(column->offsets[column->first + row + 1] - begin);
    return column->values + begin;
}

/* Bytes of a row's text at most, but for what must be escaped, which makes room for itself. */
static size_t longest(const struct rows *rows, int64_t row)
{
    size_t total = 0, length = 0;
    for (int at = 0; at < rows->count; at++) {
        const struct column *column = &rows->columns[at];
        total += column->key_length + TEXT_TIME + 3;
        if (column->offsets != NULL) {
            value(column, row, &length);
            total += length;
        }
    }
    return total;
}

static inline void put_key(struct text *text, const struct column *column)
{
    text_put(text, column->key, column->key_length);
}

static inline void put_byte(struct text *text, char byte)
{
    text->bytes[text->used++] = byte;
}

/* One row from its brace to the last value of its event, or of all columns if `whole`; returns where the canonical bytes
 * end. `rest` is what must still fit behind it. */
static size_t line(const struct rows *rows, int64_t row, bool whole, size_t rest, struct text *text, struct day days[2])
{
    size_t length, canonical = 0;
    bool begun = false;
    rest += longest(rows, row) + 2;
    if (!text_reserve(text, rest))
        return 0;
    for (int at = 0; at < rows->count; at++) {
        const struct column *column = &rows->columns[at];
        if (!column->of_event && canonical == 0) {
            canonical = begun ? text->used : text->used + 1; /* without any value the brace alone is hashed */
            if (!whole && begun)
                return canonical;
        }
        begun = true;
        put_key(text, column);
        if (is_null(column, row)) {
            text_put(text, "null", 4);
            continue;
        }
        switch (column->kind) {
        case KIND_TIME:
            put_byte(text, '"');
            text_time(text, column->numbers[column->first + row], &days[column->of_event]);
            put_byte(text, '"');
            break;
        case KIND_NUMBER:
            text_number(text, column->numbers[column->first + row]);
            break;
        case KIND_JSON: {
            const char *bytes = value(column, row, &length);
            text_put(text, bytes, length);
            break;
        }
        case KIND_TEXT: {
            const char *bytes = value(column, row, &length);
            put_byte(text, '"');
            if (json_plain(bytes, length))
                text_put(text, bytes, length);
            else if (text_reserve(text, rest + 5 * length))
                text_json(text, bytes, length);
            else
                return 0;
            put_byte(text, '"');
        }
        }
    }
    return canonical ? canonical : text->used;
}

static inline void add(struct hash128 *sum, struct hash128 hash)
{
    sum->low += hash.low;
    sum->high += hash.high + (sum->low < hash.low);
}

/* Room for all values at once, so that the text need not grow. */
static bool reserve_all(const struct rows *rows, int64_t a_row, struct text *text)
{
    size_t total = (size_t)(rows->length * a_row);
    for (int at = 0; at < rows->count; at++) {
        const struct column *column = &rows->columns[at];
        total += (size_t)rows->length * (column->key_length + (column->kind == KIND_TEXT ? 2 : TEXT_TIME + 2));
        if (column->offsets != NULL)
            total += (size_t)(column->offsets[column->first + rows->length] - column->offsets[column->first]);
    }
    return text_reserve(text, total);
}

void rows_lines(const struct rows *rows, const char *end, size_t end_length, struct text *text, struct hash128 *sum)
{
    struct day days[2] = {NO_DAY, NO_DAY};
    if (rows->length > 0 && !reserve_all(rows, (int64_t)end_length + 1, text))
        return;
    for (int64_t row = 0; row < rows->length; row++) {
        size_t begin = text->used, canonical = line(rows, row, true, end_length + 1, text, days);
        if (text->failed)
            return;
        if (sum != NULL)
            add(sum, xxh3_128((const uint8_t *)text->bytes + begin, canonical - begin));
        put_byte(text, '}');
        text_put(text, end, end_length);
    }
}

static bool hash_row(const struct rows *rows, int64_t row, struct text *scratch, struct day days[2], struct hash128 *sum)
{
    scratch->used = 0;
    size_t canonical = line(rows, row, false, 0, scratch, days);
    if (!scratch->failed)
        add(sum, xxh3_128((const uint8_t *)scratch->bytes, canonical));
    return !scratch->failed;
}

bool rows_digest(const struct rows *rows, struct hash128 *sum)
{
    struct text scratch = {0};
    struct day days[2] = {NO_DAY, NO_DAY};
    bool done = true;
    for (int64_t row = 0; done && row < rows->length; row++)
        done = hash_row(rows, row, &scratch, days, sum);
    text_free(&scratch);
    return done;
}

static void csv_field(const struct column *column, int64_t row, const char *null, size_t null_length,
                      struct text *text, struct day *day)
{
    size_t length;
    if (is_null(column, row)) {
        text_put(text, null, null_length);
    } else if (column->offsets != NULL) {
        const char *bytes = value(column, row, &length);
        text_csv(text, bytes, length, null, null_length);
    } else {
        char spelled[TEXT_TIME];
        struct text short_text = {.bytes = spelled, .room = sizeof spelled};
        if (column->kind == KIND_TIME)
            text_time(&short_text, column->numbers[column->first + row], day);
        else
            text_number(&short_text, column->numbers[column->first + row]);
        bool odd = short_text.used == null_length && memcmp(spelled, null, null_length) == 0;
        if (odd) /* spelled like the null token */
            put_byte(text, '"');
        text_put(text, spelled, short_text.used);
        if (odd)
            put_byte(text, '"');
    }
}

void rows_csv(const struct rows *rows, const char *null, size_t null_length, struct text *text, struct hash128 *sum)
{
    struct text scratch = {0};
    struct day days[2] = {NO_DAY, NO_DAY};
    struct day csv_days[2] = {NO_DAY, NO_DAY};
    if (rows->length > 0 && !reserve_all(rows, 1, text))
        return;
    for (int64_t row = 0; row < rows->length && !text->failed; row++) {
        size_t most = 2 * longest(rows, row) + (size_t)rows->count * (null_length + 3);
        if (sum != NULL && !hash_row(rows, row, &scratch, days, sum))
            text->failed = true;
        if (!text_reserve(text, most))
            break;
        for (int at = 0; at < rows->count; at++) {
            const struct column *column = &rows->columns[at];
            csv_field(column, row, null, null_length, text, &csv_days[column->of_event]);
            put_byte(text, at + 1 < rows->count ? ',' : '\n');
        }
    }
    text_free(&scratch);
}
