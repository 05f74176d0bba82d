/* SPDX-License-Identifier: MIT */
/* Blocks of host memory whose contents come when they are touched, from a source that can be slow, wrong, or left alone. */
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../../src/uffd/lazy.h"
#include "../harness.h"

#define BLOCK_BYTES (LAZY_BLOCK_PAGES * PAGE_SIZE)
#define BLOCKS	    16u
#define BYTES	    (BLOCKS * BLOCK_BYTES)
#define NO_PAGE	    (~0ull)

/* What each word of a page of the source is. */
static uint64_t word_of(uint64_t page)
{
	return (page + 1) * 0x9e3779b97f4a7c15ull;
}

struct fake {
	struct lazy_source source;
	_Atomic uint64_t reads, longest; /* calls; pages of one */
	uint64_t bad;			 /* a page that is not what it should be */
	unsigned int delay_us;		 /* at most, by the page */
	_Atomic int trouble;		 /* enum lazy_trouble, for the next answer */
	_Atomic unsigned int nr_trouble;
	_Atomic bool failed, released;
};

static struct fake *fake_of(struct lazy_source *s)
{
	return container_of(s, struct fake, source);
}

static int fake_read(struct lazy_source *s, uint64_t first, unsigned int nr, char *to, unsigned int *right)
{
	struct fake *f = fake_of(s);
	uint64_t longest = atomic_load(&f->longest), word;

	atomic_fetch_add(&f->reads, 1);
	while (nr > longest && !atomic_compare_exchange_weak(&f->longest, &longest, nr))
		;
	if (f->delay_us)
		usleep((useconds_t)(word_of(first) % f->delay_us));
	for (unsigned int i = 0; i < nr; i++) {
		*right = i;
		if (first + i == f->bad)
			return -EBADMSG;
		word = word_of(first + i);
		for (unsigned int n = 0; n < PAGE_SIZE / sizeof(word); n++)
			memcpy(to + i * PAGE_SIZE + n * sizeof(word), &word, sizeof(word));
	}
	return 0;
}

static void fake_failed(struct lazy_source *s)
{
	atomic_store(&fake_of(s)->failed, true);
}

static enum lazy_trouble fake_trouble(struct lazy_source *s)
{
	struct fake *f = fake_of(s);
	int t = atomic_exchange(&f->trouble, LAZY_NO_TROUBLE);

	atomic_fetch_add(&f->nr_trouble, t != LAZY_NO_TROUBLE);
	return (enum lazy_trouble)t;
}

static void fake_release(struct lazy_source *s)
{
	atomic_store(&fake_of(s)->released, true);
}

static const struct lazy_source_ops ops = {.read = fake_read,
					   .failed = fake_failed,
					   .trouble = fake_trouble,
					   .release = fake_release};

static char *base;
static struct lazy *lazy;
static struct fake fake;

