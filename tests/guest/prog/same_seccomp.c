/* SPDX-License-Identifier: MIT */
/*
 * same_seccomp.c - filters of system calls and the strict mode. Each case is a process of its own.
 */
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <ucontext.h>

#include "case.h"

#define LOAD(field)	 BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define RETURN(x)	 BPF_STMT(BPF_RET | BPF_K, x)
/* The result for one call; all others go on behind it. */
#define ON(call, result) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_##call, 0, 1), RETURN(result)
#define FILTER(...)                                                                           \
	do {                                                                                  \
		struct sock_filter program[] = {LOAD(nr), __VA_ARGS__};                       \
		tell("filter", set_filter(program, sizeof(program) / sizeof(program[0]), 0)); \
	} while (0)

static const char *name(long ret)
{
	return ret == -1 ? strerrorname_np(errno) : "ok";
}

static void tell(const char *what, long ret)
{
	if (ret > 0)
		printf("%s: %ld\n", what, ret);
	else
		printf("%s: %s\n", what, name(ret));
	fflush(stdout);
}

static long set_filter(struct sock_filter *program, unsigned int nr, unsigned int flags)
{
	struct sock_fprog p = {(unsigned short)nr, program};

	return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &p);
}

static void no_new_privs(void)
{
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}

static void ended(int status)
{
	if (WIFSIGNALED(status))
		printf("ended by %s\n", strsignal(WTERMSIG(status)));
	else
		printf("ended with %d\n", WEXITSTATUS(status));
	fflush(stdout);
}

static void in_child(void (*run)(void))
{
	int status;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (!pid) {
		run();
		fflush(stdout);
		syscall(SYS_exit, 0);
	}
	waitpid(pid, &status, 0);
	ended(status);
}

/* --- actions --------------------------------------------------------------------------------- */

static void errors(void)
{
	no_new_privs();
	FILTER(ON(getpid, SECCOMP_RET_ERRNO | ENOMEM), ON(getuid, SECCOMP_RET_ERRNO),
	       ON(sync, SECCOMP_RET_ERRNO | 0xffff), ON(getgid, SECCOMP_RET_LOG),
	       ON(umask, SECCOMP_RET_TRACE), RETURN(SECCOMP_RET_ALLOW));
	tell("getpid", syscall(SYS_getpid));
	printf("getuid: %ld\n", syscall(SYS_getuid));
	printf("sync: %ld, %d\n", syscall(SYS_sync), errno);
	printf("getgid: %d\n", syscall(SYS_getgid) == getgid());
	tell("umask", syscall(SYS_umask, 022));
	tell("an unknown call", syscall(500));
	printf("mode %d\n", prctl(PR_GET_SECCOMP));
}

static void arguments(void)
{
	struct sock_filter program[] = {
		LOAD(arch),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 1, 0),
		RETURN(SECCOMP_RET_KILL_PROCESS),
		LOAD(nr),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getpriority, 0, 6),
		LOAD(args[0]),
		BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, 1, 0, 1),
		RETURN(SECCOMP_RET_ERRNO | E2BIG),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[5]) + 4),
		BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, 0x80000000, 0, 1),
		RETURN(SECCOMP_RET_ERRNO | EDOM),
		RETURN(SECCOMP_RET_ALLOW),
	};

	no_new_privs();
	tell("filter", set_filter(program, sizeof(program) / sizeof(program[0]), 0));
	tell("2", syscall(SYS_getpriority, 2, 0, 0, 0, 0, 0));
	tell("a high bit", syscall(SYS_getpriority, 1, 0, 0, 0, 0, 1ul << 63));
	tell("3, a high bit", syscall(SYS_getpriority, 3, 0, 0, 0, 0, 1ul << 63));
}

