"""What kipuka tells the people who run it."""
