"""What is still known after segmentations: conversations, ways to make a context, and their judge."""
