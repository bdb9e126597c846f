"""Everything that is asked of Ray itself: to connect, to deploy, how replicas stand, and handles to call them by.

Ray is imported when a cluster is needed first. All of it blocks and belongs in a thread, but for `handles`: what calls
a deployment lives on the event loop that it is made on.
"""

from __future__ import annotations

import importlib.util
import logging
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from backends import outward
from backends.errors import Unavailable
from backends.ray import wire
from backends.ray.errors import MISSING
from backends.ray.options import Opening
from backends.ray.replica import Replica

if TYPE_CHECKING:
    from backends.ray.options import RayOptions, Shape
    from backends.types import Target

DEPLOYMENT = "model"
OBJECT_STORE_BYTES = 128 * 1024 * 1024  # of a cluster of our own: what we send goes past the store
HEALTH_PERIOD_S = 2.0  # how soon a replica that died is replaced
UPSCALE_DELAY_S, DOWNSCALE_DELAY_S = 5.0, 300.0
CONSTRUCTOR_TRIES = 3

# Before Ray is imported: whoever runs the router may have said otherwise, except of telemetry.
_PHONES_NOBODY = {"RAY_USAGE_STATS_ENABLED": "0"}
_STAY = {"RAY_gcs_rpc_server_reconnect_timeout_s": "1000000"}  # else Ray ends this process once its cluster is gone
_QUICK = {
    "GRPC_VERBOSITY": "ERROR",  # else its own log is on stderr
    "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",  # calls leave from this event loop, by gRPC: 2 ms instead of 7
    "RAY_SERVE_ENABLE_DIRECT_INGRESS": "0",  # which would have every replica listen for HTTP: nobody calls it so
}
# A cluster of our own is bound to loopback, as Ray does itself where firewalls would ask: nobody else can join it.
_ALONE = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}

_OURS = re.compile(r"backends\.errors\.\w+: (.*)")
_NO_ROOM = "to be scheduled"


class Seen(NamedTuple):
    """How an application stands: its replicas, and why it has none where that is known."""

    running: int = 0
    failure: str | None = None


class Handles(NamedTuple):
    """How a deployment is called."""

    infer: Any
    stream: Any
    describe: Any
    measure: Any


class Cluster:
    """One connection to one cluster. A process has one: Ray's own state is the process'."""

    def __init__(self, options: RayOptions) -> None:
        self._options = options

    @staticmethod
    def installed() -> bool:
        """Whether Ray could be imported; imports nothing."""
        return importlib.util.find_spec("ray") is not None

    def connect(self) -> None:
        """Start a cluster of our own, or join one, and Serve in it where there is none.

        Raises:
            Unavailable: Ray is not installed, or nothing may leave this machine.
        """
        if not self.installed():
            raise Unavailable(MISSING)
        own = self._options.own
        if not own:
            outward.announce("a Ray cluster")  # which may have nodes anywhere
        environ = self._options.environ
        environ.update(_PHONES_NOBODY | _STAY)
        for name, value in (_QUICK | (_ALONE if own else {})).items():
            environ.setdefault(name, value)
        import ray
        from ray import serve

        for theirs in ("ray", "ray.serve"):  # what they say below that is for whoever runs the cluster
            logging.getLogger(theirs).setLevel(logging.ERROR)
        alone = {"include_dashboard": False, "object_store_memory": OBJECT_STORE_BYTES} if own else {}
        ray.init(
            address=self._options.address,
            namespace=self._options.namespace,
            log_to_driver=False,
            configure_logging=False,
            **alone,
        )
        serve.start(proxy_location="Disabled")

    def deploy(self, name: str, target: Target, shape: Shape) -> None:
        """Let the application run, unless it does: routers that want the same share it. Waits for no replica."""
        from ray import serve

        if name in self.seen():
            return
        opening = wire.opening(Opening(target=target, shape=shape, local=self._options.local))
        deployment = serve.deployment(
            name=DEPLOYMENT,
            ray_actor_options={"num_cpus": shape.num_cpus, "num_gpus": shape.num_gpus},
            max_ongoing_requests=shape.max_ongoing_requests,
            max_queued_requests=shape.max_queue,
            health_check_period_s=HEALTH_PERIOD_S,
            max_constructor_retry_count=CONSTRUCTOR_TRIES,
            logging_config={"enable_access_log": False, "log_level": "WARNING"},
            **_replicas(shape),
        )(Replica)
        app = serve.RunTarget(deployment.bind(opening), name=name, route_prefix=None)
        serve.run_many([app], wait_for_applications_running=False)

    def delete(self, name: str) -> None:
        """End an application, once its requests have; returns when it is gone."""
        from ray import serve

        serve.delete(name)

    def seen(self) -> dict[str, Seen]:
        """Every application of the cluster that is not on its way out, by name."""
        from ray import serve

        return {
            name: seen_of(app.status, app.message, list(app.deployments.values()))
            for name, app in serve.status().applications.items()
            if app.status != "DELETING"  # its states are strings with names
        }

    def handles(self, name: str) -> Handles:
        """How the application is called, from the event loop that this is called on."""
        from ray import serve

        handle: Any = serve.get_deployment_handle(DEPLOYMENT, app_name=name)
        return Handles(
            infer=handle.options(method_name="infer"),
            stream=handle.options(method_name="stream", stream=True),
            describe=handle.options(method_name="describe"),
            measure=handle.options(method_name="measure"),
        )

    def disconnect(self) -> None:
        """Leave the cluster; one of our own ends. May be repeated."""
        import ray

        ray.shutdown()


def _replicas(shape: Shape) -> dict[str, Any]:
    most = max(shape.min_replicas, shape.max_replicas)
    if shape.min_replicas == most:
        return {"num_replicas": most}
    return {
        "autoscaling_config": {
            "min_replicas": shape.min_replicas,
            "max_replicas": most,
            "target_ongoing_requests": shape.target_ongoing_requests,
            "upscale_delay_s": UPSCALE_DELAY_S,
            "downscale_delay_s": DOWNSCALE_DELAY_S,
        }
    }


def seen_of(status: str, message: str, deployments: list[Any]) -> Seen:
    """How an application stands, of what Serve says. Of its messages only what we said ourselves is repeated."""
    running = sum(deployment.replica_states.get("RUNNING", 0) for deployment in deployments)
    message = "\n".join([message, *(deployment.message for deployment in deployments)])
    failure = None
    if not running and status in {"DEPLOY_FAILED", "UNHEALTHY"}:
        said = _OURS.findall(message)
        failure = said[-1] if said else "its replicas fail to start: Ray's own logs say why"
    elif not running and _NO_ROOM in message:
        failure = "the Ray cluster has no room for a replica of it now"
    return Seen(running, failure)
