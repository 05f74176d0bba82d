/* SPDX-License-Identifier: MIT */
/* What is done to all entries of a page, and pages that move to other frames while they are used. */
#include <pthread.h>
#include <sched.h>
#include <unistd.h>

#include "../../src/mm/compaction.h"
#include "../../src/mm/fault.h"
#include "../../src/mm/migrate.h"
#include "../../src/mm/page_lock.h"
#include "../../src/mm/reclaim.h"
#include "../../src/mm/rmap.h"
#include "../../src/mm/watermark.h"
#include "../../src/mm/zap.h"
#include "../sim/fixture.h"

#define A  0x10000000ull
#define P  PAGE_SIZE
#define RW (PROT_READ | PROT_WRITE)

static struct page *page_at(struct fixture *x, gva_t address)
{
	pte_t pte = fixture_pte(x, address);

	assert_true(pte_present(pte));
	return pfn_to_page(x->mm->frames, pte_pfn(pte));
}

/* Moves the page that an address shows, as compaction would: 0 or -errno. */
static int move(struct fixture *x, gva_t address)
{
	struct frames *f = x->mm->frames;
	struct page *from = page_at(x, address), *to = page_alloc(f, GFP_HIGHUSER_MOVABLE, 0);

	assert_non_null(to);
	int err = f->reclaim->migrate(f->reclaim_ctx, from, to);
	page_free(f, err ? to : from);
	return err;
}

/* --- walks --------------------------------------------------------------------------------------------------------- */

static void referenced(void **state)
{
	struct fixture *x = *state;
	struct mm_host *h = &x->machine->host;

	fixture_map(x, A, 1, RW, MAP_FIXED | MAP_SHARED);
	fixture_store(x, A, 1);
	assert_int_equal(mm_mremap(x->mm, A, 0, P, MREMAP_MAYMOVE | MREMAP_FIXED, A + 0x10000), A + 0x10000);
	assert_int_equal(fixture_load(x, A + 0x10000), 1);
	struct page *page = page_at(x, A);
	assert_int_equal(rmap_count(h, page), 2);
	assert_int_equal(page_referenced(h, page), 2);
	assert_int_equal(page_referenced(h, page), 0);
	sim_cpu_flush(x->cpu);
	fixture_load(x, A);
	assert_int_equal(page_referenced(h, page), 1);
}

static void store_faults_after_mkclean(void **state)
{
	struct fixture *x = *state;
	struct mm_host *h = &x->machine->host;
	struct address_space *as;

	fixture_map(x, A, 4, RW, MAP_FIXED | MAP_SHARED);
	for (unsigned int i = 0; i < 4; i++)
		fixture_store(x, A + i * P, i);
	as = vma_find(&x->mm->vmas, A)->mapping;
	assert_int_equal(page_mkclean(h, page_at(x, A + P)), 1);
	assert_int_equal(page_mkclean(h, page_at(x, A + P)), 0);
	assert_false(pte_write(fixture_pte(x, A + P)));
	assert_true(pte_write(fixture_pte(x, A)));
	uint64_t revokes = x->mm->nr_revokes;
	assert_int_equal(mapping_mkclean(as, 0, 2), 2);
	assert_int_equal(x->mm->nr_revokes, revokes + 1);
	assert_true(pte_write(fixture_pte(x, A + 3 * P)));
	uint64_t faults = x->mm->faults[FAULT_WP_SHARED];
	for (unsigned int i = 0; i < 4; i++)
		fixture_store(x, A + i * P, 10 + i);
	assert_int_equal(x->mm->faults[FAULT_WP_SHARED],
			 faults + 3); /* seen, in spite of what the processor had cached */
	assert_mm_sound(x->mm);
}

