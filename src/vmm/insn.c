/* SPDX-License-Identifier: MIT */
/*
 * insn.c - see insn.h.
 *
 * What insn_is_call_site says of b8 imm32 0f 05, where the SYSCALL at S + 5 was seen to be made with rax = imm32:
 *
 *	  S-15 ...            S                   S+5
 *	  .. .. .. .. .. .. | b8  n  n  0  0 | 0f 05 |
 *	            [ an instruction that begins before S and reaches over it ] [..]
 *
 *   I1  Each way of executing the bytes in front of S + 5 that comes to S + 5 and not to S begins with an instruction at one of S-14..S-1
 *       that reaches over S. All of them are tried, with the instructions that follow. Is there none, then who comes to S + 5 by going
 *       on from one instruction to the next was at S, and what is executed there is the mov.
 *   I2  A way is no way if its last instruction would have faulted: a plain access of memory at rax and a little, which rax = imm32
 *       puts below 64 KiB, where nothing is mapped; rax is the same before and behind that instruction, for it writes another register
 *       or memory. (`add %al, (%rax)`, 00 00, is the last instruction of most ways.)
 *   I3  No direct branch in the window leads to S+1..S+4, whatever the bytes in front of its displacement are part of.
 *
 * Who jumps to S + 5 itself does not execute the mov, and finds the SYSCALL unchanged. What is left is a jump into the middle of the mov
 * by an address that was computed, or from outside the window: no compiler makes one.
 */
#include <string.h>

#include "insn.h"

/* --- lengths ------------------------------------------------------------------------------------------------------------ */

struct cursor {
	const uint8_t *at, *end;
	bool opsize, addrsize, repne;
	uint8_t rex;
};

static bool take(struct cursor *c, uint8_t *byte)
{
	if (c->at == c->end)
		return false;
	*byte = *c->at++;
	return true;
}

static bool skip_bytes(struct cursor *c, unsigned int n)
{
	if ((size_t)(c->end - c->at) < n)
		return false;
	c->at += n;
	return true;
}

static bool is_prefix(uint8_t b)
{
	return b == 0x26 || b == 0x2e || b == 0x36 || b == 0x3e || (b >= 0x64 && b <= 0x67) || b == 0xf0 ||
	       b == 0xf2 || b == 0xf3;
}

static bool is_invalid(uint8_t op)
{
	static const uint8_t none[] = {0x06, 0x07, 0x0e, 0x16, 0x17, 0x1e, 0x1f, 0x27, 0x2f, 0x37,
				       0x3f, 0x60, 0x61, 0x82, 0x9a, 0xce, 0xd4, 0xd5, 0xd6, 0xea};

	return memchr(none, op, sizeof(none));
}

static bool modrm_in_map0(uint8_t op)
{
	if (op < 0x40)
		return (op & 7) < 4;
	return op == 0x63 || op == 0x69 || op == 0x6b || (op & 0xf0) == 0x80 || op == 0xc0 || op == 0xc1 ||
	       op == 0xc6 || op == 0xc7 || (op >= 0xd0 && op <= 0xd3) || (op & 0xf8) == 0xd8 || op == 0xf6 ||
	       op == 0xf7 || op == 0xfe || op == 0xff;
}

static bool modrm_in_map1(uint8_t op)
{
	return !((op >= 0x04 && op <= 0x0c) || op == 0x0e || (op >= 0x30 && op <= 0x37) || op == 0x77 ||
		 (op & 0xf0) == 0x80 || (op >= 0xa0 && op <= 0xa2) || (op >= 0xa8 && op <= 0xaa) ||
		 (op >= 0xc8 && op <= 0xcf));
}

/* INC, DEC and what is with them: numbers that nobody has given. */
static bool is_no_group_member(const struct insn *insn)
{
	uint8_t reg = insn->modrm >> 3 & 7;

	return (insn->opcode == 0xfe && reg > 1) || (insn->opcode == 0xff && reg == 7);
}

/* Bytes of a number that the operand size makes 16 or 32 bits wide. */
static unsigned int imm_z(const struct cursor *c)
{
	return c->opsize && !(c->rex & 8) ? 2 : 4;
}

static unsigned int imm_of_test(const struct cursor *c, const struct insn *insn)
{
	if ((insn->modrm >> 3 & 7) > 1)
		return 0;
	return insn->opcode == 0xf6 ? 1 : imm_z(c);
}

