/* SPDX-License-Identifier: MIT */
/*
 * same_ipc.c - System V semaphores and message queues: what they do, who waits, and what is left when a process ends.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "case.h"

static void told(const char *what, long ret)
{
	printf("%-64s %s", what, ret < 0 ? strerrorname_np(errno) : "");
	if (ret >= 0)
		printf("%ld", ret);
	puts("");
}

#define TELL(call) told(#call, (long)(call))
#define OP(n, op, flags)                                     \
	{                                                    \
		.sem_num = n, .sem_op = op, .sem_flg = flags \
	}
#define DO(id, ...)                               \
	semop(id, (struct sembuf[]){__VA_ARGS__}, \
	      sizeof((struct sembuf[]){__VA_ARGS__}) / sizeof(struct sembuf))

static int new_set(int nr)
{
	return semget(IPC_PRIVATE, nr, 0600);
}

static void wait_for_waiters(int id, int n, int cmd)
{
	while (semctl(id, n, cmd) == 0)
		usleep(1000);
}

static void ended(pid_t pid)
{
	int status = -1;

	waitpid(pid, &status, 0);
	printf("the child ended with %#x\n", status);
}

static void values(void)
{
	int id = new_set(3);
	unsigned short all[3] = {7, 8, 9}, bad[3] = {0, 40000, 0};

	TELL(semctl(id, 0, GETVAL));
	TELL(semctl(id, 0, SETVAL, 5));
	TELL(semctl(id, 0, GETVAL));
	TELL(semctl(id, 0, SETVAL, -1));
	TELL(semctl(id, 0, SETVAL, 32768));
	TELL(semctl(id, 3, GETVAL));
	TELL(semctl(id, -1, GETVAL));
	TELL(semctl(id, 0, GETPID) == getpid());
	TELL(semctl(id, 1, GETPID));
	TELL(semctl(id, 0, SETALL, all));
	TELL(semctl(id, 2, GETVAL));
	TELL(semctl(id, 0, SETALL, bad));
	memset(all, 0, sizeof(all));
	TELL(semctl(id, 0, GETALL, all));
	printf("%d %d %d\n", all[0], all[1], all[2]);
	TELL(semctl(id, 0, GETNCNT));
	TELL(semctl(id, 0, GETZCNT));
	TELL(semctl(id, 0, 99));
	TELL(semctl(id, 0, IPC_RMID));
	TELL(semctl(id, 0, GETVAL));
}

static void operations(void)
{
	int id = new_set(2);
	struct timespec soon = {0, 20000000}, bad = {0, 1000000000};
	struct sembuf down = OP(0, -1, 0), many[501] = {{0}};

	TELL(DO(id, OP(0, 3, 0), OP(1, 1, 0)));
	TELL(DO(id, OP(0, -1, 0), OP(1, -2, IPC_NOWAIT)));
	TELL(semctl(id, 0, GETVAL));
	TELL(DO(id, OP(0, -3, 0), OP(0, 0, IPC_NOWAIT), OP(1, -1, IPC_NOWAIT)));
	TELL(semctl(id, 0, GETVAL));
	TELL(DO(id, OP(0, -1, IPC_NOWAIT)));
	TELL(DO(id, OP(0, 0, IPC_NOWAIT)));
	TELL(DO(id, OP(0, 32767, 0)));
	TELL(DO(id, OP(0, 0, IPC_NOWAIT)));
	TELL(DO(id, OP(0, 1, 0)));
	TELL(DO(id, OP(2, 1, 0)));
	TELL(semctl(id, 0, SETVAL, 0));
	TELL(semtimedop(id, &down, 1, &soon));
	TELL(semtimedop(id, &down, 1, &bad));
	TELL(semop(id, many, 0));
	TELL(semop(id, many, 501));
	TELL(semop(id, (void *)16, 1));
	TELL(semop(-1, &down, 1));
	TELL(semctl(id, 0, IPC_RMID));
	TELL(semop(id, &down, 1));
}

static void waiting(void)
{
	int id = new_set(2);
	pid_t pid = fork();

	if (!pid)
		_exit(DO(id, OP(0, -2, 0), OP(1, 1, 0)) ? errno : 0);
	wait_for_waiters(id, 0, GETNCNT);
	TELL(semctl(id, 0, GETNCNT));
	TELL(semctl(id, 0, GETZCNT));
	TELL(DO(id, OP(0, 1, 0)));
	TELL(semctl(id, 0, GETNCNT));
	TELL(DO(id, OP(0, 1, 0)));
	ended(pid);
	TELL(semctl(id, 0, GETVAL));
	TELL(semctl(id, 1, GETVAL));
	TELL(semctl(id, 1, GETPID) == pid);
	pid = fork();
	if (!pid)
		_exit(DO(id, OP(1, 0, 0)) ? errno : 0);
	wait_for_waiters(id, 1, GETZCNT);
	TELL(semctl(id, 1, GETZCNT));
	TELL(semctl(id, 1, SETVAL, 0));
	ended(pid);
	pid = fork();
	if (!pid)
		_exit(DO(id, OP(0, -1, 0)) && errno == EIDRM ? 7 : 1);
	wait_for_waiters(id, 0, GETNCNT);
	TELL(semctl(id, 0, IPC_RMID));
	ended(pid);
}

static void nothing(int signo)
{
	(void)signo;
}

static void interrupted(void)
{
	struct sigaction sa = {.sa_handler = nothing, .sa_flags = SA_RESTART};
	struct {
		long type;
		char text[8];
	} m;
	int id = new_set(1), q = msgget(IPC_PRIVATE, 0600);
	pid_t pid = fork();

	if (!pid) {
		sigaction(SIGUSR1, &sa, NULL);
		_exit(DO(id, OP(0, -1, 0)) ? errno : 0);
	}
	wait_for_waiters(id, 0, GETNCNT);
	kill(pid, SIGUSR1);
	ended(pid);
	TELL(semctl(id, 0, GETNCNT));
	pid = fork();
	if (!pid) {
		struct itimerspec every = {{0, 2000000}, {0, 2000000}};
		timer_t timer;
		sigaction(SIGALRM, &sa, NULL);
		timer_create(CLOCK_MONOTONIC, NULL, &timer);
		timer_settime(timer, 0, &every, NULL);
		_exit(msgrcv(q, &m, 8, 0, 0) < 0 ? errno : 0);
	}
	ended(pid);
	semctl(id, 0, IPC_RMID);
	msgctl(q, IPC_RMID, NULL);
}

static void undone(void)
{
	int id = new_set(2);
	pid_t pid = fork();

	if (!pid) {
		DO(id, OP(0, 5, SEM_UNDO), OP(1, 3, 0));
		DO(id, OP(0, -1, SEM_UNDO));
		_exit(0);
	}
	ended(pid);
	TELL(semctl(id, 0, GETVAL));
	TELL(semctl(id, 1, GETVAL));
	pid = fork();
	if (!pid) {
		DO(id, OP(1, -3, SEM_UNDO));
		pause();
	}
	while (semctl(id, 1, GETVAL))
		usleep(1000);
	kill(pid, SIGKILL);
	ended(pid);
	TELL(semctl(id, 1, GETVAL));
	pid = fork();
	if (!pid) {
		DO(id, OP(0, 5, SEM_UNDO));
		semctl(id, 0, SETVAL, 9);
		_exit(0);
	}
	ended(pid);
	TELL(semctl(id, 0, GETVAL));
	/* A waiter goes on by what is undone. */
	semctl(id, 1, SETVAL, 1);
	pid = fork();
	if (!pid) {
		pid_t inner;
		DO(id, OP(1, -1, SEM_UNDO));
		inner = fork();
		if (!inner)
			_exit(DO(id, OP(1, -1, 0)) ? errno : 0);
		wait_for_waiters(id, 1, GETNCNT);
		_exit(0);
	}
	ended(pid);
	while (semctl(id, 1, GETVAL))
		usleep(1000);
	TELL(semctl(id, 1, GETVAL));
	TELL(DO(id, OP(0, 32767, SEM_UNDO)));
	TELL(semctl(id, 0, IPC_RMID));
}

