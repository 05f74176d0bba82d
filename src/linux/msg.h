/* SPDX-License-Identifier: MIT */
/* msg.h - the message queues of a sandbox (ipc.h), as the calls on them want them. */
#ifndef LODGE_LINUX_MSG_H
#define LODGE_LINUX_MSG_H

#include <sys/msg.h>

#include "ipc.h"

#define MSG_MAX_BYTES	    8192  /* MSGMAX */
#define MSG_MAX_QUEUE_BYTES 16384 /* MSGMNB */

/* A message, in a queue or on its way. */
struct message;

/* One with room for `bytes`; NULL: no memory. */
struct message *message_new(long type, size_t bytes);
void message_free(struct message *m);
char *message_text(struct message *m);
size_t message_bytes(const struct message *m);
long message_type(const struct message *m);

int64_t msg_get(struct task *t, key_t key, int flags);
/* Takes the message over with success. */
int64_t msg_send(struct task *t, int id, struct message *m, int flags);
/* What fits into `room`, in *m, which is the caller's then. 0 or -errno. */
int64_t msg_receive(struct task *t, int id, size_t room, long type, int flags, struct message **m);

/* By number (IPC_STAT) or index. What the call returns, or -errno. */
int64_t msg_stat(struct task *t, int id, int cmd, struct msqid_ds *ds);
int64_t msg_info(struct task *t, int cmd, struct msginfo *info);
int64_t msg_set(struct task *t, int id, const struct msqid_ds *ds);
int64_t msg_remove(struct task *t, int id);

#endif
