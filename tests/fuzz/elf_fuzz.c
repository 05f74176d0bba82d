/* SPDX-License-Identifier: MIT */
/*
 * elf_fuzz SECONDS [SEED] - spoils good programs at random and lets the loader judge them.
 *
 * Whatever it accepts must keep the promises of elf.h, checked here by other means, and must map into a space that is
 * sound afterwards. A run that accepted nothing or refused nothing has shown nothing, and fails.
 */
#include "../sim/fixture.h"

#include <time.h>

#include "../../include/lodge.h"
#include "../../src/linux/elf.h"

#define FILE_BYTES  0x6000u
#define MAX_PHDRS   8u
#define LIMIT_BYTES (64ull << 20)

struct program {
	Elf64_Ehdr ehdr;
	Elf64_Phdr phdr[MAX_PHDRS];
	uint8_t body[FILE_BYTES - sizeof(Elf64_Ehdr) - MAX_PHDRS * sizeof(Elf64_Phdr)];
};

struct memory_file {
	struct backing backing; /* first */
	struct program program;
	size_t size;
};

struct fuzz {
	uint64_t seed, state;
	struct fixture *x;
	struct memory_file file;
	unsigned long accepted, refused, mapped;
};

static const struct elf_limits limits = {
	.low = DEFAULT_MMAP_MIN_ADDR,
	.high = TASK_SIZE - STACK_LIMIT_BYTES - STACK_GUARD_GAP,
	.pie_base = 0x555555554000,
	.memory_bytes = LIMIT_BYTES,
};

static ssize_t memory_read(struct backing *b, void *buffer, size_t bytes, uint64_t offset)
{
	const struct memory_file *file = (const struct memory_file *)b;

	if (offset >= file->size)
		return 0;
	bytes = min_u64(bytes, file->size - offset);
	memcpy(buffer, (const char *)&file->program + offset, bytes);
	return (ssize_t)bytes;
}

static int64_t memory_size(struct backing *b)
{
	return (int64_t)((const struct memory_file *)b)->size;
}

static const struct backing_ops memory_ops = {.read = memory_read, .size = memory_size};

static void good_program(struct program *p, bool pie)
{
	uint64_t base = pie ? 0 : 0x400000;
	const Elf64_Phdr phdr[] = {
		{PT_LOAD, PF_R, 0, base, base, 0x500, 0x500, 4096},
		{PT_LOAD, PF_R | PF_X, 0x1000, base + 0x1000, base + 0x1000, 0x2345, 0x2345, 4096},
		{PT_LOAD, PF_R, 0x4000, base + 0x4000, base + 0x4000, 0x100, 0x100, 4096},
		{PT_LOAD, PF_R | PF_W, 0x4f00, base + 0x5f00, base + 0x5f00, 0x300, 0x5300, 4096},
		{PT_LOAD, PF_R | PF_W, 0, base + 0x20000, base + 0x20000, 0, 0x9000, 4096},
		{PT_GNU_STACK, PF_R | PF_W, 0, 0, 0, 0, 0, 16},
		{PT_NULL, 0, 0, 0, 0, 0, 0, 0},
		{PT_NULL, 0, 0, 0, 0, 0, 0, 0},
	};

	memset(p->body, 0xcc, sizeof(p->body));
	memcpy(p->phdr, phdr, sizeof(phdr));
	p->ehdr = (Elf64_Ehdr){
		.e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
		.e_type = pie ? ET_DYN : ET_EXEC,
		.e_machine = EM_X86_64,
		.e_version = EV_CURRENT,
		.e_entry = base + 0x1234,
		.e_phoff = sizeof(Elf64_Ehdr),
		.e_ehsize = sizeof(Elf64_Ehdr),
		.e_phentsize = sizeof(Elf64_Phdr),
		.e_phnum = MAX_PHDRS,
	};
}

/* A number near one that matters. */
static uint64_t odd_number(struct fuzz *z)
{
	static const uint64_t places[] = {
		0,
		1,
		0x1000,
		0x10000,
		FILE_BYTES,
		0x400000,
		0x401000,
		0x405000,
		0x20000,
		LIMIT_BYTES,
		0x555555554000,
		0x7fffff7ff000,
		0x7ffff7fff000,
		TASK_SIZE,
		0x800000000000,
		0xffff800000000000,
		0x8000000000000000,
		0xffffffffffffffff,
	};
	uint64_t n = places[random_below(&z->state, ARRAY_SIZE(places))];

	switch (random_below(&z->state, 4)) {
	case 0:
		return n;
	case 1:
		return n + random_below(&z->state, 0x3000);
	case 2:
		return n - random_below(&z->state, 0x3000);
	default:
		return random_next(&z->state) >> random_below(&z->state, 64);
	}
}

