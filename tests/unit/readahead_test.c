/* SPDX-License-Identifier: MIT */
/* Read-ahead: which windows a row of faults leads to, as a log of them, and what faults on a file cost then. */
#include "../../src/mm/readahead.h"
#include "../sim/disk.h"

#define A	   0x10000000ull /* a multiple of 2 MiB */
#define P	   PAGE_SIZE

/* --- decisions alone: faults on pages of a file of which everything in a window is read and mapped ------------------ */

#define FILE_PAGES 16384

struct log {
	struct file_ra_state ra;
	uint64_t vm_flags, vpn_of_0;
	uint32_t around, max;
	bool cached[FILE_PAGES], marked[FILE_PAGES];
	char text[1024];
};

static struct log *log_new(void)
{
	struct log *l = calloc(1, sizeof(*l));

	l->around = 64;
	l->max = 512;
	return l;
}

static void note(struct log *l, const char *kind, struct ra_window w)
{
	size_t at = strlen(l->text);

	if (w.mark - w.first < w.nr_pages)
		snprintf(l->text + at, sizeof(l->text) - at, "%s %llu+%u!%llu; ", kind,
			 (unsigned long long)w.first, w.nr_pages, (unsigned long long)w.mark);
	else
		snprintf(l->text + at, sizeof(l->text) - at, "%s %llu+%u; ", kind,
			 (unsigned long long)w.first, w.nr_pages);
	for (uint64_t i = w.first; i < w.first + w.nr_pages && i < FILE_PAGES; i++)
		l->cached[i] = true;
	if (w.mark - w.first < w.nr_pages && w.mark < FILE_PAGES)
		l->marked[w.mark] = true;
}

static void touch(struct log *l, uint64_t index)
{
	uint64_t vpn = l->vpn_of_0 + index, first = max_u64(vpn / l->around * l->around, l->vpn_of_0);
	const struct ra_request r = {.index = index,
				     .around_first = first - l->vpn_of_0,
				     .around_pages =
					     (uint32_t)(vpn / l->around * l->around + l->around - first),
				     .max_pages = l->max,
				     .vpn = vpn,
				     .vm_flags = l->vm_flags};

	if (!l->cached[index]) {
		note(l, "miss", readahead_sync(&l->ra, &r));
	} else if (l->marked[index]) {
		l->marked[index] = false;
		struct ra_window w = readahead_async(&l->ra, &r);
		if (w.nr_pages)
			note(l, "mark", w);
	}
}

static void walk(struct log *l, uint64_t first, uint64_t end)
{
	for (uint64_t i = first; i < end; i++)
		touch(l, i);
}

static void assert_log(struct log *l, const char *expected)
{
	assert_string_equal(l->text, expected);
	free(l);
}

static void a_sequence_grows(void **state)
{
	struct log *l = log_new();

	(void)state;
	walk(l, 0, 2048);
	assert_log(l, "miss 0+64; miss 64+192!128; mark 256+256!256; mark 512+512!512; "
		      "mark 1024+512!1024; mark 1536+512!1536; mark 2048+512!2048; ");
}

static void small_windows_grow_by_four(void **state)
{
	struct log *l = log_new();

	(void)state;
	l->around = 4;
	walk(l, 0, 256);
	assert_log(l, "miss 0+4; miss 4+60!16; mark 64+64!64; mark 128+128!128; mark 256+256!256; ");
}

static void random_stays_small(void **state)
{
	struct log *l = log_new();

	(void)state;
	touch(l, 1000);
	touch(l, 100);
	touch(l, 7000);
	touch(l, 5001);
	assert_log(l, "miss 960+64; miss 64+64; miss 6976+64; miss 4992+64; ");
}

static void a_jump_ends_the_sequence(void **state)
{
	struct log *l = log_new();

	(void)state;
	walk(l, 0, 129);
	touch(l, 8000);
	touch(l, 8064);
	assert_log(l, "miss 0+64; miss 64+192!128; mark 256+256!256; miss 8000+64; miss 8064+384!8192; ");
}

static void advice_doubles(void **state)
{
	struct log *l = log_new();

	(void)state;
	l->vm_flags = VM_SEQ_READ;
	walk(l, 0, 2049);
	assert_log(l, "miss 0+256!128; mark 256+256!256; mark 512+512!512; mark 1024+1024!1024; "
		      "mark 2048+1024!2048; mark 3072+1024!3072; ");
}

static void advice_forbids(void **state)
{
	struct log *l = log_new();

	(void)state;
	l->vm_flags = VM_RAND_READ;
	walk(l, 0, 3);
	l->marked[1] = true;
	touch(l, 1);
	assert_log(l, "miss 0+1; miss 1+1; miss 2+1; ");
}

