/* SPDX-License-Identifier: MIT */
/* swapfile_test.c - a swap device over a temporary file: what it takes, what it moves, what it notices. */
#include <fcntl.h>
#include <linux/loop.h>
#include <pthread.h>
#include <semaphore.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../../include/lodge.h"
#include "../../src/linux/swapfile.h"
#include "../harness.h"

#define SLOTS	  1024u
#define MAX_PAGES 64u

struct world {
	char path[64];
	struct swapfile *file;
	struct inject *inject;
	char *memory; /* MAX_PAGES */
};

/* One transfer with all that it needs. */
struct transfer {
	struct swap_io io;
	struct iovec iov[MAX_PAGES];
	uint64_t tag[MAX_PAGES];
	sem_t over;
	unsigned int nr_done_calls;
};

static int world_setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	strcpy(w->path, "/var/tmp/swapfile_test.XXXXXX");
	close(mkstemp(w->path));
	w->memory =
		mmap(NULL, MAX_PAGES * PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(w->memory, MAP_FAILED);
	*state = w;
	return 0;
}

static void stop(struct world *w)
{
	inject_abort(w->inject);
	if (w->file)
		w->file->device.ops->release(&w->file->device);
	w->file = NULL;
	inject_destroy(w->inject);
	w->inject = NULL;
}

static int world_teardown(void **state)
{
	struct world *w = *state;

	stop(w);
	unlink(w->path);
	munmap(w->memory, MAX_PAGES * PAGE_SIZE);
	free(w);
	return 0;
}

static int open_sized(struct world *w, uint64_t bytes, struct lodge_error *err)
{
	const struct swapfile_setup setup = {.path = w->path,
					     .bytes = bytes,
					     .priority = 3,
					     .inject = w->inject};

	return swapfile_open(&setup, &w->file, err);
}

/* rule: NULL, or what --inject would be given. */
static void start(struct world *w, const char *rule)
{
	struct lodge_error err;
	const char *why;

	w->inject = inject_create();
	if (rule)
		assert_int_equal(inject_add(w->inject, rule, &why), 0);
	if (open_sized(w, SLOTS * PAGE_SIZE, &err))
		fail_msg("%s", err.text);
}

static void transfer_done(struct swap_io *io)
{
	struct transfer *t = container_of(io, struct transfer, io);

	t->nr_done_calls++;
	sem_post(&t->over);
}

/* Pages of memory from the first on; scattered: every other one. */
static void transfer_init(struct transfer *t, struct world *w, bool write, uint64_t slot, unsigned int nr,
			  unsigned int step)
{
	memset(t, 0, sizeof(*t));
	sem_init(&t->over, 0, 0);
	for (unsigned int i = 0; i < nr; i++) {
		t->iov[i] = (struct iovec){w->memory + (size_t)i * step * PAGE_SIZE, PAGE_SIZE};
		t->tag[i] = (slot + i) << 32 | 1;
	}
	t->io = (struct swap_io){.device = &w->file->device,
				 .slot = slot,
				 .nr = nr,
				 .write = write,
				 .iov = t->iov,
				 .tags = t->tag,
				 .result = 1,
				 .nr_done = ~0u,
				 .done = transfer_done};
}

static void submit(struct world *w, struct transfer *t)
{
	struct swap_io *io = &t->io;

	w->file->device.ops->submit(&w->file->device, &io, 1);
}

static int finish(struct transfer *t)
{
	while (sem_wait(&t->over))
		;
	assert_int_equal(t->nr_done_calls, 1);
	sem_destroy(&t->over);
	return t->io.result;
}

static int move(struct world *w, struct transfer *t, bool write, uint64_t slot, unsigned int nr,
		unsigned int step)
{
	transfer_init(t, w, write, slot, nr, step);
	submit(w, t);
	return finish(t);
}

