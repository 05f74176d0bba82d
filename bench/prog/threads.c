/* SPDX-License-Identifier: MIT */
/*
 * threads.c - what threads cost each other.
 *
 *	threads create	us for a thread made and joined
 *	threads pingpong	us for a round trip by a futex between two threads that sleep in turn
 *	threads mutex	ns for each of two threads' turns with a mutex that both want all the time
 */
#include <linux/futex.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "clock.h"
#include "median.h"

#define ROUNDS 200
#define TRIPS  2000
#define TURNS  200000

static void *nothing(void *arg)
{
	return arg;
}

static int create(void)
{
	double us[ROUNDS];

	for (int i = 0; i < ROUNDS; i++) {
		uint64_t begin = clock_now_ns();
		pthread_t thread;
		if (pthread_create(&thread, NULL, nothing, NULL) || pthread_join(thread, NULL))
			return 1;
		us[i] = (double)(clock_now_ns() - begin) / 1e3;
	}
	printf("* %.2f\n", median(us, ROUNDS));
	return 0;
}

static _Atomic uint32_t ball;

/* Waits for the ball to come to `side` and sends it back. */
static void play(uint32_t side)
{
	for (int i = 0; i < TRIPS; i++) {
		while (atomic_load(&ball) != side)
			syscall(SYS_futex, &ball, FUTEX_WAIT_PRIVATE, !side, NULL);
		atomic_store(&ball, !side);
		syscall(SYS_futex, &ball, FUTEX_WAKE_PRIVATE, 1);
	}
}

static void *other_side(void *arg)
{
	play(1);
	return arg;
}

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static uint64_t count;

static void *take_turns(void *arg)
{
	for (int i = 0; i < TURNS; i++) {
		pthread_mutex_lock(&mutex);
		count++;
		pthread_mutex_unlock(&mutex);
	}
	return arg;
}

static void *trips(void *arg)
{
	play(0);
	return arg;
}

/* ns for both to be through. */
static double together(void *(*mine)(void *), void *(*others)(void *))
{
	uint64_t begin = clock_now_ns();
	pthread_t thread;

	if (pthread_create(&thread, NULL, others, NULL))
		return -1;
	mine(NULL);
	pthread_join(thread, NULL);
	return (double)(clock_now_ns() - begin);
}

int main(int argc, char **argv)
{
	if (argc != 2)
		return 2;
	if (!strcmp(argv[1], "create"))
		return create();
	if (!strcmp(argv[1], "pingpong"))
		printf("* %.2f\n", together(trips, other_side) / 1e3 / TRIPS);
	else
		printf("* %.1f\n", together(take_turns, take_turns) / (2.0 * TURNS));
	return count && count != 2 * TURNS;
}
