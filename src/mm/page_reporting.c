/* SPDX-License-Identifier: MIT */
/* page_reporting.c - see page_reporting.h. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>

#include "buddy.h"
#include "page_reporting.h"

#define SAMPLES 8 /* in a delay */

struct page_reporting {
	struct frames *frames;
	uint32_t delay_ms; /* (C) */
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	bool running, stop;   /* (lock) */
	_Atomic bool watches; /* (A) the thread is on its round, or about to begin one */
};

/* --- one zone --------------------------------------------------------------------------------------------------------- */

uint64_t page_unreported_pages(struct zone *z)
{
	uint64_t nr = 0;

	pthread_mutex_lock(&z->lock);
	for (unsigned int o = PAGEBLOCK_ORDER; o < MAX_ORDER; o++)
		nr += z->free_area[o].nr_free << o;
	nr -= atomic_load(&z->nr_reported_pages);
	pthread_mutex_unlock(&z->lock);
	return nr;
}

/* Blocks off their lists, in the order of addresses. */
struct report {
	unsigned int nr;
	uint64_t skip_pages; /* hotter ones still to be passed over */
	struct page *block[REPORT_BLOCKS];
};

static void insert(struct report *r, struct page *block)
{
	unsigned int i = r->nr++;

	for (; i && r->block[i - 1] > block; i--)
		r->block[i] = r->block[i - 1];
	r->block[i] = block;
}

static void take_from(struct zone *z, struct list_head *list, unsigned int order, struct report *r)
{
	struct page *page, *next;

	list_for_each_entry_safe (page, next, list, node) {
		if (r->nr == REPORT_BLOCKS)
			return;
		if (atomic_load_explicit(&page->flags, memory_order_relaxed) & PG_REPORTED)
			continue;
		if (r->skip_pages) {
			r->skip_pages -= min_u64(r->skip_pages, 1ull << order);
			continue;
		}
		buddy_remove(z, page, order);
		page->order = (uint8_t)order;
		atomic_fetch_add(&z->nr_reporting_pages, 1ull << order);
		insert(r, page);
	}
}

static void take_blocks(struct zone *z, struct report *r)
{
	pthread_mutex_lock(&z->lock);
	for (unsigned int o = PAGEBLOCK_ORDER; o < MAX_ORDER; o++)
		for (unsigned int mt = 0; mt < MIGRATE_TYPES; mt++)
			if (mt != MIGRATE_ISOLATE)
				take_from(z, &z->free_area[o].free_list[mt], o, r);
	pthread_mutex_unlock(&z->lock);
}

/* One call for each run of neighbours. False: the machine would not have some of them. */
static bool discard(struct frames *f, const struct report *r)
{
	bool done = true;

	for (unsigned int i = 0; i < r->nr;) {
		pfn_t first = page_to_pfn(f, r->block[i]), end = first;
		for (; i < r->nr && page_to_pfn(f, r->block[i]) == end; i++)
			end += 1ull << r->block[i]->order;
		done = !f->bank_ops->discard(f->bank_ctx, first, end - first) && done;
		frames_count(f, PAGE_REPORT_CALLS, 1);
	}
	return done;
}

static void mark_fresh(struct page *block)
{
	for (unsigned int i = 0; i < 1u << block->order; i++)
		atomic_store_explicit(&block[i].flags, PG_FREE | PG_FRESH, memory_order_relaxed);
}

static uint64_t put_back(struct frames *f, struct zone *z, struct report *r, bool reported)
{
	uint64_t nr = 0;

	pthread_mutex_lock(&z->lock);
	for (unsigned int i = 0; i < r->nr; i++) {
		struct page *block = r->block[i];
		unsigned int order = block->order;
		enum migratetype mt = pageblock_migratetype(f, page_to_pfn(f, block));
		if (reported)
			buddy_free_reported(f, z, block, order, mt);
		else
			buddy_free(f, z, block, order, mt);
		nr += 1ull << order;
	}
	atomic_fetch_sub(&z->nr_reporting_pages, nr);
	pthread_mutex_unlock(&z->lock);
	return reported ? nr : 0;
}

uint64_t page_report_zone(struct frames *f, struct zone *z, uint64_t nr_pages)
{
	uint64_t gone = 0, part;

	do {
		struct report r = {.skip_pages = REPORT_KEEP_PAGES};
		take_blocks(z, &r);
		bool done = discard(f, &r);
		for (unsigned int i = 0; done && i < r.nr; i++)
			mark_fresh(r.block[i]);
		part = put_back(f, z, &r, done);
		gone += part;
	} while (part && gone < nr_pages);
	frames_count(f, PAGE_REPORTED, gone);
	return gone;
}

/* --- the thread ------------------------------------------------------------------------------------------------------- */

