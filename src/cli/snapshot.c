/* SPDX-License-Identifier: MIT */
/*
 * snapshot.c - `lodge snapshot`: describes a snapshot, or asks a run for one.
 */
#include <errno.h>
#include <getopt.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "../../include/lodge.h"
#include "command.h"
#include "message.h"
#include "quantity.h"
#include "saver.h"
#include "swap_option.h"

static int info(const char *path)
{
	struct lodge_error err = {""};
	int ret = lodge_snapshot_info(path, stdout, &err);

	if (!ret)
		return command_finish_output();
	message("%s", err.text[0] ? err.text : strerror(-ret));
	return EXIT_LODGE;
}

/* An absolute path for who has another working directory. 0 or -errno. */
static int absolute(const char *path, char *out, size_t bytes)
{
	char here[SAVER_PACKET_BYTES / 2] = "";

	if (*path != '/' && !getcwd(here, sizeof(here)))
		return -errno;
	int n = snprintf(out, bytes, "%s%s%s", here, *path == '/' ? "" : "/", path);
	return n < 0 || (size_t)n >= bytes ? -ENAMETOOLONG : 0;
}

static int ask(int fd, const char *path, char *answer, size_t bytes)
{
	char text[SAVER_PACKET_BYTES];
	int err = absolute(path, text, sizeof(text));

	if (err)
		return err;
	if (send(fd, text, strlen(text) + 1, MSG_NOSIGNAL) < 0)
		return -errno;
	ssize_t n = recv(fd, answer, bytes - 1, 0);
	if (n < 0)
		return -errno;
	answer[n] = '\0';
	return n ? 0 : -ECONNRESET;
}

static int request(const char *control, const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	char answer[512] = "";
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0), err = -ENAMETOOLONG;

	if (strlen(control) < sizeof(address.sun_path)) {
		strcpy(address.sun_path, control);
		err = connect(fd, (struct sockaddr *)&address, sizeof(address)) ? -errno : 0;
	}
	if (!err)
		err = ask(fd, path, answer, sizeof(answer));
	close(fd);
	if (err)
		message("%s: %s", control, strerror(-err));
	else if (answer[0])
		message("%s", answer);
	return err || answer[0] ? EXIT_LODGE : 0;
}

int command_snapshot(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "info"))
		return info(argv[2]);
	if (argc == 3)
		return request(argv[1], argv[2]);
	message("usage: lodge snapshot info FILE, or lodge snapshot SOCKET FILE");
	return EXIT_LODGE;
}
