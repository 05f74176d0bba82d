/* SPDX-License-Identifier: MIT */
/*
 * sysfs.c - /sys: huge pages, nodes and processors, as programs (libnuma, allocators, runtimes) read them.
 *
 * A guest has one processor. Of its nodes, those show that the host has a directory for.
 */
#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <string.h>

#include "../mm/vmstat.h"
#include "machine_memory.h"
#include "procfs.h"
#include "sysctl.h"
#include "task.h"

#define TRANSPARENT "kernel/mm/transparent_hugepage/"
#define HUGE_2M	    "kernel/mm/hugepages/hugepages-2048kB/"
#define HUGE_1G	    "kernel/mm/hugepages/hugepages-1048576kB/"
#define NODE	    "devices/system/node/"
#define CPU	    "devices/system/cpu/"

static int show_text(struct task *t, const struct proc_file *file, FILE *out)
{
	(void)t;
	fputs(file->data, out);
	return 0;
}

static int show_host(struct task *t, const struct proc_file *file, FILE *out)
{
	(void)t;
	return procfs_copy_host(file->data, out);
}

static int show_nodes(struct task *t, const struct proc_file *file, FILE *out)
{
	unsigned int nr = t->mm->frames->nr_nodes;

	(void)file;
	fputs("0", out);
	if (nr > 1)
		fprintf(out, "-%u", nr - 1);
	fputc('\n', out);
	return 0;
}

static int show_distance(struct task *t, const struct proc_file *file, FILE *out)
{
	const struct frames *f = t->mm->frames;

	for (unsigned int nid = 0; nid < f->nr_nodes; nid++)
		fprintf(out, "%s%u", nid ? " " : "", f->node[file->number].distance[nid]);
	fputc('\n', out);
	return 0;
}

static void row(FILE *out, const char *key, uint64_t pages)
{
	fprintf(out, "Node 0 %-15s %8" PRIu64 " kB\n", key, pages << (PAGE_SHIFT - 10));
}

/* The rows that a machine of one node has in common with /proc/meminfo. */
static int show_node_meminfo(struct task *t, const struct proc_file *file, FILE *out)
{
	struct machine_memory m;

	(void)file;
	machine_memory(t->mm, &m);
	row(out, "MemTotal:", m.total);
	row(out, "MemFree:", m.free);
	row(out, "MemUsed:", m.total - m.free);
	row(out, "Active:", m.active_anon + m.active_file);
	row(out, "Inactive:", m.inactive_anon + m.inactive_file);
	row(out, "Dirty:", m.dirty);
	row(out, "Writeback:", m.writeback);
	row(out, "FilePages:", m.cache);
	row(out, "Mapped:", m.mapped);
	row(out, "AnonPages:", m.anon);
	row(out, "Shmem:", m.shmem);
	row(out, "PageTables:", m.tables);
	return 0;
}

static int show_numastat(struct task *t, const struct proc_file *file, FILE *out)
{
	static const struct {
		const char *key;
		enum zone_stat stat;
	} rows[] = {{"numa_hit", NUMA_HIT},	    {"numa_miss", NUMA_MISS},
		    {"numa_foreign", NUMA_FOREIGN}, {"interleave_hit", NUMA_INTERLEAVE},
		    {"local_node", NUMA_LOCAL},	    {"other_node", NUMA_OTHER}};
	struct frames *f = t->mm->frames;

	for (unsigned int i = 0; i < ARRAY_SIZE(rows); i++) {
		uint64_t sum = 0;
		for (unsigned int type = 0; type < NR_ZONES; type++)
			sum += vmstat_zone(f, node_zone(f, (unsigned int)file->number, type), rows[i].stat);
		fprintf(out, "%s %" PRIu64 "\n", rows[i].key, sum);
	}
	return 0;
}

static const char *const thp_names[] = {
	[THP_MADVISE] = "madvise", [THP_ALWAYS] = "always", [THP_NEVER] = "never"};

static int show_thp(struct task *t, const struct proc_file *file, FILE *out)
{
	static const enum thp_mode order[] = {THP_ALWAYS, THP_MADVISE, THP_NEVER};

	(void)file;
	for (size_t i = 0; i < ARRAY_SIZE(order); i++)
		fprintf(out, order[i] == thp_mode(t->mm) ? "%s[%s]" : "%s%s", i ? " " : "",
			thp_names[order[i]]);
	fputc('\n', out);
	return 0;
}

