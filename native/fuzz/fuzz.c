/* The library's functions with rows and lines made up by chance, under sanitizers and with memory that runs out.
 *
 *     fuzz SECONDS [SEED [ROUND]]
 *
 * Every round depends on SEED and its number alone; a finding names both and ends the process with an error, and with
 * ROUND that round alone is run again. */
#include "fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

int64_t allocations_left = -1;
static uint64_t seed, round_number, state;

void __sanitizer_set_death_callback(void (*callback)(void));
/* A finding of either sanitizer ends in the callback. */
const char *__asan_default_options(void)
{
    return "handle_abort=1";
}

const char *__ubsan_default_options(void)
{
    return "abort_on_error=1:print_stacktrace=1";
}

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);

static bool spent(void)
{
    if (allocations_left > 0)
        allocations_left--;
    return allocations_left == 0;
}

/* The linker puts these in the place of the library's own calls. */
void *__wrap_malloc(size_t size)
{
    return spent() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return spent() ? NULL : __real_calloc(count, size);
}

static void say_where(void)
{
    fprintf(stderr, "fuzz: found with: fuzz 0 %llu %llu\n", (unsigned long long)seed, (unsigned long long)round_number);
}

void checked(bool holds, const char *what, int line)
{
    if (holds)
        return;
    fprintf(stderr, "fuzz: line %d: this does not hold: %s\n", line, what);
    say_where();
    exit(1);
}

/* SplitMix64. */
uint64_t chance(uint64_t limit)
{
    uint64_t mixed = state += 0x9E3779B97F4A7C15;
    mixed = (mixed ^ mixed >> 30) * 0xBF58476D1CE4E5B9;
    mixed = (mixed ^ mixed >> 27) * 0x94D049BB133111EB;
    return (mixed ^ mixed >> 31) % limit;
}

typedef const char *(*renderer)(const struct spelled *, int64_t, struct arrow_schema *, struct arrow_array *,
                                const char *, int64_t, struct arrow_array *, struct hash128 *);

static bool same_sum(struct hash128 one, struct hash128 other)
{
    return one.low == other.low && one.high == other.high;
}

/* Lines read, and what was read written and read again: the same bytes. Text that was `written` must be accepted. */
static void read_lines(struct made *made, const char *bytes, size_t length, bool written)
{
    struct penstock_parsed parsed;
    struct arrow_array batch, text;
    struct hash128 sum = {0};
    const char *complaint =
        penstock_parse(made->columns, made->count, bytes, (int64_t)length, 500, &batch, &parsed);
    check(parsed.culprit >= -1 && parsed.culprit < made->count);
    bool reals = false;
    for (int at = 0; at < made->count; at++)
        reals |= made->columns[at].kind == KIND_REAL;
    check(complaint != NULL || !reals);
    check(!written || complaint == NULL || reals || allocations_left == 0);
    if (complaint != NULL)
        return;
    check(batch.length == parsed.rows);
    complaint = penstock_lines(made->columns, made->count, lend_schema(made), &batch, "\n", 1, &text, &sum);
    check(batch.release == NULL);
    if (complaint != NULL)
        return; /* a time beyond the year 9999 can be read, but not be written */
    if (written)
        check((size_t)text.length == length && memcmp(text.buffers[1], bytes, length) == 0);
    else
        read_lines(made, text.buffers[1], (size_t)text.length, true);
    text.release(&text);
}

static void read_mutants(struct made *made, const struct arrow_array *text)
{
    for (uint64_t left = chance(20); left > 0; left--) {
        struct piece piece = mutated(text->buffers[1], (size_t)text->length);
        read_lines(made, piece.bytes, piece.length, false);
        free(piece.bytes);
    }
}

