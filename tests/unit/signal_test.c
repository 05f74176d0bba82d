/* SPDX-License-Identifier: MIT */
/*
 * signal_test.c - queues, masks, restarts and frames of signals, over a guest whose memory is an array.
 *
 * The two sources are compiled in here, with what they ask of the rest replaced below: a processor that
 * remembers the vector state it was given, and checks that it could have been loaded.
 */
#include "../../src/linux/signal.c"
#include "../../src/linux/sigframe.c"

#include "../harness.h"

#define MEMORY_BASE  0x10000ull
#define MEMORY_BYTES 0x20000ull
#define STACK_TOP    (MEMORY_BASE + MEMORY_BYTES - 0x100)
#define ALTSTACK     (MEMORY_BASE + 0x4000)
#define HANDLER	     0x401000
#define RESTORER     0x402000
#define XCR0	     0xe7ull
#define XSAVE_BYTES  2696

static uint8_t memory[MEMORY_BYTES];
static uint8_t loaded[XSAVE_MAX_BYTES]; /* what the processor was given last */
static unsigned int nr_loads, nr_resets, nr_reports;
static struct task task;
static struct process process;
static struct sandbox sandbox;
static struct sighand sighand;

static bool in_memory(gva_t address, size_t bytes)
{
	return address >= MEMORY_BASE && bytes <= MEMORY_BYTES &&
	       address - MEMORY_BASE <= MEMORY_BYTES - bytes;
}

bool access_ok(gva_t address, uint64_t bytes)
{
	return bytes <= TASK_SIZE && address <= TASK_SIZE - bytes;
}

size_t copy_from_user(struct mm *mm, void *to, gva_t from, size_t bytes)
{
	(void)mm;
	if (!in_memory(from, bytes))
		return bytes;
	memcpy(to, memory + (from - MEMORY_BASE), bytes);
	return 0;
}

size_t copy_to_user(struct mm *mm, gva_t to, const void *from, size_t bytes)
{
	(void)mm;
	if (!in_memory(to, bytes))
		return bytes;
	memcpy(memory + (to - MEMORY_BASE), from, bytes);
	return 0;
}

int vm_platform(struct vm *vm, struct vm_platform *p)
{
	(void)vm;
	*p = (struct vm_platform){.xcr0 = XCR0, .xsave_bytes = XSAVE_BYTES};
	return 0;
}

int vcpu_get_xsave(struct vcpu *vcpu, void *area, size_t bytes)
{
	(void)vcpu;
	assert_true(bytes >= 4096);
	memcpy(area, loaded, 4096);
	return 4096;
}

/* Refuses nothing: what a processor could not load must not get here. */
int vcpu_set_xsave(struct vcpu *vcpu, const void *area, size_t bytes)
{
	const struct xsave_area *x = area;

	(void)vcpu;
	assert_true(bytes <= XSAVE_MAX_BYTES);
	assert_int_equal((uintptr_t)area % 64, 0);
	assert_int_equal(x->xstate_bv & ~XCR0, 0);
	assert_int_equal(x->xcomp_bv, 0);
	if (x->xstate_bv & XFEATURE_SSE_YMM)
		assert_int_equal(x->mxcsr & 0xffff0000, 0);
	memcpy(loaded, area, bytes);
	nr_loads++;
	return 0;
}

void vcpu_recall(struct vcpu *vcpu)
{
	(void)vcpu;
}

int vcpu_reset_fpu(struct vcpu *vcpu)
{
	(void)vcpu;
	nr_resets++;
	return 0;
}

void report_death(struct task *t, int signo, int code, const struct fault_context *fc)
{
	(void)t;
	(void)signo;
	(void)code;
	(void)fc;
	nr_reports++;
}

void task_die(struct task *t, int signo)
{
	t->exited = true;
	t->exit_code = signo;
}

/* Of the rest of the world there is nothing but this task. */
void process_group_exit(struct process *p, int exit_code, struct task *self)
{
	(void)p;
	(void)self;
	task_die(&task, exit_code);
}

bool process_is_zombie(const struct process *p)
{
	return p != &process;
}

