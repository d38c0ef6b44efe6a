"""The pair of namespaces that tests send real packets in."""

from xdptables.verify.pair import End, NetnsPair

__all__ = ["End", "NetnsPair"]
