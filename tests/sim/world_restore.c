/* SPDX-License-Identifier: MIT */
/*
 * world_restore.c - spaces saved into images and made of them again. See world.h.
 *
 * What is saved is a clone, as of a program that goes on meanwhile; what comes of it must be what the model has of the original.
 */
#include "world.h"

#include "../../src/mm/block.h"
#include "../../src/mm/restore.h"

#include <sys/mman.h>

/* One run of saving a space and making another one of what was saved. */
struct restoring {
	struct world *w;
	struct mm *from, *to;
	gva_t *at; /* of each page, in order */
	uint64_t nr, room;
	struct image_page *page;
	struct world_image *image;
	unsigned int nr_guards;
};

/* --- images -------------------------------------------------------------------------------------------------------- */

static void supply_released(struct supply *s)
{
	container_of(s, struct world_image, supply)->supplies = false;
}

/* Its pages are brought back, where there is room. */
static void image_off(struct world *w, struct world_image *image)
{
	if (image->device.nr_writes)
		world_differs(w, "an image was written to");
	image->on = image->on && sim_swap_off(&image->device);
}

/* Those that no entry says any more go. */
static void drop_images(struct world *w)
{
	for (unsigned int i = 0; i < WORLD_IMAGES; i++)
		if (w->image[i].on && !swap_nr_used(&w->image[i].device.device))
			image_off(w, &w->image[i]);
}

void world_images_off(struct world *w)
{
	for (unsigned int i = 0; i < WORLD_IMAGES; i++)
		image_off(w, &w->image[i]);
}

void world_images_end(struct world *w)
{
	drop_images(w);
	for (unsigned int i = 0; i < WORLD_IMAGES; i++)
		if (w->image[i].on || w->image[i].supplies)
			world_differs(w, "image %u is in use when all spaces are gone", i);
}

static struct world_image *free_image(struct world *w)
{
	drop_images(w);
	for (unsigned int i = 0; i < WORLD_IMAGES; i++)
		if (!w->image[i].on && !w->image[i].supplies)
			return &w->image[i];
	return NULL;
}

static void be_image(struct sim_swap *s)
{
	s->holds_pages = true;
}

/* --- saving -------------------------------------------------------------------------------------------------------- */

static void note_page(void *ctx, gva_t address)
{
	struct restoring *r = ctx;

	if (r->nr == r->room) {
		r->room = r->room ? 2 * r->room : 512;
		r->at = realloc(r->at, r->room * sizeof(*r->at));
		if (!r->at)
			_exit(3);
	}
	r->at[r->nr++] = address;
}

static void note_guard(void *ctx, gva_t address)
{
	(void)address;
	((struct restoring *)ctx)->nr_guards++;
}

static bool all_one_word(const char *page)
{
	return !memcmp(page, page + sizeof(uint64_t), PAGE_SIZE - sizeof(uint64_t));
}

/* Page i lies in slot i + 1, as it does of a file. 0 or -ENOMEM: it could not be read for want of memory. */
static int fill_image(struct restoring *r)
{
	for (uint64_t i = 0; i < r->nr; i++) {
		char *to = r->image->device.data + (i + 1) * PAGE_SIZE;
		if (read_process_memory(r->from, to, r->at[i], PAGE_SIZE) != PAGE_SIZE)
			return -ENOMEM;
		r->page[i].is_word = all_one_word(to);
		memcpy(&r->page[i].word, to, sizeof(r->page[i].word));
		if (r->page[i].is_word)
			memset(to, 0xee, PAGE_SIZE);
	}
	return 0;
}

static int save(struct restoring *r)
{
	static const struct own_page_ops ops = {.page = note_page, .guard = note_guard};
	const struct vma *v;

	vma_for_each (v, &r->from->vmas)
		mm_each_own_page(r->from, v, &ops, r);
	if (r->nr_guards)
		world_differs(r->w, "there are guards");
	r->page = calloc(r->nr + 1, sizeof(*r->page));
	if (!r->page)
		_exit(3);
	int err = sim_swap_on(&r->image->device, &r->w->machine->host, r->nr + 2, be_image);
	r->image->on = !err;
	return err ? err : fill_image(r);
}

