/* SPDX-License-Identifier: MIT */
/*
 * Threads in one space that store, cut, lock, move, fork and end children, while another one moves their pages, writes their file and
 * collapses their memory. Each thread has pages of its own and knows what is in them, and in every child that it makes.
 */
#include "../../src/mm/compaction.h"
#include "../../src/mm/migrate.h"
#include "../../src/mm/writeback.h"
#include "../sim/disk.h"

#include <sched.h>
#include <signal.h>

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25 /* Linux 6.1 */
#endif

#define A	0x40000000ull
#define FILE_AT 0x50000000ull
#define OWN_AT	0x60000000ull /* areas that move, 16 MiB for each thread */
#define P	PAGE_SIZE
#define RW	(PROT_READ | PROT_WRITE)
#define PAGES	120u
#define FPAGES	8u
#define THREADS 3u
#define ROUNDS	700u
#define MOVES	300u

struct scene {
	struct fixture *x;
	struct sim_disk *disk;
	_Atomic bool done;
	_Atomic unsigned int nr_moved,
		nr_collapsed; /* by the mover, which may get few turns: the others go on for it */
};

struct worker {
	struct scene *s;
	struct sim_cpu *cpu;
	unsigned int id;
	uint64_t rng;
	uint64_t kept[PAGES], in_file[FPAGES], own;
	gva_t own_at;
	unsigned int bad, nr_forks; /* cmocka's assertions belong to the main thread */
};

#define expect(t, fine) expect_at(t, fine, __LINE__)
static void expect_at(struct worker *t, bool fine, int line)
{
	t->bad += !fine;
	if (!fine)
		print_error("# line %d: thread %u in its %s\n", line, t->id,
			    t->cpu->mm == t->s->x->mm ? "own space" : "child");
}

static unsigned int some_page(struct worker *t)
{
	return (unsigned int)random_below(&t->rng, PAGES / THREADS) * THREADS + t->id;
}

static uint64_t load(struct worker *t, gva_t at)
{
	uint64_t value = 0;

	expect(t, !sim_load(t->cpu, at, &value, 8).signo);
	return value;
}

static void store(struct worker *t, gva_t at, uint64_t value)
{
	expect(t, !sim_store(t->cpu, at, &value, 8).signo);
}

static void store_and_look(struct worker *t)
{
	unsigned int p = some_page(t);

	expect(t, load(t, A + p * P) == t->kept[p]);
	t->kept[p] = random_next(&t->rng);
	store(t, A + p * P, t->kept[p]);
	expect(t, load(t, A + p * P) == t->kept[p]);
}

static void drop(struct worker *t)
{
	unsigned int p = some_page(t);

	expect(t, !mm_madvise(t->s->x->mm, A + p * P, P, MADV_DONTNEED));
	t->kept[p] = 0;
	expect(t, load(t, A + p * P) == 0);
}

static void protect(struct worker *t)
{
	unsigned int p = some_page(t);
	uint64_t value = 1;

	expect(t, !mm_mprotect(t->s->x->mm, A + p * P, P, PROT_READ));
	expect(t, sim_store(t->cpu, A + p * P, &value, 8).signo == SIGSEGV);
	expect(t, load(t, A + p * P) == t->kept[p]);
	expect(t, !mm_mprotect(t->s->x->mm, A + p * P, P, RW));
}

static void lock(struct worker *t)
{
	unsigned int p = some_page(t);

	expect(t, !mm_mlock(t->s->x->mm, A + p * P, P, 0));
	expect(t, load(t, A + p * P) == t->kept[p]);
	expect(t, !mm_munlock(t->s->x->mm, A + p * P, P));
}

static void use_file(struct worker *t)
{
	unsigned int p = (unsigned int)random_below(&t->rng, FPAGES);
	gva_t at = FILE_AT + p * P + 64 * t->id;

	if (t->in_file[p])
		expect(t, load(t, at) == t->in_file[p]);
	t->in_file[p] = random_next(&t->rng) | 1;
	store(t, at, t->in_file[p]);
}

