/* SPDX-License-Identifier: MIT */
/*
 * object_twins.h - memory that processes of a sandbox share, made anew for its clone: MAP_SHARED | MAP_ANONYMOUS, memfds, and System V
 * segments.
 *
 * An object of the original has one twin in the clone. Areas of the clone show twins in place of objects, descriptors have twins behind them, and
 * at the end their contents are copied, page by page: unlike private memory they are not shared until somebody writes.
 * Not here: files in directories of memory, pages of a pool: those are refused. What a segment is beside its memory: shm.h.
 * Locking: none; the sandbox stands still.
 */
#ifndef LODGE_LINUX_OBJECT_TWINS_H
#define LODGE_LINUX_OBJECT_TWINS_H

#include "../mm/backing.h"
#include "../mm/mm.h"

struct object_twin {
	struct backing *old, *new; /* a reference of each */
};

struct shm_ns;

struct object_twins {
	struct shm_ns *shm; /* of the clone: segments that are among the twins are there already */
	struct object_twin *at;
	unsigned int nr, room;
};

/* Whether the object is of those kinds, and no segment. */
bool object_has_twins(const struct backing *b);
/* The object that an area shares with others, if it is of those kinds; or NULL. */
struct backing *object_of_area(const struct vma *v);

/* `new` is the twin, with a reference of its own from here on. 0 or -ENOMEM. */
int object_twins_add(struct object_twins *w, struct backing *old, struct backing *new);
/* Or NULL. */
struct backing *object_twins_find(const struct object_twins *w, const struct backing *old);

/* The same, made if there is none; NULL: no memory. */
struct backing *object_twin_of(struct object_twins *w, struct mm_host *h, struct backing *old);

/* Areas of a space that show objects show their twins, which are made if they are not there yet. 0 or -errno. */
int object_twins_map(struct object_twins *w, struct mm *mm);

/* Contents, charged to cg. 0, -ENOMEM, -EIO. */
int object_twins_fill(const struct object_twins *w, struct memcg *cg);

void object_twins_destroy(struct object_twins *w);

#endif
