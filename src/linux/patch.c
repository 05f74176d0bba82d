/* SPDX-License-Identifier: MIT */
/* patch.c - see patch.h. */
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/syscall.h>

#include "../vmm/vm.h"
#include "patch.h"
#include "vdso.h"

#ifndef SYS_mseal
#define SYS_mseal 462 /* Linux 6.10 */
#endif

void patch_allow(struct task *t)
{
	if (t->sandbox->patch && t->vdso)
		vcpu_set_patching(t->vcpu, t->vdso->mapping[VDSO_IMAGE].pfn);
}

/* The first process's space has a user who only asks it for numbers. */
void patch_rewrite(struct task *t)
{
	pthread_mutex_lock(&t->sandbox->lock);
	bool is_first = t->sandbox->first_mm == t->mm;
	pthread_mutex_unlock(&t->sandbox->lock);
	vcpu_rewrite_site(t->vcpu, t->mm, is_first ? 2 : 1);
}

void patch_undo(struct mm *mm)
{
	sites_undo(mm, 0, TASK_SIZE);
}

/* Bounds may be nonsense: what the call refuses does no harm here. */
static void undo_in(struct task *t, gva_t start, uint64_t bytes)
{
	if (start < TASK_SIZE && bytes)
		sites_undo(t->mm, start, bytes < TASK_SIZE - start ? start + bytes : TASK_SIZE);
}

void patch_before_call(struct task *t, int nr, const uint64_t a[6])
{
	if (!t->sandbox->patch || !sites_exist(t->vm))
		return;
	switch (nr) {
	case SYS_mremap:
		if (a[3] & MREMAP_FIXED)
			undo_in(t, a[4], a[2]);
		/* fallthrough */
	case SYS_munmap:
	case SYS_mprotect:
	case SYS_pkey_mprotect:
	case SYS_madvise:
	case SYS_mlock:
	case SYS_mlock2:
	case SYS_remap_file_pages:
	case SYS_mseal:
		undo_in(t, a[0], a[1]);
		break;
	case SYS_mmap:
		if (a[3] & MAP_FIXED)
			undo_in(t, a[0], a[1]);
		break;
	case SYS_shmat:
		if (!(a[2] & SHM_REMAP))
			break;
		/* fallthrough */
	case SYS_mlockall:
	case SYS_process_madvise:
	case SYS_clone:
	case SYS_clone3:
	case SYS_fork:
	case SYS_vfork:
		patch_undo(t->mm);
		break;
	default:
		break;
	}
}
