"""`nextreel users`: forgetting people, and looking whether anything is left of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from nextreel.cli import show
from nextreel.cli.options import HOME, FeatureLog, Home

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from pathlib import Path

    from nextreel.forgetting import Places
    from nextreel.types import UserId

app = typer.Typer(help="Forget people, and see that nothing is left of them.", no_args_is_help=True)

LEFT = 1  # exit code of `verify-deleted` when something is left

User = Annotated[str, typer.Argument(help="The id of the user, as the data have it.")]


@app.command()
def forget(user: User, home: Home = HOME, feature_log: FeatureLog = None) -> None:
    """Remove all that the home knows of a user; servers that run follow within a moment."""
    import time

    from nextreel import forgetting

    with _places(home, feature_log) as places:
        receipt = forgetting.forget(places, _id(places, user), time.time())
    show.out.print(show.rows("Forgotten", [{"place": place, "removed": n} for place, n in receipt.counts.items()]))
    show.out.print(f"Receipt {receipt.receipt_id} of {receipt.erased_at}; releases searched: {len(receipt.releases)}")


@app.command("verify-deleted")
def verify_deleted(user: User, home: Home = HOME, feature_log: FeatureLog = None) -> None:
    """Look into every place for what is left of a user who was forgotten; exit code 1 when anything is."""
    from nextreel import forgetting

    with _places(home, feature_log) as places:
        user_id = _id(places, user)
        receipt = forgetting.receipt_of(places, user_id)
        if receipt is None:
            show.out.print(
                f"No receipt: this user was never forgotten. Next: nextreel users forget {user}", markup=False
            )
            raise typer.Exit(LEFT)
        found = forgetting.left(places, user_id, receipt)
    show.out.print(
        show.rows("Left", [{"place": one.place, "found": one.found, "of a newcomer": one.since} for one in found])
    )
    where = [one.place for one in found if one.found]
    if where:
        show.out.print(f"Something is left in: {', '.join(where)}. Next: nextreel users forget {user}", markup=False)
        raise typer.Exit(LEFT)
    show.out.print(f"Nothing is left, receipt {receipt.receipt_id} of {receipt.erased_at}")


def _places(home: Path, feature_log: Path | None) -> AbstractContextManager[Places]:
    """Where the home keeps what people did, by the same settings as a server's."""
    from nextreel.opening import opened_places
    from nextreel.settings import get_settings

    settings = get_settings()
    return opened_places(home, settings.shared_url, settings.event_log_url, feature_log or settings.feature_log)


def _id(places: Places, text: str) -> UserId:
    """The id as the data have it: an integer where those of the newest snapshot are."""
    from nextreel.store.snapshots import people_of
    from nextreel.types import integer_or_text

    integers = any(isinstance(one, int) for folder in [*places.states().values()][-1:] for one in people_of(folder)[:1])
    return integer_or_text(text) if integers else text
