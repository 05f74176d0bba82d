/* SPDX-License-Identifier: MIT */
/* memcg.c - charging frames to an account. See memcg.h. */
#include <stdlib.h>
#include <string.h>

#include "kswapd.h"
#include "memcg.h"

/* What is kept for tables: a frame and a 64th of the limit, at most 256 KiB. */
#define RESERVE_PART	   64
#define RESERVE_MOST_PAGES 64

void memcg_init(struct memcg *cg, uint64_t max_pages, void (*release)(struct memcg *cg))
{
	memset(cg, 0, sizeof(*cg));
	hugetlb_pool_init(&cg->hugetlb);
	zpool_init(&cg->zpool);
	atomic_init(&cg->high_pages, ~0ull);
	stall_init(&cg->stall);
	atomic_init(&cg->swappiness, SWAPPINESS);
	atomic_init(&cg->ageing.youngest, 1);
	pthread_mutex_init(&cg->ageing.lock, NULL);
	for (unsigned int i = 0; i < NR_RECLAIM_TYPES; i++)
		cg->ageing.hand[i].age = 1;
	list_init(&cg->spaces);
	cg->max_pages = max_pages;
	cg->overcommit_ratio = OVERCOMMIT_RATIO;
	cg->admin_reserve_kbytes = ADMIN_RESERVE_KBYTES;
	cg->user_reserve_kbytes = USER_RESERVE_KBYTES;
	cg->refs = 1;
	cg->release = release;
}

void memcg_copy_settings(struct memcg *to, const struct memcg *from)
{
	atomic_store(&to->max_pages, atomic_load(&from->max_pages));
	atomic_store(&to->high_pages, atomic_load(&from->high_pages));
	atomic_store(&to->swappiness, atomic_load(&from->swappiness));
	atomic_store(&to->thp, atomic_load(&from->thp));
	atomic_store(&to->overcommit_memory, atomic_load(&from->overcommit_memory));
	atomic_store(&to->overcommit_ratio, atomic_load(&from->overcommit_ratio));
	atomic_store(&to->overcommit_kbytes, atomic_load(&from->overcommit_kbytes));
	atomic_store(&to->admin_reserve_kbytes, atomic_load(&from->admin_reserve_kbytes));
	atomic_store(&to->user_reserve_kbytes, atomic_load(&from->user_reserve_kbytes));
}

static void drop_refs(struct memcg *cg, uint64_t nr)
{
	if (atomic_fetch_sub_explicit(&cg->refs, nr, memory_order_acq_rel) != nr)
		return;
	free(atomic_load(&cg->workingset.table));
	if (cg->release)
		cg->release(cg);
}

void memcg_get(struct memcg *cg)
{
	atomic_fetch_add_explicit(&cg->refs, 1, memory_order_relaxed);
}

void memcg_put(struct memcg *cg)
{
	drop_refs(cg, 1);
}

static void note_peak(struct memcg *cg, uint64_t usage)
{
	uint64_t peak = atomic_load_explicit(&cg->peak_pages, memory_order_relaxed);

	while (usage > peak && !atomic_compare_exchange_weak(&cg->peak_pages, &peak, usage))
		;
}

void memcg_keep_reserve(struct memcg *cg)
{
	if (!atomic_load_explicit(&cg->keeps_reserve, memory_order_relaxed))
		atomic_store_explicit(&cg->keeps_reserve, true, memory_order_relaxed);
}

/* What others than memcg_charge_reserve may have. */
static uint64_t ordinary_limit(const struct memcg *cg)
{
	uint64_t max = atomic_load_explicit(&cg->max_pages, memory_order_relaxed);
	bool keeps = atomic_load_explicit(&cg->keeps_reserve, memory_order_relaxed);

	return keeps ? max - min_u64(max / RESERVE_PART + 1, RESERVE_MOST_PAGES) : max;
}

/* Adds as long as that is no more than `limit`; *usage: with it. */
static bool charge_up_to(struct memcg *cg, uint64_t nr_pages, uint64_t limit, uint64_t *usage)
{
	*usage = atomic_load_explicit(&cg->usage_pages, memory_order_relaxed);
	do {
		if (nr_pages > limit || *usage > limit - nr_pages) {
			atomic_fetch_add_explicit(&cg->nr_failures, 1, memory_order_relaxed);
			return false;
		}
	} while (!atomic_compare_exchange_weak(&cg->usage_pages, usage, *usage + nr_pages));
	*usage += nr_pages;
	atomic_fetch_add_explicit(&cg->refs, nr_pages, memory_order_relaxed);
	note_peak(cg, *usage);
	return true;
}

/* Where memory is known to be needed kswapd keeps at it: a device that has nothing to write is time lost. But it goes in batches. */
static uint64_t wake_mark(const struct memcg *cg)
{
	bool needed = atomic_load_explicit(&cg->kswapd_credit_pages, memory_order_relaxed);
	uint64_t low = memcg_low_mark(cg);

	return needed ? low + low / 4 * 3 : low;
}

bool memcg_charge(struct memcg *cg, uint64_t nr_pages)
{
	uint64_t limit = ordinary_limit(cg), usage;

	if (!charge_up_to(cg, nr_pages, limit, &usage))
		return false;
	struct kswapd *kswapd = atomic_load_explicit(&cg->kswapd, memory_order_relaxed);
	if (kswapd && limit - usage < wake_mark(cg))
		kswapd_wake(kswapd, cg);
	return true;
}

bool memcg_charge_reserve(struct memcg *cg, uint64_t nr_pages)
{
	uint64_t usage = atomic_load_explicit(&cg->usage_pages, memory_order_relaxed);
	uint64_t max = atomic_load_explicit(&cg->max_pages, memory_order_relaxed);

	return charge_up_to(cg, nr_pages, usage > max ? usage + nr_pages : max, &usage);
}

void memcg_uncharge(struct memcg *cg, uint64_t nr_pages)
{
	atomic_fetch_sub(&cg->usage_pages, nr_pages);
	drop_refs(cg, nr_pages);
}

uint64_t memcg_room(const struct memcg *cg)
{
	uint64_t limit = ordinary_limit(cg);
	uint64_t usage = atomic_load_explicit(&cg->usage_pages, memory_order_relaxed);

	return usage < limit ? limit - usage : 0;
}
