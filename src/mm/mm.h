/* SPDX-License-Identifier: MIT */
/*
 * mm.h - one guest address space.
 *
 * Lock order, outermost first: LOCK_MMAP (mm->mmap_lock), LOCK_PTL (mm->page_table_lock), LOCK_CACHE (an address_space),
 * LOCK_KMEM, LOCK_ZONE. A fault takes mmap_lock for reading; whatever changes areas takes it for writing.
 *
 * Operations on areas have the semantics of the Linux system call of the same name (5.11): they return 0 (or an address)
 * or -errno, and when they fail the space is as it was, except that mprotect and madvise over several areas, and mremap to
 * a fixed place, keep what they did before the error, as Linux does. They take mmap_lock themselves.
 */
#ifndef LODGE_MM_MM_H
#define LODGE_MM_MM_H

#include "backing.h"
#include "kmem.h"
#include "memcg.h"
#include "mmu.h"
#include "supply.h"
#include "swap.h"
#include "vma.h"
#include "writeback.h"

#define VMA_CACHE_SLOTS	      64u
#define DEFAULT_MAX_MAP_COUNT 65530
#define DEFAULT_MMAP_MIN_ADDR 65536
#define MM_AUXV_WORDS	      64
#define STACK_LIMIT_BYTES     (8ull << 20)

/* MM_HUGETLBPAGES are not resident in the sense of rss. */
enum mm_counter {
	MM_FILEPAGES,
	MM_ANONPAGES,
	MM_SHMEMPAGES,
	MM_HUGETLBPAGES,
	MM_SWAPENTS, /* nor these: entries that say a swap slot */
	NR_MM_COUNTERS
};

/* Every leaf of the fault ladder counts its visits. */
enum fault_leaf {
	FAULT_ANON_WRITE,
	FAULT_ANON_ZERO_PAGE,
	FAULT_READ,
	FAULT_COW,
	FAULT_SHARED,
	FAULT_WP_ZERO_PAGE,
	FAULT_WP_REUSE,
	FAULT_WP_COPY,
	FAULT_WP_SHARED,
	FAULT_WP_TABLE,
	FAULT_SWAP,
	FAULT_HUGE_ANON,
	FAULT_HUGE_ZERO_PAGE,
	FAULT_HUGE_WP_REUSE,
	FAULT_HUGE_FILE,
	FAULT_SPURIOUS,
	FAULT_STACK_GROWTH,
	FAULT_SIGSEGV_MAPERR,
	FAULT_SIGSEGV_ACCERR,
	FAULT_SIGBUS,
	FAULT_OOM,
	NR_FAULT_LEAVES,
};

extern const char *const fault_leaf_names[NR_FAULT_LEAVES];

/* When private anonymous memory is mapped by huge entries. See fault_huge.c. */
enum thp_mode {
	THP_MADVISE, /* where the area asked for it, and where use shows to be dense */
	THP_ALWAYS,  /* wherever 2 MiB fit */
	THP_NEVER,
};

/* What all spaces of one host share; the embedder fills it with mm_host_init. */
struct mm_host {
	struct frames *frames;
	const struct mmu_ops *mmu_ops;
	void *mmu_ctx;
	pte_t kernel_entry;	       /* goes into the kernel half of every root; 0: none */
	unsigned int levels;	       /* of page tables: 4 or 5 */
	struct kswapd *_Atomic kswapd; /* (A) who reclaims ahead of need; NULL: nobody */
	struct writeback writeback;
	pthread_mutex_t mappings_lock;	 /* a leaf, but for references of files */
	struct list_head mappings;	 /* (mappings_lock) caches of files, by mapping_node */
	struct list_head shmem_mappings; /* (mappings_lock) those of shared memory */
	_Atomic uint64_t shrink_pass;	 /* (A) */
	_Atomic uint64_t shmem_ino;	 /* (A) of the newest object of shared memory */
	_Atomic int64_t committed_pages; /* (A) of all spaces */
	/* Hears the names of the steps that a fork takes, and for which address; NULL: nobody does. */
	void (*fork_trace)(void *ctx, const char *function, gva_t address);
	void *fork_trace_ctx;
	/*
	 * A copy to or from a guest found no memory on the account, the attempts-th time after the first; no lock of a space or file is
	 * held. True: it is worth trying again. NULL: it never is.
	 */
	bool (*out_of_memory)(void *ctx, struct memcg *cg, unsigned int attempts);
	void *out_of_memory_ctx;
	/* Whether the program on this thread has been killed: it does not wait for a device any more. NULL: it never is. */
	bool (*is_dying)(void);
	pthread_mutex_t reclaim_lock; /* who reclaims of all accounts; ageing locks are taken under it */
	uint64_t reclaim_round;	      /* (reclaim_lock) */
	pthread_mutex_t spaces_lock;  /* nothing is taken under it */
	struct list_head spaces;      /* (spaces_lock) struct mm, by host_node: those with users */
	struct swap_space swap;
	struct page *_Atomic huge_zero; /* (A) 512 frames of zeroes; NULL: nobody has needed them yet */
	struct kmem_cache mm_cache, memcg_cache, vma_cache, mapping_cache, node_cache;
	struct kmem_cache anon_vma_cache, chain_cache;
};

