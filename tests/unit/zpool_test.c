/* SPDX-License-Identifier: MIT */
/* Frames of compressed pages against a list of what was put into them. */
#include "../../src/mm/memcg.h"
#include "../../src/mm/page_alloc.h"
#include "../sim/fixture.h"

#define MOST  600u
#define STEPS 100000u

struct kept {
	struct zpool_object object;
	unsigned int bytes;
	uint8_t first;
};

struct pool {
	struct fixture *x;
	struct memcg *cg;
	struct zpool_home home;
	uint64_t seed, next;
	unsigned int nr;
	struct kept kept[MOST];
};

static void begin(struct pool *p, struct fixture *x, uint64_t seed)
{
	*p = (struct pool){.x = x, .cg = x->mm->memcg, .home = {.frames = x->mm->frames}, .next = 1};
	p->seed = random_seed(seed);
}

static struct page *new_frame(struct pool *p)
{
	assert_true(memcg_charge(p->cg, 1));
	struct page *page = page_alloc(p->home.frames, GFP_HIGHUSER, 0);
	assert_non_null(page);
	page->memcg = p->cg;
	atomic_fetch_add(&p->home.nr_frames, 1);
	return page;
}

static void put(struct pool *p, unsigned int bytes)
{
	struct kept *k = &p->kept[p->nr];
	uint8_t contents[PAGE_SIZE];

	*k = (struct kept){{.owner = p->next++}, bytes, (uint8_t)random_next(&p->seed)};
	for (unsigned int i = 0; i < bytes; i++)
		contents[i] = (uint8_t)(k->first + i * 7);
	if (!zpool_add(&p->cg->zpool, &p->home, NULL, contents, bytes, &k->object)) {
		if (!zpool_is_worth_a_frame(bytes))
			return;
		assert_true(zpool_add(&p->cg->zpool, &p->home, new_frame(p), contents, bytes, &k->object));
	}
	p->nr++;
}

static void look(struct pool *p, const struct kept *k)
{
	uint8_t contents[PAGE_SIZE];

	assert_int_equal(zpool_read(&p->cg->zpool, k->object.handle, contents), k->bytes);
	for (unsigned int i = 0; i < k->bytes; i++)
		assert_int_equal(contents[i], (uint8_t)(k->first + i * 7));
	assert_true(zpool_has(&p->cg->zpool, k->object.handle, k->object.owner));
	assert_false(zpool_has(&p->cg->zpool, k->object.handle, k->object.owner + 1));
}

static void drop(struct pool *p, unsigned int i)
{
	zpool_remove(&p->cg->zpool, p->kept[i].object.handle);
	p->kept[i] = p->kept[--p->nr];
}

static void assert_sound(struct pool *p)
{
	assert_int_equal(zpool_check(&p->cg->zpool, p->cg, complain), 0);
	assert_int_equal(p->cg->zpool.nr_objects, p->nr);
	assert_int_equal(p->home.nr_objects, p->nr);
	assert_int_equal(p->home.nr_frames, p->cg->zpool.nr_frames);
}

static void end(struct pool *p)
{
	while (p->nr)
		drop(p, 0);
	assert_sound(p);
	assert_int_equal(p->home.nr_frames, 0);
}

/* --- cases --------------------------------------------------------------------------------------------------------- */

static void random_steps(void **state)
{
	static struct pool p;
	uint64_t frames_most = 0;

	begin(&p, *state, 7);
	uint64_t usage = p.cg->usage_pages;
	for (unsigned int step = 0; step < STEPS; step++) {
		uint64_t kind = random_next(&p.seed) % 16;
		if (kind < 7 && p.nr < MOST)
			put(&p, 1 + (unsigned int)(random_next(&p.seed) % (kind < 3 ? 3072 : 400)));
		else if (kind < 13 && p.nr)
			look(&p, &p.kept[random_next(&p.seed) % p.nr]);
		else if (p.nr)
			drop(&p, (unsigned int)(random_next(&p.seed) % p.nr));
		frames_most = p.home.nr_frames > frames_most ? p.home.nr_frames : frames_most;
		if (step % 512 == 0)
			assert_sound(&p);
	}
	assert_true(frames_most > 50);
	assert_int_equal(p.cg->usage_pages, usage + p.home.nr_frames);
	for (unsigned int i = 0; i < p.nr; i++)
		look(&p, &p.kept[i]);
	end(&p);
	assert_int_equal(p.cg->usage_pages, usage);
}

static void sizes_share(void **state)
{
	static struct pool p;

	begin(&p, *state, 1);
	put(&p, 1500);
	put(&p, 1500);
	put(&p, 900); /* what two of a kind leave */
	assert_int_equal(p.home.nr_frames, 1);
	put(&p, 2500); /* alone in a frame it wins nothing */
	assert_int_equal(p.nr, 3);
	assert_int_equal(p.home.nr_frames, 1);
	drop(&p, 0);
	drop(&p, 0);
	put(&p, 2500); /* what is free is in one piece again */
	assert_int_equal(p.nr, 2);
	assert_int_equal(p.home.nr_frames, 1);
	look(&p, &p.kept[0]);
	look(&p, &p.kept[1]);
	end(&p);
}

static void oldest(void **state)
{
	struct zpool_object o[ZPOOL_MOST_OBJECTS];
	static struct pool p;
	unsigned int frames;

	begin(&p, *state, 2);
	for (unsigned int i = 0; i < 100; i++)
		put(&p, 1900);
	assert_int_equal(p.home.nr_frames, 50);
	assert_int_equal(zpool_take_oldest(&p.cg->zpool, o, &frames), ZPOOL_MOST_OBJECTS);
	assert_int_equal(frames, ZPOOL_MOST_OBJECTS / 2);
	for (unsigned int i = 0; i < ZPOOL_MOST_OBJECTS; i++)
		assert_true(o[i].owner <= ZPOOL_MOST_OBJECTS);
	assert_int_equal(zpool_take_oldest(&p.cg->zpool, o, &frames), ZPOOL_MOST_OBJECTS);
	assert_true(o[0].owner > ZPOOL_MOST_OBJECTS); /* the others have their turn */
	for (unsigned int i = 0; i < 200; i++)
		put(&p, 20);
	assert_int_equal(p.nr, 300);
	assert_sound(&p);
	end(&p);
	assert_int_equal(zpool_take_oldest(&p.cg->zpool, o, &frames), 0);
	assert_int_equal(frames, 0);
}

#define CASE(name, fn)                                          \
	{                                                       \
		name, fn, fixture_setup, fixture_teardown, NULL \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE("zpool: a hundred thousand random steps", random_steps),
		CASE("zpool: any sizes share a frame, and a frame is begun only for what leaves room",
		     sizes_share),
		CASE("zpool: the oldest frames come first, and go behind the others", oldest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
