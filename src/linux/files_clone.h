/* SPDX-License-Identifier: MIT */
/*
 * files_clone.h - the open files of a sandbox, made anew for its clone.
 *
 * What two sandboxes have open they do not share, but for what was the caller's from the beginning: a clone has positions, flags,
 * pipes and what is in them of its own. Descriptors that had an open file description in common have one in common again.
 *
 *	what it is		   what the clone gets
 *	the caller's 0, 1, 2	   the same, or what its caller gives for it
 *	file, directory, device	   opened again, with its flags and at its position
 *	O_PATH			   another descriptor of it
 *	pipe within the sandbox	   a pipe with the same bytes in it
 *	eventfd, timerfd, epoll	   one in the same state
 *	memfd			   one with the same bytes in it
 *	all else		   refused by name: a socket, or a pipe whose other end somebody else has
 *
 * Files themselves are the world's, and not copied. Nobody has the record locks of the other.
 * Locking: none; the sandbox stands still.
 */
#ifndef LODGE_LINUX_FILES_CLONE_H
#define LODGE_LINUX_FILES_CLONE_H

#include "files.h"

#define FILES_CLONE_WHY 160

struct object_twins;

struct file_twin {
	struct guest_file *old, *new; /* one reference of the new one; NULL: the clone has none */
	int guest_fd;		      /* one of its numbers */
	struct memfd *memfd;	      /* a reference of the new one's, until somebody has it open; or NULL */
};

/* A pipe of the clone's. */
struct pipe_twin {
	uint64_t dev, ino; /* of the old one */
	int end[2];	   /* of the new one: to read, to write */
	bool filled;
};

struct file_twins {
	const int *old_caller_fds, *new_caller_fds; /* three each */
	struct file_twin *twin;
	unsigned int nr, room;
	struct pipe_twin *pipe;
	unsigned int nr_pipes, pipe_room;
	struct object_twins *object; /* what is behind memfds */
	struct mm_host *mm_host;
	char why[FILES_CLONE_WHY]; /* what could not be cloned */
};

/* Notes all files of a table. 0 or -ENOMEM. */
int file_twins_add(struct file_twins *w, struct files *f);

/* Makes those that were noted. 0, -ENOTSUP and `why` names the one, -ENOMEM, -EMFILE. */
int file_twins_make(struct file_twins *w);

/* The table, of no sandbox yet, with twins in place of the files; NULL: no memory. */
struct files *file_twins_table(const struct file_twins *w, struct files *f);

void file_twins_destroy(struct file_twins *w);

/* What the host tells of its descriptors. Two have one description; where it does not tell, they have not. */
bool file_same_description(int a, int b);
/* The number behind "name:" in fdinfo; false: there is none. */
bool file_fdinfo(int fd, const char *name, int base, uint64_t *value);
/* What is behind it has this name in /proc/self/fd. */
bool file_has_name(const struct guest_file *file, const char *name);

#endif
