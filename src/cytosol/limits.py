"""Every bound in one place, each with the reason for it.

What an outsider can make grow has its bound here and a test that names it. The limits of
the document are constants of the format: every peer evaluates them alike inside `apply`, so
changing one changes what documents mean.
"""

from __future__ import annotations

from typing import Final

# --- Values: the range that JSON libraries of every language can carry -------------------
INTEGER_MIN: Final = -(2**63)
INTEGER_MAX: Final = 2**64 - 1  # unsigned: apps store nanosecond times and hashes
DEPTH_MAX: Final = 128  # containers in each other, the root included; guards recursion

# --- The document (constants of the format) ----------------------------------------------
ARRAY_FILL_MAX: Final = 65_536  # nulls that one op may put before the index it sets
OP_PAYLOAD_BYTES_MAX: Final = 8 * 1024 * 1024  # canonical JSON of one op's payload
COPY_PLACES_MAX: Final = 2**20  # places one Copy may make: copies of copies double
DOCUMENT_PLACES_MAX: Final = 2**24  # live places: ops that explode must stop somewhere
TRANSACTION_OPS_MAX: Final = 2**20  # inner ops of one Transaction
COPY_CHAIN_MAX: Final = 64  # names of copies of copies grow by one link each time
LAMPORT_MAX: Final = 2**53 - 1  # exact in every JSON reader
LAMPORT_LEAP_MAX: Final = 2**20  # above the greatest applied: one op must not freeze the clock
AUTHORS_MAX: Final = 65_535  # authors of one document: a 16-bit column
CLAIMS_MAX: Final = 2 * AUTHORS_MAX  # authors in what devices say they hold and we do not yet
FAILURES_KEPT_MAX: Final = 10_000  # older ones become a count
WAITING_OPS_MAX: Final = 4_096  # ops that arrived before their author's previous one, per peer
WAITING_OP_BYTES_MAX: Final = 8 * 1024  # about; larger ones are not kept, the next sync brings them
BATCH_OPS_MAX: Final = 20_000  # ops in one batch: 10 kB could unpack to millions
SINGLE_BYTES_MAX: Final = 512  # of a batch that is one plain write; longer ones are worth packing

# --- Paths: no input may hang the process -------------------------------------------------
PATH_LENGTH_MAX: Final = 65_536  # characters of one path
PATH_NESTING_MAX: Final = 64  # brackets and parentheses in each other
PATH_STEPS_MAX: Final = 2_000_000  # nodes looked at while evaluating one query
PATH_CACHE_MAX: Final = 4_096  # parsed paths kept
PATH_CACHED_LENGTH_MAX: Final = 1_024  # longer paths are parsed anew: they would fill memory
PATTERN_LENGTH_MAX: Final = 4_096  # characters of a match() or search() pattern
PATTERN_STATES_MAX: Final = 20_000  # automaton states after counted repeats are unrolled
PATTERN_CACHE_MAX: Final = 64  # compiled patterns kept
PATTERN_CACHED_STATES_MAX: Final = 2_000  # larger automata are not kept
PATTERN_CELLS_MAX: Final = 20_000  # remembered moves and states of one automaton

# --- Subscriptions ---------------------------------------------------------------------------
PATCH_CELLS_MAX: Final = 4_096  # of a common subsequence's table: a patch is never quadratic

# --- History ------------------------------------------------------------------------------
HISTORY_DEFAULT_MAX: Final = 32_768  # as in the seed

# --- Sealed files: their head says what deriving the key costs, and anybody may have written it ---
SEAL_MEMORY_BYTES_MAX: Final = 2**30  # of Argon2id: libsodium's "sensitive", and no more
SEAL_PASSES_MAX: Final = 16  # of Argon2id over that memory: some twenty seconds at worst
SEAL_HEAD_BYTES_MAX: Final = 4_096  # ours take 300
PASSPHRASE_BYTES_MAX: Final = 4_096  # UTF-8; longer ones are a mistake, such as a wrong file

# --- Graphs -------------------------------------------------------------------------------
NODE_KEY_BYTES_MAX: Final = 65_536  # UTF-8 bytes of a node's key, and of a field's name
NODE_FIELDS_MAX: Final = 65_536  # of one node, deleted ones included: they are kept as ids
CLOCK_LEAP_MAX: Final = 2**32  # a newcomer must catch up at once; freezing takes 2^21 lies
MESSAGE_NODES_MAX: Final = 10_000  # nodes, or keys, in one message of a router
MESSAGE_PART_NODES: Final = 1_000  # our own messages are smaller: the other side is not held up
MESSAGE_PART_BYTES: Final = 1024 * 1024  # about; a single greater value goes alone
PUSHES_WAITING_MAX: Final = 64  # unanswered pushes on one connection; the rest waits in memory
REQUESTS_WAITING_MAX: Final = 1_024  # pushes and pulls of one peer that wait for their turn
PEERS_REMEMBERED_MAX: Final = 256  # by a router; who is forgotten gets everything once more
PULL_TIMEOUT_S: Final = 10.0  # then a read answers with what there is

