/* SPDX-License-Identifier: MIT */
/*
 * Several processors in one space at once: each keeps to its own pages, but tables, areas, the account and the frames are
 * everybody's. Built with the thread sanitizer this shows that the locks are the right ones.
 */
#include "../sim/fixture.h"

#define A	0x10000000ull
#define P	PAGE_SIZE
#define RW	(PROT_READ | PROT_WRITE)
#define THREADS 4
#define PAGES	32 /* of each thread; all of them share one table */
#define ROUNDS	150

struct worker {
	pthread_t thread;
	struct fixture *x;
	struct sim_cpu *cpu;
	unsigned int id;
	unsigned int bad; /* what went wrong, counted: cmocka's assertions belong to the main thread */
};

static gva_t page_of(const struct worker *w, unsigned int i)
{
	return A + (w->id * PAGES + i) * P;
}

static void expect(struct worker *w, bool fine)
{
	w->bad += !fine;
}

static void touch_all(struct worker *w, uint64_t tag)
{
	for (unsigned int i = 0; i < PAGES; i++) {
		uint64_t value = tag + i;

		expect(w, !sim_store(w->cpu, page_of(w, i) + 8 * w->id, &value, 8).signo);
	}
	for (unsigned int i = 0; i < PAGES; i++) {
		uint64_t value = 0;

		expect(w, !sim_load(w->cpu, page_of(w, i) + 8 * w->id, &value, 8).signo && value == tag + i);
	}
}

static void *worker_main(void *arg)
{
	struct worker *w = arg;
	struct mm *mm = w->x->mm;

	for (uint64_t round = 1; round <= ROUNDS; round++) {
		struct mmap_request r = {.address = page_of(w, 0), .length = PAGES * P, .prot = RW};
		uint64_t value = 1;

		r.flags = MAP_FIXED | MAP_ANONYMOUS | (round % 3 ? MAP_PRIVATE : MAP_SHARED);
		expect(w, mm_mmap(mm, &r) == (int64_t)page_of(w, 0));
		touch_all(w, round << 32 | w->id << 16);
		expect(w, !mm_mprotect(mm, page_of(w, 4), 4 * P, PROT_READ));
		expect(w, sim_store(w->cpu, page_of(w, 5), &value, 8).signo == SIGSEGV);
		expect(w, !mm_mprotect(mm, page_of(w, 4), 4 * P, RW));
		expect(w, !sim_store(w->cpu, page_of(w, 5), &value, 8).signo);
		expect(w, !copy_to_user(mm, page_of(w, 6), &round, 8));
		expect(w, !sim_load(w->cpu, page_of(w, 6), &value, 8).signo && value == round);
		expect(w, !mm_madvise(mm, page_of(w, 0), 4 * P, MADV_DONTNEED));
		expect(w, !mm_munmap(mm, page_of(w, 0), PAGES * P));
		expect(w, sim_load(w->cpu, page_of(w, 0), &value, 8).signo == SIGSEGV);
	}
	return NULL;
}

static void one_space(enum sim_kind kind)
{
	struct sim_config config = {.kind = kind, .cpus = THREADS};
	struct fixture *x = fixture_new(&config);
	struct worker w[THREADS] = {0};

	x->mm->fault_around_pages = 16;
	for (unsigned int i = 0; i < THREADS; i++) {
		w[i].x = x;
		w[i].cpu = &x->machine->cpu[i];
		w[i].id = i;
		assert_int_equal(pthread_create(&w[i].thread, NULL, worker_main, &w[i]), 0);
	}
	for (unsigned int i = 0; i < THREADS; i++) {
		pthread_join(w[i].thread, NULL);
		assert_int_equal(w[i].bad, 0);
	}
	assert_int_equal(x->mm->vmas.nr, 0);
	assert_int_equal(x->mm->pgt.nr_tables, 0);
	assert_int_equal(x->machine->nr_bad_batches, 0);
	assert_int_equal(fixture_free(x), 0);
}

