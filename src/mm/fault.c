/* SPDX-License-Identifier: MIT */
/*
 * fault.c - the fault ladder: from an address and an error code to a page, or to a signal.
 *
 *	do_user_addr_fault		which area, may it, does a stack grow
 *	  handle_mm_fault		tables down to the entry
 *	    handle_pte_fault
 *	      empty, anonymous		do_anonymous_page: new zeroed pages, or the zero page for a read
 *	      empty, with a mapping	do_fault: do_read_fault, do_cow_fault, do_shared_fault
 *	      write to a read-only one	do_wp_page: reuse, copy, or replace the zero page
 *	      anything else		spurious: another thread was faster, or a processor used a stale entry
 *
 * Fault-around. An exit is expensive, so one fault maps a window of pages, never past the area or one table page:
 *   - an area of up to SMALL_AREA_PAGES is mapped whole;
 *   - a fault just behind the last window continues it, four times as wide, up to mm->fault_around_pages;
 *   - any other fault looks at the aligned blocks of 4, 16, 64, 256 pages around it and takes the widest chain of blocks of
 *     which a quarter is populated already, so that sparse use stays sparse and dense use fills up with few faults.
 * Pages of a window are marked accessed and dirty as if touched: a shadow MMU then installs neighbours ahead too. The
 * memory a window adds is at most four times what was touched, and none of it when the account is nearly full.
 *
 * Locking: mmap_lock for reading; page_table_lock around every change of an entry; files are read without it.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "area.h"
#include "fault.h"
#include "gather.h"
#include "zap.h"

#define SMALL_AREA_PAGES  16
#define ZERO_AROUND_PAGES 16
#define FILE_AROUND_PAGES 64

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
	[FAULT_SPURIOUS] = "spurious",
	[FAULT_STACK_GROWTH] = "expand_stack",
	[FAULT_SIGSEGV_MAPERR] = "SEGV_MAPERR",
	[FAULT_SIGSEGV_ACCERR] = "SEGV_ACCERR",
	[FAULT_SIGBUS] = "SIGBUS",
	[FAULT_OOM] = "out of memory",
};

/* The state of one fault, threaded through its steps. */
struct fault {
	struct mm *mm;
	struct vma *vma;
	gva_t address; /* of the page */
	unsigned int flags;
	gva_t wanted_end; /* 0: a fault of the guest; else how far a window should go */
	pte_t *slot;	  /* its entry; page_table_lock is held while it is used */
	pte_t orig;
	struct gather gather;
};

static void count(struct mm *mm, enum fault_leaf leaf)
{
	atomic_fetch_add_explicit(&mm->faults[leaf], 1, memory_order_relaxed);
}

static bool wants_write(const struct fault *f)
{
	return f->flags & FAULT_FLAG_WRITE;
}

uint64_t vma_pte_flags(uint64_t vm_flags)
{
	return PTE_PRESENT | PTE_USER | PTE_ACCESSED | (vm_flags & VM_EXEC ? 0 : PTE_NX);
}

static bool is_zero_page(pte_t pte)
{
	return pte_present(pte) && (pte & PTE_SPECIAL);
}

static void rss_add(struct mm *mm, enum mm_counter c, int64_t n)
{
	atomic_fetch_add_explicit(&mm->rss[c], n, memory_order_relaxed);
	uint64_t now = mm_rss_pages(mm), peak = atomic_load_explicit(&mm->peak_rss, memory_order_relaxed);
	while (now > peak && !atomic_compare_exchange_weak(&mm->peak_rss, &peak, now))
		;
}

/* --- windows ------------------------------------------------------------------------------------------------------- */

struct window {
	gva_t start, end;
};

/* The aligned block of nr pages around the fault, clipped to the area. */
static struct window block_around(const struct fault *f, uint64_t nr)
{
	uint64_t bytes = nr << PAGE_SHIFT;
	gva_t start = f->address & ~(bytes - 1);

	return (struct window){max_u64(start, f->vma->start), min_u64(start + bytes, f->vma->end)};
}

static pte_t *slot_at(const struct fault *f, gva_t address)
{
	return f->slot + ((int64_t)(address - f->address) >> PAGE_SHIFT);
}

static bool quarter_populated(const struct fault *f, uint64_t nr)
{
	struct window w = block_around(f, nr);
	uint64_t there = 1; /* the page about to come */

	for (gva_t at = w.start; at < w.end; at += PAGE_SIZE) {
		pte_t pte = pte_read(slot_at(f, at));
		there += pte_present(pte) && !(pte & PTE_SPECIAL);
	}
	return there * 4 >= nr;
}

