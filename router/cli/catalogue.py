"""`nearfar models add|remove|enable|disable|price`, `nearfar aliases`, `nearfar routes`: the catalogue at run time."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import quote

import click
import msgspec

from router.cli import client
from router.cli.changing import carry_out, price_in, price_options, read_as, tables_of, where_options
from router.cli.console import configured, json_option, reported, show_json, show_table
from router.editing import changes, editor, telling
from router.editing.changes import AliasPatch, ModelPatch
from router.errors import InvalidRequest
from router.sections import AliasEntry, ModelEntry, RouteEntry

toml_file = click.Path(path_type=Path, exists=True, dir_okay=False)


@click.command()
@click.argument("model_id", metavar="[ID]", required=False)
@click.option("--file", type=toml_file, help="A TOML file with [[models]] as in the configuration, in place of ID.")
@click.option("--task", help="What it does.")
@click.option("--local", metavar="SOURCE", help="It runs here: a directory, package:NAME or hub.")
@click.option("--provider", help="It runs far: a provider of the configuration, or a built-in one.")
@click.option("--as", "name", metavar="NAME", help="Its name at the provider, where that is another.")
@click.option("--quality", type=float, help="0 to 1.")
@click.option("--context-length", type=int, help="Tokens.")
@click.option("--description", help="In a few words.")
@price_options
@where_options
def add(model_id: str | None, file: Path | None, config: Path | None, server: str | None, **given: Any) -> None:
    """Add models to the catalogue: one by options, or those of a file. A price is what its provider takes."""
    with reported():
        if (file is None) == (model_id is None):
            raise click.UsageError("Give the ID of a model, or --file.")
        found = tables_of(file, "models", ModelEntry) if file is not None else (_model(model_id or "", given),)
        for entry in found:
            carry_out(config, server, ("POST", "/v1/models", _body(entry)), changes.add_model(entry))


def _model(model_id: str, given: dict[str, Any]) -> ModelEntry:
    """The model that the options describe."""
    price, local, provider, name = price_in(given), given.pop("local"), given.pop("provider"), given.pop("name")
    candidates: list[dict[str, Any]] = []
    if local is not None:
        candidates.append({"backend": "local", "source": local})
    if provider is not None:
        candidates.append({"backend": "remote", "provider": provider, "model": name, "price": price})
    elif price is not None or name is not None:
        raise click.UsageError("A price, or another name, is a provider's: give --provider.")
    if given["task"] is None or not candidates:
        raise click.UsageError("A model needs --task, and --local or --provider or both.")
    said = {key: value for key, value in given.items() if value is not None}
    return read_as({"id": model_id, "candidates": candidates, **said}, ModelEntry, model_id)


@click.command()
@click.argument("model_id", metavar="ID")
@where_options
def remove(model_id: str, config: Path | None, server: str | None) -> None:
    """Remove a model that was added; take back what was changed of one that the configuration has."""
    with reported():
        carry_out(config, server, ("DELETE", _path("models", model_id), None), changes.delete_model(model_id))


@click.command()
@click.argument("model_id", metavar="ID")
@where_options
def enable(model_id: str, config: Path | None, server: str | None) -> None:
    """Let a disabled model be asked again."""
    _patch(model_id, {"enabled": True}, config, server)


@click.command()
@click.argument("model_id", metavar="ID")
@where_options
def disable(model_id: str, config: Path | None, server: str | None) -> None:
    """Have nobody ask a model; it stays in the catalogue."""
    _patch(model_id, {"enabled": False}, config, server)


@click.command()
@click.argument("model_id", metavar="ID")
@click.argument("provider")
@click.option("--unknown", is_flag=True, help="Nobody knows what it costs.")
@price_options
@where_options
def price(
    model_id: str, provider: str, config: Path | None, server: str | None, *, unknown: bool, **given: Any
) -> None:
    """Set what a model costs at a PROVIDER (or as PROVIDER:MODEL), in US dollars; units left out are not charged."""
    found = price_in(given)
    if unknown == (found is not None):
        raise click.UsageError("Give a price, or --unknown.")
    _patch(model_id, {"prices": {provider: found}}, config, server)


def _patch(model_id: str, fields: dict[str, Any], config: Path | None, server: str | None) -> None:
    with reported():
        change = changes.patch_model(model_id, read_as(fields, ModelPatch, model_id))
        carry_out(config, server, ("PATCH", _path("models", model_id), fields), change)


@click.group()
def aliases() -> None:
    """List, set and remove aliases, also while a server runs."""


@aliases.command("list")
@where_options
@json_option
def list_aliases(config: Path | None, server: str | None, *, as_json: bool) -> None:
    """List the aliases, the models behind each, and whose word it is."""
    with reported():
        found = _shown(config, server, "aliases")
        if as_json:
            show_json(found)
            return
        rows = [
            (one["name"], "\n".join(one["models"]), "\n".join((one["entry"] or {}).get("fallbacks", ())), _whose(one))
            for one in found
        ]
        show_table("aliases", ("alias", "models", "fallbacks", "whose"), rows)


@aliases.command("set")
@click.argument("name")
@click.argument("models", nargs=-1, required=True)
@click.option("--fallback", "fallbacks", multiple=True, help="A model that follows, in this order.")
@click.option("--policy", help="How it chooses among its models.")
@where_options
def set_alias(name: str, config: Path | None, server: str | None, **given: Any) -> None:
    """Make an alias of these models, or put it in place of the one of its NAME."""
    with reported():
        entry = read_as({"name": name, **given}, AliasEntry, name)
        body = {key: value for key, value in _body(entry).items() if key != "name"}
        carry_out(config, server, ("PUT", _path("aliases", name), body), changes.put_alias(entry))


@aliases.command("remove")
@click.argument("name")
@where_options
def remove_alias(name: str, config: Path | None, server: str | None) -> None:
    """Remove an alias that was made; take back what was changed of one that the configuration has."""
    with reported():
        carry_out(config, server, ("DELETE", _path("aliases", name), None), changes.delete_alias(name))


@aliases.command("enable")
@click.argument("name")
@where_options
def enable_alias(name: str, config: Path | None, server: str | None) -> None:
    """Have a disabled alias again."""
    _enable_alias(name, config, server, enabled=True)


@aliases.command("disable")
@click.argument("name")
@where_options
def disable_alias(name: str, config: Path | None, server: str | None) -> None:
    """Have an alias as if it was not there."""
    _enable_alias(name, config, server, enabled=False)


def _enable_alias(name: str, config: Path | None, server: str | None, *, enabled: bool) -> None:
    with reported():
        change = changes.patch_alias(name, AliasPatch(enabled=enabled))
        carry_out(config, server, ("PATCH", _path("aliases", name), {"enabled": enabled}), change)


@click.group()
def routes() -> None:
    """List, set and remove routes, also while a server runs."""


@routes.command("list")
@where_options
@json_option
def list_routes(config: Path | None, server: str | None, *, as_json: bool) -> None:
    """List the routes in their order: the first that matches a request decides."""
    with reported():
        told = _shown(config, server, "routes")
        if as_json:
            show_json(told)
            return
        rows = [(one["name"], _said(one["entry"]["match"]), _said(one["entry"]["use"]), one["enabled"]) for one in told]
        show_table("routes", ("route", "matches", "gives", "enabled"), rows)


@routes.command("set")
@click.argument("file", type=toml_file)
@where_options
def set_routes(file: Path, config: Path | None, server: str | None) -> None:
    """Put the [[routes]] of a TOML FILE in place of all there are."""
    with reported():
        entries = tables_of(file, "routes", RouteEntry)
        body = {"routes": [_body(entry) for entry in entries]}
        carry_out(config, server, ("PUT", "/v1/routes", body), changes.put_routes(entries))


@routes.command("add")
@click.argument("file", type=toml_file)
@click.option("--before", metavar="NAME", help="The route that it comes before; behind all by default.")
@where_options
def add_route(file: Path, before: str | None, config: Path | None, server: str | None) -> None:
    """Insert the one route of a TOML FILE with [[routes]]."""
    with reported():
        entries = tables_of(file, "routes", RouteEntry)
        if len(entries) != 1:
            raise InvalidRequest(f"{file.name}: one route is expected, and it has {len(entries)}.")
        body = {"route": _body(entries[0]), "before": before}
        carry_out(config, server, ("POST", "/v1/routes", body), changes.insert_route(entries[0], before))


@routes.command("remove")
@click.argument("name", required=False)
@click.option("--all-changes", is_flag=True, help="Go back to the configuration's routes.")
@where_options
def remove_route(name: str | None, config: Path | None, server: str | None, *, all_changes: bool) -> None:
    """Remove one route, or every change of them."""
    if (name is None) != all_changes:
        raise click.UsageError("Give the NAME of a route, or --all-changes.")
    with reported():
        if name is None:
            carry_out(config, server, ("DELETE", "/v1/routes", None), changes.reveal_routes())
        else:
            carry_out(config, server, ("DELETE", _path("routes", name), None), changes.delete_route(name))


def _shown(config: Path | None, server: str | None, kind: str) -> list[dict[str, Any]]:
    """The entries in force, at a server or by what is kept here."""
    if server is not None:
        found: list[dict[str, Any]] = client.get(server, f"/v1/{kind}")["data"]
        return found
    settings, _ = configured(config)
    made, _ = editor.opened(settings)
    return telling.aliases(made) if kind == "aliases" else telling.routes(made.held)["data"]


def _whose(one: dict[str, Any]) -> str:
    state = "" if one["enabled"] else ", disabled"
    return f"{one['origin']}{state}{', the file says otherwise by now' if one['outdated'] else ''}"


def _said(fields: dict[str, Any]) -> str:
    """What of a route's fields is not as it is without a word."""
    return ", ".join(f"{key} {value}" for key, value in fields.items() if value not in (None, [], "any", False, "UTC"))


def _path(kind: str, name: str) -> str:
    return f"/v1/{kind}/{quote(name, safe='/')}"


def _body(entry: object) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.to_builtins(entry)
    return found
