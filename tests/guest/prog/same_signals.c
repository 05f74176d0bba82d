/* SPDX-License-Identifier: MIT */
/*
 * same_signals.c - what a signal handler finds, what it may change, and in which order signals come.
 */
#include <errno.h>
#include <fenv.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#include "case.h"

#define PAGE	4096ul
#define XMAGIC1 0x46505853u
#define XMAGIC2 0x46505845u

static sigjmp_buf escape;
static char altstack[65536] __attribute__((aligned(64)));
static char *map; /* readable and writable, not executable | read-only | hole */

static void handle(int signo, void (*handler)(int, siginfo_t *, void *), int flags)
{
	struct sigaction sa = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | flags};

	sigemptyset(&sa.sa_mask);
	if (sigaction(signo, &sa, NULL))
		printf("sigaction %d: %s\n", signo, strerrorname_np(errno));
}

static uint8_t *fpstate(ucontext_t *uc)
{
	return (uint8_t *)uc->uc_mcontext.fpregs;
}

static uint32_t word(const uint8_t *at)
{
	uint32_t value;

	memcpy(&value, at, sizeof(value));
	return value;
}

static uint64_t mask_word(const sigset_t *set)
{
	uint64_t value;

	memcpy(&value, set, sizeof(value));
	return value;
}

/* --- the frame ------------------------------------------------------------------------------- */

static void show_frame(int signo, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;
	greg_t *r = uc->uc_mcontext.gregs;
	uint8_t *fp = fpstate(uc);
	uint32_t bytes = word(fp + 464 + 16);
	uint64_t frame = (uintptr_t)__builtin_frame_address(0), flags = 0;

	__asm__ volatile("pushfq; popq %0" : "=r"(flags));
	printf("signal %d code %d from itself %d\n", signo, info->si_code, info->si_pid == getpid());
	printf("flags %lx link %p stack %d cs %x ss %x oldmask %lx mask %lx\n", uc->uc_flags,
	       (void *)uc->uc_link, uc->uc_stack.ss_flags, (unsigned int)(r[REG_CSGSFS] & 0xffff),
	       (unsigned int)((uint64_t)r[REG_CSGSFS] >> 48), (unsigned long)r[REG_OLDMASK],
	       (unsigned long)mask_word(&uc->uc_sigmask));
	printf("frame below the red zone %d, aligned %lu, context below the interrupted stack %d\n",
	       frame + 128 <= (uint64_t)r[REG_RSP], (unsigned long)(frame % 16),
	       (uint64_t)r[REG_RSP] > (uintptr_t)uc);
	printf("vector state aligned %lu magic %d %d sizes fit %d, has x87 and SSE %d\n",
	       (unsigned long)((uintptr_t)fp % 64), word(fp + 464) == XMAGIC1, word(fp + bytes) == XMAGIC2,
	       bytes >= 576 && word(fp + 468) == bytes + 4, (word(fp + 512) & 3) == 3);
	printf("direction flag %d, flags of the interrupted code %d\n", !!(flags & 0x400),
	       !!(r[REG_EFL] & 0x400));
}

static void frames(void)
{
	sigset_t set, old;

	handle(SIGUSR1, show_frame, 0);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	sigaddset(&set, SIGKILL);
	sigaddset(&set, SIGSTOP);
	sigprocmask(SIG_BLOCK, &set, NULL);
	__asm__ volatile("std" ::: "cc");
	syscall(SYS_kill, syscall(SYS_getpid), SIGUSR1);
	__asm__ volatile("cld" ::: "cc");
	syscall(SYS_tgkill, getpid(), getpid(), SIGUSR1);
	sigprocmask(SIG_UNBLOCK, &set, &old);
	printf("mask %lx\n", (unsigned long)mask_word(&old));
}

/* --- registers ------------------------------------------------------------------------------- */

static void clobber(int signo, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;
	static const uint64_t ones[4] = {~0ul, ~0ul, ~0ul, ~0ul};

	(void)info;
	if (signo == SIGILL)
		uc->uc_mcontext.gregs[REG_RIP] += 2;
	fesetround(FE_UPWARD);
	if (__builtin_cpu_supports("avx"))
		__asm__ volatile("vmovdqu %0, %%ymm7; vmovdqu %0, %%ymm15" ::"m"(ones) : "memory");
	__asm__ volatile("fninit; fldpi; fld1" :::);
}

