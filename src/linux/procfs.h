/* SPDX-License-Identifier: MIT */
/*
 * procfs.h - what a guest finds in /proc and /sys.
 *
 * The host's procfs and sysfs show the names and the machine; what they say of processes and of memory would be lodge's
 * own. So a name that leads there is looked up in tables of what lodge makes for the guest instead: a file is a row with a
 * function that writes its text. Other entries of processes are refused, those of the machine are the host's, read only.
 *
 * A file that a guest has open is a memfd of its own: its position, rights and flags are the host's business, and its
 * bytes are made anew by each read from its beginning, as the kernel does.
 * Not here: what the files say (procfs_mem.c, procfs_task.c, procfs_machine.c, procfs_ipc.c, sysctl.c, sysfs.c).
 */
#ifndef LODGE_LINUX_PROCFS_H
#define LODGE_LINUX_PROCFS_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/stat.h>

struct guest_file;
struct task;
struct process;
struct uio;
struct uio_transfer;

struct proc_file {
	const char *name; /* the way from the directory that the table is about */
	/* Writes the text. 0 or -errno. NULL: read_at, or not to be read. */
	int (*show)(struct task *t, const struct proc_file *file, FILE *out);
	/* Takes what a guest wrote, with a NUL behind it: bytes taken, or -errno. NULL: not to be written. */
	int64_t (*write)(struct task *t, const struct proc_file *file, char *text, size_t bytes);
	/* In write's place, where others may be changed as well. With sandbox->lock; `of` is the thread that the file is of, NULL: a zombie's. */
	int64_t (*set)(const struct task *by, struct process *p, struct task *of, const char *text,
		       size_t bytes);
	/* In the place of a text: the bytes at an offset. How many, or -errno. */
	int64_t (*read_at)(struct task *t, void *to, size_t bytes, uint64_t offset);
	/* And those that are written there. */
	int64_t (*write_at)(struct task *t, const void *from, size_t bytes, uint64_t offset);
	bool about_memory; /* what is written changes nothing but the space */
	bool pressure;	   /* triggers are set by writing: pressure.h */
	bool zombie;	   /* tells of processes without an mm, too */
	bool strict;	   /* what is written behind the beginning is forgotten */
	union {
		const void *data; /* for show and write */
		uint64_t number;
	};
};

/* Each ends with a name that is NULL: below a process directory, /proc, /proc/sys, /sys. */
extern const struct proc_file proc_mem_files[], proc_task_files[], proc_machine_files[], sysctl_files[],
	sysfs_files[], proc_ipc_files[];

enum proc_kind {
	PROC_NONE,    /* not ours: the host's */
	PROC_REFUSED, /* EACCES */
	PROC_SELF,    /* the links /proc/self and /proc/thread-self */
	PROC_THREAD_SELF,
	PROC_EXE, /* links below /proc/self */
	PROC_CWD,
	PROC_ROOT,
	PROC_FD,      /* /proc/self/fd/N */
	PROC_FILE,    /* a row of a table; from here on: neither a link nor refused */
	PROC_DIR,     /* the directory of a process, and task/TID in it */
	PROC_TASKS,   /* /proc/self/task */
	PROC_FDS,     /* /proc/self/fd */
	PROC_MACHINE, /* any other directory: names that are ours or the host's */
};

/* Of whom a file tells: 0, 0 is whoever asks. */
struct proc_who {
	uint64_t serial; /* of the process; 0: the asker's */
	int tid;	 /* 0: of the process as a whole */
};

struct proc_entry {
	enum proc_kind kind;
	struct proc_who who; /* PROC_FILE, PROC_DIR, PROC_TASKS */
	bool thread;	     /* PROC_DIR: of a thread */
	int guest_fd;	     /* PROC_FD */
	const struct proc_file *file;
};

/* True when the object behind a descriptor lies in a procfs or sysfs. */
bool procfs_holds(int fd);
/* The same where its status is known: what lies on a device is told without asking. */
bool procfs_holds_object(int fd, const struct stat *st);

/* What stands at a canonical host path that lies in one. */
struct proc_entry procfs_entry(const struct task *t, const char *path);

/* The same for a descriptor; PROC_NONE outside. */
struct proc_entry procfs_entry_of_fd(const struct task *t, int fd);

/* The text of a link as the guest sees it: its length, or -errno. */
int procfs_readlink(struct task *t, const struct proc_entry *entry, char text[PATH_MAX]);

/* A host descriptor for an open PROC_FILE, st being what the host has in its place; or -errno. */
int procfs_open(const struct proc_entry *entry, const struct stat *st, int flags);

/*
 * Before a transfer of an open PROC_FILE: true when it is done, with its *result; false when the bytes to be read lie
 * behind the host descriptor now.
 */
bool procfs_transfer(struct task *t, const struct guest_file *file, const struct uio *u,
		     const struct uio_transfer *x, int64_t *result);

/*
 * procfs_peer.c. A path that leads to the directory of another process or thread of the sandbox is changed to the same place of the
 * asker's own, and *who says of whom it is. 0, -ENOENT, -ENAMETOOLONG.
 */
int procfs_redirect(struct task *t, char path[PATH_MAX], struct proc_who *who);
bool procfs_is_stranger(const struct task *t, const struct proc_who *who);

/* Whom a file tells of: t itself, or a copy that procfs_subject_put frees; without an mm: a zombie. NULL: it is gone. */
struct proc_view;
struct task *procfs_subject(struct task *t, const struct proc_who *who, struct proc_view **view);
void procfs_subject_put(struct proc_view *view);

/* What t wrote into a file that has `set`: bytes taken or -errno, -ESRCH where its process is gone. */
int64_t procfs_set(struct task *t, const struct proc_file *file, const struct proc_who *who, const char *text,
		   size_t bytes);

/* What a file of the host says, for one whose text is the guest's as well. 0 or -errno. */
int procfs_copy_host(const char *path, FILE *out);

/* getdents64 of an open directory of any PROC_ kind into a buffer: bytes, or -errno. */
int64_t procfs_getdents(struct task *t, const struct guest_file *file, void *buffer, size_t bytes);

#endif
