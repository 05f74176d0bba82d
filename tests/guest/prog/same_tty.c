/* SPDX-License-Identifier: MIT */
/*
 * same_tty.c - pseudo-terminals made inside: sessions, groups in front and behind, and the signals of terminals.
 *
 * Each case makes a pair and a session of its own, whose leader says what happened through a pipe that is no terminal.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <termios.h>

#include "case.h"

static int master, slave; /* of the case */
static char slave_name[64];

static void tell(const char *what, long ret)
{
	printf("%-40s %s\n", what, ret < 0 ? strerrorname_np(errno) : ret ? "yes" : "0");
	fflush(stdout);
}

#define TELL(call) tell(#call, (long)(call))

static void make_pair(void)
{
	master = posix_openpt(O_RDWR | O_NOCTTY);
	if (master < 0 || grantpt(master) || unlockpt(master) ||
	    ptsname_r(master, slave_name, sizeof(slave_name)))
		printf("no pair: %s\n", strerrorname_np(errno));
	slave = open(slave_name, O_RDWR | O_NOCTTY);
}

static void print_status(const char *who, int status)
{
	if (WIFSTOPPED(status))
		printf("%s: stopped by %s\n", who, sigabbrev_np(WSTOPSIG(status)));
	else if (WIFSIGNALED(status))
		printf("%s: killed by %s\n", who, sigabbrev_np(WTERMSIG(status)));
	else if (WIFCONTINUED(status))
		printf("%s: goes on\n", who);
	else
		printf("%s: exited with %d\n", who, WEXITSTATUS(status));
	fflush(stdout);
}

static void await_change(const char *who, pid_t child, int changes)
{
	int status = 0;

	if (waitpid(child, &status, changes) == child)
		print_status(who, status);
	else
		printf("%s: %s\n", who, strerrorname_np(errno));
}

static void await(const char *who, pid_t child)
{
	await_change(who, child, WUNTRACED);
}

/* Runs it as the leader of a session whose terminal is the slave, in a process of its own. */
static void in_session(void (*leader)(void))
{
	pid_t child;

	make_pair();
	fflush(stdout);
	child = fork();
	if (!child) {
		alarm(20);
		setsid();
		if (ioctl(slave, TIOCSCTTY, 0))
			printf("no terminal: %s\n", strerrorname_np(errno));
		leader();
		fflush(stdout);
		_exit(0);
	}
	await("leader", child);
	close(master);
	close(slave);
}

/* A child in a group of its own that does something; it says by a byte that it is there. */
static pid_t in_group(bool front, void (*fn)(void))
{
	int ready[2];
	pid_t child;
	char byte;

	if (pipe(ready))
		return -1;
	signal(SIGTTOU, SIG_IGN);
	child = fork();
	if (!child) {
		alarm(20);
		setpgid(0, 0);
		if (front)
			tcsetpgrp(slave, getpid());
		signal(SIGTTOU, SIG_DFL);
		if (write(ready[1], "", 1) != 1)
			_exit(1);
		fn();
		fflush(stdout);
		_exit(0);
	}
	if (read(ready[0], &byte, 1) != 1)
		printf("it is not there\n");
	close(ready[0]);
	close(ready[1]);
	return child;
}

static void wait_for_signal(void)
{
	for (;;)
		pause();
}

static void type(const char *text)
{
	if (write(master, text, strlen(text)) < 0)
		printf("typing: %s\n", strerrorname_np(errno));
}

static void set_flags(tcflag_t on, tcflag_t off)
{
	struct termios settings;

	tcgetattr(slave, &settings);
	settings.c_lflag |= on;
	settings.c_lflag &= ~off;
	tcsetattr(slave, TCSANOW, &settings);
}

/* --- pairs ----------------------------------------------------------------------------------- */

