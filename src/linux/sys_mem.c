/* SPDX-License-Identifier: MIT */
/*
 * sys_mem.c - the system calls about memory: arguments as Linux checks them, then the core.
 *
 * Locked memory: nothing is ever paged out, so to lock a range is to make it resident; no area remembers it,
 * and MCL_FUTURE has no effect of its own.
 * Not here: huge pages on request (-ENOMEM, as on a host that reserved none).
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>

#include "hostfile.h"
#include "memfd.h"
#include "syscall.h"

/* Newer than, or left out of, the headers we build with; the values are Linux's for x86-64. */
#ifndef MAP_UNINITIALIZED
#define MAP_UNINITIALIZED 0x4000000
#endif
#ifndef MAP_ABOVE4G
#define MAP_ABOVE4G 0x80 /* Linux 6.6 */
#endif
#define PROT_SEM_BIT	0x8u

#define MAP_TYPE_BITS	0xfu
#define HUGE_SIZE_SHIFT 26
#define HUGE_SIZE_MASK	0x3fu

/* What every kernel took before MAP_SHARED_VALIDATE came to refuse the rest. */
#define LEGACY_MAP_MASK                                                                                 \
	(MAP_SHARED | MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS | MAP_DENYWRITE | MAP_EXECUTABLE |        \
	 MAP_UNINITIALIZED | MAP_GROWSDOWN | MAP_LOCKED | MAP_NORESERVE | MAP_POPULATE | MAP_NONBLOCK | \
	 MAP_STACK | MAP_HUGETLB | MAP_32BIT | MAP_ABOVE4G | (21u << HUGE_SIZE_SHIFT) |                 \
	 (30u << HUGE_SIZE_SHIFT))

/* --- mmap ------------------------------------------------------------------------------------ */

static int64_t map_huge(unsigned int flags)
{
	unsigned int size = (flags >> HUGE_SIZE_SHIFT) & HUGE_SIZE_MASK;

	return size == 0 || size == 21 || size == 30 ? -ENOMEM : -EINVAL;
}

static int64_t map_anonymous(struct task *t, struct mmap_request *r)
{
	unsigned int type = r->flags & MAP_TYPE_BITS;

	if (r->flags & MAP_HUGETLB)
		return map_huge(r->flags);
	if (type != MAP_PRIVATE && (type != MAP_SHARED || (r->flags & MAP_GROWSDOWN)))
		return -EINVAL;
	r->pgoff = 0;
	return mm_mmap(t->mm, r);
}

static int check_file_flags(unsigned int flags)
{
	unsigned int type = flags & MAP_TYPE_BITS;

	if (flags & (MAP_HUGETLB | MAP_GROWSDOWN))
		return -EINVAL;
	if (type == MAP_SHARED_VALIDATE)
		return flags & ~LEGACY_MAP_MASK ? -EOPNOTSUPP : 0;
	return type == MAP_SHARED || type == MAP_PRIVATE ? 0 : -EINVAL;
}

/* A mapping of /dev/zero is anonymous memory by an older name. */
static bool is_dev_zero(int host_fd)
{
	struct stat st;

	return !fstat(host_fd, &st) && S_ISCHR(st.st_mode) && st.st_rdev == makedev(1, 5);
}

static int64_t map_file(struct task *t, struct mmap_request *r, int guest_fd)
{
	int host_fd = files_host_fd(&t->files, guest_fd);
	int mode, err;
	int64_t at;

	if (host_fd < 0)
		return host_fd;
	mode = fcntl(host_fd, F_GETFL);
	if (mode < 0 || (mode & O_PATH))
		return -EBADF;
	err = check_file_flags(r->flags);
	if (err)
		return err;
	if ((mode & O_ACCMODE) == O_WRONLY)
		return -EACCES;
	r->may_not_write = (mode & O_ACCMODE) != O_RDWR;
	/* No file is longer than a signed offset can say. */
	if (r->length > INT64_MAX || (r->pgoff << PAGE_SHIFT) > INT64_MAX - r->length)
		return -EOVERFLOW;
	if (is_dev_zero(host_fd))
		return mm_mmap(t->mm, r);
	err = memfd_check_map(host_fd, r->prot, (r->flags & MAP_TYPE_BITS) != MAP_PRIVATE, &r->may_not_write);
	if (err)
		return err;
	r->file = memfd_find(host_fd);
	err = r->file ? 0 : hostfile_get(t->hostfiles, host_fd, NULL, &r->file);
	if (err)
		return err;
	at = mm_mmap(t->mm, r);
	backing_put(r->file);
	return at;
}

