#include "members.h"

#include <stdlib.h>

#include "member_text.h"
#include "memory.h"
#include "number.h"
#include "tree.h"

static const char no_members[] = "these are no members";

/* The rest of a row in the making: of the objects that are open, which have begun there, behind what name, and whether
 * something stands in them already. */
struct level {
    const char *name; /* as it stands in the text, with quotes and colon */
    size_t length;
    bool begun, filled;
};

struct columns {
    struct tree tree;
    struct text scratch;
    struct gathered *gathered; /* the rest is the last */
    struct spelled *spelled;
    int32_t *kinds, *places; /* of each node: what it is, and which column */
    int64_t *ends;           /* of each column of text: the rows whose offsets are there */
    int count;
    int64_t row, rows;
    struct level levels[MEMBERS_DEEPEST + 1];
    struct members_told told;
};

static bool put_zeros(struct text *text, size_t count)
{
    if (count == 0)
        return true;
    if (!text_reserve(text, count))
        return false;
    memset(text->bytes + text->used, 0, count);
    text->used += count;
    return true;
}

/* Room for a column whose every row is null until it is said otherwise. */
static bool column_begin(struct columns *into, int column, int32_t kind)
{
    struct gathered *gathered = &into->gathered[column];
    size_t rows = (size_t)into->rows, bits = (rows + 7) / 8;
    bool text = kind == MEMBER_TEXT || kind == MEMBER_JSON;
    into->spelled[column].kind = text ? KIND_TEXT : KIND_INT64;
    gathered->nulls = into->rows;
    if (!put_zeros(&gathered->valid, bits))
        return false;
    if (text)
        return gathered_begin(gathered, true, 0, rows);
    return put_zeros(&gathered->values, kind == MEMBER_BOOL ? bits : rows * sizeof(int64_t));
}

static inline void set_bit(char *bits, int64_t row)
{
    bits[row >> 3] |= (char)(1 << (row & 7));
}

static inline void present(struct columns *into, int column)
{
    set_bit(into->gathered[column].valid.bytes, into->row);
    into->gathered[column].nulls--;
}

/* The text of this row ends where `values` ends now, and those of the rows between are empty. */
static void text_ends(struct columns *into, int column, int64_t rows, int32_t before)
{
    struct text *offsets = &into->gathered[column].offsets;
    int32_t end = (int32_t)into->gathered[column].values.used;
    int32_t *at = (int32_t *)offsets->bytes;
    for (int64_t row = into->ends[column]; row < rows; row++)
        at[row + 1] = before;
    if (rows < into->rows)
        at[rows + 1] = end;
    into->ends[column] = rows + 1;
}

static bool put_text(struct columns *into, int column, const char *at, const char *end, bool decoded)
{
    struct gathered *gathered = &into->gathered[column];
    int32_t before = (int32_t)gathered->values.used;
    if (!text_reserve(&gathered->values, (size_t)(end - at)))
        return false;
    if (decoded)
        json_string(at, end, &gathered->values);
    else
        text_put(&gathered->values, at, (size_t)(end - at));
    text_ends(into, column, into->row, before);
    present(into, column);
    return true;
}

/* Put a value into its column. False if it is of another type, or without memory, which the column tells. */
static bool put_value(struct columns *into, int32_t number, const char *at, const char *end, bool half)
{
    int column = into->places[number];
    int64_t whole;
    double real;
    char *values = into->gathered[column].values.bytes;
    switch (into->kinds[number]) {
    case MEMBER_BOOL:
        if (*at != 't' && *at != 'f')
            return false;
        if (*at == 't')
            set_bit(values, into->row);
        break;
    case MEMBER_INT64:
        if (!number_int64(at, (size_t)(end - at), &whole))
            return false;
        memcpy(values + into->row * 8, &whole, sizeof whole);
        break;
    case MEMBER_FLOAT64:
        if ((*at != '-' && (*at < '0' || *at > '9')) || !number_float64(at, (size_t)(end - at), &real))
            return false;
        memcpy(values + into->row * 8, &real, sizeof real);
        break;
    case MEMBER_TEXT:
        return *at == '"' && !half && put_text(into, column, at, end, true);
    default:
        return put_text(into, column, at, end, false);
    }
    present(into, column);
    return true;
}

