/* Reals as the shortest decimal digits that read as the same real, exactly. */
#ifndef PENSTOCK_REAL_H
#define PENSTOCK_REAL_H

#include <stdbool.h>
#include <stdint.h>

#include "text.h"

/* The value is (-1)^negative * digits * 10^exponent; `digits` ends with no zero, and has 17 decimal digits at most. */
struct decimal {
    bool negative;
    uint64_t digits;
    int exponent;
};

/* `value` is finite. */
struct decimal decimal_of(double value);

/* The digits of a number that is not 0, and how many there are. */
int digits_of(uint64_t number, char digits[20]);

static inline bool real_finite(double value)
{
    return value - value == 0;
}

/* A finite real as Arrow's cast to text has it, which is JSON: at most 25 bytes. */
void text_shortest(struct text *text, double value);

/* A finite real as Python's repr has it, which is JSON, or Inf or -Inf: at most 25 bytes. */
#define TEXT_REAL 25
void text_real(struct text *text, double value);

#endif
