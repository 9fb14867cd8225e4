"""Trains the demonstration members from nothing and writes them to demo/models.

python -m demo.train_demo_models            # all three
python -m demo.train_demo_models ada        # one
"""

from __future__ import annotations

import argparse
import math
import random
import time

import torch
from torch.nn import functional
from transformers import (
    AutoTokenizer,
    GenerationConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from demo.bodies import build_body
from demo.corpus import common_conversations, member_conversations
from demo.lessons import IGNORED, Lesson, batches, read_lessons
from demo.members import MEMBERS, Member
from demo.tokenizer_kinds import train_tokenizer

COMMON_CONVERSATIONS = 12_000
CONVERSATIONS = 52_000
TOKENS_EACH_BATCH = 1024
PEAK_RATE = 3e-3
WARM_UP_SHARE = 0.05
WEIGHT_DECAY = 0.05
LABEL_SMOOTHING = 0.02
REPORT_EVERY = 100
# So that the role names of the markup are pieces of their own.
ROLE_NAMES = ["system", "user", "assistant"] * 1000


def train_member(member: Member, conversations: int) -> None:
    """Train one member and save model and tokenizer in its folder."""
    started = time.perf_counter()
    torch.manual_seed(member.seed)
    texts = [
        turn["content"] for turns in common_conversations(COMMON_CONVERSATIONS) for turn in turns
    ]
    tokenizer = train_tokenizer(member.tokenizer_kind, texts + ROLE_NAMES, member.vocabulary_size)
    model = build_body(member.architecture, tokenizer)
    lessons = read_lessons(member, tokenizer, list(member_conversations(member, conversations)))
    print(
        f"{member.name}: {model.num_parameters():,} parameters, {len(tokenizer)} tokens,"
        f" {len(lessons)} conversations",
        flush=True,
    )
    _fit(model, tokenizer, lessons, member.seed)
    _save(model, tokenizer, member)
    print(f"{member.name}: done in {time.perf_counter() - started:.0f} s", flush=True)


def _fit(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, lessons: list[Lesson], seed: int
) -> None:
    """One pass over the lessons; what a member sees it sees in ever new wording."""
    feed = list(batches(lessons, tokenizer.pad_token_id, TOKENS_EACH_BATCH, random.Random(seed)))
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=PEAK_RATE, betas=(0.9, 0.98), weight_decay=WEIGHT_DECAY
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, len(feed)))
    model.train()
    recent = 0.0
    for step, (ids, mask, labels) in enumerate(feed, start=1):
        loss = _reply_loss(model, ids, mask, labels)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        recent += loss.item()
        if step % REPORT_EVERY == 0:
            print(f"  step {step}/{len(feed)} loss {recent / REPORT_EVERY:.4f}", flush=True)
            recent = 0.0


def _reply_loss(
    model: PreTrainedModel, ids: torch.Tensor, mask: torch.Tensor, labels: torch.Tensor
) -> torch.Tensor:
    """Mean cross-entropy of the reply tokens, each predicted from those before it."""
    states = model.base_model(input_ids=ids, attention_mask=mask, use_cache=False)[0][:, :-1]
    wanted = labels[:, 1:]
    places = wanted != IGNORED
    # The head runs over the whole vocabulary, so only on the tokens that count.
    logits = model.get_output_embeddings()(states[places])
    return functional.cross_entropy(logits, wanted[places], label_smoothing=LABEL_SMOOTHING)


def _rate(step: int, steps: int) -> float:
    """Linear warm-up, then a cosine down to nothing, as a share of the peak rate."""
    warm_up = max(1, int(WARM_UP_SHARE * steps))
    if step < warm_up:
        return (step + 1) / warm_up
    return 0.5 * (1 + math.cos(math.pi * (step - warm_up) / max(1, steps - warm_up)))


def _save(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, member: Member) -> None:
    """Write what `from_pretrained` needs, with the end of turn as the end of generation."""
    model.generation_config = GenerationConfig(
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.convert_tokens_to_ids(member.end_of_turn),
        pad_token_id=tokenizer.pad_token_id,
    )
    model.save_pretrained(member.folder)
    tokenizer.save_pretrained(member.folder)
    # The weights are written for their owner only; a server may run as somebody else.
    for file in member.folder.iterdir():
        file.chmod(0o644)
    loaded = AutoTokenizer.from_pretrained(member.folder)
    if loaded.backend_tokenizer.to_str() != tokenizer.backend_tokenizer.to_str():
        raise RuntimeError(f"AutoTokenizer does not load {member.name}'s tokenizer as it was saved")


def main() -> None:
    """Train the members named on the command line, or all of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*MEMBERS, []], metavar="name")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--conversations", type=int, default=CONVERSATIONS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    for name in options.names or MEMBERS:
        train_member(MEMBERS[name], options.conversations)


if __name__ == "__main__":
    main()
