/* SPDX-License-Identifier: MIT */
/* option_table.c - see option_table.h. */
#include "option_table.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../include/lodge.h"
#include "message.h"
#include "quantity.h"
#include "watch.h"

#define PAGE_BYTES	 4096
#define MIN_MEMORY_BYTES (64ull << 10)
#define MAX_WINDOW_BYTES (2ull << 20)

static void append(const char **list, const char *entry)
{
	while (*list)
		list++;
	*list = entry;
}

static int parse_size(const char *option, const char *arg, uint64_t *bytes)
{
	switch (quantity_bytes(arg, bytes)) {
	case 0:
		return 0;
	case -ERANGE:
		message("--%s %s: the size is too large", option, arg);
		return -EINVAL;
	default:
		message("--%s '%s': not a size such as 512K, 64M or 2G", option, arg);
		return -EINVAL;
	}
}

static int set_memory(struct run_options *o, const char *arg)
{
	uint64_t bytes;
	int err = parse_size("memory", arg, &bytes);

	if (err)
		return err;
	if (bytes < MIN_MEMORY_BYTES || bytes % PAGE_BYTES) {
		message("--memory %s: must be a multiple of 4K and at least 64K", arg);
		return -EINVAL;
	}
	o->memory_bytes = bytes;
	return 0;
}

static int set_memory_high(struct run_options *o, const char *arg)
{
	uint64_t bytes;
	int err = parse_size("memory-high", arg, &bytes);

	if (err)
		return err;
	if (!bytes || bytes % PAGE_BYTES) {
		message("--memory-high %s: must be a multiple of 4K", arg);
		return -EINVAL;
	}
	o->memory_high_bytes = bytes;
	return 0;
}

static int set_fault_around(struct run_options *o, const char *arg)
{
	uint64_t bytes;
	int err = parse_size("fault-around", arg, &bytes);

	if (err)
		return err;
	if (bytes < PAGE_BYTES || bytes > MAX_WINDOW_BYTES || (bytes & (bytes - 1))) {
		message("--fault-around %s: must be a power of two from 4K to 2M", arg);
		return -EINVAL;
	}
	o->fault_around_pages = (uint32_t)(bytes / PAGE_BYTES);
	return 0;
}

static int set_timeout(struct run_options *o, const char *arg)
{
	o->timeout_text = arg;
	return watch_parse_timeout(arg, &o->timeout_ns);
}

static int set_grace(struct run_options *o, const char *arg)
{
	if (!strcmp(arg, "never")) {
		o->grace_ns = 0;
		return 0;
	}
	if (quantity_ns(arg, &o->grace_ns) || !o->grace_ns || o->grace_ns > INT64_MAX) {
		message("--grace '%s': not never, nor a number of seconds above 0", arg);
		return -EINVAL;
	}
	return 0;
}

static int set_env(struct run_options *o, const char *arg)
{
	if (*arg == '=' || !strchr(arg, '=')) {
		message("--env '%s': must be NAME=VALUE", arg);
		return -EINVAL;
	}
	append(o->env, arg);
	return 0;
}

static int add_mount(struct run_options *o, const char *host, const char *guest, bool writable)
{
	int err = mounts_add(&o->mounts, host, guest, writable);

	if (err)
		message("out of memory");
	return err;
}

static int set_rw(struct run_options *o, const char *arg)
{
	return add_mount(o, arg, NULL, true);
}

static int set_ro(struct run_options *o, const char *arg)
{
	return add_mount(o, arg, NULL, false);
}

static int set_tmpfs(struct run_options *o, const char *arg)
{
	if (*arg == '/')
		return add_mount(o, NULL, arg, true);
	message("--tmpfs '%s': must be an absolute path", arg);
	return -EINVAL;
}

static int set_bind(struct run_options *o, const char *arg)
{
	int err = mounts_add_bind(&o->mounts, arg);

	if (err == -EINVAL)
		message("--bind '%s': must be HOST:GUEST or HOST:GUEST:ro, GUEST an absolute path", arg);
	return err;
}

