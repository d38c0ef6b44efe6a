/* The limit: read addresses, protocol and ports as any filter has to, then do what the frame says is right
 * (IPv4 identification or IPv6 flow label: 1 means drop). No rules, no maps, no counters. */
#define KBUILD_MODNAME "xdptables"
#include <uapi/linux/bpf.h>

struct bench_eth { u8 dst[6], src[6]; __be16 proto; } __attribute__((packed));
struct bench_ip4 {
    u8 version_ihl, tos;
    __be16 length, id, frag;
    u8 ttl, proto;
    __be16 check;
    __be32 src, dst;
} __attribute__((packed));
struct bench_ip6 {
    __be32 flow;
    __be16 length;
    u8 next, hops;
    __be64 src[2], dst[2];
} __attribute__((packed));
struct bench_ports { __be16 src, dst; };

int xdptables(struct xdp_md *ctx)
{
    void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
    struct bench_eth *eth = data;
    struct bench_ports *ports;
    u32 drop, same;
    u8 proto;

    if ((void *)(eth + 1) > end)
        return XDP_PASS;
    if (eth->proto == bpf_htons(0x0800)) {
        struct bench_ip4 *ip = (void *)(eth + 1);
        ports = (void *)(ip + 1);
        if ((void *)(ports + 1) > end || ip->version_ihl != 0x45 || ip->frag & bpf_htons(0x3fff))
            return XDP_PASS;
        proto = ip->proto;
        same = ip->src == ip->dst;
        drop = ip->id == bpf_htons(1);
    } else if (eth->proto == bpf_htons(0x86dd)) {
        struct bench_ip6 *ip = (void *)(eth + 1);
        ports = (void *)(ip + 1);
        if ((void *)(ports + 1) > end)
            return XDP_PASS;
        proto = ip->next;
        same = ip->src[0] == ip->dst[0] && ip->src[1] == ip->dst[1];
        drop = ip->flow == bpf_htonl(0x60000001);
    } else {
        return XDP_PASS;
    }
    if ((proto != 6 && proto != 17) || (same && ports->src == ports->dst))
        return XDP_PASS; /* a packet to itself: asked only so that all of it is read */
    return drop ? XDP_DROP : XDP_PASS;
}