/* The area begins at page 3 of a table: windows end where tables end. */
static void windows_end_with_tables(void **state)
{
	struct log *l = log_new();

	(void)state;
	l->vpn_of_0 = 3;
	walk(l, 0, 1100);
	assert_log(l, "miss 0+61; miss 61+192!125; mark 253+256!253; mark 509+512!509; mark 1021+512!1021; "
		      "mark 1533+512!1533; ");
}

static void one_page_is_one_page(void **state)
{
	struct log *l = log_new();

	(void)state;
	l->around = l->max = 1;
	walk(l, 0, 3);
	assert_log(l, "miss 0+1; miss 1+1; miss 2+1; ");
}

/* A mark that another area made, after this one has read elsewhere. */
static void a_foreign_mark(void **state)
{
	struct log *l = log_new();

	(void)state;
	touch(l, 8000);
	l->cached[256] = l->marked[256] = true;
	touch(l, 256);
	assert_log(l, "miss 8000+64; mark 320+64!320; ");
}

/* --- through faults -------------------------------------------------------------------------------------------------- */

struct ahead {
	struct fixture *x;
	struct sim_disk *disk;
};

static int setup(void **state)
{
	struct ahead *a = calloc(1, sizeof(*a));

	a->x = fixture_new(NULL);
	a->disk = a->x ? sim_disk_new(a->x->machine, 256 * P) : NULL;
	*state = a;
	return a->disk ? 0 : -1;
}

static int teardown(void **state)
{
	struct ahead *a = *state;
	unsigned int bad = filemap_check(&a->disk->backing.cache);

	mm_munmap(a->x->mm, 0x10000, TASK_SIZE - 0x10000);
	backing_put(&a->disk->backing);
	bad += fixture_free(a->x) != 0;
	sim_disk_free(a->disk);
	free(a);
	return bad ? -1 : 0;
}

static uint64_t faults(const struct ahead *a)
{
	return a->x->mm->maj_flt + a->x->mm->min_flt;
}

static void dense_walk(void **state)
{
	struct ahead *a = *state;

	a->x->mm->fault_around_pages = 64;
	fixture_map_disk(a->x, a->disk, A, 256, 0, PROT_READ, MAP_PRIVATE | MAP_FIXED);
	for (uint64_t i = 0; i < 256; i++)
		assert_int_equal(fixture_load(a->x, A + i * P) & 0xff, sim_disk_byte(i * P));
	assert_int_equal(a->x->mm->maj_flt, 2); /* 0, and 64, which brings 128 along */
	assert_int_equal(a->x->mm->min_flt, 2); /* the marks */
	assert_int_equal(a->disk->read_bytes, 256 * P);
	assert_mm_sound(a->x->mm);
}

/* What is cached already is mapped in windows that grow: 64, 128 and the rest. */
static void warm_walk(void **state)
{
	struct ahead *a = *state;

	filemap_readahead(&a->disk->backing.cache, 0, 256, a->x->mm->memcg);
	a->x->mm->fault_around_pages = 512;
	fixture_map_disk(a->x, a->disk, A, 256, 0, PROT_READ, MAP_PRIVATE | MAP_FIXED);
	for (uint64_t i = 0; i < 256; i++)
		fixture_load(a->x, A + i * P);
	assert_int_equal(faults(a), 3);
	assert_int_equal(a->x->mm->maj_flt, 0);
}

static void a_marked_page_faults(void **state)
{
	struct ahead *a = *state;
	struct address_space *as = &a->disk->backing.cache;

	filemap_readahead(as, 0, 16, a->x->mm->memcg);
	filemap_mark_readahead(as, 8);
	filemap_mark_readahead(as, 200); /* not there: nothing happens */
	a->x->mm->fault_around_pages = 16;
	fixture_map_disk(a->x, a->disk, A, 256, 0, PROT_READ, MAP_PRIVATE | MAP_FIXED);
	fixture_load(a->x, A);
	assert_int_not_equal(fixture_pte(a->x, A + 7 * P), 0);
	assert_int_equal(fixture_pte(a->x, A + 8 * P), 0);
	assert_int_not_equal(fixture_pte(a->x, A + 9 * P), 0);
	assert_int_equal(filemap_nr_pages(as), 16);
	fixture_load(a->x, A + 8 * P);
	assert_true(filemap_nr_pages(as) > 16);
	assert_int_equal(a->x->mm->maj_flt, 0);
}