# --- Discovery (spec: network, Limits) -----------------------------------------------------
HEARTBEAT_BYTES_MAX: Final = 326  # 71 fixed bytes and a name of 255
PEER_NAME_CODE_POINTS_MAX: Final = 64
PEER_NAME_BYTES_MAX: Final = 255
VISIBLE_PEERS_MAX: Final = 256  # paired ones are never evicted
CANDIDATES_MAX: Final = 4  # addresses kept for one peer id and key, newest first
GATEWAY_PORT_MIN: Final = 1025  # privileged ports are never a gateway (seed: > 1024)
HEARTBEAT_ANSWERS_PER_S: Final = 1  # in all: a flood must not become a storm
HEARTBEAT_ANSWERS_WAITING_MAX: Final = 256  # answers put off; one each for the visible table
ADDRESS_BEATS_PER_S: Final = 32  # heartbeats looked at of one address, or paired device there
STRANGER_BEATS_PER_S: Final = 256  # in all, of who is not paired: a table full of them
PAIRED_BEATS_PER_S: Final = 256  # in all, of who says to be paired: strangers take none of it

# --- Connections ----------------------------------------------------------------------------
HALF_OPEN_MAX: Final = 16  # TCP connections without an authentic frame yet
HALF_OPEN_PER_ADDRESS_MAX: Final = 4
FIRST_FRAME_TIMEOUT_S: Final = 5.0
GATEWAY_FRAME_BYTES_MAX: Final = 64 * 1024
FRAME_BYTES_MAX: Final = 16 * 1024 * 1024  # on the wire
UNPACKED_BYTES_MAX: Final = 64 * 1024 * 1024  # after decompression
COMPRESS_ABOVE_BYTES: Final = 1_024  # as in the seed's prototype
CALL_TIMEOUT_S: Final = 5.0
KEEP_ALIVE_TIMEOUT_S: Final = 20.0  # a dead peer is noticed within this
SYNC_PROGRESS_TIMEOUT_S: Final = 10.0
SNAPSHOT_BYTES_MAX: Final = 2**30  # it is held in memory while it arrives
SNAPSHOT_CHUNK_BYTES_MAX: Final = 4 * 1024 * 1024  # far below a frame, base64 included
RPC_MESSAGE_BYTES_MAX: Final = 22 * 1024 * 1024  # base64 of all that fits into one frame
RPC_VALUES_MAX: Final = 5 * 2**16  # in one message: a summary names each author four times
RPC_PLAIN_ABOVE_BYTES: Final = 1024 * 1024  # longer ones are base64: plain ASCII, no escapes
RPC_ID_LENGTH_MAX: Final = 256  # characters; the id is echoed, so a long one costs us twice
RPC_METHOD_LENGTH_MAX: Final = 128  # characters
SESSION_LENGTH_MAX: Final = 64  # characters of a sync session's name
SAVE_POINTS_MAX: Final = 1_024  # in one message; their gaps double, so honest ones are few
CALLS_WAITING_MAX: Final = 1_024  # unanswered calls on one connection
GRAPH_PIECE_LENGTH_MAX: Final = 32 * 1024  # characters: the document's sync waits behind few of
GRAPH_PIECES_WAITING_MAX: Final = 16  # them, for so many are unanswered in each direction at most

# --- Pairing ----------------------------------------------------------------------------------
PAIRING_CODE_LENGTH_MIN: Final = 6
PAIRING_CODE_LENGTH_MAX: Final = 1_024
PAIRING_TIMEOUT_S: Final = 120.0
WRONG_CODES_PAUSE_AT: Final = 3
WRONG_CODES_PAUSE_S: Final = 300.0
WRONG_CODES_STOP_AT: Final = 10
PAIRINGS_MAX: Final = 1_024  # devices in one sharePeers; what others bring and refuse, each
PAIRINGS_OF_ONE_MAX: Final = 256  # of each, what one device brings or refuses
USED_CODES_MAX: Final = 1_024  # remembered while the app runs, so that none is used twice

# --- Links: what carries the messages of graphs ------------------------------------------------
JSON_VALUES_MAX: Final = 2**22 + 2**16  # in one such message: an op's 8 MiB hold no more than 2^22
LINK_MESSAGE_BYTES_MAX: Final = 16 * 1024 * 1024  # JSON text of one message
LINK_UNACKNOWLEDGED_MAX: Final = 10_000  # messages kept for a peer that is away, or is slow
LINK_UNACKNOWLEDGED_BYTES_MAX: Final = 64 * 1024 * 1024
LINK_NAME_LENGTH_MAX: Final = 256  # characters of a link id, of a name, of a reason to close
SERVED_MAX: Final = 1_000  # clients that a server of graphs keeps, those that are away included
STREAM_WAITING_MAX: Final = 10_000  # messages that one `async for` may be behind

# --- WebRTC signals ---------------------------------------------------------------------------
SIGNAL_NAME_LENGTH_MAX: Final = 256  # characters of an end's or a session's name
SIGNAL_REASON_LENGTH_MAX: Final = 1_024  # characters; longer ones are cut
SIGNAL_DESCRIPTION_LENGTH_MAX: Final = 64 * 1024  # characters; honest ones have two thousand
SIGNAL_CANDIDATES_MAX: Final = 64  # each costs packets to an address that the sender chose
SIGNALS_WAITING_MAX: Final = 64  # more are dropped: no honest end sends them