static void pairs(void)
{
	unsigned int number = ~0u;
	int locked = -1;
	char text[16] = "", name[64];
	struct winsize size = {.ws_row = 31, .ws_col = 41}, seen;
	struct termios lock_bits;

	TELL((master = posix_openpt(O_RDWR | O_NOCTTY)) >= 0);
	TELL(ioctl(master, TIOCGPTN, &number));
	snprintf(name, sizeof(name), "/dev/pts/%u", number);
	TELL(ioctl(master, TIOCGPTLCK, &locked));
	TELL(ioctl(master, TIOCGLCKTRMIOS, &lock_bits));
	printf("locked %d\n", locked);
	TELL(open(name, O_RDWR | O_NOCTTY));
	TELL(unlockpt(master));
	TELL((slave = open(name, O_RDWR | O_NOCTTY)) >= 0);
	TELL(isatty(master));
	TELL(isatty(slave));
	printf("ttyname is right: %d\n", ttyname(slave) && !strcmp(ttyname(slave), name));
	TELL(write(master, "hello\n", 6) == 6);
	TELL(read(slave, text, sizeof(text)) == 6);
	printf("%s", text);
	TELL(read(master, text, sizeof(text)) == 7); /* the echo, with a CR */
	TELL(ioctl(master, TIOCSWINSZ, &size));
	TELL(ioctl(slave, TIOCGWINSZ, &seen));
	printf("%u x %u\n", seen.ws_row, seen.ws_col);
	TELL(ioctl(slave, TIOCGPTN, &number));
	TELL(ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY) >= 0);
	TELL(open("/dev/pts/4000000", O_RDWR | O_NOCTTY));
	TELL(tcflush(slave, TCIOFLUSH));
	TELL(tcdrain(slave));
	TELL(tcgetpgrp(slave));
	TELL(tcgetpgrp(master));
	TELL(tcgetsid(master));
	TELL(tcsetpgrp(slave, getpgrp()));
}

static void the_other_side_closes(void)
{
	struct pollfd p = {.events = POLLIN};
	char byte;

	make_pair();
	close(slave);
	p.fd = master;
	printf("poll %d: HUP %d\n", poll(&p, 1, 1000), !!(p.revents & POLLHUP));
	TELL(read(master, &byte, 1));
	slave = open(slave_name, O_RDWR | O_NOCTTY);
	close(master);
	TELL(read(slave, &byte, 1));
	TELL(write(slave, &byte, 1));
	TELL(open(slave_name, O_RDWR | O_NOCTTY) >= 0 ? 1 : errno == ENOENT || errno == EIO ? 0 : -1);
	close(slave);
}

static void packets(void)
{
	char text[16];
	int on = 1, flag = 0;

	make_pair();
	set_flags(0, ECHO);
	TELL(ioctl(master, TIOCPKT, &on));
	TELL(ioctl(master, TIOCGPKT, &flag));
	TELL(write(slave, "abc", 3) == 3);
	printf("%zd bytes, the first is %d\n", read(master, text, sizeof(text)), text[0]);
}

/* --- sessions -------------------------------------------------------------------------------- */

static void leader_has_it(void)
{
	int fd = open("/dev/tty", O_RDWR);

	TELL(fd);
	printf("in front: %d, session: %d\n", tcgetpgrp(slave) == getpid(), tcgetsid(slave) == getpid());
	printf("by /dev/tty: %d\n", tcgetpgrp(fd) == getpid());
	printf("by the master: %d\n", tcgetpgrp(master) == getpid());
	TELL(ioctl(slave, TIOCSCTTY, 0));
	close(fd);
	TELL(ioctl(slave, TIOCNOTTY));
	TELL(open("/dev/tty", O_RDWR));
	TELL(tcgetpgrp(slave));
	TELL(ioctl(slave, TIOCNOTTY));
	TELL(ioctl(slave, TIOCSCTTY, 0));
	TELL(tcgetpgrp(slave) == getpid());
}

static void session_has_it(void)
{
	signal(SIGHUP, SIG_IGN); /* of TIOCNOTTY */
	in_session(leader_has_it);
}