static void fill(struct world *w, unsigned int salt)
{
	uint32_t *word = (uint32_t *)(void *)w->memory;

	for (size_t i = 0; i < MAX_PAGES * PAGE_SIZE / sizeof(*word); i++)
		word[i] = (uint32_t)i * 2654435761u + salt;
}

static bool is_filled(struct world *w, unsigned int salt, size_t from_page, size_t to_page)
{
	const uint32_t *word = (const uint32_t *)(const void *)w->memory;
	const size_t words = PAGE_SIZE / sizeof(*word);

	for (size_t i = from_page * words; i < to_page * words; i++)
		if (word[i] != (uint32_t)i * 2654435761u + salt)
			return false;
	return true;
}

static void pages_come_back(void **state)
{
	struct world *w = *state;
	struct transfer t;

	start(w, NULL);
	assert_int_equal(w->file->device.nr_slots, SLOTS);
	assert_true(w->file->device.is_file);
	assert_int_equal(w->file->device.priority, 3);
	fill(w, 1);
	assert_int_equal(move(w, &t, true, 1, MAX_PAGES, 1), 0);
	assert_int_equal(t.io.nr_done, MAX_PAGES);
	memset(w->memory, 0, MAX_PAGES * PAGE_SIZE);
	assert_int_equal(move(w, &t, false, 1, MAX_PAGES, 1), 0);
	assert_int_equal(t.io.nr_done, MAX_PAGES);
	assert_true(is_filled(w, 1, 0, MAX_PAGES));
	/* Single pages, and pages that do not lie side by side. */
	memset(w->memory, 0, MAX_PAGES * PAGE_SIZE);
	assert_int_equal(move(w, &t, false, 1, 1, 1), 0);
	assert_true(is_filled(w, 1, 0, 1));
	fill(w, 2);
	assert_int_equal(move(w, &t, true, SLOTS - MAX_PAGES / 2, MAX_PAGES / 2, 2), 0);
	memset(w->memory, 0, MAX_PAGES * PAGE_SIZE);
	assert_int_equal(move(w, &t, false, SLOTS - MAX_PAGES / 2, MAX_PAGES / 2, 2), 0);
	for (size_t i = 0; i < MAX_PAGES; i += 2)
		assert_true(is_filled(w, 2, i, i + 1));
	assert_int_equal(atomic_load(&w->file->nr_sum_errors), 0);
}

/* What went around the host's page cache is in the file all the same, one page for each slot. */
static void slots_are_pages_of_the_file(void **state)
{
	struct world *w = *state;
	static char page[PAGE_SIZE];
	struct transfer t;
	struct stat st;

	start(w, NULL);
	fill(w, 3);
	assert_int_equal(move(w, &t, true, 5, 2, 1), 0);
	int fd = open(w->path, O_RDONLY);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_size, SLOTS * PAGE_SIZE);
	assert_int_equal(pread(fd, page, PAGE_SIZE, 5 * PAGE_SIZE), PAGE_SIZE);
	assert_memory_equal(page, w->memory, PAGE_SIZE);
	assert_int_equal(pread(fd, page, PAGE_SIZE, 0), PAGE_SIZE);
	assert_string_equal(page, "lodge swap");
	close(fd);
}

static void batches_of_many(void **state)
{
	enum { NR = 64 };
	struct world *w = *state;
	static struct transfer t[NR];
	struct swap_io *io[NR];

	start(w, NULL);
	fill(w, 4);
	for (int write = 1; write >= 0; write--) {
		for (unsigned int i = 0; i < NR; i++) {
			transfer_init(&t[i], w, write, 1 + i * 3, 1, 1);
			t[i].iov[0].iov_base = w->memory + (size_t)i * PAGE_SIZE;
			io[i] = &t[i].io;
		}
		w->file->device.ops->submit(&w->file->device, io, NR);
		for (unsigned int i = 0; i < NR; i++)
			assert_int_equal(finish(&t[i]), 0);
		if (write)
			memset(w->memory, 0, MAX_PAGES * PAGE_SIZE);
	}
	assert_true(is_filled(w, 4, 0, MAX_PAGES));
	assert_int_equal(atomic_load(&w->file->nr_read), NR);
	assert_int_equal(atomic_load(&w->file->nr_written), NR);
}

