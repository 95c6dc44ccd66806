"""The GRPO trainer and what surrounds a step.

policy_trainer  TRL's trainer with dropped groups and exact resume
shared_prompt   a group's prompt run once
advantages      rewards to advantages
batch_metrics   what a step says of its batch
callback        metrics, samples and verdicts of every step; KL steering
preflight       checks before the first step
"""
