/* SPDX-License-Identifier: MIT */
/* From pages back to areas: anon_vmas through splits, merges, moves and forks; i_mmap against a look at every area. */
#include "../../src/mm/area.h"
#include "../../src/mm/rmap.h"
#include "../../src/mm/zap.h"
#include "../sim/fixture.h"

#define A  0x10000000ull
#define P  PAGE_SIZE
#define RW (PROT_READ | PROT_WRITE)

static struct vma *area_at(struct fixture *x, gva_t address)
{
	struct vma *vma = vma_find(&x->mm->vmas, address);

	assert_true(vma && vma->start <= address);
	return vma;
}

static struct page *page_at(struct fixture *x, gva_t address)
{
	pte_t pte = fixture_pte(x, address);

	assert_true(pte_present(pte));
	return pfn_to_page(x->mm->frames, pte_pfn(pte));
}

static uint64_t active(struct kmem_cache *c)
{
	struct kmem_info info;

	kmem_cache_info(c, &info);
	return info.active_objects;
}

/* --- one space ----------------------------------------------------------------------------------------------------- */

static void page_names_its_anon_vma(void **state)
{
	struct fixture *x = *state;

	fixture_map(x, A, 4, RW, MAP_FIXED);
	fixture_load(x, A);
	assert_null(area_at(x, A)->anon_vma); /* the zero page is nobody's */
	fixture_store(x, A + 2 * P, 1);
	const struct anon_vma *av = area_at(x, A)->anon_vma;
	assert_non_null(av);
	const struct page *page = page_at(x, A + 2 * P);
	assert_int_equal((uintptr_t)page->mapping, (uintptr_t)av | 1);
	assert_int_equal(page->index, (A >> PAGE_SHIFT) + 2);
	assert_null(page_mapping(page));
	assert_ptr_equal(av->root, av);
	assert_int_equal(av->num_active_vmas, 1);
	assert_int_equal(av->num_children, 1);
}

/* Which of the two trees an area is in follows from what it maps. */
static void membership(void **state)
{
	struct fixture *x = *state;
	static struct sim_file file;

	sim_file_init(&file, x->machine, 16 * P);
	fixture_map_file(x, &file, A, 4, 0, RW, MAP_PRIVATE | MAP_FIXED);
	fixture_map_file(x, &file, A + 0x10000, 4, 0, PROT_READ, MAP_SHARED | MAP_FIXED);
	fixture_map(x, A + 0x20000, 4, RW, MAP_FIXED | MAP_SHARED);
	fixture_map(x, A + 0x30000, 4, RW, MAP_FIXED);
	fixture_load(x, A);
	assert_null(
		area_at(x, A)->anon_vma); /* in i_mmap alone until the first copy: vma_interval_check tells */
	for (unsigned int i = 0; i < 4; i++) {
		if (i != 1)
			fixture_store(x, A + i * 0x10000, i);
		else
			fixture_load(x, A + i * 0x10000);
	}
	assert_non_null(area_at(x, A)->anon_vma);
	assert_null(area_at(x, A + 0x10000)->anon_vma);
	assert_null(area_at(x, A + 0x20000)->anon_vma);
	assert_non_null(area_at(x, A + 0x30000)->anon_vma);
	unsigned int in_file = 0;
	struct interval_node *node;
	interval_tree_for_each(node, &file.backing.cache.i_mmap, 0, ~0ull) in_file++;
	assert_int_equal(in_file, 2);
	assert_mm_sound(x->mm);
	mm_munmap(x->mm, A, 0x40000);
	assert_true(interval_tree_empty(&file.backing.cache.i_mmap));
	backing_put(&file.backing);
}

