/* SPDX-License-Identifier: MIT */
/* Two processors of one space need three times the account's memory, with kswapd and a swap device of its own thread; and forks. */
#include "../../src/mm/kswapd.h"
#include "../../src/mm/vmscan.h"
#include "../sim/disk.h"
#include "../sim/sim_swap.h"

#define A	 0x10000000ull
#define B	 0x20000000ull
#define P	 PAGE_SIZE
#define RW	 (PROT_READ | PROT_WRITE)
#define PAGES	 600u
#define ACCESSES 20000u

struct scene {
	struct fixture *x;
	struct sim_disk *disk;
	struct sim_swap swap;
};

struct worker {
	struct scene *s;
	unsigned int id;
	uint64_t seed, wrong;
	uint64_t value[PAGES]; /* of the pages that are this worker's: every other */
};

static uint64_t next_random(uint64_t *seed)
{
	*seed = *seed * 6364136223846793005ull + 1442695040888963407ull;
	return *seed >> 33;
}

static bool load(struct sim_cpu *cpu, gva_t at, uint64_t *word)
{
	return !sim_load(cpu, at, word, sizeof(*word)).signo;
}

static bool store(struct sim_cpu *cpu, gva_t at, uint64_t word)
{
	return !sim_store(cpu, at, &word, sizeof(word)).signo;
}

/* Its own pages hold what it stored last; the file's what the disk has. */
static void *work(void *arg)
{
	struct worker *w = arg;
	struct sim_cpu *cpu = &w->s->x->machine->cpu[w->id];
	uint64_t word;

	for (unsigned int i = 0; i < ACCESSES; i++) {
		uint64_t page = next_random(&w->seed) % (PAGES / 2) * 2 + w->id;
		/* A few are used all the time. */
		if (i % 3)
			page = page % 40 / 2 * 2 + w->id;
		w->wrong += !load(cpu, A + page * P, &word) || word != w->value[page];
		if (i % 4 == 0) {
			w->value[page] = next_random(&w->seed) + 1;
			w->wrong += !store(cpu, A + page * P, w->value[page]);
		}
		uint64_t at = next_random(&w->seed) % 256 * P;
		w->wrong += i % 5 == 0 && (!load(cpu, B + at, &word) || (word & 0xff) != sim_disk_byte(at));
	}
	return NULL;
}

static void threaded(struct sim_swap *swap)
{
	swap->threaded = true;
}

static void run(enum sim_kind kind, unsigned int forks)
{
	const struct sim_config config = {.kind = kind, .cpus = 2};
	struct scene *s = calloc(1, sizeof(*s));
	struct worker *w = calloc(2, sizeof(*w));
	pthread_t thread[2];
	struct kswapd *k;

	s->x = fixture_new(&config);
	s->disk = sim_disk_new(s->x->machine, 256 * P);
	struct mm_host *h = &s->x->machine->host;
	struct memcg *cg = s->x->mm->memcg;
	assert_int_equal(sim_swap_on(&s->swap, h, 8 * PAGES, threaded), 0);
	assert_int_equal(kswapd_start(h, &k), 0);
	k->pause_ms = 1;
	fixture_map(s->x, A, PAGES, RW, MAP_FIXED);
	fixture_map_disk(s->x, s->disk, B, 256, 0, PROT_READ, MAP_SHARED | MAP_FIXED);
	cg->max_pages = cg->usage_pages + 300;
	atomic_store(&cg->kswapd, k);
	for (unsigned int i = 0; i < 2; i++) {
		w[i].s = s;
		w[i].id = i;
		w[i].seed = i + 1;
		assert_int_equal(pthread_create(&thread[i], NULL, work, &w[i]), 0);
	}
	for (unsigned int i = 0; i < forks; i++) {
		struct mm *child = NULL;
		if (!mm_fork(s->x->mm, &child))
			mmput(child);
	}
	for (unsigned int i = 0; i < 2; i++)
		pthread_join(thread[i], NULL);
	atomic_store(&cg->kswapd, NULL);
	kswapd_stop(k);
	assert_int_equal(w[0].wrong + w[1].wrong, 0);
	assert_true(cg->peak_pages <= cg->max_pages);
	assert_true(s->swap.nr_writes > 0 && s->swap.nr_reads > 0 && !s->swap.nr_wrong);
	assert_mm_sound(s->x->mm);
	mm_munmap(s->x->mm, 0x10000, TASK_SIZE - 0x10000);
	assert_int_equal(sim_swap_off(&s->swap), 0);
	backing_put(&s->disk->backing);
	assert_int_equal(fixture_free(s->x), 0);
	sim_disk_free(s->disk);
	free(w);
	free(s);
}

static void two_processors(void **state)
{
	(void)state;
	run(SIM_TLB, 0);
}

static void two_processors_shadow(void **state)
{
	(void)state;
	run(SIM_SHADOW, 0);
}

static void forks_meanwhile(void **state)
{
	(void)state;
	run(SIM_TLB, 20);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		{"reclaim: two processors with three times the memory find what they stored [O1]",
		 two_processors, NULL, NULL, NULL},
		{"reclaim: the same on a shadow MMU [O1]", two_processors_shadow, NULL, NULL, NULL},
		{"reclaim: and with forks meanwhile", forks_meanwhile, NULL, NULL, NULL},
	};

	return cmocka_run_group_tests_name("reclaim_stress", tests, NULL, NULL);
}
