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
struct page_reporting;
struct prefetch;
struct zeropool_thread;

/* host_swap.c: nobody has pages on devices any more. */
void host_swap_off(struct mm_host *h);

struct lodge_host {
	struct arena arena;
	bool has_arena;
	struct vm *vm;
	struct hostfile_table hostfiles;
	struct vdso vdso;
	struct inject *inject;
	pthread_mutex_t swap_lock;	     /* held by who takes a swap device into use, or out of it */
	int nr_swaps;			     /* (swap_lock) without a priority of their own */
	struct zeropool_thread *zero_thread; /* NULL: not asked for */
	struct khugepaged *khugepaged;	     /* likewise */
	struct kswapd *kswapd;
	pthread_mutex_t
		image_lock; /* held by who opens a snapshot, or closes those that nobody has pages of */
	struct page_reporting *reporting; /* NULL: free memory stays */
};

struct lodge_space {
	struct lodge_host *host;
	struct sandbox *sandbox;
	struct shm_ns *shm;
	bool loaded;		   /* a program is there that did not run yet */
	bool ended;		   /* it runs, or did */
	struct prefetch *prefetch; /* of one that was loaded from a file, or NULL */
};

/* Closes the snapshots of which no space has pages any more. */
void host_drop_images(struct lodge_host *host);

/* The caller's options over the defaults, checked. 0 or -EINVAL. */
int space_read_options(struct lodge_space_options *o, const struct lodge_space_options *from,
		       struct lodge_error *err);
/* Those that can be given to a sandbox and its account at any time before it runs. */
void space_apply_options(struct sandbox *s, struct memcg *cg, const struct lodge_space_options *o);

#endif