/* Named for the assembler below. */
static uint64_t reg_in[14] __asm__("reg_in") __attribute__((used));
static uint64_t reg_out[15] __asm__("reg_out") __attribute__((used));
static uint64_t vec_in[2] __asm__("vec_in") __attribute__((used)) = {3, 4};
static uint64_t vec_out[2] __asm__("vec_out") __attribute__((used));

#define LOAD(n, reg)  "movq reg_in+" #n "*8(%%rip), %%" #reg "\n\t"
#define STORE(n, reg) "movq %%" #reg ", reg_out+" #n "*8(%%rip)\n\t"
#define EACH(do)                                                                                           \
	do                                                                                                 \
	(0, rax) do(1, rbx) do(2, rcx) do(3, rdx) do(4, rsi) do(5, rdi) do(6, r8) do(7, r9) do(8, r10) do( \
		9, r11) do(10, r12) do(11, r13) do(12, r14) do(13, r15)

/* General registers, a vector register and the flags, over a signal at an instruction. */
static void registers(void)
{
	int same = 0;

	handle(SIGILL, clobber, 0);
	for (unsigned int i = 0; i < 14; i++)
		reg_in[i] = 0x1111111111111111ull * i + 7;
	__asm__ volatile("movdqu vec_in(%%rip), %%xmm7\n\t" EACH(
				 LOAD) "stc\n\t"
				       "ud2\n\t" EACH(STORE) "movdqu %%xmm7, vec_out(%%rip)\n\t"
							     "pushfq\n\t"
							     "popq reg_out+14*8(%%rip)\n\t"
			 :
			 :
			 : "rax", "rbx", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13",
			   "r14", "r15", "xmm7", "memory", "cc");
	for (unsigned int i = 0; i < 14; i++)
		same += reg_in[i] == reg_out[i];
	printf("registers kept: %d of 14, carry %d\n", same, (int)(reg_out[14] & 1));
	printf("xmm7 kept: %d, rounding kept: %d\n", !memcmp(vec_in, vec_out, sizeof(vec_in)),
	       fegetround() == FE_TONEAREST);
}

static void add_registers(int signo, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;
	double two = 2.0;

	(void)signo;
	(void)info;
	uc->uc_mcontext.gregs[REG_RIP] += 2;
	uc->uc_mcontext.gregs[REG_RBX] = 0x1234;
	memcpy(fpstate(uc) + 160 + 16 * 5, &two, sizeof(two)); /* xmm5 */
}

/* A handler changes what it returns to. */
static void changed_registers(void)
{
	uint64_t rbx;
	double xmm5;

	handle(SIGILL, add_registers, 0);
	__asm__ volatile("xorl %%ebx, %%ebx; pxor %%xmm5, %%xmm5; ud2; movq %%rbx, %0; movsd %%xmm5, %1"
			 : "=r"(rbx), "=m"(xmm5)
			 :
			 : "rbx", "xmm5");
	printf("changed by the handler: rbx %lx xmm5 %g\n", (unsigned long)rbx, xmm5);
}

/* --- faults ---------------------------------------------------------------------------------- */

static void show_fault(int signo, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;
	greg_t *r = uc->uc_mcontext.gregs;
	uint64_t address = (uintptr_t)info->si_addr, rip = (uint64_t)r[REG_RIP];
	const char *where = "elsewhere";

	__asm__ volatile("pushfq; andl $~0x40000, (%%rsp); popfq" ::
				 : "cc", "memory"); /* AC stays on in a handler */
	if (address - (uintptr_t)map < 4 * PAGE)
		where = "map";
	else if (address == rip)
		where = "rip";
	else if (!address)
		where = "0";
	else if (address == 0xffff800000001000)
		where = "kernel";
	printf("signal %d code %d at %s, trap %d error %x\n", signo, info->si_code, where, (int)r[REG_TRAPNO],
	       (unsigned int)r[REG_ERR]);
	if (r[REG_TRAPNO] == 14)
		printf("  cr2 is si_addr: %d\n", (uint64_t)r[REG_CR2] == address);
	siglongjmp(escape, 1);
}

