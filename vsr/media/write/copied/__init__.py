"""What copied packets need so that a container can hold them."""
