/* SPDX-License-Identifier: MIT */
/*
 * same_locks_pi.c - locks that the kernel hands over, and waits for many words.
 */
#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "case.h"

#define LOCK	FUTEX_LOCK_PI_PRIVATE
#define UNLOCK	FUTEX_UNLOCK_PI_PRIVATE
#define TRYLOCK FUTEX_TRYLOCK_PI_PRIVATE

static _Atomic uint32_t word, word2;

static int futex(void *at, int op, uint32_t value, const void *timeout, void *at2, uint32_t value3)
{
	long ret = syscall(SYS_futex, at, op, value, timeout, at2, value3);

	return ret < 0 ? -errno : (int)ret;
}

static uint32_t own(void)
{
	return (uint32_t)syscall(SYS_gettid);
}

static struct timespec soon(clockid_t clock, long ms)
{
	struct timespec at;

	clock_gettime(clock, &at);
	at.tv_nsec += ms * 1000000;
	at.tv_sec += at.tv_nsec / 1000000000;
	at.tv_nsec %= 1000000000;
	return at;
}

static void *try_and_wait(void *arg)
{
	struct timespec at = soon(CLOCK_REALTIME, 20), mono = soon(CLOCK_MONOTONIC, 20);

	(void)arg;
	printf("try %d\n", futex(&word, TRYLOCK, 0, NULL, NULL, 0));
	printf("late %d\n", futex(&word, LOCK, 0, &at, NULL, 0));
	printf("late by the other clock %d\n",
	       futex(&word, FUTEX_LOCK_PI2 | FUTEX_PRIVATE_FLAG, 0, &mono, NULL, 0));
	printf("unlock %d\n", futex(&word, UNLOCK, 0, NULL, NULL, 0));
	return NULL;
}

static void one_owner(void)
{
	pthread_t t;

	printf("lock %d", futex(&word, LOCK, 0, NULL, NULL, 0));
	printf(" owner %d\n", word == own());
	printf("again %d\n", futex(&word, LOCK, 0, NULL, NULL, 0));
	printf("try %d\n", futex(&word, TRYLOCK, 0, NULL, NULL, 0));
	pthread_create(&t, NULL, try_and_wait, NULL);
	pthread_join(t, NULL);
	printf("owner %d\n", (word & FUTEX_TID_MASK) == own());
	printf("unlock %d", futex(&word, UNLOCK, 0, NULL, NULL, 0));
	printf(" word %x\n", word);
	printf("unlock %d\n", futex(&word, UNLOCK, 0, NULL, NULL, 0));
	word = 0x3fffffff;
	printf("nobody's %d\n", futex(&word, LOCK, 0, NULL, NULL, 0));
	printf("not aligned %d\n", futex((char *)&word + 1, LOCK, 0, NULL, NULL, 0));
	printf("nowhere %d\n", futex((void *)8, LOCK, 0, NULL, NULL, 0));
}

static void *wait_for_it(void *arg)
{
	int ret = futex(&word, LOCK, 0, NULL, NULL, 0);

	*(int *)arg = ret ? ret : (word & FUTEX_TID_MASK) == own();
	futex(&word, UNLOCK, 0, NULL, NULL, 0);
	return NULL;
}

static void wait_until_waited_for(void)
{
	while (!(word & FUTEX_WAITERS))
		usleep(1000);
	usleep(10000);
}

static void handed_over(void)
{
	pthread_t t[3];
	int got[3] = {0};

	futex(&word, LOCK, 0, NULL, NULL, 0);
	for (int i = 0; i < 3; i++)
		pthread_create(&t[i], NULL, wait_for_it, &got[i]);
	wait_until_waited_for();
	printf("wake %d\n", futex(&word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0));
	printf("unlock %d\n", futex(&word, UNLOCK, 0, NULL, NULL, 0));
	for (int i = 0; i < 3; i++)
		pthread_join(t[i], NULL);
	printf("got it %d %d %d, word %x\n", got[0], got[1], got[2], word);
}

static void nothing(int signo)
{
	(void)signo;
}