static void through_a_tlb(void **state)
{
	(void)state;
	one_space(SIM_TLB);
}

static void through_a_shadow(void **state)
{
	(void)state;
	one_space(SIM_SHADOW);
}

/* Readers of one file at once: each page is read, and everybody finds the same frame. */
static void *file_reader(void *arg)
{
	struct worker *w = arg;

	for (unsigned int i = 0; i < 256; i++) {
		unsigned int page = (i * 7 + w->id * 64) % 256;
		uint64_t value = 0;

		expect(w,
		       !sim_load(w->cpu, A + page * P, &value, 8).signo && value == sim_file_word(page * P));
	}
	return NULL;
}

static void one_file(void **state)
{
	struct sim_config config = {.cpus = THREADS};
	struct fixture *x = fixture_new(&config);
	struct worker w[THREADS] = {0};
	static struct sim_file file;

	(void)state;
	sim_file_init(&file, x->machine, 256 * P);
	assert_int_equal(fixture_map_file(x, &file, A, 256, 0, PROT_READ, MAP_PRIVATE | MAP_FIXED), A);
	for (unsigned int i = 0; i < THREADS; i++) {
		w[i].x = x;
		w[i].cpu = &x->machine->cpu[i];
		w[i].id = i;
		assert_int_equal(pthread_create(&w[i].thread, NULL, file_reader, &w[i]), 0);
	}
	for (unsigned int i = 0; i < THREADS; i++) {
		pthread_join(w[i].thread, NULL);
		assert_int_equal(w[i].bad, 0);
	}
	assert_int_equal(file.backing.cache.pages.nr_pages, 256);
	assert_int_equal(mm_counter(x->mm, MM_FILEPAGES), 256);
	assert_int_equal(mm_munmap(x->mm, A, 256 * P), 0);
	backing_put(&file.backing);
	assert_int_equal(fixture_free(x), 0);
}

static void *allocator_main(void *arg)
{
	struct worker *w = arg;
	struct frames *f = &w->x->machine->frames;
	struct page *held[64] = {NULL};
	uint64_t rng = random_seed(w->id);

	for (unsigned int i = 0; i < 5000; i++) {
		unsigned int k = (unsigned int)random_below(&rng, ARRAY_SIZE(held));
		uint64_t *words;

		if (held[k]) {
			words = page_address(f, held[k]);
			expect(w, words[0] == w->id && words[511] == w->id);
			page_put(f, held[k]);
			held[k] = NULL;
			continue;
		}
		held[k] = page_alloc(f, GFP_USER, 0);
		expect(w, held[k] && held[k]->refs == 1);
		words = page_address(f, held[k]);
		words[0] = words[511] = w->id;
	}
	for (unsigned int k = 0; k < ARRAY_SIZE(held); k++) {
		if (held[k])
			page_put(f, held[k]);
	}
	return NULL;
}

static void one_allocator(void **state)
{
	struct fixture *x = fixture_new(NULL);
	struct worker w[THREADS] = {0};

	(void)state;
	for (unsigned int i = 0; i < THREADS; i++) {
		w[i].x = x;
		w[i].id = i + 1;
		assert_int_equal(pthread_create(&w[i].thread, NULL, allocator_main, &w[i]), 0);
	}
	for (unsigned int i = 0; i < THREADS; i++) {
		pthread_join(w[i].thread, NULL);
		assert_int_equal(w[i].bad, 0);
	}
	assert_int_equal(fixture_free(x), 0);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		{"stress: four processors map, touch, protect and unmap in one table, through TLBs [G11 G12]",
		 through_a_tlb, NULL, NULL, NULL},
		{"stress: the same through a shadow MMU [G11 G12]", through_a_shadow, NULL, NULL, NULL},
		{"stress: four readers of one file find the same frames", one_file, NULL, NULL, NULL},
		{"stress: four threads on one zone never share a frame", one_allocator, NULL, NULL, NULL},
	};

	return cmocka_run_group_tests_name("stress", tests, NULL, NULL);
}
