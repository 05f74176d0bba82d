/* SPDX-License-Identifier: MIT */
/*
 * core_reclaim.c - which pages reclaim takes, and what it costs, over memory that no processor uses.
 *
 *	core_reclaim [lru|same]	misses of a trace that is replayed, as a multiple of the fewest there can be (Belady's: the page goes that
 *				is used again last); of reclaim, of an exact LRU list, or of the pages that the trace uses most, kept all the time
 *				with one frame for the others: where accesses are independent of one another nobody who does not know the
 *				future does better
 *	  uniform-80-20-N	80 % of accesses to 20 % of the pages, N % of which fit into memory
 *	  zipf-50		access to the k-th page in proportion to 1/k
 *	  drift-50		80-20 with a hot part that moves on by a page every 200 accesses
 *	  stream-50		half of the accesses to a tenth of the pages, half of them to the others in order, round and round
 *	core_reclaim cost	ns per page: a page that is taken, of a file (clean) and to swap (a device in memory, copying included); a page
 *				of an epoch that ends, used and not
 *
 * The replay does what a processor does: it sets the accessed bit of an entry that is there, and faults where none is.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "../src/mm/ageing.h"
#include "../src/mm/vmscan.h"
#include "core.h"
#include "prog/clock.h"

#define PAGES	 8000u
#define ACCESSES 800000u
#define NEVER	 (~0u)

/* --- traces ------------------------------------------------------------------------------------------------------------ */

static uint32_t trace[ACCESSES];
static uint64_t seed = 88172645463325252ull;

static uint64_t next_random(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

static uint32_t below(uint32_t n)
{
	return (uint32_t)(next_random() % n);
}

/* Pages of a kind lie scattered in memory. */
static uint32_t scattered(uint32_t page)
{
	return (uint32_t)((uint64_t)page * 3571u % PAGES);
}

static uint32_t hot_or_cold(uint32_t first_hot)
{
	const uint32_t hot = PAGES / 5;

	return below(5) ? (first_hot + below(hot)) % PAGES : (first_hot + hot + below(PAGES - hot)) % PAGES;
}

static void make_80_20(void)
{
	for (unsigned int i = 0; i < ACCESSES; i++)
		trace[i] = scattered(hot_or_cold(0));
}

static void make_drift(void)
{
	for (unsigned int i = 0; i < ACCESSES; i++)
		trace[i] = scattered(hot_or_cold(i / 200 % PAGES));
}

static void make_stream(void)
{
	uint32_t at = 0;

	for (unsigned int i = 0; i < ACCESSES; i++)
		trace[i] = below(2) ? scattered(below(PAGES / 10))
				    : scattered(PAGES / 10 + at++ % (PAGES - PAGES / 10));
}

static void make_zipf(void)
{
	static double upto[PAGES];
	double sum = 0;

	for (unsigned int k = 0; k < PAGES; k++)
		upto[k] = sum += 1.0 / (k + 1);
	for (unsigned int i = 0; i < ACCESSES; i++) {
		double x = (double)(next_random() >> 11) / (double)(1ull << 53) * sum;
		unsigned int low = 0, high = PAGES - 1;
		while (low < high) {
			unsigned int middle = (low + high) / 2;
			if (upto[middle] < x)
				low = middle + 1;
			else
				high = middle;
		}
		trace[i] = scattered(low);
	}
}

/* --- the fewest misses ---------------------------------------------------------------------------------------------------- */

struct use {
	uint32_t when, page;
};

static struct use heap[2 * ACCESSES];
static unsigned int heap_size;

static void heap_push(struct use u)
{
	unsigned int i = heap_size++;

	for (; i && heap[(i - 1) / 2].when < u.when; i = (i - 1) / 2)
		heap[i] = heap[(i - 1) / 2];
	heap[i] = u;
}

static struct use heap_pop(void)
{
	struct use top = heap[0], last = heap[--heap_size];
	unsigned int i = 0, child;

	while ((child = 2 * i + 1) < heap_size) {
		if (child + 1 < heap_size && heap[child + 1].when > heap[child].when)
			child++;
		if (heap[child].when <= last.when)
			break;
		heap[i] = heap[child];
		i = child;
	}
	heap[i] = last;
	return top;
}

/* The heap has an entry for each time that a page was used; the page's own says which of them is the last. */
static uint64_t belady_misses(uint32_t frames)
{
	static uint32_t next[ACCESSES], last[PAGES], due[PAGES];
	static bool in[PAGES];
	uint32_t used = 0;
	uint64_t misses = 0;

	memset(last, 0xff, sizeof(last));
	memset(in, 0, sizeof(in));
	heap_size = 0;
	for (unsigned int i = ACCESSES; i-- > 0; last[trace[i]] = i)
		next[i] = last[trace[i]];
	for (unsigned int i = 0; i < ACCESSES; i++) {
		uint32_t page = trace[i];
		misses += !in[page];
		for (; !in[page] && used == frames;) {
			struct use u = heap_pop();
			if (in[u.page] && due[u.page] == u.when) {
				in[u.page] = false;
				used--;
			}
		}
		used += !in[page];
		in[page] = true;
		due[page] = next[i];
		heap_push((struct use){next[i], page});
	}
	return misses;
}

static uint64_t lru_misses(uint32_t frames)
{
	static struct {
		struct list_head node;
		bool in;
	} page[PAGES];
	struct list_head lru;
	uint32_t used = 0;
	uint64_t misses = 0;

	list_init(&lru);
	for (unsigned int i = 0; i < PAGES; i++) {
		list_init(&page[i].node);
		page[i].in = false;
	}
	for (unsigned int i = 0; i < ACCESSES; i++) {
		uint32_t p = trace[i];
		misses += !page[p].in;
		if (!page[p].in && used++ == frames) {
			struct list_head *oldest = lru.next;
			list_del(oldest);
			container_of(oldest, __typeof__(page[0]), node)->in = false;
			used--;
		}
		list_del(&page[p].node);
		list_add_tail(&page[p].node, &lru);
		page[p].in = true;
	}
	return misses;
}

static int more_uses(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x < y) - (x > y);
}