static uint64_t dense_pages(const struct fault *f, uint64_t most)
{
	uint64_t wide = 1;

	for (uint64_t nr = 4; nr <= most && quarter_populated(f, nr); nr *= 4)
		wide = nr;
	return wide;
}

/* The pages that a fault on private anonymous memory maps; updates the area's memory of it. page_table_lock is held. */
static struct window anon_window(struct fault *f)
{
	struct vma *vma = f->vma;
	uint64_t most = f->mm->fault_around_pages, room = memcg_room(f->mm->memcg);
	struct window w;

	while (most > 1 && most * 2 > room)
		most /= 2;
	if (f->wanted_end) {
		w = block_around(f, most);
		return (struct window){f->address, min_u64(w.end, f->wanted_end)};
	}
	if (vma_pages(vma) <= min_u64(SMALL_AREA_PAGES, most)) {
		w = block_around(f, most);
	} else if (f->address == vma->window_end) {
		uint64_t nr = min_u64(max_u64(vma->window_pages, 1) * 4, most);
		w = block_around(f, nr);
		w.start = f->address;
		vma->window_pages = (uint32_t)nr;
	} else {
		w = block_around(f, dense_pages(f, most));
		vma->window_pages = 1;
	}
	vma->window_end = w.end;
	return w;
}

/* --- anonymous memory ---------------------------------------------------------------------------------------------- */

/* A run of charged, zeroed frames; fewer than wanted when memory is short or broken up. */
struct frame_run {
	struct page *page;
	unsigned int left;
};

static struct page *run_next(struct fault *f, struct frame_run *run, uint64_t wanted)
{
	unsigned int order = 63u - (unsigned int)__builtin_clzll(wanted);

	if (order > 9)
		order = 9;
	while (!run->left) {
		if (memcg_charge(f->mm->memcg, 1ull << order)) {
			gfp_t gfp = order ? GFP_TRANSHUGE_LIGHT : GFP_HIGHUSER_MOVABLE;
			run->page = page_alloc(f->mm->frames, gfp | __GFP_ZERO, order);
			if (run->page) {
				run->left = 1u << order;
				break;
			}
			memcg_uncharge(f->mm->memcg, 1ull << order);
		}
		if (!order)
			return NULL;
		order--;
	}
	struct page *page = run->page++;
	run->left--;
	page->memcg = f->mm->memcg;
	return page;
}

static void run_give_back(struct fault *f, struct frame_run *run)
{
	for (; run->left; run->left--, run->page++) {
		run->page->memcg = f->mm->memcg;
		page_put(f->mm->frames, run->page);
	}
}

static void install_anon(struct fault *f, pte_t *slot, struct page *page)
{
	page_set_anon(page, f->mm);
	atomic_store_explicit(&page->mapcount, 1, memory_order_relaxed);
	uint64_t write = f->vma->flags & VM_WRITE ? PTE_WRITE | PTE_DIRTY : 0;
	pte_set(slot, pte_make(page_to_pfn(f->mm->frames, page), vma_pte_flags(f->vma->flags) | write));
}

/* Puts zeroed pages of our own under every entry of the window that is empty or has the zero page. */
static enum vm_fault_result map_anon_window(struct fault *f, struct window w)
{
	struct frame_run run = {0};
	int64_t mapped = 0;

	gather_begin(&f->gather, f->mm);
	for (gva_t at = w.start; at < w.end; at += PAGE_SIZE) {
		pte_t *slot = slot_at(f, at), old = pte_read(slot);
		if (!pte_none(old) && !is_zero_page(old))
			continue;
		struct page *page = run_next(f, &run, (w.end - at) >> PAGE_SHIFT);
		if (!page)
			break;
		install_anon(f, slot, page);
		if (is_zero_page(old))
			gather_entry(&f->gather, slot, at);
		mapped++;
	}
	run_give_back(f, &run);
	gather_end(&f->gather);
	rss_add(f->mm, MM_ANONPAGES, mapped);
	if (mapped > 1)
		atomic_fetch_add_explicit(&f->mm->fault_around_mapped, (uint64_t)mapped - 1,
					  memory_order_relaxed);
	/* Out of frames before the window came to the page that is needed? */
	pte_t now = pte_read(f->slot);
	return pte_none(now) || is_zero_page(now) ? VM_FAULT_OOM : VM_FAULT_DONE;
}

