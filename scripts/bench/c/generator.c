/* Sends the next of 4,096 frames. The page that it is given was used before, so all of it is written. */
#define KBUILD_MODNAME "xdptables"
#include <uapi/linux/bpf.h>

#define FRAMES 4096
struct bench_frame { u64 word[FRAME_WORDS]; };

BPF_ARRAY(frames, struct bench_frame, FRAMES);
BPF_ARRAY(to, u32, 1);          /* the interface that the frames leave by */
BPF_PERCPU_ARRAY(sent, u64, 1);
BPF_PROG_ARRAY(next, 1);

static __always_inline int bench_write(struct xdp_md *ctx)
{
    void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
    u32 zero = 0;
    u64 *n = sent.lookup(&zero), *out = data;

    if (!n || (void *)(out + FRAME_WORDS) > end)
        return 0;
    u32 which = *n & (FRAMES - 1);
    struct bench_frame *frame = frames.lookup(&which);
    if (!frame)
        return 0;
    *n += 1;
#pragma unroll
    for (int i = 0; i < FRAME_WORDS; i++)
        out[i] = frame->word[i];
    return 1;
}
