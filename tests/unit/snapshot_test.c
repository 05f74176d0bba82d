/* SPDX-License-Identifier: MIT */
/* Snapshots in files: programs that go on from one, in this host and in another; files that are not what was written. */
#include <sys/stat.h>

#include "../../include/lodge.h"
#include "../../src/uffd/image_chunks.h"
#include "../../src/uffd/image.h"
#include "spaces.h"

#define SUM_LINE  "sum c475ab095464a3c8 of 60 turns\n"
#define TREE_LINE "number 7921f09c04254222, 3 children, signals heard\n"

static char directory[] = "/var/tmp/lodge-snapshot.XXXXXX", path[64];

static int make_directory(void **state)
{
	(void)state;
	assert_non_null(mkdtemp(directory));
	snprintf(path, sizeof(path), "%s/snap", directory);
	return 0;
}

static int remove_directory(void **state)
{
	(void)state;
	unlink(path);
	assert_int_equal(rmdir(directory), 0);
	return 0;
}

static bool compressed; /* how the next one is saved */

static void save(struct run *r)
{
	const struct lodge_save_options o = {.compress = compressed};
	struct lodge_error err = {""};
	int ret = compressed ? lodge_snapshot_save_as(r->space, path, &o, &err)
			     : lodge_snapshot_save(r->space, path, &err);

	if (ret)
		print_error("# save: %d %s\n", ret, err.text);
	assert_int_equal(ret, 0);
}

static enum lodge_pages pages; /* how the next one is loaded */

/* What the library said last of a death. */
static char said[256];

static void note_line(void *ctx, const char *line)
{
	(void)ctx;
	if (strstr(line, "died of"))
		snprintf(said, sizeof(said), "%s", line);
}

static bool have_userfaultfd(void)
{
	struct lodge_feature rows[32];
	int nr = lodge_probe(rows, 32);

	for (int i = 0; i < nr; i++)
		if (!strcmp(rows[i].name, "userfaultfd"))
			return rows[i].ok;
	return false;
}

static int try_load(struct run *r, struct lodge_error *err)
{
	struct lodge_space_options o;

	lodge_space_options_init(&o);
	o.pages = pages;
	o.log = note_line;
	memcpy(o.fds, r->fds, sizeof(o.fds));
	return lodge_snapshot_load(host, path, &o, &r->space, err);
}

static void load(struct run *r)
{
	struct lodge_error err = {""};

	open_pipes(r);
	int ret = try_load(r, &err);
	if (ret)
		print_error("# load: %d %s\n", ret, err.text);
	assert_int_equal(ret, 0);
}

/* --- cases --------------------------------------------------------------------------------------------- */

/* Pages that are there before anything was touched. */
static void check_rss(uint64_t nr)
{
	if (pages == LODGE_PAGES_LAZY)
		assert_int_equal(nr, 0);
	else if (pages == LODGE_PAGES_EAGER)
		assert_in_range(nr, 4096, 8192);
	else /* there for the guest: the whole blocks of 16 MiB that lie anywhere */
		assert_in_range(nr, have_userfaultfd() ? 7 * 512 : 0, 8192);
}

static void goes_on_so(enum lodge_pages how)
{
	struct run r = {0}, c = {0};
	struct lodge_stats stats;

	pages = how;
	talk(&r, "16");
	say(&r, "w 5\n");
	hear(&r, "done\n");
	save(&r);
	say(&r, "w 7\n");
	hear(&r, "done\n");
	load(&c);
	lodge_space_stats(c.space, &stats);
	assert_int_equal(stats.limit_pages, MEMORY / 4096);
	check_rss(stats.rss_anon_pages);
	start(&c);
	say(&c, "s\n");
	hear(&c, "13390656\n");
	say(&c, "w 1\ns\n");
	hear(&c, "done\n");
	hear(&c, "14390656\n");
	say(&r, "s\n");
	hear(&r, "20390656\n");
	quit(&c);
	quit(&r);
}

