/* SPDX-License-Identifier: MIT */
/* world_swap.c - pages that go to swap, which the model knows nothing of: nobody may notice. See world.h. */
#include "sim_compress.h"
#include "world.h"
#include "../../src/mm/shmem_shrink.h"
#include "../../src/mm/swap_cache.h"

#include <unistd.h>

void world_zswap_begin(struct world *w, uint64_t nr_frames)
{
	if (nr_frames && zswap_on(&w->machine->host, &sim_compress_ops, nr_frames))
		_exit(3);
}

void world_swap_begin(struct world *w)
{
	if (sim_swap_on(&w->swap, &w->machine->host, WORLD_SWAP_SLOTS, NULL))
		_exit(3);
}

void world_swap_end(struct world *w)
{
	if (w->swap.device.map.nr_used)
		world_differs(w, "%llu slots are in use when all spaces are gone",
			      (unsigned long long)w->swap.device.map.nr_used);
	struct zswap_view z;
	zswap_view(&w->machine->host, &z);
	if (z.pages || z.frames)
		world_differs(w, "%llu compressed pages are there when all spaces are gone",
			      (unsigned long long)z.pages);
	if (sim_swap_off(&w->swap))
		world_differs(w, "an empty swap device does not go");
}

/* That of shared memory which nobody may map there. */
static struct page *grab_shared(struct mm *mm, gva_t address)
{
	const struct vma *vma = vma_find(&mm->vmas, address);

	return vma && vma->start <= address && vma->mapping && vma->mapping->shmem
		       ? filemap_find(vma->mapping, vma_linear_index(vma, address))
		       : NULL;
}

/* The frame of a page, or the one that is cached for its slot, with a reference. */
static struct page *grab(struct mm *mm, uint64_t at)
{
	const pte_t *slot = pgtable_find(&mm->pgt, at << PAGE_SHIFT);
	struct page *page = world_frame(mm, at);

	if (page)
		page_get(page);
	else if (slot && entry_type(pte_read(slot)) == ENTRY_SWAP)
		page = swap_cache_find(mm->host, pte_to_swp_entry(pte_read(slot)));
	return page ? page : grab_shared(mm, at << PAGE_SHIFT);
}

/* Now and then the device refuses some of them. */
void world_swap_out(struct world *w, const struct op *o, struct mm *mm)
{
	struct page *page[PMD_PAGES];
	unsigned int nr = 0;

	for (uint64_t i = 0; i < o->nr && i < PMD_PAGES; i++) {
		page[nr] = grab(mm, o->page + i);
		nr += page[nr] != NULL;
	}
	w->swap.fail_write_every = o->flavour ? 0 : 1 + (unsigned int)(o->value >> 8) % 9;
	swap_out(&w->machine->host, page, nr);
	if (o->other_nr % 4 == 0) /* what nobody maps, and what was read along or refused by its slot */
		shmem_shrink(&w->machine->host, mm->memcg, o->nr, 0, SHMEM_SHRINK_ALL);
	if (o->other_nr % 3 == 0)
		zswap_write_back(&w->machine->host, mm->memcg, 1);
	w->swap.fail_write_every = 0;
}

/* The device goes, and comes back with other slots. Its bad ones are good then. */
void world_swap_off(struct world *w, const struct op *o)
{
	int err = sim_swap_off(&w->swap);

	if (o->flavour % 2)
		world_images_off(w);
	if (!err)
		world_swap_begin(w);
	else if (err != -ENOMEM || !o->fail)
		world_differs(w, "the swap device does not go: %d", err);
}

/* Every so-many-th page that is read fails, of swap and of images. */
static void fail_reads(struct world *w, unsigned int every)
{
	w->swap.fail_read_every = every;
	for (unsigned int i = 0; i < WORLD_IMAGES; i++)
		w->image[i].device.fail_read_every = every;
}

static uint64_t nr_failed(const struct world *w)
{
	uint64_t nr = w->swap.nr_failed;

	for (unsigned int i = 0; i < WORLD_IMAGES; i++)
		nr += w->image[i].device.nr_failed;
	return nr;
}

/* Loads while the device cannot read every so-many-th page; each is SIGBUS, or right. */
void world_swap_errors(struct world *w, const struct op *o)
{
	const struct model *m = &w->space[w->cpu_space[o->cpu]].model;

	for (uint64_t i = 0; i < o->nr && i < 16; i++) {
		struct model_page *p = model_page((struct model *)(uintptr_t)m, o->page + i);
		gva_t at = ((o->page + i) << PAGE_SHIFT) + model_word_offset[o->word];
		uint64_t value = 0, failed = nr_failed(w);

		if (!p || !p->mapped)
			continue;
		fail_reads(w, 1 + (unsigned int)(o->value >> 8) % 3);
		struct fault_signal sig = sim_load(&w->machine->cpu[o->cpu], at, &value, 8);
		fail_reads(w, 0);
		if (sig.signo != SIGBUS || nr_failed(w) == failed)
			world_access(w, SIM_LOAD, o->page + i, o->word, o->cpu, 0);
	}
}
