
int xdptables(struct xdp_md *ctx)
{
    u32 zero = 0, *ifindex = to.lookup(&zero);

    if (!ifindex || !bench_write(ctx))
        return XDP_ABORTED;
    return bpf_redirect(*ifindex, 0);
}
