/* SPDX-License-Identifier: MIT */
/*
 * page.h - the frame table: one struct page for every frame, and the nodes and zones that own the free ones.
 *
 * The physical space of a host is one linear range. Frame n has its struct page at mem_map + n and its bytes at
 * direct_map + n * PAGE_SIZE; both ranges are reserved once and become real bank by bank, when a zone asks its bank_ops
 * for more. So pfn, struct page and host pointer turn into one another by arithmetic alone.
 *
 *	pfn 0            TABLE_END       DMA32_START   DMA32_END  NORMAL_START                       max_pfn
 *	 |   ZONE_TABLE      |  ZONE_OBJECT   |  ZONE_DMA32  |  hole   |  node 0: NORMAL MOVABLE | node 1: ...
 *	 page tables, entry   lodge's own      frames that             frames that guests own
 *	 code (guest ring 0)  objects, never   guests own,
 *	                      in a memslot     if asked for
 *
 * The hole below 4 GiB is where processors have their interrupt controllers and VT-x wants pages of its own.
 *
 *   P1  refs == 0 exactly for frames the allocator owns; those have PG_FREE
 *   P2  a frame's mapcount is the number of entries of level 0, in all tables, that map it; a table that several spaces share
 *       counts once, and huge entries count in the block's head (block.h)
 *   P3  refs >= mapcount, and the difference is held by pins, the page cache, the block, or the caller of page_alloc
 * Locking: letters behind the fields. (Z) zone->lock  (A) atomic  (C) constant while the frame is allocated.
 * Not here: which frame to take (page_alloc.c), who may map it (fault.c).
 */
#ifndef LODGE_MM_PAGE_H
#define LODGE_MM_PAGE_H

#include <pthread.h>
#include <stdatomic.h>

#include "list.h"
#include "types.h"
#include "zone.h"

struct address_space;
struct anon_vma;
struct kmem_cache;
struct memcg;
struct page_reporting;
struct page_trace;
struct reclaim_ops;
struct slob;

#define TABLE_END_PFN	 (1ull << (30 - PAGE_SHIFT)) /* 1 GiB: what the kernel half of a guest maps */
#define DMA32_START_PFN	 (3ull << (30 - PAGE_SHIFT)) /* 3 GiB */
#define DMA32_END_PFN	 (0xff000000ull >> PAGE_SHIFT)
#define NORMAL_START_PFN (1ull << (32 - PAGE_SHIFT)) /* 4 GiB */

/* Bits of page.flags. Those below 24 are numbered as in Linux 5.11; the rest are what it keeps elsewhere. */
enum page_flags {
	PG_LOCKED = 1 << 0,
	PG_REFERENCED = 1 << 1,
	PG_UPTODATE = 1 << 2, /* (cache) holds what the file holds */
	PG_DIRTY = 1 << 3,    /* (cache) newer than the file; (PG_SWAPCACHE) than the slot */
	PG_LRU = 1 << 4,
	PG_ACTIVE = 1 << 5,
	PG_WAITERS = 1 << 7,	/* somebody sleeps until PG_LOCKED is cleared */
	PG_SLAB = 1 << 9,	/* carved into objects */
	PG_SWAPCACHE = 1 << 10, /* anonymous, and a slot of a swap device is its own as well: swap.h */
	PG_RESERVED = 1 << 12,	/* not freed in the ordinary course: zero page, entry image */
	PG_PRIVATE = 1 << 13,	/* holds compressed pages: zpool.h */
	PG_WRITEBACK = 1 << 15,
	PG_LAZYFREE = 1 << 16, /* (anonymous) its contents may go until it is written again: deactivate.h */
	PG_MAPPEDTODISK = 1 << 17,
	PG_READAHEAD = 1 << 18,	 /* (cache) whoever comes here wants the next window read */
	PG_SWAPBACKED = 1 << 19, /* (cache) of shared memory without a file */
	PG_REPORTED = 1 << 21,	 /* (Z) head of a free block whose memory the machine has: page_reporting.h */
	PG_HUGETLB = 1 << 23,	 /* of a block that an account keeps for MAP_HUGETLB: hugetlb_pool.h */
	PG_TABLE = 1 << 24,	 /* in use as a page-table page */
	PG_BLOCK = 1 << 25,	 /* part of a block that huge entries map: see block.h */
	PG_CACHE = 1 << 26,	 /* indexed by page.mapping at page.index */
	PG_FREE = 1 << 27,  /* the allocator owns the frame: in a block, on a stack, in the zeroed pool */
	PG_BUDDY = 1 << 28, /* (Z) head of a free block: page.order and page.migratetype are valid */
	PG_FRESH = 1 << 29, /* of a free frame: it is filled with zeroes */
	PG_BAD = 1 << 30,   /* failed a check: stays out of use */
};

