/* SPDX-License-Identifier: MIT */
/* The fault ladder, driven by a processor that walks the tables the ladder makes. */
#include "../sim/fixture.h"
#include "../sim/sim_swap.h"

#define A  0x10000000ull
#define RW (PROT_READ | PROT_WRITE)

static uint64_t visits(struct fixture *x, enum fault_leaf leaf)
{
	return x->mm->faults[leaf];
}

static pfn_t zero_pfn(struct fixture *x)
{
	return page_to_pfn(&x->machine->frames, x->machine->frames.zero_page);
}

static void error_code_in_words(void **state)
{
	static const struct {
		uint32_t code, number;
	} row[] = {{PF_PROT, 1},   {PF_WRITE, 2}, {PF_USER, 4},	  {PF_RSVD, 8},
		   {PF_INSTR, 16}, {PF_PK, 32},	  {PF_SGX, 32768}};
	char none[128], some[128];

	(void)state;
	assert_ptr_equal(fault_error_string(0, none, sizeof(none)), none);
	for (unsigned int i = 0; i < ARRAY_SIZE(row); i++) {
		assert_int_equal(row[i].code, row[i].number);
		fault_error_string(row[i].code, some, sizeof(some));
		assert_string_not_equal(none, some);
		assert_true(strlen(some) > 0);
	}
	assert_non_null(
		strstr(fault_error_string(6, some, sizeof(some)), "write to a page not present, user"));
	fault_error_string(~0u, some, 8);
	assert_true(strlen(some) < 8);
}

static void anonymous_write(void **state)
{
	struct fixture *x = *state;

	fixture_map(x, A, 16, RW, MAP_FIXED);
	fixture_store(x, A, 10);
	assert_int_equal(x->cpu->last_error, 6);
	assert_int_equal(x->cpu->nr_faults, 1);
	assert_int_equal(fixture_pte(x, A) & 0xfff, 0x067);
	assert_true(fixture_pte(x, A) & PTE_NX);
	assert_int_equal(visits(x, FAULT_ANON_WRITE), 1);
	assert_int_equal(mm_counter(x->mm, MM_ANONPAGES), 1);
	assert_int_equal(fixture_load(x, A), 10);
	assert_int_equal(fixture_load(x, A + 8), 0);
}

static void anonymous_read(void **state)
{
	struct fixture *x = *state;
	uint64_t used;

	fixture_map(x, A, 64, RW, MAP_FIXED);
	assert_int_equal(fixture_load(x, A), 0);
	assert_int_equal(x->cpu->last_error, 4);
	assert_int_equal(fixture_pte(x, A) & 0xfff, 0x225);
	assert_true(fixture_pte(x, A) & PTE_NX);
	assert_int_equal(pte_pfn(fixture_pte(x, A)), zero_pfn(x));
	used = x->mm->memcg->usage_pages;
	for (unsigned int i = 1; i < 64; i++)
		assert_int_equal(fixture_load(x, A + i * PAGE_SIZE), 0);
	assert_int_equal(x->mm->memcg->usage_pages, used);
	assert_int_equal(mm_rss_pages(x->mm), 0);
	assert_int_equal(visits(x, FAULT_ANON_ZERO_PAGE), 64);
}

static void read_then_write(void **state)
{
	struct fixture *x = *state;

	fixture_map(x, A, 1, RW, MAP_FIXED);
	assert_int_equal(fixture_load(x, A), 0);
	assert_int_equal(x->cpu->last_error, 4);
	fixture_store(x, A, 10);
	assert_int_equal(x->cpu->last_error, 7);
	assert_int_not_equal(pte_pfn(fixture_pte(x, A)), zero_pfn(x));
	assert_int_equal(fixture_load(x, A), 10);
	for (unsigned int i = 8; i < PAGE_SIZE; i += 8)
		assert_int_equal(fixture_load(x, A + i), 0);
	assert_int_equal(visits(x, FAULT_WP_ZERO_PAGE), 1);
	assert_int_equal(mm_counter(x->mm, MM_ANONPAGES), 1);
}

static void no_area(void **state)
{
	struct fixture *x = *state;

	fixture_map(x, A, 1, RW, MAP_FIXED);
	assert_signal(x, SIM_LOAD, A - 1, SIGSEGV, SEGV_MAPERR);
	assert_signal(x, SIM_STORE, A + PAGE_SIZE, SIGSEGV, SEGV_MAPERR);
	assert_signal(x, SIM_FETCH, 0, SIGSEGV, SEGV_MAPERR);
	assert_int_equal(visits(x, FAULT_SIGSEGV_MAPERR), 3);
}

