/* SPDX-License-Identifier: MIT */
/*
 * sys_ioctl.c - ioctl: what programs ask of terminals, files and interfaces, and nothing that changes another object.
 *
 * Not here: sessions and groups of terminals (tty.c).
 */
#include <asm/termbits.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "host_wait.h"
#include "notice.h"
#include "sockets.h"
#include "syscall.h"
#include "tty.h"

struct ioctl_entry {
	unsigned int cmd;
	unsigned int bytes; /* 0: the argument is a number */
	unsigned int how;
};

#define TO_HOST	  1u /* the guest's structure goes to the host; otherwise the host's to the guest */
#define INTERFACE 2u /* both; about an interface of the network that the sandbox has */
#define CHANGES	  4u /* what a background group is stopped for */

static const struct ioctl_entry ioctls[] = {
	{TCGETS, sizeof(struct termios), 0},
	{TCSETS, sizeof(struct termios), TO_HOST | CHANGES},
	{TCSETSW, sizeof(struct termios), TO_HOST | CHANGES},
	{TCSETSF, sizeof(struct termios), TO_HOST | CHANGES},
	{TCGETS2, sizeof(struct termios2), 0},
	{TCSETS2, sizeof(struct termios2), TO_HOST | CHANGES},
	{TCSETSW2, sizeof(struct termios2), TO_HOST | CHANGES},
	{TCSETSF2, sizeof(struct termios2), TO_HOST | CHANGES},
	{TCGETA, sizeof(struct termio), 0},
	{TCSETA, sizeof(struct termio), TO_HOST | CHANGES},
	{TCSETAW, sizeof(struct termio), TO_HOST | CHANGES},
	{TCSETAF, sizeof(struct termio), TO_HOST | CHANGES},
	{TCSBRK, 0, TO_HOST | CHANGES},
	{TCSBRKP, 0, TO_HOST | CHANGES},
	{TCXONC, 0, TO_HOST | CHANGES},
	{TCFLSH, 0, TO_HOST | CHANGES},
	{TIOCEXCL, 0, TO_HOST},
	{TIOCNXCL, 0, TO_HOST},
	{TIOCGLCKTRMIOS, sizeof(struct termios), 0},
	{TIOCGEXCL, sizeof(int), 0},
	{TIOCGETD, sizeof(int), 0},
	{TIOCGWINSZ, sizeof(struct winsize), 0},
	{TIOCSWINSZ, sizeof(struct winsize), TO_HOST},
	{TIOCGPTN, sizeof(int), 0},
	{TIOCSPTLCK, sizeof(int), TO_HOST},
	{TIOCGPTLCK, sizeof(int), 0},
	{TIOCPKT, sizeof(int), TO_HOST},
	{TIOCGPKT, sizeof(int), 0},
	{FIONREAD, sizeof(int), 0},
	{TIOCOUTQ, sizeof(int), 0},
	{FIONBIO, sizeof(int), TO_HOST},
	{FIOASYNC, sizeof(int), TO_HOST},
	{FIOQSIZE, sizeof(loff_t), 0},
	{FIGETBSZ, sizeof(int), 0},
	{FS_IOC_GETFLAGS, sizeof(int), 0},
	{FS_IOC_GETVERSION, sizeof(int), 0},
	{SIOCGIFNAME, sizeof(struct ifreq), INTERFACE},
	{SIOCGIFINDEX, sizeof(struct ifreq), INTERFACE},
	{SIOCGIFFLAGS, sizeof(struct ifreq), INTERFACE},
	{SIOCGIFADDR, sizeof(struct ifreq), INTERFACE},
	{SIOCGIFNETMASK, sizeof(struct ifreq), INTERFACE},
	{SIOCGIFBRDADDR, sizeof(struct ifreq), INTERFACE},
	{SIOCGIFHWADDR, sizeof(struct ifreq), INTERFACE},
	{SIOCGIFMTU, sizeof(struct ifreq), INTERFACE},
};

static const struct ioctl_entry *ioctl_find(unsigned int cmd)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(ioctls); i++)
		if (ioctls[i].cmd == cmd)
			return &ioctls[i];
	return NULL;
}

/* *argument, or its value where the host wants a number. */
static int64_t host_ioctl(struct task *t, int host_fd, const struct ioctl_entry *e, void *argument,
			  uint64_t value)
{
	struct host_wait wait;
	int64_t ret;

	host_wait_begin(&wait);
	do {
		ret = e->bytes ? ioctl(host_fd, e->cmd, argument) : ioctl(host_fd, e->cmd, value);
		ret = ret < 0 ? -errno : ret;
	} while (ret == -EINTR && !task_interrupted(t));
	host_wait_end(&wait);
	return ret == -EINTR ? host_wait_interrupted(t) : ret;
}

static bool has_size(int host_fd, const void *argument)
{
	struct winsize now;

	return ioctl(host_fd, TIOCGWINSZ, &now) || !memcmp(&now, argument, sizeof(now));
}

static int64_t do_ioctl(struct task *t, const struct guest_file *file, const struct ioctl_entry *e,
			uint64_t value)
{
	char argument[64] __attribute__((aligned(8))) = {0};
	bool same;
	int64_t ret;

	if ((e->how & INTERFACE) && sockets_net(t->sandbox->sockets) == LODGE_NET_NONE)
		return -ENOTTY;
	if ((e->how & (TO_HOST | INTERFACE)) && copy_from_user(t->mm, argument, value, e->bytes))
		return -EFAULT;
	ret = e->how & CHANGES ? tty_check(t, file, SIGTTOU) : 0;
	if (ret)
		return ret;
	same = e->cmd != TIOCSWINSZ || has_size(file->host_fd, argument);
	ret = host_ioctl(t, file->host_fd, e, argument, value);
	if (!ret && !same)
		tty_resized(t, file);
	if (ret || (e->how & TO_HOST))
		return ret;
	return copy_to_user(t->mm, value, argument, e->bytes) ? -EFAULT : 0;
}

/* The other side of a pair, by its master. */
static int64_t open_peer(struct task *t, const struct guest_file *file, int flags)
{
	int fd = ioctl(file->host_fd, TIOCGPTPEER, (flags & (O_ACCMODE | O_NONBLOCK)) | O_NOCTTY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	fd = files_install(t->files, fd, flags & O_CLOEXEC, 0, NULL);
	if (fd >= 0)
		tty_opened(t, fd, flags);
	return fd;
}

static int64_t sys_ioctl(struct task *t, const uint64_t a[6])
{
	struct guest_file *file = files_get(t->files, (int)a[0]);
	unsigned int cmd = (unsigned int)a[1];
	const struct ioctl_entry *e = ioctl_find(cmd);
	int64_t ret;

	if (!file || (fcntl(file->host_fd, F_GETFL) & O_PATH))
		return -EBADF;
	if (cmd == FIOCLEX || cmd == FIONCLEX) {
		files_set_cloexec(t->files, (int)a[0], cmd == FIOCLEX);
		return 0;
	}
	if (tty_ioctl(t, file, cmd, a[2], &ret))
		return ret;
	if (cmd == TIOCGPTPEER && file->tty_master)
		return open_peer(t, file, (int)a[2]);
	if (cmd == FIOASYNC) { /* whatever it is to be, somebody hears of it */
		ret = notice_arm(t, file, (int)a[0]);
		if (ret)
			return ret;
	}
	return e ? do_ioctl(t, file, e, a[2]) : -ENOTTY;
}

const struct syscall_entry sys_ioctl_calls[] = {
	SYSCALL_ENTRY(ioctl),
	{0},
};
