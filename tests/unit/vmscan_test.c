/* SPDX-License-Identifier: MIT */
/* Which pages go when an account is full: ages, the hand, clean and dirty, shared and locked. */
#include "../../src/mm/ageing.h"
#include "../../src/mm/evict.h"
#include "../../src/mm/kswapd.h"
#include "../../src/mm/reclaim.h"
#include "../../src/mm/vmscan.h"
#include "../../src/mm/vmstat.h"
#include "../../src/mm/watermark.h"
#include "../../src/mm/workingset.h"
#include "../sim/disk.h"
#include "../sim/sim_swap.h"

#define A  0x10000000ull
#define B  0x20000000ull
#define P  PAGE_SIZE
#define RW (PROT_READ | PROT_WRITE)

struct scene {
	struct fixture *x;
	struct sim_disk *disk;
};

static int setup_kind(void **state, enum sim_kind kind)
{
	const struct sim_config config = {.kind = kind, .cpus = 2};
	struct scene *s = calloc(1, sizeof(*s));

	s->x = fixture_new(&config);
	s->disk = s->x ? sim_disk_new(s->x->machine, 256 * P) : NULL;
	*state = s;
	return s->disk ? 0 : -1;
}

static int setup(void **state)
{
	return setup_kind(state, SIM_TLB);
}

static int setup_shadow(void **state)
{
	return setup_kind(state, SIM_SHADOW);
}

static int teardown(void **state)
{
	struct scene *s = *state;
	unsigned int bad = filemap_check(&s->disk->backing.cache);

	mm_munmap(s->x->mm, 0x10000, TASK_SIZE - 0x10000);
	backing_put(&s->disk->backing);
	bad += s->disk->releases != 1;
	bad += fixture_free(s->x) != 0;
	sim_disk_free(s->disk);
	free(s);
	return bad ? -1 : 0;
}

static struct mm_host *host_of(struct scene *s)
{
	return &s->x->machine->host;
}

static struct memcg *account_of(struct scene *s)
{
	return s->x->mm->memcg;
}

static void limit(struct scene *s, uint64_t more)
{
	account_of(s)->max_pages = account_of(s)->usage_pages + more;
}

static void map_file(struct scene *s, gva_t at, uint64_t pages, unsigned int prot)
{
	fixture_map_disk(s->x, s->disk, at, pages, 0, prot, MAP_SHARED | MAP_FIXED);
}

static void load_pages(struct scene *s, gva_t at, uint64_t pages)
{
	for (uint64_t i = 0; i < pages; i++)
		fixture_load(s->x, at + i * P);
}

static struct page *page_at(struct scene *s, gva_t address)
{
	return pfn_to_page(s->x->mm->frames, pte_pfn(fixture_pte(s->x, address)));
}

static unsigned int age_of(struct scene *s, gva_t address)
{
	return page_age(page_at(s, address), account_of(s));
}

static unsigned int idle_of(struct scene *s, gva_t address)
{
	return page_idle(page_at(s, address), account_of(s));
}

static uint64_t nr_mapped(struct scene *s, gva_t at, uint64_t pages)
{
	uint64_t nr = 0;

	for (uint64_t i = 0; i < pages; i++)
		nr += pte_present(fixture_pte(s->x, at + i * P));
	return nr;
}

static uint64_t end_epoch(struct scene *s)
{
	return ageing_close(host_of(s), account_of(s));
}

/* One turn for pages of files; returns how many went. */
static uint64_t turn(struct scene *s, unsigned int min_age, unsigned int wanted)
{
	struct evict e = {.host = host_of(s),
			  .cg = account_of(s),
			  .type = RECLAIM_FILE,
			  .min_age = min_age,
			  .wanted = wanted};

	pthread_mutex_lock(&account_of(s)->ageing.lock);
	evict_turn(&e);
	pthread_mutex_unlock(&account_of(s)->ageing.lock);
	return e.nr_freed;
}

/* --- ages ------------------------------------------------------------------------------------------------------------ */

static void pages_grow_older_unless_used(void **state)
{
	struct scene *s = *state;

	fixture_map(s->x, A, 8, RW, MAP_FIXED);
	for (uint64_t i = 0; i < 8; i++)
		fixture_store(s->x, A + i * P, i);
	for (uint64_t i = 0; i < 8; i++)
		assert_int_equal(age_of(s, A + i * P), 0);
	assert_int_equal(end_epoch(s), 8);
	for (unsigned int epoch = 1; epoch < 4; epoch++) {
		assert_int_equal(idle_of(s, A), 1);
		assert_int_equal(age_of(s, A + 7 * P), epoch);
		fixture_load(s->x, A);
		assert_int_equal(end_epoch(s), 1); /* the processor was made to forget, so it told again */
	}
	assert_mm_sound(s->x->mm);
}

