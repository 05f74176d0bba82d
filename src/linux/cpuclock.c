/* SPDX-License-Identifier: MIT */
/* cpuclock.c - see cpuclock.h. */
#include <errno.h>
#include <time.h>

#include "cpuclock.h"
#include "cputime.h"
#include "task.h"

#define KIND_MASK     3
#define KIND_USER     1
#define KIND_NO_CLOCK 3
#define OF_TASK	      4
#define ID_SHIFT      3

bool cpuclock_is(int number)
{
	if (number >= 0)
		return number == CLOCK_PROCESS_CPUTIME_ID || number == CLOCK_THREAD_CPUTIME_ID;
	return (number & KIND_MASK) != KIND_NO_CLOCK;
}

/* Looks for whose clock it is; the lock is held. NULL for tasks of others. */
static struct task *find_task(struct task *t, int tid)
{
	struct task *other = task_find(t->sandbox, tid);

	return other && other->process == t->process ? other : NULL;
}

int cpuclock_parse(struct task *t, int number, struct cpuclock *c)
{
	int err = 0, own;

	if (!cpuclock_is(number))
		return -EINVAL;
	*c = (struct cpuclock){.of_task = number == CLOCK_THREAD_CPUTIME_ID};
	if (number < 0) {
		c->of_task = number & OF_TASK;
		c->id = (int)(~(unsigned int)number >> ID_SHIFT);
		c->user_only = (number & KIND_MASK) == KIND_USER;
	}
	own = c->of_task ? t->tid : t->pid;
	if (!c->id || c->id == own) {
		c->id = own;
		return 0;
	}
	pthread_mutex_lock(&t->sandbox->lock);
	if (c->of_task ? !find_task(t, c->id) : !process_find(t->sandbox, c->id))
		err = -EINVAL;
	pthread_mutex_unlock(&t->sandbox->lock);
	return err;
}

int64_t cpuclock_read(struct task *t, const struct cpuclock *c)
{
	struct process *p;
	struct task *other;
	int64_t ns = -EINVAL;

	if (c->of_task && c->id == t->tid)
		return (int64_t)cputime_task(t);
	pthread_mutex_lock(&t->sandbox->lock);
	if (c->of_task) {
		other = find_task(t, c->id);
		if (other)
			ns = other->running ? (int64_t)cputime_task(other) : 0;
	} else {
		p = process_find(t->sandbox, c->id);
		if (p)
			ns = (int64_t)(c->user_only ? cputime_process_user(p) : cputime_process(p));
	}
	pthread_mutex_unlock(&t->sandbox->lock);
	return ns;
}
