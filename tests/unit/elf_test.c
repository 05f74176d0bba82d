/* SPDX-License-Identifier: MIT */
/*
 * The loader: which headers are refused and why, where segments go, and what a program finds in its first page of stack.
 *
 * The headers of a test are a good program with one thing spoilt.
 */
#include "../sim/fixture.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/auxv.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../include/lodge.h"
#include "../../src/linux/argstack.h"
#include "../../src/linux/elf.h"
#include "../../src/linux/exec.h"
#include "../../src/linux/hostfile.h"
#include "../../src/linux/maps.h"
#include "../../src/linux/task.h"

#define CODE	  0x400000ull
#define PIE_BASE  0x555555554000ull
#define MAX_PHDRS 8

/* --- headers ---------------------------------------------------------------------------------------------------- */

struct headers {
	struct elf_image image;
	Elf64_Phdr phdr[MAX_PHDRS];
	struct elf_limits limits;
};

/* Code, read-only data, data with a zero part: what a linker makes of a small C program. */
static void good_program(struct headers *h)
{
	static const Elf64_Phdr phdr[] = {
		{PT_LOAD, PF_R, 0, CODE, CODE, 0x500, 0x500, 4096},
		{PT_LOAD, PF_R | PF_X, 0x1000, CODE + 0x1000, CODE + 0x1000, 0x2345, 0x2345, 4096},
		{PT_LOAD, PF_R | PF_W, 0x3f00, CODE + 0x4f00, CODE + 0x4f00, 0x300, 0x2300, 4096},
		{PT_GNU_STACK, PF_R | PF_W, 0, 0, 0, 0, 0, 16},
	};

	memset(h, 0, sizeof(*h));
	memcpy(h->phdr, phdr, sizeof(phdr));
	h->image.phdr = h->phdr;
	h->image.file_bytes = 0x5000;
	h->image.ehdr.e_type = ET_EXEC;
	h->image.ehdr.e_entry = CODE + 0x1010;
	h->image.ehdr.e_phoff = sizeof(Elf64_Ehdr);
	h->image.ehdr.e_phnum = 4;
	h->limits = (struct elf_limits){
		.low = DEFAULT_MMAP_MIN_ADDR,
		.high = TASK_SIZE - STACK_LIMIT_BYTES - STACK_GUARD_GAP,
		.pie_base = PIE_BASE,
		.memory_bytes = 1 << 20,
	};
}

/* Plans what must be good. */
static struct elf_plan planned(const struct headers *h)
{
	struct lodge_error err = {""};
	struct elf_plan plan;

	if (elf_plan(&h->image, &h->limits, &plan, &err))
		fail_msg("refused: %s", err.text);
	return plan;
}

/* Plans what must be refused: with this error, and with these words. */
static void assert_refused(const struct headers *h, int error, const char *words)
{
	struct lodge_error err = {""};
	struct elf_plan plan;

	assert_int_equal(elf_plan(&h->image, &h->limits, &plan, &err), error);
	if (!strstr(err.text, words))
		fail_msg("\"%s\" does not say \"%s\"", err.text, words);
	assert_null(plan.segment);
}

static void good_program_is_planned(void **state)
{
	struct headers h;

	(void)state;
	good_program(&h);
	struct elf_plan plan = planned(&h);
	assert_int_equal(plan.nr_segments, 3);
	assert_int_equal(plan.bias, 0);
	assert_int_equal(plan.entry, CODE + 0x1010);
	assert_int_equal(plan.phdr, CODE + sizeof(Elf64_Ehdr));
	assert_int_equal(plan.start_brk, CODE + 0x8000);
	assert_int_equal(plan.start_code, CODE);
	assert_int_equal(plan.end_code, CODE + 0x3345);
	assert_int_equal(plan.start_data, CODE + 0x4f00);
	assert_int_equal(plan.end_data, CODE + 0x5200);
	assert_false(plan.stack_executable);
	elf_plan_free(&plan);
	h.phdr[3].p_flags |= PF_X;
	plan = planned(&h);
	assert_true(plan.stack_executable);
	elf_plan_free(&plan);
}

static void pie_goes_to_its_base(void **state)
{
	struct headers h;

	(void)state;
	good_program(&h);
	h.image.ehdr.e_type = ET_DYN;
	struct elf_plan plan = planned(&h);
	assert_int_equal(plan.segment[0].start, PIE_BASE);
	assert_int_equal(plan.bias, PIE_BASE - CODE);
	assert_int_equal(plan.entry, PIE_BASE + 0x1010);
	assert_int_equal(plan.phdr, PIE_BASE + sizeof(Elf64_Ehdr));
	elf_plan_free(&plan);
	h.phdr[1].p_align = 2 << 20;
	plan = planned(&h);
	assert_int_equal(plan.segment[0].start, PIE_BASE & PMD_MASK);
	elf_plan_free(&plan);
	/* Not a power of two: no alignment at all. */
	h.phdr[1].p_align = 3 << 20;
	plan = planned(&h);
	assert_int_equal(plan.segment[0].start, PIE_BASE);
	elf_plan_free(&plan);
	h.phdr[1].p_align = 1ull << 62;
	assert_refused(&h, -EINVAL, "aligned");
}

static void heap_keeps_its_gap(void **state)
{
	struct headers h;

	(void)state;
	good_program(&h);
	h.limits.brk_gap = 0x7000;
	struct elf_plan plan = planned(&h);
	assert_int_equal(plan.start_brk, CODE + 0xf000);
	elf_plan_free(&plan);
}

