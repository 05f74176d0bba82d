/* SPDX-License-Identifier: MIT */
/*
 * Pages move while two processors write to them and areas come and go around them: nothing that was stored is lost, and no store goes
 * to a frame that was left.
 */
#include <sched.h>

#include <pthread.h>

#include "../../src/mm/page_lock.h"
#include "../../src/mm/reclaim.h"
#include "../../src/mm/rmap.h"
#include "../sim/fixture.h"

#define A	 0x10000000ull
#define P	 PAGE_SIZE
#define RW	 (PROT_READ | PROT_WRITE)
#define NR_PAGES 64u
#define ROUNDS	 4000u /* at least; and until there were */
#define MOVES	 300u
#define TOO_LONG 2000000u

struct world {
	struct fixture *x;
	unsigned int cpu; /* of this thread */
	_Atomic bool *done;
	_Atomic uint64_t *nr_moved;
	bool wrong;
};

/* Each thread has a word of its own in every page. */
static void *write_and_look(void *arg)
{
	struct world *w = arg;
	struct sim_cpu *cpu = &w->x->machine->cpu[w->cpu];
	uint64_t rng = random_seed(w->cpu), word[2 * NR_PAGES] = {0};

	for (unsigned int i = 0;
	     (i < ROUNDS || (atomic_load(w->nr_moved) < MOVES && i < TOO_LONG)) && !w->wrong; i++) {
		uint64_t n = random_below(&rng, ARRAY_SIZE(word)), value = 0;
		gva_t at = A + (n / NR_PAGES << 32) + n % NR_PAGES * P + w->cpu * 8;

		w->wrong |= sim_load(cpu, at, &value, 8).signo || value != word[n];
		word[n] = random_next(&rng);
		w->wrong |= sim_store(cpu, at, &word[n], 8).signo;
	}
	return NULL;
}

/* Cuts the areas, changes protections, brings areas and takes them away. */
static void *change_areas(void *arg)
{
	struct world *w = arg;
	struct mm *mm = w->x->mm;
	struct sim_cpu *cpu = &w->x->machine->cpu[w->cpu];
	uint64_t rng = random_seed(99);

	while (!atomic_load(w->done)) {
		gva_t at = A + (random_below(&rng, 2) << 32) + random_below(&rng, NR_PAGES) * P;
		uint64_t word = 1;

		mm_mprotect(mm, at, P, RW | PROT_EXEC);
		mm_mprotect(mm, at, P, RW);
		fixture_map(w->x, A - 8 * P, 8, RW, MAP_FIXED);
		sim_store(cpu, A - 4 * P, &word, 8);
		mm_munmap(mm, A - 8 * P, 8 * P);
	}
	return NULL;
}

static void move_one(struct world *w, gva_t at)
{
	struct frames *f = w->x->mm->frames;
	struct page *from = NULL, *to;

	pthread_mutex_lock(&w->x->mm->page_table_lock);
	pte_t pte = fixture_pte(w->x, at);
	if (pte & PTE_PRESENT)
		from = pfn_to_page(f, pte_pfn(pte));
	pthread_mutex_unlock(&w->x->mm->page_table_lock);
	to = from ? page_alloc(f, GFP_HIGHUSER_MOVABLE, 0) : NULL;
	if (!to)
		return;
	int err = f->reclaim->migrate(f->reclaim_ctx, from, to);
	page_free(f, err ? to : from);
	atomic_fetch_add(w->nr_moved, !err);
}

static void *move_pages(void *arg)
{
	struct world *w = arg;
	uint64_t rng = random_seed(5);

	while (!atomic_load(w->done))
		move_one(w, A + (random_below(&rng, 2) << 32) + random_below(&rng, NR_PAGES) * P);
	return NULL;
}

