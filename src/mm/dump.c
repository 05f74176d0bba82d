/* SPDX-License-Identifier: MIT */
/* dump.c - see dump.h. */
#include <inttypes.h>
#include <string.h>

#include "dump.h"
#include "fault.h"
#include "layout.h"
#include "lock.h"
#include "pagewalk.h"

/* --- entries ----------------------------------------------------------------------------------------------------- */

const char *level_entry_name(unsigned int level)
{
	static const char *const names[MAX_LEVELS] = {"PTE", "PDE", "PDPTE", "PML4E", "PML5E"};

	return level < MAX_LEVELS ? names[level] : "?";
}

const char *level_table_name(unsigned int level)
{
	static const char *const names[MAX_LEVELS] = {"PT", "PD", "PDPT", "PML4", "PML5"};

	return level < MAX_LEVELS ? names[level] : "?";
}

const char *pte_flags_string(pte_t pte, unsigned int level, char *buffer, size_t bytes)
{
	static const struct {
		pte_t bit;
		const char *name;
	} bits[] = {
		{PTE_PRESENT, "P"}, {PTE_WRITE, "RW"},	      {PTE_USER, "US"},		  {PTE_PWT, "PWT"},
		{PTE_PCD, "PCD"},   {PTE_ACCESSED, "A"},      {PTE_DIRTY, "D"},		  {PTE_HUGE, "PS"},
		{PTE_GLOBAL, "G"},  {PTE_SPECIAL, "SPECIAL"}, {PTE_PROTNONE, "PROTNONE"}, {PTE_NX, "XD"},
	};
	size_t len = 0;

	buffer[0] = '\0';
	for (unsigned int i = 0; i < ARRAY_SIZE(bits) && len < bytes; i++) {
		const char *name = bits[i].bit == PTE_HUGE && !level ? "PAT" : bits[i].name;
		if (pte & bits[i].bit)
			len += (size_t)snprintf(buffer + len, bytes - len, "%s%s", len ? "|" : "", name);
	}
	return buffer;
}

void address_dump(gva_t address, unsigned int levels, FILE *out)
{
	unsigned int bits = level_shift(levels);

	fprintf(out, "%#018" PRIx64 " = sign %#" PRIx64, address, address >> bits);
	for (unsigned int level = levels; level-- > 0;)
		fprintf(out, ", %s %u", level_table_name(level), level_index(address, level));
	fprintf(out, ", offset %#" PRIx64 "\n", (uint64_t)(address & ~PAGE_MASK));
}

/* --- page tables -------------------------------------------------------------------------------------------------- */

struct table_dump {
	struct mm *mm;
	gva_t start, end;
	FILE *out;
};

static void entry_dump(const struct table_dump *d, unsigned int level, const pte_t *slot, pte_t pte,
		       gva_t address)
{
	char flags[96];

	fprintf(d->out, "%*s%s[%u] %#018" PRIx64 " at %#" PRIx64 " va %#" PRIx64 " %s\n",
		(int)(2 * (d->mm->pgt.levels - 1 - level)), "", level_entry_name(level),
		level_index(address, level), pte, (uint64_t)((const char *)slot - d->mm->frames->direct_map),
		address, pte_flags_string(pte, level, flags, sizeof(flags)));
}

static void table_dump(const struct table_dump *d, const pte_t *table, unsigned int level, gva_t base)
{
	unsigned int nr = level + 1 == d->mm->pgt.levels ? PTRS_PER_TABLE / 2 : PTRS_PER_TABLE;

	for (unsigned int i = 0; i < nr; i++) {
		gva_t address = base + ((uint64_t)i << level_shift(level));
		gva_t last = address + (1ull << level_shift(level)) - 1;
		pte_t pte = pte_read(&table[i]);

		if (!pte || last < d->start || address >= d->end)
			continue;
		entry_dump(d, level, &table[i], pte, address);
		if (level && (pte & PTE_PRESENT) && !(pte & PTE_HUGE))
			table_dump(d, pfn_address(d->mm->frames, pte_pfn(pte)), level - 1, address);
	}
}

void pgtable_dump(struct mm *mm, gva_t start, gva_t end, FILE *out)
{
	const struct table_dump d = {mm, start, end, out};

	pthread_mutex_lock(&mm->page_table_lock);
	fprintf(out, "CR3 %#" PRIx64 " %s, %" PRIu64 " tables below\n", page_to_gpa(mm->frames, mm->pgt.root),
		level_table_name(mm->pgt.levels - 1), mm->pgt.nr_tables);
	table_dump(&d, page_address(mm->frames, mm->pgt.root), mm->pgt.levels - 1, 0);
	pthread_mutex_unlock(&mm->page_table_lock);
}

/* --- areas and spaces --------------------------------------------------------------------------------------------- */

