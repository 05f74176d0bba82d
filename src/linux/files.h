/* SPDX-License-Identifier: MIT */
/*
 * files.h - a guest's descriptors and its view of the host's file system.
 *
 * A guest descriptor stands for a host descriptor of ours; guests never see ours. By default everything the caller can
 * read is readable and nothing is writable (EROFS); below an rw directory files may be made and changed.
 *
 *   F1  whatever is opened for writing by path lies below an rw directory, or is a harmless device (/dev/null and kin)
 *   F2  no path leads into procfs entries of a process: /proc/self and /proc/PID of the guest are made by lodge or refused
 *   F3  a host descriptor of lodge itself is never reachable by number, by /proc or by a magic link
 *   F4  no guest makes a device node or a file that changes the identity of who runs it
 * Locking: the task's own thread.
 * Not here: what a path leads to (path.h), what lodge shows of /proc/self (procfs.h).
 */
#ifndef LODGE_LINUX_FILES_H
#define LODGE_LINUX_FILES_H

#include <sys/types.h>

#include "../mm/types.h"
#include "procfs.h"

struct task;

#define NR_OPEN_DEFAULT 1024 /* soft RLIMIT_NOFILE of a guest */

struct guest_file {
	int host_fd; /* -1: free. Only the caller's may stand behind two guest descriptors */
	bool cloexec;
	bool owned;		/* close host_fd with the guest's; false for the caller's 0, 1, 2 */
	bool stream;		/* a pipe, terminal or socket: reading and writing may wait for others */
	struct proc_entry proc; /* what lodge makes of it; PROC_NONE: nothing */
	struct memfd *memfd;	/* held by a descriptor of one, or NULL */
};

struct rw_dir {
	int fd;	    /* O_PATH */
	char *path; /* canonical */
};

struct files {
	struct guest_file fd[NR_OPEN_DEFAULT];
	int cwd_fd; /* O_PATH; its path is what the host says it is now */
	struct rw_dir *rw;
	unsigned int nr_rw;
	mode_t umask;
	mode_t host_umask; /* (C) of our own process: the host applies it as well */
};

/* fds: host descriptors for 0, 1, 2, or -1. rw_dirs NULL-terminated or NULL. *bad names the directory at fault. */
int files_init(struct files *f, const int fds[3], const char *const *rw_dirs, const char **bad);
void files_destroy(struct files *f);

/* The host descriptor behind a guest's, or -EBADF. */
int files_host_fd(const struct files *f, int guest_fd);

/* The entry of an open guest descriptor, or NULL. */
struct guest_file *files_get(struct files *f, int guest_fd);

/* The lowest free guest number >= min, or -EMFILE. */
int files_next(const struct files *f, int min);

/* Gives host_fd (taken over) the lowest free guest number >= min: the number, or -EMFILE (host_fd is closed). */
int files_install(struct files *f, int host_fd, bool cloexec, int min);

/* Gives host_fd (taken over) the number guest_fd, which is within the table; what was there is closed. */
void files_put(struct files *f, int guest_fd, int host_fd, bool cloexec);

/* 0, -EBADF, or what the host said about closing; the number is free in any case. */
int files_close(struct files *f, int guest_fd);

/* The rw directory that a canonical host path lies in, *rest being the way from there ("" for itself); or NULL. */
const struct rw_dir *files_rw_find(const struct files *f, const char *path, const char **rest);

#endif
