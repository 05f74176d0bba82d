/* SPDX-License-Identifier: MIT */
/*
 * same_sweep_memory.c - the calls on memory, with every interesting argument.
 */
#include <linux/mempolicy.h>
#include <sys/shm.h>
#include <sys/uio.h>

#include "sweep.h"

static const struct iovec vec[] = {{(void *)AT_RW, 16}}, far_vec[] = {{(void *)AT_LAST, 16}},
			  hole_vec[] = {{(void *)AT_HOLE, 16}}, negative[] = {{(void *)AT_RW, -1ul}};
static const struct sweep_value vecs[] = {
	{"one", (uintptr_t)vec},	   {"hole", AT_HOLE}, {"bad", (uintptr_t)hole_vec},
	{"negative", (uintptr_t)negative}, {"NULL", 0},
};
static const struct sweep_value advice[] = {
	{"0", 0},   {"-1", -1ul}, {"1", 1},   {"2", 2},	  {"3", 3},   {"4", 4},	  {"5", 5},
	{"6", 6},   {"7", 7},	  {"8", 8},   {"9", 9},	  {"10", 10}, {"11", 11}, {"12", 12},
	{"13", 13}, {"14", 14},	  {"15", 15}, {"16", 16}, {"17", 17}, {"18", 18}, {"19", 19},
	{"20", 20}, {"21", 21},	  {"22", 22}, {"23", 23}, {"24", 24}, {"26", 26},
};
static const struct sweep_value maps[] = {
	{"private", MAP_PRIVATE | MAP_ANONYMOUS},
	{"0", 0},
	{"shared", MAP_SHARED | MAP_ANONYMOUS},
	{"validate", MAP_SHARED_VALIDATE | MAP_ANONYMOUS},
	{"file", MAP_PRIVATE},
	{"file shared", MAP_SHARED},
	{"file validate", MAP_SHARED_VALIDATE},
	{"sync", MAP_SHARED_VALIDATE | MAP_SYNC},
	{"shared sync", MAP_SHARED | MAP_SYNC},
	{"unknown", MAP_SHARED_VALIDATE | (1 << 27)},
	{"private unknown", MAP_PRIVATE | (1 << 27)},
	{"grows", MAP_PRIVATE | MAP_ANONYMOUS | MAP_GROWSDOWN},
	{"grows file", MAP_PRIVATE | MAP_GROWSDOWN},
	{"fixed", MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED},
	{"noreplace", MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE},
	{"droppable", 8 | MAP_ANONYMOUS},
	{"4", 4 | MAP_ANONYMOUS},
	{"locked", MAP_PRIVATE | MAP_ANONYMOUS | MAP_LOCKED},
};

static const struct sweep_value shm_sizes[] = {
	{"4096", 4096},
	{"0", 0},
	{"1", 1},
	{"-1", -1ul},
};

static const struct sweep_call calls[] = {
	CALL(mmap, CHANGES, ADDRESS, LENGTH, BITS(PROT_READ), WITH(maps, MAP_PRIVATE | MAP_ANONYMOUS), FD,
	     LONG(0)),
	CALL(mmap, CHANGES, ONLY(0), LENGTH, BITS(PROT_READ), WITH(maps, MAP_PRIVATE), FD, LONG(0)),
	CALL(mmap, CHANGES, ONLY(0), LENGTH, BITS(PROT_WRITE), WITH(maps, MAP_SHARED), FD, LONG(0)),
	CALL(mmap, CHANGES, ADDRESS, LENGTH, ONLY(PROT_READ), ONLY(MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED),
	     ONLY(-1), LONG(0)),
	CALL(mmap, CHANGES, ADDRESS, LENGTH, ONLY(PROT_READ),
	     ONLY(MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE), ONLY(-1), LONG(0)),
	CALL(munmap, CHANGES, ADDRESS, LENGTH),
	CALL(mprotect, CHANGES, ADDRESS, LENGTH, BITS(PROT_READ)),
	CALL(pkey_mprotect, CHANGES, ADDRESS, LENGTH, BITS(PROT_READ), INT(-1)),
	CALL(pkey_alloc, CHANGES, BITS(0), BITS(0)),
	CALL(pkey_free, CHANGES, INT(0)),
	CALL(mremap, CHANGES, ADDRESS, LENGTH, LENGTH, BITS(MREMAP_MAYMOVE), ADDRESS_OF(0)),
	CALL(mremap, CHANGES, ADDRESS, LENGTH, LENGTH, BITS(MREMAP_MAYMOVE | MREMAP_FIXED),
	     ADDRESS_OF(AT_LAST)),
	CALL(mremap, CHANGES, ADDRESS, LENGTH, LENGTH, ONLY(MREMAP_MAYMOVE | MREMAP_FIXED),
	     ADDRESS_OF(AT_HOLE)),
	CALL(mremap, CHANGES, ADDRESS, LENGTH, LENGTH, BITS(MREMAP_MAYMOVE | 4)),
	CALL(madvise, CHANGES, ADDRESS, LENGTH, WITH(advice, 0)),
	CALL(msync, CHANGES, ADDRESS, LENGTH, BITS(MS_SYNC)),
	CALL(mincore, CHANGES, ADDRESS, LENGTH, OUT),
	CALL(mlock, CHANGES, ADDRESS, LENGTH),
	CALL(mlock2, CHANGES, ADDRESS, LENGTH, BITS(0)),
	CALL(munlock, CHANGES, ADDRESS, LENGTH),
	CALL(mlockall, CHANGES, BITS(MCL_FUTURE)),
	CALL(munlockall, CHANGES, ONLY(0)),
	CALL(mseal, CHANGES, ADDRESS, LENGTH, BITS(0)),
	CALL(remap_file_pages, CHANGES, ADDRESS, LENGTH, INT(0), LONG(0), BITS(0)),
	CALL(brk, CHANGES, ONLY(0)),
	CALL(process_vm_readv, VALUE | CHANGES, PID, WITH(vecs, vec), INT(1), WITH(vecs, far_vec), INT(1),
	     BITS(0)),
	CALL(process_vm_writev, VALUE | CHANGES, PID, WITH(vecs, vec), INT(1), WITH(vecs, far_vec), INT(1),
	     BITS(0)),
	CALL(process_madvise, VALUE | FRESH, FD_OF(FD_PIDFD), WITH(vecs, vec), INT(1), WITH(advice, 4),
	     BITS(0)),
	CALL(membarrier, CHANGES, INT(0), BITS(0), INT(0)),
	CALL(get_mempolicy, CHANGES, OUT, OUT, LONG(0), ADDRESS_OF(0), BITS(0)),
	CALL(set_mempolicy, CHANGES, INT(0), IN(0), LONG(0)),
	CALL(mbind, CHANGES | NO_PAIRS, ADDRESS, LENGTH, INT(0), IN(0), LONG(0), BITS(0)),
	CALL(migrate_pages, CHANGES, PID, LONG(8), OUT, OUT),
	CALL(move_pages, CHANGES, PID, INT(0), OUT, OUT, OUT, BITS(2)),
	CALL(shmget, CHANGES, INT(0), WITH(shm_sizes, 4096), BITS(IPC_CREAT | 0600)),
	CALL(shmat, CHANGES, INT(-1), ADDRESS, BITS(0)),
	CALL(shmdt, CHANGES, ADDRESS),
	CALL(shmctl, CHANGES, ONLY(-1), INT(0), OUT),
};

int main(int argc, char **argv)
{
	return sweep_main(argc, argv, calls, ARRAY_SIZE(calls));
}