static void goes_on(void **state)
{
	(void)state;
	goes_on_so(LODGE_PAGES_LAZY);
	goes_on_so(LODGE_PAGES_EAGER);
	goes_on_so(LODGE_PAGES_UFFD);
	goes_on_so(LODGE_PAGES_AUTO);
}

static off_t bytes_of(const char *name)
{
	struct stat st;

	assert_int_equal(stat(name, &st), 0);
	return st.st_size;
}

static void cut_and_loaded(const char *const *words, const char *line, uint64_t seed)
{
	struct lodge_error err = {""};
	uint64_t rng = random_seed(seed);
	const struct timespec pause = {.tv_nsec = (long)random_below(&rng, 150000000)};
	struct run r = {0}, c = {0};

	create(&r, words);
	start(&r);
	nanosleep(&pause, NULL);
	const struct lodge_save_options o = {.compress = compressed};
	int ret = lodge_snapshot_save_as(r.space, path, &o, &err);
	hear(&r, line);
	join(&r);
	destroy(&r);
	if (ret) {
		assert_string_equal(err.text, "the program has ended");
		return;
	}
	load(&c);
	start(&c);
	hear(&c, line);
	join(&c);
	destroy(&c);
}

/* Packed and unpacked it is the same; what has the same contents again and again is small. */
static void compressed_ones(void **state)
{
	static const char *const sum[] = {"sum", "3", "9", "20", NULL};
	struct run r = {0};

	(void)state;
	compressed = true;
	goes_on_so(LODGE_PAGES_LAZY);
	goes_on_so(LODGE_PAGES_EAGER);
	goes_on_so(LODGE_PAGES_UFFD);
	for (uint64_t seed = 0; seed < 3; seed++) {
		pages = seed % 2 ? LODGE_PAGES_UFFD : LODGE_PAGES_LAZY;
		cut_and_loaded(sum, SUM_LINE, seed);
	}
	pages = LODGE_PAGES_AUTO;
	talk(&r, "16");
	save(&r);
	assert_in_range(bytes_of(path), 1, 4 << 20);
	compressed = false;
	save(&r);
	assert_true(bytes_of(path) > 16 << 20);
	quit(&r);
}

static void serves_many_so(enum lodge_pages how)
{
	struct run r = {0}, snapshot = {0}, c[6] = {{0}};
	char line[LINE_BYTES];

	pages = how;
	talk(&r, "16");
	save(&r);
	quit(&r);
	load(&snapshot);
	for (unsigned int i = 0; i < 6; i++) {
		clone_of(&c[i], &snapshot);
		start(&c[i]);
		snprintf(line, sizeof(line), "w %u\ns\n", i);
		say(&c[i], line);
	}
	destroy(&snapshot); /* the file stays open for those that were made of it */
	for (unsigned int i = 0; i < 6; i++) {
		hear(&c[i], "done\n");
		snprintf(line, sizeof(line), "%u\n", 8390656 + i * 1000000);
		hear(&c[i], line);
		quit(&c[i]);
	}
}

static void serves_many(void **state)
{
	(void)state;
	serves_many_so(LODGE_PAGES_LAZY);
	serves_many_so(LODGE_PAGES_UFFD);
	pages = LODGE_PAGES_AUTO;
}

static void results_are_the_same(void **state)
{
	static const char *const sum[] = {"sum", "3", "9", "20", NULL},
				 *const tree[] = {"tree", "3", "400", NULL},
				 *const share[] = {"share", "3", "1500", NULL};

	(void)state;
	for (uint64_t seed = 0; seed < 6; seed++) {
		pages = seed % 2 ? LODGE_PAGES_UFFD : LODGE_PAGES_LAZY;
		cut_and_loaded(share, SHARE_LINE, seed);
		cut_and_loaded(sum, SUM_LINE, seed);
		cut_and_loaded(tree, TREE_LINE, seed);
	}
}

