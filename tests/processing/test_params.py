"""Parameters from files: what may stand there, and what is said of what may not."""

from __future__ import annotations

from pathlib import Path

import pytest

from nextreel.processing import ProcessingError, ProcessingParams, load_params


def written(folder: Path, text: str, name: str = "given.yaml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_without_a_file_the_parameters_are_the_defaults() -> None:
    assert load_params(None) == ProcessingParams()
    assert load_params(None, seed=None, negative_ratio=5) == ProcessingParams(negative_ratio=5)


def test_yaml_and_toml_say_the_same(tmp_path: Path) -> None:
    yaml = written(tmp_path, "negative_ratio: 5\nrelevance:\n  click: 0.5\nencoders:\n  tags: {dim: 8}\n")
    toml = written(tmp_path, "negative_ratio = 5\nrelevance.click = 0.5\nencoders.tags.dim = 8\n", "given.toml")
    assert load_params(yaml) == load_params(toml)
    assert load_params(yaml).encoders.tags.dim == 8
    assert load_params(written(tmp_path, "")) == ProcessingParams()


def test_what_is_given_beside_a_file_goes_before_it(tmp_path: Path) -> None:
    path = written(tmp_path, "seed: 1\nnegative_ratio: 2\n")
    assert load_params(path, seed=7, negative_ratio=None) == ProcessingParams(seed=7, negative_ratio=2)
    assert load_params(path, negative_ratio=0).negative_ratio == 0


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("negatives: 3\nrelevance: {cilck: 1}\n", ["negatives: Extra inputs", "relevance.cilck: Extra inputs"]),
        ("history: many\nvisit_minutes: 0\n", ["history: Input should be a valid integer", "visit_minutes: Input"]),
        ("negative_ratio: -1\n", ["negative_ratio: Input should be greater than or equal to 0"]),
        ("negative_ratio: 2.5\n", ["negative_ratio"]),
        ("train: 0.9\nval: 0.1\n", ["train + val must leave something for the test part"]),
        ("train: .nan\n", ["train: Input should be"]),
        ("counters_every: .inf\n", ["counters_every: Input should be a finite number"]),
        ("visit_minutes: .inf\n", ["visit_minutes: Input should be a finite number"]),
        ("1: 2\n", ["1"]),
        ("- a\n- b\n", ["Expected names and values", "got a list"]),
        ("just words", ["got a str"]),
        ("a: [1\n", ["Expected YAML or TOML"]),
        ("relevance: 3\n", ["relevance: "]),
    ],
)
def test_every_problem_of_a_file_is_named(tmp_path: Path, text: str, told: list[str]) -> None:
    with pytest.raises(ProcessingError) as error:
        load_params(written(tmp_path, text))
    for one in told:
        assert one in str(error.value)
    assert "given.yaml" in str(error.value)


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(ProcessingError, match="No such file"):
        load_params(tmp_path / "none.yaml")
    with pytest.raises(ProcessingError, match="Expected a readable file"):
        load_params(tmp_path)
    (tmp_path / "bad.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ProcessingError, match="Expected YAML or TOML"):
        load_params(tmp_path / "bad.yaml")
    with pytest.raises(ProcessingError, match="Expected YAML or TOML"):
        load_params(written(tmp_path, "a: 1", "given.toml"))


def test_a_wrong_value_on_the_command_line_is_told_without_a_file() -> None:
    with pytest.raises(ProcessingError, match="Parameters: negative_ratio"):
        load_params(None, negative_ratio=-1)