/* Leave what lies between `at` and `end`, a member or a text that is no object, in the rest. There is room. */
static void keep(struct columns *into, int depth, const char *at, const char *end)
{
    struct text *rest = &into->gathered[into->count - 1].values;
    for (int open = 0; open <= depth; open++) {
        struct level *level = &into->levels[open];
        if (level->begun)
            continue;
        if (open > 0 && into->levels[open - 1].filled)
            text_put(rest, ",", 1);
        if (open > 0)
            into->levels[open - 1].filled = true;
        text_put(rest, level->name, level->length);
        text_put(rest, "{", 1);
        level->begun = true;
    }
    if (into->levels[depth].filled)
        text_put(rest, ",", 1);
    into->levels[depth].filled = true;
    text_put(rest, at, (size_t)(end - at));
}

static const char *put_members(struct columns *into, int32_t number, int depth, const char *at, const char *end);

/* One member of an object: its end, or NULL. `name` is where it begins, `value` where its value does. */
static const char *put_member(struct columns *into, int32_t child, int depth, const char *name, const char *value,
                              const char *end)
{
    struct node *node = child == NOWHERE ? NULL : tree_node(&into->tree, child);
    bool object = node != NULL && into->kinds[child] == MEMBER_OBJECT, half;
    int64_t *kept = node == NULL ? &into->told.unknown : node->row == into->row ? &into->told.repeated : NULL;
    if (kept == NULL)
        node->row = into->row;
    if (kept == NULL && object && end - value >= 2 && *value == '{' && value[1] != '}') {
        into->levels[depth + 1] = (struct level){.name = name, .length = (size_t)(value - name)};
        value = put_members(into, child, depth + 1, value + 1, end);
        if (value != NULL && into->levels[depth + 1].begun)
            text_put(&into->gathered[into->count - 1].values, "}", 1);
        return value;
    }
    const char *behind = skip(value, end, &half);
    if (behind == NULL)
        return NULL;
    if (kept == NULL && *value == 'n')
        into->told.nulls++;
    else if (kept == NULL && object)
        kept = *value == '{' ? &into->told.empty : &into->told.misfit;
    else if (kept == NULL && !put_value(into, child, value, behind, half))
        kept = &into->told.misfit;
    if (kept != NULL) {
        (*kept)++;
        keep(into, depth, name, behind);
    }
    return behind;
}

/* The members of an object that has some, `at` behind its brace: what follows the brace that ends it, or NULL. */
static const char *put_members(struct columns *into, int32_t number, int depth, const char *at, const char *end)
{
    int32_t before = NOWHERE;
    for (;;) {
        const char *key;
        size_t length;
        const char *value = read_key(at, end, &into->scratch, &key, &length);
        if (value == NULL)
            return NULL;
        int32_t child = key == NULL ? NOWHERE : tree_find(&into->tree, number, before, key, length);
        if (child != NOWHERE)
            before = child;
        at = put_member(into, child, depth, at, value, end);
        if (at == NULL || at == end)
            return NULL;
        if (*at == '}')
            return at + 1;
        if (*at++ != ',')
            return NULL;
    }
}

/* One text. False if it is no JSON, or without memory. */
static bool put_row(struct columns *into, const char *text, size_t length, bool keeps_empty)
{
    const char *end = text + length, *behind;
    struct gathered *rest = &into->gathered[into->count - 1];
    int32_t before = (int32_t)rest->values.used;
    bool half;
    if (!text_reserve(&rest->values, length))
        return false;
    into->levels[0] = (struct level){.name = ""};
    if (length > 2 && *text == '{') {
        behind = put_members(into, ROOT, 0, text + 1, end);
        if (behind != NULL && into->levels[0].begun)
            text_put(&rest->values, "}", 1);
    } else {
        behind = skip(text, end, &half);
        bool empty = length == 2 && *text == '{';
        if (behind == end && *text == 'n') {
            into->told.nulls++;
        } else if (behind == end && (!empty || keeps_empty)) {
            into->told.empty += empty;
            into->told.whole += !empty;
            text_put(&rest->values, text, length);
        }
    }
    if (rest->values.used > (size_t)before) {
        text_ends(into, into->count - 1, into->row, before);
        present(into, into->count - 1);
    }
    return behind == end;
}

