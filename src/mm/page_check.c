/* SPDX-License-Identifier: MIT */
/* page_check.c - bad frames and poison. See page_check.h. */
#include <string.h>

#include "page_check.h"

static const char *reason_of(const struct page *page)
{
	uint32_t flags = atomic_load(&page->flags);

	if (atomic_load(&page->mapcount))
		return "nonzero mapcount";
	if (atomic_load(&page->refs))
		return "nonzero _refcount";
	if (page->mapping)
		return "non-NULL mapping";
	if (page->memcg)
		return "page still charged to cgroup";
	if (flags & (PG_FREE | PG_BUDDY))
		return "freed twice";
	return "page flags set";
}

static void report_bad(struct frames *f, const struct page *page, const char *when, const char *reason)
{
	char flags[160];

	frames_report(f,
		      "BUG: Bad page state %s pfn:%05llx: %s: refcount:%u mapcount:%u mapping:%p index:%#llx "
		      "flags:%#x(%s)",
		      when, (unsigned long long)page_to_pfn(f, page), reason, atomic_load(&page->refs),
		      atomic_load(&page->mapcount), (const void *)page->mapping,
		      (unsigned long long)page->index, atomic_load(&page->flags),
		      page_flags_string(atomic_load(&page->flags), flags, sizeof(flags)));
	frames_count(f, BAD_PAGE, 1);
}

static void retire(struct frames *f, struct page *page, unsigned int nr)
{
	struct zone *z = page_zone(f, page);

	pthread_mutex_lock(&z->lock);
	for (unsigned int i = 0; i < nr; i++)
		atomic_store(&page[i].flags, PG_BAD);
	z->nr_bad_pages += nr;
	pthread_mutex_unlock(&z->lock);
}

void page_bad_free(struct frames *f, struct page *page)
{
	uint32_t flags = atomic_load(&page->flags);

	report_bad(f, page, "in page_free", reason_of(page));
	/* One that the allocator has already stays where it is: only its second appearance is bad. */
	if (!(flags & (PG_FREE | PG_BAD)))
		retire(f, page, 1);
}

bool pages_check_new(struct frames *f, struct page *page, unsigned int order)
{
	bool poison = atomic_load_explicit(&f->debug, memory_order_relaxed) & FRAMES_POISON;

	bool good = true;

	for (unsigned int i = 0; i < 1u << order; i++) {
		const char *reason = !page_is_clean_free(&page[i]) ? reason_of(&page[i])
				     : poison && !page_poison_intact(f, &page[i])
					     ? "written while it was free"
					     : NULL;
		if (reason)
			report_bad(f, &page[i], "in page_alloc", reason);
		good = good && !reason;
	}
	/* The whole block: its other frames cannot go back without touching the lists that the bad one spoiled. */
	if (!good)
		retire(f, page, 1u << order);
	return good;
}

void page_poison(struct frames *f, struct page *page)
{
	memset(page_address(f, page), PAGE_POISON, PAGE_SIZE);
}

bool page_poison_intact(struct frames *f, const struct page *page)
{
	const uint64_t *word = page_address(f, page);
	uint64_t expected = atomic_load_explicit(&page->flags, memory_order_relaxed) & PG_FRESH
				    ? 0
				    : 0xaaaaaaaaaaaaaaaaull;

	for (unsigned int i = 0; i < PAGE_SIZE / sizeof(*word); i++)
		if (word[i] != expected)
			return false;
	return true;
}
