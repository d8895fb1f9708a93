/* SPDX-License-Identifier: MIT */
/* Constants that the oldest supported headers (Debian 12) do not have. The only place for these. */
#ifndef XDP_COMPAT_H
#define XDP_COMPAT_H

#include <sys/socket.h>

#ifndef SOL_XDP
#define SOL_XDP 283
#endif
#ifndef SO_PREFER_BUSY_POLL
#define SO_PREFER_BUSY_POLL 69
#endif
#ifndef SO_BUSY_POLL_BUDGET
#define SO_BUSY_POLL_BUDGET 70
#endif

#endif
