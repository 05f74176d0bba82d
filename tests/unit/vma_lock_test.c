/* SPDX-License-Identifier: MIT */
/*
 * The locks of areas: faults without mmap_lock while others map, unmap, split, protect and move the same areas. Built with
 * the thread sanitizer this shows that the locks are the right ones.
 */
#include <pthread.h>

#include "../../src/mm/vma_lock.h"
#include "../sim/fixture.h"

#define A	 0x10000000ull
#define ASIDE	 0x20000000ull
#define P	 PAGE_SIZE
#define RW	 (PROT_READ | PROT_WRITE)
#define PAGES	 96 /* around a border of tables */
#define START	 (A + PMD_SIZE - PAGES / 2 * P)
#define ROUNDS	 400
#define TOUCHERS 2

struct worker {
	pthread_t thread;
	struct fixture *x;
	struct sim_cpu *cpu;
	uint64_t rng;
	_Atomic bool *done;
	unsigned int bad; /* what went wrong, counted: cmocka's assertions belong to the main thread */
	uint64_t touches;
};

/* A page holds nothing or its own number; whatever else is seen comes from a page that had been taken away. */
static void *toucher_main(void *arg)
{
	struct worker *w = arg;

	for (; !atomic_load(w->done); w->touches++) {
		uint64_t page = random_below(&w->rng, PAGES), value = page + 1;
		gva_t at = START + page * P;
		struct fault_signal sig;

		if (random_below(&w->rng, 2)) {
			sig = sim_store(w->cpu, at, &value, 8);
		} else {
			sig = sim_load(w->cpu, at, &value, 8);
			w->bad += !sig.signo && value && value != page + 1;
		}
		w->bad += sig.signo && sig.signo != SIGSEGV;
	}
	return NULL;
}

static int map_part(struct worker *w, gva_t at, uint64_t bytes)
{
	struct mmap_request r = {.address = at, .length = bytes, .prot = RW};

	r.flags = MAP_FIXED | MAP_ANONYMOUS | (random_below(&w->rng, 4) ? MAP_PRIVATE : MAP_SHARED);
	return mm_mmap(w->x->mm, &r) == (int64_t)at ? 0 : -1;
}

static int change_something(struct worker *w)
{
	uint64_t first = random_below(&w->rng, PAGES), nr = 1 + random_below(&w->rng, PAGES - first);
	struct mm *mm = w->x->mm;
	gva_t at = START + first * P;

	switch (random_below(&w->rng, 8)) {
	case 0:
		return mm_munmap(mm, at, nr * P) || map_part(w, at, nr * P);
	case 1:
		return mm_mprotect(mm, at, nr * P, PROT_READ);
	case 2:
		return mm_madvise(mm, at, nr * P, MADV_DONTNEED);
	case 3:
		return mm_madvise(mm, at, nr * P, random_below(&w->rng, 2) ? MADV_RANDOM : MADV_NORMAL);
	case 4: /* a page moves away and is replaced */
		if (mm_mremap(mm, at, P, P, MREMAP_MAYMOVE | MREMAP_FIXED, ASIDE) != (int64_t)ASIDE)
			return -1;
		return mm_munmap(mm, ASIDE, P) || map_part(w, at, P);
	case 5:
		return map_part(w, at, nr * P);
	default:
		return mm_mprotect(mm, at, nr * P, RW);
	}
}

static void touched_while_changed(enum sim_kind kind)
{
	struct sim_config config = {.kind = kind, .cpus = TOUCHERS};
	struct fixture *x = fixture_new(&config);
	struct worker changer = {.x = x, .rng = random_seed(99)}, w[TOUCHERS] = {0};
	_Atomic bool done = false;

	x->mm->fault_around_pages = 4;
	assert_int_equal(map_part(&changer, START, PAGES * P), 0);
	for (unsigned int i = 0; i < TOUCHERS; i++) {
		w[i] = (struct worker){.x = x,
				       .cpu = &x->machine->cpu[i],
				       .rng = random_seed(i),
				       .done = &done};
		assert_int_equal(pthread_create(&w[i].thread, NULL, toucher_main, &w[i]), 0);
	}
	for (unsigned int i = 0; i < ROUNDS; i++)
		changer.bad += change_something(&changer) != 0;
	/* The touchers may have had no time yet. */
	while (!atomic_load(&x->mm->nr_lockless_faults))
		changer.bad += change_something(&changer) != 0;
	atomic_store(&done, true);
	for (unsigned int i = 0; i < TOUCHERS; i++) {
		pthread_join(w[i].thread, NULL);
		assert_int_equal(w[i].bad, 0);
	}
	assert_int_equal(changer.bad, 0);
	assert_int_equal(x->machine->nr_bad_batches, 0);
	assert_int_equal(fixture_free(x), 0);
}

