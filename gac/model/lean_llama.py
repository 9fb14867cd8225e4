"""The forward pass of Llama and its kin as straight code over the model's own weights.

RMSNorm, rotary positions, grouped-query attention and SwiGLU, for Llama, Mistral, Qwen2 and Qwen3.
It computes what transformers computes; what it saves is the modules' Python and copies of keys,
so it is used where that is measured to matter (`lean_timing`), and where passes are recorded as
CUDA graphs.  Knows rows of the cache, not sequences.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gac.model.kv_cache import RowCache
from gac.model.masks import MaskPlan
from gac.model.rotary import RotaryTable, turn


@dataclass(frozen=True, slots=True)
class Pass:
    """What one pass computes: ids int64 [B, T], each row from its own position on.

    `positions` int64 [B, T]; the padding of a short row repeats its last.
    """

    ids: Tensor
    positions: Tensor | None
    """None where all rows start at `start`."""
    start: int
    longest: int
    wanted: Tensor | None
    """Flat places int64 [N] among the B*T whose logits are wanted; None for all."""


class Store(Protocol):
    """Where keys and values go, and where those before them are."""

    def update(self, key_states: Tensor, value_states: Tensor, layer_idx: int) -> Sequence[Tensor]:
        """Store new keys and values [B, Hk, T, D]; give all that are read [B, Hk, length, D]."""


@dataclass(frozen=True, slots=True)
class _Linear:
    """Weights [out, in] and a bias [out]."""

    weight: Tensor
    bias: Tensor | None

    def __call__(self, x: Tensor) -> Tensor:
        """The product [N, out] of activations [N, in]."""
        return F.linear(x, self.weight, self.bias)


@dataclass(frozen=True, slots=True)
class _Layer:
    """One block's weights."""

    number: int
    kind: str
    attention_norm: Tensor
    queries: _Linear
    keys: _Linear
    values: _Linear
    turned_norm: Tensor | None
    """Qwen3's norms of each query and key, [Hq + Hk, D]."""
    out: _Linear
    feed_forward_norm: Tensor
    gate: _Linear
    up: _Linear
    down: _Linear


