"""Frozen dataclasses that are quick to define behave as the standard ones do."""

from __future__ import annotations

import copy
import dataclasses
import pickle

import pytest

from trio_livekit._sansio.records import dataclass


@dataclass(frozen=True, slots=True)
class Point:
    x: int
    y: int = 0
    secret: str = dataclasses.field(default="hush", repr=False)

    def moved(self) -> Point:
        return dataclasses.replace(self, x=self.x + 1)


@dataclass(frozen=True, slots=True)
class Place(Point):
    names: tuple[str, ...] = ()
    tags: dict[str, str] = dataclasses.field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Shown:
    value: int

    def __repr__(self) -> str:
        return "shown"


@dataclasses.dataclass(frozen=True, slots=True)
class Standard:
    x: int
    y: int = 0
    secret: str = dataclasses.field(default="hush", repr=False)


def test_fields_defaults_and_factories():
    place = Place(1, names=("here",))
    assert (place.x, place.y, place.secret, place.names, place.tags) == (1, 0, "hush", ("here",), {})
    assert place.tags is not Place(1).tags
    with pytest.raises(TypeError):
        Point()


def test_compared_by_class_and_values():
    assert Point(1, 2) == Point(1, 2) != Point(2, 1)
    assert Point(1, 2) != Standard(1, 2)
    assert Place(1) != Point(1)
    assert hash(Point(1, 2)) == hash(Point(1, 2)) == hash(Standard(1, 2))


@pytest.mark.parametrize("name", ["x", "y", "nothing"])
def test_never_changes(name):
    point = Point(1)
    with pytest.raises((dataclasses.FrozenInstanceError, AttributeError)):
        setattr(point, name, 5)
    with pytest.raises((dataclasses.FrozenInstanceError, AttributeError)):
        delattr(point, name)
    assert point == Point(1)


def test_shown_as_the_standard_ones():
    assert repr(Point(1, 2)) == repr(Standard(1, 2)).replace("Standard", "Point") == "Point(x=1, y=2)"
    assert repr(Shown(1)) == "shown"


def test_has_slots_and_matches():
    assert not hasattr(Point(1), "__dict__")
    match Point(1, 2):
        case Point(x, y):
            assert (x, y) == (1, 2)


def test_replaced_copied_and_pickled():
    point = Point(1, 2)
    assert point.moved() == Point(2, 2)
    assert copy.deepcopy(point) == copy.copy(point) == pickle.loads(pickle.dumps(point)) == point