/* What each protection permits on x86: a page that may be written or run may also be read. */
static void protections(void **state)
{
	struct fixture *x = *state;

	for (unsigned int prot = 0; prot < 8; prot++) {
		static const unsigned int need[] = {[SIM_LOAD] = PROT_READ | PROT_WRITE | PROT_EXEC,
						    [SIM_STORE] = PROT_WRITE,
						    [SIM_FETCH] = PROT_EXEC};

		for (enum sim_access kind = SIM_LOAD; kind <= SIM_FETCH; kind++) {
			for (unsigned int touched = 0; touched < 2; touched++) {
				uint64_t value = 0;

				fixture_map(x, A, 1, touched ? RW : prot, MAP_FIXED);
				if (touched) {
					fixture_store(x, A, 1);
					assert_int_equal(mm_mprotect(x->mm, A, PAGE_SIZE, prot), 0);
				}
				if (prot & need[kind])
					assert_int_equal(sim_access(x->cpu, kind, A, &value, 8).signo, 0);
				else
					assert_signal(x, kind, A, SIGSEGV, SEGV_ACCERR);
				assert_mm_sound(x->mm);
				mm_munmap(x->mm, A, PAGE_SIZE);
			}
		}
	}
}

static void fetch_from_data(void **state)
{
	struct fixture *x = *state;
	uint64_t value;

	fixture_map(x, A, 1, RW, MAP_FIXED);
	fixture_store(x, A, 0xc3);
	assert_signal(x, SIM_FETCH, A, SIGSEGV, SEGV_ACCERR);
	assert_int_equal(x->cpu->last_error, PF_PROT | PF_USER | PF_INSTR);
	assert_int_equal(mm_mprotect(x->mm, A, PAGE_SIZE, PROT_READ | PROT_EXEC), 0);
	assert_int_equal(sim_fetch(x->cpu, A, &value, 8).signo, 0);
	assert_int_equal(value, 0xc3);
	assert_signal(x, SIM_STORE, A, SIGSEGV, SEGV_ACCERR);
}

static void present_and_write_protect(void **state)
{
	struct fixture *x = *state;

	fixture_map(x, A, 1, RW, MAP_FIXED);
	assert_signal(x, SIM_LOAD, A + PAGE_SIZE, SIGSEGV, SEGV_MAPERR);
	assert_int_equal(x->cpu->last_error & PF_PROT, 0);
	fixture_store(x, A, 5);
	assert_int_equal(mm_mprotect(x->mm, A, PAGE_SIZE, PROT_READ), 0);
	assert_signal(x, SIM_STORE, A, SIGSEGV, SEGV_ACCERR);
	assert_int_equal(x->cpu->last_error, 7);
	assert_int_equal(fixture_load(x, A), 5);
	assert_int_equal(mm_mprotect(x->mm, A, PAGE_SIZE, RW), 0);
	fixture_store(x, A, 6);
	assert_int_equal(fixture_load(x, A), 6);
}

/* Takes the write right from an entry and nothing else, as tracking of writes would. */
static void write_protect(struct fixture *x, gva_t address)
{
	__atomic_fetch_and(pgtable_find(&x->mm->pgt, address), ~PTE_WRITE, __ATOMIC_ACQ_REL);
	sim_cpu_flush(x->cpu);
}

/* After mprotect there and back a page that nobody else has is made writable again, not copied. */
static void sole_owner_is_reused(void **state)
{
	struct fixture *x = *state;
	pfn_t pfn;

	fixture_map(x, A, 1, RW, MAP_FIXED);
	fixture_store(x, A, 5);
	pfn = pte_pfn(fixture_pte(x, A));
	assert_int_equal(mm_mprotect(x->mm, A, PAGE_SIZE, PROT_READ), 0);
	assert_false(pte_write(fixture_pte(x, A)));
	assert_int_equal(mm_mprotect(x->mm, A, PAGE_SIZE, RW), 0);
	fixture_store(x, A, 6);
	assert_int_equal(pte_pfn(fixture_pte(x, A)), pfn);
	write_protect(x, A);
	fixture_store(x, A, 7);
	assert_int_equal(visits(x, FAULT_WP_REUSE), 1);
	assert_int_equal(pte_pfn(fixture_pte(x, A)), pfn);
	assert_int_equal(visits(x, FAULT_WP_COPY), 0);
}

