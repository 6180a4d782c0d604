"""What is remembered of an object as long as it lives."""

from pinntk._util.registry import WeakRegistry
from tests.support.networks import build


def test_keys_are_forgotten_with_their_object():
    seen, thing = WeakRegistry(), build("plain", 1)
    assert seen.first(thing, "a") and not seen.first(thing, "a") and seen.first(thing, "b")
    assert seen.first(build("plain", 1), "a")
    del thing
    assert not seen._known
