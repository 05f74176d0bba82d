/* SPDX-License-Identifier: MIT */
/* fixture.c - see fixture.h. */
#include "fixture.h"

struct fixture *fixture_new(const struct sim_config *config)
{
	struct fixture *x = calloc(1, sizeof(*x));

	if (!x)
		return NULL;
	x->machine = sim_machine_new(config);
	x->mm = x->machine ? mm_create(&x->machine->host, 1u << 20) : NULL;
	if (!x->mm) {
		if (x->machine)
			sim_machine_free(x->machine);
		free(x);
		return NULL;
	}
	x->mm->fault_around_pages = 1;
	x->cpu = &x->machine->cpu[0];
	for (unsigned int i = 0; i < x->machine->config.cpus; i++)
		sim_cpu_load(&x->machine->cpu[i], x->mm);
	return x;
}

int fixture_free(struct fixture *x)
{
	unsigned int bad = mm_check(x->mm, complain);
	uint64_t lost;

	for (unsigned int i = 0; i < x->machine->config.cpus; i++)
		sim_cpu_load(&x->machine->cpu[i], NULL);
	mmput(x->mm);
	for (enum zone_type z = 0; z < NR_ZONES; z++)
		bad += zone_check(&x->machine->frames, z, complain);
	/* A frame that was called bad is out of use for good, and nobody counts it as leaked. */
	bad += (unsigned int)atomic_load(&x->machine->frames.event[BAD_PAGE]);
	lost = sim_machine_free(x->machine);
	if (bad || lost)
		print_error("# %u violations, %llu objects or frames leaked\n", bad,
			    (unsigned long long)lost);
	free(x);
	return bad || lost ? -1 : 0;
}

static int setup_with(void **state, const struct sim_config *config)
{
	*state = fixture_new(config);
	return *state ? 0 : -1;
}

int fixture_setup(void **state)
{
	return setup_with(state, NULL);
}

int fixture_setup_shadow(void **state)
{
	static const struct sim_config config = {.kind = SIM_SHADOW};

	return setup_with(state, &config);
}

int fixture_setup_5_levels(void **state)
{
	static const struct sim_config config = {.levels = 5};

	return setup_with(state, &config);
}

int fixture_teardown(void **state)
{
	return fixture_free(*state);
}

void assert_mm_sound(struct mm *mm)
{
	assert_int_equal(mm_check(mm, complain), 0);
}

int64_t fixture_map(struct fixture *x, gva_t at, uint64_t pages, unsigned int prot, unsigned int flags)
{
	struct mmap_request r = {.address = at, .length = pages << PAGE_SHIFT, .prot = prot};

	r.flags = flags | MAP_ANONYMOUS | (flags & MAP_SHARED ? 0 : MAP_PRIVATE);
	return mm_mmap(x->mm, &r);
}

pte_t fixture_pte(struct fixture *x, gva_t address)
{
	pte_t *slot = pgtable_find(&x->mm->pgt, address);

	return slot ? pte_read(slot) : 0;
}

pte_t fixture_pte_in(struct mm *mm, gva_t address)
{
	pte_t *slot;

	return pgtable_translate(&mm->pgt, address, &slot);
}

uint64_t fixture_load(struct fixture *x, gva_t address)
{
	uint64_t value = 0;
	struct fault_signal sig = sim_load(x->cpu, address, &value, sizeof(value));

	assert_int_equal(sig.signo, 0);
	return value;
}

void fixture_store(struct fixture *x, gva_t address, uint64_t value)
{
	struct fault_signal sig = sim_store(x->cpu, address, &value, sizeof(value));

	assert_int_equal(sig.signo, 0);
}

uint64_t fixture_load_in(struct fixture *x, struct mm *mm, gva_t address)
{
	sim_cpu_load(x->cpu, mm);
	return fixture_load(x, address);
}

void fixture_store_in(struct fixture *x, struct mm *mm, gva_t address, uint64_t value)
{
	sim_cpu_load(x->cpu, mm);
	fixture_store(x, address, value);
}

void assert_signal(struct fixture *x, enum sim_access kind, gva_t address, int signo, int code)
{
	uint64_t value = 0;
	struct fault_signal sig = sim_access(x->cpu, kind, address, &value, 1);

	assert_int_equal(sig.signo, signo);
	assert_int_equal(sig.code, code);
	if (code != SI_KERNEL)
		assert_int_equal(sig.address, address);
}

/* --- files ------------------------------------------------------------------------------------------------------- */

uint64_t sim_file_word(uint64_t offset)
{
	return (offset + 8) * 0x9e3779b97f4a7c15ull;
}

static ssize_t sim_file_read(struct backing *b, void *buffer, size_t bytes, uint64_t offset)
{
	struct sim_file *file = (struct sim_file *)b;

	file->reads++;
	if (file->error)
		return file->error;
	if (offset >= file->bytes)
		return 0;
	bytes = min_u64(bytes, file->bytes - offset);
	for (size_t i = 0; i < bytes; i++) {
		uint64_t word = sim_file_word((offset + i) & ~7ull);

		((uint8_t *)buffer)[i] = (uint8_t)(word >> 8 * ((offset + i) & 7));
	}
	return (ssize_t)bytes;
}

static int64_t sim_file_size(struct backing *b)
{
	return (int64_t)((struct sim_file *)b)->bytes;
}

static void sim_file_release(struct backing *b)
{
	((struct sim_file *)b)->releases++;
}

static const struct backing_ops sim_file_ops = {
	.read = sim_file_read,
	.size = sim_file_size,
	.release = sim_file_release,
};

void sim_file_init(struct sim_file *file, struct sim_machine *m, uint64_t bytes)
{
	memset(file, 0, sizeof(*file));
	file->bytes = bytes;
	backing_init(&file->backing, &m->host, &sim_file_ops);
	file->backing.dev = 0xfe01;
	file->backing.ino = 114;
	file->backing.path = "/sim/file";
}

int64_t fixture_map_file(struct fixture *x, struct sim_file *file, gva_t at, uint64_t pages, uint64_t pgoff,
			 unsigned int prot, unsigned int flags)
{
	struct mmap_request r = {
		.address = at,
		.length = pages << PAGE_SHIFT,
		.prot = prot,
		.flags = flags,
		.file = &file->backing,
		.pgoff = pgoff,
		.may_not_write = true,
	};

	return mm_mmap(x->mm, &r);
}
