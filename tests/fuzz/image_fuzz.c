/* SPDX-License-Identifier: MIT */
/*
 * image_fuzz SECONDS [SEED] - spoils a good snapshot at random and lets the reader judge it.
 *
 * Sums are made right again for most, so that what is behind them is looked at. Whatever is accepted is described page by page, and must say
 * nothing that is not in the file; some of it is loaded into a host, where there is one, and must leave nothing behind. A run that
 * accepted nothing or refused nothing has shown nothing, and fails.
 *
 * Good ones: of a program that was loaded; the same compressed; of a program that runs and has shared memory and a memfd; and what
 * that one changed later, on the one before. Without a host, pages that were made up.
 */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <xxhash.h>

#include "../../include/lodge.h"
#include "../../src/uffd/image_chunks.h"
#include "../../src/uffd/image_format.h"
#include "../harness.h"

#define LOAD_EVERY 512

#define MAX_GOOD   4

struct good {
	char *bytes;
	size_t nr;
};

struct fuzz {
	uint64_t seed, state;
	struct good good[MAX_GOOD];
	unsigned int nr_good;
	char *bad; /* room for the largest */
	size_t room;
	char path[64], base[72];
	struct lodge_host *host;
	unsigned long accepted, refused, loaded, turned_away;
};

/* --- a good one ------------------------------------------------------------------------------------- */

static void fill_page(uint64_t *word, uint64_t seed)
{
	uint64_t state = random_seed(seed);

	for (unsigned int i = 0; i < PAGE_SIZE / sizeof(*word); i++)
		word[i] = random_next(&state);
}

static bool make_pages(const char *path)
{
	uint64_t page[PAGE_SIZE / sizeof(uint64_t)] = {0};
	const struct image_machine machine = {.xsave_bytes = 4096};
	struct image_writer *w;

	if (image_create(path, NULL, NULL, IMAGE_PACKED, &w))
		return false;
	for (uint64_t i = 0; i < 40; i++) {
		if (i % 5)
			fill_page(page, i / 2);
		if (image_add_page(w, i > 30, 0x400000 + (i + i / 7) * PAGE_SIZE, page))
			return false;
		memset(page, 0, sizeof(page));
	}
	return !image_finish(w, &machine, "the state", 9);
}

/* What is at f->path. */
static bool add_good(struct fuzz *f)
{
	struct good *g = &f->good[f->nr_good];
	int fd = open(f->path, O_RDONLY | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st))
		return false;
	g->nr = (size_t)st.st_size;
	g->bytes = malloc(g->nr);
	bool whole = g->bytes && read(fd, g->bytes, g->nr) == (ssize_t)g->nr;
	close(fd);
	f->nr_good++;
	f->room = max_u64(f->room, g->nr);
	return whole;
}

static bool save(struct fuzz *f, struct lodge_space *space, const struct lodge_save_options *o)
{
	return !lodge_snapshot_save_as(space, f->path, o, NULL) && add_good(f);
}

static struct lodge_space *create(struct fuzz *f, const char *const *argv, int in, int out)
{
	const char *guests = getenv("LODGE_GUESTS");
	const char *const envp[] = {NULL};
	struct lodge_space_options o;
	struct lodge_space *space;
	char program[256];

	lodge_space_options_init(&o);
	o.fds[0] = in;
	o.fds[1] = out;
	snprintf(program, sizeof(program), "%s/%s", guests ? guests : "build/guest", argv[0]);
	if (access(program, X_OK) || lodge_space_create(f->host, &o, &space, NULL))
		return NULL;
	if (!lodge_space_load(space, program, argv, envp, NULL))
		return space;
	lodge_space_destroy(space);
	return NULL;
}

static bool make_loaded(struct fuzz *f)
{
	static const char *const argv[] = {"hello_glibc", NULL};
	const struct lodge_save_options plain = {0}, compressed = {.compress = 1};
	struct lodge_space *space = create(f, argv, -1, -1);

	if (!space)
		return false;
	bool made = save(f, space, &plain) && save(f, space, &compressed);
	lodge_space_destroy(space);
	return made;
}

static void *run_main(void *space)
{
	struct lodge_exit ended;

	lodge_space_run(space, &ended, NULL);
	return NULL;
}

