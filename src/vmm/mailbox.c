/* SPDX-License-Identifier: MIT */
/*
 * mailbox.c - lodge's side of the mailbox in a gate's page, and whether anybody should look into it.
 *
 * While a processor is lent to its runner (runner.h) its owner looks into the mailbox. A request that it takes becomes a trap like any
 * other, and the handler runs where handlers always run, on the owner's thread. What comes back is an answer if all that differs is
 * rax, and nothing has to be forgotten first; otherwise the processor is called out and entered anew, as after an exit.
 *
 *   M1  a request is answered once: by the mailbox, if the step from TAKEN to ANSWERED succeeds, else by entering with the registers
 *   M2  a processor that is lent counts as running in its space (in_guest), for nobody can know that it really waits
 *   M3  registers in a request are the guest's word, read once; they mean what registers at an exit do, and no more
 *
 * Whether it pays: a program that makes calls in quick succession, a core for each of the two threads. Otherwise calls exit.
 * Locking: all of it is the owner's.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "kvm.h"

/* Calls that follow each other by less are dense. */
#define DENSE_NS	 250000u
/* So many of them, and there is a session; more after one that was not worth it. */
#define DENSE_FEW	 16u
#define DENSE_MANY	 4096u
/* A session that ends for want of a core is not tried again for so long, and twice as long each time. */
#define PAUSE_LEAST_NS	 2000000u
#define PAUSE_MOST_NS	 1000000000u
/* One that had a core for so many times the last pause is no flicker: the next pause is the least again. */
#define PAUSE_TRUST	 8u
/* A session answers this many calls for each dense one that it needed, or it was not worth it. */
#define WORTH		 4u
/* A runner's exit costs a tenth more than one of the owner's own: after so many without a call between them there is no session. */
#define EXITS_IN_A_ROW	 16u
/* How long nobody asks before the owner sleeps. */
#define LOOK_NS		 200000u
#define LOOKS_A_CLOCK	 32u
/* How often a session looks whether there still is a core for it. */
#define RECHECK_NS	 2000000u

/* How often gates look, about 20 ns each: for somebody to take a request, and for the answer, as long as an exit takes. */
#define SPIN_CLAIM	 200u
#define SPIN_ANSWER	 1500u
#define SPIN_ANSWER_FAST 100u

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

static struct gate_page *page_of(struct vcpu *v)
{
	return atomic_load_explicit(&v->gate, memory_order_relaxed);
}

/* --- is there a core? ---------------------------------------------------------------------------------------------------- */

/* Threads that run or want to, on the whole machine, as /proc/loadavg has them; 0: unknown. */
static unsigned int nr_runnable(struct vm *vm)
{
	char text[64], *at = text;
	ssize_t n;

	if (vm->load_fd < 0)
		return 0;
	n = pread(vm->load_fd, text, sizeof(text) - 1, 0);
	if (n <= 0)
		return 0;
	text[n] = 0;
	for (unsigned int i = 0; i < 3 && at; i++) {
		at = strchr(at, ' ');
		at += at != NULL;
	}
	return at ? (unsigned int)strtoul(at, NULL, 10) : 0;
}

/* With `more` threads than there are now. */
static bool has_core(struct vcpu *v, unsigned int more)
{
	return nr_runnable(v->vm) + more <= (unsigned int)CPU_COUNT(&v->runner.processors);
}

/* --- sessions ------------------------------------------------------------------------------------------------------------ */

void mailbox_reset(struct vcpu *v)
{
	v->mailbox = (struct mailbox){.dense_needed = DENSE_FEW, .pause_ns = PAUSE_LEAST_NS};
	runner_reset(&v->runner);
}

void mailbox_note_exit(struct vcpu *v)
{
	struct mailbox *m = &v->mailbox;
	uint64_t now;

	if (v->traps != VCPU_TRAPS_AUTO)
		return;
	now = now_ns();
	m->dense = now - m->last_ns < DENSE_NS ? m->dense + 1 : 0;
	m->last_ns = now;
}

