#include "parse.h"

#include "json.h"

#define MICROS_A_DAY (86400LL * 1000000)
#define MOST_DIGITS 19

bool parsed_choose(struct parsed *parsed, int count, const char *const *names)
{
    *parsed = (struct parsed){.count = count, .settled = true};
    return rows_choose(&parsed->shape, count, names);
}

static const char *read_text(const struct column *column, struct gathered *into, int64_t row, const char *at,
                             const char *end)
{
    bool present = end - at < 4 || memcmp(at, "null", 4) != 0;
    if (!column->nullable && !present)
        return NULL;
    if (column->nullable && !gathered_present(into, row, present))
        return NULL;
    if (!present)
        return at + 4;
    return gathered_room(into, (size_t)(end - at)) ? json_string(at, end, &into->values) : NULL;
}

static const char *read_payload(struct parsed *parsed, struct gathered *into, const char *at, const char *end,
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

/* `width` decimal digits, or -1. */
static int64_t number_of(const char *at, int width)
{
    int64_t value = 0;
    for (; width > 0; width--, at++) {
        if (*at < '0' || *at > '9')
            return -1;
        value = value * 10 + (*at - '0');
    }
    return value;
}

/* Days from 1970-01-01 in the Gregorian calendar extended backwards; see spell_day in text.c. */
static int64_t day_number(int64_t year, int64_t month, int64_t day)
{
    int64_t from_march = month > 2 ? month - 3 : month + 9, of_march = year - (month <= 2);
    int64_t era = of_march / 400, year_of_era = of_march % 400;
    return era * 146097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + (153 * from_march + 2) / 5 + day -
           1 - 719468;
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

static const char *read_value(struct parsed *parsed, int place, const char *at, const char *end, int max_depth)
{
    const struct column *column = &parsed->shape.columns[place];
    struct gathered *into = &parsed->columns[place];
    int64_t number = 0;
    switch (column->kind) {
    case KIND_TEXT:
        at = read_text(column, into, parsed->rows, at, end);
        return at != NULL && gathered_end(into) ? at : NULL;
    case KIND_JSON:
        at = read_payload(parsed, into, at, end, max_depth);
        return at != NULL && gathered_end(into) ? at : NULL;
    case KIND_NUMBER:
        at = read_number(at, end, &number);
        break;
    case KIND_TIME:
        at = read_time(at, end, &number);
        break;
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
        const struct column *column = &parsed->shape.columns[place];
        parsed->culprit = column->name;
        if ((size_t)(end - at) < column->key_length || memcmp(at, column->key, column->key_length) != 0) {
            parsed->complaint = "is not where it belongs";
            return false;
        }
        at = read_value(parsed, place, at + column->key_length, end, max_depth);
        if (at == NULL) {
            parsed->complaint = "has no value of its kind";
            return false;
        }
    }
    parsed->culprit = NULL;
    if (end - at == 1 && *at == '}')
        return true;
    parsed->complaint = "goes on behind its last member";
    return false;
}

void parsed_read(struct parsed *parsed, const char *text, size_t length, int max_depth)
{
    const char *at = text, *end = text + length;
    for (int place = 0; place < parsed->count; place++) {
        enum kind kind = parsed->shape.columns[place].kind;
        bool is_text = kind == KIND_TEXT || kind == KIND_JSON;
        if (!gathered_begin(&parsed->columns[place], is_text, kind == KIND_JSON ? length / 2 : length / 16, length / 256))
            parsed->no_memory = true;
    }
    while (at < end && !parsed->no_memory) {
        const char *line_end = memchr(at, '\n', (size_t)(end - at));
        if (line_end == NULL) {
            parsed->complaint = "has no line feed at its end";
            return;
        }
        if (!read_line(parsed, at, line_end, max_depth))
            break;
        parsed->rows++;
        at = line_end + 1;
    }
    for (int place = 0; place < parsed->count; place++) {
        const struct gathered *column = &parsed->columns[place];
        parsed->no_memory |= column->values.failed || column->offsets.failed || column->valid.failed;
    }
}

void parsed_free(struct parsed *parsed)
{
    for (int place = 0; place < parsed->count; place++)
        gathered_free(&parsed->columns[place]);
}
