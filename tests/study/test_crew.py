"""Workers and their GPUs. What workers train is tested in test_study.py."""

import torch

from vaelab.study.crew import gpu


def test_every_worker_has_a_gpu_of_its_own(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    given = [gpu("cuda", number).get("CUDA_VISIBLE_DEVICES") for number in range(5)]
    assert given == ["0", "1", "2", "0", "1"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    assert [gpu("cuda", number)["CUDA_VISIBLE_DEVICES"] for number in range(3)] == ["4", "7", "4"]


def test_one_gpu_a_chosen_one_and_none_are_left_alone(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    assert gpu("cuda:1", 0) == gpu("cpu", 0) == {}
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert gpu("cuda", 0) == {}
