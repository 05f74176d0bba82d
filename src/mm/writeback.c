/* SPDX-License-Identifier: MIT */
/* writeback.c - bringing dirty pages of the cache to their files. See writeback.h. */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <time.h>

#include "mm.h"
#include "rmap.h"
#include "writeback.h"

#define BATCH_PAGES	      64
#define DIRTY_WRITEBACK_MS    5000
#define DIRTY_EXPIRE_MS	      30000
#define DIRTY_BACKGROUND_PART 20 /* of the host's frames */
#define DIRTY_PART	      10

/* --- one batch ---------------------------------------------------------------------------------------------------- */

struct batch {
	struct address_space *as;
	unsigned int nr;
	struct page *page[BATCH_PAGES]; /* ascending; with a reference */
};

/* Takes PG_DIRTY off the next dirty pages in [*index, last] and puts PG_WRITEBACK on. */
static void batch_collect(struct batch *b, uint64_t *index, uint64_t last)
{
	struct address_space *as = b->as;
	struct page *page;

	b->nr = 0;
	pthread_mutex_lock(&as->lock);
	while (b->nr < BATCH_PAGES && (page = radix_next_tagged(&as->pages, index, RADIX_DIRTY)) &&
	       *index <= last) {
		page_get(page);
		radix_tag_clear(&as->pages, *index, RADIX_DIRTY);
		radix_tag_set(&as->pages, *index, RADIX_WRITEBACK);
		atomic_fetch_and(&page->flags, ~(uint32_t)PG_DIRTY);
		atomic_fetch_or(&page->flags, PG_WRITEBACK);
		writeback_account(as->mm_host, -1);
		b->page[b->nr++] = page;
		if (++*index == 0)
			break;
	}
	pthread_mutex_unlock(&as->lock);
}

/* Writes pages [from, to) of the batch, which follow one another in the file, as far as the file goes. */
static int write_run(struct batch *b, unsigned int from, unsigned int to, uint64_t size)
{
	struct iovec iov[BATCH_PAGES];
	struct backing *host = b->as->host;
	uint64_t offset = b->page[from]->index << PAGE_SHIFT;
	unsigned int nr = 0;

	for (unsigned int i = from; i < to; i++) {
		uint64_t at = b->page[i]->index << PAGE_SHIFT;
		if (at >= size)
			break;
		iov[nr++] = (struct iovec){page_address(b->as->mm_host->frames, b->page[i]),
					   min_u64(PAGE_SIZE, size - at)};
	}
	if (!nr)
		return 0; /* all beyond the end: stores there are not part of the file */
	return host->ops->write ? host->ops->write(host, iov, nr, offset) : -EROFS;
}

/* Ends the writing of pages [from, to): clean, or dirty again after an error. */
static void end_run(struct batch *b, unsigned int from, unsigned int to, int err)
{
	struct address_space *as = b->as;

	for (unsigned int i = from; i < to; i++) {
		struct page *page = b->page[i];
		if (err)
			filemap_set_dirty(page);
		pthread_mutex_lock(&as->lock);
		if (page_mapping(page) == as) {
			radix_tag_clear(&as->pages, page->index, RADIX_WRITEBACK);
			atomic_fetch_and(&page->flags, ~(uint32_t)PG_WRITEBACK);
		}
		pthread_mutex_unlock(&as->lock);
	}
	struct writeback *wb = &as->mm_host->writeback;
	atomic_fetch_add(err ? &wb->nr_errors : &wb->nr_written, err ? 1 : to - from);
}

/* The end of the run of pages that follow one another in the file, from `from` on. */
static unsigned int run_end(const struct batch *b, unsigned int from)
{
	unsigned int to = from + 1;

	while (to < b->nr && b->page[to]->index == b->page[to - 1]->index + 1)
		to++;
	return to;
}

/* W1: whoever stores to these pages from now on makes them dirty again. */
static void batch_protect(struct batch *b)
{
	for (unsigned int from = 0, to; from < b->nr; from = to) {
		to = run_end(b, from);
		mapping_mkclean(b->as, b->page[from]->index, b->page[to - 1]->index);
	}
}