static const char *access_string(uint64_t flags, char text[5])
{
	snprintf(text, 5, "%c%c%c%c", flags & VM_READ ? 'r' : '-', flags & VM_WRITE ? 'w' : '-',
		 flags & VM_EXEC ? 'x' : '-', flags & VM_SHARED ? 's' : 'p');
	return text;
}

void vma_dump(const struct vma *vma, FILE *out)
{
	char text[5];

	fprintf(out, "vma %p start %#" PRIx64 " end %#" PRIx64 " mm %p\n", (const void *)vma, vma->start,
		vma->end, (const void *)vma->mm);
	fprintf(out, "  next %p prev %p subtree_gap %#" PRIx64 "\n", (const void *)vma->next,
		(const void *)vma->prev, vma->subtree_gap);
	fprintf(out, "  prot %#" PRIx64 " anon_vma %p vm_ops %p\n", (uint64_t)vma_pte_flags(vma->flags),
		(const void *)vma->anon_vma, (const void *)vma->vm_ops);
	fprintf(out, "  pgoff %#" PRIx64 " file %p mapping %p private_data %p\n", vma->pgoff,
		(const void *)vma->file, (const void *)vma->mapping, vma->private_data);
	fprintf(out, "  flags %#" PRIx64 "(%s) path %s\n", vma->flags, access_string(vma->flags, text),
		vma->file ? vma->file->path : "-");
}

void mm_dump_areas(struct mm *mm, FILE *out)
{
	struct vma *vma;

	mm_read_lock(mm);
	vma_for_each (vma, &mm->vmas)
		vma_dump(vma, out);
	mm_read_unlock(mm);
}

static void fields_dump(const struct mm *mm, FILE *out)
{
	fprintf(out,
		"  start_code %#" PRIx64 " end_code %#" PRIx64 " start_data %#" PRIx64 " end_data %#" PRIx64
		"\n",
		mm->start_code, mm->end_code, mm->start_data, mm->end_data);
	fprintf(out, "  start_brk %#" PRIx64 " brk %#" PRIx64 " start_stack %#" PRIx64 "\n", mm->start_brk,
		mm->brk, mm->start_stack);
	fprintf(out,
		"  arg_start %#" PRIx64 " arg_end %#" PRIx64 " env_start %#" PRIx64 " env_end %#" PRIx64 "\n",
		mm->arg_start, mm->arg_end, mm->env_start, mm->env_end);
}

void mm_dump(struct mm *mm, FILE *out)
{
	mm_read_lock(mm);
	fprintf(out, "mm %p task_size %#" PRIx64 " mmap_base %#" PRIx64 " highest %#" PRIx64 "\n", (void *)mm,
		mm->task_size, mm->mmap_base, mm->vmas.highest_end);
	fprintf(out,
		"  pgd %#" PRIx64 " mm_users %u mm_count %u pgtables_bytes %" PRIu64 " map_count %" PRIu64
		"\n",
		page_to_gpa(mm->frames, mm->pgt.root), atomic_load(&mm->mm_users), atomic_load(&mm->mm_count),
		(uint64_t)(mm->pgt.nr_tables << PAGE_SHIFT), mm->vmas.nr);
	fprintf(out,
		"  total_vm %" PRIu64 " data_vm %" PRIu64 " exec_vm %" PRIu64 " stack_vm %" PRIu64
		" locked_vm %" PRIu64 " committed %" PRIu64 "\n",
		mm->total_vm_pages, mm->data_vm_pages, mm->exec_vm_pages, mm->stack_vm_pages,
		mm->locked_vm_pages, mm->committed_pages);
	fprintf(out, "  hiwater_rss %" PRIu64, atomic_load(&mm->peak_rss));
	fprintf(out, " rss file %" PRId64 " anon %" PRId64 " shmem %" PRId64 "\n",
		mm_counter(mm, MM_FILEPAGES), mm_counter(mm, MM_ANONPAGES), mm_counter(mm, MM_SHMEMPAGES));
	fields_dump(mm, out);
	fprintf(out,
		"  memcg usage %" PRIu64 " of %" PRIu64 " pages, faults %" PRIu64 " minor %" PRIu64
		" major\n",
		atomic_load(&mm->memcg->usage_pages), mm->memcg->max_pages, atomic_load(&mm->min_flt),
		atomic_load(&mm->maj_flt));
	mm_read_unlock(mm);
	layout_dump(&layout_table[LAYOUT_X86_64], out);
}

/* --- pages -------------------------------------------------------------------------------------------------------- */