static void shared_memory(void **state)
{
	struct run r = {0}, c = {0};

	(void)state;
	talk(&r, "1");
	say(&r, "m 5\n");
	hear(&r, "5 5\n");
	save(&r);
	say(&r, "m 100\n");
	hear(&r, "105 105\n");
	quit(&r);
	for (int i = 0; i < 2; i++) {
		load(&c);
		start(&c);
		say(&c, "m 1\n");
		hear(&c, "6 6\n");
		save(&c);
		say(&c, "m 1\nm -1\n");
		hear(&c, "7 7\n");
		hear(&c, "6 6\n");
		quit(&c);
		load(&c);
		start(&c);
		say(&c, "m -1\n");
		hear(&c, "5 5\n");
		save(&c);
		quit(&c);
	}
}

/* The original's are its own; and the loaded one's, also of a snapshot of a snapshot, and of a clone. */
static void segments(void **state)
{
	struct run r = {0}, c = {0}, d = {0};

	(void)state;
	talk(&r, "1");
	say(&r, "v 5\n");
	hear(&r, "5 5, attached 2, mode 640\n");
	save(&r);
	say(&r, "v 100\n");
	hear(&r, "105 105, attached 2, mode 640\n");
	quit(&r);
	load(&c);
	start(&c);
	say(&c, "v 1\n");
	hear(&c, "6 6, attached 2, mode 640\n");
	clone_of(&d, &c);
	say(&c, "v 1\n");
	hear(&c, "7 7, attached 2, mode 640\n");
	save(&c);
	quit(&c);
	start(&d);
	say(&d, "v 10\n");
	hear(&d, "16 16, attached 2, mode 640\n");
	quit(&d);
	load(&c);
	start(&c);
	say(&c, "v -1\n");
	hear(&c, "6 6, attached 2, mode 640\n");
	quit(&c);
}

static uint64_t anon_pages(struct run *r)
{
	struct lodge_stats stats;

	lodge_space_stats(r->space, &stats);
	return stats.rss_anon_pages;
}

#define AREAS_LINE "sum 130816, resident 1024, locked, shared\n"

static void areas_as_they_were(void **state)
{
	struct run r = {0}, c = {0};

	(void)state;
	talk(&r, "1");
	say(&r, "a\n");
	hear(&r, AREAS_LINE);
	save(&r);
	quit(&r);
	for (pages = LODGE_PAGES_LAZY; pages <= LODGE_PAGES_UFFD; pages++) {
		load(&c);
		assert_in_range(anon_pages(&c), 1024, 2048); /* what is locked is there */
		start(&c);
		say(&c, "a\n");
		hear(&c, AREAS_LINE);
		quit(&c);
	}
	pages = LODGE_PAGES_AUTO;
}

/* --- pages ahead of their use -------------------------------------------------------------------------- */

static void sums_right(struct run *r)
{
	say(r, "s\n");
	hear(r, "8390656\n");
	quit(r);
}

static void all_at_once(void **state)
{
	struct run r = {0}, c = {0};

	(void)state;
	talk(&r, "16");
	uint64_t before = anon_pages(&r);
	save(&r);
	quit(&r);
	pages = LODGE_PAGES_EAGER;
	load(&c);
	pages = LODGE_PAGES_PREFETCH;
	/* Pages of one word come, too; what was zero all along may be more than there was. */
	assert_true(anon_pages(&c) >= 4096 && anon_pages(&c) + 64 >= before);
	start(&c);
	sums_right(&c);
}

static void order_name(char name[80])
{
	snprintf(name, 80, "%s.order", path);
}

