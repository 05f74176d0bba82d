/* SPDX-License-Identifier: MIT */
/*
 * pgtable.h - the guest's page tables: entry format, and the walk from a root to a slot.
 *
 * Format: Intel SDM vol. 3A, 4.5 (4-level and 5-level paging); AMD APM vol. 2, 5.3. Linux's names: pgd, p4d, pud, pmd,
 * pte. Levels are counted from the leaf: 0 = page table of 4 KiB entries ... 3 = pgd of 4-level, 4 = pgd of 5-level.
 *
 * The processor sets A and D in live entries at any time, so an entry is changed by an atomic operation and one that
 * gives up rights is exchanged, never just overwritten.
 *
 * A table of level 0 may serve several spaces (on-demand fork: Zhao et al., EuroSys 2021). Its page then has a reference for every
 * entry that points to it:
 *   T1  a table with more than one reference is not written, except that processors set A and D, that reverse mapping replaces a
 *       page in it for all spaces at once, and that PTE_WRITE may be taken from anonymous pages. So an entry that was seen there is
 *	changed by compare-and-exchange only
 *   T2  every entry that points to such a table has PTE_WRITE clear
 *   T3  a space that finds itself the only one left takes the table back by setting PTE_WRITE in its entry
 *   T4  a space that leaves such a table tells its processors before it releases page_table_lock, and before its areas go: whoever
 *	replaces a page finds, and tells, every space whose processors may know the page from the table
 * Whoever writes an entry gets its slot from pgtable_own, which sees to all of that; pgtable_find is for reading.
 *
 * An entry that is neither empty nor present says why (enum entry_type): every walker meets such.
 */
#ifndef LODGE_MM_PGTABLE_H
#define LODGE_MM_PGTABLE_H

#include "page_alloc.h"

#define PTRS_PER_TABLE 512u

typedef uint64_t pte_t;

#define PTE_PRESENT  (1ull << 0)
#define PTE_WRITE    (1ull << 1)
#define PTE_USER     (1ull << 2)
#define PTE_PWT	     (1ull << 3)
#define PTE_PCD	     (1ull << 4)
#define PTE_ACCESSED (1ull << 5)
#define PTE_DIRTY    (1ull << 6)
#define PTE_HUGE     (1ull << 7) /* in a pmd or pud: maps memory itself */
#define PTE_GLOBAL   (1ull << 8)
#define PTE_SPECIAL  (1ull << 9)  /* software: frame without a mapcount (the zero page) */
#define PTE_PROTNONE (1ull << 10) /* software, only when not present: a frame that nobody may access */
#define PTE_NX	     (1ull << 63)
#define PTE_PFN_MASK 0x000ffffffffff000ull

#define TABLE_FLAGS  (PTE_PRESENT | PTE_WRITE | PTE_USER | PTE_ACCESSED)

static inline pte_t pte_make(pfn_t pfn, uint64_t flags)
{
	return (pfn << PAGE_SHIFT) | flags;
}

static inline pfn_t pte_pfn(pte_t pte)
{
	return (pte & PTE_PFN_MASK) >> PAGE_SHIFT;
}

static inline bool pte_none(pte_t pte)
{
	return (pte & ~(PTE_ACCESSED | PTE_DIRTY)) == 0;
}

/* A frame is there, whether or not the processor may use it. */
static inline bool pte_present(pte_t pte)
{
	return pte & (PTE_PRESENT | PTE_PROTNONE);
}

static inline bool pte_write(pte_t pte)
{
	return pte & PTE_WRITE;
}

/* Of a level above 0: points to a table. */
static inline bool pte_table(pte_t pte)
{
	return (pte & (PTE_PRESENT | PTE_HUGE)) == PTE_PRESENT;
}

/* Of a level above 0: maps memory itself, whether or not the processor may use it. */
static inline bool pte_huge(pte_t pte)
{
	return pte_present(pte) && (pte & PTE_HUGE);
}

/* What an entry of level 0 that is neither empty nor present says. */
enum entry_type {
	ENTRY_NONE,
	ENTRY_SWAP,	 /* the page is in swap slot `offset` */
	ENTRY_MIGRATION, /* the page, frame `offset`, is about to move: wait for its lock */
	ENTRY_GUARD,	 /* whoever touches it gets SIGSEGV */
	ENTRY_POISON,	 /* whoever touches it gets SIGBUS */
};

/* ENTRY_MIGRATION: PTE_WRITE was set; and which counter of resident pages has the page (enum mm_counter). */
#define ENTRY_WRITABLE	    (1ull << 5)
#define ENTRY_COUNTER_SHIFT 6
#define ENTRY_COUNTER_MASK  3u

static inline pte_t entry_make(enum entry_type type, uint64_t offset)
{
	return offset << PAGE_SHIFT | (uint64_t)type << 1;
}

/* ENTRY_NONE for an entry that is empty or present. */
static inline enum entry_type entry_type(pte_t pte)
{
	return pte_present(pte) ? ENTRY_NONE : (enum entry_type)(pte >> 1 & 15);
}

static inline uint64_t entry_offset(pte_t pte)
{
	return pte_pfn(pte);
}

static inline pte_t pte_read(const pte_t *slot)
{
	return __atomic_load_n(slot, __ATOMIC_ACQUIRE);
}

static inline void pte_set(pte_t *slot, pte_t pte)
{
	__atomic_store_n(slot, pte, __ATOMIC_RELEASE);
}

