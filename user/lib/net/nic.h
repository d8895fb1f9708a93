/* SPDX-License-Identifier: MIT */
/* What the driver says of an interface. Cold path, any thread; all of them open a socket. */
#ifndef NET_NIC_H
#define NET_NIC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Receive queues in use now (ETHTOOL_GCHANNELS: rx + combined), or 0 when the driver does not
 * tell. Not from /sys: its view of devices is that of the network namespace it was mounted in.
 */
uint32_t nic_rx_queues(const char *device);

/* Driver name ("veth", "virtio_net"), "" when there is none. Returns buf. */
char *nic_driver(const char *device, char buf[32]);

/* Whether a feature is on, by its name in the kernel ("rx-lro"); false too when not known. */
bool nic_feature(const char *device, const char *name);

/*
 * The features that are on by which the device, or the kernel behind it, makes one packet out of
 * several received ones that were not sent as one: "rx-gro-hw,rx-gro-list", "" if none. Returns
 * names, which is cut at a whole name when the room is too small.
 */
char *nic_coalesces(const char *device, char *names, size_t room);

/*
 * Whether the driver tells an XDP program of the VLAN tag that the hardware took off (kernels
 * from 6.8; false where nobody can say).
 */
bool nic_tells_vlan(uint32_t ifindex);

#endif