static void keys(void)
{
	key_t key = (key_t)(0x10d6e000 + getpid() % 4096);
	struct semid_ds ds;
	struct msqid_ds mds;
	int id, q;

	TELL(semget(key, 2, 0600));
	id = semget(key, 2, IPC_CREAT | 0600);
	TELL(semget(key, 2, 0600) == id);
	TELL(semget(key, 0, 0) == id);
	TELL(semget(key, 3, 0600));
	TELL(semget(key, 2, IPC_CREAT | IPC_EXCL | 0600));
	TELL(semget(key, -1, 0600));
	TELL(semget(IPC_PRIVATE, 0, 0600));
	TELL(semget(IPC_PRIVATE, 32001, 0600));
	TELL(semctl(id, 0, IPC_STAT, &ds));
	printf("%o %d %d %d %lu %d\n", ds.sem_perm.mode, ds.sem_perm.__key == key,
	       ds.sem_perm.uid == getuid(), ds.sem_perm.cgid == getgid(), ds.sem_nsems, ds.sem_otime == 0);
	ds.sem_perm.mode = 01640;
	TELL(semctl(id, 0, IPC_SET, &ds));
	TELL(semctl(id, 0, IPC_STAT, &ds));
	printf("%o\n", ds.sem_perm.mode);
	TELL(semctl(id, 0, IPC_RMID));
	TELL(semget(key, 2, 0600));
	TELL(msgget(key, 0600));
	q = msgget(key, IPC_CREAT | 0640);
	TELL(msgget(key, 0) == q);
	TELL(msgget(key, IPC_CREAT | IPC_EXCL | 0600));
	TELL(msgctl(q, IPC_STAT, &mds));
	printf("%o %d %lu %lu %lu %d %d\n", mds.msg_perm.mode, mds.msg_perm.__key == key, mds.msg_qnum,
	       mds.__msg_cbytes, mds.msg_qbytes, mds.msg_lspid, mds.msg_stime == 0);
	mds.msg_qbytes = 100;
	TELL(msgctl(q, IPC_SET, &mds));
	TELL(msgctl(q, IPC_STAT, &mds));
	printf("%lu\n", mds.msg_qbytes);
	TELL(msgctl(q, IPC_STAT, (void *)16));
	TELL(msgctl(q, 99, NULL));
	TELL(msgctl(q, IPC_RMID, NULL));
	TELL(msgctl(q, IPC_STAT, &mds));
	TELL(msgctl(-1, IPC_STAT, &mds));
}

