"""The places of a backend's processes: who is served, and who has to go. No process, and no trio."""

from __future__ import annotations

from collections.abc import Iterable

import attrs
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from claude_trio._pool import Pool, Ticket


@attrs.define(eq=False)
class Place:
    """A pool of named sessions, and what it has done."""

    size: int | None
    evicted: list[str] = attrs.field(factory=list)
    served: list[str] = attrs.field(factory=list)
    pool: Pool[str] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.pool = Pool(self.size, self.evicted.append)

    def ask(
        self, who: str, name: str | None = None, *, spare: bool = False, again: bool = False
    ) -> Ticket[str]:
        ticket: Ticket[str] = Ticket(name=name, spare=spare, again=again)
        ticket.serve = lambda: self.served.append(who)
        self.pool.ask(ticket)
        return ticket

    def start(self, session: str) -> None:
        ticket = self.ask(session)
        assert session == self.served.pop()
        self.pool.enter(ticket, session)

    def idle(self, session: str, names: Iterable[str] = (), *, spare: bool = False) -> None:
        self.start(session)
        self.pool.rest(session, names, spare)


def test_places_are_given_up_to_the_size() -> None:
    place = Place(2)
    for session in ("a", "b"):
        place.start(session)
    place.ask("c")
    assert ([], 1, 2) == (place.served, place.pool.waiting, place.pool.places)
    place.pool.leave("a")
    assert (["c"], 0, 2) == (place.served, place.pool.waiting, place.pool.places)


def test_without_a_size_there_is_always_a_place() -> None:
    place = Place(None)
    for number in range(100):
        place.start(str(number))
    assert 100 == place.pool.places


def test_an_idle_session_that_is_asked_for_is_taken_and_holds_its_place() -> None:
    place = Place(2)
    place.idle("a", {"one"})
    place.idle("b", {"two", "three"})
    ticket = place.ask("x", "three")
    assert (["x"], "b", ("a",)) == (place.served, ticket.session, place.pool.idle)
    place.pool.keep(ticket)
    assert 2 == place.pool.places


def test_a_session_of_the_right_name_may_still_not_fit() -> None:
    place = Place(2)
    place.idle("a", {"one"})
    ticket: Ticket[str] = Ticket(name="one", fits=lambda _: 0)
    place.pool.ask(ticket)
    assert (None, 2) == (ticket.session, place.pool.places)


def test_of_several_that_fit_the_best_one_is_taken() -> None:
    place = Place(3)
    for session in ("a", "b", "c"):
        place.idle(session, {"one"})
    ticket: Ticket[str] = Ticket(name="one", fits=lambda session: 1 if session == "a" else 2)
    place.pool.ask(ticket)
    assert ("b", ("a", "c")) == (ticket.session, place.pool.idle)


def test_the_least_recently_used_one_is_evicted_and_its_place_comes_when_it_has_ended() -> None:
    place = Place(2)
    place.idle("a", {"one"})
    place.idle("b")
    place.pool.keep(place.ask("x", "one"))
    place.pool.rest("a", {"one"})
    place.ask("y")
    assert (["b"], ["x"], ("a",)) == (place.evicted, place.served, place.pool.idle)
    place.pool.leave("b")
    assert ["x", "y"] == place.served


def test_one_who_waits_has_one_session_evicted_and_no_more() -> None:
    place = Place(3)
    for session in ("a", "b", "c"):
        place.idle(session)
    place.ask("x")
    place.ask("y")
    assert ["a", "b"] == place.evicted


def test_a_session_that_becomes_idle_makes_room_for_the_first_that_waits() -> None:
    place = Place(1)
    place.start("a")
    first = place.ask("x")
    place.ask("y", "mine")
    place.pool.rest("a", {"mine"})
    assert ["a"] == place.evicted
    place.pool.leave("a")
    assert ["x"] == place.served
    place.pool.enter(first, "b")
    place.pool.rest("b", ())
    assert ["a", "b"] == place.evicted


def test_a_session_that_becomes_idle_is_taken_by_the_first_that_waits_if_it_fits() -> None:
    place = Place(1)
    place.start("a")
    ticket = place.ask("x", "mine")
    place.pool.rest("a", {"mine"})
    assert (["x"], "a", []) == (place.served, ticket.session, place.evicted)


