/* SPDX-License-Identifier: MIT */
/*
 * fault.c - the fault ladder: from an address and an error code to a page, or to a signal.
 *
 *	do_user_addr_fault		which area, may it, does a stack grow
 *	  handle_mm_fault		one huge entry if that serves (fault_huge.c), else tables down to the entry
 *	    handle_pte_fault
 *	      empty, anonymous		do_anonymous_page: new zeroed pages, or the zero page for a read
 *	      empty, with a mapping	do_fault: do_read_fault, do_cow_fault, do_shared_fault
 *	      write to a read-only one	do_wp_page: reuse, copy, or replace the zero page
 *	      writable by now		its table was shared with another space, and is not any more
 *	      in a swap slot		do_swap_page
 *	      neither empty nor present	a guard, poison, or a page that is moving
 *	    anything else		spurious: another thread was faster, or a processor used a stale entry
 *
 * Each branch has a file of its own; what they share is in fault_internal.h.
 *
 * Locking: the area's lock or mmap_lock for reading; page_table_lock around every change of an entry; files are read without it.
 */
#include <signal.h>
#include <stdio.h>

#include "area.h"
#include "clock.h"
#include "fault_internal.h"
#include "hugetlb.h"
#include "page_lock.h"
#include "rmap.h"
#include "vma_lock.h"
#include "vmscan.h"

const char *const fault_leaf_names[NR_FAULT_LEAVES] = {
	[FAULT_ANON_WRITE] = "do_anonymous_page write",
	[FAULT_ANON_ZERO_PAGE] = "do_anonymous_page zero page",
	[FAULT_READ] = "do_read_fault",
	[FAULT_COW] = "do_cow_fault",
	[FAULT_SHARED] = "do_shared_fault",
	[FAULT_WP_ZERO_PAGE] = "do_wp_page zero page",
	[FAULT_WP_REUSE] = "do_wp_page reuse",
	[FAULT_WP_COPY] = "do_wp_page copy",
	[FAULT_WP_SHARED] = "do_wp_page shared",
	[FAULT_WP_TABLE] = "do_wp_page table",
	[FAULT_SWAP] = "do_swap_page",
	[FAULT_HUGE_ANON] = "do_huge_pmd_anonymous_page write",
	[FAULT_HUGE_ZERO_PAGE] = "do_huge_pmd_anonymous_page zero page",
	[FAULT_HUGE_WP_REUSE] = "do_huge_pmd_wp_page reuse",
	[FAULT_HUGE_FILE] = "do_set_pmd",
	[FAULT_SPURIOUS] = "spurious",
	[FAULT_STACK_GROWTH] = "expand_stack",
	[FAULT_SIGSEGV_MAPERR] = "SEGV_MAPERR",
	[FAULT_SIGSEGV_ACCERR] = "SEGV_ACCERR",
	[FAULT_SIGBUS] = "SIGBUS",
	[FAULT_OOM] = "out of memory",
};

uint64_t vma_pte_flags(uint64_t vm_flags)
{
	if (!(vm_flags & VM_ACCESS_FLAGS)) /* a debugger brings pages even here */
		return PTE_PROTNONE | PTE_ACCESSED;
	return PTE_PRESENT | PTE_USER | PTE_ACCESSED | (vm_flags & VM_EXEC ? 0 : PTE_NX);
}

void rss_add(struct mm *mm, enum mm_counter c, int64_t n)
{
	atomic_fetch_add_explicit(&mm->rss[c], n, memory_order_relaxed);
	uint64_t now = mm_rss_pages(mm), peak = atomic_load_explicit(&mm->peak_rss, memory_order_relaxed);
	while (now > peak && !atomic_compare_exchange_weak(&mm->peak_rss, &peak, now))
		;
}

struct window fault_block(const struct fault *f, uint64_t nr)
{
	uint64_t bytes = nr << PAGE_SHIFT;
	gva_t start = f->address & ~(bytes - 1);

	return (struct window){max_u64(start, f->vma->start), min_u64(start + bytes, f->vma->end)};
}

