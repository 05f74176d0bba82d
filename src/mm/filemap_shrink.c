/* SPDX-License-Identifier: MIT */
/* filemap_shrink.c - room. See filemap_shrink.h. */
#include "filemap_shrink.h"
#include "i_mmap.h"
#include "mm.h"

/* Pages that go with one walk of each area's tables. */
#define CHUNK_PAGES 2048

/* One pass over the mappings of a host. */
struct shrink {
	struct mm_host *host;
	struct memcg *cg;
	uint64_t wanted, dropped;
	unsigned int min_age;
	uint64_t pass; /* mappings that this pass has seen carry it */
};

/* Nobody maps it: all that is idle there may go at once. A hint. */
static bool is_unmapped(struct address_space *as)
{
	pthread_mutex_lock(&as->i_mmap_lock);
	bool empty = interval_tree_empty(&as->i_mmap);
	pthread_mutex_unlock(&as->i_mmap_lock);
	return empty;
}

/* The largest mapping that the pass has not seen, with a reference to its file; NULL: it has seen all. */
static struct address_space *next_mapping(struct shrink *s)
{
	struct address_space *as, *largest = NULL;
	uint64_t most = 0;

	pthread_mutex_lock(&s->host->mappings_lock);
	list_for_each_entry (as, &s->host->mappings, mapping_node) {
		uint64_t nr = __atomic_load_n(&as->pages.nr_pages, __ATOMIC_RELAXED);
		if (as->shrink_pass != s->pass && nr > most) {
			largest = as;
			most = nr;
		}
	}
	if (largest)
		largest->shrink_pass = s->pass;
	if (largest && !backing_get_live(largest->host))
		largest = NULL;
	pthread_mutex_unlock(&s->host->mappings_lock);
	return largest;
}

/* Takes the pages [first, last] out of the spaces and drops what was idle then. */
static void shrink_chunk(struct shrink *s, struct address_space *as, uint64_t first, uint64_t last)
{
	writeback_range(as, first, last);
	unmap_mapping_range(as, first, last, UNMAP_UNLOCKED);
	s->dropped += filemap_drop_charged(as, first, last, s->cg, 0);
}

/* Once around the mapping, from where the last shrink left off. */
static void shrink_mapped(struct shrink *s, struct address_space *as)
{
	uint64_t index = atomic_load(&as->shrink_next), start = index;
	bool wrapped = false;

	while (s->dropped < s->wanted) {
		if (!filemap_next(as, &index) || (wrapped && index >= start)) {
			if (wrapped || !start)
				break;
			wrapped = true;
			index = 0;
			continue;
		}
		uint64_t nr = min_u64(s->wanted - s->dropped, CHUNK_PAGES);
		shrink_chunk(s, as, index, index + nr - 1);
		index += nr;
	}
	atomic_store(&as->shrink_next, index);
}

static void shrink_unmapped(struct shrink *s, struct address_space *as)
{
	if (is_unmapped(as))
		s->dropped += filemap_drop_charged(as, 0, ~0ull, s->cg, 0);
	else if (s->min_age != NO_AGE)
		s->dropped += filemap_drop_charged(as, 0, ~0ull, s->cg, s->min_age);
}

static void shrink_pass(struct shrink *s, bool mapped)
{
	struct address_space *as;

	s->pass = atomic_fetch_add(&s->host->shrink_pass, 1) + 1;
	while (s->dropped < s->wanted && (as = next_mapping(s))) {
		if (mapped)
			shrink_mapped(s, as);
		else
			shrink_unmapped(s, as);
		backing_put(as->host);
	}
}

uint64_t filemap_shrink(struct mm_host *h, struct memcg *cg, uint64_t nr_pages)
{
	struct shrink s = {.host = h, .cg = cg, .wanted = nr_pages, .min_age = NO_AGE};

	shrink_pass(&s, false);
	if (s.dropped < s.wanted)
		shrink_pass(&s, true);
	return s.dropped;
}

uint64_t filemap_shrink_unmapped(struct mm_host *h, struct memcg *cg, uint64_t nr_pages, unsigned int min_age)
{
	struct shrink s = {.host = h, .cg = cg, .wanted = nr_pages, .min_age = min_age};

	shrink_pass(&s, false);
	return s.dropped;
}
