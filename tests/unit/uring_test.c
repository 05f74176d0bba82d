/* SPDX-License-Identifier: MIT */
/* uring_test.c - transfers that go on by themselves, and the failures that are put in their way. */
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "../../src/linux/inject.h"
#include "../../src/linux/uring.h"
#include "../harness.h"

#define PAGE 4096u

struct transfer {
	struct uring_op op;
	struct iovec iov[4];
	sem_t *over;
	bool done;
};

static void transfer_done(struct uring_op *op)
{
	struct transfer *t = container_of(op, struct transfer, op);

	t->done = true;
	sem_post(t->over);
}

struct file {
	int fd;
	struct uring *ring;
	sem_t over;
};

static int file_setup(void **state)
{
	struct file *f = calloc(1, sizeof(*f));
	char path[] = "/var/tmp/uring_test.XXXXXX";

	f->fd = mkstemp(path);
	assert_true(f->fd >= 0);
	unlink(path);
	sem_init(&f->over, 0, 0);
	assert_int_equal(uring_create(4, &f->ring), 0);
	*state = f;
	return 0;
}

static int file_teardown(void **state)
{
	struct file *f = *state;

	uring_destroy(f->ring);
	sem_destroy(&f->over);
	close(f->fd);
	free(f);
	return 0;
}

static void wait_for(struct file *f, unsigned int nr)
{
	while (nr-- > 0)
		while (sem_wait(&f->over))
			;
}

static void transfer_init(struct transfer *t, struct file *f, bool write, char *buffer, uint64_t offset)
{
	*t = (struct transfer){.over = &f->over};
	t->iov[0] = (struct iovec){buffer, PAGE};
	t->op = (struct uring_op){.fd = f->fd,
				  .file = -1,
				  .write = write,
				  .iov = t->iov,
				  .nr_iov = 1,
				  .offset = offset,
				  .done = transfer_done};
}

static void moves_what_was_asked(void **state)
{
	enum { NR = 64 };
	struct file *f = *state;
	static struct transfer t[NR];
	static char out[NR][PAGE], in[NR][PAGE];
	struct uring_op *op[NR];

	assert_int_equal(uring_add_file(f->ring, f->fd), 0);
	assert_int_equal(uring_start(f->ring), 0);
	for (unsigned int i = 0; i < NR; i++) {
		memset(out[i], (int)i + 1, PAGE);
		transfer_init(&t[i], f, true, out[i], (uint64_t)i * PAGE);
		t[i].op.file = i % 2 ? 0 : -1;
		op[i] = &t[i].op;
	}
	uring_submit(f->ring, op, NR);
	wait_for(f, NR);
	for (unsigned int i = 0; i < NR; i++) {
		assert_int_equal(t[i].op.bytes, PAGE);
		assert_int_equal(t[i].op.error, 0);
		transfer_init(&t[i], f, false, in[i], (uint64_t)i * PAGE);
	}
	uring_submit(f->ring, op, NR);
	wait_for(f, NR);
	assert_memory_equal(in, out, sizeof(out));
	assert_int_equal(uring_nr_done(f->ring), 2 * NR);
}

static void goes_on_where_it_was_cut(void **state)
{
	struct file *f = *state;
	static char out[4 * PAGE], in[4 * PAGE];
	struct transfer t;

	for (unsigned int i = 0; i < sizeof(out); i++)
		out[i] = (char)(i * 7 + i / PAGE);
	assert_int_equal(pwrite(f->fd, out, sizeof(out), 0), sizeof(out));
	assert_int_equal(uring_start(f->ring), 0);
	for (int ring = 0; ring < 2; ring++) {
		struct uring_op *op = &t.op;
		memset(in, 0, sizeof(in));
		transfer_init(&t, f, false, in, 0);
		t.iov[0].iov_len = 3 * PAGE;
		t.iov[1] = (struct iovec){in + 3 * PAGE, PAGE};
		t.op.nr_iov = 2;
		t.op.first_bytes = 1000;
		if (ring)
			uring_submit(f->ring, &op, 1);
		else
			uring_op_run(op);
		wait_for(f, 1);
		assert_int_equal(t.op.error, 0);
		assert_int_equal(t.op.bytes, sizeof(in));
		assert_memory_equal(in, out, sizeof(in));
	}
}

static void the_end_of_a_file_is_no_error(void **state)
{
	struct file *f = *state;
	static char in[PAGE];
	struct transfer t;
	struct uring_op *op = &t.op;

	assert_int_equal(pwrite(f->fd, "hello", 5, 0), 5);
	assert_int_equal(uring_start(f->ring), 0);
	transfer_init(&t, f, false, in, 0);
	uring_submit(f->ring, &op, 1);
	wait_for(f, 1);
	assert_int_equal(t.op.error, 0);
	assert_int_equal(t.op.bytes, 5);
	assert_string_equal(in, "hello");
}

