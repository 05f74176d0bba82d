/* SPDX-License-Identifier: MIT */
/*
 * scratch.h - a directory of the host's for as long as this process lives: names of files that are in memory.
 *
 * It lies below TMPDIR; without one in /dev/shm where that is memory (to make and remove it on a disk takes as long as all else that a
 * start does), or in /tmp. Its owner has it locked (flock), and removes it; a process that is killed does neither, but its lock goes.
 * So whoever makes one first removes those of his own that nobody has locked.
 */
#ifndef LODGE_LINUX_SCRATCH_H
#define LODGE_LINUX_SCRATCH_H

struct scratch {
	char *path; /* NULL: there is none */
	int fd;	    /* keeps it locked */
};

/* Makes an empty directory, mode 0700, and removes what dead processes of the same user left. 0 or -errno. */
int scratch_make(struct scratch *s);

/* Removes it with all in it. Nothing where there is none. */
void scratch_remove(struct scratch *s);

#endif