/* Each epoch that a page was used in, of late, spares it for two; what was used once, and without end, is as old as it is idle. */
static void uses_make_younger(void **state)
{
	struct scene *s = *state;

	map_file(s, A, 64, PROT_READ);
	load_pages(s, A, 64);
	for (unsigned int epoch = 0; epoch < 5; epoch++) {
		end_epoch(s);
		load_pages(s, A, 32);
	}
	for (unsigned int idle = 1; idle < 12; idle++) {
		end_epoch(s);
		assert_int_equal(idle_of(s, A), idle);
		assert_int_equal(age_of(s, A), idle < 6 ? 0 : idle - 6);
		assert_int_equal(age_of(s, A + 63 * P), 5 + idle);
	}
	fixture_load(s->x, A); /* so long without cost it all of them but the new one */
	end_epoch(s);
	assert_int_equal(page_uses(page_at(s, A)), 1);
	assert_mm_sound(s->x->mm);
}

/* What was used often stays while there is something else, and no longer. */
static void often_used_goes_last(void **state)
{
	struct scene *s = *state;

	map_file(s, A, 64, PROT_READ);
	load_pages(s, A, 32);
	for (unsigned int epoch = 0; epoch < 5; epoch++) {
		end_epoch(s);
		load_pages(s, A, 32);
	}
	load_pages(s, A + 32 * P, 32);
	end_epoch(s);
	end_epoch(s);
	assert_int_equal(turn(s, 1, 64), 32);
	assert_int_equal(nr_mapped(s, A, 32), 32);
	assert_int_equal(nr_mapped(s, A + 32 * P, 32), 0);
	assert_in_range(memcg_reclaim(host_of(s), account_of(s), 8, 0), 8, 32);
	assert_in_range(nr_mapped(s, A, 32), 0, 24);
	assert_mm_sound(s->x->mm);
}

static void blocks_have_one_age(void **state)
{
	struct scene *s = *state;

	s->x->mm->fault_around_pages = 512;
	fixture_map(s->x, A, 1024, RW, MAP_FIXED);
	assert_int_equal(mm_madvise(s->x->mm, A, 1024 * P, MADV_HUGEPAGE), 0);
	fixture_store(s->x, A, 1);
	fixture_store(s->x, A + 512 * P, 1);
	end_epoch(s);
	fixture_load(s->x, A + 700 * P);
	assert_int_equal(end_epoch(s), 512);
	assert_mm_sound(s->x->mm);
}

static void an_epoch_goes_round_all_spaces(void **state)
{
	struct scene *s = *state;
	struct mm *other = mm_create_in(host_of(s), account_of(s));
	struct mm *stranger = mm_create(host_of(s), 1000);
	const struct mmap_request r = {.address = A,
				       .length = 4 * P,
				       .prot = RW,
				       .flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED};

	assert_int_equal(mm_mmap(other, &r), A);
	assert_int_equal(mm_mmap(stranger, &r), A);
	assert_int_equal(mm_populate(other, A, 4 * P), 0);
	assert_int_equal(mm_populate(stranger, A, 4 * P), 0);
	fixture_map(s->x, A, 2, RW, MAP_FIXED);
	fixture_store(s->x, A, 1);
	assert_int_equal(end_epoch(s), 5);
	assert_int_equal(end_epoch(s), 0);
	mmput(other);
	mmput(stranger);
}

/* --- eviction -------------------------------------------------------------------------------------------------------- */

static void old_pages_go_used_ones_stay(void **state)
{
	struct scene *s = *state;

	map_file(s, A, 128, PROT_READ);
	load_pages(s, A, 128);
	end_epoch(s);
	load_pages(s, A + 32 * P, 32);
	assert_int_equal(turn(s, 2, 512), 0);
	assert_int_equal(turn(s, 1, 512), 96);
	assert_int_equal(nr_mapped(s, A + 32 * P, 32), 32);
	assert_int_equal(nr_mapped(s, A, 128), 32);
	assert_int_equal(filemap_nr_pages(&s->disk->backing.cache), 32);
	assert_mm_sound(s->x->mm);
}

static void the_oldest_go_first(void **state)
{
	struct scene *s = *state;

	map_file(s, A, 96, PROT_READ);
	load_pages(s, A, 96);
	end_epoch(s);
	load_pages(s, A, 64);
	end_epoch(s);
	load_pages(s, A, 32);
	end_epoch(s);
	account_of(s)->ageing.hand[RECLAIM_FILE].age = 8;
	assert_int_equal(memcg_reclaim(host_of(s), account_of(s), 32, 0), 32);
	assert_int_equal(nr_mapped(s, A + 64 * P, 32), 0);
	assert_int_equal(memcg_reclaim(host_of(s), account_of(s), 32, 0), 32);
	assert_int_equal(nr_mapped(s, A + 32 * P, 32), 0);
	assert_int_equal(nr_mapped(s, A, 32), 32);
}

