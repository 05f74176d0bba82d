/* SPDX-License-Identifier: MIT */
/*
 * sigframe.c - see sigframe.h.
 *
 * Formats: Linux uapi asm/sigcontext.h and asm/ucontext.h; XSAVE area: Intel SDM vol. 1, 13.4 (standard
 * format).
 * Not here: which signal, and what its action is (signal.c).
 */
#include <errno.h>
#include <stdalign.h>
#include <stddef.h>
#include <string.h>

#include "../vmm/vm.h"
#include "sigframe.h"
#include "task.h"

#define UC_FP_XSTATE	     0x1
#define UC_SIGCONTEXT_SS     0x2
#define UC_STRICT_RESTORE_SS 0x4

#define RED_ZONE_BYTES	     128

#define EFLAGS_TF	     (1ull << 8)
#define EFLAGS_DF	     (1ull << 10)
#define EFLAGS_RF	     (1ull << 16)
/* CF PF AF ZF SF TF DF OF RF AC: what a frame may change. */
#define EFLAGS_RETURN	     0x50dd5ull

/* Some 11 KiB with AMX, the largest known. */
#define XSAVE_MAX_BYTES	     16384
#define FXSAVE_BYTES	     512
#define XSAVE_HEADER_BYTES   64
#define XFEATURE_FPSSE	     3ull
#define XFEATURE_SSE_YMM     6ull

struct sigcontext64 {
	uint64_t r8, r9, r10, r11, r12, r13, r14, r15;
	uint64_t rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp, rip, rflags;
	uint16_t cs, gs, fs, ss;
	uint64_t err, trapno, oldmask, cr2, fpstate;
	uint64_t reserved[8];
};

struct stack64 {
	uint64_t sp;
	uint32_t flags, padding;
	uint64_t bytes;
};

struct rt_sigframe {
	uint64_t pretcode;
	uint64_t uc_flags, uc_link;
	struct stack64 uc_stack;
	struct sigcontext64 mc;
	uint64_t sigmask;
	siginfo_t info;
};
_Static_assert(sizeof(struct rt_sigframe) == 440, "as Linux has it");
_Static_assert(sizeof(siginfo_t) == 128, "as Linux has it");

/* The bytes 464..511 of the legacy area, which XSAVE leaves to software. */
struct fpx_sw_bytes {
	uint32_t magic1, extended_bytes;
	uint64_t xfeatures;
	uint32_t xstate_bytes;
	uint32_t padding[7];
};

struct xsave_area {
	uint8_t x87[24];
	uint32_t mxcsr, mxcsr_mask;
	uint8_t legacy[432];
	struct fpx_sw_bytes sw;
	uint64_t xstate_bv, xcomp_bv;
	uint64_t reserved[6];
	uint8_t extended[XSAVE_MAX_BYTES - FXSAVE_BYTES - XSAVE_HEADER_BYTES];
};
_Static_assert(offsetof(struct xsave_area, sw) == 464, "software bytes");
_Static_assert(offsetof(struct xsave_area, xstate_bv) == FXSAVE_BYTES, "XSAVE header");
_Static_assert(sizeof(struct xsave_area) == XSAVE_MAX_BYTES, "whole area");

/* --- vector state ---------------------------------------------------------------------------- */

/* Reads the vector state into `area`, dressed as Linux does it. Bytes in use, or -errno. */
static int xstate_save(struct task *t, struct xsave_area *area)
{
	struct vm_platform p;
	int err = vm_platform(t->vm, &p);
	int got;

	if (err)
		return err;
	memset(area, 0, sizeof(*area));
	got = vcpu_get_xsave(t->vcpu, area, sizeof(*area));
	if (got < 0)
		return got;
	if (p.xsave_bytes >= FXSAVE_BYTES + XSAVE_HEADER_BYTES && p.xsave_bytes < (uint32_t)got)
		got = (int)p.xsave_bytes;
	area->sw = (struct fpx_sw_bytes){
		.magic1 = FP_XSTATE_MAGIC1,
		.extended_bytes = (uint32_t)got + sizeof(uint32_t),
		.xfeatures = p.xcr0,
		.xstate_bytes = (uint32_t)got,
	};
	/* KVM adds state that this machine keeps from its guests (PKRU). */
	area->xstate_bv = (area->xstate_bv & p.xcr0) | XFEATURE_FPSSE;
	return got;
}

/* Bits of MXCSR that this processor knows. */
static uint32_t mxcsr_known(void)
{
	alignas(16) uint8_t image[FXSAVE_BYTES] = {0};
	uint32_t mask;

	__asm__ volatile("fxsave64 %0" : "=m"(image));
	memcpy(&mask, image + 28, sizeof(mask));
	return mask ? mask : 0xffbf;
}