def test_a_session_that_nobody_before_needs_is_taken_by_who_continues_it() -> None:
    place = Place(2)
    place.idle("a")
    place.start("b")
    place.ask("x")  # will have the place of the one that is evicted
    place.pool.rest("b", {"mine"})
    ticket = place.ask("y", "mine")
    assert (["a"], ["y"], "b") == (place.evicted, place.served, ticket.session)


def test_one_who_gives_up_leaves_the_line() -> None:
    place = Place(1)
    place.start("a")
    first = place.ask("x")
    place.ask("y")
    place.pool.withdraw(first)
    place.pool.leave("a")
    assert ["y"] == place.served


def test_one_who_gives_up_a_place_that_was_given_passes_it_on() -> None:
    place = Place(1)
    first = place.ask("x")
    place.ask("y")
    assert ["x"] == place.served
    place.pool.withdraw(first)
    assert (["x", "y"], 1) == (place.served, place.pool.places)


def test_one_who_gives_up_a_session_that_was_given_passes_it_on() -> None:
    place = Place(1)
    place.idle("a", {"mine"})
    first = place.ask("x", "mine")
    second = place.ask("y", "mine")
    place.pool.withdraw(first)
    assert (["x", "y"], "a") == (place.served, second.session)


def test_one_who_gives_up_a_session_that_has_ended_meanwhile_gives_back_nothing() -> None:
    place = Place(1)
    place.idle("a", {"mine"})
    ticket = place.ask("x", "mine")
    place.pool.leave("a")
    place.pool.withdraw(ticket)
    assert ((), 0) == (place.pool.idle, place.pool.places)


def test_one_who_was_served_in_vain_comes_before_those_who_came_later() -> None:
    place = Place(1)
    place.start("a")
    place.ask("x")
    place.ask("y", again=True)
    place.ask("z", again=True)
    for session in ("a", "y", "z"):
        place.pool.leave(session)
        who = place.served[-1]
        place.pool.enter(next(t for t in place.pool._holders if isinstance(t, Ticket)), who)
    assert ["y", "z", "x"] == place.served


def test_the_place_of_one_that_is_being_ended_is_waited_for() -> None:
    place = Place(2)
    place.idle("a")
    place.idle("b")
    place.pool.expect("b")
    place.ask("x")
    assert ([], [], ("a",)) == (place.evicted, place.served, place.pool.idle)
    place.pool.leave("b")
    assert (["x"], ("a",)) == (place.served, place.pool.idle)


def test_one_who_gives_up_a_session_that_is_being_ended_does_not_offer_it() -> None:
    place = Place(1)
    place.idle("a", {"mine"})
    ticket = place.ask("x", "mine")
    place.pool.expect("a")
    place.pool.withdraw(ticket)
    place.ask("y", "mine")
    assert ((), ["x"], 1) == (place.pool.idle, place.served, place.pool.places)


def test_one_that_has_ended_is_not_expected_to_end() -> None:
    place = Place(1)
    place.start("a")
    place.pool.leave("a")
    place.pool.expect("a")
    place.idle("b")
    place.ask("x")
    assert ["b"] == place.evicted


def test_spares_come_after_everybody_else() -> None:
    place = Place(1)
    place.start("a")
    place.ask("spare", spare=True)
    place.ask("x")
    place.pool.leave("a")
    assert ["x"] == place.served


def test_a_spare_has_a_used_session_evicted_and_never_another_spare() -> None:
    place = Place(2)
    place.idle("ready", {"fresh"}, spare=True)
    place.start("a")
    place.ask("spare", spare=True)
    assert [] == place.evicted
    place.pool.rest("a", ())
    assert ["a"] == place.evicted


def test_a_spare_is_evicted_only_when_no_other_one_is_idle() -> None:
    place = Place(2)
    place.idle("ready", {"fresh"}, spare=True)
    place.idle("a")
    place.ask("x")
    place.ask("y")
    assert ["a", "ready"] == place.evicted