/* One word of the program headers, a whole header, or any byte of any header. */
static void spoil(struct fuzz *z, struct program *p)
{
	Elf64_Phdr *ph = &p->phdr[random_below(&z->state, MAX_PHDRS)];
	uint64_t *words = (uint64_t *)ph;

	switch (random_below(&z->state, 6)) {
	case 0:
		((uint8_t *)p)[random_below(&z->state, sizeof(p->ehdr) + sizeof(p->phdr))] ^=
			(uint8_t)(1u << random_below(&z->state, 8));
		break;
	case 1:
		*ph = p->phdr[random_below(&z->state, MAX_PHDRS)];
		break;
	case 2: /* moves a segment without spoiling it otherwise */
		ph->p_vaddr += (random_below(&z->state, 64) << PAGE_SHIFT) - (32 << PAGE_SHIFT);
		break;
	case 3:
		p->ehdr.e_entry = odd_number(z);
		break;
	default:
		words[random_below(&z->state, sizeof(*ph) / sizeof(*words))] = odd_number(z);
		break;
	}
}

static void promise(const struct fuzz *z, bool kept, const char *what)
{
	if (kept)
		return;
	fprintf(stderr, "elf_fuzz: seed %llu: broken promise: %s\n", (unsigned long long)z->seed, what);
	abort();
}

static void check_plan(const struct fuzz *z, const struct elf_plan *plan)
{
	bool entry_ok = false;
	gva_t end = 0;
	uint64_t bytes = 0;

	promise(z, plan->nr_segments > 0 && plan->nr_segments <= MAX_PHDRS, "number of segments");
	for (unsigned int i = 0; i < plan->nr_segments; i++) {
		const struct elf_segment *s = &plan->segment[i];
		promise(z, s->start < s->end && s->start <= s->file_end && s->file_end <= s->end,
			"order within");
		promise(z, page_align_down(s->start) >= limits.low && s->end <= limits.high,
			"within the limits");
		promise(z, s->start >= end, "order among segments");
		promise(z, s->continues || page_align_down(s->start) >= page_align_up(end),
			"pages of their own");
		promise(z, s->file_end == s->start || s->offset <= z->file.size, "offset within the file");
		promise(z, s->file_end - s->start <= z->file.size - (s->file_end == s->start ? 0 : s->offset),
			"bytes within the file");
		entry_ok |= s->prot & PROT_BITS_EXEC && plan->entry >= s->start && plan->entry < s->end;
		bytes += s->end - s->start;
		end = s->end;
	}
	promise(z, entry_ok, "entry in code");
	promise(z, bytes <= LIMIT_BYTES, "memory limit");
	promise(z, plan->start_brk >= end && !(plan->start_brk & ~PAGE_MASK), "break");
}

static void map_and_unmap(struct fuzz *z, const struct elf_plan *plan)
{
	struct mm *mm = z->x->mm;

	promise(z, !elf_map(plan, mm, &z->file.backing), "a plan can be mapped");
	promise(z, mm->vmas.nr >= 1, "something is mapped");
	promise(z, !mm_check(mm, complain), "the space is sound");
	promise(z, !mm_munmap(mm, 0, TASK_SIZE), "the space can be emptied");
	filemap_drop(&z->file.backing.cache, 0, FILE_BYTES);
	z->mapped++;
}

/* A refusal says why, in one printable line. */
static void check_reason(const struct fuzz *z, const struct lodge_error *err)
{
	promise(z, err->text[0], "a reason is given");
	for (const char *c = err->text; *c; c++)
		promise(z, (unsigned char)*c >= 0x20 && *c != 0x7f, "the reason is printable");
}

static void one_round(struct fuzz *z)
{
	struct lodge_error err = {""};
	struct elf_image image;
	struct elf_plan plan;

	good_program(&z->file.program, random_below(&z->state, 2));
	for (uint64_t n = random_below(&z->state, 4); n > 0; n--)
		spoil(z, &z->file.program);
	z->file.size = random_below(&z->state, 8) ? FILE_BYTES : random_below(&z->state, FILE_BYTES);
	int ret = elf_read(&z->file.backing, &image, &err);
	if (!ret) {
		ret = elf_plan(&image, &limits, &plan, &err);
		elf_image_free(&image);
	}
	if (ret) {
		check_reason(z, &err);
		z->refused++;
		return;
	}
	z->accepted++;
	check_plan(z, &plan);
	if (z->accepted % 16 == 0)
		map_and_unmap(z, &plan);
	elf_plan_free(&plan);
}

static time_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec;
}

int main(int argc, char **argv)
{
	time_t end = now() + (argc > 1 ? atoi(argv[1]) : 1);
	static struct fuzz z;

	z.seed = argc > 2 ? strtoull(argv[2], NULL, 0) : (uint64_t)time(NULL);
	printf("elf_fuzz: seed %llu\n", (unsigned long long)z.seed);
	fflush(stdout);
	z.state = random_seed(z.seed);
	z.x = fixture_new(NULL);
	if (!z.x)
		return 1;
	backing_init(&z.file.backing, &z.x->machine->host, &memory_ops);
	z.file.backing.path = "/program";
	do {
		for (int i = 0; i < 1000; i++)
			one_round(&z);
	} while (now() < end);
	address_space_destroy(&z.file.backing.cache);
	int bad = fixture_free(z.x);
	printf("elf_fuzz: %lu accepted (%lu mapped), %lu refused\n", z.accepted, z.mapped, z.refused);
	return bad || !z.mapped || !z.refused;
}
