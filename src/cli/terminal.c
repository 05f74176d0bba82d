/* SPDX-License-Identifier: MIT */
#include "terminal.h"

#include <signal.h>
#include <stddef.h>

void terminal_save(struct terminal *t)
{
	for (t->fd = 0; t->fd <= 2; t->fd++)
		if (!tcgetattr(t->fd, &t->saved))
			return;
	t->fd = -1;
}

void terminal_restore(const struct terminal *t)
{
	sigset_t ttou, old;

	if (t->fd < 0)
		return;
	/* In the background this would otherwise stop us. */
	sigemptyset(&ttou);
	sigaddset(&ttou, SIGTTOU);
	pthread_sigmask(SIG_BLOCK, &ttou, &old);
	tcsetattr(t->fd, TCSANOW, &t->saved);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
}
