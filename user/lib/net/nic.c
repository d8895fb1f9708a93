/* SPDX-License-Identifier: MIT */
#include "net/nic.h"

#include "net/ask.h"
#include "net/attr.h"

#include <linux/ethtool.h>
#include <linux/genetlink.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdlib.h>
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

/* ---------------------------------------------------------------- features */

/* More than the kernel has bits for. */
#define MAX_FEATURES 1024u

static struct ethtool_gstrings *feature_names(const char *device)
{
	struct {
		struct ethtool_sset_info info;
		uint32_t count;
	} sset = {
		.info = { .cmd = ETHTOOL_GSSET_INFO, .sset_mask = 1u << ETH_SS_FEATURES },
	};
	struct ethtool_gstrings *names;

	if (!ethtool(device, &sset) || !sset.info.sset_mask || sset.count > MAX_FEATURES)
		return NULL;
	names = calloc(1, sizeof(*names) + (size_t)sset.count * ETH_GSTRING_LEN);
	if (!names)
		return NULL;
	names->cmd = ETHTOOL_GSTRINGS;
	names->string_set = ETH_SS_FEATURES;
	names->len = sset.count;
	if (ethtool(device, names))
		return names;
	free(names);
	return NULL;
}

/* Which number a name has differs between kernels. */
static bool feature_number(const char *device, const char *name, uint32_t *number)
{
	struct ethtool_gstrings *names = feature_names(device);
	bool found = false;
	uint32_t i;

	for (i = 0; names && i < names->len && !found; i++) {
		found = !strncmp((const char *)names->data + (size_t)i * ETH_GSTRING_LEN, name,
				 ETH_GSTRING_LEN);
		*number = i;
	}
	free(names);
	return found;
}

bool nic_feature(const char *device, const char *name)
{
	struct {
		struct ethtool_gfeatures head;
		struct ethtool_get_features_block blocks[MAX_FEATURES / 32];
	} features = {
		.head = { .cmd = ETHTOOL_GFEATURES, .size = MAX_FEATURES / 32 },
	};
	uint32_t i;

	if (!feature_number(device, name, &i) || !ethtool(device, &features))
		return false;
	return features.blocks[i / 32].active & 1u << i % 32;
}

char *nic_coalesces(const char *device, char *names, size_t room)
{
	static const char *const all[] = {
		"rx-lro",
		"rx-gro-hw",
		"rx-udp-gro-forwarding",
		"rx-gro-list",
	};
	size_t i, used = 0, len;

	if (room)
		names[0] = '\0';
	for (i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		len = strlen(all[i]);
		if (used + !!used + len + 1 > room || !nic_feature(device, all[i]))
			continue;
		if (used)
			names[used++] = ',';
		memcpy(names + used, all[i], len + 1);
		used += len;
	}
	return names;
}

/* ---------------------------------------------------------------- XDP metadata */

/* From linux/netdev.h of 6.8, which is younger than the headers we build with. */
#define NETDEV_DEV_GET		    1  /* NETDEV_CMD_DEV_GET */
#define NETDEV_IFINDEX		    1  /* NETDEV_A_DEV_IFINDEX */
#define NETDEV_RX_METADATA	    5  /* NETDEV_A_DEV_XDP_RX_METADATA_FEATURES */
#define NETDEV_RX_METADATA_VLAN_TAG 4u /* NETDEV_XDP_RX_METADATA_VLAN_TAG */

static struct nlmsghdr *genl_request(void *buf, uint16_t family, uint8_t command)
{
	struct nlmsghdr *request = mnl_nlmsg_put_header(buf);
	struct genlmsghdr *genl = mnl_nlmsg_put_extra_header(request, sizeof(*genl));

	request->nlmsg_type = family;
	genl->cmd = command;
	genl->version = 1;
	return request;
}

/* The attribute of that type in a message of the generic kind, NULL if there is none. */
static const struct nlattr *find(const struct nlmsghdr *nlh, uint16_t type)
{
	const char *payload = mnl_nlmsg_get_payload(nlh);
	const void *end = message_end(nlh);
	const struct nlattr *attr;

	attr = attr_at(payload + sizeof(struct genlmsghdr), end);
	while (attr && mnl_attr_get_type(attr) != type)
		attr = attr_after(attr, end);
	return attr;
}

static int take_family(void *arg, const struct nlmsghdr *nlh, size_t room)
{
	const struct nlattr *attr = find(nlh, CTRL_ATTR_FAMILY_ID);

	(void)room;
	if (attr && mnl_attr_get_payload_len(attr) == sizeof(uint16_t))
		*(uint16_t *)arg = mnl_attr_get_u16(attr);
	return 0;
}

static int take_metadata(void *arg, const struct nlmsghdr *nlh, size_t room)
{
	const struct nlattr *attr = find(nlh, NETDEV_RX_METADATA);

	(void)room;
	if (attr && mnl_attr_get_payload_len(attr) == sizeof(uint64_t))
		*(uint64_t *)arg = mnl_attr_get_u64(attr);
	return 0;
}

bool nic_tells_vlan(uint32_t ifindex)
{
	_Alignas(struct nlmsghdr) char buf[128];
	struct nlmsghdr *request;
	uint64_t metadata = 0;
	uint16_t family = 0;
	struct ask *a;
	int err;

	if (ask_open(&a, NETLINK_GENERIC) < 0)
		return false;
	request = genl_request(buf, GENL_ID_CTRL, CTRL_CMD_GETFAMILY);
	mnl_attr_put_strz(request, CTRL_ATTR_FAMILY_NAME, "netdev");
	err = ask_kernel(a, request, NLM_F_ACK, take_family, &family, NULL);
	if (!err && family) {
		request = genl_request(buf, family, NETDEV_DEV_GET);
		mnl_attr_put_u32(request, NETDEV_IFINDEX, ifindex);
		err = ask_kernel(a, request, NLM_F_ACK, take_metadata, &metadata, NULL);
	}
	ask_close(a);
	return !err && metadata & NETDEV_RX_METADATA_VLAN_TAG;
}