/* Opening is enough, but not with O_NOCTTY, and not for who leads no session. */
static void by_opening(void)
{
	int fd;

	make_pair();
	close(slave);
	fflush(stdout);
	if (!fork()) {
		setsid();
		fd = open(slave_name, O_RDWR | O_NOCTTY);
		TELL(tcgetpgrp(fd));
		TELL(open("/dev/tty", O_RDWR));
		close(fd);
		fd = open(slave_name, O_RDWR);
		TELL(tcgetpgrp(fd) == getpid());
		fflush(stdout);
		if (!fork()) {
			TELL(ioctl(fd, TIOCSCTTY, 0));
			TELL(setsid() > 0);
			TELL(tcgetpgrp(fd));
			TELL(ioctl(fd, TIOCSCTTY, 0));
			TELL(open("/dev/tty", O_RDWR));
			_exit(0);
		}
		wait(NULL);
		_exit(0);
	}
	wait(NULL);
}

static void groups(void)
{
	pid_t child = in_group(false, wait_for_signal), stranger;
	int none[2];

	TELL(tcsetpgrp(slave, 4194200));
	TELL(tcsetpgrp(slave, -1));
	TELL(tcsetpgrp(slave, child));
	printf("%d\n", tcgetpgrp(slave) == child);
	TELL(ioctl(slave, TIOCSPGRP, NULL));
	if (pipe(none))
		return;
	stranger = fork();
	if (!stranger) {
		setsid();
		close(none[1]);
		_exit(read(none[0], &none, 1) != 0);
	}
	while (getsid(stranger) != stranger)
		usleep(1000);
	TELL(tcsetpgrp(slave, stranger));
	TELL(tcsetpgrp(slave, getpid()));
	close(none[1]);
	await("stranger", stranger);
	kill(child, SIGKILL);
	await("child", child);
}

static void session_groups(void)
{
	in_session(groups);
}

/* --- signals by characters ------------------------------------------------------------------- */

/* What was typed is looked at in its own time. */
static void await_input(int bytes)
{
	for (int n = 0; n < bytes; usleep(1000))
		if (ioctl(slave, FIONREAD, &n))
			return;
}

static void characters(void)
{
	pid_t child = in_group(true, wait_for_signal);

	signal(SIGINT, SIG_IGN); /* nothing of it comes here */
	type("a\003");
	await("^C", child);
	child = in_group(true, wait_for_signal);
	type("\034");
	await("^\\", child);
	child = in_group(true, wait_for_signal);
	type("x\032y");
	await("^Z", child);
	kill(child, SIGCONT);
	await_change("SIGCONT", child, WCONTINUED);
	tcflush(slave, TCIFLUSH);
	type("\026\003\n"); /* taken literally */
	await_input(2);
	set_flags(0, ISIG | ICANON);
	tcflush(slave, TCIFLUSH);
	type("\003\034\032");
	await_input(3);
	set_flags(ISIG | ICANON, 0);
	kill(child, SIGUSR1);
	await("none of them", child);
	tcsetpgrp(slave, getpid());
}

static void signals_by_characters(void)
{
	in_session(characters);
}

static void resize(void)
{
	struct winsize size = {.ws_row = 10, .ws_col = 20};
	sigset_t set;
	int signo;

	sigemptyset(&set);
	sigaddset(&set, SIGWINCH);
	sigprocmask(SIG_BLOCK, &set, NULL);
	TELL(ioctl(master, TIOCSWINSZ, &size));
	TELL(sigtimedwait(&set, NULL, &(struct timespec){20, 0}) == SIGWINCH);
	TELL(ioctl(slave, TIOCSWINSZ, &size)); /* the same */
	TELL(sigtimedwait(&set, NULL, &(struct timespec){0, 1000}));
	size.ws_col++;
	TELL(ioctl(slave, TIOCSWINSZ, &size));
	TELL(sigwait(&set, &signo));
}

static void sizes(void)
{
	in_session(resize);
}

/* --- behind the front ------------------------------------------------------------------------ */

static void read_it(void)
{
	char text[16];
	ssize_t n = read(slave, text, sizeof(text));

	if (n < 0)
		printf("read: %s\n", strerrorname_np(errno));
	else
		printf("read %zd\n", n);
}

static void read_deaf(void)
{
	signal(SIGTTIN, SIG_IGN);
	read_it();
}

