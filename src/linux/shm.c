/* SPDX-License-Identifier: MIT */
/* shm.c - System V shared memory. See shm.h. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "../mm/hugetlb.h"
#include "../mm/hugetlb_object.h"
#include "../mm/lock.h"
#include "../mm/restore.h"
#include "../mm/shmem.h"
#include "ipc.h"
#include "shm.h"
#include "task.h"

#define SEQUENCE_STEP 32768 /* ids of one index differ by it */
#define MAX_BYTES     (~0ull - (1ull << 24))
#define MAX_PAGES     (~0ull - (1ull << 24))
#define HUGE_FLAG     04000 /* SHM_HUGETLB, and the size above it */
#define HUGE_SHIFT    26
#define HUGE_MASK     0x3fu
#define HUGE_2M	      21u
#define HUGE_1G	      30u
#define PATH_BYTES    32

struct segment {
	struct shm_ns *ns;
	struct backing *object; /* one reference, given up with the segment */
	struct shmid_ds ds;	/* (lock) shm_nattch is S2 */
	int id;
	bool removed; /* (lock) */
};

struct shm_ns {
	pthread_mutex_t lock;
	struct mm_host *mm_host;		   /* (C) */
	struct segment *segment[SHM_MAX_SEGMENTS]; /* (lock) by id % SEQUENCE_STEP */
	unsigned int nr, sequence;		   /* (lock) */
	uint64_t nr_pages;			   /* (lock) */
};

static struct vm_operations shm_vm_ops, shm_huge_vm_ops;
static pthread_once_t shm_vm_ops_once = PTHREAD_ONCE_INIT;

struct shm_ns *shm_ns_create(struct mm_host *h)
{
	struct shm_ns *ns = calloc(1, sizeof(*ns));

	if (ns) {
		pthread_mutex_init(&ns->lock, NULL);
		ns->mm_host = h;
	}
	return ns;
}

/* Takes a segment out; the caller puts its object and frees it without the lock. */
static void unlink_segment(struct segment *s)
{
	s->ns->segment[s->id % SEQUENCE_STEP] = NULL;
	s->ns->nr--;
	s->ns->nr_pages -= BYTES_TO_PAGES(s->ds.shm_segsz);
}

static void free_segment(struct segment *s)
{
	backing_put(s->object);
	free(s);
}

void shm_ns_destroy(struct shm_ns *ns)
{
	if (!ns)
		return;
	for (unsigned int i = 0; i < SHM_MAX_SEGMENTS; i++)
		if (ns->segment[i])
			free_segment(ns->segment[i]);
	pthread_mutex_destroy(&ns->lock);
	free(ns);
}

/* --- areas ---------------------------------------------------------------------------------------------------------- */

static void shm_open_area(struct vma *vma)
{
	struct segment *s = vma->private_data;

	pthread_mutex_lock(&s->ns->lock);
	s->ds.shm_nattch++;
	s->ds.shm_atime = time(NULL);
	pthread_mutex_unlock(&s->ns->lock);
}

/* One that shows the segment is gone, at that time; 0: one that never did. */
static void let_go(struct segment *s, time_t detached)
{
	bool last;

	pthread_mutex_lock(&s->ns->lock);
	if (detached)
		s->ds.shm_dtime = detached;
	last = !--s->ds.shm_nattch && s->removed;
	if (last)
		unlink_segment(s);
	pthread_mutex_unlock(&s->ns->lock);
	if (last)
		free_segment(s); /* the area has a reference of its own */
}

static void shm_close_area(struct vma *vma)
{
	let_go(vma->private_data, time(NULL));
}

static void make_vm_ops(void)
{
	shm_vm_ops = shmem_vm_ops;
	shm_vm_ops.open = shm_open_area;
	shm_vm_ops.close = shm_close_area;
	shm_huge_vm_ops = hugetlb_vm_ops;
	shm_huge_vm_ops.open = shm_open_area;
	shm_huge_vm_ops.close = shm_close_area;
}

static bool is_attachment(const struct vma *vma)
{
	return vma->vm_ops == &shm_vm_ops || vma->vm_ops == &shm_huge_vm_ops;
}

/* --- segments ------------------------------------------------------------------------------------------------------- */

/* 0 and *found, or -EINVAL; lock is held. */
static int find_id(struct shm_ns *ns, int id, struct segment **found)
{
	struct segment *s =
		id >= 0 && id % SEQUENCE_STEP < SHM_MAX_SEGMENTS ? ns->segment[id % SEQUENCE_STEP] : NULL;

	if (!s || s->id != id)
		return -EINVAL;
	*found = s;
	return 0;
}