/* The page is about to be somewhere else. page_table_lock is released, for whoever moves it needs it. */
static enum vm_fault_result wait_for_mover(struct fault *f, bool *unlocked)
{
	gather_flush(&f->gather);
	pthread_mutex_unlock(&f->mm->page_table_lock);
	*unlocked = true;
	page_wait_unlocked(pfn_to_page(f->mm->frames, entry_offset(f->orig)));
	return VM_FAULT_RETRY;
}

static enum vm_fault_result special_entry(struct fault *f, bool *unlocked)
{
	switch (entry_type(f->orig)) {
	case ENTRY_MIGRATION:
		return wait_for_mover(f, unlocked);
	case ENTRY_GUARD:
		return VM_FAULT_SIGSEGV;
	default:
		return VM_FAULT_SIGBUS;
	}
}

/* Takes page_table_lock's holder down one branch; *unlocked says that the lock was released on the way. */
static enum vm_fault_result handle_pte_fault(struct fault *f, bool *unlocked)
{
	f->orig = pte_read(f->slot);
	if (pte_none(f->orig)) {
		if (vma_is_anonymous(f->vma))
			return do_anonymous_page(f);
		gather_flush(&f->gather); /* before others may change entries of a table that is new */
		pthread_mutex_unlock(&f->mm->page_table_lock);
		*unlocked = true;
		return do_fault(f);
	}
	if (entry_type(f->orig) == ENTRY_SWAP) {
		*unlocked = true;
		return do_swap_page(f);
	}
	if (!pte_present(f->orig))
		return special_entry(f, unlocked);
	if (fault_wants_write(f) && !pte_write(f->orig))
		return do_wp_page(f);
	fault_count(f->mm, f->took_table ? FAULT_WP_TABLE : FAULT_SPURIOUS);
	__atomic_fetch_or(f->slot, PTE_ACCESSED | (fault_wants_write(f) ? PTE_DIRTY : 0), __ATOMIC_ACQ_REL);
	return VM_FAULT_DONE;
}

/* What the processor could not do a moment ago it can do now: another thread was faster, or it used a stale entry. */
static bool is_spurious(const struct fault *f)
{
	pte_t *slot, pte = pgtable_translate(&f->mm->pgt, f->address, &slot);

	if (!(pte & PTE_PRESENT) || (fault_wants_write(f) && !pte_write(pte)) ||
	    ((f->flags & FAULT_FLAG_INSTRUCTION) && (pte & PTE_NX)))
		return false;
	fault_count(f->mm, FAULT_SPURIOUS);
	pte_change(slot, 0, PTE_ACCESSED | (fault_wants_write(f) ? PTE_DIRTY : 0));
	return true;
}

/* The table above the slot, if there is one, lets nobody write. */
static bool table_is_read_only(const struct fault *f)
{
	const pte_t *pmd = pgtable_find_pmd(&f->mm->pgt, f->address);
	pte_t entry = pmd ? pte_read(pmd) : 0;

	return pte_table(entry) && !pte_write(entry);
}

/* As Linux's mm_account_fault: every fault that came to an end is one of the two, whichever branch it took. */
static void account_fault(const struct fault *f)
{
	atomic_fetch_add_explicit(f->vmf.major ? &f->mm->maj_flt : &f->mm->min_flt, 1, memory_order_relaxed);
	if (f->vmf.major && f->major_since_ns)
		latency_add(&f->mm->memcg->major_latency, clock_now_ns() - f->major_since_ns);
}

static enum vm_fault_result try_fault(struct vma *vma, gva_t address, unsigned int flags, gva_t wanted_end)
{
	struct fault f = {.mm = vma->mm,
			  .vma = vma,
			  .address = page_align_down(address),
			  .flags = flags,
			  .wanted_end = wanted_end};
	enum vm_fault_result r = VM_FAULT_OOM;
	bool unlocked = false;

	/* Such a write ends with a page of the area's own, whichever branch it takes. */
	if (fault_wants_write(&f) && !(vma->flags & VM_SHARED) && anon_vma_prepare(vma))
		return VM_FAULT_OOM;
	if (fault_takes_file_block(&f))
		fault_read_ahead_marked(&f);
	gather_begin(&f.gather, f.mm);
	pthread_mutex_lock(&f.mm->page_table_lock);
	if (is_spurious(&f) || do_huge_fault(&f)) {
		r = VM_FAULT_DONE;
	} else {
		f.took_table = table_is_read_only(&f);
		f.slot = pgtable_own(f.mm, f.address, &f.gather);
		if (f.slot)
			r = handle_pte_fault(&f, &unlocked);
	}
	if (!unlocked) {
		gather_end(&f.gather);
		pthread_mutex_unlock(&f.mm->page_table_lock);
	}
	if (f.dirtied)
		writeback_balance(vma->mapping);
	if (r == VM_FAULT_DONE)
		account_fault(&f);
	return r;
}

