/* SPDX-License-Identifier: MIT */
/* host_report.c - see host_report.h. Numbers are frames of 4 KiB, and those of the first line add up. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "../mm/census.h"
#include "../mm/kmem.h"
#include "../mm/mm.h"
#include "../mm/vmstat.h"
#include "../mm/zone.h"
#include "../mm/zswap.h"
#include "host_report.h"
#include "swapfile.h"

#define ROW	       "%-12s "
#define SLABINFO_BYTES 16384

static void print_owners(struct frames *f, FILE *out)
{
	struct census c;

	census_take(f, &c);
	fprintf(out,
		ROW "%" PRIu64 " frames: %" PRIu64 " anonymous, %" PRIu64 " cache, %" PRIu64
		    " compressed, %" PRIu64 " tables, %" PRIu64 " objects, %" PRIu64 " reserved, %" PRIu64
		    " bad, %" PRIu64 " other, %" PRIu64 " free (%" PRIu64 " at hand), %" PRIu64 " fresh\n",
		"arena", c.present, c.anon, c.cache, c.compressed, c.tables, c.objects, c.reserved, c.bad,
		c.other, c.free, c.at_hand, c.fresh);
}

static void print_reclaim(struct frames *f, FILE *out)
{
	fprintf(out,
		ROW "%" PRIu64 " looked at, %" PRIu64 " taken of files, %" PRIu64 " to swap, %" PRIu64
		    " given up by MADV_FREE; %" PRIu64 " came back; %" PRIu64 " epochs\n",
		"reclaim", vmstat_event(f, PGSCAN_FILE) + vmstat_event(f, PGSCAN_ANON),
		vmstat_event(f, PGSTEAL_FILE), vmstat_event(f, PGSTEAL_ANON) - vmstat_event(f, PGLAZYFREED),
		vmstat_event(f, PGLAZYFREED),
		vmstat_event(f, WORKINGSET_REFAULT_FILE) + vmstat_event(f, WORKINGSET_REFAULT_ANON),
		vmstat_event(f, AGEING_EPOCH));
}

static void print_zone(struct frames *f, struct zone *z, FILE *out)
{
	struct census c = {0};

	census_zone(f, z, &c);
	fprintf(out,
		ROW "node %u %-8s %" PRIu64 " present, %" PRIu64 " free, %" PRIu64 " at hand, %" PRIu64
		    " fresh; min %" PRIu64 " low %" PRIu64 " high %" PRIu64 "; %" PRIu64 " handed out\n",
		"zone", z->node, zone_name(z->type), c.present, c.free, c.at_hand, c.fresh,
		atomic_load(&z->watermark[WMARK_MIN]), atomic_load(&z->watermark[WMARK_LOW]),
		atomic_load(&z->watermark[WMARK_HIGH]), vmstat_zone(f, z, ZONE_PGALLOC));
}

static void print_zones(struct frames *f, FILE *out)
{
	for (unsigned int nid = 0; nid < f->nr_nodes; nid++)
		for (unsigned int type = 0; type < NR_ZONES; type++) {
			struct zone *z = node_zone(f, nid, type);
			if (z->present_pages)
				print_zone(f, z, out);
		}
}

static void print_caches(struct frames *f, FILE *out)
{
	char *text = malloc(SLABINFO_BYTES);

	if (!text)
		return;
	kmem_slabinfo(f, text, SLABINFO_BYTES);
	fputs(text, out);
	free(text);
}

static void print_swap(struct mm_host *h, FILE *out)
{
	for (unsigned int i = 0; i < MAX_SWAP_DEVICES; i++) {
		struct swap_device *d = h->swap.device[i];
		const struct swapfile *s = d ? swapfile_of(d) : NULL;
		if (d && d->in_memory)
			fprintf(out, ROW "%s: %" PRIu64 " slots, %" PRIu64 " in use, priority %d\n", "swap",
				d->path, d->nr_slots, d->map.nr_used, d->priority);
		if (s)
			fprintf(out,
				ROW "%s: %" PRIu64 " slots, %" PRIu64 " in use, %" PRIu64
				    " bad, priority %d; %" PRIu64 " pages written, %" PRIu64 " read; %" PRIu64
				    " transfers failed, %" PRIu64 " pages were damaged\n",
				"swap", s->path, s->device.nr_slots, s->device.map.nr_used,
				s->device.map.nr_bad, s->device.priority, atomic_load(&s->nr_written),
				atomic_load(&s->nr_read), atomic_load(&s->nr_errors),
				atomic_load(&s->nr_sum_errors));
	}
}

static void print_compressed(struct mm_host *h, FILE *out)
{
	struct zswap_view v;

	zswap_view(h, &v);
	if (v.name)
		fprintf(out,
			ROW "%s: %" PRIu64 " pages in %" PRIu64 " frames of %" PRIu64 "; %" PRIu64
			    " went in, %" PRIu64 " did not, %" PRIu64 " came out, %" PRIu64
			    " went on to files\n",
			"zswap", v.name, v.pages, v.frames, v.max_frames, vmstat_event(h->frames, ZSWPOUT),
			vmstat_event(h->frames, ZSWPOUT_REJECT), vmstat_event(h->frames, ZSWPIN),
			vmstat_event(h->frames, ZSWPWB));
}

int host_report(struct mm_host *h, FILE *out)
{
	struct frames *f = h->frames;

	print_owners(f, out);
	fprintf(out,
		ROW "%" PRIu64 " known to be zero, %" PRIu64 " cleared ahead, %" PRIu64
		    " cleared when asked for\n",
		"zeroed", vmstat_event(f, FRESH_HIT), vmstat_event(f, ZEROPOOL_HIT),
		vmstat_event(f, ZEROED_ON_ALLOC));
	print_reclaim(f, out);
	fprintf(out, ROW "%" PRIu64 " given back to the machine, in %" PRIu64 " calls\n", "unused",
		vmstat_event(f, PAGE_REPORTED), vmstat_event(f, PAGE_REPORT_CALLS));
	print_zones(f, out);
	print_swap(h, out);
	print_compressed(h, out);
	print_caches(f, out);
	return ferror(out) ? -EIO : 0;
}
