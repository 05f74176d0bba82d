/* SPDX-License-Identifier: MIT */
/*
 * boot.h - the part of making a machine that can wait: its first processor, and the memory that its first program begins with.
 *
 * Both take as long as a small program takes to load. Where the host has a core that nobody wants a thread does them meanwhile, there;
 * otherwise whoever needs a processor first makes it. So a machine without a free core does nothing twice, and waits for no thread.
 *
 *	BOOT_DUE ---whoever is first, by exchange---> BOOT_BEGUN ---the same, under the lock---> BOOT_DONE
 *
 * A thread is told which cores it may use: schedulers that keep a new thread beside its maker exist, and with one of them it would begin
 * when its maker waits for it.
 * Locking: lock guards state where it becomes BOOT_DONE, and error; nothing is taken under it but what vcpu_prepare takes.
 */
#ifndef LODGE_VMM_BOOT_H
#define LODGE_VMM_BOOT_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

struct vm;

enum boot_state { BOOT_DUE, BOOT_BEGUN, BOOT_DONE };

struct boot {
	pthread_mutex_t lock;
	pthread_cond_t done;
	_Atomic int state; /* (A) enum boot_state */
	int error;	   /* once it is BOOT_DONE */
	pthread_t thread;
	bool has_thread;
};

void boot_init(struct boot *b);
/* Waits for its thread. */
void boot_destroy(struct boot *b);

/* Begins it on a free core, if there is one. The machine is complete but for it. */
void boot_start(struct vm *vm);

/* When it returns it has been done. 0 or -errno, every time the same. */
int boot_finish(struct vm *vm);

#endif
