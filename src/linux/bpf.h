/* SPDX-License-Identifier: MIT */
/*
 * bpf.h - programs of the classic BSD packet filter, as seccomp(2) takes them: which are sound, and what they return.
 *
 * Not here: what is done with the result (seccomp.h), filters of packets.
 */
#ifndef LODGE_LINUX_BPF_H
#define LODGE_LINUX_BPF_H

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdbool.h>
#include <stdint.h>

/*
 * Whether it ends, jumps forward and within itself only, reads no word of its memory that it has not written, and nothing beyond the data:
 * such a program can be run.
 */
bool bpf_is_sound(const struct sock_filter *program, unsigned int length);

/* What a sound program returns of a system call. */
uint32_t bpf_run(const struct sock_filter *program, const struct seccomp_data *data);

#endif