#define FAULT(what, code)                         \
	do {                                      \
		printf("%s: ", what);             \
		fflush(stdout);                   \
		if (!sigsetjmp(escape, 1)) {      \
			code;                     \
			printf("went through\n"); \
		}                                 \
	} while (0)

static void call_map(void)
{
	void (*fn)(void);

	memcpy(&fn, &map, sizeof(fn));
	fn();
}

static volatile int zero;

static void divide(void)
{
	volatile int result = 1000 / zero;

	(void)result;
}

static void divide_sse(void)
{
	volatile double result, none = 0;

	feenableexcept(FE_DIVBYZERO);
	result = 1.0 / none;
	(void)result;
}

static void divide_x87(void)
{
	uint16_t control = 0x037b; /* division by zero unmasked */

	__asm__ volatile("fninit; fldcw %0; fldz; fld1; fdivp; fwait" ::"m"(control));
}

static void misaligned(void)
{
	/* With AC set an odd access traps; the handler's way out clears it. */
	__asm__ volatile("pushfq; orl $0x40000, (%%rsp); popfq; movq 1(%0), %%rax" ::"r"(map)
			 : "rax", "memory", "cc");
}

static void faults(void)
{
	static const int signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP};

	for (unsigned int i = 0; i < 5; i++)
		handle(signals[i], show_fault, 0);
	FAULT("read of a hole", *(volatile char *)(map + 2 * PAGE + 5));
	FAULT("write to a hole", *(volatile char *)(map + 2 * PAGE + 5) = 1);
	FAULT("write to read-only", *(volatile char *)(map + PAGE) = 1);
	FAULT("call of data", call_map());
	FAULT("null", *(volatile char *)0);
	FAULT("kernel read", *(volatile char *)0xffff800000001000);
	FAULT("kernel write", *(volatile char *)0xffff800000001000 = 1);
	FAULT("not canonical", *(volatile char *)0x800000000000);
	FAULT("privileged", __asm__ volatile("hlt"));
	FAULT("undefined", __asm__ volatile("ud2"));
	FAULT("breakpoint", __asm__ volatile("int3"));
	FAULT("division", divide());
	FAULT("division by SSE", divide_sse());
	feclearexcept(FE_ALL_EXCEPT);
	fedisableexcept(FE_ALL_EXCEPT);
	FAULT("division by x87", divide_x87());
	__asm__ volatile("fninit");
	FAULT("single step", __asm__ volatile("pushfq; orl $0x100, (%%rsp); popfq; nop; nop" ::
						      : "cc", "memory"));
	FAULT("alignment", misaligned());
	__asm__ volatile("pushfq; andl $~0x40000, (%%rsp); popfq" ::: "cc", "memory");
}

static void repair(int signo, siginfo_t *info, void *context)
{
	(void)signo;
	(void)context;
	mprotect((void *)((uintptr_t)info->si_addr & -PAGE), PAGE, PROT_READ | PROT_WRITE);
}

static void repaired_fault(void)
{
	handle(SIGSEGV, repair, 0);
	*(volatile char *)(map + PAGE) = 42;
	printf("repaired by the handler: %d\n", map[PAGE]);
	mprotect(map + PAGE, PAGE, PROT_READ);
}

/* --- the alternate stack --------------------------------------------------------------------- */

static void on_altstack(int signo, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;
	stack_t now, new = {.ss_sp = altstack, .ss_size = sizeof(altstack)};
	uintptr_t sp = (uintptr_t)__builtin_frame_address(0);

	(void)info;
	sigaltstack(NULL, &now);
	printf("signal %d on the alternate stack: %d, flags %d, was %d size %zu\n", signo,
	       sp - (uintptr_t)altstack < sizeof(altstack), now.ss_flags, uc->uc_stack.ss_flags,
	       uc->uc_stack.ss_size);
	if (!((unsigned int)uc->uc_stack.ss_flags >> 31)) /* else Linux's return depends on its version */
		printf("  changing it now: %s\n", sigaltstack(&new, NULL) ? strerrorname_np(errno) : "ok");
	if (signo == SIGSEGV)
		siglongjmp(escape, 1);
}

static int __attribute__((noinline)) recurse(volatile int depth)
{
	volatile char room[1024];

	room[0] = (char)depth;
	return depth < 1 << 20 ? recurse(depth + 1) + room[0] : 0;
}