static void move(struct worker *t)
{
	gva_t to = t->own_at ^ 8 * PMD_SIZE / 2;

	expect(t, load(t, t->own_at) == t->own);
	expect(t, mm_mremap(t->s->x->mm, t->own_at, 4 * P, 4 * P, MREMAP_MAYMOVE | MREMAP_FIXED, to) ==
			  (int64_t)to);
	t->own_at = to;
	expect(t, load(t, to) == t->own);
	store(t, to, ++t->own);
}

/* Stores to any page of a child; another thread's may have been read-only at the moment of the fork. */
static void spoil(struct worker *t, unsigned int p)
{
	uint64_t value = ~0ull;
	struct fault_signal sig = sim_store(t->cpu, A + p * P, &value, 8);

	expect(t, !sig.signo || (sig.signo == SIGSEGV && p % THREADS != t->id));
}

/* What only this thread stores is in the child as it was at the fork, and stays so whatever the others do. */
static void look_at_child(struct worker *t, struct mm *child)
{
	sim_cpu_load(t->cpu, child);
	for (unsigned int p = t->id; p < PAGES; p += THREADS)
		expect(t, load(t, A + p * P) == t->kept[p]);
	expect(t, load(t, t->own_at) == t->own);
	for (unsigned int i = 0; i < 4; i++)
		spoil(t, (unsigned int)random_below(&t->rng, PAGES));
	sim_cpu_load(t->cpu, t->s->x->mm);
	for (unsigned int p = t->id; p < PAGES; p += THREADS)
		expect(t, load(t, A + p * P) == t->kept[p]);
}

static void fork_twice(struct worker *t)
{
	struct mm *child, *grandchild;

	if (mm_fork(t->s->x->mm, &child)) {
		expect(t, false);
		return;
	}
	expect(t, !mm_fork(child, &grandchild));
	look_at_child(t, child);
	if (t->nr_forks++ % 2)
		mmput(child);
	look_at_child(t, grandchild);
	expect(t, !mm_check(grandchild, complain));
	mmput(grandchild);
	if (t->nr_forks % 2)
		mmput(child);
}

static bool mover_is_done(struct scene *s)
{
	return atomic_load(&s->nr_moved) >= MOVES && atomic_load(&s->nr_collapsed) >= MOVES / 100;
}

static void *worker_main(void *arg)
{
	static void (*const step[])(
		struct worker * t) = {store_and_look, store_and_look, store_and_look, use_file, use_file,
				      drop,	      protect,	      lock,	      move,	fork_twice};
	struct worker *t = arg;

	for (unsigned int i = 0; i < ROUNDS || (i < 100 * ROUNDS && !mover_is_done(t->s)); i++)
		step[random_below(&t->rng, i % 4 ? ARRAY_SIZE(step) - 1 : ARRAY_SIZE(step))](t);
	return NULL;
}

static void migrate_one(struct scene *s, gva_t address)
{
	struct frames *f = s->x->mm->frames;
	struct mm *mm = s->x->mm;
	struct page *from = NULL, *to;

	pthread_mutex_lock(&mm->page_table_lock);
	pte_t *slot = pgtable_find(&mm->pgt, address), pte = slot ? pte_read(slot) : 0;
	if (pte_present(pte) && !(pte & PTE_SPECIAL)) {
		from = pfn_to_page(f, pte_pfn(pte));
		page_get(from);
	}
	pthread_mutex_unlock(&mm->page_table_lock);
	if (!from)
		return;
	to = page_alloc(f, GFP_USER, 0);
	if (to && !page_migrate(mm->host, from, to))
		s->nr_moved++;
	else if (to)
		page_put(f, to);
	page_put(f, from);
}

