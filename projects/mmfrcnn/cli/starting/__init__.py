"""What `mmfrcnn new` does: chooses from what the data is, and writes it as a config."""
