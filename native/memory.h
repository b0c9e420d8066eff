/* Large buffers that come and go with every batch, kept for the next one: given back to the system, each would be cleared
 * and mapped again, which costs more than filling it. */
#ifndef PENSTOCK_MEMORY_H
#define PENSTOCK_MEMORY_H

#include <stddef.h>

/* Memory of at least `*room` bytes; `*room` becomes what it has. NULL if there is none. Safe from any thread. */
void *memory_take(size_t *room);
/* Give back what `memory_take` gave, with its room. NULL is allowed. */
void memory_give(void *bytes, size_t room);

/* What a function complains of that found no memory. */
extern const char no_memory[];

#endif
