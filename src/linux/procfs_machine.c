/* SPDX-License-Identifier: MIT */
/*
 * procfs_machine.c - files of /proc that tell of the machine, as far as a guest's machine is its space.
 *
 * Its memory is what the space may own, used by what it owns; frames, zones and their counters are those of all spaces of
 * one host together. It has one processor. What is not here (version, filesystems, uptime ...) is the host's own file.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "../mm/account.h"
#include "../mm/census.h"
#include "../mm/lock.h"
#include "../mm/vmstat.h"
#include "machine_memory.h"
#include "procfs.h"
#include "procfs_mem.h"
#include "task.h"

#define TICKS_PER_S 100u

void machine_memory(struct mm *mm, struct machine_memory *m)
{
	struct memcg_census c;
	struct mm_sizes s;

	census_memcg(mm->frames, mm->memcg, &c);
	mm_read_lock(mm);
	mm_sizes(mm, &s);
	mm_read_unlock(mm);
	uint64_t shmem = min_u64((uint64_t)mm_counter(mm, MM_SHMEMPAGES), c.cache);
	*m = (struct machine_memory){
		.total = mm->memcg->max_pages,
		.free = memcg_room(mm->memcg),
		.cache = c.cache,
		.shmem = shmem,
		.active_anon = c.active_anon,
		.inactive_anon = c.anon + shmem - c.active_anon,
		.active_file = c.active_cache,
		.inactive_file = c.cache - shmem - min_u64(c.active_cache, c.cache - shmem),
		.locked = s.locked,
		.dirty = c.dirty,
		.writeback = c.writeback,
		.anon = c.anon,
		.anon_huge = c.anon_huge,
		.mapped = c.mapped,
		.tables = c.tables,
		.committed = (uint64_t)atomic_load(&mm->memcg->committed_pages),
		.commit_limit = vm_commit_limit(mm),
	};
	m->available = m->free + (c.cache - c.mapped);
}

/* --- meminfo --------------------------------------------------------------------------------- */

static void row(FILE *out, const char *key, uint64_t pages)
{
	fprintf(out, "%-15s %8" PRIu64 " kB\n", key, pages << (PAGE_SHIFT - 10));
}

static void rows_of_nothing(FILE *out, const char *const *keys, size_t nr)
{
	for (size_t i = 0; i < nr; i++)
		row(out, keys[i], 0);
}

/* In the kernel's order. */
static void show_lru(FILE *out, const struct machine_memory *m)
{
	row(out, "Active:", m->active_anon + m->active_file);
	row(out, "Inactive:", m->inactive_anon + m->inactive_file);
	row(out, "Active(anon):", m->active_anon);
	row(out, "Inactive(anon):", m->inactive_anon);
	row(out, "Active(file):", m->active_file);
	row(out, "Inactive(file):", m->inactive_file);
	row(out, "Unevictable:", m->locked);
	row(out, "Mlocked:", m->locked);
}