static void slots_that_are_not_there(void **state)
{
	struct world *w = *state;
	struct transfer t;

	start(w, NULL);
	assert_int_equal(move(w, &t, true, SLOTS - 1, 2, 1), -EINVAL);
	assert_int_equal(move(w, &t, false, SLOTS, 1, 1), -EINVAL);
	assert_int_equal(t.io.nr_done, 0);
}

/* --- contents that are not what was written ----------------------------------------------------------------------- */

static void damage_is_noticed(void **state)
{
	struct world *w = *state;
	struct transfer t;

	start(w, NULL);
	fill(w, 5);
	assert_int_equal(move(w, &t, true, 1, 8, 1), 0);
	int fd = open(w->path, O_RDWR | O_DIRECT);
	char *page = w->memory + (size_t)9 * PAGE_SIZE;
	assert_int_equal(pread(fd, page, PAGE_SIZE, 4 * PAGE_SIZE), PAGE_SIZE);
	page[100] ^= 1;
	assert_int_equal(pwrite(fd, page, PAGE_SIZE, 4 * PAGE_SIZE), PAGE_SIZE);
	close(fd);
	assert_int_equal(move(w, &t, false, 1, 8, 1), -EBADMSG);
	assert_int_equal(t.io.nr_done, 3);
	assert_int_equal(move(w, &t, false, 5, 4, 1), 0);
	assert_int_equal(atomic_load(&w->file->nr_sum_errors), 1);
}

static void another_tag_is_another_page(void **state)
{
	struct world *w = *state;
	struct transfer t;

	start(w, NULL);
	assert_int_equal(move(w, &t, true, 7, 1, 1), 0);
	transfer_init(&t, w, false, 7, 1, 1);
	t.tag[0]++;
	submit(w, &t);
	assert_int_equal(finish(&t), -EBADMSG);
	assert_int_equal(move(w, &t, false, 8, 1, 1), -EBADMSG); /* never written */
}

static void torn_writes_are_noticed(void **state)
{
	struct world *w = *state;
	struct transfer t;

	start(w, "swap.write=torn@n=2");
	fill(w, 6);
	assert_int_equal(move(w, &t, true, 1, 8, 1), 0);
	fill(w, 7);
	assert_int_equal(move(w, &t, true, 1, 8, 1), 0); /* so says the disk */
	assert_int_equal(t.io.nr_done, 8);
	assert_int_equal(move(w, &t, false, 1, 8, 1), -EBADMSG);
	assert_int_equal(t.io.nr_done, 7);
	assert_true(is_filled(w, 7, 0, 7));
	assert_int_equal(inject_nr_injected(w->inject, INJECT_SWAP_WRITE), 1);
}

static void torn_single_pages_are_noticed(void **state)
{
	struct world *w = *state;
	struct transfer t;

	start(w, "swap.write=torn");
	fill(w, 8);
	assert_int_equal(move(w, &t, true, 1, 1, 1), 0);
	assert_int_equal(move(w, &t, false, 1, 1, 1), -EBADMSG);
}

static void torn_reads_are_noticed(void **state)
{
	struct world *w = *state;
	struct transfer t;

	start(w, "swap.read=torn@n=1");
	fill(w, 9);
	assert_int_equal(move(w, &t, true, 1, 4, 1), 0);
	assert_int_equal(move(w, &t, false, 1, 4, 1), -EBADMSG);
	assert_int_equal(t.io.nr_done, 3);
	assert_int_equal(move(w, &t, false, 1, 4, 1), 0);
	assert_true(is_filled(w, 9, 0, 4));
}

/* --- disks that fail ---------------------------------------------------------------------------------------------- */

