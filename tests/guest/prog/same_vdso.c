/* SPDX-License-Identifier: MIT */
/*
 * same_vdso.c - what every program is given without asking: the vDSO, its data, the vsyscall page.
 *
 * How many pages they have differs between kernels; a case runs in a child, since some take them away.
 */
#include "case.h"

#include <elf.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PAGE	  4096ul
#define NSEC	  1000000000ll
#define ELSEWHERE 0x20000000ul

#define TELL(call)                                                                       \
	do {                                                                             \
		errno = 0;                                                               \
		long ret_ = (long)(call);                                                \
		printf("%s: %s %s\n", #call, ret_ == -1 ? "-1" : "ok", strerror(errno)); \
	} while (0)

/* --- faults -------------------------------------------------------------------------------- */

static sigjmp_buf jump;
static siginfo_t seen;

static void handler(int signo, siginfo_t *info, void *context)
{
	(void)signo;
	(void)context;
	seen = *info;
	siglongjmp(jump, 1);
}

static void catch_faults(void)
{
	static char stack[65536];
	const stack_t ss = {.ss_sp = stack, .ss_size = sizeof(stack)};
	struct sigaction sa = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK};

	sigaltstack(&ss, NULL);
	sigaction(SIGSEGV, &sa, NULL);
	sigaction(SIGBUS, &sa, NULL);
}

static void touch(const char *what, char *at, bool write)
{
	printf("%s %s: ", write ? "write to" : "read of", what);
	if (!sigsetjmp(jump, 1)) {
		char byte = *(volatile char *)at;
		if (write)
			*(volatile char *)at = byte;
		puts("ok");
	} else {
		printf("signal %d code %d%s\n", seen.si_signo, seen.si_code,
		       seen.si_addr == at ? " there" : "");
	}
}

/* --- where they are --------------------------------------------------------------------------- */

struct area {
	char *start;
	size_t bytes;
	char flags[128];
};

static bool find_area(const char *name, struct area *a)
{
	FILE *f = fopen("/proc/self/smaps", "r");
	unsigned long start, end;
	char line[512];
	bool found = false;

	memset(a, 0, sizeof(*a));
	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%lx-%lx ", &start, &end) == 2 && strchr(line, '-')) {
			if (found)
				break;
			found = strstr(line, name);
			a->start = (char *)start;
			a->bytes = end - start;
		} else if (found && !strncmp(line, "VmFlags: ", 9)) {
			snprintf(a->flags, sizeof(a->flags), "%.120s", line + 9);
		}
	}
	if (f)
		fclose(f);
	return found;
}

static struct area vdso, vvar;

static void find_areas(void)
{
	if (!find_area("[vdso]", &vdso) || !find_area("[vvar]", &vvar))
		puts("not there");
}

static void areas(void)
{
	struct area gate, stack;

	find_areas();
	printf("vdso %s", vdso.flags);
	printf("vvar %s", vvar.flags);
	printf("gate %d ", find_area("[vsyscall]", &gate));
	printf("%p+%zu %s", (void *)gate.start, gate.bytes, gate.flags);
	find_area("[stack]", &stack);
	printf("data below code %d, both below the stack %d, told by the auxiliary vector %d\n",
	       vvar.start < vdso.start, vdso.start < stack.start,
	       vdso.start == (char *)getauxval(AT_SYSINFO_EHDR));
}

/* --- symbols ---------------------------------------------------------------------------------- */

struct image {
	const char *base, *strings;
	const Elf64_Sym *symbols;
	const uint32_t *hash;
	const uint16_t *versions;
	const Elf64_Verdef *definitions;
};

static void read_dynamic(struct image *m, const Elf64_Dyn *d)
{
	for (; d->d_tag != DT_NULL; d++) {
		const char *at = m->base + d->d_un.d_ptr;
		switch (d->d_tag) {
		case DT_STRTAB:
			m->strings = at;
			break;
		case DT_SYMTAB:
			m->symbols = (const void *)at;
			break;
		case DT_HASH:
			m->hash = (const void *)at;
			break;
		case DT_VERSYM:
			m->versions = (const void *)at;
			break;
		case DT_VERDEF:
			m->definitions = (const void *)at;
			break;
		default:
			break;
		}
	}
}

