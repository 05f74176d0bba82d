/* SPDX-License-Identifier: MIT */
/*
 * barn.h - full and empty sheaves of one cache, and the memory that sheaves are made of.
 *
 * Pages are cut into units of cache->sheaf_bytes; a unit is a sheaf or a struct kmem_local. Thread-safe: barn->lock.
 */
#ifndef LODGE_MM_BARN_H
#define LODGE_MM_BARN_H

#include "kmem_impl.h"

void barn_init(struct kmem_cache *c);
void barn_destroy(struct kmem_cache *c);

/* An empty sheaf with the given limit, or NULL: no memory. */
struct kmem_sheaf *barn_get_empty(struct kmem_cache *c, uint32_t limit);
void barn_put_empty(struct kmem_cache *c, struct kmem_sheaf *s);

/* Gives an empty sheaf (or NULL) for a full one; NULL, and nothing given, when there is none. */
struct kmem_sheaf *barn_exchange(struct kmem_cache *c, struct kmem_sheaf *empty);

/* False when there are as many full ones as there may be. */
bool barn_put_full(struct kmem_cache *c, struct kmem_sheaf *s);

/* Full sheaves that nobody needed since the last call, or all of them; chained. */
struct kmem_sheaf *barn_take_idle(struct kmem_cache *c);
struct kmem_sheaf *barn_take_full(struct kmem_cache *c);

/* Returns the pages of which no unit is in use. The number of frames. */
uint64_t barn_shrink(struct kmem_cache *c);

/* Objects in full sheaves. */
uint64_t barn_objects(struct kmem_cache *c);

#endif
