/* SPDX-License-Identifier: MIT */
/*
 * same_sites.c - call sites that are used so much that they may be rewritten, and everything that could show it.
 *
 * The sites are in a page of their own that is mapped from a file beside the libraries. Each case makes them hot, does something to them
 * or to the space, and looks whether the page is as the file has it and the calls return what they should.
 */
#include "case.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <ucontext.h>

#ifndef MREMAP_FIXED
#define MREMAP_MAYMOVE 1
#define MREMAP_FIXED   2
#endif

#define PAGE	 4096ul
#define HOT	 400
#define FLAG_RF	 0x10000ul
#define FLAGS_OF 0xcd5ul /* CF PF AF ZF SF DF OF */

/*
 * getppid and lseek as the C library has them; then getppid with words below the stack pointer and any flags, which returns how many
 * things were not as SYSCALL leaves them.
 */
__asm__(".pushsection .text\n"
	".balign 4096\n"
	"sites:\n"
	"	mov $110, %eax\n"
	"	syscall\n"
	"	ret\n"
	"	.balign 64\n"
	"sites_lseek:\n"
	"	mov $8, %eax\n"
	"	syscall\n"
	"	ret\n"
	"	.balign 64\n"
	"sites_exact:\n" /* rdi: flags, rsi: what getppid says */
	"	push %rbx\n"
	"	mov %rdi, -8(%rsp)\n"
	"	mov %rsi, -16(%rsp)\n"
	"	mov %rdi, -128(%rsp)\n"
	"	mov %rsp, %rbx\n"
	"	push %rdi\n"
	"	popfq\n"
	"	mov %rdi, -8(%rsp)\n" /* where the flags were, and now are again */
	"	mov $110, %eax\n"
	"	syscall\n"
	"1:	mov %r11, %r8\n"
	"	mov %rsp, %r9\n"
	"	mov -8(%rsp), %r10\n"
	"	mov -128(%rsp), %rdx\n"
	"	mov -16(%rsp), %r11\n"
	"	lea -64(%rsp), %rsp\n"
	"	lea -64(%rsp), %rsp\n"
	"	pushfq\n"
	"	cld\n"
	"	pop %rdi\n"
	"	lea 128(%rsp), %rsp\n"
	"	xchg %r8, %rdi\n" /* rdi: r11 behind the call, r8: flags behind it */
	"	xor %r8, %rdi\n"
	"	and $~0x10000, %rdi\n"
	"	setnz %dil\n"
	"	movzbl %dil, %edi\n"
	"	cmp %r9, %rbx\n"
	"	setne %r9b\n"
	"	movzbl %r9b, %r9d\n"
	"	add %r9, %rdi\n"
	"	cmp %r10, %rdx\n"
	"	setne %r9b\n"
	"	add %r9, %rdi\n"
	"	cmp %r11, %rsi\n"
	"	setne %r9b\n"
	"	add %r9, %rdi\n"
	"	cmp %rax, %rsi\n"
	"	setne %r9b\n"
	"	add %r9, %rdi\n"
	"	lea 1b(%rip), %rax\n"
	"	cmp %rcx, %rax\n"
	"	setne %r9b\n"
	"	add %r9, %rdi\n"
	"	mov %rdi, %rax\n"
	"	mov %r8, %rdx\n" /* second word of the result */
	"	pop %rbx\n"
	"	ret\n"
	"	.balign 4096\n"
	"sites_end:\n"
	".popsection\n");
extern char sites[], sites_lseek[], sites_exact[], sites_end[];

static char *page; /* the mapping */
static int file;

struct two_words {
	uint64_t wrong, flags;
};

static long call_getppid(void)
{
	return ((long (*)(void))(uintptr_t)page)();
}

static long call_lseek(void)
{
	return ((long (*)(int, long, int))(uintptr_t)(page + (sites_lseek - sites)))(file, 0, SEEK_CUR);
}

static struct two_words call_exact(uint64_t flags)
{
	return ((struct two_words(*)(uint64_t, uint64_t))(
		uintptr_t)(page + (sites_exact - sites)))(flags, (uint64_t)getppid());
}

/* A call at the SYSCALL itself, with another number. */
static long call_behind_the_mov(long nr)
{
	long ret;

	__asm__ volatile("call *%[at]"
			 : "=a"(ret)
			 : "0"(nr), [at] "r"(page + 5)
			 : "rcx", "r11", "memory", "cc");
	return ret;
}

