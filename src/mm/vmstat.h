/* SPDX-License-Identifier: MIT */
/*
 * vmstat.h - the state of nodes and zones as text, in the formats of the kernel's files of these names.
 *
 * What no bank has brought yet is free (zone.h): free counts it as such, and managed is the most that a zone can have. Lists hold
 * less, so buddyinfo adds up to nr_free_pages without that room, which zoneinfo shows as a line of its own. Numbers are read zone by zone: exact while nobody allocates.
 */
#ifndef LODGE_MM_VMSTAT_H
#define LODGE_MM_VMSTAT_H

#include <stdio.h>

#include "page.h"

/* /proc/buddyinfo, /proc/pagetypeinfo, /proc/zoneinfo: guest zones, then those of tables and objects. */
void vmstat_buddyinfo(struct frames *f, FILE *out);
void vmstat_pagetypeinfo(struct frames *f, FILE *out);
void vmstat_zoneinfo(struct frames *f, FILE *out);

/* /proc/vmstat: one counter to a line. */
void vmstat_counters(struct frames *f, FILE *out);

/* What free(1) prints, in KiB, of the zones of guests. */
struct vmstat_free {
	uint64_t total, used, free, shared, buff_cache, available;
};
struct vmstat_free vmstat_free(struct frames *f);
void vmstat_print_free(struct frames *f, FILE *out);

/* A counter of a zone with what its processors counted. */
uint64_t vmstat_zone(struct frames *f, struct zone *z, enum zone_stat what);
uint64_t vmstat_event(const struct frames *f, enum vm_event what);

#endif
