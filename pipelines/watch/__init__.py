"""A folder that is watched: what comes in is found, done once, and mirrored."""