static int show_meminfo(struct task *t, const struct proc_file *file, FILE *out)
{
	static const char *const slab[] = {"KReclaimable:", "Slab:", "SReclaimable:", "SUnreclaim:",
					   "KernelStack:"};
	static const char *const rest[] = {"SecPageTables:", "NFS_Unstable:", "Bounce:", "WritebackTmp:"};
	static const char *const large[] = {"ShmemHugePages:", "ShmemPmdMapped:", "FileHugePages:",
					    "FilePmdMapped:", "Balloon:"};
	static const char *const pool_rows[] = {"Total:", "Free:", "Rsvd:", "Surp:"};
	struct hugetlb_pool_counts huge = hugetlb_pool_counts(t->mm->frames, t->mm->memcg);
	struct machine_memory m;
	struct swap_totals swap;

	(void)file;
	machine_memory(t->mm, &m);
	swap_totals(t->mm->host, &swap);
	row(out, "MemTotal:", m.total);
	row(out, "MemFree:", m.free);
	row(out, "MemAvailable:", m.available);
	row(out, "Buffers:", 0);
	row(out, "Cached:", m.cache);
	row(out, "SwapCached:", swap.cached);
	show_lru(out, &m);
	row(out, "SwapTotal:", swap.total);
	row(out, "SwapFree:", swap.total - swap.used);
	row(out, "Zswap:", atomic_load(&t->mm->memcg->zpool.nr_frames));
	row(out, "Zswapped:", atomic_load(&t->mm->memcg->zpool.nr_objects));
	row(out, "Dirty:", m.dirty);
	row(out, "Writeback:", m.writeback);
	row(out, "AnonPages:", m.anon);
	row(out, "Mapped:", m.mapped);
	row(out, "Shmem:", m.shmem);
	rows_of_nothing(out, slab, ARRAY_SIZE(slab));
	row(out, "PageTables:", m.tables);
	rows_of_nothing(out, rest, ARRAY_SIZE(rest));
	row(out, "CommitLimit:", m.commit_limit);
	row(out, "Committed_AS:", m.committed);
	fputs("VmallocTotal:   34359738367 kB\n", out);
	row(out, "VmallocUsed:", 0);
	row(out, "VmallocChunk:", 0);
	row(out, "Percpu:", 0);
	row(out, "AnonHugePages:", m.anon_huge);
	rows_of_nothing(out, large, ARRAY_SIZE(large));
	const uint64_t pool[] = {huge.total, huge.free, huge.reserved, huge.surplus};
	for (size_t i = 0; i < ARRAY_SIZE(pool); i++)
		fprintf(out, "HugePages_%-6s%8" PRIu64 "\n", pool_rows[i], pool[i]);
	row(out, "Hugepagesize:", PMD_PAGES);
	row(out, "Hugetlb:", huge.total << (PMD_SHIFT - PAGE_SHIFT));
	row(out, "DirectMap4k:", m.total);
	row(out, "DirectMap2M:", 0);
	row(out, "DirectMap1G:", 0);
	return 0;
}

/* --- zones ----------------------------------------------------------------------------------- */

static int show_vmstat(struct task *t, const struct proc_file *file, FILE *out)
{
	struct machine_memory m;

	(void)file;
	machine_memory(t->mm, &m);
	vmstat_counters(t->mm->frames, out);
	fprintf(out,
		"nr_inactive_anon %" PRIu64 "\nnr_active_anon %" PRIu64 "\nnr_inactive_file %" PRIu64
		"\nnr_active_file %" PRIu64 "\nnr_unevictable %" PRIu64 "\n",
		m.inactive_anon, m.active_anon, m.inactive_file, m.active_file, m.locked);
	fprintf(out,
		"nr_anon_pages %" PRIu64 "\nnr_mapped %" PRIu64 "\nnr_file_pages %" PRIu64
		"\nnr_dirty %" PRIu64 "\nnr_writeback %" PRIu64 "\nnr_shmem %" PRIu64
		"\nnr_page_table_pages %" PRIu64 "\nnr_anon_transparent_hugepages %" PRIu64 "\n",
		m.anon, m.mapped, m.cache, m.dirty, m.writeback, m.shmem, m.tables,
		m.anon_huge >> (PMD_SHIFT - PAGE_SHIFT));
	fprintf(out, "pgfault %" PRIu64 "\npgmajfault %" PRIu64 "\n",
		atomic_load(&t->mm->min_flt) + atomic_load(&t->mm->maj_flt), atomic_load(&t->mm->maj_flt));
	return 0;
}

static int show_buddyinfo(struct task *t, const struct proc_file *file, FILE *out)
{
	(void)file;
	vmstat_buddyinfo(t->mm->frames, out);
	return 0;
}

static int show_pagetypeinfo(struct task *t, const struct proc_file *file, FILE *out)
{
	(void)file;
	vmstat_pagetypeinfo(t->mm->frames, out);
	return 0;
}

static int show_zoneinfo(struct task *t, const struct proc_file *file, FILE *out)
{
	(void)file;
	vmstat_zoneinfo(t->mm->frames, out);
	return 0;
}

/* --- the processor --------------------------------------------------------------------------- */

static uint64_t clock_ticks(clockid_t clock)
{
	struct timespec now = {0};

	clock_gettime(clock, &now);
	return (uint64_t)now.tv_sec * TICKS_PER_S + (uint64_t)now.tv_nsec / (1000000000u / TICKS_PER_S);
}

static uint64_t timeval_ticks(const struct timeval *tv)
{
	return (uint64_t)tv->tv_sec * TICKS_PER_S + (uint64_t)tv->tv_usec / (1000000u / TICKS_PER_S);
}

static void show_cpu_times(FILE *out, const char *name, uint64_t user, uint64_t system, uint64_t idle)
{
	fprintf(out, "%s %" PRIu64 " 0 %" PRIu64 " %" PRIu64 " 0 0 0 0 0 0\n", name, user, system, idle);
}

