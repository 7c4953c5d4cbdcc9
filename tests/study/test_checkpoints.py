"""Checkpoints: what is written comes back, and what a loss of power has torn is noticed and trained again."""

from pathlib import Path

import numpy as np
import pytest

from vaelab.data import Dataset, load
from vaelab.engine.training import MemberState
from vaelab.errors import StoreError
from vaelab.study import jobs
from vaelab.study.checkpoints import Checkpoint, Member, begun_with, checkpoint_path, drop_torn
from vaelab.vae.run import train
from vaelab.vae.spec import Spec

MEMBER = Member("0003-latent2", Spec.create(latent_dim=2, hidden=(8,)))


@pytest.fixture
def stored(tmp_path: Path) -> tuple[Checkpoint, Path]:
    rng = np.random.default_rng(0)
    arrays = {"weights": rng.normal(size=(3, 5)).astype(np.float32), "noise": np.frombuffer(b"\n\n{\n" * 4, np.uint8)}
    found = Checkpoint(MemberState(arrays, 7, 41, float("inf"), 0), [{"epoch": 7, "train": 0.1 + 0.2}], 1.5, False)
    found.write(tmp_path, MEMBER)
    return found, tmp_path


def test_a_checkpoint_is_one_file_that_comes_back_bit_for_bit(stored: tuple[Checkpoint, Path]) -> None:
    written, work = stored
    assert [path.name for path in work.iterdir()] == ["0003-latent2.checkpoint"]
    read = Checkpoint.read(work, MEMBER)
    assert read is not None
    for name, array in written.state.arrays.items():
        assert read.state.arrays[name].dtype == array.dtype
        np.testing.assert_array_equal(read.state.arrays[name], array)
    assert (read.state.epoch, read.state.step, read.state.best_loss) == (7, 41, float("inf"))
    assert (read.history, read.seconds, read.has_stalled) == (written.history, 1.5, False)
    assert begun_with(work, MEMBER.name) == MEMBER.spec.model_dump(mode="json")
    assert Checkpoint.read(work, Member("another", MEMBER.spec)) is None
    assert begun_with(work, "another") == {}
    with pytest.raises(StoreError, match="begun with latent_dim = 2 instead of 3"):
        Checkpoint.read(work, Member(MEMBER.name, MEMBER.spec.replace(latent_dim=3)))


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.9])
@pytest.mark.parametrize("rest", [b"", b"\0"], ids=["cut off", "zeros, as of blocks that never reached the disk"])
def test_a_torn_checkpoint_is_dropped_and_told(stored: tuple[Checkpoint, Path], share: float, rest: bytes) -> None:
    _, work = stored
    path, whole = checkpoint_path(work, MEMBER.name), Member("0004-latent2", MEMBER.spec)
    stored[0].write(work, whole)
    content, notes = path.read_bytes(), list[str]()
    kept = int(share * len(content))
    path.write_bytes(content[:kept] + rest * (len(content) - kept))
    with pytest.raises(StoreError, match=r"0003-latent2\.checkpoint (is|holds)"):
        Checkpoint.read(work, MEMBER)
    drop_torn(work.parent, notes.append)
    assert notes == ["the checkpoint of 0003-latent2 is not whole, as after a loss of power: it is trained again."]
    assert Checkpoint.read(work, MEMBER) is None
    assert Checkpoint.read(work, whole) is not None


def test_a_run_whose_checkpoint_was_torn_ends_as_if_nothing_had_happened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stopped(Exception):
        pass

    def stop(epoch: int) -> None:
        if epoch == 2:
            raise Stopped

    monkeypatch.setattr(jobs, "CHECKPOINT_SECONDS", 0.0)
    data: Dataset = load("digits")
    spec, notes = MEMBER.spec.replace(epochs=3), list[str]()
    with pytest.raises(Stopped):
        train(data, spec, out=tmp_path / "run", figures=False, progress=stop)
    (path,) = (tmp_path / "run.partial").glob("*.checkpoint")
    path.write_bytes(path.read_bytes()[:1000])
    torn = train(data, spec, out=tmp_path / "run", figures=False, resume=True, note=notes.append)
    assert any("start0 is not whole" in note for note in notes)
    whole = train(data, spec, out=tmp_path / "whole", figures=False)
    np.testing.assert_array_equal(torn.model.row, whole.model.row)