static bool map_sites(void)
{
	file = open("sites", O_RDWR | O_CREAT | O_TRUNC, 0600);
	if (file < 0 || write(file, sites, PAGE) != (ssize_t)PAGE ||
	    write(file, sites, PAGE) != (ssize_t)PAGE)
		return false;
	lseek(file, 11, SEEK_SET);
	page = mmap(NULL, 2 * PAGE, PROT_READ | PROT_EXEC, MAP_PRIVATE, file, 0);
	return page != MAP_FAILED;
}

/* Calls until whoever watches has seen enough, and counts wrong answers. */
static unsigned int make_hot(void)
{
	long parent = getppid();
	unsigned int wrong = 0;

	for (unsigned int i = 0; i < HOT; i++) {
		wrong += call_getppid() != parent;
		wrong += call_lseek() != 11;
	}
	return wrong;
}

static void tell(const char *what)
{
	printf("%s: text as written: %d, ", what, !memcmp(page, sites, PAGE));
	printf("wrong answers: %u\n", make_hot());
}

static void begin(void)
{
	if (!map_sites() || make_hot())
		printf("nothing to look at\n");
}

/* --- what a call leaves ------------------------------------------------------------------------------------------------------ */

static void exact(void)
{
	static const uint64_t flags[] = {0x202, 0x203, 0x206, 0x212, 0x242, 0x282, 0x602, 0xa02, 0xed7};
	uint64_t wrong = 0, other_flags = 0;

	begin();
	for (unsigned int i = 0; i < HOT * 9; i++) {
		struct two_words r = call_exact(flags[i % 9]);
		wrong += r.wrong;
		other_flags += (r.flags & FLAGS_OF) != (flags[i % 9] & FLAGS_OF);
	}
	printf("wrong: %lu, other flags: %lu\n", (unsigned long)wrong, (unsigned long)other_flags);
}

static void into_the_syscall(void)
{
	unsigned int wrong = 0;

	begin();
	for (unsigned int i = 0; i < HOT; i++) {
		wrong += call_behind_the_mov(SYS_getpid) != getpid();
		wrong += call_behind_the_mov(9999) != -ENOSYS;
	}
	printf("wrong: %u %u\n", wrong, make_hot());
}

/* --- signals ----------------------------------------------------------------------------------------------------------------- */

extern char __executable_start[], etext[];

static volatile sig_atomic_t nr_signals, nr_elsewhere;

static void see_signal(int signo, siginfo_t *info, void *context)
{
	const ucontext_t *uc = context;
	char *rip = (char *)uc->uc_mcontext.gregs[REG_RIP];

	(void)signo;
	(void)info;
	nr_signals++;
	if (!(rip >= page && rip < page + PAGE) && !(rip >= __executable_start && rip < etext))
		nr_elsewhere++;
}

static void signals(void)
{
	struct sigaction sa = {.sa_sigaction = see_signal, .sa_flags = SA_SIGINFO | SA_RESTART};
	const struct itimerval often = {{0, 500}, {0, 500}}, never = {{0, 0}, {0, 0}};
	unsigned int wrong = 0;
	long parent = getppid();

	begin();
	sigaction(SIGALRM, &sa, NULL);
	setitimer(ITIMER_REAL, &often, NULL);
	while (nr_signals < 100) {
		wrong += call_getppid() != parent;
		wrong += call_lseek() != 11;
	}
	setitimer(ITIMER_REAL, &never, NULL);
	printf("wrong: %u, elsewhere: %d\n", wrong, nr_elsewhere);
}

#define MAX_STEPS 64
static volatile long step_at[MAX_STEPS], step_rax[MAX_STEPS];
static volatile unsigned int nr_steps;

static void see_step(int signo, siginfo_t *info, void *context)
{
	const ucontext_t *uc = context;

	(void)signo;
	(void)info;
	if (nr_steps == MAX_STEPS)
		return;
	step_at[nr_steps] = uc->uc_mcontext.gregs[REG_RIP] - (long)page;
	step_rax[nr_steps++] = uc->uc_mcontext.gregs[REG_RAX];
}

