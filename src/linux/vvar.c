/* SPDX-License-Identifier: MIT */
/* vvar.c - see vvar.h. */
#include <string.h>
#include <unistd.h>
#include <fcntl.h>
#include <x86intrin.h>

#include "vvar.h"

#define NS_PER_SEC    1000000000ll
#define CLOCK_SOURCE  "/sys/devices/system/clocksource/clocksource0/current_clocksource"

#define PAIR_READINGS 4
#define MEASURE_NS    1000000ull   /* no rate from less than this */
#define REMEASURE_NS  500000000ull /* a rate from about this long */
#define LINE_NS	      50000000ull  /* no line is longer */
#define AHEAD_NS      1000ull	   /* a line that ran ahead of its clock by more is not continued */
#define RATE_CHANGE_LIMIT \
	1000ull /* parts of a rate: more than one is another rate, not this one measured better */
#define OFFSET_NOISE_NS 200

typedef unsigned __int128 shifted_t; /* 2^-32 ns */

static uint64_t clock_ns(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (uint64_t)(ts.tv_sec * NS_PER_SEC + ts.tv_nsec);
}

uint32_t vvar_tick_ns(void)
{
	struct timespec ts;

	return clock_getres(CLOCK_REALTIME_COARSE, &ts) || ts.tv_sec ? 0 : (uint32_t)ts.tv_nsec;
}

/* The reading that took least time is the one that nothing came between. */
static struct vvar_point read_point(clockid_t clock)
{
	struct vvar_point best = {0};
	uint64_t least = ~0ull;

	for (unsigned int i = 0; i < PAIR_READINGS; i++) {
		uint64_t before = __rdtsc(), ns = clock_ns(clock), after = __rdtsc();
		if (after - before < least) {
			least = after - before;
			best = (struct vvar_point){before + least / 2, ns};
		}
	}
	return best;
}

/* What `clock` is ahead of CLOCK_MONOTONIC, which does not change by itself: what looks like noise is. */
static int64_t read_offset(clockid_t clock, int64_t known)
{
	uint64_t least = ~0ull;
	int64_t best = known;

	for (unsigned int i = 0; i < PAIR_READINGS; i++) {
		uint64_t before = clock_ns(CLOCK_MONOTONIC), ns = clock_ns(clock),
			 after = clock_ns(CLOCK_MONOTONIC);
		if (after - before < least) {
			least = after - before;
			best = (int64_t)(ns - before - least / 2);
		}
	}
	return best - known < OFFSET_NOISE_NS && known - best < OFFSET_NOISE_NS ? known : best;
}

static enum vvar_counter find_counter(void)
{
	char name[8] = "";
	int fd = open(CLOCK_SOURCE, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, name, sizeof(name) - 1);

	if (fd >= 0)
		close(fd);
	return n > 0 && !strcmp(name, "tsc\n") ? VVAR_COUNTER_TSC : VVAR_COUNTER_NONE;
}

static void measure_anew(struct vvar_rate *r, struct vvar_point now)
{
	r->old = r->recent = now;
	r->mult = 0;
}

static uint64_t measured_mult(const struct vvar_rate *r, struct vvar_point now)
{
	return (uint64_t)(((shifted_t)(now.ns - r->old.ns) << VVAR_SHIFT) / (now.cycles - r->old.cycles));
}

/* False: nothing can be said of the rate, or what was said is not so any more. */
static bool measure(struct vvar_rate *r, struct vvar_point now, uint64_t *mult)
{
	if (now.cycles <= r->old.cycles || now.ns - r->old.ns < MEASURE_NS)
		return false;
	*mult = measured_mult(r, now);
	uint64_t change = r->mult ? (*mult > r->mult ? *mult - r->mult : r->mult - *mult) : 0;
	if (!*mult || change > *mult / RATE_CHANGE_LIMIT) {
		measure_anew(r, now);
		return false;
	}
	if (now.ns - r->recent.ns >= REMEASURE_NS) {
		r->old = r->recent;
		r->recent = now;
	}
	return true;
}

/* The most that the line which was drawn has told anybody by now. */
static shifted_t line_end(const struct vvar_rate *r, const struct vvar *page, uint64_t cycles)
{
	return r->base + (shifted_t)min_u64(cycles - page->cycle_last, page->max_cycles) * r->mult;
}

/*
 * The line from `begin` on for max_cycles. Where the last one was ahead of the clock this begins with its end and is slower, to meet the
 * clock at its own end. False: too far ahead.
 */
static bool draw(struct vvar_rate *r, const struct vvar *page, struct vvar_point now, uint64_t mult,
		 uint64_t begin, uint64_t max_cycles)
{
	shifted_t end = r->mult ? line_end(r, page, begin) : 0;
	shifted_t base = ((shifted_t)now.ns << VVAR_SHIFT) - (shifted_t)(now.cycles - begin) * mult;

	if (end > base) {
		shifted_t ahead = end - base;
		if (ahead >> VVAR_SHIFT > AHEAD_NS)
			return false;
		mult -= min_u64((uint64_t)(ahead / max_cycles), mult / 2);
		base = end;
	}
	r->base = base;
	r->mult = mult;
	return true;
}

