/* SPDX-License-Identifier: MIT */
/* swap_map.c - see swap_map.h. */
#include "swap_map.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "memcg.h"
#include "zswap.h"

static void *map_table(size_t bytes)
{
	void *map =
		mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return map == MAP_FAILED ? NULL : map;
}

static uint64_t cluster_index(const struct swap_map *m, const struct swap_cluster *c)
{
	return (uint64_t)(c - m->cluster);
}

static struct swap_slot *slots_of(const struct swap_map *m, const struct swap_cluster *c)
{
	return m->slot + cluster_index(m, c) * SWAP_CLUSTER_SLOTS;
}

static void init_clusters(struct swap_map *m)
{
	for (uint64_t i = 0; i < m->nr_clusters; i++) {
		struct swap_cluster *c = &m->cluster[i];
		uint64_t there = min_u64(m->nr_slots - i * SWAP_CLUSTER_SLOTS, SWAP_CLUSTER_SLOTS);

		c->nr_used = SWAP_CLUSTER_SLOTS - (uint32_t)there + !i;
		list_init(&c->node);
		if (c->nr_used < SWAP_CLUSTER_SLOTS)
			list_add_tail(&c->node, c->nr_used ? &m->partial : &m->free);
	}
}

int swap_map_init(struct swap_map *m, uint64_t nr_slots, bool tells_stale)
{
	memset(m, 0, sizeof(*m));
	if (nr_slots < 2 || nr_slots > SWAP_MAX_SLOTS)
		return -EINVAL;
	m->nr_slots = nr_slots;
	m->nr_clusters = (nr_slots + SWAP_CLUSTER_SLOTS - 1) / SWAP_CLUSTER_SLOTS;
	m->tells_stale = tells_stale;
	m->slot = map_table(m->nr_clusters * SWAP_CLUSTER_SLOTS * sizeof(*m->slot));
	m->cluster = map_table(m->nr_clusters * sizeof(*m->cluster));
	if (!m->slot || !m->cluster) {
		swap_map_destroy(m);
		return -ENOMEM;
	}
	pthread_mutex_init(&m->lock, NULL);
	list_init(&m->free);
	list_init(&m->stale);
	list_init(&m->partial);
	m->slot[0].flags = SLOT_BAD;
	init_clusters(m);
	return 0;
}

void swap_map_destroy(struct swap_map *m)
{
	if (m->slot)
		munmap(m->slot, m->nr_clusters * SWAP_CLUSTER_SLOTS * sizeof(*m->slot));
	if (m->cluster)
		munmap(m->cluster, m->nr_clusters * sizeof(*m->cluster));
	m->slot = NULL;
	m->cluster = NULL;
}

static bool is_free(const struct swap_slot *s)
{
	return !s->count && !s->page && !s->flags;
}

/* --- giving out ---------------------------------------------------------------------------------------------------- */

/* The place in m->current of accounts like this one. */
static struct swap_cluster **current_of(struct swap_map *m, const struct memcg *cg)
{
	return &m->current[((uintptr_t)cg >> 6) % SWAP_CURRENT];
}

static void put_on_list(struct swap_map *m, struct swap_cluster *c)
{
	if (!c->nr_used)
		list_add_tail(&c->node, m->tells_stale ? &m->stale : &m->free);
	else if (c->nr_used < SWAP_CLUSTER_SLOTS)
		list_add_tail(&c->node, &m->partial);
}

static struct swap_cluster *take(struct list_head *list)
{
	if (list_empty(list))
		return NULL;
	struct swap_cluster *c = list_entry(list->next, struct swap_cluster, node);
	list_del(&c->node);
	c->current = true;
	c->next = 0;
	return c;
}

/* The next free slot of a cluster, or NULL. */
static struct swap_slot *next_in(const struct swap_map *m, struct swap_cluster *c)
{
	struct swap_slot *slot = slots_of(m, c);

	for (; c->next < SWAP_CLUSTER_SLOTS; c->next++)
		if (cluster_index(m, c) * SWAP_CLUSTER_SLOTS + c->next < m->nr_slots &&
		    is_free(&slot[c->next]))
			return &slot[c->next++];
	return NULL;
}

/* When every cluster is full or somebody's, what theirs have left. */
static struct swap_slot *steal(struct swap_map *m)
{
	for (unsigned int i = 0; i < SWAP_CURRENT; i++) {
		struct swap_cluster *c = m->current[i];

		if (!c || c->nr_used == SWAP_CLUSTER_SLOTS)
			continue;
		c->next = 0;
		return next_in(m, c);
	}
	return NULL;
}

static struct swap_slot *find_slot(struct swap_map *m, const struct memcg *cg)
{
	struct swap_cluster **current = current_of(m, cg);

	for (;;) {
		struct swap_slot *slot = *current ? next_in(m, *current) : NULL;
		if (slot)
			return slot;
		if (*current) {
			(*current)->current = false;
			put_on_list(m, *current);
		}
		*current = take(&m->free);
		if (!*current && list_empty(&m->stale)) /* else the caller tells the device first */
			*current = take(&m->partial);
		if (!*current)
			return list_empty(&m->stale) ? steal(m) : NULL;
	}
}

uint64_t swap_map_alloc(struct swap_map *m, struct memcg *cg, struct page *page)
{
	uint64_t at = 0;

	pthread_mutex_lock(&m->lock);
	struct swap_slot *slot = m->closed ? NULL : find_slot(m, cg);
	if (slot) {
		at = (uint64_t)(slot - m->slot);
		swap_slot_set_page(slot, page);
		slot->memcg = cg;
		m->cluster[at / SWAP_CLUSTER_SLOTS].nr_used++;
		m->nr_used++;
		m->nr_cached++;
		memcg_get(cg);
		atomic_fetch_add_explicit(&cg->swap_pages, 1, memory_order_relaxed);
	}
	pthread_mutex_unlock(&m->lock);
	return at;
}

