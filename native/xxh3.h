/* XXH3-128 with seed 0, after the algorithm's published description ("XXH3 algorithm overview", xxHash specification). */
#ifndef PENSTOCK_XXH3_H
#define PENSTOCK_XXH3_H

#include <stddef.h>
#include <stdint.h>

struct hash128 {
    uint64_t low, high;
};

/* The hash of `length` bytes; `length` may be 0. */
struct hash128 xxh3_128(const uint8_t *bytes, size_t length);

#endif
