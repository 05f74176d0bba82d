/* SPDX-License-Identifier: MIT */
/*
 * supply.h - whoever brings what is in frames that spaces map already, when they are touched.
 *
 * To the core such frames are like any others: who reads one waits until it holds what it should. A supply that cannot go on says why; from
 * then on what comes is zeroes, so that nobody waits for ever, and no space that has the supply may run, or be read, again.
 *
 * A space has its supply from mm_restore_block on, its children and clones have it too; the last one to go calls release. Then none of
 * its frames is mapped.
 */
#ifndef LODGE_MM_SUPPLY_H
#define LODGE_MM_SUPPLY_H

#include <stdatomic.h>
#include <stdint.h>

struct supply {
	_Atomic uint64_t refs;			/* (A) */
	_Atomic(const char *) cause;		/* (A) static text: why it cannot go on; NULL: it can */
	void (*release)(struct supply *supply); /* (C) any thread, without a lock of the core */
};

static inline struct supply *supply_get(struct supply *s)
{
	if (s)
		atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
	return s;
}

static inline void supply_put(struct supply *s)
{
	if (s && atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) == 1)
		s->release(s);
}

static inline const char *supply_cause(const struct supply *s)
{
	return s ? atomic_load_explicit(&s->cause, memory_order_acquire) : NULL;
}

#endif
