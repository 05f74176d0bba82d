/* SPDX-License-Identifier: MIT */
/* zswap.c - see zswap.h. */
#include "zswap.h"

#include <errno.h>
#include <stdlib.h>

#include "ageing.h"
#include "mm.h"
#include "page_alloc.h"
#include "swap_cache.h"
#include "workingset.h"
#include "zswap_impl.h"

/* --- workers ------------------------------------------------------------------------------------------------------- */

/* One after the other from the last one on: those who come at the same time find others free. */
struct zswap_worker *zswap_get_worker(struct zswap *z)
{
	unsigned int at = atomic_fetch_add_explicit(&z->turn, 1, memory_order_relaxed);

	for (unsigned int i = 0; i < ZSWAP_WORKERS; i++) {
		struct zswap_worker *w = &z->worker[(at + i) % ZSWAP_WORKERS];
		if (!pthread_mutex_trylock(&w->lock))
			return w;
	}
	pthread_mutex_lock(&z->worker[at % ZSWAP_WORKERS].lock);
	return &z->worker[at % ZSWAP_WORKERS];
}

void zswap_put_worker(struct zswap_worker *w)
{
	pthread_mutex_unlock(&w->lock);
}

static void destroy(struct zswap *z)
{
	for (unsigned int i = 0; i < ZSWAP_WORKERS; i++) {
		if (z->worker[i].state)
			z->ops->worker_destroy(z->worker[i].state);
		pthread_mutex_destroy(&z->worker[i].lock);
	}
	zswap_writers_destroy(z);
	free(z);
}

static struct zswap *create(struct frames *frames, const struct zswap_ops *ops, uint64_t max_frames)
{
	struct zswap *z = calloc(1, sizeof(*z));
	bool good = z != NULL;

	if (!z)
		return NULL;
	z->ops = ops;
	z->max_frames = max_frames;
	z->home.frames = frames;
	for (unsigned int i = 0; i < ZSWAP_WORKERS; i++) {
		pthread_mutex_init(&z->worker[i].lock, NULL);
		z->worker[i].state = ops->worker_create();
		good = good && z->worker[i].state;
	}
	good = !zswap_writers_create(z) && good;
	if (!good) {
		destroy(z);
		z = NULL;
	}
	return z;
}

/* Frames are needed just when there are no more. */
static void keep_reserves(struct mm_host *h)
{
	struct mm *mm = NULL;

	while ((mm = mm_next_space(h, mm)))
		memcg_keep_reserve(mm->memcg);
}

int zswap_on(struct mm_host *h, const struct zswap_ops *ops, uint64_t max_frames)
{
	if (h->swap.zswap)
		return -EBUSY;
	if (!max_frames)
		return -EINVAL;
	h->swap.zswap = create(h->frames, ops, max_frames);
	if (!h->swap.zswap)
		return -ENOMEM;
	keep_reserves(h);
	return 0;
}

void zswap_off(struct mm_host *h)
{
	if (h->swap.zswap)
		destroy(h->swap.zswap);
	h->swap.zswap = NULL;
}

/* --- storing ------------------------------------------------------------------------------------------------------- */

static struct page *new_frame(struct mm_host *h, struct zswap *z, struct memcg *cg)
{
	struct page *page = NULL;

	if (atomic_fetch_add(&z->home.nr_frames, 1) < z->max_frames && memcg_charge_reserve(cg, 1)) {
		page_alloc_begin_reserve();
		page = page_alloc(h->frames, (GFP_HIGHUSER | __GFP_NOWARN) & ~__GFP_RECLAIM, 0);
		page_alloc_end_reserve();
		if (page)
			page_set_memcg(page, cg);
		else
			memcg_uncharge(cg, 1);
	}
	if (!page)
		atomic_fetch_sub(&z->home.nr_frames, 1);
	return page;
}

static bool put_in_pool(struct mm_host *h, struct memcg *cg, const struct zswap_worker *w, unsigned int bytes,
			struct zpool_object *object)
{
	struct zswap *z = h->swap.zswap;

	if (zpool_add(&cg->zpool, &z->home, NULL, w->buffer, bytes, object))
		return true;
	if (!zpool_is_worth_a_frame(bytes))
		return false;
	struct page *fresh = new_frame(h, z, cg);
	return fresh && zpool_add(&cg->zpool, &z->home, fresh, w->buffer, bytes, object);
}

static bool compress(struct mm_host *h, const struct page *page, struct zpool_object *object)
{
	swp_entry_t entry = page_swap_entry(page);
	struct zswap *z = h->swap.zswap;
	struct zswap_worker *w = zswap_get_worker(z);
	uint64_t tag = swap_slot_tag(swap_device_of(h, entry), swp_slot(entry));
	unsigned int bytes =
		z->ops->compress(w->state, page_address(h->frames, page), w->buffer, ZSWAP_MOST_BYTES, tag);

	object->owner = entry.val;
	bool stored = bytes && put_in_pool(h, page->memcg, w, bytes, object);
	zswap_put_worker(w);
	return stored;
}

