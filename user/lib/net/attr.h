/* SPDX-License-Identifier: MIT */
/* Walks netlink attributes whose lengths may lie. Within net/ only. */
#ifndef NET_ATTR_H
#define NET_ATTR_H

#include <libmnl/libmnl.h>
#include <limits.h>
#include <stddef.h>
#include <stdint.h>

/* The attribute at p when all of it lies before end, else NULL. */
static inline const struct nlattr *attr_at(const void *p, const void *end)
{
	ptrdiff_t left = (const char *)end - (const char *)p;

	return left > 0 && left <= INT_MAX && mnl_attr_ok(p, (int)left) ? p : NULL;
}

static inline const struct nlattr *attr_after(const struct nlattr *attr, const void *end)
{
	return attr_at(mnl_attr_next(attr), end);
}

/* Behind the last byte of what the attribute, resp. the message holds. */
static inline const void *attr_end(const struct nlattr *attr)
{
	return (const char *)mnl_attr_get_payload(attr) + mnl_attr_get_payload_len(attr);
}

static inline const void *message_end(const struct nlmsghdr *nlh)
{
	return (const char *)nlh + nlh->nlmsg_len;
}

static inline uint32_t attr_u32(const struct nlattr *attr)
{
	return mnl_attr_get_payload_len(attr) == sizeof(uint32_t) ? mnl_attr_get_u32(attr) : 0;
}

static inline uint8_t attr_u8(const struct nlattr *attr)
{
	return mnl_attr_get_payload_len(attr) == sizeof(uint8_t) ? mnl_attr_get_u8(attr) : 0;
}

/* The first one in a nest. */
static inline const struct nlattr *attr_first(const struct nlattr *nest)
{
	return attr_at(mnl_attr_get_payload(nest), attr_end(nest));
}

#endif
