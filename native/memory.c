#include "memory.h"

#include <pthread.h>
#include <stdlib.h>

/* Smaller ones are the allocator's business: it does not give them back to the system one by one. */
#define LEAST_KEPT (64 << 10)
#define MOST_PIECES 64
#define MOST_KEPT (64 << 20)
/* Rooms are multiples of this, so that batches of about one size fit into each other's. */
#define STEP (64 << 10)

const char no_memory[] = "there is no memory";

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct {
    void *bytes;
    size_t room;
} pieces[MOST_PIECES];
static int piece_count;
static size_t kept;

void *memory_take(size_t *room)
{
    void *bytes = NULL;
    if (*room < LEAST_KEPT)
        return malloc(*room ? *room : 1);
    size_t wanted = (*room + STEP - 1) / STEP * STEP;
    if (wanted < *room)
        return NULL;
    pthread_mutex_lock(&lock);
    int best = -1;
    for (int at = 0; at < piece_count; at++)
        if (pieces[at].room >= wanted && pieces[at].room / 2 <= wanted && (best < 0 || pieces[at].room < pieces[best].room))
            best = at;
    if (best >= 0) {
        bytes = pieces[best].bytes;
        wanted = pieces[best].room;
        kept -= wanted;
        pieces[best] = pieces[--piece_count];
    }
    pthread_mutex_unlock(&lock);
    if (bytes == NULL)
        bytes = malloc(wanted);
    if (bytes != NULL)
        *room = wanted;
    return bytes;
}

void memory_give(void *bytes, size_t room)
{
    if (bytes != NULL && room >= LEAST_KEPT) {
        pthread_mutex_lock(&lock);
        if (piece_count < MOST_PIECES && room <= MOST_KEPT - kept) {
            pieces[piece_count].bytes = bytes;
            pieces[piece_count++].room = room;
            kept += room;
            bytes = NULL;
        }
        pthread_mutex_unlock(&lock);
    }
    free(bytes);
}
