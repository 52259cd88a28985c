"""Which providers are asked, and in which order.

The order of the built-in ones is the catalogue's (`enricher/catalogue.py`). The local rules come first, so a
vendor is only paid for what they cannot know; then what other packages do for nothing, then the vendors, then
those of other packages. `ENRICHER_PROVIDER_ORDER` changes it, `ENRICHER_PROVIDERS_OFF` leaves some out, and
`ENRICHER_REQUIRED_FIELDS` says what the next one is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from enricher.providers import plugins
from enricher.providers.base import Access, Provider, Registered
from enricher.providers.http import HttpProvider
from enricher.providers.local import Local
from enricher.providers.transport import Client
from enricher.settings.vendors import ProviderSettings

_EVERY = ProviderSettings(off=())


def build(
    http: Client,
    accesses: Mapping[str, Access],
    per_minute: Mapping[str, int],
    wishes: ProviderSettings = _EVERY,
    others: Sequence[type[Provider]] | None = None,
    *,
    mx_lookup: bool = False,
) -> Registered:
    """`accesses` and `per_minute` are by vendor; a vendor that is not in `accesses` has no key.
    `others` are those of other packages: all that are installed, unless they are given.
    `mx_lookup`: the DNS is asked whether a domain takes mail."""
    kinds = _in_order(_installed() if others is None else others, wishes)
    why_not = {each.name: _why_not(each, accesses, wishes) for each in kinds}
    asked = (
        each(http, accesses[each.vendor], per_minute.get(each.vendor))
        if issubclass(each, HttpProvider)
        else each()
        for each in kinds
        if why_not[each.name] is None
    )
    return Registered(
        providers=(
            _local(mx_lookup=mx_lookup),
            *(_asked_for(provider, wishes) for provider in asked),
        ),
        without_key={name: why for name, why in why_not.items() if why is not None},
    )


def _local(*, mx_lookup: bool) -> Local:
    if not mx_lookup:
        return Local()
    from enricher.providers.local import MailDns  # noqa: PLC0415 - costs a start 100 ms

    return Local(MailDns())


def _installed() -> list[type[Provider]]:
    return [plugin.provider for plugin in plugins.installed()]


def _in_order(
    others: Sequence[type[Provider]], wishes: ProviderSettings
) -> Sequence[type[Provider]]:
    free = [each for each in others if each.is_free]
    kinds = [*free, *plugins.built_in(), *(each for each in others if not each.is_free)]
    order = [*wishes.order, *(each.name for each in kinds)]
    return sorted(kinds, key=lambda each: order.index(each.name))


def _why_not(
    provider: type[Provider], accesses: Mapping[str, Access], wishes: ProviderSettings
) -> str | None:
    if provider.name in wishes.off:
        return "turned off"
    if provider.is_free:
        return None
    access = accesses.get(provider.vendor)
    return None if access and access.key.get_secret_value().strip() else "no key"


def _asked_for(provider: Provider, wishes: ProviderSettings) -> Provider:
    """Required of it is what the operator wants and it can know. One that can know nothing of it is
    still asked while that is missing: it may be the only one of its kind."""
    wanted = wishes.required.get(provider.kind, provider.required)
    provider.required = wanted - provider.lacks or wanted
    return provider
