/* What the rounds of the fuzzer share: chance that repeats, memory that runs out, and rows made up by chance. */
#ifndef PENSTOCK_FUZZ_H
#define PENSTOCK_FUZZ_H

#include "../penstock.h"

#define MOST_MADE 20

/* A number below `limit`, the same in every run of the same round. */
uint64_t chance(uint64_t limit);
/* Ends the process with an error unless it holds. */
#define check(holds) checked(holds, #holds, __LINE__)
void checked(bool holds, const char *what, int line);

/* So many more allocations succeed, then none until it is set anew; -1 lets all succeed. */
extern int64_t allocations_left;

/* Bytes with nothing behind them that may be read. */
struct piece {
    char *bytes;
    size_t length;
};
struct piece piece_of(const struct text *text);
/* UTF-8 with everything in it that must be escaped or quoted; JSON without white space. */
void put_words(struct text *text);
void put_json(struct text *text, int depth);
/* The names of its members. */
#define MADE_KEYS 5
extern const char *const made_keys[MADE_KEYS];
/* Put some of what JSON lines are made of, or of any bytes, in place of some of the text. */
struct piece mutated(const char *bytes, size_t length);

/* Columns, and rows of them. What it lends is released by whom it was lent to, which is checked. */
struct made {
    int count, lent;
    int64_t rows;
    struct spelled columns[MOST_MADE];
    struct piece names[MOST_MADE];
    struct arrow_schema schema, fields[MOST_MADE], *field_list[MOST_MADE];
    struct arrow_array array, children[MOST_MADE], *child_list[MOST_MADE];
    const void *buffers[MOST_MADE][3], *none[1];
};
void make(struct made *made);
void made_free(struct made *made);
struct arrow_schema *lend_schema(struct made *made);
struct arrow_array *lend_array(struct made *made);

/* Texts whose members are counted, and become columns. */
void members_round(void);

/* What a SQLite that is none hands out. */
struct sqlite3_value {
    int type;
    int64_t number;
    double real;
    struct piece text;
};
#define MOST_ENTRIES 256
/* Let the library be loaded by it, once. */
void load(void);
/* Its functions for cursors, each in its place. */
void serve_cursors(sqlite3_entry *entries);

/* Rows through that SQLite, into a sink, and out of a cursor; members of JSON by its function. */
void scan_round(void);
void pick_round(void);
void cursor_round(void);

#endif