uint32_t process_uid(const struct process *p)
{
	(void)p;
	return 0;
}

bool process_group_is_orphaned(struct sandbox *s, int pgid, int sid)
{
	(void)s;
	(void)pgid;
	(void)sid;
	return true;
}

void process_tell_parent(struct process *p, int code, int status)
{
	(void)p;
	(void)code;
	(void)status;
}

void signalfd_signal(struct process *p, int signo)
{
	fail_msg("nobody reads signals: %p %d", (void *)p, signo);
}

void signalfd_settle(struct sandbox *s)
{
	fail_msg("nobody reads signals: %p", (void *)s);
}

static unsigned int nr_taken, nr_dropped;

void timers_signal_taken(struct process *p, siginfo_t *info)
{
	assert_ptr_equal(p, &process);
	info->si_overrun = 7;
	nr_taken++;
}

void timers_signal_dropped(struct process *p, const siginfo_t *info)
{
	assert_ptr_equal(p, &process);
	assert_int_equal(info->si_code, SI_TIMER);
	nr_dropped++;
}

void task_kick(struct task *t, uint32_t attention)
{
	atomic_fetch_or(&t->attention, attention);
}

void task_wake(struct task *t)
{
	(void)t;
}

void sleep_stopped(struct task *t)
{
	(void)t;
	fail_msg("the first process was stopped");
}

static void fill_registers(struct cpu_regs *r)
{
	uint64_t *word = &r->rax;

	for (unsigned int i = 0; i < 16; i++)
		word[i] = 0x0101010101010101ull * (i + 1);
	r->rsp = STACK_TOP;
	r->rip = 0x400123;
	r->rflags = 0x202 | EFLAGS_DF | 1;
}

static int setup(void **state)
{
	struct xsave_area *x = (struct xsave_area *)(void *)loaded;

	(void)state;
	memset(&task, 0, sizeof(task));
	memset(memory, 0xcc, sizeof(memory));
	memset(loaded, 0, sizeof(loaded));
	x->mxcsr = 0x1f80;
	x->xstate_bv = 7;
	nr_loads = nr_resets = nr_reports = 0;
	memset(&process, 0, sizeof(process));
	memset(&sighand, 0, sizeof(sighand));
	pthread_mutex_init(&sandbox.lock, NULL);
	sandbox.first = &process;
	list_init(&sandbox.signalfds);
	list_init(&process.threads);
	list_add(&task.thread_node, &process.threads);
	process.sandbox = &sandbox;
	task.process = &process;
	task.sandbox = &sandbox;
	task.sighand = &sighand;
	task.pid = 77;
	fill_registers(&task.regs);
	return 0;
}

static void handle(int signo, uint64_t flags)
{
	sighand.action[signo] =
		(struct ksigaction){.handler = HANDLER, .flags = flags | SA_RESTORER, .restorer = RESTORER};
}

static struct rt_sigframe *frame_at(gva_t rsp)
{
	assert_true(in_memory(rsp, sizeof(struct rt_sigframe)));
	return (struct rt_sigframe *)(void *)(memory + (rsp - MEMORY_BASE));
}

static struct xsave_area *area_at(const struct rt_sigframe *frame)
{
	assert_true(in_memory(frame->mc.fpstate, XSAVE_BYTES + 4));
	return (struct xsave_area *)(void *)(memory + (frame->mc.fpstate - MEMORY_BASE));
}

/* Delivers a signal to a handler and returns its frame. */
static struct rt_sigframe *deliver(int signo)
{
	assert_int_equal(signal_send(&task, signo, NULL), 0);
	signal_deliver(&task);
	assert_false(task.exited);
	assert_int_equal(task.regs.rip, HANDLER);
	return frame_at(task.regs.rsp);
}

/* What the handler's `ret` does before it reaches the restorer. */
static int64_t return_from_handler(void)
{
	task.regs.rsp += 8;
	return signal_return(&task);
}

/* --- the queue --------------------------------------------------------------------------- */

