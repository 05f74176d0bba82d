/* SPDX-License-Identifier: MIT */
/*
 * same_limits.c - limits of address space, data, areas, and what may be promised.
 */
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/wait.h>

#include "window.h"

/* What this program holds of a limit, from a line of /proc/self/status. */
static long status_kb(const char *name)
{
	char line[256];
	FILE *status = fopen("/proc/self/status", "r");
	long kb = -1;

	while (status && fgets(line, sizeof(line), status))
		if (!strncmp(line, name, strlen(name)))
			kb = strtol(line + strlen(name) + 1, NULL, 10);
	if (status)
		fclose(status);
	return kb;
}

/* Everything that is mapped, from the listing; the page of the kernel's is none of it. */
static rlim_t mapped_bytes(void)
{
	char line[512];
	FILE *maps = fopen("/proc/self/maps", "r");
	unsigned long from, to, sum = 0;

	while (maps && fgets(line, sizeof(line), maps))
		if (sscanf(line, "%lx-%lx", &from, &to) == 2 && !(from >> 63))
			sum += to - from;
	if (maps)
		fclose(maps);
	return sum;
}

static void address_space(void)
{
	struct rlimit old = limit_set(RLIMIT_AS, mapped_bytes() + 64 * PAGE);

	WHERE(put(0, 100, RW));
	WHERE(put(0, 60, RW));
	WHERE(put(100, 10, PROT_NONE));
	WHERE(mremap(AT(0), 60 * PAGE, 80 * PAGE, 0));
	TELL(munmap(AT(0), 30 * PAGE));
	WHERE(put(100, 10, PROT_NONE));
	WHERE(mmap(AT(30), 30 * PAGE, RW, PRIVATE | MAP_FIXED, -1, 0));
	limit_restore(RLIMIT_AS, old);
	WHERE(put(200, 1000, RW));
}

static void address_space_and_break(void)
{
	char *now = (char *)syscall(SYS_brk, 0);
	struct rlimit old = limit_set(RLIMIT_AS, mapped_bytes() + 16 * PAGE);

	printf("too far: %d\n", (char *)syscall(SYS_brk, now + 64 * PAGE) == now);
	printf("not too far: %d\n", (char *)syscall(SYS_brk, now + 8 * PAGE) == now + 8 * PAGE);
	syscall(SYS_brk, now);
	limit_restore(RLIMIT_AS, old);
}

static void address_space_and_growing_stack(void)
{
	struct rlimit old;

	mmap(AT(1000), PAGE, RW, PRIVATE | MAP_FIXED | MAP_GROWSDOWN, -1, 0);
	old = limit_set(RLIMIT_AS, mapped_bytes() + 16 * PAGE);
	printf("within: %s\n", poke(AT(990)));
	printf("beyond: %s\n", poke(AT(900)));
	limit_restore(RLIMIT_AS, old);
}

static void data(void)
{
	struct rlimit old = limit_set(RLIMIT_DATA, 16 << 20);

	WHERE(put(0, 16384, RW));
	WHERE(put(0, 16384, R));
	TELL(mprotect(AT(0), 16384 * PAGE, RW));
	show_maps("as it was");
	WHERE(put_shared(20000, 16384, RW));
	WHERE(mmap(AT(50000), 16384 * PAGE, RW, PRIVATE | MAP_FIXED | MAP_NORESERVE, -1, 0));
	limit_restore(RLIMIT_DATA, old);
	TELL(mprotect(AT(0), 16384 * PAGE, RW));
}

static void limit_arguments(void)
{
	struct rlimit limit, bad = {20, 10};

	TELL(syscall(SYS_getrlimit, 16, &limit));
	TELL(syscall(SYS_getrlimit, -1, &limit));
	TELL(syscall(SYS_setrlimit, RLIMIT_AS, &bad));
	TELL(syscall(SYS_prlimit64, 0, RLIMIT_STACK, NULL, &limit));
	printf("stack %lu\n", (unsigned long)limit.rlim_cur);
	TELL(syscall(SYS_prlimit64, getpid(), RLIMIT_STACK, &limit, NULL));
	TELL(syscall(SYS_prlimit64, 0, RLIMIT_STACK, &bad, NULL));
	TELL(syscall(SYS_prlimit64, 0, 99, NULL, &limit));
	TELL(syscall(SYS_prlimit64, 0x7fffffff, RLIMIT_STACK, NULL, &limit));
}

/* Maps single pages with a gap between until it is refused. */
static long map_singly(long most)
{
	long i;

	for (i = 0; i < most; i++)
		if (put(2 * i, 1, i & 1 ? R : RW) == MAP_FAILED)
			return i;
	return i;
}

