"""The routes that load models into this machine's memory, and free it: for admins, and written into the audit."""

from typing import Any

from litestar import Request, delete, put
from litestar.params import FromPath

from backends.errors import BackendError
from backends.reports import LoadReport
from router.errors import AllAttemptsFailed, FailedAttempt, InvalidRequest
from router.http.auditing import audited
from router.http.schemas import path_name
from router.http.services import services


@put("/v1/loaded/{model_id:path}", status_code=200, summary="Load a model, and measure a small request")
async def load(request: Request[Any, Any, Any], model_id: FromPath[str]) -> dict[str, Any]:
    """Answers when it is loaded, at once where it is. Weights come only where `local.downloads` allows it."""
    name = path_name(model_id)
    async with audited(request, "models.load", name):
        reports = await _loaded(request, name)
    return {
        "model": name,
        "candidates": [
            {"candidate": candidate, "load_ms": report.load_s * 1000, "service_ms": _service_ms(report)}
            for candidate, report in reports.items()
        ],
    }


@delete("/v1/loaded/{model_id:path}", status_code=200, summary="Free a model's memory")
async def unload(request: Request[Any, Any, Any], model_id: FromPath[str]) -> dict[str, Any]:
    """Requests that it serves are answered first; the next one loads it anew. Nothing is deleted from the disk."""
    name = path_name(model_id)
    async with audited(request, "models.unload", name):
        freed = await services(request).dispatcher.unload(name)
    return {"model": name, "freed": freed}


async def _loaded(request: Request[Any, Any, Any], name: str) -> dict[str, LoadReport]:
    try:
        reports = await services(request).dispatcher.warm(name)
    except BackendError as error:
        raise AllAttemptsFailed([FailedAttempt(f"local:{name}", error)]) from error
    if not reports:
        raise InvalidRequest(f"{name} is disabled, or has no candidate that runs here.", param="model_id")
    return reports


def _service_ms(report: LoadReport) -> float | None:
    return report.measured[0].service_s * 1000 if report.measured else None