static void willneed(void **state)
{
	struct ahead *a = *state;

	fixture_map_disk(a->x, a->disk, A, 256, 0, PROT_READ, MAP_PRIVATE | MAP_FIXED);
	assert_int_equal(mm_madvise(a->x->mm, A + 10 * P, 100 * P, MADV_WILLNEED), 0);
	assert_int_equal(filemap_nr_pages(&a->disk->backing.cache), 100);
	assert_in_range(a->disk->reads, 1, 16);
	for (uint64_t i = 10; i < 110; i++)
		fixture_load(a->x, A + i * P);
	assert_int_equal(a->x->mm->maj_flt, 0);
	fixture_load(a->x, A);
	assert_int_equal(a->x->mm->maj_flt, 1);
}

/* Leaves frames that have been used where the next blocks of this order come from. */
static void scribble(struct frames *f, unsigned int order)
{
	struct page *block[64];

	for (unsigned int i = 0; i < 64; i++) {
		block[i] = page_alloc(f, GFP_TRANSHUGE_LIGHT, order);
		assert_non_null(block[i]);
		memset(page_address(f, block[i]), 0xa5, PAGE_SIZE << order);
	}
	for (unsigned int i = 0; i < 64; i++)
		page_free_block(f, block[i], order);
}

static void a_tail_is_zero(void **state)
{
	struct ahead *a = *state;

	scribble(&a->x->machine->frames, 1); /* where the end of the file will come */
	a->disk->bytes = 9 * P + 100;
	filemap_readahead(&a->disk->backing.cache, 0, 64, a->x->mm->memcg);
	assert_int_equal(filemap_nr_pages(&a->disk->backing.cache), 10);
	struct page *page = filemap_find(&a->disk->backing.cache, 9);
	const uint8_t *data = page_address(&a->x->machine->frames, page);
	assert_int_equal(data[99], sim_disk_byte(9 * P + 99));
	for (uint64_t i = 100; i < P; i++)
		assert_int_equal(data[i], 0);
	page_put(&a->x->machine->frames, page);
}

/* Any allocation of a fault that reads ahead may fail: the page comes all the same or the fault says so, and nothing leaks. */
static void fail_the_nth(void **state)
{
	struct ahead *a = *state;
	struct frames *f = &a->x->machine->frames;
	unsigned int failed = 0;

	a->x->mm->fault_around_pages = 64;
	for (unsigned int n = 1; n < 12; n++) {
		uint64_t was = f->nr_fail, value;
		fixture_map_disk(a->x, a->disk, A, 256, 0, PROT_READ, MAP_PRIVATE | MAP_FIXED);
		f->fail_in = n;
		for (uint64_t i = 0; i < 256; i += 16)
			sim_load(a->x->cpu, A + i * P, &value, 8);
		f->fail_in = 0;
		failed += f->nr_fail != was;
		assert_mm_sound(a->x->mm);
		assert_int_equal(filemap_check(&a->disk->backing.cache), 0);
		mm_munmap(a->x->mm, A, 256 * P);
		filemap_drop(&a->disk->backing.cache, 0, ~0ull);
		assert_int_equal(filemap_nr_pages(&a->disk->backing.cache), 0);
	}
	assert_true(failed >= 4);
}

#define T(name, fn)                             \
	{                                       \
		name, fn, setup, teardown, NULL \
	}
#define W(name, fn)                        \
	{                                  \
		name, fn, NULL, NULL, NULL \
	}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		W("readahead: a sequence grows to the widest window, one mark for each [L14]",
		  a_sequence_grows),
		W("readahead: small windows grow by four [L14]", small_windows_grow_by_four),
		W("readahead: misses at random read what is mapped around them [L14]", random_stays_small),
		W("readahead: a jump begins anew [L14]", a_jump_ends_the_sequence),
		W("readahead: MADV_SEQUENTIAL doubles [L14]", advice_doubles),
		W("readahead: MADV_RANDOM reads single pages [L14]", advice_forbids),
		W("readahead: windows end where tables do", windows_end_with_tables),
		W("readahead: no window is wider than allowed", one_page_is_one_page),
		W("readahead: a mark of somebody else's is followed", a_foreign_mark),
		T("readahead: a dense walk has a fault for each window, and most find their page [L14] [K18]",
		  dense_walk),
		T("readahead: a warm file is mapped in windows that grow [K17] [K19]", warm_walk),
		T("readahead: a marked page is not mapped around, and its fault reads on [L14]",
		  a_marked_page_faults),
		T("readahead: MADV_WILLNEED reads the whole range [L14] [K18]", willneed),
		T("readahead: behind the end of a file are zeroes", a_tail_is_zero),
		T("readahead: any single failed allocation leaves all sound", fail_the_nth),
	};

	return cmocka_run_group_tests_name("readahead", tests, NULL, NULL);
}
