/* SPDX-License-Identifier: MIT */
/*
 * history.c - random histories of spaces forked from one another, run on the core and on the model side by side.
 *
 * A history is a list of operations made from its seed alone; nothing in it depends on what happened before, so any part
 * of it is a history too, and one that fails can be cut down to the few steps that matter, which are printed as C. Each runs in a
 * process of its own: a crash of the core is a failure like any other.
 *
 *	history_test			a fixed set of seeds, as cmocka tests
 *	history_test SECONDS [SEED]	new seeds until the time is over, or (SECONDS 0) one seed
 */
#include "world.h"

#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define STEPS	     1000 /* of one history */
#define CHECK_EVERY  100
#define SWEEP_EVERY  250
#define FRAMES_EVERY 500

/* --- making histories -------------------------------------------------------------------------------------------- */

static struct shape shape_of(uint64_t seed)
{
	static const unsigned int around[] = {1, 4, 16, 512};
	uint64_t rng = random_seed(seed ^ 0x5eed);
	struct shape s = {.kind = seed % 2 ? SIM_SHADOW : SIM_TLB};

	s.levels = random_below(&rng, 4) ? 4 : 5;
	s.tlb_entries = random_below(&rng, 2) ? 16 : SIM_TLB_ENTRIES;
	s.fault_around = around[random_below(&rng, ARRAY_SIZE(around))];
	s.zswap_frames = random_below(&rng, 2) ? 1 + random_below(&rng, 32) : 0;
	return s;
}

#define HOT_PAGES 1024
#define STACK_HOT 420
#define MAX_PAGES 64
#define BLOCKS	  6 /* aligned ones of 512 pages, below mmap_base */

static uint64_t draw_block(uint64_t *rng)
{
	return (WORLD_MMAP_BASE & ~(PMD_PAGES - 1)) - PMD_PAGES * (1 + random_below(rng, BLOCKS));
}

/* A page that operations like to use. Whatever is drawn, MAX_PAGES more are within the model. */
static uint64_t draw_page(uint64_t *rng)
{
	uint64_t where = random_below(rng, 16);

	if (where < 2)
		return WORLD_BREAK_PAGE + random_below(rng, WORLD_BREAK_HOT);
	if (where < 5)
		return WORLD_STACK_END - MAX_PAGES - 32 - random_below(rng, STACK_HOT);
	if (where < 7)
		return draw_block(rng) + random_below(rng, PMD_PAGES);
	if (where < 8)
		return WORLD_MMAP_BASE - MAX_PAGES - random_below(rng, 3000);
	return WORLD_MMAP_BASE - MAX_PAGES - random_below(rng, HOT_PAGES);
}

static uint64_t draw_length(uint64_t *rng)
{
	return 1 + random_below(rng, random_below(rng, 4) ? 8 : MAX_PAGES);
}

static enum op_kind draw_kind(uint64_t *rng)
{
	unsigned int sum = 0, k = 0;
	uint64_t r;

	for (unsigned int i = 0; i < NR_OPS; i++)
		sum += op_weight[i];
	r = random_below(rng, sum);
	while (r >= op_weight[k])
		r -= op_weight[k++];
	return k;
}

/* Some operations are about what one table maps. */
static void make_huge(uint64_t *rng, struct op *o)
{
	if (o->kind > OP_MLOCK || random_below(rng, o->kind == OP_MADVISE ? 3 : 10))
		return;
	o->page = draw_block(rng);
	o->other = draw_block(rng);
	o->nr = o->other_nr = PMD_PAGES;
	o->place = o->kind == OP_MMAP ? PLACE_FIXED : o->place;
	o->flavour &= 3; /* of mmap: anonymous and private */
}

static void op_make(uint64_t *rng, struct op *o, uint64_t focus)
{
	memset(o, 0, sizeof(*o));
	o->kind = draw_kind(rng);
	o->space = (unsigned int)random_below(rng, WORLD_SPACES);
	o->cpu = (unsigned int)random_below(rng, WORLD_CPUS);
	o->word = (unsigned int)random_below(rng, MODEL_WORDS);
	o->prot = (unsigned int)(random_below(rng, 3) ? 3 | random_below(rng, 2) * 4 : random_below(rng, 8));
	o->place = (unsigned int)random_below(rng, NR_PLACES);
	o->flavour = (unsigned int)random_below(rng, 8);
	o->fail = random_below(rng, 24) ? 0 : 1 + (unsigned int)random_below(rng, 6);
	/* Half of the operations stay close together, so that they meet. */
	o->page = random_below(rng, 2) ? focus + random_below(rng, 24) - 12 : draw_page(rng);
	o->nr = draw_length(rng);
	o->other = random_below(rng, 2) ? focus + random_below(rng, 60) - 30 : draw_page(rng);
	o->other_nr = draw_length(rng);
	o->value = random_next(rng) | 1;
	make_huge(rng, o);
}

