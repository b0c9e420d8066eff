/* Checking and reading JSON text, which holds no white space but where it is said. */
#ifndef PENSTOCK_JSON_H
#define PENSTOCK_JSON_H

#include <stdbool.h>
#include <stddef.h>

#include "text.h"

struct json_facts {
    int depth;           /* deepest nesting of arrays and objects */
    bool lone_surrogate; /* an escape names half a pair */
};

/* The end of the value that begins at `at`, or NULL if there is none that is valid (RFC 8259), written without white
 * space, and nested less than JSON_DEEPEST. That the text is UTF-8 is not checked here. */
#define JSON_DEEPEST 1024
const char *json_value(const char *at, const char *end, struct json_facts *facts);

/* Put the content of the string that begins at `at` into `text`, which has room for it; returns what follows the closing
 * quote, or NULL. */
const char *json_string(const char *at, const char *end, struct text *text);

static inline bool json_space(char byte)
{
    return byte == ' ' || byte == '\t' || byte == '\n' || byte == '\r';
}

/* Put the one value that `bytes` hold, with white space between its parts or not, into `text` without it; there is room
 * for `length` bytes. False, and nothing put, where it is none that `json_value` takes. */
bool json_compact(const char *bytes, size_t length, struct text *text, struct json_facts *facts);

/* A member of an object, `at` at the quote of its name, which is put into `name`, that has room for it; returns what
 * follows the member, or NULL. */
const char *json_member(const char *at, const char *end, struct text *name);

#endif
