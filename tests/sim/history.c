/* SPDX-License-Identifier: MIT */
/*
 * history.c - random histories of one address space, run on the core and on the model side by side.
 *
 * A history is a list of operations made from its seed alone; nothing in it depends on what happened before, so any part
 * of it is a history too, and one that fails can be cut down to the few steps that matter. Each runs in a process of its
 * own: a crash of the core is a failure like any other.
 *
 *	history_test			a fixed set of seeds, as cmocka tests
 *	history_test SECONDS [SEED]	new seeds until the time is over, or one seed
 */
#include "model.h"

#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define STEPS	     1000 /* of one history */
#define CHECK_EVERY  50
#define SWEEP_EVERY  250
#define HISTORY_CPUS 2

enum op_kind {
	OP_MMAP,
	OP_MUNMAP,
	OP_MPROTECT,
	OP_MREMAP,
	OP_DONTNEED,
	OP_BRK,
	OP_LOAD,
	OP_STORE,
	OP_FETCH,
	OP_COPY_IN,
	OP_COPY_OUT,
	OP_SWITCH,
	NR_OPS,
};

static const char *const op_name[NR_OPS] = {"mmap", "munmap", "mprotect", "mremap",    "dontneed", "brk",
					    "load", "store",  "fetch",	  "copy_from", "copy_to",  "switch"};

/* How often each is drawn. */
static const unsigned int op_weight[NR_OPS] = {12, 8, 12, 8, 4, 3, 22, 30, 6, 3, 3, 1};

struct op {
	enum op_kind kind;
	unsigned int cpu, word, prot, place, flavour;
	uint64_t page, nr, other, other_nr, value;
};

struct run {
	struct fixture *x;
	struct sim_file file[MODEL_FILES];
	struct model model;
	const struct op *op; /* under way */
	unsigned int step;
	char *why; /* set by the first difference */
	size_t why_bytes;
};

/* --- making histories -------------------------------------------------------------------------------------------- */

struct shape {
	enum sim_kind kind;
	unsigned int levels, tlb_entries, fault_around;
};

static struct shape shape_of(uint64_t seed)
{
	static const unsigned int around[] = {1, 4, 16, 512};
	uint64_t rng = random_seed(seed ^ 0x5eed);
	struct shape s = {.kind = seed % 2 ? SIM_SHADOW : SIM_TLB};

	s.levels = random_below(&rng, 4) ? 4 : 5;
	s.tlb_entries = random_below(&rng, 2) ? 16 : SIM_TLB_ENTRIES;
	s.fault_around = around[random_below(&rng, ARRAY_SIZE(around))];
	return s;
}

/* The three stretches begin here; must agree with space_new below. */
#define BREAK_PAGE (0x600000ull >> PAGE_SHIFT)
#define MMAP_BASE  (0x7ffff7fff000ull >> PAGE_SHIFT)
#define STACK_END  (TASK_SIZE >> PAGE_SHIFT)
#define STACK_TOP  (STACK_END - 100) /* of the stack there is at first */
#define HOT_PAGES  1024
#define STACK_HOT  420
#define MAX_PAGES  64
#define BREAK_HOT  400

