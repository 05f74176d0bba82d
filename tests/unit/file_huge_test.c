/* SPDX-License-Identifier: MIT */
/* Pages of files under huge entries: when, who may write, and everything that takes them away. */
#include "../../src/mm/ageing.h"
#include "../../src/mm/block.h"
#include "../../src/mm/i_mmap.h"
#include "../../src/mm/migrate.h"
#include "../../src/mm/rmap.h"
#include "../../src/mm/usage.h"
#include "../../src/mm/vmscan.h"
#include "../sim/fixture.h"

#define A	   0x40000000ull
#define B	   0x80000000ull
#define P	   PAGE_SIZE
#define M2	   PMD_SIZE
#define N	   BLOCK_PAGES
#define FILE_PAGES (8 * N)
#define RW	   (PROT_READ | PROT_WRITE)

struct scene {
	struct fixture *x;
	struct sim_file file;
	struct backing_ops ops; /* the file's, and that it may be written */
};

static int no_write(struct backing *b, const struct iovec *iov, unsigned int nr, uint64_t offset)
{
	(void)b;
	(void)iov;
	(void)nr;
	(void)offset;
	return -EIO; /* nobody writes in these tests */
}

static int setup_kind(void **state, enum sim_kind kind)
{
	const struct sim_config config = {.kind = kind, .cpus = 2};
	struct scene *s = calloc(1, sizeof(*s));

	s->x = fixture_new(&config);
	if (!s->x)
		return -1;
	sim_file_init(&s->file, s->x->machine, FILE_PAGES * P);
	s->ops = *s->file.backing.ops;
	s->ops.write = no_write;
	s->file.backing.ops = &s->ops;
	s->x->mm->fault_around_pages = N;
	*state = s;
	return 0;
}

static int setup(void **state)
{
	return setup_kind(state, SIM_TLB);
}

static int setup_shadow(void **state)
{
	return setup_kind(state, SIM_SHADOW);
}

static int teardown(void **state)
{
	struct scene *s = *state;

	mm_munmap(s->x->mm, 0x10000, TASK_SIZE - 0x10000);
	unsigned int bad = filemap_check(&s->file.backing.cache);
	backing_put(&s->file.backing);
	bad += s->file.releases != 1;
	bad += fixture_free(s->x) != 0;
	free(s);
	return bad ? -1 : 0;
}

static struct mm_host *host_of(struct scene *s)
{
	return &s->x->machine->host;
}

static void map(struct scene *s, gva_t at, uint64_t pages, uint64_t pgoff, unsigned int prot,
		unsigned int flags)
{
	const struct mmap_request r = {.address = at,
				       .length = pages * P,
				       .prot = prot,
				       .flags = flags | MAP_FIXED,
				       .file = &s->file.backing,
				       .pgoff = pgoff};

	assert_int_equal(mm_mmap(s->x->mm, &r), at);
}

static void cache(struct scene *s)
{
	filemap_readahead(&s->file.backing.cache, 0, FILE_PAGES, s->x->mm->memcg);
	assert_int_equal(filemap_nr_pages(&s->file.backing.cache), FILE_PAGES);
}

static unsigned int level_at(struct mm *mm, gva_t address)
{
	unsigned int level = 99;
	const pte_t *slot = pgtable_leaf(&mm->pgt, address, &level);

	return slot && pte_read(slot) ? level : 99;
}

static struct page *page_at(struct scene *s, uint64_t index)
{
	struct page *page = filemap_find(&s->file.backing.cache, index);

	assert_non_null(page);
	page_put(&s->x->machine->frames, page);
	return page;
}

static void sound(struct scene *s)
{
	struct mm *mm = s->x->mm;

	assert_mm_sound(mm);
	assert_int_equal(mm_check_host(host_of(s), &mm, 1, complain), 0);
}

static void expect_words(struct scene *s, gva_t at, uint64_t first, uint64_t pages)
{
	for (uint64_t i = 0; i < pages; i++)
		assert_int_equal(fixture_load(s->x, at + i * P), sim_file_word((first + i) * P));
}

/* All of it in the cache, two blocks mapped at A. */
static void mapped(struct scene *s, unsigned int prot, unsigned int flags)
{
	cache(s);
	map(s, A, 2 * N, 0, prot, flags);
	fixture_load(s->x, A);
	fixture_load(s->x, A + M2);
	assert_int_equal(level_at(s->x->mm, A), 1);
	assert_int_equal(level_at(s->x->mm, A + M2), 1);
}

