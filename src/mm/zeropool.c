/* SPDX-License-Identifier: MIT */
/* zeropool.c - see zeropool.h. */
#include <errno.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "buddy.h"
#include "watermark.h"
#include "zeropool.h"

#define LOOK_NS	    4000000
#define CHUNK_PAGES 1024

struct zeropool_thread {
	struct frames *frames;
	pthread_t thread;
	_Atomic bool stop;
};

static void *map_bytes(size_t bytes)
{
	void *map =
		mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return map == MAP_FAILED ? NULL : map;
}

int zeropool_init(struct zone *z)
{
	if (!zone_is_guest(z->type) || !zone_populated(z))
		return 0;
	z->zeropool = map_bytes(sizeof(struct zeropool));
	return z->zeropool ? 0 : -ENOMEM;
}

void zeropool_destroy(struct zone *z)
{
	if (z->zeropool)
		munmap(z->zeropool, sizeof(struct zeropool));
	z->zeropool = NULL;
}

static bool trylock(struct zeropool *p)
{
	return !atomic_exchange_explicit(&p->lock, 1, memory_order_acquire);
}

static void lock_waiting(struct zeropool *p)
{
	while (!trylock(p))
		sched_yield();
}

static void unlock(struct zeropool *p)
{
	atomic_store_explicit(&p->lock, 0, memory_order_release);
}

static struct page *pop(struct zeropool *p, unsigned int huge)
{
	uint32_t nr = atomic_load_explicit(&p->nr[huge], memory_order_relaxed);

	if (!nr)
		return NULL;
	atomic_store_explicit(&p->nr[huge], --nr, memory_order_relaxed);
	return huge ? p->huge[nr] : p->page[nr];
}

static bool push(struct zeropool *p, struct page *page, unsigned int huge)
{
	uint32_t nr = atomic_load_explicit(&p->nr[huge], memory_order_relaxed);

	if (nr == (huge ? ZEROPOOL_HUGE : ZEROPOOL_PAGES))
		return false;
	if (huge)
		p->huge[nr] = page;
	else
		p->page[nr] = page;
	atomic_store_explicit(&p->nr[huge], nr + 1, memory_order_relaxed);
	return true;
}

struct page *zeropool_take(struct frames *f, struct zone *z, unsigned int order)
{
	struct zeropool *p = z->zeropool;

	(void)f;
	if (!trylock(p))
		return NULL;
	struct page *page = pop(p, order != 0);
	unlock(p);
	return page;
}

static bool is_fresh(const struct page *page, unsigned int order)
{
	for (unsigned int i = 0; i < 1u << order; i++)
		if (!(atomic_load_explicit(&page[i].flags, memory_order_relaxed) & PG_FRESH))
			return false;
	return true;
}

/* Clears what is not known to be zero. Returns the frames cleared. */
static uint64_t clear(struct frames *f, struct page *page, unsigned int order)
{
	uint64_t nr = 0;

	for (unsigned int i = 0; i < 1u << order; i++) {
		if (is_fresh(&page[i], 0))
			continue;
		memset(page_address(f, &page[i]), 0, PAGE_SIZE);
		atomic_store_explicit(&page[i].flags, PG_FREE | PG_FRESH, memory_order_relaxed);
		nr++;
	}
	return nr;
}

static void give_back(struct frames *f, struct zone *z, struct page *page, unsigned int order)
{
	pthread_mutex_lock(&z->lock);
	buddy_free(f, z, page, order, pageblock_migratetype(f, page_to_pfn(f, page)));
	pthread_mutex_unlock(&z->lock);
}

/* A used movable block; fresh ones need no pool. The lists are short of used frames when the head is fresh: NULL. */
static struct page *take_used(struct frames *f, struct zone *z, unsigned int order)
{
	pthread_mutex_lock(&z->lock);
	bool plenty =
		zone_watermark_ok(z, order, wmark_pages(z, WMARK_HIGH) + 2 * ZEROPOOL_PAGES, z->type, 0);
	struct page *page = plenty ? buddy_take_smallest(f, z, order, MIGRATE_MOVABLE) : NULL;
	if (page && is_fresh(page, order)) {
		buddy_free(f, z, page, order, pageblock_migratetype(f, page_to_pfn(f, page)));
		page = NULL;
	}
	pthread_mutex_unlock(&z->lock);
	return page;
}

static uint64_t fill(struct frames *f, struct zone *z, unsigned int order, uint64_t nr)
{
	struct zeropool *p = z->zeropool;
	uint32_t most = order ? ZEROPOOL_HUGE : ZEROPOOL_PAGES;
	uint64_t cleared = 0;

	while (cleared < nr && atomic_load_explicit(&p->nr[order != 0], memory_order_relaxed) < most) {
		struct page *page = take_used(f, z, order);
		if (!page)
			break;
		cleared += clear(f, page, order);
		lock_waiting(p);
		bool kept = push(p, page, order != 0);
		unlock(p);
		if (!kept) {
			give_back(f, z, page, order);
			break;
		}
	}
	return cleared;
}

uint64_t zeropool_fill(struct frames *f, uint64_t nr)
{
	uint64_t cleared = 0;

	for (unsigned int i = 0; i < f->nr_nodes * NR_ZONES; i++) {
		struct zone *z = &f->zone[i];
		if (!z->zeropool)
			continue;
		cleared += fill(f, z, 0, nr - min_u64(nr, cleared));
		cleared += fill(f, z, PAGEBLOCK_ORDER, nr - min_u64(nr, cleared));
	}
	return cleared;
}

uint64_t zeropool_drain(struct frames *f, struct zone *z)
{
	uint64_t nr = 0;

	for (unsigned int huge = 0; z->zeropool && huge < 2; huge++) {
		unsigned int order = huge ? PAGEBLOCK_ORDER : 0;
		struct page *page;
		lock_waiting(z->zeropool);
		while ((page = pop(z->zeropool, huge))) {
			give_back(f, z, page, order);
			nr += 1ull << order;
		}
		unlock(z->zeropool);
	}
	return nr;
}

uint64_t zeropool_pages(struct zone *z)
{
	if (!z->zeropool)
		return 0;
	return atomic_load(&z->zeropool->nr[0]) + atomic_load(&z->zeropool->nr[1]) * PAGEBLOCK_PAGES;
}

static void *run(void *arg)
{
	struct zeropool_thread *t = arg;
	const struct timespec nap = {.tv_nsec = LOOK_NS};
	const struct sched_param none = {0};

	pthread_setschedparam(pthread_self(), SCHED_IDLE, &none); /* a courtesy: works without */
	while (!atomic_load(&t->stop))
		if (!zeropool_fill(t->frames, CHUNK_PAGES))
			nanosleep(&nap, NULL);
	return NULL;
}

int zeropool_start(struct frames *f, struct zeropool_thread **thread)
{
	struct zeropool_thread *t = map_bytes(sizeof(*t));

	if (!t)
		return -ENOMEM;
	t->frames = f;
	int err = pthread_create(&t->thread, NULL, run, t);
	if (err) {
		munmap(t, sizeof(*t));
		return -err;
	}
	*thread = t;
	return 0;
}

void zeropool_stop(struct zeropool_thread *t)
{
	atomic_store(&t->stop, true);
	pthread_join(t->thread, NULL);
	munmap(t, sizeof(*t));
}
