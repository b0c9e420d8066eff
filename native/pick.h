/* Members of JSON columns: a column of what each row holds at a path, and SQLite's function that says the same. */
#ifndef PENSTOCK_PICK_H
#define PENSTOCK_PICK_H

#include "columns.h"
#include "gathered.h"
#include "path.h"
#include "sqlite_api.h"

/* JSON texts as Arrow has them. `valid` may be NULL. */
struct jsons {
    const uint8_t *valid;
    const int32_t *offsets;
    const char *bytes;
    int64_t first, rows;
};

/* Integers, doubles by their bits, texts. */
#define PICKED_COLUMNS 3
extern const struct spelled picked_columns[PICKED_COLUMNS];

/* False if there is no memory. */
bool picked_gather(struct gathered columns[PICKED_COLUMNS], const struct jsons *jsons, const char *path, size_t length,
                    int wanted);

/* Give a connection penstock_at(JSON, PATH, WANTED); returns what SQLite says. */
int pick_register(sqlite3 *database);

#endif
