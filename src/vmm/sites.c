/* SPDX-License-Identifier: MIT */
/*
 * sites.c - call sites that were rewritten: `mov $nr, %eax; syscall` in a program's text goes to the gate by a jump (docs/traps.md).
 *
 *	text, a private copy of the page         the vDSO's page            SITES_BASE                   the gate of the processor
 *	  S     jmp slot i   (was mov $nr, %eax)   slot i: jmp *SITES_BASE+ -> lea site[i], %rax      --> gate_user_direct
 *	  S+5   syscall                                                        jmp *entry
 *	  S+7   ...          <---------------------------------------------------------------------------- jmp *%rcx
 *
 *   S1  The mov alone is replaced, by one instruction of the same length; the SYSCALL stays. Wherever the processor is found between S
 *       and the gate, it is as good to say that it is at S + 5 with nr in rax (sites_resolve).
 *   S2  There are rewritten sites in a space only while one task uses it, which runs on the processor that `entry` leads to. Whoever adds a
 *       user (clone, vfork) or copies the space (fork, snapshots) takes them back first: sites_undo.
 *   S3  A page with a rewritten site differs from the file's in nothing else, nobody could write it, and it is nobody else's. So taking
 *       it out of the space is all of the way back, and can be done while the program runs.
 *   S4  What was said to be a site of the table stays so: a program on its way finds it, even if its page is the file's again.
 *
 * Locking: vm->patch_lock, outside of everything else, for what is rewritten; all else is the only user's. The page of a table is the
 * machine's (PG_RESERVED), as the gates are.
 * Not here: which instructions are safe to replace (insn.c), which calls undo what (src/linux/patch.c).
 */
#include <elf.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "../mm/lock.h"
#include "../mm/page.h"
#include "../mm/vma.h"
#include "insn.h"
#include "kvm.h"
#include "sites.h"

#define JMP	   0xe9
#define ROOM_PAGES 64u /* a copy, tables, and as much again */

void vcpu_set_patching(struct vcpu *v, pfn_t vdso)
{
	v->vdso_pfn = vdso;
	memset(v->hot, 0, sizeof(v->hot));
}

/* --- which are worth it -------------------------------------------------------------------------------------------------- */

#define HOT_CALLS  64u	/* from one site, all for the same thing, before it is looked at */
#define HOT_AGAIN  256u /* and before it is looked at again: it may have been taken back */
#define HOT_NEVER  ~0u	/* it has to stay */
#define FIRST_LOOK 64u
#define LAST_LOOK  (1u << 20)

/* Lets the gate answer fewer and fewer calls unseen, and tells whether this is one that it let pass to be seen. */
static bool was_let_pass(struct vcpu *v)
{
	struct gate_page *page = atomic_load(&v->gate);

	if (!page || __atomic_load_n(&page->countdown, __ATOMIC_RELAXED))
		return false;
	bool first = !v->look_every;
	v->look_every = first ? FIRST_LOOK : v->look_every < LAST_LOOK ? v->look_every * 4 : LAST_LOOK;
	__atomic_store_n(&page->countdown, v->look_every, __ATOMIC_RELAXED);
	return !first;
}

/* It has something to learn again. */
static void look_again(struct vcpu *v)
{
	struct gate_page *page = atomic_load(&v->gate);

	v->look_every = 0;
	if (page)
		__atomic_store_n(&page->countdown, 1, __ATOMIC_RELAXED);
}

static unsigned int hot_index(gva_t after)
{
	return (after >> 1) % HOT_SITES;
}

void sites_note(struct vcpu *v, const struct mm *mm, const struct cpu_regs *regs)
{
	struct hot_site *h = &v->hot[hot_index(regs->rcx)];

	if (!v->vdso_pfn || atomic_load(&v->gate_mm) != mm)
		return;
	unsigned int calls = was_let_pass(v) ? HOT_CALLS : 1;
	if (h->mm != mm || h->after != regs->rcx || h->nr != regs->rax)
		*h = (struct hot_site){.mm = mm, .after = regs->rcx, .nr = regs->rax, .needed = HOT_CALLS};
	h->calls += calls;
	if (h->calls < h->needed || h->needed == HOT_NEVER)
		return;
	h->calls = 0;
	h->needed = HOT_AGAIN;
	v->hottest = *h;
}