enum vm_fault_result handle_mm_fault(struct vma *vma, gva_t address, unsigned int flags, gva_t wanted_end)
{
	struct memcg *cg = vma->mm->memcg;
	uint64_t refusals = atomic_load_explicit(&cg->nr_failures, memory_order_relaxed);
	enum vm_fault_result r;
	unsigned int attempts = 0;

	do
		r = vma_is_hugetlb(vma) ? hugetlb_fault(vma, address, flags)
					: try_fault(vma, address, flags, wanted_end);
	while (r == VM_FAULT_RETRY ||
	       (r == VM_FAULT_OOM &&
		memcg_make_room(vma->mm->host, cg, atomic_load(&cg->nr_failures) != refusals, attempts++)));
	return r;
}

bool vma_allows(const struct vma *vma, unsigned int flags)
{
	if (flags & FAULT_FLAG_WRITE)
		return vma->flags & VM_WRITE;
	if (flags & FAULT_FLAG_INSTRUCTION)
		return vma->flags & VM_EXEC;
	return vma->flags & VM_ACCESS_FLAGS;
}

/* As Linux: a fetch from a page not present brings it in, and is refused, if at all, when it comes back. */
static unsigned int fault_flags(uint32_t error_code)
{
	const uint32_t refused_fetch = PF_INSTR | PF_PROT;

	return FAULT_FLAG_USER | (error_code & PF_WRITE ? FAULT_FLAG_WRITE : 0) |
	       ((error_code & refused_fetch) == refused_fetch ? FAULT_FLAG_INSTRUCTION : 0);
}

static struct fault_signal signal_for(struct mm *mm, gva_t address, enum fault_leaf leaf)
{
	struct fault_signal s = {.address = address};

	fault_count(mm, leaf);
	switch (leaf) {
	case FAULT_SIGSEGV_MAPERR:
		s.signo = SIGSEGV;
		s.code = SEGV_MAPERR;
		break;
	case FAULT_SIGSEGV_ACCERR:
		s.signo = SIGSEGV;
		s.code = SEGV_ACCERR;
		break;
	case FAULT_SIGBUS:
		s.signo = SIGBUS;
		s.code = BUS_ADRERR;
		break;
	default:
		s.signo = SIGKILL;
		break;
	}
	return s;
}

/* A push right below the stack that grew last will grow it again. */
#define GROWTH_NEAR (16 * PAGE_SIZE)

static bool will_grow(const struct mm *mm, gva_t address)
{
	gva_t grown = atomic_load_explicit(&mm->grown_to, memory_order_relaxed);

	return address < grown && grown - address <= GROWTH_NEAR;
}

/* The area of an address, or NULL; mmap_lock is held for writing. */
static struct vma *grow_stack(struct mm *mm, gva_t address)
{
	struct vma *vma = mm_expand_stack(mm, address);

	if (vma && (vma->flags & VM_GROWSDOWN))
		atomic_store_explicit(&mm->grown_to, vma->start, memory_order_relaxed);
	return vma;
}

/* Without a look first, and the page while mmap_lock is held anyway. False: the fault has to go the slow way. */
static bool fault_by_growth(struct mm *mm, gva_t address, unsigned int flags)
{
	bool done = false;

	if (!will_grow(mm, address))
		return false;
	mm_write_lock(mm);
	struct vma *vma = grow_stack(mm, address);
	if (vma && vma_is_anonymous(vma) && vma_allows(vma, flags))
		done = try_fault(vma, address, flags, 0) == VM_FAULT_DONE;
	mm_write_unlock(mm);
	return done;
}

