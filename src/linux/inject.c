/* SPDX-License-Identifier: MIT */
/* inject.c - see inject.h. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "inject.h"

#define NEVER	   (~0ull)
#define NS_PER_SEC 1000000000ull

struct rule {
	struct rule *_Atomic next; /* (A) */
	enum inject_point point;
	struct inject_fault fault;
	uint64_t from, every, nth; /* 0: does not matter */
	double probability;
	uint64_t seed;
};

struct inject {
	struct rule *_Atomic rules; /* (A) in the order they came; they stay as they are */
	_Atomic uint64_t nr[NR_INJECT_POINTS], nr_injected[NR_INJECT_POINTS]; /* (A) */
	pthread_mutex_t lock;
	pthread_cond_t wake;   /* (lock) of the thread that releases */
	struct list_head held; /* (lock) struct inject_held, by node */
	bool running;	       /* (lock) */
	bool aborted, stop;    /* (lock) */
	pthread_t thread;
};

static const char *const point_names[NR_INJECT_POINTS] = {
	[INJECT_SWAP_READ] = "swap.read",   [INJECT_SWAP_WRITE] = "swap.write",
	[INJECT_FILE_READ] = "file.read",   [INJECT_FILE_WRITE] = "file.write",
	[INJECT_IMAGE_READ] = "image.read", [INJECT_UFFD_FAULT] = "uffd.fault",
};

static const struct {
	const char *name;
	struct inject_fault fault;
} fault_names[] = {
	{"eio", {INJECT_ERROR, -EIO, 0}},	{"enospc", {INJECT_ERROR, -ENOSPC, 0}},
	{"enomem", {INJECT_ERROR, -ENOMEM, 0}}, {"stuck", {INJECT_STUCK, 0, 0}},
	{"short", {INJECT_SHORT, 0, 0}},	{"torn", {INJECT_TORN, 0, 0}},
	{"drop", {INJECT_DROP, 0, 0}},		{"kill", {INJECT_KILL, 0, 0}},
};

/* --- rules -------------------------------------------------------------------------------------------------------- */

/* True, and *text moves behind it, when that begins with `word`. */
static bool take(const char **text, const char *word)
{
	size_t length = strlen(word);

	if (strncmp(*text, word, length) != 0)
		return false;
	*text += length;
	return true;
}

static bool take_number(const char **text, uint64_t *value)
{
	char *end;

	if (**text < '0' || **text > '9')
		return false;
	errno = 0;
	*value = strtoull(*text, &end, 10);
	*text = end;
	return errno == 0;
}

static bool take_time(const char **text, uint64_t *ns)
{
	static const struct {
		const char *name;
		uint64_t ns;
	} units[] = {{"us", 1000}, {"ms", 1000000}, {"s", NS_PER_SEC}};
	uint64_t value;

	if (!take_number(text, &value))
		return false;
	for (unsigned int i = 0; i < sizeof(units) / sizeof(units[0]); i++)
		if (take(text, units[i].name))
			return !__builtin_mul_overflow(value, units[i].ns, ns);
	return false;
}

static const char *parse_point(const char **text, struct rule *rule)
{
	for (unsigned int i = 0; i < NR_INJECT_POINTS; i++)
		if (take(text, point_names[i])) {
			rule->point = (enum inject_point)i;
			return NULL;
		}
	return "it must begin with swap.read, swap.write, file.read, file.write, image.read or uffd.fault";
}

/* Answers to touches know other faults than transfers. */
static bool fits_point(const struct rule *rule)
{
	switch (rule->fault.kind) {
	case INJECT_DELAY:
	case INJECT_STUCK:
		return true;
	case INJECT_DROP:
	case INJECT_KILL:
		return rule->point == INJECT_UFFD_FAULT;
	default:
		return rule->point != INJECT_UFFD_FAULT;
	}
}

static const char *parse_fault(const char **text, struct rule *rule)
{
	if (!take(text, "="))
		return "a '=' and the fault must follow the point";
	if (take(text, "delay:")) {
		rule->fault.kind = INJECT_DELAY;
		return take_time(text, &rule->fault.delay_ns) ? NULL : "delay needs a time such as 5ms";
	}
	for (unsigned int i = 0; i < sizeof(fault_names) / sizeof(fault_names[0]); i++)
		if (take(text, fault_names[i].name)) {
			rule->fault = fault_names[i].fault;
			return fits_point(rule) ? NULL : "uffd.fault has delay:TIME, stuck, drop and kill";
		}
	return "the fault must be eio, enospc, enomem, delay:TIME, stuck, short or torn, or drop or kill";
}