void swap_map_begin_cluster(struct swap_map *m, const struct memcg *cg)
{
	struct swap_cluster **current = current_of(m, cg);

	pthread_mutex_lock(&m->lock);
	if (*current && (*current)->next && !list_empty(&m->free)) {
		(*current)->current = false;
		put_on_list(m, *current);
		*current = take(&m->free);
	}
	pthread_mutex_unlock(&m->lock);
}

bool swap_map_claim(struct swap_map *m, uint64_t at, struct memcg *cg, const uint64_t *word)
{
	if (!at || at >= m->nr_slots || !is_free(&m->slot[at]))
		return false;
	struct swap_slot *slot = &m->slot[at];
	struct swap_cluster *c = &m->cluster[at / SWAP_CLUSTER_SLOTS];

	slot->count = 1;
	slot->memcg = cg;
	slot->flags = word ? SLOT_SAME : 0;
	slot->value = word ? *word : 0;
	c->nr_used++;
	m->nr_used++;
	if (!c->current) {
		list_del(&c->node);
		put_on_list(m, c);
	}
	memcg_get(cg);
	atomic_fetch_add_explicit(&cg->swap_pages, 1, memory_order_relaxed);
	return true;
}

/* --- taking back --------------------------------------------------------------------------------------------------- */

void swap_map_release(struct swap_map *m, uint64_t at)
{
	struct swap_slot *slot = &m->slot[at];
	struct swap_cluster *c = &m->cluster[at / SWAP_CLUSTER_SLOTS];
	struct memcg *cg = slot->memcg;

	if (slot->count || slot->page || (slot->flags & SLOT_MOVING))
		return;
	if (slot->flags & SLOT_COMPRESSED)
		zswap_forget(slot);
	m->nr_used--;
	*slot = (struct swap_slot){.generation = slot->generation + 1,
				   .flags = slot->flags & SLOT_FAILED ? SLOT_BAD : 0};
	if (slot->flags) {
		m->nr_bad++;
	} else {
		c->nr_used--;
		if (!c->current) {
			list_del(&c->node);
			put_on_list(m, c);
		}
	}
	atomic_fetch_sub_explicit(&cg->swap_pages, 1, memory_order_relaxed);
	memcg_put(cg);
}

uint64_t swap_map_stale(struct swap_map *m)
{
	uint64_t first = 0;

	pthread_mutex_lock(&m->lock);
	struct swap_cluster *c = take(&m->stale);
	if (c)
		first = cluster_index(m, c) * SWAP_CLUSTER_SLOTS;
	pthread_mutex_unlock(&m->lock);
	return first;
}

void swap_map_told(struct swap_map *m, uint64_t first)
{
	struct swap_cluster *c = &m->cluster[first / SWAP_CLUSTER_SLOTS];

	pthread_mutex_lock(&m->lock);
	c->current = false;
	list_add_tail(&c->node, &m->free);
	pthread_mutex_unlock(&m->lock);
}

/* --- recounting ---------------------------------------------------------------------------------------------------- */

struct map_check {
	struct swap_map *m;
	void (*complain)(const char *what, uint64_t where);
	unsigned int bad;
	uint64_t nr_used, nr_bad, nr_cached;
};

static void fail_if(struct map_check *c, bool wrong, const char *what, uint64_t where)
{
	c->bad += wrong;
	if (wrong && c->complain)
		c->complain(what, where);
}

static void check_cluster(struct map_check *c, uint64_t index)
{
	const struct swap_cluster *cluster = &c->m->cluster[index];
	uint32_t used = 0;

	for (uint64_t at = index * SWAP_CLUSTER_SLOTS; at < (index + 1) * SWAP_CLUSTER_SLOTS; at++) {
		const struct swap_slot *s = &c->m->slot[at];
		bool bad = s->flags & SLOT_BAD, in_use = !bad && !is_free(s);

		used += at >= c->m->nr_slots || bad || in_use;
		c->nr_used += in_use;
		c->nr_bad += bad && at;
		c->nr_cached += s->page != NULL;
		fail_if(c, in_use && (!s->memcg || !(s->count || s->page || (s->flags & SLOT_MOVING))),
			"slot in use by nobody", at);
		fail_if(c, bad && (s->count || s->page), "bad slot in use", at);
	}
	fail_if(c, used != cluster->nr_used, "cluster counts another number of slots", index);
	fail_if(c, !cluster->current && list_empty(&cluster->node) != (used == SWAP_CLUSTER_SLOTS),
		"cluster on the wrong list", index);
}

unsigned int swap_map_check(struct swap_map *m, void (*complain)(const char *what, uint64_t where))
{
	struct map_check c = {.m = m, .complain = complain};

	pthread_mutex_lock(&m->lock);
	for (uint64_t i = 0; i < m->nr_clusters; i++)
		check_cluster(&c, i);
	fail_if(&c, c.nr_used != m->nr_used, "slots in use differ from their count", c.nr_used);
	fail_if(&c, c.nr_cached != m->nr_cached, "cached slots differ from their count", c.nr_cached);
	fail_if(&c, c.nr_bad != m->nr_bad, "bad slots differ from their count", c.nr_bad);
	pthread_mutex_unlock(&m->lock);
	return c.bad;
}
