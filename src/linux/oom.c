/* SPDX-License-Identifier: MIT */
/*
 * oom.c - see oom.h.
 *
 * As on Linux the process goes whose end gives back most, not the one that happens to ask: it may be the small parent of a
 * large child. All processes that share its memory go with it, and nobody else is chosen while memory is on its way back.
 *
 *   O1  every call ends in a death, or after memory was waited for: a fault that is tried for ever kills one process each time
 *   O2  a wait has an end; who has waited in vain dies itself
 * Locking: sandbox->lock while processes are looked at; nothing is held while waiting.
 * Not here: calls that find no memory return ENOMEM or EFAULT (sys_*.c).
 */
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <time.h>

#include "oom.h"
#include "task.h"

#define WAIT_MS 2000

/* The space of a process; sandbox->lock is held. NULL: it has none any more. */
static struct mm *space_of(const struct process *p)
{
	return p->nr_threads ? list_entry(p->threads.next, struct task, thread_node)->mm : NULL;
}

/* Linux's, in pages: what its end would give back, moved by oom_score_adj. INT64_MIN: not to be chosen. */
static int64_t badness_of(const struct process *p)
{
	struct mm *mm = space_of(p);

	if (!mm || p->oom_score_adj == -OOM_SCORE_ADJ_MAX)
		return INT64_MIN;
	return (int64_t)(mm_rss_pages(mm) + mm->pgt.nr_tables) +
	       p->oom_score_adj * (int64_t)mm->memcg->max_pages / 1000;
}

/* Is somebody on the way out whose memory is still there? sandbox->lock is held. */
static bool memory_comes(const struct sandbox *s)
{
	const struct process *p;

	if (atomic_load(&s->nr_leaving))
		return true;
	list_for_each_entry (p, &s->processes, node)
		if (p->group_exit && p->nr_threads)
			return true;
	return false;
}

/* The worst; of two that are alike the younger. */
static struct process *worst_process(struct sandbox *s)
{
	struct process *p, *worst = NULL;
	int64_t most = INT64_MIN;

	list_for_each_entry (p, &s->processes, node) {
		int64_t badness = badness_of(p);
		if (badness == INT64_MIN || badness < most)
			continue;
		most = badness;
		worst = p;
	}
	return worst;
}

static void kill_sharers(struct task *t, const struct mm *mm)
{
	struct process *p;

	list_for_each_entry (p, &t->sandbox->processes, node)
		if (space_of(p) == mm)
			process_group_exit(p, SIGKILL, p == t->process ? t : NULL);
}

/* False: nothing came within the time. */
static bool wait_for_memory(struct task *t)
{
	const struct timespec pause = {.tv_nsec = 1000000};
	struct sandbox *s = t->sandbox;
	bool comes = true;

	for (int i = 0; comes && i < WAIT_MS && !(atomic_load(&t->attention) & ATTENTION_KILLED); i++) {
		nanosleep(&pause, NULL);
		pthread_mutex_lock(&s->lock);
		comes = memory_comes(s);
		pthread_mutex_unlock(&s->lock);
	}
	return !comes || (atomic_load(&t->attention) & ATTENTION_KILLED);
}

static void log_victim(struct task *t, int pid)
{
	struct memcg *cg = t->mm->memcg;

	if (pid == t->pid)
		task_log(t, "out of memory: the space owns %" PRIu64 " of %" PRIu64 " pages",
			 atomic_load(&cg->usage_pages), cg->max_pages);
	else
		task_log(t, "out of memory: the space owns %" PRIu64 " of %" PRIu64 " pages; process %d ends",
			 atomic_load(&cg->usage_pages), cg->max_pages, pid);
}

void oom_fault(struct task *t)
{
	struct sandbox *s = t->sandbox;
	int victim = 0;

	pthread_mutex_lock(&s->lock);
	if (!memory_comes(s)) {
		struct process *p = worst_process(s);
		victim = p ? p->pid : t->pid;
		if (p && space_of(p) != t->mm)
			kill_sharers(t, space_of(p));
		else
			victim = t->pid;
	}
	pthread_mutex_unlock(&s->lock);
	if (victim)
		log_victim(t, victim);
	if (victim != t->pid && wait_for_memory(t))
		return;
	if (victim != t->pid)
		log_victim(t, t->pid);
	pthread_mutex_lock(&s->lock);
	kill_sharers(t, t->mm);
	pthread_mutex_unlock(&s->lock);
	task_die(t, SIGKILL);
}
