"""The way out: encoders, copied streams, verification, and the final name."""