static uint64_t same_misses(uint32_t frames)
{
	static uint32_t uses[PAGES], sorted[PAGES];
	uint64_t misses = 0, other = ~0ull;
	uint32_t ties = 0;

	memset(uses, 0, sizeof(uses));
	for (unsigned int i = 0; i < ACCESSES; i++)
		uses[trace[i]]++;
	memcpy(sorted, uses, sizeof(uses));
	qsort(sorted, PAGES, sizeof(sorted[0]), more_uses);
	uint32_t least =
		sorted[frames - 2]; /* of those that stay; of pages with just as many, the first ones */
	for (unsigned int k = 0; k < frames - 1; k++)
		ties += sorted[k] == least;
	for (unsigned int page = 0; page < PAGES; page++)
		if (uses[page] == least && !(ties && ties--))
			uses[page] = 0;
	for (unsigned int i = 0; i < ACCESSES; i++) {
		bool stays = uses[trace[i]] >= least;
		misses += !stays && trace[i] != other;
		other = stays ? other : trace[i];
	}
	return misses + frames - 1;
}

/* --- reclaim ---------------------------------------------------------------------------------------------------------------- */

/* A swap device in memory: transfers are done at once. */
struct memory_swap {
	struct swap_device device;
	char *data;
};

static void submit(struct swap_device *d, struct swap_io **io, unsigned int nr)
{
	const struct memory_swap *s = container_of(d, struct memory_swap, device);

	for (unsigned int i = 0; i < nr; i++) {
		char *at = s->data + (io[i]->slot << PAGE_SHIFT);
		for (unsigned int k = 0; k < io[i]->nr; k++, at += PAGE_SIZE)
			memcpy(io[i]->write ? at : io[i]->iov[k].iov_base,
			       io[i]->write ? io[i]->iov[k].iov_base : at, PAGE_SIZE);
		io[i]->result = 0;
		io[i]->nr_done = io[i]->nr;
		io[i]->done(io[i]);
	}
}

static const struct swap_device_ops swap_ops = {.submit = submit};

static int swap_begin(struct core *c, struct memory_swap *s, uint64_t slots)
{
	*s = (struct memory_swap){.device = {.ops = &swap_ops, .path = "memory", .nr_slots = slots}};
	s->data = mmap(NULL, slots << PAGE_SHIFT, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (s->data == MAP_FAILED)
		return -1;
	madvise(s->data, slots << PAGE_SHIFT, MADV_HUGEPAGE);
	memset(s->data, 1, slots << PAGE_SHIFT); /* what the machine has to bring is not the device's time */
	return swap_on(&c->host, &s->device);
}

/* One access as a processor makes it. True: it missed. */
static bool access_page(struct core *c, gva_t address)
{
	pte_t *slot = pgtable_find(&c->mm->pgt, address);

	if (slot && (pte_read(slot) & PTE_PRESENT)) {
		__atomic_fetch_or(slot, PTE_ACCESSED | PTE_DIRTY, __ATOMIC_RELAXED);
		return false;
	}
	return !do_user_addr_fault(c->mm, address, PF_USER | PF_WRITE).signo;
}

static uint64_t reclaim_misses(struct core *c, uint32_t frames)
{
	gva_t at = core_map(c, PAGES, MAP_PRIVATE);
	uint64_t misses = 0, before = c->mm->memcg->max_pages;

	/* What the walk of the tables takes besides is not memory for pages. */
	for (unsigned int i = 0; i < PAGES; i += PTRS_PER_TABLE)
		access_page(c, at + ((gva_t)i << PAGE_SHIFT));
	uint64_t tables =
		atomic_load(&c->mm->memcg->usage_pages) - (PAGES + PTRS_PER_TABLE - 1) / PTRS_PER_TABLE;
	c->mm->memcg->max_pages = tables + frames;
	for (unsigned int i = 0; i < ACCESSES; i++)
		misses += access_page(c, at + ((gva_t)trace[i] << PAGE_SHIFT));
	c->mm->memcg->max_pages = before;
	mm_munmap(c->mm, at, (uint64_t)PAGES << PAGE_SHIFT);
	return misses;
}

static const struct {
	const char *name;
	void (*make)(void);
	uint32_t percent;
} workloads[] = {
	{"uniform-80-20-25", make_80_20, 25}, {"uniform-80-20-50", make_80_20, 50},
	{"uniform-80-20-75", make_80_20, 75}, {"zipf-50", make_zipf, 50},
	{"drift-50", make_drift, 50},	      {"stream-50", make_stream, 50},
};

static int misses(struct core *c, const char *who)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(workloads); i++) {
		uint32_t frames = PAGES * workloads[i].percent / 100;
		workloads[i].make();
		uint64_t nr = !strcmp(who, "lru")    ? lru_misses(frames)
			      : !strcmp(who, "same") ? same_misses(frames)
						     : reclaim_misses(c, frames);
		printf("%s %.3f\n", workloads[i].name, (double)nr / (double)belady_misses(frames));
	}
	return 0;
}

