/* SPDX-License-Identifier: MIT */
/* insn_test.c - lengths of instructions, and which call sites may be rewritten. */
#include "../../src/vmm/insn.h"
#include "../harness.h"

struct sample {
	uint8_t bytes[INSN_MAX];
	uint8_t length; /* 0: no instruction */
};

static const struct sample samples[] = {
	{{0xc3}, 1},
	{{0x90}, 1},
	{{0x0f, 0x05}, 2},
	{{0xb8, 1, 0, 0, 0}, 5},
	{{0x41, 0xb8, 1, 0, 0, 0}, 6},
	{{0x66, 0xb8, 1, 0}, 4},
	{{0x48, 0xb8, 1, 2, 3, 4, 5, 6, 7, 8}, 10},
	{{0x66, 0x48, 0xb8, 1, 2, 3, 4, 5, 6, 7, 8}, 11},
	{{0x48, 0x66, 0xb8, 1, 2}, 5}, /* REX in front of another prefix does not count */
	{{0x48, 0x89, 0xe5}, 3},
	{{0x48, 0x8b, 0x44, 0x24, 0x08}, 5},
	{{0x8b, 0xb8, 1, 0, 0, 0}, 6},
	{{0x00, 0xb8, 1, 0, 0, 0}, 6},
	{{0x00, 0x00}, 2},
	{{0x48, 0x8b, 0x04, 0x25, 1, 2, 3, 4}, 8},
	{{0x48, 0x8b, 0x05, 1, 2, 3, 4}, 7},
	{{0xc7, 0x45, 0xb8, 1, 0, 0, 0}, 7},
	{{0x80, 0x3d, 1, 2, 3, 4, 0}, 7},
	{{0x66, 0x81, 0xc0, 1, 2}, 5},
	{{0xf6, 0xc1, 1}, 3},
	{{0xf6, 0xd1}, 2},
	{{0xf7, 0xc1, 1, 2, 3, 4}, 6},
	{{0xf7, 0xd8}, 2},
	{{0xa1, 1, 2, 3, 4, 5, 6, 7, 8}, 9},
	{{0x67, 0xa1, 1, 2, 3, 4}, 6},
	{{0xc8, 1, 0, 0}, 4},
	{{0xc2, 1, 0}, 3},
	{{0xe8, 1, 2, 3, 4}, 5},
	{{0xeb, 1}, 2},
	{{0x0f, 0x84, 1, 2, 3, 4}, 6},
	{{0x0f, 0x1f, 0x84, 0, 0, 0, 0, 0}, 8},
	{{0x66, 0x2e, 0x0f, 0x1f, 0x84, 0, 0, 0, 0, 0}, 10},
	{{0xf3, 0x0f, 0x1e, 0xfa}, 4},
	{{0x66, 0x0f, 0x3a, 0x0f, 0xc1, 8}, 6},
	{{0x66, 0x0f, 0x38, 0x17, 0xc1}, 5},
	{{0xc5, 0xf8, 0x77}, 3},
	{{0xc5, 0xfd, 0x74, 0xc1}, 4},
	{{0xc5, 0xfd, 0x70, 0xc1, 1}, 5},
	{{0xc4, 0xe3, 0x7d, 0x39, 0xc1, 1}, 6},
	{{0xc4, 0xe2, 0xf3, 0xf7, 0xc0}, 5},
	{{0x62, 0xf1, 0x7d, 0x48, 0x6f, 0x07}, 6},
	{{0x62, 0xf3, 0x75, 0x20, 0x3f, 0xc0, 6}, 7},
	{{0xf2, 0x0f, 0x78, 0xc1, 1, 2}, 6},
	{{0xfe, 0xc0}, 2},
	{{0xff, 0xe0}, 2},
	{{0xfe, 0xb8, 1, 2, 3, 4}, 0},
	{{0xff, 0xff}, 0},
	{{0x06}, 0},
	{{0x60}, 0},
	{{0xea, 1, 2, 3, 4, 5, 6}, 0},
	{{0x48}, 0},
	{{0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66}, 0},
};

