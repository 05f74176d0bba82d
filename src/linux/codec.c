/* SPDX-License-Identifier: MIT */
/* codec.c - see codec.h. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "codec.h"

#define NO_STRING UINT32_MAX

static bool make_room(struct codec *c, size_t bytes)
{
	size_t room = c->room ? c->room : 4096;

	if (c->room - c->nr >= bytes)
		return true;
	while (room - c->nr < bytes)
		room *= 2;
	char *bigger = realloc(c->bytes, room);
	if (!bigger)
		return false;
	c->bytes = bigger;
	c->room = room;
	return true;
}

void codec_bytes(struct codec *c, void *value, size_t bytes)
{
	if (!bytes)
		return;
	if (c->writing) {
		c->bad |= !make_room(c, bytes);
		if (c->bad)
			return;
		memcpy(c->bytes + c->nr, value, bytes);
		c->nr += bytes;
		return;
	}
	c->bad |= c->nr - c->at < bytes;
	if (c->bad) {
		memset(value, 0, bytes);
		return;
	}
	memcpy(value, c->bytes + c->at, bytes);
	c->at += bytes;
}

uint32_t codec_count(struct codec *c, uint64_t nr, uint32_t max)
{
	uint32_t count = (uint32_t)nr;

	c->bad |= c->writing && nr > max;
	CODE(c, count);
	c->bad |= count > max;
	return c->bad ? 0 : count;
}

static void read_string(struct codec *c, char **text, uint32_t bytes)
{
	*text = c->bad ? NULL : malloc(bytes + 1ul);
	if (!*text) {
		c->bad = true;
		return;
	}
	codec_bytes(c, *text, bytes);
	(*text)[bytes] = '\0';
	c->bad |= strlen(*text) != bytes;
}

void codec_string(struct codec *c, char **text)
{
	uint32_t bytes = NO_STRING;

	if (c->writing && *text)
		bytes = (uint32_t)strlen(*text);
	CODE(c, bytes);
	c->bad |= bytes != NO_STRING && bytes > PATH_MAX;
	if (c->writing) {
		if (bytes != NO_STRING)
			codec_bytes(c, *text, bytes);
		return;
	}
	*text = NULL;
	if (!c->bad && bytes != NO_STRING)
		read_string(c, text, bytes);
}

void codec_block(struct codec *c, void **block, size_t *bytes, size_t max)
{
	uint64_t nr = c->writing && *block ? *bytes : 0;

	CODE(c, nr);
	c->bad |= nr > max;
	if (c->writing) {
		codec_bytes(c, *block, nr);
		return;
	}
	*block = NULL;
	*bytes = c->bad ? 0 : nr;
	if (!*bytes)
		return;
	*block = aligned_alloc(64, (nr + 63) & ~63ull);
	if (*block)
		codec_bytes(c, *block, nr);
	else
		c->bad = true;
}

bool codec_is_done(const struct codec *c)
{
	return !c->bad && c->at == c->nr;
}