/* --- restoring ----------------------------------------------------------------------------------------------------- */

static int restore_areas(struct restoring *r)
{
	const struct vma *v;
	int err = 0;

	vma_for_each (v, &r->from->vmas) {
		const struct saved_area a = {.start = v->start,
					     .end = v->end,
					     .flags = v->flags,
					     .file = v->file,
					     .pgoff = v->pgoff};
		err = mm_restore_area(r->to, &a);
		if (err)
			return err;
	}
	return 0;
}

struct filling {
	const struct restoring *r;
	uint64_t first;
};

/* A supply that is early: the frames hold what they should before anybody touches them. */
static int fill_block(void *ctx, void *memory)
{
	const struct filling *f = ctx;

	for (uint64_t i = 0; i < BLOCK_PAGES; i++) {
		const struct image_page *p = &f->r->page[f->first + i];
		uint64_t *to = (uint64_t *)memory + i * PAGE_SIZE / sizeof(*to);
		memcpy(to, f->r->image->device.data + (f->first + i + 1) * PAGE_SIZE, PAGE_SIZE);
		for (unsigned int n = 0; p->is_word && n < PAGE_SIZE / sizeof(*to); n++)
			to[n] = p->word;
	}
	return 0;
}

static int restore_block(struct restoring *r, uint64_t first)
{
	struct filling f = {r, first};
	const struct supplied_block b = {&r->image->supply, fill_block, &f};
	int err = mm_restore_block(r->to, r->at[first], &b);

	if (!err)
		r->w->nr_supplied++;
	return err;
}

/* Pages from i on that lie one behind the other, no more than `most`. */
static uint64_t run_from(const struct restoring *r, uint64_t i, uint64_t most)
{
	uint64_t nr = 1;

	while (nr < most && i + nr < r->nr && r->at[i + nr] == r->at[i] + nr * PAGE_SIZE)
		nr++;
	return nr;
}

static uint64_t pages_to_block(gva_t address)
{
	return (PMD_SIZE - address % PMD_SIZE) >> PAGE_SHIFT;
}

static int restore_pages(struct restoring *r, const struct op *o)
{
	unsigned int device = r->image->device.device.index;
	int err = 0;

	for (uint64_t i = 0, nr; i < r->nr && !err; i += nr) {
		nr = run_from(r, i, BLOCK_PAGES);
		if (o->flavour % 2 && nr == BLOCK_PAGES && !(r->at[i] % PMD_SIZE) && !restore_block(r, i))
			continue;
		nr = min_u64(min_u64(nr, 1 + o->other_nr), pages_to_block(r->at[i]));
		err = mm_restore_pages(r->to, r->at[i], swp_entry(device, i + 1), &r->page[i], nr);
	}
	return err;
}

static struct mm *create_like(const struct mm *from)
{
	struct mm *mm = mm_create(from->host, 1u << 20);

	if (!mm)
		return NULL;
	mm->fault_around_pages = from->fault_around_pages;
	mm->start_brk = from->start_brk;
	mm->brk = from->brk;
	mm->stack_limit_bytes = from->stack_limit_bytes;
	return mm;
}

static int restore(struct restoring *r, const struct op *o)
{
	int err;

	r->to = create_like(r->from);
	if (!r->to)
		return -ENOMEM;
	err = restore_areas(r);
	if (!err)
		err = restore_pages(r, o);
	if (err) {
		mmput(r->to);
		r->to = NULL;
	}
	return err;
}

struct mm *world_restore(struct world *w, const struct op *o, struct mm *mm)
{
	struct restoring r = {.w = w, .image = free_image(w)};
	int err;

	if (!r.image)
		return NULL;
	r.image->supply = (struct supply){.refs = 1, .release = supply_released};
	r.image->supplies = true;
	err = mm_clone(mm, NULL, &r.from);
	if (!err) {
		err = save(&r);
		if (!err)
			err = restore(&r, o);
		mmput(r.from);
	}
	supply_put(&r.image->supply);
	free(r.at);
	free(r.page);
	if (err != -ENOMEM || !o->fail)
		world_same_result(w, err, 0);
	w->nr_restored += r.to != NULL;
	return r.to;
}
