"""A second model that reads the texts beside the policy: features of its own for the same head.

Any model that transformers loads: causal, or an encoder. One whose tokenizer has a chat template
reads the conversation as that writes it; another reads prompt and completion one after the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from data.schema import Prompt, content_hash, make_prompt
from reward_model.chat.chat_format import PromptRefused, chat_format, text_ids
from reward_model.language_model.device import choose_dtype
from reward_model.language_model.features import Floats32, OnProgress
from reward_model.language_model.loading import load_body, load_body_tokenizer, load_config
from reward_model.language_model.origin import Origin
from reward_model.language_model.render import Rendered, cut_to_fit, fingerprint, render
from reward_model.language_model.shared_prompt import pad_rows
from reward_model.language_model.views import DEPTHS, cut_layers, find_blocks
from reward_model.model_checks.context import ANY_LENGTH, context_length, require_known
from reward_model.model_checks.folder import first_line
from reward_model.model_checks.refusals import is_encoder, refuse_body

NO_PAD = -1
"""No token's id: nothing at a text's end is padding."""
MOST_TRIED = 1024
"""Tokens of the longest text that a network is tried on."""
SAME = 0.1
"""How far a text's states may be from those beside a longer one, as a share of the largest: in
bfloat16 padding rounds."""
ENCODER_ADAPTER = "encoder_adapter"
"""Folder, inside a reward model's, with a copy of the adapter on its second model."""