static void demand_paging(void **state)
{
	struct fixture *x = *state;
	uint64_t pages = (1ull << 30) >> PAGE_SHIFT;
	int64_t at = fixture_map(x, 0, pages, RW, MAP_NORESERVE);

	assert_true(at > 0);
	assert_int_equal(x->mm->total_vm_pages, pages);
	fixture_store(x, (gva_t)at, 1);
	fixture_store(x, (gva_t)at + (512ull << 20), 1);
	fixture_store(x, (gva_t)at + (1ull << 30) - 8, 1);
	assert_int_equal(mm_rss_pages(x->mm), 3);
	assert_int_equal(x->mm->total_vm_pages, pages);
}

static void private_file(void **state)
{
	struct fixture *x = *state;
	static struct sim_file file;
	pfn_t cache;

	sim_file_init(&file, x->machine, 4 * PAGE_SIZE);
	assert_int_equal(fixture_map_file(x, &file, A, 4, 0, RW, MAP_PRIVATE | MAP_FIXED), A);
	assert_int_equal(fixture_load(x, A), sim_file_word(0));
	assert_int_equal(fixture_pte(x, A) & 0xfff & ~0x200ull, 0x025);
	assert_int_equal(visits(x, FAULT_READ), 1);
	assert_int_equal(mm_counter(x->mm, MM_FILEPAGES), 1);
	cache = pte_pfn(fixture_pte(x, A));
	/* Present and read-only: a copy. */
	fixture_store(x, A, 1);
	assert_int_equal(x->cpu->last_error, 7);
	assert_int_equal(visits(x, FAULT_WP_COPY), 1);
	assert_int_not_equal(pte_pfn(fixture_pte(x, A)), cache);
	assert_int_equal(fixture_load(x, A + 8), sim_file_word(8));
	/* Not present: do_cow_fault. */
	fixture_store(x, A + PAGE_SIZE, 2);
	assert_int_equal(x->cpu->last_error, 6);
	assert_int_equal(visits(x, FAULT_COW), 1);
	assert_int_equal(fixture_load(x, A + PAGE_SIZE + 8), sim_file_word(PAGE_SIZE + 8));
	assert_int_equal(mm_counter(x->mm, MM_ANONPAGES), 2);
	assert_int_equal(mm_counter(x->mm, MM_FILEPAGES), 0);
	/* The file never saw it. */
	assert_int_equal(fixture_map_file(x, &file, A + (4 << PAGE_SHIFT), 1, 0, PROT_READ,
					  MAP_SHARED | MAP_FIXED),
			 A + (4 << PAGE_SHIFT));
	assert_int_equal(fixture_load(x, A + (4 << PAGE_SHIFT)), sim_file_word(0));
	assert_int_equal(pte_pfn(fixture_pte(x, A + (4 << PAGE_SHIFT))), cache);
	mm_munmap(x->mm, A, 5 << PAGE_SHIFT);
	backing_put(&file.backing);
	assert_int_equal(file.releases, 1);
}

static void shared_anonymous(void **state)
{
	struct fixture *x = *state;

	fixture_map(x, A, 4, RW, MAP_SHARED | MAP_FIXED);
	fixture_store(x, A, 77);
	assert_int_equal(visits(x, FAULT_SHARED), 1);
	assert_int_equal(fixture_load(x, A + PAGE_SIZE), 0);
	assert_int_equal(visits(x, FAULT_READ), 1);
	assert_int_equal(mm_counter(x->mm, MM_SHMEMPAGES), 2);
	assert_int_equal(mm_madvise(x->mm, A, 4 << PAGE_SHIFT, MADV_DONTNEED), 0);
	assert_int_equal(mm_counter(x->mm, MM_SHMEMPAGES), 0);
	assert_int_equal(fixture_load(x, A), 77);
	fixture_store(x, A, 78);
	assert_int_equal(fixture_load(x, A), 78);
}

static void swap_and_load(struct fixture *x, gva_t address)
{
	struct sim_swap dev;
	struct page *page = pfn_to_page(x->mm->frames, pte_pfn(fixture_pte(x, address)));

	assert_int_equal(sim_swap_on(&dev, &x->machine->host, 16, NULL), 0);
	page_get(page);
	assert_int_equal(swap_out(&x->machine->host, &page, 1), 1);
	fixture_load(x, address);
	assert_int_equal(sim_swap_off(&dev), 0);
}

