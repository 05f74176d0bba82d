/* SPDX-License-Identifier: MIT */
/* vdso.c - see vdso.h. */
#include <cpuid.h>
#include <errno.h>
#include <string.h>

#include "../vmm/vm.h"
#include "vdso.h"

extern const char vdso_image[], vdso_image_end[];

#define PAGES_ORDER 1

/* The frames come from where the machine has its own that stay: pages of guests should find none between them that cannot move. */
int vdso_init(struct vdso *v, struct frames *f)
{
	struct page *pages = page_alloc(f, GFP_TABLE | __GFP_ZERO, PAGES_ORDER);

	if (!pages)
		return -ENOMEM;
	for (unsigned int i = 0; i < 1u << PAGES_ORDER; i++)
		atomic_fetch_or(&pages[i].flags, PG_RESERVED);
	*v = (struct vdso){
		.frames = f,
		.pages = pages,
		.mapping =
			{
				{.name = "[vvar]",
				 .vm_flags = VM_READ | VM_MAYREAD | VM_IO | VM_PFNMAP | VM_DONTDUMP,
				 .nr_pages = VVAR_PAGES,
				 .pfn = page_to_pfn(f, pages),
				 .nr_frames = 1},
				{.name = "[vdso]",
				 .vm_flags = VM_READ | VM_EXEC | VM_MAYREAD | VM_MAYWRITE | VM_MAYEXEC,
				 .nr_pages = 1,
				 .pfn = page_to_pfn(f, pages + 1),
				 .nr_frames = 1},
			},
	};
	vvar_init(&v->vvar, page_address(f, pages));
	memcpy(page_address(f, pages + 1), vdso_image, (size_t)(vdso_image_end - vdso_image));
	return 0;
}

void vdso_destroy(struct vdso *v)
{
	if (!v->pages)
		return;
	vvar_destroy(&v->vvar);
	for (unsigned int i = 0; i < 1u << PAGES_ORDER; i++)
		atomic_fetch_and(&v->pages[i].flags, ~(uint32_t)PG_RESERVED);
	page_free_block(v->frames, v->pages, PAGES_ORDER);
	v->pages = NULL;
}

#define RDPID_ECX (1u << 22)

static bool has_rdpid(void)
{
	uint32_t a, b, c, d;

	return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (c & RDPID_ECX);
}

/*
 * Where programs run at CPL3 of the host's own processor, with nobody's ring 0 below them but the host's, it is the host who has set what
 * RDPID tells; otherwise the vCPU's tables are in effect. The host's nodes are not ours.
 */
void vdso_find_cpu(struct vdso *v, struct vm *vm)
{
	enum vvar_cpu_by by = VVAR_CPU_LSL;
	struct vm_platform p;

	if (__atomic_load_n(&v->vvar.page->cpu_by, __ATOMIC_RELAXED) != VVAR_CPU_SYSCALL ||
	    vm_platform(vm, &p))
		return;
	if (p.syscall_cpl3)
		by = has_rdpid() && v->frames->nr_nodes == 1 ? VVAR_CPU_RDPID : VVAR_CPU_SYSCALL;
	__atomic_store_n(&v->vvar.page->cpu_by, by, __ATOMIC_RELAXED);
}

int64_t vdso_map(const struct vdso *v, struct mm *mm)
{
	int64_t at = install_special_mappings(mm, v->mapping, ARRAY_SIZE(v->mapping));

	return at < 0 ? at : at + ((int64_t)VVAR_PAGES << PAGE_SHIFT);
}
