"""How the synthetic world is made: words, people, videos, the truth about them, what is shown and what is done."""
