/* SPDX-License-Identifier: MIT */
/* The tree of areas against the AVL tree that Linux once had: two trees that share no code answer every question alike. */
#include "../harness.h"
#include "../sim/avl.h"
#include "../../src/mm/list.h"
#include "../../src/mm/vma.h"

#define STEPS 100000u
#define WORLD 8192u /* pages */
#define AREAS 256u

struct pair {
	struct vma vma;
	struct avl_area avl;
	bool linked;
};

struct world {
	struct vma_tree tree;
	struct avl_tree avl;
	struct pair pair[AREAS];
	unsigned int inserts, erases, hits, rooms;
};

static void place(struct world *w, struct pair *p, uint64_t *rng)
{
	gva_t start = (1 + random_below(rng, WORLD)) << PAGE_SHIFT;
	gva_t end = start + ((1 + random_below(rng, 48)) << PAGE_SHIFT);
	const struct avl_area *next = avl_find(&w->avl, start);

	assert_int_equal(!!vma_find_intersection(&w->tree, start, end), next && next->start < end);
	if (next && next->start < end)
		return;
	p->vma = (struct vma){.start = start, .end = end, .flags = random_below(rng, 16) ? 0 : VM_GROWSDOWN};
	p->avl = (struct avl_area){.start = start, .end = end, .guard = p->vma.flags ? STACK_GUARD_GAP : 0};
	vma_link(&w->tree, &p->vma);
	avl_insert(&w->avl, &p->avl);
	p->linked = true;
	w->inserts++;
}

static void change(struct world *w, uint64_t *rng)
{
	struct pair *p = &w->pair[random_below(rng, AREAS)];

	if (!p->linked) {
		place(w, p, rng);
		return;
	}
	vma_unlink(&w->tree, &p->vma);
	assert_ptr_equal(avl_erase(&w->avl, p->avl.start), &p->avl);
	p->linked = false;
	w->erases++;
}

static void compare_find(struct world *w, gva_t address)
{
	const struct vma *vma = vma_find(&w->tree, address);
	const struct avl_area *area = avl_find(&w->avl, address);

	assert_int_equal(!!vma, !!area);
	if (!vma)
		return;
	assert_int_equal(vma->start, area->start);
	assert_int_equal(vma->end, area->end);
	w->hits += vma->start <= address;
}

static void compare_gaps(struct world *w, uint64_t *rng)
{
	gva_t low = random_below(rng, WORLD) << PAGE_SHIFT;
	struct vma_gap g = {.length = (1 + random_below(rng, 200)) << PAGE_SHIFT,
			    .low_limit = low,
			    .high_limit = low + (random_below(rng, WORLD) << PAGE_SHIFT)};
	struct avl_gap model = avl_gap(&w->avl, g.length, g.low_limit, g.high_limit);

	assert_int_equal(vma_gap_topdown(&w->tree, &g), model.highest);
	assert_int_equal(vma_gap_bottomup(&w->tree, &g), model.lowest);
	w->rooms += model.highest >= 0;
}

/* Both trees in order: the list of one, a walk by finds through the other. */
static void compare_all(const struct world *w)
{
	const struct avl_area *area = avl_find(&w->avl, 0);
	const struct vma *vma;

	assert_true(avl_check(&w->avl));
	assert_int_equal(vma_tree_check(&w->tree, complain), 0);
	assert_int_equal(w->tree.nr, w->avl.nr);
	vma_for_each (vma, &w->tree) {
		assert_non_null(area);
		assert_int_equal(vma->start, area->start);
		assert_int_equal(vma->end, area->end);
		area = avl_find(&w->avl, area->end);
	}
	assert_null(area);
}

static void two_trees_agree(void **state)
{
	static struct world w;
	uint64_t rng = random_seed(62);

	(void)state;
	memset(&w, 0, sizeof(w));
	vma_tree_init(&w.tree);
	for (unsigned int step = 0; step < STEPS; step++) {
		change(&w, &rng);
		compare_find(&w, random_below(&rng, (WORLD + 64) << PAGE_SHIFT));
		compare_gaps(&w, &rng);
		if (step % 128 == 0)
			compare_all(&w);
	}
	compare_all(&w);
	assert_true(w.inserts > STEPS / 4 && w.erases > STEPS / 4);
	assert_true(w.hits > STEPS / 16 && w.rooms > STEPS / 16 && w.rooms < STEPS);
}

/* Ascending starts, the worst case of a tree that is not balanced: 1.44 log2(n + 2) levels. */
static void model_is_balanced(void **state)
{
	static struct avl_area area[10000];
	struct avl_tree t = {0};

	(void)state;
	for (unsigned int i = 0; i < ARRAY_SIZE(area); i++) {
		area[i] = (struct avl_area){.start = i * 2 * PAGE_SIZE, .end = (i * 2 + 1) * PAGE_SIZE};
		avl_insert(&t, &area[i]);
	}
	assert_true(avl_check(&t));
	assert_int_equal(t.root->height, 14);
	for (unsigned int i = 0; i < ARRAY_SIZE(area); i += 2)
		assert_ptr_equal(avl_erase(&t, area[i].start), &area[i]);
	assert_true(avl_check(&t));
	assert_int_equal(t.nr, 5000);
	t.root->height++;
	assert_false(avl_check(&t));
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		{"avl: ten thousand ascending areas make 14 levels; avl_check sees a wrong height [H16]",
		 model_is_balanced, NULL, NULL, NULL},
		{"avl: the red-black tree answers 100000 inserts, erases, finds and gap searches alike "
		 "[H16][Z8]",
		 two_trees_agree, NULL, NULL, NULL},
	};

	return cmocka_run_group_tests_name("avl", tests, NULL, NULL);
}
