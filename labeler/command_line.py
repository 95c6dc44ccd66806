"""`coach`: one command that lists every verb by the step of the loop it belongs to, and runs it.

`coach sft --epochs 3` is `python -m grpo sft --epochs 3`. The table below imports nothing, so that
`coach --help` answers at once; the verb's own package is imported when it runs.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import import_module

USER_ERROR = 2


@dataclass(frozen=True)
class Verb:
    """`coach name` runs `python -m package verb`."""

    name: str
    package: str
    verb: str
    summary: str


STEPS: dict[str, tuple[Verb, ...]] = {
    "set up": (
        Verb("init", "data", "init", "make a workspace: a folder and an empty store"),
        Verb("import", "data", "import", "read prompts, demonstrations, judgements from a file"),
        Verb("serve", "labeler", "serve", "serve the app: people rate, a lead starts the training"),
        Verb(
            "user",
            "labeler",
            "user",
            "let people in and out: add, list, off, on, sign-out, withdraw",
        ),
    ),
    "fine-tune": (
        Verb("pretrain", "grpo", "pretrain", "continued pretraining on raw documents"),
        Verb("sft", "grpo", "sft", "supervised fine-tuning on demonstrations: the SFT policy"),
    ),
    "collect judgements": (
        Verb("sample", "grpo", "sample", "sample a policy's completions and queue tasks over them"),
        Verb("simulate", "labeler", "simulate", "let simulated annotators rate in a running app"),
        Verb("stats", "data", "stats", "what is stored, and how far judgements can be trusted"),
        Verb("export", "data", "export", "write the store, or rows for a trainer, to files"),
    ),
    "reward model": (
        Verb("reward", "reward_model", "train", "train a reward model and write its receipt"),
        Verb("evaluate-reward", "reward_model", "evaluate", "its receipt, on today's judgements"),
        Verb("score", "reward_model", "score", "score completions from a file, or over HTTP"),
        Verb("export-reward", "reward_model", "export", "write it as an ordinary model folder"),
        Verb("benchmark", "reward_model", "benchmark", "how right heads are, beside baselines"),
    ),
    "policy": (
        Verb("grpo", "grpo", "train", "GRPO against the reward model, with KL to the SFT policy"),
        Verb("stop", "grpo", "stop", "stop a run, of any kind, at its next step"),
        Verb("evaluate-policy", "grpo", "evaluate", "compare with SFT on held-out prompts"),
        Verb("export-policy", "grpo", "export", "merge the adapter: an ordinary model folder"),
    ),
    "the whole loop": (
        Verb("loop", "grpo", "loop", "every step with simulated annotators, and an HTML report"),
    ),
}
"""In the order of the loop."""
VERBS = {verb.name: verb for verbs in STEPS.values() for verb in verbs}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the named verb; returns its exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words or words[0] in ("-h", "--help"):
        try:
            print(overview(), flush=True)
        except BrokenPipeError:  # `| head`; what is left is to go nowhere at the interpreter's end
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0 if words else USER_ERROR
    verb = VERBS.get(words[0])
    if verb is None:
        remedy = " or ".join(closest(words[0])) or "a verb that coach --help lists"
        print(f"error: verb {words[0]!r} unknown: use {remedy}", file=sys.stderr)
        return USER_ERROR
    # parse_arguments reads from the first word how it was called, and shows it in usage lines
    sys.argv = [f"coach {verb.name}", verb.verb, *words[1:]]
    code: int = import_module(f"{verb.package}.__main__").main()
    return code


def overview() -> str:
    """The verbs by step of the loop, each with its line."""
    width = max(map(len, VERBS))
    lines = ["usage: coach VERB [settings]", "", "Teach a language model your taste."]
    for step, verbs in STEPS.items():
        lines += ["", step, *(f"  {verb.name:{width}}  {verb.summary}" for verb in verbs)]
    return "\n".join([*lines, "", "coach VERB --help lists the settings of a verb."])


def closest(word: str) -> list[str]:
    """The verbs that a wrong one may stand for: `reward` for `train-reward`, all that run a
    sub-verb `train` for `train`, else the one spelled most alike, if any is."""
    parts = {word, *word.replace("_", "-").split("-")}
    named = [name for name in VERBS if name in parts]
    same = [name for name, verb in VERBS.items() if verb.verb in parts]
    return named or same or get_close_matches(word, VERBS, n=1)
