"""What the settings tell the backends that run models of our own: here, and in a cluster."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace

from backends.local.types import LocalOptions
from backends.ray.options import RayOptions, Shape
from router.settings import environment, intents_dir, models_dir

if TYPE_CHECKING:
    from router.sections import Settings


def local_options(settings: Settings) -> LocalOptions:
    """How the near side behaves."""
    return LocalOptions(
        models_dir=models_dir(settings),
        intents_dir=intents_dir(settings),
        memory_fraction=settings.local.memory_fraction,
        downloads=settings.local.downloads and not settings.routing.offline,
        threads=settings.local.threads,
        max_queue=settings.local.max_queue,
        pickles=settings.local.pickles,
    )


def ray_options(settings: Settings) -> RayOptions:
    """How the cluster is reached; its replicas behave as the near side does, with files where the cluster has them."""
    ray, local = settings.ray, local_options(settings)
    if ray.models_dir is not None:
        local = replace(local, models_dir=Path(ray.models_dir))
    return RayOptions(
        address=ray.address,
        namespace=ray.namespace,
        local=local,
        environ=environment(),
        shape=Shape(**{name: getattr(ray, name) for name in Shape.__struct_fields__}),
    )
