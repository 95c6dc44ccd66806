"""HTML and charts of the lead's pages.

home         counts, loop, people, runs
grpo_run     a GRPO run
quality      agreement and annotators
charts       charts of supervised runs
grpo_charts  charts of a GRPO run
"""