static void neighbours_share(void **state)
{
	struct fixture *x = *state;

	fixture_map(x, A, 2, RW, MAP_FIXED);
	fixture_map(x, A + 2 * P, 2, RW | PROT_EXEC, MAP_FIXED);
	fixture_map(x, A + 4 * P, 2, RW, MAP_FIXED);
	fixture_store(x, A + 2 * P, 1);
	fixture_store(x, A, 1);		/* takes the next one's */
	fixture_store(x, A + 4 * P, 1); /* takes the one's before */
	assert_ptr_equal(area_at(x, A)->anon_vma, area_at(x, A + 2 * P)->anon_vma);
	assert_ptr_equal(area_at(x, A + 4 * P)->anon_vma, area_at(x, A + 2 * P)->anon_vma);
	assert_int_equal(area_at(x, A)->anon_vma->num_active_vmas, 3);
	assert_int_equal(mm_mprotect(x->mm, A + 2 * P, 2 * P, RW), 0);
	assert_int_equal(x->mm->vmas.nr, 1);
	assert_int_equal(area_at(x, A)->anon_vma->num_active_vmas, 1);
	assert_mm_sound(x->mm);
}

/* Two that had pages before they met stay two: a page finds its areas through one anon_vma only. */
static void strangers_stay_apart(void **state)
{
	struct fixture *x = *state;

	fixture_map(x, A, 2, RW, MAP_FIXED);
	fixture_map(x, A + 4 * P, 2, RW, MAP_FIXED);
	fixture_store(x, A, 1);
	fixture_store(x, A + 4 * P, 2);
	assert_ptr_not_equal(area_at(x, A)->anon_vma, area_at(x, A + 4 * P)->anon_vma);
	fixture_map(x, A + 2 * P, 2, RW, MAP_FIXED);
	assert_int_equal(x->mm->vmas.nr, 2);
	assert_int_equal(area_at(x, A)->end, A + 4 * P); /* the one below got it */
	fixture_store(x, A + 3 * P, 3);
	assert_mm_sound(x->mm);
}

static void splits_and_merges(void **state)
{
	struct fixture *x = *state;

	fixture_map(x, A, 8, RW, MAP_FIXED);
	for (unsigned int i = 0; i < 8; i++)
		fixture_store(x, A + i * P, i);
	struct anon_vma *av = area_at(x, A)->anon_vma;
	mm_mprotect(x->mm, A + 2 * P, P, PROT_READ);
	mm_mprotect(x->mm, A + 5 * P, P, PROT_READ);
	assert_int_equal(x->mm->vmas.nr, 5);
	assert_int_equal(av->num_active_vmas, 5);
	assert_mm_sound(x->mm);
	mm_munmap(x->mm, A + 3 * P, P);
	assert_mm_sound(x->mm);
	mm_mprotect(x->mm, A, 3 * P, RW);
	fixture_map(x, A + 3 * P, 1, RW, MAP_FIXED);
	mm_mprotect(x->mm, A + 5 * P, P, RW);
	assert_int_equal(x->mm->vmas.nr, 1);
	assert_int_equal(av->num_active_vmas, 1);
	assert_ptr_equal(area_at(x, A)->anon_vma, av);
	assert_mm_sound(x->mm);
	mm_munmap(x->mm, A, 8 * P);
	assert_int_equal(active(&x->machine->host.chain_cache), 0);
}

static void swallowing(void **state)
{
	struct fixture *x = *state;

	fixture_map(x, A + 4 * P, 4, RW, MAP_FIXED);
	fixture_store(x, A + 5 * P, 5);
	struct anon_vma *av = area_at(x, A + 4 * P)->anon_vma;
	fixture_map(x, A, 4, RW, MAP_FIXED);
	assert_int_equal(x->mm->vmas.nr, 1);
	assert_ptr_equal(area_at(x, A)->anon_vma, av);
	assert_int_equal(av->num_active_vmas, 1);
	assert_mm_sound(x->mm);
}