/* Of a snapshot of 16 MiB the run that is recorded writes to 600 pages; just those, and what it runs on, come ahead of the next one. */
static void recorded_ones(void **state)
{
	struct lodge_error err = {""};
	struct run r = {0}, c = {0};
	char name[80];

	(void)state;
	order_name(name);
	talk(&r, "16");
	save(&r);
	quit(&r);
	pages = LODGE_PAGES_RECORD;
	load(&c);
	pages = LODGE_PAGES_PREFETCH;
	start(&c);
	say(&c, "w 600\n");
	hear(&c, "done\n");
	say(&c, "q\n");
	join(&c);
	assert_int_equal(lodge_snapshot_save_order(c.space, &err), 0);
	destroy(&c);
	load(&c);
	assert_int_equal(lodge_snapshot_save_order(c.space, &err), -EINVAL);
	for (int i = 0; i < PATIENCE_MS && anon_pages(&c) < 600; i++)
		usleep(1000);
	usleep(20000);
	uint64_t nr = anon_pages(&c);
	assert_true(nr >= 600 && nr < 800);
	start(&c);
	sums_right(&c);
	/* One that is damaged is none. */
	assert_int_equal(truncate(name, 60), 0);
	load(&c);
	usleep(20000);
	assert_int_equal(anon_pages(&c), 0);
	start(&c);
	sums_right(&c);
	unlink(name);
}

/* While it goes on, what is behind it comes: nobody notices. */
static void ahead_of_a_run(void **state)
{
	struct run r = {0}, c = {0};
	struct lodge_error err = {""};
	char name[80];

	(void)state;
	order_name(name);
	talk(&r, "64");
	save(&r);
	quit(&r);
	pages = LODGE_PAGES_RECORD;
	load(&c);
	pages = LODGE_PAGES_PREFETCH;
	start(&c);
	say(&c, "s\n");
	hear(&c, "134225920\n");
	say(&c, "q\n");
	join(&c);
	assert_int_equal(lodge_snapshot_save_order(c.space, &err), 0);
	destroy(&c);
	for (int i = 0; i < 8; i++) {
		load(&c);
		if (i % 4 == 3) { /* gone before it is through */
			lodge_space_destroy(c.space);
			c.space = NULL;
			destroy(&c);
			continue;
		}
		start(&c);
		say(&c, i & 1 ? "w 9000\nw 1\ns\n" : "s\n");
		if (i & 1) {
			hear(&c, "done\n");
			hear(&c, "done\n");
		}
		hear(&c, i & 1 ? "9135225920\n" : "134225920\n");
		quit(&c);
	}
	unlink(name);
}

static void refused(struct run *r, const char *why)
{
	struct lodge_error err = {""};

	assert_true(try_load(r, &err) < 0);
	assert_non_null(strstr(err.text, why));
	assert_null(strchr(err.text, '\n'));
}

/* --- layers ------------------------------------------------------------------------------------------------ */

static void save_on(struct run *r, const char *name, const char *base)
{
	struct lodge_error err = {""};
	const struct lodge_save_options o = {.base = base, .compress = compressed};
	int ret = lodge_snapshot_save_as(r->space, name, &o, &err);

	if (ret)
		print_error("# save: %d %s\n", ret, err.text);
	assert_int_equal(ret, 0);
}

static void goes_on_with(const char *line)
{
	struct run c = {0};

	load(&c);
	start(&c);
	say(&c, "s\n");
	hear(&c, line);
	quit(&c);
}

/* What a base has is not written again; the layers are read as one, wherever they lie together. */
static void layers(void **state)
{
	char base[80], middle[80], elsewhere[52];
	struct run r = {0};

	(void)state;
	snprintf(base, sizeof(base), "%s.base", path);
	snprintf(middle, sizeof(middle), "%s.middle", path);
	snprintf(elsewhere, sizeof(elsewhere), "%s/other", directory);
	talk(&r, "8");
	assert_int_equal(lodge_snapshot_save(r.space, base, NULL), 0);
	say(&r, "w 30\n");
	hear(&r, "done\n");
	compressed = true;
	save_on(&r, middle, base);
	say(&r, "w 10\n");
	hear(&r, "done\n");
	save_on(&r, path, middle);
	compressed = false;
	say(&r, "w 100\n");
	hear(&r, "done\n");
	quit(&r);
	assert_true(bytes_of(base) > 8 << 20);
	assert_true(bytes_of(middle) < 1 << 20);
	assert_true(bytes_of(path) < 1 << 20); /* what zstd makes of few pages differs by more than they do */
	goes_on_with("42098176\n");
	pages = LODGE_PAGES_EAGER;
	goes_on_with("42098176\n");
	pages = LODGE_PAGES_PREFETCH;
	assert_int_equal(mkdir(elsewhere, 0700), 0);
	char *names[] = {base, middle, path}, to[160];
	for (int i = 0; i < 3; i++) {
		snprintf(to, sizeof(to), "%s/%s", elsewhere, strrchr(names[i], '/') + 1);
		assert_int_equal(rename(names[i], to), 0);
	}
	char was[sizeof(path)];
	strcpy(was, path);
	snprintf(path, sizeof(path), "%s/snap", elsewhere);
	goes_on_with("42098176\n");
	/* One that is not there, is none, or is another one. */
	snprintf(to, sizeof(to), "%s.middle", path);
	snprintf(base, sizeof(base), "%s.base", path);
	assert_int_equal(truncate(to, 70000), 0);
	refused(&r, "the snapshot that it is based on is none, or damaged");
	assert_int_equal(rename(base, to), 0);
	refused(&r, "the snapshot that it is based on is another one");
	unlink(to);
	refused(&r, "the snapshot that it is based on is missing");
	unlink(path);
	strcpy(path, was);
	assert_int_equal(rmdir(elsewhere), 0);
}

