/* SPDX-License-Identifier: MIT */
/*
 * vdso.h - the vDSO of a host's programs: one copy of the image and one page of clocks, mapped by every space.
 *
 * A space maps struct vvar ([vvar], pages that only the first of exists) and behind it the image ([vdso]), where mmap would put them.
 */
#ifndef LODGE_LINUX_VDSO_H
#define LODGE_LINUX_VDSO_H

#include "../mm/special_mapping.h"
#include "vvar.h"

struct vm;

#define VDSO_IMAGE 1

struct vdso {
	struct frames *frames;
	struct page *pages;		   /* struct vvar, the image */
	struct special_mapping mapping[2]; /* [vvar], and [VDSO_IMAGE] */
	struct vvar_source vvar;
};

/* 0 or -ENOMEM. */
int vdso_init(struct vdso *v, struct frames *f);
/* No space maps it any more. A vdso that vdso_init never saw is fine if it is zeroed. */
void vdso_destroy(struct vdso *v);

/* The address of the image, as AT_SYSINFO_EHDR has it, or -ENOMEM. */
int64_t vdso_map(const struct vdso *v, struct mm *mm);

/* Finds out, once, how programs can learn of their processor without a system call. On a thread that has a vCPU. */
void vdso_find_cpu(struct vdso *v, struct vm *vm);

#endif
