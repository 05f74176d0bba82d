/* SPDX-License-Identifier: MIT */
/*
 * gate.c - the pages of gate.S: who sees which, what they answer by themselves, and where a processor was that was stopped in one.
 *
 * A space has a gate for a processor from the first entry that asks for one until the space ends:
 *
 *	root[257] --> pdpt --> pd --> pt [2 * id]      code, one frame for all
 *	                              pt [2 * id + 1]  struct gate_page of this processor in this space
 *	                              pt [510], [511]  the same code, struct sites_page: sites.c
 *
 * Entries are only ever added, so nobody has to be told. Another space never sees the page, for the tables are the space's own; another
 * thread of the same space does, and can do with it what it could do with its own memory.
 *
 * Locking: vm->gate_lock for a space's tables and v->gate of every processor, also while answers are written; allocations are made
 * under it. The frames and tables are the machine's (PG_RESERVED), like a processor's area: nobody's account has them.
 * Not here: when a space gets a gate (run.c), what is answered (src/linux/answers.c), the mailbox in the page (mailbox.c).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "kvm.h"

extern const char gate_user[], gate_user_saved[], gate_user_known[], gate_user_gave_up[],
	gate_user_answered[], gate_user_out[], gate_user_end[];
extern const char gate_user_direct[], gate_user_direct_saved[], gate_user_direct_called[];
extern const char gate_kernel[], gate_kernel_saved[], gate_kernel_known[], gate_kernel_gave_up[],
	gate_kernel_answered[], gate_kernel_end[];

/* What is kept in mm->mmu_data. */
struct gate_space {
	struct page *table[3]; /* from the pdpt down */
	pte_t *slots;	       /* of the last one */
	struct sites *sites;   /* behind all gates; NULL: there are none */
};

#define GATE_LEVELS 3

/* --- a space's tables (gate_lock is held) -------------------------------------------------------------------------------- */

static struct page *machine_page(struct vm *vm)
{
	struct page *page = page_alloc(&vm->arena->frames, GFP_TABLE | __GFP_ZERO, 0);

	if (page)
		atomic_fetch_or(&page->flags, PG_RESERVED);
	return page;
}

static void release_page(struct page *page)
{
	atomic_fetch_and(&page->flags, ~(uint32_t)PG_RESERVED);
}

static void free_sites(struct vm *vm, struct sites *s)
{
	if (!s)
		return;
	for (unsigned int i = 0; i < s->nr; i++)
		if (s->rewritten[i])
			atomic_fetch_sub(&vm->nr_rewritten, 1);
	release_page(s->page);
	page_put(&vm->arena->frames, s->page);
	free(s);
}

static void free_tables(struct vm *vm, struct gate_space *g)
{
	for (unsigned int i = 0; i < GATE_LEVELS; i++)
		if (g->table[i]) {
			release_page(g->table[i]);
			page_put(&vm->arena->frames, g->table[i]);
		}
	free(g);
}

/* No processor has seen the tables before the last line. NULL: no memory. */
static struct gate_space *make_tables(struct vm *vm, struct mm *mm)
{
	struct frames *f = &vm->arena->frames;
	struct gate_space *g = calloc(1, sizeof(*g));
	pte_t *slot;

	for (unsigned int i = 0; g && i < GATE_LEVELS; i++) {
		g->table[i] = machine_page(vm);
		if (!g->table[i]) {
			free_tables(vm, g);
			g = NULL;
		}
	}
	if (!g)
		return NULL;
	for (unsigned int i = 0; i + 1 < GATE_LEVELS; i++) {
		slot = page_address(f, g->table[i]);
		pte_set(slot, pte_make(page_to_pfn(f, g->table[i + 1]), TABLE_FLAGS));
	}
	g->slots = page_address(f, g->table[GATE_LEVELS - 1]);
	slot = page_address(f, mm->pgt.root);
	pte_set(&slot[level_index(GATE_BASE, 3)], pte_make(page_to_pfn(f, g->table[0]), TABLE_FLAGS));
	mm->mmu_data = g;
	return g;
}

static bool at_cpl3(struct vm *vm)
{
	return atomic_load(&vm->mmu_kind) == MMU_PVM;
}

/* The page of a processor in a space, which is made if it is not there. NULL: no memory. */
static struct gate_page *find_page(struct vcpu *v, struct mm *mm)
{
	struct frames *f = &v->vm->arena->frames;
	struct gate_space *g = mm->mmu_data ? mm->mmu_data : make_tables(v->vm, mm);
	pte_t level = at_cpl3(v->vm) ? PTE_USER : 0;

	if (!g)
		return NULL;
	pte_t *slot = &g->slots[2 * v->id];
	if (!pte_none(slot[1]))
		return pfn_address(f, pte_pfn(slot[1]));
	struct page *page = machine_page(v->vm);
	if (!page)
		return NULL;
	pte_set(&slot[1], pte_make(page_to_pfn(f, page),
				   PTE_PRESENT | PTE_WRITE | PTE_ACCESSED | PTE_DIRTY | PTE_NX | level));
	pte_set(&slot[0], pte_make(v->vm->gate_code[level ? 0 : 1], PTE_PRESENT | PTE_ACCESSED | level));
	return page_address(f, page);
}

