"""What iptables-restore accepts, we accept: asked of the programs themselves, in a namespace of their own."""

import shutil
import subprocess
from pathlib import Path

import pytest

from rules import corpus
from rules.test_corpus import cases
from xdptables.fields import Family
from xdptables.rules.reader import read_rulesets
from xdptables.source import Source

pytestmark = pytest.mark.kernel

HAND_WRITTEN = [
    "*filter\n-A INPUT -p tcp -m multiport --dport 80,443 -j DROP\nCOMMIT\n",
    "*filter\n-A INPUT --prot tcp --destination-po 80 -j DROP\nCOMMIT\n",
    '*filter\n-A INPUT -m comment --comment a"b c" -j DROP\nCOMMIT\n',
    "*filter\n-A INPUT -m comment --comment --foo -j LOG --log-prefix -j\nCOMMIT\n",
    "*filter\n-A INPUT -m comment --comment ! -j DROP\nCOMMIT\n",
    "*filter x\n:INPUT DROP [0:0] y\n: FORWARD DROP\n"
    ":U - [0:0]\n-A U -c 1 2 -s 10.8/16,1.1.1.1\n-E U V\nCOMMIT\n",
    "*filter\n[1:2]-A INPUT -j DROP\n-R INPUT 1 -j ACCEPT\n-D INPUT -j ACCEPT\n"
    "-F\n-X\n-Z\n-P INPUT DROP\nCOMMIT\n",
    "*filter\n-6 -A INPUT -s fe80::/10\n-4 -A INPUT -f\nCOMMIT\n*filter\n-I INPUT 1\nCOMMIT\n",
    "*filter\n-A INPUT -p tcp -m state --state NEW --dport ssh --syn ! --sport 1: -j REJECT\nCOMMIT\n",
]


def restore(variant: str, family: Family, text: str) -> bool:
    program = f"{'iptables' if family is Family.IPV4 else 'ip6tables'}-{variant}-restore"
    if shutil.which(program) is None or shutil.which("unshare") is None:
        pytest.skip(f"needs unshare and {program}")
    command = ["unshare", "-n", program, "--test"]
    return subprocess.run(command, input=text.encode(), capture_output=True, timeout=60).returncode == 0


@pytest.mark.parametrize("variant", ["legacy", "nft"])
@pytest.mark.parametrize("text", HAND_WRITTEN)
def test_odd_but_good(variant: str, text: str) -> None:
    assert restore(variant, Family.IPV4, text)
    assert read_rulesets(Source("x", text), Family.IPV4)


@pytest.mark.parametrize("variant", ["legacy", "nft"])
@pytest.mark.parametrize("path", corpus.files("iptables-extensions", "*.t"), ids=lambda p: p.stem)
def test_cases_of_the_extensions(variant: str, path: Path) -> None:
    """Each case alone; failing ones of the file may be accepted by `--test`, which asks no kernel."""
    family = Family.IPV6 if path.name.startswith("libip6t_") else Family.IPV4
    for table, chain, rule, _, _ in cases(path):
        text = f"*{table}\n-A {chain} {rule}\nCOMMIT\n"
        if restore(variant, family, text):
            assert read_rulesets(Source(path.name, text), family), text