static long areas_now(void)
{
	static char text[1 << 16];
	int fd = open("/proc/self/maps", O_RDONLY);
	long lines = 0;
	ssize_t n;

	while ((n = read(fd, text, sizeof(text))) > 0)
		for (ssize_t i = 0; i < n; i++)
			lines += text[i] == '\n';
	close(fd);
	return lines;
}

static void map_count(void)
{
	long before = areas_now(), mapped = map_singly(70000);

	printf("refused with %s\n", errno_name(-1));
	printf("areas in all within 3 of 65530: %d\n", mapped + before >= 65527 && mapped + before <= 65534);
	TELL(mprotect(AT(0), PAGE, R));
	WHERE(put(-100, 1, RW));
	TELL(munmap(AT(0), PAGE));
	WHERE(put(-100, 1, RW));
}

static void map_count_splits(void)
{
	long before;

	put(-16, 8, RW);
	before = map_singly(70000);
	printf("many: %d\n", before > 60000);
	TELL(mprotect(AT(-14), PAGE, R));
	TELL(munmap(AT(-14), PAGE));
	TELL(madvise(AT(-14), PAGE, MADV_DONTDUMP) && errno != ENOMEM && errno != EAGAIN ? -1 : 0);
	TELL(munmap(AT(-16), 8 * PAGE));
	TELL(munmap(AT(0), 200 * PAGE));
	put(-16, 8, RW);
	TELL(mprotect(AT(-14), PAGE, R));
	show_letters("pages", -16, 8);
}

static void promises(void)
{
	WHERE(mmap(AT(0), 1ul << 44, RW, PRIVATE | MAP_FIXED, -1, 0));
	WHERE(mmap(AT(0), 1ul << 44, RW, PRIVATE | MAP_FIXED | MAP_NORESERVE, -1, 0));
	munmap(AT(0), 1ul << 44);
	WHERE(mmap(AT(0), 1ul << 44, R, PRIVATE | MAP_FIXED, -1, 0));
	TELL(mprotect(AT(0), 1ul << 44, RW));
	munmap(AT(0), 1ul << 44);
	WHERE(mmap(AT(0), 1ul << 44, PROT_NONE, PRIVATE | MAP_FIXED, -1, 0));
	munmap(AT(0), 1ul << 44);
	WHERE(mmap(AT(0), 1ul << 44, RW, SHARED | MAP_FIXED, -1, 0));
}

static void sizes_in_status(void)
{
	long size = status_kb("VmSize"), now;

	put(0, 1000, RW);
	now = status_kb("VmSize");
	printf("VmSize grew by %ld\n", now - size);
	munmap(AT(100), 300 * PAGE);
	printf("and by %ld\n", status_kb("VmSize") - size);
	put(2000, 50, PROT_NONE);
	printf("and by %ld\n", status_kb("VmSize") - size);
}

static void data_in_status(void)
{
	long was = status_kb("VmData");

	put(0, 100, RW);
	printf("writable private: %ld\n", status_kb("VmData") - was);
	put(200, 100, R);
	put_shared(400, 100, RW);
	printf("others do not count: %ld\n", status_kb("VmData") - was);
	mprotect(AT(200), 100 * PAGE, RW);
	printf("made writable: %ld\n", status_kb("VmData") - was);
}

static void memlock_at_start(void)
{
	struct rlimit limit;

	TELL(getrlimit(RLIMIT_MEMLOCK, &limit));
	printf("soft %lx hard %lx\n", limit.rlim_cur, limit.rlim_max);
}

/* Numbers that are given out; those that are open above the limit stay. */
static void open_files(void)
{
	struct rlimit limit, old;
	int pair[2], high = fcntl(1, F_DUPFD, 60), n = 0, last = -1, fd;
	struct pollfd none[64];

	getrlimit(RLIMIT_NOFILE, &old);
	limit = (struct rlimit){50, old.rlim_max};
	TELL(setrlimit(RLIMIT_NOFILE, &limit));
	while ((fd = open("/dev/null", O_RDONLY)) >= 0) {
		last = fd;
		n++;
	}
	printf("%d opened at least, the last %d: %s\n", n > 40, last, strerrorname_np(errno));
	TELL(dup(1));
	TELL(dup2(1, 49));
	TELL(dup2(1, 50));
	TELL(fcntl(1, F_DUPFD, 49));
	TELL(fcntl(1, F_DUPFD, 50));
	TELL(eventfd(0, 0));
	TELL(memfd_create("x", 0));
	close(40);
	TELL(pipe(pair));
	printf("the next is %d\n", dup(1));
	for (int i = 0; i < 64; i++)
		none[i].fd = -1;
	TELL(poll(none, 50, 0));
	TELL(poll(none, 51, 0));
	printf("high %d: %d\n", high, fcntl(high, F_GETFD));
	fflush(stdout);
	if (!fork()) {
		printf("a child has %s\n", dup(1) < 0 ? strerrorname_np(errno) : "none");
		fflush(stdout);
		_exit(0);
	}
	wait(NULL);
	for (int i = 3; i < 50; i++)
		close(i);
	setrlimit(RLIMIT_NOFILE, &old);
}