struct mm {
	struct mm_host *host;
	struct list_head host_node;  /* (host->spaces_lock) in host->spaces */
	struct list_head memcg_node; /* (host->spaces_lock) in memcg->spaces */
	struct list_head mmlist;     /* (swap.mmlist_lock) in swap.mmlist, once a page of it went to swap */
	_Atomic bool on_mmlist;	     /* (A) changes under the lock */
	struct frames *frames;
	_Atomic uint32_t mm_users;	 /* (A) who run in the space or use its areas; at 0 it is emptied */
	_Atomic uint32_t mm_count;	 /* (A) who keep the structure; all users together are one of them */
	pthread_rwlock_t mmap_lock;	 /* rank LOCK_MMAP */
	pthread_mutex_t page_table_lock; /* rank LOCK_PTL */
	/* vma_lock.h */
	_Atomic uint64_t lock_seq; /* (A) changes with every mm_write_unlock; never 0 */
	_Atomic gva_t grown_to;	   /* (A) where the stack begins that grew last; a hint */
	_Atomic(struct vma *) vma_cache[VMA_CACHE_SLOTS]; /* (A) where faults found areas, by address */
	_Atomic uint64_t nr_lockless_faults;		  /* (A) that did without mmap_lock */
	struct memcg *
		memcg; /* (C) who pays for its frames; one reference. Spaces forked from one another share it */
	struct supply *supply; /* (C) once it runs: supply.h; NULL: its frames hold what they should */
	struct pgtable pgt;    /* (page_table_lock) */
	void *mmu_data;	       /* what host->mmu_ops keeps for it */
	struct vma_tree vmas;  /* (mmap_lock) */
	gva_t mmap_base;       /* mappings are placed below it, top down */
	gva_t task_size;       /* (C) */
	gva_t start_code, end_code, start_data, end_data; /* set by the loader */
	gva_t start_brk, brk;				  /* (mmap_lock) */
	gva_t start_stack, arg_start, arg_end, env_start, env_end;
	uint64_t saved_auxv[MM_AUXV_WORDS]; /* what the loader told the program, as it was */
	unsigned int nr_auxv_words;
	struct mempolicy_setting
		policy; /* (A) as one word; for areas that have none of their own. See mbind.c */
	_Atomic uint32_t policy_turn; /* (A) */
	/* account.h (mmap_lock) */
	uint64_t hiwater_vm_pages; /* the most that total_vm_pages was */
	uint64_t total_vm_pages, data_vm_pages, exec_vm_pages, stack_vm_pages;
	uint64_t locked_vm_pages, committed_pages;
	_Atomic bool forking; /* (A) set under page_table_lock: rmap walks take nothing away */
	bool forked;	      /* (C) areas came by a fork, which tells them apart by less and joins none */
	uint64_t def_flags;   /* (mmap_lock) VM_LOCKED and kin, for areas to come */
	/* (C) Places a mapping that did not say where; the layout of the space. See unmapped_area.h. */
	int64_t (*get_unmapped_area)(const struct mm *mm, const struct unmapped_request *r);
	uint64_t stack_limit_bytes;
	uint64_t as_limit_bytes; /* RLIMIT_AS; ~0: none */
	uint64_t data_limit_bytes;
	uint64_t memlock_limit_bytes; /* RLIMIT_MEMLOCK */
	bool privileged;	      /* limits on locking and reserves of memory do not hold */
	uint64_t mmap_min_addr;
	uint32_t max_map_count;
	_Atomic uint32_t membarrier_state;	  /* (A) commands that the space registered for */
	uint32_t fault_around_pages;		  /* widest anonymous window: a power of two, 1..512 */
	_Atomic int64_t rss[NR_MM_COUNTERS];	  /* (A) pages */
	_Atomic uint64_t peak_rss;		  /* (A) pages */
	_Atomic uint64_t nr_pins;		  /* (A) pages that are held for host calls: see user_pin */
	_Atomic uint64_t faults[NR_FAULT_LEAVES]; /* (A) */
	_Atomic uint64_t min_flt, maj_flt;	  /* (A) */
	_Atomic uint64_t fault_around_mapped;	  /* (A) pages mapped ahead of a touch */
	_Atomic uint64_t nr_revokes, nr_revoked_ptes; /* (A) */
} __randomize_layout;