static void through_a_tlb(void **state)
{
	(void)state;
	touched_while_changed(SIM_TLB);
}

static void through_a_shadow(void **state)
{
	(void)state;
	touched_while_changed(SIM_SHADOW);
}

static void second_fault_is_lockless(void **state)
{
	struct fixture *x = *state;
	struct mm *mm = x->mm;

	fixture_map(x, A, 8, RW, MAP_FIXED);
	fixture_store(x, A, 1); /* fills the cache, and gives the area its anon_vma */
	assert_int_equal(mm->nr_lockless_faults, 0);
	mm_write_lock(mm); /* nobody may take mmap_lock now */
	fixture_store(x, A + P, 1);
	mm_write_unlock(mm);
	assert_int_equal(mm->nr_lockless_faults, 1);
}

static void changes_are_seen(void **state)
{
	struct fixture *x = *state;
	struct mm *mm = x->mm;

	fixture_map(x, A, 8, RW, MAP_FIXED);
	fixture_store(x, A, 1);
	struct vma *vma = vma_lock_lookup(mm, A + P);
	assert_non_null(vma);
	vma_read_unlock(vma);
	assert_null(vma_lock_lookup(mm, A + 8 * P));
	mm_munmap(mm, A + 4 * P, P); /* cut: what was found is shorter */
	assert_null(vma_lock_lookup(mm, A + 4 * P));
	assert_signal(x, SIM_LOAD, A + 4 * P, SIGSEGV, SEGV_MAPERR);
	fixture_store(x, A, 1);
	mm_munmap(mm, A, 4 * P); /* gone: it is in the cache no more */
	for (unsigned int i = 0; i < VMA_CACHE_SLOTS; i++)
		assert_null(mm->vma_cache[i]);
	fixture_store(x, A + 5 * P, 1);
	mm_write_lock(mm);
	vma_write_lock(vma_find(&mm->vmas, A + 5 * P));
	assert_null(vma_lock_lookup(mm, A + 5 * P));
	mm_write_unlock(mm);
	vma = vma_lock_lookup(mm, A + 5 * P);
	assert_non_null(vma);
	vma_read_unlock(vma);
	mm_mprotect(mm, A + 5 * P, 3 * P, PROT_READ);
	assert_signal(x, SIM_STORE, A + 6 * P, SIGSEGV, SEGV_ACCERR);
}

struct waiter {
	struct fixture *x;
	_Atomic bool unmapped;
};

static void *unmapper_main(void *arg)
{
	struct waiter *w = arg;

	mm_munmap(w->x->mm, A, 8 * P);
	atomic_store(&w->unmapped, true);
	return NULL;
}

static void writers_wait_for_readers(void **state)
{
	struct waiter w = {.x = *state};
	pthread_t thread;

	fixture_map(w.x, A, 8, RW, MAP_FIXED);
	fixture_store(w.x, A, 1);
	struct vma *vma = vma_lock_lookup(w.x->mm, A);
	assert_non_null(vma);
	assert_int_equal(pthread_create(&thread, NULL, unmapper_main, &w), 0);
	while (!(atomic_load(&vma->lock_readers) & 0x80000000u))
		sched_yield();
	assert_false(atomic_load(&w.unmapped));
	assert_int_equal(vma->end, A + 8 * P);
	assert_null(vma_lock_lookup(w.x->mm, A)); /* a writer that waits keeps new readers out */
	vma_read_unlock(vma);
	pthread_join(thread, NULL);
	assert_true(atomic_load(&w.unmapped));
}

#define T(name, fn)                                             \
	{                                                       \
		name, fn, fixture_setup, fixture_teardown, NULL \
	}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		T("vma_lock: a fault in an area that was found before takes no mmap_lock [G5]",
		  second_fault_is_lockless),
		T("vma_lock: cut, unmapped and protected areas are not found by what they were [G5]",
		  changes_are_seen),
		T("vma_lock: a writer waits for readers, and new ones wait for it", writers_wait_for_readers),
		{"vma_lock: two processors touch what a third changes, through TLBs [G11 G12]", through_a_tlb,
		 NULL, NULL, NULL},
		{"vma_lock: the same through a shadow MMU [G11 G12]", through_a_shadow, NULL, NULL, NULL},
	};

	return cmocka_run_group_tests_name("vma_lock", tests, NULL, NULL);
}