static void clean_pages_can_go(void **state)
{
	struct fixture *x = *state;
	struct mm_host *h = &x->machine->host;
	static struct sim_file file;

	sim_file_init(&file, x->machine, 8 * P);
	fixture_map_file(x, &file, A, 8, 0, PROT_READ, MAP_PRIVATE | MAP_FIXED);
	fixture_map_file(x, &file, A + 0x10000, 8, 0, PROT_READ, MAP_SHARED | MAP_FIXED);
	fixture_load(x, A);
	fixture_load(x, A + 0x10000);
	struct page *page = page_at(x, A);
	assert_int_equal(rmap_count(h, page), 2);
	page_lock(page);
	bool gone = try_to_unmap(h, page);
	page_unlock(page);
	assert_true(gone);
	assert_int_equal(mm_rss_pages(x->mm), 0);
	assert_mm_sound(x->mm);
	assert_int_equal(filemap_drop(&file.backing.cache, 0, 0), 1);
	unsigned int reads = file.reads;
	assert_int_equal(fixture_load(x, A), sim_file_word(0));
	assert_true(file.reads > reads);
	/* What is locked stays. */
	vma_find(&x->mm->vmas, A)->flags |= VM_LOCKED;
	page = page_at(x, A);
	page_lock(page);
	gone = try_to_unmap(h, page);
	page_unlock(page);
	assert_false(gone);
	assert_int_equal(rmap_count(h, page), 1);
	vma_find(&x->mm->vmas, A)->flags &= ~(uint64_t)VM_LOCKED;
	mm_munmap(x->mm, A, 0x20000);
	backing_put(&file.backing);
}

/* --- the page lock ------------------------------------------------------------------------------------------------- */

struct counter {
	struct page *page;
	unsigned int value; /* under the page's lock */
};

static void *count_up(void *arg)
{
	struct counter *c = arg;

	for (unsigned int i = 0; i < 2000; i++) {
		page_lock(c->page);
		unsigned int was = c->value;
		if (i % 64 == 0)
			sched_yield();
		c->value = was + 1;
		page_unlock(c->page);
	}
	return NULL;
}

static void page_lock_excludes(void **state)
{
	struct fixture *x = *state;
	struct counter c = {.page = page_alloc(x->mm->frames, GFP_HIGHUSER_MOVABLE, 0)};
	pthread_t thread[3];

	for (unsigned int i = 0; i < 3; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, count_up, &c), 0);
	for (unsigned int i = 0; i < 3; i++)
		pthread_join(thread[i], NULL);
	assert_int_equal(c.value, 6000);
	assert_true(page_trylock(c.page));
	assert_false(page_trylock(c.page));
	assert_true(page_locked(c.page));
	page_unlock(c.page);
	assert_int_equal(c.page->flags, 0);
	page_free(x->mm->frames, c.page);
}

struct remover {
	struct address_space *as;
	_Atomic bool done;
};

static void *remove_first(void *arg)
{
	struct remover *r = arg;

	filemap_remove(r->as, 0, 0);
	atomic_store(&r->done, true);
	return NULL;
}

/* Whoever has the page locked may rely on its mapping. */
static void removal_waits(void **state)
{
	struct fixture *x = *state;
	static struct sim_file file;
	struct remover r = {.as = &file.backing.cache};
	pthread_t thread;

	sim_file_init(&file, x->machine, P);
	fixture_map_file(x, &file, A, 1, 0, PROT_READ, MAP_PRIVATE | MAP_FIXED);
	fixture_load(x, A);
	mm_munmap(x->mm, A, P);
	struct page *page = filemap_find(r.as, 0);
	page_lock(page);
	assert_int_equal(pthread_create(&thread, NULL, remove_first, &r), 0);
	while (!(atomic_load(&page->flags) & PG_WAITERS) && !atomic_load(&r.done))
		sched_yield();
	bool there = page_mapping(page) == r.as && !atomic_load(&r.done);
	page_unlock(page);
	pthread_join(thread, NULL);
	assert_true(there);
	assert_null(page_mapping(page));
	assert_int_equal(filemap_nr_pages(r.as), 0);
	page_put(x->mm->frames, page);
	backing_put(&file.backing);
}

/* --- moving -------------------------------------------------------------------------------------------------------- */

static void anonymous_page_moves(void **state)
{
	struct fixture *x = *state;

	fixture_map(x, A, 4, RW, MAP_FIXED);
	fixture_store(x, A + P, 0x1234);
	struct page *page = page_at(x, A + P);
	assert_int_equal(move(x, A + P), 0);
	assert_ptr_not_equal(page_at(x, A + P), page);
	assert_int_equal(fixture_load(x, A + P), 0x1234);
	fixture_store(x, A + P, 0x5678);
	assert_int_equal(fixture_load(x, A + P), 0x5678);
	assert_int_equal(mm_counter(x->mm, MM_ANONPAGES), 1);
	assert_int_equal(page_at(x, A + P)->index, (A >> PAGE_SHIFT) + 1);
	assert_mm_sound(x->mm);
}

