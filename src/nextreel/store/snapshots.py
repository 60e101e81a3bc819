"""The states that training leaves beside a release: written once, and changed for one reason, to forget people."""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

from nextreel.backends import open_key_value
from nextreel.folders import whole
from nextreel.store.codec import encode, key_of
from nextreel.store.memory import MemoryStore
from nextreel.types import UserId

COUNTERS, USERS, ABOUT, PEOPLE = "counters.npz", "users.db", "state.json", "people.json"
_READ_ONLY, _WRITABLE = 0o444, 0o644


def state_folder(home: Path, release: str) -> Path:
    """Where the state of a release lives."""
    return home / "state" / release


def write_snapshot(store: MemoryStore, folder: Path) -> None:
    """Leaves the store's states and counters in the folder, for `LiveStore` to go on from."""
    folder.mkdir(parents=True, exist_ok=False)
    store.counters.save(folder / COUNTERS)
    backend = open_key_value(f"sqlite://{folder / USERS}")
    try:
        backend.put_many([(key_of(user_id), encode(state), 0) for user_id, state in store.states.items()])
    finally:
        backend.close()
    (folder / PEOPLE).write_text(json.dumps(list(store.states)), encoding="utf-8")
    (folder / ABOUT).write_text(json.dumps({"newest_at": store.counters.newest_at}), encoding="utf-8")
    for name in (COUNTERS, USERS, PEOPLE, ABOUT):
        (folder / name).chmod(_READ_ONLY)


def newest_at(folder: Path) -> float:
    """Time of the newest event that is in the snapshot."""
    found: float = json.loads((folder / ABOUT).read_text(encoding="utf-8"))["newest_at"]
    return found


def people_of(folder: Path) -> list[UserId]:
    """Everybody whose state is in the snapshot."""
    found: list[UserId] = json.loads((folder / PEOPLE).read_text(encoding="utf-8"))
    return found


def holds(folder: Path, user_id: UserId) -> tuple[bool, bool]:
    """Whether the snapshot has a state of the person, and names them among its people."""
    with closing(open_key_value(f"sqlite://{folder / USERS}")) as states:
        return states.get_many([key_of(user_id)]) != [None], user_id in people_of(folder)


def erase_people(folder: Path, user_ids: Iterable[UserId]) -> tuple[int, int]:
    """How many states and names of these people were in the snapshot; no byte of its files holds them any more.

    Processes that serve from the snapshot go on, and find them gone.
    """
    gone = dict.fromkeys(user_ids)
    users, people = folder / USERS, folder / PEOPLE
    users.chmod(_WRITABLE)
    try:
        with closing(open_key_value(f"sqlite://{users}")) as states:
            erased = states.erase([(key_of(user_id), None) for user_id in gone])
    finally:
        users.chmod(_READ_ONLY)
    before = people_of(folder)
    left = [one for one in before if one not in gone]
    if len(left) < len(before):
        with whole(people) as path:
            path.write_text(json.dumps(left), encoding="utf-8")
        people.chmod(_READ_ONLY)
    return erased, len(before) - len(left)
