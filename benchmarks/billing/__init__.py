"""The parts of the bill: caches, prices, transcripts, contestants, and the replay that joins them."""
