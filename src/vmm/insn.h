/* SPDX-License-Identifier: MIT */
/*
 * insn.h - how long the instructions of 64-bit code are, and what can be said of a call site from its bytes alone.
 *
 * Not here: what an instruction does.
 */
#ifndef LODGE_VMM_INSN_H
#define LODGE_VMM_INSN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define INSN_MAX 15

struct insn {
	uint8_t length; /* of all, and of what is in front of opcode and map */
	uint8_t prefixes;
	uint8_t map;	/* 0: one byte; 1: 0f; 2: 0f 38; 3: 0f 3a */
	uint8_t opcode; /* in its map */
	bool vex;	/* or EVEX */
	bool plain;	/* no prefix but REX without B */
	bool has_modrm;
	uint8_t modrm;
};

/* False: no instruction, or `max` bytes do not hold it. */
bool insn_decode(const uint8_t *code, size_t max, struct insn *insn);

/* `mov $nr, %eax; syscall`, as it stands in code. */
#define SITE_MOV_BYTES 5 /* b8 and the number */
#define SITE_BYTES     7

/* The window of code that is looked at around a site. */
#define SITE_REACH     4096

/*
 * Whether code[at, at + SITE_BYTES) is `mov $nr, %eax; syscall`, and `mov` is what is executed there and nothing else, known that the
 * SYSCALL was made with nr in rax: whoever comes to it over the bytes in front of it has executed the mov as one instruction, and no
 * branch in code[0, bytes) leads behind its first byte. False: it is not, or may not be. See insn.c for the argument.
 */
bool insn_is_call_site(const uint8_t *code, size_t bytes, size_t at, uint32_t nr);

#endif
