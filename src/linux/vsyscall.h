/* SPDX-License-Identifier: MIT */
/*
 * vsyscall.h - the page at a fixed address where programs of long ago call for the time: gettimeofday, time, getcpu.
 *
 * Nothing is mapped there. A call is a fault, which is answered as the call would have been; the page cannot be read, as with
 * Linux's vsyscall=xonly.
 */
#ifndef LODGE_LINUX_VSYSCALL_H
#define LODGE_LINUX_VSYSCALL_H

#include "task.h"

#define VSYSCALL_START 0xffffffffff600000ull
#define VSYSCALL_END   0xffffffffff601000ull

/* Answers a fault, if that is what it is: true, and the task goes on, perhaps to a signal. */
bool vsyscall_emulate(struct task *t, const struct trap *trap);

#endif
