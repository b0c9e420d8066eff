#include "json.h"

#define HIGH_SURROGATE(unit) (((unit) & 0xFC00) == 0xD800)
#define LOW_SURROGATE(unit) (((unit) & 0xFC00) == 0xDC00)

static int hex_digit(char byte)
{
    if (byte >= '0' && byte <= '9')
        return byte - '0';
    byte |= 0x20;
    return byte >= 'a' && byte <= 'f' ? byte - 'a' + 10 : -1;
}

/* The unit that four hex digits name, or -1. */
static int unit(const char *at, const char *end)
{
    int value = 0;
    if (end - at < 4)
        return -1;
    for (int place = 0; place < 4; place++) {
        int digit = hex_digit(at[place]);
        if (digit < 0)
            return -1;
        value = value << 4 | digit;
    }
    return value;
}

static inline bool plain(char byte)
{
    return (unsigned char)byte >= 0x20 && byte != '"' && byte != '\\';
}

/* The first byte from `at` that is not plain. */
static inline const char *skip_plain(const char *at, const char *end)
{
    while (end - at >= 8 && json_odd(word_at(at)) == 0)
        at += 8;
    while (at < end && plain(*at))
        at++;
    return at;
}

/* One escape, `at` behind its backslash: the code point (or lone surrogate) in `code`. */
static const char *escape(const char *at, const char *end, int *code)
{
    static const char letters[] = "\"\\/bfnrt", meant[] = "\"\\/\b\f\n\r\t";
    int low;
    if (at == end)
        return NULL;
    if (*at != 'u') {
        const char *known = *at ? strchr(letters, *at) : NULL;
        if (known == NULL)
            return NULL;
        *code = meant[known - letters];
        return at + 1;
    }
    *code = unit(at + 1, end);
    if (*code < 0)
        return NULL;
    at += 5;
    if (!HIGH_SURROGATE(*code) || end - at < 6 || at[0] != '\\' || at[1] != 'u')
        return at;
    low = unit(at + 2, end);
    if (low < 0 || !LOW_SURROGATE(low))
        return at;
    *code = 0x10000 + ((*code - 0xD800) << 10) + (low - 0xDC00);
    return at + 6;
}

static inline bool is_surrogate(int code)
{
    return code >= 0xD800 && code <= 0xDFFF;
}

static const char *skip_string(const char *at, const char *end, struct json_facts *facts)
{
    int code;
    if (at == end || *at != '"')
        return NULL;
    for (at++;;) {
        at = skip_plain(at, end);
        if (at == end)
            return NULL;
        if (*at == '"')
            return at + 1;
        if (*at != '\\')
            return NULL;
        at = escape(at + 1, end, &code);
        if (at == NULL)
            return NULL;
        facts->lone_surrogate |= is_surrogate(code);
    }
}

static const char *skip_digits(const char *at, const char *end)
{
    const char *begin = at;
    while (at < end && *at >= '0' && *at <= '9')
        at++;
    return at > begin ? at : NULL;
}

static const char *skip_number(const char *at, const char *end)
{
    if (*at == '-')
        at++;
    if (at < end && *at == '0')
        at++;
    else if ((at = skip_digits(at, end)) == NULL)
        return NULL;
    if (at < end && *at == '.' && (at = skip_digits(at + 1, end)) == NULL)
        return NULL;
    if (at < end && (*at | 0x20) == 'e') {
        at++;
        if (at < end && (*at == '+' || *at == '-'))
            at++;
        at = skip_digits(at, end);
    }
    return at;
}

static const char *skip_word(const char *at, const char *end, const char *word, size_t length)
{
    return (size_t)(end - at) >= length && memcmp(at, word, length) == 0 ? at + length : NULL;
}

static const char *skip_scalar(const char *at, const char *end, struct json_facts *facts)
{
    switch (*at) {
    case '"':
        return skip_string(at, end, facts);
    case 't':
        return skip_word(at, end, "true", 4);
    case 'f':
        return skip_word(at, end, "false", 5);
    case 'n':
        return skip_word(at, end, "null", 4);
    default:
        return skip_number(at, end);
    }
}