static int set_root(struct run_options *o, const char *arg)
{
	o->root = arg;
	return 0;
}

static int set_cwd(struct run_options *o, const char *arg)
{
	o->cwd = arg;
	if (*arg == '/')
		return 0;
	message("--cwd '%s': must be an absolute path", arg);
	return -EINVAL;
}

static int set_snapshot(struct run_options *o, const char *arg)
{
	o->saver.file = arg;
	return 0;
}

static int set_snapshot_base(struct run_options *o, const char *arg)
{
	o->saver.base = arg;
	return 0;
}

static int set_snapshot_compress(struct run_options *o, const char *arg)
{
	(void)arg;
	o->saver.compress = true;
	return 0;
}

static int set_snapshot_at(struct run_options *o, const char *arg)
{
	if (!saver_parse_at(&o->saver, arg))
		return 0;
	message("--snapshot-at '%s': must be TIME:SECONDS, SIGNAL:NAME or SYSCALL:NAME[@n=NUMBER]", arg);
	return -EINVAL;
}

static int set_control(struct run_options *o, const char *arg)
{
	o->saver.control = arg;
	return 0;
}

static int set_inject(struct run_options *o, const char *arg)
{
	append(o->inject, arg);
	return 0;
}

static int set_swap(struct run_options *o, const char *arg)
{
	struct swap_option *s = &o->swaps[o->nr_swaps];

	if (!strcmp(arg, "none")) {
		run_options_drop_swaps(o);
		return 0;
	}
	if (swap_option_parse(s, arg)) {
		message("--swap '%s': must be FILE, FILE:SIZE, FILE::PRIORITY or FILE:SIZE:PRIORITY", arg);
		return -EINVAL;
	}
	o->nr_swaps++;
	return 0;
}

static int set_swap_compress(struct run_options *o, const char *arg)
{
	return compress_option_parse(&o->compress, arg);
}

struct named_bit {
	const char *name;
	unsigned int bit;
};

/* The bit of the name that begins at `name` and is `length` long, or 0. The table ends with a name that is NULL. */
static unsigned int find_bit(const struct named_bit *table, const char *name, size_t length)
{
	for (; table->name; table++)
		if (strlen(table->name) == length && !memcmp(table->name, name, length))
			return table->bit;
	return 0;
}

/* Adds the bits of a list of names, separated by commas. */
static int add_bits(const struct named_bit *table, const char *list, unsigned int *bits)
{
	for (const char *name = list;; name++) {
		size_t length = strcspn(name, ",");
		unsigned int bit = find_bit(table, name, length);

		if (!bit)
			return -EINVAL;
		*bits |= bit;
		name += length;
		if (!*name)
			return 0;
	}
}

static int set_trace(struct run_options *o, const char *arg)
{
	static const struct named_bit events[] = {
		{"fault", LODGE_TRACE_FAULT}, {"syscall", LODGE_TRACE_SYSCALL}, {"exit", LODGE_TRACE_EXIT},
		{"vmf", LODGE_TRACE_VMF},     {"death", LODGE_TRACE_DEATH},	{NULL, 0}};
	int err = add_bits(events, arg, &o->trace);

	if (err)
		message("--trace '%s': must be a list of fault, syscall, exit, vmf", arg);
	return err;
}

static int set_dump(struct run_options *o, const char *arg)
{
	static const struct named_bit parts[] = {{"mm", LODGE_DUMP_MM},
						 {"areas", LODGE_DUMP_AREAS},
						 {"tables", LODGE_DUMP_TABLES},
						 {"pages", LODGE_DUMP_PAGES},
						 {NULL, 0}};
	int err = add_bits(parts, arg, &o->dump);

	if (err)
		message("--dump '%s': must be a list of mm, areas, tables, pages", arg);
	return err;
}

static int set_stats_file(struct run_options *o, const char *arg)
{
	o->stats_file = arg;
	return 0;
}

