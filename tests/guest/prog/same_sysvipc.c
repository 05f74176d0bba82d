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
