/* SPDX-License-Identifier: MIT */
/* The tree of areas: the worked example of a 5.11 process (P43), lookups and gap searches against brute force. */
#include "../harness.h"
#include "../../src/mm/list.h"
#include "../../src/mm/vma.h"

/* The areas of P43, in the order that gives the recorded tree. */
enum { STACK, A400, A401, A496, A4BE, A4C4, VDSO, VVAR, A4C1, NR_P43 };

static const struct {
	gva_t start, end, flags;
} p43_area[NR_P43] = {
	[STACK] = {0x7ffffffde000, 0x7ffffffff000, VM_READ | VM_WRITE | VM_GROWSDOWN},
	[A400] = {0x400000, 0x401000, VM_READ},
	[A401] = {0x401000, 0x496000, VM_READ | VM_EXEC},
	[A496] = {0x496000, 0x4bd000, VM_READ},
	[A4BE] = {0x4be000, 0x4c1000, VM_READ},
	[A4C4] = {0x4c4000, 0x4e8000, VM_READ | VM_WRITE},
	[VDSO] = {0x7ffff7ffe000, 0x7ffff7fff000, VM_READ | VM_EXEC},
	[VVAR] = {0x7ffff7ffa000, 0x7ffff7ffe000, VM_READ},
	[A4C1] = {0x4c1000, 0x4c4000, VM_READ | VM_WRITE},
};

struct p43 {
	struct vma_tree tree;
	struct vma area[NR_P43 + 1];
};

static int p43_setup(void **state)
{
	struct p43 *p = calloc(1, sizeof(*p));

	if (!p)
		return -1;
	vma_tree_init(&p->tree);
	for (unsigned int i = 0; i < NR_P43; i++) {
		p->area[i].start = p43_area[i].start;
		p->area[i].end = p43_area[i].end;
		p->area[i].flags = p43_area[i].flags;
		vma_link(&p->tree, &p->area[i]);
	}
	*state = p;
	return 0;
}

static int p43_teardown(void **state)
{
	free(*state);
	return 0;
}

static gva_t start_of(const struct rb_node *n)
{
	return n ? list_entry(n, struct vma, rb)->start : 0;
}

static void tree_shape(void **state)
{
	struct p43 *p = *state;
	struct rb_node *root = p->tree.root.node;

	assert_int_equal(start_of(root), 0x4be000);
	assert_int_equal(start_of(root->left), 0x401000);
	assert_int_equal(start_of(root->left->left), 0x400000);
	assert_int_equal(start_of(root->left->right), 0x496000);
	assert_int_equal(start_of(root->right), 0x7ffff7ffe000);
	assert_int_equal(start_of(root->right->left), 0x4c4000);
	assert_int_equal(start_of(root->right->left->left), 0x4c1000);
	assert_int_equal(start_of(root->right->left->right), 0x7ffff7ffa000);
	assert_int_equal(start_of(root->right->right), 0x7ffffffde000);
	assert_int_equal(vma_tree_check(&p->tree, complain), 0);
}

static void subtree_gaps(void **state)
{
	static const uint64_t gap[NR_P43] = {
		[A4BE] = 0x7ffff7b12000,
		[A401] = 0x400000,
		[A400] = 0x400000,
		[A496] = 0,
		[A4C1] = 0,
		[A4C4] = 0x7ffff7b12000,
		[VVAR] = 0x7ffff7b12000,
		[VDSO] = 0x7ffff7b12000,
		[STACK] = 0x7edf000,
	};
	struct p43 *p = *state;

	for (unsigned int i = 0; i < NR_P43; i++)
		assert_int_equal(p->area[i].subtree_gap, gap[i]);
}

static void gap_arithmetic(void **state)
{
	struct p43 *p = *state;

	assert_int_equal(p->area[VVAR].start - p->area[VVAR].prev->end, 0x7ffff7b12000);
	assert_ptr_equal(p->area[VVAR].prev, &p->area[A4C4]);
	assert_int_equal(STACK_GUARD_GAP, 0x100000);
	assert_int_equal(vma_start_gap(&p->area[STACK]), 0x7fffffede000);
	assert_int_equal(vma_start_gap(&p->area[STACK]) - p->area[VDSO].end, 0x7edf000);
	assert_int_equal(vma_start_gap(&p->area[VDSO]), p->area[VDSO].start);
}

static void topdown_finds_x(void **state)
{
	static const struct vma_gap gap = {.length = 0x1000,
					   .low_limit = 0x1000,
					   .high_limit = 0x7ffff7fff000};
	struct p43 *p = *state;

	assert_int_equal(p->tree.highest_end, 0x7ffffffff000);
	assert_int_equal(vma_gap_topdown(&p->tree, &gap), 0x7ffff7ff9000);
}