static void arithmetic(void)
{
	struct sock_filter program[] = {
		LOAD(nr),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getpriority, 1, 0),
		RETURN(SECCOMP_RET_ALLOW),
		LOAD(args[0]),
		BPF_STMT(BPF_MISC | BPF_TAX, 0),
		BPF_STMT(BPF_STX, 3),
		BPF_STMT(BPF_ALU | BPF_MUL | BPF_K, 7),	 /* 7x */
		BPF_STMT(BPF_ALU | BPF_SUB | BPF_X, 0),	 /* 6x */
		BPF_STMT(BPF_ALU | BPF_LSH | BPF_K, 4),	 /* 96x */
		BPF_STMT(BPF_ALU | BPF_DIV | BPF_X, 0),	 /* 96, or the end for 0 */
		BPF_STMT(BPF_ALU | BPF_XOR | BPF_K, 64), /* 32 */
		BPF_STMT(BPF_ST, 0),
		BPF_STMT(BPF_LDX | BPF_MEM, 0),
		BPF_STMT(BPF_LD | BPF_W | BPF_LEN, 0),	/* 64 */
		BPF_STMT(BPF_ALU | BPF_RSH | BPF_K, 1), /* 32 */
		BPF_STMT(BPF_ALU | BPF_ADD | BPF_X, 0), /* 64 */
		BPF_STMT(BPF_ALU | BPF_NEG, 0),
		BPF_STMT(BPF_ALU | BPF_AND | BPF_K, 127), /* 64 */
		BPF_STMT(BPF_LDX | BPF_MEM, 3),
		BPF_STMT(BPF_ALU | BPF_ADD | BPF_X, 0),
		BPF_STMT(BPF_ALU | BPF_OR | BPF_K, SECCOMP_RET_ERRNO),
		BPF_STMT(BPF_RET | BPF_A, 0),
	};

	no_new_privs();
	tell("filter", set_filter(program, sizeof(program) / sizeof(program[0]), 0));
	for (long x = 1; x < 20; x += 9) {
		long ret = syscall(SYS_getpriority, x, 0);
		printf("%ld: %ld %d\n", x, ret, errno);
	}
	fflush(stdout);
	syscall(SYS_getpriority, 0, 0); /* a division by zero */
}

static volatile int handled;

static void trapped(int signo, siginfo_t *info, void *ctx)
{
	ucontext_t *uc = ctx;

	handled = signo;
	printf("signal %d code %d errno %d call %d arch %x here %d rax %lld\n", signo, info->si_code,
	       info->si_errno, info->si_syscall, info->si_arch,
	       info->si_call_addr == (void *)uc->uc_mcontext.gregs[REG_RIP], uc->uc_mcontext.gregs[REG_RAX]);
	uc->uc_mcontext.gregs[REG_RAX] = 1234;
}

static void traps(void)
{
	struct sigaction sa = {.sa_sigaction = trapped, .sa_flags = SA_SIGINFO};

	sigaction(SIGSYS, &sa, NULL);
	no_new_privs();
	FILTER(ON(getpid, SECCOMP_RET_TRAP | 77), RETURN(SECCOMP_RET_ALLOW));
	printf("getpid: %ld\n", syscall(SYS_getpid));
	printf("handled %d\n", handled);
}

static void trap_blocked(void)
{
	struct sigaction sa = {.sa_sigaction = trapped, .sa_flags = SA_SIGINFO};
	sigset_t set;

	sigaction(SIGSYS, &sa, NULL);
	sigemptyset(&set);
	sigaddset(&set, SIGSYS);
	sigprocmask(SIG_BLOCK, &set, NULL);
	no_new_privs();
	FILTER(ON(getpid, SECCOMP_RET_TRAP), RETURN(SECCOMP_RET_ALLOW));
	syscall(SYS_getpid);
	puts("goes on");
}

static void trap_default(void)
{
	no_new_privs();
	FILTER(ON(getpid, SECCOMP_RET_TRAP), RETURN(SECCOMP_RET_ALLOW));
	syscall(SYS_getpid);
	puts("goes on");
}

static void trap_ends(void)
{
	in_child(trap_blocked);
	in_child(trap_default);
}

static void kill_thread(void)
{
	no_new_privs();
	FILTER(ON(getpid, SECCOMP_RET_KILL_THREAD), RETURN(SECCOMP_RET_ALLOW));
	syscall(SYS_getpid);
	puts("goes on");
}

static void kill_process(void)
{
	no_new_privs();
	FILTER(ON(getpid, SECCOMP_RET_KILL_PROCESS), RETURN(SECCOMP_RET_ALLOW));
	syscall(SYS_getpid);
	puts("goes on");
}

static void unknown_action(void)
{
	no_new_privs();
	FILTER(ON(getpid, 0x12340000), RETURN(SECCOMP_RET_ALLOW));
	syscall(SYS_getpid);
	puts("goes on");
}

static void *ask_pid(void *arg)
{
	(void)arg;
	syscall(SYS_getpid);
	return NULL;
}

static void kill_one_of_two(void)
{
	pthread_t thread;

	no_new_privs();
	FILTER(ON(getpid, SECCOMP_RET_KILL_THREAD), RETURN(SECCOMP_RET_ALLOW));
	pthread_create(&thread, NULL, ask_pid, NULL);
	pthread_join(thread, NULL);
	puts("the other goes on");
}

static void kill_both(void)
{
	pthread_t thread;

	no_new_privs();
	FILTER(ON(getpid, SECCOMP_RET_KILL_PROCESS), RETURN(SECCOMP_RET_ALLOW));
	pthread_create(&thread, NULL, ask_pid, NULL);
	pthread_join(thread, NULL);
	puts("the other goes on");
}

