"""What is known of the far side, all of which may change while this runs: keys, listings, the hub token's state."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from backends.remote.provider import ROUTER
from router.keys import Keys
from router.listings import Listings
from router.sections import ProviderSettings
from router.settings import listings_dir
from router.token_health import TokenHealth

if TYPE_CHECKING:
    from collections.abc import Mapping

    from router.sections import Settings
    from router.settings import Secrets


class FarSide(Struct, kw_only=True):
    """The far side as known at this instant."""

    keys: Keys
    listings: Listings
    health: TokenHealth
    router: ProviderSettings
    offline: bool

    @classmethod
    def opened(cls, settings: Settings, secrets: Secrets, providers: Mapping[str, ProviderSettings]) -> FarSide:
        """Read what is on disk. Blocks, for milliseconds, and asks nobody."""
        keys, offline = Keys(settings, secrets), settings.routing.offline
        listings = Listings(providers, listings_dir(settings))
        listings.open()
        health = TokenHealth(lambda: keys.hub_token, providers, offline=offline)
        return cls(keys=keys, listings=listings, health=health, router=providers[ROUTER], offline=offline)

    def become(self, settings: Settings, secrets: Secrets, providers: Mapping[str, ProviderSettings]) -> None:
        """Know these far sides from now on; whoever calls it sees that listings of new ones are opened."""
        self.keys.become(settings, secrets)
        self.listings.become(providers)
        self.health.become(providers)
        self.router = providers[ROUTER]

    def routed(self) -> bool:
        """Whether the hub's router may be asked at all: it has its key, and requests may leave this machine."""
        keyless = self.router.api_key_env is None and self.router.api_key_file is None
        return not self.offline and (keyless or self.keys.secrets.key_of(self.router) is not None)
