/* SPDX-License-Identifier: MIT */
/* snapshot_supply.c - see snapshot_supply.h. */
#include "snapshot_supply.h"

#include <errno.h>
#include <stdlib.h>

#include "../uffd/image.h"
#include "../uffd/lazy.h"
#include "../vmm/vm.h"
#include "inject.h"

struct snapshot_supply {
	struct lazy_source source;
	struct image *image;
	struct vm *vm;
	struct inject *inject;
};

static struct snapshot_supply *of(struct lazy_source *source)
{
	return container_of(source, struct snapshot_supply, source);
}

/* --- reading --------------------------------------------------------------------------------------- */

/* One transfer, which may be made by another thread. */
struct transfer {
	struct swap_io io;
	struct iovec iov[LAZY_BLOCK_PAGES];
	uint64_t tags[LAZY_BLOCK_PAGES];
	pthread_mutex_t lock;
	pthread_cond_t done;
	bool over; /* (lock) */
};

static void transfer_done(struct swap_io *io)
{
	struct transfer *t = container_of(io, struct transfer, io);

	pthread_mutex_lock(&t->lock);
	t->over = true;
	pthread_cond_signal(&t->done);
	pthread_mutex_unlock(&t->lock);
}

static int read_image(struct image *image, uint64_t first, unsigned int nr, char *to, unsigned int *right)
{
	struct transfer t = {.io = {.device = &image->device, .slot = first + 1, .nr = nr},
			     .lock = PTHREAD_MUTEX_INITIALIZER,
			     .done = PTHREAD_COND_INITIALIZER};
	struct swap_io *io = &t.io;

	t.io.iov = t.iov;
	t.io.tags = t.tags;
	t.io.done = transfer_done;
	for (unsigned int i = 0; i < nr; i++)
		t.iov[i] = (struct iovec){to + (size_t)i * PAGE_SIZE, PAGE_SIZE};
	image->device.ops->submit(&image->device, &io, 1);
	pthread_mutex_lock(&t.lock);
	while (!t.over)
		pthread_cond_wait(&t.done, &t.lock);
	pthread_mutex_unlock(&t.lock);
	*right = t.io.result ? t.io.nr_done : nr;
	return t.io.result;
}

static int supply_read(struct lazy_source *source, uint64_t first, unsigned int nr, char *to,
		       unsigned int *right)
{
	struct snapshot_supply *s = of(source);
	struct inject_fault fault = inject_next(s->inject, INJECT_IMAGE_READ);
	unsigned int less = 0;
	int err = 0;

	*right = 0;
	if (fault.kind == INJECT_DELAY || fault.kind == INJECT_STUCK)
		err = inject_wait(s->inject, fault);
	else if (fault.kind == INJECT_ERROR)
		err = fault.error;
	else if (fault.kind == INJECT_TORN)
		less = 1; /* as if the last page were damaged */
	else if (fault.kind == INJECT_SHORT && nr > 1)
		less = nr / 2;
	if (!err && nr > less)
		err = read_image(s->image, first, nr - less, to, right);
	if (err || !less)
		return err;
	if (fault.kind == INJECT_TORN)
		return -EBADMSG;
	unsigned int more = 0;
	err = read_image(s->image, first + nr - less, less, to + (size_t)(nr - less) * PAGE_SIZE, &more);
	*right += more;
	return err;
}

/* --- trouble --------------------------------------------------------------------------------------- */

static void supply_failed(struct lazy_source *source)
{
	vm_kick_all(of(source)->vm);
}

static enum lazy_trouble supply_trouble(struct lazy_source *source)
{
	struct snapshot_supply *s = of(source);
	struct inject_fault fault = inject_next(s->inject, INJECT_UFFD_FAULT);

	switch (fault.kind) {
	case INJECT_DELAY:
	case INJECT_STUCK:
		return inject_wait(s->inject, fault) ? LAZY_DIE : LAZY_NO_TROUBLE;
	case INJECT_DROP:
		return LAZY_DROP;
	case INJECT_KILL:
		return LAZY_DIE;
	default:
		return LAZY_NO_TROUBLE;
	}
}

/* --- the whole -------------------------------------------------------------------------------------- */

static void supply_release(struct lazy_source *source)
{
	struct snapshot_supply *s = of(source);

	image_close(s->image);
	free(s);
}

static const struct lazy_source_ops supply_ops = {.read = supply_read,
						  .failed = supply_failed,
						  .trouble = supply_trouble,
						  .release = supply_release};

struct snapshot_supply *snapshot_supply_create(struct lazy *lazy, struct image *image, struct vm *vm,
					       struct inject *inject)
{
	struct snapshot_supply *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	image_get(image);
	s->image = image;
	s->vm = vm;
	s->inject = inject;
	lazy_source_init(lazy, &s->source, &supply_ops);
	return s;
}

struct supply *snapshot_supply_of(struct snapshot_supply *s)
{
	return &s->source.supply;
}

struct arming {
	struct snapshot_supply *supply;
	uint64_t first;
};

static int arm(void *ctx, void *memory)
{
	const struct arming *a = ctx;

	return lazy_arm(&a->supply->source, memory, a->first);
}

int snapshot_supply_block(struct snapshot_supply *s, struct mm *mm, gva_t start, uint64_t first)
{
	struct arming a = {.supply = s, .first = first};
	const struct supplied_block b = {.supply = &s->source.supply, .arm = arm, .ctx = &a};

	return mm_restore_block(mm, start, &b);
}
