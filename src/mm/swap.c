/* SPDX-License-Identifier: MIT */
/* swap.c - devices in the order of their priorities, and their slots by entry. See swap.h. */
#include "swap.h"

#include <errno.h>
#include <sched.h>

#include "mm.h"
#include "swap_cache.h"
#include "swap_unuse.h"
#include "zswap.h"

void swap_init(struct mm_host *h)
{
	pthread_mutex_init(&h->swap.lock, NULL);
	list_init(&h->swap.devices);
	h->swap.around_pages = SWAP_AROUND_PAGES;
	pthread_mutex_init(&h->swap.mmlist_lock, NULL);
	list_init(&h->swap.mmlist);
	swap_transfers_init(&h->swap.transfers);
}

void swap_destroy(struct mm_host *h)
{
	zswap_off(h);
	swap_transfers_destroy(&h->swap.transfers);
	pthread_mutex_destroy(&h->swap.mmlist_lock);
	pthread_mutex_destroy(&h->swap.lock);
}

/* --- devices ------------------------------------------------------------------------------------------------------- */

/* Behind all of a higher or the same priority. swap.lock is held. */
static void enqueue(struct swap_space *s, struct swap_device *d)
{
	struct list_head *at = s->devices.next;

	while (at != &s->devices && list_entry(at, struct swap_device, node)->priority >= d->priority)
		at = at->next;
	list_add_tail(&d->node, at);
}

static int add_device(struct swap_space *s, struct swap_device *d)
{
	for (unsigned int i = 0; i < MAX_SWAP_DEVICES; i++) {
		if (s->device[i])
			continue;
		d->index = i;
		__atomic_store_n(&s->device[i], d, __ATOMIC_RELEASE);
		if (d->is_image)
			list_init(&d->node);
		else
			enqueue(s, d);
		return 0;
	}
	return -EPERM;
}

int swap_on(struct mm_host *h, struct swap_device *d)
{
	int err = swap_transfers_prepare(&h->swap.transfers);

	if (!err)
		err = swap_map_init(&d->map, d->nr_slots, d->ops->discard != NULL);
	if (err)
		return err;
	d->host = h;
	pthread_mutex_lock(&h->swap.lock);
	d->map.closed = d->is_image;
	err = add_device(&h->swap, d);
	pthread_mutex_unlock(&h->swap.lock);
	if (err)
		swap_map_destroy(&d->map);
	return err;
}

int swap_on_image(struct mm_host *h, struct swap_device *d)
{
	d->is_image = true;
	return swap_on(h, d);
}

/* Whether a device gives out slots. */
static void set_closed(struct swap_device *d, bool closed)
{
	pthread_mutex_lock(&d->map.lock);
	d->map.closed = closed;
	pthread_mutex_unlock(&d->map.lock);
}

/* swap.lock is held; their order stays. */
static void move_up(struct swap_space *s, int below)
{
	struct swap_device *d;

	list_for_each_entry (d, &s->devices, node)
		d->priority += below < 0 && d->priority < below;
}

/* Who holds it finds that what he came for is gone, but by the number of the device. */
static bool remove_unheld(struct swap_space *s, struct swap_device *d)
{
	pthread_mutex_lock(&s->lock);
	bool unheld = !atomic_load(&d->holders);
	if (unheld) {
		list_del(&d->node);
		move_up(s, d->priority);
		__atomic_store_n(&s->device[d->index], NULL, __ATOMIC_RELEASE);
	}
	pthread_mutex_unlock(&s->lock);
	return unheld;
}

int swap_off(struct swap_device *d)
{
	struct swap_space *s = &d->host->swap;

	set_closed(d, true);
	int err = swap_unuse(d);
	if (err) {
		set_closed(d, d->is_image);
		return err;
	}
	while (!remove_unheld(s, d))
		sched_yield();
	swap_map_destroy(&d->map);
	if (d->ops->release)
		d->ops->release(d);
	return 0;
}

