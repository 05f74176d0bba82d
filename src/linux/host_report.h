/* SPDX-License-Identifier: MIT */
/* host_report.h - the readable report of a host's memory: owners, zones, swap, object caches. */
#ifndef LODGE_LINUX_HOST_REPORT_H
#define LODGE_LINUX_HOST_REPORT_H

#include <stdio.h>

struct mm_host;

/* 0 or -EIO. */
int host_report(struct mm_host *h, FILE *out);

#endif
