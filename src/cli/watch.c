/* SPDX-License-Identifier: MIT */
#include "watch.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include "../../include/lodge.h"
#include "message.h"
#include "quantity.h"
#include "terminal.h"

#define NS_PER_SECOND 1000000000ull
#define LEAVE_NS      (5 * NS_PER_SECOND)

enum event { EVENT_STOP, EVENT_SIGNAL, EVENT_DEADLINE };

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_SECOND + (uint64_t)ts.tv_nsec;
}

int watch_parse_timeout(const char *arg, uint64_t *ns)
{
	if (!quantity_ns(arg, ns) && *ns && *ns <= INT64_MAX)
		return 0;
	message("--timeout '%s': not a number of seconds above 0, such as 5 or 0.25", arg);
	return -EINVAL;
}

void watch_block(struct watch *w, int except)
{
	static const int watched[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP, SIGUSR1, SIGUSR2, SIGWINCH};
	struct sigaction sa;

	sigemptyset(&w->ignored);
	for (int signo = 1; signo < SIGRTMIN; signo++)
		if (!sigaction(signo, NULL, &sa) && sa.sa_handler == SIG_IGN)
			sigaddset(&w->ignored, signo);
	/* A blocked signal is delivered to a signalfd even if it is ignored. */
	sigemptyset(&w->signals);
	for (size_t i = 0; i < sizeof(watched) / sizeof(watched[0]); i++)
		if (watched[i] != except)
			sigaddset(&w->signals, watched[i]);
	pthread_sigmask(SIG_BLOCK, &w->signals, &w->old_mask);
}

uint64_t watch_ignored(const struct watch *w)
{
	uint64_t mask = 0;

	for (int signo = 1; signo < SIGRTMIN; signo++)
		if (sigismember(&w->ignored, signo) == 1)
			mask |= 1ull << (signo - 1);
	return mask;
}

void watch_unblock(struct watch *w)
{
	pthread_sigmask(SIG_SETMASK, &w->old_mask, NULL);
}

/* The time left, or NULL for no end. */
static struct timespec *time_left(uint64_t deadline_ns, struct timespec *ts)
{
	uint64_t now = now_ns(), left = deadline_ns > now ? deadline_ns - now : 0;

	if (!deadline_ns)
		return NULL;
	*ts = (struct timespec){.tv_sec = (time_t)(left / NS_PER_SECOND),
				.tv_nsec = (long)(left % NS_PER_SECOND)};
	return ts;
}

/* False: no space has the terminal. */
static bool terminal_signal(struct watch *w, int signo)
{
	bool has = false;

	for (unsigned int i = 0; i < w->nr; i++)
		has |= !lodge_space_terminal_signal(w->spaces[i], signo);
	return has;
}

void watch_stop_lodge(void *ctx, int signo)
{
	struct watch *w = ctx;
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, signo);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	raise(signo); /* where nobody could continue us the kernel lets it be */
	if (sigismember(&w->signals, signo))
		pthread_sigmask(SIG_BLOCK, &set, NULL);
	terminal_signal(w, SIGCONT);
}

/* Whoever holds Ctrl-\ down, or sends and sends, wants the end, whatever the program makes of it. */
static bool insists(struct watch *w, const struct signalfd_siginfo *info)
{
	uint64_t before = w->insisted_ns[0];
	int signo = (int)info->ssi_signo;
	bool is_sent = info->ssi_code != SI_KERNEL;

	if (signo != SIGQUIT && !(is_sent && (signo == SIGINT || signo == SIGTERM)))
		return false;
	w->insisted_ns[0] = w->insisted_ns[1];
	w->insisted_ns[1] = now_ns();
	return before && w->insisted_ns[1] - before < NS_PER_SECOND;
}

/* True: the program has it, or it is nothing to it. */
static bool is_taken_by(struct watch *w, struct lodge_space *space, int signo)
{
	switch (lodge_space_signal(space, signo)) {
	case LODGE_SIGNAL_TAKEN:
		if (signo == SIGTERM && w->grace_ns && !w->grace_end_ns)
			w->grace_end_ns = now_ns() + w->grace_ns;
		return true;
	case LODGE_SIGNAL_IGNORED:
		return sigismember(&w->ignored, signo) || signo == SIGHUP || signo == SIGUSR1 ||
		       signo == SIGUSR2;
	case -ESRCH:
		return w->nr > 1;
	default:
		return false;
	}
}

