/* SPDX-License-Identifier: MIT */
/*
 * same_timers.c - timers that end in a signal, clocks of processor time, and calls that go on after an interruption.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "case.h"

#define MS 1000000l

static volatile sig_atomic_t rings, code, value, overruns;

static int said(long ret)
{
	return ret < 0 ? -errno : (int)ret;
}

static void ring(int signo, siginfo_t *info, void *context)
{
	(void)signo;
	(void)context;
	rings++;
	code = info->si_code;
	value = info->si_value.sival_int;
	overruns += info->si_overrun;
}

static void handle(int signo)
{
	struct sigaction sa = {.sa_sigaction = ring, .sa_flags = SA_SIGINFO};

	sigaction(signo, &sa, NULL);
}

static uint64_t now_ns(clockid_t clock)
{
	struct timespec ts = {0};

	clock_gettime(clock, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

/* Uses the processor for about so long. */
static void spin(uint64_t ns)
{
	uint64_t until = now_ns(CLOCK_THREAD_CPUTIME_ID) + ns;

	while (now_ns(CLOCK_THREAD_CPUTIME_ID) < until)
		;
}

/* --- timers by number ------------------------------------------------------------------------ */

static void create_errors(void)
{
	struct sigevent e = {.sigev_notify = 77};
	struct itimerspec v = {.it_value.tv_nsec = 1000000000};
	timer_t id = NULL;

	printf("clock %d\n", said(syscall(SYS_timer_create, 77, NULL, &id)));
	printf("coarse %d\n", said(syscall(SYS_timer_create, CLOCK_MONOTONIC_COARSE, NULL, &id)));
	printf("raw %d\n", said(syscall(SYS_timer_create, CLOCK_MONOTONIC_RAW, NULL, &id)));
	printf("notify %d\n", said(syscall(SYS_timer_create, CLOCK_MONOTONIC, &e, &id)));
	e = (struct sigevent){.sigev_notify = SIGEV_SIGNAL, .sigev_signo = 65};
	printf("signal %d\n", said(syscall(SYS_timer_create, CLOCK_MONOTONIC, &e, &id)));
	e = (struct sigevent){.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGUSR1, ._sigev_un._tid = 1};
	printf("thread %d\n", said(syscall(SYS_timer_create, CLOCK_MONOTONIC, &e, &id)));
	printf("event %d\n", said(syscall(SYS_timer_create, CLOCK_MONOTONIC, 8, &id)));
	printf("nowhere %d\n", said(syscall(SYS_timer_create, CLOCK_MONOTONIC, NULL, 8)));
	printf("set nothing %d\n", said(syscall(SYS_timer_settime, 1234, 0, NULL, NULL)));
	printf("set bad %d\n", said(syscall(SYS_timer_settime, 1234, 0, &v, NULL)));
	v.it_value.tv_nsec = 0;
	printf("set none %d\n", said(syscall(SYS_timer_settime, 1234, 0, &v, NULL)));
	printf("get none %d\n", said(syscall(SYS_timer_gettime, 1234, &v)));
	printf("overrun none %d\n", said(syscall(SYS_timer_getoverrun, 1234)));
	printf("delete none %d\n", said(syscall(SYS_timer_delete, 1234)));
}

static void rings_once(void)
{
	struct sigevent e = {.sigev_notify = SIGEV_SIGNAL,
			     .sigev_signo = SIGUSR1,
			     .sigev_value.sival_int = 4711};
	struct itimerspec v = {.it_value.tv_nsec = 20 * MS}, old;
	timer_t id;

	handle(SIGUSR1);
	printf("create %d\n", said(timer_create(CLOCK_MONOTONIC, &e, &id)));
	printf("set %d\n", said(timer_settime(id, 0, &v, NULL)));
	printf("get %d\n", said(timer_gettime(id, &old)));
	printf("left %d\n",
	       old.it_value.tv_sec == 0 && old.it_value.tv_nsec > 0 && old.it_value.tv_nsec <= 20 * MS);
	printf("pause %d\n", said(pause()));
	printf("rings %d code %d value %d overrun %d\n", rings, code, value, said(timer_getoverrun(id)));
	timer_gettime(id, &old);
	printf("off %ld %ld\n", old.it_value.tv_sec, old.it_value.tv_nsec);
	clock_gettime(CLOCK_REALTIME, &v.it_value);
	printf("delete %d\n", said(timer_delete(id)));
	printf("again %d\n", said(timer_delete(id)));
	printf("default signal %d\n", said(timer_create(CLOCK_REALTIME, NULL, &id)));
	handle(SIGALRM);
	printf("the past %d\n", said(timer_settime(id, TIMER_ABSTIME, &v, NULL)));
	while (rings < 2)
		usleep(1000);
	printf("code %d value is the number %d\n", code, value == (int)(intptr_t)id);
}