static void queue_standard_once(void **state)
{
	siginfo_t info;

	(void)state;
	signal_set_blocked(&task, ~0ull);
	assert_int_equal(signal_send(&task, SIGTERM, NULL), 0);
	assert_int_equal(signal_send(&task, SIGTERM, NULL), 0);
	assert_int_equal(task.sig.queue.nr_queued, 1);
	assert_int_equal(signal_dequeue(&task, ~0ull, &info), SIGTERM);
	assert_int_equal(info.si_pid, 77);
	assert_int_equal(task.sig.queue.pending, 0);
	assert_int_equal(signal_dequeue(&task, ~0ull, &info), 0);
}

static void queue_realtime_in_order(void **state)
{
	siginfo_t info = {.si_code = SI_QUEUE};

	(void)state;
	signal_set_blocked(&task, ~0ull);
	for (int i = 0; i < RT_QUEUE_MAX; i++) {
		info.si_value.sival_int = i;
		assert_int_equal(signal_send(&task, 32 + i % 33, &info), 0);
	}
	assert_int_equal(signal_send(&task, 64, &info), -EAGAIN);
	/* Full of them, it still has room for every standard signal. */
	for (int signo = 1; signo < 32; signo++)
		assert_int_equal(signal_send(&task, signo, NULL), 0);
	assert_int_equal(task.sig.queue.nr_queued,
			 RT_QUEUE_MAX + 29); /* SIGKILL is no signal to wait for, SIGCONT undid the stops */
	assert_int_equal(signal_dequeue(&task, signal_bit(40), &info), 40);
	assert_int_equal(info.si_value.sival_int, 8);
	assert_true(task.sig.queue.pending & signal_bit(40));
	assert_int_equal(signal_dequeue(&task, signal_bit(40), &info), 40);
	assert_int_equal(info.si_value.sival_int, 41);
	assert_false(task.sig.queue.pending & signal_bit(40));
}

static void queue_faults_first(void **state)
{
	siginfo_t info;

	(void)state;
	signal_set_blocked(&task, ~0ull);
	signal_send(&task, SIGHUP, NULL);
	signal_send(&task, SIGSEGV, NULL);
	signal_send(&task, SIGUSR1, NULL);
	assert_int_equal(signal_dequeue(&task, ~0ull, &info), SIGSEGV);
	assert_int_equal(signal_dequeue(&task, ~signal_bit(SIGHUP), &info), SIGUSR1);
	signal_set_action(&task, SIGHUP, &(struct ksigaction){.handler = HANDLER_IGN});
	assert_int_equal(task.sig.queue.pending, 0);
	assert_int_equal(task.sig.queue.nr_queued, 0);
}

static void ignored_are_dropped(void **state)
{
	(void)state;
	signal_send(&task, SIGCHLD, NULL);
	signal_send(&task, SIGWINCH, NULL);
	sighand.action[SIGTERM].handler = HANDLER_IGN;
	signal_send(&task, SIGTERM, NULL);
	assert_int_equal(task.sig.queue.pending, 0);
	signal_set_blocked(&task, signal_bit(SIGTERM));
	signal_send(&task, SIGTERM, NULL);
	assert_int_equal(task.sig.queue.pending, signal_bit(SIGTERM));
}

static void kill_is_never_blocked(void **state)
{
	(void)state;
	signal_set_blocked(&task, ~0ull);
	signal_send(&task, SIGKILL, NULL);
	signal_deliver(&task);
	assert_true(task.exited);
	assert_int_equal(task.exit_code, SIGKILL);
	assert_int_equal(nr_reports, 0);
}

/* --- the frame --------------------------------------------------------------------------- */

