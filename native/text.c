#include "text.h"

#include "memory.h"

#define MICROS_A_SECOND 1000000
#define MICROS_A_DAY (86400LL * MICROS_A_SECOND)

bool text_grow(struct text *text, size_t more)
{
    if (text->failed)
        return false;
    size_t room = text->room + text->room / 2;
    if (room < text->used + more)
        room = text->used + more;
    char *bytes = memory_take(&room);
    if (bytes == NULL) {
        text->failed = true;
        return false;
    }
    if (text->used > 0)
        memcpy(bytes, text->bytes, text->used);
    memory_give(text->bytes, text->room);
    text->bytes = bytes;
    text->room = room;
    return true;
}

void text_free(struct text *text)
{
    memory_give(text->bytes, text->room);
    *text = (struct text){0};
}

void text_number(struct text *text, int64_t value)
{
    char digits[TEXT_NUMBER];
    char *first = digits + sizeof digits;
    uint64_t left = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    do {
        *--first = (char)('0' + left % 10);
        left /= 10;
    } while (left > 0);
    if (value < 0)
        *--first = '-';
    text_put(text, first, (size_t)(digits + sizeof digits - first));
}

/* `width` digits of a number that has no more. */
static inline void digits(char *at, int64_t value, int width)
{
    while (width-- > 0) {
        at[width] = (char)('0' + value % 10);
        value /= 10;
    }
}

/* A day since 1970 as YYYY-MM-DDT, in the Gregorian calendar extended backwards. Years are counted from March, so that
 * the day that comes and goes is the last one. */
static void spell_day(struct day *day, int64_t number)
{
    int64_t since = number + 719468; /* days since 0000-03-01 */
    int64_t era = since / 146097, of_era = since % 146097;
    int64_t year_of_era = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    int64_t of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t from_march = (5 * of_year + 2) / 153;
    int64_t month = from_march < 10 ? from_march + 3 : from_march - 9;
    digits(day->spelled, era * 400 + year_of_era + (month <= 2), 4);
    day->spelled[4] = '-';
    digits(day->spelled + 5, month, 2);
    day->spelled[7] = '-';
    digits(day->spelled + 8, of_year - (153 * from_march + 2) / 5 + 1, 2);
    day->spelled[10] = 'T';
    day->number = number;
}

void text_time(struct text *text, int64_t micros, struct day *day)
{
    int64_t number = micros / MICROS_A_DAY, of_day = micros % MICROS_A_DAY;
    if (of_day < 0) {
        of_day += MICROS_A_DAY;
        number--;
    }
    if (number != day->number)
        spell_day(day, number);
    int64_t second = of_day / MICROS_A_SECOND;
    char *at = text->bytes + text->used;
    memcpy(at, day->spelled, 11);
    digits(at + 11, second / 3600, 2);
    at[13] = ':';
    digits(at + 14, second / 60 % 60, 2);
    at[16] = ':';
    digits(at + 17, second % 60, 2);
    at[19] = '.';
    digits(at + 20, of_day % MICROS_A_SECOND, 6);
    at[26] = 'Z';
    text->used += TEXT_TIME;
}

static inline bool must_escape(unsigned char byte)
{
    return byte < 0x20 || byte == '"' || byte == '\\';
}

bool json_plain(const char *bytes, size_t length)
{
    size_t at = 0;
    uint64_t found = 0;
    for (; at + 8 <= length; at += 8) {
        found |= json_odd(word_at(bytes + at));
    }
    if (found != 0)
        return false;
    for (; at < length; at++)
        if (must_escape((unsigned char)bytes[at]))
            return false;
    return true;
}

void text_json(struct text *text, const char *bytes, size_t length)
{
    static const char hex[] = "0123456789abcdef";
    static const char letters[] = {['\b'] = 'b', ['\t'] = 't', ['\n'] = 'n',  ['\f'] = 'f',
                                   ['\r'] = 'r', ['"'] = '"',  ['\\'] = '\\'};
    char *out = text->bytes + text->used;
    for (size_t at = 0; at < length;) {
        if (length - at >= 8 && json_odd(word_at(bytes + at)) == 0) {
            memcpy(out, bytes + at, 8);
            at += 8;
            out += 8;
            continue;
        }
        for (size_t end = length - at >= 8 ? at + 8 : length; at < end; at++) {
            unsigned char byte = (unsigned char)bytes[at];
            if (!must_escape(byte)) {
                *out++ = (char)byte;
                continue;
            }
            *out++ = '\\';
            if (letters[byte] != 0) {
                *out++ = letters[byte];
                continue;
            }
            memcpy(out, "u00", 3);
            out[3] = hex[byte >> 4];
            out[4] = hex[byte & 15];
            out += 5;
        }
    }
    text->used = (size_t)(out - text->bytes);
}

