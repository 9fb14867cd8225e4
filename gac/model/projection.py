"""A model's logits to distributions over the union vocabulary, on the model's own device.

Gets arrays and gives tensors; knows nothing of tokens, members or strategies.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Places = NDArray[np.int32]


class _Gather:
    """Adds up a member's probabilities [P, Vm] at their union ids [P, V].

    A gather by the inverse index, then the few ids that share a union id; several times faster than
    a sparse product or `index_add_` over everything.
    """

    def __init__(self, places: Tensor, union_size: int) -> None:
        ids = torch.arange(places.numel(), device=places.device)
        taking = places >= 0
        ids, targets = ids[taking], places[taking].long()
        # Written from high ids to low, the lowest id of each union id stays.
        self._inverse = torch.full((union_size,), places.numel(), device=places.device)
        self._inverse[targets.flip(0)] = ids.flip(0)
        extra = self._inverse[targets] != ids
        self._extra_ids, self._extra_targets = ids[extra], targets[extra]

    def __call__(self, probs: Tensor) -> Tensor:
        padded = torch.nn.functional.pad(probs, (0, 1))  # the last column is 0: nobody's id
        united = padded.index_select(1, self._inverse)
        if self._extra_ids.numel():
            united.index_add_(1, self._extra_targets, probs.index_select(1, self._extra_ids))
        return united


class Projection:
    """Logits float32 [P, Vm] -> probabilities float32 [P, V] that sum to 1.

    `places` int32 [Vm] holds union ids, -1 for ids that get probability 0.  `lead_places` is the
    same for the first token of a reply that starts with a dummy space, if it ever does.
    """

    def __init__(
        self, places: Places, union_size: int, lead_places: Places | None, device: torch.device
    ) -> None:
        ordinary = torch.tensor(places, device=device)
        self._masked = ordinary < 0
        self._gather = _Gather(ordinary, union_size)
        self._lead_gather = None
        if lead_places is not None:
            leading = torch.tensor(lead_places, device=device)
            self._lead_gather = _Gather(leading, union_size)
            # Text ids without a place there: the lone space, by whatever ids it has.
            self._dummy_ids = torch.nonzero((leading < 0) & ~self._masked).flatten()

    def rows(self, logits: Tensor) -> Tensor:
        """One distribution a position."""
        return self._gather(self._probs(logits))

    def lead_row(self, logits: Tensor) -> Tensor:
        """The first token of a reply, [1, V], from the logits before and after a dummy space.

        P(x) = P(" x") + P("x") + P(" ") P(x | " "): exact where the member writes the space as a
        token of its own.  Given only the logits before it, that last term is left out.
        """
        if self._lead_gather is None:
            raise ValueError("this member's replies do not start with a dummy space")
        probs = self._probs(logits)
        first = self._lead_gather(probs[:1])
        dummy = probs[0, self._dummy_ids].sum()
        if probs.shape[0] == 1:
            return first / (1.0 - dummy)
        return first + dummy * self._gather(probs[1:])

    def _probs(self, logits: Tensor) -> Tensor:
        # Of a model spread over several GPUs the logits come from the last.
        logits = logits.to(self._masked.device, torch.float32)
        return logits.masked_fill(self._masked, float("-inf")).softmax(dim=-1)
