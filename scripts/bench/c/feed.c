
/* Hand the frame to the program under test, which answers in this one's place. */
int xdptables(struct xdp_md *ctx)
{
    if (bench_write(ctx))
        next.call(ctx, 0);
    return XDP_ABORTED;
}
