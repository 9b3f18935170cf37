"""Modules of torch, wrapped, pushed to a real controller, and there inspected."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from serinus.client import Client
from serinus.package import digest_of
from serinus.sla import Sla
from serinus.training import TaskSaid, package


def test_an_encoder_and_heads_of_torch_become_a_version(controller: Any, tmp_path: Path) -> None:
    torch.manual_seed(1)
    encoder = nn.Sequential(nn.Linear(3, 5), nn.Tanh())
    heads = {"click": nn.Sequential(nn.Linear(5, 1), nn.Sigmoid()), "price": nn.Linear(5, 1)}
    tasks = {"click": TaskSaid(), "price": TaskSaid(kind="regression")}
    sample = {"x": np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32)}
    package(tmp_path / "out", tasks=tasks, sample=sample, encoder=encoder, heads=heads)
    sla = "model: torched\ntasks: {click: {label_window_s: 60, absent: negative}}\n"
    with Client(api=controller.url, token=controller.token) as client:
        client.apply(Sla.from_yaml(sla))
        first, again = (client.push("torched", tmp_path / "out") for _ in range(2))
        assert (first.version, first.created, again.version, again.created) == (1, True, 1, False)
        card = client.version("torched", 1)
    assert (set(card.tasks), card.digest) == ({"click", "price"}, digest_of(tmp_path / "out"))
