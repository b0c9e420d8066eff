/* The members of JSON texts: which there are, counted by what their values are, and the columns that they become. */
#ifndef PENSTOCK_MEMBERS_H
#define PENSTOCK_MEMBERS_H

#include "arrow.h"

/* Objects inside of each other whose members are looked at. What lies deeper is a value like any other. */
#define MEMBERS_DEEPEST 5
#define MOST_MEMBERS 10000

/* What becomes of a member. The values are part of the library's interface, as is all that follows. */
enum member_kind {
    MEMBER_OBJECT, /* its members are columns, or objects of such */
    MEMBER_BOOL,
    MEMBER_INT64,
    MEMBER_FLOAT64,
    MEMBER_TEXT,
    MEMBER_JSON, /* any value, as it is spelled */
    MEMBER_KINDS
};

/* What values are counted as. */
enum value_kind {
    VALUE_NULL,
    VALUE_BOOL,
    VALUE_INT64,   /* one that is exact as a float64 too */
    VALUE_LONG,    /* one that is not */
    VALUE_FLOAT64, /* exact as such, and no int64 */
    VALUE_NUMBER,  /* neither */
    VALUE_TEXT,
    VALUE_HALF, /* text with half a surrogate pair */
    VALUE_ARRAY,
    VALUE_OBJECT,
    VALUE_KINDS
};

/* A member of the texts, or of another one that stands before it in the list and is an object; it has the number `parent`
 * there, and the texts themselves have -1. */
struct member {
    const char *key; /* UTF-8 */
    int64_t key_length;
    int32_t parent, kind;
};

struct members_told {
    int64_t culprit; /* the row that is no JSON without white space, or -1 */
    int64_t nulls;   /* values that are null */
    /* Values that no column has, and so stay in the rest: whose member has none, whose type is another, which come again
     * in their object; empty objects; texts that are no object. */
    int64_t unknown, misfit, repeated, empty, whole;
};

/* All members, as a batch: `parent`, its row here or -1 for the texts themselves, which are row 0; `key`; and how many
 * values there are of each kind. More than `most` rows are refused. NULL, or what is wrong. */
const char *members_count(const struct arrow_array *texts, int64_t most, struct arrow_array *batch,
                          struct members_told *told);

/* A batch of one column for each member that is no object, and the rest, an object with all that is in none of them, or
 * null where that is nothing. `keeps_empty` leaves `{}` itself in the rest. */
const char *members_columns(const struct member *members, int64_t count, bool keeps_empty,
                            const struct arrow_array *texts, struct arrow_array *batch, struct members_told *told);

#endif
