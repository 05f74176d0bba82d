/* SPDX-License-Identifier: MIT */
/* quiet_thread.c - see quiet_thread.h. */
#include "quiet_thread.h"

#include <signal.h>

#include "types.h"

int quiet_thread_create(pthread_t *thread, size_t stack_bytes, int open, void *(*fn)(void *), void *arg)
{
	return quiet_thread_create_on(thread, stack_bytes, open, NULL, fn, arg);
}

int quiet_thread_create_on(pthread_t *thread, size_t stack_bytes, int open, const cpu_set_t *processors,
			   void *(*fn)(void *), void *arg)
{
	static const int own[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGABRT};
	sigset_t blocked, old;
	pthread_attr_t attr;

	sigfillset(&blocked);
	for (unsigned int i = 0; i < ARRAY_SIZE(own); i++)
		sigdelset(&blocked, own[i]);
	if (open)
		sigdelset(&blocked, open);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, stack_bytes);
	if (processors)
		pthread_attr_setaffinity_np(&attr, sizeof(*processors), processors);
	pthread_sigmask(SIG_SETMASK, &blocked, &old);
	int err = pthread_create(thread, &attr, fn, arg);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_attr_destroy(&attr);
	return -err;
}