void page_dump(struct frames *f, const struct page *page, FILE *out)
{
	uint32_t flags = atomic_load(&page->flags);
	const char *kind = flags & PG_FREE    ? "free"
			   : flags & PG_SLAB  ? "slab"
			   : flags & PG_TABLE ? "table"
			   : page_anon(page)  ? "anon"
			   : flags & PG_CACHE ? "cache"
					      : "other";
	char names[160];

	fprintf(out,
		"page refcount %u mapcount %u mapping %#" PRIxPTR " index %#" PRIx64 " pfn %#" PRIx64 "\n",
		atomic_load(&page->refs), atomic_load(&page->mapcount), page_mapping_word(page),
		flags & PG_SLAB ? 0 : page->index, page_to_pfn(f, page));
	fprintf(out, "  %s flags %#x(%s) node %u zone %s\n", kind, flags,
		page_flags_string(flags, names, sizeof(names)), page_zone(f, page)->node,
		zone_name(page_zone(f, page)->type));
}

struct pages_dump {
	struct mm *mm;
	FILE *out;
};

static void mapped_page_dump(void *ctx, pte_t *slot, gva_t address)
{
	const struct pages_dump *d = ctx;
	pte_t pte = pte_read(slot);
	char flags[96];

	fprintf(d->out, "%#" PRIx64 " %#018" PRIx64 " %s\n", address, pte,
		pte_flags_string(pte, 0, flags, sizeof(flags)));
	if (pte_present(pte)) {
		fputs("  ", d->out);
		page_dump(d->mm->frames, pfn_to_page(d->mm->frames, pte_pfn(pte)), d->out);
	}
}

void mm_dump_pages(struct mm *mm, FILE *out)
{
	const struct pte_walk_ops ops = {.pte = mapped_page_dump};
	struct pages_dump d = {mm, out};

	mm_read_lock(mm);
	pthread_mutex_lock(&mm->page_table_lock);
	pte_walk(mm, 0, mm->task_size, &ops, &d);
	pthread_mutex_unlock(&mm->page_table_lock);
	mm_read_unlock(mm);
}

/* --- faults ------------------------------------------------------------------------------------------------------- */

static void read_entries(struct mm *mm, struct vmf_view *v)
{
	const pte_t *table = page_address(mm->frames, mm->pgt.root);

	for (unsigned int level = mm->pgt.levels; level-- > 0;) {
		const pte_t *slot = &table[level_index(v->address, level)];

		v->entry[level] = pte_read(slot);
		if (!level)
			v->slot = (gpa_t)((const char *)slot - mm->frames->direct_map);
		if (!(v->entry[level] & PTE_PRESENT) || (v->entry[level] & PTE_HUGE))
			return;
		table = pfn_address(mm->frames, pte_pfn(v->entry[level]));
	}
}

void vmf_read(struct mm *mm, gva_t address, struct vmf_view *v)
{
	*v = (struct vmf_view){.address = page_align_down(address), .ptl = &mm->page_table_lock};
	if (address >= mm->task_size)
		return;
	mm_read_lock(mm);
	const struct vma *vma = vma_find_intersection(&mm->vmas, v->address, v->address + PAGE_SIZE);
	if (vma) {
		v->vma_start = vma->start;
		v->vma_end = vma->end;
		v->vma_flags = vma->flags;
		v->pgoff = vma_linear_index(vma, v->address);
	}
	pthread_mutex_lock(&mm->page_table_lock);
	read_entries(mm, v);
	pthread_mutex_unlock(&mm->page_table_lock);
	mm_read_unlock(mm);
}

/* A frame of an entry; 0: none, or the zero page. */
static pfn_t entry_frame(pte_t pte)
{
	return pte_present(pte) && !(pte & PTE_SPECIAL) ? pte_pfn(pte) : 0;
}

void vmf_string(const struct vmf_view *before, const struct vmf_view *after, unsigned int flags, char *text,
		size_t bytes)
{
	pte_t orig = before->entry[0], pte = after->entry[0];
	pfn_t old = entry_frame(orig), page = entry_frame(pte);
	bool copied = pte_present(orig) && page && page != old;

	snprintf(text, bytes,
		 "vmf vma %#" PRIx64 "-%#" PRIx64 "(%#" PRIx64 ") flags %#x gfp_mask %#x pgoff %#" PRIx64
		 " address %#" PRIx64 " pud %#" PRIx64 " pmd %#" PRIx64 "->%#" PRIx64 " orig_pte %#" PRIx64
		 " cow_page %#" PRIx64 " page %#" PRIx64 " pte %#" PRIx64 " at %#" PRIx64
		 " ptl %p prealloc_pte %d",
		 after->vma_start, after->vma_end, after->vma_flags, flags,
		 (unsigned int)GFP_HIGHUSER_MOVABLE, after->pgoff, after->address, after->entry[2],
		 before->entry[1], after->entry[1], orig, copied ? page : 0, page, pte, after->slot,
		 after->ptl, 0);
}