static struct segment *find_key(struct shm_ns *ns, key_t key)
{
	for (unsigned int i = 0; i < SHM_MAX_SEGMENTS; i++)
		if (ns->segment[i] && !ns->segment[i]->removed && ns->segment[i]->ds.shm_perm.__key == key)
			return ns->segment[i];
	return NULL;
}

static int free_index(const struct shm_ns *ns)
{
	for (int i = 0; i < SHM_MAX_SEGMENTS; i++)
		if (!ns->segment[i])
			return i;
	return -ENOSPC;
}

static void fill_ds(struct task *t, struct segment *s, key_t key, uint64_t bytes, int flags)
{
	s->ds = (struct shmid_ds){.shm_segsz = bytes, .shm_ctime = time(NULL), .shm_cpid = t->pid};
	s->ds.shm_perm.__key = key;
	s->ds.shm_perm.mode = (unsigned short)(flags & 0777);
	s->ds.shm_perm.uid = s->ds.shm_perm.cuid = t->cred.uid.effective;
	s->ds.shm_perm.gid = s->ds.shm_perm.cgid = t->cred.gid.effective;
}

/* What a segment's memory lies in: 0, -ENOMEM, or -EINVAL for pages of another size. */
static int make_object(struct task *t, uint64_t bytes, int flags, const char *path, struct backing **object)
{
	unsigned int size = (unsigned int)flags >> HUGE_SHIFT & HUGE_MASK;
	struct hugetlb_object *huge;
	int err = 0;

	if (!(flags & HUGE_FLAG)) {
		*object = shmem_create(t->shm->mm_host, bytes, path);
		return *object ? 0 : -ENOMEM;
	}
	if (size && size != HUGE_2M)
		return size == HUGE_1G ? -ENOMEM : -EINVAL;
	bytes = (bytes + PMD_SIZE - 1) & PMD_MASK;
	huge = hugetlb_object_create(t->shm->mm_host, t->mm->memcg, bytes, path);
	if (huge && !(flags & SHM_NORESERVE))
		err = hugetlb_object_reserve(huge, 0, bytes / PMD_SIZE);
	if (huge && err)
		backing_put(&huge->backing);
	else if (huge)
		*object = &huge->backing;
	return huge ? err : -ENOMEM;
}

/* The id of a new segment, or -errno; lock is held. */
static int new_segment(struct task *t, key_t key, uint64_t bytes, int flags)
{
	struct shm_ns *ns = t->shm;
	char path[PATH_BYTES];
	struct segment *s;
	int index;

	if (!bytes || bytes > MAX_BYTES)
		return -EINVAL;
	index = free_index(ns);
	if (index < 0)
		return index;
	s = calloc(1, sizeof(*s));
	snprintf(path, sizeof(path), "/SYSV%08x (deleted)", (unsigned int)key);
	int err = s ? make_object(t, bytes, flags, path, &s->object) : -ENOMEM;
	if (err) {
		free(s);
		return err;
	}
	s->ns = ns;
	s->id = index + (int)(ns->sequence++ % (INT32_MAX / SEQUENCE_STEP)) * SEQUENCE_STEP;
	s->object->ino = (uint64_t)s->id;
	fill_ds(t, s, key, bytes, flags);
	s->ds.shm_perm.__seq = (unsigned short)(s->id / SEQUENCE_STEP);
	ns->segment[index] = s;
	ns->nr++;
	ns->nr_pages += BYTES_TO_PAGES(bytes);
	return s->id;
}

static int get_existing(struct task *t, const struct segment *s, uint64_t bytes, int flags)
{
	int err;

	if ((flags & IPC_CREAT) && (flags & IPC_EXCL))
		return -EEXIST;
	if (bytes > s->ds.shm_segsz)
		return -EINVAL;
	err = ipc_check_perm(t, &s->ds.shm_perm, (unsigned int)flags & 0777);
	return err ? err : s->id;
}

int64_t shm_get(struct task *t, key_t key, uint64_t bytes, int flags)
{
	const struct segment *s = NULL;
	int ret;

	pthread_mutex_lock(&t->shm->lock);
	if (key != IPC_PRIVATE)
		s = find_key(t->shm, key);
	if (s)
		ret = get_existing(t, s, bytes, flags);
	else if (key != IPC_PRIVATE && !(flags & IPC_CREAT))
		ret = -ENOENT;
	else
		ret = new_segment(t, key, bytes, flags);
	pthread_mutex_unlock(&t->shm->lock);
	return ret;
}