/* False: it was told to stop. */
static bool nap(struct page_reporting *r, uint64_t ms)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_nsec += (long)(ms % 1000) * 1000000;
	until.tv_sec += (time_t)(ms / 1000) + until.tv_nsec / 1000000000;
	until.tv_nsec %= 1000000000;
	pthread_mutex_lock(&r->lock);
	while (!r->stop && !pthread_cond_timedwait(&r->wake, &r->lock, &until))
		;
	bool stop = r->stop;
	pthread_mutex_unlock(&r->lock);
	return !stop;
}

/* The least of each zone at any sample of a delay. False: to stop. */
static bool watch(struct page_reporting *r, uint64_t least[MAX_ZONES])
{
	struct frames *f = r->frames;

	for (unsigned int i = 0; i < MAX_ZONES; i++)
		least[i] = UINT64_MAX;
	for (unsigned int sample = 0; sample <= SAMPLES; sample++) {
		if (sample && !nap(r, r->delay_ms / SAMPLES))
			return false;
		for (unsigned int i = 0; i < f->nr_nodes * NR_ZONES; i++)
			least[i] = min_u64(least[i], page_unreported_pages(&f->zone[i]));
	}
	return true;
}

/* Whether a zone has more free than is kept: what was freed in the middle of a round is for the next. */
static bool report_all(struct frames *f, const uint64_t least[MAX_ZONES])
{
	bool more = false;

	for (unsigned int i = 0; i < f->nr_nodes * NR_ZONES; i++) {
		struct zone *z = &f->zone[i];
		if (!zone_is_guest(z->type) || page_unreported_pages(z) <= REPORT_KEEP_PAGES)
			continue;
		if (least[i] > REPORT_KEEP_PAGES)
			page_report_zone(f, z, least[i] - REPORT_KEEP_PAGES);
		more |= page_unreported_pages(z) > REPORT_KEEP_PAGES;
	}
	return more;
}

static bool sleep_until_woken(struct page_reporting *r)
{
	pthread_mutex_lock(&r->lock);
	while (!r->stop && !atomic_load(&r->watches))
		pthread_cond_wait(&r->wake, &r->lock);
	bool stop = r->stop;
	pthread_mutex_unlock(&r->lock);
	return !stop;
}

static void *reporter(void *arg)
{
	struct page_reporting *r = arg;
	uint64_t least[MAX_ZONES];

	pthread_setname_np(pthread_self(), "page_reporting");
	while (sleep_until_woken(r)) {
		do {
			if (!watch(r, least))
				return NULL;
		} while (report_all(r->frames, least));
		atomic_store(&r->watches, false);
	}
	return NULL;
}

/* The lock is held. Without a thread memory stays. */
static void start_thread(struct page_reporting *r)
{
	sigset_t all, before;

	sigfillset(&all); /* signals are for the threads of guests */
	pthread_sigmask(SIG_SETMASK, &all, &before);
	r->running = !pthread_create(&r->thread, NULL, reporter, r);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
}

static bool has_more_than_is_kept(const struct zone *z)
{
	uint64_t free = atomic_load_explicit(&z->nr_free_pages, memory_order_relaxed);
	uint64_t reported = atomic_load_explicit(&z->nr_reported_pages, memory_order_relaxed);

	return zone_is_guest(z->type) && free > reported && free - reported > REPORT_KEEP_PAGES;
}

static void wake(struct page_reporting *r)
{
	pthread_mutex_lock(&r->lock);
	if (!r->running && !r->stop)
		start_thread(r);
	pthread_cond_signal(&r->wake);
	pthread_mutex_unlock(&r->lock);
}

void page_reporting_notify(struct frames *f)
{
	struct page_reporting *r = atomic_load_explicit(&f->reporting, memory_order_acquire);
	bool due = false;

	if (!r || atomic_load_explicit(&r->watches, memory_order_relaxed))
		return;
	for (unsigned int i = 0; !due && i < f->nr_nodes * NR_ZONES; i++)
		due = has_more_than_is_kept(&f->zone[i]);
	if (due && !atomic_exchange(&r->watches, true))
		wake(r);
}

int page_reporting_start(struct frames *f, uint32_t delay_ms, struct page_reporting **result)
{
	struct page_reporting *r = calloc(1, sizeof(*r));

	if (!r)
		return -ENOMEM;
	r->frames = f;
	r->delay_ms = delay_ms;
	pthread_mutex_init(&r->lock, NULL);
	pthread_cond_init(&r->wake, NULL);
	atomic_store(&f->reporting, r);
	*result = r;
	return 0;
}

void page_reporting_stop(struct page_reporting *r)
{
	atomic_store(&r->frames->reporting, NULL);
	pthread_mutex_lock(&r->lock);
	r->stop = true;
	pthread_cond_signal(&r->wake);
	bool running = r->running;
	pthread_mutex_unlock(&r->lock);
	if (running)
		pthread_join(r->thread, NULL);
	pthread_mutex_destroy(&r->lock);
	pthread_cond_destroy(&r->wake);
	free(r);
}
