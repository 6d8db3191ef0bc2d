"""The way in: decoders, their frames as tensors, and the packets that go along."""
