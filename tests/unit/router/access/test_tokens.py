"""Tokens: which open something, and every way in which a forged one might."""

import asyncio
import base64
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import jwt
import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from router.access.jwks import ASK_AGAIN_S, KeySet, from_file, from_url
from router.access.tokens import BadToken, Verifier, check
from router.errors import SettingsError
from router.section import JwtSettings

SECRET = "0123456789abcdef0123456789abcdef"
ISSUER, AUDIENCE = "https://issuer.test", "nearfar"
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER_RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC = ec.generate_private_key(ec.SECP256R1())


def settings(**changes) -> JwtSettings:
    return JwtSettings(**{"issuer": ISSUER, "audience": AUDIENCE} | changes)


def claims(**changes):
    now = time.time()
    whole = {"sub": "alice", "iss": ISSUER, "aud": AUDIENCE, "exp": now + 600, "scope": "infer read openid"}
    return {name: value for name, value in (whole | changes).items() if value is not None}


def signed(key=SECRET, algorithm="HS256", headers=None, **changes) -> str:
    return jwt.encode(claims(**changes), key, algorithm=algorithm, headers=headers)


def by_secret(**changes) -> Verifier:
    return Verifier(settings(**changes), SECRET, None, time.time)


def identity(verifier: Verifier, token: str):
    return asyncio.run(verifier.identity(token))


def jwk(private, kid: str) -> dict:
    algorithm = jwt.algorithms.RSAAlgorithm if isinstance(private, rsa.RSAPrivateKey) else jwt.algorithms.ECAlgorithm
    found = json.loads(algorithm.to_jwk(private.public_key()))
    return found | {"kid": kid, "use": "sig", "alg": "RS256" if isinstance(private, rsa.RSAPrivateKey) else "ES256"}


class Issuer:
    """A set of keys that can be changed, and how often it was asked for."""

    def __init__(self, *keys: dict) -> None:
        self.keys = list(keys)
        self.asked = 0
        self.now = 0.0
        self.down = False

    def read(self) -> bytes:
        self.asked += 1
        if self.down:
            raise SettingsError("down")
        return msgspec.json.encode({"keys": self.keys})

    def verifier(self) -> Verifier:
        algorithms = ("RS256", "ES256")
        return Verifier(
            settings(algorithms=algorithms), None, KeySet(self.read, algorithms, lambda: self.now), time.time
        )


def test_a_good_token_is_its_subjects_under_a_name_that_no_key_can_have() -> None:
    """Scopes are those of ours that it names; others are nothing."""
    found = identity(by_secret(), signed())

    assert ("jwt:alice", {"infer", "read"}) == (found.tenant, found.scopes)


@pytest.mark.parametrize(
    ("named", "scopes"),
    [
        ({"scope": "admin"}, {"admin"}),
        ({"scope": ["read", 7, None]}, {"read"}),
        ({"scope": None, "scp": "infer"}, {"infer"}),
        ({"scope": None, "scp": ["infer", "admin"]}, {"infer", "admin"}),
        ({"scope": None}, set()),
        ({"scope": {"admin": True}}, set()),
        ({"scope": "administrator"}, set()),
    ],
)
def test_scopes_come_from_scope_or_scp_and_none_is_none(named, scopes) -> None:
    """A token that says nothing may do nothing."""
    assert scopes == identity(by_secret(), signed(**named)).scopes


def unsigned(header: dict, **changes) -> str:
    parts = [
        base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()
        for part in (header, claims(**changes))
    ]
    return ".".join([*parts, ""])


FORGED = {
    "none": unsigned({"alg": "none"}),
    "None": unsigned({"alg": "None"}),
    "no alg": unsigned({}),
    "other secret": signed("f" * 32),
    "other algorithm": signed(SECRET * 2, "HS512"),
    "expired": signed(exp=time.time() - 120),
    "not yet": signed(nbf=time.time() + 86_400),
    "issued later": signed(iat=time.time() + 86_400),
    "no expiry": signed(exp=None),
    "no subject": signed(sub=None),
    "empty subject": signed(sub=""),
    "long subject": signed(sub="a" * 201),
    "newline in subject": signed(sub="a\nb"),
    "other issuer": signed(iss="https://evil.test"),
    "no issuer": signed(iss=None),
    "other audience": signed(aud="elsewhere"),
    "no audience": signed(aud=None),
    "changed": signed()[:-4] + "AAAA",
    "rs256": signed(RSA, "RS256"),
    "kid path": signed("f" * 32, headers={"kid": "../../dev/null"}),
    "two parts": "a.b",
    "nothing": "..",
    "long": "a" * 20_000,
    "not ascii": "ä.b.c",
    "deep": base64.urlsafe_b64encode(b"[" * 10_000).decode() + ".e30.e30",
    "huge exp": signed(exp=10**400),
}


