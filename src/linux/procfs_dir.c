/* SPDX-License-Identifier: MIT */
/*
 * procfs_dir.c - what directories of procfs list.
 *
 * The descriptor is the host's directory in the same place, for walks from it. Its position counts entries where the list is ours,
 * and is the host's own where it is the host's with some names left out. In /proc itself the guest's processes follow those of the
 * host's names that are no processes: positions from NUMBERS_FROM on count them.
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "path.h"
#include "procfs.h"
#include "task.h"

#define INO_BASE     0x4c4f4447ull /* of entries that are in no table of the host */
#define NUMBERS_FROM (1ll << 30)   /* behind all that the host has; its procfs takes no more than 31 bits */

/* The kernel's struct linux_dirent64, with room for its name. */
struct dirent_head {
	uint64_t ino;
	int64_t off;
	uint16_t reclen;
	uint8_t type;
	char name[];
} __attribute__((packed));

/* A list under way: entries before `from` were given already. */
struct listing {
	char *buffer;
	size_t room, used;
	int64_t from, index;
	bool full; /* an entry did not fit */
};

static size_t record_bytes(const char *name)
{
	return (offsetof(struct dirent_head, name) + strlen(name) + 1 + 7) & ~(size_t)7;
}

static void list_name(struct listing *l, const char *name, uint8_t type)
{
	size_t bytes = record_bytes(name);
	struct dirent_head *entry = (void *)(l->buffer + l->used);

	if (l->index++ < l->from || l->full)
		return;
	if (l->used + bytes > l->room) {
		l->full = true;
		return;
	}
	memset(entry, 0, bytes);
	entry->ino = INO_BASE + (uint64_t)l->index;
	entry->off = l->index;
	entry->reclen = (uint16_t)bytes;
	entry->type = type;
	strcpy(entry->name, name);
	l->used += bytes;
	l->from = l->index;
}

static void list_number(struct listing *l, int number, uint8_t type)
{
	char name[16];

	snprintf(name, sizeof(name), "%d", number);
	list_name(l, name, type);
}

static void list_table(struct listing *l, const struct proc_file *table)
{
	for (; table->name; table++)
		if (!strchr(table->name, '/'))
			list_name(l, table->name, DT_REG);
}

static void list_process(struct listing *l, bool thread)
{
	if (!thread)
		list_name(l, "task", DT_DIR);
	list_name(l, "fd", DT_DIR);
	list_name(l, "cwd", DT_LNK);
	list_name(l, "root", DT_LNK);
	list_name(l, "exe", DT_LNK);
	list_table(l, proc_task_files);
	list_table(l, proc_mem_files);
}

/* Where a number stands does not depend on others: a program may close what it reads as it goes. */
static void list_fds(struct listing *l, struct files *f)
{
	const int64_t first = l->index;
	int end = files_end(f);

	for (int i = 0; i < end; i++) {
		l->index = first + i;
		if (files_host_fd(f, i) >= 0)
			list_number(l, i, DT_LNK);
	}
}

static void list_threads(struct listing *l, struct sandbox *s, uint64_t serial)
{
	struct task *t;

	pthread_mutex_lock(&s->lock);
	struct process *p = process_find_serial(s, serial);
	if (p)
		list_for_each_entry (t, &p->threads, thread_node)
			list_number(l, t->tid, DT_DIR);
	pthread_mutex_unlock(&s->lock);
}

static int64_t getdents_made(struct task *t, const struct guest_file *file, void *buffer, size_t bytes)
{
	off_t from = lseek(file->host_fd, 0, SEEK_CUR);
	struct listing l = {.buffer = buffer, .room = bytes, .from = from};

	if (from < 0)
		return -errno;
	list_name(&l, ".", DT_DIR);
	list_name(&l, "..", DT_DIR);
	switch (file->proc.kind) {
	case PROC_TASKS:
		list_threads(&l, t->sandbox,
			     file->proc.who.serial ? file->proc.who.serial : t->process->serial);
		break;
	case PROC_FDS:
		list_fds(&l, t->files);
		break;
	default:
		list_process(&l, file->proc.thread);
	}
	if (!l.used && l.full)
		return -EINVAL;
	lseek(file->host_fd, l.from, SEEK_SET);
	return (int64_t)l.used;
}

/* Does a name of the host's list belong to what the guest may see? */
static bool is_shown(const struct task *t, const char *dir, const char *name)
{
	char path[PATH_MAX];

	if (name[0] == '.')
		return true;
	if (isdigit((unsigned char)name[0]) && !strcmp(dir, "/proc"))
		return false;
	if (snprintf(path, sizeof(path), "%s/%s", dir, name) >= (int)sizeof(path))
		return false;
	return procfs_entry(t, path).kind != PROC_REFUSED;
}

/* Moves the records that are shown together; the bytes that they take. */
static size_t filter(const struct task *t, const char *dir, char *records, size_t bytes)
{
	size_t kept = 0;

	for (size_t at = 0; at < bytes;) {
		struct dirent_head *entry = (void *)(records + at);
		size_t length = entry->reclen;

		if (is_shown(t, dir, entry->name)) {
			memmove(records + kept, entry, length);
			kept += length;
		}
		at += length;
	}
	return kept;
}

static int64_t getdents_processes(const struct task *t, const struct guest_file *file, void *buffer,
				  size_t bytes)
{
	off_t at = lseek(file->host_fd, 0, SEEK_CUR);
	struct listing l = {.buffer = buffer,
			    .room = bytes,
			    .from = at < NUMBERS_FROM ? 0 : at - NUMBERS_FROM};
	struct process *p;

	pthread_mutex_lock(&t->sandbox->lock);
	list_for_each_entry (p, &t->sandbox->processes, node)
		list_number(&l, p->pid, DT_DIR);
	pthread_mutex_unlock(&t->sandbox->lock);
	for (size_t i = 0; i < l.used;) {
		struct dirent_head *entry = (void *)(l.buffer + i);
		entry->off += NUMBERS_FROM;
		i += entry->reclen;
	}
	if (!l.used && l.full)
		return -EINVAL;
	lseek(file->host_fd, NUMBERS_FROM + l.from, SEEK_SET);
	return (int64_t)l.used;
}

static int64_t getdents_filtered(struct task *t, const struct guest_file *file, void *buffer, size_t bytes)
{
	char dir[PATH_MAX];
	int64_t n = path_of_fd(file->host_fd, dir);
	size_t kept = 0;

	while (n >= 0 && !kept) {
		n = syscall(SYS_getdents64, file->host_fd, buffer, bytes);
		if (n < 0)
			n = -errno;
		if (!n && !strcmp(dir, "/proc"))
			return getdents_processes(t, file, buffer, bytes);
		if (n <= 0)
			return n;
		kept = filter(t, dir, buffer, (size_t)n);
	}
	return n < 0 ? n : (int64_t)kept;
}

int64_t procfs_getdents(struct task *t, const struct guest_file *file, void *buffer, size_t bytes)
{
	return file->proc.kind == PROC_MACHINE ? getdents_filtered(t, file, buffer, bytes)
					       : getdents_made(t, file, buffer, bytes);
}
