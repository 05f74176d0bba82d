/* SPDX-License-Identifier: MIT */
/*
 * same_sweep_events.c - the calls that wait for descriptors and report events, with every interesting argument.
 */
#include "sweep.h"

#define A(name)                         \
	{                               \
#name, (uintptr_t)&name \
	}
static const struct epoll_event readable = {.events = EPOLLIN}, nothing = {0},
				exclusive = {.events = EPOLLIN | EPOLLEXCLUSIVE},
				exclusive_shot = {.events = EPOLLIN | EPOLLEXCLUSIVE | EPOLLONESHOT},
				all_events = {.events = ~0u};
static const struct sweep_value requests[] = {
	A(readable),   A(nothing),  A(exclusive),      A(exclusive_shot),
	A(all_events), {"NULL", 0}, {"hole", AT_HOLE},
};
static const struct sweep_value set_sizes[] = {
	{"8", 8}, {"0", 0}, {"4", 4}, {"16", 16}, {"-1", -1ul},
};
static const uint64_t no_signals, all_signals = ~0ull;
static const struct sweep_value masks[] = {
	{"NULL", 0}, A(no_signals), A(all_signals), {"hole", AT_HOLE}, {"1", 1},
};
static const struct timespec at_once = {0, 0}, soon = {0, 1000}, negative = {-1, 0}, many = {0, 1000000000};
static const struct sweep_value spans[] = {
	A(at_once), A(negative), A(many), A(soon), {"hole", AT_HOLE},
};
static const struct timeval tv_at_once = {0, 0}, tv_minus = {-1, 0}, tv_minus_us = {0, -1},
			    tv_many = {0, 1000001};
static const struct sweep_value timevals[] = {
	A(tv_at_once), A(tv_minus), A(tv_minus_us), A(tv_many), {"hole", AT_HOLE},
};
static struct pollfd readers[] = {{FD_RO, POLLIN, 0}, {FD_PIPE_R, POLLIN | POLLHUP, 0}},
		     closed[] = {{FD_FREE, POLLIN, 0}, {-1, POLLIN, 0}},
		     path[] = {{FD_PATH, POLLIN | POLLOUT, 0}, {FD_DIR, ~0, 0}},
		     sockets[] = {{FD_SOCKET, POLLIN | POLLRDHUP, 0}, {FD_LISTEN, POLLOUT, 0}},
		     others[] = {{FD_EVENT, ~0, 0}, {FD_TIMER, ~0, 0}},
		     more[] = {{FD_SIGNAL, ~0, 0}, {FD_EPOLL, ~0, 0}},
		     last[] = {{FD_INOTIFY, ~0, 0}, {FD_PIDFD, ~0, 0}},
		     writers[] = {{FD_WO, ~0, 0}, {FD_PIPE_W, ~0, 0}};
static const struct sweep_value polled[] = {
	A(readers), A(closed),	A(path),     A(sockets),	A(others),     A(more),
	A(last),    A(writers), {"NULL", 0}, {"hole", AT_HOLE}, {"ro", AT_RO}, {"edge", AT_EDGE},
};
static const struct sweep_value counts[] = {
	{"2", 2}, {"-1", -1ul}, {"1025", 1025}, {"0", 0}, {"1", 1}, {"1<<32", 1ull << 32},
};
static fd_set set_of_pipe, set_of_free, set_of_path, set_none;
static const struct sweep_value fd_sets[] = {
	{"NULL", 0},	{"hole", AT_HOLE}, A(set_of_free),    A(set_of_pipe),
	A(set_of_path), A(set_none),	   {"edge", AT_EDGE},
};
static const struct sweep_value nrs[] = {
	{"151", 151},	{"-1", -1ul},	{"INT_MAX", INT_MAX}, {"0", 0},
	{"1024", 1024}, {"1025", 1025}, {"109", 109},
};
static const uint64_t no_mask[2], bad_mask[2] = {AT_HOLE, 8}, short_mask[2] = {(uintptr_t)&no_signals, 4},
				  good_mask[2] = {(uintptr_t)&no_signals, 8};
