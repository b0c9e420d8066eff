#include "gather.h"

#include <stdlib.h>

#include "json.h"
#include "moment.h"
#include "real.h"

#define DEEPEST_PAYLOAD 500
#define MOST_GATHERS (1 << 15)
#define MOST_DIGITS 76
/* Room for any number, and for a decimal of MOST_DIGITS. */
#define TEXT_DECIMAL 80
#define SUFFIX "_column"

const struct spelled note_columns[NOTE_COLUMNS] = {
    [NOTE_ROW] = {.kind = KIND_INT64},
    [NOTE_COLUMN] = {.kind = KIND_INT64},
    [NOTE_WHAT] = {.kind = KIND_INT64},
    [NOTE_STORAGE] = {.kind = KIND_INT64},
    [NOTE_SHOWN] = {.kind = KIND_TEXT, .nullable = true},
};

/* One value of the row, looked at once. */
struct value {
    int type;
    int64_t integer;
    double real;
    const char *bytes; /* of text and blobs */
    size_t length;
};

static struct value value_of(sqlite3_value *from)
{
    struct value value = {.type = sqlite3_value_type(from), .bytes = ""};
    switch (value.type) {
    case SQLITE_INTEGER:
        value.integer = sqlite3_value_int64(from);
        break;
    case SQLITE_FLOAT:
        value.real = sqlite3_value_double(from);
        break;
    case SQLITE_TEXT:
    case SQLITE_BLOB:
        value.length = (size_t)sqlite3_value_bytes(from); /* first: it makes UTF-8 of UTF-16 */
        if (value.length > 0)
            value.bytes = sqlite3_value_blob(from);
        break;
    }
    return value;
}

static bool kind_is_member(int32_t kind)
{
    return kind == GATHER_MEMBER;
}

bool gathers_valid(const struct gather *columns, int64_t count)
{
    if (count < 1 || count > MOST_GATHERS)
        return false;
    bool open = false;
    for (int64_t at = 0; at < count; at++) {
        const struct gather *column = &columns[at];
        if (column->kind < 0 || column->kind >= GATHER_COUNT || column->unit < 0 || column->unit >= UNIT_COUNT ||
            column->precision < 0 || column->precision > MOST_DIGITS || column->scale < 0 ||
            column->scale > column->precision || column->name_length < 0 || column->name_length > INT32_MAX)
            return false;
        if (kind_is_member(column->kind) && !open)
            return false;
        open = kind_is_member(column->kind) || column->kind == GATHER_PAYLOAD || column->kind == GATHER_OBJECT;
    }
    return true;
}

static bool is_number(int32_t kind)
{
    return kind == GATHER_INT64 || kind == GATHER_FLOAT64 || kind == GATHER_BOOL || kind == GATHER_TIME;
}

/* A bit of 64 for a name; names with different bits are different. */
static uint64_t mark_of(const char *name, size_t length)
{
    unsigned first = length == 0 ? 0 : (unsigned char)name[0], last = length == 0 ? 0 : (unsigned char)name[length - 1];
    return 1ULL << ((length * 7 + first * 5 + last * 3) % 64);
}

bool rows_made_open(struct rows_made *made, const struct gather *columns, int count)
{
    *made = (struct rows_made){.columns = columns, .count = count};
    made->ends = malloc((size_t)count * sizeof *made->ends);
    made->layout = calloc((size_t)count, sizeof *made->layout);
    made->gathered = calloc((size_t)count, sizeof *made->gathered);
    if (made->ends == NULL || made->layout == NULL || made->gathered == NULL)
        return false;
    for (int at = 0; at < count; at++) {
        size_t length = (size_t)columns[at].name_length;
        made->values += columns[at].kind != GATHER_OBJECT;
        if (kind_is_member(columns[at].kind)) {
            if (!text_reserve(&made->keys, 6 * length + 4))
                return false;
            text_put(&made->keys, ",\"", 2);
            text_json(&made->keys, columns[at].name, length);
            text_put(&made->keys, "\":", 2);
            made->member_marks |= mark_of(columns[at].name, length);
        } else {
            made->layout[made->outputs++] = (struct spelled){
                .kind = is_number(columns[at].kind) ? KIND_INT64 : KIND_TEXT,
                .nullable = true,
            };
        }
        made->ends[at] = made->keys.used;
    }
    return true;
}

