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
#include <string.h>
#include <time.h>

#include "kvm.h"

/* Calls that follow each other by less are dense. */
#define DENSE_NS	 250000u
/* So many of them, and there is a session: less after one that was worth it, more after one that was not. */
#define DENSE_FIRST	 16u
#define DENSE_LEAST	 1u
#define DENSE_MOST	 4096u
/* Calls that save more than it costs to begin and to end; exits are fast on hardware. */
#define WORTH		 8u
#define WORTH_FAST	 128u
/* After a moment without a free core. */
#define RETRY_NS	 1000000u
/* A session that ends for want of a core is not tried again for so long, and twice as long each time. */
#define PAUSE_LEAST_NS	 2000000u
#define PAUSE_MOST_NS	 1000000000u
/* Those that had a core for so many times the last pause make the next the least again. */
#define PAUSE_TRUST	 8u
/* Of its time a session's threads may wait for processors for this part, both together. */
#define CROWDED		 4u
/* A runner's exit costs a tenth more than one of the owner's own: after so many without a call between them there is no session. */
#define EXITS_IN_A_ROW	 16u
/* How long nobody asks before the owner sleeps. */
#define LOOK_NS		 200000u
#define LOOKS_A_CLOCK	 32u
/* How often a session looks whether it has its cores. */
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

/* --- sessions ------------------------------------------------------------------------------------------------------------ */

void mailbox_reset(struct vcpu *v)
{
	v->mailbox = (struct mailbox){.dense_needed = DENSE_FIRST, .pause_ns = PAUSE_LEAST_NS};
	runner_reset(&v->runner);
}

static bool slow_exits(const struct vcpu *v)
{
	return atomic_load(&v->vm->mmu_kind) == MMU_PVM;
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

/* Since the last look its threads had to wait for their cores. */
static bool is_crowded(struct vcpu *v, uint64_t now)
{
	struct mailbox *m = &v->mailbox;
	uint64_t waited = cores_waited_ns(&v->runner), time = now - m->checked_ns;
	bool crowded = (waited - m->waited_ns) * CROWDED > time;

	m->checked_ns = now;
	m->waited_ns = waited;
	m->fine_ns = crowded ? 0 : m->fine_ns + time;
	if (m->fine_ns > PAUSE_TRUST * m->pause_ns)
		m->pause_ns = PAUSE_LEAST_NS;
	return crowded;
}

static void pause_sessions(struct mailbox *m, uint64_t now)
{
	m->not_before_ns = now + m->pause_ns;
	m->pause_ns = m->pause_ns < PAUSE_MOST_NS ? m->pause_ns * 2 : PAUSE_MOST_NS;
}

static void end_session(struct vcpu *v)
{
	struct mailbox *m = &v->mailbox;
	uint64_t now = now_ns();

	if (v->traps != VCPU_TRAPS_AUTO || !m->on)
		return;
	if (m->calls < (slow_exits(v) ? WORTH : WORTH_FAST))
		m->dense_needed = m->dense_needed < DENSE_MOST ? m->dense_needed * 2 : DENSE_MOST;
	else
		m->dense_needed = m->dense_needed / 4 > DENSE_LEAST ? m->dense_needed / 4 : DENSE_LEAST;
	m->on = false;
	m->dense = 0;
	if (is_crowded(v, now))
		pause_sessions(m, now);
}

/* By dense calls, and not in a pause. */
static bool is_asked_for(const struct vcpu *v)
{
	const struct mailbox *m = &v->mailbox;

	return v->traps == VCPU_TRAPS_POLL || (m->dense >= m->dense_needed && m->last_ns >= m->not_before_ns);
}

/* Otherwise nobody asks again before it can have changed. */
static bool has_core(struct vcpu *v, unsigned int nr_cpus)
{
	if (nr_cpus > 1 && (v->traps == VCPU_TRAPS_POLL || cores_are_free(v->vm, nr_cpus)))
		return true;
	v->mailbox.not_before_ns = now_ns() + RETRY_NS;
	return false;
}

static bool begin_session(struct vcpu *v)
{
	struct mailbox *m = &v->mailbox;
	unsigned int nr_cpus;

	if (!is_asked_for(v) || runner_count_processors(v, &nr_cpus) || !has_core(v, nr_cpus) ||
	    runner_prepare(v))
		return false;
	m->on = true;
	m->calls = 0;
	m->exits = 0;
	m->dense = 0;
	m->checked_ns = now_ns();
	m->waited_ns = cores_waited_ns(&v->runner);
	return true;
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

	if (!page || atomic_load(&v->gate_mm) != atomic_load(&v->mm))
		return;
	__atomic_store_n(&page->spin_claim, SPIN_CLAIM, __ATOMIC_RELAXED);
	__atomic_store_n(&page->spin_answer, slow_exits(v) ? SPIN_ANSWER : SPIN_ANSWER_FAST,
			 __ATOMIC_RELAXED);
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
static bool still_has_cores(struct vcpu *v)
{
	struct mailbox *m = &v->mailbox;

	if (v->traps != VCPU_TRAPS_AUTO || m->calls % 64)
		return true;
	uint64_t now = now_ns();
	if (now - m->checked_ns < RECHECK_NS || !is_crowded(v, now))
		return true;
	pause_sessions(m, now);
	m->on = false;
	return false;
}

bool mailbox_reply(struct vcpu *v, const struct cpu_regs *regs)
{
	struct gate_page *page = page_of(v);

	if (!page || v->traps == VCPU_TRAPS_EXIT || !only_rax(&v->mailbox.call, regs) ||
	    atomic_load(&v->kicked) || atomic_load(&v->moved) || !still_has_cores(v))
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
	runner_let_go(v);
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
		if (runner_is_out(v))
			return false;
		if (mailbox_take(v, regs))
			return true;
		__builtin_ia32_pause();
		if (i % LOOKS_A_CLOCK)
			continue;
		uint64_t now = now_ns();
		since = since ? since : now;
		if (on_one_core(v))
			runner_prepare(v);
		if (now - since < LOOK_NS)
			continue;
		if (rest(v, regs))
			return true;
		end_session(v);
	}
}