static void short_transfers_go_on(void **state)
{
	struct world *w = *state;
	struct transfer t;
	const char *why;

	start(w, "swap.read=short");
	assert_int_equal(inject_add(w->inject, "swap.write=short", &why), 0);
	for (unsigned int step = 1; step <= 2; step++) {
		unsigned int nr = MAX_PAGES / step;
		fill(w, step);
		assert_int_equal(move(w, &t, true, 1, nr, step), 0);
		memset(w->memory, 0, MAX_PAGES * PAGE_SIZE);
		assert_int_equal(move(w, &t, false, 1, nr, step), 0);
		for (size_t i = 0; i < MAX_PAGES; i += step)
			assert_true(is_filled(w, step, i, i + 1));
	}
	assert_int_equal(inject_nr_injected(w->inject, INJECT_SWAP_READ), 2);
}

static void a_file_that_became_short(void **state)
{
	struct world *w = *state;
	struct transfer t;

	start(w, NULL);
	assert_int_equal(move(w, &t, true, 1, 8, 1), 0);
	assert_int_equal(truncate(w->path, 5 * PAGE_SIZE), 0);
	assert_int_equal(move(w, &t, false, 1, 8, 1), -EIO);
	assert_int_equal(t.io.nr_done, 4);
}

static void errors_are_the_transfers_own(void **state)
{
	struct world *w = *state;
	struct transfer t;
	const char *why;

	start(w, "swap.write=enospc@n=2");
	assert_int_equal(inject_add(w->inject, "swap.read=eio@n=2", &why), 0);
	fill(w, 10);
	assert_int_equal(move(w, &t, true, 1, 4, 1), 0);
	assert_int_equal(move(w, &t, true, 5, 4, 1), -ENOSPC);
	assert_int_equal(t.io.nr_done, 0);
	assert_int_equal(move(w, &t, false, 1, 4, 1), 0);
	assert_int_equal(move(w, &t, false, 1, 4, 1), -EIO);
	assert_int_equal(t.io.nr_done, 0);
	assert_int_equal(move(w, &t, false, 1, 4, 1), 0);
	assert_int_equal(atomic_load(&w->file->nr_errors), 2);
}

/* More are stuck than there are requests: who submits waits, until all of them have failed. */
static void *submit_too_many(void *arg)
{
	struct world *w = arg;
	enum { NR = SWAPFILE_NR_REQUESTS + 8 };
	static struct transfer t[NR];

	for (unsigned int i = 0; i < NR; i++) {
		transfer_init(&t[i], w, i % 2, 1 + i, 1, 1);
		submit(w, &t[i]);
	}
	for (unsigned int i = 0; i < NR; i++)
		assert_int_equal(finish(&t[i]), -EIO);
	return NULL;
}

static void stuck_transfers_end_with_an_abort(void **state)
{
	const struct timespec pause = {.tv_nsec = 5000000};
	struct world *w = *state;
	struct transfer t;
	pthread_t thread;
	const char *why;

	start(w, "swap.write=stuck");
	assert_int_equal(inject_add(w->inject, "swap.read=stuck", &why), 0);
	transfer_init(&t, w, true, 100, 1, 1);
	submit(w, &t);
	assert_int_equal(pthread_create(&thread, NULL, submit_too_many, w), 0);
	nanosleep(&pause, NULL);
	assert_int_equal(sem_trywait(&t.over), -1);
	inject_abort(w->inject);
	assert_int_equal(finish(&t), -EIO);
	pthread_join(thread, NULL);
}

static void delayed_transfers_are_made(void **state)
{
	struct world *w = *state;
	struct transfer t;
	const char *why;

	start(w, "swap.write=delay:2ms");
	assert_int_equal(inject_add(w->inject, "swap.read=delay:500us", &why), 0);
	fill(w, 11);
	assert_int_equal(move(w, &t, true, 1, 4, 1), 0);
	memset(w->memory, 0, MAX_PAGES * PAGE_SIZE);
	assert_int_equal(move(w, &t, false, 1, 4, 1), 0);
	assert_true(is_filled(w, 11, 0, 4));
}