/* A page that operations like to use. Whatever is drawn, MAX_PAGES more are within the model. */
static uint64_t draw_page(uint64_t *rng)
{
	uint64_t where = random_below(rng, 16);

	if (where < 2)
		return BREAK_PAGE + random_below(rng, BREAK_HOT);
	if (where < 5)
		return STACK_END - MAX_PAGES - 32 - random_below(rng, STACK_HOT);
	if (where < 6)
		return MMAP_BASE - MAX_PAGES - random_below(rng, 3000);
	return MMAP_BASE - MAX_PAGES - random_below(rng, HOT_PAGES);
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

static void history_make(uint64_t seed, struct op *ops, unsigned int nr)
{
	uint64_t rng = random_seed(seed);
	uint64_t focus = draw_page(&rng);

	for (unsigned int i = 0; i < nr; i++) {
		struct op *o = &ops[i];

		if (random_below(&rng, 20) == 0)
			focus = draw_page(&rng);
		memset(o, 0, sizeof(*o));
		o->kind = draw_kind(&rng);
		o->cpu = (unsigned int)random_below(&rng, HISTORY_CPUS);
		o->word = (unsigned int)random_below(&rng, MODEL_WORDS);
		o->prot = (unsigned int)(random_below(&rng, 3) ? 3 | random_below(&rng, 2) * 4
							       : random_below(&rng, 8));
		o->place = (unsigned int)random_below(&rng, NR_PLACES);
		o->flavour = (unsigned int)random_below(&rng, 8);
		/* Half of the operations stay close together, so that they meet. */
		o->page = random_below(&rng, 2) ? focus + random_below(&rng, 24) - 12 : draw_page(&rng);
		o->nr = draw_length(&rng);
		o->other = random_below(&rng, 2) ? focus + random_below(&rng, 60) - 30 : draw_page(&rng);
		o->other_nr = draw_length(&rng);
		o->value = random_next(&rng) | 1;
	}
}

static void op_print(FILE *to, unsigned int step, const struct op *o)
{
	fprintf(to, "#   %4u  %-9s page %#llx", step, op_name[o->kind], (unsigned long long)o->page);
	switch (o->kind) {
	case OP_MMAP:
		fprintf(to, " +%llu prot %u place %u flavour %u pgoff %llu", (unsigned long long)o->nr,
			o->prot, o->place, o->flavour, (unsigned long long)(o->other_nr % 40));
		break;
	case OP_MPROTECT:
		fprintf(to, " +%llu prot %u", (unsigned long long)o->nr, o->prot);
		break;
	case OP_MREMAP:
		fprintf(to, " +%llu -> +%llu mode %u to %#llx", (unsigned long long)o->nr,
			(unsigned long long)o->other_nr, o->flavour, (unsigned long long)o->other);
		break;
	case OP_MUNMAP:
	case OP_DONTNEED:
		fprintf(to, " +%llu", (unsigned long long)o->nr);
		break;
	case OP_BRK:
		fprintf(to, " to %#llx", (unsigned long long)o->value);
		break;
	default:
		fprintf(to, " word %u cpu %u", o->word, o->cpu);
		break;
	}
	fputc('\n', to);
}

/* --- comparing --------------------------------------------------------------------------------------------------- */

static __attribute__((format(printf, 2, 3))) bool differs(struct run *r, const char *format, ...)
{
	va_list args;
	int n;

	if (r->why[0])
		return true;
	n = snprintf(r->why, r->why_bytes, "step %u (%s): ", r->step, r->op ? op_name[r->op->kind] : "end");
	va_start(args, format);
	vsnprintf(r->why + n, r->why_bytes - (size_t)n, format, args);
	va_end(args);
	return true;
}

static void same_result(struct run *r, int64_t core, int64_t model)
{
	if (core != model)
		differs(r, "the core says %#llx (%lld), the model %#llx (%lld)", (unsigned long long)core,
			(long long)core, (unsigned long long)model, (long long)model);
}

static void same_signal(struct run *r, struct fault_signal core, struct fault_signal model)
{
	if (core.signo != model.signo || core.code != model.code ||
	    (core.signo && core.address != model.address))
		differs(r, "the core says signal %d code %d at %#llx, the model %d %d at %#llx", core.signo,
			core.code, (unsigned long long)core.address, model.signo, model.code,
			(unsigned long long)model.address);
}

static struct run *complaining; /* whose mm_check is running */

static void note_violation(const char *what, uint64_t where)
{
	differs(complaining, "mm_check: %s at %#llx", what, (unsigned long long)where);
}

/* The model's areas, page by page, against the core's list. */
static void same_areas(struct run *r)
{
	const struct vma *vma = r->x->mm->vmas.first;

	for (unsigned int i = 0; i < MODEL_STRETCHES; i++) {
		struct model_stretch *s = &r->model.stretch[i];

		for (uint64_t at = s->first; at < s->first + s->nr;) {
			struct model_page *p = &s->page[at - s->first];
			uint64_t end = p->mapped ? model_area_end(&r->model, at) : at + 1;

			if (p->mapped) {
				if (!vma || vma->start != at << PAGE_SHIFT || vma->end != end << PAGE_SHIFT) {
					differs(r, "the model has an area %#llx-%#llx, the core %#llx-%#llx",
						(unsigned long long)at << PAGE_SHIFT,
						(unsigned long long)end << PAGE_SHIFT,
						(unsigned long long)(vma ? vma->start : 0),
						(unsigned long long)(vma ? vma->end : 0));
					return;
				}
				if ((vma->flags & VM_ACCESS_FLAGS) != p->prot ||
				    !(vma->flags & VM_MAYSHARE) != !p->shared ||
				    !(vma->flags & VM_GROWSDOWN) != !p->grows_down) {
					differs(r, "flags %#llx of the area at %#llx, the model has prot %u",
						(unsigned long long)vma->flags,
						(unsigned long long)vma->start, p->prot);
					return;
				}
				vma = vma->next;
			}
			at = end;
		}
	}
	if (vma)
		differs(r, "the core has an area at %#llx that the model has not",
			(unsigned long long)vma->start);
	if (r->x->mm->total_vm_pages != model_mapped_pages(&r->model))
		differs(r, "total_vm is %llu, the model has %llu pages",
			(unsigned long long)r->x->mm->total_vm_pages,
			(unsigned long long)model_mapped_pages(&r->model));
}

static void check_all(struct run *r)
{
	complaining = r;
	if (mm_check(r->x->mm, note_violation))
		differs(r, "mm_check found violations");
	same_areas(r);
}

static void access_both(struct run *r, enum sim_access kind, uint64_t page, unsigned int w, unsigned int cpu,
			uint64_t value)
{
	uint64_t core_value = value, model_value = value;
	gva_t address = (page << PAGE_SHIFT) + model_word_offset[w];
	struct fault_signal core = sim_access(&r->x->machine->cpu[cpu], kind, address, &core_value, 8);
	struct fault_signal model = model_access(&r->model, kind, page, w, &model_value);

	same_signal(r, core, model);
	if (!core.signo && !model.signo && core_value != model_value)
		differs(r, "%#llx at %#llx, the model has %#llx", (unsigned long long)core_value,
			(unsigned long long)address, (unsigned long long)model_value);
}

/* Reads everything that is mapped. */
static void sweep(struct run *r)
{
	for (unsigned int i = 0; i < MODEL_STRETCHES; i++) {
		struct model_stretch *s = &r->model.stretch[i];

		for (uint64_t k = 0; k < s->nr && !r->why[0]; k++) {
			if (s->page[k].mapped)
				access_both(r, SIM_LOAD, s->first + k, (unsigned int)k % MODEL_WORDS,
					    (unsigned int)k % HISTORY_CPUS, 0);
		}
	}
}

/* --- operations on both ------------------------------------------------------------------------------------------ */

static void do_mmap(struct run *r, const struct op *o)
{
	static const unsigned int place_flag[NR_PLACES] = {
		[PLACE_FIXED] = MAP_FIXED, [PLACE_NOREPLACE] = MAP_FIXED_NOREPLACE};
	struct model_map m = {.page = o->page, .nr = o->nr, .prot = o->prot, .place = o->place, .file = -1};
	struct mmap_request q = {.length = (o->nr << PAGE_SHIFT) - o->value % 4096, .prot = o->prot};

	m.shared = o->flavour == 5 || o->flavour == 7;
	m.file = o->flavour >= 6 ? (int)(o->value >> 20) % MODEL_FILES : -1;
	m.pgoff = o->other_nr % 40;
	q.address = o->place == PLACE_ANYWHERE ? 0 : o->page << PAGE_SHIFT;
	q.flags = place_flag[o->place] | (m.shared ? MAP_SHARED : MAP_PRIVATE);
	if (m.file < 0) {
		q.flags |= MAP_ANONYMOUS;
	} else {
		q.file = &r->file[m.file].backing;
		q.pgoff = m.pgoff;
		q.may_not_write = true;
	}
	same_result(r, mm_mmap(r->x->mm, &q), model_mmap(&r->model, &m));
}

static void do_mremap(struct run *r, const struct op *o)
{
	struct model_move v = {.old = o->page, .old_nr = o->nr, .new_nr = o->other_nr, .new = o->other};
	unsigned int flags;

	v.may_move = o->flavour != 0;
	v.fixed = o->flavour >= 4;
	flags = (v.may_move ? MREMAP_MAYMOVE : 0) | (v.fixed ? MREMAP_FIXED : 0);
	if (!model_can_mremap(&r->model, &v))
		return;
	same_result(r,
		    mm_mremap(r->x->mm, v.old << PAGE_SHIFT, v.old_nr << PAGE_SHIFT, v.new_nr << PAGE_SHIFT,
			      flags, v.new << PAGE_SHIFT),
		    model_mremap(&r->model, &v));
}

static void do_brk(struct run *r, const struct op *o)
{
	gva_t brk = (BREAK_PAGE << PAGE_SHIFT) + o->value % (BREAK_HOT << PAGE_SHIFT);

	if (o->flavour == 0)
		brk = o->value % (BREAK_PAGE << PAGE_SHIFT);
	same_result(r, (int64_t)mm_brk(r->x->mm, brk), (int64_t)model_brk(&r->model, brk));
}

static void do_copy(struct run *r, const struct op *o, bool to_user)
{
	uint64_t core_value = o->value, model_value = o->value;
	gva_t address = (o->page << PAGE_SHIFT) + model_word_offset[o->word];
	size_t left = to_user ? copy_to_user(r->x->mm, address, &core_value, 8)
			      : copy_from_user(r->x->mm, &core_value, address, 8);
	struct fault_signal sig =
		model_access(&r->model, to_user ? SIM_STORE : SIM_LOAD, o->page, o->word, &model_value);

	same_result(r, (int64_t)left, sig.signo ? 8 : 0);
	if (!left && core_value != model_value)
		differs(r, "copied %#llx, the model has %#llx", (unsigned long long)core_value,
			(unsigned long long)model_value);
}

static void op_run(struct run *r, const struct op *o)
{
	struct mm *mm = r->x->mm;
	gva_t at = o->page << PAGE_SHIFT;
	uint64_t bytes = o->nr << PAGE_SHIFT;

	switch (o->kind) {
	case OP_MMAP:
		do_mmap(r, o);
		break;
	case OP_MUNMAP:
		same_result(r, mm_munmap(mm, at, bytes), model_munmap(&r->model, o->page, o->nr));
		break;
	case OP_MPROTECT:
		same_result(r, mm_mprotect(mm, at, bytes, o->prot),
			    model_mprotect(&r->model, o->page, o->nr, o->prot));
		break;
	case OP_MREMAP:
		do_mremap(r, o);
		break;
	case OP_DONTNEED:
		same_result(r, mm_madvise(mm, at, bytes, MADV_DONTNEED),
			    model_dontneed(&r->model, o->page, o->nr));
		break;
	case OP_BRK:
		do_brk(r, o);
		break;
	case OP_LOAD:
		access_both(r, SIM_LOAD, o->page, o->word, o->cpu, 0);
		break;
	case OP_STORE:
		access_both(r, SIM_STORE, o->page, o->word, o->cpu, o->value);
		break;
	case OP_FETCH:
		access_both(r, SIM_FETCH, o->page, o->word, o->cpu, 0);
		break;
	case OP_COPY_IN:
		do_copy(r, o, false);
		break;
	case OP_COPY_OUT:
		do_copy(r, o, true);
		break;
	default:
		sim_cpu_load(&r->x->machine->cpu[o->cpu], mm);
		break;
	}
}

/* --- one run ----------------------------------------------------------------------------------------------------- */

static void space_new(struct run *r, struct shape shape)
{
	struct sim_config config = {.kind = shape.kind, .levels = shape.levels, .cpus = HISTORY_CPUS};
	struct model_map stack = {.page = STACK_TOP - 33, .nr = 33, .prot = PROT_READ | PROT_WRITE};

	config.tlb_entries = shape.tlb_entries;
	r->x = fixture_new(&config);
	if (!r->x)
		_exit(3);
	r->x->mm->fault_around_pages = shape.fault_around;
	r->x->mm->start_brk = r->x->mm->brk = BREAK_PAGE << PAGE_SHIFT;
	r->x->mm->stack_limit_bytes = MODEL_STACK_PAGES << PAGE_SHIFT;
	sim_file_init(&r->file[0], r->x->machine, 50 * PAGE_SIZE + 24);
	sim_file_init(&r->file[1], r->x->machine, 3 * PAGE_SIZE);
	if (!model_init(&r->model, r->x->mm, r->file))
		_exit(3);
	stack.place = PLACE_FIXED;
	stack.grows_down = true;
	stack.file = -1;
	same_result(r, fixture_map(r->x, stack.page << PAGE_SHIFT, 33, stack.prot, MAP_FIXED | MAP_GROWSDOWN),
		    model_mmap(&r->model, &stack));
}

static void space_free(struct run *r)
{
	mm_munmap(r->x->mm, 0x10000, TASK_SIZE - 0x10000);
	for (unsigned int i = 0; i < MODEL_FILES; i++) {
		backing_put(&r->file[i].backing);
		if (r->file[i].releases != 1)
			differs(r, "file %u was released %u times", i, r->file[i].releases);
	}
	if (fixture_free(r->x))
		differs(r, "something was leaked");
	model_destroy(&r->model);
}

/* Runs a history to its first difference. `why` gets what differed, or stays empty. */
static void history_run(uint64_t seed, const struct op *ops, unsigned int nr, char *why, size_t why_bytes)
{
	struct run r = {.why = why, .why_bytes = why_bytes};

	why[0] = 0;
	space_new(&r, shape_of(seed));
	for (unsigned int i = 0; i < nr && !why[0]; i++) {
		r.step = i;
		r.op = &ops[i];
		op_run(&r, &ops[i]);
		if (i % CHECK_EVERY == CHECK_EVERY - 1)
			check_all(&r);
		if (i % SWEEP_EVERY == SWEEP_EVERY - 1)
			sweep(&r);
	}
	r.op = NULL;
	if (why[0])
		return; /* the process ends: no use in taking a broken space apart */
	sweep(&r);
	check_all(&r);
	if (!why[0])
		space_free(&r);
}

/* --- processes and shrinking ------------------------------------------------------------------------------------- */

struct verdict {
	char why[512];
	bool done;
};

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
		history_run(seed, ops, nr, v->why, sizeof(v->why));
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
	for (unsigned int i = 0; i < nr; i++)
		op_print(to, i, &ops[i]);
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
}