static void the_hand_goes_on_where_it_was(void **state)
{
	struct scene *s = *state;
	uint64_t revokes;

	map_file(s, A, 128, PROT_READ);
	load_pages(s, A, 128);
	end_epoch(s);
	revokes = s->x->mm->nr_revokes;
	assert_int_equal(turn(s, 1, 50), 50);
	assert_int_equal(s->x->mm->nr_revokes - revokes, 1); /* for all of them */
	assert_int_equal(nr_mapped(s, A, 50), 0);
	assert_int_equal(turn(s, 1, 50), 50);
	assert_int_equal(nr_mapped(s, A, 100), 0);
	load_pages(s, A, 10);
	end_epoch(s);
	assert_int_equal(turn(s, 1, 30), 30); /* round the end */
	assert_int_equal(nr_mapped(s, A + 100 * P, 28), 0);
	assert_int_equal(nr_mapped(s, A, 10), 8);
}

static void clean_pages_are_dropped_dirty_ones_written_once(void **state)
{
	struct scene *s = *state;

	map_file(s, A, 64, RW);
	load_pages(s, A, 64);
	for (uint64_t i = 16; i < 40; i++)
		fixture_store(s->x, A + i * P + 8, i);
	end_epoch(s);
	assert_int_equal(turn(s, 1, 512), 64);
	assert_int_equal(s->disk->written_bytes, 24 * P);
	assert_int_equal(s->disk->writes, 1);
	for (uint64_t i = 16; i < 40; i++)
		assert_int_equal(fixture_load(s->x, A + i * P + 8), i);
	assert_mm_sound(s->x->mm);
}

static void what_cannot_be_written_stays(void **state)
{
	struct scene *s = *state;

	map_file(s, A, 4, RW);
	load_pages(s, A, 4);
	fixture_store(s->x, A + P, 5);
	end_epoch(s);
	s->disk->write_error = -5;
	assert_int_equal(turn(s, 1, 512), 3);
	assert_int_equal(fixture_load(s->x, A + P), 5);
	s->disk->write_error = 0;
	assert_mm_sound(s->x->mm);
}

/* A page that two spaces map is in use when either uses it. */
static void all_who_map_a_page_are_asked(void **state)
{
	struct scene *s = *state;
	struct mm *child = NULL;

	map_file(s, A, 64, PROT_READ);
	load_pages(s, A, 64);
	assert_int_equal(mm_fork(s->x->mm, &child), 0);
	sim_cpu_load(&s->x->machine->cpu[1], child);
	for (uint64_t i = 0, word; i < 64; i++)
		assert_int_equal(sim_load(&s->x->machine->cpu[1], A + i * P, &word, 8).signo, 0);
	end_epoch(s);
	for (uint64_t i = 0, word; i < 16; i++)
		assert_int_equal(sim_load(&s->x->machine->cpu[1], A + i * P, &word, 8).signo, 0);
	assert_int_equal(turn(s, 1, 512), 48);
	assert_int_equal(nr_mapped(s, A, 64), 16);
	assert_mm_sound(child);
	sim_cpu_load(&s->x->machine->cpu[1], NULL);
	mmput(child);
}

static void locked_and_pinned_pages_stay(void **state)
{
	struct scene *s = *state;

	map_file(s, A, 32, PROT_READ);
	map_file(s, B, 64, PROT_READ);
	load_pages(s, B, 64);
	assert_int_equal(mm_mlock(s->x->mm, A, 32 * P, 0), 0);
	struct page *pin = filemap_find(&s->disk->backing.cache, 40);
	end_epoch(s);
	assert_int_equal(turn(s, 1, 512), 31);
	assert_int_equal(nr_mapped(s, A, 32), 32);
	assert_ptr_equal(page_mapping(pin), &s->disk->backing.cache);
	page_put(s->x->mm->frames, pin);
}

/* While somebody changes the areas of a space its pages are asked for by the reverse map. */
static void a_space_whose_areas_change_gives_as_well(void **state)
{
	struct scene *s = *state;

	map_file(s, A, 32, PROT_READ);
	load_pages(s, A, 32);
	end_epoch(s);
	pthread_rwlock_wrlock(&s->x->mm->mmap_lock);
	assert_int_equal(turn(s, 1, 512), 32);
	pthread_rwlock_unlock(&s->x->mm->mmap_lock);
	assert_mm_sound(s->x->mm);
}

/* --- what is not needed soon ------------------------------------------------------------------------------------------ */

static void store_pages(struct scene *s, gva_t at, uint64_t pages)
{
	for (uint64_t i = 0; i < pages; i++)
		fixture_store(s->x, at + i * P, i + 1);
}

