"""Where a result goes: into a file that gets its name in the end, or into a pipe."""
