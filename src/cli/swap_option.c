/* SPDX-License-Identifier: MIT */
#include "swap_option.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../include/lodge.h"
#include "message.h"
#include "quantity.h"

#define MAX_PRIORITY 32767

/* True when the text, up to its end, is a priority. */
static bool is_priority(const char *text, int *priority)
{
	char *end;
	unsigned long n = strtoul(text, &end, 10);

	if (*text < '0' || *text > '9' || *end || n > MAX_PRIORITY)
		return false;
	*priority = (int)n;
	return true;
}

static void cut(struct swap_option *s)
{
	char *last = strrchr(s->path, ':'), *before;
	int priority;

	if (!last)
		return;
	*last = '\0';
	before = strrchr(s->path, ':');
	if (before && is_priority(last + 1, &priority) &&
	    (!before[1] || !quantity_bytes(before + 1, &s->bytes))) {
		s->priority = priority;
		*before = '\0';
	} else if (quantity_bytes(last + 1, &s->bytes)) {
		*last = ':';
	}
}

int swap_option_parse(struct swap_option *s, const char *arg)
{
	*s = (struct swap_option){.path = strdup(arg), .priority = -1};
	if (!s->path)
		return -ENOMEM;
	cut(s);
	if (*s->path)
		return 0;
	free(s->path);
	return -EINVAL;
}

/* --- compressed --------------------------------------------------------------------------------------- */

/* Of the memory, what compressed pages may take: in front of files, and without any. */
#define COMPRESS_PART	    4
#define COMPRESS_ALONE_PART 2
/* Pages are that much smaller at most, on the whole: so much of them there is room for without a file. */
#define COMPRESS_MOST	    8

int compress_option_parse(struct compress_option *c, const char *arg)
{
	size_t name = strcspn(arg, ":");
	struct compress_option new = {0};

	if (!strcmp(arg, "none")) {
		*c = new;
		return 0;
	}
	if (!name || name >= sizeof(new.algorithm) ||
	    (arg[name] && (quantity_bytes(arg + name + 1, &new.bytes) || !new.bytes))) {
		message("--swap-compress '%s': must be zstd or lz4, with :SIZE or without, or none", arg);
		return -EINVAL;
	}
	memcpy(new.algorithm, arg, name);
	*c = new;
	return 0;
}

int compress_option_apply(const struct compress_option *c, struct lodge_host *host, uint64_t memory_bytes,
			  unsigned int nr_files, struct lodge_error *err)
{
	uint64_t bytes = c->bytes;

	if (!*c->algorithm)
		return 0;
	if (!bytes)
		bytes = memory_bytes / (nr_files ? COMPRESS_PART : COMPRESS_ALONE_PART);
	if (!bytes) {
		snprintf(err->text, sizeof(err->text), "--swap-compress %s: without --memory it needs a size",
			 c->algorithm);
		return -EINVAL;
	}
	return lodge_host_swap_compress(host, c->algorithm, bytes, nr_files ? 0 : bytes * COMPRESS_MOST, err);
}
