"""What takes too long for each commit: kills, fuzz and long runs, each a command."""
