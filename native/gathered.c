#include "gathered.h"

bool gathered_begin(struct gathered *column, bool is_text, size_t bytes, size_t rows)
{
    if (!text_reserve(&column->values, bytes))
        return false;
    if (!is_text)
        return true;
    if (!text_reserve(&column->offsets, (rows + 1) * sizeof(int32_t)))
        return false;
    return gathered_end(column);
}

bool gathered_number(struct gathered *column, int64_t value)
{
    if (!text_reserve(&column->values, sizeof value))
        return false;
    text_put(&column->values, (const char *)&value, sizeof value);
    return true;
}

bool gathered_room(struct gathered *column, size_t length)
{
    return text_reserve(&column->values, length);
}

bool gathered_end(struct gathered *column)
{
    int32_t end = (int32_t)column->values.used;
    if (column->values.used > INT32_MAX || !text_reserve(&column->offsets, sizeof end))
        return false;
    text_put(&column->offsets, (const char *)&end, sizeof end);
    return true;
}

bool gathered_present(struct gathered *column, int64_t row, bool present)
{
    if (row % 8 == 0) {
        if (!text_reserve(&column->valid, 1))
            return false;
        text_put(&column->valid, "", 1);
    }
    if (present)
        column->valid.bytes[row / 8] |= (char)(1 << row % 8);
    else
        column->nulls++;
    return true;
}

void gathered_free(struct gathered *column)
{
    text_free(&column->values);
    text_free(&column->offsets);
    text_free(&column->valid);
    column->nulls = 0;
}
