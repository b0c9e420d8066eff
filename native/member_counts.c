#include "member_text.h"
#include "members.h"
#include "memory.h"
#include "number.h"
#include "tree.h"

static inline int32_t kind_of(const char *at, const char *end, bool half)
{
    int64_t whole;
    double real;
    size_t length = (size_t)(end - at);
    switch (*at) {
    case 'n':
        return VALUE_NULL;
    case 't':
    case 'f':
        return VALUE_BOOL;
    case '"':
        return half ? VALUE_HALF : VALUE_TEXT;
    case '[':
        return VALUE_ARRAY;
    case '{':
        return VALUE_OBJECT;
    default:
        if (number_int64(at, length, &whole))
            return number_float64(at, length, &real) ? VALUE_INT64 : VALUE_LONG;
        return number_float64(at, length, &real) ? VALUE_FLOAT64 : VALUE_NUMBER;
    }
}

struct count {
    struct tree tree;
    struct text numbers; /* of each node, of each kind */
    struct text scratch;
    int64_t most;
    const char *complaint;
};

static int32_t counted(struct count *count, int32_t parent, int32_t before, const char *key, size_t length)
{
    int32_t number = tree_find(&count->tree, parent, before, key, length);
    if (number != NOWHERE)
        return number;
    if (count->tree.count >= count->most) {
        count->complaint = "there are too many different members";
        return NOWHERE;
    }
    size_t room = VALUE_KINDS * sizeof(int64_t);
    if (text_reserve(&count->numbers, room)) {
        memset(count->numbers.bytes + count->numbers.used, 0, room);
        count->numbers.used += room;
        number = tree_add(&count->tree, parent, key, length);
    }
    if (number == NOWHERE)
        count->complaint = no_memory;
    return number;
}

static inline void add(struct count *count, int32_t number, int32_t kind)
{
    ((int64_t *)count->numbers.bytes)[number * VALUE_KINDS + kind]++;
}

/* One value, of the member `number` or of none that is counted: its end, or NULL. */
static const char *count_value(struct count *count, int32_t number, int depth, const char *at, const char *end)
{
    int32_t before = NOWHERE;
    bool half;
    if (depth == MEMBERS_DEEPEST || at == end || *at != '{' || number == NOWHERE) {
        const char *behind = skip(at, end, &half);
        if (behind != NULL && number != NOWHERE)
            add(count, number, kind_of(at, behind, half));
        return behind;
    }
    add(count, number, VALUE_OBJECT);
    if (++at < end && *at == '}')
        return at + 1;
    for (;;) {
        const char *key;
        size_t length;
        int32_t child = NOWHERE;
        at = read_key(at, end, &count->scratch, &key, &length);
        if (at == NULL)
            return NULL;
        if (key != NULL) {
            child = counted(count, number, before, key, length);
            if (child == NOWHERE)
                return NULL;
            before = child;
        }
        at = count_value(count, child, depth + 1, at, end);
        if (at == NULL || at == end)
            return NULL;
        if (*at == '}')
            return at + 1;
        if (*at++ != ',')
            return NULL;
    }
}

/* What was counted, as columns. */
static bool counts_end(struct count *count, struct arrow_array *batch)
{
    struct spelled columns[2 + VALUE_KINDS];
    struct gathered gathered[2 + VALUE_KINDS] = {0};
    bool done = true;
    for (int at = 0; at < 2 + VALUE_KINDS; at++) {
        columns[at] = (struct spelled){.kind = at == 1 ? KIND_TEXT : KIND_INT64};
        done = done && gathered_begin(&gathered[at], at == 1, 0, (size_t)count->tree.count);
    }
    for (int32_t number = 0; done && number < count->tree.count; number++) {
        const struct node *node = tree_node(&count->tree, number);
        done = gathered_number(&gathered[0], node->parent) && gathered_room(&gathered[1], node->key_length);
        if (done && node->key_length > 0)
            text_put(&gathered[1].values, count->tree.keys.bytes + node->key, node->key_length);
        done = done && gathered_end(&gathered[1]);
        for (int kind = 0; done && kind < VALUE_KINDS; kind++)
            done = gathered_number(&gathered[2 + kind],
                                   ((int64_t *)count->numbers.bytes)[number * VALUE_KINDS + kind]);
    }
    if (done)
        return arrow_of_columns(batch, gathered, columns, 2 + VALUE_KINDS, count->tree.count);
    for (int at = 0; at < 2 + VALUE_KINDS; at++)
        gathered_free(&gathered[at]);
    return false;
}

const char *members_count(const struct arrow_array *texts, int64_t most, struct arrow_array *batch,
                          struct members_told *told)
{
    struct count count = {.most = most};
    *told = (struct members_told){.culprit = -1};
    if (!tree_begin(&count.tree) || !text_reserve(&count.numbers, VALUE_KINDS * sizeof(int64_t))) {
        count.complaint = no_memory;
    } else {
        memset(count.numbers.bytes, 0, VALUE_KINDS * sizeof(int64_t));
        count.numbers.used = VALUE_KINDS * sizeof(int64_t);
    }
    for (int64_t row = 0; count.complaint == NULL && row < texts->length; row++) {
        size_t length;
        const char *text = text_at(texts, row, &length);
        if (text == NULL)
            continue;
        const char *behind = count_value(&count, ROOT, 0, text, text + length);
        if (count.scratch.failed)
            count.complaint = no_memory;
        if (count.complaint == NULL && behind != text + length) {
            count.complaint = no_json;
            told->culprit = row;
        }
    }
    if (count.complaint == NULL && !counts_end(&count, batch))
        count.complaint = no_memory;
    tree_free(&count.tree);
    text_free(&count.numbers);
    text_free(&count.scratch);
    return count.complaint;
}
