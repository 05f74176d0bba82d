/* SPDX-License-Identifier: MIT */
/*
 * failnth.h - fail the Nth allocation, for every N: the operation fails, the space is as it was, and nothing is lost. Then the same
 * operation, without a failure, works. An operation that never came to an allocation fails its test.
 */
#ifndef LODGE_TESTS_FAILNTH_H
#define LODGE_TESTS_FAILNTH_H

#include "fixture.h"

/* What a scene begins with: private memory here, shared memory and a file 1 and 2 MiB further on. */
#define FAILNTH_AT 0x10000000ull

struct scene {
	struct fixture *x;
	struct sim_file file;
	/* One attempt: 0, or not 0 when it failed for lack of memory. Must be repeatable after a failure. */
	int (*op)(struct scene *s);
	/* The free objects of slabs are used up but for `leave`, so that the next object but `leave` needs a new slab. */
	void *filler[4096];
	unsigned int nr_filler, leave;
	uint64_t injected;
	struct mm *child; /* forked from the space, or NULL */
};

struct scene *failnth_scene_new(void);
void failnth_scene_free(struct scene *s);

/* Prepares nothing; or: afterwards every table serves two spaces. */
void failnth_nothing(struct scene *s);
void failnth_fork(struct scene *s);

/*
 * Runs the operation with the first, second, ... allocation failing until one run had no failure; all of that with 0 to 3 objects free.
 * clean: after a failure everything is as it was; else what was done page by page before it stays.
 */
void failnth_run(void (*prepare)(struct scene *s), int (*op)(struct scene *s), bool clean);

/* The operation works whichever allocation fails, for it only asks for memory to give more of it back. */
void failnth_must_succeed(void (*prepare)(struct scene *s), int (*op)(struct scene *s));

#define FAIL_AFTER(name, prepare, clean)                \
	static void fail_##name(void **state)           \
	{                                               \
		(void)state;                            \
		failnth_run(prepare, op_##name, clean); \
	}
/* The same while all tables are shared with a child, who must not notice. */
#define FORKED(name, clean)                                  \
	static void forked_##name(void **state)              \
	{                                                    \
		(void)state;                                 \
		failnth_run(failnth_fork, op_##name, clean); \
	}
#define FAIL(name, clean) FAIL_AFTER(name, failnth_nothing, clean)

#endif