static void overrun(void)
{
	struct sigevent e = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN};
	struct itimerspec v = {.it_value.tv_nsec = 2 * MS, .it_interval.tv_nsec = 2 * MS}, off = {0};
	sigset_t set;
	timer_t id;

	handle(SIGRTMIN);
	sigemptyset(&set);
	sigaddset(&set, SIGRTMIN);
	sigprocmask(SIG_BLOCK, &set, NULL);
	timer_create(CLOCK_MONOTONIC, &e, &id);
	timer_settime(id, 0, &v, NULL);
	usleep(50000);
	sigpending(&set);
	printf("pending %d\n", sigismember(&set, SIGRTMIN));
	sigemptyset(&set);
	sigaddset(&set, SIGRTMIN);
	siginfo_t info;
	printf("took %d\n", said(sigwaitinfo(&set, &info)) == SIGRTMIN);
	timer_settime(id, 0, &off, NULL);
	printf("code %d overran %d\n", info.si_code, info.si_overrun >= 10);
	printf("nothing is left %d\n", said(sigtimedwait(&set, &info, &(struct timespec){0, 30 * MS})));
	timer_settime(id, 0, &v, NULL);
	usleep(20000);
	timer_delete(id);
	printf("nor after its end %d\n", said(sigtimedwait(&set, &info, &(struct timespec){0, 0})));
}

static void notifies_nobody(void)
{
	struct sigevent e = {.sigev_notify = SIGEV_NONE};
	struct itimerspec v = {.it_value.tv_nsec = 5 * MS};
	timer_t id;

	timer_create(CLOCK_BOOTTIME, &e, &id);
	timer_settime(id, 0, &v, NULL);
	usleep(20000);
	printf("get %d", said(timer_gettime(id, &v)));
	printf(": %ld %ld\n", v.it_value.tv_sec, v.it_value.tv_nsec);
}

static pthread_t main_thread;
static volatile sig_atomic_t on_main;

static void where(int signo)
{
	(void)signo;
	on_main = pthread_equal(pthread_self(), main_thread) ? 1 : 2;
}

static void *tell_me(void *arg)
{
	struct sigevent e = {.sigev_notify = SIGEV_THREAD_ID,
			     .sigev_signo = SIGUSR2,
			     ._sigev_un._tid = (int)syscall(SYS_gettid)};
	struct itimerspec v = {.it_value.tv_nsec = 5 * MS};
	timer_t id;

	(void)arg;
	timer_create(CLOCK_MONOTONIC, &e, &id);
	timer_settime(id, 0, &v, NULL);
	while (!on_main)
		usleep(1000);
	return NULL;
}

static void by_thread(void)
{
	pthread_t t;

	main_thread = pthread_self();
	signal(SIGUSR2, where);
	pthread_create(&t, NULL, tell_me, NULL);
	pthread_join(t, NULL);
	printf("the thread itself %d\n", on_main == 2);
}

static void not_inherited(void)
{
	struct itimerspec v = {.it_value.tv_sec = 100};
	struct itimerval iv = {.it_value.tv_sec = 100};
	timer_t id;
	int status;

	timer_create(CLOCK_MONOTONIC, NULL, &id);
	timer_settime(id, 0, &v, NULL);
	setitimer(ITIMER_REAL, &iv, NULL);
	if (!fork()) {
		getitimer(ITIMER_REAL, &iv);
		printf("child: %d, interval %d\n", said(timer_gettime(id, &v)), (int)iv.it_value.tv_sec);
		_exit(0);
	}
	wait(&status);
	printf("parent: %d\n", said(timer_gettime(id, &v)));
}

