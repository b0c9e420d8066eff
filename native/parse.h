/* NDJSON lines as rows.c writes them, back into columns.
 *
 * The reader is lenient where rendering the result again and comparing finds the difference (spelling of numbers, times
 * and escapes); it is strict where rendering copies: verbatim values are checked to be JSON without white space. */
#ifndef PENSTOCK_PARSE_H
#define PENSTOCK_PARSE_H

#include <stdbool.h>
#include <stdint.h>

#include "columns.h"
#include "gathered.h"

struct parsed {
    const struct spelled *columns;
    int count;
    struct keys keys;
    struct gathered *gathered;
    int64_t rows;
    bool settled;          /* every verbatim value is an object without lone surrogates, not deeper than `max_depth` */
    const char *complaint; /* what is wrong with line `rows`, or NULL */
    int culprit;           /* the column that is meant, or -1 */
};

/* Read whole lines with exactly these columns, which stay where they are until `parsed_close`, that is due in any case.
 * False, and a complaint, where it fails. */
bool parsed_open(struct parsed *parsed, const struct spelled *columns, int64_t count, const char *text, size_t length,
                 int max_depth);
void parsed_close(struct parsed *parsed);

#endif
