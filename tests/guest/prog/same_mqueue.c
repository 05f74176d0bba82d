/* SPDX-License-Identifier: MIT */
/*
 * same_mqueue.c - POSIX message queues. Each case is a process of its own, with names that no other program has.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <mqueue.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>

#include "case.h"

static char queue_name[64], other_name[64];
static char text[16384];

static void tell(const char *what, long ret)
{
	printf("%-44s %s\n", what, ret == -1 ? strerrorname_np(errno) : "ok");
	fflush(stdout);
}

#define TELL(call) tell(#call, (long)(call))

static mqd_t make(long messages, long bytes, int flags)
{
	struct mq_attr attr = {.mq_maxmsg = messages, .mq_msgsize = bytes};
	mqd_t q = mq_open(queue_name, O_CREAT | O_RDWR | flags, 0600, &attr);

	if (q < 0)
		tell("a queue", -1);
	return q;
}

static void attributes(const char *what, mqd_t q)
{
	struct mq_attr a;

	if (mq_getattr(q, &a))
		tell(what, -1);
	else
		printf("%s: flags %lx, %ld of %ld messages of %ld\n", what, a.mq_flags, a.mq_curmsgs,
		       a.mq_maxmsg, a.mq_msgsize);
}

static void get(mqd_t q)
{
	unsigned int priority = 77;
	ssize_t n = mq_receive(q, text, sizeof(text), &priority);

	if (n < 0)
		printf("%s\n", strerrorname_np(errno));
	else
		printf("%.*s, %u\n", (int)n, text, priority);
	fflush(stdout);
}

static void order(void)
{
	mqd_t q = make(4, 100, 0);

	attributes("new", q);
	mq_send(q, "a1", 2, 1);
	mq_send(q, "b5", 2, 5);
	mq_send(q, "c1", 2, 1);
	mq_send(q, "d0", 2, 0);
	attributes("full", q);
	for (int i = 0; i < 4; i++)
		get(q);
	attributes("empty", q);
	TELL(mq_send(q, "", 0, 0));
	get(q);
}

static void names(void)
{
	char longer[NAME_MAX + 3];
	mqd_t q;

	TELL(mq_open(queue_name, O_RDWR));
	TELL(mq_unlink(queue_name));
	q = make(2, 10, 0);
	TELL(mq_open(queue_name, O_CREAT | O_EXCL | O_RDWR, 0600, NULL));
	TELL(mq_open(queue_name, O_CREAT | O_RDWR, 0600, NULL));
	TELL(mq_send(q, "x", 1, 0));
	TELL(mq_unlink(queue_name));
	TELL(mq_open(queue_name, O_RDWR));
	get(q);
	TELL(mq_open("noslash", O_RDWR | O_CREAT, 0600, NULL));
	TELL(mq_open("/", O_RDWR | O_CREAT, 0600, NULL));
	TELL(mq_open("/a/b", O_RDWR | O_CREAT, 0600, NULL));
	TELL(mq_open("/.", O_RDWR | O_CREAT, 0600, NULL));
	TELL(syscall(SYS_mq_open, NULL, O_RDWR, 0, NULL));
	TELL(syscall(SYS_mq_open, "", O_RDWR | O_CREAT, 0600, NULL));
	TELL(syscall(SYS_mq_unlink, NULL));
	memset(longer, 'x', sizeof(longer));
	longer[0] = '/';
	longer[NAME_MAX + 2] = '\0';
	TELL(mq_open(longer, O_RDWR | O_CREAT, 0600, NULL));
	TELL(mq_unlink(longer));
}

static void try_attributes(long messages, long bytes)
{
	struct mq_attr attr = {.mq_maxmsg = messages, .mq_msgsize = bytes};

	printf("%ld of %ld: ", messages, bytes);
	tell("", mq_open(other_name, O_CREAT | O_RDWR | O_EXCL, 0600, &attr));
	mq_unlink(other_name);
}

static void limits(void)
{
	mqd_t q;

	try_attributes(0, 10);
	try_attributes(-1, 10);
	try_attributes(10, 0);
	try_attributes(10, -5);
	try_attributes(10, 8192);
	try_attributes(LONG_MAX, 10);
	try_attributes(10, LONG_MAX);
	try_attributes(65537, 1);
	q = mq_open(other_name, O_CREAT | O_RDWR, 0600, NULL);
	attributes("by default", q);
	mq_unlink(other_name);
	TELL(syscall(SYS_mq_open, other_name + 1, O_CREAT | O_RDWR, 0600, 1l));
	TELL(syscall(SYS_mq_open, other_name + 1, O_CREAT | O_RDWR, 0600, -8l));
}

static void modes(void)
{
	mqd_t q = make(2, 10, 0), reads = mq_open(queue_name, O_RDONLY),
	      writes = mq_open(queue_name, O_WRONLY);
	struct stat st;
	char c[10];

	TELL(mq_open(queue_name, O_RDWR | O_WRONLY));
	TELL(mq_send(reads, "x", 1, 0));
	TELL(mq_send(writes, "x", 1, 0));
	TELL(mq_receive(writes, c, 10, NULL));
	TELL(mq_receive(reads, c, 10, NULL));
	TELL(mq_send(-1, "x", 1, 0));
	TELL(mq_send(1, "x", 1, 0));
	TELL(mq_getattr(1, &(struct mq_attr){0}));
	printf("closed by exec: %d\n", fcntl(q, F_GETFD));
	printf("regular %d, mode %o\n", !fstat(q, &st) && S_ISREG(st.st_mode), st.st_mode & 0777);
	printf("at %ld\n", (long)lseek(q, 0, SEEK_CUR));
	TELL(mq_close(q));
	TELL(mq_close(q));
	TELL(mq_getattr(q, &(struct mq_attr){0}));
}

static void arguments(void)
{
	struct timespec bad = {0, 1000000000}, minus = {-1, 0}, past = {1, 0};
	mqd_t q = make(1, 10, 0);
	char c[10];

	TELL(mq_send(q, "12345678901", 11, 0));
	TELL(mq_send(q, "x", 1, 32768));
	TELL(mq_send(q, "x", 1, 32767));
	TELL(syscall(SYS_mq_timedsend, q, 1l, 1, 0, &past));
	TELL(mq_timedsend(q, "x", 1, 0, &bad));
	TELL(mq_timedsend(q, "x", 1, 0, &minus));
	TELL(mq_timedsend(q, "x", 1, 0, &past));
	TELL(mq_receive(q, c, 9, NULL));
	TELL(mq_timedreceive(q, c, 10, NULL, &bad));
	TELL(mq_timedreceive(q, c, 10, NULL, &past));
	TELL(mq_timedreceive(q, c, 10, NULL, &past));
	TELL(syscall(SYS_mq_timedsend, q, "x", 1, 40000, 1l));
	TELL(syscall(SYS_mq_timedsend, -1, "x", 1, 40000, NULL));
	TELL(syscall(SYS_mq_timedsend, q, 1l, 1, 0, NULL));
	mq_send(q, "x", 1, 0);
	TELL(syscall(SYS_mq_timedreceive, q, 1l, 10, NULL, NULL));
	TELL(syscall(SYS_mq_timedreceive, -1, c, 0, NULL, &bad));
	attributes("what could not be stored", q);
}

static void no_waiting(void)
{
	mqd_t q = make(1, 10, O_NONBLOCK);
	struct mq_attr new = {.mq_flags = 0, .mq_maxmsg = 77}, old, bad = {.mq_flags = O_APPEND};
	struct timespec past = {1, 0};
	char c[10];

	attributes("new", q);
	TELL(mq_receive(q, c, 10, NULL));
	TELL(mq_send(q, "x", 1, 0));
	TELL(mq_send(q, "x", 1, 0));
	TELL(mq_setattr(q, &new, &old));
	printf("was %lx\n", old.mq_flags);
	attributes("set", q);
	TELL(mq_timedsend(q, "x", 1, 0, &past));
	TELL(mq_setattr(q, &bad, NULL));
	TELL(fcntl(q, F_SETFL, O_NONBLOCK));
	attributes("by fcntl", q);
	TELL(mq_setattr(1, &new, NULL));
	TELL(syscall(SYS_mq_getsetattr, q, 1l, NULL));
	TELL(syscall(SYS_mq_getsetattr, q, NULL, 1l));
	TELL(syscall(SYS_mq_getsetattr, q, NULL, NULL));
}

static void ready(const char *what, mqd_t q)
{
	struct pollfd p = {.fd = q, .events = POLLIN | POLLOUT};

	poll(&p, 1, 0);
	printf("%s: %x\n", what, (unsigned int)p.revents);
}

static void polled(void)
{
	mqd_t q = make(2, 10, 0);

	ready("empty", q);
	mq_send(q, "x", 1, 0);
	ready("one", q);
	mq_send(q, "x", 1, 0);
	ready("full", q);
}

/* --- notices --------------------------------------------------------------------------------- */

