"""`nextreel train`: from a folder of interactions to a promoted release."""

from __future__ import annotations

from nextreel.cli.options import HOME, ConfigFile, Data, Home
from nextreel.cli.progress import bars
from nextreel.cli.show import out


def train(data: Data, config: ConfigFile = None, home: Home = HOME) -> None:
    """Train a recommender, publish it as a release and promote it; prints the release's id.

    Choices (epochs, trees) are made on the last part of the data; the release is then fitted on all of it.
    The state of every person is left in the home, and later events move it on.
    """
    from nextreel import training
    from nextreel.assembly import load_config
    from nextreel.data import load

    settings = load_config(config)
    with bars() as progress:
        release = training.train(load(data), settings, home, progress)
    out.print(release)