/* Protection of the area is what the entry has afterwards: written, read-only, and not accessible at all. */
static void rights_survive(void **state)
{
	struct fixture *x = *state;

	fixture_map(x, A, 3, RW, MAP_FIXED);
	for (unsigned int i = 0; i < 3; i++)
		fixture_store(x, A + i * P, i);
	mm_mprotect(x->mm, A + P, P, PROT_READ);
	mm_mprotect(x->mm, A + 2 * P, P, PROT_NONE);
	for (unsigned int i = 0; i < 3; i++)
		assert_int_equal(move(x, A + i * P), 0);
	assert_true(pte_write(fixture_pte(x, A)));
	assert_false(pte_write(fixture_pte(x, A + P)));
	assert_false(fixture_pte(x, A + 2 * P) & PTE_PRESENT);
	assert_true(fixture_pte(x, A + 2 * P) & PTE_PROTNONE);
	assert_mm_sound(x->mm);
	assert_signal(x, SIM_STORE, A + P, SIGSEGV, SEGV_ACCERR);
	assert_signal(x, SIM_LOAD, A + 2 * P, SIGSEGV, SEGV_ACCERR);
	mm_mprotect(x->mm, A, 3 * P, RW);
	for (unsigned int i = 0; i < 3; i++)
		assert_int_equal(fixture_load(x, A + i * P), i);
}

static void cache_page_moves(void **state)
{
	struct fixture *x = *state;
	static struct sim_file file;

	sim_file_init(&file, x->machine, 8 * P);
	fixture_map_file(x, &file, A, 8, 0, RW, MAP_PRIVATE | MAP_FIXED);
	fixture_map_file(x, &file, A + 0x10000, 8, 0, PROT_READ, MAP_SHARED | MAP_FIXED);
	fixture_load(x, A + 3 * P);
	fixture_load(x, A + 0x10000 + 3 * P);
	struct page *page = page_at(x, A + 3 * P);
	assert_int_equal(move(x, A + 3 * P), 0);
	struct page *now = page_at(x, A + 3 * P);
	assert_ptr_not_equal(now, page);
	assert_ptr_equal(page_at(x, A + 0x10000 + 3 * P), now);
	assert_ptr_equal(filemap_find(&file.backing.cache, 3), now);
	page_put(x->mm->frames, now);
	assert_int_equal(filemap_check(&file.backing.cache), 0);
	unsigned int reads = file.reads;
	assert_int_equal(fixture_load(x, A + 3 * P), sim_file_word(3 * P));
	assert_int_equal(file.reads, reads);
	assert_int_equal(mm_counter(x->mm, MM_FILEPAGES), 2);
	assert_mm_sound(x->mm);
	/* And one that nobody maps. */
	mm_munmap(x->mm, A, 0x20000);
	struct frames *f = x->mm->frames;
	struct page *to = page_alloc(f, GFP_HIGHUSER_MOVABLE, 0);
	assert_int_equal(f->reclaim->migrate(f->reclaim_ctx, now, to), 0);
	page_free(f, now);
	assert_int_equal(filemap_check(&file.backing.cache), 0);
	backing_put(&file.backing);
}

/* Whoever holds a page from outside would go on with the old frame. */
static void held_pages_stay(void **state)
{
	struct fixture *x = *state;
	struct page *page;

	fixture_map(x, A, 2, RW, MAP_FIXED);
	fixture_store(x, A, 1);
	assert_int_equal(get_user_pages(x->mm, A, 1, true, &page), 1);
	assert_int_equal(move(x, A), -EBUSY);
	assert_ptr_equal(page_at(x, A), page);
	assert_true(pte_write(fixture_pte(x, A)));
	page_put(x->mm->frames, page);
	page_lock(page);
	assert_int_equal(move(x, A), -EAGAIN);
	page_unlock(page);
	assert_int_equal(fixture_load(x, A), 1);
	assert_int_equal(move(x, A), 0);
	assert_mm_sound(x->mm);
}

/* --- forks --------------------------------------------------------------------------------------------------------- */

#define FORKED_PAGES 4

