/* SPDX-License-Identifier: MIT */
/*
 * vdso.c - the shared object that every program is given: clocks and the processor's number without a system call.
 *
 * Answers come from the page struct vvar, as far as it is valid this very moment, else from a system call, as for clocks that are
 * not in it. No data, no relocations, no calls out; as Linux's, callers may be on any stack.
 * Not here: who writes struct vvar (linux/vvar.c), where the image is mapped (linux/vdso.c).
 */
#include "../abi.h"

#define NSEC_PER_SEC	      1000000000u
#define READ_ATTEMPTS	      4

#define SYS_time	      201
#define SYS_clock_gettime     228
#define SYS_clock_getres      229
#define SYS_getcpu	      309

#define CLOCK_REALTIME	      0
#define CLOCK_MONOTONIC_RAW   4
#define CLOCK_REALTIME_COARSE 5
#define CLOCK_TAI	      11

struct timespec {
	int64_t tv_sec, tv_nsec;
};

struct timeval {
	int64_t tv_sec, tv_usec;
};

struct timezone {
	int32_t tz_minuteswest, tz_dsttime;
};

extern const struct vvar vvar_page __attribute__((visibility("hidden")));

int __vdso_clock_gettime(int32_t clock, struct timespec *ts);
int __vdso_clock_getres(int32_t clock, struct timespec *ts);
int __vdso_gettimeofday(struct timeval *tv, struct timezone *tz);
int64_t __vdso_time(int64_t *t);
int64_t __vdso_getcpu(uint32_t *cpu, uint32_t *node, void *unused);