class LeanLlama:
    """A Llama-shaped model's forward pass; reads the model's parameters and changes none."""

    def __init__(self, model: Any, plan: MaskPlan) -> None:
        config, inner = model.config, model.model
        self._plan = plan
        self._epsilon: float = config.rms_norm_eps
        self._heads: int = config.num_attention_heads
        self._kv_heads: int = config.num_key_value_heads
        self._head_size: int = inner.layers[0].self_attn.head_dim
        kinds = config.layer_types if plan.by_type else [*plan.windows] * len(inner.layers)
        self._layers = [
            self._layer(number, kind, layer)
            for number, (kind, layer) in enumerate(zip(kinds, inner.layers, strict=True))
        ]
        self._norm: Tensor = inner.norm.weight.data
        self._head = _linear(model.lm_head)
        self._embeddings: Tensor = inner.embed_tokens.weight.data
        rotary = inner.rotary_emb
        self._rotary = RotaryTable(rotary.inv_freq, rotary.attention_scaling, self._norm.dtype)

    def _layer(self, number: int, kind: str, layer: Any) -> _Layer:
        attention, feed_forward, turned_norm = layer.self_attn, layer.mlp, None
        if hasattr(attention, "q_norm"):
            queries = attention.q_norm.weight.data.expand(self._heads, -1)
            keys = attention.k_norm.weight.data.expand(self._kv_heads, -1)
            turned_norm = torch.cat((queries, keys))
        return _Layer(
            number=number,
            kind=kind,
            attention_norm=layer.input_layernorm.weight.data,
            queries=_linear(attention.q_proj),
            keys=_linear(attention.k_proj),
            values=_linear(attention.v_proj),
            turned_norm=turned_norm,
            out=_linear(attention.o_proj),
            feed_forward_norm=layer.post_attention_layernorm.weight.data,
            gate=_linear(feed_forward.gate_proj),
            up=_linear(feed_forward.up_proj),
            down=_linear(feed_forward.down_proj),
        )

    def __call__(self, batch: Pass, cache: RowCache) -> Tensor:
        """Logits [N, Vm]; mutates the cache, which is aimed at the rows of the pass."""
        x = self.hidden(batch.ids, self._angles(batch), self._masks(batch), cache)
        return self.logits(x, batch.wanted)

    def hidden(
        self,
        ids: Tensor,
        angles: tuple[Tensor, Tensor],
        masks: Mapping[str, Tensor | None],
        store: Store,
    ) -> Tensor:
        """What the layers make of ids [B, T], [B*T, hidden]; mutates the store.

        It can be recorded: nothing in it depends on what the tensors hold.
        """
        x = F.embedding(ids.flatten(), self._embeddings)  # [B*T, hidden]
        for layer in self._layers:
            normed = F.rms_norm(x, x.shape[-1:], layer.attention_norm, self._epsilon)
            queries, keys, values = self._heads_of(layer, normed, *angles)
            keys, values = store.update(_by_row(keys, ids), _by_row(values, ids), layer.number)
            mixed = _attend(_by_row(queries, ids), keys, values, masks[layer.kind])
            x += layer.out(mixed)
            normed = F.rms_norm(x, x.shape[-1:], layer.feed_forward_norm, self._epsilon)
            x += layer.down(F.silu(layer.gate(normed)).mul_(layer.up(normed)))
        return x

    def logits(self, x: Tensor, wanted: Tensor | None) -> Tensor:
        """Logits [N, Vm] of what the layers gave [B*T, hidden], at the wanted places or at all."""
        if wanted is not None:
            x = x[wanted]
        return self._head(F.rms_norm(x, x.shape[-1:], self._norm, self._epsilon))

    def _heads_of(
        self, layer: _Layer, x: Tensor, cos: Tensor, sin: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Queries [B*T, Hq, D] and keys [B*T, Hk, D], both turned, and values [B*T, Hk, D]."""
        heads, kv_heads = self._heads, self._kv_heads
        turned = torch.cat((layer.queries(x), layer.keys(x)), -1)
        turned = turned.view(len(x), heads + kv_heads, self._head_size)
        values = layer.values(x).view(len(x), kv_heads, self._head_size)
        if layer.turned_norm is not None:
            turned = F.rms_norm(turned, turned.shape[-1:], None, self._epsilon) * layer.turned_norm
        turned = turn(turned, cos, sin)
        return turned[:, :heads], turned[:, heads:], values

    def angles(self, positions: Tensor, stop: int) -> tuple[Tensor, Tensor]:
        """Cosines and sines [B*T, 1, D], copies, for positions [B, T] below `stop`."""
        return self._rotary.at(positions.flatten(), stop)

    def masks(self, positions: Tensor, length: int) -> dict[str, Tensor]:
        """Additive masks [B, 1, T, length] by kind, for queries at positions [B, T]."""
        return self._plan.by_kind(positions, length)

    def _angles(self, batch: Pass) -> tuple[Tensor, Tensor]:
        """Cosines and sines [B*T, 1, D], or [1, 1, D] where all positions are one."""
        if batch.positions is not None:
            return self.angles(batch.positions, batch.longest)
        num_rows, width = batch.ids.shape
        cos, sin = self._rotary.span(batch.start, batch.longest)
        if num_rows == 1 or width == 1:
            return cos, sin
        return cos.repeat(num_rows, 1, 1), sin.repeat(num_rows, 1, 1)

    def _masks(self, batch: Pass) -> dict[str, Tensor | None]:
        """Additive masks [B, 1, T, longest] by kind; None: all keys, or in a first pass all before.

        No row of a pass that needs none is longer than another, nor than a window.
        """
        windows = self._plan.windows
        is_first = batch.start == 0 or batch.ids.shape[1] == 1
        is_near = all(window is None or batch.longest <= window for window in windows.values())
        if batch.positions is None and is_first and is_near:
            return dict.fromkeys(windows)
        positions = batch.positions
        if positions is None:
            positions = torch.arange(batch.start, batch.longest, device=batch.ids.device)[None]
        return dict(self.masks(positions, batch.longest))


def _linear(module: nn.Linear) -> _Linear:
    return _Linear(module.weight.data, None if module.bias is None else module.bias.data)


def _by_row(heads: Tensor, ids: Tensor) -> Tensor:
    """Heads [B*T, H, D] of ids [B, T] as [B, H, T, D]."""
    return heads.view(*ids.shape, *heads.shape[1:]).transpose(1, 2)


def _attend(queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None) -> Tensor:
    """What the queries [B, Hq, T, D] find, [B*T, Hq*D]."""
    if queries.shape[2] == 1:
        # Queries that share keys [B, Hk, longest, D] take the place of positions: read them once.
        grouped = queries.reshape(len(keys), keys.shape[1], -1, keys.shape[3])
        return F.scaled_dot_product_attention(grouped, keys, values, attn_mask=mask).flatten(1)
    mixed = F.scaled_dot_product_attention(
        queries,
        keys,
        values,
        attn_mask=mask,
        is_causal=mask is None,
        enable_gqa=queries.shape[1] != keys.shape[1],
    )
    return mixed.transpose(1, 2).flatten(2).flatten(0, 1)
