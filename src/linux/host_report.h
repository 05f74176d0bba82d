/* SPDX-License-Identifier: MIT */
/* host_report.h - the readable report of a host's memory: owners, zones, object caches. */
#ifndef LODGE_LINUX_HOST_REPORT_H
#define LODGE_LINUX_HOST_REPORT_H

#include <stdio.h>

#include "../mm/page.h"

/* 0 or -EIO. */
int host_report(struct frames *f, FILE *out);

#endif
