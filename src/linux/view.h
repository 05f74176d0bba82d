/* SPDX-License-Identifier: MIT */
/*
 * view.h - the file system that a sandbox sees: which object of the host stands where, and what may be changed there.
 *
 * A view is a list of mounts; where two hold a path the longer one counts, and of equals the later. The first is "/". A directory of
 * memory (tmpfs) is an empty directory of the host whose files never get data there: that is in the arena (memfd.h), on the
 * sandbox's account.
 *
 *	guest path --longest mount--> mount, rest --openat2(mount, rest), no link followed--> object
 *
 * The host walks a path in one step when no symbolic link is in the way and no ".." (then what the text says is where it is);
 * otherwise components are looked at one by one up to the link, its text takes its place, and the rest is tried in one step again.
 *
 *   V1  no walk passes a mount without entering it, by link or ".." or from an open directory
 *   V2  nothing is found above the first mount, nor by a magic link of procfs
 *   V3  what is written lies, by its real path on the host, in a mount that may be written
 *   V4  what is in an open directory is looked for there, unless a directory was given to a guest that no walk has found: by the
 *	 caller, or in a message. It may lie anywhere, so that from then on names count from the mounts on.
 * Locking: constant after creation; references are atomic.
 * Not here: what a task may do with an object (path.h, open.h), the entries of procfs (procfs.h).
 */
#ifndef LODGE_LINUX_VIEW_H
#define LODGE_LINUX_VIEW_H

#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "scratch.h"

struct lodge_mount;
struct mm_host;

struct mount {
	char *guest;	  /* canonical, "/" or without a slash at the end */
	size_t guest_len; /* of it; 0 for "/" */
	const char *name; /* its last component */
	char *host;	  /* canonical as well */
	int fd;		  /* O_PATH of a directory or file */
	bool writable, memory;
	bool all_writable; /* nothing that lies in it is a mount that may not be written */
};

/* A link in a root of memory that nobody can change: where it leads needs no asking. */
struct view_link {
	char *name, *text;
};

/* Lookups of what the host has and a root of memory does not show. */
struct view_hidden {
	_Atomic bool strangers; /* V4 */
	pthread_mutex_t lock;
	uint64_t nr;	     /* (lock) */
	char last[PATH_MAX]; /* (lock) */
};

/* (C) */
struct view {
	_Atomic unsigned int refs;
	unsigned int nr;
	bool plain;		/* every mount shows the host's object in the host's place */
	struct scratch scratch; /* the host's directory that those of memory are in */
	unsigned int nr_memory;
	dev_t memory_dev; /* that they are on */
	unsigned int nr_links;
	struct view_link *links;
	struct mm_host *mm_host; /* of what memory is made */
	struct view_hidden *hidden;
	struct mount mount[];
};

struct view_setup {
	const char *const *rw_dirs; /* NULL-terminated, or NULL */
	const struct lodge_mount *mounts;
	unsigned int nr_mounts;
	struct mm_host *mm_host;
};

/* 0 or -errno; *bad names the mount at fault. */
int view_create(const struct view_setup *setup, struct view **result, const char **bad);
struct view *view_share(struct view *v);
/* NULL is allowed. The last one takes its directories of memory with it. */
void view_release(struct view *v);

/* What a walk has to tell beside a descriptor or an error. */
struct view_end {
	bool magic;	/* -ELOOP: for a link of procfs */
	bool by_number; /* -ENOENT: it may have looked for a number, as descriptors have in procfs */
	const struct mount *mount; /* that it came to its end through, if that is known, or NULL */
};

/*
 * An O_PATH descriptor for what stands at `text`, which starts from the host descriptor `base` (AT_FDCWD: text is absolute). flags:
 * O_NOFOLLOW, O_DIRECTORY. -errno as the kernel's walk has it.
 */
int view_open(const struct view *v, int base, const char *text, int flags, struct view_end *end);

/* Whether the last component of a path is a number, slashes behind it or not. */
bool view_ends_with_number(const char *text);

/*
 * The same for a name that is looked for from an open directory of the view on, without asking where that is. -ELOOP: that will not
 * do, view_open has to tell: there is a link in the way, or "..", or a name that a mount has.
 */
int view_open_inside(const struct view *v, int base, const char *text, int flags);

/*
 * Opens a directory to be listed, in one step; flags: open(2)'s, O_DIRECTORY among them. An absolute path, or (base) a name as of
 * view_open_inside. -errno: view_open has to tell.
 */
int view_open_directory(const struct view *v, int base, const char *text, int flags);

/* A descriptor came from outside: V4. */
void view_note_stranger(const struct view *v, int fd);
bool view_has_strangers(const struct view *v);

/* Whether no component of a path from an open directory on is "..", or has the name of a mount: what the host has there is it. */
bool view_is_inside(const struct view *v, const char *text);

/* True when its root is another directory of the host. */
bool view_is_rooted(const struct view *v);

/* The mount that a canonical host path lies in, *rest being the way from there ("" for itself); or NULL. */
const struct mount *view_find_host(const struct view *v, const char *host, const char **rest);

/* Turns a canonical host path into the guest's for it, where it has one: its length, or -ENAMETOOLONG. */
int view_guest_path(const struct view *v, char path[PATH_MAX]);

/* The directory of memory that the object behind a descriptor lies in, or NULL. */
const struct mount *view_memory(const struct view *v, int fd);

/* Puts the data of a regular file of such a directory into memory, if it is not there yet. st: its status, or NULL. 0 or -ENOMEM. */
int view_keep_in_memory(struct view *v, int fd, const struct stat *st);

#endif