/* What a fork does with one area, entry by entry. */
static void fork_area(struct fixture *x, struct mm *parent, struct mm *child)
{
	struct mmap_request r = {.address = A,
				 .length = FORKED_PAGES * P,
				 .prot = RW,
				 .flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED};

	child->fault_around_pages = 1;
	assert_int_equal(mm_mmap(child, &r), A);
	assert_int_equal(anon_vma_fork(vma_find(&child->vmas, A), vma_find(&parent->vmas, A)), 0);
	for (gva_t at = A; at < A + FORKED_PAGES * P; at += P) {
		pte_t *from = pgtable_find(&parent->pgt, at), *to = pgtable_alloc(&child->pgt, at);
		struct page *page = pfn_to_page(x->mm->frames, pte_pfn(*from));

		*from &= ~PTE_WRITE;
		*to = *from;
		page_get(page);
		page->mapcount++;
		child->rss[MM_ANONPAGES]++;
	}
	sim_cpu_flush(x->cpu);
}

static void forked_pages_move_everywhere(void **state)
{
	struct fixture *x = *state;
	struct mm_host *h = &x->machine->host;
	struct mm *mm[3] = {x->mm, mm_create(h, 1000), mm_create(h, 1000)};
	const unsigned int entries[FORKED_PAGES] = {3, 1, 1, 3}; /* of the first space's pages */

	fixture_map(x, A, FORKED_PAGES, RW, MAP_FIXED);
	for (unsigned int i = 0; i < FORKED_PAGES; i++)
		fixture_store(x, A + i * P, i);
	fork_area(x, mm[0], mm[1]);
	sim_cpu_load(x->cpu, mm[1]);
	fixture_store(x, A + P, 11);
	fixture_store(x, A + 2 * P, 12);
	fork_area(x, mm[1], mm[2]);
	for (unsigned int i = 0; i < FORKED_PAGES; i++) {
		struct page *page = page_at(x, A + i * P);

		assert_int_equal(rmap_count(h, page), entries[i]);
		assert_int_equal(page->mapcount, entries[i]);
		assert_int_equal(move(x, A + i * P), 0);
		assert_int_equal(rmap_count(h, page_at(x, A + i * P)), entries[i]);
	}
	/* Both pages of the second space, in it and in its child. */
	for (unsigned int i = 1; i < 3; i++) {
		pte_t pte = *pgtable_find(&mm[1]->pgt, A + i * P);

		assert_int_equal(pte_pfn(*pgtable_find(&mm[2]->pgt, A + i * P)), pte_pfn(pte));
		assert_int_equal(rmap_count(h, pfn_to_page(x->mm->frames, pte_pfn(pte))), 2);
	}
	for (unsigned int i = 0; i < 3; i++) {
		sim_cpu_load(x->cpu, mm[i]);
		assert_int_equal(fixture_load(x, A), 0);
		assert_int_equal(fixture_load(x, A + P), i ? 11 : 1);
		fixture_store(x, A, 100 + i);
		assert_mm_sound(mm[i]);
	}
	for (unsigned int i = 0; i < 3; i++) {
		sim_cpu_load(x->cpu, mm[i]);
		assert_int_equal(fixture_load(x, A), 100 + i);
	}
	sim_cpu_load(x->cpu, x->mm);
	mmput(mm[1]);
	assert_int_equal(fixture_load(x, A + 3 * P), 3);
	mmput(mm[2]);
}

/* Called by a revocation: the other space stores while this one's entry is blocked already. */
struct intruder {
	struct fixture *x;
	const struct mmu_ops *ops;
	void *ctx;
	bool done;
};

static void *store_elsewhere(void *arg)
{
	struct intruder *in = arg;
	uint64_t word = 77;

	sim_store(&in->x->machine->cpu[1], A, &word, 8);
	return NULL;
}

static void intrude(void *ctx, struct mmu_batch *batch)
{
	struct intruder *in = ctx;
	pthread_t thread; /* which has none of the mover's locks */

	in->ops->revoke(in->ctx, batch);
	if (in->done || batch->mm != in->x->mm)
		return;
	in->done = true;
	assert_int_equal(pthread_create(&thread, NULL, store_elsewhere, in), 0);
	pthread_join(thread, NULL);
}

