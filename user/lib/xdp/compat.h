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

#ifndef XDP_USE_SG
#define XDP_USE_SG (1u << 4) /* Linux 6.6 */
#endif
#ifndef XDP_PKT_CONTD
#define XDP_PKT_CONTD (1u << 0)
#endif
#ifndef BPF_F_XDP_DEV_BOUND_ONLY
#define BPF_F_XDP_DEV_BOUND_ONLY (1u << 6) /* Linux 6.3 */
#endif

#endif
