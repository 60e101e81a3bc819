"""Training: retrievers, then a replay that makes the ranker's rows, then the ranker, then all of it into a release."""
