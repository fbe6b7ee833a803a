"""MemOCR's ablation at the size of two CPU cores: does training for a starved reader make a policy write for it?

A small language model (`model`) writes a page about a made-up world token by token, in four sizes of type; the page is laid out
by `memagent_renderers`, read by its simulated reader in rollouts and by RapidOCR in results, and a script (`rule_answerer`)
answers from what was read. `train` trains it by `MemGRPOTrainer` on all of MemOCR's three rewards or on some, `run` is the
whole study, `demo` one seed of it with a page before and after training as a picture.
"""
