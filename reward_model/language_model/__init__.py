"""A causal language model: found, loaded, rendered for, read.

origin      a model's name to where it lies
built_in    the built-in model, unpacked once
device      device and precision
loading     tokenizer and weights
render      prompt and completion to token ids: the only place
generation  completions; prompts of a group run once
lora        which layers an adapter trains
classifier  body and reward head
features    hidden states, kept by content
"""
