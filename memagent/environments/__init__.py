"""Worlds in which a memory is tested: one folder a family, none of them needs a model to be read or scored."""
