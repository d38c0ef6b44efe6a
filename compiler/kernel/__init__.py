"""From C text to an attached XDP program: compile (BCC), load (bpf(2)), attach (netlink), remember (state).

The names for other folders: `load.load_program`, `load.unload_program`, `status.status`,
`compile.compile_program` and `syscall.test_run`.
"""