static void freed_pages_vanish_unless_written_again(void **state)
{
	struct scene *s = *state;

	map_file(s, A, 32, PROT_READ);
	load_pages(s, A, 32);
	fixture_map(s->x, B, 64, RW, MAP_FIXED);
	store_pages(s, B, 64);
	assert_int_equal(mm_madvise(s->x->mm, B, 48 * P, MADV_FREE), 0);
	for (uint64_t i = 0; i < 48; i++)
		assert_int_equal(fixture_load(s->x, B + i * P), i + 1);
	store_pages(s, B, 16);
	assert_int_equal(memcg_reclaim(host_of(s), account_of(s), 32, 0), 32);
	assert_int_equal(nr_mapped(s, A, 32), 32); /* before files give anything */
	for (uint64_t i = 0; i < 64; i++)
		assert_int_equal(fixture_load(s->x, B + i * P), i >= 16 && i < 48 ? 0 : i + 1);
	assert_int_equal(account_of(s)->ageing.nr_lazyfree, 16);
	assert_int_equal(vmstat_event(s->x->mm->frames, PGLAZYFREED), 32);
	assert_mm_sound(s->x->mm);
}

/* Who was forked meanwhile, or holds a page, or wrote to it from outside, has not given it up. */
static void freed_pages_of_others_stay(void **state)
{
	struct scene *s = *state;
	uint64_t word = 77;
	struct page *page[1];
	struct mm *child;

	fixture_map(s->x, B, 512, RW, MAP_FIXED);
	store_pages(s, B, 4);
	fixture_map(s->x, A, 4, RW, MAP_FIXED);
	store_pages(s, A, 4);
	mm_madvise(s->x->mm, A, 4 * P, MADV_FREE);
	assert_int_equal(copy_to_user(s->x->mm, A + P, &word, 8), 0);
	assert_int_equal(get_user_pages(s->x->mm, A + 2 * P, 1, 0, page), 1);
	assert_int_equal(memcg_reclaim(host_of(s), account_of(s), 100, 0), 2);
	put_user_pages(s->x->mm, 1, page);
	assert_int_equal(fixture_load(s->x, A), 0);
	assert_int_equal(fixture_load(s->x, A + P), 77);
	assert_int_equal(fixture_load(s->x, A + 2 * P), 3);
	mm_madvise(s->x->mm, B, 4 * P, MADV_FREE);
	assert_int_equal(mm_fork(s->x->mm, &child), 0);
	memcg_reclaim(host_of(s), account_of(s), 100, 0);
	for (uint64_t i = 0; i < 4; i++)
		assert_int_equal(fixture_load(s->x, B + i * P), i + 1);
	mmput(child);
	assert_mm_sound(s->x->mm);
}

static void cold_pages_go_before_others(void **state)
{
	struct scene *s = *state;

	map_file(s, A, 64, PROT_READ);
	load_pages(s, A, 64);
	assert_int_equal(mm_madvise(s->x->mm, A + 20 * P, 10 * P, MADV_COLD), 0);
	assert_int_equal(memcg_reclaim(host_of(s), account_of(s), 10, 0), 10);
	assert_int_equal(nr_mapped(s, A + 20 * P, 10), 0);
	assert_int_equal(nr_mapped(s, A, 64), 54);
}

static void pages_are_sent_out_at_once(void **state)
{
	struct scene *s = *state;
	struct page *page;

	map_file(s, A, 64, RW);
	load_pages(s, A, 64);
	fixture_store(s->x, A + 12 * P, 5);
	page = filemap_find(&s->disk->backing.cache, 15);
	assert_int_equal(mm_madvise(s->x->mm, A + 10 * P, 10 * P, MADV_PAGEOUT), 0);
	page_put(s->x->mm->frames, page);
	assert_int_equal(nr_mapped(s, A, 64), 55);
	assert_int_equal(filemap_nr_pages(&s->disk->backing.cache), 55);
	assert_int_equal(fixture_load(s->x, A + 12 * P), 5);
	assert_int_equal(mm_mlock(s->x->mm, A, P, 0), 0);
	assert_int_equal(mm_madvise(s->x->mm, A, P, MADV_PAGEOUT), -EINVAL);
	assert_mm_sound(s->x->mm);
}

/* --- an account that is full ----------------------------------------------------------------------------------------- */

static void the_limit_is_never_passed(void **state)
{
	struct scene *s = *state;

	map_file(s, A, 256, RW);
	fixture_map(s->x, B, 64, RW, MAP_FIXED);
	limit(s, 100);
	for (uint64_t i = 0; i < 256; i++)
		fixture_store(s->x, A + i * P + 8, i + 1);
	for (uint64_t i = 0; i < 64; i++)
		fixture_store(s->x, B + i * P, i);
	for (uint64_t i = 0; i < 256; i++)
		assert_int_equal(fixture_load(s->x, A + i * P + 8), i + 1);
	assert_true(account_of(s)->peak_pages <= account_of(s)->max_pages);
	assert_mm_sound(s->x->mm);
}

