/* SPDX-License-Identifier: MIT */
#include "message.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void defuse(char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text < ' ' || *text == 0x7f)
			*text = '?';
}

/* A line that cannot be written has nowhere else to go. */
static void write_line(const char *line, size_t bytes)
{
	ssize_t n;

	do
		n = write(STDERR_FILENO, line, bytes);
	while (n < 0 && errno == EINTR);
}

void message(const char *format, ...)
{
	char line[MESSAGE_BYTES] = "lodge: ";
	size_t start = strlen(line);
	va_list ap;

	va_start(ap, format);
	vsnprintf(line + start, sizeof(line) - start - 1, format, ap);
	va_end(ap);
	defuse(line);
	strcat(line, "\n");
	write_line(line, strlen(line));
}
