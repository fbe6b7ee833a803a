"""Stand-ins for vLLM, for tests of training on a machine without a GPU: yours and ours.

    from memagent_training.testing.vllm_server import FakeVllmServer

    with FakeVllmServer(dialect="0.33") as server:
        engine = HttpEngine(servers=(server.url,))

speaks the endpoints of `vllm serve` on the loopback address; `memagent_training.testing.vllm_llm` stands for `vllm.LLM` under
TRL's own code. Both treat prompts with pictures as vLLM does (`memagent_training.testing.vllm_rule`) and say what a hash of
everything that a model would read decides: who sends another prompt, other pictures, another seed or other weights gets
other text. `memagent_training.testing.broadcast` brings whole weights to such servers. None of these needs torch.

`memagent_training.testing.model_llm` says what a model says, with true log-probabilities;
`memagent_training.testing.random_vl` makes models of random weights at any size.
"""