/* A file is walked, round and round, while a few of its pages are used all the time. */
static void what_is_used_all_the_time_stays(void **state)
{
	struct scene *s = *state;
	unsigned int reads;

	map_file(s, A, 16, PROT_READ);
	fixture_map_disk(s->x, s->disk, B, 240, 16, PROT_READ, MAP_SHARED | MAP_FIXED);
	mm_madvise(s->x->mm, A, 16 * P, MADV_RANDOM);
	mm_madvise(s->x->mm, B, 240 * P, MADV_RANDOM);
	limit(s, 80);
	for (unsigned int i = 0; i < 240; i++) {
		load_pages(s, A, 16);
		fixture_load(s->x, B + i * P);
	}
	reads = s->disk->reads;
	for (unsigned int i = 0; i < 240; i++) {
		load_pages(s, A, 16);
		fixture_load(s->x, B + i * P);
	}
	assert_in_range(s->disk->reads - reads, 240 - 80, 240 + 16);
}

/* Where all was used a moment ago somebody has to give all the same. */
static void even_what_is_in_use_goes_in_the_end(void **state)
{
	struct scene *s = *state;

	map_file(s, A, 64, PROT_READ);
	load_pages(s, A, 64);
	assert_true(memcg_reclaim(host_of(s), account_of(s), 8, 0) >= 8);
	assert_int_equal(memcg_reclaim(host_of(s), account_of(s), 1000, RECLAIM_KSWAPD), 0);
}

/* --- swap ---------------------------------------------------------------------------------------------------------------- */

static void swap_on_for(struct scene *s, struct sim_swap *swap)
{
	assert_int_equal(sim_swap_on(swap, host_of(s), 1024, NULL), 0);
}

static void swap_off_after(struct scene *s, struct sim_swap *swap)
{
	mm_munmap(s->x->mm, 0x10000, TASK_SIZE - 0x10000);
	assert_int_equal(sim_swap_off(swap), 0);
	assert_int_equal(swap->nr_wrong, 0);
}

static void a_working_set_larger_than_memory(void **state)
{
	struct scene *s = *state;
	struct sim_swap swap;

	swap_on_for(s, &swap);
	fixture_map(s->x, B, 400, RW, MAP_FIXED);
	limit(s, 150);
	for (uint64_t round = 0; round < 3; round++)
		for (uint64_t i = 0; i < 400; i++) {
			if (round)
				assert_int_equal(fixture_load(s->x, B + i * P), i * 10 + round - 1);
			fixture_store(s->x, B + i * P, i * 10 + round);
		}
	assert_true(account_of(s)->peak_pages <= account_of(s)->max_pages);
	assert_true(swap.nr_writes > 250 && swap.nr_reads > 250);
	assert_mm_sound(s->x->mm);
	swap_off_after(s, &swap);
}

static void anonymous_pages_in_use_stay(void **state)
{
	struct scene *s = *state;
	struct sim_swap swap;
	uint64_t reads;

	swap_on_for(s, &swap);
	fixture_map(s->x, A, 32, RW, MAP_FIXED);
	fixture_map(s->x, B, 300, RW, MAP_FIXED);
	limit(s, 120);
	for (uint64_t round = 0; round < 3; round++) {
		reads = swap.nr_reads;
		for (uint64_t i = 0; i < 300; i++) {
			store_pages(s, A, 32);
			fixture_store(s->x, B + i * P, i);
		}
	}
	assert_in_range(swap.nr_reads - reads, 150, 330);
	swap_off_after(s, &swap);
}

static void swappiness_chooses(void **state)
{
	struct scene *s = *state;
	struct memcg *cg = account_of(s);
	struct sim_swap swap;

	swap_on_for(s, &swap);
	map_file(s, A, 128, PROT_READ);
	fixture_map(s->x, B, 128, RW, MAP_FIXED);
	load_pages(s, A, 128);
	store_pages(s, B, 128);
	end_epoch(s);
	atomic_store(&cg->swappiness, 0);
	assert_int_equal(memcg_reclaim(host_of(s), cg, 30, 0), 30);
	assert_int_equal(nr_mapped(s, B, 128), 128);
	atomic_store(&cg->swappiness, 200);
	assert_int_equal(memcg_reclaim(host_of(s), cg, 30, 0), 30);
	assert_int_equal(nr_mapped(s, B, 128), 98);
	assert_int_equal(nr_mapped(s, A, 128), 98);
	atomic_store(&cg->swappiness, 100);
	assert_int_equal(memcg_reclaim(host_of(s), cg, 30, 0), 30);
	assert_int_equal(nr_mapped(s, B, 128), 83);
	assert_int_equal(nr_mapped(s, A, 128), 83);
	swap_off_after(s, &swap);
}