static void no_false_sole_owner(void **state)
{
	static const struct mmu_ops ops = {.revoke = intrude};
	struct sim_config config = {.cpus = 2};
	struct fixture *x = fixture_new(&config);
	struct mm_host *h = &x->machine->host;
	struct mm *child = mm_create(h, 1000);
	struct intruder in = {.x = x, .ops = h->mmu_ops, .ctx = h->mmu_ctx};

	(void)state;
	fixture_map(x, A, FORKED_PAGES, RW, MAP_FIXED);
	for (unsigned int i = 0; i < FORKED_PAGES; i++)
		fixture_store(x, A + i * P, i + 5);
	fork_area(x, x->mm, child);
	sim_cpu_load(&x->machine->cpu[1], child);
	h->mmu_ops = &ops;
	h->mmu_ctx = &in;
	move(x, A);
	h->mmu_ops = in.ops;
	h->mmu_ctx = in.ctx;
	assert_true(in.done);
	assert_int_equal(fixture_load(x, A), 5);
	uint64_t word;
	assert_int_equal(sim_load(&x->machine->cpu[1], A, &word, 8).signo, 0);
	assert_int_equal(word, 77);
	assert_mm_sound(child);
	sim_cpu_load(&x->machine->cpu[1], NULL);
	mmput(child);
	assert_int_equal(fixture_free(x), 0);
}

/* --- while it moves ------------------------------------------------------------------------------------------------ */

/* What a page looks like between steps 2 and 4: locked, and an entry that says so. */
static struct page *begin_move(struct fixture *x, gva_t address)
{
	struct page *page = page_at(x, address);
	pte_t *slot = pgtable_find(&x->mm->pgt, address);

	page_lock(page);
	page_get(page);
	*slot = entry_make(ENTRY_MIGRATION, page_to_pfn(x->mm->frames, page)) | ENTRY_WRITABLE |
		(pte_t)page_counter(page) << ENTRY_COUNTER_SHIFT;
	atomic_fetch_sub(&page->mapcount, 1);
	atomic_fetch_sub(&page->refs, 1);
	sim_cpu_flush(x->cpu);
	return page;
}

struct toucher {
	struct fixture *x;
	_Atomic bool done;
	uint64_t value;
};

static void *touch_page(void *arg)
{
	struct toucher *t = arg;

	sim_load(t->x->cpu, A, &t->value, 8);
	atomic_store(&t->done, true);
	return NULL;
}

static void fault_waits(void **state)
{
	struct fixture *x = *state;
	struct toucher t = {.x = x};
	pthread_t thread;

	fixture_map(x, A, 2, RW, MAP_FIXED);
	fixture_store(x, A, 99);
	struct page *page = begin_move(x, A);
	pte_t *slot = pgtable_find(&x->mm->pgt, A);
	assert_int_equal(pthread_create(&thread, NULL, touch_page, &t), 0);
	while (!(atomic_load(&page->flags) & PG_WAITERS))
		sched_yield();
	usleep(20000); /* so that it most likely sleeps, and has to be woken */
	assert_false(atomic_load(&t.done));
	page_get(page);
	atomic_fetch_add(&page->mapcount, 1);
	pthread_mutex_lock(&x->mm->page_table_lock);
	pte_set(slot, pte_make(page_to_pfn(x->mm->frames, page),
			       vma_pte_flags(VM_READ | VM_WRITE) | PTE_WRITE | PTE_DIRTY));
	pthread_mutex_unlock(&x->mm->page_table_lock);
	page_unlock(page);
	page_put(x->mm->frames, page);
	pthread_join(thread, NULL);
	assert_true(t.done);
	assert_int_equal(t.value, 99);
}

/* The page is gone for this space before it arrived. */
static void unmapped_on_the_way(void **state)
{
	struct fixture *x = *state;

	fixture_map(x, A, 2, RW, MAP_FIXED);
	fixture_store(x, A, 99);
	struct page *page = begin_move(x, A);
	mm_mprotect(x->mm, A, P, PROT_READ);
	assert_false(*pgtable_find(&x->mm->pgt, A) & ENTRY_WRITABLE); /* it will not come back writable */
	assert_int_equal(mm_munmap(x->mm, A, 2 * P), 0);
	assert_int_equal(mm_rss_pages(x->mm), 0);
	page_unlock(page);
	page_put(x->mm->frames, page);
	assert_mm_sound(x->mm);
}

/* The file became shorter while one of its pages was on the way. */
static void truncated_on_the_way(void **state)
{
	struct fixture *x = *state;

	fixture_map(x, A, 2, RW, MAP_FIXED | MAP_SHARED);
	fixture_store(x, A, 99);
	struct page *page = begin_move(x, A);
	unmap_mapping_range(page_mapping(page), 0, 0, UNMAP_CACHE_PAGES);
	assert_true(pte_none(fixture_pte(x, A)));
	assert_int_equal(mm_rss_pages(x->mm), 0);
	page_unlock(page);
	page_put(x->mm->frames, page);
	assert_mm_sound(x->mm);
}