struct swap_device *
swap_find_device(struct mm_host *h, bool (*is)(const struct swap_device *d, const void *ctx), const void *ctx)
{
	struct swap_device *d, *found = NULL;

	pthread_mutex_lock(&h->swap.lock);
	list_for_each_entry (d, &h->swap.devices, node) {
		if (!is(d, ctx))
			continue;
		found = d;
		break;
	}
	pthread_mutex_unlock(&h->swap.lock);
	return found;
}

struct swap_device *swap_find_idle_image(struct mm_host *h)
{
	struct swap_device *found = NULL;

	pthread_mutex_lock(&h->swap.lock);
	for (unsigned int i = 0; i < MAX_SWAP_DEVICES && !found; i++) {
		struct swap_device *d = h->swap.device[i];
		if (d && d->is_image && !swap_nr_used(d))
			found = d;
	}
	pthread_mutex_unlock(&h->swap.lock);
	return found;
}

struct swap_device *swap_device_of(struct mm_host *h, swp_entry_t entry)
{
	return __atomic_load_n(&h->swap.device[swp_device(entry)], __ATOMIC_ACQUIRE);
}

/* --- slots --------------------------------------------------------------------------------------------------------- */

/* Tells the device of clusters that nobody needs, which makes them free. */
static bool discard_some(struct swap_device *d)
{
	uint64_t first = swap_map_stale(&d->map);

	if (!first)
		return false;
	d->ops->discard(d, first, SWAP_CLUSTER_SLOTS);
	swap_map_told(&d->map, first);
	return true;
}

static uint64_t alloc_from(struct swap_device *d, struct memcg *cg, struct page *page)
{
	uint64_t slot;

	do
		slot = swap_map_alloc(&d->map, cg, page);
	while (!slot && discard_some(d));
	return slot;
}

/* A device whose cluster was begun goes behind its equals. */
static void take_turns(struct swap_space *s, struct swap_device *d, uint64_t slot)
{
	if (slot % SWAP_CLUSTER_SLOTS != SWAP_CLUSTER_SLOTS - 1)
		return;
	list_del(&d->node);
	enqueue(s, d);
}

bool swap_alloc(struct mm_host *h, struct memcg *cg, struct page *page, swp_entry_t *entry)
{
	struct swap_device *d;
	uint64_t slot = 0;

	pthread_mutex_lock(&h->swap.lock);
	list_for_each_entry (d, &h->swap.devices, node) {
		slot = alloc_from(d, cg, page);
		if (!slot)
			continue;
		*entry = swp_entry(d->index, slot);
		take_turns(&h->swap, d, slot);
		break;
	}
	pthread_mutex_unlock(&h->swap.lock);
	return slot;
}

void swap_begin_cluster(struct mm_host *h, const struct memcg *cg)
{
	struct swap_device *d;

	pthread_mutex_lock(&h->swap.lock);
	list_for_each_entry (d, &h->swap.devices, node) {
		pthread_mutex_lock(&d->map.lock);
		bool closed = d->map.closed;
		pthread_mutex_unlock(&d->map.lock);
		if (closed)
			continue;
		swap_map_begin_cluster(&d->map, cg);
		break;
	}
	pthread_mutex_unlock(&h->swap.lock);
}

bool swap_claim(struct mm_host *h, swp_entry_t entry, struct memcg *cg, const uint64_t *word)
{
	struct swap_map *m = &swap_device_of(h, entry)->map;

	pthread_mutex_lock(&m->lock);
	bool free = swap_map_claim(m, swp_slot(entry), cg, word);
	pthread_mutex_unlock(&m->lock);
	return free;
}

uint64_t swap_nr_used(struct swap_device *d)
{
	pthread_mutex_lock(&d->map.lock);
	uint64_t nr = d->map.nr_used;
	pthread_mutex_unlock(&d->map.lock);
	return nr;
}

void swap_dup(struct mm_host *h, swp_entry_t entry)
{
	struct swap_map *m = &swap_device_of(h, entry)->map;

	pthread_mutex_lock(&m->lock);
	m->slot[swp_slot(entry)].count++;
	pthread_mutex_unlock(&m->lock);
}