static bool is_taken(struct watch *w, int signo)
{
	bool taken = !w->told;

	for (unsigned int i = 0; i < w->nr && taken; i++)
		taken = is_taken_by(w, w->spaces[i], signo);
	return taken;
}

/* True: it was the program's, or is done. */
static bool is_programs(struct watch *w, const struct signalfd_siginfo *info)
{
	int signo = (int)info->ssi_signo;

	if (insists(w, info))
		return false;
	if (info->ssi_code == SI_KERNEL && terminal_signal(w, signo))
		return true;
	if (signo == SIGTSTP && !sigismember(&w->ignored, signo))
		watch_stop_lodge(w, signo);
	return signo == SIGTSTP || signo == SIGWINCH || is_taken(w, signo);
}

/* The earlier of two times, of which 0 is none. */
static uint64_t earlier(uint64_t a, uint64_t b)
{
	return !a || (b && b < a) ? b : a;
}

static enum event wait_event(struct watch *w, uint64_t deadline_ns, int *signo)
{
	for (;;) {
		struct pollfd fds[] = {{w->stop_fd, POLLIN, 0}, {w->signal_fd, POLLIN, 0}};
		struct signalfd_siginfo info;
		struct timespec ts;
		int n = ppoll(fds, 2, time_left(earlier(deadline_ns, w->grace_end_ns), &ts), NULL);

		if (n > 0 && fds[0].revents)
			return EVENT_STOP;
		if (n > 0 && read(w->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
			if (is_programs(w, &info))
				continue;
			*signo = (int)info.ssi_signo;
			return EVENT_SIGNAL;
		}
		if (n == 0)
			return EVENT_DEADLINE;
	}
}

/* The guest was told to end and lodge is still here. */
static void leave_now(struct watch *w, int signo)
{
	terminal_restore(w->terminal);
	message("the program did not end when it was told to; leaving it");
	_exit(signo ? 128 + signo : WATCH_TIMEOUT_STATUS);
}

static void *watch_thread(void *arg)
{
	struct watch *w = arg;
	int signo = 0, again = 0;

	switch (wait_event(w, w->deadline_ns, &signo)) {
	case EVENT_STOP:
		return NULL;
	case EVENT_SIGNAL:
		w->cause = signo;
		break;
	case EVENT_DEADLINE:
		w->cause =
			earlier(w->deadline_ns, w->grace_end_ns) == w->deadline_ns ? WATCH_TIMEOUT : SIGTERM;
		break;
	}
	w->told = true;
	w->grace_end_ns = 0;
	for (unsigned int i = 0; i < w->nr; i++)
		lodge_space_kill(w->spaces[i], w->cause == WATCH_TIMEOUT ? SIGKILL : w->cause);
	if (wait_event(w, now_ns() + LEAVE_NS, &again) != EVENT_STOP)
		leave_now(w, again ? again : signo);
	return NULL;
}

/* The thread must take no signal that the process gets. */
static int start_thread(struct watch *w)
{
	sigset_t all, old;
	int err;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	err = pthread_create(&w->thread, NULL, watch_thread, w);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return -err;
}

static void close_fds(struct watch *w)
{
	close(w->signal_fd);
	close(w->stop_fd);
}

int watch_start(struct watch *w, struct lodge_space *const *spaces, unsigned int nr, uint64_t timeout_ns,
		uint64_t grace_ns, const struct terminal *terminal)
{
	int err;

	w->spaces = spaces;
	w->nr = nr;
	w->terminal = terminal;
	w->cause = 0;
	w->grace_ns = grace_ns;
	w->deadline_ns = timeout_ns ? now_ns() + timeout_ns : 0;
	w->signal_fd = signalfd(-1, &w->signals, SFD_CLOEXEC | SFD_NONBLOCK);
	if (w->signal_fd < 0)
		return -errno;
	w->stop_fd = eventfd(0, EFD_CLOEXEC);
	if (w->stop_fd < 0) {
		err = -errno;
		close(w->signal_fd);
		return err;
	}
	err = start_thread(w);
	if (err)
		close_fds(w);
	return err;
}

void watch_stop(struct watch *w)
{
	/* Adding 1 to an eventfd that nobody else writes cannot fail. */
	eventfd_write(w->stop_fd, 1);
	pthread_join(w->thread, NULL);
	close_fds(w);
}
