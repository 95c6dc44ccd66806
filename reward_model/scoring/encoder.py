"""A second model that reads the texts beside the policy: features of its own for the same head.

Any model that transformers loads: causal, or an encoder. One whose tokenizer has a chat template
reads the conversation as that writes it; another reads prompt and completion one after the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from data.schema import Prompt
from reward_model.chat.chat_format import chat_format
from reward_model.language_model.device import choose_dtype
from reward_model.language_model.features import Floats32, OnProgress
from reward_model.language_model.loading import load_body, load_body_tokenizer, load_config
from reward_model.language_model.origin import Origin
from reward_model.language_model.render import Rendered, cut_to_fit, render
from reward_model.language_model.shared_prompt import pad_rows
from reward_model.language_model.views import DEPTHS, cut_layers, find_blocks
from reward_model.model_checks.context import ANY_LENGTH, context_length, require_known
from reward_model.model_checks.refusals import is_encoder

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
        """Raises ValueError where its tokenizer has no padding or its chat template loses text."""
        config, tokenizer = load_config(origin), load_body_tokenizer(origin)
        if tokenizer.pad_token is None:
            raise ValueError(
                f"the tokenizer of {origin.model!r} has no token to pad with: add one (pad_token)"
                " to its tokenizer_config.json"
            )
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
        """The body, up to the highest layer that is read where its make allows to cut it."""
        body = load_body(self.origin, self.dtype).eval().requires_grad_(False)
        if find_blocks(body) is not None:
            cut_layers(body, max(self.layers))
        return body

    def render(self, prompt: Prompt, completion: str, finished: bool) -> Rendered:
        """Token ids of a prompt and a completion. Raises ValueError for a prompt whose turns the
        chat template refuses."""
        tokenizer = self.tokenizer
        if tokenizer.chat_template:
            return render(tokenizer, prompt, completion, finished, self.longest)
        asked = "\n\n".join(message.content for message in prompt.messages)
        start: list[int] = tokenizer(asked)["input_ids"]
        ids: list[int] = tokenizer(completion, add_special_tokens=False)["input_ids"]
        end = tokenizer.sep_token_id or tokenizer.eos_token_id
        if finished and end is not None:
            ids = [*ids, end]
        return cut_to_fit(start, ids, tokenizer.pad_token_id, self.longest)

    @torch.inference_mode()
    def read(
        self,
        texts: Sequence[Rendered],
        batch: int = 16,
        progress: OnProgress = lambda done, total: None,
    ) -> Floats32:
        """States (N, E) of the texts, in their order: of each layer the last token's, then the
        mean over the completion."""
        network, pad = self.network, self.tokenizer.pad_token_id
        rows = network.get_input_embeddings().weight.size(0)
        require_known([text.ids for text in texts], rows, self.tokenizer)
        order = sorted(range(len(texts)), key=lambda i: len(texts[i].ids))
        width = 2 * len(self.layers) * int(network.config.get_text_config().hidden_size)
        found = np.empty((len(texts), width), np.float32)
        for start in range(0, len(order), batch):
            progress(start, len(order))
            places = order[start : start + batch]
            some = [texts[i] for i in places]
            ids, mask = pad_rows([text.ids for text in some], pad, network.device, "right")
            out = network(input_ids=ids, attention_mask=mask, output_hidden_states=True)
            found[places] = self._pool(out.hidden_states, some, mask).cpu().numpy()
        return found

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
