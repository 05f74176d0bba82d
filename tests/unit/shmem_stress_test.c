/* SPDX-License-Identifier: MIT */
/*
 * Pages of one object go to swap and come back while two processors write to them through areas, a third runs in children, a thread reads
 * and writes by calls, another makes holes and moves the end, and one of two devices comes and goes: nothing that was stored is lost.
 */
#include <pthread.h>
#include <sched.h>
#include <time.h>

#include "../../src/mm/shmem.h"
#include "../../src/mm/shmem_shrink.h"
#include "../../src/mm/swap_cache.h"
#include "../sim/fixture.h"
#include "../sim/sim_swap.h"

#define A	 0x10000000ull
#define P	 PAGE_SIZE
#define RW	 (PROT_READ | PROT_WRITE)
#define NR_PAGES 96u
#define NR_HOLES 16u /* behind the others: only one thread comes here */
#define ROUNDS	 3000u
#define OUTS	 1500u
#define TOO_LONG 3000000u
#define SLOTS	 2048u

struct world {
	struct fixture *x;
	struct backing *object;
	struct sim_swap dev, other; /* `other` comes and goes */
	_Atomic uint64_t nr_off, nr_out;
	_Atomic bool done, wrong;
};

struct role {
	struct world *w;
	unsigned int cpu;
};

static void expect(struct world *w, bool right)
{
	if (!right)
		atomic_store(&w->wrong, true);
}

/* Each thread has a word of its own in every page. */
struct words {
	struct role *r;
	/* One of its words, to or from memory. */
	bool (*access)(struct role *r, enum sim_access kind, uint64_t offset, uint64_t *word);
	uint64_t rng, word[NR_PAGES];
};

static bool by_area(struct role *r, enum sim_access kind, uint64_t offset, uint64_t *word)
{
	struct sim_cpu *cpu = &r->w->x->machine->cpu[r->cpu];
	struct fault_signal sig;

	do /* it gives up after so many faults of one access: pages go again and again */
		sig = sim_access(cpu, kind, A + offset, word, sizeof(*word));
	while (sig.signo == -1);
	return !sig.signo;
}

static bool by_call(struct role *r, enum sim_access kind, uint64_t offset, uint64_t *word)
{
	struct backing *b = r->w->object;
	struct iovec iov = {word, sizeof(*word)};

	return sizeof(*word) == (kind == SIM_LOAD
					 ? (size_t)shmem_read(b, &iov, 1, offset)
					 : (size_t)shmem_write(b, r->w->x->mm->memcg, &iov, 1, offset));
}

static void look(struct words *t, uint64_t n)
{
	uint64_t value = ~0ull;

	expect(t->r->w, t->access(t->r, SIM_LOAD, n * P + t->r->cpu * 8, &value) && value == t->word[n]);
}

static void write_and_look(struct words *t, uint64_t n)
{
	look(t, n);
	if (random_below(&t->rng, 3))
		return;
	t->word[n] = random_below(&t->rng, 4) ? random_next(&t->rng) : 0;
	expect(t->r->w, t->access(t->r, SIM_STORE, n * P + t->r->cpu * 8, &t->word[n]));
}

static void work(struct role *r, bool (*access)(struct role *, enum sim_access, uint64_t, uint64_t *))
{
	struct words t = {.r = r, .access = access, .rng = random_seed(r->cpu)};
	struct world *w = r->w;

	for (unsigned int i = 0;
	     (i < ROUNDS || (atomic_load(&w->nr_out) < OUTS && i < TOO_LONG)) && !w->wrong; i++)
		write_and_look(&t, random_below(&t.rng, NR_PAGES));
	for (unsigned int n = 0; n < NR_PAGES; n++)
		look(&t, n);
}

static void *use_area(void *arg)
{
	work(arg, by_area);
	return NULL;
}

static void *use_calls(void *arg)
{
	work(arg, by_call);
	return NULL;
}

static void *fork_and_end(void *arg)
{
	struct role *r = arg;
	struct world *w = r->w;
	struct words t = {.r = r, .access = by_area, .rng = random_seed(77)};

	while (!atomic_load(&w->done) && !w->wrong) {
		struct mm *child;
		if (mm_fork(w->x->mm, &child))
			continue;
		sim_cpu_load(&w->x->machine->cpu[r->cpu], child);
		for (unsigned int i = 0; i < 100; i++)
			write_and_look(&t, random_below(&t.rng, NR_PAGES));
		sim_cpu_load(&w->x->machine->cpu[r->cpu], NULL);
		mmput(child);
	}
	return NULL;
}

