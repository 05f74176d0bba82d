/* SPDX-License-Identifier: MIT */
/* vsyscall.c - see vsyscall.h. */
#include <errno.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/time.h>

#include "syscall.h"
#include "vsyscall.h"

#define SLOT_BYTES 1024
#define VECTOR_PF  14

static const int calls[] = {SYS_gettimeofday, SYS_time, SYS_getcpu};

/* The number of the system call behind an address, or -1. */
static int call_at(gva_t address)
{
	uint64_t slot = (address - VSYSCALL_START) / SLOT_BYTES;

	return address % SLOT_BYTES || slot >= ARRAY_SIZE(calls) ? -1 : calls[slot];
}

static void bad_call(struct task *t, const struct trap *trap)
{
	const struct fault_context fc = {trap->address, VECTOR_PF, trap->error_code};

	signal_force(t, SIGSEGV, SI_KERNEL, &fc);
}

/* An address that no program could write to is told as the fault of the write. */
static bool may_write(struct task *t, gva_t at, uint64_t bytes)
{
	const struct fault_context fc = {at, VECTOR_PF, PF_USER | PF_WRITE};

	if (access_ok(at, bytes))
		return true;
	signal_force(t, SIGSEGV, SEGV_MAPERR, &fc);
	return false;
}

static bool may_write_results(struct task *t, int nr)
{
	switch (nr) {
	case SYS_gettimeofday:
		return may_write(t, t->regs.rdi, sizeof(struct timeval)) &&
		       may_write(t, t->regs.rsi, sizeof(struct timezone));
	case SYS_time:
		return may_write(t, t->regs.rdi, sizeof(time_t));
	default:
		return may_write(t, t->regs.rdi, sizeof(uint32_t)) &&
		       may_write(t, t->regs.rsi, sizeof(uint32_t));
	}
}

/* Makes the call and returns to the caller. False: the arguments were bad. */
static bool call(struct task *t, int nr, gva_t caller)
{
	const uint64_t rax = t->regs.rax;

	t->regs.rax = (uint64_t)nr;
	syscall_dispatch(t);
	if ((int64_t)t->regs.rax == -EFAULT) {
		t->regs.rax = rax;
		return false;
	}
	t->regs.rip = caller;
	t->regs.rsp += sizeof(caller);
	return true;
}

bool vsyscall_emulate(struct task *t, const struct trap *trap)
{
	gva_t caller;

	if (!(trap->error_code & PF_INSTR) || trap->address != t->regs.rip ||
	    trap->address < VSYSCALL_START || trap->address >= VSYSCALL_END)
		return false;
	int nr = call_at(trap->address);
	if (nr < 0 || copy_from_user(t->mm, &caller, t->regs.rsp, sizeof(caller)))
		bad_call(t, trap);
	else if (may_write_results(t, nr) && !call(t, nr, caller))
		bad_call(t, trap);
	return true;
}