/* The tree of what the members are, and their columns. NULL, or what is wrong with them. */
static const char *columns_begin(struct columns *into, const struct member *members, int64_t count)
{
    int depths[MOST_MEMBERS + 1];
    if (count < 0 || count > MOST_MEMBERS)
        return no_members;
    into->gathered = calloc((size_t)count + 1, sizeof *into->gathered);
    into->spelled = calloc((size_t)count + 1, sizeof *into->spelled);
    into->kinds = calloc((size_t)count + 1, sizeof *into->kinds);
    into->places = calloc((size_t)count + 1, sizeof *into->places);
    into->ends = calloc((size_t)count + 1, sizeof *into->ends);
    if (!into->gathered || !into->spelled || !into->kinds || !into->places || !into->ends || !tree_begin(&into->tree))
        return no_memory;
    depths[0] = 0;
    for (int64_t at = 0; at < count; at++) {
        const struct member *member = &members[at];
        if (member->parent < -1 || member->parent >= at || member->kind < 0 || member->kind >= MEMBER_KINDS ||
            member->key_length < 0 || into->kinds[member->parent + 1] != MEMBER_OBJECT)
            return no_members;
        depths[at + 1] = depths[member->parent + 1] + 1;
        if (depths[at + 1] > MEMBERS_DEEPEST - (member->kind == MEMBER_OBJECT))
            return no_members;
        if (tree_find(&into->tree, member->parent + 1, NOWHERE, member->key, (size_t)member->key_length) != NOWHERE)
            return no_members;
        if (tree_add(&into->tree, member->parent + 1, member->key, (size_t)member->key_length) == NOWHERE)
            return no_memory;
        into->kinds[at + 1] = member->kind;
        into->places[at + 1] = into->count;
        if (member->kind != MEMBER_OBJECT && !column_begin(into, into->count++, member->kind))
            return no_memory;
    }
    return column_begin(into, into->count++, MEMBER_JSON) ? NULL : no_memory;
}

const char *members_columns(const struct member *members, int64_t count, bool keeps_empty,
                            const struct arrow_array *texts, struct arrow_array *batch, struct members_told *told)
{
    struct columns into = {.rows = texts->length, .told = {.culprit = -1}};
    const char *complaint = columns_begin(&into, members, count);
    for (; complaint == NULL && into.row < into.rows; into.row++) {
        size_t length;
        const char *text = text_at(texts, into.row, &length);
        if (text != NULL && !put_row(&into, text, length, keeps_empty)) {
            complaint = no_json;
            into.told.culprit = into.row;
        }
    }
    for (int at = 0; into.gathered != NULL && at < into.count; at++) {
        if (into.gathered[at].values.failed || into.scratch.failed)
            complaint = no_memory;
        if (complaint == NULL && into.spelled[at].kind == KIND_TEXT)
            text_ends(&into, at, into.rows, (int32_t)into.gathered[at].values.used);
    }
    if (complaint == NULL && !arrow_of_columns(batch, into.gathered, into.spelled, into.count, into.rows))
        complaint = no_memory;
    for (int at = 0; into.gathered != NULL && at < into.count; at++)
        gathered_free(&into.gathered[at]);
    *told = into.told;
    tree_free(&into.tree);
    text_free(&into.scratch);
    free(into.gathered);
    free(into.spelled);
    free(into.kinds);
    free(into.places);
    free(into.ends);
    return complaint;
}
