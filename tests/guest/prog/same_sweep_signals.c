/* SPDX-License-Identifier: MIT */
/*
 * same_sweep_signals.c - the calls on signals, time and timers, with every interesting argument.
 */
#include <sys/timex.h>

#include "sweep.h"

#define A(name)                         \
	{                               \
#name, (uintptr_t)&name \
	}
/* As the kernel has them. */
static const struct kernel_action {
	uint64_t handler, flags, restorer, mask;
} ignore = {1, 0x04000000, 0, 0}, by_default = {0, 0x04000000, 0, 0}, odd_flags = {1, ~0ull, 0, ~0ull};
static const struct sweep_value actions[] = {
	A(ignore), A(by_default), A(odd_flags), {"NULL", 0}, {"hole", AT_HOLE},
};
static const struct sweep_value numbers[] = {
	{"USR1", SIGUSR1}, {"0", 0},	      {"65", 65}, {"KILL", SIGKILL},
	{"STOP", SIGSTOP}, {"CHLD", SIGCHLD}, {"64", 64}, {"-1", (uint64_t)-1},
};
static const uint64_t no_signals, user_signals = 1ull << (SIGUSR1 - 1), all_signals = ~0ull;
static const struct sweep_value masks[] = {
	A(user_signals), A(no_signals), A(all_signals), {"NULL", 0}, {"hole", AT_HOLE},
};
static const struct sweep_value set_sizes[] = {
	{"8", 8}, {"0", 0}, {"4", 4}, {"16", 16}, {"128", 128}, {"-1", -1ul},
};
static const struct timespec soon = {0, 1000}, at_once = {0, 0}, negative = {-1, 0}, many = {0, 1000000000},
			     below = {0, -1}, past = {1, 0};
static const struct sweep_value spans[] = {
	A(soon), A(negative), A(many), A(at_once), A(below), {"hole", AT_HOLE},
};
static const struct sweep_value points[] = {
	A(past), A(negative), A(many), A(at_once), A(below), {"NULL", 0}, {"hole", AT_HOLE},
};
static const siginfo_t queued = {.si_code = SI_QUEUE}, as_kernel = {.si_code = SI_KERNEL},
		       as_user = {.si_code = SI_USER}, as_tkill = {.si_code = SI_TKILL},
		       as_timer = {.si_code = SI_TIMER};
static const struct sweep_value infos[] = {
	A(queued), A(as_kernel), A(as_user), A(as_tkill), A(as_timer), {"NULL", 0}, {"hole", AT_HOLE},
};
static const stack_t stack = {(void *)ARENA, 0, 4096}, small_stack = {(void *)ARENA, 0, 100},
		     no_stack = {NULL, SS_DISABLE, 0}, on_stack = {(void *)ARENA, SS_ONSTACK, 4096},
		     odd_stack = {(void *)ARENA, 8, 4096}, disarmed = {(void *)ARENA, (int)(1u << 31), 4096};
static const struct sweep_value stacks[] = {
	A(stack),     A(small_stack), A(no_stack), A(on_stack),
	A(odd_stack), A(disarmed),    {"NULL", 0}, {"hole", AT_HOLE},
};
static const struct itimerval span_timer = {{0, 0}, {100, 0}}, bad_timer = {{0, 1000000}, {1, 0}},
			      minus_timer = {{0, 0}, {-1, 0}}, off_timer = {{0, 0}, {0, 0}};
static const struct sweep_value timers[] = {
	A(span_timer), A(bad_timer), A(minus_timer), A(off_timer), {"NULL", 0}, {"hole", AT_HOLE},
};
static const struct itimerspec far = {{0, 0}, {100, 0}}, bad_far = {{0, 1000000000}, {1, 0}},
			       minus_far = {{0, 0}, {-1, 0}}, disarm = {{0, 0}, {0, 0}},
			       bad_value = {{0, 0}, {0, 1000000000}};
static const struct sweep_value specs[] = {
	A(far), A(bad_far), A(minus_far), A(disarm), A(bad_value), {"NULL", 0}, {"hole", AT_HOLE},
};
static const struct sigevent by_signal = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1},
			     by_none = {.sigev_notify = SIGEV_NONE, .sigev_signo = 65},
			     by_thread = {.sigev_notify = SIGEV_THREAD, .sigev_signo = SIGUSR1},
			     by_tid = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGUSR1},
			     by_65 = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = 65},
			     by_0 = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = 0},
			     by_odd = {.sigev_notify = 3, .sigev_signo = SIGUSR1},
			     none_id = {.sigev_notify = SIGEV_NONE | SIGEV_THREAD_ID, .sigev_signo = 1};