/* A history that differs must be seen: the model is told a lie at one step. */
static void the_model_can_fail(void **state)
{
	struct op ops[2] = {{.kind = OP_STORE, .page = STACK_TOP - 1, .value = 1}, {.kind = NR_OPS}};
	char why[512] = "";
	struct run r = {.why = why, .why_bytes = sizeof(why)};
	uint64_t value = 2;

	(void)state;
	space_new(&r, shape_of(0));
	r.op = ops;
	op_run(&r, ops);
	assert_string_equal(why, "");
	for (unsigned int w = 0; w < MODEL_WORDS; w++)
		model_access(&r.model, SIM_STORE, STACK_TOP - 1, w, &value);
	sweep(&r);
	assert_string_not_equal(why, "");
	why[0] = 0;
	model_munmap(&r.model, STACK_TOP - 5, 1);
	same_areas(&r);
	assert_string_not_equal(why, "");
	why[0] = 0;
	space_free(&r);
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
		{"history: 100000 more, of all shapes [I10 I13 I16 F11 F12]", mixed_histories, NULL, NULL,
		 NULL},
	};

	if (argc > 1)
		return fuzz((unsigned int)strtoul(argv[1], NULL, 0),
			    argc > 2 ? strtoull(argv[2], NULL, 0) : (uint64_t)time(NULL) * 1000);
	return cmocka_run_group_tests_name("history", tests, NULL, NULL);
}
