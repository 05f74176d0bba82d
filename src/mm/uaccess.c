/* SPDX-License-Identifier: MIT */
/*
 * uaccess.c - reaching a guest's memory from outside it.
 *
 * Nothing here trusts an address: each page is looked up in the guest's own tables with the rights that the guest has, and
 * faulted in as its own access would be. A copy holds mmap_lock for reading, so a page cannot go away under it; a pin takes
 * a reference instead and may be held while the host sleeps.
 *
 * "No such area" and "no memory" are two answers. The second goes to mm_host.out_of_memory, with no lock of the space held, and
 * the page is looked up anew for as long as that says so: as in Linux, where a copy waits for memory that others give back.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "block.h"
#include "fault.h"
#include "lock.h"
#include "huge.h"

bool access_ok(gva_t address, uint64_t bytes)
{
	return bytes <= TASK_SIZE && address <= TASK_SIZE - bytes;
}

/* A write that the area forbids the guest ends in a page that nobody else has, mapped read-only as before. */
static bool is_own(struct mm *mm, const pte_t *slot, pte_t pte)
{
	struct page *page = pfn_to_page(mm->frames, pte_pfn(pte));

	return !(pte & PTE_SPECIAL) && page_anon(page) && page_is_exclusive(mm->frames, page) &&
	       atomic_load(&pgtable_page(&mm->pgt, slot)->refs) == 1;
}

/* The zero page, or a part of the huge one, as pgtable_translate has it. */
static bool is_zero(struct mm *mm, pte_t pte)
{
	pte_t whole = pte & ~((BLOCK_PAGES - 1ull) << PAGE_SHIFT);

	return pte_pfn(pte) == page_to_pfn(mm->frames, mm->frames->zero_page) ||
	       huge_is_zero_page(mm->host, whole);
}

/* Of a special mapping: memory like any other, which the host keeps. A device's is not for us to read. */
static bool is_kept(struct mm *mm, pte_t pte)
{
	if (pte_pfn(pte) >= mm->frames->max_pfn)
		return false;
	const struct page *page = pfn_to_page(mm->frames, pte_pfn(pte));
	return page_zone_type(page) != ZONE_OBJECT && (atomic_load(&page->flags) & PG_RESERVED);
}

static bool entry_serves(struct mm *mm, const pte_t *slot, pte_t pte, unsigned int gup)
{
	if ((pte & PTE_SPECIAL) && !is_zero(mm, pte) && !is_kept(mm, pte))
		return false;
	if (!(gup & GUP_FORCE))
		return (pte & PTE_PRESENT) && (!(gup & GUP_WRITE) || pte_write(pte));
	return pte_present(pte) && (!(gup & GUP_WRITE) || pte_write(pte) || is_own(mm, slot, pte));
}

/* The page under `address` if it is there with the rights asked for, with a reference; mmap_lock is held. */
static struct page *lookup(struct mm *mm, gva_t address, unsigned int gup)
{
	struct page *page = NULL;

	pthread_mutex_lock(&mm->page_table_lock);
	pte_t *slot, pte = pgtable_translate(&mm->pgt, address, &slot);
	if (entry_serves(mm, slot, pte, gup)) {
		page = (pte & PTE_SPECIAL) && is_zero(mm, pte) ? mm->frames->zero_page
							       : pfn_to_page(mm->frames, pte_pfn(pte));
		page_get(page);
		pte_change(slot, 0, PTE_ACCESSED | (gup & GUP_WRITE ? PTE_DIRTY : 0));
	}
	pthread_mutex_unlock(&mm->page_table_lock);
	return page;
}

/* May the page be brought in for this? */
static bool may_fault(const struct vma *vma, unsigned int gup)
{
	if (vma->flags & (VM_IO | VM_PFNMAP))
		return false;
	if (vma_allows(vma, gup & GUP_WRITE ? FAULT_FLAG_WRITE : 0))
		return true;
	return (gup & GUP_FORCE) && (!(gup & GUP_WRITE) || is_cow_mapping(vma->flags));
}

/* One look at the guest's memory, and what became of it. */
struct access {
	struct mm *mm;
	unsigned int gup;
	bool no_memory;	       /* the last page could not be had for lack of it */
	bool grown;	       /* the stack is down to there: that is not to be tried again */
	unsigned int attempts; /* so often in a row */
};

