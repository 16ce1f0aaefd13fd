#!/usr/bin/env python3
"""Records tests/golden/torch/: files that torch.save writes, for dram's reader (tests/io/test_torch_golden.c).

Not needed to build or test dram: the recorded files are in the repository. To record again, with the virtual
environment of scripts/golden.py (torch is enough):

    .venv/bin/python scripts/golden_torch.py

Tensors count from 0 in their storage, so that a test knows every value.
"""

import argparse
import collections
import datetime
from pathlib import Path

import numpy as np
import torch

TO = Path(__file__).resolve().parent.parent / "tests" / "golden" / "torch"


def counting(shape, dtype=torch.float32):
    return torch.arange(int(np.prod(shape)), dtype=torch.float64).reshape(shape).to(dtype)


def save(name, what, **how):
    torch.save(what, TO / name, **how)
    print(name, (TO / name).stat().st_size, "bytes")


def types():
    return {
        "f32": counting((2, 3)),
        "f16": counting((4,), torch.float16),
        "bf16": counting((3, 1), torch.bfloat16),
        "i64": torch.tensor(7),
        "f64": counting((2,), torch.float64),
        "u8": counting((5,), torch.uint8),
        "empty": torch.zeros(0, 4),
        "scalar": torch.tensor(-1.5),
    }


def views():
    """One storage of 0..119 under all names, and a second one."""
    all_of_it = counting((120,))
    grid, cube = all_of_it.view(10, 12), all_of_it.view(4, 5, 6)
    return {
        "all": all_of_it,
        "grid": grid,
        "rows": grid[3:7],
        "block": grid[2:5, 4:9],
        "columns": grid[:, ::5],
        "cube": cube[1:3, 1:4],
        "corner": cube[:, :, 2:5],
        "line": cube[2, 1:2, 3:],
        "one_wide": grid[:, 3:4],
        "element": grid[9, 11],
        "half": counting((6, 4), torch.float16)[1::2, 1:3],
        "transposed": grid.T,
        "expanded": all_of_it[5:6].expand(3),
        "overlapping": all_of_it.unfold(0, 4, 2),
    }


class Foreign(dict):
    """What a training program of someone else puts into a checkpoint."""

    def __init__(self, **more):
        super().__init__(**more)
        self.more = more


def checkpoint():
    net = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3))
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3)
    net(torch.ones(2, 2)).sum().backward()
    optimizer.step()
    with torch.no_grad():
        for tensor in net.state_dict().values():
            tensor.copy_(counting(tuple(tensor.shape) or (1,)).reshape(tensor.shape).to(tensor.dtype))
    return {
        "epoch": 3,
        "args": argparse.Namespace(lr=0.1, names=["a", "b"], when=datetime.date(2026, 11, 30)),
        "optimizer": optimizer.state_dict(),
        "best": np.float64(0.5),
        "history": collections.defaultdict(list, {"loss": [1.0, 0.5, float("nan")]}),
        "seen": {1, 2, 3},
        "config": Foreign(depth=2, inner=Foreign(width=3)),
        "big": 1 << 100,
        "minus": -(1 << 40),
        "generator": torch.get_rng_state()[:4].clone(),
        "state_dict": torch.nn.parallel.DataParallel(net).state_dict(),
    }


def main():
    TO.mkdir(exist_ok=True)
    torch.manual_seed(1)
    save("types.pth", types())
    save("views.pth", views())
    save("checkpoint.pth", checkpoint())
    save("parameters.pt", {"model": {"w": torch.nn.Parameter(counting((2, 2))), "b": torch.nn.Parameter(counting((2,)))}})
    save("protocol-3.pth", types(), pickle_protocol=3)
    save("protocol-4.pth", types(), pickle_protocol=4)
    save("old-format.pth", types(), _use_new_zipfile_serialization=False)
    save("whole-module.pth", torch.nn.Linear(2, 2))
    save("sparse.pth", {"a": counting((2,)), "b": torch.eye(2).to_sparse()})
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), TO / "script.pt")


if __name__ == "__main__":
    main()
