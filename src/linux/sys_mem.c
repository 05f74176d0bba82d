/* SPDX-License-Identifier: MIT */
/*
 * sys_mem.c - the system calls about memory: arguments as Linux checks them, then the core.
 *
 * Not here: pages of 1 GiB on request (-ENOMEM, as on a host that reserved none).
 */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>

#include "../mm/hugetlb_object.h"
#include "../mm/hugetlb.h"
#include "../mm/lock.h"
#include "../mm/shmem_swap.h"
#include "hostfile.h"
#include "memfd.h"
#include "syscall.h"

#ifndef SYS_mseal
#define SYS_mseal 462 /* Linux 6.10 */
#endif

#define HUGE_SIZE_SHIFT 26
#define HUGE_SIZE_MASK	0x3fu

/* --- mmap ------------------------------------------------------------------------------------ */

static int64_t map_huge(struct task *t, const struct mmap_request *r)
{
	unsigned int size = (r->flags >> HUGE_SIZE_SHIFT) & HUGE_SIZE_MASK;

	if (size == 0 || size == 21)
		return hugetlb_mmap(t->mm, r);
	return size == 30 ? -ENOMEM : -EINVAL;
}

/*
 * Segments of a library, as the C library's dynamic linker maps them: it will relocate the data and run the code in a moment, and a fault
 * for each piece would cost more than mapping all of it. What is large, or would fill the account, is left to faults. The first of these
 * mappings reserves the room of all, and its headers are read next: their page, with what a fault there maps around it.
 */
#define SEGMENT_FLAGS	  (MAP_PRIVATE | MAP_FIXED | MAP_DENYWRITE)
#define SEGMENT_MAX_PAGES 512
#define DATA_MAX_PAGES	  64

static void populate(struct task *t, gva_t at, uint64_t pages)
{
	if (memcg_room(t->mm->memcg) >= 4 * pages)
		mm_populate(t->mm, at, pages << PAGE_SHIFT);
}

static void populate_segment(struct task *t, const struct mmap_request *r, gva_t at)
{
	bool first = (r->flags & SEGMENT_FLAGS) == (MAP_PRIVATE | MAP_DENYWRITE) && r->prot == PROT_BITS_READ;
	uint64_t pages = first ? 1 : BYTES_TO_PAGES(r->length),
		 most = r->prot & PROT_BITS_WRITE ? DATA_MAX_PAGES : SEGMENT_MAX_PAGES;

	if (first || ((r->flags & SEGMENT_FLAGS) == SEGMENT_FLAGS && r->prot && pages <= most))
		populate(t, at, pages);
}

/* Where the dynamic linker is, or 0. */
static gva_t linker_base(const struct mm *mm)
{
	for (unsigned int i = 0; i + 1 < mm->nr_auxv_words; i += 2)
		if (mm->saved_auxv[i] == AT_BASE)
			return mm->saved_auxv[i + 1];
	return 0;
}

static bool is_linker(const struct task *t)
{
	gva_t base = linker_base(t->mm);

	if (!base || t->regs.rip < base)
		return false;
	mm_read_lock(t->mm);
	const struct vma *first = vma_find(&t->mm->vmas, base), *code = vma_find(&t->mm->vmas, t->regs.rip);
	bool same = first && code && first->file && first->file == code->file;
	mm_read_unlock(t->mm);
	return same;
}

/*
 * What the dynamic linker maps for itself it uses before any code of the program runs: its list of libraries, memory for its own tables and
 * for the first thread's variables, and what a library has of zeroes behind its data.
 */
#define LINKER_MAX_PAGES 32

static void populate_for_linker(struct task *t, const struct mmap_request *r, gva_t at)
{
	bool data = (r->flags & (MAP_TYPE | MAP_ANONYMOUS)) == (MAP_PRIVATE | MAP_ANONYMOUS) &&
		    (r->prot & PROT_BITS_WRITE);
	bool list = (r->flags & ~(unsigned int)MAP_FIXED) == MAP_PRIVATE && r->prot == PROT_BITS_READ;

	if ((data || list) && BYTES_TO_PAGES(r->length) <= LINKER_MAX_PAGES && is_linker(t))
		populate(t, at, BYTES_TO_PAGES(r->length));
}

