"""Whether a config can be what its writer means, asked before anything is built."""