static void lengths(void **state)
{
	struct insn insn;

	(void)state;
	for (size_t i = 0; i < sizeof(samples) / sizeof(samples[0]); i++) {
		const struct sample *s = &samples[i];
		bool is_one = insn_decode(s->bytes, s->length ? s->length : INSN_MAX, &insn);
		if (!s->length && s->bytes[0] == 0x48)
			is_one = insn_decode(s->bytes, 1, &insn);
		if (is_one != (s->length != 0) || (is_one && insn.length != s->length))
			fail_msg("sample %zu: %d, %u bytes", i, is_one, insn.length);
		for (size_t max = 0; max < s->length; max++)
			assert_false(insn_decode(s->bytes, max, &insn));
	}
}

/* No bytes make it read beyond them or run on for ever; and a length is a length whatever follows. */
static void any_bytes(void **state)
{
	uint64_t rng = random_seed(1);
	struct insn insn, again;
	uint8_t code[INSN_MAX];

	(void)state;
	for (unsigned int i = 0; i < 2000000; i++) {
		for (unsigned int k = 0; k < sizeof(code); k++)
			code[k] = (uint8_t)(random_next(&rng) >> 32);
		if (!insn_decode(code, sizeof(code), &insn))
			continue;
		assert_in_range(insn.length, 1, INSN_MAX);
		assert_true(insn_decode(code, insn.length, &again));
		assert_int_equal(again.length, insn.length);
		assert_false(insn_decode(code, insn.length - 1u, &again));
	}
}

/* --- call sites --------------------------------------------------------------------------------------------------------- */

#define BEFORE 64

/* Nops, `before` at its end, and the site; what is behind it. */
static bool may_rewrite(const char *before, size_t bytes, uint32_t nr, const char *behind, size_t more)
{
	uint8_t code[BEFORE + SITE_BYTES + 64];

	memset(code, 0x90, sizeof(code));
	memcpy(code + BEFORE - bytes, before, bytes);
	code[BEFORE] = 0xb8;
	memcpy(code + BEFORE + 1, &nr, sizeof(nr));
	memcpy(code + BEFORE + 5, "\x0f\x05", 2);
	memcpy(code + BEFORE + SITE_BYTES, behind, more);
	return insn_is_call_site(code, sizeof(code), BEFORE, nr);
}

#define MAY(before, nr)	       may_rewrite(before, sizeof(before) - 1, nr, "\xc3", 1)
#define MAY_WITH(behind)       may_rewrite("\xc3", 1, 110, behind, sizeof(behind) - 1)
#define MAY_AFTER(before, beh) may_rewrite(before, sizeof(before) - 1, 110, beh, sizeof(beh) - 1)

static void plain_sites(void **state)
{
	(void)state;
	assert_true(MAY("\xc3", 110));
	assert_true(MAY("\x0f\x1f\x84\x00\x00\x00\x00\x00", 110)); /* add %bh, 110(%rax) would have faulted */
	assert_true(MAY("\xf3\x0f\x1e\xfa", 8));
	assert_true(MAY("\x48\x89\xd7", 1));
	assert_true(MAY("\x89\xfe", 202));
	assert_true(MAY("\x49\x89\xca", 9)); /* mov %rcx, %r10 */
	assert_true(MAY("\x80\x3d\x31\x33\x0e\x00\x00\x74\x13", 1));
	assert_true(MAY_WITH("\x48\x3d\x00\xf0\xff\xff\x77\x5b\xc3"));
}