static void a_cached_block_is_mapped_at_once(void **state)
{
	struct scene *s = *state;
	unsigned int reads;

	cache(s);
	reads = s->file.reads;
	map(s, A, FILE_PAGES, 0, PROT_READ, MAP_SHARED);
	fixture_load(s->x, A + 5 * P);
	assert_int_equal(level_at(s->x->mm, A), 1);
	assert_int_equal(mm_counter(s->x->mm, MM_FILEPAGES), N);
	assert_int_equal(s->x->mm->faults[FAULT_HUGE_FILE], 1);
	assert_int_equal(s->x->mm->min_flt, 1);
	assert_int_equal(s->x->mm->maj_flt, 0);
	expect_words(s, A, 0, N);
	assert_int_equal(s->x->mm->min_flt, 1);
	assert_int_equal(s->file.reads, reads);
	sound(s);
	/* A row: 1 block, then 2, 4 and what is left. */
	expect_words(s, A + M2, N, FILE_PAGES - N);
	assert_int_equal(s->x->mm->min_flt, 4);
	assert_int_equal(mm_counter(s->x->mm, MM_FILEPAGES), FILE_PAGES);
	sound(s);
	assert_int_equal(mm_munmap(s->x->mm, A, FILE_PAGES * P), 0);
	assert_int_equal(mm_counter(s->x->mm, MM_FILEPAGES), 0);
	assert_false(page_in_block(page_at(s, 0)));
	assert_int_equal(atomic_load(&page_at(s, 0)->refs), 1);
	sound(s);
}

static void a_walk_comes_to_blocks(void **state)
{
	struct scene *s = *state;

	map(s, A, FILE_PAGES, 0, PROT_READ, MAP_PRIVATE);
	expect_words(s, A, 0, FILE_PAGES);
	assert_int_equal(level_at(s->x->mm, A), 0); /* small windows to begin with */
	assert_int_equal(level_at(s->x->mm, A + 4 * M2), 1);
	assert_true(s->x->mm->faults[FAULT_HUGE_FILE] >= 5);
	assert_true(s->x->mm->min_flt + s->x->mm->maj_flt <= 14);
	assert_in_range(s->file.reads, 8, 32);
	sound(s);
}

static void where_it_does_not_fit(void **state)
{
	struct scene *s = *state;

	cache(s);
	map(s, A, N, 1, PROT_READ, MAP_SHARED); /* the frames lie otherwise */
	map(s, B, N - 1, 0, PROT_READ, MAP_SHARED);
	map(s, B + 2 * M2, N, 0, RW, MAP_SHARED); /* writes must be noticed page by page */
	fixture_load(s->x, A);
	fixture_load(s->x, B);
	fixture_load(s->x, B + 2 * M2);
	assert_int_equal(level_at(s->x->mm, A), 0);
	assert_int_equal(level_at(s->x->mm, B), 0);
	assert_int_equal(level_at(s->x->mm, B + 2 * M2), 0);
	map(s, A, N, 0, PROT_READ, MAP_SHARED);
	atomic_store(&s->x->mm->memcg->thp, THP_NEVER);
	fixture_load(s->x, A);
	assert_int_equal(level_at(s->x->mm, A), 0);
	sound(s);
}

static void a_private_write_copies_one_page(void **state)
{
	struct scene *s = *state;

	mapped(s, RW, MAP_PRIVATE);
	fixture_store(s->x, A + 7 * P, 42);
	assert_int_equal(level_at(s->x->mm, A), 0);
	assert_int_equal(level_at(s->x->mm, A + M2), 1);
	assert_int_equal(fixture_load(s->x, A + 7 * P), 42);
	expect_words(s, A, 0, 7);
	expect_words(s, A + 8 * P, 8, N - 8);
	assert_int_equal(mm_counter(s->x->mm, MM_ANONPAGES), 1);
	assert_int_equal(mm_counter(s->x->mm, MM_FILEPAGES), 2 * N - 1);
	assert_int_equal(*(uint64_t *)page_address(&s->x->machine->frames, page_at(s, 7)),
			 sim_file_word(7 * P));
	assert_false(page_in_block(page_at(s, 7)));
	assert_true(page_in_block(page_at(s, N)));
	sound(s);
}

static void rights_change_in_place(void **state)
{
	struct scene *s = *state;

	mapped(s, PROT_READ, MAP_PRIVATE);
	assert_int_equal(mm_mprotect(s->x->mm, A, M2, RW), 0);
	assert_int_equal(level_at(s->x->mm, A), 1);
	fixture_store(s->x, A, 1);
	assert_int_equal(*(uint64_t *)page_address(&s->x->machine->frames, page_at(s, 0)), sim_file_word(0));
	assert_int_equal(mm_mprotect(s->x->mm, A + M2, M2, PROT_NONE), 0);
	assert_signal(s->x, SIM_LOAD, A + M2, SIGSEGV, SEGV_ACCERR);
	sound(s);
}

