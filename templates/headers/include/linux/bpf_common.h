/* Instruction classes and modes, for macros in BCC's bpf.h that the program does not use. */
