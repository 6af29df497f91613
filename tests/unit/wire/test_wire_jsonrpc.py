"""JSON-RPC 2.0: single objects, and nothing that two readers could take differently."""

import json

import pytest

from cytosol.errors import RemoteProtocolError
from cytosol.limits import (
    DEPTH_MAX,
    RPC_ID_LENGTH_MAX,
    RPC_METHOD_LENGTH_MAX,
    RPC_PLAIN_ABOVE_BYTES,
    RPC_VALUES_MAX,
)
from cytosol.wire.jsonrpc import (
    ErrorCode,
    ErrorResponse,
    Message,
    Notification,
    Request,
    Response,
    encode_error,
    encode_message,
    encode_notification,
    encode_request,
    encode_response,
    parse_message,
)


def refusal_of(data: bytes, code: ErrorCode) -> str:
    """Return the sentence with which a parse fails, with this code."""
    with pytest.raises(RemoteProtocolError) as caught:
        parse_message(data)
    assert code == caught.value.code
    return str(caught.value)


def call_with_params(params: bytes) -> bytes:
    """Return a call whose params are this JSON text."""
    return b'{"jsonrpc":"2.0","method":"x","params":' + params + b',"id":0}'


def test_a_request_is_the_worked_value() -> None:
    """The text that spec: network seals."""
    text = b'{"jsonrpc":"2.0","method":"x","id":0}'
    assert text == encode_request(0, "x")
    assert Request(0, "x") == parse_message(text)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (encode_request("a", "m", {"k": [1]}), Request("a", "m", {"k": [1]})),
        (encode_request(-1, "m", []), Request(-1, "m", [])),
        (encode_notification("m"), Notification("m")),
        (encode_notification("m", [1]), Notification("m", [1])),
        (b'{"jsonrpc":"2.0","method":"m","id":null}', Notification("m")),
        (encode_response(7, {"a": 1}), Response(7, {"a": 1})),
        (encode_response("", None), Response("", None)),
        (encode_error(7, 201, "no"), ErrorResponse(7, 201, "no")),
        (encode_error(None, ErrorCode.PARSE_ERROR, "no"), ErrorResponse(None, -32700, "no")),
        (encode_error(7, 1, "no", [2]), ErrorResponse(7, 1, "no", [2])),
        (b' {"jsonrpc":"2.0","method":"m","more":1}\n', Notification("m")),
    ],
)
def test_messages_are_understood(data: bytes, message: Message) -> None:
    """Each kind, with and without what may be left out; more fields do no harm."""
    assert message == parse_message(data)
    assert message == parse_message(encode_message(message))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"nonsense",
        b'{"jsonrpc":"2.0","method":"m"} x',
        b'\xef\xbb\xbf{"jsonrpc":"2.0","method":"m"}',
        call_with_params(b"[NaN]"),
        call_with_params(b"[Infinity]"),
        call_with_params(b"[-Infinity]"),
        call_with_params(b"[1e400]"),
        call_with_params(b"[01]"),
        call_with_params(b"[1,]"),
        call_with_params(b'["\\ud800"]'),
        call_with_params(b'["\\udc00\\ud800"]'),
        call_with_params(b'{"\\ud800":1}'),
        call_with_params(b'["\xff"]'),
        call_with_params(b'["\xed\xa0\x80"]'),
        call_with_params(b'{"\xc0\x80":1}'),
        call_with_params(b'["\x00"]'),
        call_with_params(b"[" + b"1" * 5000 + b"]"),
        b'{"jsonrpc":"2.0","method":"' + b"[" * 300,
        b'{"jsonrpc":"2.0","method":"' + b"[" * 300 + b"\\",
        b"]" * 300,
    ],
)
def test_what_is_not_json_is_a_parse_error(data: bytes) -> None:
    """Also the numbers and strings that only some readers take."""
    assert "a message is not JSON" in refusal_of(data, ErrorCode.PARSE_ERROR)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"[]", "one JSON object, not an array"),
        (b'[{"jsonrpc":"2.0","method":"m"}]', "one JSON object, not an array"),
        (b"null", "not null"),
        (b"true", "not a boolean"),
        (b"1.5", "not a number"),
        (b'"x"', "not a string"),
        (b"{}", '"jsonrpc": "2.0"'),
        (b'{"jsonrpc":2.0,"method":"m"}', '"jsonrpc": "2.0"'),
        (b'{"jsonrpc":"1.0","method":"m"}', '"jsonrpc": "2.0"'),
        (b'{"jsonrpc":"2.0"}', "one of them only"),
        (b'{"jsonrpc":"2.0","id":1}', "one of them only"),
        (b'{"jsonrpc":"2.0","id":1,"result":1,"error":{"code":1,"message":""}}', "one of them"),
        (b'{"jsonrpc":"2.0","method":1}', "a method is a name"),
        (b'{"jsonrpc":"2.0","method":""}', "a method is a name"),
        (b'{"jsonrpc":"2.0","method":"m","result":1}', "not both"),
        (b'{"jsonrpc":"2.0","method":"m","error":1}', "not both"),
        (b'{"jsonrpc":"2.0","method":"m","params":1}', "an object or an array, not a number"),
        (b'{"jsonrpc":"2.0","method":"m","params":null}', "an object or an array, not null"),
        (b'{"jsonrpc":"2.0","method":"m","id":1.0}', "an id is"),
        (b'{"jsonrpc":"2.0","method":"m","id":true}', "an id is"),
        (b'{"jsonrpc":"2.0","method":"m","id":[]}', "an id is"),
        (b'{"jsonrpc":"2.0","method":"m","id":{}}', "an id is"),
        (b'{"jsonrpc":"2.0","method":"m","id":18446744073709551616}', "an id is"),
        (b'{"jsonrpc":"2.0","result":1}', "must have the id"),
        (b'{"jsonrpc":"2.0","result":1,"id":null}', "must have the id"),
        (b'{"jsonrpc":"2.0","id":1,"error":[]}', "an error is an object, not an array"),
        (b'{"jsonrpc":"2.0","id":1,"error":{"message":""}}', "the code of an error"),
        (b'{"jsonrpc":"2.0","id":1,"error":{"code":true,"message":""}}', "the code of an error"),
        (
            b'{"jsonrpc":"2.0","id":1,"error":{"code":2147483648,"message":""}}',
            "the code of an error",
        ),
        (b'{"jsonrpc":"2.0","id":1,"error":{"code":1}}', "the message of an error"),
    ],
)
def test_json_that_is_no_message_is_an_invalid_request(data: bytes, reason: str) -> None:
    """Batches among it."""
    assert reason in refusal_of(data, ErrorCode.INVALID_REQUEST)