static void rows_round(void)
{
    struct made made;
    struct arrow_array lines, csv;
    struct hash128 sums[3] = {{0}, {0}, {0}};
    static const char *const nulls[] = {"", "null", "0", "\\N", "a token longer than any number is", "\"", ","};
    const char *null = nulls[chance(7)];
    make(&made);
    allocations_left = chance(4) ? -1 : (int64_t)chance(60);
    struct hash128 *wanted = chance(8) ? &sums[0] : NULL;
    const char *complaint =
        penstock_lines(made.columns, made.count, lend_schema(&made), lend_array(&made), "\n", 1, &lines, wanted);
    if (complaint == NULL) {
        read_lines(&made, lines.buffers[1], (size_t)lines.length, true);
        read_mutants(&made, &lines);
        lines.release(&lines);
    }
    const char *second = penstock_csv(made.columns, made.count, lend_schema(&made), lend_array(&made), null,
                                      (int64_t)strlen(null), &csv, &sums[1]);
    if (second == NULL)
        csv.release(&csv);
    const char *third = penstock_digest(made.columns, made.count, lend_schema(&made), lend_array(&made), &sums[2], NULL);
    if (allocations_left < 0) {
        check((complaint == NULL) == (second == NULL) && (second == NULL) == (third == NULL));
        check(complaint != NULL || (same_sum(sums[1], sums[2]) && (wanted == NULL || same_sum(sums[0], sums[1]))));
    }
    allocations_left = -1;
    made_free(&made);
}

/* Rows and columns that are not what they say: refused, never read. */
static void shapes_round(void)
{
    static const char *const formats[] = {"u", "l", "n", "tsu:", "tsu:UTC", "tss:UTC", "U", "z", "+s", "i", "", "g"};
    static const renderer renderers[] = {penstock_lines, penstock_csv};
    struct made made;
    struct arrow_schema other = {.format = "u"};
    struct arrow_array text;
    struct hash128 sum = {0};
    make(&made);
    int at = (int)chance((uint64_t)made.count);
    int64_t count = made.count;
    struct arrow_schema *schema = lend_schema(&made);
    struct arrow_array *array = lend_array(&made);
    bool wrong = true;
    switch (chance(8)) {
    case 0: {
        const char *format = formats[chance(12)];
        wrong = strncmp(format, made.fields[at].format, 4) != 0 || strcmp(format, "tsu:") == 0;
        made.fields[at].format = format;
        break;
    }
    case 1:
        made.fields[at].dictionary = &other;
        break;
    case 2:
        made.children[at].buffers_count += 1 + (int64_t)chance(3);
        break;
    case 3:
        made.children[at].length = made.rows - 1 - (int64_t)chance(3);
        break;
    case 4:
        made.columns[at].kind = chance(2) ? KIND_COUNT + (int32_t)chance(9) : -1 - (int32_t)chance(9);
        break;
    case 5:
        count += chance(2) ? 1 : -1;
        break;
    case 6:
        array->offset = 1;
        break;
    default:
        schema->format = formats[chance(8)];
    }
    const char *complaint =
        renderers[chance(2)](made.columns, count, schema, array, "\n", 1, &text, &sum);
    check(!wrong || complaint != NULL);
    if (complaint == NULL)
        text.release(&text);
    made_free(&made);
}

static void run(void)
{
    state = seed * 0x100000001B3 ^ round_number;
    switch (chance(7)) {
    case 0:
        scan_round();
        break;
    case 2:
        cursor_round();
        break;
    case 4:
        pick_round();
        break;
    case 3:
        members_round();
        break;
    case 1:
        shapes_round();
        break;
    default:
        rows_round();
    }
}

int main(int count, char **given)
{
    time_t end = time(NULL) + (count > 1 ? atol(given[1]) : 10);
    seed = count > 2 ? strtoull(given[2], NULL, 10) : 0;
    __sanitizer_set_death_callback(say_where);
    if (count > 3) {
        round_number = strtoull(given[3], NULL, 10);
        run();
        return 0;
    }
    for (; round_number % 64 != 0 || time(NULL) < end; round_number++)
        run();
    printf("fuzz: %llu rounds with seed %llu, nothing found\n", (unsigned long long)round_number,
           (unsigned long long)seed);
    return 0;
}
