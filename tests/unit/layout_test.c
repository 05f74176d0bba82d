/* SPDX-License-Identifier: MIT */
/* Where Linux puts user and kernel (mm/layout.h), and spaces that keep to it. */
#include "../../src/mm/dump.h"
#include "../../src/mm/layout.h"
#include "../../src/mm/unmapped_area.h"
#include "../sim/fixture.h"

#define GB (1ull << 30)
#define MB (1ull << 20)
#define TB (1ull << 40)
#define RW (PROT_READ | PROT_WRITE)

static void ranges_ascend_and_are_disjoint(void **state)
{
	(void)state;
	for (unsigned int kind = 0; kind < NR_LAYOUTS; kind++) {
		const struct layout *l = &layout_table[kind];
		gva_t beyond = l->kernel_first;

		assert_true(l->nr > 0 && l->nr <= LAYOUT_MAX_RANGES);
		assert_true(l->task_size <= l->user_last + 1 && l->user_last < l->kernel_first);
		for (unsigned int i = 0; i < l->nr; i++) {
			const struct layout_range *r = &l->range[i];
			assert_true(r->first >= beyond && r->first < r->last);
			assert_int_equal((r->first | (r->last + 1)) & ~PAGE_MASK, 0);
			assert_ptr_equal(layout_find(l, r->first), r);
			assert_ptr_equal(layout_find(l, r->last), r);
			beyond = r->last + 1; /* 0 behind the last address: nothing may follow */
			assert_true(beyond || i + 1 == l->nr);
		}
		assert_null(layout_find(l, 0));
		assert_null(layout_find(l, l->user_last));
	}
}

/* A space with the 32-bit limits: what is mapped ends at 3 GB, searches from below begin at 1 GB. */
static void three_gigabytes_of_four(void **state)
{
	const struct layout *l = &layout_table[LAYOUT_I386];
	struct fixture *x = *state;

	assert_int_equal(l->task_size, 0xc0000000);
	assert_int_equal(l->user_last + 1, 3 * GB);
	assert_int_equal(4 * GB - l->kernel_first, GB);
	assert_int_equal(l->range[l->nr - 1].last, 0xffffffff);
	x->mm->task_size = l->task_size;
	x->mm->get_unmapped_area = arch_get_unmapped_area;
	assert_int_equal(fixture_map(x, 0xbffff000, 1, RW, MAP_FIXED), 0xbffff000);
	fixture_store(x, 0xbffffff8, 32);
	assert_int_equal(fixture_map(x, 0xc0000000, 1, RW, MAP_FIXED), -ENOMEM);
	assert_int_equal(fixture_map(x, 0xbffff000, 2, RW, MAP_FIXED), -ENOMEM);
	assert_int_equal(fixture_map(x, 0, 1, RW, 0), 0x40000000);
	assert_int_equal(fixture_map(x, 0, (3 * GB >> PAGE_SHIFT) + 1, RW, 0), -ENOMEM);
	assert_signal(x, SIM_LOAD, 0xc0000000, SIGSEGV, SEGV_MAPERR);
	assert_signal(x, SIM_STORE, 0xffffffff, SIGSEGV, SEGV_MAPERR);
	assert_int_equal(fixture_load(x, 0xbffffff8), 32);
	assert_mm_sound(x->mm);
}

static void two_halves_of_48_bits(void **state)
{
	const struct layout *l = &layout_table[LAYOUT_X86_64];
	struct fixture *x = *state;

	assert_int_equal(l->user_last, 0x00007fffffffffff);
	assert_int_equal(l->user_last + 1, 128 * TB);
	assert_int_equal(l->kernel_first, 0xffff800000000000);
	assert_int_equal(0 - l->kernel_first, 128 * TB);
	assert_int_equal(l->task_size, l->user_last + 1 - PAGE_SIZE);
	assert_int_equal(x->mm->task_size, l->task_size);
	assert_int_equal(fixture_map(x, l->task_size - PAGE_SIZE, 1, RW, MAP_FIXED),
			 l->task_size - PAGE_SIZE);
	assert_int_equal(fixture_map(x, l->task_size, 1, RW, MAP_FIXED), -ENOMEM);
	assert_signal(x, SIM_LOAD, l->user_last, SIGSEGV, SEGV_MAPERR);
	assert_signal(x, SIM_LOAD, l->user_last + 1, SIGSEGV, SI_KERNEL);
	assert_signal(x, SIM_LOAD, l->kernel_first - 1, SIGSEGV, SI_KERNEL);
	assert_signal(x, SIM_LOAD, l->kernel_first, SIGSEGV, SEGV_MAPERR);
}