/* The last program header's segment at an address where nobody may be. */
static void assert_place_refused(gva_t vaddr, uint64_t bytes, const char *words)
{
	struct headers h;

	good_program(&h);
	h.phdr[2].p_vaddr = vaddr;
	h.phdr[2].p_offset = vaddr & ~PAGE_MASK;
	h.phdr[2].p_filesz = 0;
	h.phdr[2].p_memsz = bytes;
	assert_refused(&h, -EINVAL, words);
}

static void kernel_half_is_refused(void **state)
{
	(void)state;
	assert_place_refused(0xffff800000000000, 0x1000, "user half");
	assert_place_refused(0xffffffff81000000, 0x1000, "user half");
	assert_place_refused(0x800000000000, 0x1000, "user half");
	assert_place_refused(0x8000000000000000, 0x1000, "user half");
	assert_place_refused(TASK_SIZE, 0x1000, "user half");
	assert_place_refused(TASK_SIZE - 0x1000, 0x2000, "user half");
	assert_place_refused(CODE + 0x10000, ~0ull, "user half");
	assert_place_refused(CODE + 0x10000, 0 - (CODE + 0x10000), "user half");
}

static void stack_and_null_page_are_refused(void **state)
{
	struct headers h;

	(void)state;
	assert_place_refused(TASK_SIZE - 0x1000, 0x1000, "stack");
	assert_place_refused(TASK_SIZE - STACK_LIMIT_BYTES, 0x1000, "stack");
	good_program(&h);
	h.phdr[0].p_vaddr = 0;
	assert_refused(&h, -EINVAL, "lowest");
	h.phdr[0].p_vaddr = DEFAULT_MMAP_MIN_ADDR - 0x1000;
	assert_refused(&h, -EINVAL, "lowest");
	h.phdr[0].p_vaddr = DEFAULT_MMAP_MIN_ADDR;
	struct elf_plan plan = planned(&h);
	elf_plan_free(&plan);
}

/* A position-independent program cannot reach by its bias what it may not name. */
static void pie_cannot_wrap_around(void **state)
{
	struct headers h;

	(void)state;
	good_program(&h);
	h.image.ehdr.e_type = ET_DYN;
	h.phdr[0].p_vaddr = 0xffffffff80000000;
	assert_refused(&h, -EINVAL, "user half");
	good_program(&h);
	h.image.ehdr.e_type = ET_DYN;
	h.phdr[2].p_vaddr = 0x7fff00000f00;
	h.phdr[2].p_offset = 0x3f00;
	assert_refused(&h, -EINVAL, "stack");
}

static void sizes_that_cannot_be(void **state)
{
	struct headers h;

	(void)state;
	good_program(&h);
	h.phdr[2].p_filesz = h.phdr[2].p_memsz + 1;
	assert_refused(&h, -EINVAL, "more bytes in the file");
	good_program(&h);
	h.phdr[1].p_offset = ~0xfffull;
	assert_refused(&h, -EINVAL, "wraps");
	good_program(&h);
	h.phdr[1].p_offset = 0x123000;
	assert_refused(&h, -EINVAL, "truncated: program header 1 needs bytes up to 1200965, file has 20480");
	good_program(&h);
	h.phdr[1].p_offset += 8;
	assert_refused(&h, -EINVAL, "differ within the page");
}

static void overlaps_are_refused(void **state)
{
	struct headers h;

	(void)state;
	good_program(&h);
	h.phdr[2].p_vaddr = CODE + 0x2f00;
	assert_refused(&h, -EINVAL, "overlaps");
	good_program(&h);
	h.phdr[1].p_vaddr = CODE - 0x4000;
	assert_refused(&h, -EINVAL, "out of order");
	/* One page, two parts of the file. */
	good_program(&h);
	h.phdr[2].p_vaddr = CODE + 0x3f00;
	h.phdr[2].p_offset = 0x1f00;
	assert_refused(&h, -EINVAL, "last page");
	/* One page, the zero part of the first: it would be lost. */
	good_program(&h);
	h.phdr[1].p_memsz += 0x10;
	h.phdr[2].p_vaddr = CODE + 0x3f00;
	assert_refused(&h, -EINVAL, "last page");
	/* One page, one part of the file: what old linkers make. */
	good_program(&h);
	h.phdr[2].p_vaddr = CODE + 0x3f00;
	struct elf_plan plan = planned(&h);
	assert_true(plan.segment[2].continues);
	elf_plan_free(&plan);
}

static void empty_segments_do_not_count(void **state)
{
	struct headers h;

	(void)state;
	good_program(&h);
	h.phdr[0].p_filesz = h.phdr[0].p_memsz = 0;
	h.phdr[0].p_vaddr = 0xffff800000000000;
	struct elf_plan plan = planned(&h);
	assert_int_equal(plan.nr_segments, 2);
	assert_int_equal(plan.phdr, 0);
	elf_plan_free(&plan);
	h.phdr[1].p_memsz = h.phdr[1].p_filesz = 0;
	h.phdr[2].p_memsz = h.phdr[2].p_filesz = 0;
	assert_refused(&h, -EINVAL, "nothing to load");
}