static void errors_are_told(void **state)
{
	struct file *f = *state;
	static char buffer[PAGE];
	struct transfer t;
	struct uring_op *op = &t.op;

	assert_int_equal(uring_start(f->ring), 0);
	transfer_init(&t, f, false, buffer, 0);
	t.op.fd = -1;
	uring_submit(f->ring, &op, 1);
	wait_for(f, 1);
	assert_int_equal(t.op.error, -EBADF);
	transfer_init(&t, f, false, (char *)16, 0); /* nothing is there */
	assert_int_equal(pwrite(f->fd, "x", 1, 0), 1);
	uring_submit(f->ring, &op, 1);
	wait_for(f, 1);
	assert_int_equal(t.op.error, -EFAULT);
}

struct submitter {
	struct file *f;
	unsigned int number;
	pthread_t thread;
};

#define NR_SUBMITTERS 4
#define NR_EACH	      200

static void *submit_many(void *arg)
{
	struct submitter *s = arg;
	struct transfer t;
	struct uring_op *op = &t.op;
	char buffer[PAGE];
	sem_t over;

	sem_init(&over, 0, 0);
	for (unsigned int i = 0; i < NR_EACH; i++) {
		memset(buffer, (int)s->number, PAGE);
		transfer_init(&t, s->f, i % 2 == 0, buffer, (uint64_t)s->number * PAGE);
		t.over = &over;
		uring_submit(s->f->ring, &op, 1);
		while (sem_wait(&over))
			;
		assert_int_equal(t.op.bytes, PAGE);
		assert_int_equal(buffer[PAGE - 1], s->number);
	}
	sem_destroy(&over);
	return NULL;
}

/* Their threads end; what they submitted does not. */
static void many_submit_at_once(void **state)
{
	struct file *f = *state;
	struct submitter s[NR_SUBMITTERS];

	assert_int_equal(uring_start(f->ring), 0);
	for (unsigned int i = 0; i < NR_SUBMITTERS; i++) {
		s[i] = (struct submitter){.f = f, .number = i + 1};
		assert_int_equal(pthread_create(&s[i].thread, NULL, submit_many, &s[i]), 0);
	}
	for (unsigned int i = 0; i < NR_SUBMITTERS; i++)
		pthread_join(s[i].thread, NULL);
	assert_int_equal(uring_nr_done(f->ring), NR_SUBMITTERS * NR_EACH);
}

static void the_end_waits_for_all(void **state)
{
	enum { NR = 32 };
	struct file *f = *state;
	static struct transfer t[NR];
	static char buffer[PAGE];
	struct uring_op *op[NR];

	assert_int_equal(uring_start(f->ring), 0);
	for (unsigned int i = 0; i < NR; i++) {
		transfer_init(&t[i], f, true, buffer, (uint64_t)i * PAGE);
		op[i] = &t[i].op;
	}
	uring_submit(f->ring, op, NR);
	uring_destroy(f->ring);
	f->ring = NULL;
	for (unsigned int i = 0; i < NR; i++)
		assert_true(t[i].done);
}

/* --- failures on purpose ------------------------------------------------------------------------------------------ */

static void bad_rules_are_refused(void **state)
{
	static const char *const bad[] = {
		"",
		"swap",
		"swap.read",
		"swap.read=",
		"swap.readeio",
		"disk.read=eio",
		"swap.read=eperm",
		"swap.read=eio@",
		"swap.read=eio@n",
		"swap.read=eio@n=",
		"swap.read=eio@n=0",
		"swap.read=eio@n=-1",
		"swap.read=eio@n=1,",
		"swap.read=eio,n=1",
		"swap.read=eio@n=99999999999999999999999",
		"swap.read=eio@p=1.5",
		"swap.read=eio@p=x",
		"swap.read=eio@p=nan",
		"swap.read=eio@when=1",
		"swap.read=eiox",
		"swap.read=delay",
		"swap.read=delay:",
		"swap.read=delay:5",
		"swap.read=delay:5h",
		"swap.read=delay:99999999999999999999s",
		"swap.read=delay:99999999999999999s",
	};
	struct inject *inject = inject_create();
	const char *why;

	(void)state;
	for (unsigned int i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		why = NULL;
		if (inject_add(inject, bad[i], &why) != -EINVAL || !why)
			fail_msg("'%s' was taken", bad[i]);
	}
	for (int i = 0; i < 10; i++)
		assert_int_equal(inject_next(inject, INJECT_SWAP_READ).kind, INJECT_NOTHING);
	inject_destroy(inject);
}

static struct inject *with_rule(const char *spec)
{
	struct inject *inject = inject_create();
	const char *why = NULL;

	if (inject_add(inject, spec, &why))
		fail_msg("'%s': %s", spec, why);
	return inject;
}

/* The numbers of the transfers that `spec` hits, of the first 64, as bits. */
static uint64_t hits(const char *spec, enum inject_point point)
{
	struct inject *inject = with_rule(spec);
	uint64_t bits = 0;

	for (unsigned int n = 0; n < 64; n++)
		if (inject_next(inject, point).kind != INJECT_NOTHING)
			bits |= 1ull << n;
	assert_int_equal(inject_nr_injected(inject, point), __builtin_popcountll(bits));
	inject_destroy(inject);
	return bits;
}

