/* SPDX-License-Identifier: MIT */
/* The guest's memory from outside: copies stop where the guest's own access would, and pins keep frames. */
#include "../sim/fixture.h"

#define A  0x10000000ull
#define P  PAGE_SIZE
#define RW (PROT_READ | PROT_WRITE)

static void ranges(void **state)
{
	(void)state;
	assert_true(access_ok(0, 0));
	assert_true(access_ok(A, P));
	assert_true(access_ok(TASK_SIZE - 1, 1));
	assert_false(access_ok(TASK_SIZE - 1, 2));
	assert_false(access_ok(TASK_SIZE, 1));
	assert_false(access_ok(0xffff800000000000, 1));
	assert_false(access_ok(A, ~0ull));
	assert_false(access_ok(~0ull, 2));
	assert_false(access_ok(1, TASK_SIZE));
	assert_true(access_ok(0, TASK_SIZE));
}

static void kernel_addresses(void **state)
{
	struct fixture *x = *state;
	char buffer[16];

	assert_int_equal(copy_from_user(x->mm, buffer, 0xffff800000000000, 16), 16);
	assert_int_equal(copy_to_user(x->mm, 0xffff800000000000, buffer, 16), 16);
	assert_int_equal(copy_to_user(x->mm, ~0ull - 4, buffer, 16), 16);
	assert_int_equal(clear_user(x->mm, TASK_SIZE, 16), 16);
	assert_int_equal(strncpy_from_user(x->mm, buffer, 0xffff800000000000, 16), -EFAULT);
}

static void remainders(void **state)
{
	struct fixture *x = *state;
	static char buffer[4 * 4096], back[4 * 4096];

	for (unsigned int i = 0; i < sizeof(buffer); i++)
		buffer[i] = (char)(i * 7);
	fixture_map(x, A, 2, RW, MAP_FIXED);
	assert_int_equal(copy_to_user(x->mm, A + 100, buffer, 2 * P - 100), 0);
	assert_int_equal(copy_to_user(x->mm, A + 100, buffer, 2 * P), 100);
	assert_int_equal(copy_to_user(x->mm, A + 2 * P - 5, buffer, 12), 7);
	assert_int_equal(copy_from_user(x->mm, back, A + 2 * P - 5, 12), 7);
	assert_memory_equal(back, buffer, 5);
	assert_int_equal(copy_from_user(x->mm, back, A + 2 * P, 12), 12);
	assert_int_equal(copy_from_user(x->mm, back, A - 1, 12), 12);
	assert_int_equal(clear_user(x->mm, A + P, 2 * P), P);
	assert_int_equal(copy_from_user(x->mm, back, A + P, P), 0);
	for (unsigned int i = 0; i < P; i++)
		assert_int_equal(back[i], 0);
	assert_int_equal(copy_from_user(x->mm, back, A + 100, P - 100), 0);
	assert_memory_equal(back, buffer, P - 100);
	assert_int_equal(copy_from_user(x->mm, back, 0, 0), 0);
}

static void faults_in(void **state)
{
	struct fixture *x = *state;
	uint64_t word = 0;

	fixture_map(x, A, 4, RW, MAP_FIXED);
	assert_int_equal(copy_from_user(x->mm, &word, A, 8), 0);
	assert_int_equal(word, 0);
	assert_int_equal(mm_rss_pages(x->mm), 0);
	word = 42;
	assert_int_equal(copy_to_user(x->mm, A, &word, 8), 0);
	assert_int_equal(mm_rss_pages(x->mm), 1);
	assert_int_equal(fixture_load(x, A), 42);
	fixture_store(x, A + 8, 43);
	assert_int_equal(copy_from_user(x->mm, &word, A + 8, 8), 0);
	assert_int_equal(word, 43);
	assert_mm_sound(x->mm);
}

static void protections(void **state)
{
	struct fixture *x = *state;
	uint64_t word = 7;

	fixture_map(x, A, 1, PROT_READ, MAP_FIXED);
	assert_int_equal(copy_to_user(x->mm, A, &word, 8), 8);
	assert_int_equal(copy_from_user(x->mm, &word, A, 8), 0);
	assert_int_equal(mm_mprotect(x->mm, A, P, RW), 0);
	fixture_store(x, A, 9);
	assert_int_equal(mm_mprotect(x->mm, A, P, PROT_NONE), 0);
	assert_int_equal(copy_from_user(x->mm, &word, A, 8), 8);
	assert_int_equal(copy_to_user(x->mm, A, &word, 8), 8);
	assert_int_equal(mm_mprotect(x->mm, A, P, PROT_READ), 0);
	assert_int_equal(copy_from_user(x->mm, &word, A, 8), 0);
	assert_int_equal(word, 9);
}