static void beyond_the_end(void **state)
{
	struct fixture *x = *state;
	static struct sim_file file;

	sim_file_init(&file, x->machine, PAGE_SIZE + 16);
	assert_int_equal(fixture_map_file(x, &file, A, 4, 0, RW, MAP_PRIVATE | MAP_FIXED), A);
	assert_int_equal(fixture_load(x, A + PAGE_SIZE + 8), sim_file_word(PAGE_SIZE + 8));
	assert_int_equal(fixture_load(x, A + PAGE_SIZE + 16), 0);
	assert_signal(x, SIM_LOAD, A + 2 * PAGE_SIZE, SIGBUS, BUS_ADRERR);
	assert_signal(x, SIM_STORE, A + 3 * PAGE_SIZE, SIGBUS, BUS_ADRERR);
	assert_int_equal(visits(x, FAULT_SIGBUS), 2);
	file.error = -EIO;
	mm_munmap(x->mm, A, 4 << PAGE_SHIFT);
	filemap_drop(&file.backing.cache, 0, ~0ull);
	assert_int_equal(fixture_map_file(x, &file, A, 4, 0, RW, MAP_PRIVATE | MAP_FIXED), A);
	assert_signal(x, SIM_LOAD, A, SIGBUS, BUS_ADRERR);
	mm_munmap(x->mm, A, 4 << PAGE_SHIFT);
	backing_put(&file.backing);
}

/* 2 MiB of a file that are cached. */
static void load_huge_file(struct fixture *x, struct sim_file *file, gva_t at)
{
	x->mm->fault_around_pages = 512;
	filemap_readahead(&file->backing.cache, 0, 512, x->mm->memcg);
	fixture_map_file(x, file, at, 512, 0, PROT_READ, MAP_PRIVATE | MAP_FIXED);
	fixture_load(x, at);
	mm_munmap(x->mm, at, PMD_SIZE);
	x->mm->fault_around_pages = 1;
}

/* Each leaf of the ladder has its own count; this history visits all of them, and only as often as it says. */
static void every_leaf(void **state)
{
	struct fixture *x = *state;
	static struct sim_file file, large;
	struct fault_signal sig;
	uint64_t left;

	sim_file_init(&file, x->machine, 8 * PAGE_SIZE);
	sim_file_init(&large, x->machine, PMD_SIZE);
	load_huge_file(x, &large, A + 0x2000000);
	backing_put(&large.backing);
	fixture_map(x, A, 4, RW, MAP_FIXED);
	fixture_store(x, A, 1);
	fixture_load(x, A + PAGE_SIZE);
	fixture_store(x, A + PAGE_SIZE, 1);
	write_protect(x, A);
	fixture_store(x, A, 2);
	swap_and_load(x, A + PAGE_SIZE);
	fixture_map_file(x, &file, A + 0x100000, 4, 0, RW, MAP_PRIVATE | MAP_FIXED);
	fixture_load(x, A + 0x100000);
	fixture_store(x, A + 0x100000, 1);
	fixture_store(x, A + 0x101000, 1);
	fixture_map(x, A + 0x200000, 4, RW, MAP_SHARED | MAP_FIXED);
	fixture_store(x, A + 0x200000, 1);
	write_protect(x, A + 0x200000);
	fixture_store(x, A + 0x200000, 2);
	__atomic_fetch_and(pgtable_find_pmd(&x->mm->pgt, A), ~PTE_WRITE, __ATOMIC_ACQ_REL);
	sim_cpu_flush(x->cpu);
	fixture_store(x, A, 1); /* as after the other user of a shared table has gone */
	const struct mmap_request huge = {.address = A + 0x2000000,
					  .length = PMD_SIZE,
					  .prot = RW,
					  .flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
					  .extra_flags = VM_HUGEPAGE};
	assert_int_equal(mm_mmap(x->mm, &huge), huge.address);
	fixture_load(x, huge.address);
	fixture_store(x, huge.address, 1);
	mm_mprotect(x->mm, huge.address, PMD_SIZE, PROT_READ);
	mm_mprotect(x->mm, huge.address, PMD_SIZE, RW);
	fixture_store(x, huge.address, 2);
	/* Another processor was faster: the entry is there. */
	sig = do_user_addr_fault(x->mm, A, PF_USER | PF_WRITE);
	assert_int_equal(sig.signo, 0);
	fixture_map(x, A + 0x1000000, 1, RW, MAP_FIXED | MAP_GROWSDOWN);
	fixture_store(x, A + 0xfff000, 1);
	assert_signal(x, SIM_LOAD, 0, SIGSEGV, SEGV_MAPERR);
	assert_int_equal(mm_mprotect(x->mm, A, PAGE_SIZE, PROT_NONE), 0);
	assert_signal(x, SIM_LOAD, A, SIGSEGV, SEGV_ACCERR);
	fixture_map_file(x, &file, A + 0x300000, 1, 8, RW, MAP_PRIVATE | MAP_FIXED);
	assert_signal(x, SIM_LOAD, A + 0x300000, SIGBUS, BUS_ADRERR);
	left = x->mm->memcg->max_pages;
	filemap_drop(&file.backing.cache, 0, ~0ull); /* files would give room first */
	x->mm->memcg->max_pages = x->mm->memcg->usage_pages;
	assert_signal(x, SIM_STORE, A + 3 * PAGE_SIZE, SIGKILL, 0);
	x->mm->memcg->max_pages = left;
	for (unsigned int leaf = 0; leaf < NR_FAULT_LEAVES; leaf++) {
		assert_non_null(fault_leaf_names[leaf]);
		if (!visits(x, leaf))
			print_error("# no visit of %s\n", fault_leaf_names[leaf]);
		assert_true(visits(x, leaf) > 0);
	}
	assert_int_equal(visits(x, FAULT_COW), 1);
	assert_int_equal(visits(x, FAULT_WP_COPY), 1);
	assert_int_equal(visits(x, FAULT_SIGBUS), 1);
	assert_int_equal(visits(x, FAULT_OOM), 1);
	mm_munmap(x->mm, A, 0x2200000);
	backing_put(&file.backing);
}

