/* SPDX-License-Identifier: MIT */
/* sysctl.h - the integers that are written into /proc, read as proc_dointvec reads them. */
#ifndef LODGE_LINUX_SYSCTL_H
#define LODGE_LINUX_SYSCTL_H

#include <stddef.h>
#include <stdint.h>

/*
 * The first number of a text: white space, an optional minus, digits in C's notation, then white space or the end. The
 * bytes that were used, white space around included; or -EINVAL.
 */
int64_t sysctl_parse(const char *text, size_t bytes, int64_t *value);

/* The number that is all of a text, as kstrtoint has it: a newline at the end is allowed. 0 or -EINVAL. */
int sysctl_parse_whole(const char *text, int64_t *value);

#endif
