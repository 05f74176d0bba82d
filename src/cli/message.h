/* SPDX-License-Identifier: MIT */
/*
 * message.h - what lodge itself says: single lines on stderr that begin with "lodge: ".
 *
 * The guest shares stderr, so a line goes out by one write and is cut, not split, when it is too long. Bytes
 * that a terminal might obey come from names given by the user; they are shown as '?'.
 */
#ifndef LODGE_CLI_MESSAGE_H
#define LODGE_CLI_MESSAGE_H

#define MESSAGE_BYTES 640 /* of one line, newline included */

void message(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