static void open_image(struct image *m)
{
	const Elf64_Ehdr *e = (const void *)getauxval(AT_SYSINFO_EHDR);
	const Elf64_Phdr *p = (const void *)((const char *)e + e->e_phoff);

	memset(m, 0, sizeof(*m));
	m->base = (const char *)e;
	for (int i = 0; i < e->e_phnum; i++)
		if (p[i].p_type == PT_DYNAMIC)
			read_dynamic(m, (const void *)(m->base + p[i].p_offset));
}

static const char *version_of(const struct image *m, uint16_t index)
{
	const Elf64_Verdef *d = m->definitions;

	for (; (d->vd_ndx & 0x7fff) != (index & 0x7fff); d = (const void *)((const char *)d + d->vd_next))
		if (!d->vd_next)
			return "none";
	return m->strings + ((const Elf64_Verdaux *)(const void *)((const char *)d + d->vd_aux))->vda_name;
}

static const void *symbol(const char *name, const char **version)
{
	struct image m;

	open_image(&m);
	for (uint32_t i = 1; m.symbols && i < m.hash[1]; i++)
		if (!strcmp(m.strings + m.symbols[i].st_name, name)) {
			*version = version_of(&m, m.versions[i]);
			return m.base + m.symbols[i].st_value;
		}
	return NULL;
}

static void image(void)
{
	static const char *const names[] = {"__vdso_clock_gettime",
					    "__vdso_gettimeofday",
					    "__vdso_time",
					    "__vdso_getcpu",
					    "__vdso_clock_getres",
					    "clock_gettime",
					    "gettimeofday",
					    "time",
					    "getcpu",
					    "clock_getres"};
	const Elf64_Ehdr *e = (const void *)getauxval(AT_SYSINFO_EHDR);
	const char *version = "";

	printf("magic %d class %d type %d machine %d\n", memcmp(e->e_ident, ELFMAG, SELFMAG),
	       e->e_ident[EI_CLASS], e->e_type, e->e_machine);
	for (size_t i = 0; i < NR_CASES(names); i++) {
		bool found = symbol(names[i], &version);
		printf("%s: %d %s\n", names[i], found, version);
	}
}

/* --- clocks ----------------------------------------------------------------------------------- */

static int (*vdso_clock_gettime)(int, struct timespec *);
static int (*vdso_clock_getres)(int, struct timespec *);
static int (*vdso_gettimeofday)(struct timeval *, struct timezone *);
static time_t (*vdso_time)(time_t *);
static long (*vdso_getcpu)(unsigned int *, unsigned int *, void *);

static void find_functions(void)
{
	const char *version;

	*(const void **)&vdso_clock_gettime = symbol("__vdso_clock_gettime", &version);
	*(const void **)&vdso_clock_getres = symbol("__vdso_clock_getres", &version);
	*(const void **)&vdso_gettimeofday = symbol("__vdso_gettimeofday", &version);
	*(const void **)&vdso_time = symbol("__vdso_time", &version);
	*(const void **)&vdso_getcpu = symbol("__vdso_getcpu", &version);
}

static int64_t ns_of(const struct timespec *ts)
{
	return ts->tv_sec * NSEC + ts->tv_nsec;
}

static int64_t by_vdso(int clock)
{
	struct timespec ts = {0, -1};

	return vdso_clock_gettime(clock, &ts) || ts.tv_nsec < 0 || ts.tv_nsec >= NSEC ? -1 : ns_of(&ts);
}

static int64_t by_syscall(int clock)
{
	struct timespec ts;

	return syscall(SYS_clock_gettime, clock, &ts) ? -1 : ns_of(&ts);
}

static const int clocks[] = {
	CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_MONOTONIC_RAW, CLOCK_REALTIME_COARSE, CLOCK_MONOTONIC_COARSE,
	CLOCK_BOOTTIME, CLOCK_TAI};

/* One by the other: whichever comes later tells the later time, or the same. */
static void clocks_agree(void)
{
	find_functions();
	for (size_t i = 0; i < NR_CASES(clocks); i++) {
		unsigned int back = 0;
		for (int n = 0; n < 400; n++) {
			int64_t a = by_vdso(clocks[i]), b = by_syscall(clocks[i]), c = by_vdso(clocks[i]);
			back += a < 0 || b < a || c < b;
		}
		printf("clock %d: %u times back\n", clocks[i], back);
	}
}

#define ROUNDS 3000

static struct shared {
	int clock;
	_Atomic int64_t latest;
	_Atomic unsigned int back;
} shared;