/* --- which files -------------------------------------------------------------------------------------------------- */

static void expect_refusal(struct world *w, uint64_t bytes, int error, const char *word)
{
	struct lodge_error err = {""};

	assert_int_equal(open_sized(w, bytes, &err), error);
	if (!strstr(err.text, word) || !strstr(err.text, w->path))
		fail_msg("'%s' does not say '%s' and the file", err.text, word);
	assert_null(w->file);
}

static void put(const char *path, const void *bytes, size_t nr, off_t offset)
{
	int fd = open(path, O_RDWR);

	assert_int_equal(pwrite(fd, bytes, nr, offset), nr);
	close(fd);
}

static void what_is_not_swap_is_left_alone(void **state)
{
	struct world *w = *state;
	struct stat st;

	put(w->path, "precious", 8, 100000);
	expect_refusal(w, SLOTS * PAGE_SIZE, -EEXIST, "something else");
	expect_refusal(w, 0, -EEXIST, "something else");
	assert_int_equal(stat(w->path, &st), 0);
	assert_int_equal(st.st_size, 100008);
	unlink(w->path);
	expect_refusal(w, 0, -ENOENT, "no such file");
	assert_int_equal(access(w->path, F_OK), -1);
	assert_int_equal(mkdir(w->path, 0700), 0);
	expect_refusal(w, SLOTS * PAGE_SIZE, -EISDIR, "directory");
	rmdir(w->path);
	assert_int_equal(mkfifo(w->path, 0600), 0);
	expect_refusal(w, SLOTS * PAGE_SIZE, -EINVAL, "neither");
}

static void sizes_have_bounds(void **state)
{
	struct world *w = *state;

	expect_refusal(w, 4096, -EINVAL, "too small");
	expect_refusal(w, 0, -EINVAL, "too small");
	expect_refusal(w, (1ull << 44) + 4096, -EINVAL, "too large");
	/* As if the disk were full. */
	const struct rlimit small = {1 << 20, RLIM_INFINITY};
	struct rlimit before;
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
	signal(SIGXFSZ, SIG_IGN);
	unlink(w->path);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	expect_refusal(w, 2 << 20, -EFBIG, "no room");
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
	assert_int_equal(access(w->path, F_OK), -1); /* it was created here: it went again */
}

