#include "arrow.h"

#include <stdlib.h>

#define MOST_BUFFERS 3

/* What an array without children owns. */
struct owned {
    const void *buffers[MOST_BUFFERS];
    struct text texts[MOST_BUFFERS];
};

/* What an array of columns owns, but for what the columns own themselves. */
struct family {
    const void *buffers[1];
    struct arrow_array each[];
};

static void release_owned(struct arrow_array *array)
{
    struct owned *owned = array->private_data;
    for (int at = 0; at < MOST_BUFFERS; at++)
        text_free(&owned->texts[at]);
    free(owned);
    array->release = NULL;
}

/* An array of `count` buffers, the first of which says what is null. Takes over the texts, also where there is no memory
 * for it. A text that holds nothing is no buffer only in the first place. */
static bool own(struct arrow_array *array, struct text *const texts[], int count, int64_t length, int64_t nulls)
{
    struct owned *owned = calloc(1, sizeof *owned);
    for (int at = 0; at < count; at++) {
        if (owned == NULL) {
            text_free(texts[at]);
            continue;
        }
        owned->texts[at] = *texts[at];
        *texts[at] = (struct text){0};
        owned->buffers[at] = owned->texts[at].bytes;
        if (owned->buffers[at] == NULL && at > 0)
            owned->buffers[at] = "";
    }
    if (owned == NULL)
        return false;
    *array = (struct arrow_array){
        .length = length,
        .null_count = nulls,
        .buffers_count = count,
        .buffers = owned->buffers,
        .release = release_owned,
        .private_data = owned,
    };
    return true;
}

bool arrow_of_text(struct arrow_array *array, struct text *text)
{
    struct text nothing = {0};
    return own(array, (struct text *const[]){&nothing, text}, 2, (int64_t)text->used, 0);
}

static bool column(struct arrow_array *array, struct gathered *from, int32_t kind, int64_t rows)
{
    if (kind == KIND_NULL)
        return own(array, NULL, 0, rows, rows);
    if (from->nulls == 0)
        text_free(&from->valid);
    if (kind_is_text(kind))
        return own(array, (struct text *const[]){&from->valid, &from->offsets, &from->values}, 3, rows, from->nulls);
    return own(array, (struct text *const[]){&from->valid, &from->values}, 2, rows, from->nulls);
}

static void release_family(struct arrow_array *array)
{
    for (int64_t at = 0; at < array->children_count; at++)
        if (array->children[at]->release != NULL)
            array->children[at]->release(array->children[at]);
    free(array->children);
    free(array->private_data);
    array->release = NULL;
}

bool arrow_of_columns(struct arrow_array *array, struct gathered *gathered, const struct spelled *columns, int count,
                      int64_t rows)
{
    struct family *family = calloc(1, sizeof *family + (size_t)count * sizeof *family->each);
    struct arrow_array **children = calloc((size_t)count, sizeof *children);
    bool done = family != NULL && children != NULL;
    for (int at = 0; at < count; at++) {
        if (done) {
            children[at] = &family->each[at];
            done = column(children[at], &gathered[at], columns[at].kind, rows);
        }
        gathered_free(&gathered[at]);
    }
    *array = (struct arrow_array){
        .length = rows,
        .buffers_count = 1,
        .children_count = count,
        .buffers = family == NULL ? NULL : family->buffers,
        .children = children,
        .release = release_family,
        .private_data = family,
    };
    if (done)
        return true;
    for (int at = 0; family != NULL && at < count; at++)
        if (family->each[at].release != NULL)
            family->each[at].release(&family->each[at]);
    free(children);
    free(family);
    array->release = NULL;
    return false;
}