/* The software header describes an XSAVE area that fits ours, and the trailer is where it says. */
static int xstate_is_extended(struct task *t, const struct fpx_sw_bytes *sw, gva_t from, uint32_t max_bytes,
			      bool *yes)
{
	uint32_t magic2;

	*yes = false;
	if (sw->magic1 != FP_XSTATE_MAGIC1 || sw->xstate_bytes < FXSAVE_BYTES + XSAVE_HEADER_BYTES ||
	    sw->xstate_bytes > max_bytes || sw->xstate_bytes > sw->extended_bytes)
		return 0;
	if (copy_from_user(t->mm, &magic2, from + sw->xstate_bytes, sizeof(magic2)))
		return -EFAULT;
	*yes = magic2 == FP_XSTATE_MAGIC2;
	return 0;
}

/*
 * Reads an area from the guest; a frame without the extended part restores x87 and SSE alone, the rest starts
 * anew.
 */
static int xstate_fetch(struct task *t, struct xsave_area *area, gva_t from, const struct vm_platform *p)
{
	bool extended;
	uint64_t features;
	uint32_t bytes;

	if (copy_from_user(t->mm, area, from, FXSAVE_BYTES))
		return -EFAULT;
	bytes = area->sw.xstate_bytes;
	features = area->sw.xfeatures;
	if (xstate_is_extended(t, &area->sw, from, (uint32_t)min_u64(p->xsave_bytes, sizeof(*area)),
			       &extended))
		return -EFAULT;
	if (extended &&
	    copy_from_user(t->mm, (char *)area + FXSAVE_BYTES, from + FXSAVE_BYTES, bytes - FXSAVE_BYTES))
		return -EFAULT;
	if (!extended)
		area->xstate_bv = features = XFEATURE_FPSSE;
	/* XRSTOR wants 64-byte alignment, FXRSTOR 16; both take #GP for these. */
	if (from % (extended ? 64 : 16) || (area->xstate_bv & ~p->xcr0) || area->xcomp_bv ||
	    area->reserved[0])
		return -EFAULT;
	area->xstate_bv &= features;
	return 0;
}

/* Gives the vector state of a frame to the processor. 0 or -EFAULT. */
static int xstate_restore(struct task *t, gva_t from)
{
	alignas(64) struct xsave_area area;
	struct vm_platform p;

	if (!from)
		return vcpu_reset_fpu(t->vcpu) ? -EFAULT : 0;
	if (vm_platform(t->vm, &p))
		return -EFAULT;
	memset(&area, 0, sizeof(area));
	if (xstate_fetch(t, &area, from, &p))
		return -EFAULT;
	if ((area.xstate_bv & XFEATURE_SSE_YMM) && (area.mxcsr & ~mxcsr_known()))
		return -EFAULT;
	memset(&area.sw, 0, sizeof(area.sw));
	memset(area.reserved, 0, sizeof(area.reserved));
	return vcpu_set_xsave(t->vcpu, &area, max_u64(p.xsave_bytes, 4096)) < 0 ? -EFAULT : 0;
}

/* --- pushing --------------------------------------------------------------------------------- */

static bool within_altstack(const struct sigstate *s, uint64_t sp)
{
	return sp > s->altstack_sp && sp - s->altstack_sp <= s->altstack_bytes;
}

/* Where things go: the frame, and the vector state above it. */
struct frame_place {
	gva_t frame, fpstate;
};

/* False when the frame would run over the end of the alternate stack, or out of the address space. */
static bool frame_place(struct task *t, const struct ksigaction *ka, uint64_t fp_bytes,
			struct frame_place *at)
{
	const struct sigstate *s = &t->sig;
	uint64_t sp = t->regs.rsp - RED_ZONE_BYTES;
	bool on_altstack = sigstate_altstack_state(s, t->regs.rsp) == SS_ONSTACK;

	if ((ka->flags & SA_ONSTACK) && sigstate_altstack_state(s, sp) == 0) {
		sp = s->altstack_sp + s->altstack_bytes;
		on_altstack = true;
	}
	at->fpstate = (sp - fp_bytes) & ~63ull;
	at->frame = ((at->fpstate - sizeof(struct rt_sigframe)) & ~15ull) - 8;
	if (on_altstack && !within_altstack(s, at->frame))
		return false;
	return at->frame < sp && access_ok(at->frame, sp - at->frame);
}

static void mcontext_fill(struct sigcontext64 *mc, const struct cpu_regs *r, const struct fault_context *fc)
{
	*mc = (struct sigcontext64){
		.r8 = r->r8,
		.r9 = r->r9,
		.r10 = r->r10,
		.r11 = r->r11,
		.r12 = r->r12,
		.r13 = r->r13,
		.r14 = r->r14,
		.r15 = r->r15,
		.rdi = r->rdi,
		.rsi = r->rsi,
		.rbp = r->rbp,
		.rbx = r->rbx,
		.rdx = r->rdx,
		.rax = r->rax,
		.rcx = r->rcx,
		.rsp = r->rsp,
		.rip = r->rip,
		.rflags = r->rflags,
		.cs = GUEST_USER_CS,
		.ss = GUEST_USER_DS,
	};
	if (!fc)
		return;
	mc->err = fc->error_code;
	mc->trapno = fc->trapno;
	if (fc->trapno != 14)
		return;
	mc->cr2 = fc->address;
	/* What is mapped in the kernel half is not the guest's to know. */
	if (fc->address >= TASK_SIZE)
		mc->err |= PF_PROT;
}

