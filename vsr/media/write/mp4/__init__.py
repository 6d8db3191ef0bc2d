"""What FFmpeg's muxer leaves out of MP4 and MOV files, written into complete ones."""
