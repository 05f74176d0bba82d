/* SPDX-License-Identifier: MIT */
/*
 * same_signalfd.c - signals that are read from a descriptor.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "case.h"

static int said(long ret)
{
	return ret < 0 ? -errno : (int)ret;
}

static sigset_t set_of(int a, int b)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, a);
	sigaddset(&set, b);
	return set;
}

static sigset_t block(int a, int b)
{
	sigset_t set = set_of(a, b);

	sigprocmask(SIG_BLOCK, &set, NULL);
	return set;
}

static int readable(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	return poll(&p, 1, 0) == 1 ? p.revents : 0;
}

static void what_it_tells(void)
{
	sigset_t set = block(SIGUSR1, SIGRTMIN);
	int fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	struct signalfd_siginfo info[4];

	printf("flags %x %x\n", fcntl(fd, F_GETFD), fcntl(fd, F_GETFL) & O_NONBLOCK);
	printf("nothing %d, readable %x\n", said(read(fd, info, sizeof(info))), readable(fd));
	kill(getpid(), SIGUSR1);
	kill(getpid(), SIGUSR1);
	sigqueue(getpid(), SIGRTMIN, (union sigval){.sival_int = 5});
	sigqueue(getpid(), SIGRTMIN, (union sigval){.sival_int = 6});
	printf("readable %x\n", readable(fd));
	printf("short %d\n", said(read(fd, info, 127)));
	printf("read %d\n", said(read(fd, info, sizeof(info))) / (int)sizeof(info[0]));
	for (int i = 0; i < 3; i++)
		printf("signal %u code %d from itself %d value %d\n", info[i].ssi_signo, info[i].ssi_code,
		       info[i].ssi_pid == (uint32_t)getpid(), info[i].ssi_int);
	printf("readable %x, %d\n", readable(fd), said(read(fd, info, sizeof(info))));
	printf("write %d, lseek %d, pread %d\n", said(write(fd, info, 8)), said(lseek(fd, 0, SEEK_SET)),
	       said(pread(fd, info, sizeof(info), 0)));
}

static void in_pieces(void)
{
	sigset_t set = block(SIGUSR1, SIGUSR2);
	int fd = signalfd(-1, &set, SFD_NONBLOCK), copy = dup(fd);
	struct signalfd_siginfo info;
	struct iovec v[2] = {{&info, 60}, {(char *)&info + 60, sizeof(info) - 60}};

	kill(getpid(), SIGUSR2);
	kill(getpid(), SIGUSR1);
	printf("readv %d", said(readv(fd, v, 2)));
	printf(": %u\n", info.ssi_signo);
	printf("nowhere %d\n", said(syscall(SYS_read, fd, 8, sizeof(info))));
	printf("the copy: readable %x, read %d\n", readable(copy), said(read(copy, &info, sizeof(info))));
}

static void sets_change(void)
{
	sigset_t set = block(SIGUSR1, SIGUSR2), one;
	struct signalfd_siginfo info;
	int fd;

	one = set_of(SIGUSR1, SIGKILL);
	kill(getpid(), SIGUSR2);
	fd = signalfd(-1, &one, SFD_NONBLOCK);
	printf("not for it %x\n", readable(fd));
	printf("the same %d\n", signalfd(fd, &set, 0) == fd);
	printf("now %x\n", readable(fd));
	printf("read %d", said(read(fd, &info, sizeof(info))));
	printf(": %u\n", info.ssi_signo);
	printf("bad flags %d\n", said(signalfd(-1, &set, 1)));
	printf("not one %d\n", said(signalfd(0, &set, 0)));
	printf("closed %d\n", said(signalfd(99, &set, 0)));
	printf("size %d\n", said(syscall(SYS_signalfd4, -1, &set, 7, 0)));
	printf("nowhere %d\n", said(syscall(SYS_signalfd4, -1, 8, 8, 0)));
}

static void *kill_later(void *arg)
{
	usleep(30000);
	kill(getpid(), *(int *)arg);
	return NULL;
}

static void waits(void)
{
	sigset_t set = block(SIGUSR1, SIGUSR2);
	int fd = signalfd(-1, &set, 0), ep = epoll_create1(0), signo = SIGUSR1;
	struct epoll_event e = {.events = EPOLLIN, .data.u32 = 7};
	struct signalfd_siginfo info;
	pthread_t t;

	pthread_create(&t, NULL, kill_later, &signo);
	printf("read %d", said(read(fd, &info, sizeof(info))));
	printf(": %u\n", info.ssi_signo);
	pthread_join(t, NULL);
	epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e);
	printf("not ready %d\n", said(epoll_wait(ep, &e, 1, 0)));
	signo = SIGUSR2;
	pthread_create(&t, NULL, kill_later, &signo);
	printf("ready %d", said(epoll_wait(ep, &e, 1, -1)));
	printf(" %x of %u\n", e.events, e.data.u32);
	pthread_join(t, NULL);
	printf("read %d\n", said(read(fd, &info, sizeof(info))));
	printf("not ready %d\n", said(epoll_wait(ep, &e, 1, 0)));
}

static void children(void)
{
	sigset_t set = block(SIGCHLD, SIGUSR1);
	int fd = signalfd(-1, &set, 0), status;
	struct signalfd_siginfo info;
	pid_t pid = fork();

	if (!pid)
		_exit(3);
	printf("read %d\n", said(read(fd, &info, sizeof(info))));
	printf("signal %u code %d child %d status %d\n", info.ssi_signo, info.ssi_code,
	       info.ssi_pid == (uint32_t)pid, info.ssi_status);
	waitpid(pid, &status, 0);
	pid = fork();
	if (!pid) {
		kill(getpid(), SIGUSR1);
		printf("of the child: %x, ", readable(fd));
		printf("read %d", said(read(fd, &info, sizeof(info))));
		printf(", then %x\n", readable(fd));
		_exit(0);
	}
	printf("the child's end %d: ", said(read(fd, &info, sizeof(info))) > 0);
	printf("%u\n", info.ssi_signo);
	waitpid(pid, &status, 0);
}

static void handled(int signo)
{
	printf("handler %d\n", signo);
}

static void taken_elsewhere(void)
{
	sigset_t set = block(SIGUSR1, SIGUSR2);
	int fd = signalfd(-1, &set, SFD_NONBLOCK);

	signal(SIGUSR1, handled);
	kill(getpid(), SIGUSR1);
	printf("readable %x\n", readable(fd));
	sigprocmask(SIG_UNBLOCK, &set, NULL);
	printf("readable %x\n", readable(fd));
	sigprocmask(SIG_BLOCK, &set, NULL);
	kill(getpid(), SIGUSR2);
	signal(SIGUSR2, SIG_IGN);
	printf("ignored %x\n", readable(fd));
	close(fd);
	kill(getpid(), SIGUSR1);
	sigprocmask(SIG_UNBLOCK, &set, NULL);
}

static const struct guest_case cases[] = {
	{"signalfd: what it tells of each signal [J2]", what_it_tells},
	{"signalfd: in pieces, and by a copy [J2]", in_pieces},
	{"signalfd: its set changes [J2]", sets_change},
	{"signalfd: reads and polls wait [J2]", waits},
	{"signalfd: children that end, and have it too [J2]", children},
	{"signalfd: signals that are taken elsewhere [J2]", taken_elsewhere},
};

int main(int argc, char **argv)
{
	if (cases_listed(argc, argv, cases, NR_CASES(cases)))
		return 0;
	setvbuf(stdout, NULL, _IONBF, 0);
	cases_run(argc, argv, cases, NR_CASES(cases), NULL);
	return 0;
}
