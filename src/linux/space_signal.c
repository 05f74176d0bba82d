/* SPDX-License-Identifier: MIT */
/*
 * space_signal.c - signals that come to a program from outside: its end, what somebody sends it, what the terminal makes. See lodge.h.
 */
#include <errno.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include "../../include/lodge.h"
#include "inject.h"
#include "space.h"
#include "task.h"
#include "tty.h"

#define KILL_REPEAT_NS 2000000l
#define KILL_REPEATS   1000

/* Asks once more; false when the first task has seen it, or is ours. */
static bool kill_again(struct sandbox *s)
{
	struct task *t = s->first_task;
	bool pending;

	pthread_mutex_lock(&s->lock);
	pending = t->running && !pthread_equal(t->thread, pthread_self());
	if (pending)
		task_kick(t, ATTENTION_KILLED);
	pthread_mutex_unlock(&s->lock);
	return pending;
}

/*
 * A program that does not run yet ends when it begins to. A kick is lost on a thread that is just about to block in the
 * host, hence the repetition; its bound only matters to a thread that the host's kernel does not let go.
 */
void lodge_space_kill(struct lodge_space *space, int signal)
{
	const struct timespec pause = {.tv_nsec = KILL_REPEAT_NS};

	sandbox_kill(space->sandbox, signal > 0 && signal <= NR_SIGNALS ? signal : SIGKILL);
	inject_abort(space->host->inject);
	for (int i = 0; i < KILL_REPEATS && kill_again(space->sandbox); i++)
		nanosleep(&pause, NULL);
}

/* All its threads do, but for waits for it. With the lock. */
static bool is_held_back(const struct process *p, int signo)
{
	const struct task *t;

	list_for_each_entry (t, &p->threads, thread_node)
		if (!((t->sig.blocked | t->sig.waited) & signal_bit(signo)))
			return false;
	return true;
}

static enum lodge_signal_use use_of_signal(struct process *p, int signo)
{
	uint64_t handler = signal_actions(p)[signo].handler;

	if (is_held_back(p, signo))
		return LODGE_SIGNAL_TAKEN;
	if (handler == (uintptr_t)SIG_DFL)
		return signal_default_ignored(signo) ? LODGE_SIGNAL_IGNORED : LODGE_SIGNAL_DEFAULT;
	return handler == (uintptr_t)SIG_IGN ? LODGE_SIGNAL_IGNORED : LODGE_SIGNAL_TAKEN;
}

int lodge_space_signal(struct lodge_space *space, int signal)
{
	const siginfo_t info = {.si_signo = signal, .si_code = SI_USER, .si_uid = getuid()};
	struct sandbox *s = space->sandbox;
	int ret = -ESRCH;

	if (signal < 1 || signal > NR_SIGNALS)
		return -EINVAL;
	pthread_mutex_lock(&s->lock);
	if (!process_is_zombie(s->first)) {
		ret = use_of_signal(s->first, signal);
		if (ret == LODGE_SIGNAL_TAKEN)
			signal_send_process(s->first, signal, &info);
	}
	pthread_mutex_unlock(&s->lock);
	return ret;
}

int lodge_space_terminal_signal(struct lodge_space *space, int signal)
{
	struct sandbox *s = space->sandbox;
	bool known;

	pthread_mutex_lock(&s->lock);
	known = tty_signal(s, signal);
	pthread_mutex_unlock(&s->lock);
	return known ? 0 : -ENOTTY;
}