static void frame_layout(void **state)
{
	const struct cpu_regs before = task.regs;
	const struct rt_sigframe *frame;
	const struct xsave_area *area;
	uint32_t magic2;

	(void)state;
	handle(SIGUSR1, SA_SIGINFO);
	frame = deliver(SIGUSR1);
	area = area_at(frame);
	assert_int_equal((task.regs.rsp + 8) % 16, 0);
	assert_int_equal(task.regs.rdi, SIGUSR1);
	assert_int_equal(task.regs.rsi - task.regs.rsp, 312);
	assert_int_equal(task.regs.rdx - task.regs.rsp, 8);
	assert_int_equal(task.regs.rax, 0);
	assert_int_equal(task.regs.rflags & EFLAGS_DF, 0);
	assert_int_equal(frame->pretcode, RESTORER);
	assert_int_equal(frame->mc.rsp, before.rsp);
	assert_int_equal(frame->mc.r8, before.r8);
	assert_int_equal(frame->mc.rflags, before.rflags);
	assert_int_equal(frame->info.si_signo, SIGUSR1);
	assert_int_equal(frame->mc.fpstate % 64, 0);
	assert_true(frame->mc.fpstate + XSAVE_BYTES + 4 <= before.rsp - RED_ZONE_BYTES);
	assert_int_equal(area->sw.magic1, FP_XSTATE_MAGIC1);
	assert_int_equal(area->sw.xstate_bytes, XSAVE_BYTES);
	assert_int_equal(area->sw.xfeatures, XCR0);
	memcpy(&magic2, (const char *)area + XSAVE_BYTES, sizeof(magic2));
	assert_int_equal(magic2, FP_XSTATE_MAGIC2);
	for (gva_t at = before.rsp - RED_ZONE_BYTES; at < before.rsp; at++)
		assert_int_equal(memory[at - MEMORY_BASE], 0xcc);
	assert_int_equal(nr_resets, 1);
}

static void frame_round_trip(void **state)
{
	const struct cpu_regs before = task.regs;

	(void)state;
	handle(SIGUSR1, SA_NODEFER);
	task.sig.blocked = signal_bit(SIGHUP);
	sighand.action[SIGUSR1].mask = signal_bit(SIGINT);
	deliver(SIGUSR1);
	assert_int_equal(task.sig.blocked, signal_bit(SIGHUP) | signal_bit(SIGINT));
	memset(&task.regs, 0x5a, offsetof(struct cpu_regs, rsp));
	task.regs.r12 = 9;
	assert_int_equal(return_from_handler(), before.rax);
	assert_memory_equal(&task.regs, &before, sizeof(before));
	assert_int_equal(task.sig.blocked, signal_bit(SIGHUP));
	assert_int_equal(nr_loads, 1);
}

static void frame_cannot_grant_privileges(void **state)
{
	struct rt_sigframe *frame;

	(void)state;
	handle(SIGUSR1, 0);
	frame = deliver(SIGUSR1);
	frame->mc.rflags = ~0ull;
	frame->sigmask = ~0ull;
	return_from_handler();
	assert_int_equal(task.regs.rflags & ~EFLAGS_RETURN, 0x202);
	assert_int_equal(task.sig.blocked, ~(signal_bit(SIGKILL) | signal_bit(SIGSTOP)));
}

struct spoiling {
	const char *what;
	void (*spoil)(struct rt_sigframe *frame, struct xsave_area *area);
};

static void spoil_cs(struct rt_sigframe *frame, struct xsave_area *area)
{
	(void)area;
	frame->mc.cs = GUEST_KERNEL_CS;
}

static void spoil_ss(struct rt_sigframe *frame, struct xsave_area *area)
{
	(void)area;
	frame->mc.ss = 0;
}

static void spoil_features(struct rt_sigframe *frame, struct xsave_area *area)
{
	(void)frame;
	area->xstate_bv |= 1ull << 63;
}

static void spoil_compaction(struct rt_sigframe *frame, struct xsave_area *area)
{
	(void)frame;
	area->xcomp_bv = 1ull << 63;
}

static void spoil_mxcsr(struct rt_sigframe *frame, struct xsave_area *area)
{
	(void)frame;
	area->mxcsr = 0x10000;
}

static void spoil_alignment(struct rt_sigframe *frame, struct xsave_area *area)
{
	(void)area;
	frame->mc.fpstate += 16;
	memmove((char *)area + 16, area, XSAVE_BYTES + 4);
}

static void spoil_pointer(struct rt_sigframe *frame, struct xsave_area *area)
{
	(void)area;
	frame->mc.fpstate = 0xffff800000000000;
}

