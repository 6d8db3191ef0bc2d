"""What is trained on: images, drawings, their pairs on disk, and the crops drawn of them."""
