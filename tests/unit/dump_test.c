/* SPDX-License-Identifier: MIT */
/* dump_test.c - the state of a space as text (mm/dump.h), with the values that the checklist's recordings have. */
#include "../../src/mm/dump.h"
#include "../../src/mm/fault.h"
#include "../sim/fixture.h"

#define AT 0x7ffff7ff9000ul

/* What was printed, to be freed. */
struct text {
	char *bytes;
	size_t n;
	FILE *out;
};

static void text_open(struct text *t)
{
	t->out = open_memstream(&t->bytes, &t->n);
	assert_non_null(t->out);
}

static void text_close(struct text *t)
{
	assert_int_equal(fclose(t->out), 0);
}

static void expect(const struct text *t, const char *part)
{
	if (!strstr(t->bytes, part))
		fail_msg("no '%s' in:\n%s", part, t->bytes);
}

/* The last hexadecimal number behind a word. */
static uint64_t number_behind(const struct text *t, const char *word)
{
	const char *at = strstr(t->bytes, word);

	if (!at)
		fail_msg("no '%s' in:\n%s", word, t->bytes);
	return strtoull(at + strlen(word), NULL, 16);
}

static void addresses(void **state)
{
	static const struct {
		gva_t address;
		const char *text;
	} rows[] = {
		{AT, "sign 0, PML4 255, PDPT 511, PD 447, PT 505, offset 0\n"},
		{0x7ffffffde000, "PML4 255, PDPT 511, PD 511, PT 478, offset 0\n"},
		{0x400000, "PML4 0, PDPT 0, PD 2, PT 0, offset 0\n"},
		{0x4bc123, "PD 2, PT 188, offset 0x123\n"},
		{0x4be000, "PT 190, offset 0\n"},
		{0x4c7000, "PT 199, offset 0\n"},
		{0xffff888104494000, "sign 0xffff, PML4 273, "},
	};

	(void)state;
	for (unsigned int i = 0; i < ARRAY_SIZE(rows); i++) {
		struct text t;
		text_open(&t);
		address_dump(rows[i].address, 4, t.out);
		text_close(&t);
		expect(&t, rows[i].text);
		free(t.bytes);
	}
}

static void dump_tables(struct fixture *x, struct text *t)
{
	text_open(t);
	pgtable_dump(x->mm, AT, AT + PAGE_SIZE, t->out);
	text_close(t);
}

/* Nothing but the root; then the zero page read; then a page written: slot, flags and words. */
static void tables_before_and_after(void **state)
{
	struct fixture *x = *state;
	struct text t;

	fixture_map(x, AT, 1, PROT_READ | PROT_WRITE, MAP_FIXED);
	dump_tables(x, &t);
	expect(&t, "PML4, 0 tables below\n");
	assert_null(strstr(t.bytes, "PTE["));
	free(t.bytes);
	fixture_load(x, AT);
	dump_tables(x, &t);
	expect(&t, "PML4, 3 tables below\nPML4E[255] ");
	expect(&t, "\n  PDPTE[511] ");
	expect(&t, "\n    PDE[447] ");
	expect(&t, "\n      PTE[505] ");
	expect(&t, "P|US|A|SPECIAL|XD\n");
	assert_int_equal(number_behind(&t, " PTE[505] ") & 0x8000000000000fff, 0x8000000000000225);
	free(t.bytes);
	fixture_store(x, AT, 10);
	dump_tables(x, &t);
	assert_int_equal(number_behind(&t, " PTE[505] ") & 0x8000000000000fff, 0x8000000000000067);
	assert_int_equal(number_behind(&t, " PTE[505] "), fixture_pte(x, AT));
	expect(&t, "P|RW|US|A|D|XD\n");
	uint64_t slot = strtoull(strstr(strstr(t.bytes, " PTE[505] "), " at ") + 4, NULL, 16);
	assert_int_equal(slot & 0xfff, 505 * 8);
	free(t.bytes);
}

static void file_entry(void **state)
{
	struct fixture *x = *state;
	static struct sim_file file;
	struct text t;

	sim_file_init(&file, x->machine, PAGE_SIZE);
	fixture_map_file(x, &file, AT, 1, 0, PROT_READ, MAP_SHARED | MAP_FIXED);
	fixture_load(x, AT);
	dump_tables(x, &t);
	assert_int_equal(number_behind(&t, " PTE[505] ") & 0x8000000000000fff, 0x8000000000000025);
	expect(&t, "P|US|A|XD\n");
	free(t.bytes);
	mm_munmap(x->mm, AT, PAGE_SIZE);
	backing_put(&file.backing);
}

static void areas(void **state)
{
	static const char *const fields[] = {"vma ",
					     " start 0x7ffff7ff9000 end 0x7ffff7ffb000 mm ",
					     " next ",
					     " prev ",
					     "subtree_gap",
					     "prot 0x8000000000000025",
					     " anon_vma ",
					     " vm_ops ",
					     " pgoff 0x7ffff7ff9",
					     " file ",
					     " mapping ",
					     " private_data ",
					     "(rw-p) path -"};
	struct fixture *x = *state;
	struct text t;

	fixture_map(x, AT, 2, PROT_READ | PROT_WRITE, MAP_FIXED);
	text_open(&t);
	mm_dump_areas(x->mm, t.out);
	text_close(&t);
	for (unsigned int i = 0; i < ARRAY_SIZE(fields); i++)
		expect(&t, fields[i]);
	free(t.bytes);
}