/* --- a processor's gate ---------------------------------------------------------------------------------------------- */

static gva_t gate_va(const struct vcpu *v)
{
	return GATE_BASE + (gva_t)v->id * GATE_STRIDE;
}

static void write_answers(struct vcpu *v, struct gate_page *page)
{
	for (unsigned int nr = 0; nr < ARRAY_SIZE(v->answers); nr++)
		__atomic_store_n(&page->answers[nr], v->answers[nr], __ATOMIC_RELAXED);
}

/* Takes what the guest has counted. */
static void take_count(struct vcpu *v, struct gate_page *page)
{
	v->stats.answered += __atomic_exchange_n(&page->nr_answered, 0, __ATOMIC_RELAXED);
	v->stats.direct += __atomic_exchange_n(&page->nr_direct, 0, __ATOMIC_RELAXED);
}

/* The page stays, and says nothing to whoever might come there. */
static void leave_page(struct vcpu *v)
{
	struct gate_page *page = atomic_load(&v->gate);

	if (!page)
		return;
	take_count(v, page);
	memset(page, 0, sizeof(*page));
	atomic_store(&v->gate, NULL);
	atomic_store(&v->gate_mm, NULL);
}

void gate_leave(struct vcpu *v)
{
	pthread_mutex_lock(&v->vm->gate_lock);
	memset(v->answers, 0, sizeof(v->answers));
	leave_page(v);
	pthread_mutex_unlock(&v->vm->gate_lock);
}

void gate_count(struct vcpu *v)
{
	pthread_mutex_lock(&v->vm->gate_lock);
	struct gate_page *page = atomic_load(&v->gate);
	if (page)
		take_count(v, page);
	pthread_mutex_unlock(&v->vm->gate_lock);
}

void gate_release(void *ctx, struct mm *mm, struct list_head *freed)
{
	struct vm *vm = ctx;
	struct frames *f = &vm->arena->frames;
	struct gate_space *g = mm->mmu_data;

	if (!g)
		return;
	pthread_mutex_lock(&vm->lock);
	pthread_mutex_lock(&vm->gate_lock);
	for (struct vcpu *v = vm->all; v; v = v->next_all)
		if (atomic_load(&v->gate_mm) == mm)
			leave_page(v);
	pthread_mutex_unlock(&vm->gate_lock);
	pthread_mutex_unlock(&vm->lock);
	free_sites(vm, g->sites);
	for (unsigned int i = 0; i < NR_GATES; i++)
		if (!pte_none(g->slots[2 * i + 1])) {
			struct page *page = pfn_to_page(f, pte_pfn(g->slots[2 * i + 1]));
			release_page(page);
			page_put(f, page);
		}
	for (unsigned int i = 0; i < GATE_LEVELS; i++) {
		release_page(g->table[i]);
		list_add_tail(&g->table[i]->node, freed);
	}
	free(g);
	mm->mmu_data = NULL;
}

static int switch_page(struct vcpu *v, struct mm *mm)
{
	struct gate_page *page = find_page(v, mm);

	if (!page)
		return -ENOMEM;
	leave_page(v);
	v->sites = NULL;
	v->look_every = 0;
	memset(page, 0, sizeof(*page));
	page->countdown = v->vdso_pfn ? 1 : 0;
	write_answers(v, page);
	atomic_store(&v->gate, page);
	atomic_store(&v->gate_mm, mm);
	return 0;
}

int gate_open(struct vcpu *v, struct mm *mm)
{
	struct vm_platform p;
	int err = v->id < NR_GATES && v->vm->mm_host.levels == 4 ? vm_platform(v->vm, &p) : -ENOSPC;

	if (err)
		return err;
	pthread_mutex_lock(&v->vm->gate_lock);
	err = switch_page(v, mm);
	pthread_mutex_unlock(&v->vm->gate_lock);
	return err ? err : vcpu_set_lstar(v, gate_va(v));
}

void vcpu_set_answer(struct vcpu *v, unsigned int nr, uint32_t value)
{
	if (nr >= ARRAY_SIZE(v->answers))
		return;
	pthread_mutex_lock(&v->vm->gate_lock);
	v->answers[nr] = value + 1;
	struct gate_page *page = atomic_load(&v->gate);
	if (page)
		__atomic_store_n(&page->answers[nr], value + 1, __ATOMIC_RELAXED);
	pthread_mutex_unlock(&v->vm->gate_lock);
}

/* --- rewritten call sites ------------------------------------------------------------------------------------------------ */

