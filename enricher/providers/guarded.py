"""What is asked of a provider's code, which may be anybody's: what it raises is told in the log, and
ends nothing.
"""

from __future__ import annotations

from loguru import logger

from enricher.answer import Kind, Query
from enricher.providers.base import Provider
from enricher.providers.person import unfit_for_person
from enricher.telemetry.log import trace_of


def broken(provider: Provider, error: BaseException) -> str:
    """Tell what a provider's code raised; the reason that it is for a lead."""
    logger.bind(provider=provider.name, **trace_of(error)).error("provider.broken")
    return f"internal error: {type(error).__name__}"


def unfit(provider: Provider, query: Query) -> str | None:
    """Why this query is not for this provider, also because its code cannot tell."""
    try:
        return _out_of_bounds(provider, query) or provider.unfit(query)
    except Exception as error:  # noqa: BLE001 - a provider may be anybody's code
        return broken(provider, error)


def _out_of_bounds(provider: Provider, query: Query) -> str | None:
    """What we promise of every provider, those of other packages included: a private mailbox leads to
    no company, and nobody is asked who stands behind it, or behind a desk."""
    if provider.is_free:
        return None
    if provider.kind is Kind.PERSON:
        return unfit_for_person(query)
    is_private = query.is_free_mail and query.company_domain is None
    return query.no_company_domain if provider.kind is Kind.COMPANY and is_private else None


def question_of(provider: Provider, query: Query) -> str | None:
    """What it would ask; `None` also when its code cannot tell: then it has asked nothing."""
    try:
        return provider.question(query)
    except Exception as error:  # noqa: BLE001 - a provider may be anybody's code
        broken(provider, error)
        return None
