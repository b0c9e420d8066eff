/* Text in the making: a buffer that grows, and the spellings of values that go into it. */
#ifndef PENSTOCK_TEXT_H
#define PENSTOCK_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct text {
    char *bytes;
    size_t used, room;
    bool failed; /* no memory: what follows is not written, and `bytes` is not to be read */
};

/* Make room for `more` bytes. False, and `failed`, if there is no memory. */
bool text_grow(struct text *text, size_t more);
static inline bool text_reserve(struct text *text, size_t more)
{
    return (!text->failed && text->room - text->used >= more) || text_grow(text, more);
}
void text_free(struct text *text);

/* The functions below write into room that was reserved; each names how much of it that may be. */

static inline void text_put(struct text *text, const char *bytes, size_t length)
{
    if (length > 0) { /* nothing may come from nowhere, which memcpy forbids */
        memcpy(text->bytes + text->used, bytes, length);
        text->used += length;
    }
}

/* A number in decimal: at most 20 bytes. */
#define TEXT_NUMBER 20
void text_number(struct text *text, int64_t value);

/* Microseconds since 1970 UTC, within the years 0001 to 9999, as RFC 3339 with six digits and Z: 27 bytes. `day` keeps
 * the date that was spelled last, for most neighbours share it; begin with NO_DAY. */
#define TEXT_TIME 27
struct day {
    int64_t number;
    char spelled[11];
};
#define NO_DAY ((struct day){INT64_MIN, ""})
void text_time(struct text *text, int64_t micros, struct day *day);

#define EVERY(byte) (0x0101010101010101ULL * (byte))
/* Marks the high bit of (at least) the first byte of `word` that is below `limit`, which is at most 0x80. */
#define BELOW(word, limit) (((word) - EVERY(limit)) & ~(word) & EVERY(0x80))

static inline uint64_t word_at(const char *at)
{
    uint64_t word;
    memcpy(&word, at, sizeof word);
    return word;
}

/* Marks in eight bytes what cannot stand inside a JSON string as it is. */
static inline uint64_t json_odd(uint64_t word)
{
    return BELOW(word, 0x20) | BELOW(word ^ EVERY('"'), 1) | BELOW(word ^ EVERY('\\'), 1);
}

/* Whether bytes can stand inside a JSON string as they are. */
bool json_plain(const char *bytes, size_t length);
/* The inside of a JSON string: at most six times `length`. Escapes the quote, the backslash and what is below 0x20. */
void text_json(struct text *text, const char *bytes, size_t length);

/* A field of a CSV file, quoted if it must be; needs room for 16 + 2 * length bytes. */
void text_csv(struct text *text, const char *bytes, size_t length, const char *null, size_t null_length);

/* Base64 with padding. */
#define TEXT_BASE64(length) (((length) + 2) / 3 * 4)
void text_base64(struct text *text, const char *bytes, size_t length);

/* Whether there is a control character (C0, DEL, C1) in UTF-8. */
bool text_controls(const char *bytes, size_t length);

/* Whether bytes are well-formed UTF-8 (Unicode, table 3-7). */
bool utf8_valid(const uint8_t *bytes, size_t length);

#endif
