/* SPDX-License-Identifier: MIT */
/* swap_io.c - see swap_io.h. */
#include "swap_io.h"

#include <errno.h>
#include <stdlib.h>

#include "mm.h"
#include "swap_cache.h"

struct swap_transfer {
	struct swap_io io; /* first */
	struct list_head node;
	struct mm_host *host;
	struct page *page[SWAP_IO_PAGES];
	struct iovec iov[SWAP_IO_PAGES];
	uint64_t tags[SWAP_IO_PAGES];
};

void swap_transfers_init(struct swap_transfers *t)
{
	*t = (struct swap_transfers){0};
	pthread_mutex_init(&t->lock, NULL);
	pthread_cond_init(&t->done, NULL);
	for (unsigned int way = 0; way < NR_SWAP_WAYS; way++)
		list_init(&t->idle[way]);
}

void swap_transfers_destroy(struct swap_transfers *t)
{
	free(t->all);
	pthread_cond_destroy(&t->done);
	pthread_mutex_destroy(&t->lock);
}

int swap_transfers_prepare(struct swap_transfers *t)
{
	int err = 0;

	pthread_mutex_lock(&t->lock);
	if (!t->all) {
		t->all = calloc((size_t)NR_SWAP_WAYS * SWAP_NR_IO, sizeof(*t->all));
		err = t->all ? 0 : -ENOMEM;
		for (unsigned int i = 0; t->all && i < NR_SWAP_WAYS * SWAP_NR_IO; i++) {
			list_add_tail(&t->all[i].node, &t->idle[i % NR_SWAP_WAYS]);
			t->nr_idle[i % NR_SWAP_WAYS]++;
		}
	}
	pthread_mutex_unlock(&t->lock);
	return err;
}

/* --- transfers that come back -------------------------------------------------------------------------------------- */

static void recycle(struct swap_transfer *x)
{
	struct swap_transfers *t = &x->host->swap.transfers;
	enum swap_way way = x->io.write ? SWAP_WRITE : SWAP_READ;

	pthread_mutex_lock(&t->lock);
	list_add_tail(&x->node, &t->idle[way]);
	t->nr_idle[way]++;
	t->nr_ends += x->io.write;
	pthread_cond_broadcast(&t->done);
	pthread_mutex_unlock(&t->lock);
}

void swap_io_note_begin(struct mm_host *h)
{
	struct swap_transfers *t = &h->swap.transfers;

	pthread_mutex_lock(&t->lock);
	t->nr_others++;
	pthread_mutex_unlock(&t->lock);
}

void swap_io_note_end(struct mm_host *h)
{
	struct swap_transfers *t = &h->swap.transfers;

	pthread_mutex_lock(&t->lock);
	t->nr_others--;
	t->nr_ends++;
	pthread_cond_broadcast(&t->done);
	pthread_mutex_unlock(&t->lock);
}

/* The slot did not take the page, which stays; once nobody needs the slot it is used no more. */
static void note_failure(struct mm_host *h, const struct page *page)
{
	swp_entry_t entry = page_swap_entry(page);
	struct swap_map *m = &swap_device_of(h, entry)->map;

	pthread_mutex_lock(&m->lock);
	m->slot[swp_slot(entry)].flags |= SLOT_FAILED;
	pthread_mutex_unlock(&m->lock);
}

static void written(struct mm_host *h, struct page *page, bool good)
{
	struct memcg *cg = page->memcg;

	memcg_get(cg);
	atomic_fetch_and(&page->flags, ~(uint32_t)(good ? PG_WRITEBACK | PG_DIRTY : PG_WRITEBACK));
	if (good) {
		frames_count(h->frames, PSWPOUT, 1);
		swap_cache_evict(h, page);
	} else {
		note_failure(h, page);
	}
	swap_cache_unlock(h, page);
	page_put(h->frames, page);
	atomic_fetch_sub(&cg->nr_swap_writes, 1); /* its room is there: who waits for it looks at both */
	memcg_put(cg);
}

/* A page that could not be read leaves the cache: whoever waits for it and did not ask for it reads for himself. */
static void was_read(struct mm_host *h, struct page *page, bool good)
{
	if (good) {
		atomic_fetch_or(&page->flags, PG_UPTODATE);
		frames_count(h->frames, PSWPIN, 1);
	} else {
		swap_cache_remove(h, page);
	}
	swap_cache_unlock(h, page);
	page_put(h->frames, page);
}

