/* SPDX-License-Identifier: MIT */
/*
 * same_filelocks.c - locks on files between processes: records of fcntl, of open file descriptions, and of flock.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "case.h"

static void tell(const char *what, long ret)
{
	printf("%-50s %s\n", what, ret < 0 ? strerrorname_np(errno) : "ok");
	fflush(stdout);
}

#define TELL(call) tell(#call, (long)(call))

static const char *program;
static int fd;

static int lock(int cmd, int type, long start, long bytes)
{
	struct flock l = {.l_type = (short)type, .l_whence = SEEK_SET, .l_start = start, .l_len = bytes};

	return fcntl(fd, cmd, &l);
}

/* What is in the way of a lock; `owners` are told by name. */
static void in_the_way(int type, long start, long bytes, int first, int second)
{
	struct flock l = {.l_type = (short)type, .l_whence = SEEK_SET, .l_start = start, .l_len = bytes};

	if (fcntl(fd, F_GETLK, &l))
		printf("getlk: %s\n", strerrorname_np(errno));
	else if (l.l_type == F_UNLCK)
		printf("nothing\n");
	else
		printf("%s [%ld, +%ld] whence %d of %s\n", l.l_type == F_RDLCK ? "read" : "write",
		       (long)l.l_start, (long)l.l_len, l.l_whence,
		       l.l_pid == first	   ? "the first"
		       : l.l_pid == second ? "the second"
		       : l.l_pid == -1	   ? "a description"
					   : "?");
	fflush(stdout);
}

/* Two processes that take turns: each step of the child waits for a byte, and answers with one. */
static int to_child[2], to_parent[2];

static void step(void)
{
	char byte = 0;

	if (write(to_child[1], &byte, 1) != 1 || read(to_parent[0], &byte, 1) != 1)
		printf("no step\n");
}

static void next(void)
{
	char byte = 0;

	fflush(stdout);
	if (write(to_parent[1], &byte, 1) != 1 || read(to_child[0], &byte, 1) != 1)
		_exit(1);
}

static void start(void)
{
	char byte;

	if (read(to_child[0], &byte, 1) != 1)
		_exit(1);
}

static void finish(void)
{
	fflush(stdout);
	next();
	_exit(0);
}

static int child(void (*run)(int parent))
{
	int parent = getpid(), pid;

	if (pipe(to_child) || pipe(to_parent))
		exit(1);
	fflush(stdout);
	pid = fork();
	if (!pid) {
		start();
		run(parent);
		finish();
	}
	return pid;
}

static void close_pipes(void)
{
	close(to_child[1]);
	close(to_parent[0]);
	close(to_child[0]);
	close(to_parent[1]);
}

