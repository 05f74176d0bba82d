/* SPDX-License-Identifier: MIT */
/*
 * maps.h - the areas of a space as text, byte for byte in the format of Linux's /proc/pid/maps.
 */
#ifndef LODGE_LINUX_MAPS_H
#define LODGE_LINUX_MAPS_H

#include <stdio.h>

struct mm;
struct vma;

/* Enough for one line with the longest path, every byte of it escaped. */
#define MAPS_LINE_BYTES	 (128 + 4 * 4096)

/* Where the name begins. */
#define MAPS_NAME_COLUMN 73

/* Listed behind all others, though it is no area of any space: its mm is NULL. 32-bit programs have none. See vsyscall.h. */
extern const struct vma maps_gate_vma;

/* One line, without its newline; returns its length, or -ENAMETOOLONG. mmap_lock held. */
int maps_line(const struct vma *vma, char *line, size_t bytes);

/* All areas, in address order. Takes mmap_lock for reading. 0 or -EIO. */
int proc_maps(struct mm *mm, FILE *out);

#endif