bool rows_made_begin(struct rows_made *made, int64_t rows, int64_t bytes)
{
    int texts = 0;
    for (int at = 0; at < made->outputs; at++) {
        gathered_free(&made->gathered[at]);
        texts += made->layout[at].kind == KIND_TEXT;
    }
    for (int at = 0; at < made->outputs; at++) {
        bool text = made->layout[at].kind == KIND_TEXT;
        size_t room = text ? (size_t)(bytes / texts) : (size_t)rows * sizeof(int64_t);
        if (!gathered_begin(&made->gathered[at], text, room, (size_t)rows))
            return false;
    }
    for (int at = 0; at < NOTE_COLUMNS; at++) {
        gathered_free(&made->notes[at]);
        if (!gathered_begin(&made->notes[at], note_columns[at].kind == KIND_TEXT, 0, 0))
            return false;
    }
    made->rows = made->note_count = made->shown = 0;
    return true;
}

void rows_made_free(struct rows_made *made)
{
    for (int at = 0; made->gathered != NULL && at < made->count; at++)
        gathered_free(&made->gathered[at]);
    for (int at = 0; at < NOTE_COLUMNS; at++)
        gathered_free(&made->notes[at]);
    text_free(&made->keys);
    text_free(&made->scratch);
    text_free(&made->own);
    free(made->gathered);
    free(made->layout);
    free(made->ends);
}

/* The value as somebody reads it. */
static bool show(struct gathered *into, const struct value *value, size_t most)
{
    size_t length = value->length < most ? value->length : most;
    if (!gathered_room(into, length > TEXT_REAL ? length : TEXT_REAL))
        return false;
    if (value->type == SQLITE_INTEGER)
        text_number(&into->values, value->integer);
    else if (value->type == SQLITE_FLOAT)
        text_real(&into->values, value->real);
    else
        text_put(&into->values, value->bytes, length);
    return true;
}

static bool note(struct rows_made *made, int at, enum note what, const struct value *value)
{
    struct gathered *notes = made->notes, *shown = &notes[NOTE_SHOWN];
    bool time = made->columns[at].kind == GATHER_TIME;
    bool show_it = what == NOTE_MISFIT && (time || made->shown < MOST_SHOWN);
    if (show_it && !show(shown, value, time ? SIZE_MAX : LONGEST_SHOWN))
        return false;
    made->shown += show_it && !time;
    return gathered_number(&notes[NOTE_ROW], made->rows) && gathered_number(&notes[NOTE_COLUMN], at) &&
           gathered_number(&notes[NOTE_WHAT], what) && gathered_number(&notes[NOTE_STORAGE], value->type) &&
           gathered_present(shown, made->note_count++, show_it) && gathered_end(shown);
}

static bool infinite(const struct value *value)
{
    return value->type == SQLITE_FLOAT && !real_finite(value->real);
}

static void put_number(struct text *text, const struct value *value)
{
    if (value->type == SQLITE_INTEGER)
        text_number(text, value->integer);
    else
        text_real(text, value->real);
}

static bool put_quoted(struct text *text, const char *bytes, size_t length)
{
    bool plain = json_plain(bytes, length);
    if (!text_reserve(text, (plain ? length : 6 * length) + 2))
        return false;
    text_put(text, "\"", 1);
    if (plain)
        text_put(text, bytes, length);
    else
        text_json(text, bytes, length);
    text_put(text, "\"", 1);
    return true;
}

static bool put_base64(struct text *text, const struct value *value, const char *quote)
{
    if (!text_reserve(text, TEXT_BASE64(value->length) + 2))
        return false;
    text_put(text, quote, strlen(quote));
    text_base64(text, value->bytes, value->length);
    text_put(text, quote, strlen(quote));
    return true;
}

