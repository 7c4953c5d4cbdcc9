"""What cannot be held is refused before it is taken."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

import commands
from vaelab.engine import memory
from vaelab.errors import InputError

CPU = torch.device("cpu")


def test_there_is_no_more_memory_than_that_of_the_machine_or_of_its_container(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = tmp_path / "memory.max"
    monkeypatch.setattr(memory, "LIMIT", limit)
    assert memory.total(CPU) == machine
    for text, expected in (("max", machine), ("1048576\n", 2**20), (str(2**62), machine)):
        limit.write_text(text)
        assert memory.total(CPU) == expected


def test_networks_are_refused_where_all_their_copies_exceed_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "total", lambda device: 28e6 * memory.COPIES / 7)
    memory.check_parameters(10**6, 1, CPU)
    with pytest.raises(InputError, match="training 1,000,001 parameters takes"):
        memory.check_parameters(10**6 + 1, 1, CPU)
    with pytest.raises(InputError, match="2 networks of 600,000 parameters each"):
        memory.check_parameters(600_000, 2, CPU)


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [["train", "digits"], ["tune", "digits", "--trials", "2", "--workers", "1", "--search", "latent_dim=2..8"]],
)
def test_a_command_says_so_in_one_line(arguments: list[str], tmp_path: Path) -> None:
    done = commands.vaelab([*arguments, "--hidden", "-".join(["16384"] * 64), "--out", "run"], tmp_path)
    assert done.returncode == 2
    assert "GiB of memory; use fewer or narrower layers (--hidden)." in done.stderr.splitlines()[-1]
