"""Room on the disk: what a run may take, and that runs at the same time fit together."""
