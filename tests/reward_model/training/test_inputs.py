"""What a reward model is trained on and what is held out."""

from __future__ import annotations

from data.schema import Answer, Completion, Judgement, Task, make_prompt
from reward_model.dataset.examples import collect
from reward_model.training.inputs import training_side

PROMPTS = [make_prompt(f"Question number {i}?") for i in range(40)]


def pair(prompt, a, b, value, annotator="ann", first="a"):
    task = Task("pairwise", Completion(prompt, a), Completion(prompt, b))
    return Judgement(0, task, annotator, Answer(value), first, "")


def test_a_prompt_is_never_on_two_sides():
    judgements = [pair(p, f"x{i}", f"y{i}", "a") for p in PROMPTS for i in range(3)]
    examples = collect(judgements)
    side = training_side(examples)
    train, held = (
        {c.prompt.id for c, t in zip(examples.completions, side, strict=True) if t == wanted}
        for wanted in (True, False)
    )
    assert train and held and not train & held
