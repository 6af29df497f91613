"""Bugs that are planted into a copy of the code, to prove that the suites find such things.

Each is one replacement in one file, of the kind that happens: a comparison turned around, a
check forgotten, an order changed. Beside it stands what must notice it within seconds.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["BUGS", "Bug"]


@dataclass(frozen=True, slots=True)
class Bug:
    """In `file`, below `src/cytosol`, `code` becomes `instead`; `suite` has to fail."""

    name: str
    file: str
    code: str
    instead: str
    suite: str


CONVERGENCE = "tests/property/test_convergence.py"
TRIMMED = "tests/property/test_trimmed_histories_against_the_oracle.py"

BUGS = (
    # --- what a document is -------------------------------------------------------------
    Bug(
        "equal numbers are ordered by arrival",
        "crdt/replica.py",
        "return sorted(left + right, key=lambda row: (row[0], authors[row[1]]))",
        "return sorted(left + right, key=lambda row: row[0])",
        CONVERGENCE,
    ),
    Bug(
        "an op that is taken back keeps what it named",
        "crdt/replica.py",
        "        self.dates.rewind(start)\n",
        "",
        TRIMMED,
    ),
    Bug(
        "the state hash leaves out the author",
        "model/version.py",
        'state.update(index.to_bytes(8, "big") + author)',
        'state.update(index.to_bytes(8, "big"))',
        CONVERGENCE,
    ),
    Bug(
        "a transaction that fails leaves its first half",
        "crdt/apply.py",
        "        except Failed:\n            undo(trail, start)\n",
        "        except Failed:\n",
        CONVERGENCE,
    ),
    Bug(
        "what is inserted before something comes after it",
        "crdt/apply.py",
        "self._beside(body, array), body.side is Side.AFTER, trail",
        "self._beside(body, array), True, trail",
        CONVERGENCE,
    ),
    Bug(
        "an initialised object loses what it had",
        "crdt/apply.py",
        "value, wanted = {}, dict",
        "value, wanted = {}, None",
        CONVERGENCE,
    ),
    Bug(
        "a sum wraps where integers end",
        "crdt/calculate.py",
        "        return exact if INTEGER_MIN <= exact <= INTEGER_MAX else None\n",
        "        return exact if INTEGER_MIN <= exact else INTEGER_MIN\n",
        "tests/unit/crdt/test_dispatch_semantics.py tests/unit/crdt/test_limits_of_ops.py",
    ),
    Bug(
        "ops are merged although an earlier one of their author is missing",
        "crdt/admission.py",
        "        if op.previous > have:\n            return False\n",
        "",
        "tests/unit/crdt/test_what_peers_have_seen.py tests/unit/crdt/test_limits_of_merging.py "
        + CONVERGENCE,
    ),
    Bug(
        "one number from a peer can freeze the clock",
        "crdt/admission.py",
        "if op.index > min(clock + LAMPORT_LEAP_MAX, LAMPORT_MAX):",
        "if op.index > LAMPORT_MAX:",
        "tests/unit/crdt/test_limits_of_merging.py",
    ),
    Bug(
        "an insert far from the end of a list stands where the last one did",
        "crdt/late.py",
        "if near < len(places) and places[near] + near < index:",
        "if near < len(places) and False:",
        "tests/property/test_late_inserts.py",
    ),
    Bug(
        "a query does not see what is late",
        "document/document.py",
        "            if self._late:\n                self._late.settle()\n            values =",
        "            values =",
        "tests/property/test_late_inserts.py",
    ),
    # --- history that was trimmed -------------------------------------------------------
    Bug(
        "history is cut where somebody has not seen it",
        "crdt/retention.py",
        "    while cut > 0 and unseen[cut] < cut:\n        cut = unseen[cut]\n",
        "",
        TRIMMED,
    ),
    Bug(
        "a re-issued write counts as written now",
        "crdt/dates.py",
        "        if origin is None:\n            return op_code\n        index, author, _ =",
        "        if origin is not None:\n            return op_code\n        index, author, _ =",
        TRIMMED,
    ),
    Bug(
        "whoever adopts forgets what only he deleted",
        "crdt/readopt.py",
        "for body, origin in [*base.deletions(), *base.contents()]:",
        "for body, origin in base.contents():",
        "tests/unit/crdt/test_reissuing_on_another_history.py "
        "tests/simulation/test_documents_adopt.py",
    ),
    Bug(
        "what a twin says is taken for the op itself",
        "crdt/twins.py",
        "        return there is not None and there != said\n",
        "        return False\n",
        "tests/unit/crdt/test_reissuing_on_another_history.py",
    ),
    Bug(
        "a base forgets where its ops came from",
        "crdt/snapshot.py",
        "        for origin, first in base.origins:\n",
        "        for origin, first in []:\n",
        "tests/unit/crdt/test_bases_as_bytes.py " + TRIMMED,
    ),
    # --- queries and subscriptions ------------------------------------------------------
    Bug(
        "a subscription misses what is inserted before an element",
        "path/overlap.py",
        "if last and (index < 0 or step < 0 or index >= step):",
        "if last and (index < 0 or step < 0 or index > step + 1):",
        "tests/property/test_subscription_completeness.py tests/unit/path/test_path_overlap.py",
    ),
    Bug(
        "a subscription misses the last element of a slice",
        "path/overlap.py",
        "if stop is not None and step >= stop:",
        "if stop is not None and step >= stop - 1:",
        "tests/property/test_subscription_completeness.py tests/unit/path/test_path_overlap.py",
    ),
    # --- the disk -----------------------------------------------------------------------
    Bug(
        "a write is acknowledged before it is on the disk",
        "document/journal.py",
        "state.commit(self._numbered([ticket.value for ticket in self._group]))",
        "self._numbered([ticket.value for ticket in self._group])",
        "tests/unit/document/test_journal_refusals.py",
    ),
    Bug(
        "what the disk refused stays in memory",
        "document/journal.py",
        "            self._on_refusal([key for ticket in tickets for key in ticket.ids])",
        "            pass",
        "tests/unit/document/test_journal_refusals.py",
    ),
    Bug(
        "after a failed flush writing goes on",
        "savestates/jsonfile.py",
        "            if self._is_broken:\n                raise broken_error(self.path)\n",
        "",
        "tests/unit/savestates/test_json_savestate.py",
    ),
    Bug(
        "a new name is not made durable",
        "savestates/jsonfile.py",
        "        self._flush(lambda: sync_folder(self.path))\n",
        "",
        "tests/unit/savestates/test_json_savestate.py",
    ),
    Bug(
        "two programs own one file",
        "savestates/lock.py",
        "    except (BlockingIOError, PermissionError):\n        return False\n",
        "    except (BlockingIOError, PermissionError):\n        return True\n",
        "tests/contract tests/unit/savestates/test_savestate_files.py",
    ),
    Bug(
        "a flipped bit is read as if nothing were wrong",
        "savestates/sqlite.py",
        "if not is_typed or _checksum(key, value) != checksum:",
        "if not is_typed:",
        "tests/unit/savestates/test_sqlite_savestate.py",
    ),
    # --- who may come in ----------------------------------------------------------------
    Bug(
        "any code is right",
        "crypto/pake.py",
        "        if equal_secrets(confirmation, expected):\n            return True\n",
        "        if len(confirmation) == len(expected):\n            return True\n",
        "tests/unit/crypto/test_crypto_pake.py",
    ),
    Bug(
        "wrong codes are not counted",
        "protocol/pair_prompt.py",
        "        self._lockout.wrong_code(now)\n",
        "",
        "tests/hostile/test_hostile_pairing.py",
    ),
    Bug(
        "a frame that was recorded is taken again",
        "wire/framing.py",
        "        elif counter <= self._counter:\n",
        "        elif counter < self._counter:\n",
        "tests/unit/wire/test_wire_framing.py",
    ),
    Bug(
        "our own frames are taken when they come back",
        "wire/framing.py",
        "        if prefix == self._own_prefix:\n",
        '        if prefix == b"":\n',
        "tests/unit/wire/test_wire_framing.py",
    ),
    Bug(
        "a paired device is anybody who uses its id",
        "protocol/discovery.py",
        "        if pinned is not None and pinned.public_key != heartbeat.public_key:\n"
        "            return\n",
        "",
        "tests/hostile/test_hostile_heartbeats.py tests/simulation/test_peers_corner_cases.py",
    ),
    Bug(
        "another device brings a refused one back",
        "protocol/sharing.py",
        "            or peer_id in self._pairings.refused()\n",
        "",
        "tests/simulation/test_peers_corner_cases.py tests/simulation/test_peers_meet.py",
    ),
    Bug(
        "a refusal that a pairing by hand has lifted counts again",
        "protocol/sharing.py",
        "bool(entry.since_ms) and paired.lifted_ms == entry.since_ms",
        "False",
        "tests/unit/protocol/test_sharing.py",
    ),
    Bug(
        "a device that another one has brought counts as paired by hand when it was heard of",
        "protocol/sharing.py",
        "each.public_key, shared_by=sender)",
        "each.public_key, wall_s, shared_by=sender)",
        "tests/unit/protocol/test_sharing.py",
    ),
    Bug(
        "a pairing code is accepted a second time",
        "protocol/used_codes.py",
        "        if name in self._hashes:\n",
        '        if name == b"":\n',
        "tests/unit/protocol/test_used_codes.py",
    ),
    Bug(
        "the challenge of a request is not looked at",
        "protocol/gateway.py",
        "if not equal_secrets(params.challenge, caller.challenge):",
        "if not params.challenge:",
        "tests/hostile/test_hostile_gateway.py tests/hostile/test_attacks_on_the_gateway.py",
    ),
    # --- the graph ----------------------------------------------------------------------
    Bug(
        "a rule that raises opens the door",
        "graph/rules.py",
        'raised, which denies")\n            return False\n',
        'raised, which denies")\n            return True\n',
        "tests/graph/test_permissions.py",
    ),
    Bug(
        "a router sends back what it was sent",
        "graph/router.py",
        "                lacking = _news(nodes, given[peer].value)\n",
        "",
        "tests/graph/test_router.py tests/graph/test_offline_delivery.py",
    ),
    Bug(
        "a branch sees what its source changes later",
        "graph/branch.py",
        "        source.watchers.add(self)\n",
        "",
        "tests/graph/test_branches.py",
    ),
)