static void topdown_in_empty_space(void **state)
{
	static const struct vma_gap gap = {.length = 0x5000,
					   .low_limit = 0x1000,
					   .high_limit = 0x7ffff7fff000};
	static const struct vma_gap too_long = {.length = 0x9000, .low_limit = 0x1000, .high_limit = 0x9000};
	struct vma_tree t;

	(void)state;
	vma_tree_init(&t);
	assert_int_equal(vma_gap_topdown(&t, &gap), 0x7ffff7ffa000);
	assert_int_equal(vma_gap_bottomup(&t, &gap), 0x1000);
	assert_int_equal(vma_gap_topdown(&t, &too_long), -ENOMEM);
	assert_int_equal(vma_gap_bottomup(&t, &too_long), -ENOMEM);
}

static void space_above_the_highest(void **state)
{
	struct vma a = {.start = 0x10000, .end = 0x20000};
	struct vma_gap gap = {.length = 0x10000, .low_limit = 0x1000, .high_limit = 0x30000};
	struct vma_tree t;

	(void)state;
	vma_tree_init(&t);
	vma_link(&t, &a);
	assert_int_equal(vma_gap_topdown(&t, &gap), 0x20000);
	gap.high_limit = 0x2f000;
	assert_int_equal(vma_gap_topdown(&t, &gap), -ENOMEM);
	gap.length = 0xf000;
	assert_int_equal(vma_gap_topdown(&t, &gap), 0x20000);
	gap.high_limit = 0x2e000;
	assert_int_equal(vma_gap_topdown(&t, &gap), 0x1000);
}

static void link_of_x(void **state)
{
	struct p43 *p = *state;
	struct vma *x = &p->area[NR_P43];

	x->start = 0x7ffff7ff9000;
	x->end = 0x7ffff7ffa000;
	vma_link(&p->tree, x);
	assert_int_equal(p->tree.nr, 10);
	assert_ptr_equal(x->rb.parent, &p->area[VVAR].rb);
	assert_ptr_equal(p->area[VVAR].rb.left, &x->rb);
	assert_ptr_equal(x->prev, &p->area[A4C4]);
	assert_ptr_equal(x->next, &p->area[VVAR]);
	assert_int_equal(start_of(p->tree.root.node), 0x4be000);
	assert_int_equal(p->area[A4BE].subtree_gap, 0x7ffff7b11000);
	assert_int_equal(vma_tree_check(&p->tree, complain), 0);
	vma_unlink(&p->tree, x);
	assert_int_equal(p->area[A4BE].subtree_gap, 0x7ffff7b12000);
	assert_int_equal(vma_tree_check(&p->tree, complain), 0);
}

static void end_is_the_first_byte_after(void **state)
{
	struct p43 *p = *state;

	assert_ptr_equal(vma_find(&p->tree, 0x400fff), &p->area[A400]);
	assert_ptr_equal(vma_find(&p->tree, 0x401000), &p->area[A401]);
	assert_ptr_equal(vma_find(&p->tree, 0), &p->area[A400]);
	assert_ptr_equal(vma_find(&p->tree, 0x4bd000), &p->area[A4BE]);
	assert_null(vma_find(&p->tree, 0x7ffffffff000));
	assert_null(vma_find_intersection(&p->tree, 0x4bd000, 0x4be000));
	assert_ptr_equal(vma_find_intersection(&p->tree, 0x4bd000, 0x4be001), &p->area[A4BE]);
	assert_ptr_equal(vma_last(&p->tree), &p->area[STACK]);
	assert_int_equal(vma_pages(&p->area[A401]), 0x95);
}

static void cow_mapping(void **state)
{
	(void)state;
	assert_false(is_cow_mapping(0));
	assert_true(is_cow_mapping(VM_MAYWRITE));
	assert_false(is_cow_mapping(VM_SHARED));
	assert_false(is_cow_mapping(VM_SHARED | VM_MAYWRITE));
}

static unsigned int depth(const struct rb_node *n)
{
	unsigned int l, r;

	if (!n)
		return 0;
	l = depth(n->left);
	r = depth(n->right);
	return 1 + (l > r ? l : r);
}

static void ten_thousand_areas(void **state)
{
	static struct vma area[10000];
	struct vma_tree t;

	(void)state;
	memset(area, 0, sizeof(area));
	vma_tree_init(&t);
	for (unsigned int i = 0; i < ARRAY_SIZE(area); i++) {
		area[i].start = (i + 1) * 0x2000ull;
		area[i].end = area[i].start + 0x1000;
		vma_link(&t, &area[i]);
	}
	assert_int_equal(t.nr, 10000);
	assert_true(depth(t.root.node) <= 26); /* 2 log2(10001) */
	assert_int_equal(vma_tree_check(&t, complain), 0);
}

static void check_sees_damage(void **state)
{
	struct p43 *p = *state;

	p->area[VVAR].subtree_gap--;
	assert_true(vma_tree_check(&p->tree, NULL) > 0);
	p->area[VVAR].subtree_gap++;
	p->area[A400].end += PAGE_SIZE;
	assert_true(vma_tree_check(&p->tree, NULL) > 0);
	p->area[A400].end -= PAGE_SIZE;
	p->tree.nr++;
	assert_true(vma_tree_check(&p->tree, NULL) > 0);
	p->tree.nr--;
	assert_int_equal(vma_tree_check(&p->tree, complain), 0);
}