int mm_host_init(struct mm_host *h, struct frames *f, const struct mmu_ops *ops, void *ctx);

/* Returns the number of objects leaked by spaces that were not destroyed. */
uint64_t mm_host_destroy(struct mm_host *h);

/* An empty space, with one user, that may own max_pages frames. NULL: no memory. */
struct mm *mm_create(struct mm_host *h, uint64_t max_pages);

/* The same on an existing account, which it takes a reference of. */
struct mm *mm_create_in(struct mm_host *h, struct memcg *cg);
/* The same, but nobody who goes round the spaces comes to it before mm_show: it is filled without locks. */
struct mm *mm_create_unseen(struct mm_host *h, struct memcg *cg);
/* The same, on a new account with the limits and settings of that of another space. */
struct mm *mm_create_alike(const struct mm *from);
void mm_show(struct mm *mm);

/*
 * fork.c: a space with one user and what fork() gives a child: the parent's areas (but those marked VM_DONTCOPY; VM_WIPEONFORK ones
 * empty; none locked), its pages, shared until one of the two writes, its limits and layout, on the same account. Takes mmap_lock. 0,
 * or -ENOMEM and there is no child, the parent as it was.
 */
int mm_fork(struct mm *parent, struct mm **child);

/*
 * The same, and up to `ahead_pages` of what the parent wrote since its last fork are copied at once, as far as memory goes. Nobody but the
 * caller may run in the parent, or the child could see a later write without an earlier one.
 */
int mm_fork_ahead(struct mm *parent, uint64_t ahead_pages, struct mm **child);

/*
 * The same for a space that is to live on by itself: all areas as they are, locked ones too, on another account; NULL: on a new one with
 * the same limits. Frames and tables that both have stay on the account that they are on. Nobody runs in `from` who could change areas.
 */
int mm_clone(struct mm *from, struct memcg *account, struct mm **clone);

/*
 * A user runs in the space or works on its areas; when mmput takes the last one away everything is unmapped, and no processor may be
 * running in it any more. Whoever only keeps the pointer grabs the structure instead: it stays, empty, until mmdrop.
 * mmget_not_zero is false when the users are gone already. NULL is accepted by mmput and mmdrop.
 */
void mmget(struct mm *mm);
bool mmget_not_zero(struct mm *mm);
void mmput(struct mm *mm);
void mmgrab(struct mm *mm);
void mmdrop(struct mm *mm);

_Static_assert(sizeof(struct mempolicy_setting) == sizeof(uint64_t), "mm->policy is loaded as one word");

static inline void mm_set_mempolicy(struct mm *mm, struct mempolicy_setting s)
{
	__atomic_store(&mm->policy, &s, __ATOMIC_RELAXED);
}

static inline struct mempolicy_setting mm_mempolicy(const struct mm *mm)
{
	struct mempolicy_setting s;

	__atomic_load(&mm->policy, &s, __ATOMIC_RELAXED);
	return s;
}

/*
 * Goes round the spaces of a host: the one after `mm`, whose user the caller is and no more afterwards, with the caller as a user; NULL,
 * and the next call begins anew, when there is none. `mm` NULL: the first.
 */
struct mm *mm_next_space(struct mm_host *h, struct mm *mm);

/* The same round the spaces of one account. */
struct mm *mm_next_space_of(struct mm_host *h, struct memcg *cg, struct mm *mm);

/* Those that may have frames of the account: its own, or, once one of them was cloned, all of the host. */
struct mm *mm_next_with_frames_of(struct mm_host *h, struct memcg *cg, struct mm *mm);

static inline enum thp_mode thp_mode(const struct mm *mm)
{
	return (enum thp_mode)atomic_load_explicit(&mm->memcg->thp, memory_order_relaxed);
}

static inline int64_t mm_counter(struct mm *mm, enum mm_counter c)
{
	return atomic_load_explicit(&mm->rss[c], memory_order_relaxed);
}

uint64_t mm_rss_pages(struct mm *mm);

/* After an attempt of its own found no memory, with no lock held: whether the caller should try again. See mm_host. */
bool mm_out_of_memory(struct mm_host *h, struct memcg *cg, unsigned int attempts);