static void ends(void)
{
	in_child(kill_thread);
	in_child(kill_process);
	in_child(unknown_action);
	in_child(kill_one_of_two);
	in_child(kill_both);
}

/* --- chains ---------------------------------------------------------------------------------- */

static void severest(void)
{
	no_new_privs();
	FILTER(ON(getpid, SECCOMP_RET_ERRNO | 1), ON(getuid, SECCOMP_RET_ALLOW),
	       ON(getgid, SECCOMP_RET_ERRNO | 3), RETURN(SECCOMP_RET_ALLOW));
	FILTER(ON(getpid, SECCOMP_RET_ERRNO | 2), ON(getuid, SECCOMP_RET_ERRNO | 2),
	       ON(getgid, SECCOMP_RET_TRACE), RETURN(SECCOMP_RET_ALLOW));
	tell("the newest of equals", syscall(SYS_getpid));
	tell("an error before leave", syscall(SYS_getuid));
	tell("an error before a tracer", syscall(SYS_getgid));
}

static void child_asks(void)
{
	tell("in the child", syscall(SYS_getpid));
	FILTER(ON(getpid, SECCOMP_RET_KILL_PROCESS), RETURN(SECCOMP_RET_ALLOW));
	syscall(SYS_getpid);
}

static void inherited(void)
{
	const char *args[] = {"/bin/sh", "-c", "grep -E '^(NoNewPrivs|Seccomp)' /proc/self/status; umask",
			      NULL};

	no_new_privs();
	FILTER(ON(getpid, SECCOMP_RET_ERRNO | ENOMEM), ON(umask, SECCOMP_RET_ERRNO | 0),
	       RETURN(SECCOMP_RET_ALLOW));
	in_child(child_asks);
	tell("in the parent", syscall(SYS_getpid));
	fflush(stdout);
	execv(args[0], (char **)args);
}

static void needs_a_promise(void)
{
	printf("%d", prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
	no_new_privs();
	printf(" %d\n", prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
}

static void too_many(void)
{
	static struct sock_filter program[4000];
	long ret = 0;
	int nr = 0;

	no_new_privs();
	for (int i = 0; i < 4000; i++)
		program[i] = (struct sock_filter)RETURN(SECCOMP_RET_ALLOW);
	for (; !ret && nr < 20; nr++)
		ret = set_filter(program, 4000, 0);
	printf("several: %d, then %s\n", nr > 4, name(ret));
}

/* --- threads --------------------------------------------------------------------------------- */

static pthread_barrier_t barrier;
static long other_result;
static int other_errno;

static void *waits(void *arg)
{
	if (arg) {
		struct sock_filter program[] = {RETURN(SECCOMP_RET_ALLOW)};
		set_filter(program, 1, 0);
	}
	pthread_barrier_wait(&barrier);
	pthread_barrier_wait(&barrier);
	other_result = syscall(SYS_getpid);
	other_errno = errno;
	return NULL;
}

static void with_other(unsigned int flags, void *own_filter)
{
	struct sock_filter program[] = {LOAD(nr), ON(getpid, SECCOMP_RET_ERRNO | EDOM),
					RETURN(SECCOMP_RET_ALLOW)};
	pthread_t thread;
	long ret;

	no_new_privs();
	pthread_barrier_init(&barrier, NULL, 2);
	pthread_create(&thread, NULL, waits, own_filter);
	pthread_barrier_wait(&barrier);
	ret = set_filter(program, 4, flags);
	printf("set: %s\n", ret > 0 ? "a thread" : name(ret));
	pthread_barrier_wait(&barrier);
	pthread_join(thread, NULL);
	printf("in the other: %s\n", other_result > 0 ? "ok" : strerrorname_np(other_errno));
}

static void alone(void)
{
	with_other(0, NULL);
}

static void together(void)
{
	with_other(SECCOMP_FILTER_FLAG_TSYNC, NULL);
}

static void apart(void)
{
	with_other(SECCOMP_FILTER_FLAG_TSYNC, &barrier);
}

static void apart_error(void)
{
	with_other(SECCOMP_FILTER_FLAG_TSYNC | SECCOMP_FILTER_FLAG_TSYNC_ESRCH, &barrier);
}

static void threads(void)
{
	in_child(alone);
	in_child(together);
	in_child(apart);
	in_child(apart_error);
}

/* --- strict ---------------------------------------------------------------------------------- */

static void strict_allowed(void)
{
	char c;

	tell("strict", prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT));
	read(-1, &c, 1);
	puts("read and write");
	fflush(stdout);
	syscall(SYS_exit, 7);
}

static void strict_refused(void)
{
	tell("strict", syscall(SYS_seccomp, SECCOMP_SET_MODE_STRICT, 0, NULL));
	syscall(SYS_getpid);
	puts("goes on");
}

static void strict_group(void)
{
	prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT);
	_exit(0);
}