/* --- what is there (patch_lock is held) ------------------------------------------------------------------------------------ */

static gva_t site_start(const struct sites *s, unsigned int i)
{
	return s->data->site[i].after - SITE_BYTES;
}

/* The slots in the vDSO's page where the loader put it, if that is there and as it was. 0: it is not. */
static gva_t find_slots(const struct vcpu *v, struct mm *mm)
{
	gva_t at = 0;
	pte_t *slot;

	for (unsigned int i = 0; i + 1 < mm->nr_auxv_words && !at; i += 2)
		if (mm->saved_auxv[i] == AT_SYSINFO_EHDR)
			at = mm->saved_auxv[i + 1];
	if (!at || at >= TASK_SIZE || (at & ~PAGE_MASK))
		return 0;
	pthread_mutex_lock(&mm->page_table_lock);
	pte_t pte = pgtable_translate(&mm->pgt, at, &slot);
	pthread_mutex_unlock(&mm->page_table_lock);
	return (pte & PTE_PRESENT) && !(pte & PTE_NX) && pte_pfn(pte) == v->vdso_pfn ? at + SITE_SLOTS : 0;
}

/* Text of a file, for this program alone, that it cannot write. */
static bool is_text(const struct vma *vma)
{
	const uint64_t refused =
		VM_WRITE | VM_SHARED | VM_LOCKED | VM_SEALED | VM_HUGETLB | VM_IO | VM_PFNMAP;

	return vma->mapping && (vma->flags & (VM_READ | VM_EXEC)) == (VM_READ | VM_EXEC) &&
	       !(vma->flags & refused);
}

enum page_kind { PAGE_GONE, PAGE_OF_FILE, PAGE_OWN };

static enum page_kind page_at(struct mm *mm, gva_t address)
{
	enum page_kind kind = PAGE_GONE;
	pte_t *slot;

	pthread_mutex_lock(&mm->page_table_lock);
	pte_t pte = pgtable_translate(&mm->pgt, address, &slot);
	if ((pte & PTE_PRESENT) && !(pte & PTE_SPECIAL))
		kind = page_anon(pfn_to_page(mm->frames, pte_pfn(pte))) ? PAGE_OWN : PAGE_OF_FILE;
	pthread_mutex_unlock(&mm->page_table_lock);
	return kind;
}

/* The window of text around a site, in whole pages. */
struct window {
	gva_t start, end;
	uint8_t code[2 * SITE_REACH + 2 * PAGE_SIZE];
};

/* Its bounds: 0, or -EPERM. */
static int find_window(struct mm *mm, gva_t at, struct window *w)
{
	int err = -EPERM;

	mm_read_lock(mm);
	const struct vma *vma = vma_find(&mm->vmas, at);
	const struct vma *low = vma_find(&mm->vmas, 0);
	if (vma && vma->start <= at && vma->end - at >= SITE_BYTES && is_text(vma) &&
	    low->start >= SITES_LOWEST_AREA) {
		w->start = max_u64(vma->start, page_align_down(at) - SITE_REACH);
		w->end = min_u64(vma->end, page_align_down(at) + PAGE_SIZE + SITE_REACH);
		err = 0;
	}
	mm_read_unlock(mm);
	return err;
}

static int check_code(struct mm *mm, gva_t at, uint32_t nr)
{
	struct window w;
	int err = find_window(mm, at, &w);

	if (err)
		return err;
	if (copy_from_user(mm, w.code, w.start, w.end - w.start))
		return -EAGAIN;
	return insn_is_call_site(w.code, w.end - w.start, at - w.start, nr) ? 0 : -EPERM;
}

static bool shares_page(const struct sites *s, unsigned int i, gva_t page)
{
	return s->rewritten[i] && page_align_down(site_start(s, i)) == page;
}

