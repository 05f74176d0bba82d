/* SPDX-License-Identifier: MIT */
/* object_twins.c - see object_twins.h. */
#include "object_twins.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../mm/restore.h"
#include "../mm/shmem.h"
#include "memfd.h"
#include "shm.h"

#define PART_BYTES 65536u

bool object_has_twins(const struct backing *b)
{
	return b->cache.shmem && (!strcmp(b->path, SHMEM_ANON_PATH) || memfd_has_path(b->path));
}

struct backing *object_of_area(const struct vma *v)
{
	bool is_one = (v->flags & VM_MAYSHARE) && v->file && (object_has_twins(v->file) || shm_is_shown(v));

	return is_one ? v->file : NULL;
}

/* --- twins ------------------------------------------------------------------------------------------------ */

int object_twins_add(struct object_twins *w, struct backing *old, struct backing *new)
{
	if (w->nr == w->room) {
		unsigned int room = w->room ? 2 * w->room : 8;
		struct object_twin *more = realloc(w->at, room * sizeof(*more));
		if (!more)
			return -ENOMEM;
		w->at = more;
		w->room = room;
	}
	w->at[w->nr++] = (struct object_twin){backing_get(old), backing_get(new)};
	return 0;
}

struct backing *object_twins_find(const struct object_twins *w, const struct backing *old)
{
	for (unsigned int i = 0; i < w->nr; i++)
		if (w->at[i].old == old)
			return w->at[i].new;
	return NULL;
}

struct backing *object_twin_of(struct object_twins *w, struct mm_host *h, struct backing *old)
{
	struct backing *new = object_twins_find(w, old);

	if (new)
		return new;
	new = shmem_create(h, (uint64_t)old->ops->size(old),
			   strcmp(old->path, SHMEM_ANON_PATH) != 0 ? old->path : NULL);
	if (!new)
		return NULL;
	new->dev = old->dev;
	new->ino = old->ino;
	int err = object_twins_add(w, old, new);
	backing_put(new);
	return err ? NULL : new;
}

void object_twins_destroy(struct object_twins *w)
{
	for (unsigned int i = 0; i < w->nr; i++) {
		backing_put(w->at[i].old);
		backing_put(w->at[i].new);
	}
	free(w->at);
}

/* --- areas ------------------------------------------------------------------------------------------------ */

static unsigned int count_areas(struct mm *mm)
{
	const struct vma *v;
	unsigned int nr = 0;

	vma_for_each (v, &mm->vmas)
		nr += object_of_area(v) != NULL;
	return nr;
}

/* What is to be mapped: of a space that nobody runs in. 0 or -ENOMEM. */
static int note_areas(struct object_twins *w, struct mm *mm, struct saved_area *a)
{
	const struct vma *v;

	vma_for_each (v, &mm->vmas) {
		struct backing *old = object_of_area(v), *new = old ? object_twin_of(w, mm->host, old) : NULL;
		if (old && !new)
			return -ENOMEM;
		if (!old)
			continue;
		*a = (struct saved_area){
			.start = v->start, .end = v->end, .flags = v->flags, .file = new, .pgoff = v->pgoff};
		shm_area(w->shm, new, a++);
	}
	return 0;
}

int object_twins_map(struct object_twins *w, struct mm *mm)
{
	unsigned int nr = count_areas(mm);
	struct saved_area *a = nr ? calloc(nr, sizeof(*a)) : NULL;
	int err = nr && !a ? -ENOMEM : 0;

	if (a && !err)
		err = note_areas(w, mm, a);
	for (unsigned int i = 0; i < nr && !err; i++)
		err = mm_restore_area(mm, &a[i]);
	free(a);
	return err;
}

/* --- contents ---------------------------------------------------------------------------------------------- */

/* [at, end), which has pages. */
static int copy_range(const struct object_twin *t, struct memcg *cg, char *buffer, uint64_t at, uint64_t end)
{
	while (at < end) {
		struct iovec iov = {buffer, min_u64(end - at, PART_BYTES)};
		int64_t n = shmem_read(t->old, &iov, 1, at);
		if (n <= 0)
			return n ? (int)n : -EIO;
		iov.iov_len = (size_t)n;
		int64_t written = shmem_write(t->new, cg, &iov, 1, at);
		if (written != n)
			return written < 0 ? (int)written : -ENOMEM;
		at += (uint64_t)n;
	}
	return 0;
}

static int copy_object(const struct object_twin *t, struct memcg *cg, char *buffer)
{
	int64_t at = 0;
	int err = 0;

	while (!err && (at = shmem_seek(t->old, (uint64_t)at, false)) >= 0) {
		int64_t end = shmem_seek(t->old, (uint64_t)at, true);
		err = end < 0 ? -EIO : copy_range(t, cg, buffer, (uint64_t)at, (uint64_t)end);
		at = end;
	}
	return err;
}

int object_twins_fill(const struct object_twins *w, struct memcg *cg)
{
	char *buffer = w->nr ? malloc(PART_BYTES) : NULL;
	int err = w->nr && !buffer ? -ENOMEM : 0;

	for (unsigned int i = 0; i < w->nr && !err; i++)
		err = copy_object(&w->at[i], cg, buffer);
	free(buffer);
	return err;
}
