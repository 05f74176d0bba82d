/* SPDX-License-Identifier: MIT */
/*
 * shootdown.c - making a change of page tables visible to every processor.
 *
 * Hardware MMU: a processor may use what its TLB holds until it flushes. vm->tlb_gen counts revocations; a processor whose
 * own count is behind reloads cr3 in its next entry. One that runs in the space meanwhile is kicked out, and revoke waits
 * until it has left.
 *
 * Shadow MMU: KVM keeps translating by a copy of the entry until the guest itself stores to it. So the changed entries
 * are written down in vm->poke, and the next processor to enter anything first performs stores that change nothing (S3 and
 * section 1 of the measurements in docs/platform.md): eight bytes revoke one entry, one byte at an odd address the whole
 * table. A freed table stays in quarantine until it was poked, for its copy would otherwise serve the frame's next life
 * as a table. If another processor is in the space right now, the pokes are made at once; KVM then flushes it too.
 *
 * The pokes of one entry travel in front of the program in one KVM_RUN. They stay on the list until that run is over, so
 * that a second processor that enters meanwhile makes them once more rather than not at all.
 */
#include <errno.h>
#include <sched.h>
#include <string.h>

#include "kvm.h"

/* From this many entries of one table on, forgetting the whole table is cheaper. */
#define TABLE_POKE_FROM 3

static bool is_shadow(int kind)
{
	return kind == MMU_SHADOW || kind == MMU_PVM;
}

static struct vcpu *my_vcpu(struct vm *vm)
{
	return current_vcpu && current_vcpu->vm == vm ? current_vcpu : NULL;
}

/* The caller's own processor may be lent, and nobody can know that its program waits. */
static void recall_mine(struct vm *vm)
{
	struct vcpu *v = my_vcpu(vm);

	if (v)
		vcpu_recall(v);
}

/* --- the list (poke_lock is held) -------------------------------------------------------------------------------------- */

static void free_stale(struct vm *vm)
{
	struct page *table, *next;

	list_for_each_entry_safe (table, next, &vm->stale, node) {
		list_del(&table->node);
		pgtable_free_page(&vm->arena->frames, table);
	}
}

static void clear_pokes(struct vm *vm)
{
	atomic_store(&vm->nr_pokes, 0);
	vm->poke_epoch++;
	free_stale(vm);
}

/* Makes pokes [*from, nr) as far as they fit into one thunk of `v`, at ring 0 only. */
static bool poke_some(struct vm *vm, struct vcpu *v, uint32_t *from, uint32_t nr)
{
	struct thunk t;

	thunk_begin(&t, v);
	while (*from < nr && thunk_poke(&t, vm->poke[*from]))
		++*from;
	if (atomic_load(&vm->mmu_kind) != MMU_PVM)
		thunk_reload_cr3(&t);
	thunk_done(&t, vm);
	return vcpu_run_ring0(v, t.va, v->data_va + CPU_RSP0) == 0;
}

static void drain(struct vm *vm, struct vcpu *v)
{
	uint32_t nr = atomic_load(&vm->nr_pokes);

	for (uint32_t done = 0; done < nr;)
		if (!poke_some(vm, v, &done, nr)) {
			atomic_store(&vm->broken, true);
			return;
		}
	v->stats.pokes += nr;
	clear_pokes(vm);
}

/* Makes all pokes now, on this thread's processor or one from the pool. */
static void drain_now(struct vm *vm)
{
	struct vcpu *v = my_vcpu(vm), *borrowed = NULL, *before = current_vcpu;

	if (!v && !vcpu_get(vm, &borrowed))
		v = borrowed;
	if (v && atomic_load(&vm->mmu_kind) == MMU_UNKNOWN && selftest_run(vm, v))
		v = NULL;
	if (v && atomic_load(&vm->mmu_kind) == MMU_HARDWARE)
		clear_pokes(vm);
	else if (v)
		drain(vm, v);
	else
		atomic_store(&vm->broken, true);
	if (borrowed) {
		vcpu_put(borrowed);
		current_vcpu = before;
	}
}

