"""Re-issue on top of an adopted history what the old one held and the new one has not seen.

Ops keep their content and carry `origin`, the id under which they were first known, so that of
several peers that re-issue one op only the first has an effect. What the old history had trimmed
comes as deletions, moves, initialisations, sets and inserts (spec: document, Adoption).

Ops that share their id with other ones (a restored backup wrote on) get an origin under an author
that follows from what they say: whoever holds them calls them alike.
"""

from __future__ import annotations

from collections.abc import Set

from cytosol.crdt.contents import digest_of
from cytosol.crdt.inner import InnerEffects
from cytosol.crdt.names import OFFSET_BITS
from cytosol.crdt.replica import Replica
from cytosol.crdt.retarget import Retarget
from cytosol.crdt.retention import Vector, lacks, vectors
from cytosol.crdt.tree import MISSING, Found, Place, Step
from cytosol.crdt.twins import Known, content
from cytosol.limits import LAMPORT_LEAP_MAX
from cytosol.model.ids import OpId, PeerId
from cytosol.model.json import JsonValue
from cytosol.model.op import Body, Kind, Link, Name, Op, Side, Spot, map_names

__all__ = ["reissue"]

Piece = tuple[Body, Name | None]
"""What makes a part of a base, and its origin."""


def reissue(
    old: Replica,
    new: Replica,
    unknown_since: int | None = None,
    hidden: Set[PeerId] = frozenset(),
) -> int:
    """Bring into `new` what only `old` has; return how much of it became ops of `new`'s author.

    `unknown_since`, if given, says that our history and the new one diverged under `old`'s author,
    and after which index nobody else can know what `old` wrote. `hidden` are the authors of which
    the two hold something else at or below the new trim point.
    """
    # Dates must lie before the ids of the ops that carry them, and leaps are limited.
    new.clock = max(new.clock, min(old.clock, new.clock + LAMPORT_LEAP_MAX // 2))
    known, rest, tainted = _keep_what_fits(old, new, unknown_since, hidden)
    issuer = _Issuer(old, new)
    count = 0
    if old.trim is not None and lacks(new.latest, old.trimmed):
        rows = old.rewind(0)
        base = _Base(old, issuer)
        for body, origin in [*base.deletions(), *base.contents()]:
            issuer.issue(body, 0, origin)
            count += 1
        if rows:
            old.reinsert(rows)
    return count + _reissue_ops(rest, tainted, known, issuer)


def _keep_what_fits(
    old: Replica, new: Replica, unknown_since: int | None, hidden: Set[PeerId]
) -> tuple[Known, list[Op], set[OpId]]:
    """Merge into the new history what can stand there as it is; return the rest, in order.

    Also returns what the new history calls ops of ours, and the ids of those that can nowhere stand
    beside it: they build on an op, or are one, that has another one in its place there.
    """
    news, differing = _news(old, new, unknown_since)
    known = Known(new, news.values())
    latest = dict(new.latest)
    forks = dict.fromkeys(hidden, 0)
    """Of each author the first op that differs; what has seen it is tainted."""
    kept: list[Op] = []
    rest: list[Op] = []
    tainted: set[OpId] = set()
    for row, author, vector in vectors(old):
        op = news.get(row)
        if op is None:
            continue
        if op.id in differing or known.has_twin(op):
            forks.setdefault(author, op.index)
        if any(vector.get(who, 0) >= index for who, index in forks.items()):
            tainted.add(op.id)
        elif _fits(op, vector, latest, new) and known.calls_alike(op):
            latest[author] = op.index
            kept.append(op)
            continue
        rest.append(op)
    new.merge(kept)
    return known, rest, tainted


def _news(old: Replica, new: Replica, unknown_since: int | None) -> tuple[dict[int, Op], set[OpId]]:
    """Return our ops, by their rows, that the new history does not have.

    Also returns the ids of those that have another op in their place there.
    """
    known = dict(new.latest)
    news: dict[int, Op] = {}
    differing: set[OpId] = set()
    parted: set[PeerId] = set()
    for row in range(len(old.log)):
        op = old.log.op(row)
        if op.index <= known.get(op.author, 0):
            # Twins may say the same on top of what is not the same.
            if op.author not in parted and not _is_fork(op, old, new, unknown_since):
                continue
            parted.add(op.author)
            differing.add(op.id)
        news[row] = op
    return news, differing


def _fits(op: Op, vector: Vector, latest: Vector, new: Replica) -> bool:
    """Tell whether an op, made with this knowledge, follows what a history holds."""
    if op.previous != latest.get(op.author, 0) or (new.trim is not None and op.id <= new.trim):
        return False
    return not lacks({**latest, op.author: op.index}, vector) and not lacks(vector, new.trimmed)


def _is_fork(op: Op, old: Replica, new: Replica, unknown_since: int | None) -> bool:
    """Tell whether the new history has another op under this id."""
    if op.index <= new.trimmed.get(op.author, 0):
        ours = op.author == old.author and unknown_since is not None
        return ours and op.index > (unknown_since or 0)
    theirs = new.op_at(op.index, op.author)
    return theirs is None or digest_of(theirs) != digest_of(op)


def _reissue_ops(rest: list[Op], tainted: set[OpId], known: Known, issuer: _Issuer) -> int:
    new, calls = issuer.replica, _Calls(issuer.old)
    count = 0
    for op in rest:
        origin, is_known = _origin_of(op, op.id in tainted, known, calls)
        if (origin.author, origin.index) != (op.author, op.index):
            calls.add(op.author, op.index, origin)
        if is_known or (op.id not in tainted and _was_copied(origin, new)):
            continue
        issuer.issue(map_names(op.body, calls.name), op.timestamp, origin)
        count += 1
    return count


def _origin_of(op: Op, is_tainted: bool, known: Known, calls: _Calls) -> tuple[Name, bool]:
    """Return the name under which an op is issued again, or else known, and whether it is known."""
    name = op.origin or Name(op.author, op.index)
    said = content(op)
    if said is None:
        return name, False
    written = None if op.origin is None else calls.replica.op_at(name.index, name.author)
    is_repeated = written is not None and content(written) == said
    there = calls.name(name) if is_repeated else known.name(op, said)
    if there is not None:
        return there, True
    needs_pseudonym = (is_tainted and op.origin is None) or written is not None
    if needs_pseudonym or known.has_another(name, said):
        return known.pseudonym(said), False
    return name, False


def _was_copied(origin: Name, new: Replica) -> bool:
    """Tell whether a history knows a copy, and what was copied: then also that it is gone since."""
    links = [(origin.author, origin.index), *(link[:2] for link in origin.of)]
    return bool(origin.of) and all(new.latest.get(who, 0) >= index for who, index in links)


class _Issuer:
    """Appends ops to the new history."""

    def __init__(self, old: Replica, replica: Replica) -> None:
        self.old = old
        self.old_calls = _Calls(old)
        self.replica = replica
        self.calls = _Calls(replica)
        self.occupants: dict[Name, Name] = {}
        """The elements at the positions of the old base that have another name."""
        replica.dates.catch_up(len(replica.log))

    def issue(self, body: Body, timestamp: int, origin: Name | None) -> None:
        """Append an op of the replica's author, unless it would do nothing.

        It succeeds or becomes a failure. Names in it are those that other histories know; a
        Transaction calls itself by its origin.
        """
        replica = self.replica
        index = replica.clock + 1
        new = (replica.author, index)
        if body.kind is Kind.TRANSACTION and origin is not None:
            itself = (origin.author, origin.index)
            current = Retarget(replica, self.find, itself, new, origin.of).body(body)
        else:
            current = Retarget(replica, self.find, None, new).body(body)
        if current is None or (origin is not None and self._is_superseded(current, origin)):
            return
        previous = replica.latest.get(replica.author, 0)
        op = Op(index, replica.author, previous, timestamp, current, replica.news(), origin)
        replica.merge([op])
        replica.told()
        if origin is not None:
            self.calls.add(replica.author, index, origin)

    def _is_superseded(self, body: Body, origin: Name) -> bool:
        """Tell whether a value was overwritten later, in the order of the ops' first ids."""
        if body.kind is not Kind.SET or body.spot is not None:
            return False
        replica = self.replica
        tree = replica.tree
        found: Found = (tree.root, "", 0)
        if body.name is not None:
            there = self.find(body.name)
            if there is None:
                return False
            found = there
        up, step = found[0], found[1]
        if body.key is not None:
            parent = tree.root if body.name is None else tree.place_at(up, step)
            if parent is None or type(parent.value) is not dict:
                return False
            up, step = parent, body.key
        if not tree.is_present(up) or tree.content(up, step) is MISSING:
            return False
        date = replica.names.op_code(origin.index, origin.author)
        replica.dates.catch_up(len(replica.log))
        code = tree.code_at(up, step)
        later = replica.dates.stamp(code)[1 : 2 if body.key is None else 3]
        dates = replica.dates
        return dates.assigned_since(code, date, 0) is not None or dates.is_newer(later, date)

    def find(self, name: Name) -> Found | None:
        """Find a place of the new history by a name that the old one knows.

        Two ops that make one key name one place, and a base forgets all names but one: so if
        the name is unknown, what counts is the key of the object where it is in the old history.
        """
        replica = self.replica
        found = replica.finder.find(replica.names.code(name))
        if found is not None:
            return found
        if name in self.occupants:
            return self.find(self.occupants[name])
        there = self.old.finder.find(self.old.names.code(name))
        if there is None or not isinstance(there[1], str):
            return None
        up, parent = there[0], replica.tree.root
        if up.up is not None:
            outer = self.find(self.old_calls.name(self.old.names.name(up.code)))
            place = None if outer is None else replica.tree.place_at(outer[0], outer[1])
            if place is None:
                return None
            parent = place
        return (parent, there[1], 0) if type(parent.value) is dict else None

    def knows(self, author: PeerId, index: int, piece: Name) -> bool:
        """Tell whether an op is part of the new history, or that piece of what it had done."""
        replica = self.replica
        if replica.latest.get(author, 0) >= index:
            return True
        origins, code = replica.tree.origins, replica.names.code
        return code(Name(author, index)) in origins or code(piece) in origins


class _Calls:
    """What other histories call the places of this one: by origins, wherever there is one."""

    def __init__(self, replica: Replica) -> None:
        self.replica = replica
        self._origins: dict[tuple[PeerId, int], Name] = {}
        names = replica.names
        for origin, first in replica.tree.origins.items():
            maker = names.name(first)
            self.add(maker.author, maker.index, names.name(origin))

    def add(self, author: PeerId, index: int, origin: Name) -> None:
        """Call what an op made by its origin."""
        self._origins[author, index] = origin

    def name(self, name: Name) -> Name:
        """Return the name that other histories know."""
        if not self._origins:
            return name
        links: list[Link] = []
        for author, index, offset in ((name.author, name.index, name.offset), *name.of):
            origin = self._origins.get((author, index))
            if origin is None:
                links.append((author, index, offset))
            else:
                links.append((origin.author, origin.index, origin.offset + offset))
                links.extend(origin.of)
        return Name(*links[0], tuple(links[1:]))


class _Base:
    """The base of an old history, compared with the new one."""

    def __init__(self, old: Replica, issuer: _Issuer) -> None:
        self.old = old
        self.old_calls = issuer.old_calls
        self.issuer = issuer
        self.new = issuer.replica

    def _old_name(self, place: Place, step: Step) -> Name:
        return self.old_calls.name(self.old.names.name(self.old.tree.name_at(place, step)))

    # --- what was deleted ----------------------------------------------------------------

    def deletions(self) -> list[Piece]:
        """Return what deletes the places of the new history that the old base had removed."""
        held = {self._old_name(place, step) for place, step, _ in _slots(self.old)}
        pieces: list[Piece] = []
        self._delete_below(self.new.tree.root, held, self._touched(), pieces)
        return pieces

    def _touched(self) -> set[int]:
        """Return the names of places that ops in the new log concern which are news to us."""
        replica = self.new
        log, authors, find = replica.log, replica.names.authors, replica.finder.find
        slots: list[tuple[Place, Step]] = []
        for row in range(len(log)):
            if log.indexes[row] <= self.old.trimmed.get(authors[log.numbers[row]], 0):
                continue
            form, acts = log.steps[row], log.acts[row]
            if type(form) is str:
                if type(acts) is Place:
                    slots.append((acts, form))
                continue
            if type(form) is tuple and type(acts) is Place:
                slots.append((acts, log.op_code(row) << OFFSET_BITS))
            if type(acts) is InnerEffects:
                slots += acts.slots()
            elif type(acts) is list:
                slots += [(act.up, act.step) for act in acts]
            body = log.coded(row)
            for inner in body.payload if body.kind is Kind.TRANSACTION else (body,):
                for code in (inner.name, inner.source):
                    found = find(code) if code else None
                    if found is not None:
                        slots.append(found[:2])
        return {
            replica.tree.name_at(place, step)
            for place, step in slots
            if type(step) is int or step in place.codes
        }

    def _delete_below(
        self, place: Place, held: set[Name], touched: set[int], pieces: list[Piece]
    ) -> bool:
        """Add deletions for what is below a place; tell whether all of it goes."""
        tree, names = self.new.tree, self.new.names
        all_go = True
        for step in _steps(place):
            code = tree.name_at(place, step)
            name = self.issuer.calls.name(names.name(code))
            made = tree.code_at(place, step)
            goes = name not in held and code not in touched and self._was_seen(made, name)
            below = tree.place_at(place, step)
            mark = len(pieces)
            if below is not None and below.value is not None:
                goes = self._delete_below(below, held, touched, pieces) and goes
            if goes:
                del pieces[mark:]
                pieces.append((Body(Kind.DELETE, names.name(code)), None))
            all_go = all_go and goes
        return all_go

    def _was_seen(self, code: int, name: Name) -> bool:
        """Tell whether the old base knew a place of the new history, as it is there."""
        if name.index > self.old.trimmed.get(name.author, 0):
            return False
        dates = self.new.dates
        return all(
            index <= self.old.trimmed.get(author, 0)
            for index, author in map(dates.key, dates.stamp(code))
        )

    # --- what is there -------------------------------------------------------------------

    def contents(self) -> list[Piece]:
        """Return what makes, writes and moves those places that the new history does not know."""
        pieces: list[Piece] = []
        tree, dates = self.old.tree, self.old.dates
        last: dict[int, Name] = {}
        for place, step, item in _slots(self.old):
            code = tree.name_at(place, step)
            name = self._old_name(place, step)
            parent = None if place.up is None else self._old_name(place.up, place.step)
            if isinstance(step, str):
                target = Body(Kind.SET, parent, step)
            else:
                beside = last.get(id(place))
                side = Side.END if beside is None else Side.AFTER
                target = Body(Kind.SET, parent, spot=Spot(0, beside, side))
                last[id(place)] = name
                if code != step:
                    position = self.old_calls.name(self.old.names.name(step))
                    self.issuer.occupants[position] = name
            is_known = self.issuer.knows(name.author, name.index, name)
            if not is_known:
                pieces.append((_with_value(target, item), name))
            if code not in dates.stamps:
                continue
            assigned, calculated, moved = dates.stamp(code)
            origin = self._news_of(moved, 1, name) if moved and is_known else None
            if origin is not None:
                pieces.append((target._replace(kind=Kind.MOVE, source=name), origin))
            origin = self._news_of(max(assigned, calculated, key=dates.key), 0, name)
            if origin is not None:
                pieces.append((_with_value(Body(Kind.SET, name), item), origin))
        return pieces

    def _news_of(self, date: int, offset: int, name: Name) -> Name | None:
        """Return the origin for what an op did to a place, if the new history lacks it."""
        index, author = self.old.dates.key(date)
        piece = Name(author, index, offset, ((name.author, name.index, name.offset), *name.of))
        return None if self.issuer.knows(author, index, piece) else piece


def _steps(place: Place) -> list[Step]:
    """Return the keys or positions that a container shows, in order."""
    if type(place.value) is dict:
        return sorted(place.value)
    assert place.sequence is not None, "an array has its positions"
    return list(place.sequence.shown_codes())


def _slots(replica: Replica) -> list[tuple[Place, Step, JsonValue]]:
    """Return all slots that are shown, with their contents, parents before what is in them."""
    slots: list[tuple[Place, Step, JsonValue]] = []
    todo = [replica.tree.root]
    while todo:
        place = todo.pop()
        steps = _steps(place)
        items = [place.value[step] for step in steps] if type(place.value) is dict else place.value
        for step, item in zip(steps, items, strict=True):
            slots.append((place, step, item))
            if type(item) is dict or type(item) is list:
                assert place.places is not None, "containers have places"
                todo.append(place.places[step])
    return slots


def _with_value(body: Body, item: JsonValue) -> Body:
    """Return a body that puts a primitive, or an empty container that others fill."""
    if type(item) is dict:
        return body._replace(kind=Kind.INIT_OBJECT)
    if type(item) is list:
        return body._replace(kind=Kind.INIT_ARRAY)
    return body._replace(payload=item)
