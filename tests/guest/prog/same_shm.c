/* SPDX-License-Identifier: MIT */
/*
 * same_shm.c - System V shared memory: what shmget, shmat, shmdt and shmctl answer, and what the memory does.
 *
 * Natively the segments are the machine's: each case removes its own. Ids are never printed.
 */
#include <errno.h>
#include <signal.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/wait.h>
#include <unistd.h>

#include "case.h"

#define PAGE	   4096ul
#define KEY	   ((key_t)(0x10d6e000 + getpid() % 0x1000))

#define TELL(call) printf("%-64s %s\n", #call, (long)(call) == -1 ? strerrorname_np(errno) : "ok")

static void tell_ds(int id)
{
	struct shmid_ds ds;

	if (shmctl(id, IPC_STAT, &ds)) {
		printf("stat: %s\n", strerrorname_np(errno));
		return;
	}
	printf("size %zu attached %lu mode %o creator %d last %d mine %d\n", ds.shm_segsz,
	       (unsigned long)ds.shm_nattch, ds.shm_perm.mode, ds.shm_cpid == getpid(),
	       ds.shm_lpid == getpid(), ds.shm_perm.cuid == geteuid());
	printf("attach time %s detach time %s\n", ds.shm_atime ? "set" : "0", ds.shm_dtime ? "set" : "0");
}

static void get(void)
{
	int id = shmget(KEY, 10000, IPC_CREAT | 0640);

	tell_ds(id);
	printf("the same %d\n", shmget(KEY, 10000, 0) == id);
	printf("smaller %d\n", shmget(KEY, 1, IPC_CREAT) == id);
	TELL(shmget(KEY, 10001, 0));
	TELL(shmget(KEY, 20000, IPC_CREAT));
	TELL(shmget(KEY, 10000, IPC_CREAT | IPC_EXCL | 0600));
	TELL(shmget(KEY + 1, 4096, 0));
	TELL(shmget(IPC_PRIVATE, 0, 0600));
	TELL(shmget(KEY + 1, 0, IPC_CREAT | 0600));
	TELL(shmget(IPC_PRIVATE, -1ul, 0600));
	TELL(shmget(IPC_PRIVATE, 1ul << 21, 0600 | SHM_HUGETLB));
	TELL(shmctl(id, IPC_RMID, NULL));
	TELL(shmctl(id, IPC_RMID, NULL));
	TELL(shmget(KEY, 10000, 0));
	TELL(shmctl(-1, IPC_STAT, NULL));
	TELL(shmctl(id, IPC_STAT, NULL));
}

