/* SPDX-License-Identifier: MIT */
/*
 * maps.c - see maps.h.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "../mm/lock.h"
#include "../mm/mm.h"
#include "maps.h"
#include "vsyscall.h"

const struct vma maps_gate_vma = {
	.start = VSYSCALL_START,
	.end = VSYSCALL_END,
	.flags = VM_EXEC,
	.name = "[vsyscall]",
};

/* What a line shows of the thing behind an area. */
struct maps_file {
	uint64_t offset, dev, ino;
	const char *name; /* or NULL */
};

static struct maps_file maps_file(const struct vma *vma)
{
	struct maps_file f = {.name = mm_vma_name(vma->mm, vma)};

	if (vma->mapping)
		f.offset = vma->pgoff << PAGE_SHIFT;
	if (vma->file) {
		f.dev = vma->file->dev;
		f.ino = vma->file->ino;
		f.name = vma->file->path;
	}
	return f;
}

/* Appends a name, newlines as octal like the kernel. Returns the new length, or -ENAMETOOLONG. */
static int append_name(char *line, size_t bytes, size_t len, const char *name)
{
	for (; *name; name++) {
		if (bytes - len < sizeof("\\012"))
			return -ENAMETOOLONG;
		if (*name == '\n') {
			memcpy(line + len, "\\012", 4);
			len += 4;
		} else {
			line[len++] = *name;
		}
	}
	line[len] = '\0';
	return (int)len;
}

int maps_line(const struct vma *vma, char *line, size_t bytes)
{
	const struct maps_file f = maps_file(vma);
	int len = snprintf(line, bytes,
			   "%08" PRIx64 "-%08" PRIx64 " %c%c%c%c %08" PRIx64 " %02x:%02x %" PRIu64 " ",
			   vma->start, vma->end, vma->flags & VM_READ ? 'r' : '-',
			   vma->flags & VM_WRITE ? 'w' : '-', vma->flags & VM_EXEC ? 'x' : '-',
			   vma->flags & VM_MAYSHARE ? 's' : 'p', f.offset, major(f.dev), minor(f.dev), f.ino);

	if (!f.name)
		return len < (int)bytes ? len : -ENAMETOOLONG;
	/* A line that reaches the column already still gets a space more. */
	int pad = len < MAPS_NAME_COLUMN ? MAPS_NAME_COLUMN - len : 1;
	if (len + pad >= (int)bytes)
		return -ENAMETOOLONG;
	memset(line + len, ' ', (size_t)pad);
	return append_name(line, bytes, (size_t)(len + pad), f.name);
}

static int write_line(const struct vma *vma, char *line, FILE *out)
{
	return maps_line(vma, line, MAPS_LINE_BYTES) < 0 || fprintf(out, "%s\n", line) < 0 ? -EIO : 0;
}

int proc_maps(struct mm *mm, FILE *out)
{
	char *line = malloc(MAPS_LINE_BYTES);
	const struct vma *vma;
	int ret = line ? 0 : -EIO;

	if (!line)
		return ret;
	mm_read_lock(mm);
	vma_for_each (vma, &mm->vmas) {
		ret = write_line(vma, line, out);
		if (ret)
			break;
	}
	mm_read_unlock(mm);
	if (!ret && mm->task_size == TASK_SIZE)
		ret = write_line(&maps_gate_vma, line, out);
	free(line);
	return ret;
}