static void history_make(uint64_t seed, struct op *ops, unsigned int nr)
{
	uint64_t rng = random_seed(seed);
	uint64_t focus = draw_page(&rng);

	for (unsigned int i = 0; i < nr; i++) {
		if (random_below(&rng, 20) == 0)
			focus = random_below(&rng, 6) ? draw_page(&rng)
						      : draw_block(&rng) + random_below(&rng, 512);
		op_make(&rng, &ops[i], focus);
	}
}

/* --- one run ----------------------------------------------------------------------------------------------------- */

struct verdict {
	char why[512];
	bool done;
	uint64_t nr_fails, nr_restored, nr_supplied; /* as in struct world, of all histories */
};

/* Runs a history to its first difference. v->why gets what differed, or stays empty. */
static void history_run(uint64_t seed, const struct op *ops, unsigned int nr, struct verdict *v)
{
	static struct world w;
	char *why = v->why;
	struct shape shape = shape_of(seed);
	unsigned int audit_every = shape.kind == SIM_TLB && shape.tlb_entries <= 16 ? 1 : 20;

	why[0] = 0;
	world_init(&w, shape, why, sizeof(v->why));
	for (unsigned int i = 0; i < nr && !why[0]; i++) {
		w.step = i;
		op_run(&w, &ops[i]);
		if (i % audit_every == 0)
			world_audit(&w);
		if (i % CHECK_EVERY == CHECK_EVERY - 1)
			world_check(&w);
		if (i % SWEEP_EVERY == SWEEP_EVERY - 1)
			world_sweep(&w);
		if (i % FRAMES_EVERY == FRAMES_EVERY - 1)
			world_check_frames(&w);
	}
	w.op = NULL;
	if (!why[0])
		world_sweep(&w);
	if (!why[0])
		world_check(&w);
	if (!why[0])
		world_check_frames(&w);
	if (!why[0]) /* else the process ends: no use in taking a broken world apart */
		world_end(&w);
	v->nr_fails += w.nr_fails;
	v->nr_restored += w.nr_restored;
	v->nr_supplied += w.nr_supplied;
}

/* --- processes and shrinking ------------------------------------------------------------------------------------- */

static struct verdict *shared_verdict(void)
{
	static struct verdict *v;

