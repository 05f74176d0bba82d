/* SPDX-License-Identifier: MIT */
/*
 * oom.c - see oom.h.
 *
 * As on Linux the process goes whose end gives back most, not the one that happens to ask: it may be the small parent of a
 * large child. All processes that share its memory go with it, and nobody else is chosen while memory is on its way back.
 *
 *	room by now, or on its way?	try again, or wait for it
 *	LODGE_OOM_ENOMEM, in a call	the call returns ENOMEM
 *	LODGE_OOM_STOP			the embedder is asked; the other tasks that need memory wait for its answer
 *	else				the worst process ends
 *
 *   O1  every call ends in a death, a refusal, an answer of the embedder, or after memory was there or waited for; how often
 *       memory is only said to be there is bounded, so that what is tried for ever kills one process each time
 *   O2  a wait has an end; who has waited in vain dies itself
 * Locking: sandbox->lock while processes are looked at; nothing is held while waiting, nor while the embedder is asked.
 * Not here: calls that make areas or tables return ENOMEM themselves (sys_mem.c and kin).
 */
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <time.h>

#include "../mm/vmscan.h"

#include "oom.h"
#include "task.h"

#define WAIT_MS		 5000
#define KICK_MS		 4  /* a kick is lost on a thread that is just about to wait in the host */
#define ROOM_PAGES	 16 /* what one page, its tables and a copy need, for some tasks at once */
#define ROOM_ATTEMPTS	 16
#define NS_PER_MS	 1000000l
/*
 * So many faults of a task that leave less than so many pages: reclaim frees batches where there is anything to free. Not where pages can
 * go to swap: a slow device leaves no more either, and there the program goes on.
 */
#define THRASHING_FAULTS 256
#define THRASHING_ROOM	 4

static _Thread_local struct task *current;

void oom_enter(struct task *t)
{
	current = t;
}

static bool is_killed(struct task *t)
{
	return atomic_load(&t->attention) & ATTENTION_KILLED;
}

bool oom_is_dying(void)
{
	return current && is_killed(current);
}

/* --- who ------------------------------------------------------------------------------------- */

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
	       p->oom_score_adj * (int64_t)(mm->memcg->max_pages / 1000);
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

/* --- waiting --------------------------------------------------------------------------------- */

static bool has_room(const struct memcg *cg)
{
	return memcg_room(cg) >= ROOM_PAGES;
}

/* There is room, and that was not said too often already. */
static bool room_will_do(const struct memcg *cg, unsigned int attempts)
{
	return attempts < ROOM_ATTEMPTS && has_room(cg);
}

/* Is somebody on the way out whose memory is still there, or the embedder thinking? sandbox->lock is held. */
static bool memory_comes(const struct sandbox *s)
{
	const struct process *p;

	if (atomic_load(&s->nr_leaving) || s->oom.asking)
		return true;
	list_for_each_entry (p, &s->processes, node)
		if (p->group_exit && p->nr_threads)
			return true;
	return false;
}

static bool memory_comes_now(struct sandbox *s)
{
	pthread_mutex_lock(&s->lock);
	bool comes = memory_comes(s);
	pthread_mutex_unlock(&s->lock);
	return comes;
}

/* False: nothing came within the time, or the task is killed. */
static bool wait_for_memory(struct task *t, struct memcg *cg)
{
	const struct timespec pause = {.tv_nsec = NS_PER_MS};
	struct sandbox *s = t->sandbox;

	for (int i = 0; i < WAIT_MS && !is_killed(t); i += !s->oom.asking) {
		if (has_room(cg) || !memory_comes_now(s))
			return true;
		if (i % KICK_MS == KICK_MS - 1)
			sandbox_kick_dying(s);
		stall_begin(&cg->stall);
		nanosleep(&pause, NULL);
		stall_end(&cg->stall);
	}
	return false;
}

/* --- what happens ---------------------------------------------------------------------------- */

static void describe(struct memcg *cg, char *text, size_t bytes)
{
	snprintf(text, bytes, "out of memory: the space owns %" PRIu64 " of %" PRIu64 " pages",
		 atomic_load(&cg->usage_pages), atomic_load(&cg->max_pages));
}