static void a_header_is_kept(void **state)
{
	struct world *w = *state;
	struct lodge_error err;
	uint8_t uuid[16];
	uint32_t version = 99;

	unlink(w->path);
	assert_int_equal(open_sized(w, 8 * PAGE_SIZE, &err), 0);
	memcpy(uuid, w->file->uuid, sizeof(uuid));
	stop(w);
	struct stat st;
	assert_int_equal(stat(w->path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(open_sized(w, 0, &err), 0);
	assert_int_equal(w->file->device.nr_slots, 8);
	assert_memory_equal(uuid, w->file->uuid, sizeof(uuid));
	stop(w);
	assert_int_equal(open_sized(w, 16 * PAGE_SIZE, &err), 0); /* it grows */
	assert_int_equal(w->file->device.nr_slots, 16);
	assert_memory_equal(uuid, w->file->uuid, sizeof(uuid));
	stop(w);
	put(w->path, &version, sizeof(version), 16);
	expect_refusal(w, 0, -EEXIST, "another version");
}

static void one_process_has_it(void **state)
{
	struct world *w = *state;
	struct lodge_error err;
	int status;

	start(w, NULL);
	pid_t child = fork();
	if (!child) {
		const struct swapfile_setup setup = {.path = w->path};
		struct swapfile *other;
		_exit(swapfile_open(&setup, &other, &err) == -EBUSY && strstr(err.text, "another process")
			      ? 0
			      : 1);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
}

/* A loop device over w->path, or -1 where there is none to be had. */
static int make_loop(struct world *w, char *name, size_t bytes)
{
	int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC),
	    backing = open(w->path, O_RDWR | O_CLOEXEC);
	int number = control < 0 ? -1 : ioctl(control, LOOP_CTL_GET_FREE), loop = -1;

	snprintf(name, bytes, "/dev/loop%d", number);
	if (number >= 0)
		loop = open(name, O_RDWR | O_CLOEXEC);
	if (loop >= 0 && ioctl(loop, LOOP_SET_FD, backing)) {
		close(loop);
		loop = -1;
	}
	close(control);
	close(backing);
	return loop;
}

static void a_block_device_serves(void **state)
{
	struct world *w = *state;
	struct lodge_error err = {""};
	struct swapfile *file = NULL;
	struct transfer t;
	char name[32];

	assert_int_equal(truncate(w->path, 4 << 20), 0);
	int loop = make_loop(w, name, sizeof(name));
	if (loop < 0)
		skip();
	const struct swapfile_setup too_large = {.path = name, .bytes = 5 << 20}, setup = {.path = name};
	assert_int_equal(swapfile_open(&too_large, &file, &err), -EINVAL);
	assert_non_null(strstr(err.text, "4194304 bytes only"));
	int ret = swapfile_open(&setup, &w->file, &err);
	if (!ret) {
		assert_false(w->file->device.is_file);
		assert_int_equal(w->file->device.nr_slots, 1024);
		assert_int_equal(swapfile_open(&setup, &file, &err), -EBUSY);
		fill(w, 12);
		assert_int_equal(move(w, &t, true, 1, MAX_PAGES, 1), 0);
		memset(w->memory, 0, MAX_PAGES * PAGE_SIZE);
		assert_int_equal(move(w, &t, false, 1, MAX_PAGES, 1), 0);
		assert_true(is_filled(w, 12, 0, MAX_PAGES));
	}
	stop(w);
	ioctl(loop, LOOP_CLR_FD, 0);
	close(loop);
	assert_int_equal(ret, 0);
}

#define CASE(title, fn)                                      \
	{                                                    \
		title, fn, world_setup, world_teardown, NULL \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE("swapfile: pages come back as they went [O2][O3]", pages_come_back),
		CASE("swapfile: a slot is a page of the file, and page 0 the header [O2][O3]",
		     slots_are_pages_of_the_file),
		CASE("swapfile: many transfers at once [O1]", batches_of_many),
		CASE("swapfile: slots that are not there are refused [O2]", slots_that_are_not_there),
		CASE("swapfile: a damaged page is noticed, the others serve", damage_is_noticed),
		CASE("swapfile: what a slot held for somebody else is noticed", another_tag_is_another_page),
		CASE("swapfile: a write whose end is lost is noticed", torn_writes_are_noticed),
		CASE("swapfile: and one of a single page", torn_single_pages_are_noticed),
		CASE("swapfile: a read whose end is damaged is noticed", torn_reads_are_noticed),
		CASE("swapfile: short transfers go on where they were cut", short_transfers_go_on),
		CASE("swapfile: a file that became shorter is an error", a_file_that_became_short),
		CASE("swapfile: an error is that of one transfer", errors_are_the_transfers_own),
		CASE("swapfile: stuck transfers fail when all ends", stuck_transfers_end_with_an_abort),
		CASE("swapfile: late transfers are made", delayed_transfers_are_made),
		CASE("swapfile: what holds something else is not touched [O2]",
		     what_is_not_swap_is_left_alone),
		CASE("swapfile: sizes have bounds, and so have disks [O2]", sizes_have_bounds),
		CASE("swapfile: its header and identity stay [O2]", a_header_is_kept),
		CASE("swapfile: one process at a time", one_process_has_it),
		CASE("swapfile: a block device [O2]", a_block_device_serves),
	};

	return cmocka_run_group_tests_name("swapfile", tests, NULL, NULL);
}