/* --- copies --------------------------------------------------------------------------------------------------------- */

int shm_ns_list(struct shm_ns *ns, struct shm_segment **list, unsigned int *nr)
{
	int err = 0;

	*nr = 0;
	pthread_mutex_lock(&ns->lock);
	*list = calloc(ns->nr + 1ul, sizeof(**list));
	for (unsigned int i = 0; *list && i < SHM_MAX_SEGMENTS; i++) {
		const struct segment *s = ns->segment[i];
		if (s && hugetlb_object_of(s->object))
			err = -ENOTSUP;
		if (s)
			(*list)[(*nr)++] = (struct shm_segment){s->ds, s->id, s->object};
	}
	pthread_mutex_unlock(&ns->lock);
	if (*list && !err)
		return 0;
	free(*list);
	*list = NULL;
	return err ? err : -ENOMEM;
}

static bool can_be(const struct shm_ns *ns, const struct shm_segment *g)
{
	return g->id >= 0 && g->id % SEQUENCE_STEP < SHM_MAX_SEGMENTS &&
	       !ns->segment[g->id % SEQUENCE_STEP] && g->ds.shm_segsz && g->object->cache.shmem &&
	       g->ds.shm_segsz == (uint64_t)g->object->ops->size(g->object);
}

int shm_ns_add(struct shm_ns *ns, const struct shm_segment *g)
{
	struct segment *s = calloc(1, sizeof(*s));
	unsigned int sequence = (unsigned int)(g->id / SEQUENCE_STEP) + 1;

	if (!s)
		return -ENOMEM;
	pthread_once(&shm_vm_ops_once, make_vm_ops);
	pthread_mutex_lock(&ns->lock);
	bool good = can_be(ns, g);
	if (good) {
		*s = (struct segment){.ns = ns, .object = backing_get(g->object), .ds = g->ds, .id = g->id};
		s->removed = g->ds.shm_perm.mode & SHM_DEST;
		s->ds.shm_nattch = 0;
		s->object->ino = (uint64_t)s->id;
		atomic_store(&s->object->cache.unevictable, (g->ds.shm_perm.mode & SHM_LOCKED) != 0);
		ns->segment[s->id % SEQUENCE_STEP] = s;
		ns->nr++;
		ns->nr_pages += BYTES_TO_PAGES(s->ds.shm_segsz);
		ns->sequence = ns->sequence > sequence ? ns->sequence : sequence;
	}
	pthread_mutex_unlock(&ns->lock);
	if (!good)
		free(s);
	return good ? 0 : -EINVAL;
}

void shm_ns_settle(struct shm_ns *ns, const struct shm_segment *list, unsigned int nr)
{
	pthread_mutex_lock(&ns->lock);
	for (unsigned int i = 0; i < nr; i++) {
		struct segment *s;
		if (find_id(ns, list[i].id, &s))
			continue;
		s->ds.shm_atime = list[i].ds.shm_atime;
		s->ds.shm_dtime = list[i].ds.shm_dtime;
	}
	pthread_mutex_unlock(&ns->lock);
}

bool shm_is_shown(const struct vma *vma)
{
	return vma->vm_ops == &shm_vm_ops;
}

void shm_area(struct shm_ns *ns, const struct backing *object, struct saved_area *a)
{
	pthread_mutex_lock(&ns->lock);
	for (unsigned int i = 0; i < SHM_MAX_SEGMENTS && !a->vm_ops; i++) {
		if (!ns->segment[i] || ns->segment[i]->object != object)
			continue;
		a->vm_ops = &shm_vm_ops;
		a->private_data = ns->segment[i];
	}
	pthread_mutex_unlock(&ns->lock);
}

/* --- attaching ------------------------------------------------------------------------------------------------------ */

/* What is attached: fills the request. 0 or -errno. */
static int attach_request(int id, gva_t address, int flags, struct mmap_request *r, unsigned int *rights)
{
	if (id < 0)
		return -EINVAL;
	if (address & ~PAGE_MASK) {
		if (!(flags & SHM_RND))
			return -EINVAL;
		address &= PAGE_MASK;
		if (!address && (flags & SHM_REMAP))
			return -EINVAL;
	} else if (!address && (flags & SHM_REMAP)) {
		return -EINVAL;
	}
	r->address = address;
	r->flags = MAP_SHARED | (address ? MAP_FIXED : 0);
	r->prot = PROT_BITS_READ | (flags & SHM_RDONLY ? 0 : PROT_BITS_WRITE) |
		  (flags & SHM_EXEC ? PROT_BITS_EXEC : 0);
	r->may_not_write = flags & SHM_RDONLY;
	*rights = 04u | (flags & SHM_RDONLY ? 0 : 02u) | (flags & SHM_EXEC ? 01u : 0);
	return 0;
}

