"""Sampling of a fixed number of matched boxes, positives and negatives balanced.

Shapes: N images, S candidates (anchors or proposals), K = num sample slots.

A candidate's random key is a hash of (seed, head, draw, image, candidate), and the
candidates with the largest keys are taken: no random state, no list of positives, no
wait for the device. So the sample of an image is the same alone or in any batch, on a
CPU or a GPU, on one process or many. Each sampler counts its draws, one an iteration;
the head that owns it carries the count in the metadata of its ``state_dict`` (not among
the weights: keys stay mmdet's), so a resumed run draws as an uninterrupted one.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any

import torch
from mmdet.models.task_modules import AssignResult
from mmdet.models.task_modules.samplers import BaseSampler
from mmdet.registry import TASK_UTILS
from torch import Tensor, nn

from mmfrcnn.ops.random_keys import draw, mix
from mmfrcnn.structures.assignment import NEGATIVE, POSITIVE
from mmfrcnn.structures.sample import Sample


@TASK_UTILS.register_module()
class BalancedSampler(BaseSampler):
    """Draw ``num`` candidates an image, at most a fraction of them positive.

    Positives are drawn uniformly up to ``num * pos_fraction``; negatives fill the rest
    (Ren et al. 2015, section 3.1.3); ignored candidates are never drawn. Takes the
    arguments of mmdet's ``RandomSampler``.

    Args:
        num (int): Samples an image, K.
        pos_fraction (float): At most this share of them positive.
        neg_pos_ub (float): At most this many negatives for each positive (or for one,
            where there is none); negative: no bound.
        add_gt_as_proposals (bool): Add the ground truth to the candidates, as positives
            (for the second stage).
        seed (int | None): Seed of the draw; None: torch's, which the Runner sets from
            ``randomness``.
        context (Any): The head that owns the sampler; mmdet passes it. Its class and
            the sampler's place in it enter the keys, so that the two stages draw
            independently; as a module it stores the count of draws.

    Attributes:
        draws (int): How many samples were drawn so far.
    """

    def __init__(
        self,
        num: int,
        pos_fraction: float,
        neg_pos_ub: float = -1,
        add_gt_as_proposals: bool = True,
        seed: int | None = None,
        context: Any = None,
    ) -> None:
        super().__init__(num, pos_fraction, neg_pos_ub, add_gt_as_proposals)
        self.seed = seed
        self.draws = 0
        self._owner = ('', 0)
        if isinstance(context, nn.Module):
            self._owner = (type(context).__name__, _store_draws(context, self))

    @torch.no_grad()
    def sample_batch(
        self, match_labels: Tensor, keys: Tensor, ids: Tensor | None = None
    ) -> Sample:
        """Draw from the candidates of every image of a batch.

        Args:
            match_labels (Tensor): -1 ignored, 0 negative, 1 positive, shape (N, S), S
                >= 1.
            keys (Tensor): A number for each image, int64, shape (N,): see
                ``ImageBatch.keys``.
            ids (Tensor | None): A number below 2**31 for each candidate that does not
                depend on how the batch is padded, int64, shape (S,). None: its place.

        Returns:
            Sample: K slots an image.
        """
        if ids is None:
            ids = torch.arange(match_labels.shape[1], device=match_labels.device)
        key = self._next_keys(keys, ids)
        most = int(self.num * self.pos_fraction)
        positives, num_positive = draw(key, match_labels == POSITIVE, most)
        negatives, num_negative = draw(key, match_labels == NEGATIVE, self.num)
        room = self.num - num_positive
        if self.neg_pos_ub >= 0:
            bound = (num_positive.clamp(min=1) * self.neg_pos_ub).long()
            room = torch.minimum(room, bound)
        num_negative = torch.minimum(num_negative, room)  # (N, 1)

        slot = torch.arange(self.num, device=match_labels.device).expand(
            len(match_labels), -1
        )
        is_positive = slot < num_positive
        rank = slot - num_positive  # of a negative slot among the negatives
        valid = rank < num_negative
        pool = torch.cat([positives, negatives], 1)
        column = torch.where(is_positive, slot, positives.shape[1] + rank)
        column = column.clamp_(max=pool.shape[1] - 1)
        return Sample(pool.gather(1, column), is_positive, valid)

    def _next_keys(self, keys: Tensor, ids: Tensor) -> Tensor:
        """Hash each (seed, head, draw, image, candidate) to 31 bits, shape (N, S)."""
        seed = torch.initial_seed() if self.seed is None else self.seed
        draw = zlib.crc32(repr((seed, self._owner, self.draws)).encode())
        self.draws += 1
        image = mix(keys ^ draw)  # (N,)
        return mix(image[:, None] ^ (ids * 0x9E3779B1 & 0xFFFFFFFF)) >> 1

    # mmdet's interface: `BaseSampler.sample` of one image calls these two.

    def _sample_pos(
        self, assign_result: AssignResult, num_expected: int, **kwargs: Any
    ) -> Tensor:
        return self._choose(assign_result.gt_inds > 0, num_expected)

    def _sample_neg(
        self, assign_result: AssignResult, num_expected: int, **kwargs: Any
    ) -> Tensor:
        return self._choose(assign_result.gt_inds == 0, num_expected)

    def _choose(self, wanted: Tensor, most: int) -> Tensor:
        # One image has no name here: each is a draw of its own.
        keys = torch.zeros(1, dtype=torch.int64, device=wanted.device)
        ids = torch.arange(len(wanted), device=wanted.device)
        key = self._next_keys(keys, ids)
        chosen, count = draw(key, wanted[None], most)
        return chosen[0, : int(count)]


def _store_draws(head: nn.Module, sampler: BalancedSampler) -> int:
    """Let a head's ``state_dict`` carry a sampler's draws; its place in the head."""
    samplers = _samplers_of(head)
    if not samplers:
        head._register_state_dict_hook(_save_draws)
        head._register_load_state_dict_pre_hook(_load_draws, with_module=True)
    samplers.append(sampler)
    return len(samplers) - 1


def _samplers_of(head: nn.Module) -> list[BalancedSampler]:
    return head.__dict__.setdefault('_balanced_samplers', [])


def _save_draws(head: nn.Module, state: dict, prefix: str, metadata: dict) -> None:
    metadata['draws'] = [sampler.draws for sampler in _samplers_of(head)]


def _load_draws(
    head: nn.Module, state: dict, prefix: str, metadata: dict, *others: Any
) -> None:
    # Weights of other origin (mmdet's, published ones) carry no count.
    counts = metadata.get('draws', ())
    for sampler, draws in zip(_samplers_of(head), counts, strict=False):
        sampler.draws = int(draws)


def forget_draws(weights: Mapping[str, Any]) -> None:
    """Take the counts of draws out of a checkpoint's ``state_dict``, if it has any."""
    for metadata in getattr(weights, '_metadata', {}).values():
        metadata.pop('draws', None)