static void moves_keep_the_index(void **state)
{
	struct fixture *x = *state;

	fixture_map(x, A, 4, RW, MAP_FIXED);
	fixture_store(x, A + P, 1);
	uint64_t index = page_at(x, A + P)->index;
	assert_int_equal(mm_mremap(x->mm, A, 4 * P, 4 * P, MREMAP_MAYMOVE | MREMAP_FIXED, A + 0x100000),
			 A + 0x100000);
	assert_int_equal(page_at(x, A + 0x100000 + P)->index, index);
	assert_int_equal(area_at(x, A + 0x100000)->pgoff, A >> PAGE_SHIFT);
	assert_mm_sound(x->mm);
	/* Without a page of its own an area goes by its new address. */
	fixture_map(x, A, 4, RW, MAP_FIXED);
	assert_int_equal(mm_mremap(x->mm, A, 4 * P, 4 * P, MREMAP_MAYMOVE | MREMAP_FIXED, A + 0x200000),
			 A + 0x200000);
	assert_int_equal(area_at(x, A + 0x200000)->pgoff, (A + 0x200000) >> PAGE_SHIFT);
	assert_mm_sound(x->mm);
}

/* --- families ------------------------------------------------------------------------------------------------------ */

/* An area of a row of forks; it stands alone, for what a fork does with areas is another matter. */
static struct vma *member_new(struct fixture *x, const struct vma *parent)
{
	struct vma *vma = kmem_cache_zalloc(&x->machine->host.vma_cache);

	assert_non_null(vma);
	*vma = (struct vma){.start = A, .end = A + 8 * P, .pgoff = A >> PAGE_SHIFT, .mm = x->mm};
	list_init(&vma->anon_vma_chain);
	if (parent)
		assert_int_equal(anon_vma_fork(vma, parent), 0);
	else
		assert_int_equal(anon_vma_prepare(vma), 0);
	assert_null(anon_vma_check(vma));
	return vma;
}

static void member_free(struct fixture *x, struct vma *vma)
{
	anon_vma_unlink(vma);
	assert_true(list_empty(&vma->anon_vma_chain));
	kmem_cache_free(&x->machine->host.vma_cache, vma);
}

static unsigned int nr_chains(const struct vma *vma)
{
	const struct anon_vma_chain *c;
	unsigned int n = 0;

	list_for_each_entry (c, &vma->anon_vma_chain, same_vma)
		n++;
	return n;
}

static bool reaches(struct anon_vma *av, const struct vma *vma)
{
	struct interval_node *node;
	bool found = false;

	interval_tree_for_each(node, &av->tree, A >> PAGE_SHIFT, A >> PAGE_SHIFT) found |=
		((struct anon_vma_chain *)node)->vma == vma;
	return found;
}

static void fork_of_a_fork(void **state)
{
	struct fixture *x = *state;
	struct vma *one = member_new(x, NULL), *two = member_new(x, one), *three = member_new(x, two);

	assert_int_equal(nr_chains(one), 1);
	assert_int_equal(nr_chains(two), 2);
	assert_int_equal(nr_chains(three), 3);
	assert_true(reaches(one->anon_vma, one) && reaches(one->anon_vma, two) &&
		    reaches(one->anon_vma, three));
	assert_true(!reaches(two->anon_vma, one) && reaches(two->anon_vma, two) &&
		    reaches(two->anon_vma, three));
	assert_true(!reaches(three->anon_vma, two) && reaches(three->anon_vma, three));
	assert_ptr_equal(three->anon_vma->root, one->anon_vma);
	assert_ptr_equal(three->anon_vma->parent, two->anon_vma);
	assert_int_equal(one->anon_vma->num_children, 2); /* itself and two's */
	struct anon_vma *root = one->anon_vma;
	member_free(x, one); /* its pages may still be in two and three */
	assert_int_equal(root->num_active_vmas, 0);
	assert_true(reaches(root, three));
	member_free(x, three);
	assert_int_equal(two->anon_vma->num_children, 0);
	member_free(x, two);
	assert_int_equal(active(&x->machine->host.chain_cache), 0);
}

