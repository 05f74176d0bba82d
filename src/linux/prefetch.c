/* SPDX-License-Identifier: MIT */
/* prefetch.c - see prefetch.h. */
#include "prefetch.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "../mm/swap_bring.h"
#include "../uffd/image_order.h"
#include "snapshot.h"

#define EAGER_ROOM_SHIFT    6
#define PREFETCH_ROOM_SHIFT 3

/* A page, by where it is to be. */
struct wanted {
	gva_t address;
	uint32_t space;
};

struct prefetch {
	struct mm **mm; /* of each space, held but not used */
	uint32_t nr_mm;
	struct wanted *wanted;
	uint64_t nr_wanted;
	unsigned int room_shift; /* this part of the memory is left for those who touch pages */
	_Atomic bool stop;
	bool runs;
	pthread_t thread;
	struct image_order *order; /* what is recorded, or NULL */
	char *path;		   /* of the image */
};

/* --- bringing ------------------------------------------------------------------------------------------ */

static int compare(const void *a, const void *b)
{
	gva_t x = *(const gva_t *)a, y = *(const gva_t *)b;

	return x < y ? -1 : x > y;
}

/* Those behind `first` that lie in the same 2 MiB of the same space, in the order of their addresses. */
static unsigned int take_group(const struct prefetch *p, uint64_t first, gva_t at[SWAP_AROUND_PAGES])
{
	const struct wanted *w = &p->wanted[first];
	unsigned int nr = 0;

	for (uint64_t i = 0; first + i < p->nr_wanted && nr < SWAP_AROUND_PAGES; i++) {
		if (w[i].space != w->space || (w[i].address & PMD_MASK) != (w->address & PMD_MASK))
			break;
		at[nr++] = w[i].address;
	}
	qsort(at, nr, sizeof(*at), compare);
	return nr;
}

static bool bring_group(const struct prefetch *p, struct mm *mm, const gva_t *at, unsigned int nr)
{
	uint64_t max_pages = atomic_load(&mm->memcg->max_pages);

	if (!mmget_not_zero(mm))
		return true;
	bool room = mm_prefetch(mm, at, nr, max_pages >> p->room_shift);
	mmput(mm);
	return room;
}

static void *bring_all(void *arg)
{
	struct prefetch *p = arg;
	gva_t at[SWAP_AROUND_PAGES];
	bool room = true;

	for (uint64_t i = 0, nr; i < p->nr_wanted && room && !atomic_load(&p->stop); i += nr) {
		nr = take_group(p, i, at);
		room = bring_group(p, p->mm[p->wanted[i].space], at, (unsigned int)nr);
	}
	return NULL;
}

/* --- what is wanted -------------------------------------------------------------------------------------- */

static int hold_spaces(struct prefetch *p, struct snapshot *n)
{
	p->mm = calloc(n->mm.nr, sizeof(struct mm *));
	if (!p->mm)
		return -ENOMEM;
	for (p->nr_mm = 0; p->nr_mm < n->mm.nr; p->nr_mm++) {
		p->mm[p->nr_mm] = n->mm.at[p->nr_mm];
		mmgrab(p->mm[p->nr_mm]);
	}
	return 0;
}

/* list NULL: all pages of the image. */
static int note_wanted(struct prefetch *p, const struct image *image, const uint32_t *list, uint64_t nr)
{
	p->wanted = calloc(nr + 1, sizeof(*p->wanted));
	if (!p->wanted)
		return -ENOMEM;
	for (uint64_t i = 0; i < nr; i++)
		image_where(image, list ? list[i] : i, &p->wanted[i].space, &p->wanted[i].address);
	p->nr_wanted = nr;
	return 0;
}

static int want(struct prefetch *p, struct snapshot *n, enum lodge_pages how)
{
	uint64_t nr = n->image->nr_pages;
	uint32_t *list = NULL;

	if (how == LODGE_PAGES_PREFETCH) {
		list = image_order_read(n->image, p->path, &nr);
		if (!list)
			return 0;
	}
	int err = hold_spaces(p, n);
	if (!err)
		err = note_wanted(p, n->image, list, nr);
	free(list);
	return err;
}

/* Each page by itself, so that nothing is in the list that nobody touched. */
static int record(struct prefetch *p, struct snapshot *n)
{
	n->image->device.one_by_one = true;
	p->order = image_order_begin(n->image);
	return p->order ? 0 : -ENOMEM;
}

int prefetch_begin(struct snapshot *n, const char *path, enum lodge_pages how, struct prefetch **result)
{
	struct prefetch *p = calloc(1, sizeof(*p));
	int err = 0;

	if (!p)
		return -ENOMEM;
	p->path = strdup(path);
	if (!p->path)
		err = -ENOMEM;
	else if (how == LODGE_PAGES_RECORD)
		err = record(p, n);
	else if (how != LODGE_PAGES_LAZY)
		err = want(p, n, how);
	if (err) {
		prefetch_destroy(p);
		return err;
	}
	p->room_shift = how == LODGE_PAGES_EAGER ? EAGER_ROOM_SHIFT : PREFETCH_ROOM_SHIFT;
	if (how == LODGE_PAGES_EAGER)
		bring_all(p);
	else if (p->nr_wanted) /* without a thread pages come when they are touched */
		p->runs = !pthread_create(&p->thread, NULL, bring_all, p);
	*result = p;
	return 0;
}

void prefetch_stop(struct prefetch *p)
{
	if (!p || !p->runs)
		return;
	atomic_store(&p->stop, true);
	pthread_join(p->thread, NULL);
	p->runs = false;
}

void prefetch_destroy(struct prefetch *p)
{
	if (!p)
		return;
	prefetch_stop(p);
	for (uint32_t i = 0; i < p->nr_mm; i++)
		mmdrop(p->mm[i]);
	free(p->mm);
	free(p->wanted);
	free(p->path);
	image_order_put(p->order);
	free(p);
}

int prefetch_write_order(const struct prefetch *p)
{
	return p && p->order ? image_order_write(p->order, p->path) : -EINVAL;
}
