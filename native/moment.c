#include "moment.h"

#include "real.h"

#define MICROS_A_SECOND 1000000LL
#define MICROS_A_DAY (86400LL * MICROS_A_SECOND)
/* The years 0001 to 9999. */
#define FIRST_MICROS (-62135596800000000LL)
#define LAST_MICROS 253402300799999999LL
/* Decimal digits that any int64 holds. */
#define MOST_DIGITS 18
/* Reals whose digits say a unit. */
#define FIRST_REAL 1e9
#define END_REAL 1e19

/* Powers of ten from each unit to the microsecond. */
static const int powers[UNIT_COUNT] = {0, 6, 3, 0, -3, 0};

static bool in_years(int64_t micros)
{
    return micros >= FIRST_MICROS && micros <= LAST_MICROS;
}

static int64_t ten_to(int power)
{
    int64_t value = 1;
    while (power-- > 0)
        value *= 10;
    return value;
}

/* The unit that a number says by how many digits it has. */
static enum unit unit_of(uint64_t whole)
{
    static const enum unit units[] = {UNIT_S, UNIT_MS, UNIT_US, UNIT_NS};
    uint64_t first = 1000000000;
    for (int at = 0; at < 4; at++, first *= 1000)
        if (whole >= first && whole / 10 < first)
            return units[at];
    return UNIT_AUTO;
}

bool moment_of_integer(int64_t value, enum unit unit, int64_t *micros, bool *cut)
{
    *cut = false;
    if (unit == UNIT_AUTO)
        unit = value < 0 ? UNIT_AUTO : unit_of((uint64_t)value);
    if (unit == UNIT_AUTO || unit == UNIT_ISO)
        return false;
    if (unit == UNIT_NS) {
        int64_t rest = value % 1000;
        *micros = value / 1000 - (rest < 0);
        *cut = rest != 0;
        return in_years(*micros);
    }
    int64_t scale = ten_to(powers[unit]);
    if (value > LAST_MICROS / scale || value < FIRST_MICROS / scale)
        return false;
    *micros = value * scale;
    return true;
}

bool moment_of_real(double value, enum unit unit, int64_t *micros)
{
    if (unit == UNIT_AUTO)
        unit = value >= FIRST_REAL && value < END_REAL ? unit_of((uint64_t)value) : UNIT_AUTO;
    if (unit == UNIT_AUTO || unit == UNIT_ISO || !real_finite(value))
        return false;
    struct decimal decimal = decimal_of(value);
    uint64_t number = decimal.digits;
    int shift = decimal.exponent + powers[unit];
    for (; number != 0 && shift > 0; shift--, number *= 10)
        if (number > (uint64_t)LAST_MICROS)
            return false;
    if (shift < -MOST_DIGITS) {
        number = 0;
    } else if (shift < 0) { /* to the nearest, half to even */
        uint64_t one = (uint64_t)ten_to(-shift), rest = number % one;
        number /= one;
        if (2 * rest > one || (2 * rest == one && number % 2 == 1))
            number++;
    }
    if (number > (uint64_t)LAST_MICROS)
        return false;
    *micros = decimal.negative ? -(int64_t)number : (int64_t)number;
    return in_years(*micros);
}

int64_t number_of(const char *at, int width)
{
    int64_t value = 0;
    for (; width > 0; width--, at++) {
        if (*at < '0' || *at > '9')
            return -1;
        value = value * 10 + (*at - '0');
    }
    return value;
}

int64_t day_number(int64_t year, int64_t month, int64_t day)
{
    /* see spell_day in text.c */
    int64_t from_march = month > 2 ? month - 3 : month + 9, of_march = year - (month <= 2);
    int64_t era = of_march / 400, year_of_era = of_march % 400;
    return era * 146097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + (153 * from_march + 2) / 5 + day -
           1 - 719468;
}

/* YYYY-MM-DD, of ten bytes, as days since 1970-01-01; false where there is no such day. */
static bool day_of_text(const char *text, int64_t *day)
{
    static const char days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    if (text[4] != '-' || text[7] != '-')
        return false;
    int64_t year = number_of(text, 4), month = number_of(text + 5, 2), of_month = number_of(text + 8, 2);
    if (year < 1 || month < 1 || month > 12 || of_month < 1)
        return false;
    bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    if (of_month > days[month - 1] + (month == 2 && leap))
        return false;
    *day = day_number(year, month, of_month);
    return true;
}

/* HH:MM, HH:MM:SS or HH:MM:SS.fraction: what follows it, or NULL. */
static const char *clock_of(const char *at, const char *end, int64_t *micros, bool *cut)
{
    if (end - at < 5 || at[2] != ':')
        return NULL;
    int64_t hour = number_of(at, 2), minute = number_of(at + 3, 2), second = 0, fraction = 0;
    at += 5;
    if (end - at >= 3 && *at == ':') {
        second = number_of(at + 1, 2);
        at += 3;
        if (end - at >= 2 && (*at == '.' || *at == ',')) {
            int places = 0;
            for (at++; at < end && *at >= '0' && *at <= '9'; at++, places++) {
                if (places < 6)
                    fraction = fraction * 10 + (*at - '0');
                else
                    *cut |= *at != '0';
            }
            if (places < 1 || places > 9)
                return NULL;
            fraction *= ten_to(places < 6 ? 6 - places : 0);
        }
    }
    if (hour < 0 || hour > 23 || minute < 0 || minute > 59 || second < 0 || second > 59)
        return NULL;
    *micros += ((hour * 60 + minute) * 60 + second) * MICROS_A_SECOND + fraction;
    return at;
}

/* Nothing, Z, +HH, +HHMM or +HH:MM. */
static bool zone_of(const char *at, const char *end, int64_t *micros)
{
    if (at == end || (end - at == 1 && (*at == 'Z' || *at == 'z')))
        return true;
    int64_t length = end - at;
    bool colon = length == 6 && at[3] == ':';
    if ((*at != '+' && *at != '-') || (length != 3 && length != 5 && !colon))
        return false;
    int64_t hours = number_of(at + 1, 2), minutes = length == 3 ? 0 : number_of(at + 3 + colon, 2);
    if (hours < 0 || hours > 23 || minutes < 0 || minutes > 59)
        return false;
    int64_t offset = (hours * 60 + minutes) * 60 * MICROS_A_SECOND;
    *micros += *at == '+' ? -offset : offset;
    return true;
}

bool moment_of_text(const char *text, size_t length, enum unit unit, int64_t *micros, bool *cut)
{
    const char *at = text + 10, *end = text + length;
    int64_t day;
    *cut = false;
    if (length > 0 && length <= MOST_DIGITS) {
        int64_t number = number_of(text, (int)length);
        if (number >= 0)
            return (unit != UNIT_AUTO || *text != '0') && moment_of_integer(number, unit, micros, cut);
    }
    if (length < 10 || !day_of_text(text, &day))
        return false;
    *micros = day * MICROS_A_DAY;
    if (at < end && (*at == 'T' || *at == 't' || *at == ' ') && (at = clock_of(at + 1, end, micros, cut)) == NULL)
        return false;
    return zone_of(at, end, micros) && in_years(*micros);
}