struct expected_range {
	gva_t at;
	const char *name;
	uint64_t bytes;
};

static void expect_ranges(const struct layout *l, const struct expected_range *rows, unsigned int nr)
{
	for (unsigned int i = 0; i < nr; i++) {
		const struct layout_range *r = layout_find(l, rows[i].at);

		assert_non_null(r);
		assert_int_equal(r->first, rows[i].at);
		assert_string_equal(r->name, rows[i].name);
		assert_int_equal(r->last - r->first + 1, rows[i].bytes);
	}
}

static void kernel_map_before_4_20(void **state)
{
	static const struct expected_range rows[] = {
		{0xffff880000000000, "direct map", 64 * TB}, {0xffffc90000000000, "vmalloc", 32 * TB},
		{0xffffea0000000000, "vmemmap", TB},	     {0xffffffff80000000, "kernel text", 512 * MB},
		{0xffffffffa0000000, "modules", 1525 * MB},  {0xffffffffff600000, "vsyscall", 8 * MB},
		{0xffffffffffe00000, "unused", 2 * MB},
	};
	const struct layout *l = &layout_table[LAYOUT_X86_64_OLD];

	(void)state;
	assert_int_equal(l->nr, ARRAY_SIZE(rows));
	expect_ranges(l, rows, ARRAY_SIZE(rows));
	assert_int_equal(layout_find(l, 0xffffe8ffffffffff)->first, 0xffffc90000000000);
	assert_null(layout_find(l, 0xffffe90000000000));
}

static void kernel_map_of_5_11(void **state)
{
	static const struct expected_range rows[] = {
		{0xffff888000000000, "direct map", 64 * TB},
		{0xffffc90000000000, "vmalloc and stacks", 32 * TB},
		{0xffffea0000000000, "vmemmap", TB},
		{0xffffffff80000000, "kernel text", 512 * MB},
		{0xffffffffff600000, "vsyscall", PAGE_SIZE},
	};
	const struct layout *l = &layout_table[LAYOUT_X86_64];

	(void)state;
	expect_ranges(l, rows, ARRAY_SIZE(rows));
	assert_int_equal(layout_va(l, 0x10448b000), 0xffff88810448b000);
	assert_int_equal(layout_pa(l, 0xffff88810448b000), 0x10448b000);
	assert_int_equal(layout_va(&layout_table[LAYOUT_X86_64_OLD], 0x10448b000), 0xffff88010448b000);
	assert_int_equal(layout_pa(l, layout_va(l, 0)), 0);
	assert_int_equal(layout_pa(l, 0xffffffff81000000), 0x1000000);
	assert_int_equal(layout_pa(l, 0xffffea0004112ac0), ~0ull); /* a struct page has none of its own */
	assert_int_equal(layout_pa(l, 0x400000), ~0ull);
	assert_int_equal(layout_pa(&layout_table[LAYOUT_I386], 0xc0100000), 0x100000);
}

static void dump_has_the_layout(void **state)
{
	struct fixture *x = *state;
	char *text = NULL;
	size_t bytes = 0;
	FILE *out = open_memstream(&text, &bytes);

	mm_dump(x->mm, out);
	assert_int_equal(fclose(out), 0);
	assert_non_null(strstr(text, "layout x86-64, task_size 0x7ffffffff000\n"
				     "  0000000000000000-00007fffffffffff user\n"));
	assert_non_null(strstr(text, "  ffff888000000000-ffffc87fffffffff direct map\n"));
	assert_non_null(strstr(text, "  ffffffff80000000-ffffffff9fffffff kernel text\n"));
	free(text);
}

#define T(title, fn)                                             \
	{                                                        \
		title, fn, fixture_setup, fixture_teardown, NULL \
	}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		T("layout: 32 bits are split 3 to 1 at 0xc0000000, and a space keeps to it [F1]",
		  three_gigabytes_of_four),
		T("layout: 48 bits are two halves of 128 TiB, the user's one page less [F2]",
		  two_halves_of_48_bits),
		T("layout: the kernel's map until 4.19 [F3]", kernel_map_before_4_20),
		T("layout: the kernel's map of 5.11, and physical addresses in it [F4]", kernel_map_of_5_11),
		T("layout: ranges ascend and do not overlap [F3][F4]", ranges_ascend_and_are_disjoint),
		T("layout: a dump of a space names the ranges [F3]", dump_has_the_layout),
	};

	return cmocka_run_group_tests_name("layout", tests, NULL, NULL);
}
