/* SPDX-License-Identifier: MIT */
/*
 * same_sigio.c - files that tell their owner by a signal: O_ASYNC, leases, changes of a directory.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>

#include "case.h"

#define LONG_S 20 /* what comes at all comes before */

static int told; /* the number that a signal tells is this descriptor's */

static int said(long ret)
{
	return ret < 0 ? -errno : (int)ret;
}

static sigset_t block(int a, int b)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, a);
	sigaddset(&set, b);
	sigprocmask(SIG_BLOCK, &set, NULL);
	return set;
}

/* The next signal of the set; `soon`: there should be none. */
static void wait_for(const sigset_t *set, bool soon)
{
	const struct timespec most = {.tv_sec = soon ? 0 : LONG_S, .tv_nsec = soon ? 30000000 : 0};
	siginfo_t info = {0};
	int signo = sigtimedwait(set, &info, &most);

	if (signo < 0)
		printf("no signal\n");
	else if (info.si_code == SI_KERNEL)
		printf("signal %d from the kernel\n", signo);
	else
		printf("signal %d code %d band %lx its %d\n", signo, info.si_code, info.si_band,
		       info.si_fd == told);
}

static int make(const char *name)
{
	int fd = open(name, O_RDWR | O_CREAT | O_TRUNC, 0600);

	if (fd < 0)
		printf("%s: %d\n", name, errno);
	return fd;
}

static void a_pipe(void)
{
	sigset_t set = block(SIGIO, SIGRTMIN + 1);
	char byte;
	int p[2];

	pipe(p);
	told = p[0];
	printf("signal %d, owner %d\n", fcntl(p[0], F_GETSIG), fcntl(p[0], F_GETOWN));
	printf("set %d", said(fcntl(p[0], F_SETFL, O_ASYNC)));
	printf(", flags %x\n", fcntl(p[0], F_GETFL));
	write(p[1], "x", 1);
	wait_for(&set, true);
	read(p[0], &byte, 1);
	printf("owner %d", said(fcntl(p[0], F_SETOWN, getpid())));
	printf(" %d\n", fcntl(p[0], F_GETOWN) == getpid());
	write(p[1], "x", 1);
	wait_for(&set, false);
	read(p[0], &byte, 1);
	printf("its own %d", said(fcntl(p[0], F_SETSIG, SIGRTMIN + 1)));
	printf(" %d\n", fcntl(p[0], F_GETSIG) == SIGRTMIN + 1);
	write(p[1], "x", 1);
	wait_for(&set, false);
	read(p[0], &byte, 1);
	close(p[1]);
	wait_for(&set, false);
	printf("no more %d", said(fcntl(p[0], F_SETFL, 0)));
	printf(", flags %x\n", fcntl(p[0], F_GETFL));
}

static void room_in_a_pipe(void)
{
	sigset_t set = block(SIGIO, SIGRTMIN + 1);
	char page[4096] = "";
	int p[2];

	pipe2(p, O_NONBLOCK);
	told = p[1];
	fcntl(p[1], F_SETSIG, SIGRTMIN + 1);
	fcntl(p[1], F_SETOWN, getpid());
	while (write(p[1], page, sizeof(page)) > 0)
		;
	fcntl(p[1], F_SETFL, O_NONBLOCK | O_ASYNC);
	wait_for(&set, true);
	read(p[0], page, sizeof(page));
	wait_for(&set, false);
}

static void sockets(void)
{
	sigset_t set = block(SIGIO, SIGRTMIN);
	int s[2], on = 1, off = 0;
	char byte;

	socketpair(AF_UNIX, SOCK_STREAM, 0, s);
	told = s[0];
	printf("by ioctl %d", said(ioctl(s[0], FIOASYNC, &on)));
	printf(", flags %x\n", fcntl(s[0], F_GETFL));
	fcntl(s[0], F_SETOWN, getpid());
	fcntl(s[0], F_SETSIG, SIGRTMIN);
	write(s[1], "x", 1);
	wait_for(&set, false);
	read(s[0], &byte, 1);
	printf("off %d", said(ioctl(s[0], FIOASYNC, &off)));
	printf(", flags %x\n", fcntl(s[0], F_GETFL));
	write(s[1], "x", 1);
	wait_for(&set, true);
}

static void not_for_files(void)
{
	int fd = make("plain");

	printf("set %d", said(fcntl(fd, F_SETFL, O_ASYNC | O_NONBLOCK)));
	printf(", flags %x\n", fcntl(fd, F_GETFL) & (O_ASYNC | O_NONBLOCK));
	printf("signals %d %d %d %d\n", said(fcntl(fd, F_SETSIG, 65)), said(fcntl(fd, F_SETSIG, -1)),
	       said(fcntl(fd, F_SETSIG, 64)), said(fcntl(fd, F_GETSIG)));
	printf("none again %d", said(fcntl(fd, F_SETSIG, 0)));
	printf(" %d\n", said(fcntl(fd, F_GETSIG)));
}

