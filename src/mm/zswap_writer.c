/* SPDX-License-Identifier: MIT */
/*
 * zswap_writer.c - the oldest compressed pages go to their device.
 *
 * Frames are emptied as a whole, the oldest first: taking one page here and one there would free nothing. A writer unpacks what up to
 * 64 slots have into memory of its own, which is had when the tier is switched on: there may be none now. Slots that follow one another are
 * one transfer. A slot that takes no write keeps its object, and its turn comes again when the others had theirs.
 *
 * Locking: lock of the writers, a leaf.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "mm.h"
#include "zswap_impl.h"

struct writer {
	struct mm_host *host; /* NULL: idle */
	struct memcg *cg;     /* a reference */
	struct swap_device *device;
	unsigned int nr;	   /* slots */
	unsigned int nr_frames;	   /* that hold them */
	_Atomic unsigned int left; /* (A) transfers, and one while they are queued */
	char *pages;
	struct zpool_object object[ZPOOL_MOST_OBJECTS];
	struct swap_io io[ZPOOL_MOST_OBJECTS];
	struct iovec iov[ZPOOL_MOST_OBJECTS];
	uint64_t tags[ZPOOL_MOST_OBJECTS];
};

struct zswap_writers {
	pthread_mutex_t lock;
	pthread_cond_t idle;  /* (lock) one more is */
	unsigned int nr_idle; /* (lock) */
	char *pages;
	struct writer writer[ZSWAP_WRITERS];
};

#define PAGES_BYTES ((size_t)ZSWAP_WRITERS * ZPOOL_MOST_OBJECTS * PAGE_SIZE)

int zswap_writers_create(struct zswap *z)
{
	struct zswap_writers *s = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	s->pages = mmap(NULL, PAGES_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (s->pages == MAP_FAILED) {
		free(s);
		return -ENOMEM;
	}
	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->idle, NULL);
	for (unsigned int i = 0; i < ZSWAP_WRITERS; i++)
		s->writer[i].pages = s->pages + (size_t)i * ZPOOL_MOST_OBJECTS * PAGE_SIZE;
	s->nr_idle = ZSWAP_WRITERS;
	z->writers = s;
	return 0;
}

void zswap_writers_destroy(struct zswap *z)
{
	struct zswap_writers *s = z->writers;

	if (!s)
		return;
	pthread_mutex_lock(&s->lock);
	while (s->nr_idle < ZSWAP_WRITERS)
		pthread_cond_wait(&s->idle, &s->lock);
	pthread_mutex_unlock(&s->lock);
	munmap(s->pages, PAGES_BYTES);
	pthread_mutex_destroy(&s->lock);
	pthread_cond_destroy(&s->idle);
	free(s);
}

/* --- a writer's turn ----------------------------------------------------------------------------------------------- */

static struct writer *get_writer(struct mm_host *h, struct memcg *cg)
{
	struct zswap_writers *s = h->swap.zswap->writers;
	struct writer *w = NULL;

	pthread_mutex_lock(&s->lock);
	for (unsigned int i = 0; i < ZSWAP_WRITERS && !w; i++)
		if (!s->writer[i].host)
			w = &s->writer[i];
	if (w) {
		w->host = h;
		w->cg = cg;
		s->nr_idle--;
		memcg_get(cg);
	}
	pthread_mutex_unlock(&s->lock);
	return w;
}

static void put_writer(struct writer *w)
{
	struct zswap_writers *s = w->host->swap.zswap->writers;

	memcg_put(w->cg);
	pthread_mutex_lock(&s->lock);
	w->host = NULL;
	s->nr_idle++;
	pthread_cond_broadcast(&s->idle);
	pthread_mutex_unlock(&s->lock);
}

/* One transfer less. After the last one the room is there. */
static void drop_transfer(struct writer *w)
{
	struct mm_host *h = w->host;

	if (atomic_fetch_sub(&w->left, 1) != 1)
		return;
	swap_unhold(w->device);
	atomic_fetch_sub(&h->swap.zswap->nr_leaving, w->nr_frames);
	atomic_fetch_sub(&w->cg->nr_swap_writes, 1);
	swap_io_note_end(h);
	put_writer(w); /* last: who switches the tier off waits for it */
}

/* What becomes of a slot that was written, or not. */
static void land(struct writer *w, unsigned int i, bool good)
{
	struct swap_map *m = &w->device->map;
	uint64_t at = swp_slot((swp_entry_t){w->object[i].owner});

	pthread_mutex_lock(&m->lock);
	struct swap_slot *slot = &m->slot[at];
	slot->flags &= ~SLOT_MOVING;
	if (good)
		zswap_forget(slot);
	swap_map_release(m, at);
	pthread_mutex_unlock(&m->lock);
}