static void *end_at_once(void *arg)
{
	return arg;
}

/* As a user who has nothing else; root is not limited. */
static void processes_of_a_user(void)
{
	const struct rlimit limit = {3, 3};
	pthread_t thread;
	int held[2], n = 0;
	pid_t child;
	char byte;

	TELL(setrlimit(RLIMIT_NPROC, &limit));
	if (getuid()) /* who may have anything */
		return;
	for (int i = 0; i < 5; i++)
		if (!fork())
			_exit(0);
	while (wait(NULL) > 0)
		n++;
	printf("root has made %d\n", n);
	fflush(stdout);
	TELL(setuid(20000 + (uid_t)getpid() % 40000));
	TELL(pipe(held));
	for (n = 0; (child = fork()) > 0; n++)
		;
	if (!child) {
		close(held[1]);
		_exit(read(held[0], &byte, 1) == 0 ? 0 : 1);
	}
	printf("%d, then %s\n", n, strerrorname_np(errno));
	printf("thread %s\n", strerrorname_np(pthread_create(&thread, NULL, end_at_once, NULL)));
	fflush(stdout);
	close(held[1]);
	TELL(wait(NULL) > 0);
	printf("thread %d\n", pthread_create(&thread, NULL, end_at_once, NULL));
}

static void processes(void)
{
	case_in_child(processes_of_a_user);
}
/* Beyond what a set of the C library holds. In a child: the limit and the files go with it. */
static void many_files(void)
{
	struct rlimit limit = {2000, 2000};
	unsigned long set[2048 / 64] = {0};
	struct pollfd p = {.events = POLLIN};
	int pair[2], n = 0, last = -1, fd;

	fflush(stdout);
	if (fork()) {
		wait(NULL);
		return;
	}
	TELL(setrlimit(RLIMIT_NOFILE, &limit));
	pipe(pair);
	while ((fd = eventfd(0, 0)) >= 0) {
		last = fd;
		n++;
	}
	printf("%d opened at least, the last %d: %s\n", n > 1900, last, strerrorname_np(errno));
	TELL(dup2(pair[0], 1500));
	write(pair[1], "x", 1);
	p.fd = 1500;
	TELL(poll(&p, 1, 0));
	set[1500 / 64] = 1ul << 1500 % 64;
	set[1700 / 64] |= 1ul << 1700 % 64;
	TELL(select(2000, (fd_set *)set, NULL, NULL, &(struct timeval){0}));
	printf("%lx %lx\n", set[1500 / 64], set[1700 / 64]);
	TELL(close_range(100, ~0u, 0));
	TELL(fcntl(1500, F_GETFD));
	TELL(fcntl(1, F_DUPFD, 1999));
	TELL(fcntl(1, F_DUPFD, 2000));
	fflush(stdout);
	_exit(0);
}

static const struct guest_case cases[] = {
	{"RLIMIT_MEMLOCK at the start", memlock_at_start},
	{"RLIMIT_AS limits mmap and mremap, whatever the protection", address_space},
	{"RLIMIT_AS limits the break", address_space_and_break},
	{"RLIMIT_AS limits stacks that grow [F11]", address_space_and_growing_stack},
	{"RLIMIT_DATA limits what is private and writable", data},
	{"arguments of the limits' calls", limit_arguments},
	{"RLIMIT_NOFILE limits the numbers of files", open_files},
	{"more than 1024 files, with poll, select and close_range [J2]", many_files},
	{"RLIMIT_NPROC limits the tasks of who is not root", processes},
	{"65530 areas are the most", map_count},
	{"with so many areas nothing can be split", map_count_splits},
	{"memory that cannot be promised [K27]", promises},
	{"VmSize counts what is mapped [K27]", sizes_in_status},
	{"VmData counts what is private and writable", data_in_status},
};

CASES_MAIN(cases)