static void begin(unsigned int window_pages)
{
	const char *why = "";

	char *map =
		mmap(NULL, BYTES + BLOCK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(map, MAP_FAILED);
	base = (char *)(((uintptr_t)map + BLOCK_BYTES - 1) & ~(BLOCK_BYTES - 1));
	madvise(base, BYTES, MADV_HUGEPAGE);
	const struct lazy_setup setup = {.base = base, .bytes = BYTES, .window_pages = window_pages};
	if (lazy_create(&setup, &lazy, &why)) {
		print_message("# no userfaultfd: %s\n", why);
		skip();
	}
	memset(&fake, 0, sizeof(fake));
	fake.bad = NO_PAGE;
	lazy_source_init(lazy, &fake.source, &ops);
}

static struct lazy_stats stats(void)
{
	struct lazy_stats s;

	lazy_stats(lazy, &s);
	return s;
}

/* Who was waited for goes on before the last word about his block. */
static void wait_for_armed(uint64_t blocks)
{
	for (unsigned int i = 0; i < 60000 && stats().armed != blocks; i++)
		usleep(1000);
	assert_int_equal(stats().armed, blocks);
}

static void wait_for_pages(uint64_t pages)
{
	for (unsigned int i = 0; i < 60000 && stats().pages != pages; i++)
		usleep(1000);
	assert_int_equal(stats().pages, pages);
}

static void end(void)
{
	supply_put(&fake.source.supply);
	wait_for_armed(0);
	lazy_destroy(lazy);
	assert_true(atomic_load(&fake.released));
	munmap(base, BYTES);
}

static void arm(unsigned int blocks)
{
	for (unsigned int i = 0; i < blocks; i++)
		assert_int_equal(lazy_arm(&fake.source, base + i * BLOCK_BYTES, i * LAZY_BLOCK_PAGES), 0);
	assert_int_equal(stats().armed, blocks);
}

/* The sum of a page's words makes each of them count. */
static bool is_right(uint64_t page)
{
	uint64_t word, wanted = word_of(page);
	unsigned int same = 0;

	for (unsigned int i = 0; i < PAGE_SIZE / sizeof(word); i++) {
		memcpy(&word, base + page * PAGE_SIZE + i * sizeof(word), sizeof(word));
		same += word == wanted;
	}
	return same == PAGE_SIZE / sizeof(word);
}

static bool is_zero(uint64_t page)
{
	const char *at = base + page * PAGE_SIZE;

	return !at[0] && !memcmp(at, at + 1, PAGE_SIZE - 1);
}

/* --- cases --------------------------------------------------------------------------------------------- */

static void in_order(void **state)
{
	(void)state;
	begin(0);
	arm(BLOCKS);
	for (uint64_t i = 0; i < BLOCKS * LAZY_BLOCK_PAGES; i++)
		assert_true(is_right(i));
	wait_for_armed(0); /* what is whole is like any other memory */
	assert_int_equal(stats().pages, BLOCKS * LAZY_BLOCK_PAGES);
	assert_int_equal(stats().whole, BLOCKS - 1); /* all behind the first one at once */
	assert_int_equal(atomic_load(&fake.longest), LAZY_BLOCK_PAGES);
	end();
}

static void in_windows(void **state)
{
	(void)state;
	for (unsigned int pages = 1; pages <= LAZY_BLOCK_PAGES; pages *= 8) {
		begin(pages);
		arm(1);
		for (uint64_t i = LAZY_BLOCK_PAGES; i--;)
			assert_true(is_right(i));
		assert_int_equal(atomic_load(&fake.longest), pages);
		assert_int_equal(atomic_load(&fake.reads), LAZY_BLOCK_PAGES / pages);
		end();
	}
}

static void few_are_touched(void **state)
{
	(void)state;
	begin(0);
	arm(4);
	assert_true(is_right(3 * LAZY_BLOCK_PAGES + 40));
	wait_for_pages(16);
	base[2 * BLOCK_BYTES] = 1; /* a write comes behind what the page holds */
	assert_int_equal(base[2 * BLOCK_BYTES + 8], (char)word_of(2 * LAZY_BLOCK_PAGES));
	wait_for_pages(32);
	assert_int_equal(stats().armed, 4);
	end(); /* with blocks armed */
}

static void for_the_kernel(void **state)
{
	uint64_t word[2];
	int fds[2];

	(void)state;
	begin(0);
	arm(2);
	assert_int_equal(pipe(fds), 0);
	assert_int_equal(write(fds[1], base + BLOCK_BYTES - 8, 16), 16);
	assert_int_equal(read(fds[0], word, 16), 16);
	assert_int_equal(word[0], word_of(LAZY_BLOCK_PAGES - 1));
	assert_int_equal(word[1], word_of(LAZY_BLOCK_PAGES));
	close(fds[0]);
	close(fds[1]);
	end();
}

static void thrown_away(void **state)
{
	(void)state;
	begin(0);
	arm(3);
	assert_true(is_right(0));
	assert_int_equal(lazy_discard(lazy, base + 8 * PAGE_SIZE, 16 * PAGE_SIZE), 0); /* there, and not */
	assert_int_equal(lazy_discard(lazy, base + BLOCK_BYTES - PAGE_SIZE, BLOCK_BYTES + PAGE_SIZE), 0);
	assert_int_equal(stats().armed, 2); /* the second one is gone as a whole */
	for (uint64_t i = 0; i < LAZY_BLOCK_PAGES - 1; i++)
		assert_true(i >= 8 && i < 24 ? is_zero(i) : is_right(i));
	for (uint64_t i = LAZY_BLOCK_PAGES - 1; i < 2 * LAZY_BLOCK_PAGES; i++)
		assert_true(is_zero(i));
	assert_true(is_right(2 * LAZY_BLOCK_PAGES));
	end();
}

/* A word that others throw away and touch without an end. */
static void *touch_and_discard(void *arg)
{
	uint64_t rng = random_seed((uintptr_t)arg);
	uintptr_t mine = (uintptr_t)arg; /* pages of a block are shared out by their number */

	for (unsigned int i = 0; i < 400; i++) {
		uint64_t page = random_below(&rng, BLOCKS * LAZY_BLOCK_PAGES / 4) * 4 + mine;
		char *at = base + page * PAGE_SIZE;
		if (i % 4 == 0) {
			if (lazy_discard(lazy, at, PAGE_SIZE) || !is_zero(page))
				return arg;
			uint64_t word = word_of(page);
			for (unsigned int n = 0; n < PAGE_SIZE / sizeof(word); n++)
				memcpy(at + n * sizeof(word), &word, sizeof(word));
		} else if (!is_right(page)) {
			return arg;
		}
	}
	return NULL;
}

static void all_at_once(void **state)
{
	pthread_t thread[4];
	void *wrong;

	(void)state;
	begin(0);
	fake.delay_us = 300; /* answers overtake each other */
	arm(BLOCKS);
	for (uintptr_t i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, touch_and_discard, (void *)i), 0);
	for (unsigned int i = 0; i < 4; i++) {
		assert_int_equal(pthread_join(thread[i], &wrong), 0);
		assert_null(wrong);
	}
	end();
}

