"""What the guard and the memory would have said about recorded agent runs."""
