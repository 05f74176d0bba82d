/* SPDX-License-Identifier: MIT */
/*
 * same_threads.c - threads, as a C library makes them, and the futexes under them.
 */
#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "case.h"

static long futex(void *word, int op, uint32_t value, const void *timeout, void *word2, uint32_t value3)
{
	return syscall(SYS_futex, word, op, value, timeout, word2, value3);
}

static int said(long ret)
{
	return ret < 0 ? -errno : (int)ret;
}

/* --- create and join ------------------------------------------------------------------------ */

static void *square(void *arg)
{
	intptr_t n = (intptr_t)arg;

	return (void *)(n * n);
}

static void joins(void)
{
	pthread_t thread[16];
	intptr_t sum = 0;

	for (intptr_t i = 0; i < 16; i++)
		if (pthread_create(&thread[i], NULL, square, (void *)i))
			printf("no thread %d\n", (int)i);
	for (int i = 0; i < 16; i++) {
		void *result;
		pthread_join(thread[i], &result);
		sum += (intptr_t)result;
	}
	printf("sum %d\n", (int)sum);
}

static __thread int own = 5;

static void *count_own(void *arg)
{
	(void)arg;
	own += 1;
	return (void *)(intptr_t)own;
}

static void thread_local_words(void)
{
	pthread_t a, b;
	void *ra, *rb;

	own = 100;
	pthread_create(&a, NULL, count_own, NULL);
	pthread_create(&b, NULL, count_own, NULL);
	pthread_join(a, &ra);
	pthread_join(b, &rb);
	printf("%d %d %d\n", (int)(intptr_t)ra, (int)(intptr_t)rb, own);
}

static void *ids(void *arg)
{
	pid_t *tid = arg;

	tid[0] = (pid_t)syscall(SYS_gettid);
	tid[1] = getpid();
	tid[2] = getppid();
	return NULL;
}

static void thread_ids(void)
{
	pid_t tid[3];
	pthread_t t;

	pthread_create(&t, NULL, ids, tid);
	pthread_join(t, NULL);
	printf("own tid %d same pid %d same parent %d tid above pid %d\n", tid[0] != getpid(),
	       tid[1] == getpid(), tid[2] == getppid(), tid[0] > 0);
	printf("main tid is pid: %d\n", syscall(SYS_gettid) == getpid());
	while (!syscall(SYS_tgkill, getpid(), tid[0], 0))
		sched_yield(); /* it is joined a moment before it has ended */
	printf("tgkill of a thread that ended: %d\n", said(syscall(SYS_tgkill, getpid(), tid[0], 0)));
}

/* --- mutexes and conditions ----------------------------------------------------------------- */

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static long counter;
static int turn;

static void *count(void *arg)
{
	(void)arg;
	for (int i = 0; i < 2000; i++) {
		pthread_mutex_lock(&mutex);
		counter++;
		pthread_mutex_unlock(&mutex);
		if (i % 100 == 0)
			sched_yield();
	}
	return NULL;
}

