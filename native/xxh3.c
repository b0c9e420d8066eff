#include "xxh3.h"

#include <string.h>

#define PRIME32_1 0x9E3779B1U
#define PRIME32_2 0x85EBCA77U
#define PRIME32_3 0xC2B2AE3DU
#define PRIME64_1 0x9E3779B185EBCA87ULL
#define PRIME64_2 0xC2B2AE3D27D4EB4FULL
#define PRIME64_3 0x165667B19E3779F9ULL
#define PRIME64_4 0x85EBCA77C2B2AE63ULL
#define PRIME64_5 0x27D4EB2F165667C5ULL
#define MIX_1 0x165667919E3779F9ULL
#define MIX_2 0x9FB21C651E98DF25ULL

#define STRIPE 64
#define LANES 8
#define SECRET_LENGTH 192
#define BLOCK_STRIPES 16

static const uint8_t secret[SECRET_LENGTH] = {
    0xb8, 0xfe, 0x6c, 0x39, 0x23, 0xa4, 0x4b, 0xbe, 0x7c, 0x01, 0x81, 0x2c, 0xf7, 0x21, 0xad, 0x1c, 0xde, 0xd4, 0x6d,
    0xe9, 0x83, 0x90, 0x97, 0xdb, 0x72, 0x40, 0xa4, 0xa4, 0xb7, 0xb3, 0x67, 0x1f, 0xcb, 0x79, 0xe6, 0x4e, 0xcc, 0xc0,
    0xe5, 0x78, 0x82, 0x5a, 0xd0, 0x7d, 0xcc, 0xff, 0x72, 0x21, 0xb8, 0x08, 0x46, 0x74, 0xf7, 0x43, 0x24, 0x8e, 0xe0,
    0x35, 0x90, 0xe6, 0x81, 0x3a, 0x26, 0x4c, 0x3c, 0x28, 0x52, 0xbb, 0x91, 0xc3, 0x00, 0xcb, 0x88, 0xd0, 0x65, 0x8b,
    0x1b, 0x53, 0x2e, 0xa3, 0x71, 0x64, 0x48, 0x97, 0xa2, 0x0d, 0xf9, 0x4e, 0x38, 0x19, 0xef, 0x46, 0xa9, 0xde, 0xac,
    0xd8, 0xa8, 0xfa, 0x76, 0x3f, 0xe3, 0x9c, 0x34, 0x3f, 0xf9, 0xdc, 0xbb, 0xc7, 0xc7, 0x0b, 0x4f, 0x1d, 0x8a, 0x51,
    0xe0, 0x4b, 0xcd, 0xb4, 0x59, 0x31, 0xc8, 0x9f, 0x7e, 0xc9, 0xd9, 0x78, 0x73, 0x64, 0xea, 0xc5, 0xac, 0x83, 0x34,
    0xd3, 0xeb, 0xc3, 0xc5, 0x81, 0xa0, 0xff, 0xfa, 0x13, 0x63, 0xeb, 0x17, 0x0d, 0xdd, 0x51, 0xb7, 0xf0, 0xda, 0x49,
    0xd3, 0x16, 0x55, 0x26, 0x29, 0xd4, 0x68, 0x9e, 0x2b, 0x16, 0xbe, 0x58, 0x7d, 0x47, 0xa1, 0xfc, 0x8f, 0xf8, 0xb8,
    0xd1, 0x7a, 0xd0, 0x31, 0xce, 0x45, 0xcb, 0x3a, 0x8f, 0x95, 0x16, 0x04, 0x28, 0xaf, 0xd7, 0xfb, 0xca, 0xbb, 0x4b,
    0x40, 0x7e,
};

static inline uint64_t read64(const uint8_t *at)
{
    uint64_t value;
    memcpy(&value, at, sizeof value);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    value = __builtin_bswap64(value);
#endif
    return value;
}

static inline uint32_t read32(const uint8_t *at)
{
    uint32_t value;
    memcpy(&value, at, sizeof value);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    value = __builtin_bswap32(value);
#endif
    return value;
}

static inline struct hash128 multiplied(uint64_t a, uint64_t b)
{
    unsigned __int128 product = (unsigned __int128)a * b;
    return (struct hash128){(uint64_t)product, (uint64_t)(product >> 64)};
}

static inline uint64_t folded(uint64_t a, uint64_t b)
{
    struct hash128 product = multiplied(a, b);
    return product.low ^ product.high;
}

static inline uint64_t avalanche(uint64_t hash)
{
    hash ^= hash >> 37;
    hash *= MIX_1;
    return hash ^ hash >> 32;
}

static inline uint64_t avalanche64(uint64_t hash)
{
    hash ^= hash >> 33;
    hash *= PRIME64_2;
    hash ^= hash >> 29;
    hash *= PRIME64_3;
    return hash ^ hash >> 32;
}

static struct hash128 upto_3(const uint8_t *in, size_t length)
{
    uint32_t low = (uint32_t)in[0] << 16 | (uint32_t)in[length >> 1] << 24 | in[length - 1] | (uint32_t)length << 8;
    uint32_t swapped = __builtin_bswap32(low), high = swapped << 13 | swapped >> 19;
    return (struct hash128){
        avalanche64(low ^ (uint64_t)(read32(secret) ^ read32(secret + 4))),
        avalanche64(high ^ (uint64_t)(read32(secret + 8) ^ read32(secret + 12))),
    };
}