static int64_t sys_mmap(struct task *t, const uint64_t a[6])
{
	struct mmap_request r = {
		.address = a[0],
		.length = a[1],
		.prot = (unsigned int)a[2] & (PROT_BITS_READ | PROT_BITS_WRITE | PROT_BITS_EXEC),
		.flags = (unsigned int)a[3],
		.pgoff = a[5] >> PAGE_SHIFT,
	};

	if (a[5] & ~PAGE_MASK)
		return -EINVAL;
	return r.flags & MAP_ANONYMOUS ? map_anonymous(t, &r) : map_file(t, &r, (int)a[4]);
}

/* --- changing areas -------------------------------------------------------------------------- */

static int64_t sys_munmap(struct task *t, const uint64_t a[6])
{
	return mm_munmap(t->mm, a[0], a[1]);
}

static int64_t sys_brk(struct task *t, const uint64_t a[6])
{
	return (int64_t)mm_brk(t->mm, a[0]);
}

static int64_t sys_mremap(struct task *t, const uint64_t a[6])
{
	return mm_mremap(t->mm, a[0], a[1], a[2], (unsigned int)a[3], a[4]);
}

static int64_t sys_madvise(struct task *t, const uint64_t a[6])
{
	return mm_madvise(t->mm, a[0], a[1], (int)a[2]);
}

/* PROT_GROWSDOWN: the change begins at the bottom of the first stack that has a part in the range. 0 or -errno. */
static int stack_bottom(struct task *t, gva_t start, gva_t end, gva_t *bottom)
{
	struct vma *vma;
	int err = 0;

	pthread_rwlock_rdlock(&t->mm->mmap_lock);
	vma = vma_find(&t->mm->vmas, start);
	if (!vma || vma->start >= end)
		err = -ENOMEM;
	else if (!(vma->flags & VM_GROWSDOWN))
		err = -EINVAL;
	else
		*bottom = vma->start;
	pthread_rwlock_unlock(&t->mm->mmap_lock);
	return err;
}

static int64_t sys_mprotect(struct task *t, const uint64_t a[6])
{
	const unsigned int access = PROT_BITS_READ | PROT_BITS_WRITE | PROT_BITS_EXEC;
	unsigned int grows = (unsigned int)a[2] & (PROT_GROWSDOWN | PROT_GROWSUP);
	unsigned int prot = (unsigned int)a[2] & ~(PROT_GROWSDOWN | PROT_GROWSUP);
	gva_t start = a[0], bottom = a[0];
	uint64_t length = page_align_up(a[1]);
	int err;

	if (grows == (PROT_GROWSDOWN | PROT_GROWSUP) || (start & ~PAGE_MASK))
		return -EINVAL;
	if (!a[1])
		return 0;
	if (!length || start + length <= start)
		return -ENOMEM;
	if (prot & ~(access | PROT_SEM_BIT))
		return -EINVAL;
	if (grows == PROT_GROWSUP)
		return -EINVAL;
	err = grows ? stack_bottom(t, start, start + length, &bottom) : 0;
	if (err)
		return err;
	return mm_mprotect(t->mm, bottom, start + length - bottom, prot & access);
}

/* --- ranges ---------------------------------------------------------------------------------- */

/* 0 when areas cover all of [start, end), else -ENOMEM. */
static int range_mapped(struct mm *mm, gva_t start, gva_t end)
{
	pthread_rwlock_rdlock(&mm->mmap_lock);
	for (struct vma *v = vma_find(&mm->vmas, start); v && v->start <= start && start < end; v = v->next)
		start = v->end;
	pthread_rwlock_unlock(&mm->mmap_lock);
	return start < end ? -ENOMEM : 0;
}

static int64_t sys_msync(struct task *t, const uint64_t a[6])
{
	return mm_msync(t->mm, a[0], a[1], (unsigned int)a[2]);
}

/* The pages that [start, start + length) touches; a length that wraps is 0, as in Linux. 0 or -EINVAL. */
static int lock_range(gva_t *start, uint64_t *length)
{
	uint64_t bytes = page_align_up(*length + (*start & ~PAGE_MASK));

	*start = page_align_down(*start);
	if (*start + bytes < *start)
		return -EINVAL;
	*length = bytes;
	return 0;
}

static int64_t do_mlock(struct task *t, gva_t start, uint64_t length)
{
	int err = lock_range(&start, &length);

	if (err || !length)
		return err;
	err = range_mapped(t->mm, start, start + length);
	if (err)
		return err;
	return mm_populate(t->mm, start, length) ? -ENOMEM : 0;
}

static int64_t sys_mlock(struct task *t, const uint64_t a[6])
{
	return do_mlock(t, a[0], a[1]);
}

static int64_t sys_mlock2(struct task *t, const uint64_t a[6])
{
	gva_t start = a[0];
	uint64_t length = a[1];
	int err;

	if (a[2] & ~(uint64_t)MLOCK_ONFAULT)
		return -EINVAL;
	if (!a[2])
		return do_mlock(t, start, length);
	err = lock_range(&start, &length);
	return err ? err : range_mapped(t->mm, start, start + length);
}