/* Says a line to the program and waits for so many lines. */
static bool talk(int in, int out, const char *line, unsigned int nr)
{
	char byte;

	if (write(in, line, strlen(line)) != (ssize_t)strlen(line))
		return false;
	while (nr && read(out, &byte, 1) == 1)
		nr -= byte == '\n';
	return !nr;
}

static bool save_running(struct fuzz *f, struct lodge_space *space, int in, int out)
{
	const struct lodge_save_options delta = {.base = f->base, .compress = 1}, plain = {0};

	return talk(in, out, "m 5\nv 5\n", 3) && save(f, space, &plain) && !rename(f->path, f->base) &&
	       talk(in, out, "w 9\n", 1) && save(f, space, &delta);
}

static bool make_running(struct fuzz *f)
{
	static const char *const argv[] = {"snap_work", "talk", "1", NULL};
	int in[2], out[2];
	pthread_t thread;

	if (pipe2(in, O_CLOEXEC) || pipe2(out, O_CLOEXEC))
		return false;
	struct lodge_space *space = create(f, argv, in[0], out[1]);
	if (!space || pthread_create(&thread, NULL, run_main, space))
		return false;
	bool made = save_running(f, space, in[1], out[0]);
	lodge_space_kill(space, SIGKILL);
	pthread_join(thread, NULL);
	lodge_space_destroy(space);
	for (int i = 0; i < 2; i++) {
		close(in[i]);
		close(out[i]);
	}
	return made;
}

/* Real ones, where guests can run. */
static bool make_snapshots(struct fuzz *f)
{
	if (access("/dev/kvm", R_OK | W_OK) || lodge_host_open(NULL, &f->host, NULL))
		return false;
	return make_loaded(f) && make_running(f);
}

/* --- a bad one -------------------------------------------------------------------------------------- */

static uint64_t draw(struct fuzz *f, uint64_t below)
{
	return random_below(&f->state, below);
}

/* Of a table that lies anywhere; in `bytes` a header says where. */
static char *chunk_at(char *bytes, const struct image_header *h, uint64_t nr)
{
	return bytes + h->section[SECTION_CHUNKS].offset + nr * sizeof(struct image_chunk);
}

static size_t draw_in_chunk(struct fuzz *f, const struct good *g, const struct image_header *h)
{
	struct image_chunk c;

	memcpy(&c, chunk_at(g->bytes, h, draw(f, image_nr_chunks(h->nr_packed))), sizeof(c));
	return c.offset + draw(f, c.bytes);
}

/* One of the places that mean something: the header, the index, the state, chunks and their table. */
static size_t draw_place(struct fuzz *f, const struct good *g)
{
	const struct image_header *h = (const struct image_header *)(const void *)g->bytes;
	uint64_t part = draw(f, NR_SECTIONS + 2);

	if (part == NR_SECTIONS && h->nr_packed)
		return draw_in_chunk(f, g, h);
	if (part >= NR_SECTIONS || !h->section[part].bytes)
		return draw(f, sizeof(*h));
	return h->section[part].offset + draw(f, h->section[part].bytes);
}

static void spoil(struct fuzz *f, const struct good *g)
{
	size_t at = draw_place(f, g);

	switch (draw(f, 3)) {
	case 0:
		f->bad[at] ^= (char)(1u << draw(f, 8));
		break;
	case 1:
		f->bad[at] = (char)draw(f, 256);
		break;
	default:
		for (unsigned int i = 0; i < 4 && at + i < g->nr; i++)
			f->bad[at + i] = (char)(draw(f, 2) ? 0xff : 0);
	}
}

/* Those of chunks, where the good one has them; what it says of where they are may be spoilt. */
static void mend_chunks(struct fuzz *f, const struct good *g)
{
	const struct image_header *h = (const struct image_header *)(const void *)g->bytes;
	struct image_chunk c;

	for (uint64_t i = 0; i < image_nr_chunks(h->nr_packed); i++) {
		memcpy(&c, chunk_at(f->bad, h, i), sizeof(c));
		if (c.offset > g->nr || c.bytes > g->nr - c.offset)
			continue;
		c.sum = XXH3_64bits(f->bad + c.offset, c.bytes);
		memcpy(chunk_at(f->bad, h, i), &c, sizeof(c));
	}
}