struct page {
	struct list_head node; /* (Z) free list while refs == 0, else the owner's list */
	union {
		/*
		 * (C) PG_CACHE: whose page it is. With PAGE_MAPPING_ANON in bit 0: anonymous memory; the other bits
		 * are its struct anon_vma (A). Read it by page_anon and page_mapping.
		 */
		struct address_space *mapping;
		struct kmem_cache
			*slab_cache; /* (C) PG_SLAB, on every frame of a slab: whose objects these are */
	};
	union {
		uint64_t index; /* (C) PG_CACHE: page offset in mapping; anonymous: vma_linear_index */
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
	union {
		void *freelist; /* PG_SLAB: (L) first free object; SLAB: array of indices; SLOB: first free block */
		_Atomic uint32_t block_mapcount; /* (A) head of a PG_BLOCK: huge entries that map it */
		uint64_t swap_entry;		 /* (page's lock) PG_SWAPCACHE: swp_entry_t */
	};
	union {
		struct memcg *memcg; /* (C) who pays for the frame, or NULL */
		void *s_mem;	     /* (C) PG_SLAB: first object */
	};
	_Atomic uint32_t refs;	    /* (A) 0: owned by the allocator */
	_Atomic uint32_t mapcount;  /* (A) page-table entries that map the frame */
	_Atomic uint32_t flags;	    /* (A) enum page_flags */
	uint8_t order;		    /* (Z) valid on the head of a free block only */
	uint8_t zone;		    /* (C) index in frames->zone */
	uint8_t migratetype;	    /* (Z) the list that a free block is on */
	_Atomic uint8_t generation; /* (A) when it was last seen in use: ageing.h */
};
_Static_assert(sizeof(struct page) == 64, "page <-> pfn is a shift");

#define PAGE_MAPPING_ANON 1ul

static inline uintptr_t page_mapping_word(const struct page *page)
{
	return (uintptr_t)__atomic_load_n(&page->mapping, __ATOMIC_ACQUIRE);
}

/* Anonymous memory of a guest? Not to be asked of slabs. */
static inline bool page_anon(const struct page *page)
{
	return page_mapping_word(page) & PAGE_MAPPING_ANON;
}

/* The object that a cache page belongs to; NULL for anonymous memory. */
static inline struct address_space *page_mapping(const struct page *page)
{
	uintptr_t word = page_mapping_word(page);

	return word & PAGE_MAPPING_ANON ? NULL : (struct address_space *)word;
}

static inline void page_set_anon_vma(struct page *page, const struct anon_vma *anon_vma)
{
	__atomic_store_n(&page->mapping, (struct address_space *)((uintptr_t)anon_vma | PAGE_MAPPING_ANON),
			 __ATOMIC_RELEASE);
}

/* Makes a page anonymous memory that `anon_vma` finds at `index`. */
static inline void page_set_anon(struct page *page, const struct anon_vma *anon_vma, uint64_t index)
{
	page->index = index;
	page_set_anon_vma(page, anon_vma);
}

/*
 * How a zone gets more memory. add_bank makes [start, start + *nr_pages) of the direct map usable and zero (for a guest
 * zone: also part of the guest's physical space); it may lower *nr_pages to a multiple of 512. Returns 0 or -errno.
 */
struct bank_ops {
	int (*add_bank)(void *ctx, enum zone_type zone, pfn_t start, uint64_t *nr_pages);
	/* Frames of a guest zone that nobody has: they hold zeroes afterwards, and no memory until they are touched. 0 or -errno. */
	int (*discard)(void *ctx, pfn_t start, uint64_t nr_pages);
};

/* What the allocator counts for all zones together; names in vmstat.c. */
enum vm_event {
	ALLOCSTALL, /* direct reclaims */
	PGSCAN_RETRY,
	KSWAPD_WAKE,
	BOOST_WAKE,
	COMPACTSTALL,
	COMPACTSUCCESS,
	COMPACTFAIL,
	COMPACTMIGRATE_SCANNED,
	COMPACTFREE_SCANNED,
	COMPACTISOLATED,
	PGMIGRATE_SUCCESS,
	PGMIGRATE_FAIL,
	OOM_CALL,
	ALLOC_FAIL,
	ALLOC_EXTFRAG,
	PAGEBLOCK_STEAL,
	PCP_DRAIN,
	ZEROPOOL_HIT,	 /* frames that a request for zeroes found zeroed: kept ready, */
	FRESH_HIT,	 /* or never used */
	ZEROED_ON_ALLOC, /* frames that had to be cleared by who needed them */
	BAD_PAGE,
	THP_FAULT_ALLOC,    /* huge entries that faults made, */
	THP_FAULT_FALLBACK, /* or would have, had there been a block */
	THP_COLLAPSE_ALLOC,
	THP_COLLAPSE_ALLOC_FAILED,
	THP_SPLIT_PMD,
	THP_SWPOUT, /* blocks that went to swap in one go, */
	THP_SWPIN,  /* and 2 MiB that came back as a block */
	THP_ZERO_PAGE_ALLOC,
	PGSCAN_FILE, /* pages that eviction looked at because they were old enough, */
	PGSCAN_ANON,
	PGSTEAL_FILE, /* and those that went */
	PGSTEAL_ANON,
	PGSCAN_DIRECT, /* the same by who looked: whoever found the account full, */
	PGSCAN_KSWAPD, /* or the thread */
	PGSTEAL_DIRECT,
	PGSTEAL_KSWAPD,
	PGLAZYFREE,		 /* pages that MADV_FREE marked, */
	PGLAZYFREED,		 /* and those that went for it */
	WORKINGSET_REFAULT_ANON, /* pages that came back, */
	WORKINGSET_REFAULT_FILE,
	WORKINGSET_ACTIVATE_ANON, /* and of these the ones that would have stayed in a little more memory */
	WORKINGSET_ACTIVATE_FILE,
	AGEING_EPOCH,
	AGEING_USED, /* pages found in use when an epoch ended */
	PSWPIN,	     /* pages read from swap devices */
	PSWPOUT,     /* and written to them */
	SWPIN_ZERO,  /* pages filled, and left out, because all their words were equal */
	SWPOUT_ZERO,
	ZSWPIN,		   /* pages that came out of a pool in memory, */
	ZSWPOUT,	   /* went into one, */
	ZSWPOUT_REJECT,	   /* had no room there, or did not become small, */
	ZSWPWB,		   /* or went from there to their slots */
	SWPOUT_CLEAN,	   /* pages that went without a transfer, for their slots had them */
	SWAP_RA,	   /* pages read from swap along with others, */
	SWAP_RA_HIT,	   /* and of those that came along, used when somebody looked */
	PAGE_REPORTED,	   /* frames whose memory went back to the machine, */
	PAGE_REPORT_CALLS, /* in so many calls */
	NR_VM_EVENTS,
};

/* Bits of frames.debug. */
enum frames_debug {
	FRAMES_POISON =
		1
		<< 0, /* freed frames are filled with a pattern that is looked for when they are taken again */
};

struct frames {
	struct page *mem_map;	     /* (C) */
	char *direct_map;	     /* (C) host address of frame 0 */
	pfn_t max_pfn;		     /* (C) */
	uint8_t *pageblock;	     /* (Z) migratetype of each pageblock, by pfn >> PAGEBLOCK_ORDER */
	unsigned int nr_nodes;	     /* (C) */
	unsigned int nr_cpus;	     /* (C) */
	struct zone zone[MAX_ZONES]; /* node n's zone of type t is zone[n * NR_ZONES + t] */
	struct pglist_data node[MAX_NODES];
	pthread_mutex_t block_lock; /* see block.h */
	struct page *zero_page;	    /* (C) the frame every untouched anonymous page reads from */
	const struct bank_ops *bank_ops;
	void *bank_ctx;
	/* Induced failures: when fail_in is positive it counts down at each allocation, and the one that makes it 0 fails. */
	_Atomic long fail_in;	  /* (A) */
	_Atomic uint64_t nr_fail; /* (A) allocations that were made to fail */