static void alternate_stack(void)
{
	stack_t stack = {.ss_sp = altstack, .ss_size = sizeof(altstack)}, old;

	handle(SIGUSR1, on_altstack, SA_ONSTACK);
	handle(SIGUSR2, on_altstack, 0);
	handle(SIGSEGV, on_altstack, SA_ONSTACK);
	stack.ss_size = 100;
	printf("too small: %s\n", sigaltstack(&stack, NULL) ? strerrorname_np(errno) : "ok");
	stack.ss_size = sizeof(altstack);
	stack.ss_flags = 99;
	printf("bad flags: %s\n", sigaltstack(&stack, NULL) ? strerrorname_np(errno) : "ok");
	stack.ss_flags = 0;
	sigaltstack(&stack, &old);
	printf("before: %d\n", old.ss_flags);
	raise(SIGUSR1);
	raise(SIGUSR2);
	FAULT("endless recursion", recurse(0));
	stack.ss_flags = (int)(1u << 31); /* SS_AUTODISARM */
	sigaltstack(&stack, NULL);
	raise(SIGUSR1);
	sigaltstack(NULL, &old);
	printf("after auto-disarm: flags %x size %zu\n", (unsigned int)old.ss_flags, old.ss_size);
	stack.ss_flags = SS_DISABLE;
	sigaltstack(&stack, NULL);
	sigaltstack(NULL, &old);
	printf("disabled: %d %zu\n", old.ss_flags, old.ss_size);
}

/* --- order and masks ------------------------------------------------------------------------- */

static int depth, raised;

static void nest(int signo, siginfo_t *info, void *context)
{
	(void)context;
	depth++;
	printf("%*ssignal %d value %d depth %d\n", depth, "", signo, info->si_value.sival_int, depth);
	if (signo == SIGUSR1 && !raised++) {
		raise(SIGUSR1);
		raise(SIGUSR2);
	}
	depth--;
}

static void queue(int signo, int value)
{
	union sigval v = {.sival_int = value};

	if (sigqueue(getpid(), signo, v))
		printf("sigqueue: %s\n", strerrorname_np(errno));
}

static void order(void)
{
	struct sigaction sa = {.sa_sigaction = nest, .sa_flags = SA_SIGINFO};
	sigset_t all, old, pending;

	handle(SIGUSR1, nest, 0);
	handle(SIGUSR2, nest, 0);
	handle(SIGTERM, nest, 0);
	handle(SIGSEGV, nest, 0);
	handle(SIGRTMIN, nest, 0);
	handle(SIGRTMIN + 3, nest, 0);
	printf("nested:\n");
	raise(SIGUSR1);
	printf("nodefer:\n");
	raised = 0;
	handle(SIGUSR1, nest, SA_NODEFER);
	raise(SIGUSR1);
	printf("with a mask:\n");
	raised = 0;
	sigemptyset(&sa.sa_mask);
	sigaddset(&sa.sa_mask, SIGUSR2);
	sigaction(SIGUSR1, &sa, NULL);
	raise(SIGUSR1);
	printf("many at once:\n");
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &old);
	queue(SIGRTMIN + 3, 1);
	queue(SIGRTMIN, 2);
	queue(SIGRTMIN, 3);
	queue(SIGTERM, 4);
	queue(SIGTERM, 5);
	queue(SIGUSR2, 6);
	queue(SIGSEGV, 7);
	queue(SIGRTMIN + 3, 8);
	sigpending(&pending);
	printf("pending %lx\n", (unsigned long)mask_word(&pending));
	sigprocmask(SIG_SETMASK, &old, NULL);
	printf("reset:\n");
	raised = 1;
	handle(SIGUSR1, nest, (int)SA_RESETHAND);
	raise(SIGUSR1);
	sigaction(SIGUSR1, NULL, &sa);
	printf("handler is default: %d\n", sa.sa_handler == SIG_DFL);
}

