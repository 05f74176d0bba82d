/* SPDX-License-Identifier: MIT */
/* world_check.c - comparing the core with the model. See world.h. */
#include "world.h"

void world_differs(struct world *w, const char *format, ...)
{
	va_list args;
	int n;

	if (w->why[0])
		return;
	n = snprintf(w->why, w->why_bytes, "step %u (%s): ", w->step, w->op ? op_name[w->op->kind] : "end");
	va_start(args, format);
	vsnprintf(w->why + n, w->why_bytes - (size_t)n, format, args);
	va_end(args);
}

void world_same_result(struct world *w, int64_t core, int64_t model)
{
	if (core != model)
		world_differs(w, "the core says %#llx (%lld), the model %#llx (%lld)",
			      (unsigned long long)core, (long long)core, (unsigned long long)model,
			      (long long)model);
}

/* --- areas -------------------------------------------------------------------------------------------------------- */

static bool same_flags(const struct vma *vma, const struct model_page *p)
{
	return (vma->flags & VM_ACCESS_FLAGS) == p->prot && (vma->flags & MODEL_FLAGS) == p->flags &&
	       !(vma->flags & VM_MAYSHARE) == !p->shared && !(vma->flags & VM_GROWSDOWN) == !p->grows_down &&
	       !(vma->flags & VM_ACCOUNT) == !p->account &&
	       !(p->shared && !(vma->flags & VM_MAYWRITE)) == !p->no_write;
}

static bool same_area(struct world *w, const struct vma *vma, const struct model_page *p, uint64_t at,
		      uint64_t end)
{
	if (!vma || vma->start != at << PAGE_SHIFT || vma->end != end << PAGE_SHIFT)
		world_differs(w, "the model has an area %#llx-%#llx, the core %#llx-%#llx",
			      (unsigned long long)at << PAGE_SHIFT, (unsigned long long)end << PAGE_SHIFT,
			      (unsigned long long)(vma ? vma->start : 0),
			      (unsigned long long)(vma ? vma->end : 0));
	else if (!same_flags(vma, p))
		world_differs(w, "flags %#llx of the area at %#llx, the model has %#x and prot %u",
			      (unsigned long long)vma->flags, (unsigned long long)vma->start, p->flags,
			      p->prot);
	else if (!vma->anon_vma != !p->anon)
		world_differs(w, "the area at %#llx has %s anon_vma", (unsigned long long)vma->start,
			      vma->anon_vma ? "an" : "no");
	else
		return true;
	return false;
}

/* The model's areas, page by page, against the core's list. */
void world_same_areas(struct world *w, unsigned int space)
{
	struct model *m = &w->space[space].model;
	const struct mm *mm = w->space[space].mm;
	const struct vma *vma = mm->vmas.first;

	for (unsigned int i = 0; i < MODEL_STRETCHES; i++) {
		struct model_stretch *s = &m->stretch[i];

		for (uint64_t at = s->first; at < s->first + s->nr;) {
			struct model_page *p = &s->page[at - s->first];
			uint64_t end = p->mapped ? model_area_end(m, at) : at + 1;

			if (p->mapped && !same_area(w, vma, p, at, end))
				return;
			if (p->mapped)
				vma = vma->next;
			at = end;
		}
	}
	if (vma)
		world_differs(w, "the core has an area at %#llx that the model has not",
			      (unsigned long long)vma->start);
	if (mm->total_vm_pages != model_mapped_pages(m))
		world_differs(w, "total_vm is %llu, the model has %llu pages",
			      (unsigned long long)mm->total_vm_pages,
			      (unsigned long long)model_mapped_pages(m));
}

/* --- what the core says of itself --------------------------------------------------------------------------------- */

static struct world *complaining; /* whose mm_check is running */

static void note_violation(const char *what, uint64_t where)
{
	world_differs(complaining, "mm_check: %s at %#llx", what, (unsigned long long)where);
}

void world_check_frames(struct world *w)
{
	struct mm *mm[WORLD_SPACES];
	unsigned int nr = 0;

	for (unsigned int i = 0; i < WORLD_SPACES; i++)
		if (w->space[i].mm)
			mm[nr++] = w->space[i].mm;
	complaining = w;
	if (mm_check_host(&w->machine->host, mm, nr, note_violation))
		world_differs(w, "mm_check_host found violations");
}

void world_audit(struct world *w)
{
	char words[200];

	if (sim_audit(w->machine, words, sizeof(words)))
		world_differs(w, "%s", words);
	if (w->machine->nr_bad_batches)
		world_differs(w,
			      "a batch broke the rules of mmu.h, or a frame was freed before it was revoked");
}

void world_check(struct world *w)
{
	complaining = w;
	for (unsigned int i = 0; i < WORLD_SPACES && !w->why[0]; i++) {
		if (!w->space[i].mm)
			continue;
		if (mm_check(w->space[i].mm, note_violation))
			world_differs(w, "mm_check found violations");
		world_same_areas(w, i);
	}
	for (unsigned int i = 0; i < MODEL_FILES; i++) {
		if (filemap_check(&w->disk[i]->backing.cache))
			world_differs(w, "filemap_check found violations in file %u", i);
	}
	world_audit(w);
	if (w->machine->frames.event[BAD_PAGE])
		world_differs(w, "a frame was called bad");
}

