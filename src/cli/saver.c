/* SPDX-License-Identifier: MIT */
#include "saver.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "../../include/lodge.h"
#include "message.h"
#include "quantity.h"

#define NS_PER_MS 1000000ull

/* --- when ------------------------------------------------------------------------------------------ */

static int parse_signal(const char *text)
{
	char *end;
	long number = strtol(text, &end, 10);

	if (end != text)
		return !*end && number > 0 && number < 32 ? (int)number : -EINVAL;
	if (!strncmp(text, "SIG", 3))
		text += 3;
	for (int signo = 1; signo < 32; signo++) {
		const char *name = sigabbrev_np(signo);
		if (name && !strcmp(name, text))
			return signo;
	}
	return -EINVAL;
}

/* "write" or "write@n=10". */
static int parse_call(struct saver_request *r, const char *text)
{
	size_t length = strcspn(text, "@");
	char *end;

	if (!length || length >= sizeof(r->call))
		return -EINVAL;
	r->nth = 1;
	if (text[length]) {
		if (strncmp(text + length, "@n=", 3) != 0 || text[length + 3] < '0' || text[length + 3] > '9')
			return -EINVAL;
		r->nth = strtoull(text + length + 3, &end, 10);
		if (*end || !r->nth)
			return -EINVAL;
	}
	memcpy(r->call, text, length);
	r->call[length] = '\0';
	return 0;
}

int saver_parse_at(struct saver_request *r, const char *text)
{
	if (!strncmp(text, "SYSCALL:", 8))
		return parse_call(r, text + 8);
	if (!strncmp(text, "TIME:", 5))
		return quantity_ns(text + 5, &r->after_ns) || !r->after_ns ? -EINVAL : 0;
	if (strncmp(text, "SIGNAL:", 7) != 0)
		return -EINVAL;
	r->signo = parse_signal(text + 7);
	if (r->signo > 0 && r->signo != SIGKILL && r->signo != SIGSTOP)
		return 0;
	r->signo = 0;
	return -EINVAL;
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

/* --- saving ---------------------------------------------------------------------------------------- */

static int save_as(struct saver *s, const char *path, struct lodge_error *err)
{
	const struct lodge_save_options o = {.base = s->request.base, .compress = s->request.compress};

	return lodge_snapshot_save_as(s->space, path, &o, err);
}

static void save(struct saver *s)
{
	struct lodge_error err = {""};
	int ret = save_as(s, s->request.file, &err);

	if (ret)
		message("no snapshot: %s", err.text[0] ? err.text : strerror(-ret));
}

/* One who asks, and waits for the answer. */
static void serve(struct saver *s)
{
	const struct timeval patience = {.tv_sec = 1};
	char path[SAVER_PACKET_BYTES] = "";
	struct lodge_error err = {""};
	int fd = accept4(s->listen_fd, NULL, NULL, SOCK_CLOEXEC);

	if (fd < 0)
		return;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	ssize_t n = recv(fd, path, sizeof(path) - 1, 0);
	if (n > 0) {
		int ret = path[0] == '/' ? save_as(s, path, &err) : -EINVAL;
		if (ret && !err.text[0])
			snprintf(err.text, sizeof(err.text), "%s", strerror(-ret));
		send(fd, err.text, strlen(err.text) + 1, MSG_NOSIGNAL);
	}
	close(fd);
}

static int time_left_ms(const struct saver *s)
{
	uint64_t now = now_ns();

	if (!s->deadline_ns)
		return -1;
	if (s->deadline_ns <= now)
		return 0;
	uint64_t left = (s->deadline_ns - now + NS_PER_MS - 1) / NS_PER_MS;
	return left > 1000000 ? 1000000 : (int)left;
}

static void *saver_main(void *arg)
{
	struct saver *s = arg;
	struct pollfd p[] = {{.fd = s->stop_fd, .events = POLLIN},
			     {.fd = s->signal_fd, .events = POLLIN},
			     {.fd = s->listen_fd, .events = POLLIN},
			     {.fd = s->call_fd, .events = POLLIN}};
	struct signalfd_siginfo info;
	eventfd_t calls;

	for (;;) {
		int ready = poll(p, 4, time_left_ms(s));
		if (p[0].revents)
			return NULL;
		if (ready == 0 && s->deadline_ns && now_ns() >= s->deadline_ns) {
			s->deadline_ns = 0;
			save(s);
		}
		if (ready > 0 && p[1].revents && read(s->signal_fd, &info, sizeof(info)) == sizeof(info))
			save(s);
		if (ready > 0 && p[2].revents)
			serve(s);
		if (ready > 0 && p[3].revents && !eventfd_read(s->call_fd, &calls)) {
			save(s);
			sem_post(&s->saved);
		}
	}
}

void saver_at_call(void *ctx)
{
	struct saver *s = ctx;

	eventfd_write(s->call_fd, 1);
	while (sem_wait(&s->saved) && errno == EINTR)
		;
}

/* --- beginning and end ----------------------------------------------------------------------------- */

static void signal_set(const struct saver *s, sigset_t *set)
{
	sigemptyset(set);
	if (s->request.signo)
		sigaddset(set, s->request.signo);
}

void saver_block(struct saver *s)
{
	sigset_t set;

	signal_set(s, &set);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
}

/* Whoever may write to the socket may have the program's memory: that is its owner. */
static int listen_at(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	if (strlen(path) >= sizeof(address.sun_path))
		errno = ENAMETOOLONG;
	else if (fd >= 0) {
		strcpy(address.sun_path, path);
		mode_t old = umask(0177);
		int err = bind(fd, (struct sockaddr *)&address, sizeof(address));
		umask(old);
		if (!err && !listen(fd, 8))
			return fd;
	}
	int err = -errno;
	if (fd >= 0)
		close(fd);
	message("--control %s: %s", path, strerror(-err));
	return err;
}

int saver_start(struct saver *s, struct lodge_space *space)
{
	sigset_t set;

	s->signal_fd = s->listen_fd = s->stop_fd = s->call_fd = -1;
	if (!s->request.after_ns && !s->request.signo && !s->request.control && !s->request.call[0])
		return 0;
	s->space = space;
	s->deadline_ns = s->request.after_ns ? now_ns() + s->request.after_ns : 0;
	if (s->request.control) {
		s->listen_fd = listen_at(s->request.control);
		if (s->listen_fd < 0)
			return s->listen_fd;
	}
	signal_set(s, &set);
	if (s->request.signo)
		s->signal_fd = signalfd(-1, &set, SFD_CLOEXEC);
	s->stop_fd = eventfd(0, EFD_CLOEXEC);
	s->call_fd = eventfd(0, EFD_CLOEXEC);
	sem_init(&s->saved, 0, 0);
	int err = s->stop_fd < 0 || s->call_fd < 0 ? errno : pthread_create(&s->thread, NULL, saver_main, s);
	s->runs = !err;
	if (err)
		message("cannot start the thread that saves: %s", strerror(err));
	return -err;
}

/* 0: saver_start never ran. */
static void close_if_open(int fd)
{
	if (fd > 0)
		close(fd);
}

void saver_stop(struct saver *s)
{
	if (s->runs) {
		eventfd_write(s->stop_fd, 1);
		pthread_join(s->thread, NULL);
		if (s->request.control)
			unlink(s->request.control);
	}
	s->runs = 0;
	close_if_open(s->signal_fd);
	close_if_open(s->listen_fd);
	close_if_open(s->stop_fd);
	close_if_open(s->call_fd);
}