/* Any value, quoted as JSON or plain; what had to be done to it in `noted`. */
static bool put_any(struct text *text, const struct value *value, bool json, enum note *noted)
{
    const char *quote = json ? "\"" : "";
    if (!text_reserve(text, TEXT_REAL + 4))
        return false;
    switch (value->type) {
    case SQLITE_NULL:
        text_put(text, "null", 4);
        return true;
    case SQLITE_TEXT:
        if (utf8_valid((const uint8_t *)value->bytes, value->length)) {
            if (json)
                return put_quoted(text, value->bytes, value->length);
            if (!text_reserve(text, value->length))
                return false;
            text_put(text, value->bytes, value->length);
            return true;
        }
        *noted = NOTE_INVALID_UTF8;
        return put_base64(text, value, quote);
    case SQLITE_BLOB:
        *noted = NOTE_BLOB;
        return put_base64(text, value, quote);
    }
    if (json && infinite(value)) {
        const char *word = value->real < 0 ? "\"-Infinity\"" : "\"Infinity\"";
        *noted = NOTE_INFINITE;
        text_put(text, word, strlen(word));
    } else {
        put_number(text, value);
    }
    return true;
}

/* An object of one member that is JSON already, or that will be quoted. */
static bool wrap(struct text *text, const struct gather *column, const char *bytes, size_t length, bool quoted)
{
    if (!text_reserve(text, 6 * (size_t)column->name_length + length + 5))
        return false;
    text_put(text, "{\"", 2);
    text_json(text, column->name, (size_t)column->name_length);
    text_put(text, "\":", 2);
    if (!quoted)
        text_put(text, bytes, length);
    else if (!put_quoted(text, bytes, length))
        return false;
    if (!text_reserve(text, 1))
        return false;
    text_put(text, "}", 1);
    return true;
}

static bool begins_object(const struct value *value)
{
    size_t at = 0;
    while (at < value->length && json_space(value->bytes[at]))
        at++;
    return at < value->length && value->bytes[at] == '{';
}

/* What is JSON in a text or blob, less its white space, put into `text`; false, and nothing put, where it is none. */
static bool put_compact(struct text *text, const struct value *value, int deepest)
{
    struct json_facts facts = {0, false};
    size_t before = text->used;
    if (!text_reserve(text, value->length) || !utf8_valid((const uint8_t *)value->bytes, value->length))
        return false;
    if (json_compact(value->bytes, value->length, text, &facts) && !facts.lone_surrogate && facts.depth <= deepest)
        return true;
    text->used = before;
    return false;
}

static bool put_payload(struct rows_made *made, struct text *text, const struct gather *column,
                        const struct value *value, enum note *noted)
{
    bool object = false;
    if (value->type == SQLITE_NULL) {
        if (!text_reserve(text, 2))
            return false;
        text_put(text, "{}", 2);
        return true;
    }
    made->scratch.used = 0;
    if (value->type == SQLITE_TEXT || value->type == SQLITE_BLOB) {
        object = begins_object(value);
        if (object && put_compact(text, value, DEEPEST_PAYLOAD))
            return true;
        if (text->failed)
            return false;
        if (value->type == SQLITE_TEXT && !object && put_compact(&made->scratch, value, DEEPEST_PAYLOAD - 1)) {
            *noted = NOTE_NOT_OBJECT;
            return wrap(text, column, made->scratch.bytes, made->scratch.used, false);
        }
    }
    if (!put_any(&made->scratch, value, false, noted))
        return false;
    bool number = value->type == SQLITE_INTEGER || (value->type == SQLITE_FLOAT && !infinite(value));
    if (*noted == NOTE_NONE)
        *noted = number ? NOTE_NOT_OBJECT : NOTE_NOT_JSON;
    return wrap(text, column, made->scratch.bytes, made->scratch.used, !number);
}

