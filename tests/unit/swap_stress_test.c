/* SPDX-License-Identifier: MIT */
/*
 * Pages go to swap and come back while two processors write to them, a third runs in children that are forked meanwhile, and areas are
 * cut, locked and unmapped, and one of two devices comes and goes: nothing that was stored is lost, and nobody sees what another stored.
 */
#include <pthread.h>
#include <sched.h>
#include <time.h>

#include "../../src/mm/swap_cache.h"
#include "../sim/fixture.h"
#include "../sim/sim_compress.h"
#include "../sim/sim_swap.h"

#define A	 0x10000000ull
#define B	 0x20000000ull
#define P	 PAGE_SIZE
#define RW	 (PROT_READ | PROT_WRITE)
#define NR_PAGES 96u
#define ROUNDS	 3000u /* at least; and until there were */
#define OUTS	 1500u
#define TOO_LONG 3000000u
#define SLOTS	 2048u

struct world {
	struct fixture *x;
	struct sim_swap dev, other; /* `other` comes and goes */
	_Atomic uint64_t nr_off;
	_Atomic bool done, wrong;
	_Atomic uint64_t nr_out;
};

struct role {
	struct world *w;
	unsigned int cpu;
};

/* The simulated processor gives up after so many faults of one access: here they come because pages go again and again. */
static bool access_word(struct sim_cpu *cpu, enum sim_access kind, gva_t at, uint64_t *word)
{
	struct fault_signal sig;

	do
		sig = sim_access(cpu, kind, at, word, sizeof(*word));
	while (sig.signo == -1);
	return !sig.signo;
}

static void expect(struct world *w, bool right)
{
	if (!right)
		atomic_store(&w->wrong, true);
}

/* Each thread has a word of its own in every page. */
static void *write_and_look(void *arg)
{
	struct role *r = arg;
	struct world *w = r->w;
	struct sim_cpu *cpu = &w->x->machine->cpu[r->cpu];
	uint64_t rng = random_seed(r->cpu), word[NR_PAGES] = {0};

	for (unsigned int i = 0;
	     (i < ROUNDS || (atomic_load(&w->nr_out) < OUTS && i < TOO_LONG)) && !w->wrong; i++) {
		uint64_t n = random_below(&rng, NR_PAGES), value = ~0ull;
		gva_t at = A + n * P + r->cpu * 8;

		expect(w, access_word(cpu, SIM_LOAD, at, &value) && value == word[n]);
		if (random_below(&rng, 3))
			continue;
		word[n] = random_below(&rng, 4) ? random_next(&rng) : 0;
		expect(w, access_word(cpu, SIM_STORE, at, &word[n]));
	}
	for (unsigned int n = 0; n < NR_PAGES; n++) {
		uint64_t value = ~0ull;
		expect(w, access_word(cpu, SIM_LOAD, A + n * P + r->cpu * 8, &value) && value == word[n]);
	}
	return NULL;
}

/* --- children ------------------------------------------------------------------------------------------------------ */

/* What a child has of the parent stays as it was at the fork; what it stores is its own. */
static void live(struct world *w, struct sim_cpu *cpu, uint64_t *rng)
{
	uint64_t seen[NR_PAGES], value;

	for (unsigned int n = 0; n < NR_PAGES; n++)
		expect(w, access_word(cpu, SIM_LOAD, A + n * P + 8, &seen[n]));
	for (unsigned int i = 0; i < NR_PAGES; i++) {
		uint64_t n = random_below(rng, NR_PAGES);
		value = ~0ull;
		expect(w, access_word(cpu, SIM_LOAD, A + n * P + 8, &value) && value == seen[n]);
		if (random_below(rng, 4))
			continue;
		seen[n] = random_next(rng);
		expect(w, access_word(cpu, SIM_STORE, A + n * P + 8, &seen[n]));
	}
}

