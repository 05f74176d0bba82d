/* SPDX-License-Identifier: MIT */
/* filedata.c - writes the file that filemap.c reads: `filedata FILE`, 512 MiB, each page beginning with its number. */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

#define PAGE  4096u
#define PAGES (512u << 8)
#define CHUNK 256u

int main(int argc, char **argv)
{
	static uint64_t chunk[CHUNK][PAGE / sizeof(uint64_t)];
	int fd = argc == 2 ? open(argv[1], O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644) : -1;

	for (uint64_t page = 0; fd >= 0 && page < PAGES; page += CHUNK) {
		for (unsigned int i = 0; i < CHUNK; i++)
			chunk[i][0] = page + i;
		if (write(fd, chunk, sizeof(chunk)) != (ssize_t)sizeof(chunk)) {
			perror("filedata");
			unlink(argv[1]);
			return 1;
		}
	}
	return fd < 0 || fsync(fd) || close(fd) ? 1 : 0;
}