/* --- against brute force ----------------------------------------------------------------------------------------- */

#define WORLD 2048u /* pages */
#define AREAS 64u

struct world {
	struct vma_tree tree;
	struct vma area[AREAS];
	bool linked[AREAS];
};

static const struct vma *brute_find(const struct world *w, gva_t address)
{
	const struct vma *best = NULL;

	for (unsigned int i = 0; i < AREAS; i++) {
		const struct vma *v = &w->area[i];

		if (w->linked[i] && v->end > address && (!best || v->start < best->start))
			best = v;
	}
	return best;
}

/* Free for a new mapping: touches no area, and keeps clear of the guard gap of the next one if that is a stack. */
static bool brute_fits(const struct world *w, gva_t start, gva_t end)
{
	const struct vma *next = brute_find(w, start);

	return !next || end <= vma_start_gap(next);
}

static int64_t brute_gap(const struct world *w, const struct vma_gap *g, bool topdown)
{
	int64_t found = -ENOMEM;

	for (gva_t at = g->low_limit; at + g->length <= g->high_limit; at += PAGE_SIZE) {
		if (!brute_fits(w, at, at + g->length))
			continue;
		found = (int64_t)at;
		if (!topdown)
			break;
	}
	return found;
}

static void world_step(struct world *w, uint64_t *rng)
{
	unsigned int i = (unsigned int)random_below(rng, AREAS);
	struct vma *v = &w->area[i];

	if (w->linked[i]) {
		if (random_below(rng, 3) == 0 && vma_pages(v) > 1) {
			vma_resize(&w->tree, v, v->start, v->end - PAGE_SIZE);
			return;
		}
		vma_unlink(&w->tree, v);
		w->linked[i] = false;
		return;
	}
	v->start = (1 + random_below(rng, WORLD)) << PAGE_SHIFT;
	v->end = v->start + ((1 + random_below(rng, 32)) << PAGE_SHIFT);
	v->flags = random_below(rng, 16) ? 0 : VM_GROWSDOWN;
	if (vma_find_intersection(&w->tree, v->start, v->end))
		return;
	vma_link(&w->tree, v);
	w->linked[i] = true;
}

static void brute_force(void **state)
{
	static struct world w;
	uint64_t rng = random_seed(5);
	unsigned int found = 0;

	(void)state;
	memset(&w, 0, sizeof(w));
	vma_tree_init(&w.tree);
	for (unsigned int step = 0; step < 8000; step++) {
		gva_t address = random_below(&rng, (WORLD + 64) << PAGE_SHIFT);
		struct vma_gap g = {.length = (1 + random_below(&rng, 60)) << PAGE_SHIFT};

		world_step(&w, &rng);
		g.low_limit = random_below(&rng, WORLD / 2) << PAGE_SHIFT;
		g.high_limit = g.low_limit + (random_below(&rng, WORLD) << PAGE_SHIFT);
		assert_ptr_equal(vma_find(&w.tree, address), brute_find(&w, address));
		assert_int_equal(vma_gap_topdown(&w.tree, &g), brute_gap(&w, &g, true));
		assert_int_equal(vma_gap_bottomup(&w.tree, &g), brute_gap(&w, &g, false));
		found += vma_gap_topdown(&w.tree, &g) >= 0;
		if (step % 16 == 0)
			assert_int_equal(vma_tree_check(&w.tree, complain), 0);
	}
	assert_true(found > 1000 && found < 8000);
}

#define T(name, fn)                                     \
	{                                               \
		name, fn, p43_setup, p43_teardown, NULL \
	}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		T("vma: the nine areas of a 5.11 process make the recorded tree [I1 G4]", tree_shape),
		T("vma: their subtree gaps are the recorded ones [I2]", subtree_gaps),
		T("vma: gaps count from the previous end to the start less the guard gap [I3 I7 F12]",
		  gap_arithmetic),
		T("vma: the top-down search for one page finds 0x7ffff7ff9000 [I4 I6 I8]", topdown_finds_x),
		T("vma: in an empty space the search gives the end of the limits [I5]",
		  topdown_in_empty_space),
		T("vma: room above the highest area is taken first [I5]", space_above_the_highest),
		T("vma: the new area becomes the left child of vvar, and the gaps follow [I11 I12]",
		  link_of_x),
		T("vma: an area ends before its end, and find gives the first that ends behind an address "
		  "[H1 I10]",
		  end_is_the_first_byte_after),
		T("vma: a cow mapping is private and may be written [M2 H13]", cow_mapping),
		T("vma: ten thousand areas stay within 2 log2(n + 1) levels [H17 I9]", ten_thousand_areas),
		T("vma: vma_tree_check sees damage", check_sees_damage),
		T("vma: find and both gap searches agree with brute force over 8000 random steps [I10 H15]",
		  brute_force),
	};

	return cmocka_run_group_tests_name("vma", tests, NULL, NULL);
}
