/* SPDX-License-Identifier: MIT */
/*
 * same_events.c - descriptors that events come from, and the interval timer.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "case.h"

static int said(long ret)
{
	return ret < 0 ? -errno : (int)ret;
}

static void eventfds(void)
{
	int fd = eventfd(3, EFD_NONBLOCK | EFD_CLOEXEC), semaphore = eventfd(2, EFD_SEMAPHORE);
	uint64_t n = 4;

	printf("flags %x %x\n", fcntl(fd, F_GETFD), fcntl(semaphore, F_GETFD));
	printf("write %d\n", said(write(fd, &n, 8)));
	printf("read %d, ", said(read(fd, &n, 8)));
	printf("%d\n", (int)n);
	printf("empty %d\n", said(read(fd, &n, 8)));
	printf("short %d\n", said(read(fd, &n, 4)));
	printf("semaphore %d, ", said(read(semaphore, &n, 8)));
	printf("%d\n", (int)n);
	printf("bad flags %d\n", said(eventfd(0, 0x4000)));
	close(fd);
	close(semaphore);
}

static void *signal_event(void *arg)
{
	uint64_t one = 1;

	usleep(20000);
	return (void *)(intptr_t)write(*(int *)arg, &one, 8);
}

static void epolls(void)
{
	struct epoll_event e = {.events = EPOLLIN, .data.u64 = 0x1122334455667788}, got[4];
	int ep = epoll_create1(EPOLL_CLOEXEC), fd = eventfd(0, 0), copy;
	pthread_t t;
	uint64_t n;

	printf("add %d\n", said(epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e)));
	printf("again %d\n", said(epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e)));
	printf("itself %d\n", said(epoll_ctl(ep, EPOLL_CTL_ADD, ep, &e)));
	printf("closed %d\n", said(epoll_ctl(ep, EPOLL_CTL_ADD, 77, &e)));
	printf("a file %d\n", said(epoll_ctl(fd, EPOLL_CTL_ADD, ep, &e)));
	printf("none %d\n", said(epoll_wait(ep, got, 4, 0)));
	printf("no room %d\n", said(epoll_wait(ep, got, 0, 0)));
	pthread_create(&t, NULL, signal_event, &fd);
	printf("one %d, ", said(epoll_wait(ep, got, 4, 5000)));
	printf("%x %llx\n", got[0].events, (unsigned long long)got[0].data.u64);
	pthread_join(t, NULL);
	printf("read %d\n", said(read(fd, &n, 8)));
	copy = dup(fd);
	close(fd);
	n = 1;
	printf("through the copy %d, ", said(write(copy, &n, 8)));
	printf("%d\n", said(epoll_wait(ep, got, 4, 0)));
	close(copy);
	printf("closed: none %d\n", said(epoll_wait(ep, got, 4, 0)));
	close(ep);
}

/* More than a thousand at once: all are told of, and none twice. */
static void many_epolls(void)
{
	enum { NR = 1500 };
	static struct epoll_event got[NR + 1];
	const struct rlimit files = {NR + 100, NR + 100};
	int ep = epoll_create1(0), fd = eventfd(1, 0);
	unsigned int nr_added = 0, nr_told = 0;
	static bool told[NR];

	printf("limit %d\n", said(setrlimit(RLIMIT_NOFILE, &files)));
	for (uint32_t i = 0; i < NR; i++) {
		struct epoll_event e = {.events = EPOLLIN, .data.u32 = i};
		nr_added += !epoll_ctl(ep, EPOLL_CTL_ADD, dup(fd), &e);
	}
	int nr = epoll_wait(ep, got, NR + 1, 0);
	for (int i = 0; i < nr; i++) {
		nr_told += !told[got[i].data.u32];
		told[got[i].data.u32] = true;
	}
	printf("%u added, %d ready, %u of them\n", nr_added, said(nr), nr_told);
}

static void many_epolls_apart(void)
{
	case_in_child(many_epolls);
}

static void timerfds(void)
{
	struct itimerspec in = {.it_value.tv_nsec = 10000000}, old;
	int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
	uint64_t n = 0;

	printf("set %d\n", said(timerfd_settime(fd, 0, &in, NULL)));
	printf("read %d, ", said(read(fd, &n, 8)));
	printf("%d\n", (int)n);
	in.it_value.tv_sec = 100;
	timerfd_settime(fd, 0, &in, &old);
	printf("before %d\n", (int)old.it_value.tv_sec);
	printf("get %d, ", said(timerfd_gettime(fd, &old)));
	printf("%d\n", old.it_value.tv_sec >= 99);
	in.it_value.tv_nsec = 1000000000;
	printf("bad %d\n", said(timerfd_settime(fd, 0, &in, NULL)));
	printf("no timer %d\n", said(timerfd_gettime(0, &old)));
	printf("bad clock %d\n", said(timerfd_create(77, 0)));
	close(fd);
}

static volatile sig_atomic_t rings;

static void ring(int signo)
{
	(void)signo;
	rings++;
}

static void alarms(void)
{
	struct sigaction sa = {.sa_handler = ring};
	struct itimerval in = {.it_value.tv_usec = 20000}, now;

	sigaction(SIGALRM, &sa, NULL);
	printf("none %u\n", alarm(100));
	printf("hundred %u\n", alarm(0));
	setitimer(ITIMER_REAL, &in, NULL);
	printf("pause %d\n", said(pause()));
	printf("rings %d\n", (int)rings);
	in.it_interval.tv_usec = 5000;
	setitimer(ITIMER_REAL, &in, NULL);
	while (rings < 4)
		pause();
	printf("interval %d\n", said(getitimer(ITIMER_REAL, &now)) == 0 && now.it_interval.tv_usec == 5000);
	in = (struct itimerval){0};
	setitimer(ITIMER_REAL, &in, &now);
	getitimer(ITIMER_REAL, &now);
	printf("off %d %d\n", (int)now.it_value.tv_sec, (int)now.it_value.tv_usec);
	in.it_value.tv_usec = 1000000;
	printf("bad %d\n", said(setitimer(ITIMER_REAL, &in, NULL)));
	printf("which %d\n", said(setitimer((__itimer_which_t)7, &now, NULL)));
}

static void alarm_kills(void)
{
	struct itimerval in = {.it_value.tv_usec = 10000};
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		signal(SIGALRM, SIG_DFL);
		setitimer(ITIMER_REAL, &in, NULL);
		for (;;)
			pause();
	}
	waitpid(pid, &status, 0);
	printf("signal %d\n", WTERMSIG(status));
}

static const struct guest_case cases[] = {
	{"eventfd: counts, and semaphores [J2]", eventfds},
	{"epoll: what becomes ready, under its own word [J2]", epolls},
	{"epoll: more ready at once than a thousand [J2]", many_epolls_apart},
	{"timerfd: one time, and what is left [J2]", timerfds},
	{"alarm and setitimer: once, again and again, never [J2]", alarms},
	{"alarm: ends who does not handle it [J2]", alarm_kills},
};

int main(int argc, char **argv)
{
	if (cases_listed(argc, argv, cases, NR_CASES(cases)))
		return 0;
	setvbuf(stdout, NULL, _IONBF, 0);
	cases_run(argc, argv, cases, NR_CASES(cases), NULL);
	return 0;
}
