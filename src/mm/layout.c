/* SPDX-License-Identifier: MIT */
/*
 * layout.c - see layout.h. The numbers are those of Linux's Documentation/x86/x86_64/mm.rst, of its predecessor mm.txt, and of
 * PAGE_OFFSET with CONFIG_VMSPLIT_3G.
 */
#include <inttypes.h>

#include "layout.h"

#define DIRECT_MAP "direct map"
#define TEXT	   "kernel text"

const struct layout layout_table[NR_LAYOUTS] = {
	[LAYOUT_I386] =
		{
			.name = "i386",
			.task_size = 0xc0000000,
			.user_last = 0xbfffffff,
			.kernel_first = 0xc0000000,
			.page_offset = 0xc0000000,
			.nr = 2,
			.range =
				{
					{DIRECT_MAP, 0xc0000000, 0xf7ffffff},
					{"vmalloc, kmap and fixmap", 0xf8000000, 0xffffffff},
				},
		},
	[LAYOUT_X86_64_OLD] =
		{
			.name = "x86-64 before Linux 4.20",
			.task_size = TASK_SIZE,
			.user_last = 0x00007fffffffffff,
			.kernel_first = 0xffff800000000000,
			.page_offset = 0xffff880000000000,
			.text = 0xffffffff80000000,
			.nr = 7,
			.range =
				{
					{DIRECT_MAP, 0xffff880000000000, 0xffffc7ffffffffff},
					{"vmalloc", 0xffffc90000000000, 0xffffe8ffffffffff},
					{"vmemmap", 0xffffea0000000000, 0xffffeaffffffffff},
					{TEXT, 0xffffffff80000000, 0xffffffff9fffffff},
					{"modules", 0xffffffffa0000000, 0xffffffffff4fffff},
					{"vsyscall", 0xffffffffff600000, 0xffffffffffdfffff},
					{"unused", 0xffffffffffe00000, 0xffffffffffffffff},
				},
		},
	[LAYOUT_X86_64] =
		{
			.name = "x86-64",
			.task_size = TASK_SIZE,
			.user_last = 0x00007fffffffffff,
			.kernel_first = 0xffff800000000000,
			.page_offset = 0xffff888000000000,
			.text = 0xffffffff80000000,
			.nr = 12,
			.range =
				{
					{"hypervisor", 0xffff800000000000, 0xffff87ffffffffff},
					{"LDT", 0xffff880000000000, 0xffff887fffffffff},
					{DIRECT_MAP, 0xffff888000000000, 0xffffc87fffffffff},
					{"vmalloc and stacks", 0xffffc90000000000, 0xffffe8ffffffffff},
					{"vmemmap", 0xffffea0000000000, 0xffffeaffffffffff},
					{"KASAN", 0xffffec0000000000, 0xfffffbffffffffff},
					{"cpu_entry_area", 0xfffffe0000000000, 0xfffffe7fffffffff},
					{"espfix", 0xffffff0000000000, 0xffffff7fffffffff},
					{"EFI", 0xffffffef00000000, 0xfffffffeffffffff},
					{TEXT, 0xffffffff80000000, 0xffffffff9fffffff},
					{"modules", 0xffffffffa0000000, 0xfffffffffeffffff},
					{"vsyscall", 0xffffffffff600000, 0xffffffffff600fff},
				},
		},
};

const struct layout_range *layout_find(const struct layout *l, gva_t address)
{
	for (unsigned int i = 0; i < l->nr; i++) {
		const struct layout_range *r = &l->range[i];

		if (address >= r->first && address <= r->last)
			return r;
	}
	return NULL;
}

gva_t layout_va(const struct layout *l, gpa_t physical)
{
	return l->page_offset + physical;
}

gpa_t layout_pa(const struct layout *l, gva_t address)
{
	const struct layout_range *r = layout_find(l, address);

	if (r && r->first == l->page_offset)
		return address - l->page_offset;
	if (r && l->text && r->first == l->text)
		return address - l->text;
	return ~0ull;
}

static void line(FILE *out, gva_t first, gva_t last, const char *name)
{
	fprintf(out, "  %016" PRIx64 "-%016" PRIx64 " %s\n", first, last, name);
}

void layout_dump(const struct layout *l, FILE *out)
{
	fprintf(out, "layout %s, task_size %#" PRIx64 "\n", l->name, l->task_size);
	line(out, 0, l->user_last, "user");
	for (unsigned int i = 0; i < l->nr; i++)
		line(out, l->range[i].first, l->range[i].last, l->range[i].name);
}
