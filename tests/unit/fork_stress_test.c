/* SPDX-License-Identifier: MIT */
/* fork while threads of the parent store: each thread finds what it stored, each child what it was born with. */
#include <pthread.h>

#include "../sim/fixture.h"

#define A	0x40000000ull
#define P	PAGE_SIZE
#define RW	(PROT_READ | PROT_WRITE)
#define PAGES	96u
#define FORKS	60u
#define THREADS 2u

struct world {
	struct fixture *x;
	_Atomic bool done;
};

struct thread {
	struct world *w;
	unsigned int id;
	bool wrong;
	_Atomic uint64_t stores;
};

/* Pages of its own, by their number. */
static void *store_and_look(void *arg)
{
	struct thread *t = arg;
	struct sim_cpu *cpu = &t->w->x->machine->cpu[t->id];
	uint64_t rng = random_seed(t->id), kept[PAGES] = {0};

	while (!atomic_load(&t->w->done)) {
		unsigned int p = (unsigned int)random_below(&rng, PAGES / THREADS) * THREADS + t->id;
		uint64_t value = random_next(&rng), now = 0;

		t->wrong |= sim_load(cpu, A + p * P, &now, 8).signo || now != kept[p];
		t->wrong |= sim_store(cpu, A + p * P, &value, 8).signo != 0;
		kept[p] = value;
		t->stores++;
		if (random_below(&rng, 64) == 0) {
			t->wrong |= mm_madvise(t->w->x->mm, A + p * P, P, MADV_DONTNEED) != 0;
			kept[p] = 0;
		}
	}
	return NULL;
}

static void look_twice_and_write(struct world *w, struct mm *child)
{
	struct sim_cpu *cpu = &w->x->machine->cpu[THREADS];
	uint64_t first[PAGES], again, mine = 4711;

	sim_cpu_load(cpu, child);
	for (unsigned int p = 0; p < PAGES; p++)
		assert_int_equal(sim_load(cpu, A + p * P, &first[p], 8).signo, 0);
	for (unsigned int p = 0; p < PAGES; p += 5)
		assert_int_equal(sim_store(cpu, A + p * P, &mine, 8).signo, 0);
	for (unsigned int p = 0; p < PAGES; p++) {
		assert_int_equal(sim_load(cpu, A + p * P, &again, 8).signo, 0);
		assert_int_equal(again, p % 5 ? first[p] : mine);
	}
	assert_mm_sound(child);
	sim_cpu_load(cpu, NULL);
}

static void forks_under_stores(enum sim_kind kind)
{
	struct sim_config config = {.kind = kind, .cpus = THREADS + 1};
	struct world w = {.x = fixture_new(&config)};
	struct thread t[THREADS];
	pthread_t thread[THREADS];

	assert_non_null(w.x);
	assert_int_equal(fixture_map(w.x, A, PAGES, RW, MAP_FIXED), A);
	sim_cpu_load(&w.x->machine->cpu[THREADS], NULL);
	for (unsigned int i = 0; i < THREADS; i++) {
		t[i] = (struct thread){.w = &w, .id = i};
		assert_int_equal(pthread_create(&thread[i], NULL, store_and_look, &t[i]), 0);
	}
	for (unsigned int i = 0; i < THREADS; i++)
		while (!atomic_load(&t[i].stores))
			sched_yield();
	for (unsigned int i = 0; i < FORKS; i++) {
		struct mm *child, *grandchild;
		assert_int_equal(mm_fork(w.x->mm, &child), 0);
		assert_int_equal(mm_fork(child, &grandchild), 0);
		look_twice_and_write(&w, i % 2 ? child : grandchild);
		mmput(child);
		look_twice_and_write(&w, grandchild);
		mmput(grandchild);
	}
	atomic_store(&w.done, true);
	for (unsigned int i = 0; i < THREADS; i++) {
		pthread_join(thread[i], NULL);
		assert_false(t[i].wrong);
		assert_true(t[i].stores > 0);
	}
	assert_int_equal(mm_check_host(&w.x->machine->host, &w.x->mm, 1, complain), 0);
	assert_int_equal(fixture_free(w.x), 0);
}

static void under_a_tlb(void **state)
{
	(void)state;
	forks_under_stores(SIM_TLB);
}

static void under_a_shadow(void **state)
{
	(void)state;
	forks_under_stores(SIM_SHADOW);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		{"fork: while two threads store, nobody sees what is not his [G11] [M4]", under_a_tlb, NULL,
		 NULL, NULL},
		{"fork: the same, seen through a shadow MMU [G11] [M4]", under_a_shadow, NULL, NULL, NULL},
	};

	return cmocka_run_group_tests_name("fork_stress", tests, NULL, NULL);
}