static int batch_write(struct batch *b)
{
	int64_t size = b->as->host->ops->size(b->as->host);
	int first_err = 0;

	for (unsigned int from = 0, to; from < b->nr; from = to) {
		to = run_end(b, from);
		int err = size < 0 ? (int)size : write_run(b, from, to, (uint64_t)size);
		end_run(b, from, to, err);
		first_err = first_err ? first_err : err;
	}
	for (unsigned int i = 0; i < b->nr; i++)
		page_put(b->as->mm_host->frames, b->page[i]);
	return first_err;
}

int writeback_range(struct address_space *as, uint64_t first, uint64_t last)
{
	struct batch b = {.as = as};
	uint64_t index = first;
	int first_err = 0;

	if (as->shmem)
		return 0;
	do {
		pthread_rwlock_rdlock(&as->io_lock);
		pthread_mutex_lock(&as->wb_lock);
		batch_collect(&b, &index, last);
		batch_protect(&b);
		int err = batch_write(&b);
		pthread_mutex_unlock(&as->wb_lock);
		pthread_rwlock_unlock(&as->io_lock);
		if (err)
			atomic_store(&as->wb_err, err);
		first_err = first_err ? first_err : err;
	} while (b.nr == BATCH_PAGES && index && index <= last);
	return first_err;
}

int writeback_sync(struct address_space *as, uint64_t first, uint64_t last)
{
	struct backing *host = as->host;

	if (as->shmem)
		return 0;
	writeback_range(as, first, last);
	int err = atomic_exchange(&as->wb_err, 0);
	int sync_err = host->ops->sync ? host->ops->sync(host) : 0;
	return err ? err : sync_err;
}

/* --- the list of dirty mappings ----------------------------------------------------------------------------------- */

void writeback_account(struct mm_host *h, int nr)
{
	atomic_fetch_add_explicit(&h->writeback.nr_dirty, nr, memory_order_relaxed);
}

void writeback_enlist(struct address_space *as)
{
	struct writeback *wb = &as->mm_host->writeback;

	pthread_mutex_lock(&wb->lock);
	if (list_empty(&as->dirty_node))
		list_add_tail(&as->dirty_node, &wb->dirty);
	pthread_mutex_unlock(&wb->lock);
}

void writeback_forget(struct address_space *as)
{
	struct writeback *wb = &as->mm_host->writeback;

	pthread_mutex_lock(&wb->lock);
	list_del(&as->dirty_node);
	list_init(&as->dirty_node);
	pthread_mutex_unlock(&wb->lock);
}

/* Takes the next mapping off the list, with a reference to its file; NULL: none that lives. wb->lock is held. */
static struct address_space *next_dirty(struct writeback *wb)
{
	struct address_space *as;

	list_for_each_entry (as, &wb->dirty, dirty_node) {
		if (backing_get_live(as->host)) {
			list_del(&as->dirty_node);
			list_init(&as->dirty_node);
			return as;
		}
	}
	return NULL;
}

/* Dirty again, by an error or by somebody who was faster: back onto the list. */
static void requeue(struct address_space *as)
{
	pthread_mutex_lock(&as->lock);
	if (radix_tagged(&as->pages, RADIX_DIRTY))
		writeback_enlist(as);
	pthread_mutex_unlock(&as->lock);
}

static bool is_old(struct address_space *as, uint64_t now, uint64_t expire_ns)
{
	pthread_mutex_lock(&as->lock);
	bool old = now - as->dirtied_ns >= expire_ns;
	pthread_mutex_unlock(&as->lock);
	return old;
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* Writes each mapping that is on the list now, once, if its pages are old enough. */
static void write_listed(struct mm_host *h, uint64_t expire_ns)
{
	struct writeback *wb = &h->writeback;
	struct address_space *as;
	unsigned int left = 0;

	pthread_mutex_lock(&wb->lock);
	list_for_each_entry (as, &wb->dirty, dirty_node)
		left++;
	while (left-- > 0 && (as = next_dirty(wb))) {
		pthread_mutex_unlock(&wb->lock);
		if (is_old(as, now_ns(), expire_ns))
			writeback_range(as, 0, ~0ull);
		requeue(as);
		backing_put(as->host);
		pthread_mutex_lock(&wb->lock);
	}
	pthread_mutex_unlock(&wb->lock);
}

void writeback_all(struct mm_host *h)
{
	write_listed(h, 0);
}

/* --- the thread --------------------------------------------------------------------------------------------------- */

static void wait_for_work(struct writeback *wb)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += wb->dirty_writeback_ms / 1000;
	until.tv_nsec += wb->dirty_writeback_ms % 1000 * 1000000l;
	if (until.tv_nsec >= 1000000000l) {
		until.tv_nsec -= 1000000000l;
		until.tv_sec++;
	}
	pthread_mutex_lock(&wb->lock);
	while (!wb->stop && !wb->kicked)
		if (pthread_cond_timedwait(&wb->wake, &wb->lock, &until))
			break;
	pthread_mutex_unlock(&wb->lock);
}

