/* SPDX-License-Identifier: MIT */
/*
 * procfs.c - see procfs.h.
 */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "files.h"
#include "maps.h"
#include "path.h"
#include "procfs.h"
#include "task.h"

bool procfs_holds(int fd)
{
	struct statfs fs;

	return !fstatfs(fd, &fs) && fs.f_type == PROC_SUPER_MAGIC;
}

/* --- names ----------------------------------------------------------------------------------- */

static bool is_component(const char *text, const char *name)
{
	size_t len = strlen(name);

	return !strncmp(text, name, len) && !text[len];
}

/* A decimal number that is all of the component at `text`; *end is behind it. -1: it is none. */
static long component_number(const char *text, const char **end)
{
	char *stop;
	long n;

	if (!isdigit((unsigned char)*text))
		return -1;
	n = strtol(text, &stop, 10);
	*end = stop;
	return (*stop && *stop != '/') ? -1 : n;
}

/* An entry of the process directory that is ours. */
static struct proc_entry own_entry(const char *name)
{
	static const struct {
		const char *name;
		enum proc_kind kind;
	} made[] = {
		{"exe", PROC_EXE},   {"cwd", PROC_CWD},		{"root", PROC_ROOT},
		{"maps", PROC_MAPS}, {"cmdline", PROC_CMDLINE},
	};
	const char *end;

	for (unsigned int i = 0; i < ARRAY_SIZE(made); i++)
		if (is_component(name, made[i].name))
			return (struct proc_entry){.kind = made[i].kind};
	if (!strncmp(name, "fd/", 3)) {
		long n = component_number(name + 3, &end);
		if (n >= 0 && n <= INT_MAX && !*end)
			return (struct proc_entry){.kind = PROC_FD, .guest_fd = (int)n};
	}
	return (struct proc_entry){.kind = PROC_REFUSED};
}

/* Entries outside the processes: those that show the memory or eat the messages of the host are as bad as its devices. */
static struct proc_entry machine_entry(const char *path)
{
	static const char *const refused[] = {"thread-self", "kcore", "kmsg", "vmcore"};
	const char *name = strrchr(path, '/') + 1;

	if (is_component(name, "self"))
		return (struct proc_entry){.kind = PROC_SELF};
	for (unsigned int i = 0; i < ARRAY_SIZE(refused); i++)
		if (is_component(name, refused[i]))
			return (struct proc_entry){.kind = PROC_REFUSED};
	return (struct proc_entry){.kind = PROC_NONE};
}

struct proc_entry procfs_entry(const char *path)
{
	const char *end;

	if (path[0] != '/')
		return (struct proc_entry){.kind = PROC_REFUSED};
	for (const char *p = path; p; p = strchr(p + 1, '/')) {
		long pid = component_number(p + 1, &end);
		if (pid == getpid() && *end)
			return own_entry(end + 1);
		if (pid >= 0)
			return (struct proc_entry){.kind = PROC_REFUSED};
	}
	return machine_entry(path);
}

/* --- contents -------------------------------------------------------------------------------- */

static int copy_text(char text[PATH_MAX], const char *from)
{
	size_t len = from ? strlen(from) : 0;

	if (!from)
		return -ENOENT;
	if (len >= PATH_MAX)
		return -ENAMETOOLONG;
	memcpy(text, from, len + 1);
	return (int)len;
}

int procfs_readlink(struct task *t, const struct proc_entry *entry, char text[PATH_MAX])
{
	int host_fd;

	switch (entry->kind) {
	case PROC_SELF:
		return snprintf(text, PATH_MAX, "%d", t->pid);
	case PROC_EXE:
		return copy_text(text, t->exe_path);
	case PROC_CWD:
		return path_of_fd(t->files.cwd_fd, text);
	case PROC_ROOT:
		return copy_text(text, "/");
	case PROC_FD:
		host_fd = files_host_fd(&t->files, entry->guest_fd);
		return host_fd < 0 ? -ENOENT : path_of_fd(host_fd, text);
	default:
		return -EINVAL;
	}
}

/* The arguments as they are in the guest's memory now, as far as they can be read. */
static int write_cmdline(struct task *t, FILE *out)
{
	char piece[512];

	for (gva_t at = t->mm->arg_start; at < t->mm->arg_end;) {
		size_t bytes = min_u64(sizeof(piece), t->mm->arg_end - at);
		size_t got = bytes - copy_from_user(t->mm, piece, at, bytes);
		if (fwrite(piece, 1, got, out) != got)
			return -EIO;
		if (got < bytes)
			break;
		at += bytes;
	}
	return 0;
}

int procfs_open(struct task *t, const struct proc_entry *entry)
{
	int fd = memfd_create("lodge-proc", MFD_CLOEXEC);
	FILE *out = fd < 0 ? NULL : fdopen(fd, "w");
	int err;

	if (!out) {
		err = -errno;
		if (fd >= 0)
			close(fd);
		return err;
	}
	err = entry->kind == PROC_MAPS ? proc_maps(t->mm, out) : write_cmdline(t, out);
	if (!err && fflush(out))
		err = -EIO;
	/* Once more, so that the guest's descriptor is at offset 0 and cannot be written. */
	int ro = err ? err : open(path_link(fd).text, O_RDONLY | O_CLOEXEC);
	if (!err && ro < 0)
		ro = -errno;
	fclose(out);
	return ro;
}
