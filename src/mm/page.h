/* SPDX-License-Identifier: MIT */
/*
 * page.h - the frame table: one struct page for every frame, and the zones that own the free ones.
 *
 * The physical space of a host is one linear range. Frame n has its struct page at mem_map + n and its bytes at
 * direct_map + n * PAGE_SIZE; both ranges are reserved once and become real bank by bank, when a zone asks its bank_ops
 * for more. So pfn, struct page and host pointer turn into one another by arithmetic alone.
 *
 *	pfn 0            TABLE_END            NORMAL_START                  max_pfn
 *	 |   ZONE_TABLE      |   ZONE_OBJECT       |        ZONE_NORMAL ...    |
 *	 page tables, entry   lodge's own objects    frames that guests own
 *	 code (guest ring 0)  (never in a memslot)
 *
 *   P1  refs == 0 exactly for frames the allocator owns
 *   P2  a frame's mapcount is the number of page-table entries, in all spaces, that map it
 *   P3  refs >= mapcount, and the difference is held by pins, the page cache, or the caller of page_alloc
 * Locking: letters behind the fields. (Z) zone->lock  (A) atomic  (C) constant while the frame is allocated.
 * Not here: which frame to take (page_alloc.c), who may map it (fault.c).
 */
#ifndef LODGE_MM_PAGE_H
#define LODGE_MM_PAGE_H

#include <pthread.h>
#include <stdatomic.h>

#include "list.h"
#include "types.h"

struct address_space;
struct kmem_cache;
struct memcg;
struct slob;

#define MAX_ORDER	 11 /* block orders are 0..MAX_ORDER-1 */

#define TABLE_END_PFN	 (1ull << (30 - PAGE_SHIFT)) /* 1 GiB: what the kernel half of a guest maps */
#define NORMAL_START_PFN (1ull << (32 - PAGE_SHIFT)) /* 4 GiB */

enum zone_type {
	ZONE_TABLE, /* page tables, descriptor tables, entry code: supervisor-only in guests, never reclaimed */
	ZONE_OBJECT, /* object caches; not part of any guest's physical space */
	ZONE_NORMAL, /* what guests map */
	NR_ZONES,
};

/* Bits of page.flags. */
enum page_flags {
	PG_BUDDY = 1 << 0,    /* (Z) head of a free block: page.order is valid */
	PG_TABLE = 1 << 1,    /* in use as a page-table page */
	PG_SLAB = 1 << 2,     /* carved into objects */
	PG_RESERVED = 1 << 3, /* never freed: the zero page, the entry image */
	PG_ANON = 1 << 4,     /* anonymous memory of a guest; page.mapping is NULL */
	PG_CACHE = 1 << 5,    /* indexed by page.mapping at page.index */
	PG_UPTODATE = 1 << 6, /* (cache) holds what the file holds */
	PG_DIRTY = 1 << 7,    /* (cache) newer than the file */
	PG_FRESH = 1 << 8,    /* (Z) never handed out: the frame is still zero */
};

struct page {
	struct list_head node; /* (Z) free list while refs == 0, else the owner's list */
	union {
		struct address_space *mapping; /* (C) PG_CACHE: whose page it is */
		struct kmem_cache
			*slab_cache; /* (C) PG_SLAB, on every frame of a slab: whose objects these are */
	};
	union {
		uint64_t index; /* (C) PG_CACHE: page offset in mapping */
		struct {	/* PG_SLAB; (L) list_lock of the slab's node */
			uint16_t
				inuse; /* (L) objects outside the slab's free list; SLAB: active; SLOB: units left */
			uint16_t objects;   /* (C) in the slab */
			uint16_t slab_tail; /* (C) frames from the slab's first one, on every frame */
			uint16_t
				slab_fast : 9; /* (C) index into a thread's sheaves for kfree; 0: each free is slow */
			uint16_t slab_order : 4; /* (C) */
			uint16_t slab_node : 2;	 /* (C) virtual node */
		};
	};
	void *freelist; /* PG_SLAB: (L) first free object; SLAB: array of indices; SLOB: first free block */
	union {
		struct memcg *memcg; /* (C) who pays for the frame, or NULL */
		void *s_mem;	     /* (C) PG_SLAB: first object */
	};
	_Atomic uint32_t refs;	   /* (A) 0: owned by the allocator */
	_Atomic uint32_t mapcount; /* (A) page-table entries that map the frame */
	_Atomic uint32_t flags;	   /* (A) enum page_flags */
	uint8_t order;		   /* (Z) valid on the head of a free block only */
	uint8_t zone;		   /* (C) enum zone_type */
	uint16_t unused;
};
_Static_assert(sizeof(struct page) == 64, "page <-> pfn is a shift");

