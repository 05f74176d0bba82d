/* SPDX-License-Identifier: MIT */
/*
 * bpf.c - see bpf.h. The machine: accumulator A, index X, 16 words of memory, 32 bits each.
 */
#include <string.h>

#include "bpf.h"

#define NR_WORDS    BPF_MEMWORDS
#define ALL_WORDS   0xffffu
#define WORD_BIT(k) (uint16_t)(1u << (k))

/* --- soundness ------------------------------------------------------------------------------- */

static bool is_known_alu(const struct sock_filter *f)
{
	bool by_constant = BPF_SRC(f->code) == BPF_K;

	switch (BPF_OP(f->code)) {
	case BPF_ADD:
	case BPF_SUB:
	case BPF_MUL:
	case BPF_AND:
	case BPF_OR:
	case BPF_XOR:
		return true;
	case BPF_DIV:
		return !by_constant || f->k;
	case BPF_LSH:
	case BPF_RSH:
		return !by_constant || f->k < 32;
	case BPF_NEG:
		return by_constant;
	default:
		return false;
	}
}

/* `left`: instructions behind this one. */
static bool is_known_jump(const struct sock_filter *f, unsigned int left)
{
	switch (BPF_OP(f->code)) {
	case BPF_JA:
		return BPF_SRC(f->code) == BPF_K && f->k < left;
	case BPF_JEQ:
	case BPF_JGE:
	case BPF_JGT:
	case BPF_JSET:
		return f->jt < left && f->jf < left;
	default:
		return false;
	}
}

static bool is_known(const struct sock_filter *f, unsigned int left)
{
	switch (f->code) {
	case BPF_LD | BPF_W | BPF_ABS:
		return f->k < sizeof(struct seccomp_data) && !(f->k % sizeof(uint32_t));
	case BPF_LD | BPF_W | BPF_LEN:
	case BPF_LDX | BPF_W | BPF_LEN:
	case BPF_LD | BPF_IMM:
	case BPF_LDX | BPF_IMM:
	case BPF_MISC | BPF_TAX:
	case BPF_MISC | BPF_TXA:
	case BPF_RET | BPF_K:
	case BPF_RET | BPF_A:
		return true;
	case BPF_LD | BPF_MEM:
	case BPF_LDX | BPF_MEM:
	case BPF_ST:
	case BPF_STX:
		return f->k < NR_WORDS;
	default:
		break;
	}
	if (f->code & ~0xffu)
		return false;
	return BPF_CLASS(f->code) == BPF_ALU   ? is_known_alu(f)
	       : BPF_CLASS(f->code) == BPF_JMP ? is_known_jump(f, left)
					       : false;
}

/* written[n]: words that every way to instruction n has written, as far as it is known. Jumps go forward, so one pass knows all. */
static bool words_are_written(const struct sock_filter *program, unsigned int length)
{
	uint16_t written[BPF_MAXINSNS], now = 0;

	memset(written, 0xff, sizeof(written));
	for (unsigned int n = 0; n < length; n++) {
		const struct sock_filter *f = &program[n];

		now &= written[n];
		switch (f->code) {
		case BPF_ST:
		case BPF_STX:
			now |= WORD_BIT(f->k);
			break;
		case BPF_LD | BPF_MEM:
		case BPF_LDX | BPF_MEM:
			if (!(now & WORD_BIT(f->k)))
				return false;
			break;
		case BPF_JMP | BPF_JA:
			written[n + 1 + f->k] &= now;
			now = ALL_WORDS;
			break;
		default:
			if (BPF_CLASS(f->code) != BPF_JMP)
				break;
			written[n + 1 + f->jt] &= now;
			written[n + 1 + f->jf] &= now;
			now = ALL_WORDS;
		}
	}
	return true;
}

bool bpf_is_sound(const struct sock_filter *program, unsigned int length)
{
	if (!length || length > BPF_MAXINSNS || BPF_CLASS(program[length - 1].code) != BPF_RET)
		return false;
	for (unsigned int n = 0; n < length; n++)
		if (!is_known(&program[n], length - n - 1))
			return false;
	return words_are_written(program, length);
}

/* --- running --------------------------------------------------------------------------------- */

struct machine {
	uint32_t a, x, word[NR_WORDS];
};

static uint32_t alu(unsigned int op, uint32_t a, uint32_t b)
{
	switch (op) {
	case BPF_ADD:
		return a + b;
	case BPF_SUB:
		return a - b;
	case BPF_MUL:
		return a * b;
	case BPF_DIV:
		return a / b;
	case BPF_AND:
		return a & b;
	case BPF_OR:
		return a | b;
	case BPF_XOR:
		return a ^ b;
	case BPF_LSH:
		return a << (b & 31);
	case BPF_RSH:
		return a >> (b & 31);
	default:
		return -a; /* BPF_NEG */
	}
}

static bool holds(unsigned int op, uint32_t a, uint32_t b)
{
	switch (op) {
	case BPF_JEQ:
		return a == b;
	case BPF_JGE:
		return a >= b;
	case BPF_JGT:
		return a > b;
	default:
		return a & b; /* BPF_JSET */
	}
}

static void move(struct machine *m, const struct sock_filter *f, const struct seccomp_data *data)
{
	switch (f->code) {
	case BPF_LD | BPF_W | BPF_ABS:
		memcpy(&m->a, (const char *)data + f->k, sizeof(m->a));
		break;
	case BPF_LD | BPF_W | BPF_LEN:
		m->a = sizeof(*data);
		break;
	case BPF_LDX | BPF_W | BPF_LEN:
		m->x = sizeof(*data);
		break;
	case BPF_LD | BPF_IMM:
		m->a = f->k;
		break;
	case BPF_LDX | BPF_IMM:
		m->x = f->k;
		break;
	case BPF_LD | BPF_MEM:
		m->a = m->word[f->k];
		break;
	case BPF_LDX | BPF_MEM:
		m->x = m->word[f->k];
		break;
	case BPF_ST:
		m->word[f->k] = m->a;
		break;
	case BPF_STX:
		m->word[f->k] = m->x;
		break;
	case BPF_MISC | BPF_TAX:
		m->x = m->a;
		break;
	default:
		m->a = m->x; /* BPF_TXA */
		break;
	}
}

uint32_t bpf_run(const struct sock_filter *program, const struct seccomp_data *data)
{
	struct machine m = {0};

	for (const struct sock_filter *f = program;; f++) {
		uint32_t operand = BPF_SRC(f->code) == BPF_X ? m.x : f->k;

		switch (BPF_CLASS(f->code)) {
		case BPF_RET:
			return BPF_RVAL(f->code) == BPF_A ? m.a : f->k;
		case BPF_ALU:
			if (BPF_OP(f->code) == BPF_DIV && !operand)
				return 0;
			m.a = alu(BPF_OP(f->code), m.a, operand);
			break;
		case BPF_JMP:
			if (BPF_OP(f->code) == BPF_JA)
				f += f->k;
			else
				f += holds(BPF_OP(f->code), m.a, operand) ? f->jt : f->jf;
			break;
		default:
			move(&m, f, data);
			break;
		}
	}
}
