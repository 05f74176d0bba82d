/* SPDX-License-Identifier: MIT */
/*
 * sysctl.c - /proc/sys: what a guest may read and set there of its own memory.
 *
 * A value that is set is that of the guest's own space. Names that are not here are the host's, read only.
 */
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "../mm/compaction.h"
#include "../mm/lock.h"
#include "aio.h"
#include "hostfile.h"
#include "msg.h"
#include "procfs.h"
#include "sem.h"
#include "shm.h"
#include "sysctl.h"
#include "task.h"

#define NUMBER_MAX_BYTES 21 /* digits of 64 bits, with a sign */

static size_t skip_space(const char *text, size_t bytes, size_t at)
{
	while (at < bytes && isspace((unsigned char)text[at]))
		at++;
	return at;
}

int64_t sysctl_parse(const char *text, size_t bytes, int64_t *value)
{
	size_t start = skip_space(text, bytes, 0), end;
	bool negative = start < bytes && text[start] == '-';
	char *stop;

	if (start == bytes || !isdigit((unsigned char)text[start + negative]))
		return -EINVAL;
	errno = 0;
	uint64_t magnitude = strtoull(text + start + negative, &stop, 0);
	end = (size_t)(stop - text);
	if (errno || end - start > NUMBER_MAX_BYTES || magnitude > INT64_MAX)
		return -EINVAL;
	if (end < bytes && *stop && !strchr(" \t\n", *stop))
		return -EINVAL;
	*value = negative ? -(int64_t)magnitude : (int64_t)magnitude;
	return (int64_t)skip_space(text, bytes, end);
}

int sysctl_parse_whole(const char *text, int64_t *value)
{
	size_t bytes = strlen(text);
	int64_t used = sysctl_parse(text, bytes, value);

	return used == (int64_t)bytes ? 0 : -EINVAL;
}

/* --- values ---------------------------------------------------------------------------------- */

/* A number of the space, and what may be written. get NULL: it shows `least`. */
struct sysctl {
	uint64_t (*get)(struct task *t);
	int (*set)(struct task *t, uint64_t value);
	int64_t least, most;
};

static int show_number(struct task *t, const struct proc_file *file, FILE *out)
{
	const struct sysctl *s = file->data;

	fprintf(out, "%" PRIu64 "\n", s->get ? s->get(t) : (uint64_t)s->least);
	return 0;
}

static int64_t write_number(struct task *t, const struct proc_file *file, char *text, size_t bytes)
{
	const struct sysctl *s = file->data;
	int64_t value, used = sysctl_parse(text, bytes, &value);
	int err;

	if (!bytes)
		return 0;
	if (used < 0)
		return used;
	if (value < s->least || value > s->most)
		return -EINVAL;
	err = s->set(t, (uint64_t)value);
	return err ? err : used;
}

static uint64_t get_max_map_count(struct task *t)
{
	return t->mm->max_map_count;
}

static int set_max_map_count(struct task *t, uint64_t value)
{
	mm_write_lock(t->mm);
	t->mm->max_map_count = (uint32_t)value;
	mm_write_unlock(t->mm);
	return 0;
}

static uint64_t get_mmap_min_addr(struct task *t)
{
	return t->mm->mmap_min_addr;
}

static uint64_t get_overcommit_memory(struct task *t)
{
	return atomic_load(&t->mm->memcg->overcommit_memory);
}

static int set_overcommit_memory(struct task *t, uint64_t value)
{
	atomic_store(&t->mm->memcg->overcommit_memory, (uint32_t)value);
	return 0;
}

static uint64_t get_overcommit_ratio(struct task *t)
{
	return atomic_load(&t->mm->memcg->overcommit_ratio);
}

/* Ratio and kbytes say the same thing: setting one makes the other 0. */
static int set_overcommit_ratio(struct task *t, uint64_t value)
{
	atomic_store(&t->mm->memcg->overcommit_ratio, (uint32_t)value);
	atomic_store(&t->mm->memcg->overcommit_kbytes, 0);
	return 0;
}

static uint64_t get_overcommit_kbytes(struct task *t)
{
	return atomic_load(&t->mm->memcg->overcommit_kbytes);
}

static int set_overcommit_kbytes(struct task *t, uint64_t value)
{
	atomic_store(&t->mm->memcg->overcommit_kbytes, value);
	atomic_store(&t->mm->memcg->overcommit_ratio, 0);
	return 0;
}

static uint64_t get_admin_reserve(struct task *t)
{
	return atomic_load(&t->mm->memcg->admin_reserve_kbytes);
}

static int set_admin_reserve(struct task *t, uint64_t value)
{
	atomic_store(&t->mm->memcg->admin_reserve_kbytes, value);
	return 0;
}

static uint64_t get_user_reserve(struct task *t)
{
	return atomic_load(&t->mm->memcg->user_reserve_kbytes);
}

static int set_user_reserve(struct task *t, uint64_t value)
{
	atomic_store(&t->mm->memcg->user_reserve_kbytes, value);
	return 0;
}

static uint64_t get_min_free(struct task *t)
{
	return atomic_load(&t->mm->frames->min_free_kbytes);
}

static uint64_t get_randomize(struct task *t)
{
	return t->aslr ? 2 : 0;
}

/* 1: page cache, 2: what the kernel keeps besides, of which there is none here; 4: be quiet about it. */
static int set_drop_caches(struct task *t, uint64_t value)
{
	if (value & 1)
		hostfile_drop_caches(t->hostfiles);
	return 0;
}