static int set_stats(struct run_options *o, const char *arg)
{
	(void)arg;
	o->stats = true;
	return 0;
}

static int set_maps(struct run_options *o, const char *arg)
{
	(void)arg;
	o->maps = true;
	return 0;
}

static int set_aslr(struct run_options *o, const char *arg)
{
	(void)arg;
	o->aslr = true;
	return 0;
}

/* A number that a user or group may have: the last one means "no change" to the calls. */
static bool is_id(const char *text, char end, uint32_t *id, const char **rest)
{
	char *after;
	unsigned long n = strtoul(text, &after, 10);

	*id = (uint32_t)n;
	*rest = after;
	return *text >= '0' && *text <= '9' && n < UINT32_MAX && (*after == end || !*after);
}

static int set_user(struct run_options *o, const char *arg)
{
	const char *rest;

	o->has_user = is_id(arg, ':', &o->user[0], &rest);
	o->user[1] = o->user[0];
	if (o->has_user && *rest == ':')
		o->has_user = is_id(rest + 1, '\0', &o->user[1], &rest);
	if (o->has_user)
		return 0;
	message("--user '%s': must be UID or UID:GID, numbers both", arg);
	return -EINVAL;
}

static int set_nodes(struct run_options *o, const char *arg)
{
	if (arg[0] < '1' || arg[0] > '0' + LODGE_MAX_NODES || arg[1]) {
		message("--nodes '%s': must be a number from 1 to %d", arg, LODGE_MAX_NODES);
		return -EINVAL;
	}
	o->nodes = (unsigned int)(arg[0] - '0');
	return 0;
}

#define MAX_PIDS 1000 /* each has a processor, and KVM has no more than 1024 to give */

static int set_pids(struct run_options *o, const char *arg)
{
	char *end;
	unsigned long n = strtoul(arg, &end, 10);

	if (arg[0] < '0' || arg[0] > '9' || *end || n < 1 || n > MAX_PIDS) {
		message("--pids '%s': must be a number from 1 to %d", arg, MAX_PIDS);
		return -EINVAL;
	}
	o->max_pids = (unsigned int)n;
	return 0;
}

#define MAX_SWAPPINESS 200

static int set_swappiness(struct run_options *o, const char *arg)
{
	char *end;
	unsigned long n = strtoul(arg, &end, 10);

	if (arg[0] < '0' || arg[0] > '9' || *end || n > MAX_SWAPPINESS) {
		message("--swappiness '%s': must be a number from 0 to %d", arg, MAX_SWAPPINESS);
		return -EINVAL;
	}
	o->swappiness = (uint32_t)n;
	return 0;
}

static int set_hugepages(struct run_options *o, const char *arg)
{
	char *end;

	errno = 0;
	o->hugepages = strtoull(arg, &end, 10);
	if (errno || end == arg || *end || *arg == '-') {
		message("--hugepages '%s': not a number of 2 MiB pages", arg);
		return -EINVAL;
	}
	return 0;
}

/* One of a list of names that ends with NULL: its number, or -EINVAL and the user has been told. */
static int choose(const char *option, const char *arg, const char *const *names)
{
	char list[128] = "";
	int i;

	for (i = 0; names[i]; i++) {
		if (!strcmp(names[i], arg))
			return i;
		size_t len = strlen(list);
		snprintf(list + len, sizeof(list) - len, "%s%s",
			 !i		? ""
			 : names[i + 1] ? ", "
					: " or ",
			 names[i]);
	}
	message("--%s '%s': must be %s", option, arg, list);
	return -EINVAL;
}

static int set_kmem(struct run_options *o, const char *arg)
{
	static const char *const names[] = {[LODGE_KMEM_SLUB] = "slub",
					    [LODGE_KMEM_SLAB] = "slab",
					    [LODGE_KMEM_SLOB] = "slob",
					    [LODGE_KMEM_MAGAZINE] = "magazine",
					    NULL};

	o->kmem = choose("kmem", arg, names);
	return o->kmem < 0 ? o->kmem : 0;
}

