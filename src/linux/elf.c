/* SPDX-License-Identifier: MIT */
/*
 * elf.c - see elf.h.
 *
 * Every number in a header is a stranger's: sums are checked for wrapping before they are made, and an address is
 * compared in its final place only. What holds for the segments of a plan:
 *   E1  low <= start < end <= high, start <= file_end <= end
 *   E2  ascending, no byte in two segments
 *   E3  where two share a page, both take it from the same page of the file and the first has no zero part
 *   E4  [offset, offset + file_end - start) lies within the file
 */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "../../include/lodge.h"
#include "../mm/shmem.h"
#include "elf.h"
#include "report.h"

#define MAX_PHDR_BYTES 65536u
#define MAX_ALIGN      (1ull << 30)

/* --- reading ---------------------------------------------------------------------------------------------------- */

/* Memory has its data in its pages alone. */
static ssize_t file_read(struct backing *file, void *to, size_t bytes, uint64_t offset)
{
	const struct iovec iov = {to, bytes};

	return file->cache.shmem ? (ssize_t)shmem_read(file, &iov, 1, offset)
				 : file->ops->read(file, to, bytes, offset);
}

/* Exactly `bytes` at `offset`: 0, -ENODATA when the file ends before, or the file's -errno. */
static int read_exact(struct backing *file, void *to, size_t bytes, uint64_t offset)
{
	ssize_t n = file_read(file, to, bytes, offset);

	if (n < 0)
		return (int)n;
	return (size_t)n == bytes ? 0 : -ENODATA;
}

static int check_identity(const Elf64_Ehdr *e, struct lodge_error *err)
{
	if (e->e_ident[EI_CLASS] == ELFCLASS32)
		return report_error(err, -ENOEXEC, "a 32-bit program; only 64-bit ones can run");
	if (e->e_ident[EI_CLASS] != ELFCLASS64)
		return report_error(err, -ENOEXEC, "unknown ELF class %u", e->e_ident[EI_CLASS]);
	if (e->e_ident[EI_DATA] != ELFDATA2LSB)
		return report_error(err, -ENOEXEC, "a big-endian program, not one for x86-64");
	if (e->e_machine != EM_X86_64)
		return report_error(err, -ENOEXEC,
				    "a program for another machine (ELF machine %u), not x86-64",
				    e->e_machine);
	if (e->e_type != ET_EXEC && e->e_type != ET_DYN)
		return report_error(err, -ENOEXEC, "not a program: ELF type %u", e->e_type);
	return 0;
}

static int read_ehdr(struct backing *file, Elf64_Ehdr *e, struct lodge_error *err)
{
	ssize_t n;

	memset(e, 0, sizeof(*e));
	n = file_read(file, e, sizeof(*e), 0);
	if (n < 0)
		return report_error(err, (int)n, "cannot be read: %s", strerror((int)-n));
	if (n < SELFMAG || memcmp(e->e_ident, ELFMAG, SELFMAG))
		return report_error(err, -ENOEXEC, "not an ELF file");
	if ((size_t)n < sizeof(*e))
		return report_error(err, -ENOEXEC, "truncated: the ELF header needs %zu bytes, file has %zd",
				    sizeof(*e), n);
	return check_identity(e, err);
}

/* The program header table as the ELF header describes it. */
static int check_phdr_table(const struct elf_image *image, struct lodge_error *err)
{
	const Elf64_Ehdr *e = &image->ehdr;
	uint64_t bytes = (uint64_t)e->e_phnum * sizeof(Elf64_Phdr);

	if (!e->e_phnum)
		return report_error(err, -EINVAL, "malformed: no program headers");
	if (e->e_phentsize != sizeof(Elf64_Phdr))
		return report_error(err, -EINVAL, "malformed: program headers of %u bytes each, not %zu",
				    e->e_phentsize, sizeof(Elf64_Phdr));
	if (bytes > MAX_PHDR_BYTES)
		return report_error(err, -EINVAL, "malformed: %u program headers", e->e_phnum);
	if (e->e_phoff > image->file_bytes || bytes > image->file_bytes - e->e_phoff)
		return report_error(err, -EINVAL,
				    "truncated: %u program headers at offset %" PRIu64 ", file has %" PRIu64
				    " bytes",
				    e->e_phnum, e->e_phoff, image->file_bytes);
	return 0;
}

