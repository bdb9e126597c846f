"""Everything that is asked of Ray itself: to connect, to deploy, how replicas stand, and handles to call them by.

Ray is imported when a cluster is needed first. All of it blocks and belongs in a thread, but for `handles`: what calls
a deployment lives on the event loop that it is made on.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, NamedTuple

from backends.ray.options import OWN
from backends.ray.replica import Replica
from backends.ray.seen import Seen, seen_of

if TYPE_CHECKING:
    from backends.ray.options import Shape

DEPLOYMENT = "model"
OBJECT_STORE_BYTES = 128 * 1024 * 1024  # of a cluster of our own: what we send goes past the store
HEALTH_PERIOD_S = 2.0  # how soon a replica that died is replaced
UPSCALE_DELAY_S, DOWNSCALE_DELAY_S = 5.0, 300.0
CONSTRUCTOR_TRIES = 3


class Handles(NamedTuple):
    """How a deployment is called."""

    infer: Any
    stream: Any
    describe: Any
    measure: Any


class Cluster:
    """One connection to one cluster. A process has one: Ray's own state is the process'."""

    def connect(self, address: str, namespace: str) -> None:
        """Start a cluster of our own, or join one, and Serve in it where there is none."""
        import ray
        from ray import serve

        for theirs in ("ray", "ray.serve"):  # what they say below that is for whoever runs the cluster
            logging.getLogger(theirs).setLevel(logging.ERROR)
        alone = {"include_dashboard": False, "object_store_memory": OBJECT_STORE_BYTES} if address == OWN else {}
        ray.init(address=address, namespace=namespace, log_to_driver=False, configure_logging=False, **alone)
        serve.start(proxy_location="Disabled")

    def deploy(self, name: str, opening: bytes, shape: Shape) -> None:
        """Let the application run, unless it does: routers that want the same share it. Waits for no replica."""
        from ray import serve

        if name in self.seen():
            return
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