static const struct sweep_value events[] = {
	A(by_signal), A(by_none), A(by_thread), A(by_tid),   A(by_65),
	A(by_0),      A(by_odd),  A(none_id),	{"NULL", 0}, {"hole", AT_HOLE},
};
/* Clocks that the machine's user may not have stopped, and the timers of none. */
static const struct sweep_value timer_clocks[] = {
	{"1", 1}, {"-1", -1ul}, {"100", 100}, {"0", 0},	  {"2", 2},   {"3", 3},	    {"4", 4},
	{"5", 5}, {"6", 6},	{"7", 7},     {"10", 10}, {"11", 11}, {"-2", -2ul}, {"-6", -6ul},
};
/* Not the process's own processor time: it may be used by whoever waits for it. */
static const struct sweep_value sleep_clocks[] = {
	{"1", 1}, {"-1", -1ul}, {"100", 100}, {"0", 0},	  {"3", 3},	{"4", 4},   {"5", 5},
	{"6", 6}, {"7", 7},	{"10", 10},   {"11", 11}, {"-2", -2ul}, {"12", 12},
};
static const struct timeval tv_bad = {0, 1000000}, tv_minus = {-1, 0};
static const struct sweep_value timevals[] = {
	{"hole", AT_HOLE},
	A(tv_bad),
	A(tv_minus),
	{"NULL", 0},
};
static const struct sweep_value nobody[] = {
	{"no process", INT_MAX},
	{"min", (uint64_t)INT_MIN},
	{"-max", (uint64_t)-INT_MAX},
};
static const struct sweep_value threads[] = {
	{"no thread", INT_MAX},
	{"0", 0},
	{"-1", -1ul},
	{"min", (uint64_t)INT_MIN},
};

static const struct sweep_call calls[] = {
	CALL(rt_sigaction, CHANGES, WITH(numbers, SIGUSR1), WITH(actions, &ignore), OUT, WITH(set_sizes, 8)),
	CALL(rt_sigaction, CHANGES, WITH(numbers, SIGUSR1), ONLY(0), OUT, WITH(set_sizes, 8)),
	CALL(rt_sigprocmask, CHANGES, INT(0), WITH(masks, &user_signals), OUT, WITH(set_sizes, 8)),
	CALL(rt_sigpending, 0, OUT, WITH(set_sizes, 8)),
	CALL(rt_sigtimedwait, CHANGES, WITH(masks, &user_signals), OUT, WITH(spans, &soon),
	     WITH(set_sizes, 8)),
	CALL(rt_sigsuspend, CHANGES | NO_PAIRS, ONLY(AT_HOLE), WITH(set_sizes, 4)),
	CALL(rt_sigqueueinfo, CHANGES, WITH(nobody, INT_MAX), SIGNAL(0), WITH(infos, &queued)),
	CALL(rt_tgsigqueueinfo, CHANGES, WITH(threads, INT_MAX), WITH(threads, INT_MAX), SIGNAL(0),
	     WITH(infos, &queued)),
	CALL(sigaltstack, CHANGES, WITH(stacks, &stack), OUT),
	CALL(kill, CHANGES, WITH(nobody, INT_MAX), SIGNAL(0)),
	CALL(kill, CHANGES, ONLY(0), SIGNAL(0)),
	CALL(tkill, CHANGES, WITH(threads, INT_MAX), SIGNAL(0)),
	CALL(tgkill, CHANGES, WITH(threads, INT_MAX), WITH(threads, INT_MAX), SIGNAL(0)),
	CALL(signalfd4, MAKES_FD, ONLY(-1ul), WITH(masks, &user_signals), WITH(set_sizes, 8),
	     BITS(SFD_CLOEXEC)),
	CALL(signalfd4, FRESH, FD_OF(FD_SIGNAL), WITH(masks, &user_signals), WITH(set_sizes, 8), BITS(0)),
	CALL(signalfd, MAKES_FD, ONLY(-1ul), WITH(masks, &user_signals), WITH(set_sizes, 8)),
	CALL(alarm, CHANGES | VALUE, ONLY(100)),
	CALL(getitimer, CHANGES, INT(0), OUT),
	CALL(setitimer, CHANGES, INT(0), WITH(timers, &span_timer), OUT),
	CALL(timer_create, CHANGES, WITH(timer_clocks, 1), WITH(events, &by_signal), OUT),
	CALL(timer_settime, CHANGES, INT(0), BITS(0), WITH(specs, &far), OUT),
	CALL(timer_gettime, CHANGES, INT(0), OUT),
	CALL(timer_getoverrun, CHANGES, INT(0)),
	CALL(timer_delete, CHANGES, INT(0)),
	CALL(timerfd_create, MAKES_FD, WITH(timer_clocks, 1), BITS(TFD_NONBLOCK)),
	CALL(timerfd_settime, FRESH, FD_OF(FD_TIMER), BITS(0), WITH(specs, &far), OUT),
	CALL(timerfd_gettime, FRESH, FD_OF(FD_TIMER), OUT),
	CALL(clock_gettime, 0, CLOCK(1), OUT),
	CALL(clock_getres, 0, CLOCK(1), OUT),
	CALL(clock_settime, 0, CLOCK(1), WITH(points, &negative)),
	CALL(clock_nanosleep, CHANGES, WITH(sleep_clocks, 1), INT(0), WITH(spans, &soon), OUT),
	CALL(clock_nanosleep, CHANGES, WITH(sleep_clocks, 1), INT(1), WITH(points, &past), OUT),
	CALL(clock_adjtime, CHANGES, CLOCK(0), OUT),
	CALL(adjtimex, CHANGES, OUT),
	CALL(nanosleep, 0, WITH(spans, &soon), OUT),
	CALL(gettimeofday, 0, OUT, OUT),
	CALL(settimeofday, 0, WITH(timevals, AT_HOLE), IN(AT_HOLE)),
	CALL(time, 0, OUT),
	CALL(restart_syscall, 0, ONLY(0)),
};

int main(int argc, char **argv)
{
	return sweep_main(argc, argv, calls, ARRAY_SIZE(calls));
}