static void mutual_exclusion(void)
{
	pthread_t t[4];

	counter = 0;
	for (int i = 0; i < 4; i++)
		pthread_create(&t[i], NULL, count, NULL);
	for (int i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
	printf("%ld\n", counter);
}

static void *alternate(void *arg)
{
	int me = (int)(intptr_t)arg;

	for (int i = 0; i < 50; i++) {
		pthread_mutex_lock(&mutex);
		while (turn != me)
			pthread_cond_wait(&cond, &mutex);
		turn = !turn;
		counter++;
		pthread_cond_broadcast(&cond);
		pthread_mutex_unlock(&mutex);
	}
	return NULL;
}

static void conditions(void)
{
	pthread_t t[2];

	counter = turn = 0;
	for (intptr_t i = 0; i < 2; i++)
		pthread_create(&t[i], NULL, alternate, (void *)i);
	for (int i = 0; i < 2; i++)
		pthread_join(t[i], NULL);
	printf("%ld turns\n", counter);
}

static void *meet(void *arg)
{
	return (void *)(intptr_t)pthread_barrier_wait(arg);
}

static void barriers(void)
{
	pthread_barrier_t b;
	pthread_t t[5];
	int serial = 0;

	pthread_barrier_init(&b, NULL, 5);
	for (int i = 0; i < 5; i++)
		pthread_create(&t[i], NULL, meet, &b);
	for (int i = 0; i < 5; i++) {
		void *r;
		pthread_join(t[i], &r);
		serial += (int)(intptr_t)r == PTHREAD_BARRIER_SERIAL_THREAD;
	}
	printf("serial threads: %d\n", serial);
}

static void *die_with_lock(void *arg)
{
	pthread_mutex_lock(arg);
	return NULL;
}

static void robust_locks(void)
{
	pthread_mutexattr_t attr;
	pthread_mutex_t m;
	pthread_t t;

	pthread_mutexattr_init(&attr);
	pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
	pthread_mutex_init(&m, &attr);
	pthread_create(&t, NULL, die_with_lock, &m);
	pthread_join(t, NULL);
	int ret = pthread_mutex_lock(&m);
	printf("owner died: %d\n", ret == EOWNERDEAD);
	printf("consistent: %d\n", pthread_mutex_consistent(&m));
	printf("unlock: %d\n", pthread_mutex_unlock(&m));
}

static void timed_locks(void)
{
	struct timespec at;

	pthread_mutex_lock(&mutex);
	clock_gettime(CLOCK_REALTIME, &at);
	at.tv_nsec += 20000000;
	if (at.tv_nsec >= 1000000000) {
		at.tv_nsec -= 1000000000;
		at.tv_sec++;
	}
	printf("timed out: %d\n", pthread_mutex_timedlock(&mutex, &at) == ETIMEDOUT);
	pthread_mutex_unlock(&mutex);
}

/* --- futex(2) itself ------------------------------------------------------------------------ */

static void futex_errors(void)
{
	uint32_t word = 1, word2 = 1;
	struct timespec bad = {0, 1000000000}, none = {0, 0};

	printf("other value: %d\n", said(futex(&word, FUTEX_WAIT_PRIVATE, 2, NULL, NULL, 0)));
	printf("no time: %d\n", said(futex(&word, FUTEX_WAIT_PRIVATE, 1, &none, NULL, 0)));
	printf("bad time: %d\n", said(futex(&word, FUTEX_WAIT_PRIVATE, 1, &bad, NULL, 0)));
	printf("not aligned: %d\n", said(futex((char *)&word + 1, FUTEX_WAIT_PRIVATE, 1, NULL, NULL, 0)));
	printf("not mapped: %d\n", said(futex((void *)16, FUTEX_WAIT_PRIVATE, 1, NULL, NULL, 0)));
	printf("no bits: %d\n", said(futex(&word, FUTEX_WAIT_BITSET_PRIVATE, 1, NULL, NULL, 0)));
	printf("wake no bits: %d\n", said(futex(&word, FUTEX_WAKE_BITSET_PRIVATE, 1, NULL, NULL, 0)));
	printf("wake none: %d\n", said(futex(&word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0)));
	printf("requeue, other value: %d\n",
	       said(futex(&word, FUTEX_CMP_REQUEUE_PRIVATE, 1, (void *)1, &word2, 7)));
	printf("requeue nobody: %d\n",
	       said(futex(&word, FUTEX_CMP_REQUEUE_PRIVATE, 1, (void *)1, &word2, 1)));
	printf("requeue -1: %d\n",
	       said(futex(&word, FUTEX_CMP_REQUEUE_PRIVATE, (uint32_t)-1, (void *)1, &word2, 1)));
	printf("unknown: %d\n", said(futex(&word, 77, 1, NULL, NULL, 0)));
	printf("wake op: %d %u\n",
	       said(futex(&word, FUTEX_WAKE_OP_PRIVATE, 1, (void *)1, &word2,
			  FUTEX_OP(FUTEX_OP_ADD, 5, FUTEX_OP_CMP_EQ, 1))),
	       word2);
}

static _Atomic uint32_t gate, ready;

static void *wait_at_gate(void *arg)
{
	atomic_fetch_add(&ready, 1);
	long ret = futex(&gate, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0);

	(void)arg;
	return (void *)ret;
}

/* Waits until that many threads sleep: a requeue of nobody to nowhere tells. */
static void until_asleep(uint32_t nr)
{
	static uint32_t nowhere;

	while (atomic_load(&ready) < nr)
		sched_yield();
	while ((uint32_t)futex(&gate, FUTEX_REQUEUE_PRIVATE, 0, (void *)(uintptr_t)nr, &nowhere, 0) +
		       (uint32_t)futex(&nowhere, FUTEX_REQUEUE_PRIVATE, 0, (void *)(uintptr_t)nr, &gate, 0) <
	       2 * nr)
		sched_yield();
}

static void requeues(void)
{
	static uint32_t other;
	pthread_t t[4];

	gate = ready = 0;
	for (int i = 0; i < 4; i++)
		pthread_create(&t[i], NULL, wait_at_gate, NULL);
	until_asleep(4);
	printf("requeue: %ld\n", futex(&gate, FUTEX_CMP_REQUEUE_PRIVATE, 1, (void *)2, &other, 0));
	printf("wake at the gate: %ld\n", futex(&gate, FUTEX_WAKE_PRIVATE, 9, NULL, NULL, 0));
	printf("wake at the other: %ld\n", futex(&other, FUTEX_WAKE_PRIVATE, 9, NULL, NULL, 0));
	for (int i = 0; i < 4; i++) {
		void *r;
		pthread_join(t[i], &r);
		printf("woken: %ld\n", (long)r);
	}
}

/* A shared mapping seen twice is one word. */
static void *wait_shared(void *arg)
{
	return (void *)futex(arg, FUTEX_WAIT, 0, NULL, NULL, 0);
}

static void shared_words(void)
{
	uint32_t *a = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	uint32_t *b = mremap(a, 0, 4096, MREMAP_MAYMOVE);
	pthread_t t;
	long woken;
	void *r;

	printf("twice: %d\n", b != MAP_FAILED && a != b);
	pthread_create(&t, NULL, wait_shared, a);
	while (!(woken = futex(b, FUTEX_WAKE, 1, NULL, NULL, 0)))
		sched_yield();
	pthread_join(t, &r);
	printf("woken %ld, waiter %ld\n", woken, (long)r);
}

/* --- signals -------------------------------------------------------------------------------- */

static _Atomic int handled_by;
static _Atomic int nr_handled;

static void handler(int signo)
{
	(void)signo;
	atomic_store(&handled_by, (int)syscall(SYS_gettid));
	atomic_fetch_add(&nr_handled, 1);
}

static _Atomic int sleeper_tid;

static void *sleeper(void *arg)
{
	struct timespec forever = {100, 0};

	(void)arg;
	atomic_store(&sleeper_tid, (int)syscall(SYS_gettid));
	int ret = nanosleep(&forever, NULL);
	return (void *)(intptr_t)(ret ? errno : 0);
}

static void directed_signals(void)
{
	struct sigaction sa = {.sa_handler = handler};
	pthread_t t;
	void *r;

	sigaction(SIGUSR1, &sa, NULL);
	nr_handled = sleeper_tid = 0;
	pthread_create(&t, NULL, sleeper, NULL);
	while (!atomic_load(&sleeper_tid))
		sched_yield();
	usleep(20000);
	pthread_kill(t, SIGUSR1);
	pthread_join(t, &r);
	printf("sleep ended: %d, in its own thread: %d\n", (int)(intptr_t)r, handled_by == sleeper_tid);
	printf("handled %d\n", nr_handled);
}

static void process_signals(void)
{
	struct sigaction sa = {.sa_handler = handler};
	sigset_t set, old, pending;
	pthread_t t;
	void *r;

	sigaction(SIGUSR2, &sa, NULL);
	nr_handled = sleeper_tid = 0;
	pthread_create(&t, NULL, sleeper, NULL);
	while (!atomic_load(&sleeper_tid))
		sched_yield();
	usleep(20000);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	pthread_sigmask(SIG_BLOCK, &set, &old);
	kill(getpid(), SIGUSR2);
	pthread_join(t, &r);
	printf("the thread that may took it: %d %d\n", (int)(intptr_t)r, handled_by == sleeper_tid);
	kill(getpid(), SIGUSR2);
	sigpending(&pending);
	printf("now it waits: %d\n", sigismember(&pending, SIGUSR2));
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	printf("handled %d, by main: %d\n", nr_handled, handled_by == getpid());
}

/* --- descriptors ---------------------------------------------------------------------------- */

static void *read_pipe(void *arg)
{
	char c = 0;
	ssize_t n = read(*(int *)arg, &c, 1);

	return (void *)(intptr_t)(n == 1 ? c : (int)n);
}

static void pipes_between_threads(void)
{
	int fds[2];
	pthread_t t;
	void *r;

	if (pipe(fds))
		return;
	pthread_create(&t, NULL, read_pipe, &fds[0]);
	usleep(10000);
	if (write(fds[1], "x", 1) != 1)
		puts("not written");
	pthread_join(t, &r);
	printf("read %d\n", (int)(intptr_t)r);
	pthread_create(&t, NULL, read_pipe, &fds[0]);
	usleep(10000);
	close(fds[1]);
	pthread_join(t, &r);
	printf("end of file %d\n", (int)(intptr_t)r);
	close(fds[0]);
}

/* --- the registers of a clone --------------------------------------------------------------- */

static void *vectors(void *arg)
{
	double x = 1.5;

	for (int i = 0; i < 100000; i++)
		x = x * 1.0000001 + *(double *)arg;
	return x > 0 ? (void *)1 : NULL;
}

static void floating_point(void)
{
	double a = 0.25, b = 0.5;
	pthread_t t, u;
	void *r, *s;

	pthread_create(&t, NULL, vectors, &a);
	pthread_create(&u, NULL, vectors, &b);
	pthread_join(t, &r);
	pthread_join(u, &s);
	printf("%d %d\n", r != NULL, s != NULL);
}

static const struct guest_case cases[] = {
	{"threads: sixteen are made and joined, with their results [J2]", joins},
	{"threads: each has its own thread-local words [A7]", thread_local_words},
	{"threads: one pid, many tids [J2]", thread_ids},
	{"threads: a mutex lets one in at a time [A14]", mutual_exclusion},
	{"threads: two take turns by a condition [J2]", conditions},
	{"threads: a barrier has one serial thread [J2]", barriers},
	{"threads: a robust mutex says that its owner died [J2]", robust_locks},
	{"threads: a lock with a deadline gives up [J2]", timed_locks},
	{"futex: errors, in Linux's order [J2]", futex_errors},
	{"futex: requeueing moves waiters to another word [J2]", requeues},
	{"futex: a shared page seen at two addresses is one word [J2]", shared_words},
	{"signals: one for a thread goes to that thread [A14]", directed_signals},
	{"signals: one for the process goes to whoever does not block it [A14]", process_signals},
	{"threads: a pipe between two, and its end [J2]", pipes_between_threads},
	{"threads: vector registers are each thread's own [A14]", floating_point},
};

int main(int argc, char **argv)
{
	if (cases_listed(argc, argv, cases, NR_CASES(cases)))
		return 0;
	setvbuf(stdout, NULL, _IONBF, 0);
	cases_run(argc, argv, cases, NR_CASES(cases), NULL);
	return 0;
}