static gva_t make_stack(struct fixture *x, gva_t top, uint64_t pages)
{
	assert_int_equal(fixture_map(x, top - (pages << PAGE_SHIFT), pages, RW, MAP_FIXED | MAP_GROWSDOWN),
			 top - (pages << PAGE_SHIFT));
	return top - (pages << PAGE_SHIFT);
}

static void stack_grows(void **state)
{
	struct fixture *x = *state;
	gva_t top = 0x7ffffffff000, start = make_stack(x, top, 33);
	gva_t limit = top - x->mm->stack_limit_bytes;

	assert_int_equal(x->mm->stack_limit_bytes, 8 << 20);
	fixture_store(x, start - 8, 1);
	assert_int_equal(vma_find(&x->mm->vmas, start - 8)->start, start - PAGE_SIZE);
	assert_int_equal(x->mm->total_vm_pages, 34);
	fixture_store(x, start - 0x10000, 2);
	assert_int_equal(x->mm->vmas.nr, 1);
	fixture_store(x, limit, 3);
	assert_int_equal(x->mm->total_vm_pages, 2048);
	assert_signal(x, SIM_STORE, limit - 1, SIGSEGV, SEGV_MAPERR);
	assert_int_equal(x->mm->total_vm_pages, 2048);
	assert_true(visits(x, FAULT_STACK_GROWTH) >= 3);
	assert_mm_sound(x->mm);
}

static void guard_gap(void **state)
{
	struct fixture *x = *state;
	gva_t top = 0x20000000, start = make_stack(x, top, 4);
	gva_t below = start - STACK_GUARD_GAP - 2 * PAGE_SIZE;

	assert_int_equal(fixture_map(x, below, 1, RW, MAP_FIXED), below);
	/* One page of growth leaves exactly the gap; the next would not. */
	fixture_store(x, start - PAGE_SIZE, 1);
	assert_signal(x, SIM_STORE, start - PAGE_SIZE - 1, SIGSEGV, SEGV_MAPERR);
	/* A neighbour that nobody can access does not count. */
	assert_int_equal(mm_mprotect(x->mm, below, PAGE_SIZE, PROT_NONE), 0);
	fixture_store(x, start - 2 * PAGE_SIZE, 1);
	assert_mm_sound(x->mm);
}

/* A hint within the gap below a stack is not taken. */
static void placement_keeps_the_gap(void **state)
{
	struct fixture *x = *state;
	gva_t top = 0x20000000, start = make_stack(x, top, 4);
	int64_t at = fixture_map(x, start - STACK_GUARD_GAP, 1, RW, 0);

	assert_true(at > 0);
	assert_int_not_equal(at, start - STACK_GUARD_GAP);
	assert_int_equal(fixture_map(x, start - STACK_GUARD_GAP - PAGE_SIZE, 1, RW, 0),
			 start - STACK_GUARD_GAP - PAGE_SIZE);
}

