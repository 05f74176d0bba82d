/* SPDX-License-Identifier: MIT */
/*
 * cpuclock.h - numbers of clocks that show processor time.
 *
 * Linux's encoding: a negative number has ~id of a process or task in its upper bits; below them bit 2 says which of the two, and the
 * last two what is counted (0: all, 1: user time, 2: all as the scheduler counts it, 3: not a clock of ours).
 */
#ifndef LODGE_LINUX_CPUCLOCK_H
#define LODGE_LINUX_CPUCLOCK_H

#include <stdbool.h>
#include <stdint.h>

struct task;

#define CLOCK_SGI_CYCLE_NR 10 /* no clock: gone from Linux; the number is not reused */

struct cpuclock {
	bool of_task;
	int id; /* of the process, or of the task */
	bool user_only;
};

/* Does the number name such a clock, of whomever? CLOCK_PROCESS_CPUTIME_ID and CLOCK_THREAD_CPUTIME_ID do. */
bool cpuclock_is(int number);

/* A number that Linux takes for one of these before it looks what it counts. */
static inline bool cpuclock_has_form(int number)
{
	return number < 0 && (number & 7) != 3;
}

/* 0, or -EINVAL: nobody of the sandbox has this clock; of tasks only those of the caller's process show theirs. */
int cpuclock_parse(struct task *t, int number, struct cpuclock *c);

/* In ns, or -EINVAL: whose it was is gone. */
int64_t cpuclock_read(struct task *t, const struct cpuclock *c);

#endif