const char *json_value(const char *at, const char *end, struct json_facts *facts)
{
    char closing[JSON_DEEPEST]; /* the bracket that ends each level that is open */
    int depth = 0;
    for (;;) {
        if (at == end)
            return NULL;
        if (*at == '{' || *at == '[') {
            if (depth == JSON_DEEPEST)
                return NULL;
            closing[depth++] = *at == '{' ? '}' : ']';
            if (depth > facts->depth)
                facts->depth = depth;
            at++;
            if (at < end && *at == closing[depth - 1]) {
                at++;
                depth--;
            } else if (closing[depth - 1] == ']') {
                continue;
            } else {
                goto key;
            }
        } else if ((at = skip_scalar(at, end, facts)) == NULL) {
            return NULL;
        }
        while (depth > 0 && at < end && *at == closing[depth - 1]) {
            at++;
            depth--;
        }
        if (depth == 0)
            return at;
        if (at == end || *at++ != ',')
            return NULL;
        if (closing[depth - 1] == ']')
            continue;
    key:
        at = skip_string(at, end, facts);
        if (at == NULL || at == end || *at++ != ':')
            return NULL;
    }
}

static void put_code(struct text *text, int code)
{
    char *out = text->bytes + text->used;
    if (code < 0x80) {
        out[0] = (char)code;
        text->used += 1;
    } else if (code < 0x800) {
        out[0] = (char)(0xC0 | code >> 6);
        out[1] = (char)(0x80 | (code & 0x3F));
        text->used += 2;
    } else if (code < 0x10000) {
        out[0] = (char)(0xE0 | code >> 12);
        out[1] = (char)(0x80 | (code >> 6 & 0x3F));
        out[2] = (char)(0x80 | (code & 0x3F));
        text->used += 3;
    } else {
        out[0] = (char)(0xF0 | code >> 18);
        out[1] = (char)(0x80 | (code >> 12 & 0x3F));
        out[2] = (char)(0x80 | (code >> 6 & 0x3F));
        out[3] = (char)(0x80 | (code & 0x3F));
        text->used += 4;
    }
}

const char *json_string(const char *at, const char *end, struct text *text)
{
    int code;
    if (at == end || *at != '"')
        return NULL;
    for (at++;;) {
        const char *stop = skip_plain(at, end);
        text_put(text, at, (size_t)(stop - at));
        if (stop == end)
            return NULL;
        if (*stop == '"')
            return stop + 1;
        if (*stop != '\\')
            return NULL;
        at = escape(stop + 1, end, &code);
        if (at == NULL || is_surrogate(code))
            return NULL;
        put_code(text, code);
    }
}

/* A byte of a number or a word: two of them with white space between are two values. */
static bool is_word(char byte)
{
    return memchr(",:[]{}\"", byte, 7) == NULL;
}

/* Copy a string, `at` at its opening quote; returns what follows it, or NULL. */
static const char *copy_string(const char *at, const char *end, struct text *text)
{
    const char *begin = at++;
    for (at = skip_plain(at, end); at < end && *at != '"'; at = skip_plain(at, end)) {
        if (*at != '\\' || end - at < 2)
            return NULL;
        at += 2;
    }
    if (at == end)
        return NULL;
    text_put(text, begin, (size_t)(at + 1 - begin));
    return at + 1;
}

bool json_compact(const char *bytes, size_t length, struct text *text, struct json_facts *facts)
{
    const char *at = bytes, *end = bytes + length;
    size_t before = text->used;
    bool word = false, apart = false;
    *facts = (struct json_facts){0, false};
    if (json_value(at, end, facts) == end) {
        text_put(text, bytes, length);
        return true;
    }
    while (at != NULL && at < end) {
        if (json_space(*at)) {
            apart = true;
            at++;
            continue;
        }
        bool is = is_word(*at);
        if (is && word && apart)
            break;
        word = is;
        apart = false;
        if (*at == '"') {
            at = copy_string(at, end, text);
        } else {
            text_put(text, at, 1);
            at++;
        }
    }
    const char *begin = text->bytes + before, *stop = text->bytes + text->used;
    *facts = (struct json_facts){0, false};
    if (at == end && begin < stop && json_value(begin, stop, facts) == stop)
        return true;
    text->used = before;
    return false;
}

const char *json_member(const char *at, const char *end, struct text *name)
{
    struct json_facts facts = {0, false};
    at = json_string(at, end, name);
    return at == NULL || at == end || *at != ':' ? NULL : json_value(at + 1, end, &facts);
}
