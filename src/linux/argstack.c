/* SPDX-License-Identifier: MIT */
/*
 * argstack.c - see argstack.h.
 */
#include <cpuid.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

#include "argstack.h"
#include "cred.h"

#define STACK_EXPAND_BYTES 0x20000ull
#define ARG_BYTES_MAX	   (6ull << 20)
#define ARG_BYTES_MIN	   131072ull /* ARG_MAX: however small the stack may be */

#ifndef AT_MINSIGSTKSZ
#define AT_MINSIGSTKSZ 51 /* Linux 5.14 */
#endif
#define MINSIGSTKSZ_DEFAULT 2048
#define HWCAP2_FSGSBASE	    (1ul << 1)

#define PLATFORM	    "x86_64"
#define RANDOM_BYTES	    16

/* Bytes of the strings with their NULs, or -E2BIG when one is too long. */
static int64_t strings_bytes(const char *const *strings, size_t nr)
{
	int64_t sum = 0;

	for (size_t i = 0; i < nr; i++) {
		size_t bytes = strlen(strings[i]) + 1;
		if (bytes > ARGSTACK_MAX_STRING)
			return -E2BIG;
		sum += (int64_t)bytes;
	}
	return sum;
}

int argstack_measure(struct argstack *s, const struct argstack_strings *r, uint64_t stack_limit_bytes)
{
	uint64_t limit = max_u64(min_u64(stack_limit_bytes / 4, ARG_BYTES_MAX), ARG_BYTES_MIN);
	int64_t args = strings_bytes(r->args, r->nr_args), env = strings_bytes(r->env, r->nr_env);
	uint64_t pointers = (r->nr_args + r->nr_env) * sizeof(uint64_t);

	if (args < 0 || env < 0)
		return -E2BIG;
	uint64_t strings = (uint64_t)args + (uint64_t)env + strlen(r->filename) + 1;
	/* Strings are copied to a stack that grows under them, within its limit. */
	if (strings + pointers > limit || page_align_up(strings + sizeof(uint64_t)) > stack_limit_bytes)
		return -E2BIG;
	s->args_bytes = (uint64_t)args;
	s->env_bytes = (uint64_t)env;
	s->limit_bytes = page_align_down(stack_limit_bytes);
	return 0;
}

static void aux(struct argstack *s, uint64_t type, uint64_t value)
{
	s->auxv[s->nr_auxv++] = (Elf64_auxv_t){.a_type = type, .a_un = {value}};
}

/* EDX of CPUID 1. What the C library says is not what the kernel told it; asking each time would be slow where CPUID traps. */
static uint32_t hwcap(void)
{
	static _Atomic uint32_t known;
	uint32_t a, b, c, d = atomic_load_explicit(&known, memory_order_relaxed);

	if (!d && __get_cpuid(1, &a, &b, &c, &d))
		atomic_store_explicit(&known, d, memory_order_relaxed);
	return d;
}

/* In Linux's order. What else the processor offers is what the host's kernel says of it. */
static void build_auxv(struct argstack *s, const struct argstack_program *p)
{
	unsigned long minsigstksz = getauxval(AT_MINSIGSTKSZ);

	if (p->vdso)
		aux(s, AT_SYSINFO_EHDR, p->vdso);
	aux(s, AT_MINSIGSTKSZ, minsigstksz ? minsigstksz : MINSIGSTKSZ_DEFAULT);
	aux(s, AT_HWCAP, hwcap());
	aux(s, AT_PAGESZ, PAGE_SIZE);
	aux(s, AT_CLKTCK, 100);
	aux(s, AT_PHDR, p->plan->phdr);
	aux(s, AT_PHENT, sizeof(Elf64_Phdr));
	aux(s, AT_PHNUM, p->phnum);
	aux(s, AT_BASE, p->interpreter_base);
	aux(s, AT_FLAGS, 0);
	aux(s, AT_ENTRY, p->plan->entry);
	aux(s, AT_UID, p->cred->uid.real);
	aux(s, AT_EUID, p->cred->uid.effective);
	aux(s, AT_GID, p->cred->gid.real);
	aux(s, AT_EGID, p->cred->gid.effective);
	aux(s, AT_SECURE, 0);
	aux(s, AT_RANDOM, s->random);
	aux(s, AT_HWCAP2, getauxval(AT_HWCAP2) & HWCAP2_FSGSBASE);
	aux(s, AT_EXECFN, s->filename);
	aux(s, AT_PLATFORM, s->platform);
	aux(s, AT_NULL, 0);
}

