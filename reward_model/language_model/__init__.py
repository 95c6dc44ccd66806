"""A causal language model: found, loaded, rendered for, read.

origin         where a named model lies
built_in       the built-in model, unpacked once
device         device and dtype
loading        tokenizer and weights
render         prompt and completion to token ids: the only place
shared_prompt  completions of one prompt share the pass over it
generation     sampling completions
adapter        LoRA: which layers it sits on, put on a model, trained further
classifier     body and reward head
views          which layers and tokens a head reads
features       hidden states, kept by content
"""