/* A copy into a private file page must not change the file's page. */
static void copy_breaks_sharing(void **state)
{
	struct fixture *x = *state;
	static struct sim_file file;
	uint64_t word = 1;

	sim_file_init(&file, x->machine, P);
	fixture_map_file(x, &file, A, 1, 0, RW, MAP_PRIVATE | MAP_FIXED);
	fixture_map_file(x, &file, A + P, 1, 0, PROT_READ, MAP_SHARED | MAP_FIXED);
	assert_int_equal(fixture_load(x, A), sim_file_word(0));
	assert_int_equal(copy_to_user(x->mm, A, &word, 8), 0);
	assert_int_equal(fixture_load(x, A), 1);
	assert_int_equal(fixture_load(x, A + P), sim_file_word(0));
	assert_int_equal(copy_to_user(x->mm, A + P, &word, 8), 8);
	mm_munmap(x->mm, A, 2 * P);
	backing_put(&file.backing);
}

/* Where nothing was ever touched, and where nobody may look: the entries stay as the area says. */
static void debugger(void **state)
{
	struct fixture *x = *state;
	static struct sim_file file;
	uint64_t word = 7;

	sim_file_init(&file, x->machine, 2 * P);
	fixture_map(x, A, 3, PROT_NONE, MAP_FIXED);
	fixture_map_file(x, &file, A + 4 * P, 1, 0, PROT_NONE, MAP_PRIVATE | MAP_FIXED);
	fixture_map_file(x, &file, A + 5 * P, 1, 0, PROT_READ, MAP_SHARED | MAP_FIXED);
	assert_int_equal(read_process_memory(x->mm, &word, A, 8), 8);
	assert_int_equal(word, 0);
	for (gva_t at = A; at < A + 6 * P; at += P) {
		word = at;
		assert_int_equal(write_process_memory(x->mm, at, &word, 8),
				 at < A + 3 * P || at == A + 4 * P ? 8 : 0);
	}
	for (gva_t at = A; at < A + 3 * P; at += P) {
		assert_int_equal(read_process_memory(x->mm, &word, at, 8), 8);
		assert_int_equal(word, at);
		assert_false(fixture_pte(x, at) & PTE_PRESENT);
	}
	assert_int_equal(read_process_memory(x->mm, &word, A + 3 * P - 3, 8), 3);
	assert_int_equal(copy_from_user(x->mm, &word, A, 8), 8);
	assert_int_equal(read_process_memory(x->mm, &word, A + 4 * P, 8), 8);
	assert_int_equal(word, A + 4 * P);
	assert_int_equal(read_process_memory(x->mm, &word, A + 5 * P, 8), 8);
	assert_int_equal(word, sim_file_word(0));
	assert_int_equal(mm_mprotect(x->mm, A, 3 * P, RW), 0);
	assert_int_equal(fixture_load(x, A + P), A + P);
	mm_munmap(x->mm, A, 6 * P);
	backing_put(&file.backing);
}

static void strings(void **state)
{
	struct fixture *x = *state;
	char buffer[64];

	fixture_map(x, A, 1, RW, MAP_FIXED);
	assert_int_equal(copy_to_user(x->mm, A + P - 6, "lodge", 6), 0);
	assert_int_equal(strncpy_from_user(x->mm, buffer, A + P - 6, sizeof(buffer)), 5);
	assert_string_equal(buffer, "lodge");
	assert_int_equal(strncpy_from_user(x->mm, buffer, A + P - 6, 5), -ENAMETOOLONG);
	assert_int_equal(strncpy_from_user(x->mm, buffer, A + P - 6, 6), 5);
	assert_int_equal(copy_to_user(x->mm, A + P - 6, "abcdef", 6), 0);
	assert_int_equal(strncpy_from_user(x->mm, buffer, A + P - 6, sizeof(buffer)), -EFAULT);
	assert_int_equal(strncpy_from_user(x->mm, buffer, A, sizeof(buffer)), 0);
}

static void pinned_pages(void **state)
{
	struct fixture *x = *state;
	struct page *page[4];
	uint64_t before;

	fixture_map(x, A, 3, RW, MAP_FIXED);
	assert_int_equal(get_user_pages(x->mm, A, 4, true, page), 3);
	assert_int_equal(mm_rss_pages(x->mm), 3);
	*(uint64_t *)page_address(&x->machine->frames, page[1]) = 5;
	assert_int_equal(fixture_load(x, A + P), 5);
	before = frames_leaked(&x->machine->frames);
	assert_int_equal(mm_munmap(x->mm, A, 3 * P), 0);
	for (unsigned int i = 0; i < 3; i++) {
		assert_int_equal(page[i]->refs, 1);
		assert_int_equal(page[i]->mapcount, 0);
	}
	assert_int_equal(*(uint64_t *)page_address(&x->machine->frames, page[1]), 5);
	for (unsigned int i = 0; i < 3; i++)
		page_put(&x->machine->frames, page[i]);
	assert_true(frames_leaked(&x->machine->frames) <= before - 3);
	assert_int_equal(get_user_pages(x->mm, A, 1, false, page), -EFAULT);
	assert_int_equal(get_user_pages(x->mm, TASK_SIZE - P, 2, false, page), -EFAULT);
}