/* --- processor time -------------------------------------------------------------------------- */

static void *spin_a_while(void *arg)
{
	spin(*(uint64_t *)arg);
	return NULL;
}

static void cpu_clocks(void)
{
	uint64_t span = 60 * MS, process = now_ns(CLOCK_PROCESS_CPUTIME_ID),
		 own = now_ns(CLOCK_THREAD_CPUTIME_ID);
	clockid_t clock;
	pthread_t t;

	pthread_create(&t, NULL, spin_a_while, &span);
	pthread_join(t, NULL);
	printf("the process has it %d\n", now_ns(CLOCK_PROCESS_CPUTIME_ID) - process >= span);
	printf("this thread has not %d\n", now_ns(CLOCK_THREAD_CPUTIME_ID) - own < span);
	printf("own clock %d", clock_getcpuclockid(getpid(), &clock));
	printf(" goes %d\n", now_ns(clock) >= process + span);
	printf("nobody's %d\n", clock_getcpuclockid(999999, &clock));
	printf("thread's %d", pthread_getcpuclockid(pthread_self(), &clock));
	printf(" goes %d\n", now_ns(clock) >= own);
	printf("resolution %d", said(clock_getres(clock, NULL)));
	printf(" of no clock %d\n", said(clock_getres(-1, NULL)));
	printf("sleep by own time %d\n",
	       clock_nanosleep(CLOCK_THREAD_CPUTIME_ID, 0, &(struct timespec){0, 1}, NULL));
}

static void virtual_timers(void)
{
	static const struct {
		__itimer_which_t which;
		int signo;
	} each[] = {{ITIMER_VIRTUAL, SIGVTALRM}, {ITIMER_PROF, SIGPROF}};
	struct itimerval v = {.it_value.tv_usec = 20000, .it_interval.tv_usec = 20000}, off = {0}, now;

	for (int i = 0; i < 2; i++) {
		rings = 0;
		handle(each[i].signo);
		printf("set %d\n", said(setitimer(each[i].which, &v, NULL)));
		while (rings < 3)
			;
		getitimer(each[i].which, &now);
		printf("every %ld, left %d\n", (long)now.it_interval.tv_usec,
		       now.it_value.tv_usec > 0 && now.it_value.tv_usec <= 24000);
		setitimer(each[i].which, &off, NULL);
		printf("code %d\n", code);
	}
}

static void cpu_timer(void)
{
	struct sigevent e = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
	struct itimerspec v = {.it_value.tv_nsec = 20 * MS};
	timer_t id;

	rings = 0;
	handle(SIGUSR1);
	printf("create %d\n", said(timer_create(CLOCK_PROCESS_CPUTIME_ID, &e, &id)));
	printf("set %d\n", said(timer_settime(id, 0, &v, NULL)));
	usleep(60000);
	printf("asleep %d\n", rings);
	while (!rings)
		;
	printf("awake %d code %d\n", rings, code);
}

static void cpu_limit(void)
{
	int status;
	pid_t pid = fork();

	if (!pid) {
		setrlimit(RLIMIT_CPU, &(struct rlimit){1, 2});
		handle(SIGXCPU);
		for (;;)
			if (rings == 1) {
				printf("warned, code %d\n", code);
				rings++;
			}
	}
	waitpid(pid, &status, 0);
	printf("ended by %d\n", WTERMSIG(status));
}

/* --- calls that go on ------------------------------------------------------------------------ */

static void nothing(int signo)
{
	(void)signo;
}

/* What the calls wait for: long enough for whoever interrupts them. */
static struct timespec span;

