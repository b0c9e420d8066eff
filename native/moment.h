/* Times of values that are not ours, as microseconds since 1970 UTC: the part of `penstock/pipeline/moments.py`, whose
 * rules these are, that is met often. What is not settled here is that file's to settle: it may be a time nevertheless. */
#ifndef PENSTOCK_MOMENT_H
#define PENSTOCK_MOMENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What a number counts. */
enum unit { UNIT_AUTO, UNIT_S, UNIT_MS, UNIT_US, UNIT_NS, UNIT_ISO, UNIT_COUNT };

/* True where it is settled; `cut` says that digits beyond the microsecond were left out. */
bool moment_of_integer(int64_t value, enum unit unit, int64_t *micros, bool *cut);
bool moment_of_real(double value, enum unit unit, int64_t *micros);
bool moment_of_text(const char *text, size_t length, enum unit unit, int64_t *micros, bool *cut);

/* `width` decimal digits, or -1. */
int64_t number_of(const char *at, int width);
/* Days since 1970-01-01 in the Gregorian calendar extended backwards. */
int64_t day_number(int64_t year, int64_t month, int64_t day);

#endif