static void not_what_it_should_be(void **state)
{
	(void)state;
	begin(0);
	fake.bad = 37;
	arm(2);
	for (uint64_t i = 0; i < 37; i++)
		assert_true(is_right(i)); /* what is wrong is next to them */
	assert_true(is_right(38));
	assert_false(atomic_load(&fake.failed));
	assert_null(supply_cause(&fake.source.supply));
	assert_true(is_zero(37));
	assert_true(atomic_load(&fake.failed)); /* who waited was stopped first */
	assert_string_equal(supply_cause(&fake.source.supply), "a page of its image is not what was saved");
	assert_true(is_zero(LAZY_BLOCK_PAGES)); /* nobody is to use it any more */
	end();
}

static void answer_is_lost(void **state)
{
	(void)state;
	begin(0);
	arm(1);
	for (uint64_t i = 0; i < LAZY_BLOCK_PAGES; i += 3) {
		if (stats().armed)
			atomic_store(&fake.trouble, LAZY_DROP);
		assert_true(is_right(i));
	}
	assert_true(atomic_load(&fake.nr_trouble) >= 3);
	end();
}

static void *touch_one(void *arg)
{
	return *(volatile char *)arg ? arg : NULL;
}

static void handler_is_gone(void **state)
{
	pthread_t thread[3];
	void *seen;

	(void)state;
	begin(0);
	arm(4);
	assert_true(is_right(0));
	atomic_store(&fake.trouble, LAZY_DIE);
	for (unsigned int i = 0; i < 3; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, touch_one, base + (i + 1) * BLOCK_BYTES),
				 0);
	for (unsigned int i = 0; i < 3; i++)
		assert_int_equal(pthread_join(thread[i], &seen), 0); /* nobody hangs */
	assert_int_equal(atomic_load(&fake.nr_trouble), 1);
	assert_true(atomic_load(&fake.failed));
	assert_string_equal(supply_cause(&fake.source.supply), "the thread that brings its memory is gone");
	assert_true(is_right(0));
	assert_true(is_zero(100));
	wait_for_armed(0);
	assert_int_equal(lazy_arm(&fake.source, base, 0), -EIO);
	end();
}

#define CASE(title, function)                     \
	{                                         \
		title, function, NULL, NULL, NULL \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE("lazy: what is touched in order comes in whole blocks, and all of it is right "
		     "[K24][K27]",
		     in_order),
		CASE("lazy: windows of every size [K16]", in_windows),
		CASE("lazy: of what few touch little comes [K27]", few_are_touched),
		CASE("lazy: the kernel's touch is answered as ours [K3]", for_the_kernel),
		CASE("lazy: what was thrown away is zeroes and does not come back [K13]", thrown_away),
		CASE("lazy: many at once, answers out of order, memory thrown away between them [K24]",
		     all_at_once),
		CASE("lazy: who touches a page that is wrong is stopped before it is zeroes; its neighbours "
		     "are right "
		     "[K3]",
		     not_what_it_should_be),
		CASE("lazy: an answer that is lost is asked for again [K7]", answer_is_lost),
		CASE("lazy: nobody waits for a handler that is gone, and all learn why [K3]",
		     handler_is_gone),
	};

	return cmocka_run_group_tests_name("lazy", tests, NULL, NULL);
}