static void change_it(void)
{
	set_flags(0, ECHO);
	printf("changed\n");
}

static void change_deaf(void)
{
	signal(SIGTTOU, SIG_IGN);
	change_it();
}

static void write_it(void)
{
	ssize_t n = write(slave, "text", 4);

	printf("wrote %zd\n", n);
}

static int told[2], go[2];

static void orphan_it(void)
{
	char byte;

	close(go[1]);
	if (fork())
		return;
	if (read(go[0], &byte, 1) == 0)
		read_it();
	fflush(stdout);
	_exit(0);
}

/* It stops, is put in front, and goes on. */
static void stop_and_go(const char *what, void (*fn)(void))
{
	pid_t child = in_group(false, fn);

	await(what, child);
	tcsetpgrp(slave, child);
	kill(child, SIGCONT);
	await(what, child);
	tcsetpgrp(slave, getpid());
}

static void background(void)
{
	pid_t child;

	type("line\n");
	stop_and_go("a reader", read_it);
	await("a deaf reader", in_group(false, read_deaf));
	stop_and_go("who changes", change_it);
	await("who changes, deaf", in_group(false, change_deaf));
	await("a writer", in_group(false, write_it));
	set_flags(TOSTOP, 0);
	stop_and_go("a writer, with TOSTOP", write_it);
	if (pipe(told) || pipe(go))
		return;
	child = in_group(false, orphan_it);
	await("an orphan's parent", child);
	close(go[1]);
	close(told[1]);
	TELL(read(told[0], &child, 1)); /* until it has ended */
}

static void background_groups(void)
{
	in_session(background);
}

/* --- ends ------------------------------------------------------------------------------------ */

static void on_hangup(int signo)
{
	if (write(told[1], signo == SIGHUP ? "H" : "C", 1) != 1)
		_exit(1);
}

static void end_by_hangup(int signo)
{
	on_hangup(signo);
	_exit(0);
}

/* The group in front hears of the end of the leader. */
static void end_of_leader(void)
{
	signal(SIGHUP, end_by_hangup);
	in_group(true, wait_for_signal);
	signal(SIGHUP, SIG_DFL);
}

static void leader_ends(void)
{
	char byte = '-';

	if (pipe(told))
		return;
	in_session(end_of_leader);
	close(told[1]);
	TELL(read(told[0], &byte, 1));
	printf("%c\n", byte);
}

static void end_of_line(void)
{
	signal(SIGHUP, on_hangup);
	if (write(told[1], "r", 1) != 1)
		_exit(1);
	pause();
	TELL(open("/dev/tty", O_RDWR));
	TELL(tcgetpgrp(slave));
}

/* The leader hears of the end of the line. */
static void line_ends(void)
{
	char byte = '-';
	pid_t child;

	make_pair();
	if (pipe(told))
		return;
	fflush(stdout);
	child = fork();
	if (!child) {
		close(master);
		setsid();
		ioctl(slave, TIOCSCTTY, 0);
		end_of_line();
		_exit(0);
	}
	if (read(told[0], &byte, 1) != 1)
		return;
	usleep(50000); /* let it pause */
	close(master);
	await("leader", child);
	TELL(read(told[0], &byte, 1));
	printf("%c\n", byte);
}

static const struct guest_case cases[] = {
	{"tty: pairs", pairs},
	{"tty: a side without the other", the_other_side_closes},
	{"tty: packets", packets},
	{"tty: a session's terminal", session_has_it},
	{"tty: a terminal by opening it", by_opening},
	{"tty: groups in front", session_groups},
	{"tty: characters that make signals", signals_by_characters},
	{"tty: sizes", sizes},
	{"tty: groups behind", background_groups},
	{"tty: the leader ends", leader_ends},
	{"tty: the line ends", line_ends},
};

int main(int argc, char **argv)
{
	if (cases_listed(argc, argv, cases, NR_CASES(cases)))
		return 0;
	cases_run(argc, argv, cases, NR_CASES(cases), case_in_child);
	return 0;
}