/* The five bytes are the end of another instruction, or may be. */
static void ends_of_others(void **state)
{
	(void)state;
	assert_false(MAY("\x41", 9));		  /* mov $9, %r8d */
	assert_false(MAY("\x8d", 110));		  /* lea 110(%rax), %edi */
	assert_false(MAY("\x48\x8d", 110));	  /* the same */
	assert_false(MAY("\xc7\x45", 1));	  /* movl $1, -72(%rbp) */
	assert_false(MAY("\x8b\x84", 110));	  /* mov 110(%rax,%rdi,4), %eax */
	assert_false(MAY("\x41\x8b", 110));	  /* mov 110(%r8), %edi */
	assert_false(MAY("\x48\xc7\x44\x24", 1)); /* movq $1, -72(%rsp) */
	assert_true(MAY("\x0f", 110));		  /* and add %al, (%rax) behind it, which faults */
	assert_false(MAY("\xf7", 110));		  /* idivl 110(%rax): rax is another afterwards */
	assert_true(MAY("\x8b", 110));		  /* mov 110(%rax), %edi, with rax = 110: that faults */
	assert_true(MAY("\x89", 110));
	assert_true(MAY("\x66", 9));	   /* mov $9, %ax; add %al, (%rax): likewise */
	assert_false(MAY("\x89", 0x4000)); /* too large for that, and for a call */
}

static void other_bytes(void **state)
{
	uint8_t code[] = {0xb8, 110, 0, 0, 0, 0x0f, 0x05};

	(void)state;
	assert_true(insn_is_call_site(code, sizeof(code), 0, 110));
	assert_false(insn_is_call_site(code, sizeof(code), 0, 111)); /* rax was another */
	assert_false(insn_is_call_site(code, sizeof(code), 1, 110));
	assert_false(insn_is_call_site(code, sizeof(code) - 1, 0, 110));
	assert_false(insn_is_call_site(code, 3, 0, 110));
	code[6] = 0x0b;
	assert_false(insn_is_call_site(code, sizeof(code), 0, 110));
	code[6] = 0x05;
	code[0] = 0xb9;
	assert_false(insn_is_call_site(code, sizeof(code), 0, 110));
}

/* The site is at 64, what is behind it at 71. */
static void aimed_at(void **state)
{
	(void)state;
	assert_true(MAY_WITH("\xeb\xf7"));			     /* to the mov */
	assert_false(MAY_WITH("\xeb\xf8"));			     /* behind its first byte */
	assert_false(MAY_WITH("\x74\xfb"));			     /* its last byte */
	assert_true(MAY_WITH("\x74\xfc"));			     /* to the SYSCALL */
	assert_false(MAY_WITH("\xe3\xfa"));			     /* by JRCXZ */
	assert_false(MAY_WITH("\xe9\xf5\xff\xff\xff"));		     /* to 65 */
	assert_true(MAY_WITH("\xe9\xf4\xff\xff\xff"));		     /* to 64 */
	assert_false(MAY_WITH("\x0f\x8c\xf6\xff\xff\xff"));	     /* jl to 67 */
	assert_false(MAY_WITH("\xc3\xe8\xf4\xff\xff\xff"));	     /* call of 65 */
	assert_false(MAY_AFTER("\xeb\x02\xc3", "\xc3"));	     /* jmp over the ret and one byte */
	assert_true(MAY_AFTER("\xeb\x01\xc3\x90\x90\x90", "\xc3"));  /* jmp over the ret */
	assert_false(MAY_AFTER("\xe9\x02\x00\x00\x00\xc3", "\xc3")); /* the same, wide */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		{"insn: lengths [A10]", lengths, NULL, NULL, NULL},
		{"insn: any bytes have at most one length [A10]", any_bytes, NULL, NULL, NULL},
		{"insn: a call site as compilers make it may be rewritten [A10]", plain_sites, NULL, NULL,
		 NULL},
		{"insn: what may be the end of another instruction may not [A10]", ends_of_others, NULL, NULL,
		 NULL},
		{"insn: nothing but mov and SYSCALL is a call site [A10]", other_bytes, NULL, NULL, NULL},
		{"insn: a site that a branch leads into stays [A10]", aimed_at, NULL, NULL, NULL},
	};

	return cmocka_run_group_tests_name("insn", tests, NULL, NULL);
}
