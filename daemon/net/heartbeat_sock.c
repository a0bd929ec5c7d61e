// SPDX-License-Identifier: GPL-2.0
/*
 * With one socket for all addresses, a datagram's own addresses travel beside it
 * (IP_PKTINFO, IPV6_PKTINFO), both ways: they say which path it came by, and make
 * it leave by the one it is for.
 */
#include "daemon/net/heartbeat_sock.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

union control {
	struct cmsghdr align;
	char buf[CMSG_SPACE(sizeof(struct in6_pktinfo)) + CMSG_SPACE(sizeof(struct in_pktinfo))];
};

static int set_options(int fd, bool v6)
{
	int one = 1, zero = 0, urgent = IPTOS_CLASS_CS6;

	/* like routing messages: not behind the bulk they are to watch; best effort */
	setsockopt(fd, SOL_IP, IP_TOS, &urgent, sizeof(urgent));
	if (!v6)
		return setsockopt(fd, SOL_IP, IP_PKTINFO, &one, sizeof(one));
	setsockopt(fd, SOL_IPV6, IPV6_TCLASS, &urgent, sizeof(urgent));
	if (setsockopt(fd, SOL_IPV6, IPV6_V6ONLY, &zero, sizeof(zero)))
		return -1;
	return setsockopt(fd, SOL_IPV6, IPV6_RECVPKTINFO, &one, sizeof(one));
}

int heartbeat_sock_open(const char *bind_to, uint16_t port, bool *ret_v6)
{
	struct sockaddr_storage ss;
	struct netaddr any = { .b = { 0 } };
	bool v6 = true;
	int fd, r, one = 1;

	if (bind_to[0]) {
		if (netaddr_parse(bind_to, &any))
			return -EINVAL;
		v6 = !netaddr_is_v4(&any);
	}
	fd = socket(v6 ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 && !bind_to[0]) {
		v6 = false;	/* no IPv6 in this kernel */
		netaddr_parse("0.0.0.0", &any);
		fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	}
	if (fd < 0)
		return -errno;
	/* the address may come up after us */
	setsockopt(fd, SOL_IP, IP_FREEBIND, &one, sizeof(one));
	if (set_options(fd, v6) ||
	    bind(fd, (struct sockaddr *)&ss, netaddr_to_sockaddr(&any, port, &ss))) {
		r = -errno;
		close(fd);
		return r;
	}
	*ret_v6 = v6;
	return fd;
}

/* A mapped address in a socket address of IPv6, which a socket for both wants. */
static socklen_t address_for(bool v6, const struct netaddr *na, uint16_t port,
			     struct sockaddr_storage *ret)
{
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)ret;

	if (!v6)
		return netaddr_to_sockaddr(na, port, ret);
	memset(ret, 0, sizeof(*ret));
	in6->sin6_family = AF_INET6;
	in6->sin6_port = htons(port);
	memcpy(&in6->sin6_addr, na->b, 16);
	return sizeof(*in6);
}

static void put_source(struct msghdr *mh, union control *ct, bool v6, const struct netaddr *from,
		       unsigned ifindex)
{
	struct in6_pktinfo pi6 = { .ipi6_ifindex = ifindex };
	struct in_pktinfo pi = { .ipi_ifindex = ifindex };
	struct cmsghdr *cm;

	memset(ct, 0, sizeof(*ct));
	mh->msg_control = ct->buf;
	mh->msg_controllen = v6 ? CMSG_SPACE(sizeof(pi6)) : CMSG_SPACE(sizeof(pi));
	cm = CMSG_FIRSTHDR(mh);
	if (v6) {
		memcpy(&pi6.ipi6_addr, from->b, 16);
		cm->cmsg_level = SOL_IPV6;
		cm->cmsg_type = IPV6_PKTINFO;
		cm->cmsg_len = CMSG_LEN(sizeof(pi6));
		memcpy(CMSG_DATA(cm), &pi6, sizeof(pi6));
	} else {
		memcpy(&pi.ipi_spec_dst, from->b + 12, 4);
		cm->cmsg_level = SOL_IP;
		cm->cmsg_type = IP_PKTINFO;
		cm->cmsg_len = CMSG_LEN(sizeof(pi));
		memcpy(CMSG_DATA(cm), &pi, sizeof(pi));
	}
}

int heartbeat_sock_send(int fd, bool v6, const struct netaddr *from, const struct netaddr *to,
			uint16_t port, unsigned ifindex, const void *data, size_t len)
{
	struct iovec iov = { .iov_base = (void *)data, .iov_len = len };
	struct sockaddr_storage ss;
	struct msghdr mh = { .msg_name = &ss, .msg_iov = &iov, .msg_iovlen = 1 };
	union control ct;

	if (!v6 && (!netaddr_is_v4(from) || !netaddr_is_v4(to)))
		return -EAFNOSUPPORT;
	mh.msg_namelen = address_for(v6, to, port, &ss);
	put_source(&mh, &ct, v6, from, ifindex);
	return sendmsg(fd, &mh, MSG_DONTWAIT) < 0 ? -errno : 0;
}

static bool take_destination(struct msghdr *mh, struct netaddr *ret)
{
	struct cmsghdr *cm;

	for (cm = CMSG_FIRSTHDR(mh); cm; cm = CMSG_NXTHDR(mh, cm)) {
		if (cm->cmsg_level == SOL_IPV6 && cm->cmsg_type == IPV6_PKTINFO) {
			struct in6_pktinfo pi6;

			memcpy(&pi6, CMSG_DATA(cm), sizeof(pi6));
			memcpy(ret->b, &pi6.ipi6_addr, 16);
			return true;
		}
		if (cm->cmsg_level == SOL_IP && cm->cmsg_type == IP_PKTINFO) {
			struct sockaddr_in in = { .sin_family = AF_INET };
			struct in_pktinfo pi;

			memcpy(&pi, CMSG_DATA(cm), sizeof(pi));
			in.sin_addr = pi.ipi_addr;
			return !netaddr_from_sockaddr((struct sockaddr *)&in, ret);
		}
	}
	return false;
}

int heartbeat_sock_recv(int fd, struct beat_packet ret[HEARTBEAT_BATCH])
{
	struct sockaddr_storage from[HEARTBEAT_BATCH];
	union control ct[HEARTBEAT_BATCH];
	struct mmsghdr mm[HEARTBEAT_BATCH];
	struct iovec iov[HEARTBEAT_BATCH];
	int i, n, kept = 0;

	for (i = 0; i < HEARTBEAT_BATCH; i++) {
		iov[i] = (struct iovec){ ret[i].data, sizeof(ret[i].data) };
		mm[i].msg_hdr = (struct msghdr){ .msg_name = &from[i],
			.msg_namelen = sizeof(from[i]), .msg_iov = &iov[i], .msg_iovlen = 1,
			.msg_control = ct[i].buf, .msg_controllen = sizeof(ct[i].buf) };
	}
	/* MSG_TRUNC: the length says if there was more */
	n = recvmmsg(fd, mm, HEARTBEAT_BATCH, MSG_DONTWAIT | MSG_TRUNC, NULL);
	for (i = 0; i < n; i++) {
		struct netaddr src, dst;

		if (netaddr_from_sockaddr((struct sockaddr *)&from[i], &src) ||
		    !take_destination(&mm[i].msg_hdr, &dst))
			continue;
		if (kept != i)
			memcpy(ret[kept].data, ret[i].data, sizeof(ret[i].data));
		ret[kept].from = src;
		ret[kept].to = dst;
		ret[kept].len = mm[i].msg_len;
		kept++;
	}
	return n < 0 ? 0 : kept;
}
