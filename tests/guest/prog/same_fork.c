/* SPDX-License-Identifier: MIT */
/*
 * same_fork.c - what a child has of its parent's memory, and what each sees of the other's writes.
 *
 * A child prints nothing: it answers with a byte over a pipe, or with its exit status, which the parent prints.
 */
#include "window.h"

#include <sys/wait.h>

/* Runs fn in a child. Returns its exit status, or 128 + the signal that ended it. */
static int in_child(int (*fn)(void))
{
	int status;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid < 0) {
		printf("fork: %s\n", errno_name(-1));
		return -1;
	}
	if (!pid)
		_exit(fn());
	if (waitpid(pid, &status, 0) != pid)
		printf("waitpid: %s\n", errno_name(-1));
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void default_signals(void)
{
	signal(SIGSEGV, SIG_DFL);
	signal(SIGBUS, SIG_DFL);
}

/* --- children, by what they do ---------------------------------------------------------------- */

static int answer_first(void)
{
	return AT(0)[0];
}

static int write_first(void)
{
	AT(0)[0] = 'c';
	return AT(0)[0];
}

static int write_all(void)
{
	for (long i = 0; i < 64; i++)
		AT(i)[1] = 'c';
	return AT(63)[1];
}

static int read_second(void)
{
	default_signals();
	return AT(1)[0];
}

static int unmap_all(void)
{
	munmap(AT(0), 64 * PAGE);
	return put(0, 1, RW) == AT(0) ? AT(0)[0] : 1;
}

static int protect_all(void)
{
	default_signals();
	mprotect(AT(0), 64 * PAGE, R);
	AT(0)[0] = 'c';
	return 0;
}

static int locked_in_child(void)
{
	char line[256];
	FILE *status = fopen("/proc/self/status", "r");
	long kb = 99;

	while (status && fgets(line, sizeof(line), status))
		if (!strncmp(line, "VmLck:", 6))
			kb = strtol(line + 6, NULL, 10);
	return (int)kb;
}

static int limit_in_child(void)
{
	struct rlimit limit;

	getrlimit(RLIMIT_DATA, &limit);
	return (int)(limit.rlim_cur >> 20);
}

static int grow_heap(void)
{
	char *p = sbrk(4 * PAGE);

	p[0] = 'h';
	return p[0];
}

static int grandchild(void)
{
	int status;
	pid_t pid;

	AT(0)[0] = '2';
	pid = fork();
	if (!pid) {
		AT(1)[0] = '3';
		_exit(AT(0)[0] == '2' && AT(2)[0] == 'c' ? 7 : 8);
	}
	waitpid(pid, &status, 0);
	return WEXITSTATUS(status) == 7 && AT(1)[0] == 'b' ? 9 : 10;
}

/* --- cases ------------------------------------------------------------------------------------ */

static void child_has_all(void)
{
	put(0, 1, RW);
	letters(0, 1);
	printf("child read %c\n", in_child(answer_first));
}

static void child_writes(void)
{
	put(0, 64, RW);
	letters(0, 64);
	printf("child %c, ", in_child(write_first));
	printf("parent %c\n", AT(0)[0]);
	printf("child %c, ", in_child(write_all));
	printf("parent %c\n", AT(63)[1]);
}

static void parent_writes(void)
{
	int ends[2], status;
	char go = 'g';
	pid_t pid;

	put(0, 1, RW);
	letters(0, 1);
	if (pipe(ends))
		return;
	fflush(stdout);
	pid = fork();
	if (!pid) {
		if (read(ends[0], &go, 1) != 1)
			_exit(1);
		_exit(AT(0)[0]);
	}
	AT(0)[0] = 'p';
	if (write(ends[1], &go, 1) != 1)
		printf("cannot tell the child\n");
	waitpid(pid, &status, 0);
	printf("child read %c, parent %c\n", WEXITSTATUS(status), AT(0)[0]);
	close(ends[0]);
	close(ends[1]);
}

static void shared_memory(void)
{
	put_shared(0, 64, RW);
	letters(0, 64);
	in_child(write_first);
	printf("parent %c\n", AT(0)[0]);
	in_child(write_all);
	printf("parent %c\n", AT(63)[1]);
}

static void shared_untouched(void)
{
	put_shared(0, 64, RW);
	in_child(write_first);
	printf("parent %c\n", AT(0)[0]);
}

