/* SPDX-License-Identifier: MIT */
/*
 * terminal.h - the state of the caller's terminal, so that a guest that changed it and died leaves no mess.
 */
#ifndef LODGE_CLI_TERMINAL_H
#define LODGE_CLI_TERMINAL_H

#include <termios.h>

struct terminal {
	int fd; /* the first of descriptors 0, 1, 2 that is a terminal; -1: none is */
	struct termios saved;
};

void terminal_save(struct terminal *t);

/* Async-signal-safe, and may be called more than once. */
void terminal_restore(const struct terminal *t);

#endif