static const char *parse_probability(const char **text, struct rule *rule)
{
	char *end;

	if ((**text < '0' || **text > '9') && **text != '.')
		return "p needs a number from 0 to 1";
	rule->probability = strtod(*text, &end);
	*text = end;
	return rule->probability >= 0 && rule->probability <= 1 ? NULL : "p needs a number from 0 to 1";
}

static const char *parse_when(const char **text, struct rule *rule)
{
	uint64_t *number;

	if (take(text, "p="))
		return parse_probability(text, rule);
	if (take(text, "seed="))
		return take_number(text, &rule->seed) ? NULL : "seed needs a number";
	if (take(text, "n="))
		number = &rule->nth;
	else if (take(text, "every="))
		number = &rule->every;
	else if (take(text, "from="))
		number = &rule->from;
	else
		return "after '@' come n=N, every=N, from=N, p=P or seed=N, separated by commas";
	return take_number(text, number) && *number ? NULL : "n, every and from need a number above 0";
}

/* NULL, or what is wrong. */
static const char *parse(const char *text, struct rule *rule)
{
	const char *wrong = parse_point(&text, rule);

	if (!wrong)
		wrong = parse_fault(&text, rule);
	if (wrong || !*text)
		return wrong;
	for (char before = '@'; *text; before = ',') {
		if (*text++ != before)
			return "what follows the fault is not understood";
		wrong = parse_when(&text, rule);
		if (wrong)
			return wrong;
	}
	return NULL;
}

int inject_add(struct inject *inject, const char *spec, const char **why)
{
	struct rule *rule = calloc(1, sizeof(*rule)), *_Atomic *last = &inject->rules, *before;

	if (!rule)
		return -ENOMEM;
	rule->probability = 1;
	rule->seed = 1;
	*why = parse(spec, rule);
	if (*why) {
		free(rule);
		return -EINVAL;
	}
	while ((before = atomic_load(last)))
		last = &before->next;
	atomic_store(last, rule);
	return 0;
}

/* A number in [0, 1) for transfer n, the same each time: the finaliser of splitmix64. */
static double chance(uint64_t seed, uint64_t n)
{
	uint64_t x = seed * 0x9e3779b97f4a7c15ull + n * 0xd1342543de82ef95ull;

	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
	x ^= x >> 31;
	return (double)(x >> 11) * 0x1p-53;
}

static bool fits(const struct rule *rule, enum inject_point point, uint64_t n)
{
	return rule->point == point && (!rule->nth || n == rule->nth) && n >= rule->from &&
	       (!rule->every || n % rule->every == 0) &&
	       (rule->probability >= 1 || chance(rule->seed, n) < rule->probability);
}

struct inject_fault inject_next(struct inject *inject, enum inject_point point)
{
	const struct rule *rule = inject ? atomic_load(&inject->rules) : NULL;

	if (!rule)
		return (struct inject_fault){0};
	uint64_t n = atomic_fetch_add(&inject->nr[point], 1) + 1;
	for (; rule; rule = atomic_load(&rule->next))
		if (fits(rule, point, n)) {
			atomic_fetch_add(&inject->nr_injected[point], 1);
			return rule->fault;
		}
	return (struct inject_fault){0};
}

uint64_t inject_nr_injected(const struct inject *inject, enum inject_point point)
{
	return inject ? atomic_load(&inject->nr_injected[point]) : 0;
}

/* --- what is held back -------------------------------------------------------------------------------------------- */

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_SEC + (uint64_t)ts.tv_nsec;
}

/* One whose time has come, off the list; else NULL, and *next_ns is when to look again. lock is held. */
static struct inject_held *take_due(struct inject *inject, uint64_t *next_ns)
{
	struct inject_held *held;
	uint64_t now = now_ns();