bool text_controls(const char *bytes, size_t length)
{
    size_t at = 0;
    for (; at + 8 <= length; at += 8) {
        uint64_t word = word_at(bytes + at);
        if (BELOW(word, 0x20) | BELOW(word ^ EVERY(0x7F), 1) | BELOW(word ^ EVERY(0xC2), 1))
            break;
    }
    for (; at < length; at++) {
        unsigned char byte = (unsigned char)bytes[at];
        if (byte < 0x20 || byte == 0x7F || (byte == 0xC2 && at + 1 < length && (unsigned char)bytes[at + 1] < 0xA0))
            return true;
    }
    return false;
}

static bool csv_plain(const char *bytes, size_t length)
{
    size_t at = 0;
    for (; at + 8 <= length; at += 8) {
        uint64_t word = word_at(bytes + at);
        if (BELOW(word ^ EVERY('"'), 1) | BELOW(word ^ EVERY(','), 1) | BELOW(word ^ EVERY('\n'), 1) |
            BELOW(word ^ EVERY('\r'), 1))
            return false;
    }
    for (; at < length; at++)
        if (bytes[at] == '"' || bytes[at] == ',' || bytes[at] == '\n' || bytes[at] == '\r')
            return false;
    return true;
}

void text_csv(struct text *text, const char *bytes, size_t length, const char *null, size_t null_length)
{
    bool odd = length == 0 || (length == null_length && memcmp(bytes, null, length) == 0);
    if (!odd && csv_plain(bytes, length)) {
        text_put(text, bytes, length);
        return;
    }
    char *out = text->bytes + text->used;
    size_t at = 0;
    *out++ = '"';
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    /* Eight bytes at a time: what follows a quote is stored again, one byte further on. */
    for (; at + 8 <= length; at += 8, out += 8) {
        uint64_t word = word_at(bytes + at), other = word ^ EVERY('"');
        uint64_t quotes = ~(((other & EVERY(0x7F)) + EVERY(0x7F)) | other | EVERY(0x7F));
        memcpy(out, &word, 8);
        for (; quotes != 0; quotes &= quotes - 1) {
            int bits = __builtin_ctzll(quotes) - 7;
            uint64_t rest = word >> bits;
            out++;
            memcpy(out + bits / 8, &rest, 8);
        }
    }
#endif
    for (; at < length; at++) {
        *out++ = bytes[at];
        if (bytes[at] == '"')
            *out++ = '"';
    }
    *out++ = '"';
    text->used = (size_t)(out - text->bytes);
}

void text_base64(struct text *text, const char *bytes, size_t length)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const unsigned char *in = (const unsigned char *)bytes;
    for (size_t at = 0; at < length; at += 3) {
        size_t left = length - at;
        unsigned three = (unsigned)in[at] << 16 | (left > 1 ? in[at + 1] << 8 : 0) | (left > 2 ? in[at + 2] : 0);
        char *out = text->bytes + text->used;
        out[0] = letters[three >> 18];
        out[1] = letters[three >> 12 & 63];
        out[2] = left > 1 ? letters[three >> 6 & 63] : '=';
        out[3] = left > 2 ? letters[three & 63] : '=';
        text->used += 4;
    }
}

/* The length of the sequence that begins at `in`, or 0 if it is not well-formed. */
static size_t sequence(const uint8_t *in, size_t left)
{
    uint8_t first = in[0], low = 0x80, high = 0xBF;
    size_t length;
    if (first < 0x80)
        return 1;
    if (first < 0xC2 || first > 0xF4)
        return 0;
    length = first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
    if (length > left)
        return 0;
    if (first == 0xE0)
        low = 0xA0;
    else if (first == 0xED)
        high = 0x9F;
    else if (first == 0xF0)
        low = 0x90;
    else if (first == 0xF4)
        high = 0x8F;
    if (in[1] < low || in[1] > high)
        return 0;
    for (size_t at = 2; at < length; at++)
        if ((in[at] & 0xC0) != 0x80)
            return 0;
    return length;
}

bool utf8_valid(const uint8_t *bytes, size_t length)
{
    size_t at = 0;
    while (at < length) {
        while (at + 32 <= length) {
            const char *in = (const char *)bytes + at;
            if ((word_at(in) | word_at(in + 8) | word_at(in + 16) | word_at(in + 24)) & EVERY(0x80))
                break;
            at += 32;
        }
        for (size_t end = at + 32; at < length && at < end;) {
            size_t step = sequence(bytes + at, length - at);
            if (step == 0)
                return false;
            at += step;
        }
    }
    return true;
}
