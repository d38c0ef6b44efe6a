"""The options that choose how a program looks rules up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from ..emit.engine import AUTOMATIC, ENGINES, EngineRequest


def engine_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """--engine and --table-memory."""
    memory = click.option(
        "--table-memory", type=click.IntRange(0, 512), default=AUTOMATIC.table_memory >> 20,
        show_default=True, metavar="MIB",
        help="how large tables may be; drops that do not fit stay with netfilter",
    )  # fmt: skip
    engine = click.option(
        "--engine", type=click.Choice(ENGINES), default=AUTOMATIC.engine, show_default=True,
        help="straight code, or tables in which a look-up costs the same whatever the number of rules",
    )  # fmt: skip
    return engine(memory(command))


def engine_request(engine: str, table_memory: int) -> EngineRequest:
    return EngineRequest(engine, table_memory << 20)