static bool must_stop(struct writeback *wb, bool *kicked)
{
	pthread_mutex_lock(&wb->lock);
	bool stop = wb->stop;
	*kicked = wb->kicked;
	wb->kicked = false;
	pthread_mutex_unlock(&wb->lock);
	return stop;
}

static void *flusher(void *arg)
{
	struct mm_host *h = arg;
	struct writeback *wb = &h->writeback;
	bool kicked;

	for (;;) {
		wait_for_work(wb);
		if (must_stop(wb, &kicked))
			return NULL;
		bool much = atomic_load(&wb->nr_dirty) > (int64_t)wb->dirty_background_pages;
		write_listed(h, kicked || much ? 0 : wb->dirty_expire_ms * 1000000ull);
	}
}

/* Without a thread, what is dirty waits for msync, fsync or the last reference. */
static void start_thread(struct mm_host *h)
{
	struct writeback *wb = &h->writeback;
	sigset_t all, before;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	pthread_mutex_lock(&wb->lock);
	if (!wb->running && !wb->stop)
		wb->running = !pthread_create(&wb->thread, NULL, flusher, h);
	atomic_store(&wb->started, true);
	pthread_mutex_unlock(&wb->lock);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
}

void writeback_kick(struct mm_host *h)
{
	struct writeback *wb = &h->writeback;

	pthread_mutex_lock(&wb->lock);
	wb->kicked = true;
	pthread_cond_signal(&wb->wake);
	pthread_mutex_unlock(&wb->lock);
}

void writeback_balance(struct address_space *as)
{
	struct mm_host *h = as->mm_host;
	struct writeback *wb = &h->writeback;
	int64_t dirty = atomic_load_explicit(&wb->nr_dirty, memory_order_relaxed);

	if (!atomic_load(&wb->started))
		start_thread(h);
	if (dirty > (int64_t)wb->dirty_pages)
		writeback_range(as, 0, ~0ull);
	else if (dirty > (int64_t)wb->dirty_background_pages)
		writeback_kick(h);
}

void writeback_init(struct mm_host *h)
{
	struct writeback *wb = &h->writeback;
	uint64_t frames = frames_guest_pages(h->frames);

	memset(wb, 0, sizeof(*wb));
	pthread_mutex_init(&wb->lock, NULL);
	pthread_cond_init(&wb->wake, NULL);
	list_init(&wb->dirty);
	wb->dirty_writeback_ms = DIRTY_WRITEBACK_MS;
	wb->dirty_expire_ms = DIRTY_EXPIRE_MS;
	wb->dirty_background_pages = frames / DIRTY_BACKGROUND_PART;
	wb->dirty_pages = frames / DIRTY_PART;
}

void writeback_stop(struct mm_host *h)
{
	struct writeback *wb = &h->writeback;

	pthread_mutex_lock(&wb->lock);
	bool running = wb->running;
	wb->stop = true;
	pthread_cond_signal(&wb->wake);
	pthread_mutex_unlock(&wb->lock);
	if (running)
		pthread_join(wb->thread, NULL);
	pthread_mutex_lock(&wb->lock);
	wb->running = false;
	wb->stop = false;
	atomic_store(&wb->started, false);
	pthread_mutex_unlock(&wb->lock);
}

void writeback_destroy(struct mm_host *h)
{
	writeback_stop(h);
	pthread_mutex_destroy(&h->writeback.lock);
	pthread_cond_destroy(&h->writeback.wake);
}