/* Every reading is later than what the other thread has told before it, whichever way either reads. */
static void *reader(void *arg)
{
	struct shared *s = arg;

	for (unsigned int n = 0; n < ROUNDS; n++) {
		int64_t before = atomic_load(&s->latest);
		int64_t now = n % 8 ? by_vdso(s->clock) : by_syscall(s->clock);
		if (now < before)
			atomic_fetch_add(&s->back, 1);
		while (before < now && !atomic_compare_exchange_weak(&s->latest, &before, now))
			;
	}
	return NULL;
}

static void clocks_agree_on_two_threads(void)
{
	static const int steady[] = {CLOCK_MONOTONIC, CLOCK_MONOTONIC_RAW, CLOCK_MONOTONIC_COARSE,
				     CLOCK_BOOTTIME};

	find_functions();
	for (size_t i = 0; i < NR_CASES(steady); i++) {
		pthread_t other;
		memset(&shared, 0, sizeof(shared));
		shared.clock = steady[i];
		if (pthread_create(&other, NULL, reader, &shared))
			return;
		reader(&shared);
		pthread_join(other, NULL);
		printf("clock %d: %u times back\n", steady[i], atomic_load(&shared.back));
	}
}

static void other_functions(void)
{
	struct timespec a, b;
	struct timezone tz = {1, 1};
	struct timeval tv;
	unsigned int cpu = ~0u, node = ~0u;
	time_t t;

	find_functions();
	for (size_t i = 0; i < NR_CASES(clocks); i++) {
		int ret = vdso_clock_getres(clocks[i], &a);
		printf("resolution of %d: %d %d\n", clocks[i], ret,
		       !syscall(SYS_clock_getres, clocks[i], &b) && ns_of(&a) == ns_of(&b));
	}
	printf("no clocks: %d %d %d %d\n", vdso_clock_gettime(10, &a), vdso_clock_gettime(99, &a),
	       vdso_clock_getres(12, &a), vdso_clock_getres(CLOCK_MONOTONIC, NULL));
	printf("processor time: %d %d\n", vdso_clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &a),
	       vdso_clock_gettime(CLOCK_THREAD_CPUTIME_ID, &a));
	int64_t before = by_vdso(CLOCK_REALTIME);
	time_t now = vdso_time(&t);
	int ret = vdso_gettimeofday(&tv, &tz);
	int64_t us = tv.tv_sec * 1000000ll + tv.tv_usec;
	printf("gettimeofday: %d zone %d %d in order %d\n", ret, tz.tz_minuteswest, tz.tz_dsttime,
	       us >= before / 1000 && us <= by_vdso(CLOCK_REALTIME) / 1000);
	printf("time: stored %d near %d\n", t == now, tv.tv_sec - now >= 0 && tv.tv_sec - now <= 5);
	printf("gettimeofday of nothing: %d\n", vdso_gettimeofday(NULL, NULL));
	for (int i = 0; i < 3; i++)
		ret = (int)vdso_getcpu(&cpu, &node, NULL);
	printf("getcpu: %d among the processors %d, of nothing %ld\n", ret,
	       cpu < (unsigned int)sysconf(_SC_NPROCESSORS_CONF) && node < 64, vdso_getcpu(NULL, NULL, NULL));
}

/* --- rights ----------------------------------------------------------------------------------- */

static void rights(void)
{
	find_areas();
	catch_faults();
	touch("code", vdso.start, false);
	touch("code", vdso.start, true);
	touch("data", vvar.start, false);
	touch("data", vvar.start, true);
	TELL(mprotect(vvar.start, vvar.bytes, PROT_READ | PROT_WRITE));
	TELL(mprotect(vvar.start, vvar.bytes, PROT_READ | PROT_EXEC));
	TELL(mprotect(vvar.start, PAGE, PROT_NONE));
	TELL(mprotect(vvar.start, vvar.bytes, PROT_NONE));
	touch("closed data", vvar.start, false);
	TELL(mprotect(vvar.start, vvar.bytes, PROT_READ));
	touch("data", vvar.start, false);
	TELL(mprotect(vdso.start, vdso.bytes, PROT_READ | PROT_WRITE | PROT_EXEC));
	touch("code", vdso.start, true);
	TELL(mprotect(vdso.start, vdso.bytes, PROT_NONE));
	touch("closed code", vdso.start, false);
	TELL(mprotect(vdso.start, vdso.bytes, PROT_READ | PROT_EXEC));
	touch("code", vdso.start, false);
	find_functions();
	printf("the copy works: %d\n", by_vdso(CLOCK_MONOTONIC) > 0);
}

