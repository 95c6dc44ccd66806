"""Judgements as arrays.

examples          every kind of judgement, indexed by completion
form              length, lists, headings and bold of a completion
preference_pairs  decided comparisons as pairs
sufficiency       refusals where the judgements cannot carry an objective
"""
