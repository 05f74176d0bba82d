/* SPDX-License-Identifier: MIT */
/*
 * path.h - from a guest's path to an object of the host.
 *
 * The view walks the path with the host's kernel (view.h), so that errors are Linux's own; magic links are refused and what
 * lies in procfs is looked at afterwards. Whoever changes something first trades the descriptor for one that was reached
 * from a writable mount without leaving it (path_writable): a rename or a link that changes meanwhile makes that fail.
 */
#ifndef LODGE_LINUX_PATH_H
#define LODGE_LINUX_PATH_H

#include <limits.h>
#include <stdbool.h>
#include <sys/stat.h>

#include "../mm/types.h"
#include "procfs.h"

struct task;
struct view;

struct path {
	const struct view *view;
	struct proc_who who; /* of whom an entry of procfs is that it leads to */
	int base;	     /* host descriptor a relative path starts from (borrowed), or AT_FDCWD */
	bool inside; /* the view led to base: names below it need not be looked for from its mount on */
	char text[PATH_MAX];
};

#define PATH_NOFOLLOW  1u /* a symbolic link at the end means itself */
#define PATH_DIRECTORY 2u /* anything but a directory is ENOTDIR */
#define PATH_EMPTY     4u /* AT_EMPTY_PATH: "" means the starting point */

/* Reads a path argument of the guest. 0, -EFAULT, -ENAMETOOLONG, -EBADF; -ENOENT: of a process that is not there. */
int path_get(struct task *t, int guest_dirfd, gva_t from, struct path *p);

/* The same, but that no path at all (NULL) is an empty one. */
int path_get_or_null(struct task *t, int guest_dirfd, gva_t from, struct path *p);

/* The same for a text of at most PATH_MAX - 1 bytes that starts from the working directory. */
void path_from_text(struct task *t, const char *text, struct path *p);

/* An object that exists. */
struct path_target {
	int fd;			 /* O_PATH (PROC_FD: a dup of the guest's own); the caller's to close */
	struct proc_entry entry; /* what lodge makes of it, when it is not simply a file */
	struct stat st;		 /* of fd, when it was found */
	bool all_writable;	 /* the walk came through a mount below which all may be written */
};

/* 0 or -errno. Leaves the path as it is. */
int path_target(struct task *t, const struct path *p, unsigned int flags, struct path_target *target);

/* The same for those who need the status alone: where one call of the host's tells it, fd is -1 and there is nothing to close. */
int path_status(struct task *t, const struct path *p, unsigned int flags, struct path_target *target);

/* What statx tells of it; sync: AT_STATX_SYNC_TYPE. 0 or -errno. */
struct statx;
int path_statx(struct task *t, const struct path *p, unsigned int flags, int sync, unsigned int mask,
	       struct statx *stx);

/* The text of a link that is a name in an open directory: its length; -EAGAIN: the long way will tell. */
int path_readlink(const struct path *p, char text[PATH_MAX]);

/*
 * A directory that is opened without looking at it first: a name in an open directory or an absolute path, O_DIRECTORY and nothing to be
 * made or written. A host descriptor with O_CLOEXEC and its status; -EAGAIN: the long way will tell.
 */
int path_open_directory(const struct path *p, int flags, struct stat *st);

/* The path ends with a slash: it means a directory, and not a link to one. */
bool path_has_slash(const struct path *p);

/* The directory of the last component, and that component. */
struct path_parent {
	int fd;		   /* O_PATH; the caller's to close */
	char *name;	   /* within path.text, with slashes behind it; "." for a path without components */
	bool slash;	   /* it has slashes behind it */
	bool all_writable; /* as of path_target */
};

/*
 * A descriptor for that directory, reached from a writable mount: parent->fd itself where the walk has shown it, else one of its own,
 * which path_parent_release closes. -EROFS outside.
 */
int path_parent_writable(const struct view *v, const struct path_parent *parent);
/* verified: what path_parent_writable gave, or an error of it. */
void path_parent_release(struct path_parent *parent, int verified);

/* 0 or -errno. Uses path.text up. */
int path_parent(struct path *p, struct path_parent *parent);

/* The same for where symbolic links in the last component lead, or would lead: parent->name is no link. */
int path_follow(struct path *p, struct path_parent *parent);

/* An O_PATH descriptor for the same object, reached from a writable mount; flags: O_DIRECTORY or 0. -EROFS outside. */
int path_writable(const struct view *v, int fd, int flags);

/* An O_PATH descriptor for a name in a directory, without following any link. */
int path_open_in(int dir_fd, const char *name);

/* 0 when the object behind any descriptor lies in a writable mount (or did when it was unlinked) or has no name at all, else
 * -EROFS. */
int path_check_writable(const struct view *v, int fd);

/* The path of a descriptor of ours: its length, or -errno. */
int path_of_fd(int fd, char path[PATH_MAX]);

/* Opens the very object behind a descriptor once more; flags: open(2)'s. A descriptor, or -1 and errno. */
int path_reopen(int fd, int flags);

/* "/proc/self/fd/N": a path of ours to the very object behind a descriptor. */
struct path_link {
	char text[32];
};

struct path_link path_link(int fd);

#endif