static void not_interrupted(void)
{
	pthread_t t;
	int got = 0;

	signal(SIGUSR1, nothing);
	futex(&word, LOCK, 0, NULL, NULL, 0);
	pthread_create(&t, NULL, wait_for_it, &got);
	wait_until_waited_for();
	for (int i = 0; i < 5; i++) {
		pthread_kill(t, SIGUSR1);
		usleep(2000);
	}
	futex(&word, UNLOCK, 0, NULL, NULL, 0);
	pthread_join(t, NULL);
	printf("got it %d\n", got);
}

static void *lock_and_end(void *arg)
{
	pthread_mutex_lock(arg);
	usleep(30000);
	return NULL;
}

static void owner_dies(void)
{
	pthread_mutexattr_t a;
	pthread_mutex_t m;
	pthread_t t;

	pthread_mutexattr_init(&a);
	pthread_mutexattr_setprotocol(&a, PTHREAD_PRIO_INHERIT);
	pthread_mutexattr_setrobust(&a, PTHREAD_MUTEX_ROBUST);
	printf("init %d\n", pthread_mutex_init(&m, &a));
	pthread_create(&t, NULL, lock_and_end, &m);
	usleep(10000);
	printf("lock %d\n", pthread_mutex_lock(&m));
	printf("consistent %d\n", pthread_mutex_consistent(&m));
	printf("unlock %d\n", pthread_mutex_unlock(&m));
	pthread_join(t, NULL);
	printf("lock %d\n", pthread_mutex_lock(&m));
}

static long counter;
static pthread_mutex_t shared_lock;

static void *count(void *arg)
{
	(void)arg;
	for (int i = 0; i < 2000; i++) {
		pthread_mutex_lock(&shared_lock);
		counter++;
		pthread_mutex_unlock(&shared_lock);
	}
	return NULL;
}