static unsigned int imm_in_map0(const struct cursor *c, const struct insn *insn)
{
	uint8_t op = insn->opcode;

	if (op < 0x40)
		return (op & 7) == 4 ? 1 : (op & 7) == 5 ? imm_z(c) : 0;
	if ((op >= 0xb8 && op <= 0xbf))
		return c->rex & 8 ? 8 : imm_z(c);
	if (op >= 0xa0 && op <= 0xa3)
		return c->addrsize ? 4 : 8;
	if (op == 0xf6 || op == 0xf7)
		return imm_of_test(c, insn);
	if (op == 0x68 || op == 0x69 || op == 0x81 || op == 0xa9 || op == 0xc7)
		return imm_z(c);
	if (op == 0xe8 || op == 0xe9)
		return 4;
	if (op == 0xc2 || op == 0xca)
		return 2;
	if (op == 0xc8)
		return 3;
	return op == 0x6a || op == 0x6b || (op & 0xf0) == 0x70 || op == 0x80 || op == 0x83 || op == 0xa8 ||
	       (op & 0xf8) == 0xb0 || op == 0xc0 || op == 0xc1 || op == 0xc6 || op == 0xcd || op == 0xeb ||
	       (op & 0xf8) == 0xe0;
}

static unsigned int imm_in_map1(const struct cursor *c, const struct insn *insn)
{
	uint8_t op = insn->opcode;

	if (!insn->vex && (op & 0xf0) == 0x80)
		return 4;
	if (op == 0x78 && !insn->vex) /* EXTRQ, INSERTQ */
		return c->opsize || c->repne ? 2 : 0;
	return op == 0x0f || (op >= 0x70 && op <= 0x73) || op == 0xa4 || op == 0xac || op == 0xba ||
	       op == 0xc2 || (op >= 0xc4 && op <= 0xc6);
}

static unsigned int immediate(const struct cursor *c, const struct insn *insn)
{
	switch (insn->map) {
	case 0:
		return imm_in_map0(c, insn);
	case 1:
		return imm_in_map1(c, insn);
	default:
		return insn->map == 3;
	}
}

/* What follows the ModRM byte of an operand in memory. */
static bool skip_address(struct cursor *c, uint8_t modrm)
{
	uint8_t mod = modrm >> 6, rm = modrm & 7, sib = 0;

	if (mod == 3)
		return true;
	if (rm == 4 && !take(c, &sib))
		return false;
	if (mod == 1)
		return skip_bytes(c, 1);
	bool wide = mod == 2 || rm == 5 || (rm == 4 && (sib & 7) == 5);
	return !wide || skip_bytes(c, 4);
}

/* The rest of c4, c5 or 62, and the opcode. */
static bool take_vex(struct cursor *c, struct insn *insn, uint8_t first)
{
	uint8_t b = 0;

	insn->vex = true;
	insn->plain = false;
	insn->map = 1;
	if (!take(c, &b))
		return false;
	if (first != 0xc5)
		insn->map = first == 0x62 ? b & 7 : b & 31;
	if (first != 0xc5 && !skip_bytes(c, first == 0x62 ? 2 : 1))
		return false;
	return insn->map && take(c, &insn->opcode);
}

static bool take_opcode(struct cursor *c, struct insn *insn)
{
	uint8_t op = 0;

	if (!take(c, &op))
		return false;
	if (op == 0xc4 || op == 0xc5 || op == 0x62)
		return take_vex(c, insn, op);
	insn->opcode = op;
	if (op != 0x0f)
		return !is_invalid(op);
	insn->map = 1;
	if (!take(c, &insn->opcode))
		return false;
	if (insn->opcode != 0x38 && insn->opcode != 0x3a)
		return true;
	insn->map = insn->opcode == 0x38 ? 2 : 3;
	return take(c, &insn->opcode);
}

/* REX counts where it is the last of them. */
static bool take_prefixes(struct cursor *c, struct insn *insn)
{
	for (; c->at < c->end; c->at++) {
		uint8_t b = *c->at;
		if (!is_prefix(b) && (b & 0xf0) != 0x40)
			return true;
		c->rex = is_prefix(b) ? 0 : b;
		c->opsize |= b == 0x66;
		c->addrsize |= b == 0x67;
		c->repne |= b == 0xf2;
		if (is_prefix(b) || (b & 1))
			insn->plain = false;
	}
	return false;
}

bool insn_decode(const uint8_t *code, size_t max, struct insn *insn)
{
	struct cursor c = {.at = code, .end = code + (max < INSN_MAX ? max : INSN_MAX)};

	*insn = (struct insn){.plain = true};
	if (!take_prefixes(&c, insn) || !take_opcode(&c, insn))
		return false;
	insn->has_modrm = insn->vex	   ? !(insn->map == 1 && insn->opcode == 0x77)
			  : insn->map == 0 ? modrm_in_map0(insn->opcode)
			  : insn->map == 1 ? modrm_in_map1(insn->opcode)
					   : true;
	if (insn->has_modrm && (!take(&c, &insn->modrm) || !skip_address(&c, insn->modrm)))
		return false;
	if ((!insn->map && !insn->vex && is_no_group_member(insn)) || !skip_bytes(&c, immediate(&c, insn)))
		return false;
	insn->length = (uint8_t)(c.at - code);
	return true;
}

