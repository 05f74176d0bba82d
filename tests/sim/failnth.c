/* SPDX-License-Identifier: MIT */
/* failnth.c - see failnth.h. */
#include "failnth.h"

#define A	 FAILNTH_AT
#define P	 PAGE_SIZE
#define RW	 (PROT_READ | PROT_WRITE)
#define SNAP_MAX 32

/* What the guest can see of its space, apart from where memory is. */
struct snapshot {
	unsigned int nr;
	struct vma area[SNAP_MAX];
	uint64_t sum, total_vm;
	gva_t brk;
	int64_t rss;
};

/* What is mapped at an address, by an entry of any level; NULL: nothing. */
static struct page *mapped_at(struct mm *mm, gva_t at)
{
	unsigned int level;
	const pte_t *slot = pgtable_leaf(&mm->pgt, at, &level);

	if (!slot || !pte_present(*slot) || (*slot & PTE_SPECIAL))
		return NULL;
	return pfn_to_page(mm->frames, pte_pfn(*slot) + ((at >> PAGE_SHIFT) & ((1ull << 9 * level) - 1)));
}

/* A page of a file may leave when memory is short: it comes back by a fault. */
static bool may_come_and_go(const struct page *page)
{
	const struct address_space *mapping = page_mapping(page);

	return mapping && !mapping->shmem && !(atomic_load(&page->flags) & PG_HUGETLB);
}

/* Everything readable, read without the guest's own faults: content of present entries only. */
static uint64_t content_sum(struct mm *mm)
{
	uint64_t sum = 0;
	struct vma *vma;

	vma_for_each (vma, &mm->vmas) {
		for (gva_t at = vma->start; at < vma->end; at += P) {
			const struct page *page = mapped_at(mm, at);

			if (!page || may_come_and_go(page))
				continue;
			const uint64_t *word = page_address(mm->frames, page);
			sum = (sum ^ word[0] ^ word[511] ^ at) * 0x100000001b3ull;
		}
	}
	return sum;
}

static void take_snapshot(struct mm *mm, struct snapshot *s)
{
	struct vma *vma;

	memset(s, 0, sizeof(*s));
	vma_for_each (vma, &mm->vmas) {
		assert_true(s->nr < SNAP_MAX);
		s->area[s->nr].start = vma->start;
		s->area[s->nr].end = vma->end;
		s->area[s->nr].flags = vma->flags;
		s->area[s->nr].pgoff = vma->pgoff;
		s->area[s->nr].file = vma->file;
		s->area[s->nr].mapping = vma->mapping;
		s->nr++;
	}
	s->sum = content_sum(mm);
	s->total_vm = mm->total_vm_pages;
	s->brk = mm->brk;
	s->rss = mm_counter(mm, MM_ANONPAGES) + mm_counter(mm, MM_SHMEMPAGES) +
		 mm_counter(mm, MM_HUGETLBPAGES);
}

static void assert_unchanged(struct mm *mm, const struct snapshot *before)
{
	struct snapshot now;

	take_snapshot(mm, &now);
	assert_int_equal(now.nr, before->nr);
	assert_memory_equal(now.area, before->area, sizeof(now.area));
	assert_int_equal(now.sum, before->sum);
	assert_int_equal(now.total_vm, before->total_vm);
	assert_int_equal(now.brk, before->brk);
	assert_int_equal(now.rss, before->rss);
	assert_mm_sound(mm);
}

struct scene *failnth_scene_new(void)
{
	struct scene *s = calloc(1, sizeof(*s));
	struct fixture *x = fixture_new(NULL);

	assert_true(s && x);
	s->x = x;
	sim_file_init(&s->file, x->machine, 64 * P);
	x->mm->start_brk = x->mm->brk = 0x600000;
	fixture_map(x, A, 20, RW, MAP_FIXED);
	fixture_map(x, A + 20 * P, 4, PROT_READ, MAP_FIXED);
	fixture_map(x, A + 0x100000, 16, RW, MAP_FIXED | MAP_SHARED);
	fixture_map_file(x, &s->file, A + 0x200000, 16, 0, RW, MAP_PRIVATE | MAP_FIXED);
	for (unsigned int i = 0; i < 10; i++) {
		fixture_store(x, A + i * P, i + 1);
		fixture_store(x, A + 0x100000 + i * P, i + 1);
		fixture_load(x, A + 0x200000 + i % 4 * P);
	}
	return s;
}

