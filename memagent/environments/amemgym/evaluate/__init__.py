"""Running assistants with a model: conversations, questions and probes of one user, the upper bound, and the official files.

`method` says which assistants, `pair` takes one of them through one user, `bound` asks each option once with its values told,
`records` makes the official records, `folder` keeps what belongs to a run, `embedding` keeps vectors the same in every run,
`estimate` says beforehand what a run will cost.
"""