/* Each parent ends before its child forks: the family of a shell script's thousandth child is as small as the tenth's. */
static void row_of_forks(void **state)
{
	struct fixture *x = *state;
	struct vma *parent = member_new(x, NULL);

	for (unsigned int i = 0; i < 1000; i++) {
		struct vma *child = member_new(x, parent);

		member_free(x, parent);
		parent = child;
		assert_true(nr_chains(parent) <= 3);
	}
	member_free(x, parent);
	assert_int_equal(active(&x->machine->host.chain_cache), 0);
}

/* One that two branches hang from is left alone: pages of either would be looked for in both. */
static void branches_stay_apart(void **state)
{
	struct fixture *x = *state;
	struct vma *root = member_new(x, NULL), *left = member_new(x, root), *right = member_new(x, root);
	struct anon_vma *av = root->anon_vma;

	member_free(x, root);
	struct vma *below = member_new(x, left);
	assert_ptr_not_equal(below->anon_vma, av);
	assert_ptr_equal(below->anon_vma->parent, left->anon_vma);
	member_free(x, left);
	member_free(x, right);
	member_free(x, below);
}

/* A thousand random births and deaths: every area is found through its own anon_vma and through its parent's of the time. */
static void family_tree(void **state)
{
	struct fixture *x = *state;
	struct vma *member[40] = {NULL};
	uint64_t rng = random_seed(7);
	unsigned int forks = 0;

	for (unsigned int step = 0; step < 4000; step++) {
		unsigned int from = (unsigned int)random_below(&rng, 40),
			     to = (unsigned int)random_below(&rng, 40);

		if (member[to]) {
			member_free(x, member[to]);
			member[to] = NULL;
		} else {
			member[to] = member_new(x, member[from]);
			if (member[from]) {
				assert_true(reaches(member[from]->anon_vma, member[to]));
				forks++;
			}
			assert_true(reaches(member[to]->anon_vma, member[to]));
		}
		for (unsigned int i = 0; i < 40; i++)
			assert_true(!member[i] || !anon_vma_check(member[i]));
	}
	assert_true(forks > 500);
	for (unsigned int i = 0; i < 40; i++) {
		if (member[i])
			member_free(x, member[i]);
	}
	assert_int_equal(active(&x->machine->host.chain_cache), 0);
}

/* --- no memory ----------------------------------------------------------------------------------------------------- */

static int try_prepare(struct vma *vma, const struct vma *parent)
{
	(void)parent;
	return anon_vma_prepare(vma);
}

static void no_memory(void **state)
{
	struct fixture *x = *state;
	int (*const op[])(struct vma *, const struct vma *) = {try_prepare, anon_vma_clone, anon_vma_fork};
	struct vma *one = member_new(x, NULL), *parent = member_new(x, one), child;
	struct kmem_cache *cache[] = {&x->machine->host.anon_vma_cache, &x->machine->host.chain_cache};
	unsigned int failed = 0;

	for (unsigned int i = 0; i < 3; i++) {
		for (unsigned int c = 0; c < 2; c++) {
			int err = -ENOMEM;

			for (unsigned int n = 1; err; n++) {
				uint64_t before[2] = {active(cache[0]), active(cache[1])};

				child = (struct vma){.start = A,
						     .end = A + 8 * P,
						     .pgoff = A >> PAGE_SHIFT,
						     .mm = x->mm};
				list_init(&child.anon_vma_chain);
				kmem_cache_fail_every(cache[c], n);
				err = op[i](&child, parent);
				kmem_cache_fail_every(cache[c], 0);
				assert_null(anon_vma_check(parent));
				if (!err)
					break;
				failed++;
				assert_int_equal(err, -ENOMEM);
				assert_null(child.anon_vma);
				assert_true(list_empty(&child.anon_vma_chain));
				assert_int_equal(active(cache[0]), before[0]);
				assert_int_equal(active(cache[1]), before[1]);
			}
			anon_vma_unlink(&child);
		}
	}
	assert_int_equal(failed, 2 + 2 + 4); /* one each; the two chains; the anon_vma and three chains */
	member_free(x, parent);
	member_free(x, one);
}

