"""Judgements as arrays.

examples          every kind of judgement, indexed by completion
preference_pairs  decided comparisons as pairs
sufficiency       refusals where the judgements cannot carry an objective
"""