struct message {
	long type;
	char text[8192];
};

static struct message m;

static long send_text(int q, long type, const char *text, int flags)
{
	m.type = type;
	strcpy(m.text, text);
	return msgsnd(q, &m, strlen(text) + 1, flags);
}

static void receive(int q, long type, size_t room, int flags)
{
	long n;

	memset(&m, 0, sizeof(m));
	n = msgrcv(q, &m, room, type, flags);
	if (n < 0)
		printf("type %ld, room %zu, flags %#x: %s\n", type, room, (unsigned int)flags,
		       strerrorname_np(errno));
	else
		printf("type %ld, room %zu, flags %#x: %ld bytes of type %ld, %.10s\n", type, room,
		       (unsigned int)flags, n, m.type, m.text);
}

static void messages(void)
{
	int q = msgget(IPC_PRIVATE, 0600);

	receive(q, 0, 100, IPC_NOWAIT);
	TELL(send_text(q, 3, "three", 0));
	TELL(send_text(q, 1, "one", 0));
	TELL(send_text(q, 2, "two", 0));
	TELL(send_text(q, 2, "two again", 0));
	TELL(send_text(q, 9, "nine", 0));
	TELL(send_text(q, 0, "none", 0));
	TELL(send_text(q, -1, "none", 0));
	receive(q, 1, 100, MSG_COPY | IPC_NOWAIT);
	receive(q, 7, 100, MSG_COPY | IPC_NOWAIT);
	receive(q, 0, 100, MSG_COPY);
	receive(q, 5, 100, IPC_NOWAIT);
	receive(q, 2, 2, IPC_NOWAIT);
	receive(q, 2, 100, IPC_NOWAIT);
	receive(q, -2, 100, IPC_NOWAIT);
	receive(q, 3, 100, MSG_EXCEPT | IPC_NOWAIT);
	receive(q, 0, 3, MSG_NOERROR | IPC_NOWAIT);
	receive(q, -3, 100, IPC_NOWAIT);
	receive(q, 0, 100, IPC_NOWAIT);
	receive(q, 0, 100, IPC_NOWAIT);
	TELL(msgsnd(q, &m, 8193, IPC_NOWAIT));
	TELL(msgsnd(q, &m, (size_t)-1, IPC_NOWAIT));
	TELL(msgsnd(q, (void *)16, 1, IPC_NOWAIT));
	TELL(msgrcv(q, &m, (size_t)-1, 0, IPC_NOWAIT));
	m.type = 1;
	TELL(msgsnd(q, &m, 8192, IPC_NOWAIT));
	TELL(msgsnd(q, &m, 8192, IPC_NOWAIT));
	TELL(msgsnd(q, &m, 1, IPC_NOWAIT));
	TELL(msgsnd(q, &m, 0, IPC_NOWAIT));
	TELL(msgctl(q, IPC_RMID, NULL));
	TELL(msgsnd(q, &m, 1, IPC_NOWAIT));
	TELL(msgrcv(q, &m, 1, 0, IPC_NOWAIT));
}

