#include "tree.h"

#include "xxh3.h"

#define FIRST_BUCKETS 64

static inline int32_t *bucket(const struct tree *tree, uint64_t hash)
{
    return (int32_t *)tree->buckets.bytes + (hash & (tree->buckets.used / sizeof(int32_t) - 1));
}

static uint64_t hash_of(int32_t parent, const char *key, size_t length)
{
    return xxh3_128((const uint8_t *)key, length).low + (uint64_t)parent * 0x9E3779B97F4A7C15;
}

static const char *key_in(const struct tree *tree, const struct node *node)
{
    return node->key_length > 0 ? tree->keys.bytes + node->key : "";
}

/* Twice as many buckets, or the first ones. */
static bool spread(struct tree *tree)
{
    size_t count = tree->buckets.used == 0 ? FIRST_BUCKETS : 2 * tree->buckets.used / sizeof(int32_t);
    tree->buckets.used = 0;
    if (!text_reserve(&tree->buckets, count * sizeof(int32_t)))
        return false;
    tree->buckets.used = count * sizeof(int32_t);
    memset(tree->buckets.bytes, 0xFF, tree->buckets.used);
    for (int32_t number = ROOT + 1; number < tree->count; number++) {
        struct node *node = tree_node(tree, number);
        int32_t *in = bucket(tree, hash_of(node->parent, key_in(tree, node), node->key_length));
        node->chained = *in;
        *in = number;
    }
    return true;
}

bool tree_begin(struct tree *tree)
{
    *tree = (struct tree){0};
    return spread(tree) && tree_add(tree, NOWHERE, "", 0) == ROOT;
}

static bool is(struct tree *tree, int32_t number, int32_t parent, const char *key, size_t length)
{
    const struct node *node = tree_node(tree, number);
    return node->parent == parent && node->key_length == length && memcmp(key_in(tree, node), key, length) == 0;
}

int32_t tree_find(struct tree *tree, int32_t parent, int32_t before, const char *key, size_t length)
{
    int32_t *guess = before == NOWHERE ? &tree_node(tree, parent)->first : &tree_node(tree, before)->behind;
    if (*guess != NOWHERE && is(tree, *guess, parent, key, length))
        return *guess;
    int32_t number = *bucket(tree, hash_of(parent, key, length));
    while (number != NOWHERE && !is(tree, number, parent, key, length))
        number = tree_node(tree, number)->chained;
    if (number != NOWHERE)
        *guess = number;
    return number;
}

int32_t tree_add(struct tree *tree, int32_t parent, const char *key, size_t length)
{
    int32_t number = tree->count;
    if (!text_reserve(&tree->nodes, sizeof(struct node)) || !text_reserve(&tree->keys, length) ||
        ((size_t)number >= tree->buckets.used / sizeof(int32_t) && !spread(tree)))
        return NOWHERE;
    int32_t *in = bucket(tree, hash_of(parent, key, length));
    struct node node = {
        .key = tree->keys.used,
        .key_length = length,
        .parent = parent,
        .chained = parent == NOWHERE ? NOWHERE : *in,
        .first = NOWHERE,
        .behind = NOWHERE,
        .row = -1,
    };
    text_put(&tree->keys, key, length);
    text_put(&tree->nodes, (const char *)&node, sizeof node);
    tree->count++;
    if (parent != NOWHERE)
        *in = number;
    return number;
}

void tree_free(struct tree *tree)
{
    text_free(&tree->nodes);
    text_free(&tree->keys);
    text_free(&tree->buckets);
}