/* Digits with exactly `scale` behind the point, as far as they fit. */
static bool put_decimal(struct text *text, const struct gather *column, const char *at, size_t length)
{
    const char *end = at + length, *point;
    bool negative = length > 0 && *at == '-';
    if (length > 0 && (*at == '-' || *at == '+'))
        at++;
    const char *begin = at;
    while (at < end && *at >= '0' && *at <= '9')
        at++;
    int64_t whole = (point = at) - begin;
    if (at < end && *at == '.')
        at++;
    const char *fraction = at;
    while (at < end && *at >= '0' && *at <= '9')
        at++;
    if (at != end || whole + (at - fraction) == 0)
        return false;
    while (begin < point && *begin == '0')
        begin++;
    while (end > fraction && end[-1] == '0')
        end--;
    if (point - begin > column->precision - column->scale || end - fraction > column->scale)
        return false;
    text_put(text, "-", negative);
    text_put(text, begin == point ? "0" : begin, begin == point ? 1 : (size_t)(point - begin));
    if (column->scale > 0) {
        text_put(text, ".", 1);
        text_put(text, fraction, (size_t)(end - fraction));
        for (int64_t left = column->scale - (end - fraction); left > 0; left--)
            text_put(text, "0", 1);
    }
    return true;
}

/* A value that a decimal column can hold, spelled so. */
static bool put_exact(struct text *text, const struct gather *column, const struct value *value)
{
    char digits[24];
    if (value->type == SQLITE_TEXT)
        return put_decimal(text, column, value->bytes, value->length);
    struct text spelled = {.bytes = digits, .room = sizeof digits};
    if (value->type == SQLITE_INTEGER) {
        text_number(&spelled, value->integer);
        return put_decimal(text, column, digits, spelled.used);
    }
    if (value->type != SQLITE_FLOAT || infinite(value))
        return false;
    struct decimal decimal = decimal_of(value->real);
    char shifted[20 + 2 * MOST_DIGITS];
    if (decimal.exponent > MOST_DIGITS || decimal.exponent < -MOST_DIGITS)
        return false;
    int count = digits_of(decimal.digits, digits), used = 0, before = count + decimal.exponent;
    if (decimal.negative && count > 0)
        shifted[used++] = '-';
    for (int at = before < 0 ? before : 0; at < count || at < before; at++) {
        if (at == before)
            shifted[used++] = '.';
        shifted[used++] = at < 0 || at >= count ? '0' : digits[at];
    }
    if (count == 0)
        shifted[used++] = '0';
    return put_decimal(text, column, shifted, (size_t)used);
}

/* An id or a session. */
static bool put_id(struct rows_made *made, int at, struct text *text, const struct value *value, enum note *noted,
                   bool *present)
{
    size_t before = text->used;
    if (!put_any(text, value, false, noted))
        return false;
    size_t length = text->used - before;
    *present = length > 0 && length <= LONGEST_ID && !text_controls(text->bytes + before, length);
    if (*present)
        return true;
    text->used = before;
    if (length == 0)
        return note(made, at, NOTE_EMPTY, value);
    *noted = NOTE_MISFIT;
    return true;
}

/* Put a text into its column where the value is one of its kind; else it is null, for a reason. */
static bool put_text(struct rows_made *made, int at, struct text *text, const struct value *value, enum note *noted,
                     bool *present)
{
    const struct gather *column = &made->columns[at];
    bool is_text = value->type == SQLITE_TEXT, number = value->type == SQLITE_INTEGER || value->type == SQLITE_FLOAT;
    size_t before = text->used;
    switch (column->kind) {
    case GATHER_ANY:
        return put_any(text, value, true, noted);
    case GATHER_NAMED:
    case GATHER_PLAIN:
        if (column->kind == GATHER_NAMED && number)
            *noted = NOTE_NUMBER;
        return put_any(text, value, false, noted);
    case GATHER_ID:
        return put_id(made, at, text, value, noted, present);
    case GATHER_PAYLOAD:
        return put_payload(made, text, column, value, noted);
    case GATHER_BINARY:
        if (value->type != SQLITE_BLOB)
            break;
        text_put(text, value->bytes, value->length);
        return true;
    case GATHER_DECIMAL:
        if (!put_exact(text, column, value))
            break;
        return true;
    case GATHER_JSON:
        if (infinite(value)) {
            *noted = NOTE_INFINITE;
            *present = false;
            return true;
        }
        if (number) {
            put_number(text, value);
            return true;
        }
        if (!is_text || !put_compact(text, value, DEEPEST_PAYLOAD))
            break;
        if (text->used - before == 4 && memcmp(text->bytes + before, "null", 4) == 0) {
            text->used = before;
            *noted = NOTE_JSON_NULL;
            *present = false;
        }
        return true;
    default: /* text */
        if (!is_text || memchr(value->bytes, '\0', value->length) != NULL ||
            !utf8_valid((const uint8_t *)value->bytes, value->length))
            break;
        text_put(text, value->bytes, value->length);
        return true;
    }
    *noted = NOTE_MISFIT;
    *present = false;
    return true;
}