static int set_thp(struct run_options *o, const char *arg)
{
	static const char *const names[] = {[LODGE_THP_MADVISE] = "madvise",
					    [LODGE_THP_ALWAYS] = "always",
					    [LODGE_THP_NEVER] = "never",
					    NULL};

	o->thp = choose("thp", arg, names);
	return o->thp < 0 ? o->thp : 0;
}

int run_option_set_traps(struct run_options *o, const char *arg)
{
	static const char *const names[] = {
		[LODGE_TRAPS_EXIT] = "exit", [LODGE_TRAPS_AUTO] = "auto", [LODGE_TRAPS_POLL] = "poll", NULL};

	o->traps = choose("traps", arg, names);
	return o->traps < 0 ? o->traps : 0;
}

int run_option_set_patch(struct run_options *o, const char *arg)
{
	static const char *const names[] = {[LODGE_PATCH_OFF] = "off", [LODGE_PATCH_AUTO] = "auto", NULL};

	o->patch = choose("patch", arg, names);
	return o->patch < 0 ? o->patch : 0;
}

/* Without an argument: all of it. */
static int set_net(struct run_options *o, const char *arg)
{
	static const char *const names[] = {
		[LODGE_NET_NONE] = "none", [LODGE_NET_LOCAL] = "local", [LODGE_NET_HOST] = "host", NULL};

	o->net = arg ? choose("net", arg, names) : LODGE_NET_HOST;
	return o->net < 0 ? o->net : 0;
}

static int set_oom(struct run_options *o, const char *arg)
{
	static const char *const names[] = {
		[LODGE_OOM_KILL] = "kill", [LODGE_OOM_ENOMEM] = "enomem", [LODGE_OOM_STOP] = "stop", NULL};

	o->oom = choose("oom", arg, names);
	return o->oom < 0 ? o->oom : 0;
}

#define NS_PER_MS 1000000

static int set_give_back(struct run_options *o, const char *arg)
{
	uint64_t ns = 0;

	if (!strcmp(arg, "never")) {
		o->give_back_ms = -1;
		return 0;
	}
	if (quantity_ns(arg, &ns) || ns < NS_PER_MS || ns / NS_PER_MS > INT32_MAX) {
		message("--give-back '%s': not never, nor a number of seconds from 0.001 on", arg);
		return -EINVAL;
	}
	o->give_back_ms = (int)(ns / NS_PER_MS);
	return 0;
}

static int set_zero_ahead(struct run_options *o, const char *arg)
{
	(void)arg;
	o->zero_ahead = true;
	return 0;
}

static int set_collapse(struct run_options *o, const char *arg)
{
	(void)arg;
	o->collapse = true;
	return 0;
}

static int set_help(struct run_options *o, const char *arg)
{
	(void)arg;
	o->help = true;
	return 0;
}

static int set_version(struct run_options *o, const char *arg)
{
	(void)arg;
	o->version = true;
	return 0;
}