static void wait_for(int signo)
{
	struct timespec second = {0, 300000000};
	siginfo_t info;
	sigset_t set;
	int got;

	sigemptyset(&set);
	sigaddset(&set, signo);
	got = sigtimedwait(&set, &info, &second);
	if (got < 0)
		printf("no signal: %s\n", strerrorname_np(errno));
	else
		printf("signal %d code %d value %d, of %s\n", got, info.si_code, info.si_value.sival_int,
		       info.si_pid == getpid() ? "this process" : "another");
	fflush(stdout);
}

static void block(int signo)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, signo);
	sigprocmask(SIG_BLOCK, &set, NULL);
}

static void notices(void)
{
	struct sigevent event = {.sigev_notify = SIGEV_SIGNAL,
				 .sigev_signo = SIGUSR1,
				 .sigev_value.sival_int = 42},
			bad = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = 65}, odd = {.sigev_notify = 9},
			none = {.sigev_notify = SIGEV_NONE};
	mqd_t q = make(4, 10, 0);

	block(SIGUSR1);
	TELL(mq_notify(q, NULL));
	TELL(mq_notify(q, &bad));
	TELL(mq_notify(q, &odd));
	TELL(mq_notify(-1, &event));
	TELL(mq_notify(1, &event));
	TELL(syscall(SYS_mq_notify, q, 1l));
	TELL(mq_notify(q, &event));
	TELL(mq_notify(q, &event));
	mq_send(q, "x", 1, 0);
	wait_for(SIGUSR1);
	TELL(mq_notify(q, &event));
	mq_send(q, "y", 1, 0); /* it was not empty */
	wait_for(SIGUSR1);
	get(q);
	get(q);
	mq_send(q, "z", 1, 0);
	wait_for(SIGUSR1);
	get(q);
	TELL(mq_notify(q, &none));
	TELL(mq_notify(q, &event));
	mq_send(q, "z", 1, 0);
	TELL(mq_notify(q, &event));
	TELL(mq_notify(q, NULL));
	get(q);
	mq_send(q, "z", 1, 0);
	wait_for(SIGUSR1);
}