static void ignoring(void)
{
	static const int quiet[] = {SIGCHLD, SIGURG, SIGWINCH, SIGCONT};
	sigset_t set, old, pending;

	for (unsigned int i = 0; i < 4; i++)
		raise(quiet[i]);
	signal(SIGTERM, SIG_IGN);
	raise(SIGTERM);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, &old);
	signal(SIGTERM, SIG_DFL);
	raise(SIGTERM);
	sigpending(&pending);
	printf("blocked: pending %lx\n", (unsigned long)mask_word(&pending));
	signal(SIGTERM, SIG_IGN);
	sigpending(&pending);
	printf("ignored since: pending %lx\n", (unsigned long)mask_word(&pending));
	raise(SIGTERM);
	sigpending(&pending);
	printf("ignored and blocked: pending %lx\n", (unsigned long)mask_word(&pending));
	signal(SIGTERM, SIG_IGN);
	sigprocmask(SIG_SETMASK, &old, NULL);
}

/* --- waiting --------------------------------------------------------------------------------- */

static void say(int signo, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;

	(void)info;
	printf("handler of %d, returning to mask %lx\n", signo, (unsigned long)mask_word(&uc->uc_sigmask));
}

static void waiting(void)
{
	struct timespec now = {0}, soon = {.tv_nsec = 20000000}, bad = {.tv_nsec = 1000000000};
	sigset_t usr1, none, old, pending;
	siginfo_t info;

	handle(SIGUSR1, say, 0);
	handle(SIGUSR2, say, 0);
	sigemptyset(&none);
	sigemptyset(&usr1);
	sigaddset(&usr1, SIGUSR1);
	sigprocmask(SIG_BLOCK, &usr1, &old);
	printf("sigtimedwait, none: %s\n",
	       sigtimedwait(&usr1, &info, &now) < 0 ? strerrorname_np(errno) : "got one");
	printf("sigtimedwait, late: %s\n",
	       sigtimedwait(&usr1, &info, &soon) < 0 ? strerrorname_np(errno) : "got one");
	printf("sigtimedwait, bad: %s\n",
	       sigtimedwait(&usr1, &info, &bad) < 0 ? strerrorname_np(errno) : "got one");
	queue(SIGUSR1, 77);
	printf("sigwaitinfo: %d", sigwaitinfo(&usr1, &info));
	printf(" value %d code %d\n", info.si_value.sival_int, info.si_code);
	raise(SIGUSR1);
	printf("sigsuspend: %d", sigsuspend(&none));
	printf(" %s\n", strerrorname_np(errno));
	sigpending(&pending);
	printf("pending %lx\n", (unsigned long)mask_word(&pending));
	sigprocmask(SIG_SETMASK, &old, NULL);
}

/* Sent by a child while the wait goes on. */
static void wait_for(const char *what, int signo, bool kill_parent)
{
	struct timespec long_enough = {.tv_sec = 10};
	sigset_t set, old;
	siginfo_t info;
	pid_t pid;

	sigemptyset(&set);
	sigaddset(&set, signo);
	sigprocmask(SIG_BLOCK, &set, &old);
	fflush(stdout);
	pid = fork();
	if (!pid) {
		usleep(50000);
		if (kill_parent)
			kill(getppid(), signo);
		_exit(3);
	}
	int got = sigtimedwait(&set, &info, &long_enough);
	printf("%s: %d, code %d, of the child %d\n", what, got, info.si_code, info.si_pid == pid);
	waitpid(pid, NULL, 0);
	sigtimedwait(&set, &info, &(struct timespec){0});
	sigprocmask(SIG_SETMASK, &old, NULL);
}

/* What is waited for comes, though its action is to be ignored: as init programs wait for their children. */
static void waiting_for_the_ignored(void)
{
	wait_for("SIGCHLD by default", SIGCHLD, false);
	wait_for("SIGURG by default", SIGURG, true);
	signal(SIGUSR1, SIG_IGN);
	wait_for("SIGUSR1, ignored", SIGUSR1, true);
	signal(SIGUSR1, SIG_DFL);
}

/* --- frames that a program has spoiled ------------------------------------------------------- */

static int spoil_what;

