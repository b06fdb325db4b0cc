"""What a folder of a user's holds: its format, its splits, pictures that are alike."""
