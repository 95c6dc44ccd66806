"""Makes policies: SFT, sampling, GRPO against the learned reward, evaluation, the loop.

pretrain, sft, sample, train, evaluate, export, loop  the verbs, with config, their settings
supervised   what pretraining and SFT share; run: how a GRPO run's settings are resolved and kept
sampling     completions of a policy here, or at an endpoint
policies     policies, their adapters, and the reference
trainer      the GRPO step, its metrics, and the preflight before it
diagnosis    what is wrong with a run, in words
reports      what runs report
"""
