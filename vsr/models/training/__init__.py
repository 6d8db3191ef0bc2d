"""FDIWN as it is trained on a CPU: the training form, arranged for speed."""