@pytest.mark.parametrize("what", FORGED)
def test_whatever_is_forged_late_or_for_others_opens_nothing(what) -> None:
    """And ends in one error, whatever it is."""
    with pytest.raises(BadToken):
        identity(by_secret(), FORGED[what])


@pytest.mark.parametrize("subject", [7, ["a"], {"a": 1}])
def test_a_subject_that_is_no_text_is_nobody(subject) -> None:
    """PyJWT refuses to write such a token: it is signed by hand."""
    token = jwt.api_jws.encode(json.dumps(claims(sub=subject)).encode(), SECRET, "HS256")

    with pytest.raises(BadToken):
        identity(by_secret(), token)


def test_clocks_may_differ_by_the_leeway_and_no_more() -> None:
    """It is the configuration's."""
    late = signed(exp=time.time() - 20)

    assert "jwt:alice" == identity(by_secret(leeway_s=30.0), late).tenant
    with pytest.raises(BadToken):
        identity(by_secret(leeway_s=10.0), late)


def test_a_token_that_was_good_ends_when_it_expires_and_memory_has_a_bound() -> None:
    """It is remembered by its hash, and never longer than it is good."""
    now = [time.time()]
    verifier = Verifier(settings(leeway_s=0.0), SECRET, None, lambda: now[0])
    token = signed(exp=now[0] + 1)
    first = identity(verifier, token)
    now[0] += 2

    assert "jwt:alice" == first.tenant
    assert (now[0] < next(iter(verifier._good.values()))[0]) is False
    for n in range(1100):
        identity(verifier, signed(sub=f"user{n}"))
    assert len(verifier._good) <= 1024
    assert token not in repr(verifier._good)


def test_public_keys_open_by_their_id_and_algorithm() -> None:
    """RSA and elliptic curves side by side."""
    verifier = Issuer(jwk(RSA, "r1"), jwk(EC, "e1")).verifier()

    assert "jwt:alice" == identity(verifier, signed(RSA, "RS256", {"kid": "r1"})).tenant
    assert "jwt:bob" == identity(verifier, signed(EC, "ES256", {"kid": "e1"}, sub="bob")).tenant
    for token in (
        signed(OTHER_RSA, "RS256", {"kid": "r1"}),
        signed(RSA, "RS256", {"kid": "e1"}),
        signed(RSA, "RS512", {"kid": "r1"}),
        signed(RSA, "RS256"),
    ):
        with pytest.raises(BadToken):
            identity(verifier, token)


def test_a_public_key_is_no_secret() -> None:
    """The classic forgery: HMAC with the public key, which everybody has."""
    public = json.dumps(jwk(RSA, "r1")).encode()
    header = base64.urlsafe_b64encode(b'{"alg":"HS256","kid":"r1"}').rstrip(b"=")
    body = base64.urlsafe_b64encode(json.dumps(claims()).encode()).rstrip(b"=")
    signature = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256).sign(header + b"." + body, public)
    token = b".".join([header, body, base64.urlsafe_b64encode(signature).rstrip(b"=")]).decode()

    with pytest.raises(BadToken):
        identity(Issuer(jwk(RSA, "r1")).verifier(), token)


def test_what_is_no_public_signing_key_is_passed_over() -> None:
    """Secrets, keys for encryption, broken ones and nonsense in the set open nothing, and hide none of the others."""
    oct_key = {"kty": "oct", "k": base64.urlsafe_b64encode(SECRET.encode()).decode(), "kid": "o", "alg": "HS256"}
    strange = [oct_key, jwk(RSA, "enc") | {"use": "enc"}, {"kty": "RSA", "kid": "x"}, "nonsense", None, {}]
    verifier = Issuer(*strange, jwk(RSA, "r1")).verifier()

    assert "jwt:alice" == identity(verifier, signed(RSA, "RS256", {"kid": "r1"})).tenant
    assert "jwt:alice" == identity(verifier, signed(RSA, "RS256")).tenant  # the only key there is
    with pytest.raises(BadToken):
        identity(verifier, signed(RSA, "RS256", {"kid": "enc"}))


def test_an_unknown_key_is_asked_for_once_a_minute_and_no_more() -> None:
    """Tokens made up cannot make this server ask all the time; a new key of the issuer opens within a minute."""
    issuer = Issuer(jwk(RSA, "r1"))
    verifier = issuer.verifier()
    identity(verifier, signed(RSA, "RS256", {"kid": "r1"}))
    issuer.keys.append(jwk(OTHER_RSA, "r2"))
    new = signed(OTHER_RSA, "RS256", {"kid": "r2"})
    for n in range(20):
        with pytest.raises(BadToken):
            identity(verifier, signed(OTHER_RSA, "RS256", {"kid": f"made-up-{n}"}))
    asked_before = issuer.asked
    issuer.now += ASK_AGAIN_S

    assert 1 == asked_before
    assert "jwt:alice" == identity(verifier, new).tenant
    assert 2 == issuer.asked


