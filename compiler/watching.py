"""Keep a loaded program true: refill its maps, compile it anew, or take it off, as the host changes.

A program made for yesterday's rules may drop what today's accept. iptables-nft, links, addresses and
routes tell of changes at once; iptables-legacy and sysctls do not, so they are looked at every
`interval` seconds as well.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from .collector import no_collection
from .decisions.budget import Budgets
from .emit.engine import EngineRequest
from .fields import Family
from .host.changes import STALE, changes
from .host.facts import HostFacts
from .host.generation import KeptByGeneration
from .host.live_rules import all_dumps
from .host.live_sets import in_force
from .host.observe import observe
from .host.watch import Watcher
from .kernel import attach, maps, netlink, pins, state
from .kernel.errors import KernelError
from .kernel.load import unload_program
from .kernel.netns import in_netns, inode
from .kernel.settle import settle
from .kernel.state import LoadedState
from .loading import LEASE, Request, load_what_fits
from .source import InputError, Source, UserError
from .watcher_process import only_one

INTERVAL = 2.0  # seconds between two looks at what sends no events
RESTS = 10  # ... or this many times as long as a look takes the CPU, where there are very many rules

Say = Callable[[str], None]


def request_of(known: LoadedState) -> Request:
    """What the user asked for when this was loaded; a file is read again."""
    asked = known.report.get("request", {}) if isinstance(known.report, dict) else {}
    rules = asked.get("rules")
    source = None
    if rules:
        try:
            source = Source(rules, Path(rules).read_bytes().decode(errors="surrogateescape"))
        except OSError as e:
            raise UserError(f"can't read {rules}: {e.strerror}") from e
    family = Family(asked["family"]) if asked.get("family") else None
    return Request(
        known.ifname, source, family, asked.get("mode", "auto"), True, known.netns,
        asked.get("port_of", ""), known.disregarded, asked.get("verify", True),
        Budgets(**asked.get("budgets", {})),
        EngineRequest(**asked.get("engine", {})),
    )  # fmt: skip


def watch(ifname: str, netns: str, interval: float, say: Say) -> None:
    """Until the program is unloaded. Raises UserError when there is none, or someone watches it already."""
    gc.enable()  # this process lives long
    with in_netns(netns):
        known = state.read(state.Key(inode(), attach.ifindex_of(ifname)))
        if known is None:
            raise UserError(f"nothing is loaded on {ifname}", f"xdptables load {ifname}")
        kept = KeptByGeneration()
        with only_one(known.key), Watcher() as watcher:
            began = _cpu_seconds()
            # The first look comes before the first wait: a change may have come since the load.
            while (known := _one_look(known, kept, say)) is not None:
                took = _cpu_seconds() - began
                if state.read(known.key) != known:  # what it took was not the look, and more may follow
                    took = 0.0
                rest = max(interval, RESTS * took)
                _renew_lease(known, LEASE + 2 * rest)
                watcher.wait(rest)
                began = _cpu_seconds()


def _cpu_seconds() -> float:
    """Of this process and of those it has asked."""
    return sum(os.times()[:4])


def _one_look(last: LoadedState, kept: KeptByGeneration, say: Say) -> LoadedState | None:
    """The record as it is now; None: nothing is left to watch. A program that can't be followed comes off,
    whatever the reason: a full disk, a lost record, a defect of ours."""
    try:
        known = _settled(last.key)
        if known is not None:
            return known if _look(known, kept, say) else None
        found = netlink.links(last.ifindex)
        if found and last.prog_id in found[0].xdp.values():
            off(last, say, "its record is lost")
    except Exception as e:
        off(last, say, f"it can't be followed any more: {type(e).__name__}: {e}")
    return None


def _settled(key: state.Key) -> LoadedState | None:
    """The record, once no load or unload is under way."""
    with state.lock():
        return state.read(key)


def _look(known: LoadedState, kept: KeptByGeneration, say: Say) -> bool:
    """Compare with what the program relies on, and act. False: it is off now."""
    found = netlink.links(known.ifindex)
    if not found or known.prog_id not in found[0].xdp.values():
        # A device that moves to another namespace takes its program along; settling detaches it there.
        with state.lock():
            mended = settle(known.key)
        say("; ".join([f"{known.ifname}: the program is gone, nothing to watch", *mended]))
        return False
    if found[0].name != known.ifname:
        return off(known, say, f"the interface is called {found[0].name} now")
    try:
        dumps = all_dumps(kept)
        live = in_force(dumps)
        now = observe(known.ifname, dumps, kept, sets=False, seen_as=known.host.interface.seen_as)
    except (UserError, OSError) as e:
        return off(known, say, f"the host can't be observed: {e}")
    found_changes = changes(known.host, now, _compiled_facts(known))
    stale = [c.text for c in found_changes if c.kind == STALE]
    relied = known.report.get("live_rules") if isinstance(known.report, dict) else None
    if live != relied:
        stale.insert(0, "the rules in netfilter, or the sets that they name, changed")
    if stale:
        return _renew(known, say, "; ".join(stale))
    if found_changes:
        _refill(known, now)
        say(f"{known.ifname}: maps refilled: {'; '.join(c.text for c in found_changes)}")
    return True


def _compiled_facts(known: LoadedState) -> frozenset[str]:
    facts = known.report.get("compiled_facts", ()) if isinstance(known.report, dict) else ()
    return frozenset(map(str, facts))


def _refill(known: LoadedState, now: HostFacts) -> None:
    """The local addresses, MAC and forwarding flags; the record then relies on the new ones."""
    host = dataclasses.replace(known.host, **{f: getattr(now, f) for f in _REFILLED})
    host = dataclasses.replace(
        host,
        interface=dataclasses.replace(host.interface, mac=now.interface.mac),
    )
    with state.lock(), _maps_of(known) as fds:
        if not fds:
            return  # replaced or unloaded meanwhile: the next look tells
        maps.fill(fds, host, LEASE)
        state.write(dataclasses.replace(known, host=host))


def _renew_lease(known: LoadedState, seconds: float) -> None:
    """The program goes on only while it is followed. What hinders this is told by the next look."""
    with contextlib.suppress(OSError, UserError), state.lock(), _maps_of(known) as fds:
        if fds:
            maps.renew(fds, seconds)


@contextlib.contextmanager
def _maps_of(known: LoadedState) -> Iterator[dict[str, int]]:
    """Descriptors by name; none when the record is no longer this one."""
    fd = pins.open_program(known.key, known.prog_id, known.load_time)
    if fd is None or state.read(known.key) != known:
        yield {}
        return
    try:
        fds = pins.open_maps(known.key, fd)
        try:
            yield fds
        finally:
            for map_fd in fds.values():
                os.close(map_fd)
    finally:
        os.close(fd)


_REFILLED = (
    "local4", "broadcast4", "local6", "forwards4", "forwards6", "mc_forwarding4", "mc_forwarding6",
    "bc_forwarding", "unclear4", "unclear6", "local_first4", "local_first6",
)  # fmt: skip


def _renew(known: LoadedState, say: Say, why: str) -> bool:
    """Compile and load anew; where that is not possible the program comes off. Until then it drops
    nothing: what was right for the old rules may be wrong for the new."""
    try:
        with state.lock(), _maps_of(known) as fds:
            if fds:
                maps.pause(fds, known.host)
        with no_collection():
            prepared, _ = load_what_fits(dataclasses.replace(request_of(known), netns=""))
    except (UserError, InputError, KernelError, OSError) as e:
        return off(known, say, f"{why}; and it can't be loaded anew: {e}")
    say(f"{known.ifname}: loaded anew: {why}")
    for limit in prepared.compiled.report.limits:
        say(f"{known.ifname}: {limit}")
    return True


def hold_if_outdated(loaded: LoadedState, kept: KeptByGeneration | None = None) -> bool:
    """Whether rules or sets changed while it was made; then it drops nothing until it is made anew. `kept`:
    what they were read from."""
    with in_netns(loaded.netns):
        live = in_force(all_dumps(kept))
    known = _settled(loaded.key)
    if known is None or live == known.report.get("live_rules"):
        return False
    with state.lock(), _maps_of(known) as fds:
        if fds:
            maps.pause(fds, known.host)
    return True


def off(known: LoadedState, say: Say, why: str) -> bool:
    """Off at once: a wrong pass costs speed only."""
    current = netlink.links(known.ifindex)
    name = current[0].name if current else known.ifname
    try:
        unload_program(name)
    except UserError:
        _detach(known)  # no more than a program of ours: another's stays
    except Exception as e:
        say(f"{name}: {type(e).__name__} while it is taken off: {e}")
        _detach(known)
    left = netlink.links(known.ifindex)
    if left and known.prog_id in left[0].xdp.values():
        say(f"{name}: IT COULD NOT BE TAKEN OFF (ip link set dev {name} xdp off): {why}")
    else:
        say(f"{name}: taken off, netfilter decides alone: {why}")
    return False


def _detach(known: LoadedState) -> None:
    """Without records and locks, which may be what is in the way."""
    for link in netlink.links(known.ifindex):
        for mode, number in link.xdp.items():
            fd = pins.open_program(known.key, number, known.load_time) if number == known.prog_id else None
            if fd is not None:
                with contextlib.suppress(KernelError):
                    attach.detach(known.ifindex, mode, fd)
                os.close(fd)