static void parts_go(void **state)
{
	struct scene *s = *state;

	mapped(s, PROT_READ, MAP_SHARED);
	assert_int_equal(mm_madvise(s->x->mm, A + P, P, MADV_DONTNEED), 0);
	assert_int_equal(level_at(s->x->mm, A), 0);
	assert_int_equal(mm_counter(s->x->mm, MM_FILEPAGES), 2 * N - 1);
	assert_int_equal(mm_munmap(s->x->mm, A + M2 + 10 * P, 10 * P), 0);
	assert_int_equal(mm_counter(s->x->mm, MM_FILEPAGES), 2 * N - 11);
	sound(s);
	expect_words(s, A, 0, N);
	expect_words(s, A + M2, N, 10);
}

/* Truncation and holes take every entry that has one of the pages; what is left of a block comes back. */
static void pages_leave_the_file(void **state)
{
	struct scene *s = *state;

	mapped(s, PROT_READ, MAP_SHARED);
	unmap_mapping_range(&s->file.backing.cache, 3, 3, UNMAP_CACHE_PAGES);
	assert_int_equal(level_at(s->x->mm, A), 99);
	assert_int_equal(level_at(s->x->mm, A + M2), 1);
	assert_int_equal(mm_counter(s->x->mm, MM_FILEPAGES), N);
	sound(s);
	unmap_mapping_range(&s->file.backing.cache, N + 3, ~0ull, UNMAP_EVEN_COWS);
	filemap_remove(&s->file.backing.cache, N + 3, ~0ull);
	assert_int_equal(mm_counter(s->x->mm, MM_FILEPAGES), 3);
	assert_false(page_in_block(page_at(s, N)));
	sound(s);
	expect_words(s, A, 0, 2 * N);
	sound(s);
}

static void two_places_share_a_block(void **state)
{
	struct scene *s = *state;
	struct page *head;

	mapped(s, RW, MAP_PRIVATE);
	map(s, B, N, 0, PROT_READ, MAP_SHARED);
	fixture_load(s->x, B);
	head = page_at(s, 0);
	assert_int_equal(level_at(s->x->mm, B), 1);
	assert_int_equal(atomic_load(&head->block_mapcount), 2);
	assert_int_equal(atomic_load(&head->refs), 2);
	sound(s);
	fixture_store(s->x, A, 1); /* splits one of the two */
	assert_int_equal(atomic_load(&head->block_mapcount), 1);
	assert_int_equal(page_total_mapcount(&s->x->machine->frames, head + 1), 2);
	sound(s);
	assert_int_equal(mm_munmap(s->x->mm, B, M2), 0);
	assert_false(page_in_block(head));
	sound(s);
	expect_words(s, A + P, 1, N - 1);
}

static void a_child_gets_the_entry(void **state)
{
	struct scene *s = *state;
	struct mm *child;

	mapped(s, PROT_READ, MAP_PRIVATE);
	assert_int_equal(mm_fork(s->x->mm, &child), 0);
	struct mm *both[] = {s->x->mm, child};
	assert_int_equal(mm_check_host(host_of(s), both, 2, complain), 0);
	assert_int_equal(mm_counter(child, MM_FILEPAGES), 2 * N);
	assert_int_equal(atomic_load(&page_at(s, 0)->block_mapcount), 2);
	mmput(child);
	assert_int_equal(atomic_load(&page_at(s, 0)->block_mapcount), 1);
	sound(s);
}

static void moves_as_a_whole(void **state)
{
	struct scene *s = *state;

	mapped(s, PROT_READ, MAP_PRIVATE);
	assert_int_equal(mm_mremap(s->x->mm, A, M2, M2, MREMAP_MAYMOVE | MREMAP_FIXED, B), B);
	assert_int_equal(level_at(s->x->mm, B), 1);
	expect_words(s, B, 0, N);
	sound(s);
}

/* --- from the page's side ------------------------------------------------------------------------------------------- */

static void the_reverse_map_takes_it(void **state)
{
	struct scene *s = *state;
	struct page *page;

	mapped(s, PROT_READ, MAP_SHARED);
	page = filemap_find(&s->file.backing.cache, 9);
	assert_int_equal(rmap_count(host_of(s), page), 1);
	assert_int_equal(page_referenced(host_of(s), page), 1);
	assert_int_equal(page_mkclean(host_of(s), page), 0);
	assert_true(try_to_unmap(host_of(s), page));
	page_put(&s->x->machine->frames, page);
	assert_int_equal(level_at(s->x->mm, A), 99);
	assert_int_equal(mm_counter(s->x->mm, MM_FILEPAGES), N);
	sound(s);
	expect_words(s, A, 0, 2 * N);
}