def test_a_key_that_the_issuer_withdrew_opens_nothing_after_the_next_look() -> None:
    """Not even tokens that were found good before."""
    issuer = Issuer(jwk(RSA, "r1"))
    verifier = issuer.verifier()
    token = signed(RSA, "RS256", {"kid": "r1"})
    first = identity(verifier, token)
    issuer.keys[:] = [jwk(OTHER_RSA, "r2")]
    issuer.now += ASK_AGAIN_S
    asyncio.run(verifier.keys.refresh())

    assert "jwt:alice" == first.tenant
    with pytest.raises(BadToken):
        identity(verifier, token)


def test_an_issuer_that_is_down_leaves_its_last_keys_in_force() -> None:
    """Whoever was let in before still is."""
    issuer = Issuer(jwk(RSA, "r1"))
    verifier = issuer.verifier()
    identity(verifier, signed(RSA, "RS256", {"kid": "r1"}))
    issuer.down = True
    issuer.now += ASK_AGAIN_S
    with pytest.raises(BadToken):
        identity(verifier, signed(RSA, "RS256", {"kid": "r9"}))

    assert "jwt:alice" == identity(verifier, signed(RSA, "RS256", {"kid": "r1"}, exp=time.time() + 99)).tenant
    assert 2 == issuer.asked


@pytest.mark.parametrize("body", [b"", b"[]", b'{"keys": 7}', b"<html>"])
def test_a_set_that_is_none_opens_nothing(body) -> None:
    """An error page of a proxy, above all."""
    keys = KeySet(lambda: body, ("RS256",), lambda: 0.0)
    verifier = Verifier(settings(algorithms=("RS256",)), None, keys, time.time)

    with pytest.raises(BadToken):
        identity(verifier, signed(RSA, "RS256"))


@pytest.mark.parametrize(
    ("jwt_settings", "secret", "said"),
    [
        (settings(), None, "exactly one of"),
        (settings(jwks_file="keys.json"), SECRET, "exactly one of"),
        (settings(), "short", "shorter than 32 bytes"),
        (settings(algorithms=("none",)), SECRET, "none; with"),
        (settings(algorithms=("RS256",)), SECRET, "RS256; with NEARFAR_JWT_SECRET"),
        (settings(algorithms=("HS256",), jwks_file="keys.json"), None, "HS256; with auth.jwt.jwks_file"),
        (settings(algorithms=()), SECRET, "algorithms: none"),
        (settings(algorithms=("RS256",), jwks_file="k", audience=None), None, "issuer and audience"),
        (settings(algorithms=("RS256",), jwks_url="http://issuer.test/keys"), None, "use https"),
        (settings(algorithms=("RS256",), jwks_url="http://localhost.evil.test/keys"), None, "use https"),
    ],
)
def test_a_configuration_that_proves_nothing_is_refused_at_the_start(jwt_settings, secret, said) -> None:
    """Each says what to change, and none says the secret."""
    with pytest.raises(SettingsError, match=said):
        check(jwt_settings, secret, offline=False)


def test_offline_nobody_is_asked_for_keys() -> None:
    """A file is the way; the own machine may be asked."""
    url = settings(algorithms=("RS256",), jwks_url="https://issuer.test/keys")

    check(url, None, offline=False)
    check(settings(algorithms=("RS256",), jwks_url="http://127.0.0.1:9/keys"), None, offline=True)
    with pytest.raises(SettingsError, match="offline"):
        check(url, None, offline=True)


@contextmanager
def issuing(status: int, body: bytes, location: str = "") -> Iterator[str]:
    """The URL of an issuer that answers so."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            if location:
                self.send_header("location", location)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/keys.json"
        finally:
            server.shutdown()
            thread.join()


def test_a_set_is_fetched_from_a_url_and_read_from_a_file(tmp_path) -> None:
    """The same document opens the same tokens."""
    body = msgspec.json.encode({"keys": [jwk(RSA, "r1")]})
    file = tmp_path / "keys.json"
    file.write_bytes(body)

    with issuing(200, body) as url:
        assert body == from_url(url)
    assert body == from_file(file)


@pytest.mark.parametrize(("status", "body"), [(500, b"{}"), (302, b""), (200, b"x" * 2_000_000)])
def test_an_issuer_that_answers_strangely_is_told_and_no_redirect_is_followed(status, body) -> None:
    """The message says what came and not where from."""
    with issuing(200, b'{"keys": []}') as elsewhere, issuing(status, body, elsewhere) as url:
        with pytest.raises(SettingsError, match=f"answered {status}") as refused:
            from_url(url)

        assert "127.0.0.1" not in str(refused.value)


def test_an_issuer_or_a_file_that_is_not_there_is_told() -> None:
    """Without its path or address."""
    with issuing(200, b"") as url:
        gone = url
    with pytest.raises(SettingsError, match="nobody answers"):
        from_url(gone)
    with pytest.raises(SettingsError, match=r"jwks_file: none\.json cannot be read"):
        from_file(Path("/nowhere/none.json"))