static void bad_frames_are_refused(void **state)
{
	static const struct spoiling spoilings[] = {
		{"cs", spoil_cs},
		{"ss", spoil_ss},
		{"components", spoil_features},
		{"compaction", spoil_compaction},
		{"mxcsr", spoil_mxcsr},
		{"alignment", spoil_alignment},
		{"pointer", spoil_pointer},
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(spoilings); i++) {
		setup(state);
		handle(SIGUSR1, 0);
		struct rt_sigframe *frame = deliver(SIGUSR1);
		spoilings[i].spoil(frame, area_at(frame));
		return_from_handler();
		if (!task.exited || task.exit_code != SIGSEGV || nr_loads)
			fail_msg("%s: taken", spoilings[i].what);
		assert_int_equal(nr_reports, 1);
	}
}

/* A frame that does not ask for its stack segment back may hold any. */
static void stack_segment_only_if_strict(void **state)
{
	struct rt_sigframe *frame;

	(void)state;
	handle(SIGUSR1, 0);
	frame = deliver(SIGUSR1);
	frame->uc_flags &= ~(uint64_t)UC_STRICT_RESTORE_SS;
	frame->mc.ss = 0;
	return_from_handler();
	assert_false(task.exited);
}

static void area_without_trailer_is_legacy(void **state)
{
	struct rt_sigframe *frame;
	struct xsave_area *area;

	(void)state;
	handle(SIGUSR1, 0);
	frame = deliver(SIGUSR1);
	area = area_at(frame);
	area->sw.magic1 = 0;
	area->xcomp_bv = ~0ull; /* beyond what counts now */
	memset(area->legacy, 0x77, 32);
	return_from_handler();
	assert_false(task.exited);
	assert_int_equal(nr_loads, 1);
	assert_int_equal(((struct xsave_area *)(void *)loaded)->xstate_bv, XFEATURE_FPSSE);
	assert_int_equal(loaded[32], 0x77);
}

/*
 * Whatever bytes a frame holds, the processor is only given what it can load (vcpu_set_xsave above checks).
 */
static void random_frames(void **state)
{
	uint64_t seed = 20260, random = random_seed(seed);
	unsigned int taken = 0;

	print_message("# seed %llu\n", (unsigned long long)seed);
	for (unsigned int i = 0; i < 20000; i++) {
		setup(state);
		handle(SIGUSR1, 0);
		struct rt_sigframe *frame = deliver(SIGUSR1);
		uint8_t *bytes = random_below(&random, 2) ? (uint8_t *)frame : (uint8_t *)area_at(frame);
		for (uint64_t n = random_below(&random, 8); n; n--)
			bytes[random_below(&random, bytes == (uint8_t *)frame ? sizeof(*frame) : 580)] =
				(uint8_t)random_next(&random);
		return_from_handler();
		taken += !task.exited;
		assert_true(task.exited || (task.regs.rflags & ~EFLAGS_RETURN) == 0x202);
	}
	assert_in_range(taken, 1000, 19000);
}

/* --- stacks ------------------------------------------------------------------------------ */

static void altstack_rules(void **state)
{
	(void)state;
	assert_int_equal(sigstate_altstack_state(&task.sig, STACK_TOP), SS_DISABLE);
	assert_int_equal(signal_set_altstack(&task, ALTSTACK, 100, 0), -ENOMEM);
	assert_int_equal(signal_set_altstack(&task, ALTSTACK, 0x4000, 7), -EINVAL);
	assert_int_equal(signal_set_altstack(&task, ALTSTACK, 0x4000, 0), 0);
	handle(SIGUSR1, SA_ONSTACK);
	deliver(SIGUSR1);
	assert_in_range(task.regs.rsp, ALTSTACK, ALTSTACK + 0x4000);
	assert_int_equal(sigstate_altstack_state(&task.sig, task.regs.rsp), SS_ONSTACK);
	assert_int_equal(signal_set_altstack(&task, ALTSTACK, 0x4000, 0), -EPERM);
	return_from_handler();
	assert_int_equal(task.regs.rsp, STACK_TOP);
	assert_int_equal(signal_set_altstack(&task, 0, 0, SS_DISABLE), 0);
}