static void rules_choose_transfers(void **state)
{
	(void)state;
	assert_int_equal(hits("swap.read=eio", INJECT_SWAP_READ), ~0ull);
	assert_int_equal(hits("swap.read=eio", INJECT_SWAP_WRITE), 0);
	assert_int_equal(hits("swap.write=eio@n=3", INJECT_SWAP_WRITE), 1ull << 2);
	assert_int_equal(hits("file.read=short@every=16", INJECT_FILE_READ), 0x8000800080008000ull);
	assert_int_equal(hits("file.write=torn@from=60", INJECT_FILE_WRITE), 0x1full << 59);
	assert_int_equal(hits("file.write=torn@from=40,every=20", INJECT_FILE_WRITE),
			 1ull << 39 | 1ull << 59);
	assert_int_equal(hits("swap.read=eio@p=0", INJECT_SWAP_READ), 0);
	assert_int_equal(hits("swap.read=eio@p=1", INJECT_SWAP_READ), ~0ull);
	uint64_t half = hits("swap.read=eio@p=.5,seed=7", INJECT_SWAP_READ);
	assert_in_range(__builtin_popcountll(half), 16, 48);
	assert_int_equal(half, hits("swap.read=eio@p=0.5,seed=7", INJECT_SWAP_READ));
	assert_int_not_equal(half, hits("swap.read=eio@p=0.5,seed=8", INJECT_SWAP_READ));
}

static void the_first_rule_counts(void **state)
{
	struct inject *inject = with_rule("swap.read=enospc@n=2");
	const char *why;

	(void)state;
	assert_int_equal(inject_add(inject, "swap.read=delay:3ms", &why), 0);
	struct inject_fault first = inject_next(inject, INJECT_SWAP_READ),
			    second = inject_next(inject, INJECT_SWAP_READ);
	assert_int_equal(first.kind, INJECT_DELAY);
	assert_int_equal(first.delay_ns, 3000000);
	assert_int_equal(second.kind, INJECT_ERROR);
	assert_int_equal(second.error, -ENOSPC);
	inject_destroy(inject);
}

static void no_rules_no_failures(void **state)
{
	(void)state;
	assert_int_equal(inject_next(NULL, INJECT_FILE_READ).kind, INJECT_NOTHING);
	assert_int_equal(inject_nr_injected(NULL, INJECT_FILE_READ), 0);
	inject_abort(NULL);
	inject_destroy(NULL);
}

struct held {
	struct inject_held held;
	atomic_int released; /* 1, or 2 when aborted */
};

static void note_release(struct inject_held *held, bool aborted)
{
	atomic_fetch_add(&container_of(held, struct held, held)->released, aborted ? 2 : 1);
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static void delays_end_and_stuck_ones_do_not(void **state)
{
	struct inject *inject = inject_create();
	const struct inject_fault stuck = {.kind = INJECT_STUCK},
				  late = {.kind = INJECT_DELAY, .delay_ns = 20000000};
	struct held a = {.held.release = note_release}, b = a, c = a;
	uint64_t start = now_ns();

	(void)state;
	inject_hold(inject, &a.held, stuck);
	assert_int_equal(inject_wait(inject, late), 0);
	assert_true(now_ns() - start >= 20000000);
	assert_int_equal(atomic_load(&a.released), 0);
	inject_abort(inject);
	assert_int_equal(inject_wait(inject, stuck), -EIO); /* later ones too */
	inject_hold(inject, &b.held, stuck);
	inject_hold(inject, &c.held, (struct inject_fault){.kind = INJECT_DELAY, .delay_ns = 3600000000000});
	inject_destroy(inject);
	assert_int_equal(atomic_load(&a.released), 2);
	assert_int_equal(atomic_load(&b.released), 2);
	assert_int_equal(atomic_load(&c.released), 1);
}

#define CASE(title, fn)                                    \
	{                                                  \
		title, fn, file_setup, file_teardown, NULL \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE("uring: many more transfers than fit are all made [O1]", moves_what_was_asked),
		CASE("uring: a short transfer goes on where it was cut", goes_on_where_it_was_cut),
		CASE("uring: the end of a file is fewer bytes, not an error", the_end_of_a_file_is_no_error),
		CASE("uring: an error is told with its transfer", errors_are_told),
		CASE("uring: threads submit at once, and may end", many_submit_at_once),
		CASE("uring: its end waits for what is under way", the_end_waits_for_all),
		{"inject: a rule that is none is refused", bad_rules_are_refused, NULL, NULL, NULL},
		{"inject: rules choose transfers by number, the same each time", rules_choose_transfers, NULL,
		 NULL, NULL},
		{"inject: the first rule that fits counts", the_first_rule_counts, NULL, NULL, NULL},
		{"inject: without rules nothing fails", no_rules_no_failures, NULL, NULL, NULL},
		{"inject: delays end, what is stuck waits for the end", delays_end_and_stuck_ones_do_not,
		 NULL, NULL, NULL},
	};

	return cmocka_run_group_tests_name("uring", tests, NULL, NULL);
}