static void spoil(int signo, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;
	greg_t *r = uc->uc_mcontext.gregs;
	uint8_t *fp = fpstate(uc);
	uint32_t bytes = word(fp + 480);

	(void)signo;
	(void)info;
	r[REG_RIP] += 2;
	switch (spoil_what) {
	case 0: /* a state component that no processor has */
		fp[512 + 7] |= 0x40;
		break;
	case 1: /* compacted format */
		fp[520 + 7] |= 0x80;
		break;
	case 2: /* reserved bits of MXCSR */
		fp[24 + 3] = 0xff;
		break;
	case 3: /* not aligned */
		uc->uc_mcontext.fpregs = (fpregset_t)(void *)(fp + 8);
		break;
	case 4:
		uc->uc_mcontext.fpregs = (fpregset_t)0xffff800000000000;
		break;
	case 5:
		uc->uc_mcontext.fpregs = (fpregset_t)(map + 2 * PAGE);
		break;
	case 6: /* no vector state: it starts anew */
		uc->uc_mcontext.fpregs = NULL;
		break;
	case 7: /* no trailer: x87 and SSE alone */
		fp[bytes] ^= 1;
		break;
	case 8: /* a size beyond all bounds */
		memset(fp + 480, 0xff, 4);
		break;
	case 9: /* a kernel code segment becomes none of the guest's */
		r[REG_CSGSFS] = (r[REG_CSGSFS] & ~0xffffll) | 0x10;
		break;
	case 10:
		r[REG_CSGSFS] &= 0x0000ffffffffffffll;
		break;
	case 11: /* IOPL, NT, VM, IF, ID: not a program's to set */
		r[REG_EFL] |= 0x227000;
		r[REG_EFL] &= ~0x200ll;
		break;
	case 12:
		r[REG_RIP] = (greg_t)0x800000000000;
		break;
	case 13:
		r[REG_RSP] = 8;
		break;
	case 14: /* a mask with everything in it */
		memset(&uc->uc_sigmask, 0xff, 8);
		break;
	}
}

static void spoiled(int signo, siginfo_t *info, void *context)
{
	(void)context;
	printf("signal %d code %d ", signo, info->si_code);
	siglongjmp(escape, 1);
}

static void return_to_nowhere(void)
{
	__asm__ volatile("movq $16, %%rsp; movl $15, %%eax; syscall" ::: "rax", "rcx", "r11", "memory");
}

static void spoiled_frames(void)
{
	stack_t stack = {.ss_sp = altstack, .ss_size = sizeof(altstack)};
	uint64_t flags;
	sigset_t mask;

	sigaltstack(&stack, NULL);
	handle(SIGSEGV, spoiled, SA_ONSTACK);
	handle(SIGBUS, spoiled, SA_ONSTACK);
	handle(SIGILL, spoil, 0);
	for (spoil_what = 0; spoil_what <= 14; spoil_what++) {
		volatile double kept = 1.5;
		volatile int returned = 0;

		if (!sigsetjmp(escape, 1)) {
			__asm__ volatile("ud2" ::: "memory");
			returned = 1;
		}
		__asm__ volatile("pushfq; popq %0" : "=r"(flags));
		sigprocmask(SIG_SETMASK, NULL, &mask);
		printf("spoiled %d: %s flags %lx mask %lx %g\n", spoil_what,
		       returned ? "returned" : "refused", (unsigned long)(flags & 0x207000),
		       (unsigned long)mask_word(&mask), kept + 1);
		sigemptyset(&mask);
		sigprocmask(SIG_SETMASK, &mask, NULL);
	}
	FAULT("sigreturn without a frame", return_to_nowhere());
	putchar('\n');
}

static volatile int nr_ignored;

static void ignored(int signo, siginfo_t *info, void *context)
{
	(void)context;
	printf("signal %d code %d ", signo, info->si_code);
	if (++nr_ignored > 3)
		siglongjmp(escape, 1);
}

/* The signal for a frame whose vector state is none comes where the frame led: to return from it is to go on there. */
static void ignored_frames(void)
{
	handle(SIGSEGV, ignored, 0);
	handle(SIGILL, spoil, 0);
	for (spoil_what = 0; spoil_what <= 5; spoil_what++) {
		volatile int returned = 0;

		nr_ignored = 0;
		if (!sigsetjmp(escape, 1)) {
			__asm__ volatile("ud2" ::: "memory");
			returned = 1;
		}
		printf("spoiled %d: %s\n", spoil_what, returned ? "went on" : "again and again");
	}
}

/* --- arguments ------------------------------------------------------------------------------- */

static void tell(const char *what, long ret)
{
	printf("%-50s %s\n", what, ret < 0 ? strerrorname_np(errno) : "ok");
}

