/* SPDX-License-Identifier: MIT */
/* The order of locks, which builds with LODGE_DEBUG keep watch over: whoever breaks it stops there and then. */
#include "../../src/mm/anon_vma.h"
#include "../../src/mm/lock.h"
#include "../../src/mm/page_lock.h"
#include "../sim/fixture.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#ifdef LODGE_DEBUG

#define A  0x10000000ull
#define P  PAGE_SIZE
#define RW (PROT_READ | PROT_WRITE)

struct locks {
	struct fixture *x;
	struct mm *mm, *child;
	struct address_space *mapping;
	struct anon_vma *anon_vma;
	struct page *page;
};

static struct locks locks_of(struct fixture *x)
{
	fixture_map(x, A, 4, RW, MAP_FIXED);
	fixture_map(x, A + 0x10000, 4, RW, MAP_FIXED | MAP_SHARED);
	fixture_store(x, A, 1);
	struct locks l = {.x = x, .mm = x->mm};
	l.mapping = vma_find(&x->mm->vmas, A + 0x10000)->mapping;
	l.anon_vma = vma_anon_vma(vma_find(&x->mm->vmas, A));
	l.page = pfn_to_page(x->mm->frames, pte_pfn(fixture_pte(x, A)));
	assert_int_equal(mm_fork(x->mm, &l.child), 0);
	return l;
}

/* Does a process that does this stop where it takes a lock out of turn? */
static bool stops(struct locks *l, void (*does)(struct locks *l))
{
	int status;

	fflush(NULL);
	pid_t pid = fork();
	if (!pid) {
		signal(SIGILL, SIG_DFL); /* not the test program's, which would report it */
		does(l);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) ? WTERMSIG(status) == SIGILL : WEXITSTATUS(status) == 0);
	return WIFSIGNALED(status);
}

static void in_order(struct locks *l)
{
	mm_write_lock(l->mm);
	page_lock(l->page);
	pthread_mutex_lock(&l->mapping->i_mmap_lock);
	anon_vma_lock(l->anon_vma);
	pthread_mutex_lock(&l->mm->page_table_lock);
	lock_nested(&l->child->page_table_lock);
	pthread_mutex_lock(&l->mapping->lock);
	pthread_mutex_lock(&l->mm->frames->zone[ZONE_NORMAL].lock);
	if (locks_held() != (1u << LOCK_MMAP | 1u << LOCK_IMMAP | 1u << LOCK_ANON_VMA | 1u << LOCK_PTL |
			     1u << LOCK_CACHE | 1u << LOCK_ZONE))
		_exit(1);
	pthread_mutex_unlock(&l->mm->frames->zone[ZONE_NORMAL].lock);
	pthread_mutex_unlock(&l->mapping->lock);
	pthread_mutex_unlock(&l->child->page_table_lock);
	pthread_mutex_unlock(&l->mm->page_table_lock);
	anon_vma_unlock(l->anon_vma);
	pthread_mutex_unlock(&l->mapping->i_mmap_lock);
	page_unlock(l->page);
	mm_write_unlock(l->mm);
	if (locks_held())
		_exit(1);
}

static void tree_inside_tables(struct locks *l)
{
	pthread_mutex_lock(&l->mm->page_table_lock);
	anon_vma_lock(l->anon_vma);
}

static void file_inside_family(struct locks *l)
{
	anon_vma_lock(l->anon_vma);
	pthread_mutex_lock(&l->mapping->i_mmap_lock);
}

static void page_inside_tables(struct locks *l)
{
	pthread_mutex_lock(&l->mm->page_table_lock);
	page_lock(l->page);
}

static void wait_inside_cache(struct locks *l)
{
	pthread_mutex_lock(&l->mapping->lock);
	page_wait_unlocked(l->page);
}

static void two_tables(struct locks *l)
{
	pthread_mutex_lock(&l->child->page_table_lock);
	pthread_mutex_lock(&l->mm->page_table_lock);
}

static void tables_inside_cache(struct locks *l)
{
	pthread_mutex_lock(&l->mapping->lock);
	pthread_mutex_lock(&l->mm->page_table_lock);
}

static void cache_inside_zone(struct locks *l)
{
	pthread_mutex_lock(&l->mm->frames->zone[ZONE_NORMAL].lock);
	pthread_mutex_lock(&l->mapping->lock);
}

static void space_inside_tables(struct locks *l)
{
	pthread_mutex_lock(&l->mm->page_table_lock);
	mm_read_lock(l->mm);
}

static void released_twice(struct locks *l)
{
	pthread_mutex_unlock(&l->mm->page_table_lock);
}

/* One that is tried for cannot be waited for. */
static void tried_out_of_turn(struct locks *l)
{
	pthread_mutex_lock(&l->mm->page_table_lock);
	if (pthread_mutex_trylock(&l->mapping->i_mmap_lock) || !page_trylock(l->page))
		_exit(1);
	page_unlock(l->page);
	pthread_mutex_unlock(&l->mapping->i_mmap_lock);
	pthread_mutex_unlock(&l->mm->page_table_lock);
}

static void order_is_watched(void **state)
{
	static void (*const wrong[])(struct locks *
				     l) = {tree_inside_tables, file_inside_family,  page_inside_tables,
					   wait_inside_cache,  two_tables,	    tables_inside_cache,
					   cache_inside_zone,  space_inside_tables, released_twice};
	struct locks l = locks_of(*state);

	assert_false(stops(&l, in_order));
	assert_false(stops(&l, tried_out_of_turn));
	for (unsigned int i = 0; i < ARRAY_SIZE(wrong); i++)
		assert_true(stops(&l, wrong[i]));
	mmput(l.child);
}

#else

static void order_is_watched(void **state)
{
	(void)state;
	skip(); /* only debug builds do */
}

#endif

int main(void)
{
	static const struct CMUnitTest tests[] = {
		{"lock: whoever waits for a lock out of turn is stopped", order_is_watched, fixture_setup,
		 fixture_teardown, NULL},
	};

	return cmocka_run_group_tests_name("lock_rank", tests, NULL, NULL);
}