static const struct sweep_value pselect_masks[] = {
	A(no_mask), A(bad_mask), A(short_mask), A(good_mask), {"NULL", 0}, {"hole", AT_HOLE},
};

static const struct sweep_call calls[] = {
	CALL(epoll_create, MAKES_FD, INT(1)),
	CALL(epoll_create1, MAKES_FD, BITS(EPOLL_CLOEXEC)),
	CALL(epoll_ctl, FRESH, FD_OF(FD_EPOLL), INT(EPOLL_CTL_ADD), FD_OF(FD_PIPE_R),
	     WITH(requests, &readable)),
	CALL(epoll_ctl, FRESH, FD_OF(FD_EPOLL), INT(EPOLL_CTL_DEL), FD_OF(FD_PIPE_R),
	     WITH(requests, &readable)),
	CALL(epoll_ctl, FRESH, FD_OF(FD_EPOLL), ONLY(EPOLL_CTL_MOD), FD_OF(FD_PIPE_R),
	     WITH(requests, &readable)),
	CALL(epoll_wait, FRESH, FD_OF(FD_EPOLL), OUT, INT(1), ONLY(0)),
	CALL(epoll_pwait, FRESH, FD_OF(FD_EPOLL), OUT, INT(1), ONLY(0), WITH(masks, 0), WITH(set_sizes, 8)),
	CALL(epoll_pwait2, FRESH, FD_OF(FD_EPOLL), OUT, INT(1), WITH(spans, &at_once), WITH(masks, 0),
	     WITH(set_sizes, 8)),
	CALL(eventfd, MAKES_FD, INT(1)),
	CALL(eventfd2, MAKES_FD, INT(1), BITS(EFD_CLOEXEC)),
	CALL(inotify_init1, MAKES_FD, BITS(IN_CLOEXEC)),
	CALL(inotify_add_watch, FRESH | VALUE, FD_OF(FD_INOTIFY), PATH, BITS(IN_MODIFY)),
	CALL(inotify_rm_watch, FRESH, FD_OF(FD_INOTIFY), INT(1)),
	CALL(poll, VALUE, WITH(polled, readers), WITH(counts, 2), ONLY(0)),
	CALL(ppoll, VALUE, WITH(polled, readers), WITH(counts, 2), WITH(spans, &at_once), WITH(masks, 0),
	     WITH(set_sizes, 8)),
	CALL(select, VALUE, WITH(nrs, 151), WITH(fd_sets, 0), WITH(fd_sets, 0), WITH(fd_sets, 0),
	     WITH(timevals, &tv_at_once)),
	CALL(pselect6, VALUE, WITH(nrs, 151), WITH(fd_sets, 0), WITH(fd_sets, 0), WITH(fd_sets, 0),
	     WITH(spans, &at_once), WITH(pselect_masks, &no_mask)),
	CALL(read, FRESH | VALUE, FD_OF(FD_EVENT), OUT, SIZE_OF(8)),
	CALL(read, FRESH | VALUE, FD_OF(FD_TIMER), OUT, SIZE_OF(8)),
	CALL(read, FRESH | VALUE, FD_OF(FD_SIGNAL), OUT, SIZE_OF(128)),
	CALL(read, FRESH | VALUE, FD_OF(FD_INOTIFY), OUT, SIZE_OF(128)),
	CALL(write, FRESH | VALUE, FD_OF(FD_EVENT), IN(AT_RW), SIZE_OF(8)),
};

int main(int argc, char **argv)
{
	FD_SET(FD_PIPE_R, &set_of_pipe);
	FD_SET(FD_PIPE_W, &set_of_pipe);
	FD_SET(FD_FREE, &set_of_free);
	FD_SET(FD_PATH, &set_of_path);
	return sweep_main(argc, argv, calls, ARRAY_SIZE(calls));
}