@pytest.mark.parametrize(
    "data",
    [
        b'{"jsonrpc":"2.0","method":"a","method":"b"}',
        b'{"jsonrpc":"2.0","method":"a","\\u006dethod":"b"}',
        call_with_params(b'{"a":1,"a":1}'),
        call_with_params(b'[{"a":{"b":1,"b":2}}]'),
        call_with_params(b'{"a":"x\\u003a","a":1}'),
        call_with_params(b'{"a":"\\u003a","a":"\\u003A"}'),
        call_with_params(b'[{"a":":","a":""},"\\u003a\\u003a"]'),
    ],
)
def test_a_key_named_twice_is_refused(data: bytes) -> None:
    """At any level, however it is written, and whatever colons the strings contain."""
    assert "twice" in refusal_of(data, ErrorCode.INVALID_REQUEST)


@pytest.mark.parametrize(
    "params",
    [
        '{"a":"::","b":":"}',
        r'{"a":"\u003a\u003A","\u003a":"\":\\"}',
        r'{"\\":"\\","\"":":\\u003a"}',
        r'["\u003a"]',
        r'{"\\\"":"\\\\","\u003a\\":"\"\\\":"}',
    ],
)
def test_colons_in_strings_are_no_keys(params: str) -> None:
    """Written as they are, or escaped, beside quotes and backslashes."""
    message = parse_message(call_with_params(params.encode()))
    assert Request(0, "x", json.loads(params)) == message


@pytest.mark.parametrize(
    "number", [0, -1, 2**53, 2**63, 2**64 - 1, -(2**63), 2**64, 10**30, 1.5, 1e300, 0.1]
)
def test_numbers_are_exact(number: float) -> None:
    """Integers of any size stay integers; others are doubles."""
    message = parse_message(encode_request(0, "m", [number]))
    assert isinstance(message, Request)
    assert repr([number]) == repr(message.params)


def nested(depth: int) -> bytes:
    """Return a message of this depth, itself included."""
    return call_with_params(b"[" * (depth - 1) + b"]" * (depth - 1))


def test_depth_max() -> None:
    """DEPTH_MAX, the message's own object included; far deeper costs nothing either."""
    parse_message(nested(DEPTH_MAX))
    for depth in (DEPTH_MAX + 1, 1000, 100_000):
        assert f"deeper than {DEPTH_MAX} levels" in refusal_of(
            nested(depth), ErrorCode.INVALID_REQUEST
        )