/* --- i_mmap -------------------------------------------------------------------------------------------------------- */

static unsigned int maps_range(const struct mm *mm, const struct address_space *as, uint64_t first,
			       uint64_t last)
{
	const struct vma *vma;
	unsigned int n = 0;

	vma_for_each (vma, &mm->vmas)
		n += vma->mapping == as && vma->pgoff <= last && vma->pgoff + vma_pages(vma) > first;
	return n;
}

static void file_knows_its_areas(void **state)
{
	struct fixture *x = *state;
	struct mm *mm[2] = {x->mm, mm_create(&x->machine->host, 1000)};
	static struct sim_file file;
	uint64_t rng = random_seed(5);
	unsigned int most = 0;

	sim_file_init(&file, x->machine, 256 * P);
	const struct address_space *as = &file.backing.cache;
	for (unsigned int step = 0; step < 5000; step++) {
		struct mm *in = mm[random_below(&rng, 2)];
		struct mmap_request r = {.address = A + random_below(&rng, 128) * P,
					 .length = (1 + random_below(&rng, 24)) * P,
					 .prot = PROT_READ,
					 .flags = MAP_FIXED |
						  (random_below(&rng, 2) ? MAP_SHARED : MAP_PRIVATE),
					 .file = &file.backing,
					 .pgoff = random_below(&rng, 200),
					 .may_not_write = true};

		switch (random_below(&rng, 4)) {
		case 0:
			mm_munmap(in, r.address, r.length);
			break;
		case 1:
			mm_mprotect(in, r.address, r.length, PROT_READ | PROT_EXEC);
			break;
		case 2:
			mm_mremap(in, r.address, P, r.length, MREMAP_MAYMOVE, 0);
			break;
		default:
			assert_int_equal(mm_mmap(in, &r), r.address);
		}
		uint64_t first = random_below(&rng, 240), last = first + random_below(&rng, 16);
		struct interval_node *node;
		unsigned int found = 0;
		interval_tree_for_each(node, &as->i_mmap, first, last) found++;
		assert_int_equal(found,
				 maps_range(mm[0], as, first, last) + maps_range(mm[1], as, first, last));
		most = found > most ? found : most;
	}
	assert_true(most > 10);
	for (unsigned int i = 0; i < 2; i++) {
		assert_mm_sound(mm[i]);
		mm_munmap(mm[i], 0x10000, TASK_SIZE - 0x10000);
	}
	assert_true(interval_tree_empty(&as->i_mmap));
	mmput(mm[1]);
	backing_put(&file.backing);
}

static void unmap_everywhere(void **state)
{
	struct fixture *x = *state;
	struct address_space *as;
	static struct sim_file file;

	sim_file_init(&file, x->machine, 16 * P);
	as = &file.backing.cache;
	fixture_map_file(x, &file, A, 8, 0, RW, MAP_PRIVATE | MAP_FIXED);
	fixture_map_file(x, &file, A + 0x10000, 8, 4, PROT_READ, MAP_SHARED | MAP_FIXED);
	for (unsigned int i = 0; i < 8; i++) {
		fixture_load(x, A + i * P);
		fixture_load(x, A + 0x10000 + i * P);
	}
	fixture_store(x, A + 5 * P, 55);
	fixture_store(x, A + 6 * P, 66);
	unmap_mapping_range(as, 5, 6, UNMAP_CACHE_PAGES);
	assert_true(pte_present(fixture_pte(x, A + 5 * P))); /* a copy */
	assert_true(pte_none(fixture_pte(x, A + 0x10000 + P)));
	assert_true(pte_none(fixture_pte(x, A + 0x10000 + 2 * P)));
	assert_true(pte_present(fixture_pte(x, A + 0x10000)));
	assert_true(pte_present(fixture_pte(x, A + 0x10000 + 3 * P)));
	assert_int_equal(fixture_load(x, A + 5 * P), 55);
	unmap_mapping_range(as, 6, ~0ull, UNMAP_EVEN_COWS);
	assert_true(pte_present(fixture_pte(x, A + 5 * P)));
	for (unsigned int i = 6; i < 8; i++)
		assert_true(pte_none(fixture_pte(x, A + i * P)));
	for (unsigned int i = 2; i < 8; i++)
		assert_true(pte_none(fixture_pte(x, A + 0x10000 + i * P)));
	assert_mm_sound(x->mm);
	assert_int_equal(fixture_load(x, A + 6 * P),
			 sim_file_word(6 * P)); /* not the copy, by no stale translation */
	mm_munmap(x->mm, A, 0x20000);
	backing_put(&file.backing);
}

