/* SPDX-License-Identifier: MIT */
/*
 * same_cred.c - user and group numbers, rights over other processes, orphans and prctl. What depends on who runs it is told as a
 * comparison.
 */
#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdint.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "case.h"

static int said(long ret)
{
	return ret < 0 ? -errno : (int)ret;
}

static void show_uids(const char *when)
{
	uid_t r, e, s;

	getresuid(&r, &e, &s);
	printf("%s: %u %u %u fs %u\n", when, r, e, s, (unsigned int)setfsuid(~0u));
}

static void show_gids(const char *when)
{
	gid_t r, e, s;

	getresgid(&r, &e, &s);
	printf("%s: %u %u %u fs %u\n", when, r, e, s, (unsigned int)setfsgid(~0u));
}

static uint64_t capabilities(int which)
{
	struct __user_cap_header_struct h = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct d[2] = {0};

	syscall(SYS_capget, &h, d);
	return which ? d[0].permitted : d[0].effective;
}

static int has(int capability)
{
	return capabilities(0) >> capability & 1;
}

/* Everything below is about root, who may become anybody. */
static int is_root(void)
{
	if (!geteuid() && has(CAP_SETUID))
		return 1;
	puts("not root");
	return 0;
}

static void down_and_up(void)
{
	if (!is_root())
		return;
	printf("seteuid %d\n", said(seteuid(1000)));
	show_uids("effective");
	printf("may set %d %d\n", has(CAP_SETUID), (int)(capabilities(1) >> CAP_SETUID & 1));
	printf("another %d\n", said(seteuid(1001)));
	printf("back %d\n", said(seteuid(0)));
	printf("may set %d\n", has(CAP_SETUID));
	printf("setreuid %d\n", said(setreuid(1000, 1001)));
	show_uids("two");
	printf("swap %d\n", said(setreuid(1001, 1000)));
	show_uids("swapped");
	printf("root %d\n", said(setreuid((uid_t)-1, 0)));
	printf("setuid %d\n", said(setuid(0)));
}

static void down_for_good(void)
{
	if (!is_root())
		return;
	printf("gid %d\n", said(setgid(2000)));
	show_gids("all");
	printf("resgid %d\n", said(setresgid(1, 2, 3)));
	show_gids("each");
	printf("uid %d\n", said(setuid(1000)));
	show_uids("all");
	printf("root %d\n", said(setuid(0)));
	printf("resuid %d %d\n", said(setresuid(0, 1000, 1000)), said(setresuid(1000, 1000, 1000)));
	printf("gid %d, group of its own %d\n", said(setgid(4)), said(setgid(3)));
	printf("regid %d %d\n", said(setregid(9, 2)), said(setregid(3, 1)));
	show_gids("last");
	printf("groups %d\n", said(setgroups(0, NULL)));
	printf("capabilities %lx %lx\n", (unsigned long)capabilities(0), (unsigned long)capabilities(1));
	printf("bad %d %d\n", said(setuid((uid_t)-1)), said(setgid((gid_t)-1)));
}

static void groups(void)
{
	gid_t set[3] = {5, 6, 7}, got[8];

	if (!is_root())
		return;
	printf("set %d\n", said(setgroups(3, set)));
	printf("how many %d, too small %d\n", said(getgroups(0, got)), said(getgroups(2, got)));
	printf("get %d", said(getgroups(8, got)));
	printf(": %u %u %u\n", got[0], got[1], got[2]);
	printf("too many %d\n", said(setgroups(65537, set)));
	printf("nowhere %d\n", said(syscall(SYS_setgroups, 2, 8)));
	if (!fork()) {
		printf("child %d\n", said(getgroups(0, got)));
		_exit(0);
	}
	wait(NULL);
}

static void kept(void)
{
	if (!is_root())
		return;
	printf("keep %d, %d, %d\n", said(prctl(PR_GET_KEEPCAPS)), said(prctl(PR_SET_KEEPCAPS, 1)),
	       said(prctl(PR_GET_KEEPCAPS)));
	setresuid(1000, 1000, 1000);
	printf("effective %d permitted %d\n", has(CAP_SETUID), (int)(capabilities(1) >> CAP_SETUID & 1));
	printf("bad %d\n", said(prctl(PR_SET_KEEPCAPS, 2)));
}

static void file_numbers(void)
{
	if (!is_root())
		return;
	printf("was %d\n", setfsuid(1234));
	show_uids("set");
	printf("was %d\n", setfsuid(0));
	printf("was %d\n", setfsgid(55));
	show_gids("set");
}

/* --- rights over others ---------------------------------------------------------------------- */

static pid_t sleeper(uid_t uid)
{
	int ready[2];
	char byte = 0;
	pid_t pid;

	if (pipe(ready))
		return -1;
	fflush(stdout);
	pid = fork();
	if (!pid) {
		if (setresuid(uid, uid, uid) || write(ready[1], &byte, 1) != 1)
			_exit(9);
		for (;;)
			pause();
	}
	if (read(ready[0], &byte, 1) != 1)
		puts("no child");
	close(ready[0]);
	close(ready[1]);
	return pid;
}

