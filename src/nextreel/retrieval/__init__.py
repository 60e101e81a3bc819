"""Sources of candidates: each proposes rows from the whole catalogue, best first."""
