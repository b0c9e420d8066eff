#include "real.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

typedef unsigned __int128 wide;

/* Short decimals are found by trying: prices, percentages, seconds with their milliseconds. */
#define MOST_TRIED 6
#define MOST_POWER 1e6
/* More than what one multiplication rounds away. */
#define NEARLY 4.5e-16
#define LEAST_LONG 1e15
/* Below this no integer is left out. */
#define MOST_EXACT 9007199254740992.0
/* Below this the exact way would need more than 128 bits. */
#define LEAST_WIDE 2e-5
/* Below this a real has fewer digits. */
#define LEAST_NORMAL 2.2250738585072014e-308
#define MANTISSA_BITS 52
#define EXPONENT_BIAS 1075

#define MOST_POWERS 19
static const uint64_t powers[MOST_POWERS + 1] = {
    1ULL,
    10ULL,
    100ULL,
    1000ULL,
    10000ULL,
    100000ULL,
    1000000ULL,
    10000000ULL,
    100000000ULL,
    1000000000ULL,
    10000000000ULL,
    100000000000ULL,
    1000000000000ULL,
    10000000000000ULL,
    100000000000000ULL,
    1000000000000000ULL,
    10000000000000000ULL,
    100000000000000000ULL,
    1000000000000000000ULL,
    10000000000000000000ULL,
};

static struct decimal stripped(uint64_t digits, int exponent)
{
    while (digits != 0 && digits % 10 == 0) {
        digits /= 10;
        exponent++;
    }
    return (struct decimal){false, digits, digits == 0 ? 0 : exponent};
}

/* A decimal of at most 15 digits is the only one so short that reads as its real. Dividing two integers that are exact
 * rounds once, as reading the decimal does. */
static bool tried(double value, struct decimal *found)
{
    double power = 1;
    if (value < MOST_EXACT && (double)(uint64_t)value == value) {
        *found = stripped((uint64_t)value, 0);
        return true;
    }
    double scaled = value * MOST_POWER, off = scaled - (double)(uint64_t)(scaled + 0.5);
    if (scaled >= LEAST_LONG || off > scaled * NEARLY || off < -scaled * NEARLY)
        return false;
    for (int places = 1; places <= MOST_TRIED; places++) {
        power *= 10;
        uint64_t whole = (uint64_t)(value * power + 0.5);
        if (whole > 0 && (double)whole / power == value) {
            *found = stripped(whole, -places);
            return true;
        }
    }
    return false;
}

/* The shortest decimal between the neighbours' halfway points, in 128 bits of fixed point: 17 digits before the point.
 * `value` is no integer, at least LEAST_WIDE. */
static struct decimal searched(double value)
{
    int power = 17;
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    uint64_t mantissa = (bits & ((1ULL << MANTISSA_BITS) - 1)) | 1ULL << MANTISSA_BITS;
    int shift = EXPONENT_BIAS - (int)(bits >> MANTISSA_BITS) + 2;
    double scale = value;
    for (; scale >= 1; power--)
        scale /= 10;
    for (; scale < 0.1; power++)
        scale *= 10;
    wide ten = power > MOST_POWERS ? (wide)powers[MOST_POWERS] * powers[power - MOST_POWERS] : powers[power];
    /* No decimal that is tried is a border: halfway between two reals below LEAST_LONG has at least 19 digits. Below a
     * power of two the neighbour is half as far, which is no matter: of those here, 2^-1 to 2^-15, each is itself a
     * decimal of at most 11 digits, and nothing shorter lies near. */
    wide exact = (wide)(4 * mantissa) * ten, above = exact + 2 * ten, below = exact - 2 * ten;
    uint64_t number = (uint64_t)(exact >> shift), found = number;
    int exponent = -power;
    for (int zeros = 0; zeros < 17; zeros++) {
        uint64_t unit = powers[zeros];
        uint64_t low = number - number % unit;
        wide under = (wide)low << shift, over = (wide)(low + unit) << shift;
        bool fits_low = under > below, fits_high = over < above;
        if (!fits_low && !fits_high)
            break;
        wide beyond = exact - under, short_of = over - exact; /* of two as close the even one, as everyone has it */
        bool lower = beyond < short_of || (beyond == short_of && low / unit % 2 == 0);
        found = fits_low && (!fits_high || lower) ? low : low + unit;
    }
    return stripped(found, exponent);
}