static void strict_after_filter(void)
{
	no_new_privs();
	FILTER(RETURN(SECCOMP_RET_ALLOW));
	tell("strict", prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT));
}

static void strict(void)
{
	in_child(strict_allowed);
	in_child(strict_refused);
	in_child(strict_group);
	in_child(strict_after_filter);
}

/* --- refusals -------------------------------------------------------------------------------- */

static void operations(void)
{
	uint32_t action = SECCOMP_RET_TRAP, unknown = 0x12340000;

	no_new_privs();
	tell("operation 77", syscall(SYS_seccomp, 77, 0, NULL));
	tell("strict with a flag", syscall(SYS_seccomp, SECCOMP_SET_MODE_STRICT, 1, NULL));
	tell("strict with an argument", syscall(SYS_seccomp, SECCOMP_SET_MODE_STRICT, 0, &action));
	tell("filter with flag 1 << 20", syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 1 << 20, NULL));
	tell("filter NULL", syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, NULL));
	tell("prctl, filter NULL", prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, NULL));
	tell("prctl, mode 0", prctl(PR_SET_SECCOMP, 0));
	tell("prctl, mode 3", prctl(PR_SET_SECCOMP, 3));
	tell("action", syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action));
	tell("action, flag", syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 1, &action));
	tell("action unknown", syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &unknown));
	tell("action NULL", syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, NULL));
	tell("NULL program", set_filter(NULL, 1, 0));
	tell("length 0", set_filter(NULL, 0, 0));
	tell("length 4097", set_filter(NULL, 4097, 0));
	printf("mode %d\n", prctl(PR_GET_SECCOMP));
}

#define BAD(...)                                                                                  \
	do {                                                                                      \
		struct sock_filter program[] = {__VA_ARGS__};                                     \
		tell(#__VA_ARGS__, set_filter(program, sizeof(program) / sizeof(program[0]), 0)); \
	} while (0)
#define END RETURN(SECCOMP_RET_ALLOW)

static void unsound(void)
{
	no_new_privs();
	BAD(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0));
	BAD(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 2), END);
	BAD(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 64), END);
	BAD(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 60), END);
	BAD(BPF_STMT(BPF_LD | BPF_H | BPF_ABS, 0), END);
	BAD(BPF_STMT(BPF_LD | BPF_W | BPF_IND, 0), END);
	BAD(BPF_STMT(BPF_ALU | BPF_MOD | BPF_K, 3), END);
	BAD(BPF_STMT(BPF_ALU | BPF_DIV | BPF_K, 0), END);
	BAD(BPF_STMT(BPF_ALU | BPF_LSH | BPF_K, 32), END);
	BAD(BPF_STMT(BPF_LD | BPF_MEM, 0), END);
	BAD(BPF_STMT(BPF_ST, 16), END);
	BAD(BPF_STMT(BPF_ST, 15), BPF_STMT(BPF_LDX | BPF_MEM, 15), END);
	BAD(BPF_STMT(BPF_JMP | BPF_JA, 1), END);
	BAD(BPF_STMT(BPF_JMP | BPF_JA, 0), END);
	BAD(BPF_STMT(BPF_JMP | BPF_JA, -1), END);
	BAD(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 1), END);
	BAD(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_X, 0, 0, 0), END);
	BAD(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 1), BPF_STMT(BPF_ST, 1), BPF_STMT(BPF_LD | BPF_MEM, 1),
	    END);
	BAD(BPF_STMT(BPF_RET | BPF_X, 0));
	BAD(BPF_STMT(0xffff, 0), END);
	BAD(BPF_STMT(BPF_MISC | 0x20, 0), END);
}

static const struct guest_case cases[] = {
	{"filters: errors, log, no tracer", errors},
	{"filters: arguments and architecture", arguments},
	{"filters: arithmetic and memory", arithmetic},
	{"filters: SIGSYS and its handler [A11]", traps},
	{"filters: SIGSYS that nobody handles", trap_ends},
	{"filters: the end of a thread or a process", ends},
	{"filters: the severest result counts", severest},
	{"filters: children and programs have them too", inherited},
	{"filters: the promise to want no rights", needs_a_promise},
	{"filters: a chain that is too long", too_many},
	{"filters: for one thread, or for all", threads},
	{"the strict mode", strict},
	{"operations and arguments that are refused", operations},
	{"programs that are refused", unsound},
};

int main(int argc, char **argv)
{
	/* Whoever ends by a signal leaves no file. */
	setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
	if (cases_listed(argc, argv, cases, NR_CASES(cases)))
		return 0;
	cases_run(argc, argv, cases, NR_CASES(cases), case_in_child);
	return 0;
}