	if (!v) {
		void *at = mmap(NULL, sizeof(*v), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

		v = at == MAP_FAILED ? NULL : at;
	}
	return v;
}

/* True when the history passes; else v->why says why not. */
static bool passes(uint64_t seed, const struct op *ops, unsigned int nr, struct verdict *v)
{
	static const int fatal[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
	pid_t child;
	int status = 0;

	v->why[0] = 0;
	v->done = false;
	fflush(NULL);
	child = fork();
	if (child < 0) {
		snprintf(v->why, sizeof(v->why), "fork failed");
		return false;
	}
	if (!child) {
		/* cmocka's handlers would go on with its tests in the child. */
		for (unsigned int i = 0; i < ARRAY_SIZE(fatal); i++)
			signal(fatal[i], SIG_DFL);
		alarm(60);
		history_run(seed, ops, nr, v);
		v->done = true;
		_exit(0);
	}
	waitpid(child, &status, 0);
	if (!v->done && !v->why[0])
		snprintf(v->why, sizeof(v->why), "the process died (%s %d)",
			 WIFSIGNALED(status) ? "signal" : "status",
			 WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
	return !v->why[0];
}

/* Takes out ever smaller pieces as long as what is left still fails. Returns the new length. */
static unsigned int history_shrink(uint64_t seed, struct op *ops, unsigned int nr, struct verdict *v)
{
	struct op *less = calloc(nr, sizeof(*less));

	for (unsigned int piece = nr / 2; less && piece; piece = piece > 1 ? piece / 2 : 0) {
		for (unsigned int at = 0; at + piece <= nr;) {
			memcpy(less, ops, at * sizeof(*ops));
			memcpy(less + at, ops + at + piece, (nr - at - piece) * sizeof(*ops));
			if (passes(seed, less, nr - piece, v)) {
				at += piece;
				continue;
			}
			nr -= piece;
			memcpy(ops, less, nr * sizeof(*ops));
		}
	}
	free(less);
	return nr;
}

static bool history_holds(uint64_t seed, FILE *to)
{
	static struct op ops[STEPS];
	struct verdict *v = shared_verdict();
	struct shape shape = shape_of(seed);
	unsigned int nr = STEPS;

	if (!v)
		return false;
	history_make(seed, ops, nr);
	if (passes(seed, ops, nr, v))
		return true;
	fprintf(to, "# seed %llu fails: %s\n", (unsigned long long)seed, v->why);
	nr = history_shrink(seed, ops, nr, v);
	passes(seed, ops, nr, v);
	fprintf(to, "# cut down to %u steps (%s, %u levels, %u TLB entries, fault-around %u): %s\n", nr,
		shape.kind == SIM_TLB ? "TLB" : "shadow", shape.levels, shape.tlb_entries, shape.fault_around,
		v->why);
	fprintf(to, "# history_run(%llu, (struct op[]){\n", (unsigned long long)seed);
	for (unsigned int i = 0; i < nr; i++)
		op_print(to, &ops[i]);
	fprintf(to, "# }, %u)\n", nr);
	return false;
}

/* --- as tests, and for a time ------------------------------------------------------------------------------------ */

#define SEEDS_PER_TEST 50

static void run_seeds(uint64_t first, uint64_t step)
{
	for (unsigned int i = 0; i < SEEDS_PER_TEST; i++)
		assert_true(history_holds(first + i * step, stderr));
}

static void tlb_histories(void **state)
{
	(void)state;
	run_seeds(1000, 2);
}

static void shadow_histories(void **state)
{
	(void)state;
	run_seeds(1001, 2);
}

static void mixed_histories(void **state)
{
	(void)state;
	run_seeds(5000, 1);
	run_seeds(9000, 1);
	assert_true(shared_verdict()->nr_fails > 100);
	assert_true(shared_verdict()->nr_restored > 100);
	assert_true(shared_verdict()->nr_supplied > 10);
}

/* A history that differs must be seen: the model is told a lie. */
static void the_model_can_fail(void **state)
{
	static struct world w;
	char why[512] = "";
	struct op op = {.kind = OP_STORE, .page = WORLD_STACK_TOP - 1, .value = 1};
	uint64_t value = 2;

	(void)state;
	world_init(&w, shape_of(0), why, sizeof(why));
	op_run(&w, &op);
	assert_string_equal(why, "");
	for (unsigned int i = 0; i < MODEL_WORDS; i++)
		model_access(&w.space[0].model, SIM_STORE, op.page, i, &value);
	world_sweep(&w);
	assert_string_not_equal(why, "");
	why[0] = 0;
	model_munmap(&w.space[0].model, WORLD_STACK_TOP - 5, 1);
	world_same_areas(&w, 0);
	assert_string_not_equal(why, "");
	why[0] = 0;
	world_end(&w);
	assert_string_equal(why, "");
}

static int fuzz(unsigned int seconds, uint64_t first)
{
	time_t end = time(NULL) + seconds;
	uint64_t n = 0;

	printf("history: seeds from %llu\n", (unsigned long long)first);
	do {
		if (!history_holds(first + n, stdout))
			return 1;
		n++;
	} while (time(NULL) < end);
	printf("history: %llu histories of %u steps agree with the model\n", (unsigned long long)n, STEPS);
	return 0;
}

int main(int argc, char **argv)
{
	static const struct CMUnitTest tests[] = {
		{"history: a difference is seen", the_model_can_fail, NULL, NULL, NULL},
		{"history: 50000 random steps agree with the model, seen through a TLB [B11 K10 P4]",
		 tlb_histories, NULL, NULL, NULL},
		{"history: 50000 random steps agree with the model, seen through a shadow MMU [B11 K10 P4]",
		 shadow_histories, NULL, NULL, NULL},
		{"history: 100000 more, of all shapes; spaces saved and restored among them [I10 I13 I16 F11 "
		 "F12 O1]",
		 mixed_histories, NULL, NULL, NULL},
	};

	if (argc > 1)
		return fuzz((unsigned int)strtoul(argv[1], NULL, 0),
			    argc > 2 ? strtoull(argv[2], NULL, 0) : (uint64_t)time(NULL) * 1000);
	return cmocka_run_group_tests_name("history", tests, NULL, NULL);
}
