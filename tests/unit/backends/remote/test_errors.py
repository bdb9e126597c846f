"""Every far failure becomes one of ours, says what it knows, and repeats no secret."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyreqwest import exceptions as foreign

from backends.errors import (
    BackendError,
    ContentRefused,
    ContextLengthExceeded,
    Interrupted,
    InvalidInput,
    ModelNotFound,
    Overloaded,
    PaymentRequired,
    RateLimited,
    RemoteError,
    Timeout,
    Unauthorized,
    Unavailable,
)
from backends.remote.errors import MAX_MESSAGE, from_status, raise_in_band, translated


def openai(message="no", code=None, kind=None):
    return json.dumps({"error": {"message": message, "type": kind, "param": None, "code": code}}).encode()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["error", "errors", "detail", "message", "code", "type", "estimated_time"]), inner
        )
    ),
    max_leaves=12,
)


@given(st.integers(100, 599), st.dictionaries(st.sampled_from(["retry-after", "ratelimit"]), st.text()), st.binary())
def test_any_answer_is_a_backend_error(status, headers, body):
    """No status, header or body can crash the table."""
    error = from_status(status, headers, body, provider="p")

    assert isinstance(error, BackendError)
    assert status == error.http_status
    assert len(str(error)) <= MAX_MESSAGE


@given(st.integers(100, 599), JSON)
def test_any_json_body_is_a_backend_error(status, payload):
    """Whatever the nesting."""
    error = from_status(status, {}, json.dumps(payload).encode())

    assert isinstance(error, BackendError)


@given(JSON)
def test_any_error_inside_an_answer_is_raised(payload):
    """An error in a stream can have any shape, too."""
    with pytest.raises(BackendError, match="provider p: status"):
        raise_in_band(msgspec.json.decode(msgspec.json.encode(payload)), provider="p")


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (301, RemoteError),
        (400, InvalidInput),
        (401, Unauthorized),
        (402, PaymentRequired),
        (403, Unauthorized),
        (404, ModelNotFound),
        (408, Timeout),
        (410, ModelNotFound),
        (413, InvalidInput),
        (418, RemoteError),
        (422, InvalidInput),
        (429, RateLimited),
        (500, RemoteError),
        (502, RemoteError),
        (503, Overloaded),
        (504, Timeout),
        (529, Overloaded),
    ],
)
def test_a_bare_status_has_its_class(status, kind):
    """The table of docs/remote.md, section 2.3."""
    assert kind is type(from_status(status, {}, b""))


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, openai(code="context_length_exceeded"), ContextLengthExceeded),
        (400, openai("This model's maximum context length is 4096 tokens"), ContextLengthExceeded),
        (413, b'{"error":"Input validation error: `inputs` must have less than 512 tokens"}', ContextLengthExceeded),
        (422, b'{"error":"`inputs` tokens + `max_new_tokens` must be <= 4096"}', ContextLengthExceeded),
        (400, openai(code="content_policy_violation"), ContentRefused),
        (400, openai(kind="content_filter"), ContentRefused),
        (403, openai("Your input was flagged"), ContentRefused),
        (400, openai("not supported by any provider you have enabled", "model_not_supported"), ModelNotFound),
        (400, openai("Unsupported parameter: 'top_k'"), InvalidInput),
        (429, openai(code="insufficient_quota"), PaymentRequired),
        (500, openai("the context length of this conversation"), RemoteError),
        (401, b'"Invalid credentials"', Unauthorized),
        (503, b"[1, 2]", Overloaded),
    ],
)
def test_a_body_can_say_it_more_precisely(status, body, kind):
    """Codes win over words, and words count only where the input was refused."""
    assert kind is type(from_status(status, {}, body))


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (openai("too hot"), "status 400: too hot"),
        (b'{"error":"too hot"}', "status 400: too hot"),
        (b'{"error":["too hot","too wet"]}', "status 400: too hot; too wet"),
        (b'{"message":"too hot"}', "status 400: too hot"),
        (b'{"detail":"too hot"}', "status 400: too hot"),
        (b'{"detail":[{"loc":["body"],"msg":"too hot","input":"my secret prompt"}]}', "status 400: too hot"),
        (b'"too hot"', "status 400: too hot"),
        (b"too hot\n\tand wet", "status 400: too hot and wet"),
        (b"<!doctype html><h1>Bad gateway</h1>", "status 400: an HTML page instead of an answer"),
        (b"", "status 400"),
        (b"{}", "status 400"),
        (b"null", "status 400"),
        (b'{"error":{}}', "status 400"),
    ],
)
def test_the_far_words_are_found_in_any_shape(body, said):
    """OpenAI's, Hugging Face's and FastAPI's shapes; the input that FastAPI repeats is left out."""
    assert said == str(from_status(400, {}, body))


