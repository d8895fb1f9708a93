/* SPDX-License-Identifier: MIT */
/* What ethtool knows of an interface. Cold path, any thread. */
#ifndef NET_NIC_H
#define NET_NIC_H

#include <stdint.h>

/*
 * Receive queues in use now (ETHTOOL_GCHANNELS: rx + combined), or 0 when the driver does not
 * tell. Not from /sys: its view of devices is that of the network namespace it was mounted in.
 */
uint32_t nic_rx_queues(const char *device);

/* Driver name ("veth", "virtio_net"), "" when there is none. Returns buf. */
char *nic_driver(const char *device, char buf[32]);

#endif
