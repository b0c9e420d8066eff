/* Numbers as JSON spells them, and whether a machine's number is exactly the same. */
#ifndef PENSTOCK_NUMBER_H
#define PENSTOCK_NUMBER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The text has to be a number (RFC 8259). True if it is spelled as digits alone and its value, with its sign, is a 64-bit
 * integer: not so are `1.0`, `1e3` and `-0`. */
bool number_int64(const char *at, size_t length, int64_t *value);

/* True if the shortest spelling that reads back as the nearest double is this same number, however it is spelled here:
 * so are `1.50` and `1e3`, not so are `9007199254740993` and `0.10000000000000001`. */
bool number_float64(const char *at, size_t length, double *value);

#endif
