"""Decides whether a model may be computed past its modules.

A model may only if each of its modules is of a class that is known here: a subclass, an adapter, a
hook, a quantised layer or another activation leaves the model to its own code.  That the logits are
right is measured besides (`self_check`), and so is whether it is faster (`lean_timing`).
"""

import logging
from typing import Any

from gac.model.lean_llama import LeanLlama
from gac.model.loading import LoadedModel
from gac.model.masks import MaskPlan

logger = logging.getLogger(__name__)

_FAMILIES = ("Llama", "Mistral", "Qwen2", "Qwen3")
_PARTS = ("ForCausalLM", "Model", "DecoderLayer", "Attention", "MLP", "RMSNorm", "RotaryEmbedding")
_SHARED = {
    "torch.nn.modules.container.ModuleList",
    "torch.nn.modules.linear.Linear",
    "torch.nn.modules.sparse.Embedding",
    "torch.nn.modules.activation.SiLU",
    "transformers.activations.SiLUActivation",
}
_ROPES = {"default", "linear", "llama3", "yarn"}
"""Rotary positions whose frequencies do not depend on the length of the text."""
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_hf_hook")


def choose_lean(loaded: LoadedModel, plan: MaskPlan | None) -> LeanLlama | None:
    """The lean forward pass of a model that is known to allow it, else None."""
    reason = _obstacle(loaded.model, plan)
    if reason is not None or plan is None:
        logger.debug("%s is computed by its own modules: %s", loaded.name, reason)
        return None
    return LeanLlama(loaded.model, plan.as_additive())


def _obstacle(model: Any, plan: MaskPlan | None) -> str | None:
    """What forbids to compute a model past its modules, None if nothing does."""
    family = next((f for f in _FAMILIES if type(model).__name__ == f"{f}ForCausalLM"), None)
    if family is None:
        return f"{type(model).__name__} is not known"
    foreign = _foreign_part(model, family)
    if foreign is not None:
        return foreign
    if plan is None or model.config._attn_implementation != "sdpa":
        return f"attention is {model.config._attn_implementation}"
    if model.model.rotary_emb.rope_type not in _ROPES:
        return f"positions are {model.model.rotary_emb.rope_type}"
    if len(model.model.layers) != model.config.num_hidden_layers:
        return "its config names another number of layers"
    places = {(p.device, p.dtype) for p in model.parameters()}
    if len(places) > 1 or any(device.type == "meta" for device, _ in places):
        return "its weights lie in several places or formats"
    return None


def _foreign_part(model: Any, family: str) -> str | None:
    """A module that is not exactly what transformers builds for this family."""
    name = family.lower()
    home = f"transformers.models.{name}.modeling_{name}.{family}"
    known = _SHARED | {home + part for part in _PARTS}
    for path, module in model.named_modules():
        kind = f"{type(module).__module__}.{type(module).__qualname__}"
        if kind not in known:
            return f"{path or 'the model'} is a {kind}"
        if "forward" in vars(module) or any(getattr(module, hook, None) for hook in _HOOKS):
            return f"{path or 'the model'} has a hook"
    return None