struct free_area {
	struct list_head free_list;
	uint64_t nr_free; /* blocks */
};

struct zone {
	pthread_mutex_t lock; /* rank LOCK_ZONE; nothing but bank_ops is called under it */
	enum zone_type type;
	struct free_area free_area[MAX_ORDER]; /* (Z) */
	uint64_t nr_free_pages;		       /* (Z) on free lists */
	uint64_t present_pages;		       /* (Z) in banks: free + allocated + fresh */
	/* Frames of the newest bank that were never handed out: still zero, their struct pages not yet set up. */
	pfn_t fresh_pfn, bank_end_pfn; /* (Z) */
	pfn_t start_pfn, limit_pfn;    /* (C) the zone's part of the physical space */
};

/*
 * How a zone gets more memory. add_bank makes [start, start + *nr_pages) of the direct map usable and zero (for a guest
 * zone: also part of the guest's physical space); it may lower *nr_pages to a multiple of 512. Returns 0 or -errno.
 */
struct bank_ops {
	int (*add_bank)(void *ctx, enum zone_type zone, pfn_t start, uint64_t *nr_pages);
};

struct frames {
	struct page *mem_map; /* (C) */
	char *direct_map;     /* (C) host address of frame 0 */
	pfn_t max_pfn;	      /* (C) */
	struct zone zone[NR_ZONES];
	struct page *zero_page; /* (C) the frame every untouched anonymous page reads from */
	const struct bank_ops *bank_ops;
	void *bank_ctx;
	/* Induced failures: when fail_in is positive it counts down at each allocation, and the one that makes it 0 fails. */
	_Atomic long fail_in;	  /* (A) */
	_Atomic uint64_t nr_fail; /* (A) allocations that were made to fail */
	uint32_t kmem_backend;	  /* (C) enum kmem_backend of the host's own caches */
	struct slob *slob;	  /* (kmem registry) the SLOB heap of these frames; NULL: no cache uses it */
};

static inline pfn_t page_to_pfn(const struct frames *f, const struct page *page)
{
	return (pfn_t)(page - f->mem_map);
}

static inline struct page *pfn_to_page(const struct frames *f, pfn_t pfn)
{
	return f->mem_map + pfn;
}

static inline gpa_t page_to_gpa(const struct frames *f, const struct page *page)
{
	return page_to_pfn(f, page) << PAGE_SHIFT;
}

static inline void *pfn_address(const struct frames *f, pfn_t pfn)
{
	return f->direct_map + (pfn << PAGE_SHIFT);
}

static inline void *page_address(const struct frames *f, const struct page *page)
{
	return pfn_address(f, page_to_pfn(f, page));
}

/*
 * Sets up an empty frame table over a reserved direct map of max_pfn frames at `direct_map` (caller's, 2 MiB aligned; it
 * must outlive the table). Frames come later, from ops. Returns 0 or -ENOMEM.
 */
int frames_init(struct frames *f, void *direct_map, pfn_t max_pfn, const struct bank_ops *ops, void *ctx);

/* Releases the table. Every frame must have been freed; frames_leaked tells. */
void frames_destroy(struct frames *f);

/* Frames of guests and tables that are allocated and not PG_RESERVED: 0 when every space is gone. */
uint64_t frames_leaked(const struct frames *f);

#endif