static void altstack_overflow_kills(void **state)
{
	(void)state;
	signal_set_altstack(&task, ALTSTACK, MIN_SIGSTACK, 0);
	handle(SIGUSR1, SA_ONSTACK);
	handle(SIGSEGV, SA_ONSTACK);
	signal_send(&task, SIGUSR1, NULL);
	signal_deliver(&task); /* the vector state alone is larger than the stack */
	assert_int_equal(task.exit_code, SIGSEGV);
	assert_int_equal(nr_reports, 1);
}

static void no_stack_for_a_handler(void **state)
{
	(void)state;
	handle(SIGUSR1, 0);
	handle(SIGSEGV, SA_ONSTACK);
	signal_set_altstack(&task, ALTSTACK, 0x4000, 0);
	task.regs.rsp = 0x1000;
	signal_send(&task, SIGUSR1, NULL);
	signal_deliver(&task);
	assert_false(task.exited);
	assert_int_equal(frame_at(task.regs.rsp)->info.si_signo, SIGSEGV);
	assert_int_equal(frame_at(task.regs.rsp)->info.si_code, SI_KERNEL);
}

static void forced_while_blocked(void **state)
{
	const struct fault_context fc = {.address = 0x1234, .trapno = 14, .error_code = 6};

	(void)state;
	handle(SIGSEGV, 0);
	signal_force(&task, SIGSEGV, SEGV_MAPERR, &fc);
	assert_false(task.exited);
	assert_int_equal((uint64_t)(uintptr_t)frame_at(task.regs.rsp)->info.si_addr, 0x1234);
	assert_int_equal(frame_at(task.regs.rsp)->mc.cr2, 0x1234);
	assert_int_equal(frame_at(task.regs.rsp)->mc.err, 6);
	signal_force(&task, SIGSEGV, SEGV_MAPERR, &fc); /* in its own handler */
	assert_int_equal(task.exit_code, SIGSEGV);
}

/* --- interrupted calls ------------------------------------------------------------------- */

static void interrupted_call(void)
{
	task.syscall_nr = 35;
	task.regs.rax = (uint64_t)-EINTR;
	task.restart = RESTART_CALL;
}

static void restart_with_flag(void **state)
{
	const struct rt_sigframe *frame;

	(void)state;
	handle(SIGUSR1, SA_RESTART);
	interrupted_call();
	frame = deliver(SIGUSR1);
	assert_int_equal(frame->mc.rax, 35);
	assert_int_equal(frame->mc.rip, 0x400123 - 2);
	assert_int_equal(task.restart, RESTART_NOT);
}

static void no_restart_without_flag(void **state)
{
	const struct rt_sigframe *frame;

	(void)state;
	handle(SIGUSR1, 0);
	interrupted_call();
	frame = deliver(SIGUSR1);
	assert_int_equal(frame->mc.rax, (uint64_t)-EINTR);
	assert_int_equal(frame->mc.rip, 0x400123);
	assert_int_equal(task.restart, RESTART_NOT);
}

static void restart_without_handler(void **state)
{
	(void)state;
	interrupted_call();
	signal_deliver(&task);
	assert_int_equal(task.regs.rax, 35);
	assert_int_equal(task.regs.rip, 0x400123 - 2);
}

static void restart_with_the_rest_of_the_time(void **state)
{
	(void)state;
	interrupted_call();
	task.restart = RESTART_BLOCK;
	signal_deliver(&task);
	assert_int_equal(task.regs.rax, SYS_restart_syscall);
	interrupted_call();
	task.restart = RESTART_NO_HANDLER;
	handle(SIGUSR1, SA_RESTART);
	assert_int_equal(deliver(SIGUSR1)->mc.rax, (uint64_t)-EINTR);
}

