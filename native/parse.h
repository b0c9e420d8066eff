/* NDJSON lines as rows.c writes them, back into columns.
 *
 * The reader is lenient where rendering the result again and comparing finds the difference (spelling of numbers, times
 * and escapes); it is strict where rendering copies: payloads are checked to be JSON without white space. */
#ifndef PENSTOCK_PARSE_H
#define PENSTOCK_PARSE_H

#include <stdbool.h>
#include <stdint.h>

#include "gathered.h"
#include "rows.h"

struct parsed {
    int count;
    struct rows shape; /* which columns, and how their keys are spelled */
    struct gathered columns[MOST_COLUMNS];
    int64_t rows;
    bool settled;          /* every payload is an object without lone surrogates, not nested deeper than `max_depth` */
    const char *complaint; /* what is wrong with line `rows`, or NULL */
    const char *culprit;   /* the column that is meant, or NULL */
    bool no_memory;
};

/* Choose the columns by their names, in their order. False if they are not those of an event. */
bool parsed_choose(struct parsed *parsed, int count, const char *const *names);
/* Read whole lines. Where it fails, `complaint` or `no_memory` is set. */
void parsed_read(struct parsed *parsed, const char *text, size_t length, int max_depth);
void parsed_free(struct parsed *parsed);

#endif
