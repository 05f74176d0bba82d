/* SPDX-License-Identifier: MIT */
/* Files of the host behind mappings: which keep their pages when nobody maps them any more. */
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../src/linux/hostfile.h"
#include "../sim/fixture.h"

#define P PAGE_SIZE

struct scene {
	struct fixture *x;
	struct hostfile_table table;
	char directory[64];
};

static int setup(void **state)
{
	struct scene *s = calloc(1, sizeof(*s));
	const struct sim_config config = {.kind = SIM_TLB, .cpus = 1};

	s->x = fixture_new(&config);
	hostfile_table_init(&s->table, &s->x->machine->host, NULL);
	strcpy(s->directory, "/var/tmp/hostfile_test.XXXXXX");
	*state = s;
	return mkdtemp(s->directory) ? 0 : -1;
}

static const char *path_of(struct scene *s, unsigned int number)
{
	static char path[96];

	snprintf(path, sizeof(path), "%s/%u", s->directory, number);
	return path;
}

static int teardown(void **state)
{
	struct scene *s = *state;

	hostfile_table_destroy(&s->table);
	int bad = fixture_free(s->x);
	for (unsigned int i = 0; i < 64; i++)
		unlink(path_of(s, i));
	rmdir(s->directory);
	free(s);
	return bad;
}

static int make(struct scene *s, unsigned int number, const char *text)
{
	int fd = open(path_of(s, number), O_RDWR | O_CREAT | O_TRUNC, 0600);

	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
	return open(path_of(s, number), O_RDONLY);
}

/* Maps it, reads its first byte, and lets go. */
static char visit(struct scene *s, int fd)
{
	struct backing *b;
	struct page *page;
	bool major;

	assert_int_equal(hostfile_get(&s->table, fd, NULL, &b), 0);
	assert_int_equal(filemap_get(&b->cache, 0, s->x->mm->memcg, &page, &major), 0);
	char c = *(char *)page_address(&s->x->machine->frames, page);
	page_put(&s->x->machine->frames, page);
	backing_put(b);
	return c;
}

/* Pages that are cached of the file that nobody maps; -1: it is not known. */
static int64_t cached(struct scene *s, int fd)
{
	struct stat st;

	assert_int_equal(fstat(fd, &st), 0);
	struct backing *b = hostfile_find(&s->table, st.st_dev, st.st_ino);
	if (!b)
		return -1;
	int64_t nr = (int64_t)filemap_nr_pages(&b->cache);
	backing_put(b);
	return nr;
}

static void pages_stay(void **state)
{
	struct scene *s = *state;
	int fd = make(s, 0, "one");

	assert_int_equal(visit(s, fd), 'o');
	assert_int_equal(cached(s, fd), 1);
	close(fd);
	fd = open(path_of(s, 0), O_RDONLY);
	assert_int_equal(cached(s, fd), 1);
	close(fd);
	fd = make(s, 0, "two!"); /* it has changed meanwhile */
	assert_int_equal(visit(s, fd), 't');
	close(fd);
}

static void what_may_be_written_goes(void **state)
{
	struct scene *s = *state;
	int fd = make(s, 0, "one"), rw = open(path_of(s, 0), O_RDWR);

	visit(s, rw);
	assert_int_equal(cached(s, fd), -1);
	visit(s, fd);
	assert_int_equal(cached(s, fd), 1);
	visit(s, rw); /* now it may be */
	assert_int_equal(cached(s, fd), -1);
	close(fd);
	close(rw);
}

static void what_has_no_name_goes(void **state)
{
	struct scene *s = *state;
	int fd = make(s, 0, "one");

	unlink(path_of(s, 0));
	assert_int_equal(visit(s, fd), 'o');
	assert_int_equal(cached(s, fd), -1);
	close(fd);
}

static void locks_do_not_stay(void **state)
{
	struct scene *s = *state;
	int fd = make(s, 0, "one"), other = open(path_of(s, 0), O_RDONLY);

	assert_int_equal(flock(fd, LOCK_EX | LOCK_NB), 0);
	visit(s, fd);
	assert_int_equal(flock(other, LOCK_EX | LOCK_NB), -1);
	close(fd);
	assert_int_equal(flock(other, LOCK_EX | LOCK_NB), 0);
	close(other);
}

static void the_oldest_goes(void **state)
{
	struct scene *s = *state;
	int fd[HOSTFILE_MAX_KEPT + 1];

	for (unsigned int i = 0; i <= HOSTFILE_MAX_KEPT; i++) {
		fd[i] = make(s, i, "x");
		visit(s, fd[i]);
		if (i == 2)
			visit(s, fd[0]);
	}
	assert_int_equal(cached(s, fd[1]), -1);
	assert_int_equal(cached(s, fd[0]), 1);
	assert_int_equal(s->table.nr_kept, HOSTFILE_MAX_KEPT);
	for (unsigned int i = 0; i <= HOSTFILE_MAX_KEPT; i++)
		close(fd[i]);
}

#define CASE(title, fn)                          \
	{                                        \
		title, fn, setup, teardown, NULL \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE("hostfile: pages stay when nobody maps the file, until it changes", pages_stay),
		CASE("hostfile: not those of a file that may be written", what_may_be_written_goes),
		CASE("hostfile: nor those of one without a name", what_has_no_name_goes),
		CASE("hostfile: what stays keeps nobody's lock", locks_do_not_stay),
		CASE("hostfile: so many stay, and the one not mapped for longest goes", the_oldest_goes),
	};

	return cmocka_run_group_tests_name("hostfile", tests, NULL, NULL);
}
