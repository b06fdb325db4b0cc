"""A loss or a gradient that is not finite: kept out, said, dumped, replayed."""