/*
 * Recounts everything: areas, tables, every entry against its area and frame, rss and charges. Returns the number of
 * violations, each told to `complain` (may be NULL). Takes the locks; no processor may run in the space.
 */
unsigned int mm_check(struct mm *mm, void (*complain)(const char *what, uint64_t where));

/*
 * Recounts every frame: `space` are all nr spaces of the host. Nothing may go on meanwhile. Returns the number of violations, of H1 to H6
 * in check_host.c.
 */
unsigned int mm_check_host(struct mm_host *h, struct mm *const *space, unsigned int nr,
			   void (*complain)(const char *what, uint64_t where));

/* --- mmap.c: areas ---------------------------------------------------------------------------------------------- */

/* Linux's numbers. */
#define PROT_BITS_READ	0x1
#define PROT_BITS_WRITE 0x2
#define PROT_BITS_EXEC	0x4

struct mmap_request {
	gva_t address;	      /* wanted, or 0 */
	uint64_t length;      /* bytes; rounded up */
	unsigned int prot;    /* PROT_ bits */
	unsigned int flags;   /* MAP_ bits as in <sys/mman.h> */
	struct backing *file; /* NULL: anonymous. The area takes its own reference */
	uint64_t pgoff;	      /* in pages */
	bool may_not_write; /* the file is not open for writing: a shared mapping can never become writable */
	bool may_not_read;  /* nor for reading: no mapping at all */
	const char *name;   /* of a special mapping ("[vdso]"), or NULL; static storage */
	uint64_t extra_flags; /* VM_GROWSDOWN and kin */
	bool stays_empty;     /* no page comes before it is touched, also where the area is locked */
	/* What the area does, in the place of what its file says; its open is called. NULL: as the file says. */
	const struct vm_operations *vm_ops;
	void *private_data; /* of vm_ops */
};

/* The address, or -errno. */
int64_t mm_mmap(struct mm *mm, const struct mmap_request *r);
int mm_munmap(struct mm *mm, gva_t start, uint64_t length);
int mm_mprotect(struct mm *mm, gva_t start, uint64_t length, unsigned int prot);
/* The new break, or the old one when the request cannot be met. */
gva_t mm_brk(struct mm *mm, gva_t brk);
int64_t mm_mremap(struct mm *mm, gva_t old, uint64_t old_len, uint64_t new_len, unsigned int flags,
		  gva_t new_address);
int mm_madvise(struct mm *mm, gva_t start, uint64_t length, int advice);
/* flags: MS_. 0 or -errno; an error of writing back that nobody was told of yet is told here. */
int mm_msync(struct mm *mm, gva_t start, uint64_t length, unsigned int flags);
/* 0, -EINVAL, or -ENOMEM for a hole, with nothing sealed. flags: 0. */
int mm_mseal(struct mm *mm, gva_t start, uint64_t length, unsigned long flags);
/*
 * Makes a part of a shared mapping show other pages of its object; prot: 0, flags: MAP_NONBLOCK. The area is cut, as since
 * Linux 4.0. 0 or -errno.
 */
int mm_remap_file_pages(struct mm *mm, gva_t start, uint64_t length, unsigned int prot, uint64_t pgoff,
			unsigned int flags);
/* mbind.c. mm_mbind: 0, -EFAULT for a hole, -ENOMEM; the range is page aligned. */
int mm_mbind(struct mm *mm, gva_t start, uint64_t length, struct mempolicy_setting s);
/* The node that the space's interleaving comes to next. */
int mm_mempolicy_next(struct mm *mm);
/* The policy of the area of an address, if it has one: else *s stays. 0, or -EFAULT: no area. */
int mm_vma_mempolicy(struct mm *mm, gva_t address, struct mempolicy_setting *s);
/* The node of the page at an address, which is faulted in; or -EFAULT. */
int mm_node_of(struct mm *mm, gva_t address);
/* mlock.c; flags: MLOCK_ONFAULT, MCL_. */
int mm_mlock(struct mm *mm, gva_t start, uint64_t length, unsigned int flags);
int mm_munlock(struct mm *mm, gva_t start, uint64_t length);
int mm_mlockall(struct mm *mm, unsigned int flags);
/* Makes resident what is locked, area by area; where that cannot be, nobody is told. */
void mm_populate_locked(struct mm *mm);
void mm_munlockall(struct mm *mm);

/* Touches every page of the range ahead of the guest. 0, -ENOMEM or -EFAULT. */
int mm_populate(struct mm *mm, gva_t start, uint64_t length);

