/* SPDX-License-Identifier: MIT */
/*
 * same_who.c - who a task is, asked so often that whoever answers may have the answer at hand: and it is right at once when it changes.
 */
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "case.h"

#define OFTEN 200

static const long calls[] = {SYS_getpid,  SYS_gettid, SYS_getppid, SYS_getuid,
			     SYS_geteuid, SYS_getgid, SYS_getegid};

#define NR_CALLS (sizeof(calls) / sizeof(calls[0]))

struct who {
	long said[NR_CALLS];
};

/* Past the C library, many times; says so if the answers are not all the same. */
static struct who ask(void)
{
	struct who w, again;

	for (unsigned int n = 0; n < OFTEN; n++) {
		for (unsigned int i = 0; i < NR_CALLS; i++)
			again.said[i] = syscall(calls[i]);
		if (n && memcmp(&w, &again, sizeof(w)))
			puts("another answer");
		w = again;
	}
	return w;
}

static void forked(void)
{
	struct who parent = ask();

	for (int i = 0; i < 3; i++) {
		pid_t pid = i == 2 ? vfork() : fork();
		if (!pid) {
			struct who child = ask();
			printf("child: pid is tid %d, parent %d, other than it %d, users %d\n",
			       child.said[0] == child.said[1], child.said[2] == parent.said[0],
			       child.said[0] != parent.said[0], child.said[3] == parent.said[3]);
			fflush(stdout);
			_exit(child.said[0] == getpid() ? 0 : 1);
		}
		int status = -1;
		printf("reaped it %d, status %d\n", waitpid(pid, &status, 0) == pid, status);
		struct who again = ask();
		printf("unchanged %d\n", !memcmp(&parent, &again, sizeof(again)));
	}
}

static void *in_thread(void *arg)
{
	struct who *w = arg;

	*w = ask();
	return NULL;
}

static void threads(void)
{
	struct who own = ask(), w[8];
	pthread_t t[4];

	for (int round = 0; round < 2; round++) {
		for (int i = 0; i < 4; i++)
			pthread_create(&t[i], NULL, in_thread, &w[4 * round + i]);
		for (int i = 0; i < 4; i++)
			pthread_join(t[i], NULL);
	}
	for (int i = 0; i < 8; i++) {
		int others = 0;
		for (int j = i / 4 * 4; j < i / 4 * 4 + 4; j++)
			others += w[i].said[1] == w[j].said[1];
		printf("thread: pid %d, tid %d, like it %d, parent %d\n", w[i].said[0] == own.said[0],
		       w[i].said[1] != own.said[1], others, w[i].said[2] == own.said[2]);
	}
}

static void numbers(void)
{
	if (geteuid()) {
		puts("not root");
		return;
	}
	for (uint32_t id = 1; id < 5; id++) {
		printf("set %ld %ld", syscall(SYS_setresgid, id, id + 10, 0),
		       syscall(SYS_setresuid, id, id + 20, 0));
		struct who w = ask();
		printf(": %ld %ld %ld %ld, back %ld\n", w.said[3], w.said[4], w.said[5], w.said[6],
		       syscall(SYS_setresuid, 0, 0, 0));
	}
	printf("largest %ld:", syscall(SYS_setresuid, 0xfffffffe, 0xfffffffe, 0xfffffffe));
	struct who w = ask();
	printf(" %ld %ld\n", w.said[3], w.said[4]);
}

/* The middle one ends while its child goes on asking for its parent. */
static void orphaned(void)
{
	int fds[2], status;
	pid_t reaper = getpid(), pid;
	char answer = 0;

	prctl(PR_SET_CHILD_SUBREAPER, 1);
	if (pipe(fds))
		return;
	pid = fork();
	if (!pid) {
		pid_t middle = getpid();
		if (!fork()) {
			while (syscall(SYS_getppid) == middle)
				;
			answer = syscall(SYS_getppid) == reaper ? 'y' : 'n';
			if (write(fds[1], &answer, 1) != 1)
				_exit(1);
			_exit(0);
		}
		usleep(20000);
		_exit(0);
	}
	printf("middle %d\n", waitpid(pid, &status, 0) == pid);
	ssize_t n = read(fds[0], &answer, 1);
	printf("read %zd: %c\n", n, answer);
	printf("orphan %d\n", waitpid(-1, &status, 0) > 0);
}

static char *program;

/* What the new program prints is in main. */
static void *exec_main(void *arg)
{
	char number[16];

	ask();
	snprintf(number, sizeof(number), "%d", *(pid_t *)arg);
	execl(program, program, "--who", number, NULL);
	return NULL;
}

static void exec_by_thread(void)
{
	pid_t pid = getpid();
	pthread_t t;

	ask();
	pthread_create(&t, NULL, exec_main, &pid);
	pthread_join(t, NULL);
}

static const struct guest_case cases[] = {
	{"who: a child is somebody else, and its parent is not [J2]", forked},
	{"who: every thread has its own number [J2]", threads},
	{"who: user and group numbers as they were set last [J2]", numbers},
	{"who: an orphan has another parent from one moment to the next [J2]", orphaned},
	{"who: a thread that calls execve gets its process's number [J2]", exec_by_thread},
};

int main(int argc, char **argv)
{
	program = argv[0];
	if (argc == 3 && !strcmp(argv[1], "--who")) {
		struct who w = ask();
		printf("after exec: pid %d, tid %d\n", w.said[0] == atoi(argv[2]), w.said[1] == w.said[0]);
		return 0;
	}
	if (cases_listed(argc, argv, cases, NR_CASES(cases)))
		return 0;
	setvbuf(stdout, NULL, _IONBF, 0);
	cases_run(argc, argv, cases, NR_CASES(cases), case_in_child);
	return 0;
}