static void add_poke(struct vm *vm, gpa_t gpa)
{
	uint32_t nr = atomic_load(&vm->nr_pokes);

	if (nr == MAX_POKES) {
		drain_now(vm);
		nr = atomic_load(&vm->nr_pokes);
	}
	if (nr == MAX_POKES)
		return; /* broken: nothing runs any more */
	vm->poke[nr] = (uint32_t)gpa;
	atomic_store(&vm->nr_pokes, nr + 1);
}

static void add_batch(struct vm *vm, struct mmu_batch *batch)
{
	struct page *table, *next;

	for (unsigned int i = 0; i < batch->nr_tables; i++) {
		const struct mmu_batch_table *t = &batch->tables[i];
		gpa_t gpa = t->table << PAGE_SHIFT;
		if (t->nr >= TABLE_POKE_FROM) {
			add_poke(vm, gpa + 1);
			continue;
		}
		add_poke(vm, gpa + t->first * sizeof(pte_t));
		if (t->last != t->first)
			add_poke(vm, gpa + t->last * sizeof(pte_t));
	}
	list_for_each_entry_safe (table, next, &batch->freed_tables, node) {
		add_poke(vm, page_to_gpa(&vm->arena->frames, table) + 1);
		list_del(&table->node);
		list_add_tail(&table->node, &vm->stale);
	}
}

/* --- other processors ---------------------------------------------------------------------------------------------------- */

static bool runs_in(struct vcpu *v, const struct mm *mm)
{
	return atomic_load(&v->in_guest) && atomic_load(&v->mm) == mm;
}

static bool others_run_in(struct vm *vm, const struct mm *mm)
{
	bool found = false;

	if (atomic_load(&vm->nr_active) < (my_vcpu(vm) ? 2 : 1))
		return false;
	pthread_mutex_lock(&vm->lock);
	for (struct vcpu *v = vm->all; v && !found; v = v->next_all)
		found = runs_in(v, mm);
	pthread_mutex_unlock(&vm->lock);
	return found;
}

#define KICK_AGAIN_YIELDS 1000

/* Waits until `v` has left the guest or entered it anew after `gen`. */
static void push_out(struct vcpu *v, const struct mm *mm, uint64_t gen)
{
	for (unsigned int i = 0; runs_in(v, mm) && atomic_load(&v->tlb_gen) < gen; i++) {
		if (i % KICK_AGAIN_YIELDS == 0)
			vcpu_kick(v);
		sched_yield();
	}
}

static void push_others_out(struct vm *vm, const struct mm *mm, uint64_t gen)
{
	if (!others_run_in(vm, mm))
		return;
	pthread_mutex_lock(&vm->lock);
	struct vcpu *first = vm->all;
	pthread_mutex_unlock(&vm->lock);
	for (struct vcpu *v = first; v; v = v->next_all) /* the list only grows, at its head */
		push_out(v, mm, gen);
}

/* --- the two doors ------------------------------------------------------------------------------------------------------- */

static void free_tables(struct vm *vm, struct mmu_batch *batch)
{
	struct page *table, *next;

	list_for_each_entry_safe (table, next, &batch->freed_tables, node) {
		list_del(&table->node);
		pgtable_free_page(&vm->arena->frames, table);
	}
}

static void vm_revoke(void *ctx, struct mmu_batch *batch)
{
	struct vm *vm = ctx;
	recall_mine(vm);
	uint64_t gen = atomic_fetch_add(&vm->tlb_gen, 1) + 1;
	bool others = others_run_in(vm, batch->mm);
	struct vm_platform p;

	if (others && atomic_load(&vm->mmu_kind) == MMU_UNKNOWN)
		vm_platform(vm, &p);
	if (atomic_load(&vm->mmu_kind) != MMU_HARDWARE) {
		pthread_mutex_lock(&vm->poke_lock);
		add_batch(vm, batch);
		/* Who has not been seen yet looks for pokes after it says that it runs: now one of both sees the other. */
		if (others || others_run_in(vm, batch->mm))
			drain_now(vm);
		pthread_mutex_unlock(&vm->poke_lock);
	}
	if (atomic_load(&vm->mmu_kind) != MMU_PVM)
		push_others_out(vm, batch->mm, gen);
	free_tables(vm, batch);
}