/* --- many of one ------------------------------------------------------------------------------------------- */

#define MANY	    50
#define MANY_MIB    64 /* LODGE_CLONES_MIB: another size */
#define MANY_PAGES  (MANY_MIB << 8)

/* What a clone may have beside what it wrote: tables on the way to that, a stack. */
#define SMALL_BYTES (64u << 10)

static uint64_t usage_bytes(struct run *r)
{
	struct lodge_stats stats;

	lodge_space_stats(r->space, &stats);
	return stats.usage_pages * 4096;
}

static uint64_t sum_of(uint64_t mib)
{
	return (mib << 8) * ((mib << 8) + 1) / 2;
}

/* Each goes on in its own way; what all have together is the base, and what each wrote. */
static void many_go_on(void **state)
{
	const char *mib = getenv("LODGE_CLONES_MIB");
	struct run r = {0}, snapshot = {0}, c[MANY] = {{0}};
	char line[LINE_BYTES], own[LINE_BYTES];
	uint64_t most = 0;

	(void)state;
	snprintf(own, sizeof(own), "%d", MANY_MIB);
	mib = mib ? mib : own;
	talk(&r, mib);
	save(&r);
	quit(&r);
	pages = LODGE_PAGES_EAGER;
	load(&snapshot);
	pages = LODGE_PAGES_PREFETCH;
	for (uint64_t i = 0; i < MANY; i++) {
		clone_of(&c[i], &snapshot);
		start(&c[i]);
		snprintf(line, sizeof(line), "w %lu\ns\n", i * 20);
		say(&c[i], line);
	}
	for (uint64_t i = 0; i < MANY; i++) {
		hear(&c[i], "done\n");
		snprintf(line, sizeof(line), "%lu\n", sum_of(strtoul(mib, NULL, 10)) + i * 20 * 1000000);
		hear(&c[i], line);
		uint64_t used = usage_bytes(&c[i]), wrote = i * 20 * 4096;
		most = used - wrote > most && used > wrote ? used - wrote : most;
	}
	print_message("# most: %lu\n", most);
	assert_true(most <= SMALL_BYTES);
	for (int i = 0; i < MANY; i++)
		quit(&c[i]);
	destroy(&snapshot);
}

/* --- broken files ---------------------------------------------------------------------------------------- */

static off_t file_bytes(void)
{
	struct stat st;

	assert_int_equal(stat(path, &st), 0);
	return st.st_size;
}

static void flip(off_t at)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);
	char byte;

	assert_int_equal(pread(fd, &byte, 1, at), 1);
	byte ^= 0x10;
	assert_int_equal(pwrite(fd, &byte, 1, at), 1);
	close(fd);
}

