/* SPDX-License-Identifier: MIT */
/* swap_unuse.h - bringing back all that a device holds, before it goes. */
#ifndef LODGE_MM_SWAP_UNUSE_H
#define LODGE_MM_SWAP_UNUSE_H

struct swap_device;

/*
 * Until no slot of the device is in use; it gives out none meanwhile. A page that cannot be read is lost: whoever touches it gets SIGBUS.
 * 0, or -ENOMEM with some pages back already. No lock is held.
 */
int swap_unuse(struct swap_device *d);

#endif