/* The page under `address`, faulted in, with a reference; mmap_lock is held. NULL: the guest may not, or a->no_memory. */
static struct page *get_page(struct access *a, gva_t address)
{
	struct mm *mm = a->mm;
	unsigned int gup = a->gup, flags = gup & GUP_WRITE ? FAULT_FLAG_WRITE : 0;

	a->no_memory = false;
	for (;;) {
		struct page *page = lookup(mm, address, gup);
		if (page)
			return page;
		struct vma *vma = vma_find(&mm->vmas, address);
		if (!vma || vma->start > address || !may_fault(vma, gup))
			return NULL;
		if (!(vma->flags & VM_WRITE) && (gup & GUP_WRITE))
			flags |= FAULT_FLAG_FORCE;
		enum vm_fault_result r = handle_mm_fault(vma, address, flags, 0);
		a->no_memory = r == VM_FAULT_OOM;
		if (r != VM_FAULT_DONE)
			return NULL;
	}
}

/* A guest's stack grows under a copy as under its own push. False: there is none, or it does not. */
static bool grow_stack(struct mm *mm, gva_t address)
{
	mm_read_lock(mm);
	struct vma *vma = vma_find(&mm->vmas, address);
	bool grow = vma && vma->start > address && (vma->flags & VM_GROWSDOWN);
	mm_read_unlock(mm);
	if (!grow)
		return false;
	mm_write_lock(mm);
	mm_expand_stack(mm, address);
	mm_write_unlock(mm);
	return true;
}

/* After the page at an address could not be had, and no lock is held: whether it is worth another try. */
static bool try_again(struct access *a, gva_t address)
{
	if (a->no_memory)
		return mm_out_of_memory(a->mm->host, a->mm->memcg, a->attempts++);
	if (a->grown)
		return false;
	a->grown = true;
	return grow_stack(a->mm, address);
}

enum copy_kind { COPY_FROM_USER, COPY_STRING_FROM_USER, COPY_TO_USER, CLEAR_USER };

static bool copies_from_user(enum copy_kind kind)
{
	return kind <= COPY_STRING_FROM_USER;
}

/* Up to its end, which is made here: the guest may change it meanwhile. */
static void copy_string(char *to, const char *at, size_t bytes)
{
	size_t len = strnlen(at, bytes);

	memcpy(to, at, len);
	if (len < bytes)
		to[len] = '\0';
}

/* Pages are handed to others under the area's rights alone, not under what the processor makes of them; a debugger has more. */
static bool may_get(const struct mm *mm, gva_t address, unsigned int gup)
{
	const struct vma *vma = vma_find(&mm->vmas, address);

	if (!vma || vma->start > address || (vma->flags & (VM_IO | VM_PFNMAP)))
		return false;
	if (vma->flags & (gup & GUP_WRITE ? VM_WRITE : VM_READ))
		return true;
	if (!(gup & GUP_FORCE))
		return false;
	return gup & GUP_WRITE ? is_cow_mapping(vma->flags) : (vma->flags & VM_MAYREAD) != 0;
}

static void copy_bytes(char *at, char *buffer, size_t bytes, enum copy_kind kind)
{
	if (kind == COPY_FROM_USER)
		memmove(buffer, at, bytes); /* a process may copy to itself */
	else if (kind == COPY_STRING_FROM_USER)
		copy_string(buffer, at, bytes);
	else if (kind == COPY_TO_USER)
		memmove(at, buffer, bytes);
	else
		memset(at, 0, bytes);
}

/* What was read may be zeroes in place of what should be there. */
static bool is_void(struct mm *mm)
{
	return supply_cause(mm->supply);
}

/* One page's worth of a copy; false: it cannot be reached. `gup`: GUP_FORCE or 0. */
static bool copy_part(struct mm *mm, gva_t user, char *buffer, size_t bytes, enum copy_kind kind,
		      unsigned int gup)
{
	struct access a = {.mm = mm, .gup = gup | (copies_from_user(kind) ? 0 : GUP_WRITE)};
	struct page *page;

	do {
		a.no_memory = false;
		mm_read_lock(mm);
		page = (gup & GUP_FORCE) && !may_get(mm, user, a.gup) ? NULL : get_page(&a, user);
		if (page) {
			copy_bytes((char *)page_address(mm->frames, page) + (user & ~PAGE_MASK), buffer,
				   bytes, kind);
			if (!copies_from_user(kind))
				filemap_set_dirty(
					page); /* it may have been written out since it was looked up */
			page_put(mm->frames, page);
		}
		mm_read_unlock(mm);
	} while (!page && try_again(&a, user));
	return page && !(copies_from_user(kind) && is_void(mm));
}