static void die(struct task *t)
{
	char text[OOM_TEXT_BYTES];

	describe(t->mm->memcg, text, sizeof(text));
	task_log(t, "%s", text);
	pthread_mutex_lock(&t->sandbox->lock);
	kill_sharers(t, t->mm);
	pthread_mutex_unlock(&t->sandbox->lock);
	task_die(t, SIGKILL);
}

/*
 * Chooses and kills; true when that was not the caller, or nobody, since memory comes, or has come by now: who was leaving a moment ago
 * may be gone.
 */
static bool kill_worst(struct task *t, unsigned int attempts)
{
	struct sandbox *s = t->sandbox;
	char text[OOM_TEXT_BYTES];
	uint64_t pages = 0;
	int victim = 0;

	describe(t->mm->memcg, text, sizeof(text));
	pthread_mutex_lock(&s->lock);
	bool comes = memory_comes(s) || room_will_do(t->mm->memcg, attempts);
	struct process *p = comes ? NULL : worst_process(s);
	struct mm *mm = p ? space_of(p) : NULL;
	if (mm && mm != t->mm) {
		victim = p->pid;
		pages = mm_rss_pages(mm);
		kill_sharers(t, mm);
	}
	pthread_mutex_unlock(&s->lock);
	if (victim)
		task_log(t, "%s; process %d with %" PRIu64 " pages ends", text, victim, pages);
	return comes || victim;
}

/* The embedder's answer; one task asks at a time. */
static enum lodge_oom_answer ask(struct task *t)
{
	struct sandbox *s = t->sandbox;
	struct oom_policy *o = &s->oom;
	enum lodge_oom_answer answer = LODGE_OOM_END;

	if (o->ask)
		answer = o->ask(o->ctx);
	pthread_mutex_lock(&s->lock);
	o->asking = false;
	pthread_mutex_unlock(&s->lock);
	return answer;
}

/* The program ends, and lodge_space_run says why. */
static void stop_space(struct task *t)
{
	struct sandbox *s = t->sandbox;

	pthread_mutex_lock(&s->lock);
	if (!s->oom.stopped)
		describe(t->mm->memcg, s->oom.text, sizeof(s->oom.text));
	s->oom.stopped = true;
	pthread_mutex_unlock(&s->lock);
	sandbox_kill(s, SIGKILL);
	task_die(t, SIGKILL);
}

/* True: the embedder was asked and has seen to it, or another task asks, or there is no need by now. */
static bool ask_first(struct task *t, unsigned int attempts)
{
	struct sandbox *s = t->sandbox;

	pthread_mutex_lock(&s->lock);
	bool mine = !memory_comes(s) && !room_will_do(t->mm->memcg, attempts);
	if (mine)
		s->oom.asking = true;
	pthread_mutex_unlock(&s->lock);
	if (!mine)
		return true;
	switch (ask(t)) {
	case LODGE_OOM_RETRY:
		return true;
	case LODGE_OOM_KILL_LARGEST:
		return kill_worst(t, attempts);
	default:
		stop_space(t);
		return false;
	}
}

bool oom_wait(struct task *t, struct memcg *cg, unsigned int attempts)
{
	struct sandbox *s = t->sandbox;

	if (is_killed(t))
		return false;
	if (room_will_do(cg, attempts))
		return true;
	if (s->oom.policy == LODGE_OOM_ENOMEM && t->call_may_fail) {
		t->call_failed = true;
		return false;
	}
	bool hope = s->oom.policy == LODGE_OOM_STOP ? ask_first(t, attempts) : kill_worst(t, attempts);
	if (hope && wait_for_memory(t, cg))
		return true;
	if (!is_killed(t))
		die(t);
	return false;
}

void oom_fault(struct task *t)
{
	oom_wait(t, t->mm->memcg, t->oom_attempts++);
}

void oom_fault_served(struct task *t)
{
	t->oom_attempts = 0;
	if (memcg_room(t->mm->memcg) >= THRASHING_ROOM || memcg_may_swap(t->mm->host, t->mm->memcg)) {
		t->nr_thrashings = 0;
	} else if (++t->nr_thrashings == THRASHING_FAULTS) {
		t->nr_thrashings = 0;
		oom_wait(t, t->mm->memcg, 0);
	}
}

bool oom_copy(void *ctx, struct memcg *cg, unsigned int attempts)
{
	(void)ctx;
	return current && oom_wait(current, cg, attempts);
}
