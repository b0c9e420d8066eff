#define _POSIX_C_SOURCE 200809L /* newlocale, uselocale */
#define _DARWIN_C_SOURCE

#include "path.h"

#include <locale.h>
#include <pthread.h>
#include <stdlib.h>
#ifdef __APPLE__
#include <xlocale.h>
#endif

#include "member_text.h"
#include "memory.h"
#include "number.h"
#include "real.h"

/* Digits of a number of an element. */
#define STEP_DIGITS 9
/* Numbers up to this length are read without memory of their own. */
#define SHORT_NUMBER 64

static locale_t plain_numbers;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void make_locale(void)
{
    plain_numbers = newlocale(LC_ALL_MASK, "C", (locale_t)0);
}

/* One step of a path, from `at` on: a name (decoded into `name`) or a number. What follows it, or NULL. */
static const char *take_step(const char *at, const char *end, struct text *name, int64_t *number)
{
    *number = -1;
    if (at < end && *at == '"') {
        name->used = 0;
        return text_reserve(name, (size_t)(end - at)) ? json_string(at, end, name) : NULL;
    }
    const char *begin = at;
    for (*number = 0; at < end && *at >= '0' && *at <= '9' && at - begin < STEP_DIGITS; at++)
        *number = *number * 10 + (*at - '0');
    return at > begin ? at : NULL;
}

bool path_valid(const char *path, size_t length)
{
    const char *at = path, *end = path + length;
    struct text name = {0};
    int64_t number;
    bool valid = length > 2 && *at++ == '[';
    while (valid) {
        at = take_step(at, end, &name, &number);
        valid = at != NULL && at < end && (*at == ',' || *at == ']');
        if (valid && *at++ == ']')
            break;
    }
    text_free(&name);
    return valid && at == end;
}

/* Where the value of the first member of this name begins, or NULL. The text is valid. */
static const char *member(const char *at, const char *end, const struct text *name, struct text *spare)
{
    struct json_facts facts = {0};
    const char *key;
    size_t length;
    if (*at++ != '{')
        return NULL;
    while (*at == '"') {
        at = read_key(at, end, spare, &key, &length);
        if (at == NULL)
            return NULL;
        if (key != NULL && length == name->used && (length == 0 || memcmp(key, name->bytes, length) == 0))
            return at;
        at = json_value(at, end, &facts);
        if (*at == ',')
            at++;
    }
    return NULL;
}

static const char *element(const char *at, const char *end, int64_t number)
{
    struct json_facts facts = {0};
    if (*at++ != '[' || *at == ']')
        return NULL;
    for (; number > 0; number--) {
        at = json_value(at, end, &facts);
        if (*at++ != ',')
            return NULL;
    }
    return at;
}

static bool blank(char byte)
{
    return byte == ' ' || byte == '\t' || byte == '\n' || byte == '\r';
}