static int read_phdrs(struct backing *file, struct elf_image *image, struct lodge_error *err)
{
	size_t bytes = (size_t)image->ehdr.e_phnum * sizeof(Elf64_Phdr);
	int ret;

	image->phdr = malloc(bytes);
	if (!image->phdr)
		return report_error(err, -ENOMEM, "out of memory");
	ret = read_exact(file, image->phdr, bytes, image->ehdr.e_phoff);
	return ret ? report_error(err, ret == -ENODATA ? -EINVAL : ret, "the program headers cannot be read")
		   : 0;
}

/* The path in a PT_INTERP: Linux wants its NUL within the segment. */
static int read_path(struct backing *file, const Elf64_Phdr *p, char **path, struct lodge_error *err)
{
	int ret;

	if (p->p_filesz < 2 || p->p_filesz > PATH_MAX)
		return report_error(err, -ENOEXEC, "malformed: the interpreter's name has %" PRIu64 " bytes",
				    p->p_filesz);
	*path = malloc(p->p_filesz);
	if (!*path)
		return report_error(err, -ENOMEM, "out of memory");
	ret = read_exact(file, *path, p->p_filesz, p->p_offset);
	if (ret)
		return report_error(err, ret == -ENODATA ? -EIO : ret,
				    "the interpreter's name cannot be read");
	if ((*path)[p->p_filesz - 1])
		return report_error(err, -ENOEXEC, "malformed: the interpreter's name does not end");
	return 0;
}

/* Which dynamic linker the program wants: the first counts. */
static int read_interpreter(struct backing *file, struct elf_image *image, struct lodge_error *err)
{
	for (unsigned int i = 0; i < image->ehdr.e_phnum; i++)
		if (image->phdr[i].p_type == PT_INTERP)
			return read_path(file, &image->phdr[i], &image->interpreter, err);
	return 0;
}

int elf_read(struct backing *file, struct elf_image *image, struct lodge_error *err)
{
	int64_t size = file->ops->size(file);
	int ret;

	memset(image, 0, sizeof(*image));
	if (size < 0)
		return report_error(err, (int)size, "cannot be read: %s", strerror((int)-size));
	image->file_bytes = (uint64_t)size;
	ret = read_ehdr(file, &image->ehdr, err);
	if (!ret)
		ret = check_phdr_table(image, err);
	if (!ret)
		ret = read_phdrs(file, image, err);
	if (!ret)
		ret = read_interpreter(file, image, err);
	if (ret)
		elf_image_free(image);
	return ret;
}

void elf_image_free(struct elf_image *image)
{
	free(image->phdr);
	free(image->interpreter);
	image->phdr = NULL;
	image->interpreter = NULL;
}

/* --- planning --------------------------------------------------------------------------------------------------- */

static bool is_load(const Elf64_Phdr *p)
{
	return p->p_type == PT_LOAD && (p->p_memsz || p->p_filesz);
}

/* One plan in the making. */
struct planner {
	const struct elf_image *image;
	const struct elf_limits *limits;
	struct elf_plan *plan;
	struct lodge_error *err;
};

static unsigned int segment_prot(const Elf64_Phdr *p)
{
	return (p->p_flags & PF_R ? PROT_BITS_READ : 0) | (p->p_flags & PF_W ? PROT_BITS_WRITE : 0) |
	       (p->p_flags & PF_X ? PROT_BITS_EXEC : 0);
}

/* What can be said of one PT_LOAD by itself, before it has its final address. */
static int check_load(const struct planner *pl, unsigned int i)
{
	const Elf64_Phdr *p = &pl->image->phdr[i];
	uint64_t file_bytes = pl->image->file_bytes, file_end;

	if (p->p_filesz > p->p_memsz)
		return report_error(pl->err, -EINVAL,
				    "malformed: program header %u has more bytes in the file than in memory",
				    i);
	/* Also where a bias would bring it back: Linux refuses it too. */
	if (p->p_vaddr >= TASK_SIZE || p->p_memsz > TASK_SIZE - p->p_vaddr)
		return report_error(
			pl->err, -EINVAL,
			"malformed: the segment of program header %u is not in the user half of the "
			"address space: %#" PRIx64 " bytes at %#" PRIx64,
			i, p->p_memsz, p->p_vaddr);
	if (__builtin_add_overflow(p->p_offset, p->p_filesz, &file_end))
		return report_error(pl->err, -EINVAL,
				    "malformed: the file range of program header %u wraps around", i);
	if (p->p_filesz && file_end > file_bytes)
		return report_error(pl->err, -EINVAL,
				    "truncated: program header %u needs bytes up to %" PRIu64
				    ", file has %" PRIu64,
				    i, file_end, file_bytes);
	if (p->p_filesz && ((p->p_offset ^ p->p_vaddr) & ~PAGE_MASK))
		return report_error(
			pl->err, -EINVAL,
			"malformed: offset and address of program header %u differ within the page", i);
	return 0;
}