/* --- cost ------------------------------------------------------------------------------------------------------------------- */

#define ROUNDS	   5
#define COST_PAGES (64ull << (20 - PAGE_SHIFT))

static ssize_t zeroes(struct backing *b, void *buffer, size_t bytes, uint64_t offset)
{
	(void)b;
	(void)offset;
	memset(buffer, 0, bytes);
	return (ssize_t)bytes;
}

static int64_t cost_bytes(struct backing *b)
{
	(void)b;
	return COST_PAGES << PAGE_SHIFT;
}

static void released(struct backing *b)
{
	(void)b;
}

static const struct backing_ops file_ops = {.read = zeroes, .size = cost_bytes, .release = released};

static double ns_per_page(uint64_t since, uint64_t nr)
{
	return (double)(clock_now_ns() - since) / (double)(nr ? nr : 1);
}

/* The best of some rounds, so that memory that the machine had to bring does not count. */
struct costs {
	double age_used, age_unused, steal;
};

static bool fill(struct core *c, gva_t at, bool write)
{
	uint64_t *word;

	for (uint64_t i = 0; i < COST_PAGES; i++, at += PAGE_SIZE) {
		if (do_user_addr_fault(c->mm, at, PF_USER | (write ? PF_WRITE : 0)).signo)
			return false;
		word = pfn_address(&c->frames, pte_pfn(pte_read(pgtable_find(&c->mm->pgt, at))));
		if (write)
			*word = i + 1; /* no two alike, nor all words of one */
	}
	return true;
}

static void keep_least(double *least, double ns)
{
	if (ns < *least)
		*least = ns;
}

/* Everything is used, then nothing, and then half of it goes. */
static bool round_of(struct core *c, gva_t at, bool anon, struct costs *least)
{
	struct memcg *cg = c->mm->memcg;
	uint64_t start;

	atomic_store(&cg->swappiness, anon ? SWAPPINESS_MAX : 0);
	if (!fill(c, at, anon))
		return false;
	start = clock_now_ns();
	ageing_close(&c->host, cg);
	keep_least(&least->age_used, ns_per_page(start, COST_PAGES));
	start = clock_now_ns();
	ageing_close(&c->host, cg);
	keep_least(&least->age_unused, ns_per_page(start, COST_PAGES));
	start = clock_now_ns();
	keep_least(&least->steal, ns_per_page(start, memcg_reclaim(&c->host, cg, COST_PAGES / 2, 0)));
	return true;
}

static int cost(struct core *c)
{
	static struct backing file;
	struct costs of_files = {1e9, 1e9, 1e9}, of_anon = {1e9, 1e9, 1e9};

	backing_init(&file, &c->host, &file_ops);
	const struct mmap_request r = {.length = COST_PAGES << PAGE_SHIFT,
				       .prot = PROT_BITS_READ,
				       .flags = MAP_SHARED,
				       .file = &file};
	for (unsigned int i = 0; i < ROUNDS; i++) {
		gva_t at = core_map(c, COST_PAGES, MAP_PRIVATE);
		if (!at || !round_of(c, at, true, &of_anon) || mm_munmap(c->mm, at, COST_PAGES << PAGE_SHIFT))
			return -1;
	}
	int64_t at = mm_mmap(c->mm, &r);
	for (unsigned int i = 0; i < ROUNDS; i++)
		if (at < 0 || !round_of(c, (gva_t)at, false, &of_files))
			return -1;
	printf("age-used %.1f\nage-unused %.1f\nsteal-anon %.1f\nsteal-file %.1f\n", of_anon.age_used,
	       of_anon.age_unused, of_anon.steal, of_files.steal);
	return 0;
}

int main(int argc, char **argv)
{
	static struct core c;
	static struct memory_swap swap;

	if (core_init(&c, 3 * COST_PAGES, CORE_ARENA_TOUCHED) || swap_begin(&c, &swap, 3 * COST_PAGES))
		return 1;
	if (argc > 1 && !strcmp(argv[1], "cost"))
		return cost(&c) ? 1 : 0;
	return misses(&c, argc > 1 ? argv[1] : "") ? 1 : 0;
}
