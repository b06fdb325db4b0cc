"""The four steps of alternating training (Ren et al. 2015, section 3.2).

With a feature pyramid, the neck is shared as the backbone is: both make the features.
"""

from __future__ import annotations

from dataclasses import dataclass

FEATURES = ('backbone', 'neck')


@dataclass(frozen=True)
class Step:
    """What one step trains, and from where.

    Attributes:
        number (int): 1 to 4.
        title (str): For the log.
        trains (tuple[str, ...]): Parts that learn; all others are frozen.
        restarts (tuple[str, ...]): Parts put back to the weights that training began
            with (ImageNet's, for a backbone). The others go on from the step before.
        proposals_of (int | None): The step whose proposals Fast R-CNN trains on; None
            where the RPN is trained.
    """

    number: int
    title: str
    trains: tuple[str, ...]
    restarts: tuple[str, ...]
    proposals_of: int | None


STEPS = (
    Step(
        1,
        'RPN, from the initial weights',
        trains=(*FEATURES, 'rpn_head'),
        restarts=(),
        proposals_of=None,
    ),
    Step(
        2,
        'Fast R-CNN, from the initial weights, on the proposals of step 1',
        trains=(*FEATURES, 'roi_head'),
        restarts=FEATURES,
        proposals_of=1,
    ),
    Step(
        3,
        "RPN anew, on step 2's features, which are frozen and shared from here on",
        trains=('rpn_head',),
        restarts=('rpn_head',),
        proposals_of=None,
    ),
    Step(
        4,
        "Fast R-CNN's own layers, from step 2, on the proposals of step 3",
        trains=('roi_head',),
        restarts=(),
        proposals_of=3,
    ),
)
