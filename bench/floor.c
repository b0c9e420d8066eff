/*
 * The floor of an export: what reading the rows and writing the bytes cost when nothing happens in between.
 *
 * Two threads step through half of the seq range each, with a connection of their own, and touch every column of every
 * row. Then BYTES bytes are written to OUT in blocks of 1 MiB, and the file is synced. Prints "rows N".
 *
 *     floor STORE OUT BYTES
 */
#include <fcntl.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define THREADS 2
#define BLOCK (1 << 20)

struct half {
    const char *store;
    sqlite3_int64 after, upto, rows;
    unsigned long touched;
};

static void die(const char *what, const char *why)
{
    fprintf(stderr, "floor: %s: %s\n", what, why);
    exit(1);
}

static sqlite3 *open_store(const char *store)
{
    sqlite3 *database;
    if (sqlite3_open_v2(store, &database, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK)
        die(store, sqlite3_errmsg(database));
    return database;
}

static sqlite3_stmt *prepare(sqlite3 *database, const char *sql)
{
    sqlite3_stmt *statement;
    if (sqlite3_prepare_v2(database, sql, -1, &statement, NULL) != SQLITE_OK)
        die("query", sqlite3_errmsg(database));
    return statement;
}

static unsigned long touch(sqlite3_stmt *statement, int column)
{
    switch (sqlite3_column_type(statement, column)) {
    case SQLITE_INTEGER:
        return (unsigned long)sqlite3_column_int64(statement, column);
    case SQLITE_NULL:
        return 0;
    default: {
        const unsigned char *text = sqlite3_column_text(statement, column);
        int length = sqlite3_column_bytes(statement, column);
        return length ? (unsigned long)text[0] + text[length - 1] + (unsigned long)length : 0;
    }
    }
}

static void *scan(void *argument)
{
    struct half *half = argument;
    sqlite3 *database = open_store(half->store);
    sqlite3_stmt *statement = prepare(database, "SELECT * FROM events WHERE seq > ? AND seq <= ? ORDER BY seq");
    int columns = sqlite3_column_count(statement), code;

    sqlite3_bind_int64(statement, 1, half->after);
    sqlite3_bind_int64(statement, 2, half->upto);
    while ((code = sqlite3_step(statement)) == SQLITE_ROW) {
        for (int column = 0; column < columns; column++)
            half->touched += touch(statement, column);
        half->rows++;
    }
    if (code != SQLITE_DONE)
        die("scan", sqlite3_errmsg(database));
    sqlite3_finalize(statement);
    sqlite3_close(database);
    return NULL;
}

static sqlite3_int64 last_seq(const char *store)
{
    sqlite3 *database = open_store(store);
    sqlite3_stmt *statement = prepare(database, "SELECT coalesce(max(seq), 0) FROM events");
    sqlite3_int64 last;

    if (sqlite3_step(statement) != SQLITE_ROW)
        die("max(seq)", sqlite3_errmsg(database));
    last = sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    sqlite3_close(database);
    return last;
}

static void write_bytes(const char *out, long long bytes, unsigned long seed)
{
    static char block[BLOCK];
    int file = open(out, O_WRONLY | O_CREAT | O_TRUNC, 0666);

    if (file < 0)
        die(out, "cannot be created");
    memset(block, (int)(' ' + seed % 64), sizeof block);
    while (bytes > 0) {
        ssize_t taken = write(file, block, bytes < BLOCK ? (size_t)bytes : BLOCK);
        if (taken <= 0)
            die(out, "cannot be written");
        bytes -= taken;
    }
    if (fsync(file) || close(file))
        die(out, "cannot be synced");
}

int main(int count, char **words)
{
    struct half halves[THREADS] = {{0}};
    pthread_t threads[THREADS];
    sqlite3_int64 last, rows = 0;
    unsigned long touched = 0;

    if (count != 4)
        die("usage", "floor STORE OUT BYTES");
    last = last_seq(words[1]);
    for (int at = 0; at < THREADS; at++) {
        halves[at].store = words[1];
        halves[at].after = last * at / THREADS;
        halves[at].upto = last * (at + 1) / THREADS;
        if (pthread_create(&threads[at], NULL, scan, &halves[at]))
            die("thread", "cannot be started");
    }
    for (int at = 0; at < THREADS; at++) {
        pthread_join(threads[at], NULL);
        rows += halves[at].rows;
        touched += halves[at].touched;
    }
    write_bytes(words[2], atoll(words[3]), touched);
    printf("rows %lld\n", (long long)rows);
    return 0;
}