/* --- who is told when ------------------------------------------------------------------------------------------------ */

/* Hears revocations before the machine does, and whether others could enter the space meanwhile. */
struct spy {
	struct mm_host *host;
	const struct mmu_ops *ops;
	void *ctx;
	unsigned int nr_revokes, nr_open;
};

static void spy_revoke(void *ctx, struct mmu_batch *batch)
{
	struct spy *spy = ctx;

	spy->nr_revokes++;
	if (!pthread_mutex_trylock(&batch->mm->page_table_lock)) {
		spy->nr_open++;
		pthread_mutex_unlock(&batch->mm->page_table_lock);
	}
	spy->ops->revoke(spy->ctx, batch);
}

static void spy_begin(struct spy *spy, struct mm_host *h)
{
	static const struct mmu_ops ops = {.revoke = spy_revoke};

	*spy = (struct spy){.host = h, .ops = h->mmu_ops, .ctx = h->mmu_ctx};
	h->mmu_ops = &ops;
	h->mmu_ctx = spy;
}

static void assert_told_under_lock(struct spy *spy)
{
	spy->host->mmu_ops = spy->ops;
	spy->host->mmu_ctx = spy->ctx;
	assert_true(spy->nr_revokes > 0);
	assert_int_equal(spy->nr_open, 0);
}

/* Whoever finds that a page is moving, and drops or copies what says so, may rely on that nobody uses the page. */
static void told_before_seen(void **state)
{
	struct fixture *x = *state;
	struct spy spy;

	fixture_map(x, A, 2, RW, MAP_FIXED);
	fixture_store(x, A, 1);
	spy_begin(&spy, &x->machine->host);
	assert_int_equal(move(x, A), 0);
	assert_told_under_lock(&spy);
	assert_int_equal(fixture_load(x, A), 1);
}

/* A page in the table may move for those who still have it: it would not be looked for in a space that has left. */
static void told_before_left(void **state)
{
	struct fixture *x = *state;
	struct mm *child;
	struct spy spy;

	fixture_map(x, A, 1024, RW, MAP_FIXED);
	fixture_store(x, A, 1);
	fixture_store(x, A + PMD_SIZE, 2);
	assert_int_equal(mm_fork(x->mm, &child), 0);
	spy_begin(&spy, &x->machine->host);
	assert_int_equal(mm_madvise(x->mm, A, PMD_SIZE, MADV_DONTNEED), 0);
	assert_told_under_lock(&spy);
	spy_begin(&spy, &x->machine->host);
	assert_int_equal(mm_munmap(x->mm, A, 2 * PMD_SIZE), 0);
	assert_told_under_lock(&spy);
	assert_mm_sound(child);
	mmput(child);
}

/* --- compaction ---------------------------------------------------------------------------------------------------- */

#define ZONE_PAGES 4096u

static void fill(struct fixture *x, struct sim_file *file)
{
	fixture_map(x, A, 2048, RW, MAP_FIXED);
	fixture_map(x, A + (1ull << 32), 1024, RW, MAP_FIXED | MAP_SHARED);
	fixture_map_file(x, file, A + (2ull << 32), 512, 0, PROT_READ, MAP_PRIVATE | MAP_FIXED);
	for (uint64_t i = 0; i < 2048; i++) {
		fixture_store(x, A + i * P, i);
		if (i < 1024)
			fixture_store(x, A + (1ull << 32) + i * P, ~i);
		if (i < 512)
			assert_int_equal(fixture_load(x, A + (2ull << 32) + i * P), sim_file_word(i * P));
	}
}

/* Leaves every eighth page of each kind. */
static void riddle(struct fixture *x)
{
	for (uint64_t i = 0; i < 2048; i++) {
		if (i % 8 == 0)
			continue;
		mm_madvise(x->mm, A + i * P, P, MADV_DONTNEED);
		if (i < 1024)
			mm_madvise(x->mm, A + (1ull << 32) + i * P, P, MADV_REMOVE);
	}
}

static void assert_contents(struct fixture *x)
{
	for (uint64_t i = 0; i < 2048; i += 8) {
		assert_int_equal(fixture_load(x, A + i * P), i);
		if (i < 1024)
			assert_int_equal(fixture_load(x, A + (1ull << 32) + i * P), ~i);
		if (i < 512)
			assert_int_equal(fixture_load(x, A + (2ull << 32) + i * P), sim_file_word(i * P));
	}
}