static void spurious_fault_for_gained_rights(void **state)
{
	struct fixture *x = *state;
	uint64_t revokes;

	fixture_map(x, A, 1, PROT_READ, MAP_FIXED);
	fixture_load(x, A);
	revokes = x->machine->nr_revokes;
	assert_int_equal(mm_mprotect(x->mm, A, PAGE_SIZE, PROT_READ | PROT_EXEC), 0);
	fixture_load(x, A);
	uint64_t value;
	assert_int_equal(sim_fetch(x->cpu, A, &value, 1).signo, 0);
	assert_int_equal(x->machine->nr_revokes, revokes);
}

static void fault_around(void **state)
{
	struct fixture *x = *state;
	uint64_t faults;

	x->mm->fault_around_pages = 64;
	fixture_map(x, A, 4096, RW, MAP_FIXED);
	for (unsigned int i = 0; i < 4096; i++)
		fixture_store(x, A + i * PAGE_SIZE, i);
	faults = x->cpu->nr_faults;
	assert_true(faults < 4096 / 8);
	assert_int_equal(mm_counter(x->mm, MM_ANONPAGES), 4096);
	assert_int_equal(x->mm->fault_around_mapped, 4096 - faults);
	for (unsigned int i = 0; i < 4096; i++)
		assert_int_equal(fixture_load(x, A + i * PAGE_SIZE), i);
	/* Sparse use stays sparse: a page in every 2 MiB costs what it touches. */
	mm_munmap(x->mm, A, 4096 << PAGE_SHIFT);
	fixture_map(x, A, 32768, RW, MAP_FIXED);
	for (unsigned int i = 0; i < 64; i++)
		fixture_store(x, A + i * PMD_SIZE + 0x80000, i);
	assert_true(mm_counter(x->mm, MM_ANONPAGES) <= 4 * 64);
}

/* The other pages of a file show the file until they are written; those of a program are its own from the first write nearby. */
static void segments_are_copied_in_windows(void **state)
{
	struct fixture *x = *state;
	struct sim_file file;

	sim_file_init(&file, x->machine, 8 << PAGE_SHIFT);
	x->mm->fault_around_pages = 512;
	for (unsigned int program = 0; program < 2; program++) {
		const struct mmap_request r = {.address = A,
					       .length = 8 << PAGE_SHIFT,
					       .prot = RW,
					       .flags = MAP_PRIVATE | MAP_FIXED,
					       .file = &file.backing,
					       .extra_flags = program ? VM_PROGRAM : 0};
		assert_int_equal(mm_mmap(x->mm, &r), A);
		for (unsigned int i = 0; i < 8; i++)
			assert_int_equal(fixture_load(x, A + i * PAGE_SIZE), sim_file_word(i * PAGE_SIZE));
		fixture_store(x, A + 3 * PAGE_SIZE, 5);
		assert_int_equal(mm_counter(x->mm, MM_ANONPAGES), program ? 8 : 1);
		assert_int_equal(mm_counter(x->mm, MM_FILEPAGES), program ? 0 : 7);
		for (unsigned int i = 0; i < 8; i++)
			assert_int_equal(fixture_load(x, A + i * PAGE_SIZE),
					 i == 3 ? 5 : sim_file_word(i * PAGE_SIZE));
		assert_mm_sound(x->mm);
	}
	assert_int_equal(mm_munmap(x->mm, A, 8 << PAGE_SHIFT), 0);
	backing_put(&file.backing);
}

/* A write to what nobody looked at: the cached pages around it are copied, whatever is mapped stays. */
static void data_is_copied_ahead(void **state)
{
	struct fixture *x = *state;
	struct sim_file file;
	struct mmap_request r = {.address = A,
				 .length = 64 << PAGE_SHIFT,
				 .prot = RW,
				 .flags = MAP_PRIVATE | MAP_FIXED,
				 .file = &file.backing};

	sim_file_init(&file, x->machine, 64 << PAGE_SHIFT);
	assert_int_equal(mm_mmap(x->mm, &r), A);
	for (unsigned int i = 0; i < 64; i++)
		fixture_load(x, A + i * PAGE_SIZE);
	x->mm->fault_around_pages = 512;
	for (unsigned int program = 0; program < 2; program++) {
		r.extra_flags = program ? VM_PROGRAM : 0;
		assert_int_equal(mm_mmap(x->mm, &r), A);
		fixture_store(x, A + 20 * PAGE_SIZE, 5);
		assert_int_equal(mm_counter(x->mm, MM_ANONPAGES), program ? 16 : 1);
		assert_int_equal(mm_counter(x->mm, MM_FILEPAGES), 0);
		for (unsigned int i = 16; i < 32; i++)
			assert_int_equal(fixture_load(x, A + i * PAGE_SIZE),
					 i == 20 ? 5 : sim_file_word(i * PAGE_SIZE));
		assert_mm_sound(x->mm);
	}
	assert_int_equal(mm_munmap(x->mm, A, 64 << PAGE_SHIFT), 0);
	backing_put(&file.backing);
}