static enum vm_fault_result map_zero_window(struct fault *f)
{
	struct window w = block_around(f, min_u64(ZERO_AROUND_PAGES, f->mm->fault_around_pages));
	pte_t zero = pte_make(page_to_pfn(f->mm->frames, f->mm->frames->zero_page),
			      vma_pte_flags(f->vma->flags) | PTE_SPECIAL);

	for (gva_t at = w.start; at < w.end; at += PAGE_SIZE) {
		pte_t *slot = slot_at(f, at);
		if (pte_none(pte_read(slot)))
			pte_set(slot, zero);
	}
	return VM_FAULT_DONE;
}

static enum vm_fault_result do_anonymous_page(struct fault *f)
{
	if (!wants_write(f)) {
		count(f->mm, FAULT_ANON_ZERO_PAGE);
		return map_zero_window(f);
	}
	count(f->mm, FAULT_ANON_WRITE);
	return map_anon_window(f, anon_window(f));
}

/* --- pages of a mapping -------------------------------------------------------------------------------------------- */

/* A charged frame with a copy of `from`, which is not mapped anywhere yet. NULL: no memory. */
static struct page *copy_page(struct mm *mm, const struct page *from)
{
	if (!memcg_charge(mm->memcg, 1))
		return NULL;
	struct page *page = page_alloc(mm->frames, GFP_HIGHUSER_MOVABLE, 0);
	if (!page) {
		memcg_uncharge(mm->memcg, 1);
		return NULL;
	}
	page->memcg = mm->memcg;
	memcpy(page_address(mm->frames, page), page_address(mm->frames, from), PAGE_SIZE);
	return page;
}

/* Maps a page of the cache; the caller's reference becomes the mapping's. */
static void install_cache(struct fault *f, pte_t *slot, struct page *page, bool write)
{
	atomic_fetch_add_explicit(&page->mapcount, 1, memory_order_relaxed);
	pte_set(slot, pte_make(page_to_pfn(f->mm->frames, page),
			       vma_pte_flags(f->vma->flags) | (write ? PTE_WRITE | PTE_DIRTY : 0)));
	rss_add(f->mm, page_counter(page), 1);
}

/* map_pages: the neighbours that the cache holds already. page_table_lock is held. */
static void map_cached_around(struct fault *f, bool write)
{
	struct window w = block_around(f, min_u64(FILE_AROUND_PAGES, f->mm->fault_around_pages));

	for (gva_t at = w.start; at < w.end; at += PAGE_SIZE) {
		pte_t *slot = slot_at(f, at);
		struct page *page = NULL;
		if (pte_none(pte_read(slot)))
			page = filemap_find(f->vma->mapping, vma_linear_index(f->vma, at));
		if (page) {
			install_cache(f, slot, page, write);
			atomic_fetch_add_explicit(&f->mm->fault_around_mapped, 1, memory_order_relaxed);
		}
	}
}

/* Shared anonymous pages need no notice of a first write: a read maps them writable at once. */
static bool maps_writable(const struct fault *f)
{
	return (f->vma->flags & (VM_SHARED | VM_WRITE)) == (VM_SHARED | VM_WRITE);
}

static enum vm_fault_result finish_cow_fault(struct fault *f, struct page *cache_page)
{
	struct page *page = copy_page(f->mm, cache_page);

	page_put(f->mm->frames, cache_page);
	if (!page)
		return VM_FAULT_OOM;
	install_anon(f, f->slot, page);
	rss_add(f->mm, MM_ANONPAGES, 1);
	return VM_FAULT_DONE;
}

/* The entry is still empty and page_table_lock is held; `page` comes with a reference. */
static enum vm_fault_result finish_fault(struct fault *f, struct page *page)
{
	bool shared = f->vma->flags & VM_SHARED;

	if (wants_write(f) && !shared) {
		count(f->mm, FAULT_COW);
		return finish_cow_fault(f, page);
	}
	count(f->mm, wants_write(f) ? FAULT_SHARED : FAULT_READ);
	install_cache(f, f->slot, page, maps_writable(f));
	map_cached_around(f, maps_writable(f));
	return VM_FAULT_DONE;
}

static enum vm_fault_result mapping_error(int err)
{
	return err == -ENOMEM ? VM_FAULT_OOM : VM_FAULT_SIGBUS;
}