def test_when_it_is_closed_whoever_waits_is_told() -> None:
    place = Place(1)
    place.start("a")
    ticket = place.ask("x")
    place.pool.close()
    assert (["x"], None, 1) == (place.served, ticket.session, place.pool.places)


class AnyOrder(RuleBasedStateMachine):
    """Any sequence of what can happen, with sessions that know one of three conversations."""

    def __init__(self) -> None:
        super().__init__()
        self.pool: Pool[int] = Pool(3, self.evict)
        self.busy: list[int] = []
        self.spares: list[int] = []
        self.ending: list[int] = []
        self.waiting: list[Ticket[int]] = []
        self.held: list[Ticket[int]] = []
        self.number = 0

    def evict(self, session: int) -> None:
        assert session not in self.busy
        self.ending.append(session)

    @rule(name=st.sampled_from(["a", "b", "c", None]), kind=st.sampled_from(["", "spare", "again"]))
    def ask(self, name: str | None, kind: str) -> None:
        spare, again = kind == "spare", kind == "again"
        ticket: Ticket[int] = Ticket(name=None if spare else name, spare=spare, again=again)
        ticket.serve = lambda: self.serve(ticket)
        self.waiting.append(ticket)
        self.pool.ask(ticket)

    def serve(self, ticket: Ticket[int]) -> None:
        if ticket.session is None:  # a place: in turn
            assert ticket is min(self.waiting, key=lambda other: (other.spare, not other.again))
        self.waiting.remove(ticket)
        self.held.append(ticket)

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def use(self, data: st.DataObject) -> None:
        ticket = data.draw(st.sampled_from(self.held))
        self.held.remove(ticket)
        if ticket.session is None:
            self.number += 1
            self.pool.enter(ticket, self.number)
            (self.spares if ticket.spare else self.busy).append(self.number)
        else:
            self.pool.keep(ticket)
            self.busy.append(ticket.session)

    @precondition(lambda self: self.held or self.waiting)
    @rule(data=st.data())
    def give_up(self, data: st.DataObject) -> None:
        ticket = data.draw(st.sampled_from([*self.held, *self.waiting]))
        (self.held if ticket in self.held else self.waiting).remove(ticket)
        self.pool.withdraw(ticket)

    @precondition(lambda self: self.busy)
    @rule(data=st.data(), name=st.sampled_from(["a", "b", "c"]))
    def rest(self, data: st.DataObject, name: str) -> None:
        session = data.draw(st.sampled_from(self.busy))
        self.busy.remove(session)
        self.pool.rest(session, {name})

    @precondition(lambda self: self.spares)
    @rule()
    def get_ready(self) -> None:
        self.pool.rest(self.spares.pop(), {"fresh"}, spare=True)

    @precondition(lambda self: self.busy or self.pool.idle)
    @rule(data=st.data())
    def expect(self, data: st.DataObject) -> None:
        session = data.draw(st.sampled_from([*self.busy, *self.pool.idle]))
        if session in self.busy:
            self.busy.remove(session)
        self.ending.append(session)
        self.pool.expect(session)

    @precondition(lambda self: self.busy or self.ending or self.pool.idle)
    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        session = data.draw(st.sampled_from([*self.busy, *self.ending, *self.pool.idle]))
        for some in (self.busy, self.ending):
            if session in some:
                some.remove(session)
        self.pool.leave(session)

    @invariant()
    def there_are_never_more_than_there_are_places(self) -> None:
        taken = sum(ticket.session is not None for ticket in self.held)
        known = [*self.busy, *self.spares, *self.ending, *self.pool.idle]
        places = sum(ticket.session is None for ticket in self.held)
        assert len(known) + places <= self.pool.places <= len(known) + places + taken
        assert self.pool.places <= 3

    @invariant()
    def nobody_waits_for_what_is_there(self) -> None:
        assert len(self.waiting) == self.pool.waiting
        callers = [ticket for ticket in self.waiting if not ticket.spare]
        if self.waiting:
            assert 3 == self.pool.places
        if len(callers) > len(self.ending):
            assert () == self.pool.idle
        for ticket in callers:
            assert not any(ticket.name in names for names in self.pool._idle.values())


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
