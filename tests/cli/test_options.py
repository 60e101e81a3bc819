from __future__ import annotations

import pytest

from nextreel.cli.options import moment
from nextreel.types import NextreelError


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("978133380", 978133380.0),
        ("1.5", 1.5),
        ("2000-12-29T23:43:00", 978133380.0),
        ("2000-12-29T23:43:00Z", 978133380.0),
        ("2000-12-30T00:43:00+01:00", 978133380.0),
        ("1970-01-02", 86400.0),
    ],
)
def test_a_time_is_seconds_or_iso_and_utc_without_a_zone(text: str, time: float) -> None:
    assert moment(text) == time


def test_now_asks_the_clock_and_the_other_words_stay_words() -> None:
    assert moment("now", clock=lambda: 7.0) == 7.0
    assert (moment("end"), moment("last")) == ("end", "last")


@pytest.mark.parametrize("text", ["yesterday", "", "nan", "inf", "-inf"])
def test_what_is_no_time_is_refused_with_the_forms_that_are(text: str) -> None:
    with pytest.raises(NextreelError, match=r"Expected `end`, `last`, `now` or a time .* Hint: "):
        moment(text)
