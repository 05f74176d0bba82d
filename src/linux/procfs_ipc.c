/* SPDX-License-Identifier: MIT */
/* procfs_ipc.c - /proc/sysvipc: the semaphores, messages and segments of the sandbox, as ipcs(1) shows them. */
#include "ipc.h"
#include "msg.h"
#include "procfs.h"
#include "sem.h"
#include "shm.h"
#include "task.h"

static int show_queues(struct task *t, const struct proc_file *file, FILE *out)
{
	struct msqid_ds q;

	(void)file;
	fputs("       key      msqid perms      cbytes       qnum lspid lrpid   uid   gid  cuid  cgid"
	      "      stime      rtime      ctime\n",
	      out);
	for (int i = 0; i < IPC_MAX_OBJECTS; i++) {
		int64_t id = msg_stat(t, i, MSG_STAT_ANY, &q);
		if (id < 0)
			continue;
		fprintf(out, "%10d %10d  %4o  %10lu %10lu %5u %5u %5u %5u %5u %5u %10llu %10llu %10llu\n",
			q.msg_perm.__key, (int)id, q.msg_perm.mode, q.__msg_cbytes, q.msg_qnum,
			(unsigned int)q.msg_lspid, (unsigned int)q.msg_lrpid, q.msg_perm.uid, q.msg_perm.gid,
			q.msg_perm.cuid, q.msg_perm.cgid, (unsigned long long)q.msg_stime,
			(unsigned long long)q.msg_rtime, (unsigned long long)q.msg_ctime);
	}
	return 0;
}

static int show_semaphores(struct task *t, const struct proc_file *file, FILE *out)
{
	struct semid_ds s;

	(void)file;
	fputs("       key      semid perms      nsems   uid   gid  cuid  cgid      otime      ctime\n", out);
	for (int i = 0; i < IPC_MAX_OBJECTS; i++) {
		int64_t id = sem_stat(t, i, SEM_STAT_ANY, &s);
		if (id >= 0)
			fprintf(out, "%10d %10d  %4o %10lu %5u %5u %5u %5u %10llu %10llu\n", s.sem_perm.__key,
				(int)id, s.sem_perm.mode, s.sem_nsems, s.sem_perm.uid, s.sem_perm.gid,
				s.sem_perm.cuid, s.sem_perm.cgid, (unsigned long long)s.sem_otime,
				(unsigned long long)s.sem_ctime);
	}
	return 0;
}

static int show_segments(struct task *t, const struct proc_file *file, FILE *out)
{
	uint64_t resident, swapped;
	struct shmid_ds s;

	(void)file;
	fputs("       key      shmid perms                  size  cpid  lpid nattch   uid   gid  cuid  cgid"
	      "      atime      dtime      ctime                   rss                  swap\n",
	      out);
	for (int i = 0; i < SHM_MAX_SEGMENTS; i++) {
		int64_t id = shm_stat(t, i, SHM_STAT_ANY, &s);
		if (id < 0 || shm_pages(t, i, &resident, &swapped))
			continue;
		fprintf(out,
			"%10d %10d  %4o %21lu %5u %5u  %5lu %5u %5u %5u %5u %10llu %10llu %10llu %21lu "
			"%21lu\n",
			s.shm_perm.__key, (int)id, s.shm_perm.mode, s.shm_segsz, (unsigned int)s.shm_cpid,
			(unsigned int)s.shm_lpid, s.shm_nattch, s.shm_perm.uid, s.shm_perm.gid,
			s.shm_perm.cuid, s.shm_perm.cgid, (unsigned long long)s.shm_atime,
			(unsigned long long)s.shm_dtime, (unsigned long long)s.shm_ctime,
			resident << PAGE_SHIFT, swapped << PAGE_SHIFT);
	}
	return 0;
}

const struct proc_file proc_ipc_files[] = {
	{.name = "msg", .show = show_queues},
	{.name = "sem", .show = show_semaphores},
	{.name = "shm", .show = show_segments},
	{0},
};