static int64_t map_anonymous(struct task *t, struct mmap_request *r)
{
	if (r->flags & MAP_HUGETLB)
		return map_huge(t, r);
	int64_t at = mm_mmap(t->mm, r);
	if (at >= 0)
		populate_for_linker(t, r, (gva_t)at);
	return at;
}

/* A mapping of /dev/zero is anonymous memory by an older name. */
static bool is_dev_zero(int host_fd)
{
	struct stat st;

	return !fstat(host_fd, &st) && S_ISCHR(st.st_mode) && st.st_rdev == makedev(1, 5);
}

static int64_t map_dev_zero(struct task *t, struct mmap_request *r)
{
	if (r->may_not_read || ((r->flags & MAP_SHARED) && r->may_not_write && (r->prot & PROT_BITS_WRITE)))
		return -EACCES;
	if ((r->flags & MAP_TYPE) == MAP_SHARED_VALIDATE)
		r->flags &= ~(unsigned int)MAP_PRIVATE;
	return mm_mmap(t->mm, r);
}

/* A mapping that may be written makes it as long as it reaches. */
static int64_t map_huge_file(struct task *t, struct mmap_request *r, int host_fd)
{
	int64_t at = hugetlb_mmap(t->mm, r);

	if (at >= 0)
		memfd_extend(r->file, host_fd);
	return at;
}

static int64_t map_file(struct task *t, struct mmap_request *r, int guest_fd)
{
	int host_fd = files_host_fd(t->files, guest_fd);
	int mode, err;
	int64_t at;

	if (host_fd < 0)
		return host_fd;
	mode = fcntl(host_fd, F_GETFL);
	if (mode < 0 || (mode & O_PATH))
		return -EBADF;
	if (!r->length)
		return -EINVAL;
	if ((r->flags & MAP_TYPE) == MAP_SHARED && (r->flags & MAP_SYNC)) /* no file here takes it */
		return -EOPNOTSUPP;
	if ((r->flags & MAP_TYPE) != MAP_PRIVATE && (r->prot & PROT_BITS_WRITE) &&
	    (mode & O_ACCMODE) != O_RDWR)
		return -EACCES;
	if (files_get(t->files, guest_fd)->proc.kind != PROC_NONE)
		return -ENODEV;
	r->may_not_read = (mode & O_ACCMODE) == O_WRONLY;
	r->may_not_write = (mode & O_ACCMODE) != O_RDWR;
	if (is_dev_zero(host_fd))
		return map_dev_zero(t, r);
	err = memfd_check_map(host_fd, r->prot, (r->flags & MAP_TYPE) != MAP_PRIVATE, &r->may_not_write);
	if (err)
		return err;
	r->file = memfd_find(host_fd);
	err = r->file ? 0 : hostfile_get(t->hostfiles, host_fd, NULL, &r->file);
	if (err)
		return err;
	if ((r->flags & (MAP_TYPE | MAP_DENYWRITE)) == (MAP_PRIVATE | MAP_DENYWRITE))
		r->extra_flags = VM_PROGRAM;
	if (hugetlb_object_of(r->file))
		at = map_huge_file(t, r, host_fd);
	else
		at = r->flags & MAP_HUGETLB ? -EINVAL : mm_mmap(t->mm, r);
	backing_put(r->file);
	if (at >= 0) {
		populate_segment(t, r, (gva_t)at);
		populate_for_linker(t, r, (gva_t)at);
	}
	return at;
}

static unsigned int implied_prot(const struct task *t, unsigned int prot)
{
	return (t->personality & READ_IMPLIES_EXEC) && (prot & PROT_BITS_READ) ? prot | PROT_BITS_EXEC : prot;
}