static void many(void)
{
	pthread_mutexattr_t a;
	pthread_t t[4];

	pthread_mutexattr_init(&a);
	pthread_mutexattr_setprotocol(&a, PTHREAD_PRIO_INHERIT);
	pthread_mutex_init(&shared_lock, &a);
	for (int i = 0; i < 4; i++)
		pthread_create(&t[i], NULL, count, NULL);
	for (int i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
	printf("counted %ld\n", counter);
}

static void between_processes(void)
{
	_Atomic uint32_t *shared =
		mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int status;

	futex(shared, FUTEX_LOCK_PI, 0, NULL, NULL, 0);
	if (!fork()) {
		int ret = futex(shared, FUTEX_LOCK_PI, 0, NULL, NULL, 0);
		printf("child %d, owner %d\n", ret, (*shared & FUTEX_TID_MASK) == own());
		futex(shared, FUTEX_UNLOCK_PI, 0, NULL, NULL, 0);
		_exit(0);
	}
	while (!(*shared & FUTEX_WAITERS))
		usleep(1000);
	usleep(10000);
	int ret = futex(shared, FUTEX_UNLOCK_PI, 0, NULL, NULL, 0);
	wait(&status);
	printf("unlock %d word %x\n", ret, *shared);
}

/* --- from a condition to its lock ------------------------------------------------------------ */

static void *wait_for_condition(void *arg)
{
	int ret = futex(&word2, FUTEX_WAIT_REQUEUE_PI_PRIVATE, 7, NULL, &word, FUTEX_BITSET_MATCH_ANY);

	*(int *)arg = ret ? ret : (word & FUTEX_TID_MASK) == own();
	futex(&word, UNLOCK, 0, NULL, NULL, 0);
	return NULL;
}

static void requeue(void)
{
	struct timespec at = soon(CLOCK_MONOTONIC, 20);
	pthread_t t[2];
	int got[2] = {0}, n = 0;

	word2 = 7;
	printf("late %d\n",
	       futex(&word2, FUTEX_WAIT_REQUEUE_PI_PRIVATE, 7, &at, &word, FUTEX_BITSET_MATCH_ANY));
	printf("changed %d\n",
	       futex(&word2, FUTEX_WAIT_REQUEUE_PI_PRIVATE, 8, NULL, &word, FUTEX_BITSET_MATCH_ANY));
	printf("itself %d\n",
	       futex(&word, FUTEX_WAIT_REQUEUE_PI_PRIVATE, 0, NULL, &word, FUTEX_BITSET_MATCH_ANY));
	printf("wakes one %d\n", futex(&word2, FUTEX_CMP_REQUEUE_PI_PRIVATE, 2, (void *)1, &word, 7));
	printf("compares %d\n", futex(&word2, FUTEX_CMP_REQUEUE_PI_PRIVATE, 1, (void *)1, &word, 8));
	for (int i = 0; i < 2; i++)
		pthread_create(&t[i], NULL, wait_for_condition, &got[i]);
	usleep(50000);
	while (n < 2) {
		int ret = futex(&word2, FUTEX_CMP_REQUEUE_PI_PRIVATE, 1, (void *)5, &word, 7);
		if (ret < 0)
			printf("requeue %d\n", ret);
		n += ret < 0 ? 2 : ret;
	}
	for (int i = 0; i < 2; i++)
		pthread_join(t[i], NULL);
	printf("got it %d %d, word %x\n", got[0], got[1], word);
}

/* --- many words ------------------------------------------------------------------------------ */

static int waitv(const struct futex_waitv *v, unsigned int nr, unsigned int flags, const struct timespec *at)
{
	long ret = syscall(SYS_futex_waitv, v, nr, flags, at, CLOCK_MONOTONIC);

	return ret < 0 ? -errno : (int)ret;
}

static void *wake_later(void *arg)
{
	do
		usleep(20000);
	while (!futex(arg, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0));
	return NULL;
}

static void many_words(void)
{
	static _Atomic uint32_t words[3];
	struct futex_waitv v[3];
	struct timespec at = soon(CLOCK_MONOTONIC, 20);
	pthread_t t;

	for (int i = 0; i < 3; i++)
		v[i] = (struct futex_waitv){.uaddr = (uintptr_t)&words[i],
					    .flags = FUTEX_32 | FUTEX_PRIVATE_FLAG};
	printf("late %d\n", waitv(v, 3, 0, &at));
	printf("none %d, too many %d, flags %d\n", waitv(v, 0, 0, NULL), waitv(v, 129, 0, NULL),
	       waitv(v, 1, 1, NULL));
	words[1] = 1;
	printf("changed %d\n", waitv(v, 3, 0, NULL));
	words[1] = 0;
	v[2].flags = FUTEX_PRIVATE_FLAG;
	printf("no size %d\n", waitv(v, 3, 0, NULL));
	v[2].flags = FUTEX_32 | FUTEX_PRIVATE_FLAG;
	v[2].__reserved = 1;
	printf("reserved %d\n", waitv(v, 3, 0, NULL));
	v[2].__reserved = 0;
	v[2].uaddr++;
	printf("not aligned %d\n", waitv(v, 3, 0, NULL));
	v[2].uaddr--;
	pthread_create(&t, NULL, wake_later, &words[2]);
	printf("woken %d\n", waitv(v, 3, 0, NULL));
	pthread_join(t, NULL);
}

static const struct guest_case cases[] = {
	{"FUTEX_LOCK_PI: one owner, and what is refused [J2]", one_owner},
	{"FUTEX_LOCK_PI: handed over to those who wait [J2]", handed_over},
	{"FUTEX_LOCK_PI: signals do not end the wait [J2]", not_interrupted},
	{"FUTEX_LOCK_PI: a robust lock whose owner dies [J2]", owner_dies},
	{"FUTEX_LOCK_PI: a mutex of many [J2]", many},
	{"FUTEX_LOCK_PI: between processes [J2]", between_processes},
	{"FUTEX_WAIT_REQUEUE_PI: from a condition to its lock [J2]", requeue},
	{"futex_waitv: the first of many words [J2]", many_words},
};

int main(int argc, char **argv)
{
	if (cases_listed(argc, argv, cases, NR_CASES(cases)))
		return 0;
	setvbuf(stdout, NULL, _IONBF, 0);
	cases_run(argc, argv, cases, NR_CASES(cases), case_in_child);
	return 0;
}