static void broken_are_refused(void **state)
{
	struct lodge_error err = {""};
	struct run r = {0};
	uint64_t rng = random_seed(7);

	(void)state;
	talk(&r, "1");
	save(&r);
	off_t bytes = file_bytes();
	for (int i = 0; i < 40; i++) {
		off_t at = (off_t)random_below(&rng, 168);
		flip(at);
		refused(&r, at < 8 ? "not a snapshot" : at < 16 ? "version" : "damaged");
		flip(at);
	}
	for (int i = 0; i < 40; i++) { /* the state lies at the end */
		off_t at = bytes - 1 - (off_t)random_below(&rng, 2000);
		flip(at);
		refused(&r, "damaged");
		flip(at);
	}
	for (int i = 0; i < 40; i++) {
		assert_int_equal(truncate(path, (off_t)random_below(&rng, (uint64_t)bytes)), 0);
		refused(&r, file_bytes() < 4096 ? "not a snapshot" : "the end is missing");
		unlink(path);
		save(&r);
	}
	unlink(path);
	refused(&r, "No such file");
	assert_true(lodge_snapshot_info(path, stdout, &err) < 0);
	save(&r);
	quit(&r);
}

/* A byte of each chunk but those that it needs to come to its memory. */
static void spoil_chunks(void)
{
	const char *why;
	struct image *i;

	assert_int_equal(image_open(path, &i, &why), 0);
	assert_in_range(image_nr_chunks(i->nr_packed), 60, 100);
	for (unsigned int n = 10; n < 50; n++)
		flip((off_t)(i->chunk[n].offset + i->chunk[n].bytes / 2));
	image_close(i);
}

static void spoil_pages(void)
{
	struct run r = {0};

	talk(&r, "4");
	save(&r);
	quit(&r);
	if (compressed)
		spoil_chunks();
	else
		for (off_t at = 4096 + 40 * 4096; at < 4096 + 900 * 4096; at += 4096)
			flip(at);
}

/* A page of the data is not what it was: the program dies of it, and of nothing else. */
static void dies_of_bad_pages(void)
{
	static const enum lodge_pages ways[] = {LODGE_PAGES_LAZY, LODGE_PAGES_EAGER, LODGE_PAGES_UFFD};

	spoil_pages();
	for (unsigned int i = 0; i < 3; i++) {
		struct run c = {0};
		pages = ways[i];
		load(&c);
		start(&c);
		say(&c, "s\n");
		assert_int_equal(end_of(&c).signal, SIGBUS);
		destroy(&c);
		assert_non_null(strstr(said, "died of SIGBUS"));
		if (pages == LODGE_PAGES_UFFD && have_userfaultfd())
			assert_non_null(strstr(said, "not what was saved"));
	}
	pages = LODGE_PAGES_AUTO;
}

static void bad_page_is_sigbus(void **state)
{
	(void)state;
	if (!host)
		skip();
	dies_of_bad_pages();
	compressed = true;
	dies_of_bad_pages();
	compressed = false;
}

/* All that it writes until its end is what it had saved: page n begins with n + 1. */
static uint64_t read_out(struct run *r)
{
	struct pollfd p = {.fd = r->out, .events = POLLIN};
	uint64_t page[512], bytes = 0;

	while (!atomic_load(&r->course->over)) {
		if (poll(&p, 1, 50) != 1)
			continue;
		ssize_t n = read(r->out, (char *)page + bytes % 4096, 4096 - bytes % 4096);
		assert_true(n > 0);
		bytes += (uint64_t)n;
		if (bytes % 4096 == 0)
			assert_int_equal(page[0], bytes / 4096);
	}
	return bytes / 4096;
}

static void bad_page_is_not_written(void **state)
{
	struct run c = {0};

	(void)state;
	if (!host)
		skip();
	spoil_pages();
	pages = LODGE_PAGES_UFFD;
	load(&c);
	start(&c);
	say(&c, "o\n");
	assert_true(read_out(&c) < 1024);
	struct lodge_exit ended = end_of(&c);
	assert_true(ended.signal == SIGBUS || ended.status == 3);
	destroy(&c);
	pages = LODGE_PAGES_AUTO;
}

/* --- trouble at the door ------------------------------------------------------------------------------------- */

