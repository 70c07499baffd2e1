"""Who listens gets every call of their tenant (I6), or is told how many were missed; memory is bounded (I9)."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from gatehouse.collector.feed import Feed, Listener, TooManyListenersError


def _listen(feed: Feed, tenant: str = "a", after: str | None = None) -> tuple[Listener, list[int]]:
    woken: list[int] = []
    return feed.listen(tenant, lambda: woken.append(1), after), woken


def _refuse(_number: int) -> tuple[str, str]:
    raise AssertionError("nobody listens")


def _publish(feed: Feed, *calls: str, tenant: str = "a") -> None:
    feed.publish((tenant, call) for call in calls)


def test_without_listeners_nothing_is_looked_at() -> None:
    def never() -> Iterator[tuple[str, str]]:
        yield from map(_refuse, range(1))

    feed = Feed(linger=0)
    feed.publish(never())
    listener, _ = _listen(feed)
    listener.close()
    _publish(feed, "x")  # forgets the channel
    feed.publish(never())


def test_each_listener_gets_all_of_its_tenant_in_order() -> None:
    """I6."""
    feed = Feed()
    first, woken = _listen(feed)
    other, unwoken = _listen(feed, "b")
    _publish(feed, "1", "2", "3")
    second, _ = _listen(feed)
    _publish(feed, "4")
    assert (first.take(2), first.take(9), first.take(9)) == ((["1", "2"], 0), (["3", "4"], 0), ([], 0))
    assert second.take(9) == (["4"], 0)
    assert (other.take(9), len(woken), unwoken) == (([], 0), 2, [])
    first.close()
    _publish(feed, "5")
    assert len(woken) == 2


def test_who_cannot_keep_up_is_told_and_goes_on_from_now() -> None:
    """I9: whatever is not read, only the last `kept` are held."""
    feed = Feed(kept=3)
    listener, _ = _listen(feed)
    _publish(feed, *"123")
    assert listener.take(1) == (["1"], 0)
    _publish(feed, *"4567")
    assert listener.take(9) == ([], 6)
    _publish(feed, *"89")
    assert listener.take(9) == (["8", "9"], 0)
    _publish(feed, *"abc")
    assert listener.take(9) == (["a", "b", "c"], 0)


def test_going_on_after_an_event() -> None:
    feed = Feed()
    first, _ = _listen(feed)
    _publish(feed, *"1234")
    first.take(3)
    places = [first.place_before(2), first.place]
    first.close()
    again = [_listen(feed, after=place)[0] for place in places]
    assert [listener.take(9) for listener in again] == [(["2", "3", "4"], 0), (["4"], 0)]
    for listener in again:
        listener.close()
    _publish(feed, "5")  # while nobody listens: one may come back
    assert _listen(feed, after=places[1])[0].take(9) == (["4", "5"], 0)


@pytest.mark.parametrize("after", ["", "x", "-", "{epoch}-", "{epoch}-x", "{epoch}-1", "{epoch}-" + "9" * 24, "00-5"])
def test_an_event_nobody_knows_here(after: str) -> None:
    """Of another process, made up, or of a time that is forgotten: what was missed cannot be told."""
    feed = Feed()
    listener, _ = _listen(feed)
    epoch = listener.place.partition("-")[0]
    again, _ = _listen(feed, after=after.format(epoch=epoch))
    _publish(feed, "1")
    assert again.take(9) == (["1"], None)
    assert again.take(9) == ([], 0)


def test_a_forgotten_channel_is_not_taken_for_a_new_one() -> None:
    feed = Feed(linger=0)
    listener, _ = _listen(feed)
    _publish(feed, "1", "2")
    listener.take(1)
    place = listener.place
    listener.close()
    assert _listen(feed, after=place)[0].take(9).missed is None


def test_listeners_are_bounded() -> None:
    feed = Feed(listeners=2)
    first, _ = _listen(feed)
    _listen(feed, "b")
    with pytest.raises(TooManyListenersError):
        _listen(feed)
    first.close()
    first.close()
    _listen(feed)


def test_the_end_wakes_everybody() -> None:
    feed = Feed()
    _, woken = _listen(feed)
    feed.close()
    assert feed.closed and woken == [1]


def test_one_thread_publishes_while_another_takes() -> None:
    feed = Feed(kept=50_000)
    listener, _ = _listen(feed)
    wanted = [str(n) for n in range(8_000)]

    def publish() -> None:
        for at in range(0, len(wanted), 100):
            _publish(feed, *wanted[at : at + 100])

    publishing = threading.Thread(target=publish)
    publishing.start()
    found: list[str] = []
    while publishing.is_alive() or len(found) < len(wanted):
        calls, missed = listener.take(77)
        assert missed == 0
        found += calls
        if not calls and not publishing.is_alive():
            found += listener.take(10**6).calls
            break
    publishing.join(10)
    assert found == wanted