/* What /proc/pid/maps calls an area without a file: "[heap]", "[stack]", a special mapping's name, or NULL. */
const char *mm_vma_name(const struct mm *mm, const struct vma *vma);

/* The area that holds `address`, growing a stack when that is what the address asks for; mmap_lock held for writing. */
struct vma *mm_expand_stack(struct mm *mm, gva_t address);

/* --- fault.c: the ladder ---------------------------------------------------------------------------------------- */

/* The processor's error code for #PF. */
#define PF_PROT	 0x01u /* the page was present: its protection was violated */
#define PF_WRITE 0x02u
#define PF_USER	 0x04u
#define PF_RSVD	 0x08u
#define PF_INSTR 0x10u
#define PF_PK	 0x20u
#define PF_SGX	 0x8000u

/* Writes the code in words ("write to a page not present, user") and returns buffer. */
const char *fault_error_string(uint32_t error_code, char *buffer, size_t bytes);

/* What a fault that cannot be resolved asks for. Numbers as in <signal.h>. */
struct fault_signal {
	int signo; /* 0: resolved; SIGSEGV, SIGBUS; SIGKILL: out of memory */
	int code;  /* SEGV_MAPERR, SEGV_ACCERR, BUS_ADRERR */
	gva_t address;
};

/* Resolves one fault of a guest, or says which signal it earns. */
struct fault_signal do_user_addr_fault(struct mm *mm, gva_t address, uint32_t error_code);

/* --- uaccess.c: the guest's memory, from outside ---------------------------------------------------------------- */

#include <sys/uio.h>

/* False when [address, address + bytes) is not within the user half. */
bool access_ok(gva_t address, uint64_t bytes);

/*
 * Bytes NOT copied: 0 is success. A missing page is faulted in as the guest's own access would; where there is no memory for it
 * mm_host.out_of_memory is asked, so that a caller may hold nothing that others need to end.
 */
size_t copy_from_user(struct mm *mm, void *to, gva_t from, size_t bytes);
size_t copy_to_user(struct mm *mm, gva_t to, const void *from, size_t bytes);
size_t clear_user(struct mm *mm, gva_t to, size_t bytes);
/* Under any lock above mmap_lock: within one page, and only when that is there. False: unlock, copy_from_user, and again. */
bool copy_from_user_inatomic(struct mm *mm, void *to, gva_t from, size_t bytes);

/* As a debugger, whatever the guest itself may do there (GUP_FORCE): bytes that WERE copied. */
size_t read_process_memory(struct mm *mm, void *to, gva_t from, size_t bytes);
size_t write_process_memory(struct mm *mm, gva_t to, const void *from, size_t bytes);

/*
 * Copies a string with its NUL. Returns its length without the NUL, -EFAULT, or -ENAMETOOLONG when there is no NUL
 * within `bytes`.
 */
int64_t strncpy_from_user(struct mm *mm, char *to, gva_t from, size_t bytes);

/* The guest's memory as host memory: frames pinned until user_pin_release. */
struct user_pin {
	struct page **pages;
	struct backing **files; /* of pages of files, pinned for writing; else NULL */
	unsigned int nr_pages;
	struct iovec *iov; /* host addresses; neighbours are joined */
	unsigned int nr_iov;
	size_t bytes;
};

#define USER_PIN_MAX_PAGES 512

/*
 * Pins the pages of up to nr guest iovecs, beginning `skip` bytes into them, for writing into (write) or reading from
 * guest memory. Stops at the first page that cannot be had or at USER_PIN_MAX_PAGES pages; pin->bytes tells how far it
 * came. 0, -EFAULT when not even the first byte could be pinned, -ENOMEM.
 */
int user_pin(struct mm *mm, const struct iovec *guest, unsigned int nr, size_t skip, bool write,
	     struct user_pin *pin);
void user_pin_release(struct mm *mm, struct user_pin *pin);

/* Bits for get_user_pages. */
#define GUP_WRITE 1u /* for writing into: a page that others see as well is copied first */
#define GUP_FORCE \
	2u /* even where the guest itself may not: a debugger's access. Writes only to private areas */

/*
 * Faults in and pins nr pages from `start` (page aligned). Returns how many, or -EFAULT when the first one failed. A pinned page stays
 * the space's own: a child that is forked meanwhile gets a copy. put_user_pages gives them back.
 */
int64_t get_user_pages(struct mm *mm, gva_t start, unsigned int nr, unsigned int gup, struct page **pages);
void put_user_pages(struct mm *mm, unsigned int nr, struct page **pages);

#endif
