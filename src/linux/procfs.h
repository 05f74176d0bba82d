/* SPDX-License-Identifier: MIT */
/*
 * procfs.h - what a guest finds in /proc.
 *
 * The host's procfs shows the machine (cpuinfo, meminfo, sys) as it is. Its entries of processes are refused: the guest's
 * own would be ours. A few of them lodge makes for the guest instead.
 */
#ifndef LODGE_LINUX_PROCFS_H
#define LODGE_LINUX_PROCFS_H

#include <limits.h>
#include <stdbool.h>

struct task;

enum proc_kind {
	PROC_NONE,    /* not in procfs, or nothing of a process */
	PROC_REFUSED, /* EACCES */
	PROC_SELF,    /* the link /proc/self */
	PROC_EXE,     /* links below /proc/self */
	PROC_CWD,
	PROC_ROOT,
	PROC_FD,   /* /proc/self/fd/N */
	PROC_MAPS, /* files below /proc/self */
	PROC_CMDLINE,
};

struct proc_entry {
	enum proc_kind kind;
	int guest_fd; /* PROC_FD */
};

/* True when the object behind a descriptor lies in a procfs. */
bool procfs_holds(int fd);

/* What stands at a canonical host path that lies in a procfs. */
struct proc_entry procfs_entry(const char *path);

/* The text of a link as the guest sees it: its length, or -errno. */
int procfs_readlink(struct task *t, const struct proc_entry *entry, char text[PATH_MAX]);

/* A host descriptor to read PROC_MAPS or PROC_CMDLINE from, or -errno. */
int procfs_open(struct task *t, const struct proc_entry *entry);

#endif
