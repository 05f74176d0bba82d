/* SPDX-License-Identifier: MIT */
/* account.c - see account.h. */
#include "account.h"

static bool is_data(uint64_t vm_flags)
{
	return (vm_flags & (VM_WRITE | VM_SHARED | VM_GROWSDOWN)) == VM_WRITE;
}

static void commit(struct mm *mm, int64_t nr_pages)
{
	mm->committed_pages += (uint64_t)nr_pages;
	atomic_fetch_add_explicit(&mm->memcg->committed_pages, nr_pages, memory_order_relaxed);
	atomic_fetch_add_explicit(&mm->host->committed_pages, nr_pages, memory_order_relaxed);
}

void vm_stat_account(struct mm *mm, uint64_t vm_flags, int64_t nr_pages)
{
	uint64_t nr = (uint64_t)nr_pages; /* wraps as it should */

	mm->total_vm_pages += nr;
	mm->hiwater_vm_pages = max_u64(mm->hiwater_vm_pages, mm->total_vm_pages);
	if ((vm_flags & (VM_EXEC | VM_WRITE | VM_GROWSDOWN)) == VM_EXEC)
		mm->exec_vm_pages += nr;
	else if (vm_flags & VM_GROWSDOWN)
		mm->stack_vm_pages += nr;
	else if (is_data(vm_flags))
		mm->data_vm_pages += nr;
	if (vm_flags & VM_LOCKED)
		mm->locked_vm_pages += nr;
	if (vm_flags & VM_ACCOUNT)
		commit(mm, nr_pages);
}

static bool within(uint64_t pages, uint64_t more, uint64_t limit_bytes)
{
	return pages + more <= limit_bytes >> PAGE_SHIFT;
}

bool may_expand_vm(const struct mm *mm, uint64_t vm_flags, uint64_t nr_pages)
{
	if (!within(mm->total_vm_pages, nr_pages, mm->as_limit_bytes))
		return false;
	return !is_data(vm_flags) || within(mm->data_vm_pages, nr_pages, mm->data_limit_bytes);
}

static uint64_t pages_of_kbytes(uint64_t kbytes)
{
	return kbytes >> (PAGE_SHIFT - 10);
}

uint64_t vm_commit_limit(const struct mm *mm)
{
	const struct memcg *cg = mm->memcg;
	uint64_t kbytes = atomic_load(&cg->overcommit_kbytes);

	if (kbytes)
		return pages_of_kbytes(kbytes);
	/* What the account may own, as far as the machine has it. */
	return min_u64(cg->max_pages, frames_guest_pages(mm->frames)) * atomic_load(&cg->overcommit_ratio) /
	       100;
}

bool vm_enough_memory(const struct mm *mm, uint64_t nr_pages)
{
	uint32_t mode = atomic_load(&mm->memcg->overcommit_memory);

	if (mode == OVERCOMMIT_ALWAYS)
		return true;
	if (mode == OVERCOMMIT_GUESS)
		return nr_pages <= frames_guest_pages(mm->frames);
	const struct memcg *cg = mm->memcg;
	uint64_t reserve =
		(mm->privileged ? 0 : pages_of_kbytes(atomic_load(&cg->admin_reserve_kbytes))) +
		min_u64(mm->total_vm_pages / 32, pages_of_kbytes(atomic_load(&cg->user_reserve_kbytes)));
	int64_t committed = atomic_load_explicit(&mm->memcg->committed_pages, memory_order_relaxed);
	return committed + (int64_t)nr_pages < (int64_t)vm_commit_limit(mm) - (int64_t)reserve;
}

bool can_do_mlock(const struct mm *mm)
{
	return mm->privileged || mm->memlock_limit_bytes;
}

bool mlock_future_ok(const struct mm *mm, uint64_t vm_flags, uint64_t nr_pages)
{
	return !(vm_flags & VM_LOCKED) || mm->privileged ||
	       within(mm->locked_vm_pages, nr_pages, mm->memlock_limit_bytes);
}