static inline pte_t pte_exchange(pte_t *slot, pte_t pte)
{
	return __atomic_exchange_n(slot, pte, __ATOMIC_ACQ_REL);
}

/*
 * Takes rights from an entry that is present, or marks it, and returns what it held. One that is not present (any more: in a table that
 * spaces share a page may begin to move at any time) is left alone, for there these bits mean something else.
 */
static inline pte_t pte_change(pte_t *slot, pte_t take, pte_t give)
{
	pte_t old = pte_read(slot);

	while (pte_present(old) && !__atomic_compare_exchange_n(slot, &old, (old & ~take) | give, true,
								__ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
		;
	return old;
}

static inline unsigned int level_shift(unsigned int level)
{
	return PAGE_SHIFT + 9 * level;
}

static inline unsigned int level_index(gva_t address, unsigned int level)
{
	return (address >> level_shift(level)) & (PTRS_PER_TABLE - 1);
}

/* One address space's tables. Locking: the owner's page_table_lock. */
struct pgtable {
	struct frames *frames;
	struct memcg *memcg; /* pays for table pages, or NULL */
	struct page *root;
	unsigned int levels; /* 4 or 5 */
	uint64_t nr_tables;  /* table pages below the root */
};

/* A root with an empty user half; kernel_entry goes into the first slot of the kernel half. 0 or -ENOMEM. */
int pgtable_init(struct pgtable *pt, struct frames *f, struct memcg *cg, unsigned int levels,
		 pte_t kernel_entry);

/* Frees the root; every table below it must be gone. */
void pgtable_destroy(struct pgtable *pt);

/* The slot for `address` at level 0, for reading; NULL when a table on the way is missing or a huge entry is in the way. */
pte_t *pgtable_find(const struct pgtable *pt, gva_t address);

/* The same, making the tables that are missing. NULL: no memory, or a huge entry; tables already made stay. */
pte_t *pgtable_alloc(struct pgtable *pt, gva_t address);

/* The slot of level 1 for `address`, which points to its table or is a huge entry; NULL as above. */
pte_t *pgtable_find_pmd(const struct pgtable *pt, gva_t address);
pte_t *pgtable_alloc_pmd(struct pgtable *pt, gva_t address);

/* The same for the slot of any level. */
pte_t *pgtable_alloc_level(struct pgtable *pt, gva_t address, unsigned int level);

/* The slot of the entry that decides about `address`, for reading: of level 0, or a huge entry of *level. NULL: there is none. */
pte_t *pgtable_leaf(const struct pgtable *pt, gva_t address, unsigned int *level);

/*
 * What a processor makes of `address`: the entry of a 4 KiB page with the rights of all levels together, or 0. *slot is where the
 * leaf is, for A and D to be set in; NULL: there is none.
 */
pte_t pgtable_translate(const struct pgtable *pt, gva_t address, pte_t **slot);

/* The table page a slot lies in. */
struct page *pgtable_page(const struct pgtable *pt, const pte_t *slot);

/*
 * Unlinks every table that covers nothing outside [floor, ceiling) (ceiling 0: no limit), walking [start, end), and discards
 * their pages to `freed`. The entries in them must already be empty. Returns how many.
 */
uint64_t pgtable_unlink(struct pgtable *pt, gva_t start, gva_t end, gva_t floor, gva_t ceiling,
			struct list_head *freed);

/* A zeroed and charged table page, with one reference; NULL: no memory. */
struct page *pgtable_alloc_page(struct pgtable *pt);

/* Appends a table page that nothing points to any more to `freed`; its space no longer pays for it. */
void pgtable_discard(struct page *table, struct list_head *freed);

/* Gives a discarded table page back to its zone. */
void pgtable_free_page(struct frames *f, struct page *table);

/* --- pgtable_share.c: tables that several spaces use. page_table_lock is held ---------------------------------------------------- */

struct gather;
struct mm;

/* The table that an entry points to. */
static inline struct page *pgtable_below(const struct pgtable *pt, pte_t entry)
{
	return pfn_to_page(pt->frames, pte_pfn(entry));
}

/* Does the table that an entry of level 1 points to serve another space too? False stays false. */
static inline bool pgtable_shared(const struct pgtable *pt, pte_t entry)
{
	return atomic_load_explicit(&pgtable_below(pt, entry)->refs, memory_order_acquire) > 1;
}

/*
 * The slot of level 0 for `address`, for writing: makes tables that are missing, splits a huge entry, takes a shared table back or
 * copies it. What changed is in `g`, which must have been ended or flushed before page_table_lock is released. NULL: no memory;
 * every translation is as it was.
 */
pte_t *pgtable_own(struct mm *mm, gva_t address, struct gather *g);

enum isolate_how {
	ISOLATE_HUGE,  /* no huge entry lies astride start or end */
	ISOLATE_EDGES, /* nor any shared table lies astride start or end */
	ISOLATE_ALL,   /* besides, no table within is shared; huge entries stay */
};

/* Prepares [start, end) for an operation. Flushes `g`. 0, or -ENOMEM with every translation as it was. */
int pgtable_isolate(struct mm *mm, gva_t start, gva_t end, enum isolate_how how, struct gather *g);

/* Lets the entry at `to`, of another space, use the table at `from`, both of level 1; `from` gave up PTE_WRITE if true. */
bool pgtable_share(struct mm *mm, pte_t *from, pte_t *to);

/* A reference to a table that no processor reaches through the dropped entry any more. The last one puts what the table maps. */
void pgtable_put_shared(struct mm *mm, struct page *table);

#endif
