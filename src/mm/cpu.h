/* SPDX-License-Identifier: MIT */
/*
 * cpu.h - which processor the caller runs on, for what is kept per CPU.
 *
 * Read from the area that the C library registered with the kernel's rseq, without a call. The answer may be out of date at once:
 * whoever uses it takes the lock of what it leads to.
 */
#ifndef LODGE_MM_CPU_H
#define LODGE_MM_CPU_H

#include <sched.h>
#include <sys/rseq.h>

static inline unsigned int cpu_current(void)
{
	if (__rseq_size) {
		const struct rseq *r =
			(const struct rseq *)(const void *)((char *)__builtin_thread_pointer() +
							    __rseq_offset);
		return __atomic_load_n(&r->cpu_id_start, __ATOMIC_RELAXED);
	}
	int cpu = sched_getcpu();
	return cpu < 0 ? 0 : (unsigned int)cpu;
}

#endif
