/* SPDX-License-Identifier: MIT */
/* The lifetimes of a space: users, the structure, the account. */
#include "../sim/fixture.h"

#define A 0x10000000ull

static uint64_t live_spaces(struct fixture *x)
{
	struct kmem_info info;

	kmem_cache_info(&x->machine->host.mm_cache, &info);
	return info.active_objects;
}

static void last_user_empties(void **state)
{
	struct fixture *x = *state;
	struct mm *mm = mm_create(&x->machine->host, 100);

	assert_int_equal(mm->mm_users, 1);
	mmget(mm); /* a second thread */
	assert_int_equal(mm->mm_users, 2);
	assert_int_equal(mm->mm_count, 1);
	struct mmap_request r = {.address = A,
				 .length = PAGE_SIZE,
				 .prot = PROT_READ | PROT_WRITE,
				 .flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED};
	assert_int_equal(mm_mmap(mm, &r), A);
	mmput(mm);
	assert_int_equal(mm->vmas.nr, 1);
	assert_int_equal(mm->mm_count, 1);
	mmput(mm);
	assert_int_equal(live_spaces(x), 1);
}

static void borrower_keeps_the_structure(void **state)
{
	struct fixture *x = *state;
	struct mm *mm = mm_create(&x->machine->host, 100);

	mmgrab(mm);
	assert_true(mmget_not_zero(mm));
	mmput(mm);
	mmput(mm);
	assert_int_equal(mm->mm_users, 0);
	assert_int_equal(mm->mm_count, 1);
	assert_int_equal(mm->vmas.nr, 0);
	assert_false(mmget_not_zero(mm));
	assert_int_equal(live_spaces(x), 2);
	mmdrop(mm);
	assert_int_equal(live_spaces(x), 1);
}

static void account_is_shared(void **state)
{
	struct fixture *x = *state;
	struct mm *mm = mm_create_in(&x->machine->host, x->mm->memcg);

	assert_ptr_equal(mm->memcg, x->mm->memcg);
	assert_int_equal(x->mm->memcg->usage_pages, 2); /* both roots */
	mmput(mm);
	assert_int_equal(x->mm->memcg->usage_pages, 1);
}

static void no_memory(void **state)
{
	struct fixture *x = *state;
	struct frames *f = &x->machine->frames;

	f->fail_in = 1;
	assert_null(mm_create(&x->machine->host, 100));
	f->fail_in = 0;
	assert_null(mm_create(&x->machine->host, 0));
	assert_int_equal(live_spaces(x), 1);
}

#define T(name, fn)                                             \
	{                                                       \
		name, fn, fixture_setup, fixture_teardown, NULL \
	}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		T("mm: the last user empties the space [G9]", last_user_empties),
		T("mm: who grabbed the structure keeps it, empty, until the drop [G10]",
		  borrower_keeps_the_structure),
		T("mm: spaces made in one account pay together", account_is_shared),
		T("mm: a space that cannot be made leaves nothing behind", no_memory),
	};

	return cmocka_run_group_tests_name("mm", tests, NULL, NULL);
}