static struct hash128 upto_8(const uint8_t *in, size_t length)
{
    uint64_t both = read32(in) + ((uint64_t)read32(in + length - 4) << 32);
    struct hash128 hash =
        multiplied(both ^ read64(secret + 16) ^ read64(secret + 24), PRIME64_1 + ((uint64_t)length << 2));
    hash.high += hash.low << 1;
    hash.low ^= hash.high >> 3;
    hash.low ^= hash.low >> 35;
    hash.low *= MIX_2;
    hash.low ^= hash.low >> 28;
    hash.high = avalanche(hash.high);
    return hash;
}

static struct hash128 upto_16(const uint8_t *in, size_t length)
{
    uint64_t flip_low = read64(secret + 32) ^ read64(secret + 40), flip_high = read64(secret + 48) ^ read64(secret + 56);
    uint64_t low = read64(in), high = read64(in + length - 8);
    struct hash128 mixed = multiplied(low ^ high ^ flip_low, PRIME64_1), hash;
    mixed.low += (uint64_t)(length - 1) << 54;
    high ^= flip_high;
    mixed.high += high + (uint64_t)(uint32_t)high * (PRIME32_2 - 1);
    mixed.low ^= __builtin_bswap64(mixed.high);
    hash = multiplied(mixed.low, PRIME64_2);
    hash.high += mixed.high * PRIME64_2;
    return (struct hash128){avalanche(hash.low), avalanche(hash.high)};
}

static inline uint64_t mixed_16(const uint8_t *in, const uint8_t *key)
{
    return folded(read64(in) ^ read64(key), read64(in + 8) ^ read64(key + 8));
}

static inline struct hash128 mixed_32(struct hash128 sum, const uint8_t *first, const uint8_t *second,
                                      const uint8_t *key)
{
    sum.low += mixed_16(first, key);
    sum.low ^= read64(second) + read64(second + 8);
    sum.high += mixed_16(second, key + 16);
    sum.high ^= read64(first) + read64(first + 8);
    return sum;
}

static struct hash128 finished(struct hash128 sum, size_t length)
{
    uint64_t high = sum.low * PRIME64_1 + sum.high * PRIME64_4 + length * PRIME64_2;
    return (struct hash128){avalanche(sum.low + sum.high), 0 - avalanche(high)};
}

static struct hash128 upto_128(const uint8_t *in, size_t length)
{
    struct hash128 sum = {length * PRIME64_1, 0};
    for (size_t pair = (length - 1) / 32; pair > 0; pair--)
        sum = mixed_32(sum, in + 16 * pair, in + length - 16 * (pair + 1), secret + 32 * pair);
    return finished(mixed_32(sum, in, in + length - 16, secret), length);
}

static struct hash128 upto_240(const uint8_t *in, size_t length)
{
    struct hash128 sum = {length * PRIME64_1, 0};
    size_t rounds = length / 32, round;
    for (round = 0; round < 4; round++)
        sum = mixed_32(sum, in + 32 * round, in + 32 * round + 16, secret + 32 * round);
    sum = (struct hash128){avalanche(sum.low), avalanche(sum.high)};
    for (; round < rounds; round++)
        sum = mixed_32(sum, in + 32 * round, in + 32 * round + 16, secret + 3 + 32 * (round - 4));
    return finished(mixed_32(sum, in + length - 16, in + length - 32, secret + 103), length);
}

static inline void accumulate(uint64_t *restrict sums, const uint8_t *restrict in, const uint8_t *restrict key)
{
    for (int lane = 0; lane < LANES; lane++) {
        uint64_t value = read64(in + 8 * lane), keyed = value ^ read64(key + 8 * lane);
        sums[lane ^ 1] += value;
        sums[lane] += (keyed & 0xFFFFFFFFU) * (keyed >> 32);
    }
}

static void scramble(uint64_t *sums)
{
    const uint8_t *key = secret + SECRET_LENGTH - STRIPE;
    for (int lane = 0; lane < LANES; lane++)
        sums[lane] = (sums[lane] ^ sums[lane] >> 47 ^ read64(key + 8 * lane)) * PRIME32_1;
}

static uint64_t merged(const uint64_t *sums, const uint8_t *key, uint64_t start)
{
    for (int pair = 0; pair < LANES / 2; pair++)
        start += folded(sums[2 * pair] ^ read64(key + 16 * pair), sums[2 * pair + 1] ^ read64(key + 16 * pair + 8));
    return avalanche(start);
}

static struct hash128 any_length(const uint8_t *in, size_t length)
{
    uint64_t sums[LANES] = {PRIME32_3, PRIME64_1, PRIME64_2, PRIME64_3, PRIME64_4, PRIME32_2, PRIME64_5, PRIME32_1};
    size_t stripes = (length - 1) / STRIPE;
    for (size_t stripe = 0; stripe < stripes; stripe++) {
        size_t inside = stripe % BLOCK_STRIPES;
        accumulate(sums, in + STRIPE * stripe, secret + 8 * inside);
        if (inside == BLOCK_STRIPES - 1)
            scramble(sums);
    }
    accumulate(sums, in + length - STRIPE, secret + SECRET_LENGTH - STRIPE - 7);
    return (struct hash128){
        merged(sums, secret + 11, length * PRIME64_1),
        merged(sums, secret + SECRET_LENGTH - STRIPE - 11, ~(length * PRIME64_2)),
    };
}

struct hash128 xxh3_128(const uint8_t *bytes, size_t length)
{
    if (length > 240)
        return any_length(bytes, length);
    if (length > 128)
        return upto_240(bytes, length);
    if (length > 16)
        return upto_128(bytes, length);
    if (length > 8)
        return upto_16(bytes, length);
    if (length > 3)
        return upto_8(bytes, length);
    if (length > 0)
        return upto_3(bytes, length);
    return (struct hash128){
        avalanche64(read64(secret + 64) ^ read64(secret + 72)),
        avalanche64(read64(secret + 80) ^ read64(secret + 88)),
    };
}