static void *fork_and_end(void *arg)
{
	struct role *r = arg;
	struct world *w = r->w;
	struct sim_cpu *cpu = &w->x->machine->cpu[r->cpu];
	uint64_t rng = random_seed(77);

	while (!atomic_load(&w->done) && !w->wrong) {
		struct mm *child, *grandchild = NULL;
		if (mm_fork(w->x->mm, &child))
			continue;
		sim_cpu_load(cpu, child);
		live(w, cpu, &rng);
		if (!random_below(&rng, 2) && !mm_fork(child, &grandchild)) {
			sim_cpu_load(cpu, grandchild);
			mmput(child);
			child = grandchild;
			live(w, cpu, &rng);
		}
		sim_cpu_load(cpu, NULL);
		mmput(child);
	}
	return NULL;
}

/* --- areas --------------------------------------------------------------------------------------------------------- */

static void *change_areas(void *arg)
{
	struct role *r = arg;
	struct world *w = r->w;
	struct mm *mm = w->x->mm;
	struct sim_cpu *cpu = &w->x->machine->cpu[r->cpu];
	uint64_t rng = random_seed(99), word = 1;

	while (!atomic_load(&w->done)) {
		gva_t at = A + random_below(&rng, NR_PAGES) * P;

		mm_mprotect(mm, at, P, RW | PROT_EXEC);
		mm_mlock(mm, at, P, 0);
		mm_munlock(mm, at, P);
		mm_mprotect(mm, at, P, RW);
		fixture_map(w->x, B, 8, RW, MAP_FIXED);
		for (unsigned int i = 0; i < 8; i++, word++)
			access_word(cpu, SIM_STORE, B + i * P, &word);
		sched_yield();
		word = 0;
		access_word(cpu, SIM_LOAD, B + 3 * P, &word);
		mm_mremap(mm, B, 4 * P, 4 * P, MREMAP_MAYMOVE | MREMAP_FIXED, B + 0x100000);
		mm_madvise(mm, B + 5 * P, P, MADV_DONTNEED);
		mm_munmap(mm, B, 0x200000);
	}
	return NULL;
}

/* --- who takes pages out ------------------------------------------------------------------------------------------- */

/* The page that an entry has, or that is cached for its slot. */
static struct page *grab(struct mm *mm, gva_t at)
{
	struct page *page = NULL;

	pthread_mutex_lock(&mm->page_table_lock);
	const pte_t *slot = pgtable_find(&mm->pgt, at);
	pte_t pte = slot ? pte_read(slot) : 0;
	if (entry_type(pte) == ENTRY_SWAP)
		page = swap_cache_find(mm->host, pte_to_swp_entry(pte));
	else if (pte_present(pte) && !(pte & PTE_SPECIAL)) {
		page = pfn_to_page(mm->frames, pte_pfn(pte));
		page_get(page);
	}
	pthread_mutex_unlock(&mm->page_table_lock);
	return page;
}

static void *take_out(void *arg)
{
	struct role *r = arg;
	struct world *w = r->w;
	struct mm_host *h = &w->x->machine->host;
	uint64_t rng = random_seed(5);
	struct mm *mm = NULL;

	while (!atomic_load(&w->done)) {
		struct page *page[16];
		unsigned int nr = 0;
		gva_t at = random_below(&rng, 8) ? A + random_below(&rng, NR_PAGES) * P : B;

		mm = mm_next_space(h, mm);
		if (!mm)
			continue;
		for (unsigned int i = 0; i < ARRAY_SIZE(page); i++, at += P) {
			page[nr] = grab(mm, at);
			nr += page[nr] != NULL;
		}
		atomic_fetch_add(&w->nr_out, swap_out(h, page, nr));
	}
	mmput(mm);
	while (swap_wait(h))
		;
	return NULL;
}

static void threaded(struct sim_swap *s)
{
	s->threaded = true;
}

static void preferred(struct sim_swap *s)
{
	s->threaded = true;
	s->device.priority = 1;
}

