/* SPDX-License-Identifier: MIT */
/*
 * swapoff_test.c - swap files that go and come back under a program that has four times its memory in them.
 *
 *	swapoff_test					the tests
 *	swapoff_test SECONDS SEED [lossy] [shared] [compress] [RULE...]	one round of tests/soak: RULE as for --inject
 *
 * Two files, each with room for all of it; one of them, in turn or by chance, is taken out of use and used again. Not all has room
 * at every moment: then it stays.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>
#include <unistd.h>

#include "../../include/lodge.h"
#include "../harness.h"

#define MIB	   (1ull << 20)
#define MEMORY_MIB 8ull
#define SET_MIB	   (4 * MEMORY_MIB)
#define FILES	   2

struct round {
	unsigned int seconds;
	uint64_t seed;
	bool lossy, shared, compress;
	const char *const *rules; /* NULL-terminated */
	struct lodge_host *host;
	struct lodge_space *space;
	char dir[64], file[FILES][96];
	atomic_bool over;
	unsigned int nr_off, nr_refused;
	const char *wrong; /* the first thing that was */
};

static void complain_of(struct round *r, const char *what)
{
	if (!r->wrong)
		r->wrong = what;
}

static void expect(struct round *r, bool holds, const char *what)
{
	if (!holds)
		complain_of(r, what);
}

static void pause_ms(unsigned int ms)
{
	const struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000l};

	nanosleep(&t, NULL);
}

static int take_into_use(struct round *r, unsigned int i)
{
	return lodge_host_swapon(r->host, r->file[i], (SET_MIB + MEMORY_MIB) * MIB, i ? 5 : -1, NULL);
}

static void *come_and_go(void *arg)
{
	struct round *r = arg;
	uint64_t rng = random_seed(r->seed);

	while (!atomic_load(&r->over) && !r->wrong) {
		unsigned int i = (unsigned int)random_below(&rng, FILES);
		pause_ms((unsigned int)random_below(&rng, 300));
		int err = lodge_host_swapoff(r->host, r->file[i], NULL);
		if (err) {
			r->nr_refused++;
			expect(r, err == -ENOMEM, "a file that is in use was not taken out of use");
			continue;
		}
		r->nr_off++;
		expect(r, lodge_host_swapoff(r->host, r->file[i], NULL) == -EINVAL,
		       "a file was taken out of use twice");
		pause_ms((unsigned int)random_below(&rng, 50));
		expect(r, !take_into_use(r, i), "a file cannot be used again");
	}
	return NULL;
}

static void open_host(struct round *r)
{
	struct lodge_error err = {""};

	strcpy(r->dir, "/var/tmp/lodge-swapoff.XXXXXX");
	assert_non_null(mkdtemp(r->dir));
	assert_int_equal(lodge_host_open(NULL, &r->host, &err), 0);
	for (unsigned int i = 0; i < FILES; i++) {
		snprintf(r->file[i], sizeof(r->file[i]), "%s/%u", r->dir, i);
		assert_int_equal(take_into_use(r, i), 0);
	}
	for (const char *const *rule = r->rules; *rule; rule++)
		assert_int_equal(lodge_host_inject(r->host, *rule, &err), 0);
	if (r->compress)
		assert_int_equal(lodge_host_swap_compress(r->host, "lz4", MIB, 0, &err), 0);
}

static void close_host(struct round *r)
{
	lodge_space_destroy(r->space);
	expect(r, !lodge_host_close(r->host), "frames were left");
	for (unsigned int i = 0; i < FILES; i++)
		unlink(r->file[i]);
	rmdir(r->dir);
}

static void load_set(struct round *r)
{
	const char *guests = getenv("LODGE_GUESTS"), *words[3] = {NULL};
	char path[512], set[16], seconds[16], seed[24];
	unsigned int nr = 0;
	struct lodge_space_options o;

	snprintf(path, sizeof(path), "%s/working_set", guests ? guests : "build/guest");
	snprintf(set, sizeof(set), "%llu", SET_MIB);
	snprintf(seconds, sizeof(seconds), "%u", r->seconds);
	snprintf(seed, sizeof(seed), "%llu", (unsigned long long)r->seed);
	if (r->lossy)
		words[nr++] = "lossy";
	if (r->shared)
		words[nr++] = "shared";
	lodge_space_options_init(&o);
	o.memory_bytes = MEMORY_MIB * MIB;
	o.fds[0] = -1;
	const char *const argv[] = {path, set, seconds, seed, words[0], words[1], NULL};
	const char *const envp[] = {NULL};
	assert_int_equal(lodge_space_create(r->host, &o, &r->space, NULL), 0);
	assert_int_equal(lodge_space_load(r->space, path, argv, envp, NULL), 0);
}