static void it_does_not_migrate(void **state)
{
	struct scene *s = *state;
	struct frames *f = &s->x->machine->frames;

	mapped(s, PROT_READ, MAP_SHARED);
	struct page *to = page_alloc(f, GFP_HIGHUSER_MOVABLE, 0),
		    *from = filemap_find(&s->file.backing.cache, 9);
	assert_true(page_migrate(host_of(s), from, to) < 0);
	page_put(f, from);
	page_put(f, to);
	assert_int_equal(level_at(s->x->mm, A), 1);
	sound(s);
	expect_words(s, A, 0, 2 * N);
}

static void usage_says_so(void **state)
{
	struct scene *s = *state;
	struct vma_usage u = {0};

	mapped(s, PROT_READ, MAP_SHARED);
	vma_usage_add(vma_find(&s->x->mm->vmas, A), &u);
	assert_int_equal(u.file_huge, 2 * M2);
	assert_int_equal(u.anon_huge, 0);
	assert_int_equal(u.rss, 2 * M2);
	assert_int_equal(u.private_clean, 2 * M2);
}

/* What was not used for a while loses its entry, and then its frames. */
static void reclaim_takes_it(void **state)
{
	struct scene *s = *state;
	struct memcg *cg = s->x->mm->memcg;
	uint64_t before, freed = 0;

	mapped(s, PROT_READ, MAP_SHARED);
	before = filemap_nr_pages(&s->file.backing.cache);
	ageing_close(host_of(s), cg);
	ageing_close(host_of(s), cg);
	fixture_load(s->x, A + M2); /* this one is in use */
	ageing_close(host_of(s), cg);
	for (int i = 0; i < 16 && freed < FILE_PAGES - N; i++)
		freed += memcg_reclaim(host_of(s), cg, N, RECLAIM_KSWAPD);
	assert_int_equal(level_at(s->x->mm, A), 99);
	assert_int_equal(level_at(s->x->mm, A + M2), 1);
	assert_int_equal(filemap_nr_pages(&s->file.backing.cache), before - freed);
	assert_int_equal(freed, FILE_PAGES - N);
	sound(s);
	expect_words(s, A, 0, 2 * N);
}

/* A write that finds no memory for the table, or for the copy, changes nothing. */
static void any_failure_changes_nothing(void **state)
{
	struct scene *s = *state;
	struct frames *f = &s->x->machine->frames;
	uint64_t failed = atomic_load(&f->nr_fail);

	mapped(s, RW, MAP_PRIVATE);
	for (long n = 1; n <= 2; n++) {
		atomic_store(&f->fail_in, n);
		do_user_addr_fault(s->x->mm, A + (gva_t)(n - 1) * M2, PF_USER | PF_WRITE | PF_PROT);
		atomic_store(&f->fail_in, 0);
		sound(s);
	}
	assert_true(atomic_load(&f->nr_fail) - failed >= 2); /* the table, the copy */
	fixture_store(s->x, A, 5);
	fixture_store(s->x, A + M2, 5);
	expect_words(s, A + P, 1, N - 1);
	expect_words(s, A + M2 + P, N + 1, N - 1);
	sound(s);
}

#define CASE(title, fn)                                             \
	{title, fn, setup, teardown, NULL},                         \
	{                                                           \
		title " (shadow)", fn, setup_shadow, teardown, NULL \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE("file huge: 512 cached pages are one entry", a_cached_block_is_mapped_at_once),
		CASE("file huge: a walk through a file comes to whole blocks", a_walk_comes_to_blocks),
		CASE("file huge: frames, areas and rights that do not fit are served page by page",
		     where_it_does_not_fit),
		CASE("file huge: a write to a private page splits and copies",
		     a_private_write_copies_one_page),
		CASE("file huge: mprotect never makes the file's pages writable", rights_change_in_place),
		CASE("file huge: a part of it goes, the rest stays", parts_go),
		CASE("file huge: pages that leave the file leave whole entries behind them",
		     pages_leave_the_file),
		CASE("file huge: two places count as two, whichever goes first", two_places_share_a_block),
		CASE("file huge: a child has the same entries", a_child_gets_the_entry),
		CASE("file huge: mremap takes the entry along", moves_as_a_whole),
		CASE("file huge: the reverse map finds and takes the entry", the_reverse_map_takes_it),
		CASE("file huge: its frames stay where they are", it_does_not_migrate),
		CASE("file huge: smaps tells them apart", usage_says_so),
		CASE("file huge: what is not used goes", reclaim_takes_it),
		CASE("file huge: a failure of any allocation changes nothing", any_failure_changes_nothing),
	};

	return cmocka_run_group_tests_name("file_huge", tests, NULL, NULL);
}