static size_t copy(struct mm *mm, gva_t user, char *buffer, size_t bytes, enum copy_kind kind,
		   unsigned int gup)
{
	if (!access_ok(user, bytes))
		return bytes;
	while (bytes) {
		size_t part = min_u64(bytes, PAGE_SIZE - (user & ~PAGE_MASK));
		if (!copy_part(mm, user, buffer, part, kind, gup))
			break;
		user += part;
		buffer = buffer ? buffer + part : NULL;
		bytes -= part;
	}
	return bytes;
}

size_t copy_from_user(struct mm *mm, void *to, gva_t from, size_t bytes)
{
	return copy(mm, from, to, bytes, COPY_FROM_USER, 0);
}

bool copy_from_user_inatomic(struct mm *mm, void *to, gva_t from, size_t bytes)
{
	size_t at = from & ~PAGE_MASK;

	if (!access_ok(from, bytes) || at + bytes > PAGE_SIZE)
		return false;
	mm_read_lock(mm);
	struct page *page = lookup(mm, from, 0);
	if (page) {
		memcpy(to, (char *)page_address(mm->frames, page) + at, bytes);
		page_put(mm->frames, page);
	}
	mm_read_unlock(mm);
	return page && !is_void(mm);
}

size_t copy_to_user(struct mm *mm, gva_t to, const void *from, size_t bytes)
{
	return copy(mm, to, (char *)(uintptr_t)from, bytes, COPY_TO_USER, 0);
}

size_t clear_user(struct mm *mm, gva_t to, size_t bytes)
{
	return copy(mm, to, NULL, bytes, CLEAR_USER, 0);
}

size_t read_process_memory(struct mm *mm, void *to, gva_t from, size_t bytes)
{
	return bytes - copy(mm, from, to, bytes, COPY_FROM_USER, GUP_FORCE);
}

size_t write_process_memory(struct mm *mm, gva_t to, const void *from, size_t bytes)
{
	return bytes - copy(mm, to, (char *)(uintptr_t)from, bytes, COPY_TO_USER, GUP_FORCE);
}

int64_t strncpy_from_user(struct mm *mm, char *to, gva_t from, size_t bytes)
{
	size_t done = 0;

	while (done < bytes) {
		size_t part = min_u64(bytes - done, PAGE_SIZE - (from & ~PAGE_MASK));
		if (copy(mm, from, to + done, part, COPY_STRING_FROM_USER, 0))
			return -EFAULT;
		const char *nul = memchr(to + done, 0, part);
		if (nul)
			return nul - to;
		done += part;
		from += part;
	}
	return -ENAMETOOLONG;
}

/* Adds what can be had now to the n pages that are there. Returns how many there are then. */
static unsigned int get_more_pages(struct access *a, gva_t start, unsigned int n, unsigned int nr,
				   struct page **pages)
{
	struct mm *mm = a->mm;
	unsigned int before = n;

	a->no_memory = false;
	mm_read_lock(mm);
	for (; n < nr; n++) {
		gva_t at = start + ((uint64_t)n << PAGE_SHIFT);
		pages[n] = may_get(mm, at, a->gup) ? get_page(a, at) : NULL;
		if (!pages[n])
			break;
	}
	atomic_fetch_add(&mm->nr_pins, n - before); /* before a fork can look */
	mm_read_unlock(mm);
	return n;
}

int64_t get_user_pages(struct mm *mm, gva_t start, unsigned int nr, unsigned int gup, struct page **pages)
{
	struct access a = {.mm = mm, .gup = gup};
	unsigned int n = 0;

	if (!access_ok(start, (uint64_t)nr << PAGE_SHIFT))
		return -EFAULT;
	do
		n = get_more_pages(&a, start, n, nr, pages);
	while (n < nr && try_again(&a, start));
	return n || !nr ? (int64_t)n : -EFAULT;
}

void put_user_pages(struct mm *mm, unsigned int nr, struct page **pages)
{
	for (unsigned int i = 0; i < nr; i++)
		page_put(mm->frames, pages[i]);
	atomic_fetch_sub(&mm->nr_pins, nr);
}

static void add_piece(struct user_pin *pin, char *at, size_t bytes)
{
	struct iovec *last = pin->nr_iov ? &pin->iov[pin->nr_iov - 1] : NULL;

	if (last && (char *)last->iov_base + last->iov_len == at)
		last->iov_len += bytes;
	else
		pin->iov[pin->nr_iov++] = (struct iovec){at, bytes};
	pin->bytes += bytes;
}