def test_a_long_message_is_cut():
    """A message has at most 300 characters, the provider's name among them."""
    message = str(from_status(400, {}, openai("x" * 5000), provider="p"))

    assert MAX_MESSAGE == len(message)
    assert message.startswith("provider p: status 400: xxx")


@pytest.mark.parametrize(
    "secret", ["hf_abcDEF123456", "sk-proj-abc123DEF", "Bearer abc.def", "eyJhbGciOiJIUzI1NiJ9.e30.x", "plain-old-key"]
)
def test_no_token_is_repeated(secret):
    """Neither our key nor anything that looks like one."""
    error = from_status(401, {}, openai(f"Incorrect key provided: {secret}."), secret="plain-old-key")

    assert secret not in str(error)
    assert "[secret]" in str(error)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("cannot read /srv/models/secret/config.json: gone", "cannot read [path]: gone"),
        ("No such file: '/Users/Ada L/models/m'.", "No such file: '[path]'."),
        ("path=/srv/models, (/srv/m/a.bin)", "path=[path], ([path])"),
        ("see ~/models/secret.", "see [path]."),
        (r"see C:\models\m or d:/models", "see [path] or [path]"),
        ("see file:///srv/models/m", "see [path]"),
        ("/srv/hf_abcDEF123456/m", "[path]"),
        ("/srv/plain-old-key/m", "[path]"),
    ],
)
def test_no_path_of_the_far_machine_is_repeated(words, said):
    """Where a far side keeps its models is its own business."""
    assert f"status 500: {said}" == str(from_status(500, {}, openai(words), secret="plain-old-key"))


@pytest.mark.parametrize(
    "words", ["model org/name is gone", "see https://h.example/a/b/c", "no route /models", "and/or, 1 / 2 / 3, at 3:/4"]
)
def test_what_is_no_path_stays(words):
    """Names of models and addresses say what is wrong."""
    assert f"status 500: {words}" == str(from_status(500, {}, openai(words)))


@pytest.mark.parametrize(
    ("payload", "kind"),
    [
        ({"error": {"message": "x", "code": 429}}, RateLimited),
        ({"error": {"message": "x", "code": "rate_limit_exceeded"}}, RateLimited),
        ({"error": "x", "error_type": "overloaded"}, Overloaded),
        ({"error": "x", "status_code": 402}, PaymentRequired),
        ({"error": "x", "code": 7}, RemoteError),
        ({"message": "x", "code": "context_length_exceeded"}, ContextLengthExceeded),
        ("x", RemoteError),
    ],
)
def test_an_error_inside_an_answer_has_its_class(payload, kind):
    """A stream's error is judged by its code, else it is a failure of the far side."""
    with pytest.raises(kind) as caught:
        raise_in_band(payload, provider="p")

    assert kind is type(caught.value)


def causes(*messages):
    return {"causes": [{"message": message} for message in messages]}


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (foreign.ConnectError("x", causes("url", "Connection refused (os error 111)")), Unavailable),
        (foreign.ConnectError("x", causes("url", "client error (SendRequest)", "Connection reset")), Interrupted),
        (foreign.ConnectTimeoutError("x", causes()), Unavailable),
        (foreign.PoolTimeoutError("x", {"causes": None}), Overloaded),
        (foreign.ReadTimeoutError("x", causes()), Timeout),
        (foreign.ReadError("x", causes()), RemoteError),
        (foreign.WriteError("x", causes()), Interrupted),
        (foreign.BodyDecodeError("x", causes()), RemoteError),
        (foreign.ClientClosedError("x", causes()), Unavailable),
        (foreign.BuilderError("x", causes()), Unavailable),
        (foreign.RequestPanicError("x", causes()), RemoteError),
        (foreign.PyreqwestError("x"), RemoteError),
    ],
)
def test_every_foreign_exception_is_translated(error, kind):
    """One table, and the original stays attached."""
    with pytest.raises(kind, match=r"^provider p: ") as caught, translated("p"):
        raise error

    assert kind is type(caught.value)
    assert error is caught.value.__cause__


def test_the_reason_is_named_but_not_the_url():
    """The innermost cause is the operating system's; the outer one repeats the URL."""
    error = foreign.ConnectError("x", causes("error for url (http://u:p@h/)", "Connection refused (os error 111)"))
    with pytest.raises(Unavailable) as caught, translated("p"):
        raise error

    assert "provider p: cannot be reached (Connection refused (os error 111))" == str(caught.value)


def test_other_exceptions_pass():
    """Only pyreqwest's are translated: a bug stays a bug."""
    with pytest.raises(KeyError), translated("p"):
        raise KeyError
