/* SPDX-License-Identifier: MIT */
/*
 * lazy.h - blocks of host memory whose contents come when they are touched: by a guest in KVM, by the kernel for a call, or by us.
 *
 *	a touch --> the kernel waits --> handler: reads pages of the source, puts them in place (userfault.h), and who waits goes on
 *
 *   Z1  a block is 2 MiB, aligned, and armed from lazy_arm until every page of it is there or gone; only armed blocks are registered, all
 *	 other memory keeps its huge pages
 *   Z2  a page is missing, there, or gone: thrown away by lazy_discard, and zeroes when it is touched
 *   Z3  contents of a source that are not right never come into place: the source fails, says so (ops.failed) and only then the page is
 *	 zeroes; whoever might use them has been stopped by then
 *   Z4  nobody waits for a handler that is gone: its end fails all sources and disarms all blocks
 *
 * How much comes at once: 16 pages for the first touch of a block, 128 for the second, then all of it; a block behind one that has become
 * whole comes as a whole. A whole block is read into a huge page of the handler's and moved into place (UFFDIO_MOVE), so that it stays
 * huge; without MOVE it is copied.
 *
 * There are as many handlers as there are touches at a time, up to LAZY_MAX_HANDLERS and the number of processors.
 * Locking: lazy->lock for the table, the lists and the handlers; each block's lock for its pages, held while they are read. lazy->lock comes
 * inside a block's. No handler takes a lock of the core's, since a thread that has them may wait for it.
 */
#ifndef LODGE_UFFD_LAZY_H
#define LODGE_UFFD_LAZY_H

#include "../mm/list.h"
#include "../mm/page.h"
#include "../mm/supply.h"

#define LAZY_BLOCK_PAGES  512u
#define LAZY_MAX_HANDLERS 4u

struct lazy;
struct lazy_source;

/* What happens to an answer on purpose, in tests. */
enum lazy_trouble {
	LAZY_NO_TROUBLE,
	LAZY_DROP, /* it is lost; who waits asks again */
	LAZY_DIE,  /* the handler ends in the middle of it */
};

struct lazy_source_ops {
	/* Pages [first, first + nr) into `to`. 0, or -errno and *right: those from the first one on that are as they should be. */
	int (*read)(struct lazy_source *s, uint64_t first, unsigned int nr, char *to, unsigned int *right);
	/*
	 * supply.cause is set, and zeroes are about to stand where something else should: stops whoever has the supply. Each time, for
	 * somebody may have come who did not see the cause yet. On a handler.
	 */
	void (*failed)(struct lazy_source *s);
	enum lazy_trouble (*trouble)(struct lazy_source *s); /* NULL: none */
	/* No block has it any more; it may be freed. */
	void (*release)(struct lazy_source *s);
};

/* Embedded by its owner. */
struct lazy_source {
	struct supply supply;
	const struct lazy_source_ops *ops;
	struct lazy *lazy;
	struct list_head node;	 /* (lazy->lock) lazy->sources */
	struct list_head blocks; /* (lazy->lock) struct lazy_block */
	_Atomic uint64_t hot; /* (A) the page of the source that a block begins with that comes as a whole */
};

struct lazy_setup {
	char *base; /* blocks lie in [base, base + bytes) */
	uint64_t bytes;
	unsigned int window_pages; /* that come at once: a power of two up to LAZY_BLOCK_PAGES; 0: as above */
};

/* Opens the door. 0, or -errno and *why in one line, as userfault_open; -ENOMEM. */
int lazy_create(const struct lazy_setup *setup, struct lazy **result, const char **why);

/* No block is armed any more, and nobody touches one. NULL is allowed. */
void lazy_destroy(struct lazy *z);

/* A source with one reference to its supply, the caller's. */
void lazy_source_init(struct lazy *z, struct lazy_source *s, const struct lazy_source_ops *ops);

/*
 * The 2 MiB at `block`, which nobody touches and whose contents do not matter, are pages of the source from `first` on, as long as somebody
 * has its supply. 0; -EIO: the handlers are gone; -ENOMEM.
 */
int lazy_arm(struct lazy_source *s, char *block, uint64_t first);

/* Throws the memory of a range away, which nobody touches, armed or not: it is zeroes from here on. z may be NULL. 0 or -errno. */
int lazy_discard(struct lazy *z, char *start, uint64_t bytes);

struct lazy_stats {
	uint64_t faults;     /* that were answered */
	uint64_t pages;	     /* brought */
	uint64_t whole;	     /* blocks that came as a whole */
	uint64_t zero_pages; /* that had been thrown away, or whose source has failed */
	uint64_t armed;	     /* blocks, now */
	unsigned int handlers;
};

void lazy_stats(struct lazy *z, struct lazy_stats *stats);

#endif