static void shared_file(void)
{
	int fd = letter_file("forked", 2, 0);

	put_file(0, 1, RW, MAP_SHARED, fd, 0);
	put_file(1, 1, RW, MAP_PRIVATE, fd, 1);
	in_child(write_first);
	printf("parent %c, file %c\n", AT(0)[0], byte_of_file(fd, 0));
	close(fd);
}

static void dont_fork(void)
{
	put(0, 2, RW);
	letters(0, 2);
	madvise(AT(1), PAGE, MADV_DONTFORK);
	printf("ended with %d\n", in_child(read_second));
	madvise(AT(1), PAGE, MADV_DOFORK);
	printf("ended with %d\n", in_child(read_second));
}

static void wipe_on_fork(void)
{
	put(0, 2, RW);
	letters(0, 2);
	madvise(AT(1), PAGE, MADV_WIPEONFORK);
	printf("child %d, ", in_child(read_second));
	printf("parent %c\n", AT(1)[0]);
}

static void child_unmaps(void)
{
	put(0, 64, RW);
	letters(0, 64);
	printf("fresh in the child: %d\n", in_child(unmap_all));
	show_letters("parent", 0, 4);
}

static void child_protects(void)
{
	put(0, 64, RW);
	letters(0, 64);
	printf("ended with %d\n", in_child(protect_all));
	printf("parent: %s\n", poke(AT(0)));
}

static void locks_are_not_inherited(void)
{
	put(0, 4, RW);
	mlock(AT(0), 4 * PAGE);
	printf("child %d kB\n", in_child(locked_in_child));
	munlock(AT(0), 4 * PAGE);
}

static void limits_are_inherited(void)
{
	struct rlimit old = limit_set(RLIMIT_DATA, 200 << 20);

	printf("child %d MiB\n", in_child(limit_in_child));
	limit_restore(RLIMIT_DATA, old);
}

static void heaps_part(void)
{
	char *before = sbrk(0);

	printf("child %c\n", in_child(grow_heap));
	printf("parent's break stays: %d\n", (char *)sbrk(0) == before);
}

static void three_generations(void)
{
	put(0, 3, RW);
	letters(0, 3);
	printf("ended with %d\n", in_child(grandchild));
	show_letters("parent", 0, 3);
}

static void many_children(void)
{
	int sum = 0;

	put(0, 64, RW);
	letters(0, 64);
	for (int i = 0; i < 20; i++) {
		AT(i)[2] = 'p';
		sum += in_child(write_all);
	}
	printf("sum %d\n", sum);
	show_letters("parent", 0, 4);
	printf("%c %c\n", AT(3)[1], AT(3)[2]);
}

static void child_of_a_huge_page(void)
{
	put(0, 1024, RW);
	madvise(AT(0), 1024 * PAGE, MADV_HUGEPAGE);
	for (long i = 0; i < 1024; i++)
		AT(i)[0] = AT(i)[1] = 'a';
	printf("child %c, ", in_child(write_all));
	printf("parent %c\n", AT(63)[1]);
	AT(600)[0] = 'p';
	printf("child %c\n", in_child(answer_first));
}

static void guard_gap_in_child(void)
{
	put(0, 2, RW);
	letters(0, 2);
	madvise(AT(1), PAGE, 102);
	printf("ended with %d\n", in_child(read_second));
}

static const struct guest_case cases[] = {
	{"a child has what its parent had [J2]", child_has_all},
	{"the parent does not see what a child writes [K23]", child_writes},
	{"a child does not see what the parent writes [K23]", parent_writes},
	{"shared anonymous memory is one [J8][H8]", shared_memory},
	{"shared memory first touched in the child [J8][H8]", shared_untouched},
	{"shared file mappings are one [J8][J12]", shared_file},
	{"MADV_DONTFORK: a child has nothing there", dont_fork},
	{"MADV_WIPEONFORK: a child has zeros there", wipe_on_fork},
	{"a child unmaps and maps anew", child_unmaps},
	{"a child's protections are its own [H7]", child_protects},
	{"locks are not inherited [H11]", locks_are_not_inherited},
	{"limits are inherited", limits_are_inherited},
	{"heaps part [Q2]", heaps_part},
	{"three generations [K23]", three_generations},
	{"twenty children, one after the other [K23]", many_children},
	{"a child of huge pages [B19]", child_of_a_huge_page},
	{"guard pages are inherited [J12]", guard_gap_in_child},
};

CASES_MAIN(cases)
