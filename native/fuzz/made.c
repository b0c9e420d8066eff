#include "fuzz.h"

#include <stdlib.h>

#define PICK(list) list[chance(sizeof list / sizeof *list)]

struct piece piece_of(const struct text *text)
{
    struct piece piece = {malloc(text->used ? text->used : 1), text->used};
    if (text->used > 0)
        memcpy(piece.bytes, text->bytes, text->used);
    return piece;
}

static void put(struct text *text, const char *bytes, size_t length)
{
    check(text_reserve(text, length));
    text_put(text, bytes, length);
}

static void put_all(struct text *text, const char *bytes)
{
    put(text, bytes, strlen(bytes));
}

void put_words(struct text *text)
{
    static const char *const words[] = {
        "a", "\"", "\\", "\n", "\r", ",", "\x01", "\x7f", "\xc3\xa9", "\xe2\x80\xa8", "\xf0\x9f\x98\x80", "eight by",
        "a longer run of plain words", "null", "0", "{}",
    };
    for (uint64_t left = chance(4) ? chance(6) : chance(60); left > 0; left--)
        chance(30) ? put_all(text, PICK(words)) : put(text, "", 1);
}

const char *const made_keys[MADE_KEYS] = {"k", "a", "", "\xc3\xa9", "name"};

void put_json(struct text *text, int depth)
{
    static const char *const scalars[] = {
        "null", "true", "false", "0", "-1.5e+9", "17", "1E3", "0.10000000000000001", "9007199254740993", "\"\"", "\"text\"", "\"\xc3\xa9\\n\"",
        "\"\\u00e9\\ud83d\\ude00\"", "\"\\ud800\"", "{}", "[]",
    };
    if (depth > 5 || chance(3) == 0) {
        put_all(text, PICK(scalars));
        return;
    }
    bool object = chance(2);
    put_all(text, object ? "{" : "[");
    for (uint64_t at = 0, count = chance(4); at < count; at++) {
        put_all(text, at > 0 ? "," : "");
        if (object) {
            put_all(text, "\"");
            put_all(text, chance(9) ? PICK(made_keys) : "\\u0061\\ud800");
            put_all(text, "\":");
        }
        put_json(text, depth + 1);
    }
    put_all(text, object ? "}" : "]");
}

struct piece mutated(const char *bytes, size_t length)
{
    static const char *const pieces[] = {"\"", "\\", "{", "}", "[", "]", ",", ":", "\n", "null", "\\u", "\\ud83d", "9",
                                         "\x00", "\xff", "\xed\xa0\x80", "-", "e", ".", " ", "0000-", "Z\""};
    struct text text = {0};
    size_t at = 0;
    int64_t left_then = allocations_left;
    allocations_left = -1;
    for (uint64_t left = 1 + chance(4); left > 0 && at <= length; left--) {
        size_t keep = chance(length - at + 1);
        put(&text, bytes + at, keep);
        at += keep;
        switch (chance(5)) {
        case 0: /* leave some out */
            at += chance(length - at + 1) / (chance(2) ? 1 : 16);
            break;
        case 1: /* say some twice */
            put(&text, bytes + at, chance(length - at + 1));
            break;
        case 2:
            put_all(&text, PICK(pieces));
            break;
        case 3: { /* other brackets than JSON may have */
            uint64_t deep = chance(8) ? chance(10) : 1020 + chance(8);
            for (; deep > 0; deep--)
                put_all(&text, "[");
            break;
        }
        default:
            if (at < length) {
                char flipped = (char)(bytes[at++] ^ 1 << chance(8));
                put(&text, &flipped, 1);
            }
        }
    }
    if (chance(8))
        put(&text, bytes + at, length - at);
    struct piece piece = piece_of(&text);
    text_free(&text);
    allocations_left = left_then;
    return piece;
}

static void make_texts(struct made *made, int at, int64_t rows)
{
    struct text values = {0}, offsets = {0};
    for (int64_t row = 0; row <= rows; row++) {
        int32_t end = (int32_t)values.used;
        put(&offsets, (const char *)&end, sizeof end);
        if (row < rows)
            made->columns[at].kind == KIND_TEXT ? put_words(&values) : put_json(&values, 0);
    }
    made->buffers[at][1] = piece_of(&offsets).bytes;
    made->buffers[at][2] = piece_of(&values).bytes;
    text_free(&values);
    text_free(&offsets);
}