	*next_ns = NEVER;
	list_for_each_entry (held, &inject->held, node) {
		if (held->due_ns <= now || (inject->aborted && held->due_ns == NEVER) || inject->stop) {
			list_del(&held->node);
			return held;
		}
		if (held->due_ns < *next_ns)
			*next_ns = held->due_ns;
	}
	return NULL;
}

static void wait_until(struct inject *inject, uint64_t ns)
{
	const struct timespec until = {.tv_sec = (time_t)(ns / NS_PER_SEC),
				       .tv_nsec = (long)(ns % NS_PER_SEC)};

	if (ns == NEVER)
		pthread_cond_wait(&inject->wake, &inject->lock);
	else
		pthread_cond_timedwait(&inject->wake, &inject->lock, &until);
}

static void *releaser(void *arg)
{
	struct inject *inject = arg;
	struct inject_held *held;
	uint64_t next_ns;

	pthread_mutex_lock(&inject->lock);
	for (;;) {
		while ((held = take_due(inject, &next_ns))) {
			pthread_mutex_unlock(&inject->lock);
			held->release(held, held->due_ns == NEVER);
			pthread_mutex_lock(&inject->lock);
		}
		if (inject->stop)
			break;
		wait_until(inject, next_ns);
	}
	pthread_mutex_unlock(&inject->lock);
	return NULL;
}

static bool start_thread(struct inject *inject)
{
	sigset_t all, before;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	inject->running = !pthread_create(&inject->thread, NULL, releaser, inject);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return inject->running;
}

void inject_hold(struct inject *inject, struct inject_held *held, struct inject_fault fault)
{
	held->due_ns = fault.kind == INJECT_STUCK ? NEVER : now_ns() + fault.delay_ns;
	pthread_mutex_lock(&inject->lock);
	bool kept = (inject->running || start_thread(inject)) && !inject->stop;
	if (kept) {
		list_add_tail(&held->node, &inject->held);
		pthread_cond_signal(&inject->wake);
	}
	pthread_mutex_unlock(&inject->lock);
	if (!kept)
		held->release(held, true);
}

struct waiter {
	struct inject_held held;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	bool over, aborted; /* (lock) */
};

static void wake_waiter(struct inject_held *held, bool aborted)
{
	struct waiter *w = container_of(held, struct waiter, held);

	pthread_mutex_lock(&w->lock);
	w->over = true;
	w->aborted = aborted;
	pthread_cond_signal(&w->wake);
	pthread_mutex_unlock(&w->lock);
}

int inject_wait(struct inject *inject, struct inject_fault fault)
{
	struct waiter w = {.held.release = wake_waiter};

	pthread_mutex_init(&w.lock, NULL);
	pthread_cond_init(&w.wake, NULL);
	inject_hold(inject, &w.held, fault);
	pthread_mutex_lock(&w.lock);
	while (!w.over)
		pthread_cond_wait(&w.wake, &w.lock);
	pthread_mutex_unlock(&w.lock);
	pthread_cond_destroy(&w.wake);
	pthread_mutex_destroy(&w.lock);
	return w.aborted ? -EIO : 0;
}

void inject_abort(struct inject *inject)
{
	if (!inject)
		return;
	pthread_mutex_lock(&inject->lock);
	inject->aborted = true;
	pthread_cond_signal(&inject->wake);
	pthread_mutex_unlock(&inject->lock);
}

struct inject *inject_create(void)
{
	struct inject *inject = calloc(1, sizeof(*inject));
	pthread_condattr_t attr;

	if (!inject)
		return NULL;
	pthread_mutex_init(&inject->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&inject->wake, &attr);
	pthread_condattr_destroy(&attr);
	list_init(&inject->held);
	return inject;
}

void inject_destroy(struct inject *inject)
{
	if (!inject)
		return;
	pthread_mutex_lock(&inject->lock);
	inject->stop = true;
	pthread_cond_signal(&inject->wake);
	pthread_mutex_unlock(&inject->lock);
	if (inject->running)
		pthread_join(inject->thread, NULL);
	for (struct rule *rule = inject->rules, *next; rule; rule = next) {
		next = rule->next;
		free(rule);
	}
	pthread_cond_destroy(&inject->wake);
	pthread_mutex_destroy(&inject->lock);
	free(inject);
}
