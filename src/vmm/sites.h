/* SPDX-License-Identifier: MIT */
/* sites.h - call sites that were rewritten: see sites.c. What the rest of the machine sees of it is in vm.h and vcpu.h. */
#ifndef LODGE_VMM_SITES_H
#define LODGE_VMM_SITES_H

#include "../guest/abi.h"
#include "../mm/mm.h"

struct vcpu;
struct cpu_regs;

#define SYSCALL_BYTES	  2
#define SITES_LOWEST_AREA 0x10000 /* Linux's mmap_min_addr; insn.c counts on it */

/* Of a space, from its first site on, until it ends. */
struct sites {
	struct page *page;
	struct sites_page *data;  /* its bytes, which the guest reads */
	gva_t slots;		  /* of the vDSO that they lead to */
	unsigned int nr;	  /* of data->site */
	bool rewritten[NR_SITES]; /* the text is not as its file has it */
};

/* Calls that came from one place lately, one after the other. */
struct hot_site {
	const struct mm *mm;
	gva_t after;
	uint64_t nr;
	unsigned int calls, needed;
};

#define HOT_SITES 256u

/* A call has come, by exit or mailbox. On its owner's thread, as all of these. */
void sites_note(struct vcpu *v, const struct mm *mm, const struct cpu_regs *regs);
/* A processor that was stopped on its way to its gate has been stopped in front of the SYSCALL. False: it is elsewhere. */
bool sites_resolve(struct vcpu *v, const struct mm *mm, struct cpu_regs *regs);

#endif
