/* SPDX-License-Identifier: MIT */
/*
 * codec.h - values to bytes and back, by one function for both ways: who writes and who reads cannot disagree on the order.
 *
 * A read past the end, or of a count that is too large, makes the codec bad; from then on reads give zeroes and writes nothing, so
 * that only the end has to be looked at.
 */
#ifndef LODGE_LINUX_CODEC_H
#define LODGE_LINUX_CODEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct codec {
	bool writing, bad;
	char *bytes;	 /* writing: owned, until it is taken */
	size_t nr, room; /* nr: all there are */
	size_t at;	 /* reading */
};

/* A value as it lies in memory; of a type without pointers and, in what is written, without gaps that were never set. */
void codec_bytes(struct codec *c, void *value, size_t bytes);
#define CODE(c, value) codec_bytes(c, &(value), sizeof(value))

/* A number of things that follow, at most `max`. */
uint32_t codec_count(struct codec *c, uint64_t nr, uint32_t max);

/* Text, or NULL; what is read is the caller's. */
void codec_string(struct codec *c, char **text);

/* Bytes of a size of their own; what is read is the caller's, aligned to 64, and NULL when there are none. */
void codec_block(struct codec *c, void **block, size_t *bytes, size_t max);

/* All was read, and nothing is left. */
bool codec_is_done(const struct codec *c);

#endif
