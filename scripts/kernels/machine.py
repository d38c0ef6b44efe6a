"""A virtual machine that boots a kernel with this machine's files and runs one command as root.

The guest sees the root directory through 9p, read-only, with a tmpfs on top: what it writes is gone
afterwards. It has no network but what it makes itself.
"""

from __future__ import annotations

import gzip
import lzma
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from packages import Kernel

HERE = Path(__file__).resolve().parent
BOOT_MODULES = ("virtio_pci", "9pnet_virtio", "9p", "overlay", "virtio_console")
NOT_BOOTED, TOO_LONG = 125, 124


def run(kernel: Kernel, command: list[str], *, seconds: int, memory: int = 2048, cpus: int = 2) -> int:
    """The command's exit status, or NOT_BOOTED, or TOO_LONG; its output goes to stdout as it comes."""
    with tempfile.TemporaryDirectory(prefix="xdptables-kernel-") as scratch:
        folder = Path(scratch)
        _write_initramfs(kernel, folder / "initramfs.gz")
        job = folder / "job"
        _write_job(kernel, command, job)
        console = folder / "console"
        sys.stdout.flush()
        output = os.dup(1)  # a stdio device would count as closed where standard input is
        words = _qemu(kernel, folder, output, memory, cpus)
        try:
            done = subprocess.run(
                words, stdin=subprocess.DEVNULL, pass_fds=[output], timeout=seconds, check=False
            )
        except subprocess.TimeoutExpired:
            print(f"not done within {seconds} s", file=sys.stderr)
            return TOO_LONG
        finally:
            os.close(output)
        status = job / "status"
        if status.exists() and status.read_text().strip():
            return int(status.read_text())
        sys.stderr.write("".join(_tail(console)))
        print(f"the guest did not finish (qemu: {done.returncode})", file=sys.stderr)
        return NOT_BOOTED


def _qemu(kernel: Kernel, folder: Path, output: int, memory: int, cpus: int) -> list[str]:
    accelerator = "-accel kvm -cpu host" if _has_kvm() else "-accel tcg,thread=multi -cpu max,la57=off"
    shares = {
        "machine": "/,security_model=none,readonly=on,multidevs=remap",
        "job": f"{folder}/job,security_model=none",
    }
    return [
        "qemu-system-x86_64",
        *accelerator.split(),
        *f"-m {memory} -smp {cpus} -nodefaults -no-user-config -display none -no-reboot -nic none".split(),
        *("-kernel", str(kernel.image), "-initrd", f"{folder}/initramfs.gz"),
        *("-append", "console=ttyS0 quiet panic=-1 no_timer_check tsc=reliable"),
        *("-serial", f"file:{folder}/console"),
        *("-add-fd", f"fd={output},set=1", "-chardev", "file,id=output,path=/dev/fdset/1,append=on"),
        *("-device", "virtio-serial-pci", "-device", "virtserialport,chardev=output,name=output"),
        *(word for tag, path in shares.items() for word in ("-virtfs", f"local,mount_tag={tag},path={path}")),
    ]  # fmt: skip


def _has_kvm() -> bool:
    """A /dev/kvm without the processor's help is of no use."""
    flags = re.search(r"\b(vmx|svm)\b", Path("/proc/cpuinfo").read_text())
    return bool(flags) and os.access("/dev/kvm", os.W_OK)


def _write_job(kernel: Kernel, command: list[str], job: Path) -> None:
    job.mkdir()
    shutil.copy(HERE / "guest.sh", job)
    (job / "modules").write_text(f"{kernel.modules}\n")
    kept = {k: v for k, v in os.environ.items() if k.startswith("XDPTABLES_") or k in ("HOME", "LANG")}
    kept.setdefault("XDPTABLES_SLOW", "1" if _has_kvm() else "10")
    lines = [f"export {name}={shlex.quote(value)}" for name, value in kept.items()]
    lines += [f"cd {shlex.quote(os.getcwd())} || exit {NOT_BOOTED}", shlex.join(command)]
    (job / "command").write_text("\n".join(lines) + "\n")


def _write_initramfs(kernel: Kernel, file: Path) -> None:
    """Busybox, init.sh and the modules by which the machine's files are reached."""
    root = file.parent / "initramfs"
    for name in ("bin", "mod", "proc", "sys", "dev", "machine", "written", "root"):
        (root / name).mkdir(parents=True)
    shutil.copy("/bin/busybox", root / "bin/busybox")
    shutil.copy(HERE / "init.sh", root / "init")
    (root / "init").chmod(0o755)
    order = []
    for module in _with_dependencies(kernel, BOOT_MODULES):
        name = module.name.removesuffix(".xz")
        data = module.read_bytes()
        (root / "mod" / name).write_bytes(lzma.decompress(data) if module.suffix == ".xz" else data)
        order.append(f"{name}\n")
    (root / "mod/order").write_text("".join(order))
    names = "".join(f"{path.relative_to(root)}\n" for path in sorted(root.rglob("*")))
    packed = subprocess.run(
        ["/bin/busybox", "cpio", "-o", "-H", "newc"],
        cwd=root,
        input=names.encode(),
        capture_output=True,
        check=True,
    )
    file.write_bytes(gzip.compress(packed.stdout, 1))


def _with_dependencies(kernel: Kernel, names: tuple[str, ...]) -> list[Path]:
    """Module files, each behind those that it needs; what is built in has none."""
    top = kernel.modules.parents[1] if kernel.modules.parent.name == "lib" else kernel.modules.parent
    found: dict[Path, None] = {}
    for name in names:
        asked = ["/sbin/modprobe", "-d", str(top), "-S", kernel.release, "--show-depends", name]
        answer = subprocess.run(asked, check=True, capture_output=True, text=True).stdout
        found |= {Path(line.split()[1]): None for line in answer.splitlines() if line.startswith("insmod ")}
    return list(found)


def _tail(console: Path, lines: int = 25) -> list[str]:
    return console.read_text(errors="replace").splitlines(keepends=True)[-lines:] if console.exists() else []