static void notice_of_child(void)
{
	struct sigevent event = {.sigev_notify = SIGEV_SIGNAL,
				 .sigev_signo = SIGUSR1,
				 .sigev_value.sival_int = 1};
	mqd_t q = make(4, 10, 0);
	int status;
	pid_t pid;

	block(SIGUSR1);
	TELL(mq_notify(q, &event));
	pid = fork();
	if (!pid) {
		TELL(mq_notify(q, &event));
		TELL(mq_notify(q, NULL));
		mq_close(q); /* the parent's stays */
		_exit(mq_send(mq_open(queue_name, O_WRONLY), "x", 1, 0));
	}
	waitpid(pid, &status, 0);
	printf("ended with %d\n", status);
	wait_for(SIGUSR1);
	get(q);
	pid = fork();
	if (!pid)
		_exit(mq_notify(q, &event));
	waitpid(pid, &status, 0);
	TELL(mq_notify(q, &event)); /* that process is gone */
	mq_close(mq_open(queue_name, O_RDONLY));
	TELL(mq_notify(q, &event)); /* and so is the notice of whoever closes */
}

/* --- waiting --------------------------------------------------------------------------------- */

static void between_processes(void)
{
	mqd_t there = make(2, 10, 0), back;
	struct mq_attr attr = {.mq_maxmsg = 2, .mq_msgsize = 10};
	int status, wrong = 0;
	pid_t pid;

	back = mq_open(other_name, O_CREAT | O_RDWR, 0600, &attr);
	pid = fork();
	if (!pid) {
		for (int i = 0; i < 200; i++) {
			ssize_t n = mq_receive(there, text, 10, NULL);
			mq_send(back, text, (size_t)n, 0);
		}
		_exit(0);
	}
	for (int i = 0; i < 200; i++) {
		char number[10];
		snprintf(number, sizeof(number), "%d", i);
		mq_send(there, number, strlen(number) + 1, 0);
		mq_receive(back, text, 10, NULL);
		wrong += strcmp(text, number) != 0;
	}
	waitpid(pid, &status, 0);
	printf("wrong %d, ended with %d\n", wrong, status);
	mq_unlink(other_name);
}

