#include "parse.h"

#include <stdlib.h>

#include "json.h"
#include "memory.h"
#include "moment.h"

#define MICROS_A_DAY (86400LL * 1000000)
#define MOST_DIGITS 19

static const char *read_verbatim(struct parsed *parsed, struct gathered *into, const char *at, const char *end,
                                 int max_depth)
{
    struct json_facts facts = {0, false};
    const char *stop = json_value(at, end, &facts);
    if (stop == NULL || !gathered_room(into, (size_t)(stop - at)))
        return NULL;
    if (*at != '{' || facts.lone_surrogate || facts.depth > max_depth)
        parsed->settled = false;
    text_put(&into->values, at, (size_t)(stop - at));
    return stop;
}

static const char *read_number(const char *at, const char *end, int64_t *number)
{
    bool negative = at < end && *at == '-';
    uint64_t value = 0;
    const char *begin = at += negative;
    while (at < end && *at >= '0' && *at <= '9' && at - begin < MOST_DIGITS)
        value = value * 10 + (uint64_t)(*at++ - '0');
    *number = negative ? (int64_t)(0 - value) : (int64_t)value;
    return at > begin ? at : NULL;
}

static const char *read_time(const char *at, const char *end, int64_t *micros)
{
    static const char shape[] = "\"0000-00-00T00:00:00.000000Z\"";
    if (end - at < (int64_t)sizeof shape - 1)
        return NULL;
    for (size_t place = 0; place < sizeof shape - 1; place++)
        if (shape[place] != '0' ? at[place] != shape[place] : at[place] < '0' || at[place] > '9')
            return NULL;
    int64_t year = number_of(at + 1, 4), month = number_of(at + 6, 2), day = number_of(at + 9, 2);
    int64_t seconds = number_of(at + 12, 2) * 3600 + number_of(at + 15, 2) * 60 + number_of(at + 18, 2);
    if (year < 1 || month < 1 || month > 12)
        return NULL;
    *micros = day_number(year, month, day) * MICROS_A_DAY + seconds * 1000000 + number_of(at + 21, 6);
    return at + sizeof shape - 1;
}

/* Room for the string at `at`. What is left of a line is far more than that where the line has very many columns. */
static bool text_room(struct gathered *into, const char *at, const char *end)
{
    if (into->values.room - into->values.used >= (size_t)(end - at))
        return true;
    struct json_facts facts = {0, false};
    const char *stop = json_value(at, end, &facts);
    return stop != NULL && gathered_room(into, (size_t)(stop - at));
}

static const char *read_value(struct parsed *parsed, int place, const char *at, const char *end, int max_depth)
{
    const struct spelled *column = &parsed->columns[place];
    struct gathered *into = &parsed->gathered[place];
    int64_t number = 0;
    if (column->kind == KIND_NULL || column->nullable) {
        bool present = end - at < 4 || memcmp(at, "null", 4) != 0;
        if (column->kind == KIND_NULL)
            return present ? NULL : at + 4;
        if (!gathered_present(into, parsed->rows, present))
            return NULL;
        if (!present)
            return (kind_is_text(column->kind) ? gathered_end(into) : gathered_number(into, 0)) ? at + 4 : NULL;
    }
    switch (column->kind) {
    case KIND_TEXT:
        at = text_room(into, at, end) ? json_string(at, end, &into->values) : NULL;
        return at != NULL && gathered_end(into) ? at : NULL;
    case KIND_VERBATIM:
        at = read_verbatim(parsed, into, at, end, max_depth);
        return at != NULL && gathered_end(into) ? at : NULL;
    case KIND_INT64:
        at = read_number(at, end, &number);
        break;
    default:
        at = read_time(at, end, &number);
    }
    return at != NULL && gathered_number(into, number) ? at : NULL;
}

/* One line without its line feed. False where it is not one. */
static bool read_line(struct parsed *parsed, const char *at, const char *end, int max_depth)
{
    if (!utf8_valid((const uint8_t *)at, (size_t)(end - at))) {
        parsed->complaint = "is not UTF-8";
        return false;
    }
    for (int place = 0; place < parsed->count; place++) {
        size_t length;
        const char *key = key_of(&parsed->keys, place, &length);
        parsed->culprit = place;
        if ((size_t)(end - at) < length || memcmp(at, key, length) != 0) {
            parsed->complaint = "is not where it belongs";
            return false;
        }
        at = read_value(parsed, place, at + length, end, max_depth);
        if (at == NULL) {
            parsed->complaint = "has no value of its kind";
            return false;
        }
    }
    parsed->culprit = -1;
    if (end - at == 1 && *at == '}')
        return true;
    parsed->complaint = "goes on behind its last member";
    return false;
}

/* Room for about what lines of `length` bytes in all hold. */
static bool begin(struct parsed *parsed, size_t length)
{
    size_t verbatims = 0, count = (size_t)parsed->count;
    for (int place = 0; place < parsed->count; place++)
        verbatims += parsed->columns[place].kind == KIND_VERBATIM;
    for (int place = 0; place < parsed->count; place++) {
        int32_t kind = parsed->columns[place].kind;
        size_t bytes = kind == KIND_VERBATIM ? length / verbatims : length / (count > 16 ? count : 16);
        size_t rows = length / (count > 16 ? 16 * count : 256);
        if (kind != KIND_NULL && !gathered_begin(&parsed->gathered[place], kind_is_text(kind), bytes, rows))
            return false;
    }
    return true;
}

bool parsed_open(struct parsed *parsed, const struct spelled *columns, int64_t count, const char *text, size_t length,
                 int max_depth)
{
    const char *at = text, *end = text + length;
    *parsed = (struct parsed){.columns = columns, .settled = true, .culprit = -1};
    bool read = columns_valid(columns, count);
    for (int64_t place = 0; read && place < count; place++)
        read = columns[place].kind != KIND_REAL;
    if (!read) {
        parsed->complaint = "these are no columns";
        return false;
    }
    parsed->count = (int)count;
    parsed->gathered = calloc((size_t)count, sizeof *parsed->gathered);
    if (parsed->gathered == NULL || !keys_spell(&parsed->keys, columns, parsed->count) || !begin(parsed, length))
        parsed->complaint = no_memory;
    while (at < end && parsed->complaint == NULL) {
        const char *line_end = memchr(at, '\n', (size_t)(end - at));
        if (line_end == NULL) {
            parsed->complaint = "has no line feed at its end";
        } else if (read_line(parsed, at, line_end, max_depth)) {
            parsed->rows++;
            at = line_end + 1;
        }
    }
    for (int place = 0; parsed->gathered != NULL && place < parsed->count; place++) {
        const struct gathered *column = &parsed->gathered[place];
        if (column->values.failed || column->offsets.failed || column->valid.failed)
            parsed->complaint = no_memory;
    }
    return parsed->complaint == NULL;
}

void parsed_close(struct parsed *parsed)
{
    for (int place = 0; parsed->gathered != NULL && place < parsed->count; place++)
        gathered_free(&parsed->gathered[place]);
    free(parsed->gathered);
    keys_free(&parsed->keys);
}