static bool has_free_object(struct kmem_cache *c)
{
	struct kmem_info info;

	kmem_cache_info(c, &info);
	return info.total_objects > info.active_objects;
}

static void fill_slabs(struct scene *s, struct kmem_cache *c)
{
	unsigned int first = s->nr_filler;

	while (has_free_object(c) && s->nr_filler < ARRAY_SIZE(s->filler))
		s->filler[s->nr_filler++] = kmem_cache_alloc(c);
	for (unsigned int i = 0; i < s->leave && s->nr_filler > first; i++)
		kmem_cache_free(c, s->filler[--s->nr_filler]);
}

static void empty_slabs(struct scene *s, struct kmem_cache *c, unsigned int from)
{
	while (s->nr_filler > from)
		kmem_cache_free(c, s->filler[--s->nr_filler]);
}

void failnth_scene_free(struct scene *s)
{
	int err = 0;

	s->x->machine->frames.fail_in = 0;
	mmput(s->child);
	mm_munmap(s->x->mm, 0x10000, TASK_SIZE - 0x10000);
	backing_put(&s->file.backing);
	err |= s->file.releases != 1;
	err |= fixture_free(s->x);
	free(s);
	assert_int_equal(err, 0);
}

static void assert_frames_sound(struct scene *s)
{
	struct mm *all[] = {s->x->mm, s->child};

	assert_int_equal(mm_check_host(&s->x->machine->host, all, s->child ? 2 : 1, complain), 0);
}

/* Runs the operation with the first, second, ... allocation failing until one run had no failure. */
static void fail_every_allocation(struct scene *s, bool fail_must_be_clean)
{
	struct frames *f = &s->x->machine->frames;
	struct mm_host *h = &s->x->machine->host;

	for (long n = 1; n < 1000; n++) {
		struct snapshot before, child_before = {0};
		struct kmem_cache *caches[] = {&h->vma_cache, &h->mapping_cache, &h->node_cache,
					       &h->anon_vma_cache, &h->chain_cache};
		unsigned int mark[ARRAY_SIZE(caches)];
		uint64_t failures = f->nr_fail;
		int err;

		for (unsigned int i = 0; i < ARRAY_SIZE(caches); i++) {
			mark[i] = s->nr_filler;
			fill_slabs(s, caches[i]);
		}
		take_snapshot(s->x->mm, &before);
		if (s->child)
			take_snapshot(s->child, &child_before);
		f->fail_in = n;
		err = s->op(s);
		f->fail_in = 0;
		for (unsigned int i = ARRAY_SIZE(caches); i-- > 0;)
			empty_slabs(s, caches[i], mark[i]);
		s->injected += f->nr_fail - failures;
		if (s->child) /* whatever the parent came to */
			assert_unchanged(s->child, &child_before);
		assert_frames_sound(s);
		if (f->nr_fail == failures) {
			assert_int_equal(err, 0);
			assert_mm_sound(s->x->mm);
			return;
		}
		if (err && fail_must_be_clean)
			assert_unchanged(s->x->mm, &before);
		assert_mm_sound(s->x->mm);
		/* An operation may do with less: then there is nothing more to fail in this state. */
		if (!err)
			return;
	}
	fail_msg("1000 failures in a row");
}

void failnth_fork(struct scene *s)
{
	assert_int_equal(mm_fork(s->x->mm, &s->child), 0);
}

void failnth_nothing(struct scene *s)
{
	(void)s;
}

void failnth_must_succeed(void (*prepare)(struct scene *s), int (*op)(struct scene *s))
{
	uint64_t failures;
	long n = 1;

	do {
		struct scene *s = failnth_scene_new();
		struct frames *f = &s->x->machine->frames;

		prepare(s);
		failures = f->nr_fail;
		f->fail_in = n++;
		assert_int_equal(op(s), 0);
		f->fail_in = 0;
		failures = f->nr_fail - failures;
		assert_frames_sound(s);
		assert_mm_sound(s->x->mm);
		if (s->child)
			assert_mm_sound(s->child);
		failnth_scene_free(s);
	} while (failures);
	assert_true(n > 2);
}

void failnth_run(void (*prepare)(struct scene *s), int (*op)(struct scene *s), bool clean)
{
	uint64_t injected = 0;

	for (unsigned int leave = 0; leave < 4; leave++) {
		struct scene *s = failnth_scene_new();

		s->op = op;
		s->leave = leave;
		prepare(s);
		fail_every_allocation(s, clean);
		injected += s->injected;
		failnth_scene_free(s);
	}
	assert_true(injected > 0);
}