/* The range of a segment at its final place. */
static int check_range(const struct planner *pl, unsigned int i, gva_t start, uint64_t bytes)
{
	gva_t low = pl->limits->low, high = pl->limits->high;

	if (page_align_down(start) < low)
		return report_error(pl->err, -EINVAL,
				    "segment at %#" PRIx64 " of program header %u is below %#" PRIx64
				    ", the lowest address that may be mapped",
				    start, i, low);
	if (start >= high || bytes > high - start)
		return report_error(pl->err, -EINVAL,
				    "segment at %#" PRIx64
				    " of program header %u does not end below the stack",
				    start, i);
	return 0;
}

/* A segment against the one before it: E2 and E3. Sets s->continues. */
static int check_order(const struct planner *pl, unsigned int i, struct elf_segment *s)
{
	const struct elf_plan *plan = pl->plan;
	const struct elf_segment *before;

	if (!plan->nr_segments)
		return 0;
	before = &plan->segment[plan->nr_segments - 1];
	if (s->start < before->end)
		return report_error(
			pl->err, -EINVAL,
			"malformed: program header %u overlaps the segment before it, or is out of order", i);
	if (page_align_down(s->start) >= page_align_up(before->end))
		return 0;
	if (before->file_end != before->end || s->start - s->offset != before->start - before->offset)
		return report_error(
			pl->err, -EINVAL,
			"malformed: program header %u overlaps the last page of the segment before it", i);
	s->continues = true;
	return 0;
}

static int plan_load(struct planner *pl, unsigned int i)
{
	const Elf64_Phdr *p = &pl->image->phdr[i];
	gva_t start = p->p_vaddr + pl->plan->bias;
	struct elf_segment s = {
		.start = start,
		.file_end = start + p->p_filesz,
		.end = start + p->p_memsz,
		.offset = p->p_offset,
		.prot = segment_prot(p),
	};
	int ret = check_load(pl, i);

	if (!ret)
		ret = check_range(pl, i, start, p->p_memsz);
	if (!ret)
		ret = check_order(pl, i, &s);
	if (!ret)
		pl->plan->segment[pl->plan->nr_segments++] = s;
	return ret;
}

static uint64_t image_align(const struct elf_image *image)
{
	uint64_t align = PAGE_SIZE;

	for (unsigned int i = 0; i < image->ehdr.e_phnum; i++) {
		const Elf64_Phdr *p = &image->phdr[i];
		/* Like Linux: what is not a power of two is not an alignment. */
		if (is_load(p) && p->p_align > align && !(p->p_align & (p->p_align - 1)))
			align = p->p_align;
	}
	return align;
}

static const Elf64_Phdr *first_load(const struct elf_image *image)
{
	for (unsigned int i = 0; i < image->ehdr.e_phnum; i++)
		if (is_load(&image->phdr[i]))
			return &image->phdr[i];
	return NULL;
}

uint64_t elf_room_shift(const struct elf_image *image)
{
	return image_align(image) - PAGE_SIZE;
}

uint64_t elf_span_bytes(const struct elf_image *image)
{
	const Elf64_Phdr *first = first_load(image), *last = first;
	uint64_t end, align = image_align(image);

	for (unsigned int i = 0; first && i < image->ehdr.e_phnum; i++)
		if (is_load(&image->phdr[i]))
			last = &image->phdr[i];
	if (!first || __builtin_add_overflow(last->p_vaddr, last->p_memsz, &end) || end > TASK_SIZE ||
	    end <= first->p_vaddr || align > MAX_ALIGN)
		return 0;
	return page_align_up(end) - page_align_down(first->p_vaddr) + align - PAGE_SIZE;
}

