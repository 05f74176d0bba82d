/* SPDX-License-Identifier: MIT */
/*
 * hugefiles.c - memfds and System V segments of 2 MiB pages, and what becomes of such memory in the calls on areas.
 *
 * It wants a pool of 8 pages that nobody else uses. Natively that is
 *
 *	sysctl vm.nr_hugepages=8; hugefiles .
 *
 * in an empty directory; what a Linux 6.18 prints then stands in hugefiles_native.h.
 */
#include <sys/ipc.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "window.h"

#define HUGE	 (2l << 20)
#define BLOCK	 512l
#define ONE_HUGE (21 << 26)

#ifndef SHM_HUGETLB
#define SHM_HUGETLB 04000
#endif

/* What the machine says of its pool, in one line. */
static void pool(void)
{
	static const char *const rows[] = {"HugePages_Total:", "HugePages_Free:", "HugePages_Rsvd:",
					   "HugePages_Surp:", "Hugetlb:"};
	FILE *in = fopen("/proc/meminfo", "r");
	char line[128];

	printf("pool:");
	while (in && fgets(line, sizeof(line), in))
		for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
			if (!strncmp(line, rows[i], strlen(rows[i])))
				printf(" %ld", strtol(line + strlen(rows[i]), NULL, 10));
	putchar('\n');
	if (in)
		fclose(in);
}

static int file_of(long pages)
{
	int fd = memfd_create("huge", MFD_HUGETLB | MFD_ALLOW_SEALING);

	ftruncate(fd, pages * HUGE);
	return fd;
}

static void *map_at(long page, long pages, int prot, int type, int fd, long file_page)
{
	return mmap(AT(page), (size_t)(pages * HUGE), prot, type | MAP_FIXED, fd, file_page * HUGE);
}

static void files_and_sizes(void)
{
	struct stat st;
	int fd;

	TELL(memfd_create("x", MFD_HUGETLB | ONE_HUGE));
	TELL(memfd_create("x", MFD_HUGETLB | (20 << 26)));
	TELL(memfd_create("x", MFD_HUGETLB | (5u << 26)));
	TELL(memfd_create("x", ONE_HUGE));
	fd = file_of(0);
	TELL(ftruncate(fd, PAGE));
	TELL(ftruncate(fd, HUGE + 1));
	TELL(ftruncate(fd, 3 * HUGE));
	TELL(fstat(fd, &st));
	printf("size %ld unit %ld blocks %ld\n", (long)st.st_size, (long)st.st_blksize, (long)st.st_blocks);
	COUNT(write(fd, "x", 1));
	COUNT(pwrite(fd, "x", 1, 0));
	char text[4] = "abc";
	COUNT(pread(fd, text, 3, HUGE - 1));
	printf("%d %d %d\n", text[0], text[1], text[2]);
	COUNT(pread(fd, text, 3, 3 * HUGE - 1));
	COUNT(pread(fd, text, 3, 3 * HUGE));
	COUNT(lseek(fd, 0, SEEK_END));
	COUNT(lseek(fd, 5, SEEK_DATA));
	COUNT(lseek(fd, 5, SEEK_HOLE));
	COUNT(lseek(fd, 3 * HUGE, SEEK_DATA));
	pool();
	close(fd);
}