/* For all spaces of the account. */
static int64_t write_thp(struct task *t, const struct proc_file *file, char *text, size_t bytes)
{
	(void)file;
	text[strcspn(text, "\n")] = 0;
	for (uint32_t i = 0; i < ARRAY_SIZE(thp_names); i++) {
		if (strcmp(text, thp_names[i]))
			continue;
		atomic_store(&t->mm->memcg->thp, i);
		return (int64_t)bytes;
	}
	return -EINVAL;
}

/* file->number: where in the counts. */
static int show_pool(struct task *t, const struct proc_file *file, FILE *out)
{
	struct hugetlb_pool_counts c = hugetlb_pool_counts(t->mm->frames, t->mm->memcg);
	uint64_t count;

	memcpy(&count, (const char *)&c + file->number, sizeof(count));
	fprintf(out, "%" PRIu64 "\n", count);
	return 0;
}

static int64_t write_pool_size(struct task *t, const struct proc_file *file, char *text, size_t bytes)
{
	int64_t nr;

	(void)file;
	if (sysctl_parse_whole(text, &nr) || nr < 0)
		return -EINVAL;
	hugetlb_pool_resize(t->mm->frames, t->mm->memcg, (uint64_t)nr);
	return (int64_t)bytes;
}

static int64_t write_pool_overcommit(struct task *t, const struct proc_file *file, char *text, size_t bytes)
{
	int64_t nr;

	(void)file;
	if (sysctl_parse_whole(text, &nr) || nr < 0)
		return -EINVAL;
	hugetlb_pool_set_overcommit(t->mm->memcg, (uint64_t)nr);
	return (int64_t)bytes;
}

#define TEXT(path, text)                                      \
	{                                                     \
		.name = path, .show = show_text, .data = text \
	}

/* The processors are the host's. */
#define HOST(path)                                                    \
	{                                                             \
		.name = path, .show = show_host, .data = "/sys/" path \
	}

const struct proc_file sysfs_files[] = {
	{.name = TRANSPARENT "enabled", .show = show_thp, .write = write_thp},
	TEXT(TRANSPARENT "hpage_pmd_size", "2097152\n"),
	{.name = HUGE_2M "nr_hugepages",
	 .show = show_pool,
	 .write = write_pool_size,
	 .number = offsetof(struct hugetlb_pool_counts, total)},
	{.name = HUGE_2M "free_hugepages",
	 .show = show_pool,
	 .number = offsetof(struct hugetlb_pool_counts, free)},
	{.name = HUGE_2M "resv_hugepages",
	 .show = show_pool,
	 .number = offsetof(struct hugetlb_pool_counts, reserved)},
	{.name = HUGE_2M "surplus_hugepages",
	 .show = show_pool,
	 .number = offsetof(struct hugetlb_pool_counts, surplus)},
	{.name = HUGE_2M "nr_overcommit_hugepages",
	 .show = show_pool,
	 .write = write_pool_overcommit,
	 .number = offsetof(struct hugetlb_pool_counts, overcommit)},
	TEXT(HUGE_1G "nr_hugepages", "0\n"),
	TEXT(HUGE_1G "free_hugepages", "0\n"),
	TEXT(HUGE_1G "resv_hugepages", "0\n"),
	TEXT(HUGE_1G "surplus_hugepages", "0\n"),
	TEXT(HUGE_1G "nr_overcommit_hugepages", "0\n"),
	{.name = NODE "online", .show = show_nodes},
	{.name = NODE "possible", .show = show_nodes},
	{.name = NODE "has_memory", .show = show_nodes},
	{.name = NODE "has_normal_memory", .show = show_nodes},
	TEXT(NODE "has_cpu", "0\n"),
	{.name = NODE "node0/meminfo", .show = show_node_meminfo},
	{.name = NODE "node0/distance", .show = show_distance},
	{.name = NODE "node0/numastat", .show = show_numastat},
	HOST(NODE "node0/cpulist"),
	HOST(NODE "node0/cpumap"),
	HOST(CPU "online"),
	HOST(CPU "possible"),
	HOST(CPU "present"),
	HOST(CPU "offline"),
	{0},
};