/* Where a position-independent program goes: its first segment at pie_base, as its largest p_align allows. */
static int plan_bias(struct planner *pl)
{
	const struct elf_image *image = pl->image;
	const Elf64_Phdr *first = first_load(image);
	uint64_t align = image_align(image);

	if (image->ehdr.e_type != ET_DYN)
		return 0;
	if (align > MAX_ALIGN)
		return report_error(pl->err, -EINVAL, "malformed: a segment wants to be aligned to %#" PRIx64,
				    align);
	if (first)
		pl->plan->bias = (pl->limits->pie_base & ~(align - 1)) - page_align_down(first->p_vaddr);
	return 0;
}

/* Where the program headers are in memory: in the segment that holds their bytes. */
static gva_t plan_phdr(const struct elf_plan *plan, const Elf64_Ehdr *e)
{
	for (unsigned int i = 0; i < plan->nr_segments; i++) {
		const struct elf_segment *s = &plan->segment[i];
		if (e->e_phoff >= s->offset && e->e_phoff - s->offset < s->file_end - s->start)
			return s->start + (e->e_phoff - s->offset);
	}
	return 0;
}

static int plan_entry(struct planner *pl)
{
	struct elf_plan *plan = pl->plan;

	plan->entry = pl->image->ehdr.e_entry + plan->bias;
	for (unsigned int i = 0; i < plan->nr_segments; i++) {
		const struct elf_segment *s = &plan->segment[i];
		if (s->prot & PROT_BITS_EXEC && plan->entry >= s->start && plan->entry < s->end)
			return 0;
	}
	return report_error(pl->err, -EINVAL,
			    "malformed: the entry point %#" PRIx64 " is not in an executable segment",
			    plan->entry);
}

/* Pages that all segments cover. */
static uint64_t plan_pages(const struct elf_plan *plan)
{
	uint64_t pages = 0;

	for (unsigned int i = 0; i < plan->nr_segments; i++) {
		const struct elf_segment *s = &plan->segment[i];
		pages += (page_align_up(s->end) - page_align_down(s->start)) >> PAGE_SHIFT;
		pages -= s->continues;
	}
	return pages;
}

static int plan_memory(struct planner *pl)
{
	uint64_t pages = plan_pages(pl->plan);

	if (pages <= pl->limits->memory_bytes >> PAGE_SHIFT)
		return 0;
	return report_error(pl->err, -ENOMEM, "needs %" PRIu64 " KiB of memory, the limit is %" PRIu64 " KiB",
			    pages * 4, pl->limits->memory_bytes >> 10);
}

/* The addresses that Linux keeps in mm_struct, by its rules. */
static void plan_bounds(struct elf_plan *plan, const struct elf_limits *limits)
{
	plan->start_code = plan->segment[0].start;
	for (unsigned int i = 0; i < plan->nr_segments; i++) {
		const struct elf_segment *s = &plan->segment[i];
		plan->start_data = s->start;
		plan->end_data = max_u64(plan->end_data, s->file_end);
		if (s->prot & PROT_BITS_EXEC)
			plan->end_code = max_u64(plan->end_code, s->file_end);
	}
	plan->start_brk = page_align_up(plan->segment[plan->nr_segments - 1].end) + limits->brk_gap;
}

static int plan_segments(struct planner *pl)
{
	const struct elf_image *image = pl->image;
	struct elf_plan *plan = pl->plan;
	int ret = plan_bias(pl);

	for (unsigned int i = 0; !ret && i < image->ehdr.e_phnum; i++) {
		const Elf64_Phdr *p = &image->phdr[i];
		if (p->p_type == PT_GNU_STACK)
			plan->stack_executable = p->p_flags & PF_X;
		if (is_load(p))
			ret = plan_load(pl, i);
	}
	if (!ret && !plan->nr_segments)
		ret = report_error(pl->err, -EINVAL, "malformed: nothing to load");
	return ret;
}

int elf_plan(const struct elf_image *image, const struct elf_limits *limits, struct elf_plan *plan,
	     struct lodge_error *err)
{
	struct planner pl = {image, limits, plan, err};
	int ret;