/* The area of an address, growing a stack if that is it; leaves mmap_lock held for reading. NULL: nothing there. */
static struct vma *find_fault_vma(struct mm *mm, gva_t address)
{
	mm_read_lock(mm);
	struct vma *vma = vma_find(&mm->vmas, address);
	if (!vma || vma->start <= address)
		return vma;
	if (!(vma->flags & VM_GROWSDOWN))
		return NULL;
	mm_read_unlock(mm);
	mm_write_lock(mm);
	bool grown = grow_stack(mm, address);
	mm_write_unlock(mm);
	mm_read_lock(mm);
	if (!grown)
		return NULL;
	vma = vma_find(&mm->vmas, address); /* others may have been here between the locks */
	return vma && vma->start <= address ? vma : NULL;
}

/* Whether the fault needs no more of the space than the area: no refusal, no neighbour to share an anon_vma with. */
static bool area_suffices(const struct vma *vma, unsigned int flags)
{
	if (!vma_allows(vma, flags))
		return false;
	return (!(flags & FAULT_FLAG_WRITE) && !vma_is_hugetlb(vma)) || (vma->flags & VM_SHARED) ||
	       vma_anon_vma(vma);
}

/* Without mmap_lock: false when the fault has to go the slow way. */
static bool fault_by_area(struct mm *mm, gva_t address, unsigned int flags, enum vm_fault_result *r)
{
	struct vma *vma = vma_lock_lookup(mm, address);

	if (!vma)
		return false;
	bool suffices = area_suffices(vma, flags);
	if (suffices) {
		*r = handle_mm_fault(vma, address, flags, 0);
		atomic_fetch_add_explicit(&mm->nr_lockless_faults, 1, memory_order_relaxed);
	}
	vma_read_unlock(vma);
	return suffices;
}

static enum fault_leaf failed_leaf(enum vm_fault_result r)
{
	switch (r) {
	case VM_FAULT_OOM:
		return FAULT_OOM;
	case VM_FAULT_SIGBUS:
		return FAULT_SIGBUS;
	case VM_FAULT_SIGSEGV:
		return FAULT_SIGSEGV_MAPERR;
	default:
		return NR_FAULT_LEAVES;
	}
}

struct fault_signal do_user_addr_fault(struct mm *mm, gva_t address, uint32_t error_code)
{
	unsigned int flags = fault_flags(error_code);
	enum vm_fault_result r = VM_FAULT_DONE;
	enum fault_leaf bad = NR_FAULT_LEAVES;
	struct fault_signal ok = {0};

	if (address >= mm->task_size)
		return signal_for(mm, address, FAULT_SIGSEGV_MAPERR);
	if (memcg_over_high(mm->memcg))
		memcg_handle_over_high(mm->host, mm->memcg);
	if (fault_by_area(mm, address, flags, &r)) {
		bad = failed_leaf(r);
		return bad == NR_FAULT_LEAVES ? ok : signal_for(mm, address, bad);
	}
	if (fault_by_growth(mm, address, flags))
		return ok;
	struct vma *vma = find_fault_vma(mm, address);
	if (!vma)
		bad = FAULT_SIGSEGV_MAPERR;
	else if (!vma_allows(vma, flags))
		bad = FAULT_SIGSEGV_ACCERR;
	if (bad == NR_FAULT_LEAVES) {
		r = handle_mm_fault(vma, address, flags, 0);
		bad = failed_leaf(r);
		vma_cache_fill(mm, address, vma);
	}
	mm_read_unlock(mm);
	return bad == NR_FAULT_LEAVES ? ok : signal_for(mm, address, bad);
}

/* --- the processor's word for it --------------------------------------------------------------------------------------------- */

const char *fault_error_string(uint32_t error_code, char *buffer, size_t bytes)
{
	const char *access = error_code & PF_INSTR   ? "instruction fetch from"
			     : error_code & PF_WRITE ? "write to"
						     : "read of";
	const char *why = error_code & PF_RSVD	 ? "an entry with reserved bits"
			  : error_code & PF_PROT ? "a page that forbids it"
						 : "a page not present";

	snprintf(buffer, bytes, "%s %s, %s mode%s%s", access, why,
		 error_code & PF_USER ? "user" : "supervisor", error_code & PF_PK ? ", protection key" : "",
		 error_code & PF_SGX ? ", SGX" : "");
	return buffer;
}