static void make_numbers(struct made *made, int at, int64_t rows)
{
    static const int64_t odd[] = {
        0, -1, INT64_MAX, INT64_MIN, 10, -62135596800000000, 253402300799999999, 1700000000000000,
    };
    int64_t *numbers = malloc(sizeof *numbers * (size_t)(rows > 0 ? rows : 1));
    for (int64_t row = 0; row < rows; row++) {
        int64_t any = (int64_t)chance(UINT64_MAX);
        bool moment = made->columns[at].kind == KIND_TIME && chance(50);
        numbers[row] = moment ? any % 62135596800000000 : chance(2) ? any : PICK(odd);
        if (made->columns[at].kind == KIND_REAL && chance(50)) {
            double real = (double)(any % 1000000) / 100;
            memcpy(&numbers[row], &real, sizeof real);
        }
    }
    made->buffers[at][1] = numbers;
}

static void make_column(struct made *made, int at)
{
    static const char *const formats[KIND_COUNT] = {"u", "u", "l", "tsu:UTC", "n", "g"};
    static const int buffers[KIND_COUNT] = {3, 3, 2, 2, 0, 2};
    struct spelled *column = &made->columns[at];
    struct text name = {0};
    int64_t before = (int64_t)chance(20), rows = before + made->rows + (int64_t)chance(3);
    bool nulls = chance(2);
    put_words(&name);
    made->names[at] = piece_of(&name);
    text_free(&name);
    *column = (struct spelled){made->names[at].bytes, (int64_t)made->names[at].length, (int32_t)chance(KIND_COUNT),
                               chance(3) > 0, nulls};
    if (kind_is_text(column->kind))
        make_texts(made, at, rows);
    else if (column->kind != KIND_NULL)
        make_numbers(made, at, rows);
    if (column->kind != KIND_NULL && nulls) {
        uint8_t *valid = malloc((size_t)rows / 8 + 1);
        for (int64_t byte = 0; byte <= rows / 8; byte++)
            valid[byte] = (uint8_t)chance(256);
        made->buffers[at][0] = valid;
    }
    made->fields[at] = (struct arrow_schema){.format = formats[column->kind], .name = ""};
    made->children[at] = (struct arrow_array){.length = made->rows, .null_count = nulls ? -1 : 0, .offset = before,
                                              .buffers_count = buffers[column->kind], .buffers = made->buffers[at]};
    made->field_list[at] = &made->fields[at];
    made->child_list[at] = &made->children[at];
}

void make(struct made *made)
{
    *made = (struct made){.count = 1 + (int)chance(chance(4) ? 5 : MOST_MADE)};
    made->rows = (int64_t)chance(chance(4) ? 6 : 300);
    for (int at = 0; at < made->count; at++)
        make_column(made, at);
}

void made_free(struct made *made)
{
    check(made->lent == 0);
    for (int at = 0; at < made->count; at++) {
        free(made->names[at].bytes);
        for (int buffer = 0; buffer < 3; buffer++)
            free((void *)made->buffers[at][buffer]);
    }
}

static void schema_back(struct arrow_schema *schema)
{
    --*(int *)schema->private_data;
    schema->release = NULL;
}

static void array_back(struct arrow_array *array)
{
    --*(int *)array->private_data;
    array->release = NULL;
}

struct arrow_schema *lend_schema(struct made *made)
{
    made->lent++;
    made->schema = (struct arrow_schema){
        .format = "+s",
        .name = "",
        .children_count = made->count,
        .children = made->field_list,
        .release = schema_back,
        .private_data = &made->lent,
    };
    return &made->schema;
}

struct arrow_array *lend_array(struct made *made)
{
    made->lent++;
    made->array = (struct arrow_array){
        .length = made->rows,
        .buffers_count = 1,
        .children_count = made->count,
        .buffers = made->none,
        .children = made->child_list,
        .release = array_back,
        .private_data = &made->lent,
    };
    return &made->array;
}