static void end_session(struct vcpu *v)
{
	struct mailbox *m = &v->mailbox;

	if (v->traps != VCPU_TRAPS_AUTO || !m->on)
		return;
	if (m->calls < (uint64_t)m->dense_needed * WORTH)
		m->dense_needed = m->dense_needed < DENSE_MANY ? m->dense_needed * 2 : DENSE_MANY;
	else
		m->dense_needed = DENSE_FEW;
	m->on = false;
	m->dense = 0;
}

/* For want of a core. */
static void give_up_session(struct vcpu *v)
{
	struct mailbox *m = &v->mailbox;

	if (v->traps != VCPU_TRAPS_AUTO || !m->on)
		return;
	end_session(v);
	m->not_before_ns = now_ns() + m->pause_ns;
	m->pause_ns = m->pause_ns < PAUSE_MOST_NS ? m->pause_ns * 2 : PAUSE_MOST_NS;
}

static bool may_begin(struct vcpu *v)
{
	struct mailbox *m = &v->mailbox;

	if (v->traps == VCPU_TRAPS_POLL)
		return true;
	if (m->dense < m->dense_needed)
		return false;
	m->dense = 0;
	return now_ns() >= m->not_before_ns;
}

static bool begin_session(struct vcpu *v)
{
	struct mailbox *m = &v->mailbox;

	if (!may_begin(v) || runner_prepare(v) || CPU_COUNT(&v->runner.processors) < 2)
		return false;
	m->on = true;
	m->calls = 0;
	m->exits = 0;
	m->begun_ns = m->checked_ns = now_ns();
	if (v->traps == VCPU_TRAPS_AUTO && !has_core(v, 1))
		give_up_session(v);
	return m->on;
}

/* Gates store the bases of fs and gs, which a machine has to allow. */
static bool can_ask(const struct vm *vm)
{
	return atomic_load(&vm->mmu_kind) == MMU_PVM || (vm->cr4 & CR4_FSGSBASE);
}

bool mailbox_wanted(struct vcpu *v, const struct mm *mm)
{
	struct mailbox *m = &v->mailbox;

	if (v->traps == VCPU_TRAPS_EXIT || atomic_load(&v->gate_mm) != mm || !can_ask(v->vm))
		return false;
	if (atomic_exchange(&v->moved, false))
		m->on = false;
	if (m->on && m->exits++ >= EXITS_IN_A_ROW)
		end_session(v);
	return m->on || begin_session(v);
}

void mailbox_set(struct vcpu *v, bool attended)
{
	struct gate_page *page = page_of(v);
	bool slow_exit = atomic_load(&v->vm->mmu_kind) == MMU_PVM;

	if (!page || atomic_load(&v->gate_mm) != atomic_load(&v->mm))
		return;
	__atomic_store_n(&page->spin_claim, SPIN_CLAIM, __ATOMIC_RELAXED);
	__atomic_store_n(&page->spin_answer, slow_exit ? SPIN_ANSWER : SPIN_ANSWER_FAST, __ATOMIC_RELAXED);
	__atomic_store_n(&page->state, GATE_STATE_IDLE, __ATOMIC_RELAXED);
	__atomic_store_n(&page->attended, attended, __ATOMIC_RELAXED);
}

/* --- requests ------------------------------------------------------------------------------------------------------------ */

static bool step(struct gate_page *page, uint32_t from, uint32_t to)
{
	return __atomic_compare_exchange_n(&page->state, &from, to, false, __ATOMIC_ACQ_REL,
					   __ATOMIC_RELAXED);
}

static uint64_t word(const uint64_t *at)
{
	return __atomic_load_n(at, __ATOMIC_RELAXED);
}

static void read_request(const struct gate_page *page, struct cpu_regs *regs)
{
	const struct gate_regs *r = &page->regs;

	*regs = (struct cpu_regs){.rax = word(&r->rax),
				  .rbx = word(&r->rbx),
				  .rcx = word(&page->rcx),
				  .rdx = word(&r->rdx),
				  .rsi = word(&r->rsi),
				  .rdi = word(&r->rdi),
				  .rsp = word(&r->rsp),
				  .rbp = word(&r->rbp),
				  .r8 = word(&r->r8),
				  .r9 = word(&r->r9),
				  .r10 = word(&r->r10),
				  .r11 = word(&page->r11),
				  .r12 = word(&r->r12),
				  .r13 = word(&r->r13),
				  .r14 = word(&r->r14),
				  .r15 = word(&r->r15),
				  .fs_base = word(&r->fs_base),
				  .gs_base = word(&r->gs_base)};
	regs->rip = regs->rcx;
	regs->rflags = vcpu_user_rflags(regs->r11);
}