static void entry_must_be_code(void **state)
{
	struct headers h;

	(void)state;
	good_program(&h);
	h.image.ehdr.e_entry = CODE + 0x4f00;
	assert_refused(&h, -EINVAL, "entry");
	h.image.ehdr.e_entry = CODE + 0x3345;
	assert_refused(&h, -EINVAL, "entry");
	h.image.ehdr.e_entry = 0xffff800000000000;
	assert_refused(&h, -EINVAL, "entry");
	h.image.ehdr.e_entry = CODE + 0x3344;
	struct elf_plan plan = planned(&h);
	elf_plan_free(&plan);
}

static void memory_limit_holds(void **state)
{
	struct headers h;

	(void)state;
	good_program(&h);
	h.limits.memory_bytes = 8 * PAGE_SIZE;
	struct elf_plan plan = planned(&h);
	elf_plan_free(&plan);
	h.limits.memory_bytes = 8 * PAGE_SIZE - 1;
	assert_refused(&h, -ENOMEM, "memory");
	/* A page of two segments is one page. */
	good_program(&h);
	h.phdr[2].p_vaddr = CODE + 0x3f00;
	h.limits.memory_bytes = 7 * PAGE_SIZE;
	plan = planned(&h);
	elf_plan_free(&plan);
	good_program(&h);
	h.phdr[2].p_memsz = 0x7f0000000000;
	assert_refused(&h, -ENOMEM, "memory");
}

/* --- files ------------------------------------------------------------------------------------------------------ */

/* A file that is an array. */
struct memory_file {
	struct backing backing; /* first */
	const uint8_t *bytes;
	size_t size;
};

static ssize_t memory_read(struct backing *b, void *buffer, size_t bytes, uint64_t offset)
{
	const struct memory_file *file = (const struct memory_file *)b;

	if (offset >= file->size)
		return 0;
	bytes = min_u64(bytes, file->size - offset);
	memcpy(buffer, file->bytes + offset, bytes);
	return (ssize_t)bytes;
}

static int64_t memory_size(struct backing *b)
{
	return (int64_t)((const struct memory_file *)b)->size;
}

static const struct backing_ops memory_ops = {.read = memory_read, .size = memory_size};

/* A whole file: headers, and a body that says where it is. */
struct image {
	Elf64_Ehdr ehdr;
	Elf64_Phdr phdr[MAX_PHDRS];
	uint8_t body[0x5000 - sizeof(Elf64_Ehdr) - MAX_PHDRS * sizeof(Elf64_Phdr)];
};

static void good_image(struct image *image)
{
	struct headers h;

	good_program(&h);
	memset(image->body, 0xcc, sizeof(image->body));
	memcpy(image->phdr, h.phdr, sizeof(image->phdr));
	image->ehdr = h.image.ehdr;
	memcpy(image->ehdr.e_ident, ELFMAG, SELFMAG);
	image->ehdr.e_ident[EI_CLASS] = ELFCLASS64;
	image->ehdr.e_ident[EI_DATA] = ELFDATA2LSB;
	image->ehdr.e_ident[EI_VERSION] = EV_CURRENT;
	image->ehdr.e_machine = EM_X86_64;
	image->ehdr.e_phentsize = sizeof(Elf64_Phdr);
}

static void assert_read(const struct image *image, size_t size, int error, const char *words)
{
	struct memory_file file = {.backing.ops = &memory_ops, .bytes = (const uint8_t *)image, .size = size};
	struct lodge_error err = {""};
	struct elf_image read;

	assert_int_equal(elf_read(&file.backing, &read, &err), error);
	if (!error)
		elf_image_free(&read);
	if (!strstr(err.text, words))
		fail_msg("\"%s\" does not say \"%s\"", err.text, words);
}

static void identity_is_checked(void **state)
{
	static struct image image;

	(void)state;
	good_image(&image);
	assert_read(&image, sizeof(image), 0, "");
	assert_read(&image, 0, -ENOEXEC, "not an ELF file");
	assert_read(&image, 3, -ENOEXEC, "not an ELF file");
	assert_read(&image, 63, -ENOEXEC, "truncated");
	image.ehdr.e_ident[EI_CLASS] = ELFCLASS32;
	assert_read(&image, sizeof(image), -ENOEXEC, "32-bit");
	good_image(&image);
	image.ehdr.e_ident[EI_DATA] = ELFDATA2MSB;
	assert_read(&image, sizeof(image), -ENOEXEC, "big-endian");
	good_image(&image);
	image.ehdr.e_machine = EM_AARCH64;
	assert_read(&image, sizeof(image), -ENOEXEC, "machine");
	good_image(&image);
	image.ehdr.e_type = ET_REL;
	assert_read(&image, sizeof(image), -ENOEXEC, "not a program");
	good_image(&image);
	image.ehdr.e_ident[0] = '#';
	assert_read(&image, sizeof(image), -ENOEXEC, "not an ELF file");
}

static void header_table_is_checked(void **state)
{
	static struct image image;

	(void)state;
	good_image(&image);
	image.ehdr.e_phnum = 0;
	assert_read(&image, sizeof(image), -EINVAL, "no program headers");
	image.ehdr.e_phnum = 0xffff;
	assert_read(&image, sizeof(image), -EINVAL, "65535 program headers");
	image.ehdr.e_phnum = 65536 / sizeof(Elf64_Phdr) + 1;
	assert_read(&image, sizeof(image), -EINVAL, "program headers");
	good_image(&image);
	image.ehdr.e_phentsize = 32;
	assert_read(&image, sizeof(image), -EINVAL, "32 bytes each");
	good_image(&image);
	image.ehdr.e_phoff = sizeof(image) - 3 * sizeof(Elf64_Phdr);
	assert_read(&image, sizeof(image), -EINVAL, "truncated");
	image.ehdr.e_phoff = ~0ull - 8;
	assert_read(&image, sizeof(image), -EINVAL, "truncated");
}