void swap_put(struct mm_host *h, swp_entry_t entry)
{
	struct swap_map *m = &swap_device_of(h, entry)->map;

	pthread_mutex_lock(&m->lock);
	struct swap_slot *slot = &m->slot[swp_slot(entry)];
	struct page *unused = --slot->count ? NULL : slot->page;
	if (unused)
		page_get(unused);
	swap_map_release(m, swp_slot(entry));
	pthread_mutex_unlock(&m->lock);
	if (!unused)
		return;
	swap_cache_drop(h, unused);
	page_put(h->frames, unused);
}

uint32_t swap_count(struct mm_host *h, swp_entry_t entry)
{
	struct swap_map *m = &swap_device_of(h, entry)->map;

	pthread_mutex_lock(&m->lock);
	uint32_t count = m->slot[swp_slot(entry)].count;
	pthread_mutex_unlock(&m->lock);
	return count;
}

struct memcg *swap_get_memcg(struct mm_host *h, swp_entry_t entry)
{
	struct swap_map *m = &swap_device_of(h, entry)->map;

	pthread_mutex_lock(&m->lock);
	struct memcg *cg = m->slot[swp_slot(entry)].memcg;
	memcg_get(cg);
	pthread_mutex_unlock(&m->lock);
	return cg;
}

void swap_totals(struct mm_host *h, struct swap_totals *t)
{
	struct swap_device *d;

	*t = (struct swap_totals){0};
	pthread_mutex_lock(&h->swap.lock);
	list_for_each_entry (d, &h->swap.devices, node) {
		pthread_mutex_lock(&d->map.lock);
		t->total += d->map.nr_slots - 1 - d->map.nr_bad;
		t->used += d->map.nr_used;
		t->bad += d->map.nr_bad;
		t->cached += d->map.nr_cached;
		pthread_mutex_unlock(&d->map.lock);
	}
	pthread_mutex_unlock(&h->swap.lock);
}

void swap_each_device(struct mm_host *h, void (*fn)(const struct swap_device_view *v, void *ctx), void *ctx)
{
	struct swap_device *d;

	pthread_mutex_lock(&h->swap.lock);
	list_for_each_entry (d, &h->swap.devices, node) {
		struct swap_device_view v = {d->path, d->is_file, d->priority, 0, 0};
		pthread_mutex_lock(&d->map.lock);
		v.pages = d->map.nr_slots - 1 - d->map.nr_bad;
		v.used = d->map.nr_used;
		pthread_mutex_unlock(&d->map.lock);
		fn(&v, ctx);
	}
	pthread_mutex_unlock(&h->swap.lock);
}

bool swap_cached(struct mm_host *h, pte_t pte)
{
	if (entry_type(pte) != ENTRY_SWAP)
		return false;
	swp_entry_t entry = pte_to_swp_entry(pte);
	struct swap_map *m = &swap_device_of(h, entry)->map;

	return atomic_load_explicit(&m->slot[swp_slot(entry)].page, memory_order_relaxed);
}

struct swap_device *swap_hold(struct mm_host *h, swp_entry_t entry)
{
	struct swap_device *d = swap_device_of(h, entry);

	atomic_fetch_add(&d->holders, 1);
	return d;
}

void swap_unhold(struct swap_device *d)
{
	atomic_fetch_sub(&d->holders, 1);
}

/* --- spaces -------------------------------------------------------------------------------------------------------- */

void swap_note_space(struct mm *mm)
{
	struct swap_space *s = &mm->host->swap;

	if (atomic_load_explicit(&mm->on_mmlist, memory_order_relaxed))
		return;
	pthread_mutex_lock(&s->mmlist_lock);
	if (!atomic_exchange(&mm->on_mmlist, true))
		list_add_tail(&mm->mmlist, &s->mmlist);
	pthread_mutex_unlock(&s->mmlist_lock);
}

void swap_fork(struct mm *child, struct mm *parent)
{
	if (atomic_load_explicit(&parent->on_mmlist, memory_order_relaxed))
		swap_note_space(child);
}

void swap_forget_space(struct mm *mm)
{
	pthread_mutex_lock(&mm->host->swap.mmlist_lock);
	list_del(&mm->mmlist);
	pthread_mutex_unlock(&mm->host->swap.mmlist_lock);
}
