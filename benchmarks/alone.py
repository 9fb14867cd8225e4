"""A member's own model in this process: what Hugging Face makes of it."""

import time
from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM


class Alone:
    """A model as `generate` runs it, on one thread, in float32."""

    def __init__(self, path: Path) -> None:
        self.model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval()

    def generate(self, ids: Sequence[int], num_tokens: int) -> float:
        """Milliseconds a token of greedy `generate` of forced length."""
        given = torch.tensor([list(ids)])
        started = time.perf_counter()
        with torch.inference_mode():
            output = self.model.generate(
                given,
                attention_mask=torch.ones_like(given),
                do_sample=False,
                min_new_tokens=num_tokens,
                max_new_tokens=num_tokens,
                pad_token_id=0,
            )
        assert output.shape[1] == given.shape[1] + num_tokens
        return (time.perf_counter() - started) * 1000 / num_tokens

    def logits(self, ids: Sequence[int], last: int) -> torch.Tensor:
        """Float32 [last, Vm]: after each of the last so many ids."""
        with torch.inference_mode():
            output = self.model(torch.tensor([list(ids)]), logits_to_keep=last)
        logits: torch.Tensor = output.logits[0].float()
        return logits