static void interpreter_is_named(void **state)
{
	static struct image image;
	struct memory_file file = {.backing.ops = &memory_ops,
				   .bytes = (uint8_t *)&image,
				   .size = sizeof(image)};
	struct elf_image read;

	(void)state;
	good_image(&image);
	image.phdr[3] = (Elf64_Phdr){.p_type = PT_INTERP, .p_offset = 0x2000, .p_filesz = 8};
	memcpy((char *)&image + 0x2000, "/lib/ld", 8);
	assert_int_equal(elf_read(&file.backing, &read, NULL), 0);
	assert_string_equal(read.interpreter, "/lib/ld");
	elf_image_free(&read);
	/* Not terminated, too short, longer than a path, or nowhere in the file. */
	image.phdr[3].p_filesz = 7;
	assert_int_equal(elf_read(&file.backing, &read, NULL), -ENOEXEC);
	image.phdr[3].p_filesz = 1;
	assert_int_equal(elf_read(&file.backing, &read, NULL), -ENOEXEC);
	image.phdr[3].p_filesz = ~0ull;
	assert_int_equal(elf_read(&file.backing, &read, NULL), -ENOEXEC);
	image.phdr[3].p_filesz = 8;
	image.phdr[3].p_offset = ~0ull;
	assert_int_equal(elf_read(&file.backing, &read, NULL), -EIO);
}

/* --- mapping ---------------------------------------------------------------------------------------------------- */

static char *maps_text(struct mm *mm)
{
	char *text = NULL;
	size_t bytes = 0;
	FILE *out = open_memstream(&text, &bytes);

	assert_non_null(out);
	assert_int_equal(proc_maps(mm, out), 0);
	fclose(out);
	return text;
}

static void assert_maps(struct mm *mm, const char *expected)
{
	char *text = maps_text(mm);

	assert_string_equal(text, expected);
	free(text);
}

/* The program whose listing is the oracle, with its program headers as readelf shows them. */
#define VSYSCALL "ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]\n"

static void seed_program_maps_as_listed(void **state)
{
	static const Elf64_Phdr phdr[] = {
		{PT_LOAD, PF_R, 0, 0x400000, 0x400000, 0x530, 0x530, 4096},
		{PT_LOAD, PF_R | PF_X, 0x1000, 0x401000, 0x401000, 0x9424d, 0x9424d, 4096},
		{PT_LOAD, PF_R, 0x96000, 0x496000, 0x496000, 0x26695, 0x26695, 4096},
		{PT_LOAD, PF_R | PF_W, 0xbd0c0, 0x4be0c0, 0x4be0c0, 0x5170, 0x68c0, 4096},
	};
	struct fixture *x = *state;
	static struct sim_file file;
	struct headers h;

	good_program(&h);
	memcpy(h.phdr, phdr, sizeof(phdr));
	h.image.file_bytes = 0xd0000;
	h.image.ehdr.e_entry = 0x401c10;
	sim_file_init(&file, x->machine, 0xd0000);
	file.backing.dev = 2;
	file.backing.path = "/anon_mmap";
	struct elf_plan plan = planned(&h);
	assert_int_equal(elf_map(&plan, x->mm, &file.backing), 0);
	elf_plan_free(&plan);
	assert_int_equal(mm_mprotect(x->mm, 0x4be000, 0x3000, PROT_READ), 0);
	assert_int_equal(mm_brk(x->mm, 0x4e8000), 0x4e8000);
	assert_maps(
		x->mm,
		"00400000-00401000 r--p 00000000 00:02 114                                /anon_mmap\n"
		"00401000-00496000 r-xp 00001000 00:02 114                                /anon_mmap\n"
		"00496000-004bd000 r--p 00096000 00:02 114                                /anon_mmap\n"
		"004be000-004c1000 r--p 000bd000 00:02 114                                /anon_mmap\n"
		"004c1000-004c4000 rw-p 000c0000 00:02 114                                /anon_mmap\n"
		"004c4000-004e8000 rw-p 00000000 00:00 0                                  [heap]\n" VSYSCALL);
	assert_mm_sound(x->mm);
	assert_int_equal(mm_munmap(x->mm, 0, TASK_SIZE), 0);
	backing_put(&file.backing);
	assert_int_equal(file.releases, 1);
}

static void maps_lines_are_linuxs(void **state)
{
	struct fixture *x = *state;
	int64_t private = fixture_map(x, 0, 1, PROT_READ | PROT_WRITE, 0);
	char *text = maps_text(x->mm), *shared;

	assert_int_equal(private, 0x7ffff7ffe000);
	assert_string_equal(text, "7ffff7ffe000-7ffff7fff000 rw-p 00000000 00:00 0 \n" VSYSCALL);
	free(text);
	assert_int_equal(fixture_map(x, 0x10000, 1, PROT_NONE, MAP_SHARED | MAP_FIXED), 0x10000);
	text = maps_text(x->mm);
	assert_memory_equal(text, "00010000-00011000 ---s 00000000 00:01 ", 38);
	shared = strstr(text, "/dev/zero (deleted)\n");
	assert_non_null(shared);
	assert_int_equal(shared - text, 73);
	free(text);
}