/* Two of one standard number, which wait beside each other; what becomes of them is told to whose they are. */
static void timers_have_signals_of_their_own(void **state)
{
	siginfo_t info = {.si_signo = SIGUSR1, .si_code = SI_TIMER};

	(void)state;
	nr_taken = nr_dropped = 0;
	signal_set_blocked(&task, signal_bit(SIGUSR1));
	assert_true(signal_send_timer(&process, NULL, &info));
	info.si_timerid = 1;
	assert_true(signal_send_timer(&process, &task, &info));
	assert_int_equal(signal_dequeue(&task, signal_bit(SIGUSR1), &info), SIGUSR1);
	assert_int_equal(info.si_timerid, 1);
	assert_int_equal(info.si_overrun, 7);
	assert_int_equal(nr_taken, 1);
	signal_forget_timer(&process, 5);
	assert_int_equal(signal_pending(&task), signal_bit(SIGUSR1));
	signal_set_action(&task, SIGUSR1, &(struct ksigaction){.handler = 1});
	assert_int_equal(signal_pending(&task), 0);
	assert_int_equal(nr_dropped, 1);
	signal_set_blocked(&task, 0);
	assert_false(signal_send_timer(&process, NULL, &info));
	signal_set_blocked(&task, signal_bit(SIGUSR1));
	info.si_timerid = 2;
	assert_true(signal_send_timer(&process, NULL, &info));
	signal_forget_timer(&process, 2);
	assert_int_equal(signal_pending(&task), 0);
	assert_int_equal(nr_dropped, 1);
}

static void suspended_mask_comes_back(void **state)
{
	const struct rt_sigframe *frame;

	(void)state;
	handle(SIGUSR1, 0);
	task.sig.saved_mask = signal_bit(SIGUSR1);
	task.sig.restore_mask = true;
	signal_set_blocked(&task, signal_bit(SIGHUP));
	frame = deliver(SIGUSR1);
	assert_int_equal(frame->sigmask, signal_bit(SIGUSR1));
	assert_int_equal(task.sig.blocked, signal_bit(SIGHUP) | signal_bit(SIGUSR1));
	return_from_handler();
	assert_int_equal(task.sig.blocked, signal_bit(SIGUSR1));
}

static void reset_hand(void **state)
{
	(void)state;
	handle(SIGUSR1, SA_RESETHAND | SA_NODEFER);
	deliver(SIGUSR1);
	signal_send(&task, SIGUSR1, NULL);
	signal_deliver(&task);
	assert_int_equal(task.exit_code, SIGUSR1);
}

#define CASE(title, fn)                                             \
	{                                                           \
		.name = title, .test_func = fn, .setup_func = setup \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE("signal: a standard signal is queued once", queue_standard_once),
		CASE("signal: real-time signals queue in order up to their bound", queue_realtime_in_order),
		CASE("signal: faults come before lower numbers", queue_faults_first),
		CASE("signal: what is ignored is dropped unless blocked", ignored_are_dropped),
		CASE("signal: SIGKILL is never blocked", kill_is_never_blocked),
		CASE("signal: the frame has Linux's layout", frame_layout),
		CASE("signal: a return restores registers and mask", frame_round_trip),
		CASE("signal: a return grants no flags and blocks no SIGKILL", frame_cannot_grant_privileges),
		CASE("signal: a spoiled frame is a SIGSEGV", bad_frames_are_refused),
		CASE("signal: the stack segment counts only if asked for", stack_segment_only_if_strict),
		CASE("signal: an area without trailer restores x87 and SSE alone",
		     area_without_trailer_is_legacy),
		CASE("signal: random frames give the processor only what it can load", random_frames),
		CASE("signal: the alternate stack's rules", altstack_rules),
		CASE("signal: a frame too large for the alternate stack kills", altstack_overflow_kills),
		CASE("signal: a handler without a stack becomes SIGSEGV", no_stack_for_a_handler),
		CASE("signal: a fault in its own handler kills", forced_while_blocked),
		CASE("signal: SA_RESTART runs the call again", restart_with_flag),
		CASE("signal: without SA_RESTART the call ends with EINTR", no_restart_without_flag),
		CASE("signal: a call interrupted for nothing runs again", restart_without_handler),
		CASE("signal: a call goes on with the rest of its time", restart_with_the_rest_of_the_time),
		CASE("signal: timers have signals of their own", timers_have_signals_of_their_own),
		CASE("signal: the mask before sigsuspend comes back", suspended_mask_comes_back),
		CASE("signal: SA_RESETHAND", reset_hand),
	};

	return cmocka_run_group_tests_name("signal", tests, NULL, NULL);
}