def test_depth_of_mixed_and_of_wrong_brackets() -> None:
    """Objects count like arrays; brackets that do not match are not JSON."""
    deep = b'{"a":[' * 64 + b"]}" * 64
    assert "nested deeper" in refusal_of(call_with_params(deep), ErrorCode.INVALID_REQUEST)
    assert "not JSON" in refusal_of(
        call_with_params(b"[" * 100 + b"}" * 100), ErrorCode.PARSE_ERROR
    )


def test_brackets_in_strings_are_not_depth() -> None:
    """Nor are those after an escaped quotation mark, nor many shallow ones."""
    for params in (["[" * 1000], ['"[\\"' * 1000], [[]] * 1000, [{}] * 1000, ["\\", "[" * 500]):
        message = parse_message(encode_request(0, "m", params))
        assert Request(0, "m", params) == message


def test_the_depth_may_be_chosen() -> None:
    """Where ops travel as JSON the envelope needs room around them."""
    with pytest.raises(RemoteProtocolError):
        parse_message(nested(4), depth_max=3)
    assert Request(0, "x", [[]]) == parse_message(nested(3), depth_max=3)
    parse_message(nested(DEPTH_MAX + 8), depth_max=DEPTH_MAX + 8)


def test_json_values_max() -> None:
    """RPC_VALUES_MAX: two bytes of text can become sixty of memory."""
    assert f"more than {RPC_VALUES_MAX} values" in refusal_of(
        call_with_params(b"[" + b"0," * RPC_VALUES_MAX + b"0]"), ErrorCode.INVALID_REQUEST
    )
    assert f"more than {RPC_VALUES_MAX} values" in refusal_of(
        call_with_params(b"[" + b"[],[]," * (RPC_VALUES_MAX // 4) + b"0]"),
        ErrorCode.INVALID_REQUEST,
    )


def test_json_values_max_counts_strings_that_nothing_separates() -> None:
    """Not JSON, but it must not cost more than what is."""
    data = b"[" * 200 + b'""' * (2 * RPC_VALUES_MAX + 1)
    assert f"more than {RPC_VALUES_MAX} values" in refusal_of(data, ErrorCode.INVALID_REQUEST)


def test_commas_in_strings_are_no_values() -> None:
    """A long text is one value."""
    text = "," * (RPC_VALUES_MAX + 1)
    assert Request(0, "m", [text]) == parse_message(encode_request(0, "m", [text]))


def test_long_messages_are_plain_ascii() -> None:
    """RPC_PLAIN_ABOVE_BYTES: one other character makes a text take four times its bytes."""
    long = "x" * RPC_PLAIN_ABOVE_BYTES
    assert Request(0, "m", {"a": [long]}) == parse_message(encode_request(0, "m", {"a": [long]}))
    for odd in ("\N{PERSONAL COMPUTER}", "\n"):
        data = encode_request(0, "m", [long + odd])
        assert "plain ASCII without escapes" in refusal_of(data, ErrorCode.INVALID_REQUEST)


@pytest.mark.parametrize("params", [b'{"a":1,"a":2}', b'[{"a" :1}]'])
def test_keys_of_long_messages_stand_once_before_their_colon(params: bytes) -> None:
    """What repeats a key in a long message is found without encoding it again."""
    data = call_with_params(b'["' + b"x" * RPC_PLAIN_ABOVE_BYTES + b'",' + params + b"]")
    assert "twice" in refusal_of(data, ErrorCode.INVALID_REQUEST)


def test_rpc_id_length_max() -> None:
    """RPC_ID_LENGTH_MAX."""
    longest = "i" * RPC_ID_LENGTH_MAX
    assert Request(longest, "m") == parse_message(encode_request(longest, "m"))
    assert "an id is" in refusal_of(encode_request(longest + "i", "m"), ErrorCode.INVALID_REQUEST)


def test_rpc_method_length_max() -> None:
    """RPC_METHOD_LENGTH_MAX."""
    longest = "m" * RPC_METHOD_LENGTH_MAX
    assert Notification(longest) == parse_message(encode_notification(longest))
    assert "a method is a name" in refusal_of(
        encode_notification(longest + "m"), ErrorCode.INVALID_REQUEST
    )


def test_an_unfinished_string_is_read_in_linear_time() -> None:
    """Escaped quotation marks without an end."""
    assert "not JSON" in refusal_of(
        b'{"a":"' + b'\\"' * 500_000 + b"[" * 200, ErrorCode.PARSE_ERROR
    )
    assert "not JSON" in refusal_of(b'{"a":"' + b"\\[" * 500_000, ErrorCode.PARSE_ERROR)