static void long_lines_and_newlines(void **state)
{
	struct fixture *x = *state;
	static struct sim_file file;
	char line[256];

	sim_file_init(&file, x->machine, PAGE_SIZE);
	file.backing.path = "/a\nb";
	file.backing.dev = 0xfffff123;
	file.backing.ino = ~0ull;
	assert_int_equal(fixture_map_file(x, &file, 0x10000, 1, 0, PROT_READ, MAP_PRIVATE | MAP_FIXED),
			 0x10000);
	assert_true(maps_line(x->mm->vmas.first, line, sizeof(line)) > 0);
	assert_non_null(strstr(line, " 18446744073709551615      "));
	assert_string_equal(strchr(line, '/'), "/a\\012b");
	for (size_t bytes = 1; bytes < 80; bytes++) {
		memset(line, 'x', sizeof(line));
		int ret = maps_line(x->mm->vmas.first, line, bytes);
		assert_true(ret == -ENAMETOOLONG || (ret >= 0 && (size_t)ret < bytes));
		assert_int_equal(line[bytes], 'x');
	}
	assert_int_equal(mm_munmap(x->mm, 0x10000, PAGE_SIZE), 0);
	backing_put(&file.backing);
}

static uint8_t user_byte(struct mm *mm, gva_t at)
{
	uint8_t byte;

	assert_int_equal(copy_from_user(mm, &byte, at, 1), 0);
	return byte;
}

static void zero_part_is_zero(void **state)
{
	struct fixture *x = *state;
	static struct image image;
	struct memory_file file = {.bytes = (uint8_t *)&image, .size = sizeof(image)};
	struct headers h;

	good_image(&image);
	good_program(&h);
	backing_init(&file.backing, &x->machine->host, &memory_ops);
	file.backing.path = "/program";
	struct elf_plan plan = planned(&h);
	assert_int_equal(elf_map(&plan, x->mm, &file.backing), 0);
	elf_plan_free(&plan);
	assert_int_equal(user_byte(x->mm, CODE + 0x51ff), 0xcc);
	assert_int_equal(user_byte(x->mm, CODE + 0x5200), 0);
	assert_int_equal(user_byte(x->mm, CODE + 0x5fff), 0);
	assert_int_equal(user_byte(x->mm, CODE + 0x6000), 0);
	assert_int_equal(user_byte(x->mm, CODE + 0x71ff), 0);
	assert_signal(x, SIM_STORE, CODE + 0x1000, SIGSEGV, SEGV_ACCERR);
	assert_signal(x, SIM_FETCH, CODE + 0x5000, SIGSEGV, SEGV_ACCERR);
	assert_signal(x, SIM_LOAD, CODE + 0x8000, SIGSEGV, SEGV_MAPERR);
	assert_mm_sound(x->mm);
	assert_int_equal(mm_munmap(x->mm, 0, TASK_SIZE), 0);
	atomic_fetch_sub(&file.backing.refs, 1);
	address_space_destroy(&file.backing.cache);
}

/* --- loading ---------------------------------------------------------------------------------------------------- */

/* A task that never runs, over a simulated machine, and a directory for its programs. */
struct loading {
	struct fixture *x;
	struct hostfile_table table;
	struct task task;
	struct process process;
	char dir[32], path[64];
};

static int loading_setup(void **state)
{
	struct loading *l = calloc(1, sizeof(*l));

	l->x = fixture_new(NULL);
	hostfile_table_init(&l->table, &l->x->machine->host, NULL);
	l->task.mm = l->x->mm;
	l->task.process = &l->process;
	l->task.hostfiles = &l->table;
	strcpy(l->dir, "/tmp/lodge-elf-XXXXXX");
	assert_non_null(mkdtemp(l->dir));
	snprintf(l->path, sizeof(l->path), "%s/program-of-long-name", l->dir);
	*state = l;
	return 0;
}

static int loading_teardown(void **state)
{
	struct loading *l = *state;
	char command[64];
	int ret;

	assert_int_equal(mm_munmap(l->x->mm, 0, TASK_SIZE), 0);
	assert_int_equal(l->table.nr_live, l->table.nr_kept);
	hostfile_table_destroy(&l->table);
	ret = fixture_free(l->x);
	free(l->process.exe_path);
	snprintf(command, sizeof(command), "rm -r %s", l->dir);
	ret |= system(command);
	free(l);
	return ret;
}

static int load(struct loading *l, const char *path, const char *const *argv, const char *const *envp,
		struct lodge_error *err)
{
	const struct exec_request r = {.path = path,
				       .fd = -1,
				       .argv = argv,
				       .envp = envp,
				       .mm = l->x->mm,
				       .hostfiles = &l->table,
				       .cred = &l->task.cred,
				       .aslr = l->task.aslr};
	struct exec_result program;
	int ret = exec_load(&r, &program, err);

	if (!ret)
		task_start_program(&l->task, &program);
	return ret;
}

static void write_program(const char *path, const void *bytes, size_t size, mode_t mode)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	assert_int_equal(fwrite(bytes, 1, size, f), size);
	assert_int_equal(fclose(f), 0);
	assert_int_equal(chmod(path, mode), 0);
}

static void write_good_program(struct loading *l)
{
	static struct image image;

	good_image(&image);
	write_program(l->path, &image, sizeof(image), 0755);
}

static uint64_t user_word(struct mm *mm, gva_t at)
{
	uint64_t word;

	assert_int_equal(copy_from_user(mm, &word, at, sizeof(word)), 0);
	return word;
}