static void groups(void)
{
	sigset_t set = block(SIGIO, SIGRTMIN + 1);
	struct f_owner_ex ex;
	int p[2], ready[2];
	pid_t child;
	char byte;

	setpgid(0, 0);
	pipe(p);
	pipe(ready);
	fflush(stdout);
	told = p[0];
	fcntl(p[0], F_SETSIG, SIGRTMIN + 1);
	fcntl(p[0], F_SETFL, O_ASYNC);
	child = fork();
	if (!child) {
		read(ready[0], &byte, 1);
		printf("child: ");
		wait_for(&set, false);
		fflush(stdout);
		_exit(0);
	}
	printf("group %d", said(fcntl(p[0], F_SETOWN, -getpgrp())));
	ex.type = 77;
	printf(" %d", said(fcntl(p[0], F_GETOWN_EX, &ex)));
	printf(" %d %d\n", ex.type, ex.pid == getpgrp());
	write(p[1], "x", 1);
	wait_for(&set, false);
	fflush(stdout);
	write(ready[1], "x", 1);
	waitpid(child, NULL, 0);
	ex = (struct f_owner_ex){F_OWNER_PID, 0};
	printf("nobody %d", said(fcntl(p[0], F_SETOWN_EX, &ex)));
	printf(" %d\n", fcntl(p[0], F_GETOWN));
	write(p[1], "x", 1);
	wait_for(&set, true);
}

static void *other_thread(void *arg)
{
	int *tid = arg;
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGRTMIN + 1);
	__atomic_store_n(tid, (int)syscall(SYS_gettid), __ATOMIC_SEQ_CST);
	printf("the thread: ");
	wait_for(&set, false);
	return NULL;
}

static void threads(void)
{
	sigset_t set = block(SIGIO, SIGRTMIN + 1);
	struct f_owner_ex ex = {.type = F_OWNER_TID};
	int p[2], tid = 0;
	pthread_t other;

	pipe(p);
	told = p[0];
	pthread_create(&other, NULL, other_thread, &tid);
	while (!__atomic_load_n(&tid, __ATOMIC_SEQ_CST))
		usleep(1000);
	ex.pid = tid;
	fcntl(p[0], F_SETOWN_EX, &ex);
	fcntl(p[0], F_SETSIG, SIGRTMIN + 1);
	fcntl(p[0], F_SETFL, O_ASYNC);
	write(p[1], "x", 1);
	pthread_join(other, NULL);
	printf("not here: ");
	wait_for(&set, true);
}

static void directories(void)
{
	sigset_t set = block(SIGIO, SIGRTMIN + 1);
	int dir, fd;

	mkdir("watched", 0700);
	dir = open("watched", O_RDONLY | O_DIRECTORY);
	told = dir;
	printf("signal %d", said(fcntl(dir, F_SETSIG, SIGRTMIN + 1)));
	printf(", notify %d", said(fcntl(dir, F_NOTIFY, DN_CREATE | DN_DELETE | DN_RENAME | DN_MULTISHOT)));
	printf(", owner %d\n", fcntl(dir, F_GETOWN) == getpid());
	fd = make("watched/a");
	wait_for(&set, false);
	write(fd, "x", 1);
	wait_for(&set, true);
	rename("watched/a", "watched/b");
	wait_for(&set, false);
	printf("also %d\n", said(fcntl(dir, F_NOTIFY, DN_MODIFY | DN_ATTRIB | DN_ACCESS)));
	fchmod(fd, 0644);
	wait_for(&set, false);
	unlink("watched/b");
	wait_for(&set, false);
	while (sigtimedwait(&set, NULL, &(struct timespec){.tv_nsec = 30000000}) > 0)
		;
	printf("no more %d\n", said(fcntl(dir, F_NOTIFY, 0)));
	close(make("watched/c"));
	wait_for(&set, true);
	printf("once %d\n", said(fcntl(dir, F_NOTIFY, DN_CREATE)));
	close(make("watched/d"));
	wait_for(&set, false);
	close(make("watched/e"));
	wait_for(&set, true);
	printf("no directory %d, nothing %d, closed %d\n", said(fcntl(fd, F_NOTIFY, DN_CREATE)),
	       said(fcntl(fd, F_NOTIFY, 0)), said(fcntl(199, F_NOTIFY, DN_CREATE)));
	printf("unknown bits %d\n", said(fcntl(dir, F_NOTIFY, 0x100)));
	fcntl(dir, F_NOTIFY, 0);
	fcntl(dir, F_SETSIG, 0);
	fcntl(dir, F_NOTIFY, DN_DELETE);
	unlink("watched/c");
	wait_for(&set, false);
}

