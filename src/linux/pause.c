/* SPDX-License-Identifier: MIT */
/* pause.c - see pause.h. */
#include <errno.h>
#include <time.h>

#include "../mm/stall.h"
#include "pause.h"
#include "task.h"

#define REPEAT_NS   1000000l	   /* a kick may be lost on a thread that is about to sleep */
#define PATIENCE_NS 10000000000ull /* what a call that cannot be interrupted may take */

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

/* Asks whoever does not stand still yet, and says whether there was one. */
static bool ask_all(struct sandbox *s)
{
	bool busy = atomic_load(&s->nr_leaving);
	struct process *p;
	struct task *t;

	list_for_each_entry (p, &s->processes, node) {
		busy |= p->nr_ending;
		list_for_each_entry (t, &p->threads, thread_node) {
			busy |= !t->parked;
			if (!t->parked && !t->vfork)
				task_kick(t, ATTENTION_PAUSE);
		}
	}
	return busy;
}

/* The lock is held. */
static void wait_a_while(struct sandbox *s)
{
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += REPEAT_NS;
	until.tv_sec += until.tv_nsec / 1000000000;
	until.tv_nsec %= 1000000000;
	pthread_cond_clockwait(&s->pause_changed, &s->lock, CLOCK_MONOTONIC, &until);
}

static int stop_all(struct sandbox *s)
{
	uint64_t begin = now_ns();

	while (ask_all(s)) {
		if (now_ns() - begin > PATIENCE_NS)
			return -EBUSY;
		wait_a_while(s);
	}
	return s->ending || !s->nr_tasks ? -ESRCH : 0;
}

static void go_on(struct sandbox *s)
{
	s->paused = false;
	if (s->started)
		atomic_store(&s->pause_ns, now_ns() - s->pause_since_ns);
	pthread_cond_broadcast(&s->pause_changed);
}

int pause_begin(struct sandbox *s)
{
	int err;

	pthread_mutex_lock(&s->lock);
	while (s->paused)
		pthread_cond_wait(&s->pause_changed, &s->lock);
	s->paused = true;
	s->pause_since_ns = now_ns();
	err = s->started ? stop_all(s) : 0;
	if (err)
		go_on(s);
	pthread_mutex_unlock(&s->lock);
	return err;
}

void pause_end(struct sandbox *s)
{
	pthread_mutex_lock(&s->lock);
	go_on(s);
	pthread_mutex_unlock(&s->lock);
}

/* The lock is held, in both. */
static void stand(struct task *t)
{
	t->parked = true;
	pthread_cond_broadcast(&t->sandbox->pause_changed);
	stall_sleep_begin();
}

static void stand_while_paused(struct task *t)
{
	struct sandbox *s = t->sandbox;

	while (s->paused)
		pthread_cond_wait(&s->pause_changed, &s->lock);
	stall_sleep_end();
	t->parked = false;
	atomic_fetch_and(&t->attention, ~ATTENTION_PAUSE);
}

bool pause_park(struct task *t)
{
	struct sandbox *s = t->sandbox;

	if (!(atomic_load(&t->attention) & ATTENTION_PAUSE) || task_dying(t))
		return false;
	vcpu_recall(t->vcpu);
	pthread_mutex_lock(&s->lock);
	stand(t);
	stand_while_paused(t);
	pthread_mutex_unlock(&s->lock);
	return true;
}

/* Of several tasks one comes to it. */
static bool is_due(struct pause_at *at, int nr)
{
	uint64_t left = nr == at->nr ? atomic_load(&at->left) : 0;

	while (left && !atomic_compare_exchange_weak(&at->left, &left, left - 1))
		;
	return left == 1;
}

bool pause_before_call(struct task *t, int nr)
{
	struct sandbox *s = t->sandbox;

	if (!is_due(&s->pause_at, nr))
		return false;
	t->regs.rip -= SYSCALL_BYTES;
	vcpu_recall(t->vcpu);
	pthread_mutex_lock(&s->lock);
	stand(t);
	pthread_mutex_unlock(&s->lock);
	s->pause_at.fn(s->pause_at.ctx);
	pthread_mutex_lock(&s->lock);
	stand_while_paused(t);
	pthread_mutex_unlock(&s->lock);
	return true;
}

bool pause_alone(struct task *t)
{
	return atomic_load(&t->attention) == ATTENTION_PAUSE;
}