static void end_child(int pid)
{
	close_pipes();
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static void open_file(void)
{
	fd = open("locked", O_RDWR | O_CREAT | O_TRUNC, 0600);
}

static void ranges_child(int parent)
{
	TELL(lock(F_SETLK, F_RDLCK, 0, 10));
	TELL(lock(F_SETLK, F_WRLCK, 0, 10));
	TELL(lock(F_SETLK, F_RDLCK, 20, 10));
	TELL(lock(F_SETLK, F_WRLCK, 30, 0));
	in_the_way(F_WRLCK, 0, 0, parent, getpid());
	in_the_way(F_WRLCK, 5, 3, parent, getpid());
	in_the_way(F_RDLCK, 25, 1, parent, getpid());
	in_the_way(F_RDLCK, 10, 10, parent, getpid());
	next();
	in_the_way(F_WRLCK, 22, 3, parent, getpid());
	in_the_way(F_WRLCK, 20, 2, parent, getpid());
	in_the_way(F_WRLCK, 25, 5, parent, getpid());
	in_the_way(F_WRLCK, 29, 0, parent, getpid());
	TELL(lock(F_SETLK, F_WRLCK, 22, 3));
	TELL(lock(F_SETLK, F_WRLCK, 21, 2));
}

static void ranges(void)
{
	int pid;

	open_file();
	TELL(lock(F_SETLK, F_RDLCK, 0, 10));
	TELL(lock(F_SETLK, F_WRLCK, 20, 10));
	in_the_way(F_WRLCK, 0, 0, getpid(), 0); /* ours is never in our way */
	pid = child(ranges_child);
	step();
	in_the_way(F_WRLCK, 0, 10, getpid(), pid);
	in_the_way(F_WRLCK, 100, 10, getpid(), pid);
	TELL(lock(F_SETLK, F_UNLCK, 22, 3)); /* out of the middle */
	TELL(lock(F_SETLK, F_RDLCK, 26, 2)); /* another kind in the middle */
	step();
	end_child(pid);
	in_the_way(F_WRLCK, 0, 0, getpid(), pid);
	close(fd);
}

static void close_child(int parent)
{
	in_the_way(F_WRLCK, 0, 0, parent, getpid());
	next();
	in_the_way(F_WRLCK, 0, 0, parent, getpid());
}

static void closed(void)
{
	int pid, other;

	open_file();
	TELL(lock(F_SETLK, F_WRLCK, 5, 5));
	pid = child(close_child);
	step();
	other = open("locked", O_RDONLY);
	close(other); /* and all locks of the process on the file are gone */
	step();
	end_child(pid);
	TELL(lock(F_SETLK, F_WRLCK, 5, 5));
	pid = child(close_child);
	step();
	dup2(0, fd);
	step();
	end_child(pid);
	close(fd);
}

static void inherit_child(int parent)
{
	TELL(lock(F_SETLK, F_WRLCK, 0, 1));
	in_the_way(F_WRLCK, 0, 1, parent, getpid());
	TELL(close(fd)); /* gives up what the child has: nothing */
	open("locked", O_RDWR);
	in_the_way(F_WRLCK, 0, 1, parent, getpid());
}

static void inherited(void)
{
	int pid;

	open_file();
	TELL(lock(F_SETLK, F_WRLCK, 0, 1));
	pid = child(inherit_child);
	step();
	end_child(pid);
	pid = child(close_child);
	step();
	end_child(pid);
	close(fd);
}

static void wait_child(int parent)
{
	(void)parent;
	TELL(lock(F_SETLKW, F_WRLCK, 0, 5));
	in_the_way(F_WRLCK, 100, 5, 0, 0);
}

static void give_way(int signo)
{
	(void)signo;
	lock(F_SETLK, F_UNLCK, 0, 0);
}

static void waited(void)
{
	int pid;

	open_file();
	TELL(lock(F_SETLK, F_WRLCK, 3, 10));
	signal(SIGALRM, give_way);
	pid = child(wait_child);
	alarm(1);
	step();
	in_the_way(F_RDLCK, 0, 0, getpid(), pid);
	end_child(pid);
	in_the_way(F_RDLCK, 0, 0, getpid(), pid);
	close(fd);
}

static void nothing(int signo)
{
	(void)signo;
}

static void interrupt_child(int parent)
{
	const struct itimerval often = {{0, 200000}, {0, 200000}};
	struct sigaction sa = {.sa_handler = nothing};

	(void)parent;
	sigaction(SIGALRM, &sa, NULL);
	setitimer(ITIMER_REAL, &often, NULL);
	TELL(lock(F_SETLKW, F_WRLCK, 0, 5));
}

static void interrupted(void)
{
	int pid;

	open_file();
	TELL(lock(F_SETLK, F_WRLCK, 3, 10));
	pid = child(interrupt_child);
	step();
	end_child(pid);
	close(fd);
}

static void deadlock_child(int parent)
{
	(void)parent;
	TELL(lock(F_SETLK, F_WRLCK, 10, 10));
	next();
	_exit(lock(F_SETLKW, F_WRLCK, 0, 10) && errno == EDEADLK);
}

/* Whoever of the two comes last. */
static void deadlock(void)
{
	int pid, status = 0;
	char byte = 0;

	open_file();
	TELL(lock(F_SETLK, F_WRLCK, 0, 10));
	pid = child(deadlock_child);
	step();
	if (write(to_child[1], &byte, 1) != 1)
		return;
	bool told = lock(F_SETLKW, F_WRLCK, 10, 10) && errno == EDEADLK;
	lock(F_SETLK, F_UNLCK, 0, 0);
	waitpid(pid, &status, 0);
	printf("told: %d\n", told + WEXITSTATUS(status));
	TELL(lock(F_SETLKW, F_WRLCK, 10, 10));
	close(fd);
	close_pipes();
}

static void *lock_in_thread(void *arg)
{
	TELL(lock(F_SETLK, F_WRLCK, 0, 10));
	return arg;
}

static void threads(void)
{
	pthread_t thread;

	open_file();
	TELL(lock(F_SETLK, F_WRLCK, 0, 10));
	pthread_create(&thread, NULL, lock_in_thread, NULL);
	pthread_join(thread, NULL);
	close(fd);
}

static void arguments(void)
{
	struct flock l = {.l_type = F_WRLCK, .l_whence = 7};
	int reader, writer;

	open_file();
	TELL(fcntl(fd, F_SETLK, &l));
	TELL(fcntl(fd, F_SETLK, NULL));
	l = (struct flock){.l_type = 9};
	TELL(fcntl(fd, F_SETLK, &l));
	TELL(fcntl(fd, F_GETLK, &l));
	l = (struct flock){.l_type = F_UNLCK};
	TELL(fcntl(fd, F_GETLK, &l));
	TELL(fcntl(fd, F_SETLK, &l));
	TELL(lock(F_SETLK, F_WRLCK, -1, 1));
	TELL(lock(F_SETLK, F_WRLCK, 5, -6));
	TELL(lock(F_SETLK, F_WRLCK, 5, -5));
	TELL(lock(F_SETLK, F_WRLCK, 0x7fffffffffffffff, 2));
	TELL(lock(F_SETLK, F_WRLCK, 0x7fffffffffffffff, 1));
	TELL(lock(F_SETLK, F_WRLCK, 0, 0));
	lseek(fd, 100, SEEK_SET);
	l = (struct flock){.l_type = F_WRLCK, .l_whence = SEEK_CUR, .l_start = -101};
	TELL(fcntl(fd, F_SETLK, &l));
	TELL(fcntl(99, F_SETLK, &l));
	reader = open("locked", O_RDONLY);
	writer = open("locked", O_WRONLY);
	l = (struct flock){.l_type = F_WRLCK};
	TELL(fcntl(reader, F_SETLK, &l));
	TELL(fcntl(writer, F_SETLK, &l));
	l.l_type = F_RDLCK;
	TELL(fcntl(reader, F_SETLK, &l));
	TELL(fcntl(writer, F_SETLK, &l));
	close(reader);
	close(writer);
	close(fd);
}

static void description_child(int parent)
{
	int mine = open("locked", O_RDWR);
	struct flock l = {.l_type = F_WRLCK, .l_len = 10};

	in_the_way(F_WRLCK, 0, 0, parent, getpid());
	TELL(fcntl(fd, F_OFD_SETLK, &l)); /* the parent's description is ours, too */
	TELL(fcntl(mine, F_OFD_SETLK, &l));
	close(fd); /* and the parent still has it */
	fd = mine;
	TELL(lock(F_SETLK, F_RDLCK, 0, 1));
}

static void descriptions(void)
{
	struct flock l = {.l_type = F_WRLCK, .l_len = 10};
	int pid;

	open_file();
	TELL(fcntl(fd, F_OFD_SETLK, &l));
	in_the_way(F_WRLCK, 0, 0, getpid(), 0);
	l.l_pid = 5;
	TELL(fcntl(fd, F_OFD_SETLK, &l));
	pid = child(description_child);
	step();
	end_child(pid);
	close(fd);
}

static void flock_child(int parent)
{
	int mine = open("locked", O_RDWR);

	(void)parent;
	TELL(flock(fd, LOCK_EX | LOCK_NB));
	TELL(flock(mine, LOCK_SH | LOCK_NB));
	TELL(lock(F_SETLK, F_WRLCK, 0, 0)); /* the two kinds know nothing of one another */
	TELL(flock(fd, LOCK_UN));
	TELL(flock(mine, LOCK_EX | LOCK_NB));
}

static void flocks(void)
{
	int pid;

	open_file();
	TELL(flock(fd, LOCK_EX));
	TELL(flock(dup(fd), LOCK_EX | LOCK_NB));
	TELL(flock(fd, 0));
	pid = child(flock_child);
	step();
	TELL(flock(fd, LOCK_SH | LOCK_NB));
	end_child(pid);
	TELL(flock(fd, LOCK_SH | LOCK_NB));
	close(fd);
}

static void exec_child(int parent)
{
	(void)parent;
	TELL(lock(F_SETLK, F_WRLCK, 0, 1));
	fflush(stdout);
	char number[2][16];
	snprintf(number[0], 16, "%d", to_child[0]);
	snprintf(number[1], 16, "%d", to_parent[1]);
	execl(program, program, "--hold", number[0], number[1], NULL);
	_exit(1);
}

static void exec_keeps(void)
{
	int pid;

	open_file();
	pid = child(exec_child);
	step();
	in_the_way(F_WRLCK, 0, 0, getpid(), pid);
	end_child(pid);
	in_the_way(F_WRLCK, 0, 0, getpid(), pid);
	close(fd);
}

static const struct guest_case cases[] = {
	{"records: ranges, kinds, and whose they are", ranges},
	{"records: any close of the file gives them up", closed},
	{"records: a fork has none", inherited},
	{"records: F_SETLKW waits until it may", waited},
	{"records: F_SETLKW ends with a signal", interrupted},
	{"records: who would wait for ever is told", deadlock},
	{"records: threads have them in common", threads},
	{"records: arguments", arguments},
	{"records: an exec keeps them", exec_keeps},
	{"F_OFD_SETLK: of the description", descriptions},
	{"flock: of the description", flocks},
};

int main(int argc, char **argv)
{
	program = argv[0];
	if (cases_listed(argc, argv, cases, NR_CASES(cases)))
		return 0;
	if (argc > 3 && !strcmp(argv[1], "--hold")) {
		to_child[0] = atoi(argv[2]);
		to_parent[1] = atoi(argv[3]);
		next();
		return 0;
	}
	cases_run(argc, argv, cases, NR_CASES(cases), NULL);
	return 0;
}
