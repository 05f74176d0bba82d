/* SPDX-License-Identifier: MIT */
/*
 * report.h - what a user reads: why a call of the library failed, how a program died, what it used.
 *
 * Text that a guest or a file chose is shown with its control characters replaced, so that it cannot drive a terminal.
 */
#ifndef LODGE_LINUX_REPORT_H
#define LODGE_LINUX_REPORT_H

#include <stdio.h>

#include "task.h"

struct lodge_error;
struct lodge_stats;

/* Replaces what is not printable ASCII or part of a UTF-8 sequence by '?'. */
void report_sanitize(char *text);

/* Fills *err, which may be NULL, and returns `error`. Leaves errno alone. */
int report_error(struct lodge_error *err, int error, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* "SIGSEGV" ..., "signal 40"; writes into buffer where there is no name, and returns the text. */
const char *report_signal_name(int signo, char *buffer, size_t bytes);

/*
 * Tells the log why the task dies by its own fault: signal, address, error code, registers, areas around the address.
 * fc may be NULL. Takes mmap_lock for reading. Does not end the task.
 */
void report_death(struct task *t, int signo, int code, const struct fault_context *fc);

/* The counts of a task whose vCPU statistics are in t->vcpu_stats. */
void report_stats(struct sandbox *box, struct lodge_stats *s);

/* A readable report, or one JSON object on one line. 0 or -EIO. */
int report_text(struct sandbox *box, FILE *out);
int report_json(struct sandbox *box, FILE *out);

#endif
