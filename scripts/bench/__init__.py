"""Side by side: what a packet costs with xdptables, netfilter, ipset, nft sets, xdp-filter: make bench

docs/performance.md says what is measured and how. The path of the data: `rules` and `packets` make a case
from a seed, `contestants` sets it up in namespaces (`place`), `gate` checks the fate of every packet,
`rounds` times what the `generator` sends, `testrun` asks the kernel's own clock, and `table`, `plot` and
`docs` show the `results`.
"""
