/* SPDX-License-Identifier: MIT */
#include "net/nic.h"

#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdbool.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

/*
 * One ethtool request. Any socket will do, as it only names the network namespace; a local one is
 * there even where no Internet family is.
 */
static bool ethtool(const char *device, void *request)
{
	struct ifreq ifr = { .ifr_data = request };
	size_t len = strnlen(device, IFNAMSIZ);
	int fd, err;

	if (len == 0 || len == IFNAMSIZ)
		return false;
	memcpy(ifr.ifr_name, device, len);
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return false;
	err = ioctl(fd, SIOCETHTOOL, &ifr);
	close(fd);
	return err == 0;
}

uint32_t nic_rx_queues(const char *device)
{
	struct ethtool_channels channels = { .cmd = ETHTOOL_GCHANNELS };

	if (!ethtool(device, &channels))
		return 0;
	return channels.rx_count + channels.combined_count;
}

char *nic_driver(const char *device, char buf[32])
{
	struct ethtool_drvinfo info = { .cmd = ETHTOOL_GDRVINFO };

	memset(buf, 0, 32);
	if (ethtool(device, &info))
		memcpy(buf, info.driver, strnlen(info.driver, 31));
	return buf;
}