static void mapping_arguments(void)
{
	int fd = file_of(4), reader;
	char name[64];

	WHERE(mmap(AT(0), PAGE, RW, MAP_SHARED | MAP_FIXED, fd, 0));
	pool();
	TELL(munmap(AT(0), PAGE));
	TELL(munmap(AT(0), HUGE));
	pool();
	WHERE(mmap(AT(1), HUGE, RW, MAP_SHARED | MAP_FIXED, fd, 0));
	WHERE(mmap(AT(0), HUGE, RW, MAP_SHARED | MAP_FIXED, fd, PAGE));
	WHERE(mmap(AT(0), 0, RW, MAP_SHARED | MAP_FIXED, fd, 0));
	WHERE(mmap(AT(0), HUGE, RW, MAP_SHARED | MAP_FIXED | MAP_HUGETLB, fd, 0));
	WHERE(mmap(AT(0), 9 * HUGE, RW, MAP_SHARED | MAP_FIXED, fd, 0));
	WHERE(mmap(AT(0), 9 * HUGE, RW, MAP_PRIVATE | MAP_FIXED, fd, 0));
	pool();
	snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
	reader = open(name, O_RDONLY);
	WHERE(mmap(AT(0), HUGE, RW, MAP_SHARED | MAP_FIXED, reader, 0));
	WHERE(mmap(AT(0), HUGE, R, MAP_SHARED | MAP_FIXED, reader, 0));
	TELL(mprotect(AT(0), HUGE, RW));
	close(reader);
	close(fd);
	fd = open(".", O_TMPFILE | O_RDWR, 0600);
	WHERE(mmap(AT(0), HUGE, RW, MAP_SHARED | MAP_FIXED | MAP_HUGETLB, fd, 0));
	close(fd);
}

static void shared_and_private(void)
{
	int fd = file_of(3);

	map_at(0, 3, RW, MAP_SHARED, fd, 0);
	AT(0)[0] = 'a';
	AT(BLOCK)[0] = 'b';
	pool();
	map_at(4 * BLOCK, 3, RW, MAP_PRIVATE, fd, 0);
	pool();
	printf("%c %c %d\n", AT(4 * BLOCK)[0], AT(5 * BLOCK)[0], AT(6 * BLOCK)[0]);
	pool();
	AT(4 * BLOCK)[0] = 'p';
	AT(BLOCK)[0] = 'B';
	AT(2 * BLOCK)[0] = 'c';
	printf("%c %c %d, %c %c %c\n", AT(4 * BLOCK)[0], AT(5 * BLOCK)[0], AT(6 * BLOCK)[0], AT(0)[0],
	       AT(BLOCK)[0], AT(2 * BLOCK)[0]);
	pool();
	munmap(AT(4 * BLOCK), (size_t)(3 * HUGE));
	pool();
	char text[1] = "";
	COUNT(pread(fd, text, 1, HUGE));
	printf("%c\n", text[0]);
	close(fd);
	pool();
	munmap(AT(0), (size_t)(3 * HUGE));
	pool();
}

static void truncated(void)
{
	int fd = file_of(3);

	map_at(0, 3, RW, MAP_SHARED, fd, 0);
	map_at(4 * BLOCK, 3, RW, MAP_PRIVATE, fd, 0);
	for (long i = 0; i < 3; i++)
		AT(i * BLOCK)[0] = AT((4 + i) * BLOCK)[0] = (char)('a' + i);
	pool();
	TELL(ftruncate(fd, HUGE));
	pool();
	printf("%s %s %s %s\n", peek(AT(0)), peek(AT(BLOCK)), poke(AT(5 * BLOCK)), peek(AT(4 * BLOCK)));
	TELL(ftruncate(fd, 2 * HUGE));
	printf("%s %s %s\n", peek(AT(BLOCK)), peek(AT(2 * BLOCK)), peek(AT(5 * BLOCK)));
	pool();
	close(fd);
}

static void longer_by_mapping(void)
{
	struct stat st;
	int fd = file_of(0);

	map_at(0, 2, R, MAP_SHARED, fd, 0);
	fstat(fd, &st);
	printf("%ld: %s\n", (long)st.st_size, peek(AT(0)));
	map_at(0, 2, RW, MAP_SHARED, fd, 1);
	fstat(fd, &st);
	printf("%ld: %s %s\n", (long)st.st_size, poke(AT(0)), peek(AT(2 * BLOCK - 1)));
	pool();
	close(fd);
}