static bool range_is_free(struct mm *mm, gva_t start, uint64_t bytes)
{
	bool is_free = start + bytes >= start;

	mm_read_lock(mm);
	is_free = is_free && !vma_find_intersection(&mm->vmas, start, start + bytes);
	mm_read_unlock(mm);
	return is_free;
}

/* Holds the segment by a count of its own while it is mapped. */
static int hold_segment(struct task *t, int id, unsigned int rights, struct segment **s)
{
	int err;

	pthread_mutex_lock(&t->shm->lock);
	err = find_id(t->shm, id, s);
	if (!err)
		err = ipc_check_perm(t, &(*s)->ds.shm_perm, rights);
	if (!err)
		(*s)->ds.shm_nattch++;
	pthread_mutex_unlock(&t->shm->lock);
	return err;
}

int64_t shm_attach(struct task *t, int id, gva_t address, int flags)
{
	struct mmap_request r = {0};
	struct segment *s = NULL;
	unsigned int rights = 0;
	int64_t at;
	int err;

	pthread_once(&shm_vm_ops_once, make_vm_ops);
	err = attach_request(id, address, flags, &r, &rights);
	if (!err)
		err = hold_segment(t, id, rights, &s);
	if (err)
		return err;
	r.file = s->object;
	r.length = s->ds.shm_segsz;
	bool huge = hugetlb_object_of(s->object);
	r.vm_ops = huge ? &shm_huge_vm_ops : &shm_vm_ops;
	r.private_data = s;
	at = r.address && !(flags & SHM_REMAP) && !range_is_free(t->mm, r.address, page_align_up(r.length))
		     ? -EINVAL
	     : huge ? hugetlb_mmap(t->mm, &r)
		    : mm_mmap(t->mm, &r);
	pthread_mutex_lock(&t->shm->lock);
	if (at >= 0) {
		s->ds.shm_lpid = t->pid;
		s->ds.shm_atime = time(NULL);
	}
	pthread_mutex_unlock(&t->shm->lock);
	let_go(s, 0);
	return at;
}

/* The part of an attachment that begins at *address, or after it: 0 and its range, or -EINVAL. */
static int find_attached(struct mm *mm, gva_t address, gva_t *start, gva_t *end, struct segment **s)
{
	int err = -EINVAL;

	mm_read_lock(mm);
	for (struct vma *v = vma_find(&mm->vmas, *start); v && err; v = v->next) {
		bool ours = is_attachment(v) && v->start >= address &&
			    (v->start - address) >> PAGE_SHIFT == v->pgoff && (!*s || *s == v->private_data);
		if (!ours)
			continue;
		*s = v->private_data;
		*start = v->start;
		*end = v->end;
		err = 0;
	}
	mm_read_unlock(mm);
	return err;
}

/* An attachment may have been cut into areas, some of them gone: all that is left of it goes. */
int64_t shm_detach(struct task *t, gva_t address)
{
	gva_t start = address, end = 0, limit = ~0ull;
	struct segment *s = NULL;
	int64_t ret = -EINVAL;

	if (address & ~PAGE_MASK)
		return -EINVAL;
	while (start < limit && !find_attached(t->mm, address, &start, &end, &s)) {
		if (limit == ~0ull) {
			pthread_mutex_lock(&t->shm->lock);
			limit = address + page_align_up(s->ds.shm_segsz);
			s->ds.shm_lpid = t->pid;
			pthread_mutex_unlock(&t->shm->lock);
		}
		if (start >= limit)
			break;
		mm_munmap(t->mm, start, end - start);
		start = end;
		ret = 0;
	}
	return ret;
}

/* --- shmctl --------------------------------------------------------------------------------------------------------- */

/* The segment of an id, or of an index; lock is held. */
static int find_for(struct shm_ns *ns, int id, int cmd, struct segment **s)
{
	if (cmd == IPC_STAT)
		return find_id(ns, id, s);
	*s = id < SHM_MAX_SEGMENTS ? ns->segment[id] : NULL;
	return *s ? 0 : -EINVAL;
}

