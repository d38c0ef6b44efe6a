"""What holds for all tests: where nothing may be skipped, a skipped test has failed."""

from __future__ import annotations

import os
from collections.abc import Generator
from typing import Any

import pytest
from hypothesis import settings

# Other work on the machine is no failure.
settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")

# Needs modules and devices of a distribution's kernel: scripts/kernels boots one and sets this.
collect_ignore = [] if os.environ.get("XDPTABLES_STOCK") else ["stock"]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden", action="store_true", help="write tests/golden/ anew instead of comparing with it"
    )


def _no_skips(report: Any) -> None:
    if os.environ.get("XDPTABLES_STRICT") == "1" and report.skipped and not hasattr(report, "wasxfail"):
        why = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"skipped, which XDPTABLES_STRICT=1 does not allow: {why}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    _no_skips(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    _no_skips(report)
    return report