#define TELL(call) tell(#call, (long)(call))
#define SELF	   getpid()

static void arguments(void)
{
	uint64_t act[4] = {1, 0, 0, 0}, set = 0;
	siginfo_t info;

	memset(&info, 0, sizeof(info));
	TELL(syscall(SYS_rt_sigaction, SIGKILL, act, NULL, 8));
	TELL(syscall(SYS_rt_sigaction, SIGSTOP, act, NULL, 8));
	TELL(syscall(SYS_rt_sigaction, SIGKILL, NULL, act, 8));
	TELL(syscall(SYS_rt_sigaction, 0, NULL, NULL, 8));
	TELL(syscall(SYS_rt_sigaction, 65, NULL, NULL, 8));
	TELL(syscall(SYS_rt_sigaction, 64, NULL, NULL, 8));
	TELL(syscall(SYS_rt_sigaction, SIGUSR1, NULL, NULL, 16));
	TELL(syscall(SYS_rt_sigaction, -1, NULL, NULL, 8));
	TELL(syscall(SYS_rt_sigprocmask, 3, &set, NULL, 8));
	TELL(syscall(SYS_rt_sigprocmask, 3, NULL, &set, 8));
	TELL(syscall(SYS_rt_sigprocmask, 0, &set, NULL, 4));
	TELL(syscall(SYS_rt_sigpending, &set, 9));
	TELL(syscall(SYS_rt_sigpending, &set, 4));
	TELL(syscall(SYS_rt_sigsuspend, &set, 4));
	TELL(syscall(SYS_rt_sigtimedwait, &set, NULL, NULL, 4));
	TELL(kill(SELF, 0));
	TELL(kill(SELF, 65));
	TELL(kill(SELF, -1));
	TELL(kill(0x3fffffff, 0));
	TELL(kill(-0x3fffffff, 0));
	TELL(syscall(SYS_tkill, SELF, 0));
	TELL(syscall(SYS_tkill, 0, 0));
	TELL(syscall(SYS_tkill, 0x3fffffff, 0));
	TELL(syscall(SYS_tgkill, SELF, SELF, 0));
	TELL(syscall(SYS_tgkill, SELF, SELF, 65));
	TELL(syscall(SYS_tgkill, 0, SELF, 0));
	TELL(syscall(SYS_tgkill, 0x3fffffff, SELF, 0));
	TELL(syscall(SYS_rt_sigqueueinfo, SELF, 0, &info));
	TELL(syscall(SYS_rt_sigqueueinfo, SELF, 65, &info));
	TELL(syscall(SYS_rt_sigqueueinfo, 0x3fffffff, SIGUSR1, &info));
	info.si_code = SI_QUEUE;
	TELL(syscall(SYS_rt_sigqueueinfo, 0x3fffffff, SIGUSR1, &info));
	TELL(syscall(SYS_rt_tgsigqueueinfo, SELF, SELF, 0, &info));
}

static const struct guest_case cases[] = {
	{"sigaction and its kin: arguments", arguments},
	{"the frame a handler finds", frames},
	{"registers come back after a handler", registers},
	{"registers that a handler changed", changed_registers},
	{"what SIGSEGV reports [R13]", faults},
	{"a fault that its handler repairs [R13]", repaired_fault},
	{"the alternate stack", alternate_stack},
	{"the order in which signals come", order},
	{"ignored signals", ignoring},
	{"waiting for signals", waiting},
	{"sigtimedwait: signals that are ignored [J2]", waiting_for_the_ignored},
	{"frames that a handler spoiled", spoiled_frames},
	{"frames that a handler spoiled, and another ignores", ignored_frames},
};

int main(int argc, char **argv)
{
	if (cases_listed(argc, argv, cases, NR_CASES(cases)))
		return 0;
	setvbuf(stdout, NULL, _IOLBF, 0);
	map = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	map[0] = (char)0xc3;
	map[PAGE] = 1;
	mprotect(map + PAGE, PAGE, PROT_READ);
	munmap(map + 2 * PAGE, 2 * PAGE);
	cases_run(argc, argv, cases, NR_CASES(cases), NULL);
	signal(SIGSEGV, SIG_DFL);
	*(volatile char *)(map + 2 * PAGE);
	return 0;
}