static void single_steps(void)
{
	struct sigaction sa = {.sa_sigaction = see_step, .sa_flags = SA_SIGINFO};

	begin();
	sigaction(SIGTRAP, &sa, NULL);
	__asm__ volatile("pushfq\n orl $0x100, (%%rsp)\n popfq\n"
			 "call *%[at]\n"
			 "pushfq\n andl $~0x100, (%%rsp)\n popfq\n"
			 :
			 : [at] "r"(page)
			 : "rax", "rcx", "r11", "memory", "cc");
	for (unsigned int i = 0; i < nr_steps; i++)
		if (step_at[i] >= 0 && step_at[i] < (long)PAGE)
			printf("step at %ld, rax is the number: %d\n", step_at[i],
			       step_rax[i] == SYS_getppid);
	printf("elsewhere below: %d\n", nr_steps > 0 && step_at[0] < (long)PAGE);
}

/* --- other processes ----------------------------------------------------------------------------------------------------------- */

static void forks(void)
{
	begin();
	for (unsigned int i = 0; i < 5; i++) {
		int status = -1;
		pid_t pid = fork();
		if (!pid)
			_exit(memcmp(page, sites, PAGE) ? 1 : make_hot() ? 2 : 0);
		tell("the parent");
		waitpid(pid, &status, 0);
		printf("the child: %#x\n", status);
	}
}

static void vforks(void)
{
	begin();
	for (unsigned int i = 0; i < 5; i++) {
		int status = -1;
		pid_t pid = vfork();
		if (!pid)
			_exit(memcmp(page, sites, PAGE) ? 1 : make_hot() ? 2 : 0);
		waitpid(pid, &status, 0);
		printf("the child: %#x\n", status);
		tell("the parent");
	}
}

static void *in_thread(void *arg)
{
	(void)arg;
	printf("text as written: %d\n", !memcmp(page, sites, PAGE));
	return (void *)(uintptr_t)make_hot();
}

static void threads(void)
{
	begin();
	for (unsigned int i = 0; i < 5; i++) {
		void *wrong = NULL;
		unsigned int mine;
		pthread_t thread;
		if (pthread_create(&thread, NULL, in_thread, NULL))
			return;
		mine = make_hot();
		pthread_join(thread, &wrong);
		printf("wrong: %u %u\n", mine, (unsigned int)(uintptr_t)wrong);
		make_hot();
	}
}

/* A child calls, and its parent reads its text all the while. */
static void read_by_another(void)
{
	int ready[2], status = -1;
	unsigned int different = 0;
	char *copy = malloc(PAGE), byte;
	pid_t pid;

	if (!map_sites() || !copy || pipe(ready))
		return;
	pid = fork();
	if (!pid) {
		unsigned int wrong = make_hot();
		if (write(ready[1], "", 1) != 1)
			_exit(3);
		for (unsigned int i = 0; i < 8; i++)
			wrong += make_hot();
		_exit(wrong ? 2 : 0);
	}
	if (read(ready[0], &byte, 1) != 1)
		return;
	while (!waitpid(pid, &status, WNOHANG)) {
		struct iovec local = {copy, PAGE}, remote = {page, PAGE};
		if (process_vm_readv(pid, &local, 1, &remote, 1, 0) == (ssize_t)PAGE)
			different += memcmp(copy, sites, PAGE) != 0;
		usleep(1000);
	}
	printf("different: %u, the child: %#x\n", different, status);
	free(copy);
}

/* --- what is done to the text -------------------------------------------------------------------------------------------------- */

static void rights(void)
{
	begin();
	mprotect(page, PAGE, PROT_READ);
	printf("read: text as written: %d\n", !memcmp(page, sites, PAGE));
	mprotect(page, PAGE, PROT_READ | PROT_EXEC);
	tell("read, execute");
	mprotect(page, 2 * PAGE, PROT_READ | PROT_EXEC);
	tell("as it was");
	mprotect(page, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC);
	printf("write: text as written: %d\n", !memcmp(page, sites, PAGE));
	page[1] = SYS_getpid;
	printf("another call: %d\n", call_getppid() == getpid());
	for (unsigned int i = 0; i < HOT; i++)
		if (call_getppid() != getpid())
			printf("wrong\n");
	page[1] = SYS_getppid;
	mprotect(page, PAGE, PROT_READ | PROT_EXEC);
	tell("written back");
}

