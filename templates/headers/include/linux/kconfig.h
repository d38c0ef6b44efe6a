/* BCC puts this file before every program, and asks it for no more than this. */
#define CONFIG_BPF_SYSCALL 1