/* The kind whose pages came back soon gives less from then on. */
static void refaults_steer_the_share(void **state)
{
	struct scene *s = *state;
	struct memcg *cg = account_of(s);
	struct sim_swap swap;
	uint64_t left;

	swap_on_for(s, &swap);
	atomic_store(&cg->swappiness, 100);
	map_file(s, A, 128, PROT_READ);
	mm_madvise(s->x->mm, A, 128 * P, MADV_RANDOM);
	fixture_map(s->x, B, 128, RW, MAP_FIXED);
	load_pages(s, A, 128);
	store_pages(s, B, 128);
	end_epoch(s);
	assert_int_equal(memcg_reclaim(host_of(s), cg, 60, 0), 60);
	load_pages(s, A, 128); /* all of the file comes back */
	assert_int_equal(vmstat_event(s->x->mm->frames, WORKINGSET_REFAULT_FILE), 30);
	assert_int_equal(vmstat_event(s->x->mm->frames, WORKINGSET_ACTIVATE_FILE), 30);
	assert_int_equal(vmstat_event(s->x->mm->frames, WORKINGSET_REFAULT_ANON), 0);
	end_epoch(s);
	left = nr_mapped(s, B, 128);
	assert_int_equal(memcg_reclaim(host_of(s), cg, 60, 0), 60);
	assert_in_range(left - nr_mapped(s, B, 128), 55, 60);
	swap_off_after(s, &swap);
}

/* One that is read once, and never again, leaves others in peace: it comes back after more than there is memory. */
static void what_comes_back_late_is_no_working_set(void **state)
{
	struct scene *s = *state;
	struct memcg *cg = account_of(s);

	workingset_evict(cg, 1);
	for (uint64_t i = 0; i < 10; i++)
		workingset_evict(cg, 1000 + i);
	uint64_t charged = 9 - cg->usage_pages;
	assert_true(cg->usage_pages < 9 && memcg_charge(cg, charged));
	workingset_refault(s->x->mm->frames, cg, RECLAIM_FILE, 1);
	workingset_refault(s->x->mm->frames, cg, RECLAIM_FILE, 1000);
	workingset_refault(s->x->mm->frames, cg, RECLAIM_FILE, 1000); /* known once */
	workingset_refault(s->x->mm->frames, cg, RECLAIM_FILE, 4711);
	workingset_refault(s->x->mm->frames, cg, RECLAIM_ANON, 1005);
	assert_int_equal(vmstat_event(s->x->mm->frames, WORKINGSET_REFAULT_FILE), 2);
	assert_int_equal(vmstat_event(s->x->mm->frames, WORKINGSET_ACTIVATE_FILE), 0);
	assert_int_equal(vmstat_event(s->x->mm->frames, WORKINGSET_ACTIVATE_ANON), 1);
	memcg_uncharge(cg, charged);
}

static void anonymous_pages_are_sent_out_at_once(void **state)
{
	struct scene *s = *state;
	struct sim_swap swap;

	swap_on_for(s, &swap);
	fixture_map(s->x, B, 64, RW, MAP_FIXED);
	store_pages(s, B, 64);
	assert_int_equal(mm_madvise(s->x->mm, B + 8 * P, 16 * P, MADV_PAGEOUT), 0);
	assert_int_equal(nr_mapped(s, B, 64), 48);
	assert_int_equal(swap.nr_writes, 16);
	assert_int_equal(swap.nr_transfers, 1); /* what lay together */
	for (uint64_t i = 0; i < 64; i++)
		assert_int_equal(fixture_load(s->x, B + i * P), i + 1);
	assert_mm_sound(s->x->mm);
	swap_off_after(s, &swap);
}

static void huge_pages_go_in_pieces(void **state)
{
	struct scene *s = *state;
	struct sim_swap swap;

	swap_on_for(s, &swap);
	s->x->mm->fault_around_pages = 512;
	fixture_map(s->x, B, 512, RW, MAP_FIXED);
	assert_int_equal(mm_madvise(s->x->mm, B, 512 * P, MADV_HUGEPAGE), 0);
	fixture_store(s->x, B, 1);
	for (uint64_t i = 0; i < 512; i++)
		fixture_store(s->x, B + i * P, i + 1);
	end_epoch(s);
	assert_in_range(memcg_reclaim(host_of(s), account_of(s), 100, 0), 100, 512);
	assert_in_range(nr_mapped(s, B, 512), 0, 412);
	s->x->mm->fault_around_pages = 1;
	for (uint64_t i = 0; i < 512; i++)
		assert_int_equal(fixture_load(s->x, B + i * P), i + 1);
	assert_mm_sound(s->x->mm);
	swap_off_after(s, &swap);
}

/* --- ahead of need ------------------------------------------------------------------------------------------------------ */

/* Waits until the thread has done something; fails the test when it never does. */
static void wait_for(const _Atomic uint64_t *counter, uint64_t more_than)
{
	for (unsigned int i = 0; i < 10000 && atomic_load(counter) <= more_than; i++)
		usleep(1000);
	assert_true(atomic_load(counter) > more_than);
}

