/* SPDX-License-Identifier: MIT */
/*
 * procfs_mem.c - the files of a process that tell of its memory: maps, smaps, numa_maps, statm, pagemap and kin.
 *
 * Formats are those of Linux 6.18 (Documentation/filesystems/proc.rst), numbers are counted anew each time (mm/usage.h).
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "../mm/lock.h"
#include "../mm/usage.h"
#include "maps.h"
#include "patch.h"
#include "procfs_mem.h"
#include "sysctl.h"
#include "task.h"

#define KIB(bytes)     ((bytes) >> 10)
#define PSS_KIB(pss)   ((pss) >> (10 + USAGE_PSS_SHIFT))

/* Bits of an entry of pagemap. The frame's number is for those with a privilege: 0. */
#define PM_EXCLUSIVE   (1ull << 56)
#define PM_GUARD       (1ull << 58)
#define PM_FILE	       (1ull << 61)
#define PM_SWAP	       (1ull << 62) /* neither empty nor present */
#define PM_PRESENT     (1ull << 63)
#define PM_ENTRY_BYTES sizeof(uint64_t)

void mm_sizes(const struct mm *mm, struct mm_sizes *s)
{
	*s = (struct mm_sizes){
		.total = mm->total_vm_pages,
		.peak = max_u64(mm->hiwater_vm_pages, mm->total_vm_pages),
		.locked = mm->locked_vm_pages,
		.exec = mm->exec_vm_pages,
		.data = mm->data_vm_pages,
		.stack = mm->stack_vm_pages,
	};
	s->text = (page_align_up(mm->end_code) - page_align_down(mm->start_code)) >> PAGE_SHIFT;
	s->text = min_u64(s->text, s->exec);
}

/* --- smaps ----------------------------------------------------------------------------------- */

static void row(FILE *out, const char *key, uint64_t kib)
{
	fprintf(out, "%-16s%8" PRIu64 " kB\n", key, kib);
}

static void show_usage(FILE *out, const struct vma_usage *u, bool rollup)
{
	row(out, "Rss:", KIB(u->rss));
	row(out, "Pss:", PSS_KIB(u->pss));
	row(out, "Pss_Dirty:", PSS_KIB(u->pss_dirty));
	if (rollup) {
		row(out, "Pss_Anon:", PSS_KIB(u->pss_anon));
		row(out, "Pss_File:", PSS_KIB(u->pss_file));
		row(out, "Pss_Shmem:", PSS_KIB(u->pss_shmem));
	}
	row(out, "Shared_Clean:", KIB(u->shared_clean));
	row(out, "Shared_Dirty:", KIB(u->shared_dirty));
	row(out, "Private_Clean:", KIB(u->private_clean));
	row(out, "Private_Dirty:", KIB(u->private_dirty));
	row(out, "Referenced:", KIB(u->referenced));
	row(out, "Anonymous:", KIB(u->anonymous));
	row(out, "KSM:", 0);
	row(out, "LazyFree:", KIB(u->lazyfree));
	row(out, "AnonHugePages:", KIB(u->anon_huge));
	row(out, "ShmemPmdMapped:", KIB(u->shmem_huge));
	row(out, "FilePmdMapped:", KIB(u->file_huge));
	row(out, "Shared_Hugetlb:", KIB(u->shared_hugetlb));
	row(out, "Private_Hugetlb:", KIB(u->private_hugetlb));
	row(out, "Swap:", KIB(u->swap));
	row(out, "SwapPss:", PSS_KIB(u->swap_pss));
	row(out, "Locked:", PSS_KIB(u->pss_locked));
}

/* By bit of vma->flags, two letters each. */
static const char *const flag_names[64] = {
	[0] = "rd",  [1] = "wr",  [2] = "ex",  [3] = "sh",  [4] = "mr",	 [5] = "mw",
	[6] = "me",  [7] = "ms",  [8] = "gd",  [10] = "pf", [13] = "lo", [14] = "io",
	[15] = "sr", [16] = "rr", [17] = "dc", [18] = "de", [19] = "lf", [20] = "ac",
	[21] = "nr", [22] = "ht", [23] = "sf", [25] = "wf", [26] = "dd", [28] = "mm",
	[29] = "hg", [30] = "nh", [31] = "mg", [40] = "dp", [42] = "sl",
};