static void with_trouble(const char *rule, const char *cause)
{
	struct lodge_host *before = host;
	struct run snapshot = {0}, c[3] = {{0}};
	bool dies = cause && have_userfaultfd();

	assert_int_equal(lodge_host_open(NULL, &host, NULL), 0);
	assert_int_equal(lodge_host_inject(host, rule, NULL), 0);
	load(&snapshot);
	said[0] = '\0';
	for (unsigned int i = 0; i < 3; i++) {
		clone_of(&c[i], &snapshot);
		start(&c[i]);
		say(&c[i], "s\nq\n");
	}
	for (unsigned int i = 0; i < 3; i++) {
		int signal = end_of(&c[i]).signal;
		assert_int_equal(signal, dies ? SIGBUS : 0);
		if (!dies)
			hear(&c[i], "8390656\n");
		destroy(&c[i]);
	}
	destroy(&snapshot);
	if (dies)
		assert_non_null(strstr(said, cause));
	assert_int_equal(lodge_host_close(host), 0);
	host = before;
}

static void rules_have_their_points(void)
{
	static const char *const wrong[] = {"uffd.fault=eio", "uffd.fault=torn", "image.read=drop",
					    "swap.read=kill", "uffd=drop"};
	struct lodge_error err;

	for (unsigned int i = 0; host && i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		assert_int_equal(lodge_host_inject(host, wrong[i], &err), -EINVAL);
		assert_non_null(strstr(err.text, wrong[i]));
	}
}

static void trouble_at_the_door(void **state)
{
	struct run r = {0};

	(void)state;
	rules_have_their_points();
	talk(&r, "16");
	save(&r);
	quit(&r);
	pages = LODGE_PAGES_UFFD;
	with_trouble("image.read=delay:3ms@p=0.5", NULL);
	with_trouble("image.read=short@every=2", NULL);
	with_trouble("uffd.fault=delay:2ms@p=0.5", NULL); /* others overtake it */
	with_trouble("uffd.fault=drop@every=2", NULL);
	with_trouble("image.read=eio@from=3", "cannot be read");
	with_trouble("image.read=torn@from=2", "not what was saved");
	with_trouble("uffd.fault=kill@n=3", "is gone");
	pages = LODGE_PAGES_AUTO;
}

#define CASE(title, fn)                                                                        \
	{                                                                                      \
		.name = title, .test_func = fn, .setup_func = setup, .teardown_func = teardown \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE("snapshot: a program goes on from a file, its pages coming in each of the ways [O1][M4]",
		     goes_on),
		CASE("snapshot: one that is compressed is small, and the same [O1]", compressed_ones),
		CASE("snapshot: one file serves many, which share what they did not write [O1][M4]",
		     serves_many),
		CASE("snapshot: threads and processes saved at random points end as they would have [O1]",
		     results_are_the_same),
		CASE("snapshot: memory that processes share, and memfds [O1]", shared_memory),
		CASE("snapshot: System V segments [O1]", segments),
		CASE("snapshot: areas are locked and shared as they were [O1]", areas_as_they_were),
		CASE("snapshot: all pages come before the run, where that is asked for [O1]", all_at_once),
		CASE("snapshot: pages that a recorded run touched come ahead of the next one [O1]",
		     recorded_ones),
		CASE("snapshot: a run goes on while its pages come [O1]", ahead_of_a_run),
		CASE("snapshot: one that is based on another has what is different [O1][O3]", layers),
		CASE("snapshot: fifty clones of one file, each with a continuation of its own, have what "
		     "they wrote [O1][M4]",
		     many_go_on),
		CASE("snapshot: files that are cut off or changed are refused in one line [O3]",
		     broken_are_refused),
		CASE("snapshot: a page that is not what was saved is SIGBUS, in each way of loading [O3]",
		     bad_page_is_sigbus),
		CASE("snapshot: nor does such a page leave by a call [O3]", bad_page_is_not_written),
		CASE("snapshot: answers that are late, lost, wrong, or never come [O3][K24]",
		     trouble_at_the_door),
	};

	return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