/* --- memory ------------------------------------------------------------------------------------------------------- */

static void same_signal(struct world *w, struct fault_signal core, struct fault_signal model)
{
	if (core.signo != model.signo || core.code != model.code ||
	    (core.signo && core.address != model.address))
		world_differs(w, "the core says signal %d code %d at %#llx, the model %d %d at %#llx",
			      core.signo, core.code, (unsigned long long)core.address, model.signo,
			      model.code, (unsigned long long)model.address);
}

void world_access(struct world *w, enum sim_access kind, uint64_t page, unsigned int word, unsigned int cpu,
		  uint64_t value)
{
	uint64_t core_value = value, model_value = value;
	gva_t address = (page << PAGE_SHIFT) + model_word_offset[word];
	unsigned int space = w->cpu_space[cpu];
	struct fault_signal core = sim_access(&w->machine->cpu[cpu], kind, address, &core_value, 8), model;

	if (core.signo == SIGKILL && w->op && w->op->fail) {
		world_resync_stack(w, space, page);
		world_resync(w, space);
		return;
	}
	model = model_access(&w->space[space].model, kind, page, word, &model_value);
	same_signal(w, core, model);
	if (!core.signo && !model.signo && core_value != model_value)
		world_differs(w, "%#llx at %#llx of space %u, the model has %#llx",
			      (unsigned long long)core_value, (unsigned long long)address, space,
			      (unsigned long long)model_value);
}

static void sweep_space(struct world *w, unsigned int cpu)
{
	struct model *m = &w->space[w->cpu_space[cpu]].model;

	for (unsigned int i = 0; i < MODEL_STRETCHES; i++) {
		struct model_stretch *s = &m->stretch[i];

		for (uint64_t k = 0; k < s->nr && !w->why[0]; k++) {
			if (s->page[k].mapped)
				world_access(w, SIM_LOAD, s->first + k, (unsigned int)k % MODEL_WORDS, cpu,
					     0);
		}
	}
}

void world_sweep(struct world *w)
{
	const struct op *op = w->op;

	w->op = NULL;
	for (unsigned int cpu = 0; cpu < WORLD_CPUS; cpu++) {
		bool again = false;

		for (unsigned int i = 0; i < cpu; i++)
			again |= w->cpu_space[i] == w->cpu_space[cpu];
		if (!again)
			sweep_space(w, cpu);
	}
	w->op = op;
}

/* The frame that a space maps at a page, or NULL. */
struct page *world_frame(struct mm *mm, uint64_t page)
{
	unsigned int level;
	const pte_t *slot = pgtable_leaf(&mm->pgt, page << PAGE_SHIFT, &level);
	pte_t pte = slot ? pte_read(slot) : 0;

	if (!pte_present(pte) || (pte & PTE_SPECIAL))
		return NULL;
	return pfn_to_page(mm->frames, pte_pfn(pte) + (page & ((1ull << 9 * level) - 1)));
}

static bool is_swapped(struct mm *mm, uint64_t page)
{
	const pte_t *slot = pgtable_find(&mm->pgt, page << PAGE_SHIFT);

	return slot && entry_type(pte_read(slot)) == ENTRY_SWAP;
}

/* Whether the core came to copying a private page of a file; where it did not, nothing that was stored may be lost. */
static void resync_own(struct model_page *p, const struct page *page, bool swapped)
{
	if (!p->object || p->shared)
		return;
	if (swapped || (page && page_anon(page)))
		model_set_own(p, true);
	else if (p->own && !memcmp(p->word, p->object->word[p->pgoff], sizeof(p->word)))
		model_set_own(p, false);
}

void world_resync_stack(struct world *w, unsigned int space, uint64_t page)
{
	struct model_page *p = model_page(&w->space[space].model, page);
	gva_t address = page << PAGE_SHIFT;

	if (p && !p->mapped && vma_find_intersection(&w->space[space].mm->vmas, address, address + PAGE_SIZE))
		model_grow_stack(&w->space[space].model, page);
}

void world_resync(struct world *w, unsigned int space)
{
	struct model *m = &w->space[space].model;
	struct mm *mm = w->space[space].mm;

	for (unsigned int i = 0; i < MODEL_STRETCHES; i++) {
		struct model_stretch *s = &m->stretch[i];

		for (uint64_t at = s->first; at < s->first + s->nr; at++) {
			struct model_page *p = &s->page[at - s->first];
			const struct vma *vma = p->mapped ? vma_find(&mm->vmas, at << PAGE_SHIFT) : NULL;

			if (!vma)
				continue;
			if (!p->joined && !vma->anon_vma != !p->anon)
				model_set_anon(m, at, vma->anon_vma);
			resync_own(p, world_frame(mm, at), is_swapped(mm, at));
		}
	}
}