static int set_compact_memory(struct task *t, uint64_t value)
{
	struct frames *f = t->mm->frames;

	(void)value;
	for (unsigned int i = 0; i < f->nr_nodes * NR_ZONES; i++)
		if (zone_is_guest(f->zone[i].type) && zone_populated(&f->zone[i]))
			compact_zone(f, &f->zone[i], MAX_ORDER - 1, COMPACT_PRIO_SYNC_FULL);
	return 0;
}

static const struct sysctl overcommit_memory = {get_overcommit_memory, set_overcommit_memory, 0, 2},
			   overcommit_ratio = {get_overcommit_ratio, set_overcommit_ratio, 0, INT_MAX},
			   overcommit_kbytes = {get_overcommit_kbytes, set_overcommit_kbytes, 0, INT64_MAX},
			   admin_reserve = {get_admin_reserve, set_admin_reserve, 0, INT64_MAX},
			   user_reserve = {get_user_reserve, set_user_reserve, 0, INT64_MAX};

static uint64_t get_swappiness(struct task *t)
{
	return atomic_load(&t->mm->memcg->swappiness);
}

static int set_swappiness(struct task *t, uint64_t value)
{
	atomic_store(&t->mm->memcg->swappiness, (uint32_t)value);
	return 0;
}

static uint64_t get_hugepages(struct task *t)
{
	return hugetlb_pool_counts(t->mm->frames, t->mm->memcg).total;
}

static int set_hugepages(struct task *t, uint64_t value)
{
	hugetlb_pool_resize(t->mm->frames, t->mm->memcg, value);
	return 0;
}

static uint64_t get_hugepages_overcommit(struct task *t)
{
	return hugetlb_pool_counts(t->mm->frames, t->mm->memcg).overcommit;
}

static int set_hugepages_overcommit(struct task *t, uint64_t value)
{
	hugetlb_pool_set_overcommit(t->mm->memcg, value);
	return 0;
}

static const struct sysctl nr_hugepages = {get_hugepages, set_hugepages, 0, INT64_MAX},
			   overcommit_hugepages = {get_hugepages_overcommit, set_hugepages_overcommit, 0,
						   INT64_MAX};
static const struct sysctl swappiness = {get_swappiness, set_swappiness, 0, SWAPPINESS_MAX};
static const struct sysctl max_map_count = {get_max_map_count, set_max_map_count, 0, INT_MAX},
			   mmap_min_addr = {.get = get_mmap_min_addr}, min_free = {.get = get_min_free},
			   randomize = {.get = get_randomize},
			   drop_caches = {.set = set_drop_caches, .least = 1, .most = 4},
			   compact_memory = {.set = set_compact_memory, .least = 1, .most = 1};

static uint64_t get_aio_nr(struct task *t)
{
	return aio_ns_nr(t->sandbox->aio);
}

static uint64_t get_aio_max_nr(struct task *t)
{
	return aio_ns_max_nr(t->sandbox->aio);
}

static int set_aio_max_nr(struct task *t, uint64_t value)
{
	aio_ns_set_max_nr(t->sandbox->aio, value);
	return 0;
}

static const struct sysctl aio_nr = {.get = get_aio_nr},
			   aio_max_nr = {.get = get_aio_max_nr, .set = set_aio_max_nr, .most = INT64_MAX};

static const struct sysctl msgmax = {.least = MSG_MAX_BYTES}, msgmnb = {.least = MSG_MAX_QUEUE_BYTES},
			   msgmni = {.least = IPC_MAX_OBJECTS}, shmmni = {.least = SHM_MAX_SEGMENTS};

static int show_sem(struct task *t, const struct proc_file *file, FILE *out)
{
	(void)t;
	(void)file;
	fprintf(out, "%d\t%u\t%d\t%d\n", SEM_MAX_PER_SET, SEM_MAX_ALL, SEM_MAX_OPS, IPC_MAX_OBJECTS);
	return 0;
}

#define READ(path, value)                                         \
	{                                                         \
		.name = path, .show = show_number, .data = &value \
	}
#define READ_WRITE(path, value)                                                                          \
	{                                                                                                \
		.name = path, .show = show_number, .write = write_number, .strict = true, .data = &value \
	}
#define WRITE(path, value)                                                          \
	{                                                                           \
		.name = path, .write = write_number, .strict = true, .data = &value \
	}

const struct proc_file sysctl_files[] = {
	READ_WRITE("vm/overcommit_memory", overcommit_memory),
	READ_WRITE("vm/overcommit_ratio", overcommit_ratio),
	READ_WRITE("vm/overcommit_kbytes", overcommit_kbytes),
	READ_WRITE("vm/admin_reserve_kbytes", admin_reserve),
	READ_WRITE("vm/user_reserve_kbytes", user_reserve),
	READ_WRITE("vm/max_map_count", max_map_count),
	READ("vm/mmap_min_addr", mmap_min_addr),
	READ("vm/min_free_kbytes", min_free),
	READ_WRITE("vm/swappiness", swappiness),
	READ_WRITE("vm/nr_hugepages", nr_hugepages),
	READ_WRITE("vm/nr_hugepages_mempolicy", nr_hugepages),
	READ_WRITE("vm/nr_overcommit_hugepages", overcommit_hugepages),
	WRITE("vm/drop_caches", drop_caches),
	WRITE("vm/compact_memory", compact_memory),
	READ("kernel/randomize_va_space", randomize),
	{.name = "kernel/sem", .show = show_sem},
	READ("fs/aio-nr", aio_nr),
	READ_WRITE("fs/aio-max-nr", aio_max_nr),
	READ("kernel/msgmax", msgmax),
	READ("kernel/msgmnb", msgmnb),
	READ("kernel/msgmni", msgmni),
	READ("kernel/shmmni", shmmni),
	{0},
};
