/* SPDX-License-Identifier: MIT */
/*
 * net_test.c - how far sockets reach: nowhere, to the loopback addresses, and between a program inside and one outside.
 */
#include "harness.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static void without_a_network_there_is_none(void **state)
{
	struct outcome o = lodge_run(guest_path("inet_reach"), NULL);

	(void)state;
	expect_status(&o, 0);
	assert_string_equal(o.out, "socket raw: EAFNOSUPPORT\nsocket packet: EAFNOSUPPORT\nsocket IPv4: "
				   "EAFNOSUPPORT\nsocket IPv6: EAFNOSUPPORT\nsocket netlink: EAFNOSUPPORT\n");
	outcome_free(&o);
}

/* The result behind "what: ". */
static bool is_refused(const char *line)
{
	static const char *const errors[] = {"ENETUNREACH", "EADDRNOTAVAIL", "EPERM", "EAFNOSUPPORT",
					     "EPROTONOSUPPORT"};
	const char *said = strrchr(line, ' ') + 1;

	for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++)
		if (!strcmp(said, errors[i]))
			return true;
	return false;
}

static bool is_at_home(const char *line)
{
	return strstr(line, "127.0.0.1") || strstr(line, "::1") || strstr(line, "bind 0.0.0.0") ||
	       strstr(line, "bind ::: ok") || strstr(line, "listen nowhere") ||
	       strstr(line, "socket IPv4: ok");
}

static void local_means_loopback(void **state)
{
	struct outcome o = lodge_run("--net=local", guest_path("inet_reach"), NULL);
	unsigned int nr = 0;

	(void)state;
	expect_status(&o, 0);
	for (char *line = strtok(o.out, "\n"); line; line = strtok(NULL, "\n"), nr++)
		if (!is_refused(line) && !is_at_home(line))
			fail_msg("reached: %s", line);
	assert_true(nr > 40);
	outcome_free(&o);
}

static const char server_text[] =
	"import socket,sys\ns = socket.socket(getattr(socket, sys.argv[1]))\n"
	"s.bind(sys.argv[2] if sys.argv[1] == 'AF_UNIX' else ('', 0)); s.listen(1)\n"
	"print(s.getsockname()[1] if sys.argv[1] == 'AF_INET' else 'up', flush=True)\n"
	"c, _ = s.accept(); c.sendall(c.recv(100).upper())\n";

/* Says "hello" and hears it louder. */
static void expect_echo(int fd, const struct sockaddr *to, socklen_t bytes)
{
	char heard[16] = "";

	assert_int_equal(connect(fd, to, bytes), 0);
	assert_int_equal(write(fd, "hello", 5), 5);
	assert_int_equal(read(fd, heard, sizeof(heard)), 5);
	assert_string_equal(heard, "HELLO");
	close(fd);
}

static char *read_line(int fd)
{
	static char line[64];
	size_t n = 0;

	while (n < sizeof(line) - 1 && read(fd, line + n, 1) == 1 && line[n] != '\n')
		n++;
	line[n] = '\0';
	return line;
}

static void a_server_inside_is_reached_from_outside(void **state)
{
	struct command c =
		lodge_command("--net=local", "/usr/bin/python3", "-c", server_text, "AF_INET", NULL);
	struct running r = command_start(&c);
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct outcome o;

	(void)state;
	to.sin_port = htons((uint16_t)atoi(read_line(r.out)));
	expect_echo(socket(AF_INET, SOCK_STREAM, 0), (void *)&to, sizeof(to));
	o = command_wait(&r, DEFAULT_LIMIT_S);
	expect_status(&o, 0);
	outcome_free(&o);
}

static void redis_inside_serves_its_clients_outside(void **state)
{
	static const char script[] = "until redis-cli -p $0 ping >/dev/null 2>&1; do sleep 0.05; done; "
				     "redis-cli -p $0 set a 41; redis-cli -p $0 "
				     "incr a; redis-benchmark -p $0 -n 500 -c 5 -q -t set,get >/dev/null; "
				     "echo $?; redis-cli -p $0 shutdown "
				     "nosave";
	char port[8];
	struct command c;
	struct running r;
	struct outcome client, server;

	(void)state;
	if (access("/usr/bin/redis-server", X_OK))
		skip();
	snprintf(port, sizeof(port), "%d", 20000 + getpid() % 20000);
	c = lodge_command("--net=local", "redis-server", "--port", port, "--bind", "127.0.0.1", "--save", "",
			  NULL);
	r = command_start(&c);
	client = native_run("/bin/sh", "-c", script, port, NULL);
	server = command_wait(&r, DEFAULT_LIMIT_S);
	expect_status(&client, 0);
	assert_string_equal(client.out, "OK\n42\n0\n");
	expect_status(&server, 0);
	outcome_free(&client);
	outcome_free(&server);
}