static void places(void)
{
	char *old, *elsewhere;

	begin();
	old = page;
	elsewhere = mmap(NULL, 4 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	page = mremap(page, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, elsewhere + PAGE);
	printf("moved: %d\n", page == elsewhere + PAGE);
	tell("moved");
	page = mmap(old, PAGE, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_FIXED, file, PAGE);
	tell("a new one in the old place");
	munmap(page, PAGE);
	page = mmap(old, PAGE, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_FIXED, file, 0);
	tell("unmapped and mapped");
	page = mmap(old, PAGE, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_FIXED, file, 0);
	tell("mapped over");
}

static void advice(void)
{
	begin();
	printf("%d\n", madvise(page, PAGE, MADV_DONTNEED));
	tell("MADV_DONTNEED");
	printf("%d\n", madvise(page, 2 * PAGE, MADV_COLD));
	tell("MADV_COLD");
	printf("%d\n", mlock(page, PAGE));
	tell("mlock");
	printf("%d\n", munlock(page, PAGE));
	tell("munlock");
	printf("%d\n", mlockall(MCL_CURRENT));
	tell("mlockall");
	printf("%d\n", munlockall());
	tell("munlockall");
}

static void memory_file(void)
{
	char *copy = malloc(PAGE);
	const char nr = SYS_getpid;
	int mem = open("/proc/self/mem", O_RDWR);

	begin();
	if (!copy || mem < 0)
		return;
	printf("%zd\n", pread(mem, copy, PAGE, (off_t)(uintptr_t)page));
	printf("text as written: %d\n", !memcmp(copy, sites, PAGE));
	tell("read");
	printf("%zd\n", pwrite(mem, &nr, 1, (off_t)(uintptr_t)page + 1));
	printf("another call: %d\n", call_getppid() == getpid());
	for (unsigned int i = 0; i < HOT; i++)
		if (call_getppid() != getpid() || call_lseek() != 11)
			printf("wrong\n");
	printf("and stays: %d\n", call_getppid() == getpid());
	free(copy);
}

/* Without the page that the C library takes the time from, nothing but the calls here is made. */
static void without_vdso(void)
{
	char *vdso = (char *)getauxval(AT_SYSINFO_EHDR);
	unsigned int wrong;

	begin();
	fflush(stdout);
	if (!vdso || munmap(vdso, PAGE))
		munmap(vdso, 2 * PAGE);
	wrong = make_hot() + make_hot();
	printf("text as written: %d, wrong: %u\n", !memcmp(page, sites, PAGE), wrong);
}

/* One after the other in the same place, all of them hot. */
static void many(void)
{
	begin();
	printf("begun\n");
	fflush(stdout);
	for (unsigned int i = 0; i < 30; i++) {
		page = mmap(i % 7 ? NULL : page, PAGE, PROT_READ | PROT_EXEC,
			    i % 7 ? MAP_PRIVATE : MAP_PRIVATE | MAP_FIXED, file, 0);
		if (make_hot())
			printf("wrong\n");
	}
	printf("done\n");
}

int main(int argc, char **argv)
{
	static const struct guest_case cases[] = {
		{"sites: a call leaves flags, rcx, r11 and what is below the stack pointer [A9][A10]", exact},
		{"sites: a jump to the SYSCALL itself makes any call [A10]", into_the_syscall},
		{"sites: no signal shows another place than the program's [A10]", signals},
		{"sites: single steps are the program's own [A10]", single_steps},
		{"sites: a child of fork finds the text as its file has it [E1]", forks},
		{"sites: a child of vfork finds the text as its file has it [E1]", vforks},
		{"sites: threads find the text as its file has it [E1]", threads},
		{"sites: another process reads the text as its file has it [A10]", read_by_another},
		{"sites: mprotect: text that is written to does what was written [J17]", rights},
		{"sites: mremap, munmap, mmap: text that moved, went, came [J17]", places},
		{"sites: madvise and mlock of text [J17]", advice},
		{"sites: /proc/self/mem: text is read and written as it is [J17]", memory_file},
		{"sites: the vDSO goes [J17]", without_vdso},
		{"sites: more of them than there is room for [A10]", many},
	};

	if (cases_listed(argc, argv, cases, NR_CASES(cases)))
		return 0;
	cases_run(argc, argv, cases, NR_CASES(cases), case_in_child);
	return 0;
}