static void writable_areas_are_counted(void **state)
{
	struct fixture *x = *state;

	fixture_map(x, A, 8, RW, MAP_FIXED | MAP_SHARED);
	struct address_space *as = area_at(x, A)->mapping;
	assert_true(mapping_writably_mapped(as));
	assert_int_equal(mapping_deny_writable(as), -EBUSY);
	mm_munmap(x->mm, A + 2 * P, P);
	assert_int_equal(as->i_mmap_writable, 2);
	mm_mprotect(x->mm, A, 8 * P, PROT_READ); /* it still may become writable */
	assert_int_equal(as->i_mmap_writable, 2);
	backing_get(as->host);
	mm_munmap(x->mm, A, 8 * P);
	assert_int_equal(as->i_mmap_writable, 0);
	assert_int_equal(mapping_deny_writable(as), 0);
	assert_int_equal(mapping_map_writable(as), -EPERM);
	mapping_allow_writable(as);
	assert_int_equal(mapping_map_writable(as), 0);
	mapping_unmap_writable(as);
	assert_false(mapping_writably_mapped(as));
	backing_put(as->host);
}

#define CASE(name, fn)                                          \
	{                                                       \
		name, fn, fixture_setup, fixture_teardown, NULL \
	}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		CASE("anon_vma: an anonymous page's mapping is its area's anon_vma with bit 0 set [B3] [N2]",
		     page_names_its_anon_vma),
		CASE("anon_vma: private file areas are in both trees after a copy, shared ones in i_mmap "
		     "alone, "
		     "anonymous ones in anon_vmas alone [N3]",
		     membership),
		CASE("anon_vma: neighbours that differ in protection share one and become one area again "
		     "[N2]",
		     neighbours_share),
		CASE("anon_vma: areas that had pages before they met stay two [N2]", strangers_stay_apart),
		CASE("anon_vma: halves of an area are linked as it was, and one again when joined [N2] [Y14]",
		     splits_and_merges),
		CASE("anon_vma: an area that takes over its neighbour's range takes its links [N2] [Y14]",
		     swallowing),
		CASE("anon_vma: a page keeps its index when mremap moves it [N2] [Y14]",
		     moves_keep_the_index),
		CASE("anon_vma: a fork of a fork is linked to all ancestors, and to no child [N2] [Y14]",
		     fork_of_a_fork),
		CASE("anon_vma: a row of 1000 forks keeps three links at most [Y14]", row_of_forks),
		CASE("anon_vma: an ancestor with two branches is not taken over by either [Y14]",
		     branches_stay_apart),
		CASE("anon_vma: 4000 random forks and ends keep every area found [N2] [Y14]", family_tree),
		CASE("anon_vma: prepare, clone and fork without memory leave nothing behind [Y14]",
		     no_memory),
		CASE("i_mmap: 5000 random changes in two spaces, each query as a look at every area [N1]",
		     file_knows_its_areas),
		CASE("i_mmap: a range is unmapped everywhere, with or without private copies [N1]",
		     unmap_everywhere),
		CASE("i_mmap: shared areas that may be written are counted, and can be denied [N1]",
		     writable_areas_are_counted),
	};

	return cmocka_run_group_tests_name("anon_vma", tests, NULL, NULL);
}
