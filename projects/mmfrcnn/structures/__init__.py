"""The nouns that flow between the steps, each for a whole batch in fixed slots."""