static struct sites *make_sites(struct vm *vm, struct gate_space *g)
{
	struct frames *f = &vm->arena->frames;
	struct sites *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->page = machine_page(vm);
	if (!s->page) {
		free(s);
		return NULL;
	}
	s->data = page_address(f, s->page);
	pte_set(&g->slots[2 * NR_GATES + 1],
		pte_make(page_to_pfn(f, s->page), PTE_PRESENT | PTE_ACCESSED | PTE_NX | PTE_USER));
	pte_set(&g->slots[2 * NR_GATES], pte_make(vm->gate_code[0], PTE_PRESENT | PTE_ACCESSED | PTE_USER));
	g->sites = s;
	return s;
}

struct sites *gate_sites(struct vm *vm, struct mm *mm, bool make)
{
	pthread_mutex_lock(&vm->gate_lock);
	struct gate_space *g = mm->mmu_data;
	struct sites *s = g ? g->sites : NULL;
	if (g && !s && make)
		s = make_sites(vm, g);
	pthread_mutex_unlock(&vm->gate_lock);
	return s;
}

gva_t gate_direct_entry(const struct vcpu *v)
{
	return gate_va(v) + (uint64_t)(gate_user_direct - gate_user);
}

/* --- stopped on the way ---------------------------------------------------------------------------------------------- */

#define LABEL(user, name) (uint64_t)((user) ? gate_user_##name - gate_user : gate_kernel_##name - gate_kernel)

#define DIRECT_BEGINS	  (uint64_t)(gate_user_direct - gate_user)
#define DIRECT_SAVED	  (uint64_t)(gate_user_direct_saved - gate_user)
#define DIRECT_CALLED	  (uint64_t)(gate_user_direct_called - gate_user)

static bool in_page(struct vcpu *v, uint64_t rip)
{
	return atomic_load(&v->gate) && atomic_load(&v->gate_mm) == atomic_load(&v->mm) &&
	       rip >= gate_va(v) && rip < gate_va(v) + PAGE_SIZE;
}

bool gate_on_direct_way(struct vcpu *v, uint64_t rip)
{
	return at_cpl3(v->vm) && in_page(v, rip) && rip >= gate_direct_entry(v) &&
	       rip < gate_va(v) + DIRECT_CALLED;
}

void gate_leave_direct_way(struct vcpu *v, struct cpu_regs *regs)
{
	const struct gate_page *page = atomic_load(&v->gate);

	if (!gate_on_direct_way(v, regs->rip) || regs->rip < gate_va(v) + DIRECT_SAVED)
		return;
	regs->rcx = __atomic_load_n(&page->site_rcx, __ATOMIC_RELAXED);
	regs->r11 = __atomic_load_n(&page->site_r11, __ATOMIC_RELAXED);
	regs->rsp = __atomic_load_n(&page->site_rsp, __ATOMIC_RELAXED);
}

bool gate_holds(struct vcpu *v, uint64_t rip)
{
	uint64_t at = rip - gate_va(v);

	return in_page(v, rip) && !(at_cpl3(v->vm) && at >= DIRECT_BEGINS && at != DIRECT_CALLED);
}

/* Is the call over that it was stopped in, `at` in the code? Then its value is in rax. */
static bool is_over(const struct gate_page *page, bool user, uint64_t at, struct cpu_regs *regs)
{
	uint64_t answered = LABEL(user, answered);
	bool unread = __atomic_load_n(&page->state, __ATOMIC_ACQUIRE) == GATE_STATE_ANSWERED;

	if (at == LABEL(user, known) || at > answered)
		return true;
	/* Giving up has written over the state, and what it was is in rcx. */
	if (at != answered && !(at == LABEL(user, gave_up) ? !regs->rcx : at > LABEL(user, saved) && unread))
		return false;
	regs->rax = __atomic_load_n(&page->return_value, __ATOMIC_RELAXED);
	return true;
}

enum gate_stop gate_resolve(struct vcpu *v, struct cpu_regs *regs)
{
	const struct gate_page *page = atomic_load(&v->gate);
	bool user = at_cpl3(v->vm);
	uint64_t at = regs->rip - gate_va(v);

	if (user && at == DIRECT_CALLED) /* a jump to the beginning */
		at = 0;
	enum gate_stop stop = is_over(page, user, at, regs) ? GATE_ANSWERED : GATE_CALLS;

	if (at >= LABEL(user, saved)) {
		regs->rcx = __atomic_load_n(&page->rcx, __ATOMIC_RELAXED);
		regs->r11 = __atomic_load_n(&page->r11, __ATOMIC_RELAXED);
	}
	regs->rip = regs->rcx;
	regs->rflags = regs->r11;
	return stop;
}

/* --- the code -------------------------------------------------------------------------------------------------------- */

void gate_write_code(struct vm *vm, struct page *user, struct page *kernel)
{
	struct frames *f = &vm->arena->frames;
	char *code = page_address(f, user);

	memcpy(code, gate_user, (size_t)(gate_user_end - gate_user));
	memcpy(code + (gate_user_out - gate_user), &vm->lstar, sizeof(vm->lstar));
	memcpy(page_address(f, kernel), gate_kernel, (size_t)(gate_kernel_end - gate_kernel));
	vm->gate_code[0] = page_to_pfn(f, user);
	vm->gate_code[1] = page_to_pfn(f, kernel);
}