/* Whoever reads a pinned page does so where nobody asks: what a supply owes comes now. False: it cannot. */
static bool is_here(struct mm *mm, const struct page *page)
{
	if (!mm->supply)
		return true;
	__atomic_load_n((const char *)page_address(mm->frames, page), __ATOMIC_RELAXED);
	return !is_void(mm);
}

/*
 * Pins the page under `user`. One of a file that will be written to keeps its file: the page becomes dirty once more when the pin
 * goes, since it may be written out meanwhile.
 */
static struct page *pin_page(struct mm *mm, gva_t user, bool write, struct backing **file)
{
	struct access a = {.mm = mm, .gup = write ? GUP_WRITE : 0};
	struct page *page;

	*file = NULL;
	do {
		mm_read_lock(mm);
		page = get_page(&a, user);
		if (page && !write && !is_here(mm, page)) {
			page_put(mm->frames, page);
			page = NULL;
		}
		struct address_space *mapping = page && write ? page_mapping(page) : NULL;
		if (mapping && !mapping->shmem)
			*file = backing_get(mapping->host);
		if (page)
			atomic_fetch_add(&mm->nr_pins, 1); /* before a fork can look */
		mm_read_unlock(mm);
	} while (!page && try_again(&a, user));
	return page;
}

/* Pins one guest buffer as far as it goes; false: stop here. */
static bool pin_buffer(struct mm *mm, gva_t user, size_t bytes, bool write, struct user_pin *pin)
{
	if (!access_ok(user, bytes))
		return false;
	while (bytes) {
		size_t part = min_u64(bytes, PAGE_SIZE - (user & ~PAGE_MASK));
		if (pin->nr_pages == USER_PIN_MAX_PAGES)
			return false;
		struct page *page = pin_page(mm, page_align_down(user), write, &pin->files[pin->nr_pages]);
		if (!page)
			return false;
		pin->pages[pin->nr_pages++] = page;
		add_piece(pin, (char *)page_address(mm->frames, page) + (user & ~PAGE_MASK), part);
		user += part;
		bytes -= part;
	}
	return true;
}

/* How many pages buffers can lie in, as far as one pin goes; at least one. */
static unsigned int pages_at_most(const struct iovec *guest, unsigned int nr)
{
	uint64_t pages = 1;

	for (unsigned int i = 0; i < nr && pages < USER_PIN_MAX_PAGES; i++)
		pages += min_u64(guest[i].iov_len, USER_PIN_MAX_PAGES << PAGE_SHIFT) / PAGE_SIZE + 2;
	return (unsigned int)min_u64(pages, USER_PIN_MAX_PAGES);
}

int user_pin(struct mm *mm, const struct iovec *guest, unsigned int nr, size_t skip, bool write,
	     struct user_pin *pin)
{
	size_t wanted = 0;

	*pin = (struct user_pin){0};
	unsigned int room = pages_at_most(guest, nr);
	pin->pages = malloc(room * (sizeof(*pin->pages) + sizeof(*pin->files) + sizeof(*pin->iov)));
	if (!pin->pages)
		return -ENOMEM;
	pin->files = (struct backing **)(void *)(pin->pages + room);
	pin->iov = (struct iovec *)(void *)(pin->files + room);
	for (unsigned int i = 0; i < nr; i++) {
		if (skip >= guest[i].iov_len) {
			skip -= guest[i].iov_len;
			continue;
		}
		wanted += guest[i].iov_len - skip;
		if (!pin_buffer(mm, (gva_t)(uintptr_t)guest[i].iov_base + skip, guest[i].iov_len - skip,
				write, pin))
			break;
		skip = 0;
	}
	if (!wanted || pin->bytes)
		return 0;
	user_pin_release(mm, pin);
	return -EFAULT;
}

void user_pin_release(struct mm *mm, struct user_pin *pin)
{
	for (unsigned int i = 0; i < pin->nr_pages; i++) {
		if (pin->files[i])
			filemap_set_dirty(pin->pages[i]);
		page_put(mm->frames, pin->pages[i]);
		if (pin->files[i])
			backing_put(pin->files[i]);
	}
	atomic_fetch_sub(&mm->nr_pins, pin->nr_pages);
	free(pin->pages);
	*pin = (struct user_pin){0};
}