const struct option_spec run_option_specs[] = {
	{"memory", "SIZE", "memory the program may own, page tables included (256M)", set_memory},
	{"memory-high", "SIZE", "above that, reclaim its memory and slow it down (never)", set_memory_high},
	{"oom", "WHAT", "with its memory full: kill the largest process (default), enomem for calls, or stop",
	 set_oom},
	{"timeout", "SECONDS", "end the program after this wall-clock time; fractions count", set_timeout},
	{"grace", "SECONDS",
	 "how long it may live on after a SIGTERM that it takes itself; never: no end (10)", set_grace},
	{"env", "NAME=VALUE", "set a variable over the caller's environment; repeatable", set_env},
	{"rw", "PATH", "let the program see and change PATH; repeatable", set_rw},
	{"ro", "PATH", "let the program see PATH, unchanged; repeatable", set_ro},
	{"bind", "HOST:GUEST[:ro]", "show what the host has at HOST as GUEST; repeatable", set_bind},
	{"tmpfs", "PATH", "an empty directory in the program's memory; repeatable (/tmp, /dev/shm)",
	 set_tmpfs},
	{"root", "DIR", "show DIR as the root, with the host's /proc, /sys and /dev", set_root},
	{"cwd", "DIR", "begin in DIR, a path of the program's", set_cwd},
	{"user", "UID[:GID]", "let the program take itself for this user, and for the owner of your files",
	 set_user},
	{"net", "[=local]", "give it the host's network, or its loopback addresses alone (none)", set_net},
	{"stats", NULL, "at the end: a readable report on stderr", set_stats},
	{"stats-file", "FILE", "at the end: the same numbers as JSON into FILE", set_stats_file},
	{"maps", NULL, "at the end: the address space on stderr, as /proc/PID/maps", set_maps},
	{"dump", "PARTS", "at the end: the space's inside on stderr: a list of mm,areas,tables,pages",
	 set_dump},
	{"trace", "EVENTS", "a line on stderr per event: a list of fault,syscall,exit,vmf,death", set_trace},
	{"aslr", NULL, "random addresses for stack, mappings and heap", set_aslr},
	{"fault-around", "SIZE", "widest window one fault maps, 4K to 2M, a power of two", set_fault_around},
	{"pids", "N", "processes and threads that may be there at once (512)", set_pids},
	{"thp", "WHEN", "2 MiB pages: madvise (where asked for or use is dense; default), always, never",
	 set_thp},
	{"traps", "HOW",
	 "system calls by exit, poll (without where possible), or auto (where it pays, default)",
	 run_option_set_traps},
	{"patch", "HOW", "call sites in programs: off (default), auto (much used ones become jumps)",
	 run_option_set_patch},
	{"hugepages", "N", "keep N pages of 2 MiB of the memory for MAP_HUGETLB (0)", set_hugepages},
	{"nodes", "N", "share guest memory out to N virtual NUMA nodes (1)", set_nodes},
	{"kmem", "NAME", "lodge's own objects from slub (default), slab, slob or magazine", set_kmem},
	{"zero-ahead", NULL, "clear frames for later faults while the machine is idle", set_zero_ahead},
	{"give-back", "SECONDS", "memory unused for so long is the machine's again; never: it stays (1)",
	 set_give_back},
	{"collapse", NULL, "turn tables that are full enough into 2 MiB pages, in the background",
	 set_collapse},
	{"swap", "FILE[:SIZE][:PRIO]",
	 "let pages go to FILE when memory is short; repeatable; none: to none (default)", set_swap},
	{"swap-compress", "NAME[:SIZE]",
	 "keep pages that go to swap compressed by zstd or lz4 in SIZE of memory first, also without files",
	 set_swap_compress},
	{"swappiness", "N", "what goes rather: 0 pages of files, 200 anonymous ones, 100 both alike (60)",
	 set_swappiness},
	{"snapshot", "FILE", "where --snapshot-at saves the run to", set_snapshot},
	{"snapshot-at", "WHEN",
	 "TIME:S: after S seconds; SIGNAL:NAME: whenever lodge gets it; SYSCALL:NAME[@n=N]: before that call",
	 set_snapshot_at},
	{"snapshot-base", "FILE", "save only what this snapshot does not have", set_snapshot_base},
	{"snapshot-compress", NULL, "snapshots are compressed (zstd)", set_snapshot_compress},
	{"control", "SOCKET", "save when 'lodge snapshot SOCKET FILE' asks for it", set_control},
	{"inject", "RULE", "for tests: make transfers fail, as in swap.read=eio@n=100; repeatable",
	 set_inject},
	{"help", NULL, "show this text", set_help},
	{"version", NULL, "show the version", set_version},
	{0},
};

_Static_assert(sizeof(run_option_specs) / sizeof(run_option_specs[0]) <= RUN_OPTION_SPECS_MAX,
	       "option_table.h says how many there are at most");
