/* SPDX-License-Identifier: MIT */
/* workingset.c - pages that come back. See workingset.h. */
#include <stdlib.h>

#include "page.h"
#include "workingset.h"

#define MIN_SLOTS  1024u
#define MAX_SLOTS  (1u << 20)
#define CLOCK_BITS 40
#define CLOCK_MASK ((1ull << CLOCK_BITS) - 1)

/* Of David Stafford's mix 13, as in splitmix64. */
static uint64_t mixed(uint64_t key)
{
	key = (key ^ key >> 30) * 0xbf58476d1ce4e5b9ull;
	key = (key ^ key >> 27) * 0x94d049bb133111ebull;
	return key ^ key >> 31;
}

/* Made by the first who needs it; NULL: no memory, and nothing is remembered. */
static struct workingset_table *table_of(struct memcg *cg)
{
	struct workingset_table *t = atomic_load(&cg->workingset.table), *none = NULL;
	uint64_t slots = MIN_SLOTS;

	if (t)
		return t;
	while (slots < cg->max_pages && slots < MAX_SLOTS)
		slots *= 2;
	t = calloc(1, sizeof(*t) + slots * sizeof(t->slot[0]));
	if (!t)
		return NULL;
	t->mask = slots - 1;
	if (atomic_compare_exchange_strong(&cg->workingset.table, &none, t))
		return t;
	free(t);
	return none;
}

/* The other bits of the hash tell pages apart that share a slot; 0 is no page. */
static uint64_t tag_of(uint64_t hash)
{
	return (hash & ~CLOCK_MASK) | 1ull << 63;
}

void workingset_evict(struct memcg *cg, uint64_t key)
{
	struct workingset_table *t = table_of(cg);
	uint64_t hash = mixed(key), now = atomic_fetch_add(&cg->workingset.clock, 1);

	if (t)
		atomic_store_explicit(&t->slot[hash & t->mask], tag_of(hash) | (now & CLOCK_MASK),
				      memory_order_relaxed);
}

/* Both kinds are forgotten by halves, before the sum is a quarter of what the account has: what was long ago does not matter. */
static void add_cost(struct memcg *cg, enum reclaim_type type, uint64_t usage)
{
	_Atomic uint64_t *cost = cg->workingset.cost;

	atomic_fetch_add_explicit(&cost[type], 1, memory_order_relaxed);
	if (workingset_cost(cg, RECLAIM_FILE) + workingset_cost(cg, RECLAIM_ANON) <= usage / 4)
		return;
	for (unsigned int i = 0; i < WORKINGSET_TYPES; i++)
		atomic_store_explicit(&cost[i], atomic_load(&cost[i]) / 2, memory_order_relaxed);
}

/* When the page went, on the clock; false: not known. */
static bool look_up(const struct workingset_table *t, uint64_t hash, uint64_t *then)
{
	*then = t ? atomic_load_explicit(&t->slot[hash & t->mask], memory_order_relaxed) : 0;
	return *then && (*then & ~CLOCK_MASK) == tag_of(hash);
}

static bool is_near(const struct memcg *cg, uint64_t then)
{
	return ((atomic_load(&cg->workingset.clock) - then) & CLOCK_MASK) <= atomic_load(&cg->usage_pages);
}

bool workingset_is_recent(const struct memcg *cg, uint64_t key)
{
	uint64_t then;

	return look_up(atomic_load_explicit(&cg->workingset.table, memory_order_acquire), mixed(key),
		       &then) &&
	       is_near(cg, then);
}

void workingset_refault(struct frames *f, struct memcg *cg, enum reclaim_type type, uint64_t key)
{
	struct workingset_table *t = atomic_load_explicit(&cg->workingset.table, memory_order_acquire);
	uint64_t hash = mixed(key), then;

	if (!look_up(t, hash, &then))
		return;
	atomic_store_explicit(&t->slot[hash & t->mask], 0, memory_order_relaxed);
	frames_count(f, type == RECLAIM_FILE ? WORKINGSET_REFAULT_FILE : WORKINGSET_REFAULT_ANON, 1);
	if (!is_near(cg, then))
		return;
	frames_count(f, type == RECLAIM_FILE ? WORKINGSET_ACTIVATE_FILE : WORKINGSET_ACTIVATE_ANON, 1);
	add_cost(cg, type, atomic_load(&cg->usage_pages));
}