static void moving_under_stores(enum sim_kind kind)
{
	struct sim_config config = {.cpus = 3, .kind = kind};
	struct fixture *x = fixture_new(&config);
	_Atomic bool done = false;
	_Atomic uint64_t nr_moved = 0;
	struct world w[4];
	pthread_t thread[4];
	void *(*const role[4])(void *) = {write_and_look, write_and_look, change_areas, move_pages};

	fixture_map(x, A, NR_PAGES, RW, MAP_FIXED);
	fixture_map(x, A + (1ull << 32), NR_PAGES, RW, MAP_FIXED | MAP_SHARED);
	for (unsigned int i = 0; i < 4; i++) {
		w[i] = (struct world){.x = x, .cpu = i, .done = &done, .nr_moved = &nr_moved};
		assert_int_equal(pthread_create(&thread[i], NULL, role[i], &w[i]), 0);
	}
	for (unsigned int i = 0; i < 4; i++) {
		if (i == 2)
			atomic_store(&done, true);
		pthread_join(thread[i], NULL);
	}
	assert_false(w[0].wrong || w[1].wrong);
	assert_true(nr_moved >= MOVES);
	assert_int_equal(fixture_free(x), 0);
}

static void stores_tlb(void **state)
{
	(void)state;
	moving_under_stores(SIM_TLB);
}

static void stores_shadow(void **state)
{
	(void)state;
	moving_under_stores(SIM_SHADOW);
}

/* The same file page, in the cache and in two areas, moved and dropped while it is read. */
struct readers {
	struct fixture *x;
	struct sim_file file;
	_Atomic bool done;
	_Atomic uint64_t nr_moved;
	bool wrong;
};

static void *read_file(void *arg)
{
	struct readers *r = arg;
	uint64_t rng = random_seed(3);

	for (unsigned int i = 0; i < ROUNDS || (atomic_load(&r->nr_moved) < MOVES && i < TOO_LONG); i++) {
		uint64_t n = random_below(&rng, 16), value;

		sim_load(&r->x->machine->cpu[0], A + (i % 2 << 20) + n * P, &value, 8);
		r->wrong |= value != sim_file_word(n * P);
		if (i >= ROUNDS)
			sched_yield(); /* only the other thread has something left to do */
	}
	atomic_store(&r->done, true);
	return NULL;
}

static void *shake_cache(void *arg)
{
	struct readers *r = arg;
	struct world w = {.x = r->x, .nr_moved = &r->nr_moved};
	uint64_t rng = random_seed(4);

	while (!atomic_load(&r->done)) {
		uint64_t n = random_below(&rng, 16);
		struct page *page;

		move_one(&w, A + n * P);
		page = filemap_find(&r->file.backing.cache, n);
		if (page) {
			if (page_trylock(page)) {
				try_to_unmap(&r->x->machine->host, page);
				page_unlock(page);
			}
			page_put(r->x->mm->frames, page);
		}
		filemap_drop(&r->file.backing.cache, n, n);
		if (n == 0)
			unmap_mapping_range(&r->file.backing.cache, 3, 9, UNMAP_EVEN_COWS);
	}
	return NULL;
}

static void cache_under_reads(void **state)
{
	struct readers r = {.x = fixture_new(NULL)};
	pthread_t thread[2];

	(void)state;
	sim_file_init(&r.file, r.x->machine, 16 * P);
	fixture_map_file(r.x, &r.file, A, 16, 0, PROT_READ, MAP_PRIVATE | MAP_FIXED);
	fixture_map_file(r.x, &r.file, A + (1 << 20), 16, 0, PROT_READ, MAP_SHARED | MAP_FIXED);
	assert_int_equal(pthread_create(&thread[0], NULL, read_file, &r), 0);
	assert_int_equal(pthread_create(&thread[1], NULL, shake_cache, &r), 0);
	pthread_join(thread[0], NULL);
	pthread_join(thread[1], NULL);
	assert_false(r.wrong);
	assert_true(r.nr_moved >= MOVES);
	assert_int_equal(filemap_check(&r.file.backing.cache), 0);
	mm_munmap(r.x->mm, A, 2 << 20);
	backing_put(&r.file.backing);
	assert_int_equal(fixture_free(r.x), 0);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		{"migrate: two threads store to pages that move, and areas change around them [Y14]",
		 stores_tlb, NULL, NULL, NULL},
		{"migrate: the same, seen through a shadow MMU [Y14]", stores_shadow, NULL, NULL, NULL},
		{"rmap: file pages are read while they move, are unmapped and dropped [N1] [Y14]",
		 cache_under_reads, NULL, NULL, NULL},
	};

	return cmocka_run_group_tests_name("rmap_stress", tests, NULL, NULL);
}
