"""How a network is trained: data, degradations, schedule and loop; it takes a model, owns none."""