/* The processors are idle whenever the guest's own thread does not run, which has used all of them alike. */
static int show_stat(struct task *t, const struct proc_file *file, FILE *out)
{
	const long online = sysconf(_SC_NPROCESSORS_ONLN), cpus = online > 0 ? online : 1;
	struct rusage usage = {0};
	uint64_t up = clock_ticks(CLOCK_BOOTTIME);

	(void)t;
	(void)file;
	getrusage(RUSAGE_THREAD, &usage);
	uint64_t user = timeval_ticks(&usage.ru_utime), system = timeval_ticks(&usage.ru_stime);
	uint64_t idle = up - min_u64(up, user + system);
	show_cpu_times(out, "cpu ", user, system, idle * (uint64_t)cpus);
	for (long i = 0; i < cpus; i++) {
		char name[32];
		snprintf(name, sizeof(name), "cpu%ld", i);
		show_cpu_times(out, name, user / (uint64_t)cpus, system / (uint64_t)cpus, idle);
	}
	fprintf(out, "intr 0\nctxt %ld\nbtime %lld\nprocesses 1\nprocs_running 1\nprocs_blocked 0\n",
		usage.ru_nvcsw + usage.ru_nivcsw, (long long)time(NULL) - (long long)(up / TICKS_PER_S));
	fputs("softirq 0 0 0 0 0 0 0 0 0 0 0\n", out);
	return 0;
}

static int show_loadavg(struct task *t, const struct proc_file *file, FILE *out)
{
	double load[3] = {0};

	(void)file;
	if (getloadavg(load, 3) != 3)
		return -EIO;
	fprintf(out, "%.2f %.2f %.2f 1/1 %d\n", load[0], load[1], load[2], t->pid);
	return 0;
}

/* The host's first processor, up to and with the empty line behind it. */
/* The host's own words: its processors are the guest's. */
static int show_cpuinfo(struct task *t, const struct proc_file *file, FILE *out)
{
	(void)t;
	(void)file;
	return procfs_copy_host("/proc/cpuinfo", out);
}

static void show_swap_device(const struct swap_device_view *v, void *out)
{
	uint64_t size = v->pages << (PAGE_SHIFT - 10), used = v->used << (PAGE_SHIFT - 10);
	int pad = (int)strlen(v->path) < 40 ? 40 - (int)strlen(v->path) : 1;

	fprintf(out, "%s%*s%s\t%" PRIu64 "\t%s%" PRIu64 "\t%s%d\n", v->path, pad, " ",
		v->is_file ? "file\t" : "partition", size, size < 10000000 ? "\t" : "", used,
		used < 10000000 ? "\t" : "", v->priority);
}

static int show_swaps(struct task *t, const struct proc_file *file, FILE *out)
{
	(void)file;
	fputs("Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n", out);
	swap_each_device(t->mm->host, show_swap_device, out);
	return 0;
}

/* Waiting for memory is a matter of the space; other pressure is the host's. */
static int show_pressure(struct task *t, const struct proc_file *file, FILE *out)
{
	static const char *const names[NR_STALL_KINDS] = {"some", "full"};
	struct stall_times times[NR_STALL_KINDS];

	(void)file;
	stall_read(&t->mm->memcg->stall, times);
	for (unsigned int i = 0; i < NR_STALL_KINDS; i++)
		fprintf(out, "%s avg10=%.2f avg60=%.2f avg300=%.2f total=%" PRIu64 "\n", names[i],
			times[i].average[0], times[i].average[1], times[i].average[2],
			times[i].total_ns / 1000);
	return 0;
}

const struct proc_file proc_machine_files[] = {
	{.name = "meminfo", .show = show_meminfo},
	{.name = "vmstat", .show = show_vmstat},
	{.name = "buddyinfo", .show = show_buddyinfo},
	{.name = "pagetypeinfo", .show = show_pagetypeinfo},
	{.name = "zoneinfo", .show = show_zoneinfo},
	{.name = "stat", .show = show_stat},
	{.name = "loadavg", .show = show_loadavg},
	{.name = "cpuinfo", .show = show_cpuinfo},
	{.name = "swaps", .show = show_swaps},
	{.name = "pressure/memory", .show = show_pressure, .pressure = true},
	{0},
};
