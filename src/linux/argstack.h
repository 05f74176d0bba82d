/* SPDX-License-Identifier: MIT */
/*
 * argstack.h - the first stack of a program: arguments, environment and auxiliary vector.
 *
 * As the program finds it (psABI 3.4.1), built in memory of ours and copied at once. Addresses fall from the top:
 *
 *	8 zero bytes | filename | environment strings | argument strings | (shift) | platform | random bytes |
 *	auxv | envp | argv | argc <- sp, 16-byte aligned
 *
 * measure, place, fill, map in this order; only the last touches the space.
 */
#ifndef LODGE_LINUX_ARGSTACK_H
#define LODGE_LINUX_ARGSTACK_H

#include "elf.h"

#define ARGSTACK_MAX_STRING (32 * 4096) /* bytes of one argument, with its NUL: MAX_ARG_STRLEN */
#define ARGSTACK_MAX_AUXV   24

struct argstack_strings {
	const char *filename; /* AT_EXECFN */
	const char *const *args, *const *env;
	size_t nr_args, nr_env;
};

/* What the auxiliary vector says of the program. */
struct argstack_program {
	const struct elf_plan *plan;
	unsigned int phnum;
	gva_t interpreter_base; /* 0: none */
	gva_t vdso;		/* 0: none */
	const struct cred *cred;
};

struct argstack {
	gva_t top, bottom; /* of the area */
	gva_t filename, env, args, platform, random, sp;
	uint64_t args_bytes, env_bytes;
	uint64_t limit_bytes; /* of the stack, in whole pages */
	char *image;	      /* of [sp, top); owned: argstack_free */
	uint64_t *table;      /* where the next word goes */
	Elf64_auxv_t auxv[ARGSTACK_MAX_AUXV];
	unsigned int nr_auxv;
};

/* 0, or -E2BIG: strings and pointers to them may take a quarter of the stack, but 128 KiB in any case and never more than 6 MiB. */
int argstack_measure(struct argstack *s, const struct argstack_strings *r, uint64_t stack_limit_bytes);
/* Decides every address; `shift` bytes stay free below the strings. */
void argstack_place(struct argstack *s, const struct argstack_strings *r, gva_t top, uint32_t shift);
/* 0 or -errno. */
int argstack_fill(struct argstack *s, const struct argstack_strings *r, const struct argstack_program *p);
/* Maps the stack with its contents and sets mm's bounds of it. 0 or -errno. */
int argstack_map(const struct argstack *s, struct mm *mm, bool executable);
void argstack_free(struct argstack *s);

#endif
