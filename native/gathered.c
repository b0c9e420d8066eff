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

bool gathered_room(struct gathered *column, size_t length)
{
    return text_reserve(&column->values, length);
}

void gathered_free(struct gathered *column)
{
    text_free(&column->values);
    text_free(&column->offsets);
    text_free(&column->valid);
    column->nulls = 0;
}
