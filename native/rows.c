#include "rows.h"

#include <stdlib.h>

#include "memory.h"
#include "real.h"

/* The years 0001 to 9999, in microseconds since 1970. */
#define FIRST_TIME (-62135596800000000)
#define LAST_TIME 253402300799999999

static bool has_type(int32_t kind, const struct arrow_schema *schema, const struct arrow_array *array)
{
    static const char *const formats[KIND_COUNT] = {"u", "u", "l", "tsu:", "n", "g"};
    static const int buffers[KIND_COUNT] = {3, 3, 2, 2, 0, 2};
    const char *wanted = formats[kind];
    bool same = kind == KIND_TIME ? strncmp(schema->format, wanted, strlen(wanted)) == 0 && schema->format[4] != '\0'
                                  : strcmp(schema->format, wanted) == 0;
    return same && schema->dictionary == NULL && array->buffers_count == buffers[kind];
}

static inline bool is_null(const struct column *column, int64_t row)
{
    int64_t at = column->first + row;
    return column->valid != NULL && !(column->valid[at >> 3] >> (at & 7) & 1);
}

static inline bool in_years(int64_t micros)
{
    return (uint64_t)micros - (uint64_t)FIRST_TIME <= (uint64_t)LAST_TIME - (uint64_t)FIRST_TIME;
}

/* Whether every time that is not null has a year of four digits. */
static bool times_fit(const struct column *column, int64_t length)
{
    bool fit = true;
    for (int64_t row = 0; row < length; row++)
        fit &= in_years(column->numbers[column->first + row]);
    for (int64_t row = 0; !fit && row < length; row++)
        if (!is_null(column, row) && !in_years(column->numbers[column->first + row]))
            return false;
    return true;
}

static inline double real_at(const struct column *column, int64_t row)
{
    double value;
    memcpy(&value, &column->numbers[column->first + row], sizeof value);
    return value;
}

/* Whether every real that is not null is finite. */
static bool reals_finite(const struct column *column, int64_t length)
{
    bool finite = true;
    for (int64_t row = 0; row < length; row++)
        finite &= real_finite(real_at(column, row));
    for (int64_t row = 0; !finite && row < length; row++)
        if (!is_null(column, row) && !real_finite(real_at(column, row)))
            return false;
    return true;
}

static const char *column_open(struct column *column, const struct arrow_schema *schema, const struct arrow_array *array,
                               int64_t length)
{
    if (!has_type(column->kind, schema, array))
        return "a column does not have the type of its kind";
    if (array->length < length)
        return "a column is too short";
    if (column->kind == KIND_NULL)
        return NULL;
    column->first = array->offset;
    column->valid = array->null_count != 0 ? array->buffers[0] : NULL;
    if (kind_is_text(column->kind)) {
        column->offsets = array->buffers[1];
        column->values = array->buffers[2] == NULL ? "" : array->buffers[2];
    } else {
        column->numbers = array->buffers[1];
    }
    if (length > 0 && column->offsets == NULL && column->numbers == NULL)
        return "a column has no buffers";
    if (column->kind == KIND_TIME && !times_fit(column, length))
        return "a time is outside the years 0001 to 9999";
    if (column->kind == KIND_REAL && !reals_finite(column, length))
        return "a number is not finite";
    return NULL;
}

const char *rows_open(struct rows *rows, const struct spelled *columns, int64_t count, const struct arrow_schema *schema,
                      const struct arrow_array *array)
{
    bool other = false;
    *rows = (struct rows){.length = array->length};
    if (strcmp(schema->format, "+s") != 0 || schema->children_count != array->children_count || array->offset != 0)
        return "it is not a record batch";
    if (!columns_valid(columns, count) || count != array->children_count)
        return "these are not its columns";
    rows->count = (int)count;
    rows->columns = calloc((size_t)count, sizeof *rows->columns);
    if (rows->columns == NULL || !keys_spell(&rows->keys, columns, rows->count))
        return no_memory;
    for (int at = 0; at < rows->count; at++) {
        struct column *column = &rows->columns[at];
        column->kind = columns[at].kind;
        column->own = columns[at].own;
        column->key = key_of(&rows->keys, at, &column->key_length);
        column->day = NO_DAY;
        const char *complaint = column_open(column, schema->children[at], array->children[at], rows->length);
        if (complaint != NULL)
            return complaint;
        if (!column->own)
            other = true;
        else if (other)
            rows->cut = -1;
        else
            rows->cut++;
    }
    return NULL;
}