@dataclass
class Encoder:
    """A second model, and how it reads a text. Its weights load when they are first needed."""

    origin: Origin
    tokenizer: PreTrainedTokenizerBase
    layers: tuple[int, ...]
    """That are read, counted from 1: two middle ones of a causal model, the last of an encoder."""
    longest: int
    """Tokens; a longer text loses the prompt's beginning."""
    dtype: torch.dtype

    @classmethod
    def of(cls, origin: Origin, max_tokens: int | None = None) -> Encoder:
        """Raises ValueError for a model that is no text model, and a template that loses text."""
        config, tokenizer = load_config(origin), load_body_tokenizer(origin)
        refuse_body(origin.model, config)
        if tokenizer.chat_template:
            chat_format(tokenizer)
        n = int(config.get_text_config().num_hidden_layers)
        depths = (1.0,) if is_encoder(config) else DEPTHS
        layers = tuple(dict.fromkeys(max(1, round(share * n)) for share in depths))
        stated = getattr(tokenizer, "model_max_length", None) or ANY_LENGTH
        longest = min(max_tokens or ANY_LENGTH, context_length(config) or ANY_LENGTH, int(stated))
        return cls(origin, tokenizer, layers, longest, choose_dtype()[0])

    @cached_property
    def network(self) -> PreTrainedModel:
        """The body, up to the highest layer that is read where its make allows to cut it.

        Raises ValueError where it cannot read a text, or reads one otherwise beside a longer one.
        """
        body = load_body(self.origin, self.dtype).eval().requires_grad_(False)
        if find_blocks(body) is not None:
            cut_layers(body, max(self.layers))
        self._try_reading(body)
        return body

    @cached_property
    def fingerprint(self) -> str:
        """Equal where `render` gives equal ids."""
        tokenizer = self.tokenizer
        facts = (self._around, self._end, tokenizer.pad_token_id)
        return content_hash(fingerprint(tokenizer), *map(str, facts))

    @cached_property
    def _around(self) -> tuple[list[int], list[int]]:
        """What the tokenizer puts before a text and behind it."""
        whole: list[int] = self.tokenizer("x")["input_ids"]
        text = text_ids(self.tokenizer, "x")
        places = (i for i in range(len(whole)) if whole[i : i + len(text)] == text)
        at = next(places, len(whole))
        return whole[:at], whole[at + len(text) :]

    @property
    def _end(self) -> int | None:
        """What follows a completion that ended by itself, where there is no chat template."""
        found: int | None = self.tokenizer.sep_token_id
        return self.tokenizer.eos_token_id if found is None else found

    def render(self, prompt: Prompt, completion: str, finished: bool) -> Rendered:
        """Token ids of a prompt and a completion; no text spells a control token."""
        tokenizer = self.tokenizer
        if tokenizer.chat_template:
            try:
                return render(tokenizer, prompt, completion, finished, self.longest)
            except PromptRefused:
                pass  # what the template takes no turns of is read like a text without one
        asked = "\n\n".join(message.content for message in prompt.messages)
        before, behind = self._around
        start = [*before, *text_ids(tokenizer, asked), *behind]
        ids = text_ids(tokenizer, completion)
        if finished and self._end is not None:
            ids = [*ids, self._end]
        return cut_to_fit(start, ids, NO_PAD, self.longest)

    @torch.inference_mode()
    def read(
        self,
        texts: Sequence[Rendered],
        batch: int = 16,
        progress: OnProgress = lambda done, total: None,
    ) -> Floats32:
        """States (N, E) of the texts, in their order: of each layer the last token's, then the
        mean over the completion."""
        network = self.network
        rows = network.get_input_embeddings().weight.size(0)
        require_known([text.ids for text in texts], rows, self.tokenizer)
        order = sorted(range(len(texts)), key=lambda i: len(texts[i].ids))
        width = 2 * len(self.layers) * int(network.config.get_text_config().hidden_size)
        found = np.empty((len(texts), width), np.float32)
        for start in range(0, len(order), batch):
            progress(start, len(order))
            places = order[start : start + batch]
            found[places] = self._states(network, [texts[i] for i in places])
        return found

    def _states(self, network: PreTrainedModel, texts: Sequence[Rendered]) -> Floats32:
        """(N, E) of texts that run together."""
        pad = self.tokenizer.pad_token_id or 0  # masked, whatever it is
        ids, mask = pad_rows([text.ids for text in texts], pad, network.device, "right")
        out = network(input_ids=ids, attention_mask=mask, output_hidden_states=True)
        pooled: Floats32 = self._pool(out.hidden_states, texts, mask).cpu().numpy()
        return pooled

    @torch.inference_mode()
    def _try_reading(self, network: PreTrainedModel) -> None:
        name, kind = self.origin.model, network.config.model_type
        asked = make_prompt("What is a good answer?")
        short = self.render(asked, "A short one.", True)
        long = self.render(asked, "A long one, " * min(self.longest, MOST_TRIED), True)
        long = replace(long, completion=long.completion[:MOST_TRIED])
        try:
            alone, beside = (self._states(network, texts)[0] for texts in ([short], [short, long]))
        except Exception as error:  # any network may be named, and each fails in its own way
            raise ValueError(
                f"model {name!r} ({kind}) could not read a text of {len(long.ids)} tokens"
                f" ({first_line(error)}): use a lower --max-tokens, or a causal language model or"
                " text encoder"
            ) from None
        if np.abs(alone - beside).max() > SAME * np.abs(alone).max():
            raise ValueError(
                f"model {name!r} ({kind}) reads a text otherwise beside a longer one, as one does"
                " that ignores the attention mask: use another model"
            )

    def _pool(
        self, states: Sequence[torch.Tensor], texts: Sequence[Rendered], mask: torch.Tensor
    ) -> torch.Tensor:
        """(N, E) of the states (N, T, d) behind each layer, the embedding first. An empty
        completion is where its prompt ends."""
        lengths = mask.sum(1)
        spoken = torch.tensor([max(1, len(text.completion)) for text in texts], device=mask.device)
        place = torch.arange(mask.shape[1], device=mask.device)
        answer = (place >= (lengths - spoken)[:, None]) & (place < lengths[:, None])
        rows = torch.arange(len(texts), device=mask.device)
        found = []
        for layer in self.layers:
            state = states[layer].float()
            mean = (state * answer[..., None]).sum(1) / spoken[:, None]
            found += [state[rows, lengths - 1], mean]
        return torch.cat(found, 1)