static void regs_enter_handler(struct cpu_regs *r, const struct ksigaction *ka, int signo, gva_t frame)
{
	r->rip = ka->handler;
	r->rsp = frame;
	r->rdi = (uint64_t)signo;
	r->rsi = frame + offsetof(struct rt_sigframe, info);
	r->rdx = frame + offsetof(struct rt_sigframe, uc_flags);
	r->rax = 0;
	r->rflags &= ~(EFLAGS_DF | EFLAGS_RF | EFLAGS_TF);
}

static bool fpstate_write(struct task *t, gva_t to, const struct xsave_area *area, size_t bytes)
{
	const uint32_t magic2 = FP_XSTATE_MAGIC2;

	return !copy_to_user(t->mm, to, area, bytes) &&
	       !copy_to_user(t->mm, to + bytes, &magic2, sizeof(magic2));
}

int sigframe_push(struct task *t, const struct ksigaction *ka, const siginfo_t *info, uint64_t mask,
		  const struct fault_context *fc)
{
	alignas(64) struct xsave_area area;
	const struct sigstate *s = &t->sig;
	struct frame_place at;
	struct rt_sigframe frame = {
		.pretcode = ka->restorer,
		.uc_flags = UC_FP_XSTATE | UC_SIGCONTEXT_SS | UC_STRICT_RESTORE_SS,
		.uc_stack = {.sp = s->altstack_sp, .flags = s->altstack_flags, .bytes = s->altstack_bytes},
		.sigmask = mask,
		.info = *info,
	};
	int fp_bytes = xstate_save(t, &area);

	if (fp_bytes < 0 || !(ka->flags & SA_RESTORER))
		return -EFAULT;
	if (!frame_place(t, ka, (uint64_t)fp_bytes + sizeof(uint32_t), &at))
		return -EFAULT;
	mcontext_fill(&frame.mc, &t->regs, fc);
	frame.mc.oldmask = mask;
	frame.mc.fpstate = at.fpstate;
	if (!fpstate_write(t, at.fpstate, &area, (size_t)fp_bytes) ||
	    copy_to_user(t->mm, at.frame, &frame, sizeof(frame)) || vcpu_reset_fpu(t->vcpu))
		return -EFAULT;
	regs_enter_handler(&t->regs, ka, info->si_signo, at.frame);
	return 0;
}

/* --- popping --------------------------------------------------------------------------------- */

/*
 * There is one user code segment and one stack segment; a return to any other would fault in the processor.
 */
static bool segments_valid(const struct rt_sigframe *frame)
{
	if ((frame->mc.cs | 3) != GUEST_USER_CS)
		return false;
	return !(frame->uc_flags & UC_STRICT_RESTORE_SS) || (frame->mc.ss | 3) == GUEST_USER_DS;
}

static void regs_restore(struct cpu_regs *r, const struct sigcontext64 *mc)
{
	r->r8 = mc->r8;
	r->r9 = mc->r9;
	r->r10 = mc->r10;
	r->r11 = mc->r11;
	r->r12 = mc->r12;
	r->r13 = mc->r13;
	r->r14 = mc->r14;
	r->r15 = mc->r15;
	r->rdi = mc->rdi;
	r->rsi = mc->rsi;
	r->rbp = mc->rbp;
	r->rbx = mc->rbx;
	r->rdx = mc->rdx;
	r->rax = mc->rax;
	r->rcx = mc->rcx;
	r->rsp = mc->rsp;
	r->rip = mc->rip;
	r->rflags = (r->rflags & ~EFLAGS_RETURN) | (mc->rflags & EFLAGS_RETURN);
}

int sigframe_pop(struct task *t)
{
	struct rt_sigframe frame;

	if (copy_from_user(t->mm, &frame, t->regs.rsp - sizeof(uint64_t), sizeof(frame)))
		return -EFAULT;
	signal_set_blocked(t, frame.sigmask);
	/*
	 * As in Linux 6.18 it is the handler's stack pointer that counts here, and to be refused is no reason
	 * to fail.
	 */
	signal_set_altstack(t, frame.uc_stack.sp, frame.uc_stack.bytes, frame.uc_stack.flags);
	/* A frame that cannot be returned by is told of where it would have led: a handler that ignores it goes on there. */
	regs_restore(&t->regs, &frame.mc);
	if (!segments_valid(&frame))
		return -EFAULT;
	if (!xstate_restore(t, frame.mc.fpstate))
		return 0;
	vcpu_reset_fpu(t->vcpu);
	return -EFAULT;
}