static void full_until_read(void)
{
	mqd_t q = make(1, 10, 0);
	int status;
	pid_t pid;

	mq_send(q, "0", 1, 0);
	pid = fork();
	if (!pid) {
		for (int i = 1; i < 50; i++) {
			char c = (char)('0' + i % 10);
			mq_send(q, &c, 1, 0);
		}
		_exit(0);
	}
	for (int i = 0; i < 50; i++) {
		mq_receive(q, text, 10, NULL);
		putchar(text[0]);
	}
	waitpid(pid, &status, 0);
	printf("\nended with %d\n", status);
}

static void on_alarm(int signo)
{
	(void)signo;
}

static void interrupted(void)
{
	struct itimerval soon = {{0, 20000}, {0, 20000}};
	struct sigaction sa = {.sa_handler = on_alarm};
	struct timespec later;
	mqd_t q = make(1, 10, 0);
	char c[10];

	sigaction(SIGALRM, &sa, NULL);
	setitimer(ITIMER_REAL, &soon, NULL);
	TELL(mq_receive(q, c, 10, NULL));
	mq_send(q, "x", 1, 0);
	TELL(mq_send(q, "x", 1, 0));
	sa.sa_flags = SA_RESTART;
	sigaction(SIGALRM, &sa, NULL);
	clock_gettime(CLOCK_REALTIME, &later);
	later.tv_sec++;
	TELL(mq_timedsend(q, "x", 1, 0, &later));
}

static void rights(void)
{
	mqd_t q;
	int status;
	pid_t pid;

	mq_close(mq_open(queue_name, O_CREAT | O_RDWR, 0640, NULL));
	umask(0);
	q = mq_open(other_name, O_CREAT | O_RDWR, 0604, NULL);
	fflush(stdout);
	pid = fork();
	if (!pid) {
		if (setgid(1234) || setuid(1234))
			puts("cannot change");
		TELL(mq_open(queue_name, O_RDWR));
		TELL(mq_open(queue_name, O_RDONLY));
		TELL(mq_open(other_name, O_RDONLY));
		TELL(mq_open(other_name, O_WRONLY));
		TELL(mq_send(q, "x", 1, 0)); /* it is open */
		TELL(syscall(SYS_mq_unlink, queue_name + 1));
		fflush(stdout);
		_exit(0);
	}
	waitpid(pid, &status, 0);
	mq_unlink(other_name);
}

static const struct guest_case cases[] = {
	{"messages come by priority, then in order", order},
	{"names: made, gone, refused", names},
	{"sizes that are refused", limits},
	{"descriptors: what they are open for", modes},
	{"arguments that are refused", arguments},
	{"O_NONBLOCK and attributes", no_waiting},
	{"poll", polled},
	{"a notice of the first message", notices},
	{"notices: of one process", notice_of_child},
	{"waiting between processes", between_processes},
	{"waiting for room", full_until_read},
	{"interrupted waits", interrupted},
	{"rights of others", rights},
};

static void around(void (*run)(void))
{
	case_in_child(run);
	mq_unlink(queue_name);
}

int main(int argc, char **argv)
{
	if (cases_listed(argc, argv, cases, NR_CASES(cases)))
		return 0;
	snprintf(queue_name, sizeof(queue_name), "/lodge-same-%d", getpid());
	snprintf(other_name, sizeof(other_name), "/lodge-other-%d", getpid());
	cases_run(argc, argv, cases, NR_CASES(cases), around);
	return 0;
}