/* --- call sites --------------------------------------------------------------------------------------------------------- */

/* Twice this and an operand are below mmap_min_addr, 64 KiB. */
#define RAX_MAX 0x4000u

/* al, ax, eax, rax; or ah. */
static bool is_rax(uint8_t reg)
{
	return reg == 0 || reg == 4;
}

/* Leaves rax alone, and goes on behind itself. */
static bool keeps_rax(const struct insn *i)
{
	uint8_t op = i->opcode, reg = i->modrm >> 3 & 7;

	if (op < 0x40) /* arithmetic: into memory, into another register, or CMP */
		return !(op & 2) || !is_rax(reg) || op >= 0x38;
	if (op >= 0x80 && op <= 0x85)
		return true; /* with a number, TEST */
	if (op == 0x88 || op == 0x89)
		return true;
	if (op == 0x8b || op == 0x8a || op == 0x63 || op == 0x69 || op == 0x6b)
		return !is_rax(reg);
	return op == 0xc0 || op == 0xc1 || op == 0xc6 || op == 0xc7 || (op >= 0xd0 && op <= 0xd3);
}

static bool would_fault(const uint8_t *code, const struct insn *i)
{
	uint8_t mod = i->modrm >> 6;

	if (i->map || !i->plain || !i->has_modrm || mod == 3 || (i->modrm & 7) || !keeps_rax(i))
		return false;
	const uint8_t *at = memchr(code, i->opcode, i->length); /* REX looks like no opcode */
	uint32_t displacement = 0;
	if (mod == 1)
		displacement = at[2] < 0x80 ? at[2] : UINT32_MAX;
	else if (mod == 2)
		memcpy(&displacement, at + 2, sizeof(displacement));
	return displacement < RAX_MAX;
}

/* I1, I2: code[from] begins an instruction. Does one way lead from there to `end` and not over `site`? */
static bool leads_past(const uint8_t *code, size_t from, size_t site, size_t end)
{
	struct insn i = {0};
	size_t last = from;

	for (size_t at = from; at < end; at += i.length) {
		if (at == site || !insn_decode(code + at, end - at, &i))
			return false;
		last = at;
	}
	return !would_fault(code + last, &i);
}

static bool is_only_way(const uint8_t *code, size_t at)
{
	size_t from = at < INSN_MAX - 1 ? 0 : at - (INSN_MAX - 1);

	for (; from < at; from++)
		if (leads_past(code, from, at, at + SITE_MOV_BYTES))
			return false;
	return true;
}

static bool is_inside(size_t at, int64_t to)
{
	return to > (int64_t)at && to < (int64_t)at + SITE_MOV_BYTES;
}

/* JMP, Jcc, LOOP and JRCXZ by a byte: code[from]. */
static bool short_branch(const uint8_t *code, size_t from, size_t at)
{
	uint8_t op = code[from];

	return (op == 0xeb || (op & 0xf0) == 0x70 || (op & 0xfc) == 0xe0) &&
	       is_inside(at, (int64_t)from + 2 + (int8_t)code[from + 1]);
}

/* CALL, JMP, XBEGIN and Jcc by four bytes, code[from] behind `before`. */
static bool near_branch(const uint8_t *code, size_t from, size_t at, uint8_t before)
{
	uint8_t op = code[from];
	int32_t by;

	memcpy(&by, code + from + 1, sizeof(by));
	return (op == 0xe8 || op == 0xe9 || (op == 0xf8 && before == 0xc7) ||
		((op & 0xf0) == 0x80 && before == 0x0f)) &&
	       is_inside(at, (int64_t)from + 5 + by);
}

/* I3. What begins inside the mov can be come to by no other way than such a branch. */
static bool is_aimed_at(const uint8_t *code, size_t bytes, size_t at)
{
	for (size_t from = 0; from + 2 <= bytes; from++) {
		if (is_inside(at, (int64_t)from))
			continue;
		if (short_branch(code, from, at))
			return true;
		if (from + 5 <= bytes && near_branch(code, from, at, from ? code[from - 1] : 0x0f))
			return true;
	}
	return false;
}

bool insn_is_call_site(const uint8_t *code, size_t bytes, size_t at, uint32_t nr)
{
	uint32_t imm;

	if (bytes < SITE_BYTES || at > bytes - SITE_BYTES || nr >= RAX_MAX)
		return false;
	memcpy(&imm, code + at + 1, sizeof(imm));
	return code[at] == 0xb8 && imm == nr && code[at + 5] == 0x0f && code[at + 6] == 0x05 &&
	       is_only_way(code, at) && !is_aimed_at(code, bytes, at);
}
