"""Texts as they come from people, files, models and endpoints.

intake    what every database can keep, and what a sampled text becomes
thinking  what a reasoning model says to itself, apart from its answer
"""