static void forget_page(struct vm *vm, struct sites *s, gva_t page)
{
	for (unsigned int i = 0; i < s->nr; i++)
		if (shares_page(s, i, page)) {
			s->rewritten[i] = false;
			atomic_fetch_sub(&vm->nr_rewritten, 1);
		}
}

/* S3: the page is the file's, or differs by other sites alone. */
static int check_page(struct vm *vm, struct mm *mm, struct sites *s, gva_t page)
{
	enum page_kind kind = page_at(mm, page);

	if (kind == PAGE_GONE)
		return -EAGAIN;
	if (kind == PAGE_OF_FILE) { /* its file was cut off and grew again, for one */
		forget_page(vm, s, page);
		return 0;
	}
	for (unsigned int i = 0; i < s->nr; i++)
		if (shares_page(s, i, page))
			return 0;
	return -EPERM;
}

/* What it needs can be had without anybody being told to give memory up. */
static bool has_room(const struct mm *mm)
{
	return atomic_load(&mm->memcg->usage_pages) + ROOM_PAGES < atomic_load(&mm->memcg->max_pages);
}

/* --- rewriting ----------------------------------------------------------------------------------------------------------- */

/* The site that ends at `after`, or where it would be; -ENOSPC. */
static int find_site(const struct sites *s, gva_t after, uint32_t nr)
{
	unsigned int i = 0;

	while (i < s->nr && (s->data->site[i].after != after || s->data->site[i].nr != nr))
		i++;
	return i < NR_SITES ? (int)i : -ENOSPC;
}

static int rewrite(struct vcpu *v, struct mm *mm, struct sites *s, unsigned int i)
{
	gva_t start = site_start(s, i);
	int64_t by = (int64_t)(s->slots + (gva_t)i * SITE_SLOT_BYTES - (start + SITE_MOV_BYTES));
	uint8_t code[SITE_MOV_BYTES] = {JMP};
	int32_t displacement = (int32_t)by;

	if (by != displacement)
		return -EPERM;
	memcpy(code + 1, &displacement, sizeof(displacement));
	if (write_process_memory(mm, start, code, sizeof(code)) != sizeof(code))
		return -ENOMEM;
	s->rewritten[i] = true;
	v->stats.rewritten++;
	return 0;
}

static int add_site(struct vcpu *v, struct mm *mm, gva_t after, uint32_t nr)
{
	struct sites *s = gate_sites(v->vm, mm, true);
	gva_t start = after - SITE_BYTES, slots = find_slots(v, mm);

	if (!s)
		return -ENOMEM;
	v->sites = s;
	if (!slots || (s->nr && s->slots != slots))
		return -EPERM;
	int i = find_site(s, after, nr);
	if (i < 0 || s->rewritten[i])
		return i < 0 ? i : -EEXIST;
	vcpu_recall(v);
	if (page_align_down(start) != page_align_down(after - 1))
		return -EPERM;
	if (!has_room(mm))
		return -EAGAIN;
	int err = check_code(mm, start, nr);
	if (!err)
		err = check_page(v->vm, mm, s, page_align_down(start));
	if (err)
		return err;
	s->slots = slots;
	s->data->site[i] = (struct gate_site){after, nr};
	s->data->entry = gate_direct_entry(v);
	if ((unsigned int)i == s->nr)
		s->nr++;
	return rewrite(v, mm, s, (unsigned int)i);
}

bool vcpu_has_hot_site(const struct vcpu *v)
{
	return v->hottest.after;
}

void vcpu_rewrite_site(struct vcpu *v, struct mm *mm, uint32_t users)
{
	const struct hot_site h = v->hottest;
	struct vm *vm = v->vm;

	v->hottest.after = 0;
	if (atomic_load(&vm->mmu_kind) != MMU_PVM || h.mm != mm || atomic_load(&v->gate_mm) != mm ||
	    h.after < SITE_BYTES || h.after >= TASK_SIZE || h.nr > UINT32_MAX)
		return;
	pthread_mutex_lock(&vm->patch_lock);
	/* Whoever looks into the space from outside becomes a user, and then looks at this number. */
	atomic_fetch_add(&vm->nr_rewritten, 1);
	int err = atomic_load(&mm->mm_users) == users ? add_site(v, mm, h.after, (uint32_t)h.nr) : -EAGAIN;
	if (err)
		atomic_fetch_sub(&vm->nr_rewritten, 1);
	if (err == -EPERM) {
		v->hot[hot_index(h.after)].needed = HOT_NEVER;
		v->stats.not_rewritten++;
	}
	pthread_mutex_unlock(&vm->patch_lock);
}

