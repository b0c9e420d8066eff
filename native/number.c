#include "number.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* As many digits as 64 bits always hold, as every double tells apart, and as tell every double apart. */
#define MOST_DIGITS 19
#define SAFE_DIGITS 15
#define ENOUGH_DIGITS 17
/* No double lies beyond this power of ten. */
#define FARTHEST 400
/* The powers of ten that are doubles. */
#define EXACT_POWERS 22

bool number_int64(const char *at, size_t length, int64_t *value)
{
    bool negative = length > 0 && *at == '-';
    uint64_t total = 0;
    if (negative) {
        at++;
        length--;
    }
    if (length == 0 || length > MOST_DIGITS || (negative && *at == '0'))
        return false;
    for (size_t place = 0; place < length; place++) {
        if (at[place] < '0' || at[place] > '9')
            return false;
        total = total * 10 + (uint64_t)(at[place] - '0');
    }
    if (total > (uint64_t)INT64_MAX + negative)
        return false;
    *value = negative ? (int64_t)(0 - total) : (int64_t)total;
    return true;
}

/* A number without its sign: `digits`, of which there are `count` and whose last is not 0, times ten to the power of
 * `power`. */
struct decimal {
    uint64_t digits;
    int count;
    int64_t power;
};

/* False if it has more digits than that can hold. */
static bool decimal_of(const char *at, const char *end, struct decimal *number)
{
    bool behind = false;
    int64_t power = 0;
    *number = (struct decimal){0};
    for (; at < end && (*at | 0x20) != 'e'; at++) {
        if (*at == '.') {
            behind = true;
            continue;
        }
        if (number->count < MOST_DIGITS) {
            number->digits = number->digits * 10 + (uint64_t)(*at - '0');
            number->count += number->digits > 0;
            number->power -= behind;
        } else if (*at != '0') {
            return false;
        } else {
            number->power += !behind;
        }
    }
    if (at < end) {
        at++;
        bool negative = *at == '-';
        at += negative || *at == '+';
        for (; at < end; at++)
            if (power < INT32_MAX)
                power = power * 10 + (*at - '0');
        number->power += negative ? -power : power;
    }
    for (; number->digits > 0 && number->digits % 10 == 0; number->count--, number->power++)
        number->digits /= 10;
    return true;
}

/* The digits of a number that was printed with an exponent; whatever else stands among them is the point, which not every
 * locale spells alike. */
static uint64_t digits_of(const char *text)
{
    uint64_t digits = 0;
    for (; *text != 'e'; text++)
        if (*text >= '0' && *text <= '9')
            digits = digits * 10 + (uint64_t)(*text - '0');
    return digits;
}

/* By the C library, for what needs more than one rounding. */
static bool is_shortest(const struct decimal *number, double *value)
{
    char text[64];
    snprintf(text, sizeof text, "%" PRIu64 "e%d", number->digits, (int)number->power);
    *value = strtod(text, NULL);
    if (isinf(*value) || *value == 0)
        return false;
    snprintf(text, sizeof text, "%.*e", number->count - 1, *value);
    if (digits_of(text) != number->digits)
        return false;
    if (number->count == 1)
        return true;
    snprintf(text, sizeof text, "%.*e", number->count - 2, *value);
    return strtod(text, NULL) != *value;
}

bool number_float64(const char *at, size_t length, double *value)
{
    static const double powers[EXACT_POWERS + 1] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                                    1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                                    1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    struct decimal number;
    bool negative = length > 0 && *at == '-';
    if (!decimal_of(at + negative, at + length, &number))
        return false;
    if (number.digits == 0) {
        *value = 0;
    } else if (number.count <= SAFE_DIGITS && number.power >= -EXACT_POWERS && number.power <= EXACT_POWERS) {
        /* Both are doubles, so that there is one rounding; and two numbers of so few digits are never one double. */
        *value = number.power < 0 ? (double)number.digits / powers[-number.power]
                                  : (double)number.digits * powers[number.power];
    } else if (number.count > ENOUGH_DIGITS || number.power > FARTHEST || number.power < -FARTHEST ||
               !is_shortest(&number, value)) {
        return false;
    }
    if (negative)
        *value = -*value;
    return true;
}
