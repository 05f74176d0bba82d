/* SPDX-License-Identifier: MIT */
/* runner.c - see runner.h. */
#include <errno.h>
#include <linux/futex.h>
#include <signal.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "kvm.h"
#include "../mm/quiet_thread.h"

#define STACK_BYTES   (256u << 10)

/* A runner whose owner is busy looks for this long before it sleeps: waking it costs as much as an exit. */
#define LOOK_NS	      60000u
#define LOOKS_A_CLOCK 64u

enum { RUNNER_OUT, RUNNER_RUNS, RUNNER_ENDS };

#define RUNNER_SLEEPS 0x100u

static uint64_t clock_ns(clockid_t clock)
{
	struct timespec ts;

	return clock_gettime(clock, &ts) ? 0 : (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

static uint64_t thread_ns(pthread_t thread)
{
	clockid_t clock;

	return pthread_getcpuclockid(thread, &clock) ? 0 : clock_ns(clock);
}

/* --- turns --------------------------------------------------------------------------------------------------------------- */

static uint32_t turn_of(const struct runner *r)
{
	return atomic_load_explicit(&r->turn, memory_order_acquire) & ~RUNNER_SLEEPS;
}

static void set_turn(struct runner *r, uint32_t turn)
{
	if (atomic_exchange(&r->turn, turn) & RUNNER_SLEEPS)
		syscall(SYS_futex, &r->turn, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

/* Sleeps while it is `turn`, or until a signal. */
static void sleep_while(struct runner *r, uint32_t turn)
{
	uint32_t seen = turn;

	if (!atomic_compare_exchange_strong(&r->turn, &seen, turn | RUNNER_SLEEPS) &&
	    seen != (turn | RUNNER_SLEEPS))
		return;
	syscall(SYS_futex, &r->turn, FUTEX_WAIT_PRIVATE, turn | RUNNER_SLEEPS, NULL, NULL, 0);
}

static uint32_t wait_for_turn(struct runner *r)
{
	uint64_t since = clock_ns(CLOCK_MONOTONIC);

	for (unsigned int i = 1; turn_of(r) == RUNNER_OUT; i++) {
		__builtin_ia32_pause();
		if (i % LOOKS_A_CLOCK == 0 && clock_ns(CLOCK_MONOTONIC) - since > LOOK_NS)
			sleep_while(r, RUNNER_OUT);
	}
	return turn_of(r);
}

static void *runner_main(void *arg)
{
	struct vcpu *v = arg;

	atomic_store(&v->runner.runner_fd, cores_watch_me(v->vm));
	while (wait_for_turn(&v->runner) == RUNNER_RUNS) {
		vcpu_run_entered(v);
		set_turn(&v->runner, RUNNER_OUT);
	}
	return NULL;
}

/* --- the thread ---------------------------------------------------------------------------------------------------------- */

static int create_thread(struct vcpu *v)
{
	int err = quiet_thread_create(&v->runner.thread, STACK_BYTES, KICK_SIGNAL, runner_main, v);

	if (!err)
		atomic_store(&v->runner.there, true);
	return err;
}

int runner_count_processors(struct vcpu *v, unsigned int *nr)
{
	struct runner *r = &v->runner;

	if (sched_getaffinity(0, sizeof(r->processors), &r->processors))
		return -errno;
	*nr = (unsigned int)CPU_COUNT(&r->processors);
	return 0;
}

static int set_processors(struct runner *r, const cpu_set_t *set)
{
	if (CPU_EQUAL(set, &r->mine))
		return 0;
	r->mine = *set;
	return -pthread_setaffinity_np(r->thread, sizeof(*set), set);
}

/* The scheduler wakes a thread where its waker is, which goes to sleep soon as a rule. This one does not. */
int runner_prepare(struct vcpu *v)
{
	struct runner *r = &v->runner;
	cpu_set_t others = r->processors;
	int err = atomic_load(&r->there) ? 0 : create_thread(v);

	if (err)
		return err;
	if (r->owner_fd < 0)
		r->owner_fd = cores_watch_me(v->vm);
	CPU_CLR(cpu_current(), &others);
	return set_processors(r, CPU_COUNT(&others) ? &others : &r->processors);
}

void runner_let_go(struct vcpu *v)
{
	set_processors(&v->runner, &v->runner.processors);
}

void runner_init(struct runner *r)
{
	pthread_mutex_init(&r->times_lock, NULL);
	r->owner_fd = -1;
	atomic_init(&r->runner_fd, -1);
}

void runner_forget_owner(struct runner *r)
{
	if (r->owner_fd >= 0)
		close(r->owner_fd);
	r->owner_fd = -1;
}

void runner_destroy(struct runner *r)
{
	if (atomic_load(&r->there)) {
		set_turn(r, RUNNER_ENDS);
		pthread_join(r->thread, NULL);
	}
	runner_forget_owner(r);
	if (r->runner_fd >= 0)
		close(r->runner_fd);
	pthread_mutex_destroy(&r->times_lock);
}

bool runner_runs(struct vcpu *v)
{
	return turn_of(&v->runner) == RUNNER_RUNS && !atomic_load(&v->runner.calls);
}

void runner_kick(struct vcpu *v)
{
	if (atomic_load(&v->runner.there))
		pthread_kill(v->runner.thread, KICK_SIGNAL);
}

/* --- lending ------------------------------------------------------------------------------------------------------------- */

void runner_lend(struct vcpu *v)
{
	struct runner *r = &v->runner;

	pthread_mutex_lock(&r->times_lock);
	r->open = true;
	r->owner_since_ns = clock_ns(CLOCK_THREAD_CPUTIME_ID);
	r->runner_since_ns = thread_ns(r->thread);
	pthread_mutex_unlock(&r->times_lock);
	r->lent = true;
	atomic_store_explicit(&r->calls, false, memory_order_relaxed);
	set_turn(r, RUNNER_RUNS);
}

/* What was used since it was lent; times_lock is held. */
static void used(struct vcpu *v, int64_t *owner, int64_t *runner)
{
	const struct runner *r = &v->runner;

	*owner = r->open ? (int64_t)(thread_ns(v->owner) - r->owner_since_ns) : 0;
	*runner = r->open ? (int64_t)(thread_ns(r->thread) - r->runner_since_ns) : 0;
}

bool runner_is_out(struct vcpu *v)
{
	struct runner *r = &v->runner;
	int64_t owner, runner;

	if (turn_of(r) != RUNNER_OUT)
		return false;
	pthread_mutex_lock(&r->times_lock);
	used(v, &owner, &runner);
	r->owner_ns += owner;
	r->runner_ns += runner;
	r->open = false;
	pthread_mutex_unlock(&r->times_lock);
	r->lent = false;
	return true;
}

void runner_wait(struct vcpu *v)
{
	sleep_while(&v->runner, RUNNER_RUNS);
}

/* --- times --------------------------------------------------------------------------------------------------------------- */

int64_t runner_cpu_ns(struct vcpu *v)
{
	struct runner *r = &v->runner;
	int64_t owner, runner;

	pthread_mutex_lock(&r->times_lock);
	used(v, &owner, &runner);
	int64_t ns = r->runner_ns + runner - r->owner_ns - owner;
	pthread_mutex_unlock(&r->times_lock);
	return ns;
}

uint64_t runner_owner_ns(struct vcpu *v)
{
	struct runner *r = &v->runner;
	int64_t owner, runner;

	pthread_mutex_lock(&r->times_lock);
	used(v, &owner, &runner);
	owner += r->owner_ns;
	pthread_mutex_unlock(&r->times_lock);
	return (uint64_t)owner;
}

void runner_reset(struct runner *r)
{
	pthread_mutex_lock(&r->times_lock);
	r->owner_ns = r->runner_ns = 0;
	pthread_mutex_unlock(&r->times_lock);
	runner_forget_owner(r);
}