void argstack_place(struct argstack *s, const struct argstack_strings *r, gva_t top, uint32_t shift)
{
	uint64_t words, strings;

	s->top = top;
	s->filename = s->top - sizeof(uint64_t) - (strlen(r->filename) + 1);
	s->env = s->filename - s->env_bytes;
	s->args = s->env - s->args_bytes;
	strings = page_align_down(s->args);
	s->platform = ((s->args - shift) & ~15ull) - sizeof(PLATFORM);
	s->random = s->platform - RANDOM_BYTES;
	words = 1 + r->nr_args + 1 + r->nr_env + 1;
	s->sp = (s->random - ARGSTACK_MAX_AUXV * sizeof(Elf64_auxv_t) - words * sizeof(uint64_t)) & ~15ull;
	s->bottom = strings - min_u64(STACK_EXPAND_BYTES, s->limit_bytes - (s->top - strings));
	s->bottom = min_u64(s->bottom, page_align_down(s->sp));
}

static void *image_at(struct argstack *s, gva_t address)
{
	return s->image + (address - s->sp);
}

static void put_word(struct argstack *s, uint64_t word)
{
	*s->table++ = word;
}

/* Copies strings to `at` and their addresses, with a NULL behind, into the table. */
static void put_strings(struct argstack *s, const char *const *strings, size_t nr, gva_t at)
{
	for (size_t i = 0; i < nr; i++) {
		size_t bytes = strlen(strings[i]) + 1;
		memcpy(image_at(s, at), strings[i], bytes);
		put_word(s, at);
		at += bytes;
	}
	put_word(s, 0);
}

int argstack_fill(struct argstack *s, const struct argstack_strings *r, const struct argstack_program *p)
{
	s->image = calloc(1, s->top - s->sp);
	if (!s->image)
		return -ENOMEM;
	s->table = (uint64_t *)(void *)s->image;
	put_word(s, r->nr_args);
	put_strings(s, r->args, r->nr_args, s->args);
	put_strings(s, r->env, r->nr_env, s->env);
	build_auxv(s, p);
	memcpy(s->table, s->auxv, s->nr_auxv * sizeof(*s->auxv));
	memcpy(image_at(s, s->filename), r->filename, strlen(r->filename) + 1);
	memcpy(image_at(s, s->platform), PLATFORM, sizeof(PLATFORM));
	if (getrandom(image_at(s, s->random), RANDOM_BYTES, 0) != RANDOM_BYTES)
		return -EIO;
	return 0;
}

/* What a program's first calls push, mapped with what it finds there. */
#define STACK_AHEAD_BYTES 0x4000ull

int argstack_map(const struct argstack *s, struct mm *mm, bool executable)
{
	const struct mmap_request r = {
		.address = s->bottom,
		.length = s->top - s->bottom,
		.prot = PROT_BITS_READ | PROT_BITS_WRITE | (executable ? PROT_BITS_EXEC : 0),
		.flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
		.extra_flags = VM_STACK_FLAGS,
	};
	int64_t ret = mm_mmap(mm, &r);

	if (ret < 0)
		return (int)ret;
	gva_t ahead = max_u64(s->bottom, page_align_down(s->sp) - STACK_AHEAD_BYTES);
	mm_populate(mm, ahead, s->top - ahead);
	if (copy_to_user(mm, s->sp, s->image, s->top - s->sp))
		return -ENOMEM;
	mm->start_stack = s->sp;
	mm->arg_start = s->args;
	mm->arg_end = s->env;
	mm->env_start = s->env;
	mm->env_end = s->filename;
	mm->nr_auxv_words = 2 * s->nr_auxv;
	memcpy(mm->saved_auxv, s->auxv, s->nr_auxv * sizeof(s->auxv[0]));
	return 0;
}

void argstack_free(struct argstack *s)
{
	free(s->image);
	s->image = NULL;
}