/* Whatever allocation fails, no more is lost than what would have come along. */
static void what_comes_along_may_fail(void **state)
{
	struct fixture *x = *state;
	_Atomic long *fail_in = &x->machine->frames.fail_in;
	struct sim_file file;
	const struct mmap_request r = {.address = A,
				       .length = 16 << PAGE_SHIFT,
				       .prot = RW,
				       .flags = MAP_PRIVATE | MAP_FIXED,
				       .file = &file.backing,
				       .extra_flags = VM_PROGRAM};
	gva_t heap = A + PMD_SIZE, brk = heap + (8 << PAGE_SHIFT);
	uint64_t word = 7;
	long n = 0;

	sim_file_init(&file, x->machine, 16 << PAGE_SHIFT);
	x->mm->fault_around_pages = 512;
	x->mm->start_brk = x->mm->brk = heap;
	do {
		assert_int_equal(mm_mmap(x->mm, &r), A);
		for (unsigned int i = 0; i < 16; i++)
			fixture_load(x, A + i * PAGE_SIZE);
		assert_int_equal(mm_mmap(x->mm, &r), A);
		assert_int_equal(mm_brk(x->mm, heap), heap);
		assert_int_equal(mm_brk(x->mm, brk), brk);
		fixture_store(x, brk - 8, 1);
		atomic_store(fail_in, ++n);
		sim_store(x->cpu, A + 3 * PAGE_SIZE, &word, 8);
		mm_brk(x->mm, brk + (9 << PAGE_SHIFT));
		bool spent = atomic_load(fail_in) <= 0;
		atomic_store(fail_in, 0);
		assert_mm_sound(x->mm);
		for (unsigned int i = 0; i < 16; i++)
			assert_true(fixture_load(x, A + i * PAGE_SIZE) == sim_file_word(i * PAGE_SIZE) ||
				    i == 3);
		fixture_store(x, brk, 1);
		if (!spent)
			break;
	} while (n < 100);
	assert_in_range(n, 17, 99); /* sixteen copies at least, each of which failed once */
	assert_int_equal(mm_munmap(x->mm, A, 16 << PAGE_SHIFT), 0);
	backing_put(&file.backing);
}

/* What a heap has got at each step; sparse use of other memory stays sparse. */
static void heaps_are_dense(void **state)
{
	struct fixture *x = *state;
	gva_t brk = A + (100 << PAGE_SHIFT);

	x->mm->fault_around_pages = 512;
	x->mm->start_brk = x->mm->brk = A;
	assert_int_equal(mm_brk(x->mm, brk), brk);
	fixture_store(x, A + 40 * PAGE_SIZE, 1);
	assert_int_equal(mm_counter(x->mm, MM_ANONPAGES), 32);
	brk += 33 << PAGE_SHIFT; /* nothing is used right below: nor is what comes */
	assert_int_equal(mm_brk(x->mm, brk), brk);
	assert_int_equal(mm_counter(x->mm, MM_ANONPAGES), 32);
	fixture_store(x, brk - 8, 1);
	uint64_t had = (uint64_t)mm_counter(x->mm, MM_ANONPAGES), faults = x->cpu->nr_faults;
	brk += 33 << PAGE_SHIFT;
	assert_int_equal(mm_brk(x->mm, brk), brk);
	assert_int_equal(mm_counter(x->mm, MM_ANONPAGES), had + 33);
	for (unsigned int i = 0; i < 33; i++)
		fixture_store(x, brk - 8 - i * PAGE_SIZE, i);
	assert_int_equal(x->cpu->nr_faults, faults);
	brk += 65 << PAGE_SHIFT; /* a large step is no growth from use to use */
	assert_int_equal(mm_brk(x->mm, brk), brk);
	assert_int_equal(mm_counter(x->mm, MM_ANONPAGES), had + 33);
	assert_mm_sound(x->mm);
	assert_int_equal(mm_brk(x->mm, A), A);
	assert_int_equal(mm_counter(x->mm, MM_ANONPAGES), 0);
}

