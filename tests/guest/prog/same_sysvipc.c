/* SPDX-License-Identifier: MIT */
/*
 * same_sysvipc.c - /proc/sysvipc shows the semaphores, messages and segments of whoever reads it. Natively others may have some as well: a
 * case looks for the line of its own.
 */
#include <errno.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>

#include "case.h"

#define MAX_FIELDS 16

/* The fields that all runs have in common: not numbers of objects and processes, nor times. */
static void show(const char *path, int id, const int *fields, int nr)
{
	char line[512], *word[MAX_FIELDS], *rest;
	FILE *in = fopen(path, "r");

	if (!in || !fgets(line, sizeof(line), in)) {
		printf("%s: %s\n", path, strerrorname_np(errno));
		return;
	}
	fputs(line, stdout);
	while (fgets(line, sizeof(line), in)) {
		int n = 0;
		size_t bytes = strlen(line);

		for (char *w = strtok_r(line, " \n", &rest); w && n < MAX_FIELDS;
		     w = strtok_r(NULL, " \n", &rest))
			word[n++] = w;
		if (n < 2 || atoi(word[1]) != id)
			continue;
		printf("%d fields in %zu bytes:", n, bytes);
		for (int i = 0; i < nr; i++)
			printf(" %s", word[fields[i]]);
		puts("");
	}
	fclose(in);
}

static void segments(void)
{
	static const int fields[] = {0, 2, 3, 6, 7, 8, 9, 10, 14, 15};
	int id = shmget(IPC_PRIVATE, 10000, IPC_CREAT | 0640);
	char *p = shmat(id, NULL, 0);

	p[0] = p[5000] = 1;
	show("/proc/sysvipc/shm", id, fields, 10);
	shmdt(p);
	shmctl(id, IPC_RMID, NULL);
	show("/proc/sysvipc/shm", id, fields, 10);
}

/* Natively the program may not be who could become another; then nothing is asked. */
static void rights_of_another(void)
{
	int id = shmget(IPC_PRIVATE, 4096, IPC_CREAT | 0640),
	    open = shmget(IPC_PRIVATE, 4096, IPC_CREAT | 0604);
	struct shmid_ds ds;
	int status;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (!pid) {
		if (setgid(1234) || setuid(1234))
			_exit(0);
		printf("attach: %s\n", shmat(id, NULL, 0) == (void *)-1 ? strerrorname_np(errno) : "ok");
		printf("attach to read: %s\n",
		       shmat(open, NULL, SHM_RDONLY) == (void *)-1 ? strerrorname_np(errno) : "ok");
		printf("attach to write: %s\n",
		       shmat(open, NULL, 0) == (void *)-1 ? strerrorname_np(errno) : "ok");
		printf("attach to execute: %s\n", shmat(open, NULL, SHM_RDONLY | SHM_EXEC) == (void *)-1
							  ? strerrorname_np(errno)
							  : "ok");
		printf("stat: %s\n", shmctl(id, IPC_STAT, &ds) ? strerrorname_np(errno) : "ok");
		printf("remove: %s\n", shmctl(id, IPC_RMID, NULL) ? strerrorname_np(errno) : "ok");
		pid = shmget(IPC_PRIVATE, 4096, IPC_CREAT | 0600);
		memset(&ds, 0, sizeof(ds));
		status = shmctl(pid, IPC_STAT, &ds);
		printf("own: %d, of %u\n", status, ds.shm_perm.cuid);
		shmctl(pid, IPC_RMID, NULL);
		fflush(stdout);
		_exit(0);
	}
	waitpid(pid, &status, 0);
	shmctl(id, IPC_RMID, NULL);
	shmctl(open, IPC_RMID, NULL);
}

static void semaphores(void)
{
	static const int fields[] = {0, 2, 3, 4, 5, 6, 7, 8};
	int id = semget(IPC_PRIVATE, 3, IPC_CREAT | 0604);

	show("/proc/sysvipc/sem", id, fields, 8);
	semctl(id, 0, IPC_RMID);
	show("/proc/sysvipc/sem", id, fields, 8);
}

static void messages(void)
{
	static const int fields[] = {0, 2, 3, 4, 6, 7, 8, 9, 10, 12};
	struct {
		long type;
		char text[7];
	} m = {1, "sixsix"};
	int id = msgget(IPC_PRIVATE, IPC_CREAT | 0600);

	msgsnd(id, &m, 7, 0);
	msgsnd(id, &m, 3, 0);
	show("/proc/sysvipc/msg", id, fields, 10);
	msgctl(id, IPC_RMID, NULL);
	show("/proc/sysvipc/msg", id, fields, 10);
}

static const struct guest_case cases[] = {
	{"/proc/sysvipc/shm", segments},
	{"segments: the rights of another user", rights_of_another},
	{"/proc/sysvipc/sem", semaphores},
	{"/proc/sysvipc/msg", messages},
};

int main(int argc, char **argv)
{
	if (cases_listed(argc, argv, cases, NR_CASES(cases)))
		return 0;
	cases_run(argc, argv, cases, NR_CASES(cases), NULL);
	return 0;
}