static void show_flags(FILE *out, uint64_t flags)
{
	fputs("VmFlags: ", out);
	for (unsigned int bit = 0; bit < ARRAY_SIZE(flag_names); bit++)
		if ((flags >> bit & 1) && flag_names[bit])
			fprintf(out, "%s ", flag_names[bit]);
	fputc('\n', out);
}

/* Calls show for every area, mmap_lock held, and for maps_gate_vma; the line buffer is for its name. */
static int each_area(struct task *t, FILE *out, int (*show)(const struct vma *vma, char *line, FILE *out))
{
	char *line = malloc(MAPS_LINE_BYTES);
	struct vma *vma;
	int err = line ? 0 : -ENOMEM;

	if (!line)
		return err;
	mm_read_lock(t->mm);
	vma_for_each (vma, &t->mm->vmas) {
		err = show(vma, line, out);
		if (err)
			break;
	}
	mm_read_unlock(t->mm);
	if (!err)
		err = show(&maps_gate_vma, line, out);
	free(line);
	return err;
}

/* Whether a fault could map a huge page there: as far as flags and bounds tell. */
static int thp_eligible(const struct vma *vma)
{
	gva_t first = (vma->start + PMD_SIZE - 1) & PMD_MASK;
	enum thp_mode mode = vma->mm ? thp_mode(vma->mm) : THP_NEVER;

	if (!vma_is_anonymous(vma) || (vma->flags & (VM_SHARED | VM_NOHUGEPAGE)) ||
	    vma->end < first + PMD_SIZE)
		return 0;
	return mode == THP_ALWAYS || (mode == THP_MADVISE && (vma->flags & VM_HUGEPAGE));
}

static int smaps_area(const struct vma *vma, char *line, FILE *out)
{
	struct vma_usage u = {0};
	int len = maps_line(vma, line, MAPS_LINE_BYTES);

	if (len < 0)
		return len;
	if (vma->mm)
		vma_usage_add(vma, &u);
	fprintf(out, "%s\n", line);
	row(out, "Size:", KIB(vma->end - vma->start));
	uint64_t page = vma->vm_ops && vma->vm_ops->pagesize ? vma->vm_ops->pagesize(vma) : PAGE_SIZE;
	row(out, "KernelPageSize:", KIB(page));
	row(out, "MMUPageSize:", KIB(page));
	show_usage(out, &u, false);
	fprintf(out, "THPeligible:    %8d\n", thp_eligible(vma));
	show_flags(out, vma->flags);
	return 0;
}

static int show_smaps(struct task *t, const struct proc_file *file, FILE *out)
{
	(void)file;
	return each_area(t, out, smaps_area);
}

static int show_smaps_rollup(struct task *t, const struct proc_file *file, FILE *out)
{
	struct vma_usage sum = {0};
	struct vma *vma, *first, *last;
	int len;

	(void)file;
	mm_read_lock(t->mm);
	first = t->mm->vmas.first;
	last = vma_last(&t->mm->vmas);
	vma_for_each (vma, &t->mm->vmas)
		vma_usage_add(vma, &sum);
	len = fprintf(out, "%08" PRIx64 "-%08" PRIx64 " ---p 00000000 00:00 0 ", first ? first->start : 0,
		      last ? last->end : 0);
	mm_read_unlock(t->mm);
	fprintf(out, "%*s[rollup]\n", len < MAPS_NAME_COLUMN ? MAPS_NAME_COLUMN - len : 1, "");
	show_usage(out, &sum, true);
	return 0;
}

static int show_maps(struct task *t, const struct proc_file *file, FILE *out)
{
	(void)file;
	return proc_maps(t->mm, out);
}

