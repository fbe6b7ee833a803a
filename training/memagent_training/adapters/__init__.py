"""Our episodes in other people's trainers: one module for each, which alone imports its package.

None of these packages is one of ours, and their pins exclude ours or each other's: each lives in an environment of its own,
into which this project is installed beside it. Importing `memagent_training.adapters` loads none of them.
"""