static bool reads_as(uint64_t digits, int exponent, double value)
{
    char said[40];
    snprintf(said, sizeof said, "%llue%d", (unsigned long long)digits, exponent);
    return strtod(said, NULL) == value;
}

/* The very large and the very small, by the C library. The locale's point is passed over. */
static struct decimal printed(double value)
{
    for (int places = value < LEAST_NORMAL ? 0 : 14;; places++) {
        char said[40];
        snprintf(said, sizeof said, "%.*e", places, value);
        uint64_t digits = 0;
        const char *at = said;
        for (; *at != 'e'; at++)
            if (*at >= '0' && *at <= '9')
                digits = digits * 10 + (uint64_t)(*at - '0');
        int exponent = atoi(at + 1) - places;
        if (places == 16 || reads_as(digits, exponent, value))
            return stripped(digits, exponent);
        if (reads_as(digits + 1, exponent, value)) /* above a power of two there is more room than below */
            return stripped(digits + 1, exponent);
    }
}

struct decimal decimal_of(double value)
{
    double size = fabs(value);
    struct decimal found = {false, 0, 0};
    if (size != 0 && !tried(size, &found))
        found = size >= LEAST_WIDE && size < LEAST_LONG ? searched(size) : printed(size);
    found.negative = signbit(value);
    return found;
}

int digits_of(uint64_t number, char digits[20])
{
    char reversed[20];
    int count = 0;
    for (; number > 0; number /= 10)
        reversed[count++] = (char)('0' + number % 10);
    for (int at = 0; at < count; at++)
        digits[at] = reversed[count - 1 - at];
    return count;
}

static void put_zeros(struct text *text, int count)
{
    for (; count > 0; count--)
        text_put(text, "0", 1);
}

/* How reals are laid out: so many digits may stand before the point and zeros behind it without an exponent, which has
 * so many digits at least; `pointed` says that an integer has a point too. */
struct style {
    int most_whole, most_zeros, least_power;
    bool pointed;
};

static void put_real(struct text *text, double value, const struct style *style)
{
    struct decimal decimal = decimal_of(value);
    char digits[20] = "0";
    int count = decimal.digits == 0 ? 1 : digits_of(decimal.digits, digits);
    int point = count + decimal.exponent; /* digits before the point */
    if (decimal.negative)
        text_put(text, "-", 1);
    if (point > style->most_whole || -point > style->most_zeros) {
        text_put(text, digits, 1);
        if (count > 1) {
            text_put(text, ".", 1);
            text_put(text, digits + 1, (size_t)count - 1);
        }
        text_put(text, point > 0 ? "e+" : "e-", 2);
        int power = abs(point - 1);
        put_zeros(text, power < 10 ? style->least_power - 1 : 0);
        text_number(text, power);
    } else if (point <= 0) {
        text_put(text, "0.", 2);
        put_zeros(text, -point);
        text_put(text, digits, (size_t)count);
    } else {
        int whole = count < point ? count : point;
        text_put(text, digits, (size_t)whole);
        put_zeros(text, point - whole);
        if (whole < count || style->pointed) {
            text_put(text, ".", 1);
            text_put(text, whole < count ? digits + whole : "0", whole < count ? (size_t)(count - whole) : 1);
        }
    }
}

void text_shortest(struct text *text, double value)
{
    static const struct style arrow = {.most_whole = 10, .most_zeros = 5, .least_power = 1};
    put_real(text, value, &arrow);
}

void text_real(struct text *text, double value)
{
    static const struct style python = {.most_whole = 16, .most_zeros = 3, .least_power = 2, .pointed = true};
    if (real_finite(value))
        put_real(text, value, &python);
    else
        text_put(text, value < 0 ? "-Inf" : "Inf", value < 0 ? 4 : 3);
}
