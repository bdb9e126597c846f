"""What a router and its driver say to each other, as MessagePack: orders by number, and what comes of each."""

from __future__ import annotations

import msgspec
from msgspec import Struct


class Order(Struct, frozen=True, array_like=True, tag=True):
    """Base of all; nobody else's order has the number."""

    number: int


class Connect(Order, frozen=True, array_like=True, tag=True):
    """Be in that cluster. The first order."""

    address: str
    namespace: str


class Deploy(Order, frozen=True, array_like=True, tag=True):
    """Have the application there; `opening` is what its replicas are told."""

    name: str
    opening: bytes


class Delete(Order, frozen=True, array_like=True, tag=True):
    """Have it there no more."""

    name: str


class Look(Order, frozen=True, array_like=True, tag=True):
    """Say how every application stands."""


class Call(Order, frozen=True, array_like=True, tag=True):
    """Have a replica of the application do what the method does."""

    name: str
    method: str
    ask: bytes | None = None


class Cancel(Order, frozen=True, array_like=True, tag=True):
    """Nobody waits for what the order of that number comes to."""


class Said(Struct, frozen=True, array_like=True):
    """A piece of what an order came to (`backends.ray.wire`); None where there is no more."""

    number: int
    body: bytes | None


encode = msgspec.msgpack.Encoder().encode
order = msgspec.msgpack.Decoder(Connect | Deploy | Delete | Look | Call | Cancel).decode
said = msgspec.msgpack.Decoder(Said).decode