static void *on_and_off(void *arg)
{
	struct world *w = ((struct role *)arg)->w;
	const struct timespec some_time = {.tv_nsec = 3000000};

	while (!atomic_load(&w->done)) {
		expect(w, !sim_swap_on(&w->other, &w->x->machine->host, SLOTS, preferred));
		nanosleep(&some_time, NULL);
		expect(w, !sim_swap_off(&w->other) && !w->other.nr_wrong);
		w->nr_off++;
	}
	return NULL;
}

static void failing(struct sim_swap *s)
{
	s->threaded = true;
	s->fail_write_every = 29;
}

static void run(enum sim_kind kind, void (*configure)(struct sim_swap *s), uint64_t zswap_frames)
{
	static void *(*const roles[])(void *) = {write_and_look, write_and_look, fork_and_end,
						 change_areas,	 take_out,	 on_and_off};
	struct sim_config config = {.cpus = 4, .kind = kind};
	struct world w = {.x = fixture_new(&config)};
	struct mm *space[1] = {w.x->mm};
	struct role role[ARRAY_SIZE(roles)];
	pthread_t thread[ARRAY_SIZE(roles)];

	if (zswap_frames)
		assert_int_equal(zswap_on(&w.x->machine->host, &sim_compress_ops, zswap_frames), 0);
	assert_int_equal(sim_swap_on(&w.dev, &w.x->machine->host, SLOTS, configure), 0);
	fixture_map(w.x, A, NR_PAGES, RW, MAP_FIXED);
	for (unsigned int i = 0; i < ARRAY_SIZE(roles); i++) {
		role[i] = (struct role){&w, i};
		assert_int_equal(pthread_create(&thread[i], NULL, roles[i], &role[i]), 0);
	}
	for (unsigned int i = 0; i < ARRAY_SIZE(roles); i++) {
		if (i == 2)
			atomic_store(&w.done, true);
		pthread_join(thread[i], NULL);
	}
	assert_false(w.wrong);
	assert_true(w.nr_out >= OUTS && w.nr_off);
	sim_swap_settle(&w.dev);
	assert_true(w.dev.nr_reads > 0 && w.dev.nr_writes > 0);
	assert_int_equal(w.dev.nr_wrong, 0);
	assert_int_equal(!w.dev.nr_failed, !w.dev.fail_write_every);
	assert_mm_sound(w.x->mm);
	assert_int_equal(mm_check_host(&w.x->machine->host, space, 1, complain), 0);
	assert_int_equal(mm_munmap(w.x->mm, A, NR_PAGES * P), 0);
	assert_int_equal(w.dev.device.map.nr_used, 0);
	assert_int_equal(sim_swap_off(&w.dev), 0);
	assert_int_equal(fixture_free(w.x), 0);
}

static void tlb(void **state)
{
	(void)state;
	run(SIM_TLB, threaded, 0);
}

static void shadow(void **state)
{
	(void)state;
	run(SIM_SHADOW, threaded, 0);
}

static void with_errors(void **state)
{
	(void)state;
	run(SIM_TLB, failing, 0);
}

/* A pool of a frame or two, so that most of what goes is written back sooner or later. */
static void compressed(void **state)
{
	(void)state;
	run(SIM_TLB, threaded, 2);
}

static void compressed_shadow(void **state)
{
	(void)state;
	run(SIM_SHADOW, failing, 1);
}

#define CASE(title, fn)                     \
	{                                   \
		title, fn, NULL, NULL, NULL \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE("swap: pages go under stores, forks, ends of spaces and changes of areas [O1][K24]",
		     tlb),
		CASE("swap: the same with a shadow MMU [O1]", shadow),
		CASE("swap: the same with a device that fails [O1]", with_errors),
		CASE("zswap: the same with a small pool in front", compressed),
		CASE("zswap: the same with a shadow MMU and a device that fails", compressed_shadow),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