static void space(void **state)
{
	static const char *const fields[] = {"task_size 0x7ffffffff000",
					     "mmap_base ",
					     "pgd ",
					     "mm_users 1",
					     "mm_count 1",
					     "map_count 1",
					     "total_vm 4 ",
					     "data_vm 4 ",
					     "exec_vm 0",
					     "stack_vm 0",
					     "locked_vm 0",
					     "hiwater_rss 3",
					     "anon 3 ",
					     "start_code ",
					     "end_code ",
					     "start_data ",
					     "end_data ",
					     "start_brk ",
					     " brk ",
					     "start_stack ",
					     "arg_start ",
					     "arg_end ",
					     "env_start ",
					     "env_end ",
					     "faults 3 minor 0 major"};
	struct fixture *x = *state;
	struct text t;

	fixture_map(x, AT, 4, PROT_READ | PROT_WRITE, MAP_FIXED);
	for (unsigned int i = 0; i < 3; i++)
		fixture_store(x, AT + i * PAGE_SIZE, i);
	text_open(&t);
	mm_dump(x->mm, t.out);
	text_close(&t);
	for (unsigned int i = 0; i < ARRAY_SIZE(fields); i++)
		expect(&t, fields[i]);
	free(t.bytes);
}

static void pages(void **state)
{
	struct fixture *x = *state;
	char pfn[32];
	struct text t;

	fixture_map(x, AT, 2, PROT_READ | PROT_WRITE, MAP_FIXED);
	fixture_store(x, AT, 1);
	fixture_load(x, AT + PAGE_SIZE);
	text_open(&t);
	mm_dump_pages(x->mm, t.out);
	text_close(&t);
	expect(&t, "0x7ffff7ff9000 ");
	expect(&t, "0x7ffff7ffa000 ");
	expect(&t, "page refcount 1 mapcount 1 mapping ");
	snprintf(pfn, sizeof(pfn), " pfn %#lx\n", pte_pfn(fixture_pte(x, AT)));
	expect(&t, pfn);
	expect(&t, "  anon flags ");
	expect(&t, "zone Normal");
	expect(&t, "reserved");
	free(t.bytes);
}

/* A fault's fields before and after: the zero page, and the page that a write puts in its place. */
static void faults(void **state)
{
	struct fixture *x = *state;
	struct vmf_view untouched, read, written;
	char line[512], part[64];

	fixture_map(x, AT - 2 * PAGE_SIZE, 3, PROT_READ | PROT_WRITE, MAP_FIXED);
	vmf_read(x->mm, AT + 5, &untouched);
	assert_int_equal(untouched.address, AT);
	assert_int_equal(untouched.entry[3] | untouched.slot, 0);
	fixture_load(x, AT);
	vmf_read(x->mm, AT, &read);
	assert_int_equal(read.slot & 0xfff, 505 * 8);
	fixture_store(x, AT, 1);
	vmf_read(x->mm, AT, &written);
	vmf_string(&untouched, &read, 0x254, line, sizeof(line));
	assert_non_null(strstr(line, "vmf vma 0x7ffff7ff7000-0x7ffff7ffa000("));
	assert_non_null(strstr(line, " flags 0x254 gfp_mask 0x"));
	assert_non_null(strstr(line, " pgoff 0x7ffff7ff9 address 0x7ffff7ff9000 pud 0x"));
	assert_non_null(strstr(line, " pmd 0->0x"));
	assert_non_null(strstr(line, " orig_pte 0 cow_page 0 page 0 pte 0x8000"));
	assert_non_null(strstr(line, " ptl 0x"));
	assert_non_null(strstr(line, " prealloc_pte 0"));
	vmf_string(&read, &written, 0x255, line, sizeof(line));
	snprintf(part, sizeof(part), " orig_pte %#lx cow_page %#lx page %#lx pte %#lx", read.entry[0],
		 pte_pfn(written.entry[0]), pte_pfn(written.entry[0]), written.entry[0]);
	assert_non_null(strstr(line, part));
	vmf_read(x->mm, 0xffff800000000000, &read); /* beyond every space */
	assert_int_equal(read.vma_end | read.entry[0], 0);
}

#define S(title, fn)                                             \
	{                                                        \
		title, fn, fixture_setup, fixture_teardown, NULL \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		S("dump: an address in its parts [B8]", addresses),
		S("dump: page tables before and after a read and a write [R9][B20][B21][B23]",
		  tables_before_and_after),
		S("dump: the entry of a file page that was read [B22][R9]", file_entry),
		S("dump: every field of an area [H3]", areas),
		S("dump: a space's layout and counts [G2][G14][G16]", space),
		S("dump: pages by address, entry and frame [R10][B5]", pages),
		S("dump: what a fault finds and leaves [K26][R9]", faults),
	};

	return cmocka_run_group_tests_name("dump", tests, NULL, NULL);
}
