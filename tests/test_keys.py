"""Keys are random, kept as digests, and open what their entry says."""

from __future__ import annotations

from hashlib import sha256

import pytest

from nextreel import keys
from nextreel.keys import ApiKey, Scope, WrongKey

DIGEST = "0123456789abcdef" * 4


def test_a_new_key_is_found_by_the_entry_that_is_printed_and_is_not_in_it() -> None:
    key, kept = keys.new("web", ["write", "read"])
    entry = kept.entry()
    assert entry == f"web:read+write:sha256-{sha256(key.encode()).hexdigest()}"
    assert key.removeprefix("nextreel_") not in entry
    assert keys.find(keys.parse(entry), key) == kept == ApiKey("web", frozenset({"read", "write"}), keys.digest(key))


def test_new_keys_are_long_random_and_known_by_their_look() -> None:
    made = {keys.new("web", ["read"])[0] for _ in range(100)}
    assert len(made) == 100
    assert all(len(key) == len("nextreel_") + 43 and keys.LOOKS_LIKE.fullmatch(key) for key in made)


@pytest.mark.parametrize("scope", keys.SCOPES)
def test_a_scope_opens_nothing_else(scope: Scope) -> None:
    assert keys.new("web", [scope])[1].scopes == {scope}


def test_a_key_that_stands_there_itself_may_read_and_write_and_is_not_kept() -> None:
    (kept,) = keys.parse(" first-key-of-twenty ,")
    assert kept == ApiKey("key-1", frozenset({"read", "write"}), keys.digest("first-key-of-twenty"))
    assert "first" not in repr(kept)


def test_each_key_is_found_among_all_and_no_other() -> None:
    made = [keys.new(name, ["read"]) for name in ("a", "b", "c")]
    kept = [one for _, one in made]
    assert [keys.find(kept, key) for key, _ in made] == kept
    assert keys.find(kept, made[0][0][:-1]) is None
    assert keys.find(kept, kept[0].digest.hex()) is None
    assert keys.find(kept, "") is None
    assert keys.find([], "") is None


WRONG = {
    "short": ("hunter2", "key 1 must be at least 16 ASCII characters, it has 7"),
    "not ASCII": ("é" * 20, "key 1 must be at least 16 ASCII"),
    "a digit is missing": (f"web:read:sha256-{DIGEST[:-1]}", "64 hexadecimal digits"),
    "another hash": (f"web:read:md5-{DIGEST}", "64 hexadecimal digits"),
    "no scopes": (f"web:sha256-{DIGEST}", "NAME:SCOPE"),
    "an empty scope": (f"web::sha256-{DIGEST}", "scopes read, write, admin"),
    "an unknown scope": (f"web:read+root:sha256-{DIGEST}", "scopes read, write, admin"),
    "an odd name": (f"w b:read:sha256-{DIGEST}", "Expected a name"),
    "a plain key with a colon": ("a-plain-key:of-thirty-letters", "without colons"),
    "twice the same key": ("first-key-of-twenty,first-key-of-twenty", "keys 1 and 2 have the same key"),
    "a name twice": (f"a:read:sha256-{DIGEST},a:read:sha256-{DIGEST[::-1]}", "keys 1 and 2 have the same name"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_entry_is_refused_and_not_repeated(case: str) -> None:
    text, told = WRONG[case]
    with pytest.raises(WrongKey, match=told) as raised:
        keys.parse(text)
    for part in text.replace(":", ",").split(","):
        assert len(part) < 7 or part not in str(raised.value)
