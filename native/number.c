#include "number.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "real.h"

/* As many digits as 64 bits always hold, as every double tells apart, and as tell every double apart. */
#define MOST_DIGITS 19
#define SAFE_DIGITS 15
#define ENOUGH_DIGITS 17
/* No double lies beyond this power of ten. */
#define FARTHEST 400
/* The powers of ten that are doubles. */
#define EXACT_POWERS 22

typedef unsigned __int128 wide;

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

/* The digits of a number without its sign, and how many they are. False if it has more than that can hold. */
static bool read_decimal(const char *at, const char *end, struct decimal *number, int *count)
{
    bool behind = false;
    int64_t power = 0, exponent = 0;
    *count = 0;
    *number = (struct decimal){0};
    for (; at < end && (*at | 0x20) != 'e'; at++) {
        if (*at == '.') {
            behind = true;
        } else if (*count < MOST_DIGITS) {
            number->digits = number->digits * 10 + (uint64_t)(*at - '0');
            *count += number->digits > 0;
            exponent -= behind;
        } else if (*at != '0') {
            return false;
        } else {
            exponent += !behind;
        }
    }
    if (at < end) {
        at++;
        bool negative = *at == '-';
        at += negative || *at == '+';
        for (; at < end; at++)
            if (power < INT32_MAX)
                power = power * 10 + (*at - '0');
        exponent += negative ? -power : power;
    }
    for (; number->digits > 0 && number->digits % 10 == 0; --*count, exponent++)
        number->digits /= 10;
    number->exponent = exponent > FARTHEST ? FARTHEST : exponent < -FARTHEST ? -FARTHEST : (int)exponent;
    return true;
}

static int bits_of(wide number)
{
    uint64_t high = (uint64_t)(number >> 64);
    return high ? 128 - __builtin_clzll(high) : 64 - __builtin_clzll((uint64_t)number);
}

/* The double that is nearest to so many digits over a power of ten with at most EXACT_POWERS zeros. */
static double nearest_quotient(uint64_t digits, int zeros)
{
    wide under = 1, left;
    double value;
    while (zeros-- > 0)
        under *= 10;
    int shift = 53 + bits_of(under) - bits_of(digits);
    wide over = (wide)digits << shift;
    uint64_t found = (uint64_t)(over / under);
    if (found >> 53) {
        found >>= 1;
        under *= 2;
        shift--;
    }
    left = over - found * under;
    found += 2 * left > under || (2 * left == under && found % 2);
    /* One that was rounded up to the next power of two has its exponent counted up by the sum. */
    uint64_t bits = ((uint64_t)(1074 - shift) << 52) + found;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static double nearest(const struct decimal *number)
{
    char text[64]; /* without a point, which not every locale spells alike */
    if (number->exponent < 0 && number->exponent >= -EXACT_POWERS)
        return nearest_quotient(number->digits, -number->exponent);
    snprintf(text, sizeof text, "%" PRIu64 "e%d", number->digits, number->exponent);
    return strtod(text, NULL);
}

bool number_float64(const char *at, size_t length, double *value)
{
    static const double powers[EXACT_POWERS + 1] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                                    1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                                    1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    struct decimal number;
    int count;
    bool negative = length > 0 && *at == '-';
    if (!read_decimal(at + negative, at + length, &number, &count) || count > ENOUGH_DIGITS)
        return false;
    if (number.digits == 0) {
        *value = 0;
    } else if (count <= SAFE_DIGITS && abs(number.exponent) <= EXACT_POWERS) {
        /* Both are doubles, so that there is one rounding; and two numbers of so few digits are never one double. */
        *value = number.exponent < 0 ? (double)number.digits / powers[-number.exponent]
                                     : (double)number.digits * powers[number.exponent];
    } else {
        *value = nearest(&number);
        if (isinf(*value) || *value == 0)
            return false;
        struct decimal shortest = decimal_of(*value);
        if (shortest.digits != number.digits || shortest.exponent != number.exponent)
            return false;
    }
    if (negative)
        *value = -*value;
    return true;
}
