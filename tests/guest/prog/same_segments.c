/* SPDX-License-Identifier: MIT */
/*
 * same_segments.c - System V shared memory. Segments are private ones, removed by the case that made them.
 */
#include "window.h"

#include <sys/ipc.h>
#include <sys/shm.h>

#ifndef SHM_EXEC
#define SHM_EXEC 0100000
#endif

static int segment(long pages)
{
	int id = shmget(IPC_PRIVATE, (size_t)(pages * PAGE), IPC_CREAT | 0600);

	if (id < 0)
		printf("cannot make it: %s\n", errno_name(-1));
	return id;
}

static void get_arguments(void)
{
	int id;

	TELL(shmget(IPC_PRIVATE, 0, IPC_CREAT | 0600));
	TELL(shmget(IPC_PRIVATE, -1ul, IPC_CREAT | 0600));
	TELL(shmget(0x1d0d9e01, PAGE, 0600));
	id = shmget(0x1d0d9e01, PAGE, IPC_CREAT | IPC_EXCL | 0600);
	TELL(id < 0 ? -1 : 0);
	TELL(shmget(0x1d0d9e01, PAGE, IPC_CREAT | IPC_EXCL | 0600));
	TELL(shmget(0x1d0d9e01, 2 * PAGE, 0600));
	printf("found again: %d\n", shmget(0x1d0d9e01, 0, 0600) == id);
	printf("found again: %d\n", shmget(0x1d0d9e01, PAGE, IPC_CREAT | 0600) == id);
	TELL(shmctl(id, IPC_RMID, NULL));
	TELL(shmget(0x1d0d9e01, PAGE, 0600));
}

static void attach(void)
{
	int id = segment(2);

	WHERE(shmat(id, AT(0), 0));
	show_letters("zeros", 0, 2);
	letters(0, 2);
	WHERE(shmat(id, AT(8), SHM_RDONLY));
	show_letters("a second time", 8, 2);
	printf("write: %s\n", poke(AT(8)));
	TELL(shmdt(AT(0)));
	show_letters("detached", 0, 2);
	show_letters("the second", 8, 2);
	TELL(shmdt(AT(8)));
	WHERE(shmat(id, AT(16), 0));
	show_letters("attached again", 16, 2);
	TELL(shmdt(AT(16)));
	TELL(shmctl(id, IPC_RMID, NULL));
}

static void places(void)
{
	int id = segment(2);

	put(1, 1, RW);
	WHERE(shmat(id, AT(0), 0));
	WHERE(shmat(id, AT(0) + 1, 0));
	WHERE(shmat(id, AT(2) + 5, SHM_RND));
	WHERE(shmat(id, AT(0), SHM_REMAP));
	WHERE(shmat(id, NULL, SHM_REMAP));
	WHERE(shmat(id, KERNEL, 0));
	WHERE(shmat(id, USER_END, 0));
	WHERE(shmat(-1, NULL, 0));
	WHERE(shmat(0x7ffffff0, NULL, 0));
	shmdt(AT(0));
	shmdt(AT(2));
	shmctl(id, IPC_RMID, NULL);
}

static void detach_arguments(void)
{
	int id = segment(4);

	TELL(shmdt(AT(0)));
	TELL(shmdt(AT(0) + 1));
	put(0, 1, RW);
	TELL(shmdt(AT(0)));
	shmat(id, AT(8), 0);
	TELL(shmdt(AT(9)));
	TELL(munmap(AT(9), PAGE));
	TELL(shmdt(AT(8)));
	show_maps("areas");
	shmctl(id, IPC_RMID, NULL);
}

static void statistics(void)
{
	int id = shmget(IPC_PRIVATE, 5000, IPC_CREAT | 0640);
	struct shmid_ds ds;

	TELL(shmctl(id, IPC_STAT, &ds));
	printf("%lu bytes, mode %o, attached %lu, mine %d, touched %d %d\n", (unsigned long)ds.shm_segsz,
	       ds.shm_perm.mode, (unsigned long)ds.shm_nattch, ds.shm_cpid == getpid(), ds.shm_atime != 0,
	       ds.shm_ctime != 0);
	shmat(id, AT(0), 0);
	shmat(id, AT(8), 0);
	shmctl(id, IPC_STAT, &ds);
	printf("attached %lu, by me %d, touched %d\n", (unsigned long)ds.shm_nattch, ds.shm_lpid == getpid(),
	       ds.shm_atime != 0);
	munmap(AT(0), 2 * PAGE);
	shmctl(id, IPC_STAT, &ds);
	printf("attached %lu\n", (unsigned long)ds.shm_nattch);
	ds.shm_perm.mode = 0600;
	TELL(shmctl(id, IPC_SET, &ds));
	shmctl(id, IPC_STAT, &ds);
	printf("mode %o\n", ds.shm_perm.mode);
	shmdt(AT(8));
	shmctl(id, IPC_RMID, NULL);
}

static void control_arguments(void)
{
	int id = segment(1);
	struct shmid_ds ds;

	TELL(shmctl(id, 12345, &ds));
	TELL(shmctl(-1, IPC_STAT, &ds));
	TELL(shmctl(id, IPC_STAT, (struct shmid_ds *)KERNEL));
	TELL(shmctl(id, IPC_RMID, NULL));
	TELL(shmctl(id, IPC_RMID, NULL));
	TELL(shmctl(id, IPC_STAT, &ds));
}

static void removed_while_attached(void)
{
	int id = segment(2);
	struct shmid_ds ds;

	shmat(id, AT(0), 0);
	letters(0, 2);
	TELL(shmctl(id, IPC_RMID, NULL));
	show_letters("still there", 0, 2);
	TELL(shmctl(id, IPC_STAT, &ds));
	printf("marked: %d\n", !!(ds.shm_perm.mode & 01000));
	WHERE(shmat(id, AT(8), 0));
	TELL(shmdt(AT(0)));
	TELL(shmctl(id, IPC_STAT, &ds));
	TELL(shmdt(AT(8)));
	TELL(shmctl(id, IPC_STAT, &ds));
	WHERE(shmat(id, AT(0), 0));
}

static void protections(void)
{
	int id = segment(1);

	shmat(id, AT(0), SHM_RDONLY);
	TELL(mprotect(AT(0), PAGE, RW));
	shmat(id, AT(4), 0);
	TELL(mprotect(AT(4), PAGE, R));
	shmat(id, AT(8), SHM_EXEC);
	show_maps("areas");
	shmdt(AT(0));
	shmdt(AT(4));
	shmdt(AT(8));
	shmctl(id, IPC_RMID, NULL);
}

static void advised(void)
{
	int id = segment(3);

	shmat(id, AT(0), 0);
	letters(0, 3);
	TELL(madvise(AT(0), PAGE, MADV_DONTNEED));
	show_letters("kept", 0, 3);
	TELL(madvise(AT(1), PAGE, MADV_REMOVE));
	show_letters("a hole", 0, 3);
	TELL(msync(AT(0), 3 * PAGE, MS_SYNC));
	shmdt(AT(0));
	shmctl(id, IPC_RMID, NULL);
}

static const struct guest_case cases[] = {
	{"shmget: arguments and keys", get_arguments},
	{"a segment attached, detached, attached again [J1][H8]", attach},
	{"shmat: places", places},
	{"shmdt: what it takes and what not", detach_arguments},
	{"shmctl: counts and times", statistics},
	{"shmctl: arguments", control_arguments},
	{"a segment removed lives until it is detached", removed_while_attached},
	{"SHM_RDONLY and SHM_EXEC", protections},
	{"advice to segments", advised},
};

CASES_MAIN(cases)