/* Called without page_table_lock, since the file may have to be read. */
static enum vm_fault_result do_fault(struct fault *f)
{
	struct address_space *mapping = f->vma->mapping;
	uint64_t index = vma_linear_index(f->vma, f->address);
	struct window w = block_around(f, min_u64(FILE_AROUND_PAGES, f->mm->fault_around_pages));
	struct page *page = filemap_find(mapping, index);
	bool major = false;

	if (!page) {
		if (mapping->host)
			filemap_readahead(mapping, vma_linear_index(f->vma, w.start),
					  (unsigned int)((w.end - w.start) >> PAGE_SHIFT), f->mm->memcg);
		int err = filemap_get(mapping, index, f->mm->memcg, &page, &major);
		if (err)
			return mapping_error(err);
		major = mapping->host;
	}
	atomic_fetch_add_explicit(major ? &f->mm->maj_flt : &f->mm->min_flt, 1, memory_order_relaxed);
	pthread_mutex_lock(&f->mm->page_table_lock);
	enum vm_fault_result r = VM_FAULT_DONE;
	if (pte_none(pte_read(f->slot)))
		r = finish_fault(f, page);
	else
		page_put(f->mm->frames, page); /* another thread was faster; the access is tried again */
	pthread_mutex_unlock(&f->mm->page_table_lock);
	return r;
}

/* --- writes to read-only entries ------------------------------------------------------------------------------------ */

static void make_writable(struct fault *f)
{
	__atomic_fetch_or(f->slot, PTE_WRITE | PTE_DIRTY | PTE_ACCESSED, __ATOMIC_ACQ_REL);
}

static enum vm_fault_result wp_page_copy(struct fault *f, struct page *old)
{
	struct page *page = copy_page(f->mm, old);

	if (!page)
		return VM_FAULT_OOM;
	count(f->mm, FAULT_WP_COPY);
	gather_begin(&f->gather, f->mm);
	install_anon(f, f->slot, page);
	gather_entry(&f->gather, f->slot, f->address);
	atomic_fetch_sub_explicit(&old->mapcount, 1, memory_order_relaxed);
	rss_add(f->mm, page_counter(old), -1);
	rss_add(f->mm, MM_ANONPAGES, 1);
	gather_page(&f->gather, old);
	gather_end(&f->gather);
	return VM_FAULT_DONE;
}

static enum vm_fault_result do_wp_page(struct fault *f)
{
	if (is_zero_page(f->orig)) {
		count(f->mm, FAULT_WP_ZERO_PAGE);
		return map_anon_window(f, anon_window(f));
	}
	struct page *page = pfn_to_page(f->mm->frames, pte_pfn(f->orig));
	if (f->vma->flags & VM_SHARED) {
		count(f->mm, FAULT_WP_SHARED);
		make_writable(f);
		return VM_FAULT_DONE;
	}
	if (page_anon(page) && atomic_load(&page->mapcount) == 1) {
		count(f->mm, FAULT_WP_REUSE);
		make_writable(f);
		return VM_FAULT_DONE;
	}
	return wp_page_copy(f, page);
}

/* --- the ladder ---------------------------------------------------------------------------------------------------- */

/* Takes page_table_lock's holder down one branch; *unlocked says that the lock was released on the way. */
static enum vm_fault_result handle_pte_fault(struct fault *f, bool *unlocked)
{
	f->orig = pte_read(f->slot);
	if (pte_none(f->orig)) {
		if (vma_is_anonymous(f->vma))
			return do_anonymous_page(f);
		pthread_mutex_unlock(&f->mm->page_table_lock);
		*unlocked = true;
		return do_fault(f);
	}
	if (wants_write(f) && !pte_write(f->orig))
		return do_wp_page(f);
	count(f->mm, FAULT_SPURIOUS);
	__atomic_fetch_or(f->slot, PTE_ACCESSED | (wants_write(f) ? PTE_DIRTY : 0), __ATOMIC_ACQ_REL);
	return VM_FAULT_DONE;
}

enum vm_fault_result handle_mm_fault(struct vma *vma, gva_t address, unsigned int flags, gva_t wanted_end)
{
	struct fault f = {.mm = vma->mm,
			  .vma = vma,
			  .address = page_align_down(address),
			  .flags = flags,
			  .wanted_end = wanted_end};
	enum vm_fault_result r = VM_FAULT_OOM;
	bool unlocked = false;