static void leases(void)
{
	int rw = make("leased"), ro = open("leased", O_RDONLY), p[2];

	pipe(p);
	printf("open for writing: read lease %d\n", said(fcntl(ro, F_SETLEASE, F_RDLCK)));
	printf("open twice: write lease %d\n", said(fcntl(rw, F_SETLEASE, F_WRLCK)));
	close(ro);
	printf("none %d, write lease %d", said(fcntl(rw, F_GETLEASE)), said(fcntl(rw, F_SETLEASE, F_WRLCK)));
	printf(" %d", said(fcntl(rw, F_GETLEASE)));
	printf(", owner %d", fcntl(rw, F_GETOWN) == getpid());
	printf(", another %d", said(fcntl(rw, F_SETLEASE, F_RDLCK)));
	printf(", given back %d", said(fcntl(rw, F_SETLEASE, F_UNLCK)));
	printf(", twice %d", said(fcntl(rw, F_SETLEASE, F_UNLCK)));
	printf(" %d\n", said(fcntl(rw, F_GETLEASE)));
	printf("of what type %d %d\n", said(fcntl(rw, F_SETLEASE, 3)), said(fcntl(rw, F_SETLEASE, -1)));
	printf("a pipe %d, a directory %d\n", said(fcntl(p[0], F_SETLEASE, F_RDLCK)),
	       said(fcntl(open(".", O_RDONLY), F_SETLEASE, F_WRLCK)));
	close(rw);
	ro = open("leased", O_RDONLY);
	printf("read lease %d", said(fcntl(ro, F_SETLEASE, F_RDLCK)));
	printf(" %d, reading does not matter %d\n", said(fcntl(ro, F_GETLEASE)),
	       said(open("leased", O_RDONLY)) >= 0);
}

/* A child opens the file that is leased, and waits until the lease is given back. */
static void lease_broken(void)
{
	sigset_t set = block(SIGIO, SIGRTMIN + 1);
	int fd, status = 0;
	pid_t child;

	close(make("broken"));
	fd = open("broken", O_RDONLY);
	told = fd;
	fcntl(fd, F_SETSIG, SIGRTMIN + 1);
	printf("write lease %d\n", said(fcntl(fd, F_SETLEASE, F_WRLCK)));
	fflush(stdout);
	child = fork();
	if (!child) {
		int again = open("broken", O_RDONLY | O_NONBLOCK);
		printf("at once %d\n", said(again));
		fflush(stdout);
		_exit(said(open("broken", O_RDONLY)) >= 0 ? 3 : errno);
	}
	wait_for(&set, false);
	printf("it is to be %d", said(fcntl(fd, F_GETLEASE)));
	printf(", lowered %d\n", said(fcntl(fd, F_SETLEASE, F_RDLCK)));
	waitpid(child, &status, 0);
	printf("opened %x\n", status);
}

static void lease_broken_to_write(void)
{
	sigset_t set = block(SIGIO, SIGRTMIN + 1);
	int fd, status = 0;
	pid_t child;

	close(make("written"));
	fd = open("written", O_RDONLY);
	told = fd;
	printf("read lease %d\n", said(fcntl(fd, F_SETLEASE, F_RDLCK)));
	fflush(stdout);
	child = fork();
	if (!child)
		_exit(said(truncate("written", 100)) ? errno : 3);
	wait_for(&set, false);
	printf("it is to be %d", said(fcntl(fd, F_GETLEASE)));
	printf(", given back %d\n", said(fcntl(fd, F_SETLEASE, F_UNLCK)));
	waitpid(child, &status, 0);
	printf("truncated %x\n", status);
}

static const struct guest_case cases[] = {
	{"sigio: a pipe that can be read tells its owner, by SIGIO or a signal of its own [J2]", a_pipe},
	{"sigio: room in a pipe is told [J2]", room_in_a_pipe},
	{"sigio: sockets tell too, switched on and off by FIOASYNC [J2]", sockets},
	{"sigio: a plain file has nothing to tell; signals that there are [J2]", not_for_files},
	{"sigio: a group hears of it, and nobody [J2]", groups},
	{"sigio: one thread hears of it [J2]", threads},
	{"dnotify: what happens in a directory is told, once or always [J2]", directories},
	{"lease: who may have one, and gives it back [J2]", leases},
	{"lease: an open waits until a lease is lowered [J2]", lease_broken},
	{"lease: a truncation waits until a lease is given back [J2]", lease_broken_to_write},
};

int main(int argc, char **argv)
{
	if (cases_listed(argc, argv, cases, NR_CASES(cases)))
		return 0;
	cases_run(argc, argv, cases, NR_CASES(cases), case_in_child);
	return 0;
}
