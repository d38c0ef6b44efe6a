/* BCC defines LINUX_VERSION_CODE itself, from BCC_LINUX_VERSION_CODE. */
#ifndef KERNEL_VERSION
#define KERNEL_VERSION(a, b, c) (((a) << 16) + ((b) << 8) + (c))
#endif