static void kswapd_wakes_below_low_and_sleeps_at_high(void **state)
{
	struct scene *s = *state;
	struct memcg *cg = account_of(s);
	struct kswapd *k;

	assert_int_equal(kswapd_start(host_of(s), &k), 0);
	k->pause_ms = 1;
	cg->max_pages = 2048;
	map_file(s, A, 256, PROT_READ);
	load_pages(s, A, 256);
	end_epoch(s);
	end_epoch(s);
	assert_int_equal(memcg_low_mark(cg), 64);
	atomic_store(&cg->kswapd, k);
	uint64_t charged = memcg_room(cg) - 64;
	assert_true(memcg_charge(cg, charged));
	assert_int_equal(k->nr_wakes, 0);
	uint64_t balanced = k->nr_balanced;
	assert_true(memcg_charge(cg, 1));
	assert_int_equal(k->nr_wakes, 1);
	wait_for(&k->nr_balanced, balanced);
	assert_true(memcg_room(cg) >= 128);
	assert_true(nr_mapped(s, A, 256) >= 256 - 128 && nr_mapped(s, A, 256) <= 256 - 65);
	atomic_store(&cg->kswapd, NULL);
	kswapd_stop(k);
	memcg_uncharge(cg, charged + 1);
}

/* The thread learns what is in use before it takes anything, and takes nothing that is. */
static void kswapd_leaves_what_is_in_use(void **state)
{
	struct scene *s = *state;
	struct memcg *cg = account_of(s);
	struct kswapd *k;

	assert_int_equal(kswapd_start(host_of(s), &k), 0);
	k->pause_ms = 1;
	map_file(s, A, 64, PROT_READ);
	load_pages(s, A, 64);
	cg->max_pages = 2048;
	atomic_store(&cg->kswapd, k);
	uint64_t charged = memcg_room(cg) - 10;
	assert_true(memcg_charge(cg, charged));
	uint64_t epoch = cg->ageing.youngest;
	for (unsigned int i = 0; i < 200 && cg->ageing.youngest < epoch + 6; i++) {
		load_pages(s, A, 16);
		usleep(500);
	}
	atomic_store(&cg->kswapd, NULL);
	kswapd_stop(k);
	assert_true(cg->ageing.youngest > epoch);
	memcg_uncharge(cg, charged);
	assert_mm_sound(s->x->mm);
}

/* A fault that had to reclaim shows that what is young has to go as well: the thread takes that, up to half of the limit. */
static void kswapd_takes_what_is_young_when_asked(void **state)
{
	struct scene *s = *state;
	struct memcg *cg = account_of(s);
	struct sim_swap swap;
	struct kswapd *k;

	swap_on_for(s, &swap);
	assert_int_equal(kswapd_start(host_of(s), &k), 0);
	k->pause_ms = 3600 * 1000;
	fixture_map(s->x, B, 512, RW, MAP_FIXED);
	store_pages(s, B, 512);
	cg->max_pages = 2048;
	uint64_t charged = memcg_room(cg) - 10, epoch = cg->ageing.youngest;
	atomic_store(&cg->kswapd, k);
	assert_true(memcg_charge(cg, charged));
	wait_for(&cg->ageing.youngest, epoch); /* in vain: it learns what is in use */
	assert_int_equal(nr_mapped(s, B, 512), 512);
	assert_int_equal(k->nr_balanced, 0);
	assert_in_range(memcg_reclaim(host_of(s), cg, 8, 0), 8, 64);
	wait_for(&k->nr_balanced, 0);
	assert_true(memcg_room(cg) >= 128);
	assert_in_range(nr_mapped(s, B, 512), 512 - 256, 512 - 118);
	assert_in_range(cg->kswapd_credit_pages, 1024 - 256, 1024 - 100);
	atomic_store(&cg->kswapd, NULL);
	kswapd_stop(k);
	memcg_uncharge(cg, charged);
	assert_mm_sound(s->x->mm);
	swap_off_after(s, &swap);
}

static void a_node_below_low_wakes_the_thread(void **state)
{
	struct scene *s = *state;
	struct frames *f = s->x->mm->frames;
	struct kswapd *k;

	map_file(s, A, 256, PROT_READ);
	load_pages(s, A, 256);
	end_epoch(s);
	end_epoch(s);
	assert_int_equal(kswapd_start(host_of(s), &k), 0);
	k->pause_ms = 1;
	f->reclaim->wake_kswapd(host_of(s), 0, 0, ZONE_NORMAL); /* marks are off: enough is free */
	wait_for(&k->nr_balanced, 0);
	assert_int_equal(nr_mapped(s, A, 256), 256);
	watermarks_set(f, 64);
	struct zone *z = node_zone(f, 0, ZONE_NORMAL);
	atomic_store(&z->watermark[WMARK_HIGH], zone_free_pages(z) + 100);
	uint64_t balanced = k->nr_balanced;
	f->reclaim->wake_kswapd(host_of(s), 0, 0, ZONE_NORMAL);
	wait_for(&k->nr_balanced, balanced);
	assert_true(zone_free_pages(z) >= wmark_pages(z, WMARK_HIGH));
	assert_in_range(nr_mapped(s, A, 256), 0, 256 - 100);
	kswapd_stop(k);
	watermarks_set(f, 0);
}