static void assert_user_string(struct mm *mm, gva_t at, const char *expected)
{
	char text[256];

	assert_true(strncpy_from_user(mm, text, at, sizeof(text)) >= 0);
	assert_string_equal(text, expected);
}

/* Asserts the strings whose addresses begin at `at`, and the NULL behind them; returns what follows. */
static gva_t assert_user_strings(struct mm *mm, gva_t at, const char *const *expected)
{
	for (; *expected; expected++, at += 8)
		assert_user_string(mm, user_word(mm, at), *expected);
	assert_int_equal(user_word(mm, at), 0);
	return at + 8;
}

static uint64_t user_aux(struct mm *mm, gva_t auxv, uint64_t type)
{
	for (; user_word(mm, auxv) != type; auxv += 16)
		assert_int_not_equal(user_word(mm, auxv), AT_NULL);
	return user_word(mm, auxv + 8);
}

static void stack_is_as_the_psabi_says(void **state)
{
	struct loading *l = *state;
	struct mm *mm = l->x->mm;
	const char *const argv[] = {"one", "", "three words here", NULL}, *const env[] = {"A=1", "PATH=/x",
											  NULL};
	char *text;

	write_good_program(l);
	assert_int_equal(load(l, l->path, argv, env, NULL), 0);
	gva_t sp = l->task.regs.rsp;
	assert_int_equal(sp % 16, 0);
	assert_int_equal(l->task.regs.rip, CODE + 0x1010);
	assert_int_equal(l->task.regs.rdx, 0);
	assert_int_equal(user_word(mm, sp), 3);
	gva_t auxv = assert_user_strings(mm, assert_user_strings(mm, sp + 8, argv), env);
	assert_int_equal(user_aux(mm, auxv, AT_PHDR), CODE + sizeof(Elf64_Ehdr));
	assert_int_equal(user_aux(mm, auxv, AT_PHNUM), 4);
	assert_int_equal(user_aux(mm, auxv, AT_PHENT), 56);
	assert_int_equal(user_aux(mm, auxv, AT_ENTRY), CODE + 0x1010);
	assert_int_equal(user_aux(mm, auxv, AT_PAGESZ), 4096);
	assert_int_equal(user_aux(mm, auxv, AT_UID), getuid());
	assert_user_string(mm, user_aux(mm, auxv, AT_EXECFN), l->path);
	assert_user_string(mm, user_aux(mm, auxv, AT_PLATFORM), "x86_64");
	assert_true(user_word(mm, user_aux(mm, auxv, AT_RANDOM)) != 0);
	assert_string_equal(l->task.comm, "program-of-long");
	assert_string_equal(l->process.exe_path, l->path);
	assert_user_string(mm, mm->arg_start, "one");
	assert_user_string(mm, mm->env_start, "A=1");
	text = maps_text(mm);
	assert_non_null(
		strstr(text,
		       "7ffffffde000-7ffffffff000 rw-p 00000000 00:00 0                          [stack]\n"));
	free(text);
	assert_mm_sound(mm);
}

static void big_argument_lists(void **state)
{
	struct loading *l = *state;
	static char longest[ARGSTACK_MAX_STRING + 1];
	static const char *many[200001];
	const char *argv[20] = {longest};

	write_good_program(l);
	memset(longest, 'a', ARGSTACK_MAX_STRING);
	assert_int_equal(load(l, l->path, argv, NULL, NULL), -E2BIG);
	longest[ARGSTACK_MAX_STRING - 1] = '\0';
	for (int i = 0; i < 16; i++)
		argv[i] = longest;
	assert_int_equal(load(l, l->path, argv, NULL, NULL), -E2BIG);
	argv[15] = NULL;
	assert_int_equal(l->x->mm->vmas.nr, 0);
	assert_int_equal(load(l, l->path, argv, NULL, NULL), 0);
	assert_int_equal(user_word(l->x->mm, l->task.regs.rsp), 15);
	assert_int_equal(mm_munmap(l->x->mm, 0, TASK_SIZE), 0);
	/* Pointers need room too. */
	for (int i = 0; i < 200000; i++)
		many[i] = "";
	assert_int_equal(load(l, l->path, many, NULL, NULL), 0);
	assert_int_equal(user_word(l->x->mm, l->task.regs.rsp), 200000);
	assert_mm_sound(l->x->mm);
	assert_int_equal(mm_munmap(l->x->mm, 0, TASK_SIZE), 0);
	l->x->mm->stack_limit_bytes = 4 << 20;
	assert_int_equal(load(l, l->path, many, NULL, NULL), -E2BIG);
}

static void write_script(struct loading *l, const char *name, const char *line)
{
	snprintf(l->path, sizeof(l->path), "%s/%s", l->dir, name);
	write_program(l->path, line, strlen(line), 0755);
}

static void scripts_name_their_interpreter(void **state)
{
	struct loading *l = *state;
	const char *const argv[] = {"zero", "one", NULL};
	char program[64], inner[64], line[128];
	struct mm *mm = l->x->mm;

	write_good_program(l);
	strcpy(program, l->path);
	snprintf(line, sizeof(line), "#! \t%s  an argument \t\nrest", program);
	write_script(l, "inner", line);
	strcpy(inner, l->path);
	snprintf(line, sizeof(line), "#!%s", inner);
	write_script(l, "outer", line);
	assert_int_equal(load(l, l->path, argv, NULL, NULL), 0);
	const char *const expected[] = {program, "an argument", inner, l->path, "one", NULL};
	assert_int_equal(user_word(mm, l->task.regs.rsp), 5);
	assert_user_strings(mm, l->task.regs.rsp + 8, expected);
	assert_string_equal(l->task.comm, "outer");
	assert_string_equal(l->process.exe_path, program);
}

