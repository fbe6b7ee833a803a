"""Running assistants with a voice: conversations, questions and probes of one user, the upper bound, and the official files.

`pair` takes one assistant through one user, `bound` asks each option once with its values told, `records` makes the official
records, `folder` keeps what belongs to a run, `estimate` says beforehand what a run will cost.
"""
