"""From scored groups to the tensors that go through the model, padded or packed, and their log-probabilities."""
