/* SPDX-License-Identifier: MIT */
/*
 * snapshot_supply.h - an image as the source of blocks that are filled when they are touched: lazy.h below, supply.h in the core.
 *
 * A page that is not what was saved, or a handler that is gone, ends every program that has memory of the image, as SIGBUS that nobody
 * can catch: task_memory_has_failed.
 */
#ifndef LODGE_LINUX_SNAPSHOT_SUPPLY_H
#define LODGE_LINUX_SNAPSHOT_SUPPLY_H

#include "../mm/restore.h"

struct image;
struct inject;
struct lazy;
struct snapshot_supply;
struct vm;

/* It has a reference of the image, and the caller one of its supply, which ends it. NULL: no memory. */
struct snapshot_supply *snapshot_supply_create(struct lazy *lazy, struct image *image, struct vm *vm,
					       struct inject *inject);
struct supply *snapshot_supply_of(struct snapshot_supply *s);

/* The aligned 2 MiB from `start` on are 512 pages of the image from `first` on. 0, or as mm_restore_block. */
int snapshot_supply_block(struct snapshot_supply *s, struct mm *mm, gva_t start, uint64_t first);

#endif
