"""Configurations: presets, files on top of them, one source alone."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest

from nextreel.assembly import Config, ConfigError, Preset, load_config, only, preset


def test_a_file_changes_what_it_names_and_leaves_the_rest_of_the_preset(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text("ranked = 50\n[two_tower]\nepochs = 3\n", encoding="utf-8")
    for name in get_args(Preset):
        found, base = load_config(file, name), preset(name)
        assert (found.ranked, found.two_tower.epochs) == (50, 3)
        assert found.two_tower.model_copy(update={"epochs": base.two_tower.epochs}) == base.two_tower
        assert (found.ease, found.item_item) == (base.ease, base.item_item)


def test_the_research_preset_has_larger_towers_and_nothing_else_of_its_own() -> None:
    plain, large = preset("default"), preset("research")
    assert large.two_tower.dim > plain.two_tower.dim
    assert large.model_copy(update={"two_tower": plain.two_tower}) == plain


@pytest.mark.parametrize(
    ("text", "told"), [("rankd = 5", "rankd"), ("[two_tower]\ndim = 'wide'", "two_tower.dim"), ("ranked =", "TOML")]
)
def test_a_file_that_cannot_be_read_is_refused_with_what_is_wrong(tmp_path: Path, text: str, told: str) -> None:
    file = tmp_path / "config.toml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=told):
        load_config(file)


def test_one_source_alone_has_the_only_quota() -> None:
    quotas = only(Config(), "ease").quotas.model_dump()
    assert {name for name, quota in quotas.items() if quota > 0} == {"ease"}
    assert only(Config(), "popular_1d").quotas.popular_1d == 1  # one that has none by default
    with pytest.raises(ConfigError, match="No source 'magic'"):
        only(Config(), "magic")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("per_place = inf", "per_place"),
        ("[order]\nfreshness = inf", "order.freshness"),
        ("[order.dpp]\nstrength = inf", "order.dpp.strength"),
        ("[order.explore]\nnovelty = nan", "order.explore.novelty"),
        ("[als]\nhalf_life_days = inf", "als.half_life_days"),
        ("[moments]\nhorizon_days = inf", "moments.horizon_days"),
    ],
)
def test_infinity_and_nan_are_no_value_of_any_parameter(tmp_path: Path, text: str, told: str) -> None:
    file = tmp_path / "config.toml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=f"{told}: Input should be a finite number"):
        load_config(file)
