#include "fuzz.h"

#include <stdlib.h>

#include "../json.h"

#define MOST_ROWS 40
#define MOST_LISTED 12

/* Texts as an array of Arrow, of which rows are left out at the front. */
struct texts {
    struct piece offsets, values, valid;
    const void *buffers[3];
    struct arrow_schema schema;
    struct arrow_array array;
    int lent;
};

static void put_back_schema(struct arrow_schema *schema)
{
    --*(int *)schema->private_data;
    schema->release = NULL;
}

static void put_back_array(struct arrow_array *array)
{
    --*(int *)array->private_data;
    array->release = NULL;
}

static void make_them(struct texts *texts)
{
    struct text offsets = {0}, values = {0}, valid = {0};
    int64_t rows = (int64_t)chance(MOST_ROWS), first = chance(2) ? 0 : (int64_t)chance((uint64_t)rows + 1);
    int32_t end = 0;
    check(text_reserve(&offsets, sizeof end) && text_reserve(&valid, MOST_ROWS / 8 + 1));
    text_put(&offsets, (const char *)&end, sizeof end);
    bool mutants = chance(4) == 0;
    for (int64_t row = 0; row < rows; row++) {
        size_t begin = values.used;
        put_json(&values, 0);
        if (mutants && values.used > begin) {
            struct piece piece = mutated(values.bytes + begin, values.used - begin);
            values.used = begin;
            check(text_reserve(&values, piece.length));
            text_put(&values, piece.bytes, piece.length);
            free(piece.bytes);
        }
        end = (int32_t)values.used;
        check(text_reserve(&offsets, sizeof end));
        text_put(&offsets, (const char *)&end, sizeof end);
    }
    for (int at = 0; at <= MOST_ROWS / 8; at++)
        valid.bytes[valid.used++] = (char)(chance(4) ? 0xFF : chance(256));
    *texts = (struct texts){.offsets = piece_of(&offsets), .values = piece_of(&values), .valid = piece_of(&valid)};
    texts->buffers[0] = chance(2) ? texts->valid.bytes : NULL;
    texts->buffers[1] = texts->offsets.bytes;
    texts->buffers[2] = texts->values.bytes;
    texts->array = (struct arrow_array){.length = rows - first, .offset = first, .null_count = -1, .buffers_count = 3};
    text_free(&offsets);
    text_free(&values);
    text_free(&valid);
}

/* The array as it is lent for one call, or for good where nothing takes it back. */
static struct arrow_array *lend(struct texts *texts)
{
    texts->schema = (struct arrow_schema){.format = "u", .release = put_back_schema, .private_data = &texts->lent};
    texts->array.buffers = texts->buffers;
    texts->array.release = put_back_array;
    texts->array.private_data = &texts->lent;
    texts->lent += 2;
    return &texts->array;
}

static bool is_json(const char *at, size_t length)
{
    struct json_facts facts = {0};
    return json_value(at, at + length, &facts) == at + length;
}

static bool all_json(const struct texts *texts)
{
    const int32_t *offsets = (const int32_t *)texts->offsets.bytes + texts->array.offset;
    const uint8_t *valid = texts->buffers[0];
    for (int64_t row = 0; row < texts->array.length; row++) {
        int64_t bit = texts->array.offset + row;
        if (valid != NULL && !(valid[bit >> 3] >> (bit & 7) & 1))
            continue;
        if (!is_json(texts->values.bytes + offsets[row], (size_t)(offsets[row + 1] - offsets[row])))
            return false;
    }
    return true;
}

static int64_t list_some(struct member *members)
{
    int64_t count = (int64_t)chance(MOST_LISTED + 1);
    for (int64_t at = 0; at < count; at++) {
        const char *key = made_keys[chance(MADE_KEYS)];
        members[at] = (struct member){
            .key = key,
            .key_length = (int64_t)strlen(key),
            .parent = (int32_t)chance((uint64_t)at + 1) - 1,
            .kind = (int32_t)chance(chance(20) ? MEMBER_KINDS : MEMBER_KINDS + 3),
        };
    }
    return count;
}

/* Every rest is JSON, and is no longer than the text that it is left of. */
static void check_rests(const struct arrow_array *rests, const struct texts *texts)
{
    const int32_t *offsets = rests->buffers[1], *given = (const int32_t *)texts->offsets.bytes + texts->array.offset;
    const uint8_t *valid = rests->buffers[0];
    for (int64_t row = 0; row < rests->length; row++) {
        size_t length = (size_t)(offsets[row + 1] - offsets[row]);
        bool is_null = valid != NULL && !(valid[row >> 3] >> (row & 7) & 1);
        check(is_null ? length == 0 : is_json((const char *)rests->buffers[2] + offsets[row], length));
        check(length <= (size_t)(given[row + 1] - given[row]));
    }
}

void members_round(void)
{
    struct texts texts;
    struct member members[MOST_LISTED];
    struct members_told told;
    struct arrow_array batch;
    make_them(&texts);
    int64_t count = list_some(members), most = chance(4) ? 100000 : (int64_t)chance(4);
    bool json = all_json(&texts), columns = false;
    allocations_left = chance(4) ? -1 : (int64_t)chance(30);
    bool short_of_memory = allocations_left >= 0;
    struct arrow_array *lent = lend(&texts);
    const char *complaint = penstock_members_count(most, &texts.schema, lent, &batch, &told);
    if (complaint == NULL) {
        check(json && batch.length >= 1 && batch.children_count == 2 + VALUE_KINDS);
        for (int64_t row = 0; row < batch.length; row++)
            check(((const int64_t *)batch.children[0]->buffers[1])[row] < row);
        batch.release(&batch);
    } else {
        check(short_of_memory || !json || most < 4);
    }
    lent = lend(&texts);
    complaint = penstock_members_columns(members, count, chance(2), &texts.schema, lent, &batch, &told);
    if (complaint == NULL) {
        check(json && batch.length == texts.array.length && batch.children_count >= 1);
        check_rests(batch.children[batch.children_count - 1], &texts);
        batch.release(&batch);
        columns = true;
    }
    check(columns || told.culprit < texts.array.length);
    allocations_left = -1;
    check(texts.lent == 0);
    free(texts.offsets.bytes);
    free(texts.values.bytes);
    free(texts.valid.bytes);
}
