"""The demo: two devices on this machine, from strangers to equal documents.

Every step is believed only after both processes were asked; the first that does not hold ends
the demo with exit code 1.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import click
from rich.console import Console

from cytosol.cli.demo_peer import DemoPeer
from cytosol.cli.demo_show import DemoShow
from cytosol.cli.exits import OK, REFUSED, CommandError
from cytosol.cli.imports import read_json_file
from cytosol.cli.sample import sample_catalogue
from cytosol.cli.stops import stop_on_signals
from cytosol.cli.text import json_text
from cytosol.errors import CytosolError
from cytosol.model.json import JsonValue, count_places, equal_json

__all__ = ["run_demo"]

VALUES_MIN: Final = 5_000
SETTLE_TIMEOUT_S: Final = 30.0
SETTLE_STEP_S: Final = 0.02
DATA: Final = "$.library"
TRIP: Final[JsonValue] = {
    "title": "Weekend in the hills",
    "budget": 100,
    "packing": ["tent", "map", "stove"],
    "plan": {"start": "Friday", "driver": "nobody yet"},
}


def run_demo(file: Path | None) -> int:
    """Run the demo and return its exit code."""
    show = DemoShow(Console(highlight=False))
    try:
        with stop_on_signals(), tempfile.TemporaryDirectory(prefix="cytosol-demo-") as folder:
            asyncio.run(_Demo(show, Path(folder), file).run())
    except (CommandError, CytosolError) as error:
        show.failed(str(error))
        click.echo(f"cytosol: the demo did not succeed: {error}", err=True)
        return REFUSED
    return OK


class _Demo:
    def __init__(self, show: DemoShow, folder: Path, file: Path | None) -> None:
        self._show = show
        self._folder = folder
        self._file = file
        self._peers: list[DemoPeer] = []

    async def run(self) -> None:
        """Go through all steps; raises CommandError at the first that does not hold."""
        began = time.monotonic()
        imports = self._prepare_imports()
        try:
            with self._show.step("Two processes start, each with its own database file"):
                app_id = str(uuid.uuid4())  # so that demos side by side do not meet
                for name in ("Laptop", "Phone"):
                    file = self._folder / f"{name.lower()}.cytosol"
                    self._peers.append(await DemoPeer.start(name, file, app_id))
                for peer in self._peers:
                    await peer.wait_ready()
            await self._meet()
            await self._pair_wrongly()
            await self._pair()
            await self._import(imports)
            await self._edit_connected()
            await self._edit_apart()
            await self._meet_again()
            await self._finish(time.monotonic() - began)
        finally:
            for peer in self._peers:
                await peer.stop()

    def _prepare_imports(self) -> dict[str, tuple[Path, JsonValue]]:
        """Return what to import where; a small file of the user gets the sample as company."""
        found: dict[str, tuple[Path, JsonValue]] = {}
        if self._file is not None:
            file = self._file.resolve()
            found["$.imported"] = (file, read_json_file(file))
            count = count_places(found["$.imported"][1])
            if count >= VALUES_MIN:
                return found
            self._show.note(
                f"{file.name} has {count:,} values; the demo wants {VALUES_MIN:,}, so a sample "
                "catalogue is imported as well"
            )
        sample = self._folder / "library.json"
        sample.write_text(json.dumps(sample_catalogue(), indent=1), encoding="utf-8")
        found[DATA] = (sample, read_json_file(sample))
        return found

    # --- steps --------------------------------------------------------------------------

    async def _meet(self) -> None:
        laptop, phone = self._peers
        with self._show.step("They find each other by broadcast, knowing no address") as step:
            step.detail = "asked when both are ready; they have listened since each of them started"

            async def see_each_other() -> bool:
                there = [peer["id"] for peer in await laptop.ask("peers")]
                here = [peer["id"] for peer in await phone.ask("peers")]
                return phone.peer_id in there and laptop.peer_id in here

            await self._until(see_each_other, "the devices did not find each other")

    async def _request(self) -> str:
        """Have the laptop ask the phone; return the code that the laptop shows."""
        laptop, phone = self._peers
        code: str = (await laptop.ask(f"pair {phone.peer_id}"))["code"]
        request = await phone.event("pair_request")
        _check(request["peerId"] == laptop.peer_id, "the pair request came from somebody else")
        return code

    async def _pair_wrongly(self) -> None:
        laptop, phone = self._peers
        with self._show.step("A wrong code is tried on the phone, and refused") as step:
            code = await self._request()
            wrong = f"{(int(code) + 1) % 1_000_000:06d}"
            step.detail = (
                f"the laptop shows {code}, the phone tries {wrong}: both say that it is wrong"
            )
            await phone.ask(f"accept {wrong}")
            for peer in self._peers:
                response = await peer.event("pair_response")
                _check(response["accepted"] is False, f"{peer.name} accepted a wrong code")
                _check(await peer.ask("pairings") == [], f"{peer.name} has paired all the same")
            _check(await laptop.document() == {}, "the laptop has a document already")

    async def _pair(self) -> None:
        laptop, phone = self._peers
        with self._show.step("The right code pairs them, and they connect") as step:
            code = await self._request()
            step.detail = f"code {code}, checked on both sides without sending it"
            await phone.ask(f"accept {code}")
            for peer, other in ((laptop, phone), (phone, laptop)):
                response = await peer.event("pair_response")
                _check(response["accepted"] is True, f"{peer.name}: {response['reason']}")
                paired = [each["id"] for each in await peer.ask("pairings")]
                _check(paired == [other.peer_id], f"{peer.name} does not list {other.name}")
            await self._until(lambda: self._are_connected(True), "the devices did not connect")

    async def _are_connected(self, wanted: bool) -> bool:
        found = [await peer.ask("meta $.peers[?@.connected == true].id") for peer in self._peers]
        return all(bool(ids) is wanted for ids in found)

    async def _import(self, imports: dict[str, tuple[Path, JsonValue]]) -> None:
        laptop, _ = self._peers
        for path, (file, value) in imports.items():
            count = count_places(value)
            with self._show.step(f"The laptop imports {file.name}, {count:,} values") as step:
                began = time.monotonic()
                await laptop.ask(f"import {file} {path}", step.progress)
                imported_s = time.monotonic() - began
                await self._until_equal()
                step.detail = (
                    f"imported in {imported_s:.2f} s, on the phone "
                    f"{time.monotonic() - began - imported_s:.2f} s later"
                )
                for peer in self._peers:
                    there = await peer.query(path)
                    same = len(there) == 1 and equal_json(there[0], value)
                    _check(same, f"{peer.name} does not hold what the file holds")
        total = sum(count_places(value) for _, value in imports.values())
        _check(total >= VALUES_MIN, f"only {total:,} values were imported")

    async def _edit_connected(self) -> None:
        laptop, phone = self._peers
        with self._show.step("Both change things, live"):
            await laptop.ask(f"set $.trip {json.dumps(TRIP)}")
            await self._until_equal()
            await phone.ask('dispatch {"action": "Add", "path": "$.trip.budget", "payload": 20}')
            await laptop.ask('set $.trip.plan.driver "Ada"')
            await self._until_equal()
            for peer in self._peers:
                seen = (
                    await peer.query("$.trip['budget', 'plan'][?@ == 'Ada']"),
                    await peer.query("$.trip.budget"),
                )
                _check(seen == (["Ada"], [120]), f"{peer.name} does not see both changes")

    async def _edit_apart(self) -> None:
        laptop, phone = self._peers
        with self._show.step("They are cut off from each other (the laptop's sync is off)"):
            await laptop.ask("sync off")
            await self._until(lambda: self._are_connected(False), "the connection did not end")
        with self._show.step("Meanwhile both change the same list and the same object") as step:
            edits = {laptop: _LAPTOP_EDITS, phone: _PHONE_EDITS}
            for peer, actions in edits.items():
                for action in actions:
                    await peer.ask(f"dispatch {json.dumps(action)}")
            step.detail = (
                "inserts into one gap, a deletion, a move, two Adds, and one key set by both"
            )
            for peer, other in ((laptop, phone), (phone, laptop)):
                trip = (await peer.query("$.trip"))[0]
                _check(
                    trip["plan"]["driver"] == f"{peer.name} user" and other.name not in str(trip),
                    f"{peer.name} knows what it cannot know yet",
                )
            hashes = [await peer.ask("hash") for peer in self._peers]
            _check(hashes[0] != hashes[1], "the state hashes are equal while the documents differ")
            _check(await self._are_connected(False), "the devices were not cut off")
        self._show.side_by_side(
            "While cut off", [(peer.name, (await peer.query("$.trip"))[0]) for peer in self._peers]
        )

    async def _meet_again(self) -> None:
        laptop, _ = self._peers
        with self._show.step("They meet again, and both documents become one"):
            await laptop.ask("sync on")
            await self._until(lambda: self._are_connected(True), "the devices did not reconnect")
            await self._until_equal()
            for peer in self._peers:
                _check_trip(peer.name, (await peer.query("$.trip"))[0])
                failures = await peer.ask("meta $.failures[*]")
                _check(failures == [], f"{peer.name} lists failures: {failures}")
                await peer.ask("check")

    async def _finish(self, seconds: float) -> None:
        trips = [(peer.name, (await peer.query("$.trip"))[0]) for peer in self._peers]
        self._show.side_by_side("After they met", trips)
        documents = [await peer.document() for peer in self._peers]
        hashes = [await peer.ask("hash") for peer in self._peers]
        _check(equal_json(*documents), "the documents differ")
        _check(hashes[0] == hashes[1], "the state hashes differ")
        stats = [await peer.ask("stats") for peer in self._peers]
        names = [peer.name for peer in self._peers]
        self._show.summary(names, stats, seconds)

    # --- asking both --------------------------------------------------------------------

    async def _until(self, holds: Callable[[], Awaitable[bool]], complaint: str) -> None:
        deadline = time.monotonic() + SETTLE_TIMEOUT_S
        while not await holds():
            _check(time.monotonic() < deadline, f"{complaint} within {SETTLE_TIMEOUT_S:.0f} s")
            await asyncio.sleep(SETTLE_STEP_S)

    async def _until_equal(self) -> None:
        """Wait for equal state hashes, then compare the whole documents."""

        async def have_equal_hashes() -> bool:
            first, second = [await peer.ask("hash") for peer in self._peers]
            return bool(first == second)

        await self._until(have_equal_hashes, "the devices did not reach one state")
        first, second = [await peer.document() for peer in self._peers]
        _check(equal_json(first, second), "the state hashes are equal, but the documents differ")


_LAPTOP_EDITS: Final[list[dict[str, JsonValue]]] = [
    {"action": "InsertAfter", "path": "$.trip.packing[0]", "payload": "lamp (Laptop)"},
    {"action": "InsertAfter", "path": "$.trip.packing[1]", "payload": "rope (Laptop)"},
    {"action": "Delete", "path": "$.trip.packing[?@ == 'map']"},
    {"action": "Add", "path": "$.trip.budget", "payload": 30},
    {"action": "Set", "path": "$.trip.plan.driver", "payload": "Laptop user"},
    {"action": "Set", "path": "$.trip.plan.hut", "payload": "Laptop: booked"},
]
_PHONE_EDITS: Final[list[dict[str, JsonValue]]] = [
    {"action": "InsertAfter", "path": "$.trip.packing[0]", "payload": "boots (Phone)"},
    {"action": "Move", "path": "$.trip.packing[0]", "payload": "$.trip.packing[3]"},
    {"action": "Add", "path": "$.trip.budget", "payload": 7},
    {"action": "Set", "path": "$.trip.plan.driver", "payload": "Phone user"},
    {"action": "Set", "path": "$.trip.plan.train", "payload": "Phone: 09:12"},
]


def _check_trip(name: str, trip: JsonValue) -> None:
    """Raise CommandError unless the work of both is in the trip."""
    packing, plan = trip["packing"], trip["plan"]
    expected = sorted(["tent", "stove", "lamp (Laptop)", "rope (Laptop)", "boots (Phone)"])
    _check(sorted(packing) == expected, f"{name} packs {json_text(packing)}")
    lamp = packing.index("lamp (Laptop)")
    _check(packing[lamp + 1] == "rope (Laptop)", f"{name} tore a run of inserts apart")
    _check(packing.index("stove") < packing.index("tent"), f"{name} lost the move of the stove")
    _check(trip["budget"] == 157, f"{name} has the budget {trip['budget']}, not 120 + 30 + 7")
    _check(plan["driver"] in ("Laptop user", "Phone user"), f"{name} lost the driver")
    both = (plan.get("hut"), plan.get("train"))
    _check(both == ("Laptop: booked", "Phone: 09:12"), f"{name} lost a key of the plan")


def _check(holds: bool, complaint: str) -> None:
    if not holds:
        raise CommandError(complaint)
