"""Jobs in segments: resume, and several workers on one machine."""