/* From a little before it is full on, the oldest go. */
static void make_room(struct mm_host *h, struct zswap *z, struct memcg *cg)
{
	uint64_t high = z->max_frames - z->max_frames / 16,
		 stay = atomic_load(&z->home.nr_frames) -
			min_u64(atomic_load(&z->nr_leaving), atomic_load(&z->home.nr_frames));

	if (stay >= high)
		zswap_write_back(h, cg, stay - high + z->max_frames / 16);
}

bool zswap_store(struct mm_host *h, struct page *page)
{
	struct zswap *z = h->swap.zswap;
	struct zpool_object object;

	if (!z)
		return false;
	bool stored = compress(h, page, &object);
	if (stored) {
		swp_entry_t entry = page_swap_entry(page);
		struct swap_map *m = &swap_device_of(h, entry)->map;
		pthread_mutex_lock(&m->lock);
		m->slot[swp_slot(entry)].value = object.handle.val;
		m->slot[swp_slot(entry)].flags |= SLOT_COMPRESSED;
		pthread_mutex_unlock(&m->lock);
		atomic_fetch_and(&page->flags, ~(uint32_t)PG_DIRTY);
	}
	frames_count(h->frames, stored ? ZSWPOUT : ZSWPOUT_REJECT, 1);
	make_room(h, z, page->memcg);
	return stored;
}

/* --- loading ------------------------------------------------------------------------------------------------------- */

/* Copies under the lock that keeps the object where it is; 0: there is none. */
static unsigned int copy_object(struct swap_device *d, uint64_t at, void *to)
{
	unsigned int bytes = 0;

	pthread_mutex_lock(&d->map.lock);
	const struct swap_slot *slot = &d->map.slot[at];
	if (slot->flags & SLOT_COMPRESSED)
		bytes = zpool_read(&slot->memcg->zpool, (zhandle_t){slot->value}, to);
	pthread_mutex_unlock(&d->map.lock);
	return bytes;
}

enum zswap_found zswap_unpack(struct zswap *z, struct swap_device *d, uint64_t at, void *to)
{
	struct zswap_worker *w = zswap_get_worker(z);
	unsigned int bytes = copy_object(d, at, w->buffer);
	enum zswap_found found = ZSWAP_NONE;

	if (bytes)
		found = z->ops->decompress(w->state, w->buffer, bytes, to, swap_slot_tag(d, at))
				? ZSWAP_DAMAGED
				: ZSWAP_FILLED;
	zswap_put_worker(w);
	return found;
}

enum zswap_found zswap_load(struct mm_host *h, swp_entry_t entry, struct page *page)
{
	struct zswap *z = h->swap.zswap;
	struct swap_device *d = swap_device_of(h, entry);

	if (!z || d->is_image)
		return ZSWAP_NONE;
	enum zswap_found found = zswap_unpack(z, d, swp_slot(entry), page_address(h->frames, page));
	if (found == ZSWAP_FILLED) {
		atomic_fetch_or(&page->flags, PG_UPTODATE);
		frames_count(h->frames, ZSWPIN, 1);
	}
	return found;
}

void zswap_forget(struct swap_slot *slot)
{
	zpool_remove(&slot->memcg->zpool, (zhandle_t){slot->value});
	slot->flags &= ~SLOT_COMPRESSED;
	slot->value = 0;
}

/* --- a device in memory -------------------------------------------------------------------------------------------- */

/* Nothing is ever written to it, so there is nothing to read: what is not in the pool is an error. */
static void refuse(struct swap_device *d, struct swap_io **io, unsigned int nr)
{
	(void)d;
	for (unsigned int i = 0; i < nr; i++) {
		io[i]->result = -EIO;
		io[i]->nr_done = 0;
		io[i]->done(io[i]);
	}
}

static void free_device(struct swap_device *d)
{
	free(d);
}

struct swap_device *zswap_device_create(uint64_t nr_slots)
{
	static const struct swap_device_ops ops = {.submit = refuse, .release = free_device};
	struct swap_device *d = calloc(1, sizeof(*d));

	if (d)
		*d = (struct swap_device){
			.ops = &ops, .path = "zram", .priority = -1, .nr_slots = nr_slots, .in_memory = true};
	return d;
}

/* --- for reports and checks ---------------------------------------------------------------------------------------- */

void zswap_view(struct mm_host *h, struct zswap_view *v)
{
	const struct zswap *z = h->swap.zswap;

	*v = (struct zswap_view){0};
	if (!z)
		return;
	v->name = z->ops->name;
	v->max_frames = z->max_frames;
	v->frames = atomic_load(&z->home.nr_frames);
	v->pages = atomic_load(&z->home.nr_objects);
}

bool zswap_check_slot(const struct swap_slot *slot, swp_entry_t entry)
{
	return !(slot->flags & SLOT_COMPRESSED) ||
	       zpool_has(&slot->memcg->zpool, (zhandle_t){slot->value}, entry.val);
}