static void transfer_done(struct swap_io *io)
{
	struct swap_transfer *x = (struct swap_transfer *)io;

	for (unsigned int i = 0; i < io->nr; i++)
		(io->write ? written : was_read)(x->host, x->page[i], !io->result || i < io->nr_done);
	recycle(x);
}

/* --- transfers that go --------------------------------------------------------------------------------------------- */

void swap_plug_begin(struct swap_plug *p, struct mm_host *h, enum swap_way way)
{
	*p = (struct swap_plug){.host = h, .way = way};
}

/* Those of one device go to it together. */
static void submit_all(struct swap_plug *p)
{
	struct swap_io *io[ARRAY_SIZE(p->transfer)];

	for (unsigned int i = 0; i < p->nr;) {
		struct swap_device *d = p->transfer[i]->io.device;
		unsigned int nr = 0;

		for (; i < p->nr && p->transfer[i]->io.device == d; i++)
			io[nr++] = &p->transfer[i]->io;
		d->ops->submit(d, io, nr);
	}
	p->nr = 0;
}

static struct swap_transfer *take_idle(struct swap_transfers *t, enum swap_way way)
{
	if (list_empty(&t->idle[way]))
		return NULL;
	struct swap_transfer *x = list_entry(t->idle[way].next, struct swap_transfer, node);
	list_del(&x->node);
	t->nr_idle[way]--;
	return x;
}

/* What was collected goes first: others may be waiting for just these. */
static struct swap_transfer *get_transfer(struct swap_plug *p)
{
	struct swap_transfers *t = &p->host->swap.transfers;

	if (p->nr == ARRAY_SIZE(p->transfer))
		submit_all(p);
	pthread_mutex_lock(&t->lock);
	struct swap_transfer *x = take_idle(t, p->way);
	if (!x && p->nr) {
		pthread_mutex_unlock(&t->lock);
		submit_all(p);
		pthread_mutex_lock(&t->lock);
	}
	while (!x && !(x = take_idle(t, p->way)))
		pthread_cond_wait(&t->done, &t->lock);
	pthread_mutex_unlock(&t->lock);
	return x;
}

static struct swap_transfer *begin_transfer(struct swap_plug *p, struct swap_device *d, uint64_t slot)
{
	struct swap_transfer *x = get_transfer(p);

	x->host = p->host;
	x->io = (struct swap_io){.device = d,
				 .slot = slot,
				 .write = p->way == SWAP_WRITE,
				 .ahead = p->ahead,
				 .iov = x->iov,
				 .tags = x->tags,
				 .done = transfer_done};
	p->transfer[p->nr++] = x;
	return x;
}

static bool continues(const struct swap_transfer *x, const struct swap_device *d, uint64_t slot)
{
	return x->io.device == d && x->io.slot + x->io.nr == slot && x->io.nr < SWAP_IO_PAGES;
}

/* The same slot holds something else the next time. */
uint64_t swap_slot_tag(struct swap_device *d, uint64_t slot)
{
	pthread_mutex_lock(&d->map.lock);
	uint64_t generation = d->map.slot[slot].generation;
	pthread_mutex_unlock(&d->map.lock);
	return generation << 32 | slot;
}

void swap_plug_add(struct swap_plug *p, struct page *page)
{
	swp_entry_t entry = page_swap_entry(page);
	struct swap_device *d = swap_device_of(p->host, entry);
	uint64_t slot = swp_slot(entry);
	struct swap_transfer *x = p->nr ? p->transfer[p->nr - 1] : NULL;

	if (!x || !continues(x, d, slot))
		x = begin_transfer(p, d, slot);
	x->page[x->io.nr] = page;
	x->tags[x->io.nr] = swap_slot_tag(d, slot);
	x->iov[x->io.nr++] = (struct iovec){page_address(p->host->frames, page), PAGE_SIZE};
}

void swap_plug_end(struct swap_plug *p)
{
	submit_all(p);
}

bool swap_wait(struct mm_host *h)
{
	struct swap_transfers *t = &h->swap.transfers;

	pthread_mutex_lock(&t->lock);
	uint64_t ends = t->nr_ends;
	bool busy = (t->all && t->nr_idle[SWAP_WRITE] < SWAP_NR_IO) || t->nr_others;
	while (busy && t->nr_ends == ends)
		pthread_cond_wait(&t->done, &t->lock);
	pthread_mutex_unlock(&t->lock);
	return busy;
}