#define MPOL_STATIC_NODES   0x8000u
#define MPOL_RELATIVE_NODES 0x4000u

/* --- numa_maps ------------------------------------------------------------------------------- */

static void numa_name(const struct vma *vma, FILE *out)
{
	const char *name = vma->file ? vma->file->path : mm_vma_name(vma->mm, vma);

	if (vma->file || vma->mapping)
		fprintf(out, " file=%s", vma->file ? name : "/dev/zero\\040(deleted)");
	else if (name && !strcmp(name, "[heap]"))
		fputs(" heap", out);
	else if (name && !strcmp(name, "[stack]"))
		fputs(" stack", out);
}

static void numa_count(FILE *out, const char *key, uint64_t n)
{
	fprintf(out, " %s=%" PRIu64, key, n);
}

/* As mpol_to_str: "bind=static:0-1". */
static void numa_policy(const struct vma *vma, FILE *out)
{
	static const char *const names[NR_MPOL_MODES] = {
		"default", "prefer", "bind", "interleave", "local", "prefer (many)", "weighted interleave",
	};
	struct mempolicy_setting s = vma->policy.mode != MPOL_DEFAULT ? vma->policy : mm_mempolicy(vma->mm);
	char separator = ':';

	fputs(names[s.mode == MPOL_PREFERRED && !s.nodes ? MPOL_LOCAL : s.mode], out);
	if (s.flags & MPOL_STATIC_NODES)
		fputs("=static", out);
	else if (s.flags & MPOL_RELATIVE_NODES)
		fputs("=relative", out);
	for (unsigned int nid = 0; nid < MAX_NODES; nid++) {
		unsigned int last = nid;
		if (!(s.nodes >> nid & 1))
			continue;
		while (last + 1 < MAX_NODES && (s.nodes >> (last + 1) & 1))
			last++;
		fprintf(out, last > nid ? "%c%u-%u" : "%c%u", separator, nid, last);
		separator = ',';
		nid = last;
	}
}

static int numa_area(const struct vma *vma, char *line, FILE *out)
{
	struct vma_nodes n;

	(void)line;
	if (!vma->mm)
		return 0;
	fprintf(out, "%08" PRIx64 " ", vma->start);
	numa_policy(vma, out);
	numa_name(vma, out);
	vma_nodes_count(vma, &n);
	if (n.anon)
		numa_count(out, "anon", n.anon);
	if (n.dirty)
		numa_count(out, "dirty", n.dirty);
	if (n.pages != n.anon && n.pages != n.dirty)
		numa_count(out, "mapped", n.pages);
	if (n.mapcount_max > 1)
		numa_count(out, "mapmax", n.mapcount_max);
	if (n.swapcache)
		numa_count(out, "swapcache", n.swapcache);
	if (n.active < n.pages)
		numa_count(out, "active", n.active);
	if (n.writeback)
		numa_count(out, "writeback", n.writeback);
	for (unsigned int nid = 0; nid < MAX_NODES; nid++)
		if (n.node[nid])
			fprintf(out, " N%u=%" PRIu64, nid, n.node[nid]);
	if (n.pages)
		numa_count(out, "kernelpagesize_kB", KIB(PAGE_SIZE));
	fputc('\n', out);
	return 0;
}

static int show_numa_maps(struct task *t, const struct proc_file *file, FILE *out)
{
	(void)file;
	return each_area(t, out, numa_area);
}

/* --- sums ------------------------------------------------------------------------------------ */

static int show_statm(struct task *t, const struct proc_file *file, FILE *out)
{
	struct mm_sizes s;

	(void)file;
	mm_read_lock(t->mm);
	mm_sizes(t->mm, &s);
	mm_read_unlock(t->mm);
	int64_t shared = mm_counter(t->mm, MM_FILEPAGES) + mm_counter(t->mm, MM_SHMEMPAGES);
	fprintf(out, "%" PRIu64 " %" PRIu64 " %" PRId64 " %" PRIu64 " 0 %" PRIu64 " 0\n", s.total,
		mm_rss_pages(t->mm), shared, s.text, s.data + s.stack);
	return 0;
}

