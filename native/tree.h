/* The names of members as a tree: each has a parent, and is found by that and its name. */
#ifndef PENSTOCK_TREE_H
#define PENSTOCK_TREE_H

#include "text.h"

#define ROOT 0
#define NOWHERE (-1)

struct node {
    size_t key, key_length; /* where in `keys` its name is */
    int32_t parent;
    int32_t chained;       /* the next one in its bucket */
    int32_t first, behind; /* what came first in it, and behind it in its parent, the last time: mostly so again */
    int64_t row;           /* the last one that had it; -1 if none did */
};

struct tree {
    struct text nodes, keys, buckets;
    int32_t count;
};

/* With the root alone. False without memory; `tree_free` is due in any case. */
bool tree_begin(struct tree *tree);
static inline struct node *tree_node(struct tree *tree, int32_t number)
{
    return (struct node *)tree->nodes.bytes + number;
}
/* The child of this name, or NOWHERE. `before` is the one that was met before it in the same object, or NOWHERE. */
int32_t tree_find(struct tree *tree, int32_t parent, int32_t before, const char *key, size_t length);
/* A new child, of a name that none has; NOWHERE without memory. */
int32_t tree_add(struct tree *tree, int32_t parent, const char *key, size_t length);
void tree_free(struct tree *tree);

#endif
