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

    A gather by the inverse index, several times faster than a sparse product, then rounds for the
    few ids that share a union id.  No round has a union id twice, so that sums are made in the same
    order on every device.
    """

    def __init__(self, places: Places, union_size: int, device: torch.device) -> None:
        self._rounds: list[tuple[Tensor, Tensor]] = []
        ids = np.flatnonzero(places >= 0)
        while ids.size:
            targets, first = np.unique(places[ids], return_index=True)
            chosen = torch.from_numpy(ids[first]).to(device)
            self._rounds.append((chosen, torch.from_numpy(targets).long().to(device)))
            ids = np.delete(ids, first)
        self._inverse = torch.full((union_size,), places.size, device=device)
        if self._rounds:
            chosen, into = self._rounds.pop(0)
            self._inverse[into] = chosen

    def __call__(self, probs: Tensor) -> Tensor:
        padded = torch.nn.functional.pad(probs, (0, 1))  # the last column is 0: nobody's id
        united = padded.index_select(1, self._inverse)
        for chosen, into in self._rounds:
            united[:, into] += probs.index_select(1, chosen)
        return united


class Projection:
    """Logits float32 [P, Vm] -> probabilities float32 [P, V] that sum to 1.

    `places` int32 [Vm] holds union ids, -1 for ids that get probability 0.  `lead_places` is the
    same for the first token of a reply that starts with a dummy space, if it ever does.
    """

    def __init__(
        self, places: Places, union_size: int, lead_places: Places | None, device: torch.device
    ) -> None:
        self._masked = torch.tensor(places < 0, device=device)
        self._gather = _Gather(places, union_size, device)
        self._lead_gather = None
        if lead_places is not None:
            self._lead_gather = _Gather(lead_places, union_size, device)
            # Text ids without a place there: the lone space, by whatever ids it has.
            dummies = np.flatnonzero((lead_places < 0) & (places >= 0))
            self._dummy_ids = torch.tensor(dummies, device=device)

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