/* --- memory.high, and time lost -------------------------------------------------------------------------------------------- */

static void above_high_faults_give_something_back(void **state)
{
	struct scene *s = *state;
	struct memcg *cg = account_of(s);
	struct stall_times times[NR_STALL_KINDS];

	map_file(s, A, 256, PROT_READ);
	atomic_store(&cg->high_pages, cg->usage_pages + 100);
	load_pages(s, A, 256);
	assert_true(cg->usage_pages <= cg->high_pages + 1);
	assert_int_equal(cg->nr_failures, 0);
	stall_read(&cg->stall, times);
	assert_true(times[STALL_SOME].total_ns > 0);
	assert_int_equal(times[STALL_FULL].total_ns, times[STALL_SOME].total_ns);
}

#define T(name, fn)                                                \
	{name, fn, setup, teardown, NULL},                         \
	{                                                          \
		name " (shadow)", fn, setup_shadow, teardown, NULL \
	}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		T("ageing: each use of late spares a page two epochs [O6]", uses_make_younger),
		T("ageing: what was used often goes when nothing else does [O6]", often_used_goes_last),
		T("ageing: pages grow older until they are used again [O6]", pages_grow_older_unless_used),
		T("ageing: a huge page has one age [O6]", blocks_have_one_age),
		T("ageing: an epoch ends in all spaces of an account, and in no other",
		  an_epoch_goes_round_all_spaces),
		T("evict: pages of files that were not used go, used ones stay [O6]",
		  old_pages_go_used_ones_stay),
		T("evict: the oldest go first [O6]", the_oldest_go_first),
		T("evict: the hand goes on where it was, with one revocation for a piece",
		  the_hand_goes_on_where_it_was),
		T("evict: clean pages are dropped, dirty ones written once [O9]",
		  clean_pages_are_dropped_dirty_ones_written_once),
		T("evict: a page that cannot be written stays", what_cannot_be_written_stays),
		T("evict: a page that several map is in use when any uses it [Y14]",
		  all_who_map_a_page_are_asked),
		T("evict: locked and pinned pages stay", locked_and_pinned_pages_stay),
		T("evict: a space whose areas change gives as well",
		  a_space_whose_areas_change_gives_as_well),
		T("madvise: MADV_FREE: pages vanish first when memory is short, unless they were written "
		  "again",
		  freed_pages_vanish_unless_written_again),
		T("madvise: MADV_FREE: what is pinned, or shared by a fork, stays",
		  freed_pages_of_others_stay),
		T("madvise: MADV_COLD: such pages go before others", cold_pages_go_before_others),
		T("madvise: MADV_PAGEOUT: pages of files go at once", pages_are_sent_out_at_once),
		T("reclaim: the limit is never passed", the_limit_is_never_passed),
		T("reclaim: what is used all the time stays in while a file is walked",
		  what_is_used_all_the_time_stays),
		T("reclaim: anonymous memory larger than the account goes to swap and comes back [O1] [O3]",
		  a_working_set_larger_than_memory),
		T("reclaim: anonymous pages in use stay while others come and go [O6]",
		  anonymous_pages_in_use_stay),
		T("reclaim: swappiness says which kind goes", swappiness_chooses),
		T("workingset: pages that come back soon make their kind stay", refaults_steer_the_share),
		T("workingset: a page that comes back late, or is not known, says nothing",
		  what_comes_back_late_is_no_working_set),
		T("madvise: MADV_PAGEOUT: anonymous pages go at once, what lay together in one transfer",
		  anonymous_pages_are_sent_out_at_once),
		T("reclaim: huge pages are cut and go [O3]", huge_pages_go_in_pieces),
		T("kswapd: wakes when room falls below the low mark, sleeps at the high one [O4] [O5] [C3] "
		  "[Y12]",
		  kswapd_wakes_below_low_and_sleeps_at_high),
		T("kswapd: what is in use stays; an epoch ends to learn what is [O5]",
		  kswapd_leaves_what_is_in_use),
		T("kswapd: when a fault had to reclaim, what is young goes ahead of the next ones [O4] [O5]",
		  kswapd_takes_what_is_young_when_asked),
		T("kswapd: a node below its marks is brought above the high one [C2] [C11] [O4]",
		  a_node_below_low_wakes_the_thread),
		T("memory.high: with more than that faults reclaim; nobody is refused",
		  above_high_faults_give_something_back),
		T("reclaim: even what is in use goes in the end, but not ahead of need",
		  even_what_is_in_use_goes_in_the_end),
	};

	return cmocka_run_group_tests_name("vmscan", tests, NULL, NULL);
}