/* As somebody would who wants it to be believed. */
static void mend_sums(struct fuzz *f, const struct good *g)
{
	struct image_header *h = (struct image_header *)(void *)f->bad;

	if (draw(f, 2))
		mend_chunks(f, g);
	for (unsigned int i = 0; i < NR_SECTIONS; i++) {
		struct image_section *s = &h->section[i];
		if (s->offset <= g->nr && s->bytes <= g->nr - s->offset)
			s->sum = XXH3_64bits(f->bad + s->offset, s->bytes);
	}
	h->sum = XXH3_64bits(h, offsetof(struct image_header, sum));
}

/* Bytes that are left of it. */
static size_t make_bad(struct fuzz *f)
{
	const struct good *g = &f->good[draw(f, f->nr_good)];
	bool mend = draw(f, 8);

	memcpy(f->bad, g->bytes, g->nr);
	for (uint64_t n = draw(f, 4); n; n--)
		spoil(f, g);
	if (mend)
		mend_sums(f, g);
	return draw(f, 16) ? g->nr : draw(f, g->nr);
}

/* --- judging ----------------------------------------------------------------------------------------- */

/* Through a file, as a user would; it leaves nothing, whatever becomes of it. */
static void load(struct fuzz *f, size_t bytes)
{
	struct lodge_space_options o;
	struct lodge_space *space;
	struct lodge_error err = {""};
	int fd = open(f->path, O_WRONLY | O_TRUNC | O_CLOEXEC);

	if (fd < 0 || write(fd, f->bad, bytes) != (ssize_t)bytes)
		exit(2);
	close(fd);
	lodge_space_options_init(&o);
	o.fds[0] = o.fds[1] = o.fds[2] = -1;
	o.pages = draw(f, 2) ? LODGE_PAGES_EAGER : LODGE_PAGES_AUTO;
	if (lodge_snapshot_load(f->host, f->path, &o, &space, &err)) {
		f->turned_away++;
		if (err.text[0] && !strchr(err.text, '\n'))
			return;
		fprintf(stderr, "image_fuzz: seed %lu: refused without a line\n", f->seed);
		exit(1);
	}
	f->loaded++;
	lodge_space_destroy(space);
}

static void judge(struct fuzz *f)
{
	size_t bytes = make_bad(f);
	const char *why = NULL;
	int err = image_check(f->bad, bytes, &why);

	if (err && !why) {
		fprintf(stderr, "image_fuzz: seed %lu: refused without a reason\n", f->seed);
		exit(1);
	}
	f->accepted += !err;
	f->refused += err != 0;
	if (f->host && !draw(f, LOAD_EVERY))
		load(f, bytes);
}

int main(int argc, char **argv)
{
	struct fuzz f = {.seed = argc > 2 ? strtoul(argv[2], NULL, 10) : (uint64_t)time(NULL),
			 .path = "/var/tmp/lodge-image-fuzz.XXXXXX"};
	time_t end = time(NULL) + (argc > 1 ? atoi(argv[1]) : 5);
	int fd = mkstemp(f.path);

	if (fd < 0)
		return 2;
	close(fd);
	f.state = random_seed(f.seed);
	snprintf(f.base, sizeof(f.base), "%s.base", f.path);
	if (!make_snapshots(&f) && (f.nr_good || !make_pages(f.path) || !add_good(&f)))
		return 2;
	f.bad = malloc(f.room);
	if (!f.bad)
		return 2;
	do
		for (unsigned int i = 0; i < 256; i++)
			judge(&f);
	while (time(NULL) < end);
	printf("seed %lu: %lu accepted, %lu refused; %lu loaded, %lu turned away\n", f.seed, f.accepted,
	       f.refused, f.loaded, f.turned_away);
	unlink(f.path);
	unlink(f.base);
	uint64_t leaked = f.host ? lodge_host_close(f.host) : 0;
	for (unsigned int i = 0; i < f.nr_good; i++)
		free(f.good[i].bytes);
	free(f.bad);
	if (leaked)
		fprintf(stderr, "image_fuzz: %lu frames are gone\n", leaked);
	return !f.accepted || !f.refused || leaked;
}