static void *mover_main(void *arg)
{
	struct scene *s = arg;
	uint64_t rng = random_seed(99);

	while (!atomic_load(&s->done)) {
		for (unsigned int i = 0; i < 8; i++)
			migrate_one(s, A + random_below(&rng, PAGES) * P);
		migrate_one(s, FILE_AT + random_below(&rng, FPAGES) * P);
		writeback_range(&s->disk->backing.cache, 0, ~0ull);
		if (random_below(&rng, 8) ==
		    0) /* its pages are not moved one by one again before they are cut apart */
			s->nr_collapsed += !mm_madvise(s->x->mm, A, PMD_SIZE, MADV_COLLAPSE);
		filemap_drop(&s->disk->backing.cache, 0, ~0ull);
		sched_yield();
	}
	return NULL;
}

static struct scene *scene_new(enum sim_kind kind)
{
	struct sim_config config = {.kind = kind, .cpus = THREADS, .tlb_entries = 256};
	struct scene *s = calloc(1, sizeof(*s));

	assert_non_null(s);
	s->x = fixture_new(&config);
	assert_non_null(s->x);
	s->disk = sim_disk_new(s->x->machine, FPAGES * P);
	/* A whole table's worth, which has a page before it is cut, so that it becomes one again and can be collapsed. */
	assert_int_equal(fixture_map(s->x, A, 512, RW, MAP_FIXED), A);
	fixture_store(s->x, A + 511 * P, 1);
	assert_int_equal(fixture_map_disk(s->x, s->disk, FILE_AT, FPAGES, 0, RW, MAP_SHARED | MAP_FIXED),
			 FILE_AT);
	return s;
}

static void scene_free(struct scene *s)
{
	mm_munmap(s->x->mm, A, 0x40000000);
	backing_put(&s->disk->backing);
	assert_int_equal(s->disk->releases, 1);
	assert_int_equal(fixture_free(s->x), 0);
	sim_disk_free(s->disk);
	free(s);
}

static void threads_and_children(enum sim_kind kind)
{
	struct scene *s = scene_new(kind);
	static struct worker t[THREADS];
	pthread_t thread[THREADS], mover;

	memset(t, 0, sizeof(t));
	assert_int_equal(pthread_create(&mover, NULL, mover_main, s), 0);
	for (unsigned int i = 0; i < THREADS; i++) {
		t[i] = (struct worker){.s = s,
				       .cpu = &s->x->machine->cpu[i],
				       .id = i,
				       .rng = random_seed(i + 7)};
		t[i].own_at = OWN_AT + i * 8 * PMD_SIZE;
		assert_int_equal(fixture_map(s->x, t[i].own_at, 4, RW, MAP_FIXED), t[i].own_at);
	}
	for (unsigned int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, worker_main, &t[i]), 0);
	for (unsigned int i = 0; i < THREADS; i++)
		pthread_join(thread[i], NULL);
	atomic_store(&s->done, true);
	pthread_join(mover, NULL);
	for (unsigned int i = 0; i < THREADS; i++) {
		assert_int_equal(t[i].bad, 0);
		assert_true(t[i].nr_forks > 0);
	}
	assert_true(mover_is_done(s));
	assert_int_equal(mm_check_host(&s->x->machine->host, &s->x->mm, 1, complain), 0);
	assert_int_equal(s->x->machine->nr_bad_batches, 0);
	scene_free(s);
}

static void through_a_tlb(void **state)
{
	(void)state;
	threads_and_children(SIM_TLB);
}

static void through_a_shadow(void **state)
{
	(void)state;
	threads_and_children(SIM_SHADOW);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		{"spaces: threads store, cut, lock, move and fork while pages move, through TLBs "
		 "[G11][G12][M4]",
		 through_a_tlb, NULL, NULL, NULL},
		{"spaces: the same through a shadow MMU [G11][G12][M4]", through_a_shadow, NULL, NULL, NULL},
	};

	return cmocka_run_group_tests_name("spaces_stress", tests, NULL, NULL);
}
