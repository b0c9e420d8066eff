/* What JSON text holds at a path: the one reading of it, for columns and for SQLite's function `penstock_at`. */
#ifndef PENSTOCK_PATH_H
#define PENSTOCK_PATH_H

#include "json.h"

enum wanted {
    WANTED_NUMBER, /* an integer of 64 bits, else the nearest finite double */
    WANTED_TEXT,   /* a string without lone surrogates */
    WANTED_TRUTH,  /* true or false */
    WANTED_ANY,    /* whether there is anything but null */
    WANTED_COUNT
};

enum found { FOUND_NOTHING, FOUND_INTEGER, FOUND_REAL, FOUND_TEXT, FOUND_NO_MEMORY };

/* What was found. Text lies in the JSON itself or in `room`. */
struct value {
    enum found found;
    int64_t integer; /* true is 1 */
    double real;
    const char *text;
    size_t length;
};

/* Whether a path is one: JSON without white space, an array of strings and whole numbers below 10^9. */
bool path_valid(const char *path, size_t length);

/* Follow a valid path. Of members of one name the first counts. Nothing is found in what is no JSON. `room` is kept from
 * call to call, and freed by whoever calls. */
struct value path_follow(const char *json, size_t length, const char *path, size_t path_length, int wanted,
                         struct text *room);

#endif