static enum note put_fixed(const struct gather *column, const struct value *value, int64_t *number)
{
    bool is_integer = value->type == SQLITE_INTEGER, cut = false, fits = false;
    double real = value->type == SQLITE_FLOAT ? value->real : (double)value->integer;
    switch (column->kind) {
    case GATHER_INT64:
        fits = is_integer;
        *number = value->integer;
        break;
    case GATHER_BOOL:
        fits = is_integer && (value->integer == 0 || value->integer == 1);
        *number = value->integer;
        break;
    case GATHER_FLOAT64:
        if (infinite(value))
            return NOTE_INFINITE;
        fits = value->type == SQLITE_FLOAT ||
               (is_integer && real < 9223372036854775808.0 && (int64_t)real == value->integer);
        memcpy(number, &real, sizeof real);
        break;
    default:
        if (is_integer)
            fits = moment_of_integer(value->integer, (enum unit)column->unit, number, &cut);
        else if (value->type == SQLITE_FLOAT)
            fits = moment_of_real(value->real, (enum unit)column->unit, number);
        else if (value->type == SQLITE_TEXT)
            fits = moment_of_text(value->bytes, value->length, (enum unit)column->unit, number, &cut);
    }
    return !fits ? NOTE_MISFIT : cut ? NOTE_CUT : NOTE_NONE;
}

/* Whether a name is one that the object has itself: `own` holds its names, each with a length before it. */
static bool is_own(const struct text *own, const char *name, size_t length)
{
    for (size_t at = 0; at < own->used;) {
        size_t each;
        memcpy(&each, own->bytes + at, sizeof each);
        at += sizeof each;
        if (each == length && memcmp(own->bytes + at, name, length) == 0)
            return true;
        at += each;
    }
    return false;
}

static bool is_member(const struct rows_made *made, int object, const char *name, size_t length)
{
    for (int at = object + 1; at < made->count && kind_is_member(made->columns[at].kind); at++)
        if ((size_t)made->columns[at].name_length == length && memcmp(made->columns[at].name, name, length) == 0)
            return true;
    return false;
}

static bool own_add(struct text *own, const char *name, size_t length)
{
    if (!text_reserve(own, sizeof length + length))
        return false;
    text_put(own, (const char *)&length, sizeof length);
    text_put(own, name, length);
    return true;
}

/* The names of an object's own members into `own`, unless none can be a column's too. False without memory. */
static bool own_names(struct rows_made *made, const char *object, size_t length)
{
    const char *at = object + 1, *end = object + length;
    bool suspect = false;
    made->own.used = 0;
    while (at < end && *at == '"') {
        made->scratch.used = 0;
        if (!text_reserve(&made->scratch, (size_t)(end - at)))
            return false;
        at = json_member(at, end, &made->scratch);
        if (at == NULL || !own_add(&made->own, made->scratch.bytes, made->scratch.used))
            return false;
        suspect |= (mark_of(made->scratch.bytes, made->scratch.used) & made->member_marks) != 0;
        at += at < end && *at == ',';
    }
    if (!suspect)
        made->own.used = 0;
    return true;
}

/* The key of a member whose name the object has already: the name with as many endings as make it new. */
static bool put_renamed(struct rows_made *made, int object, int at, struct text *text)
{
    const struct gather *column = &made->columns[at];
    struct text *name = &made->scratch;
    name->used = 0;
    if (!text_reserve(name, (size_t)column->name_length))
        return false;
    text_put(name, column->name, (size_t)column->name_length);
    do {
        if (!text_reserve(name, sizeof SUFFIX))
            return false;
        text_put(name, SUFFIX, sizeof SUFFIX - 1);
    } while (is_own(&made->own, name->bytes, name->used) || is_member(made, object, name->bytes, name->used));
    if (!own_add(&made->own, name->bytes, name->used) || !text_reserve(text, 6 * name->used + 4))
        return false;
    text_put(text, ",\"", 2);
    text_json(text, name->bytes, name->used);
    text_put(text, "\":", 2);
    return true;
}