	memset(plan, 0, sizeof(*plan));
	plan->segment = malloc(image->ehdr.e_phnum * sizeof(*plan->segment));
	if (!plan->segment)
		return report_error(err, -ENOMEM, "out of memory");
	ret = plan_segments(&pl);
	if (!ret)
		ret = plan_entry(&pl);
	if (!ret)
		ret = plan_memory(&pl);
	if (ret) {
		elf_plan_free(plan);
		return ret;
	}
	plan->phdr = plan_phdr(plan, &image->ehdr);
	plan_bounds(plan, limits);
	return 0;
}

void elf_plan_free(struct elf_plan *plan)
{
	free(plan->segment);
	plan->segment = NULL;
}

/* The largest segment that is mapped before the program runs. */
#define PREFAULT_BYTES (1ull << 20)

/* --- mapping ---------------------------------------------------------------------------------------------------- */

/* [start, end) page aligned and maybe empty; file NULL: zeroes. */
static int map_range(struct mm *mm, gva_t start, gva_t end, unsigned int prot, struct backing *file,
		     uint64_t offset)
{
	const struct mmap_request r = {
		.address = start,
		.length = end - start,
		.prot = prot,
		.flags = MAP_PRIVATE | MAP_FIXED | (file ? 0 : MAP_ANONYMOUS),
		.file = file,
		.pgoff = offset >> PAGE_SHIFT,
		.extra_flags = file ? VM_PROGRAM : 0,
	};
	int64_t ret = start < end ? mm_mmap(mm, &r) : 0;

	return ret < 0 ? (int)ret : 0;
}

/*
 * The end of the last file page holds what follows in the file: it becomes zero. Where the program may not write, Linux
 * leaves it as it is.
 */
static int clear_tail(struct mm *mm, const struct elf_segment *s)
{
	uint64_t bytes = page_align_up(s->file_end) - s->file_end;

	if (s->file_end == s->end || !(s->prot & PROT_BITS_WRITE) || !bytes)
		return 0;
	/* First the page, since only this says why it cannot be had. */
	int ret = mm_populate(mm, s->file_end, bytes);
	if (!ret && clear_user(mm, s->file_end, bytes))
		ret = -EFAULT;
	return ret == -EFAULT ? -EIO : ret;
}

static int map_segment(const struct elf_segment *s, struct mm *mm, struct backing *file)
{
	gva_t page = page_align_down(s->start), zero = page;
	int ret = 0;

	/* Without bytes of its own a segment still shows the file in a page that it shares. */
	if (s->file_end > s->start || s->continues)
		zero = page_align_up(s->file_end);
	ret = map_range(mm, page, zero, s->prot, file, page_align_down(s->offset));
	if (!ret && zero > page)
		ret = clear_tail(mm, s);
	if (!ret)
		ret = map_range(mm, zero, page_align_up(s->end), s->prot, NULL, 0);
	return ret;
}

/*
 * Maps ahead what a program is sure to touch soon: an exit for each piece would cost more than reading it. Segments are
 * small or come on demand, and a space that is short of memory keeps it for the program. What cannot be had is left to
 * the fault that asks for it.
 */
static void prefault(const struct elf_plan *plan, struct mm *mm)
{
	for (unsigned int i = 0; i < plan->nr_segments; i++) {
		const struct elf_segment *s = &plan->segment[i];
		uint64_t bytes = page_align_up(s->end) - page_align_down(s->start);
		if (bytes <= PREFAULT_BYTES && bytes * 4 <= memcg_room(mm->memcg) << PAGE_SHIFT)
			mm_populate(mm, page_align_down(s->start), bytes);
	}
}

int elf_map_interpreter(const struct elf_plan *plan, struct mm *mm, struct backing *file)
{
	for (unsigned int i = 0; i < plan->nr_segments; i++) {
		int ret = map_segment(&plan->segment[i], mm, file);
		if (ret)
			return ret;
	}
	prefault(plan, mm);
	return 0;
}

int elf_map(const struct elf_plan *plan, struct mm *mm, struct backing *file)
{
	int ret = elf_map_interpreter(plan, mm, file);

	if (ret)
		return ret;
	mm->start_code = plan->start_code;
	mm->end_code = plan->end_code;
	mm->start_data = plan->start_data;
	mm->end_data = plan->end_data;
	mm->start_brk = plan->start_brk;
	mm->brk = plan->start_brk;
	return 0;
}
