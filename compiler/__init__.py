"""xdptables: drop in XDP what netfilter would have dropped.

The path of data, and the folder of each step:

    text -> rules -> decisions -> passes -> emit (plan, C) -> kernel

See docs/architecture.md.
"""

if __name__ != "xdptables":  # imported as a folder on sys.path, not as the installed package
    raise ImportError("import this as 'xdptables' (pip install -e .), not as 'compiler'")

__version__ = "0.1.0"