static void allocated_and_punched(void)
{
	struct stat st;
	int fd = file_of(1);

	TELL(fallocate(fd, 0, 0, 3 * HUGE));
	fstat(fd, &st);
	printf("%ld %ld\n", (long)st.st_size, (long)st.st_blocks);
	pool();
	map_at(0, 3, RW, MAP_SHARED, fd, 0);
	for (long i = 0; i < 3; i++)
		memset(AT(i * BLOCK), (int)('a' + i), (size_t)HUGE);
	TELL(fallocate(fd, FALLOC_FL_PUNCH_HOLE, 0, HUGE));
	TELL(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, HUGE - PAGE, HUGE + 2 * PAGE));
	pool();
	printf("%d %d %d %d\n", AT(BLOCK - 2)[0], AT(BLOCK - 1)[0], AT(2 * BLOCK)[0], AT(2 * BLOCK + 1)[0]);
	printf("%s\n", peek(AT(BLOCK)));
	pool();
	TELL(madvise(AT(0), (size_t)HUGE, MADV_REMOVE));
	printf("%s\n", peek(AT(0)));
	TELL(fallocate(fd, 0, 0, 20 * HUGE));
	fstat(fd, &st);
	printf("%ld\n", (long)st.st_size);
	TELL(fallocate(fd, FALLOC_FL_ZERO_RANGE, 0, HUGE));
	close(fd);
}

static void sealed(void)
{
	int fd = file_of(2);

	TELL(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW));
	TELL(ftruncate(fd, HUGE));
	TELL(ftruncate(fd, 3 * HUGE));
	map_at(0, 1, RW, MAP_SHARED, fd, 0);
	TELL(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE));
	munmap(AT(0), (size_t)HUGE);
	TELL(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE));
	WHERE(map_at(0, 1, RW, MAP_SHARED, fd, 0));
	WHERE(map_at(0, 1, RW, MAP_PRIVATE, fd, 0));
	WHERE(map_at(0, 1, R, MAP_SHARED, fd, 0));
	TELL(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, HUGE));
	close(fd);
}

static void segments(void)
{
	struct shmid_ds ds;
	int id = shmget(IPC_PRIVATE, PAGE, SHM_HUGETLB | 0600), other;

	TELL(id);
	pool();
	TELL(shmctl(id, IPC_STAT, &ds));
	printf("bytes %ld\n", (long)ds.shm_segsz);
	TELL(shmget(IPC_PRIVATE, 100 * HUGE, SHM_HUGETLB | 0600));
	TELL(shmget(IPC_PRIVATE, HUGE, SHM_HUGETLB | (20 << 26) | 0600));
	other = shmget(IPC_PRIVATE, 100 * HUGE, SHM_HUGETLB | SHM_NORESERVE | 0600);
	TELL(other);
	TELL(shmctl(other, IPC_RMID, NULL));
	WHERE(shmat(id, AT(0), 0));
	WHERE(shmat(id, AT(4 * BLOCK + 1), 0));
	WHERE(shmat(id, AT(4 * BLOCK), SHM_RDONLY));
	AT(0)[5] = 'x';
	printf("%s %s\n", peek(AT(4 * BLOCK) + 5), poke(AT(4 * BLOCK)));
	pool();
	TELL(shmctl(id, IPC_STAT, &ds));
	printf("attached %ld\n", (long)ds.shm_nattch);
	fflush(stdout);
	if (!fork()) {
		printf("child %s %s\n", peek(AT(0) + 5), poke(AT(0) + 6));
		fflush(stdout);
		_exit(0);
	}
	wait(NULL);
	printf("%s\n", peek(AT(0) + 6));
	TELL(shmctl(id, IPC_RMID, NULL));
	TELL(shmdt(AT(0)));
	pool();
	TELL(shmdt(AT(4 * BLOCK)));
	pool();
}

