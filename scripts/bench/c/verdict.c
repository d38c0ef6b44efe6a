/* Nothing but a verdict. */
#define KBUILD_MODNAME "xdptables"
#include <uapi/linux/bpf.h>

int xdptables(struct xdp_md *ctx)
{
    return VERDICT;
}