static void scripts_that_lead_nowhere(void **state)
{
	struct loading *l = *state;
	const char *const argv[] = {"script", NULL};
	char line[400] = "#!";

	write_script(l, "empty", "#!  \n");
	assert_int_equal(load(l, l->path, argv, NULL, NULL), -ENOEXEC);
	write_script(l, "two", "#!");
	assert_int_equal(load(l, l->path, argv, NULL, NULL), -ENOEXEC);
	write_script(l, "gone", "#!/no/such/interpreter\n");
	assert_int_equal(load(l, l->path, argv, NULL, NULL), -ENOENT);
	memset(line + 2, 'a', 300);
	write_script(l, "long", line);
	assert_int_equal(load(l, l->path, argv, NULL, NULL), -ENOEXEC);
	snprintf(line, sizeof(line), "#!%s/loop\n", l->dir);
	write_script(l, "loop", line);
	assert_int_equal(load(l, l->path, argv, NULL, NULL), -ELOOP);
	/* Five scripts and a program are the most that Linux follows. */
	write_good_program(l);
	for (int i = 0; i < 6; i++) {
		snprintf(line, sizeof(line), "#!%s\n", l->path);
		char name[2] = {(char)('0' + i)};
		write_script(l, name, line);
		assert_int_equal(load(l, l->path, argv, NULL, NULL), i < 5 ? 0 : -ELOOP);
		assert_int_equal(mm_munmap(l->x->mm, 0, TASK_SIZE), 0);
	}
}

static void path_is_searched_like_execvp(void **state)
{
	struct loading *l = *state;
	const char *const argv[] = {"p", NULL};
	char path[128];
	const char *const env[] = {"X=1", path, NULL};
	struct lodge_error err;

	write_good_program(l);
	snprintf(path, sizeof(path), "PATH=/nowhere::%s", l->dir);
	assert_int_equal(load(l, "program-of-long-name", argv, env, &err), 0);
	assert_string_equal(l->process.exe_path, l->path);
	assert_int_equal(mm_munmap(l->x->mm, 0, TASK_SIZE), 0);
	assert_int_equal(load(l, "no-such-name", argv, env, &err), -ENOENT);
	assert_string_equal(err.text, "no-such-name: No such file or directory");
	assert_int_equal(chmod(l->path, 0644), 0);
	assert_int_equal(load(l, "program-of-long-name", argv, env, &err), -EACCES);
	assert_int_equal(load(l, "", argv, env, &err), -ENOENT);
	assert_int_equal(load(l, l->dir, argv, env, &err), -EACCES);
	assert_non_null(strstr(err.text, "is a directory"));
	snprintf(path, sizeof(path), "%s/x", l->path);
	assert_int_equal(load(l, path, argv, NULL, &err), -ENOENT);
}

/*
 * Every frame that loading takes, refused once: the space is as empty as before, or the program is there all the same, where
 * the frame was for a page mapped ahead. Goes on until an attempt comes through without being refused anything.
 */
static void any_single_enomem_leaves_nothing(void **state)
{
	struct loading *l = *state;
	struct frames *f = &l->x->machine->frames;
	const char *const argv[] = {"p", NULL};
	uint64_t refused_before;
	unsigned int failures = 0;
	long n = 0;

	write_good_program(l);
	do {
		refused_before = atomic_load(&f->nr_fail);
		hostfile_drop_caches(&l->table); /* which would be given up instead */
		atomic_store(&f->fail_in, ++n);
		int ret = load(l, l->path, argv, NULL, NULL);
		atomic_store(&f->fail_in, 0);
		assert_true(ret == 0 || ret == -ENOMEM);
		assert_mm_sound(l->x->mm);
		if (ret) {
			failures++;
			assert_int_equal(l->x->mm->vmas.nr, 0);
		} else {
			assert_int_equal(mm_munmap(l->x->mm, 0, TASK_SIZE), 0);
		}
	} while (atomic_load(&f->nr_fail) > refused_before);
	assert_true(n > 3);
	assert_true(failures > 0);
}

static void random_layouts_differ(void **state)
{
	struct loading *l = *state;
	const char *const argv[] = {"p", NULL};
	gva_t sp[8], base[8], brk[8];

	write_good_program(l);
	l->task.aslr = true;
	for (unsigned int i = 0; i < 8; i++) {
		assert_int_equal(load(l, l->path, argv, NULL, NULL), 0);
		assert_int_equal(l->task.regs.rsp % 16, 0);
		sp[i] = l->task.regs.rsp;
		base[i] = l->x->mm->mmap_base;
		brk[i] = l->x->mm->start_brk;
		assert_true(base[i] < sp[i]);
		assert_int_equal(mm_munmap(l->x->mm, 0, TASK_SIZE), 0);
	}
	for (unsigned int i = 1; i < 8; i++)
		assert_true(sp[i] != sp[0] && base[i] != base[0]);
	assert_true(brk[0] != brk[1] || brk[0] != brk[2]);
}