static void who_signals_whom(void)
{
	pid_t other = is_root() ? sleeper(1000) : 0;
	struct rlimit r;
	pid_t pid;
	int status;

	if (!other)
		return;
	pid = fork();
	if (!pid) {
		setresuid(1001, 1001, 1001);
		printf("another's: %d, ask %d, continue %d\n", said(kill(other, SIGTERM)),
		       said(kill(other, 0)), said(kill(other, SIGCONT)));
		printf("its limits %d\n", said(prlimit(other, RLIMIT_NOFILE, NULL, &r)));
		printf("tgkill %d\n", said(syscall(SYS_tgkill, other, other, SIGTERM)));
		_exit(0);
	}
	waitpid(pid, &status, 0);
	pid = fork();
	if (!pid) {
		setresuid(1000, 1000, 1000);
		printf("limits of its own %d\n", said(prlimit(other, RLIMIT_CORE, NULL, &r)));
		printf("its own: %d\n", said(kill(other, SIGTERM)));
		_exit(0);
	}
	waitpid(pid, &status, 0);
	waitpid(other, &status, 0);
	printf("signal %d\n", WTERMSIG(status));
}

static void limits_of_others(void)
{
	struct rlimit r, set = {50, 60};
	pid_t other = sleeper(getuid());

	printf("set %d\n", said(prlimit(other, RLIMIT_NOFILE, &set, NULL)));
	printf("get %d", said(prlimit(other, RLIMIT_NOFILE, NULL, &r)));
	printf(": %d %d\n", (int)r.rlim_cur, (int)r.rlim_max);
	printf("own %d", said(prlimit(0, RLIMIT_NOFILE, NULL, &r)));
	printf(": changed %d\n", r.rlim_cur == 50);
	set.rlim_cur = 70;
	printf("soft above hard %d\n", said(prlimit(other, RLIMIT_NOFILE, &set, NULL)));
	printf("nobody %d\n", said(prlimit(999999, RLIMIT_NOFILE, NULL, &r)));
	printf("nothing %d\n", said(syscall(SYS_prlimit64, other, 99, NULL, &r)));
	kill(other, SIGKILL);
	wait(NULL);
}

/* --- orphans --------------------------------------------------------------------------------- */

static void subreaper(void)
{
	pid_t self = getpid();
	int on = 7, status = 0, ready[2];
	char byte;

	prctl(PR_GET_CHILD_SUBREAPER, &on);
	printf("first %d, set %d", on, said(prctl(PR_SET_CHILD_SUBREAPER, 1)));
	prctl(PR_GET_CHILD_SUBREAPER, &on);
	printf(", then %d\n", on);
	if (pipe(ready))
		return;
	if (!fork()) {
		int inherited = 9;
		prctl(PR_GET_CHILD_SUBREAPER, &inherited);
		printf("inherited %d\n", inherited);
		if (!fork()) {
			close(ready[1]);
			if (read(ready[0], &byte, 1) != 0)
				_exit(1);
			_exit(getppid() == self ? 42 : 43);
		}
		_exit(0);
	}
	wait(&status);
	printf("child %d\n", WEXITSTATUS(status));
	close(ready[1]);
	printf("orphan %d", wait(&status) > 0);
	printf(" %d\n", WEXITSTATUS(status));
}

static void about_itself(void)
{
	printf("dumpable %d, %d, %d, %d\n", said(prctl(PR_GET_DUMPABLE)), said(prctl(PR_SET_DUMPABLE, 0)),
	       said(prctl(PR_GET_DUMPABLE)), said(prctl(PR_SET_DUMPABLE, 2)));
	printf("slack %d, %d\n", said(prctl(PR_GET_TIMERSLACK)), said(prctl(PR_SET_TIMERSLACK, 1000)));
	printf("slack %d\n", said(prctl(PR_GET_TIMERSLACK)));
	prctl(PR_SET_TIMERSLACK, 0);
	printf("slack %d\n", said(prctl(PR_GET_TIMERSLACK)));
	printf("bounds %d %d\n", said(prctl(PR_CAPBSET_READ, 64)), said(prctl(PR_CAPBSET_DROP, 64)));
	printf("seccomp %d\n", said(prctl(PR_GET_SECCOMP)));
	printf("no such thing %d\n", said(prctl(123456)));
}

static const struct guest_case cases[] = {
	{"set*uid: down, and up again [J2]", down_and_up},
	{"set*uid, set*gid: down for good [J2]", down_for_good},
	{"setgroups: and children have them [J2]", groups},
	{"prctl: capabilities that are kept [J2]", kept},
	{"setfsuid, setfsgid: tell what was [J2]", file_numbers},
	{"kill, prlimit: whose processes one may touch [J2]", who_signals_whom},
	{"prlimit: limits of others [J2]", limits_of_others},
	{"prctl: orphans go to the subreaper [J2]", subreaper},
	{"prctl: what a task may ask about itself [J2]", about_itself},
};

int main(int argc, char **argv)
{
	if (cases_listed(argc, argv, cases, NR_CASES(cases)))
		return 0;
	setvbuf(stdout, NULL, _IONBF, 0);
	cases_run(argc, argv, cases, NR_CASES(cases), case_in_child);
	return 0;
}
