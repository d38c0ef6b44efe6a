"""What is said where BCC, privileges, a new enough kernel or a namespace are missing."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from xdptables.kernel import bcc_import, netns, preflight
from xdptables.source import UserError


def in_child(code: str, *prefix: str) -> str:
    """Run Python elsewhere; returns the UserError it ends with."""
    wrapped = "from xdptables.source import UserError\ntry:\n" + textwrap.indent(code, "    ")
    wrapped += "\nexcept UserError as e:\n    print(e)\n"
    done = subprocess.run(
        [*prefix, sys.executable, "-c", wrapped], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_old_kernel() -> None:
    with pytest.raises(UserError, match=r"Linux 4\.19 is too old"):
        preflight.check_kernel("4.19.0-27-amd64")
    preflight.check_kernel("5.10.0")
    assert preflight.kernel_version("6.18.44-fc") == (6, 18)


@pytest.mark.kernel
@pytest.mark.stock
def test_not_root() -> None:
    # Imported as root: the project may lie where nobody else may read.
    leave = "import os; os.setgid(65534); os.setuid(65534)\n"
    said = in_child(f"from xdptables.kernel.preflight import preflight\n{leave}preflight()")
    assert "not root" in said and "CAP_BPF" in said and "sudo" in said
    said = in_child(
        "from xdptables.kernel.load import load_program\nfrom xdptables.host.facts import HostFacts\n"
        f"{leave}load_program('', 'lo', HostFacts())"
    )
    assert "not root" in said


@pytest.mark.kernel
def test_root_without_capabilities() -> None:
    said = in_child(
        "from xdptables.kernel.preflight import preflight; preflight()",
        *("setpriv", "--bounding-set", "-net_admin", "--inh-caps", "-net_admin"),
    )
    assert "container" in said and "CAP_NET_ADMIN" in said and "CAP_BPF" not in said


def test_no_such_namespace() -> None:
    with pytest.raises(UserError, match="no network namespace 'nowhere'"), netns.in_netns("nowhere"):
        pass


@pytest.mark.kernel
def test_not_a_namespace(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    before = netns.inode()
    with pytest.raises(UserError, match="is not a network namespace"), netns.in_netns(str(file)):
        pass
    assert netns.inode() == before


def test_impostor_from_pypi_is_named(tmp_path: Path) -> None:
    (tmp_path / "bcc.py").write_text("lattice = 1")
    code = f"""
import sys
sys.path.insert(0, {str(tmp_path)!r})
from xdptables.kernel import bcc_import
bcc_import.SYSTEM_PACKAGES = "/nonexistent"
bcc_import.import_bcc()
"""
    said = in_child(code)
    assert str(tmp_path) in said and "pip uninstall bcc" in said and "apt install python3-bpfcc" in said


def test_bcc_missing() -> None:
    code = """
import sys
sys.modules["bcc"] = None
from xdptables.kernel import bcc_import
bcc_import.SYSTEM_PACKAGES = "/nonexistent"
bcc_import.import_bcc()
"""
    assert "apt install python3-bpfcc" in in_child(code)


@pytest.mark.kernel
def test_bcc_of_the_system_is_found_behind_an_impostor(tmp_path: Path) -> None:
    """As in a virtual environment that does not see the system's packages."""
    (tmp_path / "bcc.py").write_text("lattice = 1")
    code = f"""
import sys
sys.path[:] = [{str(tmp_path)!r}] + [p for p in sys.path if p != bcc_folder]
from xdptables.kernel.bcc_import import import_bcc
assert import_bcc().BPF and bcc_folder not in sys.path
import bcc.table
"""
    assert in_child(f"bcc_folder = {bcc_import.SYSTEM_PACKAGES!r}\n{code}") == ""