	_Atomic uint32_t debug;	 /* (A) enum frames_debug */
	_Atomic uint32_t warned; /* (A) warnings that were given once */
	/* Told in one line what should not have happened; may run under a zone's lock, so it only records. */
	void (*report)(void *ctx, const char *line);
	void *report_ctx;
	const struct page_trace *trace; /* NULL: nobody listens */
	void *trace_ctx;
	struct page_reporting *_Atomic reporting; /* (A) NULL: free memory stays */
	const struct reclaim_ops *reclaim;	  /* NULL: full is full */
	void *reclaim_ctx;

	/* Knobs, by their names in /proc/sys/vm. */
	_Atomic uint64_t min_free_kbytes; /* 0: no watermarks */
	unsigned int watermark_scale_factor;
	unsigned int watermark_boost_factor;
	unsigned int lowmem_reserve_ratio[NR_ZONES];
	unsigned int node_reclaim_mode;
	bool page_group_by_mobility_disabled;
	_Atomic uint64_t event[NR_VM_EVENTS]; /* (A) */

	uint32_t kmem_backend; /* (C) enum kmem_backend of the host's own caches */
	struct slob *slob;     /* (kmem registry) the SLOB heap of these frames; NULL: no cache uses it */
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

static inline struct zone *page_zone(struct frames *f, const struct page *page)
{
	return &f->zone[page->zone];
}

static inline enum zone_type page_zone_type(const struct page *page)
{
	return (enum zone_type)(page->zone % NR_ZONES);
}

static inline struct zone *node_zone(struct frames *f, unsigned int nid, enum zone_type type)
{
	return &f->zone[nid * NR_ZONES + type];
}

static inline enum migratetype pageblock_migratetype(const struct frames *f, pfn_t pfn)
{
	return (enum migratetype)__atomic_load_n(&f->pageblock[pfn >> PAGEBLOCK_ORDER], __ATOMIC_RELAXED);
}

static inline void frames_count(struct frames *f, enum vm_event what, uint64_t nr)
{
	atomic_fetch_add_explicit(&f->event[what], nr, memory_order_relaxed);
}

/* How the physical space is laid out. Numbers of frames are rounded down to multiples of ZONE_ALIGN_PAGES. */
struct frames_setup {
	void *direct_map; /* caller's, 2 MiB aligned; it must outlive the table */
	pfn_t max_pfn;
	const struct bank_ops *ops;
	void *ctx;
	unsigned int nr_nodes;	/* 0: 1; frames from NORMAL_START_PFN on are shared out evenly */
	uint64_t dma32_pages;	/* of node 0, from DMA32_START_PFN on; at most up to DMA32_END_PFN */
	uint64_t movable_pages; /* per node, the last ones */
	uint64_t cma_pages;	/* of node 0, the first ones of ZONE_NORMAL */
	/* distance[a][b] between nodes; NULL: LOCAL_DISTANCE to itself, REMOTE_DISTANCE to all others. */
	const uint8_t (*distance)[MAX_NODES];
	bool no_pcp; /* every frame goes through the lists of blocks: for tests of these */
};

/* Sets up an empty frame table. Frames come later, from ops. No watermarks, nobody who reclaims. 0, -ENOMEM, -EINVAL. */
int frames_setup(struct frames *f, const struct frames_setup *setup);

/* The same with one node, which has one zone of guest frames. Returns 0 or -ENOMEM. */
int frames_init(struct frames *f, void *direct_map, pfn_t max_pfn, const struct bank_ops *ops, void *ctx);

/* Releases the table. Every frame must have been freed; frames_leaked tells. */
void frames_destroy(struct frames *f);

/* Frames of guests and tables that are allocated and not PG_RESERVED: 0 when every space is gone. */
uint64_t frames_leaked(const struct frames *f);

/* Frames that guests could have at most, on all nodes. */
uint64_t frames_guest_pages(const struct frames *f);

unsigned int frames_node_of_cpu(const struct frames *f);

/* The node of the calling thread's processor. */
static inline unsigned int frames_local_node(const struct frames *f)
{
	return f->nr_nodes == 1 ? 0 : frames_node_of_cpu(f);
}

/* Tells the report hook. */
__attribute__((format(printf, 2, 3))) void frames_report(struct frames *f, const char *format, ...);

enum frames_warning {
	WARN_ORDER,
	WARN_NOFAIL_ORDER,
	WARN_ATOMIC_RECLAIM,
	WARN_NOFAIL_ATOMIC,
	WARN_MIGHT_SLEEP
};

/* Tells the report hook the first time that this warning is given. */
void frames_warn_once(struct frames *f, enum frames_warning which, const char *line);

/* Names of set flags, joined by '|', as Linux's page dump does. Returns buffer. */
const char *page_flags_string(uint32_t flags, char *buffer, size_t bytes);

#endif
