"""The receipt: the evaluation report of a reward model.

build       computed from the judgements
wording     its sentences
html        as a page
plots       its plots as SVG
style       its CSS
text        as lines for the shell
model_card  as a model card
"""
