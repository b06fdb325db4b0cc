"""The counter of bytes on operators whose bytes are known."""

from __future__ import annotations

import torch
from mmfrcnn_benchmark.traffic import Traffic


def test_what_is_made_read_and_written():
    row = torch.zeros(1, 10)  # 40 bytes
    with Traffic() as traffic:
        longer = row + 1  # reads and writes 40
        longer += row  # reads both and writes one, makes nothing
        longer.view(-1)[2:].sum()  # reads 32, writes 4
    assert (traffic.launches, traffic.moved, traffic.peak) == (3, 80 + 120 + 36, 44)


def test_what_a_broadcast_repeats_is_read_once():
    with Traffic() as traffic:
        torch.zeros(1, 10).expand(7, 10) + torch.zeros(7, 1)
    made = 40 + 28
    assert traffic.moved == made + made + 280


def test_what_is_given_back_is_not_alive():
    with Traffic() as traffic:
        for _ in range(5):
            torch.zeros(100)
    assert traffic.peak == 400