static void advice(void)
{
	char buffer[8];
	struct iovec to = {buffer, sizeof(buffer)}, from = {NULL, sizeof(buffer)};
	int fd[2];

	find_areas();
	catch_faults();
	TELL(madvise(vvar.start, vvar.bytes, MADV_DONTNEED));
	TELL(madvise(vdso.start, vdso.bytes, MADV_DONTNEED));
	touch("code that went", vdso.start, false);
	TELL(madvise(vdso.start, vdso.bytes, MADV_DONTDUMP));
	TELL(madvise(vdso.start, vdso.bytes, MADV_DODUMP));
	TELL(madvise(vvar.start, vvar.bytes, MADV_DODUMP));
	TELL(madvise(vdso.start, vdso.bytes, MADV_FREE));
	TELL(madvise(vdso.start, vdso.bytes, MADV_COLD));
	TELL(madvise(vvar.start, vvar.bytes, MADV_COLD));
	TELL(mlock(vvar.start, vvar.bytes));
	TELL(mlock(vdso.start, vdso.bytes));
	TELL(msync(vdso.start, vdso.bytes, MS_SYNC));
	if (pipe(fd))
		return;
	TELL(write(fd[1], vvar.start, sizeof(buffer)));
	TELL(write(fd[1], vdso.start, sizeof(buffer)));
	from.iov_base = vvar.start;
	TELL(process_vm_readv(getpid(), &to, 1, &from, 1, 0));
	from.iov_base = vdso.start;
	TELL(process_vm_readv(getpid(), &to, 1, &from, 1, 0));
}

/* A child has both; what it writes to its code its parent does not see. */
static void forks(void)
{
	int status;

	find_areas();
	find_functions();
	TELL(mprotect(vdso.start, vdso.bytes, PROT_READ | PROT_WRITE | PROT_EXEC));
	pid_t pid = fork();
	if (!pid) {
		bool works = by_vdso(CLOCK_MONOTONIC) > 0;
		vdso.start[1] = 'X';
		_exit(works && by_vdso(CLOCK_MONOTONIC) > 0 ? vdso.start[1] : 0);
	}
	waitpid(pid, &status, 0);
	printf("child %c parent %c\n", WEXITSTATUS(status), vdso.start[1]);
	vdso.start[1] = 'Y';
	printf("parent %c, works %d\n", vdso.start[1], by_vdso(CLOCK_MONOTONIC) > 0);
}

static void moves(void)
{
	find_areas();
	catch_faults();
	TELL(munmap(vvar.start, PAGE));
	TELL(munmap(vvar.start + vvar.bytes - PAGE, PAGE));
	TELL(mremap(vvar.start, vvar.bytes, vvar.bytes + PAGE, MREMAP_MAYMOVE));
	TELL(mremap(vvar.start, vvar.bytes, vvar.bytes + PAGE, 0));
	TELL(mremap(vvar.start, vvar.bytes, PAGE, 0));
	TELL(mremap(vvar.start, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, (void *)ELSEWHERE));
	TELL(mremap(vvar.start, 0, PAGE, MREMAP_MAYMOVE));
	/* Code reads its data at a distance: both have to move alike, and what lies between them on newer kernels. */
	size_t distance = (size_t)(vdso.start - vvar.start);
	char *data =
		mremap(vvar.start, vvar.bytes, vvar.bytes, MREMAP_MAYMOVE | MREMAP_FIXED, (void *)ELSEWHERE);
	char *code = mremap(vdso.start, vdso.bytes, vdso.bytes, MREMAP_MAYMOVE | MREMAP_FIXED,
			    (void *)(ELSEWHERE + distance));
	printf("moved %d %d\n", data == (char *)ELSEWHERE, code == (char *)ELSEWHERE + distance);
	touch("moved data", data, false);
	touch("moved code", code, false);
	find_functions();
	vdso_clock_gettime = (void *)((char *)*(void **)&vdso_clock_gettime + (code - vdso.start));
	printf("works there: %d\n", by_vdso(CLOCK_MONOTONIC) > 0);
	TELL(munmap(data, vvar.bytes));
	TELL(munmap(code, vdso.bytes));
	touch("code that is gone", code, false);
}