void rows_close(struct rows *rows)
{
    keys_free(&rows->keys);
    free(rows->columns);
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

static inline void put_byte(struct text *text, char byte)
{
    text->bytes[text->used++] = byte;
}

/* One value as JSON. There is room for it, but for escapes; `rest` is what must still fit with and behind them. False
 * without memory. */
static inline bool put_value(struct column *column, int64_t row, size_t rest, struct text *text)
{
    size_t length;
    const char *bytes;
    if (column->kind == KIND_NULL || is_null(column, row)) {
        text_put(text, "null", 4);
        return true;
    }
    switch (column->kind) {
    case KIND_TIME:
        put_byte(text, '"');
        text_time(text, column->numbers[column->first + row], &column->day);
        put_byte(text, '"');
        return true;
    case KIND_INT64:
        text_number(text, column->numbers[column->first + row]);
        return true;
    case KIND_REAL:
        text_shortest(text, real_at(column, row));
        return true;
    case KIND_VERBATIM:
        bytes = value(column, row, &length);
        text_put(text, bytes, length);
        return true;
    default:
        bytes = value(column, row, &length);
        put_byte(text, '"');
        if (json_plain(bytes, length))
            text_put(text, bytes, length);
        else if (text_reserve(text, rest + 5 * length))
            text_json(text, bytes, length);
        else
            return false;
        put_byte(text, '"');
        return true;
    }
}

/* One row from its brace to its last value; returns where the canonical bytes end, if they are a part of it. `rest` is
 * what must still fit behind it. */
static size_t line(struct rows *rows, int64_t row, size_t rest, struct text *text)
{
    size_t canonical = 0;
    rest += longest(rows, row) + 2;
    if (!text_reserve(text, rest))
        return 0;
    for (int at = 0; at < rows->count; at++) {
        struct column *column = &rows->columns[at];
        if (at == rows->cut)
            canonical = at > 0 ? text->used : text->used + 1; /* without any value the brace alone is hashed */
        text_put(text, column->key, column->key_length);
        if (!put_value(column, row, rest, text))
            return 0;
    }
    return canonical ? canonical : text->used;
}

/* The canonical bytes of one row. */
static void canonical_line(struct rows *rows, int64_t row, struct text *text)
{
    size_t rest = longest(rows, row) + 2;
    bool begun = false;
    if (!text_reserve(text, rest))
        return;
    put_byte(text, '{');
    for (int at = 0; at < rows->count; at++) {
        struct column *column = &rows->columns[at];
        if (!column->own)
            continue;
        if (begun)
            put_byte(text, ',');
        begun = true;
        text_put(text, column->key + 1, column->key_length - 1);
        if (!put_value(column, row, rest, text))
            return;
    }
}

static inline void add(struct hash128 *sum, struct hash128 hash)
{
    sum->low += hash.low;
    sum->high += hash.high + (sum->low < hash.low);
}

static void hash_row(struct rows *rows, int64_t row, struct text *scratch, struct hash128 *sum)
{
    scratch->used = 0;
    canonical_line(rows, row, scratch);
    if (!scratch->failed)
        add(sum, xxh3_128((const uint8_t *)scratch->bytes, scratch->used));
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

void rows_lines(struct rows *rows, const char *end, size_t end_length, struct text *text, struct hash128 *sum)
{
    struct text scratch = {0};
    if (rows->length > 0 && !reserve_all(rows, (int64_t)end_length + 1, text))
        return;
    for (int64_t row = 0; row < rows->length && !text->failed; row++) {
        size_t begin = text->used, canonical = line(rows, row, end_length + 1, text);
        if (text->failed)
            break;
        if (sum != NULL && rows->cut >= 0) {
            add(sum, xxh3_128((const uint8_t *)text->bytes + begin, canonical - begin));
        } else if (sum != NULL) {
            hash_row(rows, row, &scratch, sum);
            text->failed |= scratch.failed;
        }
        put_byte(text, '}');
        text_put(text, end, end_length);
    }
    text_free(&scratch);
}

bool rows_digest(struct rows *rows, struct hash128 *sum, uint64_t *each)
{
    struct text scratch = {0};
    for (int64_t row = 0; !scratch.failed && row < rows->length; row++) {
        struct hash128 hash = {0};
        hash_row(rows, row, &scratch, &hash);
        add(sum, hash);
        if (each != NULL)
            each[row] = hash.low;
    }
    bool done = !scratch.failed;
    text_free(&scratch);
    return done;
}

static void csv_field(struct column *column, int64_t row, const char *null, size_t null_length, struct text *text)
{
    size_t length;
    if (column->kind == KIND_NULL || is_null(column, row)) {
        text_put(text, null, null_length);
    } else if (column->offsets != NULL) {
        const char *bytes = value(column, row, &length);
        text_csv(text, bytes, length, null, null_length);
    } else {
        char spelled[TEXT_TIME];
        struct text short_text = {.bytes = spelled, .room = sizeof spelled};
        if (column->kind == KIND_TIME)
            text_time(&short_text, column->numbers[column->first + row], &column->day);
        else if (column->kind == KIND_REAL)
            text_shortest(&short_text, real_at(column, row));
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

void rows_csv(struct rows *rows, const char *null, size_t null_length, struct text *text, struct hash128 *sum)
{
    struct text scratch = {0};
    if (rows->length > 0 && !reserve_all(rows, 1, text))
        return;
    for (int64_t row = 0; row < rows->length && !text->failed; row++) {
        size_t most = 2 * longest(rows, row) + (size_t)rows->count * (null_length + 3);
        if (sum != NULL) {
            hash_row(rows, row, &scratch, sum);
            text->failed |= scratch.failed;
        }
        if (!text_reserve(text, most))
            break;
        for (int at = 0; at < rows->count; at++) {
            csv_field(&rows->columns[at], row, null, null_length, text);
            put_byte(text, at + 1 < rows->count ? ',' : '\n');
        }
    }
    text_free(&scratch);
}
