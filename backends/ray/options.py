"""How the cluster is reached, and what a deployment has. Values only; imports no Ray."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping

import msgspec
from msgspec import Struct

from backends.local.types import LocalOptions
from backends.types import Target

OWN = "local"
"""The address that means: a cluster of this machine alone, which begins and ends with the router."""


class Shape(Struct, frozen=True, kw_only=True):
    """What a deployment has.

    Attributes:
        min_replicas: Replicas that are always there; 0 lets it sleep, and a request wakes it.
        max_replicas: Of a busy deployment; at least the former, whatever this says.
        num_cpus: Cores that the cluster sets aside for a replica; it computes with as many threads.
        num_gpus: GPUs of a replica; a fraction shares one, and takes that share of its memory.
        target_ongoing_requests: How many requests a replica should have at once: more make the cluster start another.
        max_ongoing_requests: How many it is given at once, so the most that can run in one batch.
        max_queue: Requests that may wait at this router for a replica that takes them.
    """

    min_replicas: int = 1
    max_replicas: int = 1
    num_cpus: float = 1.0
    num_gpus: float = 0.0
    target_ongoing_requests: float = 2.0
    max_ongoing_requests: int = 64
    max_queue: int = 256

    @property
    def device(self) -> str:
        """Where a replica will compute, before one has said so."""
        return "cuda:0" if self.num_gpus else "cpu"


class RayOptions(Struct, frozen=True, kw_only=True):
    """How the cluster is reached, and how its replicas behave.

    Attributes:
        address: `local`; `auto`, the cluster that this machine is a node of; or HOST:PORT of a cluster's head.
        namespace: What the names of our applications begin with: routers with the same one share deployments.
        shape: What a deployment has whose candidate says nothing else.
        environ: What the driver's process finds in its environment, beside what Ray is told by it.
        local: What a replica's near side is like; its paths are those of the machine that a replica runs on.
    """

    local: LocalOptions
    address: str = OWN
    namespace: str = "nearfar"
    shape: Shape = Shape()
    environ: Mapping[str, str] = msgspec.field(default_factory=dict)

    @property
    def own(self) -> bool:
        """Whether the cluster is this router's own."""
        return self.address == OWN


class Opening(Struct, frozen=True, kw_only=True):
    """All that a replica is told when it starts: it crosses to it as bytes."""

    target: Target
    shape: Shape
    local: LocalOptions


def shape_of(target: Target, otherwise: Shape) -> Shape:
    """What the target's deployment has: what its candidate says, else what all of them have."""
    return msgspec.structs.replace(otherwise, **dict(target.shape))


def application(target: Target, shape: Shape, namespace: str) -> str:
    """The name of the target's application: the same weights, computed in the same way, have the same one.

    Tasks are no part of it: a replica does all that its model can do, and holds the weights once. What a deployment has
    is: another shape is another application, so that no router changes under another what that one has deployed.
    """
    same = (target.model, target.source, target.revision, target.runtime, shape)
    digest = hashlib.blake2b(msgspec.msgpack.encode(same), digest_size=5).hexdigest()
    return f"{namespace}-{re.sub(r'[^A-Za-z0-9_.-]+', '-', target.model)}-{digest}"
