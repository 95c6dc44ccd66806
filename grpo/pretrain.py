"""Continued pretraining on the documents: packed blocks, loss on every token.

The result is an ordinary model folder (`model/` in the run's), whatever the tuning: an adapter is
merged into the weights, in float32. So everything that starts from a model starts from it, a later
adapter (SFT, GRPO) has one fixed model under it and its own rank and targets, and the reference of
GRPO, that model without adapter, knows what the documents taught. Training one adapter through
both would tie them to the same targets, and stacking adapters would put two files where a hash
pins one. It costs four bytes of disk a weight.
"""

from __future__ import annotations

import random
import time
from itertools import chain, pairwise

from transformers import PreTrainedTokenizerBase

from data.runs.recorder import Recorder
from data.schema import Document
from data.splits import side_of
from data.store import Store
from grpo.config import PretrainSettings
from grpo.policies.checkpoint import find_policy, save_merged
from grpo.reports.records import TrainingReport
from grpo.supervised import TokenRows, learn
from reward_model.chat.chat_format import control_tokens, text_ids
from reward_model.language_model.loading import load_tokenizer

END_OF_TEXT = ("<|endoftext|>", "<|end_of_text|>", "<eos>", "</s>")
"""What ends a text where the tokenizer's own end is that of a turn."""
AT_ONCE = 256
"""Documents that are cut into tokens at a time."""


def train(settings: PretrainSettings, store: Store, run: Recorder) -> TrainingReport:
    """Train on the documents; saves the model, returns the report.

    Raises ValueError where there are no documents to train on.
    """
    started = time.monotonic()
    documents = store.content.documents()
    random.Random(settings.seed).shuffle(documents)
    sides = {s: [d for d in documents if side_of(d) == s] for s in ("train", "validation")}
    if not sides["train"]:
        held = len(sides["validation"])
        reason = f"all {held} documents are held out, by their hash" if held else "no documents yet"
        raise ValueError(
            f'{reason}: import some ({{"type": "document", "text": ...}}) with coach import'
        )
    origin = find_policy(settings.model, settings.workspace)
    tokenizer = load_tokenizer(origin, chat=False)
    tokens = {s: tokenized(tokenizer, found, run) for s, found in sides.items()}
    rows = {s: packed(found, settings.max_tokens) for s, found in tokens.items()}
    course = learn(settings, origin, tokenizer, rows, run, "pretraining", "pretrain")
    if settings.tuning != "full":
        save_merged(tokenizer, run.directory, origin, kind="pretrain")
    n, count = len(sides["train"]), sum(map(len, tokens["train"]))
    return TrainingReport(
        summary=course.sentence(f"pretrained on {n:,} documents ({count:,} tokens)"),
        course=course,
        texts={
            "documents": n,
            "documents_held_out": len(sides["validation"]),
            "tokens": count,
            "blocks": len(rows["train"]),
        },
        model=settings.model,
        seconds=round(time.monotonic() - started, 1),
    )


def tokenized(
    tokenizer: PreTrainedTokenizerBase, documents: list[Document], run: Recorder
) -> list[list[int]]:
    """Each document's token ids, ended by end of text.

    What looks like a control token in a document is read as the characters it is.
    """
    end = end_of_text(tokenizer)
    begin = [i for i in tokenizer("")["input_ids"] if i != end]
    # split_special_tokens leaves those tokens that are not flagged special
    flagged = {t.content for t in tokenizer.added_tokens_decoder.values() if t.special}
    unflagged = set(control_tokens(tokenizer)) - flagged
    found: list[list[int]] = []
    for start in range(0, len(documents), AT_ONCE):
        run.check_stop()
        run.progress(start, len(documents), "reading the documents")
        texts = [d.text for d in documents[start : start + AT_ONCE]]
        read = tokenizer(texts, split_special_tokens=True, verbose=False)["input_ids"]
        for text, ids in zip(texts, read, strict=True):
            if any(token in text for token in unflagged):
                ids = [*begin, *text_ids(tokenizer, text)]
            found.append(ids if ids[-1:] == [end] else [*ids, end])
    return found


def end_of_text(tokenizer: PreTrainedTokenizerBase) -> int:
    """The token between documents: a chat model's eos ends a turn, so its base's is looked for."""
    vocabulary = tokenizer.get_vocab()
    known = [vocabulary[token] for token in END_OF_TEXT if token in vocabulary]
    return int(known[0] if known else tokenizer.eos_token_id)


def packed(texts: list[list[int]], size: int) -> TokenRows:
    """One stream cut into the fewest blocks of at most `size` tokens, all as long as each other.

    Our own and not TRL's "wrapped": that ends documents with eos, in a chat model the end of a
    turn, packs a thousand at a time and leaves a short rest of each. A block may hold several
    documents, which see each other, as they do where models are pretrained.
    """
    stream = list(chain.from_iterable(texts))
    blocks = -(-len(stream) // size)
    cuts = [len(stream) * i // blocks for i in range(blocks + 1)] if blocks else [0]
    pieces = [stream[a:b] for a, b in pairwise(cuts)]
    return [{"input_ids": piece, "labels": piece} for piece in pieces]
