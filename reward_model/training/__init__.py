"""Training a reward model.

inputs             what every training and evaluation starts from
reading            the network that reads the texts, and the states that it read
start              another reward model to start from
reference_samples  the SFT policy's answers that set zero and one
finetune           LoRA or all weights on the joint likelihood
token_loss         the language-model loss beside it
micro_batches      an optimiser step in parts whose activations fit
memory             what tuning takes, stated before its first step
ensemble           several members and their average
evidence           what a receipt rests on
"""
