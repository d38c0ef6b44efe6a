"""Find iovisor's BCC, which the distribution installs for its own Python only.

Imported at the moment a program is compiled, so that everything else works without it.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from importlib.machinery import PathFinder
from types import ModuleType

from ..source import UserError

SYSTEM_PACKAGES = "/usr/lib/python3/dist-packages"
_INSTALL = "apt install python3-bpfcc (Debian, Ubuntu); other distributions call it python3-bcc"


def import_bcc() -> ModuleType:
    """The `bcc` module with `BPF`. Raises UserError when there is none."""
    impostor = ""
    try:
        found = importlib.import_module("bcc")
    except ImportError:
        pass
    except OSError as e:  # its shared library does not load
        raise UserError(f"BCC is installed but does not load: {e}", _INSTALL) from e
    else:
        if hasattr(found, "BPF"):
            return found
        impostor = str(getattr(found, "__file__", None) or "bcc")
    module = _import_from(SYSTEM_PACKAGES)
    if module is not None:
        return module
    if impostor:
        raise UserError(
            f"the Python package 'bcc' at {impostor} is not BCC, the BPF compiler",
            f"PyPI's 'bcc' is an unrelated project: pip uninstall bcc, then {_INSTALL}",
        )
    raise UserError("BCC, which compiles and loads the program, is not installed", _INSTALL)


def _import_from(folder: str) -> ModuleType | None:
    """Load that one package without putting the whole folder on sys.path."""
    spec = PathFinder.find_spec("bcc", [folder])
    if spec is None or spec.loader is None:
        return None
    before = {name: module for name, module in sys.modules.items() if name.split(".")[0] == "bcc"}
    for name in before:
        del sys.modules[name]
    module = importlib.util.module_from_spec(spec)
    sys.modules["bcc"] = module  # its own submodules import it by this name
    try:
        spec.loader.exec_module(module)
    except OSError as e:
        _restore(before)
        raise UserError(f"BCC is installed but does not load: {e}", _INSTALL) from e
    except ImportError:
        _restore(before)
        return None
    if not hasattr(module, "BPF"):
        _restore(before)
        return None
    return module


def _restore(before: dict[str, ModuleType]) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "bcc"]:
        del sys.modules[name]
    sys.modules.update(before)