/* The generation is what push_out waits for; on entry with a later one, a processor flushes, which here does no harm. */
void vm_barrier(struct vm *vm, struct mm *mm)
{
	recall_mine(vm);
	uint64_t gen = atomic_fetch_add(&vm->tlb_gen, 1) + 1;

	atomic_thread_fence(memory_order_seq_cst);
	push_others_out(vm, mm, gen);
}

const struct mmu_ops vm_mmu_ops = {.revoke = vm_revoke, .release = gate_release};

bool shootdown_pending(struct vcpu *v, struct mm *mm)
{
	gpa_t root = page_to_gpa(mm->frames, mm->pgt.root);
	bool other_root = v->root && v->root != root;

	v->root = root;
	if (atomic_load(&v->vm->nr_pokes))
		return true;
	if (atomic_load(&v->vm->mmu_kind) == MMU_PVM)
		return false;
	return other_root || atomic_load(&v->tlb_gen) != atomic_load(&v->vm->tlb_gen);
}

/* The pokes go into the entry itself when they fit and no other processor is about; else they are made before it. */
static void write_pokes(struct vm *vm, struct vcpu *v, struct thunk *t)
{
	uint32_t nr = atomic_load(&vm->nr_pokes), n = 0;

	if (atomic_load(&vm->nr_active) == 1)
		while (n < nr && thunk_poke(t, vm->poke[n]))
			n++;
	if (n == nr) {
		v->thunk_pokes = n;
		v->thunk_epoch = vm->poke_epoch;
		v->stats.pokes += n;
		return;
	}
	drain(vm, v);
	thunk_begin(t, v);
}

bool shootdown_prepare(struct vcpu *v)
{
	struct vm *vm = v->vm;
	struct thunk t;

	v->thunk_pokes = 0;
	uint64_t gen = atomic_load(&vm->tlb_gen);
	pthread_mutex_lock(&vm->poke_lock);
	if (atomic_load(&vm->mmu_kind) == MMU_UNKNOWN && selftest_run(vm, v))
		atomic_store(&vm->broken, true);
	thunk_begin(&t, v);
	if (is_shadow(atomic_load(&vm->mmu_kind)))
		write_pokes(vm, v, &t);
	else
		clear_pokes(vm);
	pthread_mutex_unlock(&vm->poke_lock);
	bool reload = atomic_load(&vm->mmu_kind) != MMU_PVM;
	atomic_store(&v->tlb_gen, gen);
	if (!reload && !t.used)
		return false;
	if (reload) {
		thunk_reload_cr3(&t);
		v->stats.flushes++;
	}
	v->thunk_body = t.used;
	thunk_iretq(&t);
	return true;
}

static void run_body(struct vcpu *v)
{
	struct thunk t;

	thunk_begin(&t, v);
	t.used = v->thunk_body;
	thunk_done(&t, v->vm);
	if (vcpu_run_ring0(v, t.va, v->data_va + CPU_RSP0))
		atomic_store(&v->vm->broken, true);
}

void shootdown_finish(struct vcpu *v, bool unfinished)
{
	struct vm *vm = v->vm;

	if (unfinished) {
		run_body(v);
		/* That ran on the machine's own root: the space's still has to be flushed where a flush is needed. */
		atomic_store(&v->tlb_gen, atomic_load(&vm->tlb_gen) - 1);
	}
	if (!v->thunk_pokes)
		return;
	pthread_mutex_lock(&vm->poke_lock);
	uint32_t nr = atomic_load(&vm->nr_pokes);
	if (vm->poke_epoch == v->thunk_epoch) {
		if (nr == v->thunk_pokes) {
			clear_pokes(vm);
		} else { /* more came while the program ran: tables wait for those */
			memmove(vm->poke, vm->poke + v->thunk_pokes,
				(nr - v->thunk_pokes) * sizeof(vm->poke[0]));
			atomic_store(&vm->nr_pokes, nr - v->thunk_pokes);
			vm->poke_epoch++;
		}
	}
	pthread_mutex_unlock(&vm->poke_lock);
	v->thunk_pokes = 0;
}

void shootdown_destroy(struct vm *vm)
{
	clear_pokes(vm);
}