static void attach(void)
{
	int id = shmget(IPC_PRIVATE, 2 * PAGE + 5, 0600);
	char *p = shmat(id, NULL, 0), *q = shmat(id, NULL, SHM_RDONLY), *room;

	tell_ds(id);
	p[2 * PAGE + 100] = 's';
	printf("second attachment shows %c\n", q[2 * PAGE + 100]);
	TELL(mprotect(q, PAGE, PROT_READ | PROT_WRITE));
	TELL(shmdt(p + 1));
	TELL(shmdt(p + PAGE));
	TELL(shmdt(p));
	TELL(shmdt(p));
	tell_ds(id);
	room = mmap(NULL, 8 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	TELL(shmat(id, room, 0));
	TELL(shmat(id, room + 5, 0));
	TELL(shmat(id, room + 5, SHM_RND));
	printf("remap takes its place: %d\n", shmat(id, room + 5, SHM_RND | SHM_REMAP) == room);
	printf("and shows %c\n", room[2 * PAGE + 100]);
	TELL(shmat(id, NULL, SHM_REMAP));
	TELL(shmat(id, (char *)5, SHM_REMAP | SHM_RND));
	TELL(shmat(id, (char *)-4096, 0));
	TELL(shmat(-1, NULL, 0));
	TELL(shmat(id + 77 * 32768, NULL, 0));
	munmap(room + 3 * PAGE, 5 * PAGE);
	munmap(room, 3 * PAGE);
	tell_ds(id);
	TELL(shmctl(id, IPC_RMID, NULL));
	tell_ds(id);
	printf("still there: %c\n", q[2 * PAGE + 100]);
	p = shmat(id, NULL, 0);
	printf("attached once more: %c\n", p == (void *)-1 ? '-' : p[2 * PAGE + 100]);
	TELL(shmdt(q));
	TELL(shmdt(p));
	tell_ds(id);
}

static void parts(void)
{
	int id = shmget(IPC_PRIVATE, 6 * PAGE, 0600);
	char *p = shmat(id, NULL, SHM_EXEC);

	TELL(munmap(p + 2 * PAGE, PAGE));
	tell_ds(id);
	TELL(mprotect(p + 4 * PAGE, PAGE, PROT_READ));
	tell_ds(id);
	TELL(shmdt(p));
	tell_ds(id);
	TELL(shmctl(id, IPC_RMID, NULL));
}

static void control(void)
{
	int id = shmget(IPC_PRIVATE, PAGE, 0600), found = -1;
	struct shminfo info;
	struct shm_info usage;
	struct shmid_ds ds;

	int highest = shmctl(0, IPC_INFO, (struct shmid_ds *)&info);
	printf("shmmin %lu shmmni %lu shmmax %lx shmall %lx\n", info.shmmin, info.shmmni, info.shmmax,
	       info.shmall);
	printf("used %d\n", shmctl(0, SHM_INFO, (struct shmid_ds *)&usage) >= 0 && usage.used_ids > 0);
	for (int i = 0; i <= highest; i++)
		if (shmctl(i, SHM_STAT, &ds) == id)
			found = 1;
	printf("found by index: %d\n", found);
	shmctl(id, IPC_STAT, &ds);
	ds.shm_perm.mode = 07644;
	TELL(shmctl(id, IPC_SET, &ds));
	tell_ds(id);
	TELL(shmctl(id, SHM_LOCK, NULL));
	tell_ds(id);
	TELL(shmctl(id, SHM_UNLOCK, NULL));
	tell_ds(id);
	TELL(shmctl(id, 77, NULL));
	TELL(shmctl(id, IPC_STAT, (struct shmid_ds *)8));
	TELL(shmctl(id, IPC_SET, (struct shmid_ds *)8));
	TELL(shmctl(id, IPC_RMID, NULL));
	TELL(shmctl(id, IPC_STAT, &ds));
}

static unsigned long attached(int id)
{
	struct shmid_ds ds;

	return shmctl(id, IPC_STAT, &ds) ? 999 : (unsigned long)ds.shm_nattch;
}

static void end(pid_t child)
{
	waitpid(child, NULL, 0);
}

/* A child that has told how often the segment is attached waits for its end. */
static pid_t start_child(int id, const char *what, void *gone)
{
	int told[2];
	char byte;

	if (pipe(told))
		exit(1);
	fflush(stdout);
	pid_t child = fork();
	if (!child) {
		printf("%s: %lu\n", what, attached(id));
		if (gone)
			printf("detached by the child %d: %lu\n", shmdt(gone), attached(id));
		fflush(stdout);
		if (write(told[1], "x", 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	if (read(told[0], &byte, 1) != 1)
		exit(1);
	close(told[0]);
	close(told[1]);
	return child;
}

/* Who inherits an attachment counts, until its end, its exec, or its own shmdt. */
static void inherited(void)
{
	int id = shmget(IPC_PRIVATE, 4 * PAGE, 0600);
	char *p = shmat(id, NULL, 0);
	pid_t child;

	printf("alone: %lu\n", attached(id));
	child = start_child(id, "in a child", NULL);
	printf("with a child: %lu\n", attached(id));
	kill(child, SIGKILL);
	end(child);
	printf("killed: %lu\n", attached(id));
	child = start_child(id, "in another", p);
	printf("with it: %lu\n", attached(id));
	kill(child, SIGTERM);
	end(child);
	printf("ended: %lu\n", attached(id));
	if (!(child = fork()))
		_exit(execl("/bin/true", "true", NULL));
	end(child);
	printf("after an exec: %lu\n", attached(id));
	if (!(child = vfork())) {
		execl("/bin/true", "true", NULL);
		_exit(1);
	}
	end(child);
	printf("after vfork and exec: %lu\n", attached(id));
	madvise(p, 4 * PAGE, MADV_DONTFORK);
	child = start_child(id, "not inherited", NULL);
	printf("without a child: %lu\n", attached(id));
	kill(child, SIGKILL);
	end(child);
	madvise(p, 4 * PAGE, MADV_DOFORK);
	munmap(p + PAGE, PAGE);
	printf("in two parts: %lu\n", attached(id));
	child = start_child(id, "both inherited", NULL);
	printf("with both: %lu\n", attached(id));
	TELL(shmctl(id, IPC_RMID, NULL));
	TELL(shmdt(p));
	printf("the child's remain: %lu\n", attached(id));
	kill(child, SIGKILL);
	end(child);
	printf("gone: %lu\n", attached(id));
}

/* A move is an attachment of its own for a moment, a copy for longer. */
static void moved(void)
{
	int id = shmget(IPC_PRIVATE, 4 * PAGE, 0600);
	char *p = shmat(id, NULL, 0), *q;

	q = mremap(p, 4 * PAGE, 4 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, p - (1ul << 30));
	printf("moved %d: %lu\n", q == p - (1ul << 30), attached(id));
	p = mremap(q, 0, 4 * PAGE, MREMAP_MAYMOVE);
	printf("copied %d: %lu\n", p != MAP_FAILED && p != q, attached(id));
	TELL(mmap(p, 4 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == p ? 0 : -1);
	printf("covered: %lu\n", attached(id));
	TELL(shmctl(id, IPC_RMID, NULL));
	TELL(munmap(q, 4 * PAGE));
	printf("gone: %lu\n", attached(id));
}

static void in_the_listing(void)
{
	int id = shmget((key_t)0x10d6e, PAGE, IPC_CREAT | 0600);
	char *p = shmat(id, NULL, 0), line[400];
	FILE *maps = fopen("/proc/self/maps", "r");

	shmctl(id, IPC_RMID, NULL);
	while (maps && fgets(line, sizeof(line), maps)) {
		unsigned long start, end, offset, inode;
		char perms[8], dev[8], name[200] = "";
		if (sscanf(line, "%lx-%lx %7s %lx %7s %lu %199[^\n]", &start, &end, perms, &offset, dev,
			   &inode, name) >= 6 &&
		    start == (unsigned long)p)
			printf("%lu %s %lx %s %d %s\n", end - start, perms, offset, dev,
			       inode == (unsigned long)id, name);
	}
	if (maps)
		fclose(maps);
	shmdt(p);
}

static const struct guest_case cases[] = {
	{"shmget: keys, sizes, flags [H10]", get},
	{"shmat and shmdt: who sees what, and where it goes [H10][J14]", attach},
	{"an attachment in parts", parts},
	{"shmctl: limits, statistics, rights", control},
	{"attachments over fork, exec and ends", inherited},
	{"attachments that move", moved},
	{"a segment in the listing", in_the_listing},
};

int main(int argc, char **argv)
{
	if (!cases_listed(argc, argv, cases, NR_CASES(cases)))
		cases_run(argc, argv, cases, NR_CASES(cases), NULL);
	return 0;
}
