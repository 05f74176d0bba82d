/* SPDX-License-Identifier: MIT */
/*
 * shm.h - the System V shared memory segments of spaces that belong together.
 *
 *   S1  a segment lives until it was removed (IPC_RMID) and no area shows it
 *   S2  its attach count is the number of areas that show it
 * Locking: ns->lock, inside mmap_lock: areas come and go with that held.
 */
#ifndef LODGE_LINUX_SHM_H
#define LODGE_LINUX_SHM_H

#include <sys/shm.h>

#include "../mm/backing.h"

#define SHM_MAX_SEGMENTS 4096 /* SHMMNI */

struct saved_area;
struct shm_ns;
struct task;
struct vma;

struct shm_ns *shm_ns_create(struct mm_host *h);

/*
 * Copies of segments, for clones and snapshots: whoever makes one lists what there is, adds it elsewhere over objects of its own, maps areas as
 * shm_area says, and settles both, since areas that came and went left their times. Nobody runs who has the namespace.
 */
struct shm_segment {
	struct shmid_ds ds;
	int id;
	struct backing *object; /* the namespace's reference */
};

/* All of them, freed by the caller; NULL: no memory. -ENOTSUP: one has pages of a pool. */
int shm_ns_list(struct shm_ns *ns, struct shm_segment **list, unsigned int *nr);
/* With that id and a reference of the object; nothing shows it yet. 0, -ENOMEM, -EINVAL: there can be no such. */
int shm_ns_add(struct shm_ns *ns, const struct shm_segment *g);
void shm_ns_settle(struct shm_ns *ns, const struct shm_segment *list, unsigned int nr);
/* Whether an area shows a segment that can be listed. */
bool shm_is_shown(const struct vma *vma);
/* What an area of the object does, if that is a segment's. */
void shm_area(struct shm_ns *ns, const struct backing *object, struct saved_area *a);

/* Nobody is in it any more. */
void shm_ns_destroy(struct shm_ns *ns);

/* As the system calls, for the user and process that t is. */
int64_t shm_get(struct task *t, key_t key, uint64_t bytes, int flags);
int64_t shm_attach(struct task *t, int id, gva_t address, int flags);
int64_t shm_detach(struct task *t, gva_t address);

/* Statistics and limits. An id or index as `cmd` wants; ds->shm_perm.__key and so on are filled. Returns what the call does. */
int64_t shm_stat(struct task *t, int id, int cmd, struct shmid_ds *ds);
int64_t shm_set(struct task *t, int id, const struct shmid_ds *ds);
/* How many pages that at an index has in memory and in swap: 0, or -EINVAL. */
int64_t shm_pages(struct task *t, int index, uint64_t *resident, uint64_t *swapped);
int64_t shm_remove(struct task *t, int id);
int64_t shm_lock(struct task *t, int id, bool lock);
int64_t shm_info(struct task *t, struct shminfo *info);
int64_t shm_usage(struct task *t, struct shm_info *info);

#endif