/* What is stored first is what is missed first. */
static void bad_address(char *at)
{
	find_functions();
	if (!sigsetjmp(jump, 1))
		printf("%d\n", vdso_clock_gettime(CLOCK_REALTIME, (void *)at));
	else
		printf("signal %d code %d at %p\n", seen.si_signo, seen.si_code, seen.si_addr);
}

static void bad_addresses(void)
{
	find_areas();
	catch_faults();
	bad_address((char *)8);
	bad_address((char *)ELSEWHERE);
}

/* --- the vsyscall page ---------------------------------------------------------------------------- */

#define VSYSCALL 0xffffffffff600000ul

static void call(unsigned long slot, void *a, void *b)
{
	printf("call of %#lx(%p, %p): ", slot, a, b);
	if (!sigsetjmp(jump, 1)) {
		long ret = ((long (*)(void *, void *, void *))(VSYSCALL + slot))(a, b, NULL);
		printf("%s\n", ret > 0 ? "a number" : ret ? strerror((int)-ret) : "0");
	} else {
		printf("signal %d code %d at %p\n", seen.si_signo, seen.si_code, seen.si_addr);
	}
}

static void vsyscalls(void)
{
	struct timeval tv = {0, -1};
	unsigned int cpu = ~0u, node = ~0u;
	time_t t = 0;

	catch_faults();
	if (!sigsetjmp(jump, 1)) {
		long ret = ((long (*)(void *, void *))VSYSCALL)(&tv, NULL);
		long now = ((long (*)(void *))(VSYSCALL + 0x400))(&t);
		long other = ((long (*)(void *, void *, void *))(VSYSCALL + 0x800))(&cpu, &node, NULL);
		printf("%ld %d %d, %ld %d\n", ret, now == t, tv.tv_sec - now >= 0 && tv.tv_sec - now <= 5,
		       other, cpu < (unsigned int)sysconf(_SC_NPROCESSORS_CONF));
	}
	call(0, NULL, NULL);
	call(0x400, NULL, NULL);
	call(0x800, NULL, NULL);
}

static void vsyscalls_that_are_wrong(void)
{
	static void *const bad[] = {(void *)8, (void *)-4096l, (void *)(1ul << 62)};

	catch_faults();
	for (size_t i = 0; i < NR_CASES(bad); i++) {
		call(0, bad[i], NULL);
		call(0, NULL, bad[i]);
		call(0x400, bad[i], NULL);
		call(0x800, bad[i], NULL);
		call(0x800, NULL, bad[i]);
	}
	call(0xc00, NULL, NULL);
	call(1, NULL, NULL);
	call(0x1000, NULL, NULL);
	touch("the page", (char *)VSYSCALL, false);
	touch("the page", (char *)VSYSCALL, true);
	if (!sigsetjmp(jump, 1))
		__asm__ volatile("mov $8, %%rsp; jmp *%0" ::"r"(VSYSCALL) : "memory");
	printf("on no stack: signal %d code %d\n", seen.si_signo, seen.si_code);
	TELL(mprotect((void *)VSYSCALL, PAGE, PROT_READ));
	TELL(munmap((void *)VSYSCALL, PAGE));
	TELL(msync((void *)VSYSCALL, PAGE, MS_SYNC));
}

/* --- all of it -------------------------------------------------------------------------------------- */

int main(int argc, char **argv)
{
	static const struct guest_case cases[] = {
		{"the areas have Linux's flags and order [F14][F15][F16][R1][R2]", areas},
		{"the image has Linux's symbols and versions [F15][R12]", image},
		{"clocks read by the vDSO and by calls never go back [F15][F16]", clocks_agree},
		{"nor on two threads [F15][F16]", clocks_agree_on_two_threads},
		{"resolutions, days, seconds and processors [F15]", other_functions},
		{"data is read-only, code may be copied [F15][F16]", rights},
		{"advice and locks, and calls that read them [F15][F16]", advice},
		{"a child's copy of the code is its own [F15]", forks},
		{"they move and go as wholes [F15][F16]", moves},
		{"what cannot be stored is missed at its first word [F15]", bad_addresses},
		{"the vsyscall page answers its three calls [F14]", vsyscalls},
		{"and nothing else [F14][F9]", vsyscalls_that_are_wrong},
	};

	if (cases_listed(argc, argv, cases, NR_CASES(cases)))
		return 0;
	cases_run(argc, argv, cases, NR_CASES(cases), case_in_child);
	return 0;
}