static void a_socket_file_in_a_writable_directory_is_reached_too(void **state)
{
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	struct command c;
	struct running r;
	struct outcome o;

	(void)state;
	snprintf(to.sun_path, sizeof(to.sun_path), "%s", scratch_path("socket"));
	c = lodge_command("--rw", scratch_dir(), "/usr/bin/python3", "-c", server_text, "AF_UNIX",
			  to.sun_path, NULL);
	r = command_start(&c);
	command_expect(&r, "up\n");
	expect_echo(socket(AF_UNIX, SOCK_STREAM, 0), (void *)&to, sizeof(to));
	o = command_wait(&r, DEFAULT_LIMIT_S);
	expect_status(&o, 0);
	outcome_free(&o);
}

/* A server of the host, in a directory that the guest only reads, and one behind an abstract name. */
static void servers_of_the_host_are_out_of_reach(void **state)
{
	static const char text[] = "import socket,sys\nfor a in sys.argv[1], '\\0' + sys.argv[2]:\n"
				   " try: socket.socket(socket.AF_UNIX).connect(a)\n"
				   " except OSError as e: print(type(e).__name__)\n";
	struct sockaddr_un a = {.sun_family = AF_UNIX}, b = {.sun_family = AF_UNIX};
	int by_path = socket(AF_UNIX, SOCK_STREAM, 0), by_name = socket(AF_UNIX, SOCK_STREAM, 0), n;
	struct outcome o;

	(void)state;
	snprintf(a.sun_path, sizeof(a.sun_path), "%s", scratch_path("host"));
	n = snprintf(b.sun_path + 1, sizeof(b.sun_path) - 1, "lodge-test-%d", getpid());
	assert_int_equal(bind(by_path, (void *)&a, sizeof(a)), 0);
	assert_int_equal(bind(by_name, (void *)&b, (socklen_t)(sizeof(b.sun_family) + 1 + (size_t)n)), 0);
	listen(by_path, 1);
	listen(by_name, 1);
	o = lodge_run("--ro", scratch_dir(), "/usr/bin/python3", "-c", text, a.sun_path, b.sun_path + 1,
		      NULL);
	assert_string_equal(o.out, "PermissionError\nConnectionRefusedError\n");
	outcome_free(&o);
	close(by_path);
	close(by_name);
}

/* --timeout ends a program that waits in each of these calls. */
static void a_timeout_ends_waits(void **state)
{
	static const char *const waits[] = {
		"import socket; s = socket.socketpair(); s[0].recv(1)",
		"import socket; s = socket.socketpair(); s[0].sendall(b'x' * 10000000)",
		"import socket; s = socket.socket(socket.AF_UNIX); s.bind(''); s.listen(); s.accept()",
		"import socket; s = socket.socket(socket.AF_UNIX); s.bind(''); s.listen(0)\n"
		"[socket.socket(socket.AF_UNIX).connect(s.getsockname()) for i in range(9)]",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(waits) / sizeof(waits[0]); i++) {
		struct outcome o = lodge_run("--timeout", "1.5", "/usr/bin/python3", "-c", waits[i], NULL);
		assert_int_equal(o.status, 124);
		outcome_free(&o);
	}
}

int main(void)
{
	struct CMUnitTest tests[] = {
		CASE("net: without --net there is no network [J2]", without_a_network_there_is_none),
		CASE("net: --net=local reaches loopback addresses, in no way any other [J2]",
		     local_means_loopback),
		CASE("net: a server inside, a client outside [J2]", a_server_inside_is_reached_from_outside),
		CASE("net: Debian's redis inside, its clients outside [J2]",
		     redis_inside_serves_its_clients_outside),
		CASE("net: the same through a socket file below --rw [J2]",
		     a_socket_file_in_a_writable_directory_is_reached_too),
		CASE("net: the host's own sockets are out of reach [J2]",
		     servers_of_the_host_are_out_of_reach),
		CASE("net: --timeout ends whoever waits for a socket [J2]", a_timeout_ends_waits),
	};

	return harness_main_kvm("net", tests, sizeof(tests) / sizeof(tests[0]));
}