/* --- the way back ---------------------------------------------------------------------------------------------------------- */

static bool overlaps(gva_t page, gva_t start, gva_t end)
{
	return page < end && start < page + PAGE_SIZE;
}

static void undo_page(struct vm *vm, struct mm *mm, struct sites *s, gva_t page)
{
	forget_page(vm, s, page);
	/* What has gone already, with its area, is as it should be. */
	mm_madvise(mm, page, PAGE_SIZE, MADV_DONTNEED);
	atomic_fetch_add(&vm->nr_pages_undone, 1);
}

static void undo_range(struct vm *vm, struct mm *mm, struct sites *s, gva_t start, gva_t end)
{
	bool all = s->nr && overlaps(page_align_down(s->slots), start, end);

	for (unsigned int i = 0; i < s->nr; i++) {
		gva_t page = page_align_down(site_start(s, i));
		if (!s->rewritten[i] || (!all && !overlaps(page, start, end)))
			continue;
		undo_page(vm, mm, s, page);
		if (current_vcpu && atomic_load(&current_vcpu->gate_mm) == mm)
			look_again(current_vcpu);
	}
}

void sites_undo(struct mm *mm, gva_t start, gva_t end)
{
	struct vm *vm = mm->host->mmu_ctx;

	pthread_mutex_lock(&vm->patch_lock);
	struct sites *s = gate_sites(vm, mm, false);
	if (s)
		undo_range(vm, mm, s, start, end);
	pthread_mutex_unlock(&vm->patch_lock);
}

uint64_t sites_nr_undone(struct vm *vm)
{
	return atomic_load(&vm->nr_pages_undone);
}

bool sites_exist(struct vm *vm)
{
	return atomic_load(&vm->nr_rewritten);
}

/* --- stopped on the way ---------------------------------------------------------------------------------------------------- */

static const struct gate_site *site_of_slot(const struct sites *s, uint64_t from_first)
{
	uint64_t i = from_first / SITE_SLOT_BYTES;

	return i < s->nr ? &s->data->site[i] : NULL;
}

/* By the address in rax that it has in the guest. */
static const struct gate_site *site_of_rax(const struct sites *s, uint64_t rax)
{
	uint64_t from_first = rax - (SITES_BASE + PAGE_SIZE + SITES_SITE);

	return from_first % sizeof(struct gate_site) ? NULL : site_of_slot(s, from_first);
}

/* On the way to the gate: the site where it comes from, or NULL. */
static const struct gate_site *find_way(struct vcpu *v, const struct sites *s, const struct cpu_regs *regs)
{
	uint64_t in_slots = regs->rip - s->slots, in_code = regs->rip - (SITES_BASE + SITE_SLOTS);

	if (in_slots < NR_SITES * SITE_SLOT_BYTES)
		return site_of_slot(s, in_slots);
	if (in_code < NR_SITES * SITE_SLOT_BYTES)
		return site_of_slot(s, in_code);
	return gate_on_direct_way(v, regs->rip) ? site_of_rax(s, regs->rax) : NULL;
}

bool sites_resolve(struct vcpu *v, const struct mm *mm, struct cpu_regs *regs)
{
	const struct gate_site *site = NULL;

	/* A gate is opened anew for another space at the same address, and then there are no sites. */
	if (v->sites && atomic_load(&v->gate_mm) == mm)
		site = find_way(v, v->sites, regs);
	if (!site)
		return false;
	gate_leave_direct_way(v, regs);
	regs->rip = site->after - SYSCALL_BYTES;
	regs->rax = site->nr;
	return true;
}