static void one_backing_per_file(void **state)
{
	struct loading *l = *state;
	struct backing *a, *b, *c;
	char link_path[80];
	int fd, other;

	write_good_program(l);
	snprintf(link_path, sizeof(link_path), "%s/link", l->dir);
	assert_int_equal(link(l->path, link_path), 0);
	fd = open(l->path, O_RDONLY | O_CLOEXEC);
	other = open(link_path, O_RDONLY | O_CLOEXEC);
	assert_int_equal(hostfile_get(&l->table, fd, NULL, &a), 0);
	assert_int_equal(hostfile_get(&l->table, other, NULL, &b), 0);
	assert_ptr_equal(a, b);
	close(other);
	close(fd);
	assert_int_equal(a->ops->size(a), sizeof(struct image));
	assert_string_equal(a->path, l->path);
	backing_put(a);
	assert_int_equal(unlink(l->path), 0);
	write_good_program(l);
	fd = open(l->path, O_RDONLY | O_CLOEXEC);
	assert_int_equal(hostfile_get(&l->table, fd, NULL, &c), 0);
	assert_ptr_not_equal(b, c);
	close(fd);
	backing_put(b);
	backing_put(c);
	fd = open(l->path, O_WRONLY | O_CLOEXEC);
	assert_int_equal(hostfile_get(&l->table, fd, NULL, &c), -EACCES);
	close(fd);
	fd = open(l->path, O_PATH | O_CLOEXEC);
	assert_int_equal(hostfile_get(&l->table, fd, NULL, &c), -EBADF);
	close(fd);
	fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	assert_int_equal(hostfile_get(&l->table, fd, NULL, &c), -ENODEV);
	close(fd);
	assert_int_equal(hostfile_get(&l->table, -1, NULL, &c), -EBADF);
}

static void changed_files_are_read_again(void **state)
{
	struct loading *l = *state;
	struct backing *a, *b;
	struct page *page;
	bool major;
	int fd;

	write_program(l->path, "old", 3, 0644);
	fd = open(l->path, O_RDONLY | O_CLOEXEC);
	assert_int_equal(hostfile_get(&l->table, fd, NULL, &a), 0);
	assert_int_equal(filemap_get(&a->cache, 0, l->x->mm->memcg, &page, &major), 0);
	assert_memory_equal(page_address(&l->x->machine->frames, page), "old", 4);
	page_put(&l->x->machine->frames, page);
	write_program(l->path, "newer", 5, 0644);
	assert_int_equal(hostfile_get(&l->table, fd, NULL, &b), 0);
	assert_ptr_equal(a, b);
	assert_int_equal(filemap_get(&b->cache, 0, l->x->mm->memcg, &page, &major), 0);
	assert_true(major);
	assert_memory_equal(page_address(&l->x->machine->frames, page), "newer", 6);
	page_put(&l->x->machine->frames, page);
	close(fd);
	backing_put(a);
	backing_put(b);
}

#define P(name, fn)                        \
	{                                  \
		name, fn, NULL, NULL, NULL \
	}
#define M(name, fn)                                             \
	{                                                       \
		name, fn, fixture_setup, fixture_teardown, NULL \
	}
#define L(name, fn)                                             \
	{                                                       \
		name, fn, loading_setup, loading_teardown, NULL \
	}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		P("elf: segments, entry, break and bounds are as the headers say [G14]",
		  good_program_is_planned),
		P("elf: a position-independent program goes to its base, as aligned as it asks [F7]",
		  pie_goes_to_its_base),
		P("elf: the heap keeps its gap", heap_keeps_its_gap),
		P("elf: a segment in the kernel half or beyond TASK_SIZE is refused [F8]",
		  kernel_half_is_refused),
		P("elf: a segment in the stack's place or below mmap_min_addr is refused [F10]",
		  stack_and_null_page_are_refused),
		P("elf: a bias brings no address back into the user half", pie_cannot_wrap_around),
		P("elf: sizes and offsets that cannot be are refused", sizes_that_cannot_be),
		P("elf: segments that overlap are refused, those that continue a page are not",
		  overlaps_are_refused),
		P("elf: segments without memory do not count", empty_segments_do_not_count),
		P("elf: an entry outside executable segments is refused", entry_must_be_code),
		P("elf: more memory than the limit is refused", memory_limit_holds),
		P("elf: files of other classes, machines and types are refused", identity_is_checked),
		P("elf: a header table that cannot be is refused", header_table_is_checked),
		P("elf: the interpreter's name is read with care", interpreter_is_named),
		M("elf: the listed program maps to the listed areas [R1 R5 F7]", seed_program_maps_as_listed),
		M("maps: anonymous lines are byte for byte Linux's [R2 R3 R5 J9]", maps_lines_are_linuxs),
		M("maps: long lines and odd paths stay one line within bounds [R5]", long_lines_and_newlines),
		M("elf: what is beyond the file's part is zero, and rights are the segment's",
		  zero_part_is_zero),
		L("exec: the first stack is as the psABI says", stack_is_as_the_psabi_says),
		L("exec: arguments may take a quarter of the stack and 128 KiB each", big_argument_lists),
		L("exec: a script's interpreter gets its argument and the script",
		  scripts_name_their_interpreter),
		L("exec: scripts that lead nowhere, or in circles, are refused", scripts_that_lead_nowhere),
		L("exec: PATH is searched like execvp", path_is_searched_like_execvp),
		L("exec: any single ENOMEM leaves the space empty", any_single_enomem_leaves_nothing),
		L("exec: random layouts differ", random_layouts_differ),
		L("hostfile: all descriptors of one file share one backing", one_backing_per_file),
		L("hostfile: a file that changed is read again", changed_files_are_read_again),
	};

	return cmocka_run_group_tests_name("elf", tests, NULL, NULL);
}