static struct vvar_time vvar_time(shifted_t base, int64_t offset_ns)
{
	uint64_t ns = (uint64_t)(base >> VVAR_SHIFT) + (uint64_t)offset_ns;

	return (struct vvar_time){.sec = ns / NS_PER_SEC,
				  .shifted_nsec = (ns % NS_PER_SEC) << VVAR_SHIFT | (uint32_t)base};
}

static void write_bases(struct vvar_source *s)
{
	shifted_t monotonic = s->rate[0].base;
	struct vvar *v = s->page;
	/* Whole seconds; the two may be read on either side of one. */
	int64_t tai_ns = (int64_t)(clock_ns(CLOCK_TAI) - clock_ns(CLOCK_REALTIME) + NS_PER_SEC / 2) /
			 NS_PER_SEC * NS_PER_SEC;

	v->base[VVAR_MONOTONIC] = vvar_time(monotonic, 0);
	v->base[VVAR_REALTIME] = vvar_time(monotonic, s->realtime_ns);
	v->base[VVAR_TAI] = vvar_time(monotonic, s->realtime_ns + tai_ns);
	v->base[VVAR_BOOTTIME] = vvar_time(monotonic, s->other_ns);
	v->base[VVAR_RAW] = vvar_time(s->rate[1].base, 0);
	v->mult[0] = s->rate[0].mult;
	v->mult[1] = s->rate[1].mult;
}

/* The page says of itself that it is being written. True: it is valid. */
static bool redraw(struct vvar_source *s)
{
	struct vvar_point now[2];
	struct vvar *v = s->page;
	uint64_t mult[2];
	bool known = true;

	for (unsigned int i = 0; i < 2; i++) {
		now[i] = read_point(s->rate[i].clock);
		known &= measure(&s->rate[i], now[i], &mult[i]);
	}
	if (!known)
		return false;
	uint64_t begin = now[0].cycles,
		 measured = begin - max_u64(s->rate[0].old.cycles, s->rate[1].old.cycles);
	uint64_t max_cycles = min_u64(measured / 2, (LINE_NS << VVAR_SHIFT) / mult[0]);
	for (unsigned int i = 0; i < 2; i++)
		if (!draw(&s->rate[i], v, now[i], mult[i], begin, max_cycles)) {
			measure_anew(&s->rate[i], now[i]);
			return false;
		}
	s->realtime_ns = read_offset(CLOCK_REALTIME, s->realtime_ns);
	s->other_ns = read_offset(CLOCK_BOOTTIME, s->other_ns);
	v->cycle_last = begin;
	v->max_cycles = max_cycles;
	write_bases(s);
	return true;
}

/* Everybody who reads is sent to the system call meanwhile, for the end of the old line is looked at before the new one begins. */
static void rewrite(struct vvar_source *s)
{
	uint32_t seq = s->page->seq | 1;

	__atomic_exchange_n(&s->page->seq, seq, __ATOMIC_SEQ_CST); /* what follows stays behind it */
	bool valid = redraw(s);
	__atomic_store_n(&s->page->seq, valid ? seq + 1 : seq, __ATOMIC_RELEASE);
}

static bool is_fresh(const struct vvar *v)
{
	return !(v->seq & 1) && __rdtsc() - v->cycle_last < v->max_cycles / 2;
}

void vvar_refresh(struct vvar_source *s)
{
	if (pthread_mutex_trylock(&s->lock))
		return;
	if (s->counter == VVAR_COUNTER_UNKNOWN)
		s->counter = find_counter();
	if (s->counter == VVAR_COUNTER_TSC && !is_fresh(s->page))
		rewrite(s);
	pthread_mutex_unlock(&s->lock);
}

static uint32_t resolution_ns(clockid_t clock)
{
	struct timespec ts;

	return clock_getres(clock, &ts) || ts.tv_sec ? 0 : (uint32_t)ts.tv_nsec;
}

void vvar_init(struct vvar_source *s, struct vvar *page)
{
	*s = (struct vvar_source){.page = page,
				  .rate = {{.clock = CLOCK_MONOTONIC}, {.clock = CLOCK_MONOTONIC_RAW}}};
	pthread_mutex_init(&s->lock, NULL);
	for (unsigned int i = 0; i < 2; i++)
		measure_anew(&s->rate[i], read_point(s->rate[i].clock));
	page->seq = 1;
	page->tick_ns = vvar_tick_ns();
	page->clock_ns = resolution_ns(CLOCK_REALTIME);
}

void vvar_destroy(struct vvar_source *s)
{
	pthread_mutex_destroy(&s->lock);
}