static void children(void)
{
	int fd = file_of(2), status;

	map_at(0, 2, RW, MAP_SHARED, fd, 0);
	map_at(4 * BLOCK, 2, RW, MAP_PRIVATE, fd, 0);
	AT(0)[0] = 's';
	AT(4 * BLOCK)[0] = 'p';
	pool();
	fflush(stdout);
	int pid = fork();
	if (!pid) {
		printf("child %s %s\n", peek(AT(0)), peek(AT(4 * BLOCK)));
		AT(0)[0] = 'S';
		AT(4 * BLOCK)[0] = 'P';
		pool();
		munmap(AT(4 * BLOCK), (size_t)(2 * HUGE));
		pool();
		fflush(stdout);
		_exit(0);
	}
	waitpid(pid, &status, 0);
	printf("ended with %d: %c %c\n", status, AT(0)[0], AT(4 * BLOCK)[0]);
	AT(5 * BLOCK)[0] = 'q';
	pool();
	close(fd);
}

static void moved_and_protected(void)
{
	mmap(AT(0), (size_t)(4 * HUGE), RW, PRIVATE | MAP_FIXED | MAP_HUGETLB, -1, 0);
	for (long i = 0; i < 4; i++)
		AT(i * BLOCK)[0] = (char)('a' + i);
	pool();
	TELL(mprotect(AT(BLOCK), (size_t)HUGE, R));
	printf("%s %s\n", poke(AT(BLOCK)), poke(AT(2 * BLOCK)));
	WHERE(mremap(AT(2 * BLOCK), (size_t)HUGE, (size_t)HUGE, MREMAP_MAYMOVE | MREMAP_FIXED,
		     AT(8 * BLOCK)));
	WHERE(mremap(AT(0), (size_t)HUGE, (size_t)(2 * HUGE), MREMAP_MAYMOVE));
	WHERE(mremap(AT(3 * BLOCK), (size_t)HUGE, 0, 0));
	printf("%c %s %c %c\n", AT(0)[0], peek(AT(2 * BLOCK)), AT(3 * BLOCK)[0], AT(8 * BLOCK)[0]);
	TELL(madvise(AT(0), (size_t)HUGE, MADV_DONTNEED));
	pool();
	printf("%s\n", peek(AT(0)));
	show_maps("area");
	TELL(munmap(AT(0), (size_t)(16 * HUGE)));
	pool();
}

static void not_reserved(void)
{
	WHERE(mmap(AT(0), (size_t)(20 * HUGE), RW, PRIVATE | MAP_FIXED | MAP_HUGETLB, -1, 0));
	WHERE(mmap(AT(0), (size_t)(20 * HUGE), RW, PRIVATE | MAP_FIXED | MAP_HUGETLB | MAP_NORESERVE, -1, 0));
	pool();
	for (long i = 0; i < 8; i++)
		AT(i * BLOCK)[0] = 1;
	printf("%s\n", poke(AT(8 * BLOCK)));
	pool();
}

static void resized(void)
{
	int fd = open("/proc/sys/vm/nr_hugepages", O_RDWR);
	char text[16] = "";

	COUNT(write(fd, "9\n", 2));
	pool();
	COUNT(write(fd, "8\n", 2)); /* not at the beginning */
	lseek(fd, 0, SEEK_SET);
	COUNT(write(fd, "8\n", 2));
	lseek(fd, 0, SEEK_SET);
	COUNT(read(fd, text, sizeof(text)));
	printf("%s", text);
	pool();
	close(fd);
}

static const struct guest_case cases[] = {
	{"MFD_HUGETLB: the file and its size [B19]", files_and_sizes},
	{"MFD_HUGETLB: arguments of mmap [B19]", mapping_arguments},
	{"MFD_HUGETLB: shared and private mappings [B19][J8]", shared_and_private},
	{"MFD_HUGETLB: the end of the file [B19]", truncated},
	{"MFD_HUGETLB: a mapping makes it longer", longer_by_mapping},
	{"MFD_HUGETLB: fallocate, holes, MADV_REMOVE", allocated_and_punched},
	{"MFD_HUGETLB: seals", sealed},
	{"SHM_HUGETLB: segments of 2 MiB pages [B19]", segments},
	{"2 MiB pages in children [B19][M5]", children},
	{"2 MiB pages: mprotect, mremap, madvise, munmap [B19]", moved_and_protected},
	{"2 MiB pages without a promise", not_reserved},
	{"nr_hugepages", resized},
};

CASES_MAIN(cases)