static int64_t sys_munlock(struct task *t, const uint64_t a[6])
{
	gva_t start = a[0];
	uint64_t length = a[1];
	int err = lock_range(&start, &length);

	return err ? err : range_mapped(t->mm, start, start + length);
}

/* The next area from *start on that can be accessed at all; false when there is none. */
static bool next_area(struct mm *mm, gva_t *start, gva_t *end)
{
	struct vma *vma;

	pthread_rwlock_rdlock(&mm->mmap_lock);
	vma = vma_find(&mm->vmas, *start);
	while (vma && !(vma->flags & VM_ACCESS_FLAGS))
		vma = vma->next;
	if (vma) {
		*start = max_u64(vma->start, *start);
		*end = vma->end;
	}
	pthread_rwlock_unlock(&mm->mmap_lock);
	return vma;
}

/* As Linux, it brings in what it can and does not say where it could not. */
static int64_t sys_mlockall(struct task *t, const uint64_t a[6])
{
	unsigned int flags = (unsigned int)a[0];
	gva_t start = 0, end = 0;

	if (!flags || (flags & ~(unsigned int)(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT)) ||
	    flags == MCL_ONFAULT)
		return -EINVAL;
	if (!(flags & MCL_CURRENT) || (flags & MCL_ONFAULT))
		return 0;
	for (; next_area(t->mm, &start, &end) && !task_interrupted(t); start = end)
		mm_populate(t->mm, start, end - start);
	return 0;
}

static int64_t sys_munlockall(struct task *t, const uint64_t a[6])
{
	(void)t;
	(void)a;
	return 0;
}

/* --- mincore --------------------------------------------------------------------------------- */

static unsigned char page_resident(struct mm *mm, struct vma *vma, gva_t address)
{
	struct page *page = NULL;
	const pte_t *slot;
	bool mapped;

	pthread_mutex_lock(&mm->page_table_lock);
	slot = pgtable_find(&mm->pgt, address);
	mapped = slot && pte_present(pte_read(slot));
	pthread_mutex_unlock(&mm->page_table_lock);
	if (mapped || !vma->mapping)
		return mapped;
	page = filemap_find(vma->mapping, vma->pgoff + ((address - vma->start) >> PAGE_SHIFT));
	if (page)
		page_put(mm->frames, page);
	return page != NULL;
}

/*
 * Residency of up to nr pages of one run of areas: how many were looked at, or -ENOMEM for a hole at `start`.
 */
static int64_t mincore_run(struct mm *mm, gva_t start, uint64_t nr, unsigned char *vec)
{
	int64_t done = 0;
	struct vma *vma;

	pthread_rwlock_rdlock(&mm->mmap_lock);
	vma = vma_find(&mm->vmas, start);
	if (!vma || vma->start > start)
		done = -ENOMEM;
	else
		for (; (uint64_t)done < nr && start < vma->end; start += PAGE_SIZE)
			vec[done++] = page_resident(mm, vma, start);
	pthread_rwlock_unlock(&mm->mmap_lock);
	return done;
}

static int64_t sys_mincore(struct task *t, const uint64_t a[6])
{
	uint64_t left = BYTES_TO_PAGES(a[1]);
	gva_t start = a[0], to = a[2];
	unsigned char vec[512];
	int64_t done;

	if (start & ~PAGE_MASK)
		return -EINVAL;
	if (!access_ok(start, a[1]))
		return -ENOMEM;
	if (!access_ok(to, left))
		return -EFAULT;
	for (; left; left -= (uint64_t)done) {
		done = mincore_run(t->mm, start, min_u64(left, sizeof(vec)), vec);
		if (done < 0)
			return done;
		if (copy_to_user(t->mm, to, vec, (size_t)done))
			return -EFAULT;
		if (task_interrupted(t))
			return -EINTR;
		start += (uint64_t)done << PAGE_SHIFT;
		to += (uint64_t)done;
	}
	return 0;
}

const struct syscall_entry sys_mem_calls[] = {
	SYSCALL_ENTRY(mmap),	 SYSCALL_ENTRY(munmap),
	SYSCALL_ENTRY(brk),	 SYSCALL_ENTRY(mremap),
	SYSCALL_ENTRY(madvise),	 SYSCALL_ENTRY(mprotect),
	SYSCALL_ENTRY(msync),	 SYSCALL_ENTRY(mlock),
	SYSCALL_ENTRY(mlock2),	 SYSCALL_ENTRY(munlock),
	SYSCALL_ENTRY(mlockall), SYSCALL_ENTRY(munlockall),
	SYSCALL_ENTRY(mincore),	 {0},
};
