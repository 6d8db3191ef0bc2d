"""Commands about the machine that vsr runs on."""
