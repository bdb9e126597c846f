"""The whole document: what Litestar read off the handlers, completed by the tables."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from litestar import Litestar
from litestar.handlers.http_handlers import HTTPRouteHandler
from litestar.routes import HTTPRoute

from router.http.description import headers, refusals
from router.http.description.operation import JSON, Described, Example, Link
from router.http.description.shapes import Shapes, of_parameter
from router.http.description.tables import OPERATIONS, PUBLIC, SECTIONS, TAGS

UNSAID = Described()
BEARER = {
    "type": "http",
    "scheme": "bearer",
    "description": "An API key, or a JSON Web Token. Where `auth.mode` is `none`, nobody is asked.",
}
REQUEST_ID: dict[str, Any] = {
    "name": "x-request-id",
    "in": "header",
    "required": False,
    "description": "The sender's own id of the request, given back and logged if it is printable and at most 128 long.",
    "schema": {"type": "string"},
}


def operations(app: Litestar) -> Iterator[tuple[str, str, HTTPRouteHandler]]:
    """Path as the document has it, method in lower case and handler of each described operation."""
    for route in app.routes:
        for method, (handler, _) in route.route_handler_map.items() if isinstance(route, HTTPRoute) else ():
            if method != "OPTIONS" and handler.resolve_include_in_schema():
                yield route.path_format, method.lower(), handler


def described(app: Litestar, drawn: dict[str, Any], *, asks: bool) -> dict[str, Any]:
    """Complete the document that Litestar drew of this app, which is left as it is; `asks`: senders need a key."""
    handlers = {(path, method): handler for path, method, handler in operations(app)}
    taken = [data for handler in handlers.values() if (data := _data(handler)) is not None]
    shapes = Shapes([*taken, *_types(), *refusals.SHAPES.values()])
    ids = {_key(path, method): drawn["paths"][path][method]["operationId"] for path, method in handlers}
    world = _World(shapes, ids, asks)
    paths: dict[str, Any] = {}
    for (path, method), handler in handlers.items():
        writer = _Operation(_key(path, method), handler, world)
        paths.setdefault(path, {})[method] = writer.written(drawn["paths"][path][method])
    return drawn | {
        "paths": paths,
        "components": _components(drawn, shapes),
        "security": [{"bearer": []}] if asks else [],
        "tags": [{"name": tag} for tag in SECTIONS],
    }


def _key(path: str, method: str) -> str:
    return f"{method.upper()} {path}"


def _data(handler: HTTPRouteHandler) -> Any:
    """The type of the body that the handler takes; None where it takes none, or reads it itself."""
    data = handler.parsed_fn_signature.parameters.get("data")
    return None if data is None else data.annotation


def _types() -> list[Any]:
    """Every type that the tables name."""
    found: list[Any] = []
    for said in OPERATIONS.values():
        found += [said.answer, *said.bodies.values(), *said.also.values(), *said.parts]
    return [kind for kind in found if kind is not None]


def _components(drawn: dict[str, Any], shapes: Shapes) -> dict[str, Any]:
    schemas = drawn.get("components", {}).get("schemas", {})
    return {
        "schemas": dict(sorted((schemas | shapes.components).items())),
        "headers": {name: headers.component(name) for name in headers.HEADERS},
        "responses": {
            refusals.name(status, shape): refusals.response(status, shapes.of(kind))
            for shape, kind in refusals.SHAPES.items()
            for status in refusals.MEANINGS
        },
        "securitySchemes": {"bearer": BEARER},
    }


class _World(NamedTuple):
    """What operations have in common: shapes, the ids of all by key, and whether senders are asked who they are."""

    shapes: Shapes
    ids: dict[str, str]
    asks: bool


class _Operation:
    """Writes one operation."""

    def __init__(self, key: str, handler: HTTPRouteHandler, world: _World) -> None:
        self._handler, (self._shapes, self._ids, asks) = handler, world
        self._said = OPERATIONS.get(key, UNSAID)
        self._tags = {"tags": [TAGS[key]]} if key in TAGS else {}
        self._posts = key.startswith("POST ")  # even one without a body must say that it is JSON: see guards
        self._open = not asks or key in PUBLIC or handler.opt.get("scopes") == ()

    def written(self, drawn: dict[str, Any]) -> dict[str, Any]:
        whole = {name: value for name, value in drawn.items() if name != "deprecated"} | self._tags
        if body := self._body(drawn):
            whole["requestBody"] = body
        whole["parameters"] = [self._parameter(parameter) for parameter in drawn.get("parameters", ())]
        inference = bool(self._handler.opt.get("inference"))
        errors = refusals.statuses(whole, self._said, posts=self._posts, public=self._open, inference=inference)
        shape = self._said.shape
        whole["responses"] = self._answers(drawn) | {
            str(status): {"$ref": f"#/components/responses/{refusals.name(status, shape)}"}
            for status in errors
            if status not in self._said.also
        }
        whole["parameters"].append(REQUEST_ID)
        return whole | ({"security": []} if self._open else {})

    def _body(self, drawn: dict[str, Any]) -> dict[str, Any] | None:
        taken = _data(self._handler)
        bodies = dict(self._said.bodies) or ({} if taken is None else {JSON: taken})
        content = {kind: {"schema": self._shapes.of(shape)} for kind, shape in bodies.items()}
        if not content:
            content = {kind: dict(said) for kind, said in drawn.get("requestBody", {}).get("content", {}).items()}
        for name, example in self._said.examples.items():
            if example.body is not None:
                content[example.media].setdefault("examples", {})[name] = _example(example, example.body)
        return {"required": True, "content": content} if content else None

    def _parameter(self, drawn: dict[str, Any]) -> dict[str, Any]:
        name = drawn["name"]
        schema = of_parameter(drawn["schema"]) | self._said.parameters.get(name, {})
        whole = {"name": name, "in": drawn["in"], "required": drawn["required"], "schema": schema}
        examples = {
            key: _example(example, example.parameters[name])
            for key, example in self._said.examples.items()
            if name in example.parameters
        }
        return whole | ({"examples": examples} if examples else {})

    def _answers(self, drawn: dict[str, Any]) -> dict[str, Any]:
        status = str(self._handler.status_code)
        answer = {"description": drawn["responses"][status]["description"]}
        content = {kind: {"schema": schema} for kind, schema in self._said.media.items()}
        if self._said.answer is not None:
            content = {JSON: {"schema": self._shapes.of(self._said.answer)}} | content
        links = {name: self._link(link) for name, link in self._said.links.items()}
        told = {name: {"$ref": f"#/components/headers/{name}"} for name in self._said.headers}
        answers = {status: answer | _full(headers=told, content=content, links=links)}
        for other, shape in self._said.also.items():
            content = {JSON: {"schema": self._shapes.of(shape)}}
            answers[str(other)] = {"description": refusals.MEANINGS[other], "content": content}
        return answers

    def _link(self, link: Link) -> dict[str, Any]:
        return {"operationId": self._ids[link.to]} | _full(parameters=link.parameters, requestBody=link.body)


def _example(example: Example, value: Any) -> dict[str, Any]:
    return {"summary": example.summary, "value": value}


def _full(**parts: Any) -> dict[str, Any]:
    """Those parts that have something in them."""
    return {name: part for name, part in parts.items() if part}