/* Pages behind the others, whose contents this thread alone makes. */
static void *make_holes(void *arg)
{
	struct role *r = arg;
	struct world *w = r->w;
	uint64_t rng = random_seed(3), end = (NR_PAGES + NR_HOLES) * P;

	while (!atomic_load(&w->done) && !w->wrong) {
		uint64_t at = (NR_PAGES + random_below(&rng, NR_HOLES)) * P, word[2] = {at, ~at}, seen = 1;

		expect(w, by_call(r, SIM_STORE, at, &word[0]) && by_call(r, SIM_STORE, at + P - 8, &word[1]));
		sched_yield();
		if (random_below(&rng, 2)) {
			shmem_resize(w->object, at + 8);
			shmem_resize(w->object, end);
		} else {
			shmem_punch(w->object, at + 8, end);
		}
		sched_yield();
		expect(w, by_call(r, SIM_LOAD, at, &seen) && seen == at);
		expect(w, by_call(r, SIM_LOAD, at + P - 8, &seen) && !seen);
	}
	return NULL;
}

static void *take_out(void *arg)
{
	struct world *w = ((struct role *)arg)->w;
	struct mm_host *h = &w->x->machine->host;
	uint64_t rng = random_seed(5);

	while (!atomic_load(&w->done)) {
		struct page *page[16];
		unsigned int nr = 0;
		uint64_t at = random_below(&rng, NR_PAGES + NR_HOLES);

		for (unsigned int i = 0; i < ARRAY_SIZE(page); i++)
			nr += (page[nr] = filemap_find(&w->object->cache, at + i)) != NULL;
		atomic_fetch_add(&w->nr_out, swap_out(h, page, nr));
		if (!random_below(&rng, 8))
			shmem_shrink(h, w->x->mm->memcg, 8, 0, 200);
	}
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

static void failing(struct sim_swap *s)
{
	s->threaded = true;
	s->fail_write_every = 29;
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

static void assert_sound(const struct world *w)
{
	struct mm *space[1] = {w->x->mm};

	assert_mm_sound(w->x->mm);
	assert_int_equal(mm_check_host(&w->x->machine->host, space, 1, complain), 0);
	assert_int_equal(filemap_check(&w->object->cache), 0);
}

static void begin(struct world *w, enum sim_kind kind, void (*configure)(struct sim_swap *s))
{
	struct sim_config config = {.cpus = 4, .kind = kind};

	*w = (struct world){.x = fixture_new(&config)};
	assert_int_equal(sim_swap_on(&w->dev, &w->x->machine->host, SLOTS, configure), 0);
	w->object = shmem_create(&w->x->machine->host, (NR_PAGES + NR_HOLES) * P, NULL);
	struct mmap_request r = {.address = A,
				 .length = NR_PAGES * P,
				 .prot = RW,
				 .flags = MAP_SHARED | MAP_FIXED,
				 .file = w->object};
	assert_int_equal(mm_mmap(w->x->mm, &r), A);
}

static void end(struct world *w)
{
	assert_sound(w);
	assert_int_equal(mm_munmap(w->x->mm, A, NR_PAGES * P), 0);
	backing_put(w->object);
	assert_int_equal(w->dev.device.map.nr_used, 0);
	assert_int_equal(sim_swap_off(&w->dev), 0);
	assert_int_equal(fixture_free(w->x), 0);
}

static void run(enum sim_kind kind, void (*configure)(struct sim_swap *s))
{
	static void *(*const roles[])(void *) = {use_area,   use_area, fork_and_end, use_calls,
						 make_holes, take_out, on_and_off};
	struct role role[ARRAY_SIZE(roles)];
	pthread_t thread[ARRAY_SIZE(roles)];
	struct world w;

	begin(&w, kind, configure);
	for (unsigned int i = 0; i < ARRAY_SIZE(roles); i++) {
		role[i] = (struct role){&w, i};
		assert_int_equal(pthread_create(&thread[i], NULL, roles[i], &role[i]), 0);
	}
	pthread_join(thread[0], NULL);
	pthread_join(thread[1], NULL);
	pthread_join(thread[3], NULL);
	atomic_store(&w.done, true);
	for (unsigned int i = 0; i < ARRAY_SIZE(roles); i++)
		if (i == 2 || i > 3)
			pthread_join(thread[i], NULL);
	sim_swap_settle(&w.dev);
	assert_false(w.wrong);
	assert_true(w.nr_out >= OUTS && w.nr_off);
	assert_true(w.dev.nr_reads > 0 && w.dev.nr_writes > 0);
	assert_int_equal(w.dev.nr_wrong, 0);
	assert_int_equal(!w.dev.nr_failed, !w.dev.fail_write_every);
	end(&w);
}

static void tlb(void **state)
{
	(void)state;
	run(SIM_TLB, threaded);
}

static void shadow(void **state)
{
	(void)state;
	run(SIM_SHADOW, threaded);
}

static void with_errors(void **state)
{
	(void)state;
	run(SIM_TLB, failing);
}

#define CASE(title, fn)                     \
	{                                   \
		title, fn, NULL, NULL, NULL \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE("shmem_swap: pages go under stores, calls, forks, holes and another end [O1][K24]", tlb),
		CASE("shmem_swap: the same with a shadow MMU [O1]", shadow),
		CASE("shmem_swap: the same with a device that fails [O1]", with_errors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