int64_t shm_stat(struct task *t, int id, int cmd, struct shmid_ds *ds)
{
	struct segment *s = NULL;
	int64_t ret;

	pthread_mutex_lock(&t->shm->lock);
	ret = find_for(t->shm, id, cmd, &s);
	if (!ret && cmd != SHM_STAT_ANY)
		ret = ipc_check_perm(t, &s->ds.shm_perm, 0444);
	if (!ret) {
		*ds = s->ds;
		if (cmd != IPC_STAT)
			ret = s->id;
	}
	pthread_mutex_unlock(&t->shm->lock);
	return ret;
}

int64_t shm_set(struct task *t, int id, const struct shmid_ds *ds)
{
	struct segment *s = NULL;
	int ret;

	pthread_mutex_lock(&t->shm->lock);
	ret = find_id(t->shm, id, &s);
	if (!ret)
		ret = ipc_check_perm_owner(t, &s->ds.shm_perm);
	if (!ret) {
		s->ds.shm_perm.uid = ds->shm_perm.uid;
		s->ds.shm_perm.gid = ds->shm_perm.gid;
		s->ds.shm_perm.mode =
			(s->ds.shm_perm.mode & (unsigned short)~0777u) | (ds->shm_perm.mode & 0777);
		s->ds.shm_ctime = time(NULL);
	}
	pthread_mutex_unlock(&t->shm->lock);
	return ret;
}

int64_t shm_remove(struct task *t, int id)
{
	struct segment *s = NULL;
	bool gone = false;
	int ret;

	pthread_mutex_lock(&t->shm->lock);
	ret = find_id(t->shm, id, &s);
	if (!ret)
		ret = ipc_check_perm_owner(t, &s->ds.shm_perm);
	if (!ret) {
		s->removed = true;
		s->ds.shm_perm.mode |= SHM_DEST;
		s->ds.shm_perm.__key = IPC_PRIVATE;
		gone = !s->ds.shm_nattch;
	}
	if (gone)
		unlink_segment(s);
	pthread_mutex_unlock(&t->shm->lock);
	if (gone)
		free_segment(s);
	return ret;
}

int64_t shm_lock(struct task *t, int id, bool lock)
{
	struct segment *s = NULL;
	int ret;

	pthread_mutex_lock(&t->shm->lock);
	ret = find_id(t->shm, id, &s);
	if (!ret)
		ret = ipc_check_perm_owner(t, &s->ds.shm_perm);
	if (!ret && lock)
		s->ds.shm_perm.mode |= SHM_LOCKED;
	else if (!ret)
		s->ds.shm_perm.mode &= (unsigned short)~SHM_LOCKED;
	if (!ret)
		atomic_store(&s->object->cache.unevictable, lock);
	pthread_mutex_unlock(&t->shm->lock);
	return ret;
}

/* The highest index in use, 0 when there is none; lock is held. */
static int highest_index(const struct shm_ns *ns)
{
	for (int i = SHM_MAX_SEGMENTS; i-- > 0;)
		if (ns->segment[i])
			return i;
	return 0;
}

int64_t shm_info(struct task *t, struct shminfo *info)
{
	*info = (struct shminfo){.shmmax = MAX_BYTES,
				 .shmmin = 1,
				 .shmmni = SHM_MAX_SEGMENTS,
				 .shmseg = SHM_MAX_SEGMENTS,
				 .shmall = MAX_PAGES};
	pthread_mutex_lock(&t->shm->lock);
	int ret = highest_index(t->shm);
	pthread_mutex_unlock(&t->shm->lock);
	return ret;
}

int64_t shm_pages(struct task *t, int index, uint64_t *resident, uint64_t *swapped)
{
	struct segment *s = NULL;
	int64_t ret;

	pthread_mutex_lock(&t->shm->lock);
	ret = find_for(t->shm, index, SHM_STAT_ANY, &s);
	if (!ret) {
		*resident = filemap_nr_pages(&s->object->cache);
		*swapped = filemap_nr_swapped(&s->object->cache);
	}
	pthread_mutex_unlock(&t->shm->lock);
	return ret;
}

int64_t shm_usage(struct task *t, struct shm_info *info)
{
	struct shm_ns *ns = t->shm;

	*info = (struct shm_info){0};
	pthread_mutex_lock(&ns->lock);
	info->used_ids = (int)ns->nr;
	info->shm_tot = ns->nr_pages;
	for (unsigned int i = 0; i < SHM_MAX_SEGMENTS; i++)
		if (ns->segment[i]) {
			info->shm_rss += filemap_nr_pages(&ns->segment[i]->object->cache);
			info->shm_swp += filemap_nr_swapped(&ns->segment[i]->object->cache);
		}
	int ret = highest_index(ns);
	pthread_mutex_unlock(&ns->lock);
	return ret;
}