static void pins(void **state)
{
	struct fixture *x = *state;
	struct iovec guest[3] = {
		{(void *)(A + 10), 100},
		{(void *)(A + 200), P},
		{(void *)(A + 4 * P - 8), 16}, /* ends beyond the area */
	};
	struct user_pin pin;
	size_t sum = 0;

	fixture_map(x, A, 4, RW, MAP_FIXED);
	for (unsigned int i = 0; i < 4; i++)
		fixture_store(x, A + i * P, 100 + i);
	assert_int_equal(user_pin(x->mm, guest, 3, 50, false, &pin), 0);
	assert_int_equal(pin.bytes, 50 + P + 8);
	for (unsigned int i = 0; i < pin.nr_iov; i++)
		sum += pin.iov[i].iov_len;
	assert_int_equal(sum, pin.bytes);
	user_pin_release(x->mm, &pin);
	assert_int_equal(user_pin(x->mm, guest, 3, 100 + P + 8, true, &pin), -EFAULT);
	assert_int_equal(user_pin(x->mm, guest, 3, 100 + P + 16, true, &pin), 0);
	assert_int_equal(pin.bytes, 0);
	user_pin_release(x->mm, &pin);
	assert_int_equal(user_pin(x->mm, guest, 0, 0, true, &pin), 0);
	user_pin_release(x->mm, &pin);
	guest[0] = (struct iovec){(void *)A, ~0ul};
	assert_int_equal(user_pin(x->mm, guest, 1, 0, true, &pin), -EFAULT);
	assert_mm_sound(x->mm);
}

static void pin_stops_at_its_limit(void **state)
{
	struct fixture *x = *state;
	struct iovec guest = {(void *)A, (USER_PIN_MAX_PAGES + 100) * P};
	struct user_pin pin;
	uint64_t sum = 0;

	x->mm->fault_around_pages = 512;
	fixture_map(x, A, USER_PIN_MAX_PAGES + 100, RW, MAP_FIXED);
	assert_int_equal(user_pin(x->mm, &guest, 1, 0, true, &pin), 0);
	assert_int_equal(pin.bytes, USER_PIN_MAX_PAGES * P);
	assert_true(pin.nr_iov < USER_PIN_MAX_PAGES); /* neighbours are joined */
	for (unsigned int i = 0; i < pin.nr_iov; i++)
		memset(pin.iov[i].iov_base, 0x11, pin.iov[i].iov_len);
	for (unsigned int i = 0; i < USER_PIN_MAX_PAGES + 100; i++)
		sum += fixture_load(x, A + i * P) == 0x1111111111111111;
	assert_int_equal(sum, USER_PIN_MAX_PAGES);
	user_pin_release(x->mm, &pin);
	assert_mm_sound(x->mm);
}

static void grows_the_stack(void **state)
{
	struct fixture *x = *state;
	uint64_t word = 1;

	fixture_map(x, 0x20000000 - 4 * P, 4, RW, MAP_FIXED | MAP_GROWSDOWN);
	assert_int_equal(copy_to_user(x->mm, 0x20000000 - 6 * P, &word, 8), 0);
	assert_int_equal(fixture_load(x, 0x20000000 - 6 * P), 1);
	assert_mm_sound(x->mm);
}

#define T(name, fn)                                             \
	{                                                       \
		name, fn, fixture_setup, fixture_teardown, NULL \
	}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		T("uaccess: access_ok knows the user half, without wrapping [P2]", ranges),
		T("uaccess: kernel addresses copy nothing [P2]", kernel_addresses),
		T("uaccess: copies return what was not copied, up to the last byte [P3]", remainders),
		T("uaccess: a missing page is faulted in as the guest's own access would [P4]", faults_in),
		T("uaccess: copies respect the protection of the area [P3 P4]", protections),
		T("uaccess: a copy into a private file page leaves the file alone [P4]", copy_breaks_sharing),
		T("uaccess: a debugger reads and writes whatever the protection [P5]", debugger),
		T("uaccess: strings end at NUL, at the limit, or at a hole", strings),
		T("uaccess: a pinned page outlives its mapping and returns when put [P5 P6]", pinned_pages),
		T("uaccess: user_pin takes several buffers, skips, and stops at a hole", pins),
		T("uaccess: user_pin stops at its page limit and joins neighbours", pin_stops_at_its_limit),
		T("uaccess: a copy below the stack grows it", grows_the_stack),
	};

	return cmocka_run_group_tests_name("uaccess", tests, NULL, NULL);
}