/* The program ends well, or by what was not in its power to save. */
static void judge(struct round *r, const struct lodge_exit *ended)
{
	struct lodge_stats stats;

	lodge_space_stats(r->space, &stats);
	bool lost = r->lossy && (ended->signal == SIGBUS || ended->signal == SIGSEGV);
	expect(r, lost || (!ended->signal && !ended->status), "the program did not end well");
	expect(r, lost || r->nr_off, "no file was ever taken out of use");
	expect(r, r->seconds || stats.swap_out_pages, "nothing was swapped");
	printf("# %s: status %d, signal %d, %u times off, %u refused, %llu pages out, %llu in\n",
	       r->wrong ? r->wrong : "ok", ended->status, ended->signal, r->nr_off, r->nr_refused,
	       (unsigned long long)stats.swap_out_pages, (unsigned long long)stats.swap_in_pages);
}

static bool run_round(struct round *r)
{
	struct lodge_exit ended = {0};
	pthread_t thread;

	open_host(r);
	load_set(r);
	assert_int_equal(pthread_create(&thread, NULL, come_and_go, r), 0);
	expect(r, !lodge_space_run(r->space, &ended, NULL), "the space did not run");
	atomic_store(&r->over, true);
	pthread_join(thread, NULL);
	judge(r, &ended);
	close_host(r);
	return !r->wrong;
}

static void short_round(unsigned int seconds, bool lossy, bool shared, bool compress,
			const char *const *rules)
{
	struct round r = {
		.seconds = seconds, .seed = 1, .lossy = lossy, .shared = shared, .compress = compress};

	if (access("/dev/kvm", R_OK | W_OK))
		skip();
	r.rules = rules;
	fflush(stdout);
	bool good = run_round(&r);
	if (!good)
		print_error("# %s\n", r.wrong);
	assert_true(good);
}

static const char *const none[] = {NULL};

static void private_pages(void **state)
{
	(void)state;
	short_round(0, false, false, false, none);
}

static void shared_pages(void **state)
{
	(void)state;
	short_round(2, false, true, false, none);
}

static void compressed_pages(void **state)
{
	(void)state;
	short_round(2, false, false, true, none);
}

static void broken_pages(void **state)
{
	static const char *const rules[] = {"swap.read=eio@p=0.002,seed=3", "swap.write=torn@p=0.02,seed=4",
					    "swap.write=enospc@p=0.01,seed=5", "swap.read=delay:2ms@p=0.05",
					    NULL};
	(void)state;
	short_round(2, true, false, false, rules);
}

static void what_is_refused(void **state)
{
	struct round r = {.rules = none};
	struct lodge_error err = {""};

	(void)state;
	if (access("/dev/kvm", R_OK | W_OK))
		skip();
	open_host(&r);
	assert_int_equal(lodge_host_swapoff(r.host, "/var/tmp/lodge-swapoff.none", &err), -ENOENT);
	assert_int_equal(lodge_host_swapoff(r.host, "/dev/null", &err), -EINVAL);
	assert_string_equal(err.text, "swap /dev/null: it is not in use");
	unlink(r.file[1]);
	assert_int_equal(link(r.file[0], r.file[1]), 0); /* another name of the same file will do */
	assert_int_equal(lodge_host_swapoff(r.host, r.file[1], &err), 0);
	assert_int_equal(lodge_host_swapoff(r.host, r.file[0], &err), -EINVAL);
	assert_int_equal(take_into_use(&r, 0), 0);
	close_host(&r);
	assert_null(r.wrong);
}

static int soak(int argc, char **argv)
{
	struct round r = {.seconds = (unsigned int)atoi(argv[1]), .seed = strtoull(argv[2], NULL, 10)};
	int i = 3;

	for (; i < argc && !strchr(argv[i], '='); i++) {
		r.lossy |= !strcmp(argv[i], "lossy");
		r.shared |= !strcmp(argv[i], "shared");
		r.compress |= !strcmp(argv[i], "compress");
	}
	r.rules = (const char *const *)argv + (i < argc ? i : argc);
	return run_round(&r) ? 0 : 1;
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		{"swapoff: files that are not in use, by whatever name", what_is_refused, NULL, NULL, NULL},
		{"swapoff: files go and come back under a program with four times its memory [O2]",
		 private_pages, NULL, NULL, NULL},
		{"swapoff: the same with shared memory [O2]", shared_pages, NULL, NULL, NULL},
		{"swapoff: the same with compressed pages in front [O2]", compressed_pages, NULL, NULL, NULL},
		{"swapoff: the same with files that fail in every way [O2]", broken_pages, NULL, NULL, NULL},
	};

	if (argc > 2)
		return soak(argc, argv);
	return cmocka_run_group_tests_name("swapoff", tests, NULL, NULL);
}
