/* SPDX-License-Identifier: MIT */
/* space.h - what the public types are made of. Only the files that implement lodge.h include it. */
#ifndef LODGE_LINUX_SPACE_H
#define LODGE_LINUX_SPACE_H

#include "../uffd/arena.h"
#include "hostfile.h"
#include "process.h"
#include "vdso.h"

struct khugepaged;
struct kswapd;
struct zeropool_thread;

struct lodge_host {
	struct arena arena;
	bool has_arena;
	struct vm *vm;
	struct hostfile_table hostfiles;
	struct vdso vdso;
	struct inject *inject;
	int nr_swaps;			     /* that have a priority of their own */
	struct zeropool_thread *zero_thread; /* NULL: not asked for */
	struct khugepaged *khugepaged;	     /* likewise */
	struct kswapd *kswapd;
};

struct lodge_space {
	struct lodge_host *host;
	struct sandbox *sandbox;
	struct shm_ns *shm;
	bool loaded; /* a program is there that did not run yet */
	bool ended;  /* it runs, or did */
};

#endif
