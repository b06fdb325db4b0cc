"""Sampling of a fixed number of matched boxes, positives and negatives balanced.

Shapes: N images, S candidates (anchors or proposals), K = num sample slots.

A candidate's random key is a hash of (seed, head, draw, image, candidate), and the
candidates with the largest keys are taken: no random state, no list of positives, no
wait for the device. So the sample of an image is the same alone or in any batch, on a
CPU or a GPU, on one process or many. Each sampler counts its draws, one an iteration;
the head that owns it carries the count in the metadata of its ``state_dict`` (not among
the weights: keys stay mmdet's), so a resumed run draws as an uninterrupted one. To the
device, (seed, head, draw) is a number in a tensor, so that a CUDA graph can be fed with
the next: :meth:`BalancedSampler.feed`.
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

from mmfrcnn.ops.backend import is_captured
from mmfrcnn.ops.random_keys import largest, random_keys
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
        self._draw: Tensor | None = None  # always the same one: a graph reads it
        self._fed = False
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
        draw = self._next_draw(keys.device)
        positive, negative = random_keys(match_labels, draw, keys, ids)
        most = int(self.num * self.pos_fraction)
        positives, num_positive = largest(positive, most)
        negatives, num_negative = largest(negative, self.num)
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

    def feed(self, device: torch.device) -> None:
        """Count a draw, and bring its number to where the next sample reads it.

        A step that is recorded once and run often, by a CUDA graph or a compiled whole,
        counts nothing when it runs: feed before each step, however it is run. Without
        that, a sample counts by itself.
        """
        draw = self._count(device)
        if self._draw is None or self._draw.device != draw.device:
            self._draw = torch.empty_like(draw)
        self._draw.copy_(draw)
        self._fed = True

    def repeat(self) -> None:
        """Let the next sample read the number that was fed last once more."""
        self._fed = True

    def _next_draw(self, device: torch.device) -> Tensor:
        if self._fed:
            self._fed = False
            return self._draw
        if is_captured():
            raise RuntimeError('A step in a CUDA graph needs BalancedSampler.feed.')
        return self._count(device)

    # Where it is compiled, the number would else be a constant of the program.
    @torch.compiler.disable
    def _count(self, device: torch.device) -> Tensor:
        """Hash the (seed, head, draw) that is next to 32 bits: int64, shape ()."""
        seed = torch.initial_seed() if self.seed is None else self.seed
        number = zlib.crc32(repr((seed, self._owner, self.draws)).encode())
        self.draws += 1
        return torch.full((), number, device=device)

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
        image = torch.zeros(1, dtype=torch.int64, device=wanted.device)
        ids = torch.arange(len(wanted), device=wanted.device)
        match_labels = wanted[None].to(torch.int8)
        keys = random_keys(match_labels, self._count(wanted.device), image, ids)
        chosen, count = largest(keys[0], most)
        return chosen[0, : int(count)]


def _store_draws(head: nn.Module, sampler: BalancedSampler) -> int:
    """Let a head's ``state_dict`` carry a sampler's draws; its place in the head."""
    samplers = head.__dict__.setdefault('_balanced_samplers', [])
    if not samplers:
        head._register_state_dict_hook(_save_draws)
        head._register_load_state_dict_pre_hook(_load_draws, with_module=True)
    samplers.append(sampler)
    return len(samplers) - 1


def _samplers_of(head: nn.Module) -> list[BalancedSampler]:
    return head.__dict__.get('_balanced_samplers', [])


def balanced_samplers(model: nn.Module) -> list[BalancedSampler]:
    """Return the samplers of all heads of a model: who captures a step feeds them."""
    return [sampler for head in model.modules() for sampler in _samplers_of(head)]


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