static void conversation(void)
{
	int q = msgget(IPC_PRIVATE, 0600);
	struct msqid_ds ds;
	long sum = 0;
	pid_t pid = fork();

	if (!pid) {
		for (int i = 1; i <= 2000; i++) {
			m.type = 1 + i % 7;
			memcpy(m.text, &i, sizeof(i));
			if (msgsnd(q, &m, 100, 0))
				_exit(errno);
		}
		_exit(0);
	}
	for (int i = 1, n; i <= 2000; i++) {
		if (msgrcv(q, &m, sizeof(m.text), 0, 0) != 100)
			break;
		memcpy(&n, m.text, sizeof(n));
		sum += n == i;
	}
	printf("%ld in order\n", sum);
	ended(pid);
	msgctl(q, IPC_STAT, &ds);
	printf("%lu %d %d\n", ds.msg_qnum, ds.msg_lspid == pid, ds.msg_lrpid == getpid());
	pid = fork();
	if (!pid)
		_exit(msgrcv(q, &m, 1, 5, 0) < 0 && errno == EIDRM ? 7 : 1);
	usleep(20000);
	TELL(msgctl(q, IPC_RMID, NULL));
	waitpid(pid, NULL, 0);
}

static int shared_set;

static void *critical(void *counter)
{
	for (int i = 0; i < 500; i++) {
		DO(shared_set, OP(0, -1, SEM_UNDO));
		++*(volatile long *)counter;
		DO(shared_set, OP(0, 1, SEM_UNDO));
	}
	return NULL;
}

static void threads(void)
{
	pthread_t thread[4];
	long counter = 0;

	shared_set = new_set(1);
	semctl(shared_set, 0, SETVAL, 1);
	for (int i = 0; i < 4; i++)
		pthread_create(&thread[i], NULL, critical, &counter);
	for (int i = 0; i < 4; i++)
		pthread_join(thread[i], NULL);
	printf("%ld\n", counter);
	TELL(semctl(shared_set, 0, GETVAL));
	TELL(semctl(shared_set, 0, IPC_RMID));
}

static const struct guest_case cases[] = {
	{"semaphores: values, one and all [P2]", values},
	{"semaphores: all operations of a call or none [P2]", operations},
	{"semaphores: waiting for more, for zero, for the end [P2]", waiting},
	{"semaphores, messages: a signal ends the wait, whatever its handler says [P2]", interrupted},
	{"semaphores: what a process did is undone at its end [P2]", undone},
	{"semaphores, messages: keys, owners and rights [P2]", keys},
	{"messages: types, copies, room [P2]", messages},
	{"messages: a full queue holds its sender [P2]", conversation},
	{"semaphores: threads take turns [P2]", threads},
};

int main(int argc, char **argv)
{
	if (cases_listed(argc, argv, cases, NR_CASES(cases)))
		return 0;
	cases_run(argc, argv, cases, NR_CASES(cases), case_in_child);
	return 0;
}
