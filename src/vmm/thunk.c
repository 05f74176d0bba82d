/* SPDX-License-Identifier: MIT */
/*
 * thunk.c - straight-line ring-0 code that the VMM writes for one entry: pokes, a flush, and the way out.
 *
 * It touches no register but rax, which it saves, so a program's registers can be loaded before it runs and its last
 * instruction returns straight to the program: one KVM_RUN does both. The return is guarded as Linux guards its own: a
 * frame whose cs is not a user's ends in #UD instead of running the program at ring 0.
 */
#include <string.h>

#include "kvm.h"

/* Room for the longest ending: reload of cr3, guard, iretq. */
#define THUNK_TAIL 32

void thunk_begin(struct thunk *t, struct vcpu *v)
{
	*t = (struct thunk){.code = v->data + THUNK_OFFSET, .va = v->text_va + THUNK_OFFSET};
}

static void emit(struct thunk *t, const void *bytes, unsigned int n)
{
	memcpy(t->code + t->used, bytes, n);
	t->used += n;
}

bool thunk_poke(struct thunk *t, uint32_t gpa)
{
	static const uint8_t or_byte[] = {0xf0, 0x80, 0x0d};	   /* lock orb  $0, disp32(%rip) */
	static const uint8_t or_quad[] = {0xf0, 0x48, 0x83, 0x0d}; /* lock orq  $0, disp32(%rip) */
	bool whole_table = gpa & 7;
	unsigned int opcode = whole_table ? sizeof(or_byte) : sizeof(or_quad);
	unsigned int length = opcode + 5;

	if (t->used + length > THUNK_BYTES - THUNK_TAIL)
		return false;
	int64_t disp = (int64_t)(KERNEL_DATA_BASE + gpa) - (int64_t)(t->va + t->used + length);
	int32_t disp32 = (int32_t)disp;
	emit(t, whole_table ? or_byte : or_quad, opcode);
	emit(t, &disp32, sizeof(disp32));
	emit(t, "", 1); /* the immediate: 0 */
	return true;
}

void thunk_reload_cr3(struct thunk *t)
{
	static const uint8_t code[] = {
		0x50,		  /* push %rax */
		0x0f, 0x20, 0xd8, /* mov  %cr3, %rax */
		0x0f, 0x22, 0xd8, /* mov  %rax, %cr3 */
		0x58,		  /* pop  %rax */
	};
	emit(t, code, sizeof(code));
}

void thunk_iretq(struct thunk *t)
{
	static const uint8_t code[] = {
		0xf6, 0x44, 0x24, 0x08, 0x03, /* testb $3, 8(%rsp) */
		0x75, 0x02,		      /* jnz   1f */
		0x0f, 0x0b,		      /* ud2 */
		0x48, 0xcf,		      /* 1: iretq */
	};
	emit(t, code, sizeof(code));
}

void thunk_done(struct thunk *t, struct vm *vm)
{
	int32_t disp = (int32_t)((int64_t)vm->done - (int64_t)(t->va + t->used + 5));

	emit(t, "\xe9", 1); /* jmp entry_done */
	emit(t, &disp, sizeof(disp));
}

gva_t thunk_frame(struct vcpu *v, const struct cpu_regs *regs)
{
	uint64_t frame[] = {regs->rip, GUEST_USER_CS, regs->rflags, regs->rsp, GUEST_USER_DS};

	memcpy(v->data + CPU_RSP0 - sizeof(frame), frame, sizeof(frame));
	return v->data_va + CPU_RSP0 - sizeof(frame);
}