static int64_t sys_mmap(struct task *t, const uint64_t a[6])
{
	struct mmap_request r = {
		.address = a[0],
		.length = a[1],
		.prot = implied_prot(t, (unsigned int)a[2]) &
			(PROT_BITS_READ | PROT_BITS_WRITE | PROT_BITS_EXEC),
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

static int64_t sys_mprotect(struct task *t, const uint64_t a[6])
{
	return mm_mprotect(t->mm, a[0], a[1], implied_prot(t, (unsigned int)a[2]));
}

/* As on a processor without protection keys: there is none but that of all pages. */
static int64_t sys_pkey_mprotect(struct task *t, const uint64_t a[6])
{
	return (int)a[3] == -1 ? sys_mprotect(t, a) : -EINVAL;
}

static int64_t sys_pkey_alloc(struct task *t, const uint64_t a[6])
{
	(void)t;
	(void)a;
	return -EINVAL;
}

static int64_t sys_pkey_free(struct task *t, const uint64_t a[6])
{
	return sys_pkey_alloc(t, a);
}

static int64_t sys_mseal(struct task *t, const uint64_t a[6])
{
	return mm_mseal(t->mm, a[0], a[1], a[2]);
}

static int64_t sys_remap_file_pages(struct task *t, const uint64_t a[6])
{
	return mm_remap_file_pages(t->mm, a[0], a[1], (unsigned int)a[2], a[3], (unsigned int)a[4]);
}

/* --- ranges ---------------------------------------------------------------------------------- */

static int64_t sys_msync(struct task *t, const uint64_t a[6])
{
	return mm_msync(t->mm, a[0], a[1], (unsigned int)a[2]);
}

static int64_t sys_mlock(struct task *t, const uint64_t a[6])
{
	return mm_mlock(t->mm, a[0], a[1], 0);
}

static int64_t sys_mlock2(struct task *t, const uint64_t a[6])
{
	return mm_mlock(t->mm, a[0], a[1], (unsigned int)a[2]);
}

static int64_t sys_munlock(struct task *t, const uint64_t a[6])
{
	return mm_munlock(t->mm, a[0], a[1]);
}

static int64_t sys_mlockall(struct task *t, const uint64_t a[6])
{
	return mm_mlockall(t->mm, (unsigned int)a[0]);
}

static int64_t sys_munlockall(struct task *t, const uint64_t a[6])
{
	(void)a;
	mm_munlockall(t->mm);
	return 0;
}

/* --- mincore --------------------------------------------------------------------------------- */

static unsigned char page_resident(struct mm *mm, struct vma *vma, gva_t address)
{
	struct page *page = NULL;
	pte_t *slot;

	pthread_mutex_lock(&mm->page_table_lock);
	pte_t pte = pgtable_translate(&mm->pgt, address, &slot);
	bool there = pte_present(pte) || swap_cached(mm->host, pte);
	pthread_mutex_unlock(&mm->page_table_lock);
	if (there || !vma->mapping || entry_type(pte) == ENTRY_SWAP)
		return there;
	uint64_t index = vma_linear_index(vma, address);
	page = filemap_find(vma->mapping, index);
	if (page)
		page_put(mm->frames, page);
	return page || shmem_is_cached(vma->mapping, index);
}

/*
 * Residency of up to nr pages of one run of areas: how many were looked at, or -ENOMEM for a hole at `start`.
 */
static int64_t mincore_run(struct mm *mm, gva_t start, uint64_t nr, unsigned char *vec)
{
	int64_t done = 0;
	struct vma *vma;

	mm_read_lock(mm);
	vma = vma_find(&mm->vmas, start);
	if (!vma || vma->start > start)
		done = -ENOMEM;
	else
		for (; (uint64_t)done < nr && start < vma->end; start += PAGE_SIZE)
			vec[done++] = page_resident(mm, vma, start);
	mm_read_unlock(mm);
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
	SYSCALL_ENTRY(mmap),
	SYSCALL_ENTRY(munmap),
	SYSCALL_ENTRY(brk),
	SYSCALL_ENTRY(mremap),
	SYSCALL_ENTRY(madvise),
	SYSCALL_ENTRY(mprotect),
	SYSCALL_ENTRY(pkey_mprotect),
	SYSCALL_ENTRY(pkey_alloc),
	SYSCALL_ENTRY(pkey_free),
	SYSCALL_ENTRY(msync),
	SYSCALL_ENTRY(mlock),
	SYSCALL_ENTRY(mlock2),
	SYSCALL_ENTRY(munlock),
	SYSCALL_ENTRY(mlockall),
	SYSCALL_ENTRY(munlockall),
	SYSCALL_ENTRY(mseal),
	SYSCALL_ENTRY(remap_file_pages),
	SYSCALL_ENTRY(mincore),
	{0},
};