static void compaction_moves_mapped_pages(void **state)
{
	struct sim_config config = {.normal_pages = ZONE_PAGES, .no_pcp = true};
	struct fixture *x = fixture_new(&config);
	struct frames *f = &x->machine->frames;
	static struct sim_file file;
	struct page *block, *whole[8]; /* blocks that were free as they are */
	unsigned int nr_whole = 0;

	(void)state;
	sim_file_init(&file, x->machine, 512 * P);
	fill(x, &file);
	riddle(x);
	while (nr_whole < ARRAY_SIZE(whole) && (block = page_alloc(f, GFP_TRANSHUGE_LIGHT, 9)))
		whole[nr_whole++] = block;
	assert_null(page_alloc(f, GFP_TRANSHUGE_LIGHT, 9));
	assert_mm_sound(x->mm);
	block = page_alloc(f, GFP_HIGHUSER_MOVABLE | __GFP_NOWARN, 9);
	assert_non_null(block);
	assert_true(f->event[PGMIGRATE_SUCCESS] > 50);
	page_free_block(f, block, 9);
	while (nr_whole)
		page_free_block(f, whole[--nr_whole], 9);
	assert_mm_sound(x->mm);
	assert_contents(x);
	assert_int_equal(filemap_check(&file.backing.cache), 0);
	mm_munmap(x->mm, 0x10000, TASK_SIZE - 0x10000);
	backing_put(&file.backing);
	assert_int_equal(fixture_free(x), 0);
}

#define CASE(name, fn)                                          \
	{                                                       \
		name, fn, fixture_setup, fixture_teardown, NULL \
	}
#define SHADOW(name, fn)                                                           \
	{                                                                          \
		name " (shadow)", fn, fixture_setup_shadow, fixture_teardown, NULL \
	}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		CASE("rmap: use of a page is seen in all its entries, once [Y14]", referenced),
		CASE("rmap: after page_mkclean every store faults first, with one revocation per area [Y14]",
		     store_faults_after_mkclean),
		SHADOW("rmap: after page_mkclean every store faults first", store_faults_after_mkclean),
		CASE("rmap: a clean page is taken out of every area but locked ones, and read anew [Y14]",
		     clean_pages_can_go),
		CASE("rmap: the page lock excludes, and wakes who sleeps for it", page_lock_excludes),
		CASE("rmap: a page leaves its file only when it is not locked", removal_waits),
		CASE("migrate: an anonymous page moves with its content, entry and account [Y14]",
		     anonymous_page_moves),
		SHADOW("migrate: an anonymous page moves with its content, entry and account",
		       anonymous_page_moves),
		CASE("migrate: the new entry allows what the old one did [Y14]", rights_survive),
		CASE("migrate: a cache page moves in the cache and in all areas [N1] [Y14]",
		     cache_page_moves),
		CASE("migrate: a page that is held or locked stays as it is [Y14]", held_pages_stay),
		CASE("migrate: after a fork of a fork a walk finds every entry, and all move [N2] [Y14]",
		     forked_pages_move_everywhere),
		SHADOW("migrate: after a fork of a fork a walk finds every entry, and all move",
		       forked_pages_move_everywhere),
		{"migrate: a space whose entry is still there does not take itself for the page's only user "
		 "[N2] [Y14]",
		 no_false_sole_owner, NULL, NULL, NULL},
		CASE("migrate: a fault on a page that moves waits for it and is tried again [Y14][Y8]",
		     fault_waits),
		CASE("migrate: a page may be unmapped while it moves [Y14]", unmapped_on_the_way),
		CASE("migrate: a page may leave its file's areas while it moves [N1] [Y14]",
		     truncated_on_the_way),
		CASE("migrate: processors have forgotten a page before anybody sees that it moves [Y14]",
		     told_before_seen),
		CASE("migrate: processors have forgotten a shared table before its space lets go of it "
		     "[Y14][N2]",
		     told_before_left),
		{"compaction: mapped pages of all kinds move out of the way of a large block [Y14]",
		 compaction_moves_mapped_pages, NULL, NULL, NULL},
	};

	return cmocka_run_group_tests_name("rmap", tests, NULL, NULL);
}