bool mailbox_take(struct vcpu *v, struct cpu_regs *regs)
{
	struct gate_page *page = page_of(v);

	if (__atomic_load_n(&page->state, __ATOMIC_RELAXED) != GATE_STATE_REQUEST ||
	    !step(page, GATE_STATE_REQUEST, GATE_STATE_TAKEN))
		return false;
	read_request(page, regs);
	v->mailbox.call = *regs;
	v->stats.polled++;
	atomic_store_explicit(&v->runner.calls, true, memory_order_relaxed);
	return true;
}

/* Nothing but rax is not as it was. */
static bool only_rax(const struct cpu_regs *call, const struct cpu_regs *regs)
{
	struct cpu_regs like = *regs;

	like.rax = call->rax;
	return !memcmp(&like, call, sizeof(like));
}

/* Of a session that has gone on for a while. */
static bool still_has_core(struct vcpu *v)
{
	struct mailbox *m = &v->mailbox;

	if (v->traps != VCPU_TRAPS_AUTO || m->calls % 64)
		return true;
	uint64_t now = now_ns();
	if (now - m->checked_ns < RECHECK_NS)
		return true;
	m->checked_ns = now;
	if (has_core(v, 0)) {
		if (now - m->begun_ns > PAUSE_TRUST * m->pause_ns)
			m->pause_ns = PAUSE_LEAST_NS;
		return true;
	}
	give_up_session(v);
	return false;
}

bool mailbox_reply(struct vcpu *v, const struct cpu_regs *regs)
{
	struct gate_page *page = page_of(v);

	if (!page || v->traps == VCPU_TRAPS_EXIT || !only_rax(&v->mailbox.call, regs) ||
	    atomic_load(&v->kicked) || atomic_load(&v->moved) || !still_has_core(v))
		return false;
	__atomic_store_n(&page->return_value, regs->rax, __ATOMIC_RELAXED);
	if (!step(page, GATE_STATE_TAKEN, GATE_STATE_ANSWERED))
		return false;
	atomic_store_explicit(&v->runner.calls, false, memory_order_relaxed);
	v->mailbox.calls++;
	v->mailbox.exits = 0;
	return true;
}

void mailbox_dismiss(struct vcpu *v)
{
	struct gate_page *page = page_of(v);

	if (!page)
		return;
	__atomic_store_n(&page->attended, 0, __ATOMIC_RELAXED);
	step(page, GATE_STATE_TAKEN, GATE_STATE_EXIT);
}

/* --- looking --------------------------------------------------------------------------------------------------------------- */

/* Nobody asks, or nobody could at the same time: sleeps until the processor is out, unless a request comes first. */
static bool rest(struct vcpu *v, struct cpu_regs *regs)
{
	struct gate_page *page = page_of(v);

	__atomic_store_n(&page->attended, 0, __ATOMIC_SEQ_CST);
	if (mailbox_take(v, regs)) {
		__atomic_store_n(&page->attended, 1, __ATOMIC_RELAXED);
		return true;
	}
	runner_wait(v);
	return false;
}

static bool on_one_core(struct vcpu *v)
{
	return atomic_load_explicit(&v->cpu, memory_order_relaxed) == (int)cpu_current();
}

bool mailbox_wait(struct vcpu *v, struct cpu_regs *regs)
{
	uint64_t since = 0;

	for (unsigned int i = 1;; i++) {
		if (runner_is_out(v)) {
			/* The gate has given up a request that nobody took. */
			if (__atomic_load_n(&page_of(v)->state, __ATOMIC_RELAXED) == GATE_STATE_EXIT)
				give_up_session(v);
			return false;
		}
		if (mailbox_take(v, regs))
			return true;
		__builtin_ia32_pause();
		if (i % LOOKS_A_CLOCK)
			continue;
		uint64_t now = now_ns();
		since = since ? since : now;
		if (now - since < LOOK_NS && !on_one_core(v))
			continue;
		if (rest(v, regs))
			return true;
		end_session(v);
	}
}