static void written(struct swap_io *io)
{
	struct writer *w = io->context;
	unsigned int first = (unsigned int)(io->iov - w->iov), nr = io->nr;
	unsigned int good = io->result ? io->nr_done : nr;

	for (unsigned int i = 0; i < nr; i++)
		land(w, first + i, i < good);
	frames_count(w->host->frames, ZSWPWB, good);
	frames_count(w->host->frames, PSWPOUT, good);
	drop_transfer(w);
}

/* --- choosing ------------------------------------------------------------------------------------------------------ */

static int by_slot(const void *a, const void *b)
{
	uint64_t x = ((const struct zpool_object *)a)->owner, y = ((const struct zpool_object *)b)->owner;

	return (x > y) - (x < y);
}

/* The device of an object that may be gone by now, held; NULL: there is nothing to write to. */
static struct swap_device *hold_device(struct mm_host *h, const struct zpool_object *o)
{
	pthread_mutex_lock(&h->swap.lock);
	struct swap_device *d = swap_device_of(h, (swp_entry_t){o->owner});
	if (d && d->in_memory)
		d = NULL;
	if (d)
		atomic_fetch_add(&d->holders, 1);
	pthread_mutex_unlock(&h->swap.lock);
	return d;
}

/* Keeps the slot from being freed, if it has the object still, and nobody else writes it back. */
static bool claim(const struct writer *w, const struct zpool_object *o)
{
	swp_entry_t entry = {o->owner};
	struct swap_map *m = &w->device->map;

	if (swp_device(entry) != w->device->index)
		return false;
	pthread_mutex_lock(&m->lock);
	struct swap_slot *slot = &m->slot[swp_slot(entry)];
	bool has = (slot->flags & (SLOT_COMPRESSED | SLOT_MOVING)) == SLOT_COMPRESSED &&
		   slot->memcg == w->cg && slot->value == o->handle.val;
	slot->flags |= has ? SLOT_MOVING : 0;
	pthread_mutex_unlock(&m->lock);
	return has;
}

/* Claims and unpacks what it can; what is damaged stays for who reads it. */
static void unpack(struct writer *w, unsigned int nr)
{
	for (unsigned int i = 0; i < nr; i++) {
		struct zpool_object o = w->object[i];
		uint64_t at = swp_slot((swp_entry_t){o.owner});
		char *page = w->pages + (size_t)w->nr * PAGE_SIZE;

		if (!claim(w, &o))
			continue;
		w->object[w->nr] = o;
		if (zswap_unpack(w->host->swap.zswap, w->device, at, page) != ZSWAP_FILLED) {
			land(w, w->nr, false);
			continue;
		}
		w->iov[w->nr] = (struct iovec){page, PAGE_SIZE};
		w->tags[w->nr++] = swap_slot_tag(w->device, at);
	}
}

static unsigned int make_transfers(struct writer *w)
{
	unsigned int nr = 0;

	for (unsigned int i = 0; i < w->nr; i++) {
		uint64_t at = swp_slot((swp_entry_t){w->object[i].owner});

		if (nr && w->io[nr - 1].slot + w->io[nr - 1].nr == at) {
			w->io[nr - 1].nr++;
			continue;
		}
		w->io[nr] = (struct swap_io){.device = w->device,
					     .slot = at,
					     .nr = 1,
					     .write = true,
					     .iov = &w->iov[i],
					     .tags = &w->tags[i],
					     .context = w,
					     .done = written};
		nr++;
	}
	return nr;
}

/* Queues what was unpacked. Transfers may be done, but not the writer, before all are queued. */
static void submit(struct writer *w)
{
	struct swap_io *io[ZPOOL_MOST_OBJECTS];
	unsigned int nr = make_transfers(w);

	for (unsigned int i = 0; i < nr; i++)
		io[i] = &w->io[i];
	atomic_store(&w->left, nr + 1);
	swap_io_note_begin(w->host);
	atomic_fetch_add(&w->cg->nr_swap_writes, 1);
	atomic_fetch_add(&w->host->swap.zswap->nr_leaving, w->nr_frames);
	if (nr)
		w->device->ops->submit(w->device, io, nr);
	drop_transfer(w);
}

/* How many frames will be free when it is done. */
static uint64_t begin(struct mm_host *h, struct memcg *cg)
{
	struct writer *w = get_writer(h, cg);

	if (!w)
		return 0;
	unsigned int nr = zpool_take_oldest(&cg->zpool, w->object, &w->nr_frames);
	w->nr = 0;
	if (nr)
		qsort(w->object, nr, sizeof(w->object[0]), by_slot);
	w->device = nr ? hold_device(h, &w->object[0]) : NULL;
	if (!w->device) {
		put_writer(w);
		return 0;
	}
	unpack(w, nr);
	uint64_t frames = w->nr ? w->nr_frames : 0;
	submit(w);
	return frames;
}

uint64_t zswap_write_back(struct mm_host *h, struct memcg *cg, uint64_t nr_frames)
{
	uint64_t going = 0, nr = 1;

	while (h->swap.zswap && going < nr_frames && nr) {
		nr = begin(h, cg);
		going += nr;
	}
	return going;
}