/* --- pages ----------------------------------------------------------------------------------- */

static uint64_t pagemap_entry(struct mm *mm, gva_t address)
{
	struct page_view view = page_view_at(mm, address);

	return (view.present ? PM_PRESENT : 0) | (view.file ? PM_FILE : 0) |
	       (view.exclusive ? PM_EXCLUSIVE : 0) | (view.guard ? PM_GUARD | PM_SWAP : 0) |
	       (view.swapped ? PM_SWAP : 0);
}

/* Whole entries only; beyond the last page of the space is the end of the file. */
static int64_t pagemap_read(struct task *t, void *to, size_t bytes, uint64_t offset)
{
	uint64_t *entries = to, page = offset / PM_ENTRY_BYTES, nr = bytes / PM_ENTRY_BYTES;
	uint64_t end = t->mm->task_size >> PAGE_SHIFT;

	if (offset % PM_ENTRY_BYTES || bytes % PM_ENTRY_BYTES)
		return -EINVAL;
	if (page >= end)
		return 0;
	nr = min_u64(nr, end - page);
	mm_read_lock(t->mm);
	for (uint64_t i = 0; i < nr; i++)
		entries[i] = pagemap_entry(t->mm, (page + i) << PAGE_SHIFT);
	mm_read_unlock(t->mm);
	return (int64_t)(nr * PM_ENTRY_BYTES);
}

/* --- contents -------------------------------------------------------------------------------- */

/* As much as lies below the end of the space. */
static size_t clip_to_space(const struct mm *mm, size_t bytes, uint64_t offset)
{
	return offset >= mm->task_size ? 0 : min_u64(bytes, mm->task_size - offset);
}

static int64_t mem_read(struct task *t, void *to, size_t bytes, uint64_t offset)
{
	patch_undo(t->mm);
	size_t done = read_process_memory(t->mm, to, offset, clip_to_space(t->mm, bytes, offset));

	return done || !bytes ? (int64_t)done : -EIO;
}

static int64_t mem_write(struct task *t, const void *from, size_t bytes, uint64_t offset)
{
	patch_undo(t->mm);
	size_t done = write_process_memory(t->mm, offset, from, clip_to_space(t->mm, bytes, offset));

	return done || !bytes ? (int64_t)done : -EIO;
}

/* --- accessed bits --------------------------------------------------------------------------- */

enum { CLEAR_SOFT_DIRTY = 4, CLEAR_PEAK_RSS = 5 };

/* 1, 2, 3: accessed bits; 4: soft-dirty bits, which nobody keeps; 5: the peak begins anew. */
static int64_t clear_refs_write(struct task *t, const struct proc_file *file, char *text, size_t bytes)
{
	int64_t what;
	int err = sysctl_parse_whole(text, &what);

	(void)file;
	if (err || what < CLEAR_REFS_ALL || what > CLEAR_PEAK_RSS)
		return -EINVAL;
	if (what == CLEAR_PEAK_RSS) {
		atomic_store(&t->mm->peak_rss, mm_rss_pages(t->mm));
	} else if (what != CLEAR_SOFT_DIRTY) {
		mm_read_lock(t->mm);
		mm_clear_refs(t->mm, (enum clear_refs_what)what);
		mm_read_unlock(t->mm);
	}
	return (int64_t)bytes;
}

const struct proc_file proc_mem_files[] = {
	{.name = "maps", .show = show_maps},
	{.name = "smaps", .show = show_smaps},
	{.name = "smaps_rollup", .show = show_smaps_rollup},
	{.name = "numa_maps", .show = show_numa_maps},
	{.name = "statm", .show = show_statm},
	{.name = "pagemap", .read_at = pagemap_read},
	{.name = "mem", .read_at = mem_read, .write_at = mem_write},
	{.name = "clear_refs", .write = clear_refs_write, .about_memory = true},
	{0},
};
