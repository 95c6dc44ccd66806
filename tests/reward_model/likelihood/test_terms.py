"""The likelihoods by hand, and against the losses of torch and TRL."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from reward_model.dataset.examples import Binary, Examples, Pairs, Scalar
from reward_model.likelihood import terms
from reward_model.likelihood.joint import Joint

A = torch.tensor([0.3, -1.0, 2.0], dtype=torch.float64)
B = torch.tensor([0.1, 0.5, 2.0], dtype=torch.float64)


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def test_bradley_terry_by_hand() -> None:
    loss = terms.bradley_terry(A[:1], B[:1], torch.tensor([1.0]))
    assert float(loss) == pytest.approx(math.log(1 + math.exp(-0.2)), abs=1e-7)


def test_a_tie_is_half_a_win_each_way() -> None:
    tie = terms.bradley_terry(A, B, torch.full((3,), 0.5))
    by_hand = sum(
        0.5 * math.log(1 + math.exp(-d)) + 0.5 * math.log(1 + math.exp(d)) for d in (A - B).tolist()
    )
    assert float(tie) == pytest.approx(by_hand, rel=1e-12)


def test_davidson_by_hand() -> None:
    p = terms.davidson(torch.tensor([1.0]), torch.log(torch.tensor([0.5]))).exp()[0]
    z = math.exp(0.5) + math.exp(-0.5) + 0.5
    assert p.tolist() == pytest.approx([math.exp(0.5) / z, math.exp(-0.5) / z, 0.5 / z])
    assert float(p[0] / (p[0] + p[1])) == pytest.approx(1 / (1 + math.exp(-1.0)))


def test_cumulative_by_hand() -> None:
    p = terms.cumulative(torch.tensor([0.5]), torch.tensor([-1.0, 0.0, 2.0])).exp()[0]
    below = [1 / (1 + math.exp(-(c - 0.5))) for c in (-1.0, 0.0, 2.0)]
    hand = [below[0], below[1] - below[0], below[2] - below[1], 1 - below[2]]
    assert p.tolist() == pytest.approx(hand, rel=1e-5)


@pytest.mark.parametrize("far", [-1e6, -800.0, 800.0, 1e6])
def test_answers_far_from_what_is_expected_keep_a_gradient(far: float) -> None:
    place = torch.tensor([far], dtype=torch.float64, requires_grad=True)
    log_p = terms.cumulative(place, torch.arange(9.0, dtype=torch.float64))
    assert torch.isfinite(log_p).all()
    log_p[0, 4].backward()
    assert place.grad is not None
    assert float(place.grad) == pytest.approx(-math.copysign(1, far), abs=1e-6)


def test_gaussian_and_binary_by_hand() -> None:
    wide = torch.full((1,), math.log(2.0))
    loss = terms.gaussian(torch.tensor([5.0]), torch.tensor([8]), wide)
    assert float(loss) == pytest.approx(
        0.5 * 2.25 + math.log(2) + 0.5 * math.log(2 * math.pi), rel=1e-6
    )
    loss = terms.binary(torch.tensor([0.7, -0.2]), torch.tensor([1, 0]))
    hand = math.log(1 + math.exp(-0.7)) + math.log(1 + math.exp(-0.2))
    assert float(loss) == pytest.approx(hand, rel=1e-6)


def test_cuts_rise() -> None:
    cuts = terms.rising(torch.tensor([-1.0]), torch.log(torch.tensor([0.5, 2.0])))
    assert cuts.tolist() == pytest.approx([-1.0, -0.5, 1.5])


# -- with effects off, the textbook losses


def test_pairs_are_trls_loss(tiny_model: Path, tmp_path: Path) -> None:
    """RewardTrainer's own, on a batch that it made, is the mean of our sum."""
    from datasets import Dataset
    from transformers import AutoModelForSequenceClassification, AutoTokenizer
    from trl import RewardConfig, RewardTrainer

    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    tokenizer.pad_token = "<|endoftext|>"
    model = AutoModelForSequenceClassification.from_pretrained(tiny_model, num_labels=1)
    model.config.pad_token_id = tokenizer.pad_token_id
    texts = [("a friendly one", "no"), ("two plain sentences", "talked"), ("bread", "the sky")]
    rows = [{"prompt": "What is good? ", "chosen": a, "rejected": b} for a, b in texts]
    args = RewardConfig(output_dir=str(tmp_path), report_to="none", use_cpu=True, bf16=False,
                        per_device_train_batch_size=3)  # fmt: skip
    trainer = RewardTrainer(model, args, train_dataset=Dataset.from_list(rows),
                            processing_class=tokenizer)  # fmt: skip
    inputs = next(iter(trainer.get_train_dataloader()))
    model.eval()
    with torch.no_grad():
        theirs, outputs = trainer.compute_loss(model, inputs, return_outputs=True)
    rewards = outputs.logits[:, 0].double()
    pairs = Pairs(ints(0, 1, 2), ints(3, 4, 5), ints(0, 0, 0), np.ones(3), ints(0, 0, 0),
                  ints(0, 1, 0))  # fmt: skip
    examples = Examples((), ints(0, 1, 2, 0, 1, 2), ("ann", "bob"), pairs)
    joint = Joint(examples, effects=False)
    assert joint.parts == {}
    assert float(joint.nll(rewards, {})) / 3 == pytest.approx(float(theirs), rel=1e-6)


def test_gaussian_ratings_are_half_the_squared_error() -> None:
    rating = ints(3, 9, 5)
    examples = Examples((), ints(0, 0, 1), ("ann",), scalar=Scalar(ints(2, 0, 1), rating,
                                                                    ints(0, 0, 0)))  # fmt: skip
    joint = Joint(examples, "regression", effects=False)
    level = torch.tensor([5.0], dtype=torch.float64)
    nll = joint.nll(A, {"level": level})
    mse = F.mse_loss(A[[2, 0, 1]] + 5, torch.tensor([3.0, 9.0, 5.0], dtype=torch.float64))
    constant = 1.5 * math.log(2 * math.pi)
    assert float(nll) == pytest.approx(1.5 * float(mse) + constant, rel=1e-12)


def test_good_or_bad_is_binary_cross_entropy() -> None:
    examples = Examples((), ints(0, 0, 1), ("ann",), binary=Binary(ints(2, 0, 1), ints(1, 0, 0),
                                                                   ints(0, 0, 0)))  # fmt: skip
    joint = Joint(examples, "binary", effects=False)
    nll = joint.nll(A, {"bar": torch.tensor([0.4], dtype=torch.float64)})
    loss = torch.nn.BCEWithLogitsLoss(reduction="sum")
    theirs = loss(A[[2, 0, 1]] - 0.4, torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64))
    assert float(nll) == pytest.approx(float(theirs), rel=1e-12)