static bool of_word(char byte)
{
    return (byte >= '0' && byte <= '9') || (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') ||
           byte == '+' || byte == '-' || byte == '.';
}

/* The text without white space outside strings, into `text`. False where that would join two words, or no memory. */
static bool compact(const char *at, size_t length, struct text *text)
{
    const char *end = at + length;
    bool inside = false, apart = false;
    text->used = 0;
    if (!text_reserve(text, length))
        return false;
    for (; at < end; at++) {
        if (!inside && blank(*at)) {
            apart = true;
            continue;
        }
        if (apart && text->used > 0 && of_word(*at) && of_word(text->bytes[text->used - 1]))
            return false;
        apart = false;
        if (*at == '"')
            inside = !inside;
        text_put(text, at, inside && *at == '\\' && at + 1 < end ? 2 : 1);
        at += inside && *at == '\\' && at + 1 < end;
    }
    return true;
}

static struct value real_of(const char *at, size_t length)
{
    struct value value = {.found = FOUND_NO_MEMORY};
    char few[SHORT_NUMBER + 1], *digits = length <= SHORT_NUMBER ? few : malloc(length + 1);
    pthread_once(&once, make_locale);
    if (digits == NULL || plain_numbers == (locale_t)0) {
        if (digits != few)
            free(digits);
        return value;
    }
    memcpy(digits, at, length);
    digits[length] = 0;
    locale_t before = uselocale(plain_numbers);
    value.real = strtod(digits, NULL);
    uselocale(before);
    if (digits != few)
        free(digits);
    value.found = real_finite(value.real) ? FOUND_REAL : FOUND_NOTHING;
    return value;
}

static struct value number_of(const char *at, const char *end)
{
    int64_t integer;
    if (number_int64(at, (size_t)(end - at), &integer))
        return (struct value){.found = FOUND_INTEGER, .integer = integer};
    return real_of(at, (size_t)(end - at));
}

static struct value text_of(const char *at, const char *end, struct text *room)
{
    size_t inside = (size_t)(end - at) - 2;
    if (memchr(at, '\\', (size_t)(end - at)) == NULL)
        return (struct value){.found = FOUND_TEXT, .text = at + 1, .length = inside};
    room->used = 0;
    if (!text_reserve(room, inside))
        return (struct value){.found = FOUND_NO_MEMORY};
    if (json_string(at, end, room) == NULL)
        return (struct value){0};
    return (struct value){.found = FOUND_TEXT, .text = room->bytes, .length = room->used};
}

static struct value value_of(const char *at, const char *end, int wanted, struct text *room)
{
    struct json_facts facts = {0};
    const char *behind = json_value(at, end, &facts);
    switch (wanted) {
    case WANTED_NUMBER:
        if (*at == '-' || (*at >= '0' && *at <= '9'))
            return number_of(at, behind);
        break;
    case WANTED_TEXT:
        if (*at == '"')
            return text_of(at, behind, room);
        break;
    case WANTED_TRUTH:
        if (*at == 't' || *at == 'f')
            return (struct value){.found = FOUND_INTEGER, .integer = *at == 't'};
        break;
    default:
        if (*at != 'n')
            return (struct value){.found = FOUND_INTEGER, .integer = 1};
    }
    return (struct value){0};
}

/* Follow the path in JSON that is compact. `names` is for the names of the path and the text. */
static struct value follow(const char *at, const char *end, const char *path, const char *path_end, int wanted,
                           struct text *room, struct text names[2])
{
    struct json_facts facts = {0};
    int64_t number;
    if (json_value(at, end, &facts) != end)
        return (struct value){0};
    for (path++; path < path_end; path++) { /* behind the bracket or a comma */
        path = take_step(path, path_end, &names[0], &number);
        if (path == NULL)
            return (struct value){.found = FOUND_NO_MEMORY};
        at = number < 0 ? member(at, end, &names[0], &names[1]) : element(at, end, number);
        if (at == NULL)
            return (struct value){.found = names[1].failed ? FOUND_NO_MEMORY : FOUND_NOTHING};
    }
    return value_of(at, end, wanted, room);
}

struct value path_follow(const char *json, size_t length, const char *path, size_t path_length, int wanted,
                         struct text *room)
{
    struct json_facts facts = {0};
    struct text names[2] = {{0}, {0}}, tight = {0};
    struct value value = {0};
    room->used = 0;
    if (length == 0)
        return value;
    if (json_value(json, json + length, &facts) != json + length) {
        /* what another program wrote may have white space */
        if (!compact(json, length, &tight) || tight.used == length || !text_reserve(room, length)) {
            value.found = tight.failed || room->failed ? FOUND_NO_MEMORY : FOUND_NOTHING;
            text_free(&tight);
            return value;
        }
        json = tight.bytes;
        length = tight.used;
    }
    value = length == 0 ? value
                        : follow(json, json + length, path, path + path_length, wanted, room, names);
    if (value.found == FOUND_TEXT && tight.bytes != NULL && value.text != room->bytes) {
        room->used = 0;
        text_put(room, value.text, value.length);
        value.text = room->bytes;
    }
    text_free(&names[0]);
    text_free(&names[1]);
    text_free(&tight);
    return value;
}
