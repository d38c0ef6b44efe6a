"""A small program with the maps of a generated one, whose verdicts show which map said what."""

from __future__ import annotations

import socket

_TEXT = """
#define BPF_LICENSE Dual MIT/GPL
struct xt_key4 { u32 prefixlen; u8 addr[4]; };
struct xt_key6 { u32 prefixlen; u8 addr[16]; };
struct xt_count { u64 packets; u64 bytes; };
struct xt_config { u64 mac, flags, near[12], until, over; };
BPF_TABLE("array", u32, struct xt_config, xt_config, 1);
BPF_TABLE("array", u32, u64, xt_numbers, 4);
BPF_F_TABLE("lpm_trie", struct xt_key4, u32, xt_local4, 64, 1);
BPF_F_TABLE("lpm_trie", struct xt_key6, u32, xt_local6, 64, 1);
BPF_TABLE("percpu_array", u32, struct xt_count, xt_rules, 4);
BPF_TABLE("percpu_array", u32, u64, xt_verdicts, 4);

static __always_inline int xt_end(struct xdp_md *ctx, u32 slot, int verdict)
{
    struct xt_count *rule = xt_rules.lookup(&slot);
    u32 index = verdict & 3;
    u64 *count = xt_verdicts.lookup(&index);

    if (rule && verdict == XDP_DROP) {
        rule->packets++;
        rule->bytes += (void *)(long)ctx->data_end - (void *)(long)ctx->data;
    }
    if (count)
        (*count)++;
    return verdict;
}

int xdptables(struct xdp_md *ctx)
{
    u8 *p = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
    u32 zero = 0;
    struct xt_config *config = xt_config.lookup(&zero);

    if (p + 34 > end)
        return xt_end(ctx, 0, XDP_PASS);
    if (p[12] == 0x88 && p[13] == %(type)s)
        return xt_end(ctx, 1, XDP_DROP);
    if (p[12] == 0x88 && p[13] == 0xb6 && config && (config->flags & 1))
        return xt_end(ctx, 2, XDP_DROP);
    if (p[12] == 0x08 && p[13] == 0) {
        struct xt_key4 key = {.prefixlen = 32};
        u32 *local;

        __builtin_memcpy(key.addr, p + 30, 4);
        local = xt_local4.lookup(&key);
        if (local && *local == 2)
            return xt_end(ctx, 3, XDP_DROP);
    }
    if (p[12] == 0x86 && p[13] == 0xdd && p + 54 <= end) {
        struct xt_key6 key = {.prefixlen = 128};

        __builtin_memcpy(key.addr, p + 38, 16);
        if (xt_local6.lookup(&key))
            return xt_end(ctx, 3, XDP_DROP);
    }
    return xt_end(ctx, 0, XDP_PASS);
}
"""

DROPPED = bytes(12) + b"\x88\xb5" + bytes(50)
DROPPED_WHEN_FORWARDING = bytes(12) + b"\x88\xb6" + bytes(50)
DROP, PASS = 1, 2


def text(ethertype_low: int = 0xB5) -> str:
    """Drops frames of EtherType 0x88.., so that two versions can be told apart on the wire."""
    return _TEXT % {"type": hex(ethertype_low)}


def ipv4(destination: str) -> bytes:
    return bytes(12) + b"\x08\x00" + bytes(16) + socket.inet_aton(destination) + bytes(30)


def ipv6(destination: str) -> bytes:
    return bytes(12) + b"\x86\xdd" + bytes(24) + socket.inet_pton(socket.AF_INET6, destination) + bytes(10)
