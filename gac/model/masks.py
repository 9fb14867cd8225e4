"""Which keys a position may see, for rows of different lengths in one forward pass.

Reads from a model's config what kinds of attention layers it has; an unknown kind is no error, it
means that the model has to build its own masks, one sequence at a time.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

_FULL, _SLIDING = "full_attention", "sliding_attention"
_UNKNOWN_WINDOWS = ("attention_chunk_size", "attention_types", "local_attention", "attn_config")


@dataclass(frozen=True, slots=True)
class MaskPlan:
    """The masks a model takes: one tensor, or one per layer type where `by_type`.

    A window w lets position p see the keys p-w+1 ... p; None lets it see all up to p.
    """

    windows: Mapping[str, int | None]
    additive: bool
    dtype: torch.dtype

    @property
    def by_type(self) -> bool:
        """Whether the model takes a mask per layer type."""
        return len(self.windows) > 1

    def as_additive(self) -> "MaskPlan":
        """The same masks as numbers to be added: 0, or the least one where a key is hidden."""
        return replace(self, additive=True)

    def build(self, positions: Tensor, longest: int) -> Tensor | dict[str, Tensor]:
        """Masks [B, 1, T, longest] for positions [B, T] of the queries, as the model takes them."""
        masks = self.by_kind(positions, longest)
        return masks if self.by_type else next(iter(masks.values()))

    def by_kind(self, positions: Tensor, longest: int) -> dict[str, Tensor]:
        """The same by layer type, even where there is one."""
        keys = torch.arange(longest, device=positions.device)
        queries = positions[:, None, :, None]
        causal = keys <= queries
        return {
            name: self._finish(causal if window is None else causal & (keys > queries - window))
            for name, window in self.windows.items()
        }

    def _finish(self, visible: Tensor) -> Tensor:
        if not self.additive:
            return visible
        # Both on the device, as a number would be copied there, which a recorded pass may not do.
        shown = torch.zeros((), dtype=self.dtype, device=visible.device)
        return shown.where(visible, torch.full_like(shown, torch.finfo(self.dtype).min))


def mask_plan(config: Any, dtype: torch.dtype) -> MaskPlan | None:
    """The masks of a model with this config; None where it has layers of a kind not known here.

    Follows the rules by which transformers 5.23 chooses its own (`create_masks_for_generate`).
    """
    text = config.get_text_config(decoder=True)
    if any(getattr(text, name, None) for name in _UNKNOWN_WINDOWS):
        return None
    window = getattr(text, "sliding_window", None)
    types = getattr(text, "layer_types", None) or [_FULL if window is None else _SLIDING]
    known: dict[str, int | None] = {_FULL: None, _SLIDING: window}
    if any(kind not in known or (kind == _SLIDING and not window) for kind in types):
        return None
    additive = text._attn_implementation != "sdpa"
    return MaskPlan({kind: known[kind] for kind in sorted(set(types))}, additive, dtype)


def rope_switch(config: Any) -> int | None:
    """The length beyond which a model turns all positions differently (`longrope`), if it does."""
    text = config.get_text_config(decoder=True)
    rope = getattr(text, "rope_parameters", None) or {}
    for parameters in (rope, *(value for value in rope.values() if isinstance(value, dict))):
        if parameters.get("rope_type") == "longrope":
            length = parameters.get("original_max_position_embeddings")
            return int(length or text.max_position_embeddings)
    return None
