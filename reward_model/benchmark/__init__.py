"""`coach benchmark reward`: what a reward model's head is worth, measured, losing cases too.

run          the order of things; tables and the JSON file
judged_texts a file of judgements, and the states of its texts
accuracy     accuracy and log-loss of every view, beside baselines
ceiling      the share of the way from the best baseline to the human ceiling
starting     what a head gains that starts from another one
uncertainty  whether a standard deviation predicts how far a reward is off
worlds       simulated worlds in which the true reward is known
simulation   intervals and probabilities in such worlds
speed        seconds of a fit and a refit
report       a table for each part, and the bars
tables       tables of figures with intervals; the machine
"""
