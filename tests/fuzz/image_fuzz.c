/* SPDX-License-Identifier: MIT */
/*
 * image_fuzz SECONDS [SEED] - spoils a good snapshot at random and lets the reader judge it.
 *
 * Sums are made right again for most, so that what is behind them is looked at. Whatever is accepted is described page by page, and must say
 * nothing that is not in the file; some of it is loaded into a host, where there is one, and must leave nothing behind. A run that
 * accepted nothing or refused nothing has shown nothing, and fails.
 */
#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <xxhash.h>

#include "../../include/lodge.h"
#include "../../src/uffd/image_format.h"
#include "../harness.h"

#define LOAD_EVERY 512

struct fuzz {
	uint64_t seed, state;
	char *good, *bad;
	size_t bytes;
	char path[64];
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

	if (image_create(path, NULL, NULL, &w))
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

/* A real one, where guests can run. */
static bool make_snapshot(struct fuzz *f)
{
	const char *guests = getenv("LODGE_GUESTS");
	const char *const envp[] = {NULL};
	struct lodge_space *space;
	char program[256];
	bool made;

	snprintf(program, sizeof(program), "%s/hello_glibc", guests ? guests : "build/guest");
	const char *const argv[] = {program, NULL};
	if (access("/dev/kvm", R_OK | W_OK) || access(program, X_OK) || lodge_host_open(NULL, &f->host, NULL))
		return false;
	if (lodge_space_create(f->host, NULL, &space, NULL))
		return false;
	made = !lodge_space_load(space, program, argv, envp, NULL) &&
	       !lodge_snapshot_save(space, f->path, NULL);
	lodge_space_destroy(space);
	return made;
}

static bool read_good(struct fuzz *f)
{
	int fd = open(f->path, O_RDONLY | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st))
		return false;
	f->bytes = (size_t)st.st_size;
	f->good = malloc(f->bytes);
	f->bad = malloc(f->bytes);
	bool whole = f->good && f->bad && read(fd, f->good, f->bytes) == (ssize_t)f->bytes;
	close(fd);
	return whole;
}

/* --- a bad one -------------------------------------------------------------------------------------- */

static uint64_t draw(struct fuzz *f, uint64_t below)
{
	return random_below(&f->state, below);
}

/* One of the places that mean something: the header, the index, the state. */
static size_t draw_place(struct fuzz *f, const struct image_header *h)
{
	uint64_t part = draw(f, 4);
	const struct image_section *s = &h->section[part & 1];

	if (part == 3 || !s->bytes)
		return draw(f, sizeof(*h));
	return s->offset + draw(f, s->bytes);
}

static void spoil(struct fuzz *f, const struct image_header *h)
{
	size_t at = draw_place(f, h);

	switch (draw(f, 3)) {
	case 0:
		f->bad[at] ^= (char)(1u << draw(f, 8));
		break;
	case 1:
		f->bad[at] = (char)draw(f, 256);
		break;
	default:
		for (unsigned int i = 0; i < 4 && at + i < f->bytes; i++)
			f->bad[at + i] = (char)(draw(f, 2) ? 0xff : 0);
	}
}

/* As somebody would who wants it to be believed. */
static void mend_sums(struct fuzz *f)
{
	struct image_header *h = (struct image_header *)(void *)f->bad;

	for (unsigned int i = 0; i < NR_SECTIONS; i++) {
		struct image_section *s = &h->section[i];
		if (s->offset <= f->bytes && s->bytes <= f->bytes - s->offset)
			s->sum = XXH3_64bits(f->bad + s->offset, s->bytes);
	}
	h->sum = XXH3_64bits(h, offsetof(struct image_header, sum));
}

/* Bytes that are left of it. */
static size_t make_bad(struct fuzz *f)
{
	const struct image_header *h = (const struct image_header *)(const void *)f->good;
	bool mend = draw(f, 8);

	memcpy(f->bad, f->good, f->bytes);
	for (uint64_t n = draw(f, 4); n; n--)
		spoil(f, h);
	if (mend)
		mend_sums(f);
	return draw(f, 16) ? f->bytes : draw(f, f->bytes);
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
	if ((!make_snapshot(&f) && !make_pages(f.path)) || !read_good(&f))
		return 2;
	do
		for (unsigned int i = 0; i < 256; i++)
			judge(&f);
	while (time(NULL) < end);
	printf("seed %lu: %lu accepted, %lu refused; %lu loaded, %lu turned away\n", f.seed, f.accepted,
	       f.refused, f.loaded, f.turned_away);
	unlink(f.path);
	uint64_t leaked = f.host ? lodge_host_close(f.host) : 0;
	free(f.good);
	free(f.bad);
	if (leaked)
		fprintf(stderr, "image_fuzz: %lu frames are gone\n", leaked);
	return !f.accepted || !f.refused || leaked;
}
