"""Columns that share a union id are added up, and the sums stay probabilities."""

import numpy as np
import pytest
import torch

from gac.model.projection import Projection

CPU = torch.device("cpu")
NUM_ROWS = 4000
LAYOUTS = {
    "three stop ids": [0, 0, 0, 1],
    "duplicates of a token": [1, 0, 1, 1],
    "both": [0, 1, 0, 1],
}


def rows_of(num_logits: int) -> torch.Tensor:
    """Logits whose mass is spread over a few columns, and next to none is elsewhere."""
    return 2.0 * torch.randn(NUM_ROWS, num_logits, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_sums_of_columns_are_at_most_one(layout: str) -> None:
    """The mass is in the columns that share union id 0 or 1: float32 may round it to 1.0000001."""
    places = np.array(LAYOUTS[layout], dtype=np.int32)
    logits = rows_of(places.size)
    shared = int(np.argmax(np.bincount(places)))
    logits[:, places != shared] -= 100.0
    alone = logits.softmax(1)[:, places == shared]
    plain = alone[:, 0].clone()
    for column in alone.T[1:]:
        plain += column
    table = Projection(places, 2, None, CPU).table(logits.clone(), [False] * NUM_ROWS)
    summed = table.columns.all_entries(table.probs)[:, shared]
    assert (plain > 1.0).any(), "so many draws have such a sum among them"
    assert summed.max() == 1.0
    assert torch.equal(summed, plain.clamp(max=1.0)), "no other sum changes"


def test_first_token_after_a_dummy_space_is_at_most_one() -> None:
    """P(x) is made of three terms: with the space, without it, and behind it."""
    places = np.array([0, 1, 2, 3], dtype=np.int32)
    lead_places = np.array([0, 1, 1, -1], dtype=np.int32)
    projection = Projection(places, 4, lead_places, CPU)
    biases = torch.tensor([-100.0, 0.0, 0.0, 0.0])
    rows = rows_of(8).view(-1, 2, 4) + biases
    rows[:, 1] = torch.tensor([-100.0, 60.0, -100.0, -100.0])
    largest = [projection.lead_row(one, False).probs.max() for one in rows.clone()]
    assert max(largest) == 1.0
