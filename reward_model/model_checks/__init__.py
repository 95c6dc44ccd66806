"""What a model must be before anything is spent on it; every refusal is one line with the remedy.

folder         the files of a model's folder
adapter_files  folders that PEFT and TRL write
refusals       what loading found, or why it failed
padding        the token to pad with
context        how many tokens a model reads at once
saving         what will be saved, tried before training
"""
