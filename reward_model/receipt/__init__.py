"""The receipt: the evaluation report of a reward model.

build       computes it from judgements and predictions, as JSON
contents    its typed form, read from that JSON
wording     names of measures and baselines, and its sentences
html        as a page, by templates/receipt.html
plots       the page's plots, drawn by templates/plot.svg
text        as lines for the shell, as a model card, and its files
"""
