"""Pictures that show what a detector saw and what it made of it."""