/* A child makes the call; it is stopped and continued while it waits, and then sent a signal with a handler if that is wanted. */
static void interrupt(const char *name, int (*call)(void), bool handled)
{
	struct sigaction sa = {.sa_handler = nothing, .sa_flags = SA_RESTART};
	int status, ready[2];
	char byte = 0;
	pid_t pid;

	span = handled ? (struct timespec){.tv_sec = 10} : (struct timespec){.tv_nsec = 200 * MS};
	if (pipe(ready))
		return;
	fflush(stdout);
	pid = fork();
	if (!pid) {
		sigaction(SIGUSR1, &sa, NULL);
		if (write(ready[1], &byte, 1) != 1)
			_exit(99);
		_exit(call() & 0xff);
	}
	if (read(ready[0], &byte, 1) != 1)
		puts("no child");
	close(ready[0]);
	close(ready[1]);
	usleep(60000);
	kill(pid, SIGSTOP);
	waitpid(pid, &status, WUNTRACED);
	kill(pid, SIGCONT);
	usleep(20000);
	if (handled)
		kill(pid, SIGUSR1);
	waitpid(pid, &status, 0);
	printf("%s%s: %d\n", name, handled ? ", handler" : "", (int8_t)WEXITSTATUS(status));
}

static int do_nanosleep(void)
{
	return said(nanosleep(&span, NULL));
}

static int do_absolute(void)
{
	struct timespec at;

	clock_gettime(CLOCK_MONOTONIC, &at);
	at.tv_sec += span.tv_sec + 1;
	return -clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL);
}

static int do_poll(void)
{
	return said(poll(NULL, 0, (int)(span.tv_sec * 1000 + span.tv_nsec / MS)));
}

static int do_select(void)
{
	return said(select(0, NULL, NULL, NULL, &(struct timeval){span.tv_sec, span.tv_nsec / 1000}));
}

static int do_pselect(void)
{
	sigset_t set;

	sigemptyset(&set);
	return said(pselect(0, NULL, NULL, NULL, &span, &set));
}

static int do_futex(void)
{
	uint32_t word = 0;

	return said(syscall(SYS_futex, &word, 128, 0, &span, NULL, 0));
}

static int do_sigtimedwait(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	return said(sigtimedwait(&set, NULL, &span));
}

static void goes_on(void)
{
	interrupt("nanosleep", do_nanosleep, false);
	interrupt("absolute", do_absolute, false);
	interrupt("poll", do_poll, false);
	interrupt("select", do_select, false);
	interrupt("pselect", do_pselect, false);
	interrupt("futex", do_futex, false);
	interrupt("sigtimedwait", do_sigtimedwait, false);
}

static void ends(void)
{
	interrupt("nanosleep", do_nanosleep, true);
	interrupt("absolute", do_absolute, true);
	interrupt("poll", do_poll, true);
	interrupt("select", do_select, true);
	interrupt("pselect", do_pselect, true);
	interrupt("futex", do_futex, true);
	interrupt("sigtimedwait", do_sigtimedwait, true);
}

static int do_pause(void)
{
	return said(pause());
}

static int do_sigsuspend(void)
{
	sigset_t set;

	sigemptyset(&set);
	return said(sigsuspend(&set));
}

static void waits_for_a_handler(void)
{
	interrupt("pause", do_pause, true);
	interrupt("sigsuspend", do_sigsuspend, true);
	printf("nothing to go on with %d\n", said(syscall(SYS_restart_syscall)));
}

static const struct guest_case cases[] = {
	{"timer_create and kin: what they refuse [J2]", create_errors},
	{"timer_create: rings once, with its value [J2]", rings_once},
	{"timer_create: overruns while its signal waits [J2]", overrun},
	{"timer_create: tells nobody, and can be asked [J2]", notifies_nobody},
	{"timer_create: tells the thread that is named [J2]", by_thread},
	{"timers: a child has none [J2][M1]", not_inherited},
	{"clocks of processor time: of processes and threads [J2]", cpu_clocks},
	{"setitimer: by the time that the processor was used [J2]", virtual_timers},
	{"timer_create: by processor time [J2]", cpu_timer},
	{"RLIMIT_CPU: a warning, then the end [J2]", cpu_limit},
	{"interrupted calls go on after a stop [J2]", goes_on},
	{"interrupted calls end with a handler [J2]", ends},
	{"pause and sigsuspend: a stop is no handler [J2]", waits_for_a_handler},
};

int main(int argc, char **argv)
{
	if (cases_listed(argc, argv, cases, NR_CASES(cases)))
		return 0;
	setvbuf(stdout, NULL, _IONBF, 0);
	cases_run(argc, argv, cases, NR_CASES(cases), NULL);
	return 0;
}