/* Near its limit an account gets what it touches. */
static void heaps_without_room_are_sparse(void **state)
{
	struct fixture *x = *state;
	gva_t brk = A + (33 << PAGE_SHIFT);

	x->mm->fault_around_pages = 512;
	x->mm->start_brk = x->mm->brk = A;
	assert_int_equal(mm_brk(x->mm, brk), brk);
	fixture_store(x, brk - 8, 1);
	uint64_t had = (uint64_t)mm_counter(x->mm, MM_ANONPAGES);
	atomic_store(&x->mm->memcg->max_pages, atomic_load(&x->mm->memcg->usage_pages) + 40);
	brk += 33 << PAGE_SHIFT;
	assert_int_equal(mm_brk(x->mm, brk), brk);
	assert_int_equal(mm_counter(x->mm, MM_ANONPAGES), had);
	fixture_store(x, brk - 8, 1);
	assert_true((uint64_t)mm_counter(x->mm, MM_ANONPAGES) <= had + 20);
	assert_mm_sound(x->mm);
}

#define T(name, fn)                                             \
	{                                                       \
		name, fn, fixture_setup, fixture_teardown, NULL \
	}
#define S(name, fn)                                                                \
	{                                                                          \
		name " (shadow)", fn, fixture_setup_shadow, fixture_teardown, NULL \
	}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		T("fault: every bit of the error code has its number and its word [K1]", error_code_in_words),
		T("fault: a write to untouched anonymous memory maps a zeroed page, 0x067, error 6 [K12 K2 "
		  "B20]",
		  anonymous_write),
		T("fault: a read of untouched anonymous memory maps the zero page, 0x225, error 4 [K13 K2 "
		  "B21]",
		  anonymous_read),
		T("fault: a write after a read replaces the zero page, error 7 [K14 K2]", read_then_write),
		T("fault: no area means SEGV_MAPERR [K3 R13]", no_area),
		T("fault: each protection permits what it says, touched before or not [K4 H7]", protections),
		T("fault: data cannot be run: error code 21, SEGV_ACCERR [B17 R13]", fetch_from_data),
		T("fault: not present and write-protected are told apart [B10 B11 K4]",
		  present_and_write_protect),
		T("fault: the only owner of a page gets it back writable, not copied [M7]",
		  sole_owner_is_reused),
		T("fault: 1 GiB mapped, three pages touched, rss 3 [K27 G15]", demand_paging),
		T("fault: private file pages are shared with the cache until written [K11 K19 K20 K23 B22 "
		  "J11]",
		  private_file),
		T("fault: shared anonymous memory outlives its mappings' entries [K15]", shared_anonymous),
		T("fault: beyond the end of a file, or when it cannot be read: SIGBUS", beyond_the_end),
		T("fault: every leaf of the ladder is reached and counted [K5 K10 K11]", every_leaf),
		T("fault: a stack grows to its limit and not beyond [F11]", stack_grows),
		T("fault: growth keeps 256 pages from the area below [F12]", guard_gap),
		T("fault: placement keeps 256 pages below a stack free [F12]", placement_keeps_the_gap),
		T("fault: gained rights cost no revocation", spurious_fault_for_gained_rights),
		T("fault: a write to a program's data copies what is cached around it [K11]",
		  data_is_copied_ahead),
		T("fault: what is mapped ahead may fail", what_comes_along_may_fail),
		T("fault: a heap is mapped widely, and comes with the break where it is in use [G15]",
		  heaps_are_dense),
		T("fault: without room a heap is mapped as it is touched [G15]",
		  heaps_without_room_are_sparse),
		T("fault: a program's segment is copied in windows, a file's page alone",
		  segments_are_copied_in_windows),
		T("fault: dense use takes few faults, sparse use stays sparse", fault_around),
		S("fault: each protection permits what it says, touched before or not [K4]", protections),
		S("fault: the only owner of a page gets it back writable [M7]", sole_owner_is_reused),
		S("fault: a write after a read replaces the zero page [K14]", read_then_write),
		S("fault: private file pages are shared with the cache until written [K20 K23]",
		  private_file),
		S("fault: every leaf of the ladder is reached and counted [K10]", every_leaf),
	};

	return cmocka_run_group_tests_name("fault", tests, NULL, NULL);
}