static int64_t syscall3(int64_t nr, const void *a, const void *b, const void *c)
{
	int64_t ret;

	__asm__ volatile("syscall" : "=a"(ret) : "0"(nr), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
	return ret;
}

static int64_t syscall_clock(int64_t nr, int32_t clock, const void *to)
{
	return syscall3(nr, (const void *)(intptr_t)clock, to, 0);
}

/* Not before anything that was read earlier. */
static inline uint64_t rdtsc_ordered(void)
{
	uint32_t low, high;

	__asm__ volatile("lfence; rdtsc" : "=a"(low), "=d"(high)::"memory");
	return (uint64_t)high << 32 | low;
}

/* By id: which base, and whether one tick behind. */
#define COARSE	 0x40
#define NO_CLOCK 0xff
static inline uint8_t clock_base(uint32_t id)
{
	/* A table would be read-only data, which is fine, and a cache line, which is not. */
	const uint64_t low = VVAR_REALTIME | VVAR_MONOTONIC << 8 | 0xffff0000 | (uint64_t)VVAR_RAW << 32 |
			     (uint64_t)(VVAR_REALTIME | COARSE) << 40 |
			     (uint64_t)(VVAR_MONOTONIC | COARSE) << 48 | (uint64_t)VVAR_BOOTTIME << 56;

	if (id < 8)
		return (uint8_t)(low >> (8 * id));
	return id == CLOCK_TAI ? VVAR_TAI : NO_CLOCK;
}

static inline uint32_t read_seq(const struct vvar *v)
{
	return __atomic_load_n(&v->seq, __ATOMIC_ACQUIRE);
}

/* False: nobody can tell without a system call. */
static inline int read_base(uint8_t which, struct vvar_time *t)
{
	const struct vvar *v = &vvar_page;
	unsigned int base = which & ~COARSE;

	for (unsigned int i = 0; i < READ_ATTEMPTS; i++) {
		uint32_t seq = read_seq(v);
		uint64_t cycles = rdtsc_ordered() - v->cycle_last;
		if ((seq & 1) || cycles > v->max_cycles)
			return 0;
		t->sec = v->base[base].sec;
		t->shifted_nsec = v->base[base].shifted_nsec + cycles * v->mult[base == VVAR_RAW];
		uint32_t tick_ns = v->tick_ns;
		__atomic_thread_fence(__ATOMIC_ACQUIRE);
		if (read_seq(v) != seq)
			continue;
		if (which & COARSE) {
			t->sec--;
			t->shifted_nsec += (uint64_t)(NSEC_PER_SEC - tick_ns) << VVAR_SHIFT;
		}
		return 1;
	}
	return 0;
}

static inline void in_order(void)
{
	__asm__ volatile("" ::: "memory");
}

static inline int read_clock(uint8_t which, int64_t *sec, int64_t *nsec)
{
	struct vvar_time t;

	if (!read_base(which, &t))
		return 0;
	uint64_t ns = t.shifted_nsec >> VVAR_SHIFT;
	while (ns >= NSEC_PER_SEC) {
		ns -= NSEC_PER_SEC;
		t.sec++;
	}
	*sec = (int64_t)t.sec;
	*nsec = (int64_t)ns;
	return 1;
}

/* The seconds first, as the kernel's: who gives a bad address is told of that one. */
static inline void store(int64_t *sec, int64_t *rest, int64_t a, int64_t b)
{
	*sec = a;
	in_order();
	*rest = b;
}

/* A call that answers for this code does so to a place of its own: a bad address is a fault, whoever had the time. */
int __vdso_clock_gettime(int32_t clock, struct timespec *ts)
{
	uint8_t which = clock_base((uint32_t)clock);
	struct timespec now;

	if (which == NO_CLOCK)
		return (int)syscall_clock(SYS_clock_gettime, clock, ts);
	if (!read_clock(which, &now.tv_sec, &now.tv_nsec)) {
		int err = (int)syscall_clock(SYS_clock_gettime, clock, &now);
		if (err)
			return err;
	}
	store(&ts->tv_sec, &ts->tv_nsec, now.tv_sec, now.tv_nsec);
	return 0;
}

int __vdso_gettimeofday(struct timeval *tv, struct timezone *tz)
{
	struct timespec now;

	if (tv) {
		if (!read_clock(VVAR_REALTIME, &now.tv_sec, &now.tv_nsec)) {
			int err = (int)syscall_clock(SYS_clock_gettime, CLOCK_REALTIME, &now);
			if (err)
				return err;
		}
		store(&tv->tv_sec, &tv->tv_usec, now.tv_sec, now.tv_nsec / 1000);
	}
	if (tz)
		*tz = (struct timezone){0, 0};
	return 0;
}

int64_t __vdso_time(int64_t *t)
{
	int64_t sec, nsec;

	if (!read_clock(VVAR_REALTIME | COARSE, &sec, &nsec))
		sec = syscall3(SYS_time, 0, 0, 0);
	if (t)
		*t = sec;
	return sec;
}

int __vdso_clock_getres(int32_t clock, struct timespec *ts)
{
	const struct vvar *v = &vvar_page;
	uint8_t which = clock_base((uint32_t)clock);
	uint32_t ns = which & COARSE ? v->tick_ns : v->clock_ns;

	if (which == NO_CLOCK || !ns)
		return (int)syscall_clock(SYS_clock_getres, clock, ts);
	if (ts)
		*ts = (struct timespec){0, ns};
	return 0;
}

int64_t __vdso_getcpu(uint32_t *cpu, uint32_t *node, void *unused)
{
	uint64_t both;

	switch (vvar_page.cpu_by) {
	case VVAR_CPU_RDPID:
		__asm__ volatile("rdpid %0" : "=r"(both));
		both &= (1u << CPU_NODE_SHIFT) - 1;
		break;
	case VVAR_CPU_LSL:
		__asm__ volatile("lsl %1, %k0" : "=r"(both) : "r"(GUEST_CPU_NODE));
		break;
	default:
		return syscall3(SYS_getcpu, cpu, node, unused);
	}
	if (cpu)
		*cpu = both & ((1u << CPU_NODE_SHIFT) - 1);
	if (node)
		*node = (uint32_t)both >> CPU_NODE_SHIFT;
	return 0;
}

/* The names that are older than the prefix. */
#define OLD_NAME(name) extern __typeof__(__vdso_##name) name __attribute__((weak, alias("__vdso_" #name)))
OLD_NAME(clock_gettime);
OLD_NAME(clock_getres);
OLD_NAME(gettimeofday);
OLD_NAME(time);
OLD_NAME(getcpu);