	pthread_mutex_lock(&f.mm->page_table_lock);
	f.slot = pgtable_alloc(&f.mm->pgt, f.address);
	if (f.slot)
		r = handle_pte_fault(&f, &unlocked);
	if (!unlocked)
		pthread_mutex_unlock(&f.mm->page_table_lock);
	if (vma_is_anonymous(vma) && r == VM_FAULT_DONE)
		atomic_fetch_add_explicit(&f.mm->min_flt, 1, memory_order_relaxed);
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

static unsigned int fault_flags(uint32_t error_code)
{
	return FAULT_FLAG_USER | (error_code & PF_WRITE ? FAULT_FLAG_WRITE : 0) |
	       (error_code & PF_INSTR ? FAULT_FLAG_INSTRUCTION : 0);
}

static struct fault_signal signal_for(struct mm *mm, gva_t address, enum fault_leaf leaf)
{
	struct fault_signal s = {.address = address};

	count(mm, leaf);
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

/* The area of an address, growing a stack if that is it; leaves mmap_lock held for reading. NULL: nothing there. */
static struct vma *find_fault_vma(struct mm *mm, gva_t address)
{
	pthread_rwlock_rdlock(&mm->mmap_lock);
	struct vma *vma = vma_find(&mm->vmas, address);
	if (!vma || vma->start <= address)
		return vma;
	if (!(vma->flags & VM_GROWSDOWN))
		return NULL;
	pthread_rwlock_unlock(&mm->mmap_lock);
	pthread_rwlock_wrlock(&mm->mmap_lock);
	bool grown = mm_expand_stack(mm, address);
	pthread_rwlock_unlock(&mm->mmap_lock);
	pthread_rwlock_rdlock(&mm->mmap_lock);
	if (!grown)
		return NULL;
	vma = vma_find(&mm->vmas, address); /* others may have been here between the locks */
	return vma && vma->start <= address ? vma : NULL;
}

struct fault_signal do_user_addr_fault(struct mm *mm, gva_t address, uint32_t error_code)
{
	unsigned int flags = fault_flags(error_code);
	struct fault_signal ok = {0};

	if (address >= mm->task_size)
		return signal_for(mm, address, FAULT_SIGSEGV_MAPERR);
	struct vma *vma = find_fault_vma(mm, address);
	enum fault_leaf bad = NR_FAULT_LEAVES;
	if (!vma)
		bad = FAULT_SIGSEGV_MAPERR;
	else if (!vma_allows(vma, flags))
		bad = FAULT_SIGSEGV_ACCERR;
	enum vm_fault_result r = VM_FAULT_DONE;
	if (bad == NR_FAULT_LEAVES)
		r = handle_mm_fault(vma, address, flags, 0);
	pthread_rwlock_unlock(&mm->mmap_lock);
	if (r == VM_FAULT_OOM)
		bad = FAULT_OOM;
	else if (r == VM_FAULT_SIGBUS)
		bad = FAULT_SIGBUS;
	return bad == NR_FAULT_LEAVES ? ok : signal_for(mm, address, bad);
}

/* --- stacks -------------------------------------------------------------------------------------------------------- */

static bool stack_may_grow(const struct mm *mm, const struct vma *vma, gva_t start)
{
	const struct vma *prev = vma->prev;

	if (vma->end - start > mm->stack_limit_bytes || start < mm->mmap_min_addr)
		return false;
	/* Another stack may come close; anything else that can be accessed keeps the guard gap. */
	if (prev && !(prev->flags & VM_GROWSDOWN) && (prev->flags & VM_ACCESS_FLAGS) &&
	    start < prev->end + STACK_GUARD_GAP)
		return false;
	return !prev || start >= prev->end;
}

struct vma *mm_expand_stack(struct mm *mm, gva_t address)
{
	struct vma *vma = vma_find(&mm->vmas, address);
	gva_t start = page_align_down(address);

	if (!vma || vma->start <= address)
		return vma;
	uint64_t grow = (vma->start - start) >> PAGE_SHIFT;
	if (!(vma->flags & VM_GROWSDOWN) || !stack_may_grow(mm, vma, start))
		return NULL;
	if (mm->total_vm_pages + grow > mm->as_limit_bytes >> PAGE_SHIFT)
		return NULL;
	vma->pgoff -= grow;
	vma_resize(&mm->vmas, vma, start, vma->end);
	mm->total_vm_pages += grow;
	count(mm, FAULT_STACK_GROWTH);
	return area_merge(mm, vma); /* it may have come down to the other half of a stack that was cut */
}

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