/* One more member behind the object that `text` ends with, which begins at `begin`. */
static bool put_member(struct rows_made *made, int object, int at, size_t begin, struct text *text,
                       const struct value *value)
{
    const struct gather *column = &made->columns[at];
    enum note noted = NOTE_NONE;
    size_t first = made->ends[at - 1], length = made->ends[at] - first;
    bool renamed = made->own.used > 0 && is_own(&made->own, column->name, (size_t)column->name_length);
    text->used--; /* the brace */
    if (renamed) {
        if (!put_renamed(made, object, at, text) || !note(made, at, NOTE_RENAMED, value))
            return false;
    } else {
        bool alone = text->used == begin + 1; /* no comma before the first */
        if (!text_reserve(text, length))
            return false;
        text_put(text, made->keys.bytes + first + alone, length - alone);
    }
    if (!put_any(text, value, true, &noted) || !text_reserve(text, 1))
        return false;
    text_put(text, "}", 1);
    return noted == NOTE_NONE || note(made, at, noted, value);
}

/* The members that follow an object; `*next` is the next value of the query. */
static bool put_members(struct rows_made *made, int object, size_t begin, struct text *text, sqlite3_value ***next)
{
    bool members = object + 1 < made->count && kind_is_member(made->columns[object + 1].kind);
    made->own.used = 0;
    if (members && text->used - begin > 2 && !own_names(made, text->bytes + begin, text->used - begin))
        return false;
    for (int at = object + 1; at < made->count && kind_is_member(made->columns[at].kind); at++) {
        struct value value = value_of(*(*next)++);
        if (value.bytes == NULL || !put_member(made, object, at, begin, text, &value))
            return false;
    }
    return true;
}

/* A column of text; `*next` is the query's next value. */
static bool add_text(struct rows_made *made, int at, struct gathered *into, sqlite3_value ***next)
{
    const struct gather *column = &made->columns[at];
    struct text *text = &into->values;
    size_t begin = text->used;
    bool present = true, object = column->kind == GATHER_OBJECT || column->kind == GATHER_PAYLOAD;
    enum note noted = NOTE_NONE;
    if (column->kind == GATHER_OBJECT) {
        if (!text_reserve(text, 2))
            return false;
        text_put(text, "{}", 2);
    } else {
        struct value value = value_of(*(*next)++);
        if (value.bytes == NULL || !text_reserve(text, value.length + TEXT_DECIMAL))
            return false;
        present = value.type != SQLITE_NULL || object || column->kind == GATHER_ANY;
        if (present && (!put_text(made, at, text, &value, &noted, &present) || text->failed || made->scratch.failed))
            return false;
        if (noted != NOTE_NONE && !note(made, at, noted, &value))
            return false;
    }
    if (object && !put_members(made, at, begin, text, next))
        return false;
    return gathered_present(into, made->rows, present) && gathered_end(into);
}

bool rows_made_add(struct rows_made *made, sqlite3_value **values)
{
    struct gathered *into = made->gathered;
    for (int at = 0; at < made->count; at++) {
        if (kind_is_member(made->columns[at].kind))
            continue; /* went into its object */
        if (!is_number(made->columns[at].kind)) {
            if (!add_text(made, at, into++, &values))
                return false;
            continue;
        }
        struct value value = value_of(*values++);
        int64_t number = 0;
        enum note noted = NOTE_NONE;
        bool present = value.type != SQLITE_NULL;
        if (value.bytes == NULL)
            return false;
        if (present)
            noted = put_fixed(&made->columns[at], &value, &number);
        present = present && (noted == NOTE_NONE || noted == NOTE_CUT);
        if (noted != NOTE_NONE && !note(made, at, noted, &value))
            return false;
        if (!gathered_present(into, made->rows, present) || !gathered_number(into, present ? number : 0))
            return false;
        into++;
    }
    made->rows++;
    return true;
}
